//! A file that is encoded: once, as fast as it goes; as it plays, this many times at once; or lap after lap.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use flowcast::encode::EncoderChoice;
use flowcast::{BitRate, Config, Encoding, Engine, EventKind, Mode, Platform, Profile, Source, StreamHandle};
use flowcast_bench::support::{Result, exit, seconds};
use flowcast_bench::{process, reels};
use serde_json::json;

/// A file that is encoded: once, as fast as it goes; as it plays, several times at once; or lap after lap.
///
/// Prints a JSON object a line: live says what the process uses then, laps what each lap took.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Encode the file into a reel below the directory, as fast as it goes
    Once(Job),
    /// Play the file to recordings in the directory, encoding it as it plays
    Live {
        #[command(flatten)]
        job: Job,

        /// How many at a time
        #[arg(long, value_name = "N", default_value_t = 1)]
        streams: usize,

        /// For how long
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        seconds: Duration,
    },
    /// Play the file from a reel below the directory that is made meanwhile
    Laps {
        #[command(flatten)]
        job: Job,

        /// How many laps
        #[arg(long, value_name = "N", default_value_t = 4)]
        laps: u64,
    },
}

#[derive(Args)]
struct Job {
    /// The file
    file: PathBuf,

    /// Where reels or recordings are put
    directory: PathBuf,

    /// The profile
    #[arg(long, value_name = "NAME", default_value = "ultra")]
    profile: Profile,

    /// Another preset than the profile's
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Another tune than the profile's; '' for none
    #[arg(long, value_name = "NAME")]
    tune: Option<String>,

    /// Another H.264 profile than the profile's
    #[arg(long, value_name = "NAME")]
    h264: Option<String>,

    /// Threads of the encoder
    #[arg(long, value_name = "N")]
    threads: Option<u32>,

    /// Bit rate of the picture in kbit/s
    #[arg(long, value_name = "N")]
    kbps: Option<u32>,

    /// The decoder's buffer in thousand bits
    #[arg(long, value_name = "N")]
    vbv: Option<u32>,

    /// Encode only what YouTube and Twitch do not take
    #[arg(long)]
    auto: bool,
}

/// How long encoding a file may take.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long the way to a first picture is, in which nothing is measured.
const WARM_UP: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let (What::Once(job) | What::Live { job, .. } | What::Laps { job, .. }) = &cli.what;
    let directory = &job.directory;
    std::fs::create_dir_all(directory)?;
    let source = source(job);
    match &cli.what {
        What::Once(_) => once(source, directory),
        What::Live { streams, seconds, .. } => live(&source, directory, *streams, *seconds),
        What::Laps { laps, .. } => play_laps(source, directory, *laps),
    }
}

fn source(job: &Job) -> Source {
    let mut encoding = Encoding::new(job.profile);
    encoding.preset.clone_from(&job.preset);
    encoding.tune.clone_from(&job.tune);
    encoding.h264_profile.clone_from(&job.h264);
    encoding.threads = job.threads;
    encoding.video_bit_rate = job.kbps.map(|kbps| BitRate::from_kbps(kbps.into()));
    encoding.vbv_kbits = job.vbv;
    encoding.encoder = EncoderChoice::Software;
    let source = Source::file(&job.file).looped().encoding(encoding);
    if job.auto {
        source.mode(Mode::Auto).platform(Platform::youtube()).platform(Platform::twitch())
    } else {
        source.mode(Mode::Encode)
    }
}

fn engine(store: Option<&Path>) -> Result<Engine> {
    let mut config = Config::default();
    if let Some(directory) = store {
        reels::keep_in(&mut config, directory);
    }
    Ok(Engine::new(config)?)
}

fn start(engine: &Engine, source: Source, recording: &Path) -> Result<StreamHandle> {
    Ok(engine.stream(source).record(recording).start()?)
}

fn once(source: Source, directory: &Path) -> Result<()> {
    let engine = engine(Some(directory))?;
    // Who plays it would encode it, too, once it is faster than the reel on a busy machine.
    start(&engine, source, Path::new("/dev/null"))?.stop(Duration::from_secs(1))?;
    reels::wait_for_cutter(&engine, PATIENCE);
    let cpu = process::cpu_time();
    if engine.reel_store_stats().is_none_or(|stats| stats.reels != 1) {
        return Err("there is no reel".into());
    }
    println!("{}", json!({ "cpu_seconds": cpu.as_secs_f64() }));
    Ok(())
}

fn live(source: &Source, directory: &Path, streams: usize, seconds: Duration) -> Result<()> {
    let engine = engine(None)?;
    let live: Vec<_> = (0..streams)
        .map(|number| start(&engine, source.clone(), &directory.join(format!("{number}.flv"))))
        .collect::<Result<_>>()?;
    std::thread::sleep(WARM_UP);
    let (before, began) = (process::cpu_time(), Instant::now());
    std::thread::sleep(seconds);
    let spent = process::cpu_time().saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    let late = live.iter().map(|live| live.stats().schedule_lag_max).max().unwrap_or_default();
    let figures = json!({
        "streams": streams,
        "cpu_ms_per_second": spent * 1000.0,
        "rss_kb": process::status("VmRSS"),
        "rss_max_kb": process::status("VmHWM"),
        "threads": process::status("Threads"),
        "late_max_ms": late.as_secs_f64() * 1000.0,
    });
    println!("{}", figures);
    for live in live {
        live.stop(Duration::from_secs(3))?;
    }
    Ok(())
}

fn play_laps(source: Source, directory: &Path, laps: u64) -> Result<()> {
    let engine = engine(Some(directory))?;
    let events = engine.events();
    let mut before = process::cpu_time();
    let began = Instant::now();
    let live = start(&engine, source, Path::new("/dev/null"))?;
    for lap in 1..=laps {
        // Not by looking at its figures again and again: that would cost more than a lap.
        loop {
            let event = events.next_timeout(PATIENCE).ok_or("nothing happens")?;
            match event.kind {
                EventKind::Looped { laps } if laps >= lap => break,
                EventKind::Ended { .. } => return Err("the stream has ended".into()),
                _ => {}
            }
        }
        let now = process::cpu_time();
        let figures = json!({
            "lap": lap,
            "cpu_ms": now.saturating_sub(before).as_secs_f64() * 1000.0,
            "ends_at_ms": began.elapsed().as_secs_f64() * 1000.0,
            "mode": live.stats().mode.to_string(),
        });
        println!("{}", figures);
        before = now;
    }
    live.stop(Duration::from_secs(3))?;
    Ok(())
}
