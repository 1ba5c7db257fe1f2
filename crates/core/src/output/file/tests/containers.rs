//! Recordings in each format, with each codec it takes: ffmpeg finds in them what was in the stream, while they grow and afterwards.

use std::path::Path;

use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

use super::super::format::{FileFormat, Format};
use crate::output::media::NotHeld;

use super::made::{
    AV1, H264, HEVC, VP9, batches, clip, decoded, need_ffmpeg, open, packets, probe, record, run, tags_of,
};

const VP8: &str = "-c:v libvpx -deadline realtime -cpu-used 8 -c:a aac";

/// Each format with the codecs that are tried in it.
const HELD: [(FileFormat, &str, &[&str]); 4] = [
    (FileFormat::Flv, "flv", &[H264]),
    (FileFormat::Mp4, "mp4", &[H264, HEVC, AV1, VP9]),
    (FileFormat::Mkv, "mkv", &[H264, HEVC, AV1, VP9, VP8]),
    (FileFormat::MpegTs, "ts", &[H264, HEVC]),
];

#[test]
fn each_format_holds_what_it_says_and_loses_nothing_of_it() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    for (number, coding) in [H264, HEVC, AV1, VP9, VP8].into_iter().enumerate() {
        let source = format!("source{number}.mkv");
        clip(at, &source, "322x182", coding);
        let tags = tags_of(&at.join(&source));
        let pictures = decoded(at, &source, 'v', false);
        let sound = packets(at, &source, 'a');
        assert!(pictures.len() == 75 && sound.len() > 100, "{coding}: {} {}", pictures.len(), sound.len());
        for (format, extension, codings) in HELD {
            let name = format!("recorded{number}.{extension}");
            if !codings.contains(&coding) {
                continue;
            }
            let closed = record(&at.join(&name), format, &tags);
            assert_eq!(closed.len(), 1, "{format}");
            assert_eq!((closed[0].path.clone(), closed[0].bytes), (at.join(&name), size(&at.join(&name))));
            assert!(decoded(at, &name, 'v', false) == pictures, "{format} with {coding}: pictures");
            assert!(packets(at, &name, 'a') == sound, "{format} with {coding}: sound");
            let duration: f64 = probe(at, &name, "format=duration").parse().expect("a number");
            assert!((duration - 3.0).abs() < 0.1, "{format} with {coding}: {duration} s");
            assert_eq!(probe(at, &name, "stream=width,height"), "322,182", "{format} with {coding}");
        }
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |facts| facts.len())
}

#[test]
fn times_are_those_of_the_stream() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    let tags = tags_of(&at.join("source.mkv"));
    record(&at.join("r.flv"), FileFormat::Flv, &tags);
    let times = |name: &str, kind: &str| -> Vec<i64> {
        let arguments =
            format!("-v error -select_streams {kind}:0 -show_entries packet=pts_time -of csv=p=0 {name}");
        let printed = run("ffprobe", at, &arguments, false);
        let times = printed.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
        times.map(|time| (time * 1000.0).round() as i64).collect()
    };
    for (format, name) in
        [(FileFormat::Mp4, "r.mp4"), (FileFormat::Mkv, "r.mkv"), (FileFormat::MpegTs, "r.ts")]
    {
        record(&at.join(name), format, &tags);
        // MPEG-TS counts from where it likes; sound and pictures together.
        let shift = times(name, "v")[0] - times("r.flv", "v")[0];
        assert!(shift == 0 || format == FileFormat::MpegTs, "{format}: {shift} ms");
        for kind in ["v", "a"] {
            let (expected, got) = (times("r.flv", kind), times(name, kind));
            assert_eq!(expected.len(), got.len(), "{format} {kind}");
            let apart = expected.iter().zip(&got).map(|(expected, got)| (got - shift - expected).abs()).max();
            // Several frames of sound share one time in MPEG-TS, and it is counted in samples.
            assert!(
                apart.is_some_and(|apart| apart <= if kind == "a" { 2 } else { 0 }),
                "{format} {kind}: {apart:?} ms"
            );
        }
    }
}

/// Top-level boxes.
fn boxes(bytes: &[u8]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 8) {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let long = || u64::from_be_bytes(bytes[at + 8..at + 16].try_into().expect("eight bytes"));
        let size = if size == 1 { usize::try_from(long()).expect("it fits") } else { size };
        found.push((String::from_utf8_lossy(&head[4..]).into_owned(), size));
        at += size.max(8);
    }
    assert_eq!(at, bytes.len(), "the last box ends with the file: {found:?}");
    found
}

