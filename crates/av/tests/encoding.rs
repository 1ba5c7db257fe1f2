//! What the video encoders make of real footage: as good as the `ffmpeg` program with the same settings, at the rate, with
//! the GOPs and the headers that were asked for.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Scratch, open, real_media};
use flowcast_av::encoder::{RateControl, ThreadMode, VideoCodecKind, VideoEncoder, VideoSettings};
use flowcast_av::{
    Codec, ColorInfo, DecoderOptions, Error, Hardware, Packet, Ratio, TimeBase, TrackInfo, VideoDecoder,
    VideoFrame,
};

const RATE: Ratio = Ratio { num: 25, den: 1 };

fn ffmpeg(arguments: &str, files: [&Path; 2]) -> bool {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-threads", "1", "-i"])
        .arg(files[0])
        .args(arguments.split_whitespace())
        .arg(files[1])
        .stdin(Stdio::null())
        .status();
    let Ok(status) = status else { return false };
    assert!(status.success(), "{arguments}");
    true
}

/// Five seconds of real footage, small.
fn footage(scratch: &Scratch) -> Option<PathBuf> {
    let path = scratch.file("footage.mp4");
    let source = real_media()?.join("bigbuckbunny.mp4");
    let made = ffmpeg("-an -s 320x180 -c:v libx264 -preset veryfast -crf 12 -threads 1", [&source, &path]);
    made.then_some(path)
}

fn decoded(path: &Path) -> Vec<VideoFrame> {
    let mut input = open(path).unwrap();
    let track = input.media().video().unwrap().clone();
    input.select(&[track.index]);
    let packets: Vec<Packet> = std::iter::from_fn(|| input.read().unwrap()).collect();
    decode(&track, &packets)
}

fn decode(track: &TrackInfo, packets: &[Packet]) -> Vec<VideoFrame> {
    let mut decoder = VideoDecoder::open(track, &DecoderOptions::default()).unwrap();
    let mut frames = Vec::new();
    for packet in packets {
        decoder.push(packet).unwrap();
        frames.extend(std::iter::from_fn(|| decoder.pull().unwrap()));
    }
    decoder.finish().unwrap();
    frames.extend(std::iter::from_fn(|| decoder.pull().unwrap()));
    frames
}

/// Encodes pictures, one per frame of the rate, those at `forced` as keyframes.
fn encode(settings: &VideoSettings, frames: &[VideoFrame], forced: &[usize]) -> (TrackInfo, Vec<Packet>) {
    let mut encoder = VideoEncoder::open(0, settings).unwrap();
    let frame = TimeBase::new(settings.frame_rate.den, settings.frame_rate.num);
    let base = encoder.track().time_base;
    let mut packets = Vec::new();
    for (index, picture) in frames.iter().enumerate() {
        let mut picture = picture.share().unwrap();
        picture.set_pts(Some(frame.rescale(index as i64, base)));
        encoder.push_frame(&picture, forced.contains(&index)).unwrap();
        packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
    }
    encoder.finish().unwrap();
    packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
    (encoder.track().clone(), packets)
}

/// How near pictures are to others, in dB of luma.
fn likeness(ours: &[VideoFrame], theirs: &[VideoFrame]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let (mut error, mut count) = (0.0, 0.0);
    for (ours, theirs) in ours.iter().zip(theirs) {
        let luma = ours.format().width as usize * ours.format().height as usize;
        let (ours, theirs) = (ours.to_bytes().unwrap(), theirs.to_bytes().unwrap());
        for (a, b) in ours.iter().zip(&theirs).take(luma) {
            error += f64::from(i32::from(*a) - i32::from(*b)).powi(2);
        }
        count += luma as f64;
    }
    10.0 * (255.0 * 255.0 * count / error.max(1e-9)).log10()
}

