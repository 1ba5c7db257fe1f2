//! Stores that cannot do what is asked of them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use flowcast::av::SampleSpec;
use flowcast::config::WhenInUse;
use flowcast::rtmp::flv::TagKind;
use flowcast::stats::SourceMode;
use flowcast::{Config, Engine, Error, Playlist, ReelStore, Source};

use crate::{Air, assert_steady, only_reel, stored, with_reels, with_store};
use kit::bystander::at_most;
use kit::rig::Known;
use kit::{Need, PATIENCE, SmallDisk, need, wait_until};

/// Plays the clip, which has to be played directly from some time on, because of this; the stream misses nothing.
#[track_caller]
fn plays_directly(engine: &Engine, clip: &Known, what: &str, why: &str) {
    let air = Air::start(engine, Source::file(&clip.file).looped());
    air.wait(&format!("direct {why}"));
    air.wait_times("lap", 2);
    let told = air.told();
    println!("{what}: {told:?}; {}", air.live.stats());
    assert_eq!(told, [format!("direct {why}")], "{what}");
    assert_eq!(air.live.stats().mode, SourceMode::Direct, "{what}");
    clip.assert_gapless(&air.stop());
}

#[test]
fn a_disk_that_is_too_small() {
    let Some(disk) = SmallDisk::mount().filter(|_| need(&[Need::Ffmpeg])) else { return };
    let clip = Known::heavy();
    let engine = with_reels(disk.path());
    plays_directly(&engine, &clip, "a disk of a megabyte", "REEL_STORE_FAILED");
    let stats = engine.reel_store_stats().expect("there is a store");
    assert_eq!((stats.reels, stats.bytes, stats.cutting), (0, 0, 0), "{stats:?}");
    assert_eq!((stored(disk.path(), "flv").len(), stored(disk.path(), "part").len()), (0, 0));
    // What fits is kept.
    let small = Known::small();
    let air = Air::start(&engine, Source::file(&small.file).looped());
    only_reel(disk.path());
    assert_eq!(air.live.stats().mode, SourceMode::Reel);
    small.assert_gapless(&air.stop());
}

#[test]
fn a_store_that_may_hold_too_little() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::heavy();
    let directory = clip.beside("reels");
    let engine = with_store(&directory, |store| store.max_bytes = 500_000);
    plays_directly(&engine, &clip, "half a megabyte at most", "REEL_STORE_FULL");
    let stats = engine.reel_store_stats().expect("there is a store");
    assert_eq!((stats.reels, stats.bytes, stats.cutting), (0, 0, 0), "{stats:?}");
}

#[test]
fn a_store_that_cannot_be_written() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (known, unknown) = (Known::small(), Known::small());
    {
        let engine = with_reels(disk.path());
        Air::start(&engine, Source::file(&known.file).looped()).stop();
        only_reel(disk.path());
    }
    disk.make_read_only();
    let engine = with_reels(disk.path());
    plays_directly(&engine, &unknown, "a read-only disk", "REEL_STORE_FAILED");
    // What is in it can be played.
    let air = Air::start(&engine, Source::file(&known.file).looped());
    air.wait_times("lap", 2);
    assert_eq!(air.told(), [""; 0]);
    assert_eq!(air.live.stats().mode, SourceMode::Reel);
    known.assert_gapless(&air.stop());
    // Where not even a lock can be had:
    let engine = with_reels(&disk.path().join("none"));
    plays_directly(&engine, &known, "no directory on a read-only disk", "REEL_STORE_FAILED");
}

