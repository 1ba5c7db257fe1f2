//! Recordings that are cut into several files: joined they are the stream, hash for hash.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flowcast_av::{Demuxer, Interrupt, OpenOptions, TrackKind};
use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::tag::{Tag, TagKind};

use super::super::existing::Existing;
use super::super::files::{Closed, Files, Parts, Plan};
use super::super::format::{FileFormat, Format};
use super::super::names_of;
use super::super::segments::Segments;
use super::made::{batches, clip, decoded, need_ffmpeg, run, tags_of};

fn plan(pattern: &Path, segments: Segments, stream: &str, clock: fn() -> SystemTime) -> Plan {
    let names = names_of(pattern, &segments, stream).expect("a pattern");
    let parts = Parts { clock, ..Parts::new(segments, names) };
    let format = FileFormat::of(pattern);
    Plan {
        format,
        path: pattern.to_owned(),
        existing: Existing::Number,
        files: Arc::default(),
        parts: Some(parts),
    }
}

fn record_by(plan: Plan, tags: &[Tag]) -> Vec<Closed> {
    let (sender, closed) = crossbeam_channel::unbounded();
    let mut file = Box::new(Files::open(plan, sender).expect("it can be created"));
    batches(tags).for_each(|batch| file.write(batch).expect("there is room"));
    file.finish().expect("there is room");
    closed.try_iter().collect()
}

fn record(pattern: &Path, segments: Segments, tags: &[Tag]) -> Vec<Closed> {
    record_by(plan(pattern, segments, "rain", SystemTime::now), tags)
}

/// Tags as often as this, with their headers each time.
fn laps(tags: &[Tag], count: i64) -> Vec<Tag> {
    let length_ms = tags.iter().map(|tag| tag.timestamp.as_millis()).max().expect("there are some") + 20;
    let lap = |n| tags.iter().map(move |tag| (n, tag));
    let moved = |(n, tag): (i64, &Tag)| Tag {
        timestamp: tag.timestamp.saturating_add_millis(n * length_ms),
        ..tag.clone()
    };
    (0..count).flat_map(lap).map(moved).collect()
}

/// What is coded in tags of a kind.
fn sent(tags: &[Tag], kind: TagKind) -> Vec<Bytes> {
    let frames = tags.iter().filter(|tag| tag.kind == kind).filter_map(coded);
    frames
        .filter_map(|coded| if let Part::Frames { data, .. } = coded.part { Some(data) } else { None })
        .collect()
}

/// What is coded in files, one behind the other.
fn kept(files: &[Closed], kind: TrackKind) -> Vec<Bytes> {
    let of = |closed: &Closed| {
        let mut input =
            Demuxer::open(&closed.path, &OpenOptions::default(), &Interrupt::new()).expect("it opens");
        let track = input.media().tracks.iter().find(|track| track.kind == kind).expect("it has one").index;
        let packets: Vec<_> = std::iter::from_fn(|| input.read().expect("it reads")).collect();
        packets.into_iter().filter(move |packet| packet.track == track).map(|packet| packet.data)
    };
    files.iter().flat_map(of).collect()
}

const H264: &str = "-c:v libx264 -preset ultrafast -bf 2 -c:a aac";

