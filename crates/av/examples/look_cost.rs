//! What it costs to look at a sample of a file as flowcast's watchdog does, as CPU time of this thread: a decoder is opened, a keyframe is decoded and made
//! small; the pictures of a second are decoded and compared; a second of sound is decoded.
//!
//! `cargo run --release -p flowcast-av --example look_cost -- FILE`

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::Path;

use flowcast_av::{
    AudioDecoder, DecoderOptions, Demuxer, Error, Interrupt, OpenOptions, Packet, VideoDecoder,
};

fn main() -> Result<(), Error> {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("look_cost FILE");
        std::process::exit(2);
    };
    let mut input = Demuxer::open(Path::new(&file), &OpenOptions::default(), &Interrupt::new())?;
    let (video, audio) = (input.media().video().cloned(), input.media().audio().cloned());
    let (mut pictures, mut sound) = (Vec::new(), Vec::new());
    while let Some(packet) = input.read()? {
        let of = |track: &Option<flowcast_av::TrackInfo>| {
            track.as_ref().filter(|track| track.index == packet.track).map(|track| track.time_base)
        };
        let within = |packets: &[Packet], base: flowcast_av::TimeBase| {
            let first = packets.first().unwrap_or(&packet).dts.unwrap_or(0);
            base.millis(packet.dts.unwrap_or(0).saturating_sub(first)) < 1000
        };
        match (of(&video), of(&audio)) {
            (Some(base), _) if within(&pictures, base) => pictures.push(packet),
            (_, Some(base)) if within(&sound, base) => sound.push(packet),
            _ => {}
        }
    }
    if let Some(video) = &video {
        let mut before = cpu_micros();
        let mut decoder = VideoDecoder::open(video, &DecoderOptions::default())?;
        let mut first = None;
        let count = pictures.len();
        for packet in &pictures {
            decoder.push(packet)?;
            while let Some(picture) = decoder.pull()? {
                match &first {
                    None => {
                        picture.gray(Some((160, 90)))?;
                        println!("keyframe: {} µs", cpu_micros() - before);
                        before = cpu_micros();
                        first = Some(picture.gray(None)?);
                    }
                    Some(first) => {
                        picture.gray(Some((160, 90)))?;
                        let other = picture.gray(None)?;
                        let sum: u64 = first.iter().zip(&other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                        assert!(sum < u64::MAX);
                    }
                }
            }
        }
        println!("{count} pictures: {} µs", cpu_micros() - before);
    }
    if let Some(audio) = &audio {
        let before = cpu_micros();
        let mut decoder = AudioDecoder::open(audio, &DecoderOptions::default())?;
        for packet in &sound {
            decoder.push(packet)?;
            while let Some(frame) = decoder.pull()? {
                let _ = frame.to_bytes();
            }
        }
        println!("{} packets of sound: {} µs", sound.len(), cpu_micros() - before);
    }
    Ok(())
}

/// CPU time of this thread.
fn cpu_micros() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0) / 1000
}
