//! A channel that never ends: pictures in a loop under a list of music, or a list of films.
//!
//! With commands on its standard input it is edited while it is on the air: `add FILE`, `skip`, `list`.
#[path = "support/encoding.rs"]
mod encoding;
#[path = "support/mod.rs"]
mod support;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Parser};
use encoding::{Asked, EncodingArgs};
use flowcast::playlist::ParameterChange;
use flowcast::{Config, Engine, EventKind, Playlist, Source};
use serde::Serialize;
use support::outputs::OutputArgs;
use support::print::{out, round};
use support::progress::Progress;
use support::reels::ReelArgs;
use support::{Result, cli, events, print, process};

/// A channel that never ends: a looped picture under a list of music, or a list of films.
///
/// A LIST is a directory, an .m3u or .ffconcat list, or one media file. The list can be edited while it is on the
/// air, with commands on standard input: add FILE, skip, list.
#[derive(Parser)]
#[command(name = "channel", max_term_width = cli::WIDTH, after_help = EXAMPLES)]
#[command(group = ArgGroup::new("content").args(["video", "playlist"]).required(true))]
struct Cli {
    /// The picture, which is looped; its own sound is left out
    #[arg(long, value_name = "FILE", requires = "audio", help_heading = "Content")]
    video: Option<PathBuf>,

    /// The list of sound that is played under the picture
    #[arg(long, value_name = "LIST", requires = "video", help_heading = "Content")]
    audio: Option<PathBuf>,

    /// The list of files with both, one after the other
    #[arg(long, value_name = "LIST", conflicts_with = "audio", help_heading = "Content")]
    playlist: Option<PathBuf>,

    /// Play the list in another order every round
    #[arg(long, help_heading = "Content")]
    shuffle: bool,

    /// End with the last item of the list
    #[arg(long, help_heading = "Content")]
    once: bool,

    /// Leave items out whose parameters differ from those of the item before
    #[arg(long, help_heading = "Content")]
    refuse_changes: bool,

    /// Send silence where there is no audio track
    #[arg(long, help_heading = "Content")]
    silence: bool,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    outputs: OutputArgs,

    #[command(flatten)]
    encoding: EncodingArgs,

    #[command(flatten)]
    reels: ReelArgs,
}

const EXAMPLES: &str = "\
Examples:
  channel --video rain.mp4 --audio music/ --shuffle --to rtmp://host/live/key
  channel --playlist today.m3u --to rtmp://host/live/key";

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    mode: String,
    asked_mode: String,
    encoder: &'a str,
    seconds: f64,
    media_ms: i64,
    bytes_sent: u64,
    cpu_ms_per_second: f64,
    rss_kb: u64,
    items: u64,
    items_skipped: u64,
    laps: u64,
    drops: u64,
    reconnects: u64,
}

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    if cli.outputs.is_empty() {
        cli::wrong::<Cli>("there is no output: give --to URL or --record FILE.flv");
    }
    support::exit(run(&cli))
}

fn run(cli: &Cli) -> Result<()> {
    let (source, list) = source(cli)?;
    let stop = support::stop_flag()?;
    let mut config = Config::from_env()?;
    config.reels = cli.reels.store();
    let mut asked = Asked::of(&cli.encoding, &config);
    let engine = Engine::new(config)?;
    let happened = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let channel = cli.outputs.add(engine.stream(source), 0)?.start()?;
    let mut progress = Progress::default();
    edit_from_stdin(list, progress.clone());
    let (mut items, mut items_skipped) = (0, 0);
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed)
        && !channel.has_ended()
        && deadline.is_none_or(|deadline| Instant::now() < deadline)
    {
        if let Some(event) = happened.next_timeout(Duration::from_millis(200)) {
            asked.hear(&event.kind);
            items += u64::from(matches!(event.kind, EventKind::ItemStarted { .. }));
            items_skipped += u64::from(matches!(event.kind, EventKind::ItemSkipped { .. }));
            events::text(&event).iter().for_each(|text| progress.say(text));
        }
        let stats = channel.stats();
        asked.see(&stats);
        if progress.is_shown() {
            progress.show(format!("{stats}; {}", asked.text()));
            progress.show_outputs(stats.outputs);
        }
    }
    progress.clear();

    let (elapsed, cpu) = (began.elapsed(), process::cpu_time() - cpu_before);
    let ended = channel.wait_timeout(Duration::ZERO);
    let stats = channel.stats();
    engine.shutdown(Duration::from_secs(5));
    let cpu_ms = cpu.as_secs_f64() * 1000.0 / elapsed.as_secs_f64();
    if cli.json {
        print::json(&Report {
            mode: stats.mode.to_string(),
            asked_mode: asked.mode().to_string(),
            encoder: asked.encoder(),
            seconds: round(elapsed.as_secs_f64(), 2),
            media_ms: stats.media_time.as_millis(),
            bytes_sent: stats.bytes_sent,
            cpu_ms_per_second: round(cpu_ms, 4),
            rss_kb: process::rss_kb(),
            items,
            items_skipped,
            laps: stats.laps,
            drops: stats.drops,
            reconnects: stats.reconnects,
        })?;
    } else {
        let asked = asked.text();
        out!("{stats}; {asked}; {items} items, {items_skipped} left out, {cpu_ms:.2} ms CPU per second")?;
    }
    match ended {
        Some(Err(error)) => Err(flowcast::error::chain(&error).into()),
        _ => Ok(()),
    }
}

/// What is asked for, and the list that can be edited.
fn source(cli: &Cli) -> Result<(Source, Playlist)> {
    let list = |path: &Path| -> Result<Playlist> {
        let mut list = list_of(path)?;
        if cli.shuffle {
            list = list.shuffled();
        }
        if cli.once {
            list = list.once();
        }
        if cli.refuse_changes {
            list = list.on_change(ParameterChange::Refuse);
        }
        Ok(list)
    };
    let (source, list) = match (&cli.video, &cli.audio, &cli.playlist) {
        (Some(video), Some(audio), None) => {
            let audio = list(audio)?;
            (Source::video(video).looped().with_audio(audio.clone()), audio)
        }
        (None, None, Some(playlist)) => {
            let playlist = list(playlist)?;
            (Source::playlist(playlist.clone()), playlist)
        }
        _ => cli::wrong::<Cli>("give --video and --audio, or --playlist"),
    };
    let source = cli.encoding.source(source);
    Ok((if cli.silence { source.with_silence() } else { source }, list))
}

fn list_of(path: &Path) -> Result<Playlist> {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    Ok(if path.is_dir() {
        Playlist::dir(path)?
    } else if extension
        .is_some_and(|extension| ["m3u", "m3u8", "ffconcat", "txt"].iter().any(|list| extension == *list))
    {
        Playlist::m3u(path)?
    } else {
        Playlist::files([path])
    })
}

/// Lets a person edit the list while it is on the air.
fn edit_from_stdin(list: Playlist, progress: Progress) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
            match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
                ("skip", _) => list.skip(),
                ("add", file) if !file.is_empty() => match list.add(file.trim()) {
                    Ok(id) => progress.say(format_args!("added as {id}")),
                    Err(error) => progress.say(error),
                },
                ("list", _) => {
                    for item in list.items() {
                        progress.say(format_args!("{}: {}", item.id, item.path.display()));
                    }
                }
                ("", _) => {}
                (other, _) => progress.say(format_args!("{other:?}: say skip, add FILE or list")),
            }
        }
    });
}