#[test]
fn two_hundred_segments_are_the_stream_hash_for_hash() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "160x90", H264);
    let tags = laps(&tags_of(&at.join("source.mkv")), 67);
    let closed = record(&at.join("part-{number}.mp4"), Segments::every(Duration::from_secs(1)), &tags);
    assert!(closed.len() >= 200, "{} files", closed.len());
    assert!(closed.windows(2).all(|pair| pair[0].to == pair[1].from), "they follow each other");
    assert_eq!(closed[199].path, at.join("part-000199.mp4"));
    let (pictures, sound) = (kept(&closed, TrackKind::Video), kept(&closed, TrackKind::Audio));
    assert!(pictures == sent(&tags, TagKind::Video), "{} pictures", pictures.len());
    assert!(sound == sent(&tags, TagKind::Audio), "{} frames of sound", sound.len());
    // Each decodes by itself.
    let lap = decoded(at, "source.mkv", 'v', false);
    for (number, closed) in closed.iter().enumerate().step_by(23) {
        let name = closed.path.file_name().and_then(|name| name.to_str()).expect("a name");
        let from = number % 3 * 25;
        assert!(decoded(at, name, 'v', false) == lap[from..from + 25], "{name}");
    }
    let list: String = closed.iter().map(|closed| format!("file '{}'\n", closed.path.display())).collect();
    std::fs::write(at.join("list.txt"), list).expect("there is room");
    let joined =
        "-nostdin -v error -f concat -safe 0 -i list.txt -map 0:v:0 -fps_mode passthrough -f framemd5 -";
    let printed = run("ffmpeg", at, joined, false);
    let frames =
        printed.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(',').nth(5));
    let expected = lap.iter().cycle().take(lap.len() * 67);
    assert!(frames.map(str::trim).eq(expected.map(String::as_str)), "joined they are the stream");
}

#[test]
fn every_format_is_cut_by_size_and_loses_nothing() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    let tags = laps(&tags_of(&at.join("source.mkv")), 4);
    for extension in ["flv", "mp4", "mkv", "ts"] {
        let closed = record(&at.join(format!("by-size.{extension}")), Segments::of_bytes(200 << 10), &tags);
        assert!(closed.len() > 2, "{extension}: {}", closed.len());
        assert!(
            closed.iter().rev().skip(1).all(|closed| closed.bytes > 150 << 10),
            "{extension}: {closed:?}"
        );
        let (pictures, sound) = (kept(&closed, TrackKind::Video), kept(&closed, TrackKind::Audio));
        let expected = sent(&tags, TagKind::Video);
        assert_eq!(pictures.len(), expected.len(), "{extension}");
        if extension == "ts" {
            // It has delimiters and parameter sets between what the stream has: the pictures are compared.
            let names = closed.iter().filter_map(|closed| closed.path.file_name()?.to_str());
            let frames: Vec<_> = names.flat_map(|name| decoded(at, name, 'v', false)).collect();
            let lap = decoded(at, "source.mkv", 'v', false);
            assert!(frames.iter().eq(lap.iter().cycle().take(lap.len() * 4)), "{extension}: pictures");
        } else {
            assert!(pictures == expected, "{extension}: pictures");
        }
        assert!(sound == sent(&tags, TagKind::Audio), "{extension}: {} frames of sound", sound.len());
    }
}

#[test]
fn sound_alone_is_cut_too() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "160x90", H264);
    let all = laps(&tags_of(&at.join("source.mkv")), 2);
    let tags: Vec<_> = all.into_iter().filter(Tag::is_audio).collect();
    for extension in ["mp4", "flv"] {
        let pattern = at.join(format!("sound-{{number}}.{extension}"));
        let closed = record(&pattern, Segments::every(Duration::from_secs(1)), &tags);
        assert!((5..=7).contains(&closed.len()), "{extension}: {closed:?}");
        assert!(kept(&closed, TrackKind::Audio) == sent(&tags, TagKind::Audio), "{extension}");
    }
}

#[test]
fn numbers_go_on_behind_those_of_earlier_runs_and_the_oldest_files_go() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "160x90", H264);
    let tags = tags_of(&at.join("source.mkv"));
    let segments = || Segments::every(Duration::from_secs(1)).keep_files(4);
    let numbers = |closed: Vec<Closed>| -> Vec<String> {
        let stem = |closed: &Closed| Some(closed.path.file_stem()?.to_str()?.to_owned());
        closed.iter().filter_map(stem).collect()
    };
    let expected = |from: u32, to: u32| (from..to).map(|number| format!("a-{number:06}")).collect::<Vec<_>>();
    assert_eq!(numbers(record(&at.join("a.ts"), segments(), &tags)), expected(0, 3));
    assert_eq!(numbers(record(&at.join("a.ts"), segments(), &laps(&tags, 2))), expected(3, 9));
    // When the last one was opened, four complete ones stayed.
    let mut left: Vec<_> = std::fs::read_dir(at)
        .expect("it is there")
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".ts"))
        .collect();
    left.sort();
    assert_eq!(left, ["a-000004.ts", "a-000005.ts", "a-000006.ts", "a-000007.ts", "a-000008.ts"]);
    // Numbers of files that were removed are not given again.
    assert_eq!(numbers(record(&at.join("a.ts"), segments(), &tags)), expected(9, 12));
}