#[test]
fn a_store_whose_directory_is_not_there() {
    let clip = Known::small();
    let directory = clip.beside("a/b/c");
    let engine = with_reels(&directory);
    let air = Air::start(&engine, Source::file(&clip.file).looped());
    only_reel(&directory);
    assert_eq!(air.told(), [""; 0], "it is made");

    fs::remove_dir_all(clip.beside("a")).expect("it can be removed");
    air.wait_times("lap", 2);
    assert_eq!(air.told(), [""; 0], "the reel is open and needs no name");
    let other = Known::made(&SampleSpec { seconds: 1.0, ..SampleSpec::default() });
    let next = Air::start(&engine, Source::file(&other.file).looped());
    next.wait_times("lap", 2);
    println!("removed while in use: another file is told {:?}, {}", next.told(), next.live.stats());
    assert!(matches!(next.told().as_slice(), [] | [_]), "{:?}", next.told());
    assert!(next.told().iter().all(|told| told == "direct REEL_STORE_FAILED"), "{:?}", next.told());
    other.assert_gapless(&next.stop());
    clip.assert_gapless(&air.stop());

    let file = clip.beside("file");
    fs::write(&file, "in the way").expect("there is room");
    for place in [file.clone(), file.join("reels")] {
        let mut config = Config::default();
        config.reels = Some(ReelStore::new(&place));
        let error = Engine::new(config).expect_err("no waiting makes it a directory");
        assert_eq!(error.code(), "REEL_STORE_FAILED", "{error:?}");
    }
    assert_eq!(fs::read(&file).expect("it is there"), b"in the way");
}

#[test]
fn a_directory_that_another_engine_has() {
    let clip = Known::small();
    let directory = clip.beside("reels");
    let first = with_reels(&directory);
    let air = Air::start(&first, Source::file(&clip.file).looped());
    let settings = |when_in_use| {
        let mut store = ReelStore::new(&directory);
        store.when_in_use = when_in_use;
        let mut config = Config::default();
        config.reels = Some(store);
        config
    };
    let error = Engine::new(settings(WhenInUse::Refuse)).expect_err("it is in use");
    assert!(matches!(&error, Error::ReelStoreInUse { dir } if *dir == directory), "{error:?}");
    assert_eq!(error.code(), "REEL_STORE_IN_USE");
    let second = Engine::new(settings(WhenInUse::Subdirectory)).expect("there is room for more");
    let beside = Air::start(&second, Source::file(&clip.file).looped());
    only_reel(&directory.join("second"));
    for air in [&air, &beside] {
        air.wait_times("lap", 1);
        assert_eq!((air.told(), air.live.stats().mode), (Vec::new(), SourceMode::Reel));
    }
    clip.assert_gapless(&air.stop());
    clip.assert_gapless(&beside.stop());
    drop(first);
    drop(second);
    // Given back with the engine.
    Engine::new(settings(WhenInUse::Refuse)).expect("nobody has it");
}

#[test]
fn a_reel_that_grows_too_slowly_is_left_and_taken_up_when_it_is_complete() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::heavy();
    let directory = clip.beside("reels");
    // The clip has some 2 MB a second.
    let engine = with_store(&directory, |store| store.bytes_per_second = Some(700_000));
    let began = Instant::now();
    at_most(Duration::ZERO, began);
    let air = Air::start(&engine, Source::file(&clip.file).looped());
    assert_eq!(air.live.stats().mode, SourceMode::Reel);
    air.wait("direct REEL_TOO_SLOW");
    assert!(stored(&directory, "reel").is_empty(), "the limit is too high for this test");
    air.wait("reel again");
    assert_eq!(stored(&directory, "reel").len(), 1);
    air.wait_more(150);
    assert_eq!(air.told(), ["direct REEL_TOO_SLOW", "reel again"]);
    let tags = air.stop();
    let pictures = clip.assert_gapless(&tags);
    println!("a third of the speed of playing: {pictures} pictures without a gap");
    // It stood still for as long as it took to notice, and to open the file.
    let longest = tags.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default();
    assert!(longest < at_most(Duration::from_secs(3), began), "{longest:?}");
}

#[test]
fn a_list_goes_on_directly_where_the_store_fails() {
    let Some(disk) = SmallDisk::mount() else { return };
    disk.make_read_only();
    let clip = Known::small();
    let engine = with_reels(disk.path());
    let list = Playlist::files([&clip.file, &clip.file]);
    let air = Air::start(&engine, Source::playlist(list));
    air.wait_times("plays", 4);
    let told = air.told();
    assert_eq!(told.iter().filter(|told| *told == "direct REEL_STORE_FAILED").count(), 1, "{told:?}");
    assert_eq!(told.len(), 1 + told.iter().filter(|told| *told == "plays clip.mp4").count(), "{told:?}");
    let tags = air.stop();
    clip.assert_gapless(&tags);
    assert_steady(&tags, TagKind::Audio, 50);
    assert!(wait_until(PATIENCE, || engine.running() == 0));
    assert!(!Path::new(&disk.path().join("reels.lock")).exists());
}
