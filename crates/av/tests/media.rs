//! What a demuxer says about clips of known making, and the form its packets have.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Scratch, of_track, open, packets, real_media, remux, remux_as, small};
use flowcast_av::encoder::{Picture, VideoEncoder, VideoSettings};
use flowcast_av::{
    Codec, Demuxer, Error, FieldOrder, Interrupt, MediaInfo, Muxer, OpenOptions, Packet, Probe, Ratio,
    SampleSpec, TimeBase,
};

fn thorough(path: &std::path::Path) -> Demuxer {
    let options = OpenOptions { probe: Probe::Thorough, ..OpenOptions::default() };
    Demuxer::open(path, &options, &Interrupt::new()).unwrap()
}

/// Whether data is NAL units behind 4-byte lengths, to the last byte.
fn is_length_prefixed(mut data: &[u8]) -> bool {
    while let [a, b, c, d, rest @ ..] = data {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if length == 0 || length > rest.len() {
            return false;
        }
        data = &rest[length..];
    }
    data.is_empty()
}

#[test]
fn a_clip_is_described() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &SampleSpec { b_frames: 2, ..small() });
    let input = open(&path).unwrap();
    let media = input.media();
    assert_eq!(media.tracks.len(), 2);
    assert!(media.seekable);
    let length = media.duration.unwrap();
    assert!(length >= Duration::from_secs(2) && length < Duration::from_millis(2100), "{length:?}");

    let track = media.video().unwrap();
    assert_eq!(track.codec, Codec::H264);
    assert_eq!(track.frames, Some(50));
    assert_eq!(track.config.as_ref().unwrap()[0], 1);
    assert!(track.profile.is_some() && track.level.is_some());
    let video = track.video.as_ref().unwrap();
    assert_eq!((video.width, video.height), (160, 90));
    assert_eq!(video.frame_rate, Ratio::new(25, 1));
    assert_eq!(video.pixel_format, "yuv420p");
    assert_eq!(video.field_order, FieldOrder::Progressive);
    assert!(video.b_frames >= 1);

    let track = media.audio().unwrap();
    assert_eq!(track.codec, Codec::Aac);
    assert_eq!(track.profile.as_deref(), Some("LC"));
    // LC, 48 kHz, stereo; libav's encoder adds that there is no SBR.
    assert!(track.config.as_ref().unwrap().starts_with(&[0x11, 0x90]));
    let audio = track.audio.as_ref().unwrap();
    assert_eq!((audio.sample_rate, audio.channels, audio.frame_samples), (48_000, 2, 1024));
    assert_eq!(audio.layout, "stereo");
}

#[test]
fn a_clip_is_the_same_every_time() {
    let scratch = Scratch::new();
    let spec = SampleSpec { b_frames: 2, ..small() };
    let [first, second] =
        ["a.mp4", "b.mp4"].map(|name| packets(&mut open(&scratch.clip(name, &spec)).unwrap()));
    assert_eq!(first, second);
    let keyframes: Vec<i64> = first
        .iter()
        .filter(|packet| packet.track == 0 && packet.keyframe)
        .filter_map(|packet| packet.pts)
        .collect();
    assert_eq!(keyframes.len(), 2, "a keyframe every 25 of 50 frames");
}

/// What must not depend on how an input was probed.
fn facts(media: &MediaInfo) -> Vec<String> {
    media
        .tracks
        .iter()
        .map(|track| {
            let video = track.video.as_ref().map(|video| {
                (
                    video.width,
                    video.height,
                    video.pixel_format.clone(),
                    video.field_order,
                    video.sample_aspect,
                    video.rotation_degrees,
                )
            });
            format!(
                "{} {:?} {:?} {:?} {:?} {:?} {:?} {video:?} {:?}",
                track.codec,
                track.kind,
                track.profile,
                track.level,
                track.start,
                track.config,
                track.time_base,
                track.audio
            )
        })
        .collect()
}

#[test]
fn a_fast_probe_finds_what_a_thorough_one_finds() {
    let scratch = Scratch::new();
    let mut paths = Vec::new();
    for (name, spec) in [
        ("plain", small()),
        ("reordered", SampleSpec { b_frames: 2, ..small() }),
        ("mono", SampleSpec { audio: Some((44_100, 1)), ..small() }),
        ("silent", SampleSpec { audio: None, ..small() }),
        ("sound", SampleSpec { video: false, ..small() }),
        ("turned", SampleSpec { rotation_degrees: 90, ..small() }),
    ] {
        let source = scratch.clip(&format!("{name}.mp4"), &spec);
        let tags = scratch.file(&format!("{name}.flv"));
        remux(&source, &tags);
        paths.extend([source, tags]);
    }
    if let Some(media) = real_media() {
        paths.extend(["bigbuckbunny.mp4", "carphone_pristine.mp4"].map(|name| media.join(name)));
    }
    for path in paths {
        let mut fast = open(&path).unwrap();
        let mut slow = thorough(&path);
        assert_eq!(facts(fast.media()), facts(slow.media()), "{}", path.display());
        assert_eq!(packets(&mut fast), packets(&mut slow), "{}", path.display());
    }
}

