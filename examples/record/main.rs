//! Records what somebody publishes, a stream of another server, or a file: as FLV, MP4, Matroska or MPEG-TS, in one file or several.
//!
//! Without arguments it is the demo: it makes a short clip, publishes it to the embedded server, records it in all formats, one of them in several
//! files, and compares every picture that was recorded with the clip.
mod demo;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::error::chain;
use flowcast::stats::{OutputPhase, StreamStats};
use flowcast::{Config, Engine, Event, EventKind, Output, RtmpServer, RtmpServerExt, Source, StreamHandle};
use serde::Serialize;
use support::outputs::{CutArgs, ExistingArgs};
use support::print::{out, round};
use support::progress::Progress;
use support::{Result, cli, events, print, process};

/// What is published to this program has this name.
const NAME: &str = "recorded";

/// Records what somebody publishes, a stream of another server, or a file.
///
/// Without arguments it is a demo: it makes a short clip, publishes it to the embedded server, records it in all
/// formats, and compares every picture that was recorded with the clip.
#[derive(Parser)]
#[command(name = "record", max_term_width = cli::WIDTH, after_help = EXAMPLE)]
struct Cli {
    /// The file to record to: FLV, or by its extension MP4, MKV or TS. May be given several times
    #[arg(value_name = "FILE", requires = "input")]
    record: Vec<String>,

    /// What is recorded: a media file, or a stream of another server by rtmp(s), srt, rtsp(s) or http(s)
    #[arg(long, value_name = "FILE or URL", group = "input", requires = "record")]
    from: Option<String>,

    /// What is recorded: what is published there; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", group = "input", requires = "record")]
    listen: Option<String>,

    /// The key of whoever publishes; otherwise one is made up
    #[arg(long, value_name = "KEY", requires = "listen")]
    key: Option<String>,

    /// End when what is recorded has ended; otherwise the next publisher or the server's return is waited for
    #[arg(long)]
    once: bool,

    /// End after this many seconds; otherwise at Ctrl-C, or with a file's end
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,

    #[command(flatten, next_help_heading = "Recordings")]
    existing: ExistingArgs,

    #[command(flatten)]
    cuts: CutArgs,

    /// Bytes that all recordings take together: the oldest complete parts go first, then recordings end
    #[arg(long, value_name = "BYTES", help_heading = "Recordings")]
    budget: Option<u64>,

    /// Bytes of the disk that recordings leave free: they end before
    #[arg(long, value_name = "BYTES", help_heading = "Recordings")]
    keep_free: Option<u64>,
}

const EXAMPLE: &str = "\
Examples:
  record show.mp4 --from rtmp://origin.example.com/live/show
  record 'archive/{time}.mkv' --listen 127.0.0.1:1935 --key secret --every 600 --keep-files 144 --budget 50000000000";

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    bytes: u64,
    drops: u64,
    reconnects: u64,
    cpu_ms: f64,
    rss_kb: u64,
    files: Vec<Recorded>,
    abandoned: usize,
}

/// A file that is complete.
#[derive(Serialize)]
struct Recorded {
    path: PathBuf,
    from: f64,
    to: f64,
    bytes: u64,
}

impl Recorded {
    /// The file that an event tells of.
    fn of(event: &Event) -> Option<Self> {
        let EventKind::Recorded { path, from, to, bytes, .. } = &event.kind else { return None };
        let seconds = |time: &Duration| round(time.as_secs_f64(), 3);
        Some(Self { path: path.clone(), from: seconds(from), to: seconds(to), bytes: *bytes })
    }
}

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    support::exit(if cli.record.is_empty() { demo::run(cli.json) } else { run(&cli) })
}

