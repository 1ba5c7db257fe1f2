//! Lists whose files are of many formats: a stream keeps one sound and one picture format, or says that it changes.

use flowcast::playlist::ParameterChange;
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::{Config, EventKind, Events, Mode, Platform, Playlist, Profile, ReelStore, Source};
use kit::rig::{engine, read_flv};
use kit::{Clip, Need, PATIENCE, directory, flv_tags, need, run, text, wait_until};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENCODING: Duration = Duration::from_secs(60);
/// FLV's numbers of AAC and MP3.
const AAC: u8 = 10;
const MP3: u8 = 2;

/// A second of a tone at this rate, with this many channels; the extension says in what.
fn song(directory: &Path, name: &str, rate: u32, channels: u32) -> PathBuf {
    let file = directory.join(name);
    let source = format!("sine=frequency=440:sample_rate={rate}:duration=1");
    let channels = channels.to_string();
    let arguments =
        ["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", &source, "-ac", &channels, text(&file)];
    run("ffmpeg", arguments, ENCODING);
    file
}

fn picture(directory: &Path, name: &str, size: (u32, u32)) -> PathBuf {
    Clip { seconds: 1, b_frames: 0, audio: false, size, ..Clip::default() }.make(directory, name)
}

/// What was recorded of a source, until it had begun this many items, and what was told.
fn record(directory: &Path, mode: &str, source: &Source, items: usize) -> (Vec<Tag>, Vec<EventKind>) {
    let recorded = kit::directory();
    let file = recorded.path().join("recording.flv");
    let reels = (mode == "reel").then(|| ReelStore::new(directory.join("reels")));
    let engine = engine(|config: &mut Config| config.reels = reels);
    let events: Events = engine.events();
    let live = engine.stream(source.clone()).record(&file).start().expect("the stream starts");
    let mut told = Vec::new();
    let all = wait_until(3 * PATIENCE, || {
        while let Some(event) = events.try_next() {
            told.push(event.kind);
        }
        told.iter().filter(|kind| matches!(kind, EventKind::ItemStarted { .. })).count() >= items
    });
    assert!(all, "{mode}: {told:#?}");
    live.stop(PATIENCE).expect("it ran");
    let seen = read_flv(&file);
    assert!(seen.iter().any(|tag| tag.kind == TagKind::Audio), "{mode}: no sound at all");
    (flv_tags(&file), told)
}

/// Both modes at once.
fn both(directory: &Path, source: &Source, items: usize) -> [(Vec<Tag>, Vec<EventKind>); 2] {
    std::thread::scope(|scope| {
        let modes =
            ["direct", "reel"].map(|mode| scope.spawn(move || record(directory, mode, source, items)));
        modes.map(|mode| mode.join().expect("both modes play"))
    })
}

/// The codecs of the sound, and how many different sequence headers it has.
fn sound(tags: &[Tag]) -> (BTreeSet<u8>, usize) {
    let audio: Vec<_> = tags.iter().filter(|tag| tag.kind == TagKind::Audio).collect();
    let codecs = audio.iter().filter_map(|tag| tag.body.byte(0)).map(|head| head >> 4).collect();
    let headers: BTreeSet<_> =
        audio.iter().filter(|tag| tag.is_sequence_header()).map(|tag| tag.body.to_bytes()).collect();
    (codecs, headers.len())
}

/// Songs of every kind.
fn songs(directory: &Path) -> Vec<PathBuf> {
    vec![
        song(directory, "1.mp3", 44_100, 2),
        song(directory, "2.mp3", 48_000, 2),
        song(directory, "3.m4a", 44_100, 2),
        song(directory, "4.m4a", 48_000, 1),
    ]
}

