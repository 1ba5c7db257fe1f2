//! More and more streams, until something breaks.

use std::time::Duration;

use flowcast::Error;
use flowcast_bench::process;
use flowcast_bench::support::Result;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Seen};
use crate::{LOOK, PATIENCE};

/// Lag of an output beyond which a step has failed.
const LAG: Duration = Duration::from_secs(1);
/// How late a stream may wake.
const SCHEDULE_LAG: Duration = Duration::from_millis(500);
/// How far media time may be off.
const SPEED: f64 = 0.02;
/// Share of the processors that has to be idle for the processors not to be what broke.
const IDLE: f64 = 0.03;
/// Memory of the machine that has to be left, KiB.
const MEMORY_KB: u64 = 256 << 10;

/// Adds `step` streams at a time, up to `most`.
pub(crate) fn run(
    fleet: &mut Fleet,
    step: usize,
    most: usize,
    warm_up: Duration,
    window: Duration,
) -> Result<Value> {
    let mut steps = Vec::new();
    let (mut carried, mut broke) = (0, None);
    while broke.is_none() && fleet.len() < most {
        let started = fleet.grow(step.min(most - fleet.len()));
        if let Err(error) = started {
            broke = Some(refused(&error));
            break;
        }
        if let Err(error) = fleet.wait_for_air(PATIENCE) {
            broke = Some(format!("start: {error}"));
            break;
        }
        fleet.rest(warm_up);
        let mut seen = fleet.watch(window, LOOK);
        broke = judge(&seen);
        if let Some(once) = broke.take() {
            // A machine that stands still for a moment is no limit: one that is will show again.
            eprintln!("looking again: {once}");
            seen = fleet.watch(window, LOOK);
            broke = judge(&seen);
        }
        if broke.is_none() {
            carried = seen.streams;
        }
        let mut figures = seen.report();
        figures["rss_kb"] = process::status("VmRSS").into();
        figures["threads"] = process::status("Threads").into();
        figures["open_files"] = process::open_files().into();
        eprintln!("{figures}");
        steps.push(figures);
    }
    let broke = broke.as_deref().unwrap_or("nothing");
    Ok(json!({ "carried": carried, "broke_first": broke, "steps": steps }))
}

/// Why a stream could not be started.
fn refused(error: &Error) -> String {
    let mut text = flowcast::error::chain(error);
    let lower = text.to_lowercase();
    let what = if lower.contains("too many open files") {
        "descriptors"
    } else if lower.contains("resource temporarily unavailable") {
        "threads"
    } else if lower.contains("memory") {
        "memory"
    } else {
        "start"
    };
    text.insert_str(0, ": ");
    text.insert_str(0, what);
    text
}

/// What is wrong with a step, if anything, and what it was for want of.
fn judge(seen: &Seen) -> Option<String> {
    let mut wrong = Vec::new();
    if seen.ended > 0 {
        wrong.push(format!("{} streams ended", seen.ended));
    }
    if seen.drops > 0 {
        wrong.push(format!("{} tags dropped", seen.drops));
    }
    if seen.reconnects > 0 {
        wrong.push(format!("{} reconnects", seen.reconnects));
    }
    if seen.lag > LAG {
        wrong.push(format!("lag {} ms", seen.lag.as_millis()));
    }
    if seen.schedule_lag > SCHEDULE_LAG {
        wrong.push(format!("woke {} ms late", seen.schedule_lag.as_millis()));
    }
    for speed in [seen.speed.0, seen.speed.1] {
        if (speed - 1.0).abs() > SPEED {
            wrong.push(format!("a stream at {:.1} % of its bitrate", speed * 100.0));
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let cause = if seen.idle < IDLE {
        "CPU"
    } else if process::memory_available_kb() < MEMORY_KB {
        "memory"
    } else {
        "scheduling"
    };
    Some(format!("{cause}: {}", wrong.join(", ")))
}