fn run(cli: &Cli) -> Result<()> {
    let stop = support::stop_flag()?;
    let mut config = Config::from_env()?;
    config.recording.budget = cli.budget.unwrap_or(config.recording.budget);
    config.recording.keep_free = cli.keep_free.unwrap_or(config.recording.keep_free);
    let engine = Engine::new(config)?;
    let happened = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let server = cli.listen.as_deref().map(|address| listen(&engine, cli, address)).transpose()?;
    let outputs =
        cli.record.iter().map(|file| cli.cuts.apply(Output::record(file).existing(cli.existing.how)));
    let stream = engine.stream(source(cli)).outputs(outputs).start()?;

    let (mut files, mut failure) = (Vec::new(), None);
    let progress = Progress::default();
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed)
        && deadline.is_none_or(|deadline| Instant::now() < deadline)
        && !is_over(&stream)
    {
        if let Some(event) = happened.next_timeout(Duration::from_millis(200)) {
            hear(&event, &mut files, &mut failure);
            events::text(&event).iter().for_each(|text| progress.say(text));
        }
        let stats = stream.stats();
        progress.show(format!(
            "{:.1} s  {:.1} MB recorded, {} files complete, {} drops",
            began.elapsed().as_secs_f64(),
            stats.bytes_sent as f64 / 1e6,
            files.len(),
            stats.drops
        ));
    }
    progress.clear();

    let (elapsed, cpu) = (began.elapsed().as_secs_f64(), process::cpu_time() - cpu_before);
    let rss_kb = process::rss_kb();
    failure = stream.wait_timeout(Duration::ZERO).and_then(std::result::Result::err).or(failure);
    let stats = stream.stop(Duration::from_secs(10))?;
    let stopped = server.map(|server| server.stop(Duration::from_secs(5)));
    let abandoned =
        stopped.map_or(0, |stopped| stopped.abandoned) + engine.shutdown(Duration::from_secs(5)).abandoned;
    // The last files are complete at the end.
    while let Some(event) = happened.try_next() {
        hear(&event, &mut files, &mut failure);
    }
    let StreamStats { bytes_sent: bytes, drops, reconnects, .. } = stats;
    let cpu_ms = round(cpu.as_secs_f64() * 1e3, 1);
    let is_any = !files.is_empty();
    let report =
        Report { seconds: round(elapsed, 2), bytes, drops, reconnects, cpu_ms, rss_kb, files, abandoned };
    if cli.json {
        print::json(&report)?;
    } else {
        report.tell()?;
    }
    match failure {
        Some(error) => Err(chain(&error).into()),
        None if !is_any => Err("nothing was recorded".into()),
        None => Ok(()),
    }
}

/// What is recorded.
fn source(cli: &Cli) -> Source {
    let source = match &cli.from {
        Some(from) if from.contains("://") => Source::url(from),
        // It ends with its last picture anyway.
        Some(from) => return Source::file(from),
        None => Source::published(NAME),
    };
    if cli.once { source.once() } else { source }
}

/// Starts the server, and says where to publish.
fn listen(engine: &Engine, cli: &Cli, address: &str) -> Result<RtmpServer> {
    let key = match &cli.key {
        Some(key) => {
            engine.keys().add(NAME, key.as_str())?;
            None
        }
        None => Some(engine.keys().issue(NAME)?),
    };
    let server = engine.rtmp_server(address).start()?;
    let url = format!("rtmp://{}/live", server.address());
    match key {
        Some(key) => out!("publish to {url}/{}", key.reveal())?,
        None => out!("listening on {url}")?,
    }
    Ok(server)
}

/// Whether nothing is recorded any more.
fn is_over(stream: &StreamHandle) -> bool {
    let is_written =
        |stats: StreamStats| stats.outputs.iter().any(|output| output.phase != OutputPhase::Ended);
    stream.has_ended() || !is_written(stream.stats())
}

/// Takes from an event what is reported at the end.
fn hear(event: &Event, files: &mut Vec<Recorded>, failure: &mut Option<flowcast::Error>) {
    files.extend(Recorded::of(event));
    if let EventKind::OutputEnded { error: Some(error), .. } = &event.kind {
        failure.get_or_insert_with(|| error.clone());
    }
}

impl Report {
    /// Prints it for a person.
    fn tell(&self) -> Result<()> {
        for Recorded { path, from, to, bytes } in &self.files {
            out!("{}: {from:.1} s to {to:.1} s, {:.1} MB", path.display(), *bytes as f64 / 1e6)?;
        }
        Ok(out!(
            "{:.1} s, {} file{}, {:.1} MB, {} drops, {} reconnects, {:.0} ms CPU, {} MB resident",
            self.seconds,
            self.files.len(),
            if self.files.len() == 1 { "" } else { "s" },
            self.bytes as f64 / 1e6,
            self.drops,
            self.reconnects,
            self.cpu_ms,
            self.rss_kb / 1024
        )?)
    }
}
