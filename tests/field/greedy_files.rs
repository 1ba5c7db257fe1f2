//! Files made to take memory and time: each is refused with the limit it goes beyond, or plays, within a bounded amount of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::{Demuxer, Error as Media, Interrupt, OpenOptions};
use flowcast::rtmp::flv::TagKind;
use flowcast::verdict::{ScanOptions, facts};
use flowcast::{Error, EventKind, Prepare, Source};

use super::examine::{Bounds, Examiner};
use kit::rig::{Known, engine, read_flv, wait_event};
use kit::{Clip, Need, PATIENCE, Peer, alone, box_at, directory, need, run_alone, wait_until};

/// Above what the process takes before.
const MEMORY_KIB: usize = 400 << 10;

fn start_codes(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 1], *unit].concat()).collect()
}

fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len() + 8).expect("small").to_be_bytes();
    [&size, kind.as_slice(), content].concat()
}

/// Changes a number in the only box of this kind, this many bytes behind its name.
fn patched(mut file: Vec<u8>, kind: &[u8; 4], at: usize, number: u32) -> Vec<u8> {
    let name = box_at(&file, kind) + 4;
    file[name + 4 + at..][..4].copy_from_slice(&number.to_be_bytes());
    file
}

/// The file, its name, and the limit it goes beyond.
type Greedy = (&'static str, Vec<u8>, &'static str);

fn raw_streams() -> Vec<Greedy> {
    let picture = start_codes(&[&[0x65, 0x88, 0x84, 9, 9, 9]]);
    let millions = |unit: &[u8]| start_codes(&[unit]).repeat(1 << 20);
    let sps = [0x67, 66, 192, 12, 217, 65, 65, 159, 159, 1, 16, 0, 0, 62, 144, 0, 11, 184];
    vec![
        ("delimiters.h264", millions(&[9, 0xF0]), "max_units"),
        ("slices.h264", [picture.clone(), millions(&[1])].concat(), "max_units"),
        ("sets.h264", millions(&sps), "max_units"),
        ("delimiters.hevc", millions(&[0x46, 1]), "max_units"),
    ]
}

fn containers(clip: &Path) -> Vec<Greedy> {
    let mp4 = fs::read(clip).expect("the clip");
    let tracks = |count: usize| {
        let track = box_at(&mp4, b"trak");
        let size = u32::from_be_bytes(mp4[track..track + 4].try_into().expect("four bytes")) as usize;
        let header = box_at(&mp4, b"mvhd");
        let movie = [&mp4[header..header + 108], &mp4[track..track + size].repeat(count)].concat();
        [boxed(b"ftyp", b"isom\0\0\0\0isom"), boxed(b"moov", &movie)].concat()
    };
    let samples = patched(patched(mp4.clone(), b"stsz", 4, 1), b"stsz", 8, 60_000_000);
    let item = boxed(b"\xA9nam", &boxed(b"data", b"\0\0\0\x01\0\0\0\0title"));
    let meta = [&[0; 4][..], &boxed(b"hdlr", &[0; 25]), &boxed(b"ilst", &item.repeat(150_000))].concat();
    let movie = boxed(b"moov", &boxed(b"udta", &boxed(b"meta", &meta)));
    let tagged = [boxed(b"ftyp", b"isom\0\0\0\0isom"), movie].concat();
    vec![
        ("tracks.mp4", tracks(900), "max_tracks"),
        ("samples.mp4", samples, "max_samples"),
        ("tags.mp4", tagged, "max_tags"),
        ("tags.mkv", tagged_matroska(), "max_tags"),
    ]
}

/// A Matroska file that is nothing but 150,000 tags.
fn tagged_matroska() -> Vec<u8> {
    let element = |name: &[u8], content: &[u8]| {
        let size = (u32::try_from(content.len()).expect("small") | 0x1000_0000).to_be_bytes();
        [name, &size, content].concat()
    };
    let tags: Vec<u8> = (0..150_000)
        .flat_map(|n| {
            let (name, text) =
                (element(&[0x45, 0xA3], format!("T{n}").as_bytes()), element(&[0x44, 0x87], b"x"));
            element(&[0x67, 0xC8], &[name, text].concat())
        })
        .collect();
    let segment = element(&[0x12, 0x54, 0xC3, 0x67], &element(&[0x73, 0x73], &tags));
    let head = element(&[0x1A, 0x45, 0xDF, 0xA3], &element(&[0x42, 0x82], b"matroska"));
    [head, element(&[0x18, 0x53, 0x80, 0x67], &segment)].concat()
}

/// A clip whose first packet is a picture of a million units, in this container.
fn bomb(directory: &Path, name: &str) -> Vec<u8> {
    let raw = directory.join("bomb.h264");
    let mut pictures = fs::read(directory.join("clip.h264")).expect("made before");
    let second = pictures.windows(5).rposition(|code| code == [0, 0, 0, 1, 9]).unwrap_or(pictures.len());
    pictures.splice(second..second, start_codes(&[&[12, 0xFF]]).repeat(1 << 19));
    fs::write(&raw, pictures).expect("there is room");
    let file = directory.join(name);
    let arguments = ["-nostdin", "-v", "error", "-y", "-f", "h264", "-framerate", "25", "-i"];
    let copied = ["-c", "copy", "-bsf:v", "setts=ts=N*3600"];
    let paths = [raw.to_str().expect("text"), file.to_str().expect("text")];
    let all = arguments.into_iter().chain([paths[0]]).chain(copied).chain([paths[1]]);
    let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), all);
    ffmpeg.wait(Duration::from_secs(60));
    fs::read(file).unwrap_or_default()
}

