//! A rewound input gives what a freshly opened one gives, for every kind of file.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::path::Path;

use common::{Scratch, digest, open, packets, real_media, remux, remux_as, small};
use flowcast_av::SampleSpec;

const LAPS: usize = 5;

#[track_caller]
fn assert_laps_are_equal(path: &Path) {
    let mut input = open(path).unwrap();
    let media = input.media().clone();
    let first = packets(&mut input);
    assert!(!first.is_empty(), "{}", path.display());
    let expected = digest(&first);
    for lap in 1..LAPS {
        input.rewind().unwrap();
        let lap_packets = packets(&mut input);
        if digest(&lap_packets) != expected {
            let differing = first.iter().zip(&lap_packets).position(|(a, b)| a != b);
            panic!(
                "{} lap {lap}: {} packets, first lap {}, differing at {differing:?}: {:?} / {:?}",
                path.display(),
                lap_packets.len(),
                first.len(),
                differing.map(|at| (first[at].track, first[at].pts, first[at].dts)),
                differing.map(|at| (lap_packets[at].track, lap_packets[at].pts, lap_packets[at].dts)),
            );
        }
    }
    // A rewind in the middle of a lap, and with packets still held from the probe.
    for taken in [0, 1, first.len() / 2] {
        for _ in 0..taken {
            input.read().unwrap();
        }
        input.rewind().unwrap();
    }
    assert_eq!(digest(&packets(&mut input)), expected, "{}: after rewinds within a lap", path.display());
    // And the same as another opening.
    let mut again = open(path).unwrap();
    assert_eq!(again.media(), &media);
    assert_eq!(digest(&packets(&mut again)), expected, "{}: opened again", path.display());
}

#[test]
fn every_container_with_and_without_reordering() {
    let scratch = Scratch::new();
    for b_frames in [0, 2] {
        let source = scratch.clip(&format!("source{b_frames}.mp4"), &SampleSpec { b_frames, ..small() });
        assert_laps_are_equal(&source);
        for extension in ["mov", "mkv", "ts", "flv"] {
            let path = scratch.file(&format!("b{b_frames}.{extension}"));
            remux(&source, &path);
            assert_laps_are_equal(&path);
        }
    }
}

/// libav holds all of such a file in its buffer, and goes back in it after it has met the end.
#[test]
fn files_smaller_than_libavs_buffer() {
    let scratch = Scratch::new();
    let source = scratch.clip("source.mp4", &SampleSpec { seconds: 1.0, bitrate: 60_000, ..small() });
    let packets_of = |path: &Path| packets(&mut open(path).unwrap()).len();
    let expected = packets_of(&source);
    for extension in ["ts", "mkv", "flv"] {
        let path = scratch.file(&format!("tiny.{extension}"));
        remux(&source, &path);
        assert!(std::fs::metadata(&path).unwrap().len() < 64 * 1024);
        assert_eq!(packets_of(&path), expected, "{extension}");
        assert_laps_are_equal(&path);
    }
}

#[test]
fn one_track_each() {
    let scratch = Scratch::new();
    let picture = scratch.clip("picture.mp4", &SampleSpec { audio: None, ..small() });
    let raw = scratch.file("picture.h264");
    remux(&picture, &raw);
    let sound = scratch.clip("sound.mp4", &SampleSpec { video: false, ..small() });
    let adts = scratch.file("sound.aac");
    remux_as(&sound, &adts, Some("adts"));
    for path in [&picture, &raw, &sound, &adts] {
        assert_laps_are_equal(path);
    }
}

#[test]
fn fragmented_mp4() {
    let scratch = Scratch::new();
    let mut spec = small();
    spec.muxer.options =
        vec![("movflags".to_owned(), "frag_keyframe+empty_moov+default_base_moof".to_owned())];
    assert_laps_are_equal(&scratch.clip("fragmented.mp4", &spec));
}

#[test]
fn a_selection_holds_over_laps() {
    let scratch = Scratch::new();
    let path = scratch.clip("both.mp4", &small());
    let stream = scratch.file("both.ts");
    remux(&path, &stream);
    for path in [&path, &stream] {
        let mut input = open(path).unwrap();
        let sound = input.media().audio().unwrap().index;
        input.select(&[sound]);
        let first = packets(&mut input);
        assert!(!first.is_empty());
        assert!(first.iter().all(|packet| packet.track == sound));
        for _ in 1..LAPS {
            input.rewind().unwrap();
            assert_eq!(digest(&packets(&mut input)), digest(&first));
        }
    }
}

#[test]
fn real_files() {
    let Some(media) = real_media() else { return };
    for name in [
        "bigbuckbunny.mp4",
        "carphone_pristine.mp4",
        "matroska/bbb.mkv",
        "muxjs/test-segment.ts",
        "muxjs/test-no-audio-segment.ts",
        "muxjs/test-middle-pat-pmt.ts",
        "muxjs/test-aac-segment.aac",
        "pymediainfo/issue55.flv",
        "pymediainfo/aac_he_v2.aac",
    ] {
        assert_laps_are_equal(&media.join(name));
    }
}
