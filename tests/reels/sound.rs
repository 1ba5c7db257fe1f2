//! Pictures in a loop under a list of sound.

use std::fs;
use std::path::{Path, PathBuf};

use flowcast::av::{SampleSpec, sample_clip};
use flowcast::rtmp::flv::TagKind;
use flowcast::{Playlist, Source};

use crate::{Air, PATIENCE, assert_headers, assert_steady, stored, with_reels};
use kit::rig::{Known, both_ways, read_flv};
use kit::wait_until;

/// A sound file.
fn music(directory: &Path, name: &str, seconds: f64, rate: u32) -> PathBuf {
    let path = directory.join(name);
    let spec = SampleSpec {
        video: false,
        audio: Some((rate, 2)),
        audio_seconds: Some(seconds),
        ..SampleSpec::default()
    };
    sample_clip(&path, &spec).expect("libav makes the clip");
    path
}

#[test]
fn sound_goes_on_over_items_that_cannot_be_played() {
    let clip = Known::small();
    both_ways(|mode, engine, directory| {
        let broken = directory.join("broken.m4a");
        fs::write(&broken, "no media at all").expect("there is room");
        let list = Playlist::files([
            music(directory, "a.m4a", 2.3, 44_100),
            directory.join("missing.m4a"),
            broken,
            music(directory, "b.m4a", 1.7, 44_100),
            // A file that has pictures, too.
            clip.file.clone(),
        ]);
        let air = Air::start(engine, Source::video(&clip.file).looped().with_audio(list));
        air.wait_times("plays a.m4a", 2);
        air.wait_more(10);
        let told = air.told_of_items();
        let round = [
            "plays a.m4a",
            "skips missing.m4a INPUT_NOT_FOUND",
            "skips broken.m4a INPUT_INVALID",
            "plays b.m4a",
            "plays clip.mp4",
            "plays a.m4a",
        ];
        assert_eq!(told[..round.len()], round, "{mode}");
        let tags = air.stop();
        clip.assert_gapless(&tags);
        let frames = assert_steady(&tags, TagKind::Audio, 60);
        let headers = tags.iter().filter(|tag| tag.kind == TagKind::Audio && tag.header).count();
        println!("{mode}: {frames} frames of sound with {headers} headers, {told:?}");
        assert!(headers >= 3, "{mode}: 44.1, 48 and 44.1 kHz");
        assert_eq!(assert_headers(&tags), 1);
        // Side by side to within a tick, whatever the order of what was read.
        let mut newest = 0;
        for tag in tags.iter().filter(|tag| tag.kind != TagKind::Script) {
            assert!(tag.time >= newest - 150, "{mode}: {} ms after {newest}", tag.time);
            newest = newest.max(tag.time);
        }
        let end = |kind| tags.iter().rfind(|tag| tag.kind == kind).map_or(0, |tag| tag.time);
        assert!((end(TagKind::Video) - end(TagKind::Audio)).abs() < 300, "{mode}");
    });
}

#[test]
fn pictures_go_on_when_the_sound_is_over() {
    let clip = Known::small();
    both_ways(|mode, engine, directory| {
        let list =
            Playlist::files([music(directory, "a.m4a", 1.0, 48_000), music(directory, "b.m4a", 1.0, 48_000)])
                .once();
        let air = Air::start(engine, Source::video(&clip.file).looped().with_audio(list));
        air.wait_times("lap", 3);
        assert_eq!(air.told_of_items(), ["plays a.m4a", "plays b.m4a"], "{mode}");
        let tags = air.stop();
        clip.assert_gapless(&tags);
        let last = tags.iter().rfind(|tag| tag.kind == TagKind::Audio).map_or(0, |tag| tag.time);
        assert!((1900..=2150).contains(&last), "{mode}: {last} ms");
        assert_steady(&tags, TagKind::Audio, 50);
    });
}

#[test]
fn sound_that_is_put_into_an_empty_list_is_heard() {
    let clip = Known::small();
    both_ways(|mode, engine, directory| {
        let list = Playlist::new();
        let air = Air::start(engine, Source::video(&clip.file).looped().with_audio(list.clone()));
        air.wait_more(50);
        list.add(music(directory, "a.m4a", 1.0, 48_000)).expect("there is room");
        air.wait_times("plays a.m4a", 2);
        air.wait_more(25);
        let tags = air.stop();
        clip.assert_gapless(&tags);
        let first = tags.iter().position(|tag| tag.kind == TagKind::Audio).expect("there is sound");
        assert!(tags[first].header, "{mode}: a header comes first");
        assert!(tags[first].time > 1500, "{mode}: {} ms", tags[first].time);
        assert_steady(&tags, TagKind::Audio, 60);
    });
}

#[test]
fn a_reel_has_what_is_asked_of_it_and_no_more() {
    let clip = Known::small();
    let directory = clip.beside("reels");
    let engine = with_reels(&directory);
    let list = Playlist::files([&clip.file]);
    let air = Air::start(&engine, Source::video(&clip.file).looped().with_audio(list));
    assert!(wait_until(PATIENCE, || stored(&directory, "reel").len() == 2));
    let contents: Vec<_> = stored(&directory, "flv").iter().map(|data| read_flv(data)).collect();
    let has = |tags: &[crate::Seen], kind| tags.iter().any(|tag| tag.kind == kind);
    for tags in &contents {
        assert_ne!(has(tags, TagKind::Video), has(tags, TagKind::Audio), "pictures or sound, not both");
    }
    assert_ne!(has(&contents[0], TagKind::Video), has(&contents[1], TagKind::Video));
    clip.assert_gapless(&air.stop());
}
