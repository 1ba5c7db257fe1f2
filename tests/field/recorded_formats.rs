//! Recordings as MP4, Matroska and MPEG-TS: what a killed process leaves, what a full disk leaves, and what a format does not hold.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use flowcast::av::SampleSpec;
use flowcast::output::FileFormat;
use flowcast::{Error, EventKind, Existing, Output, Source};

use kit::bystander::at_most;
use kit::rig::{Known, engine, push, read_flv, wait_ended, wait_event};
use kit::scripted::{Script, Scripted, Seen};
use kit::{
    Need, PATIENCE, Peer, SmallDisk, alone, decode, directory, flv_tags, frame_hashes, make, need,
    packet_count, packet_hashes, packet_times, role_arguments, text, wait_until,
};

const EXTENSIONS: [&str; 4] = ["flv", "mp4", "mkv", "ts"];

/// What ffprobe says of a file, whole or not.
fn said(file: &Path, entries: &str) -> String {
    let entries = format!("format={entries}");
    let mut ffprobe = Peer::spawn(
        Path::new("ffprobe"),
        ["-v", "error", "-show_entries", &entries, "-of", "csv=p=0", text(file)],
    );
    ffprobe.wait_success(PATIENCE);
    ffprobe.output().trim().to_owned()
}

/// The kinds of a file's boxes.
fn boxes(file: &Path) -> Vec<String> {
    let bytes = fs::read(file).expect("it is there");
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 8) {
        let short = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let long = || bytes[at + 8..at + 16].try_into().map_or(0, u64::from_be_bytes) as usize;
        found.push(String::from_utf8_lossy(&head[4..]).into_owned());
        at += if short == 1 { long() } else { short }.max(8);
    }
    found
}

#[test]
fn each_format_has_every_picture_that_was_sent() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let engine = engine(|_| {});
    let events = engine.events();
    let server = Scripted::start(Script::Record);
    let files = EXTENSIONS.map(|extension| clip.beside(&format!("recorded.{extension}")));
    let mut builder = engine.stream(Source::file(&clip.file).looped()).to(push(&server));
    for file in &files {
        builder = builder.record(file);
    }
    let live = builder.start().expect("it starts");
    let later = clip.beside("no-extension");
    live.add_output(Output::record(&later).format(FileFormat::Mp4)).expect("there is room");
    assert!(server.wait_pictures(0, 120, PATIENCE), "{:?}", live.stats());
    live.stop(PATIENCE).expect("it stops");
    // Each says what became of it, before it ends.
    let mut told = Vec::new();
    wait_event(&events, PATIENCE, |event| {
        match &event.kind {
            EventKind::Recorded { path, from, to, bytes, .. } => {
                assert_eq!((fs::metadata(path).expect("it is there").len(), *from), (*bytes, Duration::ZERO));
                assert!(*to > Duration::from_secs(1), "{to:?}");
                told.push(path.clone());
            }
            EventKind::OutputEnded { error, .. } => assert!(error.is_none(), "{error:?}"),
            _ => {}
        }
        matches!(event.kind, EventKind::Ended { .. }).then_some(())
    });
    told.sort();
    let mut expected: Vec<_> = files.iter().chain([&later]).cloned().collect();
    expected.sort();
    assert_eq!(told, expected);
    let pictures = frame_hashes(&files[0]);
    clip.assert_gapless(&read_flv(&files[0]));
    assert!(pictures.len() >= 120, "{}", pictures.len());
    let sound = packet_hashes(&files[0], "a");
    // Sound may have been a few frames ahead of the picture when the stream was stopped.
    let ends = ["v", "a"]
        .map(|kind| packet_times(&files[0], kind).iter().map(|packet| packet.pts).fold(0.0, f64::max));
    let expected = ends.into_iter().fold(0.0, f64::max) / 1000.0;
    for file in &files[1..] {
        assert!(frame_hashes(file) == pictures, "{}: other pictures", file.display());
        if !file.ends_with("recorded.ts") {
            assert!(packet_hashes(file, "a") == sound, "{}: other sound", file.display());
        }
        let length: f64 = said(file, "duration").parse().expect("a number");
        assert!((length - expected).abs() <= 0.12, "{}: {length} s of {expected} s", file.display());
    }
    assert_eq!(boxes(&files[1]), ["ftyp", "mdat", "moov"]);
    assert_eq!(boxes(&later), ["ftyp", "mdat", "moov"]);
    assert!(said(&files[2], "format_name").contains("matroska"));
    assert!(said(&files[3], "format_name").contains("mpegts"));
}

#[test]
fn a_format_that_cannot_hold_the_stream_ends_its_recording_by_name() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let coding = "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -c:v libvpx -deadline realtime -cpu-used 8 -g 25";
    let file = make(directory.path(), "vp8.mkv", coding);
    let engine = engine(|_| {});
    let events = engine.events();
    let source = Source::file(&file).looped().enhanced();
    let kept = directory.path().join("kept.mkv");
    let live = engine.stream(source).record(&kept).start().expect("it starts");
    for extension in ["mp4", "ts"] {
        let path = directory.path().join(format!("refused.{extension}"));
        let output = live.add_output(Output::record(&path)).expect("the codec is not known yet");
        let error = wait_ended(&events, output, PATIENCE).expect("it is refused");
        let Error::CodecNotRecorded { codec, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*codec, error.code(), error.is_retryable()), ("vp8", "CODEC_NOT_RECORDED", false));
        assert!(!path.exists(), "nothing of it stays");
    }
    live.stop(PATIENCE).expect("it goes on all the same");
    assert!(frame_hashes(&kept).len() > 5);
}

