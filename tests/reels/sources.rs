//! The source of a reel changes while it is looped.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use flowcast::av::SampleSpec;
use flowcast::rtmp::flv::TagKind;
use flowcast::stats::SourceMode;
use flowcast::{Engine, Source};
use tempfile::TempDir;

use crate::{Air, assert_headers, assert_steady, stored, with_reels};
use kit::rig::Known;
use kit::{PATIENCE, wait_until};

/// A copy of a clip in a directory of its own, looped from a reel.
struct Looped {
    directory: TempDir,
    copy: PathBuf,
    air: Air,
}

impl Looped {
    fn start(engine: &Engine, clip: &Known, name: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let copy = directory.path().join(name);
        fs::copy(&clip.file, &copy).expect("a copy in the directory");
        let air = Air::start(engine, Source::file(&copy).looped());
        assert_eq!(air.live.stats().mode, SourceMode::Reel);
        Self { directory, copy, air }
    }
}

fn other() -> Known {
    Known::made(&SampleSpec { width: 160, height: 90, seconds: 1.6, gop_frames: 10, ..SampleSpec::default() })
}

#[test]
fn a_file_that_is_replaced_is_played_from_a_later_lap_on() {
    let (clip, other) = (Known::small(), other());
    let engine = with_reels(&clip.beside("reels"));
    let looped =
        ["a rename", "writing it anew"].map(|how| (how, Looped::start(&engine, &clip, "looped.mp4")));
    for (how, Looped { copy, directory, .. }) in &looped {
        if *how == "a rename" {
            let temporary = directory.path().join("new.mp4");
            fs::copy(&other.file, &temporary).expect("there is room");
            fs::rename(&temporary, copy).expect("the same directory");
        } else {
            fs::write(copy, fs::read(&other.file).expect("it is there")).expect("there is room");
        }
    }
    for (how, Looped { air, .. }) in looped {
        air.wait("replaced looped.mp4");
        air.wait_more(100);
        assert_eq!(air.told(), ["replaced looped.mp4"], "{how}");
        assert_eq!(air.live.stats().mode, SourceMode::Reel, "{how}");
        let tags = air.stop();
        assert_eq!(assert_headers(&tags), 2, "{how}");
        assert_steady(&tags, TagKind::Audio, 50);
        assert_steady(&tags, TagKind::Video, 60);
        let is_header = |tag: &crate::Seen| tag.kind == TagKind::Video && tag.header;
        let second = tags.iter().rposition(is_header).expect("two were counted");
        let before = clip.assert_gapless(&tags[..second]);
        assert_eq!(before % clip.pictures().len(), 0, "{how}: the lap is not played to its end");
        let after = other.assert_gapless(&tags[second..]);
        println!("replaced by {how}: {before} pictures of the old file, then {after} of the new one");
    }
}

#[test]
fn a_replacement_that_cannot_be_played_is_told_once_and_the_old_reel_goes_on() {
    let clip = Known::small();
    let engine = with_reels(&clip.beside("reels"));
    let faults = ["cut in two", "emptied", "no media", "a directory"];
    let looped = faults.map(|what| (what, Looped::start(&engine, &clip, "looped.mp4")));
    for (what, Looped { copy, directory, .. }) in &looped {
        match *what {
            "cut in two" => {
                let file = OpenOptions::new().write(true).open(copy).expect("it is there");
                file.set_len(fs::metadata(copy).expect("it is there").len() / 2).expect("it can be cut");
            }
            "emptied" => drop(File::create(copy).expect("it can be emptied")),
            "no media" => {
                let temporary = directory.path().join("new.mp4");
                fs::write(&temporary, "no media at all").expect("there is room");
                fs::rename(&temporary, copy).expect("the same directory");
            }
            _ => {
                fs::remove_file(copy).expect("it can be removed");
                fs::create_dir(copy).expect("its name is free");
            }
        }
    }
    for (what, Looped { air, .. }) in looped {
        air.wait("fault");
        let laps = air.heard().iter().filter(|told| *told == "lap").count();
        air.wait_times("lap", laps + 3);
        let told = air.told();
        println!("{what}: {told:?}, {}", air.live.stats());
        assert_eq!(told.len(), 1, "{what}: {told:?}");
        assert_eq!(air.live.stats().mode, SourceMode::Reel, "{what}");
        clip.assert_gapless(&air.stop());
    }
}

