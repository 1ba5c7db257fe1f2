//! How many streams one process carries, and what each of them costs.
#![allow(clippy::print_stdout, reason = "scripts read it")]

mod fleet;
mod ramp;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use flowcast_bench::process;
use flowcast_bench::support::{Result, exit, round, seconds, stop_flag, tenths};
use serde_json::{Value, json};

use fleet::Fleet;

/// How many streams one process carries, and what each of them costs.
#[derive(Parser)]
struct Cli {
    /// What to loop, one after the other over the streams
    #[arg(required = true)]
    files: Vec<String>,

    /// rtmp(s)://host/app/key to send the streams to; {} becomes the stream's number
    #[arg(long, value_name = "URL")]
    to: String,

    /// How many streams; with --ramp the most to try. Otherwise 1000, with --ramp 20000
    #[arg(long, value_name = "N")]
    streams: Option<usize>,

    /// The window that is measured, or that of one step. Otherwise 60, of a step 10
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,

    /// Time between everybody being on the air and the window
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    warm_up: Duration,

    /// Play from reels kept there; otherwise directly through libav
    #[arg(long, value_name = "DIR")]
    reels: Option<PathBuf>,

    /// Trust only the certificates in this PEM file for rtmps
    #[arg(long, value_name = "FILE.pem")]
    tls_ca: Option<PathBuf>,

    /// Add this many streams at a time until something breaks
    #[arg(long, value_name = "STEP")]
    ramp: Option<usize>,

    /// Print one JSON object in one line, the last one, instead of a list
    #[arg(long)]
    json: bool,
}

/// How long all streams together may take to get on the air.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the streams are looked at while they are measured: their figures are of the last second.
const LOOK: Duration = Duration::from_millis(900);

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let stop = stop_flag()?;
    let (streams, window) = if cli.ramp.is_some() { (20_000, 10) } else { (1000, 60) };
    let streams = cli.streams.unwrap_or(streams).max(1);
    let window = cli.seconds.unwrap_or(Duration::from_secs(window));
    let open_files = process::raise_open_files();

    let mut fleet = Fleet::new(cli, streams, stop)?;
    let mut figures = match cli.ramp {
        Some(step) => ramp::run(&mut fleet, step.max(1), streams, cli.warm_up, window)?,
        None => density(&mut fleet, streams, cli.warm_up, window)?,
    };
    figures["open_files_limit"] = open_files.into();
    figures["abandoned"] = fleet.shutdown().into();
    if cli.json {
        println!("{figures}");
    } else {
        println!("{figures:#}");
    }
    Ok(())
}

/// All streams at once, and one window.
fn density(fleet: &mut Fleet, streams: usize, warm_up: Duration, window: Duration) -> Result<Value> {
    let empty_kb = process::status("VmRSS");
    let few = (streams / 10).max(1);
    fleet.grow(few)?;
    fleet.wait_for_air(PATIENCE)?;
    fleet.rest(warm_up);
    let few_kb = process::status("VmRSS");
    fleet.grow(streams - few)?;
    fleet.wait_for_air(PATIENCE)?;
    fleet.rest(warm_up);

    let seen = fleet.watch(window, LOOK);
    let full_kb = process::status("VmRSS");
    let per_extra = full_kb.saturating_sub(few_kb) as f64 / (streams - few).max(1) as f64;
    let starts = fleet.start_times();
    let millis = |index: usize| starts.get(index).copied().map(tenths);
    let mut figures = seen.report();
    figures["files"] = fleet.files().into();
    figures["rss_kb"] = full_kb.into();
    figures["rss_kb_without_streams"] = empty_kb.into();
    figures["rss_kb_per_extra_stream"] = round(per_extra, 1).into();
    figures["threads"] = process::status("Threads").into();
    figures["open_files"] = process::open_files().into();
    figures["start_ms_median"] = json!(millis(starts.len() / 2));
    figures["start_ms_max"] = json!(millis(starts.len().saturating_sub(1)));
    Ok(figures)
}
