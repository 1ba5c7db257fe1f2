//! How many streams one process carries, and what each of them costs.
#![allow(clippy::print_stdout, reason = "scripts read it")]

mod fleet;
mod ramp;
use flowcast_bench::support;

use std::process::ExitCode;
use std::time::Duration;

use flowcast_bench::process;
use flowcast_bench::support::Result;
use flowcast_bench::support::args::Args;
use flowcast_bench::support::json::Object;

use fleet::Fleet;

const USAGE: &str = "\
usage: density FILE... --to URL [--streams N] [--seconds N] [--warm-up N] [--reels DIR] [--tls-ca FILE.pem] [--json]
       density FILE... --to URL --ramp STEP [--streams N] [--seconds N] ...

  FILE...         what to loop, one after the other over the streams
  --to URL        rtmp(s)://host/app/key; {} in it becomes the stream's number
  --streams N     how many. Default 1000; with --ramp the most to try, default 20000
  --seconds N     window that is measured, or of one step. Default 60, of a step 10
  --warm-up N     seconds between everybody being on the air and the window. Default 3
  --reels DIR     play from reels kept there; otherwise directly through libav
  --tls-ca FILE   trust only the certificates in this PEM file for rtmps
  --ramp STEP     add so many streams at a time until something breaks
  --json          print one JSON object as the last line instead of a list";

/// How long all streams together may take to get on the air.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the streams are looked at while they are measured: their figures are of the last second.
const LOOK: Duration = Duration::from_millis(900);

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let options = ["--to", "--streams", "--seconds", "--warm-up", "--reels", "--tls-ca", "--ramp"];
    let args = Args::parse(USAGE, &options, &["--json"])?;
    if args.rest().is_empty() || args.all("--to").is_empty() {
        return Err(USAGE.into());
    }
    let stop = support::stop_flag()?;
    let ramp: Option<usize> = args.last("--ramp")?;
    let streams: usize = args.last("--streams")?.unwrap_or(if ramp.is_some() { 20_000 } else { 1000 }).max(1);
    let window = args.last("--seconds")?.unwrap_or(if ramp.is_some() { 10.0 } else { 60.0 });
    let window = Duration::from_secs_f64(window);
    let warm_up = Duration::from_secs_f64(args.last("--warm-up")?.unwrap_or(3.0));
    let open_files = process::raise_open_files();

    let mut fleet = Fleet::new(&args, streams, stop)?;
    let object = match ramp {
        Some(step) => ramp::run(&mut fleet, step.max(1), streams, warm_up, window)?,
        None => density(&mut fleet, streams, warm_up, window)?,
    };
    let object = object.value("open_files_limit", open_files);
    let abandoned = fleet.shutdown();
    let line = object.value("abandoned", abandoned).finish();
    if args.has("--json") {
        println!("{line}");
    } else {
        let inside = line.trim_start_matches('{').trim_end_matches('}');
        println!("{}", inside.replace(",\"", "\n\""));
    }
    Ok(())
}

/// All streams at once, and one window.
fn density(fleet: &mut Fleet, streams: usize, warm_up: Duration, window: Duration) -> Result<Object> {
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
    let millis = |index: usize| starts.get(index).map(|start| format!("{:.1}", start.as_secs_f64() * 1e3));
    Ok(seen
        .report()
        .value("files", fleet.files())
        .value("rss_kb", full_kb)
        .value("rss_kb_without_streams", empty_kb)
        .value("rss_kb_per_extra_stream", format!("{per_extra:.1}"))
        .value("threads", process::status("Threads"))
        .value("open_files", process::open_files())
        .optional("start_ms_median", millis(starts.len() / 2))
        .optional("start_ms_max", millis(starts.len().saturating_sub(1))))
}