/// How alike pictures are to others, at most 1: the structural similarity of blocks of eight by eight in luma, on average.
fn similarity(ours: &[VideoFrame], theirs: &[VideoFrame]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (width, height) = (ours.format().width as usize, ours.format().height as usize);
        let (ours, theirs) = (ours.to_bytes().unwrap(), theirs.to_bytes().unwrap());
        for (x, y) in (0..height / 8).flat_map(|y| (0..width / 8).map(move |x| (x * 8, y * 8))) {
            let places = (0..64).map(|n| (y + n / 8) * width + x + n % 8);
            let (mut a, mut b, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for place in places {
                let (one, other) = (f64::from(ours[place]), f64::from(theirs[place]));
                (a, b) = (a + one, b + other);
                (aa, bb, ab) = (aa + one * one, bb + other * other, ab + one * other);
            }
            let (a, b) = (a / 64.0, b / 64.0);
            let (variance, other, both) = (aa / 64.0 - a * a, bb / 64.0 - b * b, ab / 64.0 - a * b);
            let (c1, c2) = (2.55 * 2.55, 7.65 * 7.65);
            sum += (2.0 * a * b + c1) * (2.0 * both + c2) / ((a * a + b * b + c1) * (variance + other + c2));
            count += 1.0;
        }
    }
    sum / count
}

fn keyframes(packets: &[Packet]) -> Vec<usize> {
    (0..packets.len()).filter(|index| packets[*index].keyframe).collect()
}

/// The types of the NAL units of a packet with length prefixes.
fn nal_types(packet: &Packet) -> Vec<u8> {
    let (mut data, mut types) = (packet.data.as_ref(), Vec::new());
    while let [a, b, c, d, rest @ ..] = data {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        types.push(rest[0] & 0x1F);
        data = &rest[length..];
    }
    types
}

#[test]
fn x264_is_as_good_as_in_ffmpeg() {
    let scratch = Scratch::new();
    let Some(source) = footage(&scratch) else { return };
    let frames = decoded(&source);
    let cbr = RateControl::Cbr { bit_rate: 300_000, vbv_bits: 600_000, filler: false };
    let capped = RateControl::CappedCrf { crf: 24.0, max_bit_rate: 400_000, vbv_bits: 400_000 };
    let cases = [
        ("ultrafast", 0, cbr, "-b:v 300k -maxrate 300k -bufsize 600k"),
        ("veryfast", 2, cbr, "-b:v 300k -maxrate 300k -bufsize 600k"),
        ("veryfast", 0, capped, "-crf 24 -maxrate 400k -bufsize 400k"),
        ("fast", 3, RateControl::Crf(26.0), "-crf 26"),
        ("superfast", 0, RateControl::Abr(250_000), "-b:v 250k"),
    ];
    for (preset, b_frames, rate_control, words) in cases {
        let settings = VideoSettings {
            preset: preset.to_owned(),
            b_frames,
            rate_control,
            gop_frames: 50,
            ..VideoSettings::new(320, 180, RATE)
        };
        let (track, packets) = encode(&settings, &frames, &[]);
        let theirs = scratch.file("theirs.mp4");
        let words = format!(
            "-an -c:v libx264 -preset {preset} -bf {b_frames} -threads 1 -g 50 -keyint_min 50 -sc_threshold 0 {words}"
        );
        assert!(ffmpeg(&words, [&source, &theirs]));
        let size = |packets: &[Packet]| packets.iter().map(|packet| packet.data.len()).sum::<usize>();
        let mut input = open(&theirs).unwrap();
        let their_packets: Vec<Packet> = std::iter::from_fn(|| input.read().unwrap()).collect();
        let (our_size, their_size) = (size(&packets), size(&their_packets));
        let ours = likeness(&frames, &decode(&track, &packets));
        let theirs = likeness(&frames, &decoded(&theirs));
        eprintln!(
            "{preset} {rate_control:?}: {ours:.3} dB in {our_size}, ffmpeg {theirs:.3} dB in {their_size}"
        );
        assert!((ours - theirs).abs() < 0.1, "{preset} {rate_control:?}: {ours} dB, ffmpeg {theirs} dB");
        let larger = our_size as f64 / their_size as f64;
        assert!((0.98..1.02).contains(&larger), "{our_size} bytes, ffmpeg {their_size}");
    }
}

