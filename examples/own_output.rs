//! An output of a program's own: tags to a channel, where the program counts them.
//!
//! The stream's thread reads its ring and puts what it finds into a bounded channel. If the program is slow the channel is full; then
//! the output leaves the tags in the ring, and goes on at a keyframe if they fall out of it.
#[path = "own_source/card.rs"]
mod card;
#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use card::TestCard;
use clap::Parser;
#[cfg(feature = "libav")]
use flowcast::Source;
use flowcast::driver::{
    Cursor, Offer, OpenOutput, OpenedOutput, OutputContext, OutputDriver, OutputOpening, OutputState, Read,
    Readiness, Ring, Skipping, Tag,
};
use flowcast::stats::OutputPhase;
use flowcast::stats::OutputStats;
use flowcast::{Config, Engine, Error};
use serde::Serialize;
use support::print::{out, round};
use support::{Result, cli, print};

/// Tags that wait for the program at most; what is more waits in the ring.
const QUEUE: usize = 256;

/// Counts what a stream sends: pictures, keyframes, sound, bytes; a line a second.
#[derive(Parser)]
#[command(name = "own_output", max_term_width = cli::WIDTH, after_help = EXAMPLES)]
struct Cli {
    /// The file to loop; without it, the test card of own_source
    #[cfg(feature = "libav")]
    file: Option<std::path::PathBuf>,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Print JSON: an object a line
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  own_output
  own_output clip.mp4 --seconds 10 --json";

/// An output that hands tags to whoever has the other end of the channel.
#[derive(Debug)]
struct ToChannel(SyncSender<Tag>);

impl OpenOutput for ToChannel {
    fn open(self: Box<Self>, _cx: &OutputOpening<'_>) -> std::result::Result<OpenedOutput, Error> {
        let driver =
            Sending { tags: Some(self.0), cursor: Cursor::oldest(), until: None, bytes: 0, first: None };
        Ok(OpenedOutput { name: "channel".to_owned(), driver: Box::new(driver) })
    }
}

/// It on the stream's thread.
struct Sending {
    /// `None` once nobody listens, or all was sent.
    tags: Option<SyncSender<Tag>>,
    cursor: Cursor,
    /// Where it ends, once it was asked to.
    until: Option<u64>,
    bytes: u64,
    first: Option<Instant>,
}

impl Sending {
    /// Puts what is new into the channel, as far as there is room; `false` if nobody listens.
    fn feed(&mut self, ring: &Ring, now: Instant) -> bool {
        let Some(tags) = &self.tags else { return true };
        let (cursor, until) = (&mut self.cursor, self.until.unwrap_or(u64::MAX));
        let (bytes, first) = (&mut self.bytes, &mut self.first);
        let mut listens = true;
        // Whether the tag went; the ring keeps it otherwise.
        let mut send = |tag: &Tag| match tags.try_send(tag.clone()) {
            Ok(()) => {
                *bytes += tag.body.len() as u64;
                first.get_or_insert(now);
                true
            }
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Disconnected(_)) => {
                listens = false;
                false
            }
        };
        cursor.lose_until(ring.start(), Skipping::Pictures);
        ring.read(cursor.next(), &mut |read| {
            let entry = match read {
                Read::Tag(entry) => entry,
                Read::Lost(count) => {
                    cursor.lose_until(cursor.next() + count, Skipping::Pictures);
                    return true;
                }
            };
            if cursor.next() >= until {
                return false;
            }
            let tag = entry.message.tag();
            let went = match cursor.offer(entry, || true) {
                Offer::Begin { headers, .. } => {
                    let mut headers = headers.at(tag.timestamp);
                    headers.all(|header| send(&header)) && send(tag)
                }
                Offer::Send => send(tag),
                Offer::Before | Offer::Dropped => return true,
            };
            if !went {
                // No room: this tag is lost, and what cannot be decoded without it.
                cursor.skip(Skipping::Everything);
                cursor.drop_one();
            }
            went
        });
        if self.until.is_some_and(|until| self.cursor.next() >= until) {
            self.tags = None;
        }
        listens
    }
}