#[test]
fn a_growing_file_plays_up_to_its_last_write() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    let tags = tags_of(&at.join("source.mkv"));
    let (pictures, sound) = (decoded(at, "source.mkv", 'v', false), packets(at, "source.mkv", 'a'));
    for (format, extension, _) in HELD {
        let path = at.join(format!("grows.{extension}"));
        let (mut file, _closed) = open(&path, format);
        let mut given = [0, 0];
        for (number, batch) in batches(&tags).enumerate() {
            file.write(batch).expect("there is room");
            let media = |kind| batch.iter().filter(|tag| tag.kind == kind && !tag.is_header()).count();
            given = [given[0] + media(TagKind::Video), given[1] + media(TagKind::Audio)];
            // As a killed process leaves it.
            let name = format!("killed{number}.{extension}");
            std::fs::copy(&path, at.join(&name)).expect("there is room");
            let (seen, heard) = (decoded(at, &name, 'v', true), packets(at, &name, 'a'));
            // The newest of each track waits for the one after it, and the decoder holds back what comes later.
            assert!(seen.len() + 3 >= given[0], "{format}: {} of {} pictures", seen.len(), given[0]);
            assert!(heard.len() + 2 >= given[1], "{format}: {} of {} frames of sound", heard.len(), given[1]);
            // A picture that is missing at the end may be shown before one that is there.
            let sure = &seen[..seen.len().saturating_sub(3)];
            assert!(pictures.starts_with(sure), "{format}: other pictures");
            assert!(sound.starts_with(&heard), "{format}: other sound");
            if format == FileFormat::Mp4 {
                let kinds: Vec<_> = boxes(&std::fs::read(at.join(&name)).expect("it is there"));
                let kinds: Vec<_> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
                assert_eq!(kinds[..3], ["ftyp", "free", "moov"]);
                assert!(kinds[3..].chunks(2).all(|pair| pair == ["moof", "mdat"]), "{kinds:?}");
            }
        }
        file.finish().expect("there is room");
    }
}

#[test]
fn a_finished_mp4_has_one_index_and_can_be_sought() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    let tags = tags_of(&at.join("source.mkv"));
    let before: usize = tags.iter().filter(|tag| !tag.is_header()).map(|tag| tag.body.len()).sum();
    record(&at.join("plain.mp4"), FileFormat::Mp4, &tags);
    let bytes = std::fs::read(at.join("plain.mp4")).expect("it is there");
    let found = boxes(&bytes);
    let kinds: Vec<_> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["ftyp", "mdat", "moov"]);
    assert!(bytes.len() < before + before / 5, "{} bytes of {before}", bytes.len());
    let all = decoded(at, "plain.mp4", 'v', false);
    // To a keyframe, and into the middle of a GOP.
    for (from, first) in [("1", 25), ("2", 50), ("1.6", 40)] {
        let arguments = format!(
            "-nostdin -v error -ss {from} -i plain.mp4 -map 0:v:0 -fps_mode passthrough -f framemd5 -"
        );
        let printed = run("ffmpeg", at, &arguments, false);
        let sought =
            printed.lines().find(|line| !line.starts_with('#')).and_then(|line| line.split(',').nth(5));
        assert_eq!(sought.map(str::trim), Some(all[first].as_str()), "from {from} s");
    }
    // A picture lasts 40 ms, and sound begins with it.
    let duration: f64 = probe(at, "plain.mp4", "format=duration").parse().expect("a number");
    let last =
        tags.iter().map(|tag| tag.timestamp.as_millis()).max().expect("there are some") as f64 / 1000.0;
    assert!((duration - last).abs() < 0.13, "{duration} s, the last tag at {last} s");
}

#[test]
fn a_picture_that_is_shown_after_those_that_did_not_come_any_more_is_there() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "160x90", H264);
    let tags = tags_of(&at.join("source.mkv"));
    // The end comes anywhere between reordered pictures.
    for count in 40..46 {
        let mut pictures = 0;
        let is_in = |tag: &&Tag| {
            pictures += usize::from(tag.is_video() && !tag.is_header());
            pictures <= count
        };
        let part: Vec<_> = tags.iter().take_while(is_in).cloned().collect();
        for (format, extension) in [(FileFormat::Mp4, "mp4"), (FileFormat::Mkv, "mkv")] {
            let name = format!("{count}.{extension}");
            record(&at.join(&name), format, &part);
            assert_eq!(decoded(at, &name, 'v', true).len(), count, "{name}");
        }
    }
}

/// Tags one behind the other, each with its headers.
fn joined(parts: &[&[Tag]]) -> Vec<Tag> {
    let mut all: Vec<Tag> = Vec::new();
    for part in parts {
        let begin_ms = all.iter().map(|tag| tag.timestamp.as_millis() + 20).max().unwrap_or(0);
        let moved =
            |tag: &Tag| Tag { timestamp: tag.timestamp.saturating_add_millis(begin_ms), ..tag.clone() };
        all.extend(part.iter().map(moved));
    }
    all
}

