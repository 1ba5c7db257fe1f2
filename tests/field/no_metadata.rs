//! A stream says what it is, also where its file does not: FLV without metadata, and sound in MP3, which has no header.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::{SampleSpec, sample_clip};
use flowcast::rtmp::flv::script::Metadata;
use flowcast::{Engine, Playlist, Source};
use tempfile::TempDir;

use kit::rig::both_ways;
use kit::{Need, PATIENCE, flv_tags, need, run, text, wait_until, write_flv};

/// The first metadata of what a source sends, and how often some is sent in its first 100 frames.
#[track_caller]
fn described(engine: &Engine, source: Source) -> (Metadata, usize) {
    let directory = TempDir::new().expect("a temporary directory");
    let recording = directory.path().join("recording.flv");
    let live = engine.stream(source).record(&recording).start().expect("the stream starts");
    let enough = wait_until(3 * PATIENCE, || recording.exists() && flv_tags(&recording).len() >= 100);
    assert!(enough, "{}", live.stats());
    live.stop(Duration::from_secs(3)).expect("it stops");
    let tags = flv_tags(&recording);
    assert!(tags[0].is_metadata(), "it does not begin with metadata");
    let count = tags.iter().filter(|tag| tag.is_metadata()).count();
    (Metadata::parse(&tags[0].body.to_bytes()).expect("metadata that can be read"), count)
}

fn clip(directory: &Path, name: &str) -> PathBuf {
    let file = directory.join(name);
    let spec = SampleSpec { width: 160, height: 90, seconds: 2.0, ..SampleSpec::default() };
    sample_clip(&file, &spec).expect("libav makes the clip");
    file
}

fn mp3(directory: &Path, name: &str, rate: u32, seconds: u32) -> PathBuf {
    let file = directory.join(name);
    let sine = format!("sine=d={seconds}:r={rate}");
    let arguments = ["-nostdin", "-v", "error", "-f", "lavfi", "-i", &sine, "-ac", "2", "-c:a", "libmp3lame"];
    run("ffmpeg", arguments.into_iter().chain([text(&file)]), Duration::from_secs(60));
    file
}

#[test]
fn flv_without_metadata_or_with_an_empty_one_is_described_from_its_tracks() {
    let directory = TempDir::new().expect("a temporary directory");
    let whole = flv_tags(&clip(directory.path(), "whole.flv"));
    let empty = Metadata::default().to_tag(flowcast::rtmp::time::MediaTime::ZERO);
    for (name, first) in [("none.flv", None), ("empty.flv", Some(&empty))] {
        let file = directory.path().join(name);
        write_flv(&file, first.into_iter().chain(whole.iter().filter(|tag| !tag.is_metadata())));
        both_ways(|mode, engine, _| {
            let (metadata, count) = described(engine, Source::file(&file).looped());
            let size = (metadata.width, metadata.height);
            assert_eq!(size, (Some(160.0), Some(90.0)), "{name}, {mode}");
            let codecs = (metadata.videocodecid, metadata.audiocodecid);
            assert_eq!(codecs, (Some(7.0), Some(10.0)), "{name}, {mode}");
            assert_eq!(metadata.audiosamplerate, Some(48_000.0), "{name}, {mode}");
            assert_eq!(count, 1, "{name}, {mode}");
        });
    }
}

#[test]
fn sound_in_mp3_is_described_alone_and_under_a_picture() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let song = mp3(directory.path(), "song.mp3", 44_100, 2);
    let flv = directory.path().join("song.flv");
    let arguments = ["-nostdin", "-v", "error", "-i", text(&song), "-c", "copy", text(&flv)];
    run("ffmpeg", arguments, Duration::from_secs(60));
    let picture = clip(directory.path(), "picture.mp4");
    both_ways(|mode, engine, _| {
        for file in [&song, &flv] {
            let (metadata, count) = described(engine, Source::file(file).looped());
            let sound = (metadata.audiocodecid, metadata.audiosamplerate, metadata.stereo);
            assert_eq!(sound, (Some(2.0), Some(44_100.0), Some(true)), "{mode}: {}", file.display());
            assert_eq!((metadata.videocodecid, count), (None, 1), "{mode}: {}", file.display());
        }
        let source = Source::file(&picture).looped().with_audio(Playlist::files([&song]));
        let (metadata, count) = described(engine, source);
        let sound = (metadata.audiocodecid, metadata.audiosamplerate, metadata.stereo);
        assert_eq!(sound, (Some(2.0), Some(44_100.0), Some(true)), "{mode}, under a picture");
        assert_eq!((metadata.videocodecid, metadata.width, count), (Some(7.0), Some(160.0), 1), "{mode}");
    });
}

#[test]
fn sound_in_mp3_that_changes_is_described_again() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let songs = [mp3(directory.path(), "a.mp3", 44_100, 1), mp3(directory.path(), "b.mp3", 22_050, 1)];
    both_ways(|mode, engine, _| {
        let (metadata, count) = described(engine, Source::playlist(Playlist::files(&songs)));
        assert_eq!(metadata.audiosamplerate, Some(44_100.0), "{mode}");
        assert!(count >= 2, "{mode}: {count}");
    });
}
