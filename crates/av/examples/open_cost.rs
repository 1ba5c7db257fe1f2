//! Measures what opening the files named on the command line costs, with a fast and a thorough probe, and reading and rewinding
//! them: the median of many rounds.
//!
//! `cargo run --release -p flowcast-av --example open_cost -- intro.mp4`

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast_av::{Demuxer, Error, Interrupt, OpenOptions, Probe};

const ROUNDS: usize = 200;

fn main() {
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        if let Err(error) = measure(&path) {
            println!("{}: {error}", path.display());
        }
    }
}

fn measure(path: &Path) -> Result<(), Error> {
    let mut line = path.display().to_string();
    for probe in [Probe::Fast, Probe::Thorough] {
        let options = OpenOptions { probe, ..OpenOptions::default() };
        let opened = median(|| Demuxer::open(path, &options, &Interrupt::new()).map(drop))?;
        line += &format!("  {probe:?} {opened:?}");
    }
    let mut input = Demuxer::open(path, &OpenOptions::default(), &Interrupt::new())?;
    let mut packets = 0_usize;
    let read = median(|| {
        packets = 0;
        while input.read()?.is_some() {
            packets += 1;
        }
        input.rewind()
    })?;
    println!("{line}  lap of {packets} packets with rewind {read:?}");
    Ok(())
}

fn median(mut run: impl FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        run()?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times.get(ROUNDS / 2).copied().unwrap_or_default())
}
