//! Recordings in several files, of a bounded length, and on a disk of which a part stays free.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::output::Segments;
use flowcast::{Error, EventKind, Existing, Output, RtmpServerExt, Source};

use kit::rig::{Known, engine, push, wait_ended, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{
    FaultProxy, Need, PATIENCE, SmallDisk, frame_hashes, need, packet_hashes, packet_times, wait_until,
};

#[test]
fn segments_are_told_and_joined_they_are_what_another_recording_has() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let engine = engine(|_| {});
    let events = engine.events();
    fs::create_dir(clip.beside("archive")).expect("there is room");
    let parts = Output::record(clip.beside("archive/{stream}_{number}.mp4"))
        .segments(Segments::every(Duration::from_secs(1)));
    let whole = clip.beside("whole.mkv");
    let builder = engine.stream(Source::file(&clip.file).looped()).label("../rain");
    let live = builder.to(parts).record(&whole).start().expect("it starts");
    let mut told: Vec<(PathBuf, Duration, Duration, u64)> = Vec::new();
    let mut opened = Vec::new();
    let mut note = |kind: &EventKind| match kind {
        EventKind::Recorded { path, from, to, bytes, .. } if *path != whole => {
            told.push((path.clone(), *from, *to, *bytes));
            told.len()
        }
        EventKind::RecordingOpened { path, .. } if *path != whole => {
            opened.push(path.clone());
            0
        }
        _ => 0,
    };
    wait_event(&events, PATIENCE, |event| (note(&event.kind) == 3).then_some(()));
    live.stop(PATIENCE).expect("it stops");
    wait_event(&events, PATIENCE, |event| {
        note(&event.kind);
        matches!(event.kind, EventKind::Ended { .. }).then_some(())
    });
    let named = |number: usize| clip.beside(&format!("archive/_._rain_{number:06}.mp4"));
    let paths: Vec<_> = told.iter().map(|(path, ..)| path.clone()).collect();
    assert_eq!(paths, (0..told.len()).map(named).collect::<Vec<_>>());
    assert_eq!(opened, paths, "each is told of when it begins, too");
    assert!(told.windows(2).all(|pair| pair[0].2 == pair[1].1), "{told:?}");
    assert!(told.iter().all(|(path, _, _, bytes)| fs::metadata(path).expect("it is there").len() == *bytes));
    let joined = |hashes: fn(&std::path::Path) -> Vec<String>| {
        paths.iter().flat_map(|path| hashes(path)).collect::<Vec<_>>()
    };
    let (seen, expected) = (joined(frame_hashes), frame_hashes(&whole));
    let differs = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
    assert!(
        seen == expected,
        "{} of {} pictures, other ones from {differs:?} on",
        seen.len(),
        expected.len()
    );
    assert!(joined(|path| packet_hashes(path, "a")) == packet_hashes(&whole, "a"), "sound");
}

#[test]
fn a_publisher_that_comes_back_goes_on_in_another_file_where_that_is_wanted() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let (engine, camera) = (engine(|_| {}), engine(|_| {}));
    engine.keys().add("studio", "studio-key-0001").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let way = FaultProxy::start(server.address());
    let to = Output::rtmp(&format!("rtmp://{}/live", way.address()), "studio-key-0001");
    let camera = camera.stream(Source::file(&clip.file).looped()).to(to).start().expect("it starts");
    assert!(wait_until(PATIENCE, || engine.hub().find("studio").is_some()), "it is not on the air");
    let parts = Output::record(clip.beside("visit-{number}.mp4")).segments(Segments::at_returns());
    let whole = clip.beside("whole.flv");
    let live =
        engine.stream(Source::published("studio")).to(parts).record(&whole).start().expect("it starts");
    let events = live.events();
    let mut told = Vec::new();
    let mut wait = |is_it: fn(&EventKind) -> bool| {
        wait_event(&events, PATIENCE, |event| {
            if let EventKind::Recorded { path, from, to, .. } = &event.kind
                && *path != whole
            {
                told.push((path.clone(), *from, *to));
            }
            is_it(&event.kind).then_some(())
        });
    };
    for _ in 0..2 {
        let enough = live.stats().media_time.as_millis() + 1500;
        assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() > enough), "{}", live.stats());
        way.reset();
        wait(|kind| matches!(kind, EventKind::PublisherReturned { .. }));
    }
    let enough = live.stats().media_time.as_millis() + 1500;
    assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() > enough), "{}", live.stats());
    live.stop(PATIENCE).expect("it stops");
    wait(|kind| matches!(kind, EventKind::Ended { .. }));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0].2 == pair[1].1), "{told:?}");
    let pictures: Vec<_> = told.iter().map(|(path, ..)| frame_hashes(path)).collect();
    assert!(pictures.iter().flatten().eq(&frame_hashes(&whole)), "joined they are the other recording");
    // They are cut where nothing came for a while, and nowhere else.
    let times = packet_times(&whole, "v");
    let mut steps: Vec<_> = times.windows(2).map(|pair| pair[1].dts - pair[0].dts).enumerate().collect();
    steps.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut gaps: Vec<_> = steps.iter().take(2).map(|(place, _)| place + 1).collect();
    gaps.sort_unstable();
    let first = pictures[0].len();
    assert_eq!(gaps, [first, first + pictures[1].len()], "{steps:?}");
    camera.stop(PATIENCE).expect("it stops");
}

