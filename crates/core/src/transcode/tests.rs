//! Stages that encode frames which no decoder made, and what is drawn over them.

use std::collections::VecDeque;
use std::sync::Arc;

use flowcast_av::encoder::VideoSettings;
use flowcast_av::{
    AudioFormat, AudioFrame, Codec, DecoderOptions, Error as Media, Packet, TimeBase, TrackInfo, TrackKind,
    VideoDecoder, VideoFrame,
};
use parking_lot::Mutex;

use super::decode::{Decoded, FrameStage};
use super::encoders::{Encoders, LibavEncoders, PictureEncoder};
use super::pictures::Pictures;
use super::pipeline::Control;
use super::plan::{AudioPlan, Drawn, EncoderPlan, FirstEncoder, VideoPlan};
use super::sounds::Sounds;
use super::{AudioCodec, FrameRate, Threading, VideoCodec};
use crate::adapt::{Cut, Dial};
use crate::overlay::{Anchor, Board, Clock, Color, Font, Overlay, OverlayWidth, Overlays, TextStyle};

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
        drawn: Drawn::default(),
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
        let stage =
            Pictures::open(&track, &plan(width, height), &encoders, &Dial::default()).expect("x264 opens");
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
fn a_rung_leaves_pictures_out_and_makes_them_smaller_where_a_gop_begins() {
    let track = TrackInfo::new(0, TrackKind::Video, Codec::from_name("rawvideo"), TimeBase::MILLIS);
    let (encoders, dial): (Arc<dyn Encoders>, _) = (Arc::new(LibavEncoders), Dial::default());
    let mut stage = Pictures::open(&track, &plan(320, 180), &encoders, &dial).expect("x264 opens");
    let mut packets = VecDeque::new();
    for number in 0..150 {
        match number {
            30 => dial.step_to(2, Cut { permille: 480, every: 2, percent: 100 }),
            60 => dial.step_to(3, Cut { permille: 320, every: 2, percent: 50 }),
            110 => dial.step_to(0, Cut::default()),
            _ => {}
        }
        let mut picture = VideoFrame::black(640, 360, "yuv420p").expect("a picture");
        picture.set_pts(Some(20 * number));
        stage.take(Decoded::Frame(picture));
        work(&mut stage, &mut packets);
    }
    stage.take(Decoded::End { all_end: None });
    work(&mut stage, &mut packets);
    let base = stage.output().time_base;
    let place = |packet: &Packet| packet.pts.map_or(-1, |pts| base.millis(pts) / 20);
    let wanted = (0..150).filter(|place| *place < 30 || *place >= 110 || place % 2 == 0);
    assert!(packets.iter().map(place).eq(wanted), "{:?}", packets.iter().map(place).collect::<Vec<_>>());
    // GOPs go on by their time, and from where an encoder took over.
    let keyframes: Vec<_> = packets.iter().filter(|packet| packet.keyframe).map(place).collect();
    assert_eq!(keyframes, [0, 25, 50, 76, 102, 126]);
    let headers: Vec<_> = packets.iter().filter(|packet| packet.config.is_some()).map(place).collect();
    assert_eq!(headers, [76, 126], "a lower frame rate has the same");
    let mut decoder =
        VideoDecoder::open(stage.output(), &DecoderOptions::default()).expect("H.264 can be decoded");
    let (mut widths, mut pulled) = (Vec::new(), 0);
    let mut pull = |decoder: &mut VideoDecoder| {
        while let Some(picture) = decoder.pull().expect("nothing is damaged") {
            widths.push((picture.format().width, picture.format().height));
            pulled += 1;
        }
    };
    for packet in &packets {
        decoder.push(packet).expect("it can be decoded");
        pull(&mut decoder);
    }
    decoder.finish().expect("it has taken all");
    pull(&mut decoder);
    widths.dedup();
    assert_eq!((pulled, widths), (packets.len(), vec![(320, 180), (160, 90), (320, 180)]));
}