impl OutputDriver for Sending {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if self.feed(cx.ring, cx.now) { OutputState::Running } else { OutputState::Ended(None) }
    }

    fn cursor(&self) -> Option<u64> {
        self.tags.as_ref().map(|_| self.cursor.next())
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.until = Some(cx.ring.end());
    }

    fn is_finished(&mut self) -> bool {
        self.tags.is_none()
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn first_media(&self) -> Option<Instant> {
        self.first
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = if self.tags.is_some() { OutputPhase::Live } else { OutputPhase::Ended };
        stats.bytes_sent = self.bytes;
        stats.drops = self.cursor.drops();
    }
}

/// What was counted.
#[derive(Serialize, Default, Clone, Copy)]
struct Counts {
    seconds: f64,
    pictures: u64,
    keyframes: u64,
    sounds: u64,
    headers: u64,
    bytes: u64,
    media_ms: i64,
}

impl Counts {
    fn add(&mut self, tag: &Tag) {
        self.bytes += tag.body.len() as u64;
        self.media_ms = tag.timestamp.as_millis();
        if tag.is_header() {
            self.headers += 1;
        } else if tag.is_video() {
            self.pictures += 1;
            self.keyframes += u64::from(tag.is_keyframe());
        } else if tag.is_audio() {
            self.sounds += 1;
        }
    }
}

fn main() -> ExitCode {
    support::exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let stop = support::stop_flag()?;
    let engine = Engine::new(Config::from_env()?)?;
    let (sender, tags) = sync_channel(QUEUE);
    let stream = source(&engine, cli).to(ToChannel(sender)).start()?;
    let began = Instant::now();
    let ends = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    let is_over = || stop.load(Ordering::Relaxed) || ends.is_some_and(|ends| Instant::now() >= ends);
    let counts = count(&tags, cli.json, began, is_over)?;
    let ended = stream.wait_timeout(Duration::ZERO);
    drop(tags);
    engine.shutdown(Duration::from_secs(5));
    show(&counts, cli.json, "in all")?;
    match ended {
        Some(Err(error)) => Err(flowcast::error::chain(&error).into()),
        _ => Ok(()),
    }
}

#[cfg(feature = "libav")]
fn source(engine: &Engine, cli: &Cli) -> flowcast::StreamBuilder {
    match &cli.file {
        Some(file) => engine.stream(Source::file(file).looped()),
        None => engine.stream(TestCard::default()),
    }
}

#[cfg(not(feature = "libav"))]
fn source(engine: &Engine, _cli: &Cli) -> flowcast::StreamBuilder {
    engine.stream(TestCard::default())
}

/// Takes tags until it is over, and prints a line a second.
fn count(tags: &Receiver<Tag>, json: bool, began: Instant, is_over: impl Fn() -> bool) -> Result<Counts> {
    let (mut all, mut second) = (Counts::default(), Counts::default());
    let mut next = began + Duration::from_secs(1);
    while !is_over() {
        match tags.recv_timeout(Duration::from_millis(50)) {
            Ok(tag) => [&mut all, &mut second].into_iter().for_each(|counts| counts.add(&tag)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        all.seconds = round(began.elapsed().as_secs_f64(), 1);
        if Instant::now() >= next {
            second.seconds = all.seconds;
            show(&second, json, "")?;
            (second, next) = (Counts::default(), next + Duration::from_secs(1));
        }
    }
    Ok(all)
}

fn show(counts: &Counts, json: bool, what: &str) -> Result<()> {
    if json {
        return print::json(counts);
    }
    let Counts { seconds, pictures, keyframes, sounds, headers, bytes, media_ms } = counts;
    let media = *media_ms as f64 / 1000.0;
    let kilobytes = *bytes as f64 / 1000.0;
    Ok(out!(
        "{seconds:5.1} s: {pictures} pictures ({keyframes} keyframes), {sounds} sounds, {headers} headers, {kilobytes:.1} kB, \
         media at {media:.2} s {what}"
    )?)
}
