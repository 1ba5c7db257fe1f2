//! Which encoders a machine has: every one that does not work says why, and one works.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use flowcast_av::encoder::{VideoCodecKind, VideoEncoder, VideoSettings};
use flowcast_av::{Error, Hardware, Ratio, VideoFrame};

const CODECS: [VideoCodecKind; 5] = [
    VideoCodecKind::H264,
    VideoCodecKind::Hevc,
    VideoCodecKind::Av1,
    VideoCodecKind::Vp8,
    VideoCodecKind::Vp9,
];

#[test]
fn every_candidate_works_or_says_why_not() {
    let hardware = Hardware::shared();
    for codec in CODECS {
        let reports = hardware.candidates(codec);
        assert!(reports.is_sorted_by_key(|report| !report.is_hardware), "hardware first: {reports:?}");
        for report in &reports {
            eprintln!("{}: {:?}", report.name, report.opens);
            let settings = VideoSettings {
                codec,
                encoder: Some(report.name.clone()),
                ..VideoSettings::new(640, 360, Ratio { num: 30, den: 1 })
            };
            let opened = VideoEncoder::open(0, &settings);
            match &report.opens {
                Ok(()) => assert_eq!(opened.unwrap().name(), report.name),
                Err(reason) => {
                    assert!(reason.len() > 20, "{reason}");
                    assert!(matches!(opened, Err(Error::Unavailable { what: "encoder", .. })), "{opened:?}");
                }
            }
            assert!(report.compiled_in || report.opens.is_err());
        }
        assert_eq!(hardware.candidates(codec), reports, "the answers are kept");
        let works = |name: &str| reports.iter().any(|report| report.name == name && report.opens.is_ok());
        for prefer in [false, true] {
            match hardware.best(codec, prefer) {
                Ok(best) => assert!(works(&best)),
                Err(_) => assert!(reports.iter().all(|report| report.opens.is_err())),
            }
        }
    }
    assert!(hardware.best(VideoCodecKind::H264, true).is_ok());
}

#[test]
fn what_is_forgotten_is_tried_again() {
    let hardware = Hardware::shared();
    let before = hardware.candidates(VideoCodecKind::H264);
    for report in &before {
        hardware.invalidate(&report.name);
    }
    let after = hardware.candidates(VideoCodecKind::H264);
    assert_eq!(
        before.iter().map(|report| &report.opens).collect::<Vec<_>>(),
        after.iter().map(|report| &report.opens).collect::<Vec<_>>()
    );
}

#[test]
fn the_best_encoder_encodes() {
    for codec in CODECS {
        let Ok(name) = Hardware::shared().best(codec, true) else { continue };
        let settings = VideoSettings {
            codec,
            encoder: Some(name.clone()),
            gop_frames: 10,
            ..VideoSettings::new(320, 180, Ratio { num: 25, den: 1 })
        };
        let mut encoder = VideoEncoder::open(3, &settings).unwrap();
        let mut packets = Vec::new();
        for pts in 0..25 {
            let mut frame = VideoFrame::black(320, 180, encoder.pixel_format()).unwrap();
            frame.set_pts(Some(pts));
            encoder.push_frame(&frame, pts == 15).unwrap();
            packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
        }
        encoder.finish().unwrap();
        packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
        assert_eq!(packets.len(), 25, "{name}");
        let mut keyframes: Vec<i64> =
            packets.iter().filter(|packet| packet.keyframe).filter_map(|packet| packet.pts).collect();
        keyframes.sort_unstable();
        // Most start a GOP where they are told to and count from there; libvpx counts on from where it was, and older
        // versions of SVT-AV1 keep to their GOPs.
        let expected: &[&[i64]] = match name.as_str() {
            "libsvtav1" => &[&[0, 10, 15], &[0, 10, 20]],
            "libvpx" | "libvpx-vp9" => &[&[0, 10, 15, 20]],
            _ => &[&[0, 10, 15]],
        };
        assert!(expected.contains(&keyframes.as_slice()), "{name}: {keyframes:?}");
        assert!(packets.iter().all(|packet| packet.track == 3 && packet.duration == 1), "{name}");
    }
}
