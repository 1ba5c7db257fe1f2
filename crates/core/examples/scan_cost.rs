//! What a scan for the verdict costs, and what it costs to ask again: `scan_cost FILE`.
#![allow(clippy::print_stdout, reason = "the figures are its result")]

use std::time::{Duration, Instant};

use flowcast_core::verdict::Interrupt;
use flowcast_core::{Error, ScanOptions, facts};
use rustix::time::{ClockId, clock_gettime};

/// Asked again so often.
const AGAIN: u32 = 1000;

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn main() -> Result<(), Error> {
    let Some(file) = std::env::args_os().nth(1) else {
        println!("usage: scan_cost FILE");
        return Ok(());
    };
    let ask = || facts(file.as_ref(), &ScanOptions::default(), &Interrupt::new());
    let (began, used) = (Instant::now(), cpu());
    let facts = ask()?;
    let (wall, used) = (began.elapsed(), cpu() - used);
    let packets = facts.video.as_ref().map_or(0, |video| video.packets)
        + facts.audio.as_ref().map_or(0, |audio| audio.packets);
    println!("scan: {wall:?}, {used:?} of CPU, {packets} packets, {} MB", facts.bytes / 1_000_000);
    let began = Instant::now();
    for _ in 0..AGAIN {
        ask()?;
    }
    println!("again: {:?}", began.elapsed() / AGAIN);
    Ok(())
}
