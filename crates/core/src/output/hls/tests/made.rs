//! What is in the segments: with each codec, over seams and changes, ffmpeg finds what was in the stream, once.

use std::fs;
use std::path::Path;
use std::time::Duration;

use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::{listed, open, write};
use crate::event::EventKind;
use crate::output::file::FileFormat;
use crate::output::file::format::Format;
use crate::output::file::tests::made::{
    AV1, H264, HEVC, VP9, clip, decoded, need_ffmpeg, packets, probe, tags_of,
};
use crate::output::hls::{Hls, HlsStore};

const SECOND: Duration = Duration::from_secs(1);

/// All tags again, this much later.
pub(super) fn later(tags: &[Tag], ms: i64) -> Vec<Tag> {
    let moved = |tag: &Tag| {
        let timestamp = MediaTime::from_millis(tag.timestamp.as_millis() + ms);
        Tag { timestamp, ..tag.clone() }
    };
    tags.iter().map(moved).collect()
}

/// The segments of a playlist one behind the other, behind their header, as a file.
fn join(directory: &Path, to: &str) {
    let mut joined = Vec::new();
    for name in listed(directory) {
        joined.extend(fs::read(directory.join(name)).expect("it is listed"));
    }
    fs::write(directory.join(to), joined).expect("there is room");
}

#[test]
fn segments_one_behind_the_other_are_the_stream() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    for (number, (coding, is_ts, name)) in [
        (H264, false, "avc1"),
        (HEVC, false, "hvc1"),
        (AV1, false, "av01"),
        (VP9, false, "vp09"),
        (H264, true, "avc1"),
        (HEVC, true, "hvc1"),
    ]
    .into_iter()
    .enumerate()
    {
        let source = format!("source{number}.mkv");
        clip(at, &source, "322x182", coding);
        let tags = tags_of(&at.join(&source));
        let hls = at.join(number.to_string());
        let format = if is_ts { FileFormat::MpegTs } else { FileFormat::Mp4 };
        let settings = Hls::directory(&hls).target_duration(SECOND).format(format).event();
        let (mut made, news) = open(&settings.master(at.join(format!("{number}.m3u8"))));
        write(&mut made, &tags);
        made.finish().expect("there is room");
        let playlist = fs::read_to_string(hls.join("index.m3u8")).expect("a playlist");
        // Opus begins before its first sample, and sound may end after the last picture.
        let lengths = playlist.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(','));
        let lengths: Vec<f64> = lengths.filter_map(|length| length.parse().ok()).collect();
        let is_second = |length: &f64| (0.98..1.1).contains(length);
        assert!(lengths.len() == 3 && lengths.iter().all(is_second), "{coding}: {playlist}");
        assert!(
            playlist.contains("TARGETDURATION:1\n") && playlist.ends_with("#EXT-X-ENDLIST\n"),
            "{playlist}"
        );
        assert!(playlist.contains("INDEPENDENT") && !playlist.contains("DISCONTINUITY"), "{playlist}");
        let joined = if is_ts { "joined.ts" } else { "joined.mp4" };
        join(&hls, joined);
        let is_same = |file: &str, kind: char| match kind {
            'v' => decoded(&hls, file, 'v', false) == decoded(at, &source, 'v', false),
            _ => packets(&hls, file, 'a') == packets(at, &source, 'a'),
        };
        assert!(is_same(joined, 'v') && is_same(joined, 'a'), "{coding} {format}: joined");
        assert!(is_same("index.m3u8", 'v'), "{coding} {format}: played");
        assert!(is_ts || is_same("index.m3u8", 'a'), "{coding} {format}: played");
        // Each segment is one by itself.
        if is_ts {
            for name in listed(&hls) {
                assert_eq!(probe(&hls, &name, "stream=width,height"), "322,182", "{name}");
            }
        }
        let master = fs::read_to_string(at.join(format!("{number}.m3u8"))).expect("a playlist");
        assert!(
            master.contains(&format!("CODECS=\"{name}.")) && master.contains("RESOLUTION=322x182"),
            "{master}"
        );
        assert!(
            master.contains("FRAME-RATE=25.000\n") && master.contains(&format!("\n{number}/index.m3u8\n")),
            "{master}"
        );
        assert!(matches!(news.try_recv(), Ok(EventKind::OutputLive { failures: 0, .. })));
        assert!(news.is_empty());
    }
}