#[test]
fn what_a_file_cannot_go_on_with_goes_to_another_one_and_nothing_is_lost() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "small.mkv", "320x180", H264);
    clip(at, "large.mkv", "480x270", &format!("{H264} -ar 44100"));
    let [small, large] = ["small.mkv", "large.mkv"].map(|name| tags_of(&at.join(name)));
    // The same again, whose headers say nothing new; then others.
    let all = joined(&[&small, &small, &large, &small]);
    let expect = |kind, hashes: fn(&Path, &str, char) -> Vec<String>| {
        ["small.mkv", "small.mkv", "large.mkv", "small.mkv"].map(|name| hashes(at, name, kind)).concat()
    };
    let pictures = expect('v', |at, name, kind| decoded(at, name, kind, false));
    let sound = expect('a', packets);
    for (format, extension, _) in HELD.iter().skip(1) {
        let closed = record(&at.join(format!("parts.{extension}")), *format, &all);
        let names: Vec<_> = closed.iter().filter_map(|closed| closed.path.file_name()?.to_str()).collect();
        let expected = ["parts", "parts-1", "parts-2"].map(|name| format!("{name}.{extension}"));
        assert_eq!(names, expected, "{closed:?}");
        assert!(closed.windows(2).all(|pair| pair[0].to == pair[1].from), "{closed:?}");
        let found = |hashes: fn(&Path, &str, char) -> Vec<String>, kind| {
            names.iter().flat_map(|name| hashes(at, name, kind)).collect::<Vec<_>>()
        };
        let (seen, heard) =
            (found(|at, name, kind| decoded(at, name, kind, false), 'v'), found(packets, 'a'));
        assert!(seen == pictures, "{format}: {} of {} pictures", seen.len(), pictures.len());
        assert!(heard == sound, "{format}: {} of {} frames of sound", heard.len(), sound.len());
        for (name, size) in names.iter().zip(["320,180", "480,270", "320,180"]) {
            assert_eq!(probe(at, name, "stream=width,height"), size, "{name}");
        }
    }
    // FLV has a place for them.
    assert_eq!(record(&at.join("parts.flv"), FileFormat::Flv, &all).len(), 1);
}

#[test]
fn sound_that_changes_within_a_gop_waits_for_the_keyframe() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    clip(at, "other.mkv", "320x180", &format!("{H264} -ar 44100"));
    let [source, other] = ["source.mkv", "other.mkv"].map(|name| tags_of(&at.join(name)));
    // From 1.5 s on the sound is the other one's; the pictures go on.
    let early = |tag: &&Tag| tag.timestamp.as_millis() < 1500;
    let mut all: Vec<_> = source.iter().filter(early).cloned().collect();
    let header = other.iter().find(|tag| tag.is_audio() && tag.is_sequence_header()).expect("it has one");
    all.push(Tag { timestamp: MediaTime::from_millis(1500), ..header.clone() });
    let mut late: Vec<_> = source.iter().filter(|tag| !early(tag) && tag.is_video()).cloned().collect();
    late.extend(other.iter().filter(|tag| !early(tag) && tag.is_audio()).cloned());
    late.sort_by_key(|tag| tag.timestamp);
    all.extend(late);
    let count = |kind| all.iter().filter(|tag| tag.kind == kind && !tag.is_header()).count();
    let closed = record(&at.join("sound.mp4"), FileFormat::Mp4, &all);
    assert_eq!(closed.len(), 2, "{closed:?}");
    let total = |kind: char| packets(at, "sound.mp4", kind).len() + packets(at, "sound-1.mp4", kind).len();
    assert_eq!((total('v'), total('a')), (count(TagKind::Video), count(TagKind::Audio)));
    assert_eq!(packets(at, "sound.mp4", 'v').len(), 50, "the second keyframe begins the next file");
    let rate = |name| probe(at, name, "stream=sample_rate");
    assert_eq!((rate("sound.mp4").as_str(), rate("sound-1.mp4").as_str()), ("48000", "44100"));
    let pictures = [decoded(at, "sound.mp4", 'v', false), decoded(at, "sound-1.mp4", 'v', false)].concat();
    assert!(pictures == decoded(at, "source.mkv", 'v', false));
}

#[test]
fn a_codec_that_a_format_does_not_hold_is_an_error_by_name() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "160x90", VP8);
    let tags = tags_of(&at.join("source.mkv"));
    for format in [FileFormat::Mp4, FileFormat::MpegTs] {
        let (mut file, _closed) = open(&at.join("no.bin"), format);
        let error = batches(&tags).find_map(|batch| file.write(batch).err()).expect("it is refused");
        let not_held = error.downcast::<NotHeld>().expect("by name");
        assert_eq!(not_held, NotHeld { codec: "vp8", container: format.as_str() });
    }
    assert!(!at.join("no.bin").exists(), "nothing was written");
}

#[test]
fn sound_alone_and_pictures_alone_are_recorded() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    let tags = tags_of(&at.join("source.mkv"));
    for kind in [TagKind::Video, TagKind::Audio] {
        let only: Vec<_> = tags.iter().filter(|tag| tag.kind == kind).cloned().collect();
        let letter = if kind == TagKind::Video { 'v' } else { 'a' };
        let source = packets(at, "source.mkv", letter);
        for (format, extension, _) in HELD {
            let name = format!("only-{letter}.{extension}");
            record(&at.join(&name), format, &only);
            let recorded = packets(at, &name, letter);
            assert_eq!(recorded.len(), source.len(), "{format} {letter}");
        }
    }
}
