//! Stages that encode frames which no decoder made.

use std::collections::VecDeque;
use std::sync::Arc;

use flowcast_av::{
    AudioFormat, AudioFrame, Codec, DecoderOptions, Packet, TimeBase, TrackInfo, TrackKind, VideoDecoder,
    VideoFrame,
};

use super::decode::{Decoded, FrameStage};
use super::encoders::{Encoders, LibavEncoders};
use super::pictures::Pictures;
use super::plan::{AudioPlan, EncoderPlan, FirstEncoder, VideoPlan};
use super::sounds::Sounds;
use super::{AudioCodec, FrameRate, Threading, VideoCodec};

fn plan(width: u32, height: u32) -> VideoPlan {
    VideoPlan {
        codec: VideoCodec::H264,
        width,
        height,
        frame_rate: FrameRate::whole(50),
        kbps: 300,
        vbv_kbits: 300,
        filler: false,
        crf_tenths: None,
        gop_frames: 25,
        b_frames: 0,
        refs: None,
        preset: "ultrafast".to_owned(),
        tune: String::new(),
        profile: "main".to_owned(),
        threads: 1,
        threading: Threading::Slice,
        x264_params: String::new(),
        encoder: EncoderPlan { first: FirstEncoder::Software, fallback: false },
    }
}

fn work(stage: &mut impl FrameStage, packets: &mut VecDeque<Packet>) {
    let mut notices = Vec::new();
    while stage.work(packets, &mut notices).expect("nothing is damaged") {}
    assert!(notices.is_empty(), "{notices:?}");
}

#[test]
fn pictures_that_no_decoder_made_are_encoded_to_several_sizes() {
    let track = TrackInfo::new(3, TrackKind::Video, Codec::from_name("rawvideo"), TimeBase::MILLIS);
    let encoders: Arc<dyn Encoders> = Arc::new(LibavEncoders);
    let mut stages = [(320, 180), (160, 90)].map(|(width, height)| {
        let stage = Pictures::open(&track, &plan(width, height), &encoders).expect("x264 opens");
        (stage, VecDeque::new(), (width, height))
    });
    // Ten pictures, 40 ms apart, of a size and format that none of them has.
    for number in 0..10 {
        let mut picture = VideoFrame::black(640, 360, "rgb24").expect("a picture");
        picture.set_pts(Some(1000 + 40 * number));
        for (stage, packets, _) in &mut stages {
            stage.take(Decoded::Frame(picture.share().expect("memory")));
            work(stage, packets);
        }
    }
    for (mut stage, mut packets, size) in stages {
        stage.take(Decoded::End { all_end: None });
        work(&mut stage, &mut packets);
        let output = stage.output().clone();
        let times: Vec<_> =
            packets.iter().map(|packet| packet.pts.map(|pts| output.time_base.millis(pts))).collect();
        assert!(times.iter().copied().eq((0..20).map(|n| Some(1000 + 20 * n))), "{size:?}: {times:?}");
        let mut decoder =
            VideoDecoder::open(&output, &DecoderOptions::default()).expect("H.264 can be decoded");
        decoder.push(packets.front().expect("a packet")).expect("a keyframe");
        decoder.finish().expect("it has taken all");
        let first = decoder.pull().expect("nothing is damaged").expect("a picture");
        assert_eq!((first.format().width, first.format().height), size);
    }
}

#[test]
fn sound_that_no_decoder_made_is_encoded_to_the_sample() {
    let track = TrackInfo::new(1, TrackKind::Audio, Codec::from_name("pcm_f32le"), TimeBase::MILLIS);
    let plan = AudioPlan { codec: AudioCodec::Aac, kbps: 96, sample_rate: 48_000, channels: 2, fast: true };
    let mut stage = Sounds::open(&track, &plan).expect("the encoder of AAC opens");
    let mut packets = VecDeque::new();
    // A second at 48 kHz, then one at 44.1 kHz.
    for (rate, first) in [(48_000, 0), (44_100, 44_100)] {
        let format = AudioFormat {
            sample_rate: rate,
            channels: 1,
            layout: String::new(),
            sample_format: "fltp".to_owned(),
        };
        for tenth in 0..10 {
            let samples = i64::from(rate / 10);
            let mut sound = AudioFrame::silence(&format, (rate / 10) as usize).expect("silence");
            sound.set_pts(Some(first + tenth * samples));
            stage.take(Decoded::Frame(sound));
            work(&mut stage, &mut packets);
        }
    }
    stage.take(Decoded::End { all_end: None });
    work(&mut stage, &mut packets);
    let output = stage.output();
    assert!(packets.iter().all(|packet| packet.track == output.index && output.index == 1));
    let priming = output.audio.as_ref().map_or(0, |audio| audio.priming_samples);
    let skipped: u32 = packets.iter().map(|packet| packet.skip_start).sum();
    assert_eq!(skipped, priming);
    let frames = packets.len() as i64;
    // What is left of the last frame is silence, and the encoder may say one more.
    assert!((96_000..96_000 + 3 * 1024).contains(&(frames * 1024 - i64::from(priming))), "{frames} frames");
    let times: Vec<_> = packets.iter().map(|packet| packet.pts.expect("a time")).collect();
    let base = output.time_base;
    let apart = |pair: &[i64]| base.rescale(pair[1] - pair[0], TimeBase::new(1, 48_000));
    assert!(times.windows(2).all(|pair| apart(pair) == 1024), "{times:?}");
}
