//! A file that is encoded: once, as fast as it goes; as it plays, so many times at once; or lap after lap.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use flowcast_bench::support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use flowcast::{
    Config, EncoderChoice, Encoding, Engine, EventKind, Mode, Platform, Profile, Source, StreamHandle,
};
use flowcast_bench::support::args::Args;
use flowcast_bench::support::{Result, json};
use flowcast_bench::{process, reels};

const USAGE: &str = "\
usage: transcode once FILE DIR        encode FILE into a reel below DIR, as fast as it goes
       transcode live FILE DIR        play FILE to recordings in DIR, encoding it as it plays
       transcode laps FILE DIR        play FILE from a reel below DIR that is made meanwhile

  --profile NAME   the profile. Default ultra
  --preset NAME    another preset than the profile's
  --tune NAME      another tune than the profile's; '' for none
  --h264 NAME      another H.264 profile than the profile's
  --threads N      threads of the encoder
  --kbps N         bits per second of the picture, in thousands
  --vbv N          the decoder's buffer, in thousand bits
  --auto           encode only what YouTube and Twitch do not take
  --streams N      live: how many at a time. Default 1
  --seconds S      live: for how long. Default 10
  --laps N         laps: how many. Default 4

Prints a JSON object a line: live says what the process uses then, laps what each lap took.";

/// How long encoding a file may take.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long the way to a first picture is, in which nothing is measured.
const WARM_UP: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let options = [
        "--profile",
        "--preset",
        "--tune",
        "--h264",
        "--threads",
        "--kbps",
        "--vbv",
        "--streams",
        "--seconds",
        "--laps",
    ];
    let args = Args::parse(USAGE, &options, &["--auto"])?;
    let [what, file, directory] = args.rest() else { return Err(format!("what?\n{USAGE}").into()) };
    let (file, directory) = (PathBuf::from(file), PathBuf::from(directory));
    std::fs::create_dir_all(&directory)?;
    let source = source(&file, &args)?;
    match what.as_str() {
        "once" => once(source, &directory),
        "live" => live(&source, &directory, &args),
        "laps" => laps(source, &directory, &args),
        _ => Err(format!("what is {what:?}?\n{USAGE}").into()),
    }
}

fn source(file: &Path, args: &Args) -> Result<Source> {
    let profile: String = args.last("--profile")?.unwrap_or_else(|| "ultra".to_owned());
    let profile = Profile::by_name(&profile).ok_or("no such profile")?;
    let mut encoding = Encoding::new(profile);
    encoding.preset = args.last("--preset")?;
    encoding.tune = args.last("--tune")?;
    encoding.h264_profile = args.last("--h264")?;
    encoding.threads = args.last("--threads")?;
    encoding.video_kbps = args.last("--kbps")?;
    encoding.vbv_kbits = args.last("--vbv")?;
    encoding.encoder = EncoderChoice::Software;
    let source = Source::file(file).looped().encoding(encoding);
    Ok(if args.has("--auto") {
        source.mode(Mode::Auto).platform(Platform::youtube()).platform(Platform::twitch())
    } else {
        source.mode(Mode::Encode)
    })
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
    println!("{}", json::Object::default().value("cpu_seconds", cpu.as_secs_f64()).finish());
    Ok(())
}

fn live(source: &Source, directory: &Path, args: &Args) -> Result<()> {
    let streams: usize = args.last("--streams")?.unwrap_or(1);
    let seconds: f64 = args.last("--seconds")?.unwrap_or(10.0);
    let engine = engine(None)?;
    let live: Vec<_> = (0..streams)
        .map(|number| start(&engine, source.clone(), &directory.join(format!("{number}.flv"))))
        .collect::<Result<_>>()?;
    std::thread::sleep(WARM_UP);
    let (before, began) = (process::cpu_time(), Instant::now());
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let spent = process::cpu_time().saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    let late = live.iter().map(|live| live.stats().schedule_lag_max).max().unwrap_or_default();
    let figures = json::Object::default()
        .value("streams", streams)
        .value("cpu_ms_per_second", spent * 1000.0)
        .value("rss_kb", process::status("VmRSS"))
        .value("rss_max_kb", process::status("VmHWM"))
        .value("threads", process::status("Threads"))
        .value("late_max_ms", late.as_secs_f64() * 1000.0);
    println!("{}", figures.finish());
    for live in live {
        live.stop(Duration::from_secs(3))?;
    }
    Ok(())
}

fn laps(source: Source, directory: &Path, args: &Args) -> Result<()> {
    let laps: u64 = args.last("--laps")?.unwrap_or(4);
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
        let figures = json::Object::default()
            .value("lap", lap)
            .value("cpu_ms", now.saturating_sub(before).as_secs_f64() * 1000.0)
            .value("ends_at_ms", began.elapsed().as_secs_f64() * 1000.0)
            .text("mode", &live.stats().mode.to_string());
        println!("{}", figures.finish());
        before = now;
    }
    live.stop(Duration::from_secs(3))?;
    Ok(())
}