/// A publisher that comes back without a picture, or a camera that is off.
#[test]
fn a_recording_whose_picture_stops_is_cut_by_its_sound() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "160x90", H264);
    let mut tags = laps(&tags_of(&at.join("source.mkv")), 8);
    tags.retain(|tag| tag.is_audio() || tag.timestamp.as_millis() < 1500);
    let closed = record(&at.join("a.ts"), Segments::every(Duration::from_secs(2)), &tags);
    // With pictures and 10 s more, and then by the sound.
    assert!((7..=10).contains(&closed.len()), "{closed:?}");
}

/// A list with another codec behind the first, or a publisher who returns with one. The header of AAC holds no more when MP3 comes.
#[test]
fn sound_that_becomes_mp3_begins_one_file() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let sound = |ms: i64, body: Vec<u8>| {
        Tag::from_wire(TagKind::Audio, flowcast_rtmp::time::MediaTime::from_millis(ms), body.into())
    };
    let mut tags = vec![sound(0, vec![0xAF, 0, 0x12, 0x10])];
    tags.extend((0..200).map(|n| sound(n * 1024 * 10 / 441, [&[0xAF, 1][..], &[0x21; 60]].concat())));
    // Layer III of 128 kbit/s and 44.1 kHz: 417 bytes a frame.
    let begin = 200 * 1024 * 10 / 441;
    let frame = [&[0x2F, 0xFF, 0xFB, 0x90, 0x44][..], &[0; 413]].concat();
    tags.extend((0..300).map(|n| sound(begin + n * 1152 * 10 / 441, frame.clone())));
    for (name, format) in [("a.mp4", FileFormat::Mp4), ("a.ts", FileFormat::MpegTs)] {
        let closed = super::made::record(&directory.path().join(name), format, &tags);
        assert_eq!(closed.len(), 2, "{name}: {closed:?}");
        let second = closed[1].path.file_name().and_then(|name| name.to_str()).expect("a name");
        let codec = super::made::probe(directory.path(), second, "stream=codec_name");
        assert!(codec.contains("mp3") && !codec.contains("aac"), "{name}: {codec}");
    }
}

/// Seconds of a day that only the test knows.
static NOW: AtomicU64 = AtomicU64::new(0);

#[test]
fn the_clock_of_the_wall_cuts_and_names() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "160x90", H264);
    let tags = laps(&tags_of(&at.join("source.mkv")), 3);
    let clock = || UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::Relaxed));
    // Two seconds before midnight.
    NOW.store(1_795_996_798, Ordering::Relaxed);
    let day = Segments::by_clock(Duration::from_secs(24 * 3600), "UTC");
    let plan = plan(&at.join("{stream} {time}.mp4"), day, "../rain", clock);
    let (sender, closed) = crossbeam_channel::unbounded();
    let mut file = Box::new(Files::open(plan, sender).expect("it can be created"));
    for (number, batch) in (0..).zip(batches(&tags)) {
        NOW.store(1_795_996_798 + number / 2, Ordering::Relaxed);
        file.write(batch).expect("there is room");
    }
    file.finish().expect("there is room");
    let names: Vec<_> =
        closed.try_iter().filter_map(|closed| Some(closed.path.file_name()?.to_str()?.to_owned())).collect();
    assert_eq!(names, ["_._rain 2026-11-29_23-59-58Z.mp4", "_._rain 2026-11-30_00-00-00Z.mp4"]);
}
