//! Music under a publisher: the embedded server takes a publication, mixes music under its sound, and offers the mix. Pictures are
//! copied.
//!
//! Without arguments it is the demo: it makes clips, publishes one of them to itself with another one's sound under it, plays the mix in
//! process and checks what arrives.
mod demo;
#[path = "../loop_file/player.rs"]
mod player;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::error::chain;
use flowcast::loudness::Loudness;
use flowcast::mix::{MixInput, Mixer};
use flowcast::{Config, Engine, Mode, Output, Playlist, RtmpServerExt, Source};
use serde::Serialize;
use support::print::{out, round};
use support::{Result, cli, events, print, process};

/// Takes a publication and puts music under its sound; pictures are copied. Publish to rtmp://ADDRESS/live/KEY, play
/// rtmp://ADDRESS/live/mix.
///
/// Without arguments it is a demo: it makes clips, mixes them, plays the mix back and checks what arrives.
#[derive(Parser)]
#[command(name = "mix", max_term_width = cli::WIDTH)]
struct Cli {
    /// Files or directories of music; without any the demo runs
    music: Vec<PathBuf>,

    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1935")]
    listen: String,

    /// The key to publish with; otherwise one is made and printed
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// How loud the music is, in decibels
    #[arg(long, value_name = "DB", default_value = "-12", allow_negative_numbers = true)]
    gain: f64,

    /// Do not turn the music down while the publisher is heard
    #[arg(long)]
    no_duck: bool,

    /// Bring each file of music to the same loudness, -14 LUFS, before the gain
    #[arg(long)]
    level: bool,

    /// Encode the picture as well
    #[arg(long)]
    encode: bool,

    /// Mix nothing: send on what is published
    #[arg(long, conflicts_with_all = ["gain", "no_duck", "level"])]
    off: bool,

    /// Also send the mix to this URL
    #[arg(long, value_name = "URL")]
    to: Option<String>,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    cpu_ms_per_second: f64,
    rss_kb: u64,
    drops: u64,
    gaps: u64,
    latency_ms: f64,
}

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    support::exit(if cli.music.is_empty() { demo::run(cli.json) } else { run(&cli) })
}

fn run(cli: &Cli) -> Result<()> {
    let stop = support::stop_flag()?;
    let engine = Engine::new(Config::from_env()?)?;
    let happened = engine.events();
    match &cli.key {
        Some(key) => engine.keys().add("studio", key.as_str())?,
        None => {
            let key = engine.keys().issue("studio")?;
            out!("key: {}", key.reveal())?;
        }
    }
    let server = engine.rtmp_server(&cli.listen).start()?;
    let music = Playlist::new().shuffled();
    for path in &cli.music {
        if path.is_dir() {
            for item in Playlist::dir(path)?.items() {
                music.add(item.path)?;
            }
        } else {
            music.add(path)?;
        }
    }
    let mut input = MixInput::playlist(music).gain_db(cli.gain).fade_in(Duration::from_secs(1));
    if cli.level {
        input = input.leveled(Loudness::default());
    }
    if !cli.no_duck {
        input = input.duck_under("voice");
    }
    let mixer = Mixer::new().input("voice", MixInput::source()).input("music", input);
    let outputs = std::iter::once(Output::publish("mix")).chain(cli.to.as_deref().map(Output::url));
    let mut source = Source::published("studio");
    if !cli.off {
        source = source.with_mix(mixer);
    }
    if cli.encode {
        source = source.mode(Mode::Encode);
    }
    let live = engine.stream(source).outputs(outputs).start()?;
    out!("publish to rtmp://{0}/live/KEY, play rtmp://{0}/live/mix", server.address())?;

    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    let mixer = live.mixer();
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = happened.next_timeout(Duration::from_millis(200)) {
            events::text(&event).iter().for_each(print::note);
        }
        if live.has_ended() {
            break;
        }
    }
    let (elapsed, cpu) = (began.elapsed().as_secs_f64(), process::cpu_time() - cpu_before);
    let mixed = mixer.map(|mixer| mixer.stats());
    let stats = live.stop(Duration::from_secs(5)).map_err(|error| chain(&error))?;
    server.stop(Duration::from_secs(5));
    let report = Report {
        seconds: round(elapsed, 2),
        cpu_ms_per_second: round(cpu.as_secs_f64() * 1e3 / elapsed, 3),
        rss_kb: process::rss_kb(),
        drops: stats.drops,
        gaps: mixed.iter().flat_map(|mixed| &mixed.inputs).map(|input| input.gaps).sum(),
        latency_ms: round(mixed.map_or(0.0, |mixed| mixed.latency.as_secs_f64() * 1e3), 2),
    };
    if cli.json {
        print::json(&report)?;
    } else {
        let Report { seconds, cpu_ms_per_second, drops, gaps, .. } = report;
        out!("{seconds:.1} s, {cpu_ms_per_second:.2} ms of CPU per second, {drops} drops, {gaps} gaps")?;
    }
    Ok(())
}
