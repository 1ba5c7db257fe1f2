//! Prints what is in the files named on the command line, and what reading them gives.
//!
//! `cargo run -p flowcast-av --example probe -- intro.mp4`

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::path::PathBuf;
use std::time::Instant;

use flowcast_av::{Demuxer, Error, Interrupt, OpenOptions, Probe};

fn main() {
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        println!("{}", path.display());
        for probe in [Probe::Fast, Probe::Thorough] {
            if let Err(error) = show(&path, probe) {
                println!("  {probe:?}: {}: {error}", error.code());
            }
        }
    }
}

fn show(path: &std::path::Path, probe: Probe) -> Result<(), Error> {
    let options = OpenOptions { probe, ..OpenOptions::default() };
    let started = Instant::now();
    let mut input = Demuxer::open(path, &options, &Interrupt::new())?;
    let opened = started.elapsed();
    println!("  {probe:?}: opened in {opened:?}");
    let media = input.media();
    println!(
        "  {}, {:?}, start {:?} us, {:?} bit/s",
        media.format, media.duration, media.start_micros, media.bit_rate
    );
    for track in &media.tracks {
        let config = track.config.as_ref().map(bytes::Bytes::len);
        println!(
            "  {} {} {:?} {:?} in {}: start {:?}, length {:?}, {:?} packets, config {config:?} bytes, {:?} {:?}",
            track.index,
            track.codec,
            track.profile,
            track.level,
            track.time_base,
            track.start,
            track.duration,
            track.frames,
            track.video,
            track.audio,
        );
    }
    let mut packets = vec![(0_u64, None, None); input.media().tracks.len()];
    while let Some(packet) = input.read()? {
        if let Some((count, first, last)) = packets.get_mut(packet.track) {
            *count += 1;
            first.get_or_insert((packet.pts, packet.dts));
            *last = Some((packet.pts, packet.dts));
        }
    }
    for (track, (count, first, last)) in packets.iter().enumerate() {
        println!("  track {track}: {count} packets, first {first:?}, last {last:?} (pts, dts)");
    }
    Ok(())
}