#[test]
fn a_recording_of_a_bounded_length_ends_by_itself_and_the_stream_goes_on() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let engine = engine(|_| {});
    let (events, server) = (engine.events(), Scripted::start(Script::Record));
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    for extension in ["mp4", "flv"] {
        let path = clip.beside(&format!("second.{extension}"));
        let output = live.add_output(Output::record(&path).max_duration(Duration::from_secs(1)));
        let error = wait_ended(&events, output.expect("there is room"), PATIENCE);
        assert!(error.is_none(), "{error:?}");
        let pictures = frame_hashes(&path).len();
        assert!((24..=26).contains(&pictures), "{extension}: {pictures}");
    }
    let pictures = server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    assert!(server.wait_pictures(0, pictures + 20, PATIENCE), "the stream goes on");
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn recordings_end_in_order_while_a_part_of_the_disk_is_free() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    const KEPT: u64 = 1 << 20;
    let Some(disk) = SmallDisk::mount_of(3) else { return };
    let spec =
        SampleSpec { gop_frames: 12, bitrate: 6_000_000, width: 640, height: 360, ..SampleSpec::default() };
    let clip = Known::made(&spec);
    let engine = engine(|config| config.recording.keep_free = KEPT);
    let (events, server) = (engine.events(), Scripted::start(Script::Record));
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    let path = disk.path().join("ends.mp4");
    let output = live.add_output(Output::record(&path)).expect("there is room");
    let error = wait_ended(&events, output, PATIENCE).expect("too little is free");
    let Error::Recording { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    let length = fs::metadata(&path).expect("it is there").len();
    // One write is what it may be over by.
    assert!((KEPT..3 * KEPT).contains(&length) && length < 3 * KEPT - KEPT / 2, "{length} bytes");
    // It is complete: all its pictures are in the one index.
    assert!(frame_hashes(&path).len() > 20);
    let bytes = fs::read(&path).expect("it is there");
    assert!(bytes.windows(4).rev().take(KEPT as usize).any(|four| four == b"stsz"), "it has no index");
    let pictures = server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    assert!(server.wait_pictures(0, pictures + 20, PATIENCE), "the stream goes on");
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn what_cannot_be_cut_so_is_refused_by_name() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let hour = || Segments::every(Duration::from_secs(3600));
    let record = |name: &str| Output::record(clip.beside(name));
    for (output, name) in [
        (record("{nonsense}.mp4").segments(hour()), "record"),
        (record("a.mp4").segments(Segments::default()), "segments"),
        (record("a.mp4").segments(hour()).existing(Existing::Replace), "existing"),
        (record("a.mp4").max_duration(Duration::ZERO), "max_duration"),
        (Output::publish("a").segments(hour()), "segments"),
        (Output::publish("a").max_duration(Duration::from_secs(1)), "max_duration"),
    ] {
        let error = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect_err(name);
        assert!(matches!(&error, Error::Config { name: found, .. } if *found == name), "{name}: {error:?}");
    }
    let missing =
        engine.stream(Source::file(&clip.file)).to(record("missing/a.mp4").segments(hour())).start();
    assert!(matches!(missing, Err(Error::Recording { .. })), "{missing:?}");
    assert!(wait_until(PATIENCE, || engine.running() == 0));
}