#[test]
fn a_seam_of_a_loop_is_no_discontinuity_and_loses_nothing() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    let lap = tags_of(&at.join("source.mkv"));
    // A lap whose last group of pictures is short.
    let lap: Vec<_> = lap.into_iter().filter(|tag| tag.timestamp.as_millis() < 2600).collect();
    for format in [FileFormat::Mp4, FileFormat::MpegTs] {
        let hls = at.join(format.as_str());
        let settings = Hls::directory(&hls).target_duration(2 * SECOND).format(format).event();
        let (mut made, _news) = open(&settings);
        for number in 0..5 {
            let mut tags = later(&lap, number * 2600);
            // Headers are sent once.
            tags.retain(|tag| number == 0 || !tag.is_header());
            write(&mut made, &tags);
        }
        made.finish().expect("there is room");
        let playlist = fs::read_to_string(hls.join("index.m3u8")).expect("a playlist");
        assert!(!playlist.contains("DISCONTINUITY"), "{playlist}");
        assert!(playlist.contains("TARGETDURATION:2\n"), "{playlist}");
        let lengths = playlist.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(','));
        let sum: f64 = lengths.filter_map(|length| length.parse::<f64>().ok()).sum();
        assert!((sum - 13.0).abs() < 0.05, "{sum} s");
        assert_eq!(decoded(&hls, "index.m3u8", 'v', false).len(), 5 * 65, "{format}");
    }
}

#[test]
fn another_configuration_is_another_header_behind_a_discontinuity() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "one.mkv", "320x180", H264);
    clip(at, "two.mkv", "640x360", H264);
    let parts = ["one.mkv", "two.mkv"].map(|name| tags_of(&at.join(name)));
    for format in [FileFormat::Mp4, FileFormat::MpegTs] {
        let hls = at.join(format.as_str());
        let (mut made, _news) = open(&Hls::directory(&hls).target_duration(SECOND).format(format).event());
        for (number, tags) in (0..).zip([&parts[0], &parts[1], &parts[0]]) {
            write(&mut made, &later(tags, number * 3000));
        }
        made.finish().expect("there is room");
        let playlist = fs::read_to_string(hls.join("index.m3u8")).expect("a playlist");
        let maps = if format == FileFormat::Mp4 { 3 } else { 0 };
        assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 2, "{playlist}");
        assert_eq!(playlist.matches("#EXT-X-MAP").count(), maps, "{playlist}");
        let count = decoded(&hls, "index.m3u8", 'v', true).len();
        assert_eq!(count, 3 * 75, "{format}: {playlist}");
    }
}

#[test]
fn a_gap_is_a_discontinuity() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    let tags = tags_of(&at.join("source.mkv"));
    // As the driver does when tags were dropped: headers, and then the keyframe. A publisher that is back has the same headers, which are left out.
    let again = later(&tags, 63_000);
    let without: Vec<_> = again.iter().filter(|tag| !tag.is_header()).cloned().collect();
    for (name, rest) in [("with", &again), ("without", &without)] {
        let hls = at.join(name);
        let (mut made, news) = open(&Hls::directory(&hls).target_duration(SECOND));
        write(&mut made, &tags);
        write(&mut made, rest);
        made.finish().expect("there is room");
        let playlist = fs::read_to_string(hls.join("index.m3u8")).expect("a playlist");
        assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{name}: {playlist}");
        assert_eq!(playlist.matches("#EXT-X-MAP").count(), 1, "{name}: {playlist}");
        let target =
            playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-TARGETDURATION:")?.parse().ok());
        let target: f64 = target.expect("a target duration");
        let lengths = playlist.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(','));
        let longest = lengths.filter_map(|length| length.parse::<f64>().ok()).fold(0.0, f64::max);
        assert!(longest.round() <= target, "{name}: {playlist}");
        assert_eq!(decoded(&hls, "index.m3u8", 'v', true).len(), 150, "{name}: {playlist}");
        let is_late = |told: EventKind| matches!(told, EventKind::SegmentWithoutKeyframe { .. });
        assert!(!news.try_iter().any(is_late), "{name}");
    }
}

#[test]
fn from_memory_it_is_the_same() {
    if !need_ffmpeg() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    clip(at, "source.mkv", "320x180", H264);
    let tags = tags_of(&at.join("source.mkv"));
    let store = HlsStore::new();
    for settings in [Hls::memory(&store), Hls::memory(&store).name("low")] {
        let (mut made, _news) = open(&settings.target_duration(SECOND));
        write(&mut made, &tags);
        made.finish().expect("there is room");
    }
    let names = store.names();
    for name in &names {
        let path = at.join("copy").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("there is room");
        fs::write(path, store.get(name).expect("it is there").bytes).expect("there is room");
    }
    let expected = decoded(at, "source.mkv", 'v', false);
    for playlist in ["index.m3u8", "low/index.m3u8", "master.m3u8"] {
        assert!(decoded(&at.join("copy"), playlist, 'v', false) == expected, "{playlist} of {names:?}");
    }
}