#[test]
fn rotation_comes_from_the_display_matrix() {
    let scratch = Scratch::new();
    for degrees in [0, 90, 180, 270] {
        let path = scratch.clip("turned.mp4", &SampleSpec { rotation_degrees: degrees, ..small() });
        let input = open(&path).unwrap();
        let video = input.media().video().unwrap().video.clone().unwrap();
        assert_eq!((video.rotation_degrees, video.mirrored), (degrees, false));
    }
}

#[test]
fn transport_streams_come_in_the_form_of_mp4() {
    let scratch = Scratch::new();
    for b_frames in [0, 2] {
        let source = scratch.clip("source.mp4", &SampleSpec { b_frames, ..small() });
        let stream = scratch.file("stream.ts");
        remux(&source, &stream);
        let mut original = open(&source).unwrap();
        let mut converted = open(&stream).unwrap();
        let configs = |input: &Demuxer, track: usize| input.media().tracks[track].config.clone().unwrap();
        assert_eq!(configs(&original, 0), configs(&converted, 0));
        assert_eq!(configs(&original, 1)[..2], configs(&converted, 1)[..]);
        let (original, converted) = (packets(&mut original), packets(&mut converted));
        let (before, after) = (of_track(&original, 0), of_track(&converted, 0));
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            assert!(is_length_prefixed(&after.data));
            // MPEG-TS adds an access unit delimiter to every picture and parameter sets to keyframes; the picture is last.
            assert!(after.data.ends_with(&before.data[before.data.len().saturating_sub(64)..]));
            assert_eq!(before.keyframe, after.keyframe);
            assert_eq!(after.config, None);
        }
        let (before, after) = (of_track(&original, 1), of_track(&converted, 1));
        assert_eq!(before.len(), after.len());
        assert!(
            before.iter().zip(&after).all(|(before, after)| before.data == after.data),
            "ADTS headers are stripped"
        );
    }
}

#[test]
fn raw_streams_get_timestamps_or_an_error() {
    let scratch = Scratch::new();
    let source = scratch.clip("source.mp4", &SampleSpec { audio: None, ..small() });
    let raw = scratch.file("raw.h264");
    remux(&source, &raw);
    let mut input = open(&raw).unwrap();
    let base = input.media().tracks[0].time_base;
    assert_eq!(input.media().format, "h264");
    let all = packets(&mut input);
    assert_eq!(all.len(), 50);
    for (number, packet) in all.iter().enumerate() {
        assert_eq!(packet.dts.map(|dts| base.millis(dts)), Some(number as i64 * 40));
        assert_eq!(packet.pts, packet.dts);
        assert!(is_length_prefixed(&packet.data));
    }

    let source = scratch.clip("reordered.mp4", &SampleSpec { audio: None, b_frames: 2, ..small() });
    remux(&source, &raw);
    let error = open(&raw).unwrap().read().unwrap_err();
    assert!(matches!(error, Error::MissingTimestamps { track: 0, .. }), "{error:?}");
}

#[test]
fn priming_is_reported_once_per_lap() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &small());
    let mut input = open(&path).unwrap();
    let track = input.media().audio().unwrap().index;
    for _ in 0..2 {
        let sound = of_track(&packets(&mut input), track);
        assert_eq!(sound[0].skip_start, 1024);
        assert_eq!(sound[0].pts, Some(-1024));
        assert!(sound[1..].iter().all(|packet| packet.skip_start == 0));
        input.rewind().unwrap();
    }
}

fn encoded(width: u32, height: u32) -> (VideoEncoder, Vec<Packet>) {
    let settings =
        VideoSettings { gop_frames: 5, ..VideoSettings::new(width, height, Ratio { num: 25, den: 1 }) };
    let mut encoder = VideoEncoder::open(0, &settings).unwrap();
    let mut packets = Vec::new();
    for number in 0..10 {
        encoder.push(&Picture::black(width, height), number).unwrap();
        packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
    }
    encoder.finish().unwrap();
    packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
    (encoder, packets)
}

#[test]
fn parameter_sets_that_change_within_a_stream_give_a_new_configuration() {
    let scratch = Scratch::new();
    let mut joined = Vec::new();
    let mut configs = Vec::new();
    for (width, height) in [(160, 90), (320, 180), (160, 90)] {
        let (encoder, packets) = encoded(width, height);
        let path = scratch.file("part.h264");
        let mut muxer = Muxer::create(&path, None, &[encoder.track().clone()]).unwrap();
        packets.iter().for_each(|packet| muxer.write(packet).unwrap());
        muxer.finish().unwrap();
        joined.extend(std::fs::read(&path).unwrap());
        configs.push(encoder.track().config.clone().unwrap());
    }
    let path = scratch.write("joined.h264", &joined);
    let mut input = open(&path).unwrap();
    for lap in 0..3 {
        assert_eq!(input.media().tracks[0].config.as_ref(), Some(&configs[0]));
        let changes: Vec<(usize, Bytes)> = packets(&mut input)
            .into_iter()
            .enumerate()
            .filter_map(|(number, packet)| Some((number, packet.config?)))
            .collect();
        assert_eq!(changes, [(10, configs[1].clone()), (20, configs[2].clone())], "lap {lap}");
        input.rewind().unwrap();
    }
}