#[test]
fn sound_that_no_decoder_made_is_encoded_to_the_sample() {
    let track = TrackInfo::new(1, TrackKind::Audio, Codec::from_name("pcm_f32le"), TimeBase::MILLIS);
    let plan = AudioPlan {
        codec: AudioCodec::Aac,
        kbps: 96,
        sample_rate: 48_000,
        channels: 2,
        fast: true,
        level: None,
    };
    let mut stage = Sounds::open(&track, &plan, &Control::default(), None).expect("the encoder of AAC opens");
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

/// Keeps the pictures that an encoder would be given.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

#[derive(Debug)]
struct KeepingEncoder {
    kept: Kept,
    track: TrackInfo,
}

impl Encoders for Kept {
    fn candidates(&self, _: VideoCodec, _: &EncoderPlan) -> Vec<String> {
        vec!["keeper".to_owned()]
    }

    fn open(&self, track: usize, _: &VideoSettings) -> Result<Box<dyn PictureEncoder>, Media> {
        let track = TrackInfo::new(track, TrackKind::Video, Codec::H264, TimeBase::new(1, 50));
        Ok(Box::new(KeepingEncoder { kept: self.clone(), track }))
    }

    fn failed(&self, _: &str) {}
}

impl PictureEncoder for KeepingEncoder {
    fn pixel_format(&self) -> &str {
        "yuv420p"
    }

    fn track(&self) -> &TrackInfo {
        &self.track
    }

    fn push(&mut self, frame: &VideoFrame) -> Result<(), Media> {
        self.kept.0.lock().push(frame.to_bytes()?);
        Ok(())
    }

    fn pull(&mut self) -> Result<Option<Packet>, Media> {
        Ok(None)
    }

    fn finish(&mut self) -> Result<(), Media> {
        Ok(())
    }
}

const SIZE: (usize, usize) = (320, 180);

/// A stage of this size that draws.
fn drawing(
    filters: &str,
    overlays: &[Overlay],
    board: &Board,
) -> Result<(Pictures, Kept), crate::error::Error> {
    let overlays = Overlays::load(overlays, board)?;
    let plan = VideoPlan { drawn: Drawn { filters: filters.to_owned(), overlays }, ..plan(320, 180) };
    let track = TrackInfo::new(0, TrackKind::Video, Codec::from_name("rawvideo"), TimeBase::MILLIS);
    let kept = Kept::default();
    let encoders: Arc<dyn Encoders> = Arc::new(kept.clone());
    Ok((Pictures::open(&track, &plan, &encoders, &Dial::default())?, kept))
}

/// Gives it the next picture: a pattern, the same each time. What it passes on.
fn next(stage: &mut (Pictures, Kept), number: i64) -> Vec<u8> {
    let mut picture = flowcast_av::encoder::Picture::black(320, 180);
    for (place, value) in picture.y.iter_mut().enumerate() {
        *value = 16 + (place % 219) as u8;
    }
    for (place, value) in picture.v.iter_mut().enumerate() {
        *value = 16 + (place % 211) as u8;
    }
    let mut picture = VideoFrame::from_picture(&picture).expect("a picture");
    picture.set_pts(Some(20 * number));
    stage.0.take(Decoded::Frame(picture));
    work(&mut stage.0, &mut VecDeque::new());
    stage.1.0.lock().pop().expect("a picture comes out")
}

/// The pixels in which two pictures differ, as a box of luma; `None` if they are the same.
fn difference(one: &[u8], other: &[u8]) -> Option<(usize, usize, usize, usize)> {
    let (width, height) = SIZE;
    let mut found: Option<(usize, usize, usize, usize)> = None;
    for place in (0..one.len()).filter(|place| one[*place] != other[*place]) {
        let luma = width * height;
        let (x, y, side) = if place < luma {
            (place % width, place / width, 1)
        } else {
            let place = (place - luma) % (luma / 4);
            (place % (width / 2) * 2, place / (width / 2) * 2, 2)
        };
        let (x2, y2) = (x + side, y + side);
        found = Some(found.map_or((x, y, x2, y2), |(a, b, c, d)| (a.min(x), b.min(y), c.max(x2), d.max(y2))));
    }
    found
}

fn red(width: u32, height: u32) -> Overlay {
    Overlay::pixels(width, height, [255, 0, 0, 255].repeat((width * height) as usize))
}

#[test]
fn what_is_drawn_is_where_it_is_asked_for_and_all_else_stays() {
    let board = Board::default();
    let plain = next(&mut drawing("", &[], &board).expect("nothing is drawn"), 0);
    for (at, offset, place) in [
        (Anchor::TopLeft, (0, 0), (0, 0)),
        (Anchor::TopLeft, (11, 7), (10, 6)),
        (Anchor::TopRight, (24, 16), (320 - 40 - 24, 16)),
        (Anchor::Center, (0, 0), (140, 80)),
        (Anchor::BottomRight, (0, 0), (280, 160)),
        (Anchor::Bottom, (10, 30), (150, 130)),
    ] {
        let overlay = red(40, 20).at(at).offset(offset.0, offset.1);
        let drawn = next(&mut drawing("", &[overlay], &board).expect("it is drawn"), 0);
        let (x, y) = place;
        assert_eq!(difference(&plain, &drawn), Some((x, y, x + 40, y + 20)), "{at} {offset:?}");
        // Red of BT.601, which a picture of that size is taken as.
        assert_eq!(drawn[(y + 10) * 320 + x + 20], 81, "{at}");
    }
    // Half over it, and as wide as a quarter of it.
    let wide = red(40, 20).width(OverlayWidth::Percent(25)).opacity(50);
    let drawn = next(&mut drawing("", &[wide], &board).expect("it is drawn"), 0);
    assert_eq!(difference(&plain, &drawn), Some((0, 0, 80, 40)));
    assert_eq!(drawn[0], ((16.0 * 127.0 + 81.0 * 128.0) / 255.0_f64).round() as u8);
    // One that is larger than the picture is made as large.
    let drawn = next(&mut drawing("", &[red(640, 360)], &board).expect("it is drawn"), 0);
    assert!(drawn[..320 * 180].iter().all(|value| *value == 81));
}

#[test]
fn text_is_drawn_again_when_it_changes_and_only_then_looks_otherwise() {
    let font = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
    let Ok(font) = std::fs::read(font) else {
        eprintln!("skipped: no {font}");
        return;
    };
    let style = TextStyle::new(Font::bytes(font)).with(|style| style.background = Some(Color::BLACK));
    let board = Board::default();
    let plain = next(&mut drawing("", &[], &board).expect("nothing is drawn"), 0);
    let line = Overlay::text("one", style.clone()).named("line").at(Anchor::BottomLeft).offset(10, 10);
    let mut stage = drawing("", &[line], &board).expect("it is drawn");
    let one = next(&mut stage, 0);
    let (x, y, x2, y2) = difference(&plain, &one).expect("it shows");
    assert!(x == 10 && y2 == 170 && y2 - y > 32 && x2 - x > 40, "{:?}", (x, y, x2, y2));
    assert!(one[..320 * 180].iter().filter(|value| **value == 235).count() > 50, "white");
    assert_eq!(next(&mut stage, 1), one);
    let handle = board.handle("line").expect("it has a name");
    handle.set_text("one and\ntwo").expect("it is text");
    let two = next(&mut stage, 2);
    let (_, higher, wider, _) = difference(&plain, &two).expect("it shows");
    assert!(higher + 30 < y && wider > x2 + 40);
    handle.hide();
    assert_eq!(next(&mut stage, 3), plain);
    handle.reset();
    assert_eq!(next(&mut stage, 4), one);
    let clock = Overlay::clock(Clock::new("%H:%M:%S"), style.clone()).named("clock");
    let mut stage = drawing("", &[clock], &board).expect("it is drawn");
    let before = next(&mut stage, 0);
    assert!(difference(&plain, &before).is_some());
    board.handle("clock").expect("it has a name").set_text("").expect("it is text");
    assert_eq!(next(&mut stage, 1), plain);
    let broken = Overlay::text("a", TextStyle::new(Font::bytes(vec![0; 100])));
    assert!(drawing("", &[broken], &board).expect_err("it is no font").to_string().contains("font"));
}

#[test]
fn filters_come_before_overlays_and_what_they_make_is_fitted() {
    let board = Board::default();
    let mut mirrored = drawing("hflip", &[red(40, 20)], &board).expect("it is filtered");
    let picture = next(&mut mirrored, 0);
    assert_eq!((picture[0], picture[100 * 320]), (81, 16 + ((100 * 320 + 319) % 219) as u8));
    let mut cut = drawing("crop=160:90:0:0", &[], &board).expect("it is filtered");
    assert_eq!(next(&mut cut, 0).len(), 320 * 180 * 3 / 2);
    let mut narrow = drawing("split[a][b];[a][b]vstack", &[], &board).expect("it is filtered");
    let picture = next(&mut narrow, 0);
    assert_eq!((picture[90 * 320], picture[90 * 320 + 319]), (16, 16), "black beside it");
}

#[test]
fn what_is_drawn_is_a_part_of_a_plan() {
    let board = Board::default();
    let text = |overlays: &[Overlay]| {
        let overlays = Overlays::load(overlays, &board).expect("they are pixels");
        VideoPlan { drawn: Drawn { filters: String::new(), overlays }, ..plan(320, 180) }.to_string()
    };
    let other = Overlay::pixels(2, 2, [0, 255, 0, 255].repeat(4));
    let texts = [
        text(&[]),
        text(&[red(2, 2)]),
        text(std::slice::from_ref(&other)),
        text(&[red(2, 2), other.clone()]),
        text(&[other.clone(), red(2, 2)]),
        text(&[red(2, 2).opacity(50)]),
        text(&[red(2, 2).offset(2, 0)]),
        VideoPlan {
            drawn: Drawn { filters: "hflip".to_owned(), overlays: Overlays::default() },
            ..plan(320, 180)
        }
        .to_string(),
    ];
    for (number, text) in texts.iter().enumerate() {
        assert!(!texts[..number].contains(text), "{text}");
    }
    assert_eq!(text(&[red(2, 2)]), texts[1]);
    assert_eq!(texts[0], plan(320, 180).to_string());
}