#[test]
fn gops_are_closed_and_of_one_length() {
    let scratch = Scratch::new();
    let Some(source) = footage(&scratch) else { return };
    let frames = decoded(&source);
    for (b_frames, tune) in [(0, None), (3, None), (0, Some("zerolatency"))] {
        let settings = VideoSettings {
            b_frames,
            tune: tune.map(str::to_owned),
            gop_frames: 20,
            ..VideoSettings::new(320, 180, RATE)
        };
        let (track, packets) = encode(&settings, &frames, &[47]);
        assert_eq!(packets.len(), frames.len());
        let keys = keyframes(&packets);
        let expected: Vec<usize> = [0, 20, 40].into_iter().chain((47..frames.len()).step_by(20)).collect();
        assert_eq!(keys, expected, "{b_frames} {tune:?}");
        for (start, end) in keys.iter().zip(keys[1..].iter().chain([&packets.len()])) {
            assert!(nal_types(&packets[*start]).contains(&5), "no IDR picture");
            // Each GOP decodes alone, and nothing in it is shown before its keyframe.
            let gop = &packets[*start..*end];
            assert!(gop.iter().all(|packet| packet.pts >= gop[0].pts));
            assert_eq!(decode(&track, gop).len(), gop.len());
        }
        assert!(packets.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        assert!(packets.iter().all(|packet| packet.dts <= packet.pts));
    }
}

#[test]
fn headers_say_what_was_asked_for() {
    let settings = |width, height, fps| VideoSettings::new(width, height, Ratio { num: fps, den: 1 });
    let profile = |name: &str| Some(name.to_owned());
    let cases = [
        (
            VideoSettings { profile: profile("baseline"), ..settings(1280, 720, 30) },
            "Constrained Baseline",
            31,
        ),
        (VideoSettings { profile: profile("main"), ..settings(1920, 1080, 60) }, "Main", 42),
        (VideoSettings { refs: Some(4), profile: profile("high"), ..settings(1920, 1080, 30) }, "High", 40),
        (VideoSettings { level: Some(51), ..settings(640, 360, 30) }, "High", 51),
        (VideoSettings { time_base: Some(TimeBase::new(1, 90_000)), ..settings(320, 180, 24) }, "High", 20),
    ];
    for (settings, name, level) in cases {
        let color = ColorInfo {
            range: Some("tv".to_owned()),
            space: Some("bt709".to_owned()),
            primaries: Some("bt709".to_owned()),
            transfer: Some("bt709".to_owned()),
        };
        let settings = VideoSettings { color: color.clone(), ..settings };
        let frames: Vec<VideoFrame> =
            (0..3).map(|_| VideoFrame::black(settings.width, settings.height, "yuv420p").unwrap()).collect();
        let (track, packets) = encode(&settings, &frames, &[]);
        assert_eq!((track.profile.as_deref(), track.level), (Some(name), Some(level)));
        let base = settings.time_base.unwrap_or(TimeBase::new(1, settings.frame_rate.num));
        assert_eq!(track.time_base, base);
        let frame = TimeBase::new(1, settings.frame_rate.num).rescale(1, base);
        assert_eq!(packets.iter().map(|packet| packet.duration).collect::<Vec<_>>(), [frame; 3]);
        assert_eq!(packets.iter().filter_map(|packet| packet.pts).collect::<Vec<_>>(), [0, frame, 2 * frame]);
        assert_eq!(decode(&track, &packets)[0].format().color, color);
    }
}

#[test]
fn a_constant_rate_is_kept() {
    let scratch = Scratch::new();
    let Some(source) = footage(&scratch) else { return };
    let mut frames = decoded(&source);
    // The footage three times over, with cuts and a still part in between.
    let again: Vec<VideoFrame> = frames.iter().map(|frame| frame.share().unwrap()).collect();
    let still = (0..50).map(|_| again[10].share().unwrap());
    frames.extend(still);
    frames.extend(again.iter().chain(&again).map(|frame| frame.share().unwrap()));
    for filler in [false, true] {
        let bit_rate = 400_000;
        let settings = VideoSettings {
            rate_control: RateControl::Cbr { bit_rate, vbv_bits: bit_rate / 5, filler },
            ..VideoSettings::new(320, 180, RATE)
        };
        let (_, packets) = encode(&settings, &frames, &[]);
        let bits: Vec<usize> = packets.iter().map(|packet| packet.data.len() * 8).collect();
        // What two seconds may have too much is the buffer.
        let windows: Vec<f64> = bits[25..]
            .windows(50)
            .map(|window| window.iter().sum::<usize>() as f64 / 2.0 / bit_rate as f64)
            .collect();
        let most = windows.iter().copied().fold(0.0, f64::max);
        let least = windows.iter().copied().fold(f64::MAX, f64::min);
        eprintln!("filler {filler}: {least:.3} to {most:.3} of the rate in 2 s");
        assert!(most <= 1.1, "{most}");
        assert_eq!(least >= 0.9, filler, "{least}");
    }
}

/// Encodes pictures, and changes the rate before some of them: by the number of the picture, to bits per second, with a buffer of half a second.
fn encode_steered(
    settings: &VideoSettings,
    frames: &[VideoFrame],
    steps: &[(usize, u64)],
) -> (TrackInfo, Vec<Packet>) {
    let mut encoder = VideoEncoder::open(0, settings).unwrap();
    let mut packets = Vec::new();
    for (index, picture) in frames.iter().enumerate() {
        if let Some((_, rate)) = steps.iter().find(|(at, _)| *at == index) {
            assert!(encoder.set_bit_rate(*rate, rate / 2), "{} takes another rate", encoder.name());
        }
        let mut picture = picture.share().unwrap();
        picture.set_pts(Some(index as i64));
        encoder.push_frame(&picture, false).unwrap();
        packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
    }
    encoder.finish().unwrap();
    packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
    (encoder.track().clone(), packets)
}

#[test]
fn an_open_encoder_takes_another_rate_and_its_pictures_go_on() {
    const HIGH: u64 = 600_000;
    const LOW: u64 = 150_000;
    let scratch = Scratch::new();
    let Some(source) = footage(&scratch) else { return };
    let footage = decoded(&source);
    let frames: Vec<VideoFrame> =
        footage.iter().cycle().take(500).map(|frame| frame.share().unwrap()).collect();
    for (filler, b_frames, preset) in [(false, 0, "ultrafast"), (true, 2, "veryfast")] {
        let settings = VideoSettings {
            rate_control: RateControl::Cbr { bit_rate: HIGH, vbv_bits: HIGH / 2, filler },
            rate_changes: true,
            b_frames,
            preset: preset.to_owned(),
            ..VideoSettings::new(320, 180, RATE)
        };
        let (track, packets) = encode_steered(&settings, &frames, &[(160, LOW), (330, HIGH)]);
        assert_eq!(packets.len(), frames.len());
        assert_eq!(keyframes(&packets), (0..500).step_by(50).collect::<Vec<_>>(), "GOPs go on as they were");
        assert!(packets.iter().all(|packet| packet.config.is_none()), "and so do the headers");
        let kbps = |pictures: std::ops::Range<usize>| {
            let seconds = pictures.len() as f64 / f64::from(RATE.num);
            packets[pictures].iter().map(|packet| packet.data.len() as f64 * 8.0).sum::<f64>() / seconds / 1e3
        };
        // A second after a change, what the buffer had is used up.
        let (before, low, after) = (kbps(50..160), kbps(185..330), kbps(355..500));
        eprintln!("filler {filler}: {before:.0}, {low:.0}, {after:.0} kbit/s");
        assert!(low <= 1.1 * LOW as f64 / 1e3, "{low}");
        assert!(before > 2.0 * low && after > 2.0 * low, "{before} {low} {after}");
        if filler {
            assert!(low >= 0.9 * LOW as f64 / 1e3 && after >= 0.9 * HIGH as f64 / 1e3, "{low} {after}");
        }
        let shown = decode(&track, &packets);
        for change in [160, 330] {
            for from in (change - 10..change + 40).step_by(10) {
                let (ours, theirs) = (&frames[from..from + 10], &shown[from..from + 10]);
                let (likeness, similarity) = (likeness(ours, theirs), similarity(ours, theirs));
                eprintln!(
                    "filler {filler}: from picture {from} on: PSNR {likeness:.1} dB, SSIM {similarity:.3}"
                );
                assert!(likeness > 24.0 && similarity > 0.7, "from {from} on: {likeness} {similarity}");
            }
        }
    }
}

#[test]
fn encoders_that_keep_their_rate_say_so_and_nothing_changes() {
    let cbr = RateControl::Cbr { bit_rate: 300_000, vbv_bits: 150_000, filler: true };
    let of =
        |codec, rate_control| VideoSettings { codec, rate_control, ..VideoSettings::new(320, 180, RATE) };
    let h264 = VideoCodecKind::H264;
    // Its headers say the rate; it keeps to no buffer; it keeps to a quality.
    for settings in [of(h264, cbr), of(h264, RateControl::Abr(300_000)), of(h264, RateControl::Crf(25.0))] {
        assert!(!VideoEncoder::open(0, &settings).unwrap().set_bit_rate(100_000, 50_000), "{settings:?}");
    }
    let plain = RateControl::Cbr { bit_rate: 300_000, vbv_bits: 150_000, filler: false };
    for codec in [VideoCodecKind::Hevc, VideoCodecKind::Av1, VideoCodecKind::Vp8, VideoCodecKind::Vp9] {
        if let Ok(mut encoder) = VideoEncoder::open(0, &of(codec, plain)) {
            assert!(!encoder.set_bit_rate(100_000, 50_000), "{}", encoder.name());
        }
    }
}

#[test]
fn encoders_of_other_rates_have_equal_headers_where_the_level_is_kept() {
    let at = |bit_rate| RateControl::Cbr { bit_rate, vbv_bits: bit_rate, filler: false };
    let settings = VideoSettings { rate_control: at(13_000_000), ..VideoSettings::new(640, 360, RATE) };
    let kept = settings.clone().with_level_kept();
    let config = |settings: VideoSettings| VideoEncoder::open(0, &settings).unwrap().track().config.clone();
    let low = |settings: &VideoSettings| VideoSettings { rate_control: at(300_000), ..settings.clone() };
    assert_ne!(config(settings.clone()), config(low(&settings)), "the level is that of the rate");
    assert_eq!(config(kept.clone()), config(low(&kept)));
}

#[test]
fn a_limit_of_quality_is_kept_by_every_codec() {
    let scratch = Scratch::new();
    let Some(footage) = footage(&scratch) else { return };
    let frames = decoded(&footage);
    for codec in [
        VideoCodecKind::H264,
        VideoCodecKind::Hevc,
        VideoCodecKind::Av1,
        VideoCodecKind::Vp8,
        VideoCodecKind::Vp9,
    ] {
        if Hardware::shared().best(codec, false).is_err() {
            continue;
        }
        let limit = 150_000;
        let rate_control = RateControl::CappedCrf { crf: 10.0, max_bit_rate: limit, vbv_bits: 2 * limit };
        let base = VideoSettings::new(320, 180, RATE);
        let settings = VideoSettings { codec, rate_control, preset: "veryfast".to_owned(), ..base };
        let (_, packets) = encode(&settings, &frames, &[]);
        let bits: usize = packets.iter().map(|packet| packet.data.len() * 8).sum();
        let seconds = frames.len() as f64 * RATE.den as f64 / RATE.num as f64;
        // The buffer may be used up on top of it.
        let most = limit as f64 * (seconds + 2.0) * 1.1;
        eprintln!("{codec:?}: {:.0} kbit/s", bits as f64 / seconds / 1000.0);
        assert!((bits as f64) < most, "{codec:?}: {bits} of {most}");
    }
}

#[test]
fn threads_share_pictures_or_slices() {
    let frames: Vec<VideoFrame> = (0..12).map(|_| VideoFrame::black(640, 360, "yuv420p").unwrap()).collect();
    for (thread_mode, slices) in [(ThreadMode::Frame, 1), (ThreadMode::Slice, 3)] {
        let settings = VideoSettings { threads: 3, thread_mode, ..VideoSettings::new(640, 360, RATE) };
        let (_, packets) = encode(&settings, &frames, &[]);
        for packet in &packets {
            let coded = nal_types(packet).into_iter().filter(|kind| matches!(kind, 1 | 5)).count();
            assert_eq!(coded, slices, "{thread_mode:?}");
        }
    }
}

#[test]
fn raw_parameters_win() {
    let frames: Vec<VideoFrame> = (0..30).map(|_| VideoFrame::black(320, 180, "yuv420p").unwrap()).collect();
    let settings = VideoSettings {
        x264_params: Some("keyint=7:min-keyint=7:aud=1:no-such-parameter=1".to_owned()),
        ..VideoSettings::new(320, 180, RATE)
    };
    let (_, packets) = encode(&settings, &frames, &[]);
    assert_eq!(keyframes(&packets), [0, 7, 14, 21, 28]);
    assert!(packets.iter().all(|packet| nal_types(packet).contains(&9)), "access unit delimiters");
}

#[test]
fn other_codecs_decode_to_the_same_pictures() {
    let scratch = Scratch::new();
    let Some(source) = footage(&scratch) else { return };
    let frames: Vec<VideoFrame> = decoded(&source).into_iter().take(50).collect();
    let controls = [
        RateControl::Cbr { bit_rate: 400_000, vbv_bits: 400_000, filler: false },
        RateControl::Abr(400_000),
        RateControl::Crf(30.0),
    ];
    for codec in [VideoCodecKind::Hevc, VideoCodecKind::Av1, VideoCodecKind::Vp8, VideoCodecKind::Vp9] {
        for rate_control in controls {
            let settings = VideoSettings {
                codec,
                rate_control,
                gop_frames: 25,
                preset: "ultrafast".to_owned(),
                ..VideoSettings::new(320, 180, RATE)
            };
            // Not every libav has all of them.
            if Hardware::shared().best(codec, false).is_err() {
                eprintln!("no encoder for {codec:?}");
                continue;
            }
            let (track, packets) = encode(&settings, &frames, &[]);
            assert_eq!((track.codec.clone(), packets.len()), (codec.codec(), 50));
            let mut keys: Vec<Option<i64>> =
                packets.iter().filter(|packet| packet.keyframe).map(|packet| packet.pts).collect();
            keys.sort_unstable();
            assert_eq!(keys, [Some(0), Some(25)], "{codec:?} {rate_control:?}");
            let likeness = likeness(&frames, &decode(&track, &packets));
            eprintln!("{codec:?} {rate_control:?}: {likeness:.1} dB");
            assert!(likeness > 27.0, "{codec:?} {rate_control:?}: {likeness}");
        }
    }
}

#[test]
fn misuse_is_refused() {
    let refused = |result: Result<(), Error>| matches!(result, Err(Error::InvalidArgument { .. }));
    let settings = VideoSettings::new(320, 180, RATE);
    let mut encoder = VideoEncoder::open(0, &settings).unwrap();
    assert_eq!((encoder.pixel_format(), &encoder.track().codec), ("yuv420p", &Codec::H264));
    let picture = |width, height, format, pts| {
        let mut frame = VideoFrame::black(width, height, format).unwrap();
        frame.set_pts(pts);
        frame
    };
    assert!(refused(encoder.push_frame(&picture(322, 180, "yuv420p", Some(0)), false)));
    assert!(refused(encoder.push_frame(&picture(320, 180, "yuv444p", Some(0)), false)));
    assert!(refused(encoder.push_frame(&picture(320, 180, "yuv420p", None), false)));
    encoder.push_frame(&picture(320, 180, "yuv420p", Some(5)), false).unwrap();
    assert!(refused(encoder.push_frame(&picture(320, 180, "yuv420p", Some(5)), false)));
    assert!(
        VideoEncoder::open(0, &VideoSettings { preset: "no such".to_owned(), ..settings.clone() }).is_err()
    );
    assert!(
        VideoEncoder::open(0, &VideoSettings { encoder: Some("a\0b".to_owned()), ..settings.clone() })
            .is_err()
    );
    assert!(VideoEncoder::open(0, &VideoSettings { width: 321, ..settings }).is_err());
}