#[test]
fn matroska_pictures_all_have_a_time_to_decode() {
    let scratch = Scratch::new();
    let mut paths = vec![scratch.file("clip.mkv")];
    remux(&scratch.clip("source.mp4", &SampleSpec { b_frames: 2, ..small() }), &paths[0]);
    paths.extend(real_media().map(|media| media.join("matroska/bbb.mkv")));
    for path in paths {
        let all = of_track(&packets(&mut open(&path).unwrap()), 0);
        let times: Vec<i64> = all.iter().map(|packet| packet.dts.unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{}: {times:?}", path.display());
        assert!(all.iter().all(|packet| packet.dts <= packet.pts), "{}", path.display());
    }
}

#[test]
fn bytes_in_memory_are_read_like_a_file() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &small());
    let expected = packets(&mut open(&path).unwrap());
    let data = Bytes::from(std::fs::read(&path).unwrap());
    let mut input =
        Demuxer::open_bytes(data, "clip.mp4", &OpenOptions::default(), &Interrupt::new()).unwrap();
    for _ in 0..2 {
        assert_eq!(packets(&mut input), expected);
        input.rewind().unwrap();
    }
    let empty = Demuxer::open_bytes(Bytes::new(), "x", &OpenOptions::default(), &Interrupt::new());
    assert!(matches!(empty, Err(Error::Empty { .. })));
}

#[test]
fn packets_outlive_their_input_on_other_threads() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &small());
    let mut input = open(&path).unwrap();
    let all = packets(&mut input);
    drop(input);
    let copies: Vec<Vec<u8>> = all.iter().map(|packet| packet.data.to_vec()).collect();
    let thread =
        std::thread::spawn(move || all.iter().map(|packet| packet.data.to_vec()).collect::<Vec<_>>());
    assert_eq!(thread.join().unwrap(), copies);
}

#[test]
fn a_demuxer_moves_to_another_thread() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &small());
    let expected = packets(&mut open(&path).unwrap());
    let mut input = open(&path).unwrap();
    let first = input.read().unwrap().unwrap();
    let rest = std::thread::spawn(move || packets(&mut input)).join().unwrap();
    assert_eq!([vec![first], rest].concat(), expected);
}

#[test]
fn real_files_are_described() {
    let Some(media) = real_media() else { return };
    let track = |name: &str| open(&media.join(name)).unwrap().media().clone();
    let bunny = track("bigbuckbunny.mp4");
    assert_eq!(bunny.video().unwrap().profile.as_deref(), Some("Main"));
    assert_eq!(bunny.audio().unwrap().audio.as_ref().unwrap().layout, "5.1");
    let phone = track("carphone_pristine.mp4");
    assert!(phone.audio().is_none());
    assert_eq!(phone.video().unwrap().video.as_ref().unwrap().frame_rate, Ratio::new(30_000, 1001));
    // Declared, but without data: not playable, so that nobody waits for it.
    let mute = track("muxjs/test-no-audio-segment.ts");
    assert_eq!(mute.tracks.len(), 2);
    assert!(mute.audio().is_none());
    // FLV says 44.1 kHz for every AAC; the configuration knows better.
    let tags = track("pymediainfo/issue55.flv");
    assert_eq!(tags.audio().unwrap().audio.as_ref().unwrap().sample_rate, 48_000);
    let refused = open(&media.join("pymediainfo/sample.mkv")).unwrap_err();
    assert!(matches!(refused, Error::InvalidData { .. }), "{refused:?}");
}

#[test]
fn flv_written_from_any_container_has_the_same_tags() {
    // The muxer converts Annex B itself where it gets it; here it gets what the demuxer converted.
    let scratch = Scratch::new();
    let source = scratch.clip("source.mp4", &SampleSpec { b_frames: 2, ..small() });
    let matroska = scratch.file("copy.mkv");
    remux(&source, &matroska);
    let [first, second] = [&source, &matroska].map(|path| {
        let tags = scratch.file("out.flv");
        remux_as(path, &tags, Some("flv"));
        let mut input = open(&tags).unwrap();
        packets(&mut input).into_iter().map(|packet| packet.data).collect::<Vec<_>>()
    });
    let sorted = |mut list: Vec<Bytes>| {
        list.sort();
        list
    };
    assert_eq!(sorted(first), sorted(second));
    assert_eq!(TimeBase::MILLIS.millis(5), 5);
}
