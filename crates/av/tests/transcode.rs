//! Decode, filter, resample, encode, mux: what comes out, counted and compared.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::{Scratch, open};
use flowcast_av::encoder::{AudioEncoder, AudioSettings, RateControl, VideoEncoder, VideoSettings};
use flowcast_av::{
    AudioDecoder, DecoderOptions, Muxer, Packet, Ratio, Resampler, SampleSpec, VideoDecoder, VideoFilter,
    VideoTarget,
};

#[test]
fn a_clip_goes_through_everything() {
    let scratch = Scratch::new();
    let spec = SampleSpec { b_frames: 2, ..common::small() };
    let source = scratch.clip("source.mp4", &spec);
    let mut input = open(&source).unwrap();
    let video = input.media().video().unwrap().clone();
    let audio = input.media().audio().unwrap().clone();
    let mut pictures = VideoDecoder::open(&video, &DecoderOptions::default()).unwrap();
    let mut sounds = AudioDecoder::open(&audio, &DecoderOptions::default()).unwrap();
    let rate = Ratio { num: 25, den: 1 };
    let settings = VideoSettings {
        time_base: Some(video.time_base),
        rate_control: RateControl::CappedCrf { crf: 23.0, max_bit_rate: 500_000, vbv_bits: 500_000 },
        gop_frames: 25,
        ..VideoSettings::new(128, 72, rate)
    };
    let mut encoder = VideoEncoder::open(0, &settings).unwrap();
    let mut sound_encoder = AudioEncoder::open(1, &AudioSettings::new(44_100, 2)).unwrap();
    let mut filter: Option<VideoFilter> = None;
    let mut resampler: Option<Resampler> = None;
    let tracks = [encoder.track().clone(), sound_encoder.track().clone()];
    let mut packets: Vec<Packet> = Vec::new();
    let mut feed = |packet: Option<Packet>, packets: &mut Vec<Packet>| {
        match &packet {
            Some(packet) if packet.track == video.index => pictures.push(packet).unwrap(),
            Some(packet) => sounds.push(packet).unwrap(),
            None => {
                pictures.finish().unwrap();
                sounds.finish().unwrap();
            }
        }
        while let Some(frame) = pictures.pull().unwrap() {
            let filter = filter.get_or_insert_with(|| {
                VideoFilter::new(frame.format(), video.time_base, &VideoTarget::new(128, 72))
                    .unwrap()
                    .unwrap()
            });
            filter.push(frame).unwrap();
            while let Some(frame) = filter.pull().unwrap() {
                encoder.push_frame(&frame, false).unwrap();
                packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
            }
        }
        while let Some(frame) = sounds.pull().unwrap() {
            let resampler = resampler.get_or_insert_with(|| {
                Resampler::new(frame.format(), sound_encoder.format(), sound_encoder.frame_samples()).unwrap()
            });
            resampler.push(&frame).unwrap();
            while let Some(frame) = resampler.pull().unwrap() {
                sound_encoder.push_frame(&frame).unwrap();
                packets.extend(std::iter::from_fn(|| sound_encoder.pull().unwrap()));
            }
        }
        if packet.is_none() {
            let (filter, resampler) = (filter.as_mut().unwrap(), resampler.as_mut().unwrap());
            filter.finish().unwrap();
            resampler.finish().unwrap();
            while let Some(frame) = filter.pull().unwrap() {
                encoder.push_frame(&frame, false).unwrap();
            }
            while let Some(frame) = resampler.pull().unwrap() {
                sound_encoder.push_frame(&frame).unwrap();
                packets.extend(std::iter::from_fn(|| sound_encoder.pull().unwrap()));
            }
            encoder.finish().unwrap();
            sound_encoder.finish().unwrap();
            packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
            packets.extend(std::iter::from_fn(|| sound_encoder.pull().unwrap()));
        }
    };
    while let Some(packet) = input.read().unwrap() {
        feed(Some(packet), &mut packets);
    }
    feed(None, &mut packets);
    let shown: Vec<&Packet> = packets.iter().filter(|packet| packet.track == 0).collect();
    assert_eq!(shown.len(), 50);
    let keyframes: Vec<bool> = shown.iter().map(|packet| packet.keyframe).collect();
    assert_eq!(keyframes.iter().filter(|key| **key).count(), 2);
    assert!(keyframes[0] && keyframes[25]);
    let mut output = Muxer::create(&scratch.file("coded.mp4"), None, &tracks).unwrap();
    for packet in &packets {
        output.write(packet).unwrap();
    }
    output.finish().unwrap();
    let coded = open(&scratch.file("coded.mp4")).unwrap();
    let (video, audio) = (coded.media().video().unwrap(), coded.media().audio().unwrap());
    assert_eq!(video.video.as_ref().map(|video| (video.width, video.height)), Some((128, 72)));
    assert_eq!(video.frames, Some(50));
    // Two seconds at 44.1 kHz, from priming to the last frame.
    assert_eq!(audio.frames, Some((1024 + 88_200_u64).div_ceil(1024)));
}