#[test]
fn a_file_that_is_removed_is_not_missed() {
    let clip = Known::small();
    let engine = with_reels(&clip.beside("reels"));
    let looped =
        ["removed", "with its directory"].map(|what| (what, Looped::start(&engine, &clip, "looped.mp4")));
    // So that two streams of two files do not share one.
    assert!(wait_until(PATIENCE, || stored(&clip.beside("reels"), "reel").len() == 2));
    let mut left = Vec::new();
    for (what, Looped { directory, copy, air }) in looped {
        if what == "removed" {
            fs::remove_file(&copy).expect("it can be removed");
            left.push((what, air, Some(directory)));
        } else {
            directory.close().expect("it can be removed");
            left.push((what, air, None));
        }
    }
    for (what, air, _directory) in left {
        air.wait_times("lap", 4);
        assert_eq!(air.told(), [""; 0], "{what}");
        assert_eq!(air.live.stats().mode, SourceMode::Reel);
        clip.assert_gapless(&air.stop());
    }
}

#[test]
fn an_flv_file_that_is_its_own_reel_may_be_cut_off_or_removed() {
    let directory = TempDir::new().expect("a temporary directory");
    let original = directory.path().join("original.flv");
    let spec = SampleSpec { gop_frames: 12, seconds: 3.0, ..SampleSpec::default() };
    flowcast::av::sample_clip(&original, &spec).expect("libav makes the clip");
    let reels = directory.path().join("reels");
    let engine = with_reels(&reels);
    let start = |name: &str| {
        let copy = directory.path().join(name);
        fs::copy(&original, &copy).expect("there is room");
        let air = Air::start(&engine, Source::file(&copy).looped());
        assert_eq!(air.live.stats().mode, SourceMode::Reel);
        (copy, air)
    };
    let ((cut, cut_air), (removed, removed_air), (emptied, emptied_air)) =
        (start("cut.flv"), start("removed.flv"), start("emptied.flv"));
    assert!(wait_until(PATIENCE, || stored(&reels, "reel").len() == 3), "it has to be its own reel");
    assert_eq!(stored(&reels, "flv").len(), 0, "it needs no copy");
    let file = OpenOptions::new().write(true).open(&cut).expect("it is there");
    file.set_len(fs::metadata(&cut).expect("it is there").len() / 2).expect("it can be cut");
    fs::remove_file(&removed).expect("it can be removed");
    File::create(&emptied).expect("it can be emptied");

    // It goes on with what is left of it, which is noticed in passing or by the store, whichever comes first.
    let is_told = wait_until(2 * PATIENCE, || {
        let told = cut_air.told();
        told.iter().any(|told| told == "direct REEL_DAMAGED" || told == "replaced cut.flv")
    });
    assert!(is_told, "{:?}", cut_air.told());
    cut_air.wait_more(100);
    println!("cut off: {:?}", cut_air.told());
    assert_steady(&cut_air.stop(), TagKind::Video, 150);

    removed_air.wait_times("lap", 2);
    assert_eq!(removed_air.told(), [""; 0]);
    assert_steady(&removed_air.stop(), TagKind::Video, 60);

    // Nothing is left of this one.
    let ended = emptied_air.live.wait_timeout(PATIENCE).expect("it ends");
    let error = ended.expect_err("with an error");
    println!("emptied: {:?}: {}", emptied_air.told(), flowcast::error::chain(&error));
    assert_eq!(error.code(), "INPUT_EMPTY");
}