#[test]
fn songs_under_a_picture_are_one_sound() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let path = directory.path();
    let (video, mut songs) = (picture(path, "picture.mp4", (160, 90)), songs(path));
    for platform in [Some(Platform::youtube()), None] {
        let list = Playlist::files(&songs);
        let source =
            Source::video(&video).looped().with_audio(list).mode(Mode::Auto).encoding(Profile::Ultra);
        let source = platform.iter().cloned().fold(source, Source::platform);
        for (tags, told) in both(path, &source, 6) {
            assert_eq!(sound(&tags), (BTreeSet::from([AAC]), 1), "{platform:?} {told:#?}");
            let changes = told.iter().any(|kind| matches!(kind, EventKind::ParametersChanged { .. }));
            assert!(!changes, "{told:#?}");
        }
        // With one first that is copied, others are made like it.
        songs.rotate_left(3);
    }
}

#[test]
fn items_of_a_list_are_one_stream() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let path = directory.path();
    let items = [
        Clip { seconds: 1, b_frames: 0, size: (160, 90), ..Clip::default() }.make(path, "1.mp4"),
        picture(path, "2.mp4", (160, 90)),
        Clip { seconds: 1, b_frames: 0, size: (120, 160), ..Clip::default() }.make(path, "3.mp4"),
    ];
    let source = Source::playlist(Playlist::files(items)).mode(Mode::Auto).encoding(Profile::Ultra);
    for (tags, told) in both(path, &source, 5) {
        assert_eq!(sound(&tags), (BTreeSet::from([AAC]), 1), "{told:#?}");
        // The size is in the metadata that goes with each header.
        let sizes: BTreeSet<_> = tags.iter().filter_map(size).collect();
        assert_eq!(sizes, BTreeSet::from([(160, 90)]), "{told:#?}");
    }
}

/// The size that metadata says.
fn size(tag: &Tag) -> Option<(u32, u32)> {
    let body = tag.is_metadata().then(|| tag.body.to_bytes())?;
    let metadata = flowcast::rtmp::flv::script::Metadata::parse(&body).ok()?;
    Some((metadata.width? as u32, metadata.height? as u32))
}

#[test]
fn a_list_that_is_copied_tells_of_changes_or_leaves_them_out() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let path = directory.path();
    let video = picture(path, "picture.mp4", (160, 90));
    let songs = [
        song(path, "1.mp3", 44_100, 2),
        song(path, "2.m4a", 44_100, 2),
        song(path, "3.m4a", 48_000, 2),
        song(path, "4.mp3", 44_100, 2),
    ];
    let list = |policy| Playlist::files(&songs).on_change(policy);
    let under = |policy| Source::video(&video).looped().with_audio(list(policy));
    let alone = |policy| Source::playlist(list(policy));
    let sources: [&dyn Fn(ParameterChange) -> Source; 2] = [&under, &alone];
    for source in sources {
        for (tags, told) in both(path, &source(ParameterChange::Refuse), 4) {
            assert_eq!(sound(&tags), (BTreeSet::from([MP3]), 0), "{told:#?}");
            let skipped = told.iter().filter(|kind| matches!(kind, EventKind::ItemSkipped { error, .. } if error.code() == "PARAMETERS_DIFFER"));
            assert!(skipped.count() >= 2, "{told:#?}");
        }
        for (tags, told) in both(path, &source(ParameterChange::Allow), 5) {
            assert_eq!(sound(&tags), (BTreeSet::from([AAC, MP3]), 2), "{told:#?}");
            let changed = told.iter().filter(|kind| matches!(kind, EventKind::ParametersChanged { .. }));
            assert!(changed.count() >= 3, "{told:#?}");
            assert_headed(&tags);
        }
    }
}

/// Each row of AAC begins with its header: also behind MP3, which no decoder of AAC lives through.
#[track_caller]
fn assert_headed(tags: &[Tag]) {
    let mut headed = false;
    for tag in tags.iter().filter(|tag| tag.kind == TagKind::Audio) {
        match tag.body.byte(0).map(|head| head >> 4) {
            Some(AAC) if tag.is_sequence_header() => headed = true,
            Some(AAC) => assert!(headed, "AAC without a header at {:?}", tag.timestamp),
            _ => headed = false,
        }
    }
}