#[test]
fn only_flv_is_continued() {
    let clip = Known::small();
    let engine = engine(|_| {});
    for extension in &EXTENSIONS[1..] {
        let path = clip.beside(&format!("continued.{extension}"));
        let output = Output::record(&path).existing(Existing::Append);
        let error = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect_err(extension);
        assert!(matches!(error, Error::Config { name: "existing", .. }), "{error:?}");
        assert!(!path.exists());
    }
    let error =
        engine.stream(Source::file(&clip.file)).to(Output::publish("name").format(FileFormat::Mp4)).start();
    assert!(matches!(error, Err(Error::Config { name: "format", .. })), "{error:?}");
}

#[test]
fn a_disk_that_fills_up_leaves_what_fitted_in_each_format() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let spec =
        SampleSpec { gop_frames: 12, bitrate: 6_000_000, width: 640, height: 360, ..SampleSpec::default() };
    let clip = Known::made(&spec);
    let engine = engine(|_| {});
    let server = Scripted::start(Script::Record);
    let events = engine.events();
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    for extension in &EXTENSIONS[1..] {
        let Some(disk) = SmallDisk::mount() else { return };
        let path = disk.path().join(format!("full.{extension}"));
        let output = live.add_output(Output::record(&path)).expect("there is room to create it");
        let error = wait_ended(&events, output, PATIENCE).expect("the disk is full");
        let Error::Recording { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), ErrorKind::StorageFull);
        let decoded = decode(&path);
        assert!(
            decoded.frames.len() > 10,
            "{extension}: {} frames; {}",
            decoded.frames.len(),
            decoded.complaints
        );
    }
    let pictures = server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    assert!(server.wait_pictures(0, pictures + 30, PATIENCE), "the stream goes on");
    live.stop(PATIENCE).expect("it stops");
    clip.assert_gapless(&server.visits()[0].tags);
}

/// What a killed process may lose of a recording: what waits to be written, a tick, and the picture whose length is not known yet.
const MOST_LOST: Duration = Duration::from_secs(1);

/// The test that is also the program which is killed.
const KILLED: &str = "recorded_formats::a_killed_process_loses_a_second_at_most_in_any_format";
const ROLE: &str = "formats";

/// Kills processes that record in every format at once, each at another moment.
fn kill(processes: usize) {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let (clip, began) = (Known::small(), Instant::now());
    at_most(Duration::ZERO, began);
    let random = |below: u64| RandomState::new().hash_one(below) % below;
    let mut children: Vec<_> = (0..processes)
        .map(|number| {
            let (server, file) = (Scripted::start(Script::Record), clip.beside(&format!("killed-{number}")));
            let (program, arguments) = role_arguments(ROLE, KILLED);
            let to = server.url();
            let what = [("RECORDED_CLIP", &clip.file), ("RECORDED_FILE", &file)];
            let mut environment: Vec<_> = what.map(|(name, path)| (name, path.as_os_str())).to_vec();
            environment.push(("RECORDED_TO", to.as_ref()));
            (Peer::spawn_with(&program, arguments, &environment), server, file)
        })
        .collect();
    for (child, server, file) in &mut children {
        let pictures = 20 + random(60) as usize;
        assert!(server.wait_pictures(0, pictures, PATIENCE), "{}", child.report());
        let pause = Instant::now() + Duration::from_millis(random(300));
        wait_until(PATIENCE, || Instant::now() >= pause);
        let sent = server.visits()[0].tags.clone();
        child.kill();
        let sent_to = sent.iter().filter(|tag| tag.is_picture()).map(|tag| tag.time).max();
        let sent_to = sent_to.expect("pictures were sent") as f64;
        let most = at_most(MOST_LOST, pause.checked_sub(MOST_LOST).unwrap_or(began)).as_millis() as f64;
        for extension in EXTENSIONS {
            let file = file.with_extension(extension);
            let kept = kept_ms(&file);
            eprintln!("{extension}: sent {sent_to} ms, kept {kept} ms: {} ms lost", sent_to - kept);
            assert!(sent_to - kept <= most, "{extension}: {} ms lost, {most} may be", sent_to - kept);
            let decoded = decode(&file).frames.len() as f64;
            assert!(decoded * 40.0 >= kept - 120.0, "{extension}: {decoded} pictures in {kept} ms");
        }
    }
}

/// How far a file that may be cut off has pictures, from the first one on: one every 40 ms.
fn kept_ms(file: &Path) -> f64 {
    let pictures = match file.extension() {
        // ffprobe takes half a tag for a picture.
        Some(extension) if extension == "flv" => {
            flv_tags(file).iter().filter(|tag| Seen::new(tag, Instant::now()).is_picture()).count()
        }
        _ => packet_count(file, "v"),
    };
    (pictures as f64 - 1.0) * 40.0
}

#[test]
fn a_killed_process_loses_a_second_at_most_in_any_format() {
    if alone(ROLE) {
        let given = |name| std::env::var(name).expect("what to do");
        let engine = engine(|_| {});
        let clip = Source::file(given("RECORDED_CLIP")).looped();
        let mut stream = engine.stream(clip).to(Output::rtmp(&given("RECORDED_TO"), "key"));
        for extension in EXTENSIONS {
            stream = stream.record(format!("{}.{extension}", given("RECORDED_FILE")));
        }
        // Until it is killed.
        let _ = stream.start().expect("it starts").wait();
        return;
    }
    kill(4);
}

/// For a change of how recordings are written: takes some minutes.
#[test]
#[ignore = "a hundred kills"]
fn a_hundred_kills_lose_a_second_at_most_in_any_format() {
    for _ in 0..20 {
        kill(5);
    }
}
