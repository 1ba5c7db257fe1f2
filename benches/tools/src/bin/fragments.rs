//! What fragments cost: how long one takes to be handed over, the memory it needs, and the CPU time of those that are paced.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use flowcast::fragment::{FragmentOptions, FragmentPace, FragmentPublisher};
use flowcast::{Config, Engine, EventKind, Events, Output, Source, StreamHandle};
use flowcast_bench::process;
use flowcast_bench::support::{Result, exit, round, seconds, tenths};
use serde_json::{Value, json};

/// How long a fragment may take to be handed over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Publishes fragments to a server, and prints what that cost as a JSON object.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Hand one fragment over as fast as the server takes it
    Once {
        /// The fragment
        file: PathBuf,
        /// A short one that goes first, so that what is needed once is there
        warm: PathBuf,
        /// The server, HOST:PORT
        to: String,
    },
    /// Publish a fragment again and again in real time
    Paced {
        /// The fragment
        file: PathBuf,
        /// The server, HOST:PORT
        to: String,
        /// How long it is measured
        #[arg(long, default_value = "20", value_parser = seconds)]
        seconds: Duration,
    },
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let figures = match &cli.what {
        What::Once { file, warm, to } => once(file, warm, to)?,
        What::Paced { file, to, seconds } => paced(file, to, *seconds)?,
    };
    println!("{figures}");
    Ok(())
}

fn start(engine: &Engine, to: &str, pace: FragmentPace) -> Result<(FragmentPublisher, StreamHandle)> {
    let options = FragmentOptions::default().with(|options| options.pace = pace);
    let publisher = FragmentPublisher::with_options(options);
    let output = Output::rtmp(&format!("rtmp://{to}/live"), "bench");
    let live = engine.stream(Source::fragments(&publisher)).to(output).start()?;
    Ok((publisher, live))
}

fn once(file: &Path, warm: &Path, to: &str) -> Result<Value> {
    let engine = Engine::new(Config::default())?;
    let (publisher, live) = start(&engine, to, FragmentPace::Off)?;
    let events = live.events();
    publisher.push(warm)?;
    published(&events)?;
    // What the first one needs is kept for those behind it.
    let first = hand_over(file, &publisher, &live, &events)?;
    let again = hand_over(file, &publisher, &live, &events)?;
    let (bytes, drops) = (std::fs::metadata(file)?.len(), live.stats().drops);
    engine.shutdown(Duration::from_secs(5));
    Ok(json!({ "bytes": bytes, "first": first, "again": again, "drops": drops }))
}

fn hand_over(file: &Path, to: &FragmentPublisher, live: &StreamHandle, events: &Events) -> Result<Value> {
    let (before, mut held) = (process::status("VmRSS"), 0);
    // Makes the most so far begin anew, see proc(5).
    std::fs::write("/proc/self/clear_refs", "5")?;
    let began = Instant::now();
    to.push(file)?;
    let pushed = began.elapsed();
    let elapsed = loop {
        held = held.max(live.stats().bytes_held);
        match events.next_timeout(Duration::from_millis(2)).map(|event| event.kind) {
            Some(EventKind::FragmentPublished { elapsed, .. }) => break elapsed,
            Some(EventKind::FragmentSkipped { error, .. }) => return Err(error.into()),
            _ if began.elapsed() > PATIENCE => return Err("it is not taken".into()),
            _ => {}
        }
    };
    let most = process::status("VmHWM");
    Ok(json!({
        "push_ms": round(pushed.as_secs_f64() * 1e3, 2),
        "hand_over_ms": tenths(elapsed),
        "more_kib": most.saturating_sub(before),
        "held_kib": held / 1024,
    }))
}

fn published(events: &Events) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while let Some(event) = events.next_timeout(until.saturating_duration_since(Instant::now())) {
        match event.kind {
            EventKind::FragmentPublished { .. } => return Ok(()),
            EventKind::FragmentSkipped { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    Err("it is not taken".into())
}

fn paced(file: &Path, to: &str, length: Duration) -> Result<Value> {
    let engine = Engine::new(Config::default())?;
    let (publisher, live) = start(&engine, to, FragmentPace::Realtime)?;
    let pushing = {
        let (publisher, file) = (publisher.clone(), file.to_owned());
        std::thread::spawn(move || while publisher.push(&file).is_ok() {})
    };
    let began = Instant::now();
    while live.stats().bytes_sent == 0 {
        if began.elapsed() > PATIENCE {
            return Err("nothing is sent".into());
        }
        sleep(Duration::from_millis(5));
    }
    // What is done once is not counted.
    sleep(Duration::from_secs(2));
    let (cpu, begin) = (process::cpu_time(), Instant::now());
    sleep(length);
    let used = (process::cpu_time() - cpu).as_secs_f64() * 1e3 / begin.elapsed().as_secs_f64();
    let rss = process::status("VmRSS");
    let stats = live.stats();
    publisher.finish();
    engine.shutdown(Duration::from_secs(5));
    pushing.join().map_err(|_| "the thread that pushes panicked")?;
    Ok(json!({ "cpu_ms_per_second": round(used, 2), "rss_kib": rss, "drops": stats.drops }))
}
