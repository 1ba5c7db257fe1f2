//! Decodes the picture of a file and encodes it again with libx264, one thread each, into another: for comparing the CPU
//! time with `ffmpeg -threads 1 -i IN -an -c:v libx264 -preset P -threads 1 -b:v 2500k -maxrate 2500k -bufsize 5000k -g 60
//! -keyint_min 60 -sc_threshold 0 -bf 0 OUT`.
//!
//! `cargo run --release -p flowcast-av --example transcode_cost -- IN OUT [PRESET]`

use std::env::args;
use std::path::Path;

use flowcast_av::encoder::{RateControl, VideoEncoder, VideoSettings};
use flowcast_av::{DecoderOptions, Demuxer, Error, Interrupt, Muxer, OpenOptions, Ratio, VideoDecoder};

fn main() -> Result<(), Error> {
    let words: Vec<String> = args().skip(1).collect();
    let [input, output, rest @ ..] = words.as_slice() else {
        eprintln!("transcode_cost IN OUT [PRESET]");
        std::process::exit(2);
    };
    let preset = rest.first().map_or("ultrafast", String::as_str);
    let mut input = Demuxer::open(Path::new(input), &OpenOptions::default(), &Interrupt::new())?;
    let Some(track) = input.media().video().cloned() else {
        return Err(Error::InvalidArgument { message: "no picture".to_owned() });
    };
    input.select(&[track.index]);
    let video = track.video.as_ref();
    let (width, height) = video.map_or((0, 0), |video| (video.width, video.height));
    let rate = video.and_then(|video| video.frame_rate).unwrap_or(Ratio { num: 30, den: 1 });
    let settings = VideoSettings {
        time_base: Some(track.time_base),
        rate_control: RateControl::Cbr { bit_rate: 2_500_000, vbv_bits: 5_000_000, filler: false },
        gop_frames: 60,
        preset: preset.to_owned(),
        ..VideoSettings::new(width, height, rate)
    };
    let mut decoder = VideoDecoder::open(&track, &DecoderOptions::default())?;
    let mut encoder = VideoEncoder::open(0, &settings)?;
    let mut muxer = Muxer::create(Path::new(output), None, std::slice::from_ref(encoder.track()))?;
    loop {
        let packet = input.read()?;
        match &packet {
            Some(packet) => decoder.push(packet)?,
            None => decoder.finish()?,
        }
        while let Some(frame) = decoder.pull()? {
            encoder.push_frame(&frame, false)?;
            write(&mut encoder, &mut muxer)?;
        }
        if packet.is_none() {
            encoder.finish()?;
            write(&mut encoder, &mut muxer)?;
            return muxer.finish();
        }
    }
}

fn write(encoder: &mut VideoEncoder, muxer: &mut Muxer) -> Result<(), Error> {
    while let Some(packet) = encoder.pull()? {
        muxer.write(&packet)?;
    }
    Ok(())
}