#[test]
fn what_is_too_much_is_refused_by_its_limit() {
    const TEST: &str = "greedy_files::what_is_too_much_is_refused_by_its_limit";
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    if !alone("greedy") {
        // Nothing else takes memory there.
        return print!("{}", run_alone("greedy", TEST, Duration::from_secs(120)));
    }
    let clip = Known::small();
    let scratch = directory();
    let mp4 = kit::remux(&clip.file, scratch.path(), "clip.mp4");
    Clip { audio: false, b_frames: 0, ..Clip::default() }.make(scratch.path(), "clip.h264");
    let mut files = raw_streams();
    files.extend(containers(&mp4));
    for name in ["bomb.ts", "bomb.mkv", "bomb.avi"] {
        files.push((name, bomb(scratch.path(), name), "max_units"));
    }
    let examiner = Examiner::new(Bounds { memory_kib: MEMORY_KIB, ..Bounds::default() });
    for (name, bytes, limit) in files {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).expect("there is room");
        refused(&path, limit);
        let report = examiner.examine(&path);
        println!("{name}: {report}");
        assert!(report.is_within(), "{name}: {report}");
    }
}

fn refused(path: &Path, limit: &str) {
    let error = facts(path, &ScanOptions::default(), &Interrupt::new()).map(drop).expect_err("too much");
    let Error::Media(Media::LimitExceeded { limit: named, allowed, .. }) = &error else {
        panic!("{}: {error:?}", path.display())
    };
    assert_eq!((*named, *allowed > 0, error.code()), (limit, true, "INPUT_LIMIT_EXCEEDED"), "{error}");
    assert!(flowcast::error::chain(&error).contains(&format!("InputLimits::{limit}")), "{error}");
}

#[test]
fn limits_are_settings() {
    let clip = Known::small();
    let mut options = OpenOptions::default();
    options.limits.max_tracks = 1;
    let open = |options: &OpenOptions| Demuxer::open(&clip.file, options, &Interrupt::new()).map(drop);
    assert!(matches!(open(&options), Err(Media::LimitExceeded { limit: "max_tracks", allowed: 1, .. })));
    options.limits.max_tracks = 2;
    assert!(open(&options).is_ok());
}

/// The clip as FLV, each tag at the time that `time` makes of its own.
fn retimed(scratch: &Path, name: &str, time: impl Fn(u32) -> u32) -> PathBuf {
    let clip = Clip { b_frames: 0, size: (160, 90), ..Clip::default() }.make(scratch, "base.flv");
    let mut flv = fs::read(clip).expect("it was made");
    let mut at = 13;
    while let Some(&[_, a, b, c, d, e, f, g]) = flv.get(at..).and_then(|tag| tag.first_chunk::<8>()) {
        let [g, d, e, f] = time(u32::from_be_bytes([g, d, e, f])).to_be_bytes();
        flv[at + 4..at + 8].copy_from_slice(&[d, e, f, g]);
        at += 15 + u32::from_be_bytes([0, a, b, c]) as usize;
    }
    let file = scratch.join(name);
    fs::write(&file, flv).expect("there is room");
    file
}

#[test]
fn a_file_whose_times_do_not_advance_is_sent_at_its_rate() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let scratch = directory();
    let file = retimed(scratch.path(), "still.flv", |_| 0);
    let engine = engine(|_| {});
    let events = engine.events();
    let recording = scratch.path().join("recorded.flv");
    let stream = engine.stream(Source::file(&file).looped()).record(&recording).start().expect("it starts");
    wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::ClockStalled { step } => Some(step),
        _ => None,
    });
    assert!(wait_until(PATIENCE, || stream.stats().media_time.as_millis() > 3000));
    drop(stream.stop(PATIENCE));
    let tags = read_flv(&recording);
    let pictures: Vec<_> = tags.iter().filter(|tag| tag.kind == TagKind::Video && !tag.header).collect();
    let length = tags.iter().map(|tag| tag.time).max().unwrap_or(0);
    println!("{} pictures in {length} ms", pictures.len());
    assert!((pictures.len() as i64) < length / 20, "{} pictures in {length} ms", pictures.len());
}

#[test]
fn a_small_file_whose_times_lie_far_apart_is_not_prepared_for_hours() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let scratch = directory();
    // Two seconds become three hours.
    let file = retimed(scratch.path(), "far.flv", |millis| millis * 5400);
    let prepare = Prepare::new(&file, scratch.path().join("out.mp4"));
    let error = prepare.run(|_| {}, &Interrupt::new()).map(|done| done.path).expect_err("it is empty");
    let text = flowcast::error::chain(&error);
    println!("{text}");
    assert!(matches!(error, Error::InputUnusable { .. }) && text.contains("Prepare::most_empty"), "{text}");
}
