//! The life of a store.

use std::io;
use std::sync::Barrier;

use super::*;
use crate::config::{Config, WhenInUse};
use crate::engine::Engine;
use crate::reel::note::Note;
use crate::tracks::Tracks;
use crate::transcode::{AudioCodec, AudioPlan, Plan};

#[test]
fn a_reel_is_cut_once_kept_and_found_again() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let script = Script::of(5);
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("it is cut");
    settled(&store, &reel);
    assert_eq!(read_all(&reel).expect("it is whole"), frames(5));
    assert_eq!(reel.facts(), Some(facts(5)));
    let again = prepare(&store, &source, &script).expect("it is there");
    assert!(Arc::ptr_eq(&reel, &again));
    assert_eq!(room.names().len(), 2);
    let stats = store.stats();
    assert_eq!((stats.reels, stats.in_use, stats.cutting), (1, 1, 0));
    let on_disk: u64 = room.names().iter().map(|name| size(&room.settings().dir.join(name))).sum();
    assert_eq!(stats.bytes, on_disk);
    // Another recipe is another reel.
    let sound = store.prepare(&source, Recipe::AUDIO, script.cutter()).expect("it is cut");
    settled(&store, &sound);
    assert_eq!((script.opened(), store.stats().reels), (2, 2));
    drop(sound);
    drop(reel);
    drop(again);
    assert_eq!(store.stats().in_use, 0);
    drop(store);

    let store = room.open();
    assert_eq!((store.stats().reels, store.stats().orphans_removed), (2, 0));
    let reel = prepare(&store, &source, &script).expect("it is there");
    assert!(reel.is_complete());
    assert_eq!((read_all(&reel).expect("it is whole"), reel.facts()), (frames(5), Some(facts(5))));
    assert_eq!(reel.headers(), headers());
    assert_eq!(script.opened(), 2, "nothing was cut again");
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("it is there").len()
}

#[test]
fn a_growing_reel_is_followed_before_it_is_complete() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    // Ten seconds, and it waits after about three.
    let (script, at_gate, gate) = Script::of(10).gated(220);
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("three seconds are there");
    at_gate.recv().expect("it comes to its gate");
    assert!(!reel.is_complete() && reel.facts().is_none());
    assert!(reel.slots() >= 10, "{} slots", reel.slots());
    let seen = read_all(&reel).expect("what is there is whole");
    assert_eq!(seen, frames(10)[..seen.len()]);
    let second = prepare(&store, &source, &script).expect("it follows, too");
    assert!(Arc::ptr_eq(&reel, &second));
    assert_eq!((store.stats().cutting, store.stats().in_use, store.stats().reels), (1, 1, 0));
    drop(gate);
    settled(&store, &reel);
    assert_eq!((reel.slots(), script.opened()), (100, 1));
    assert_eq!(read_all(&reel).expect("it is whole"), frames(10));
}

#[test]
fn a_reel_whose_beginning_is_long_in_encoding_is_not_waited_for_and_is_there_later() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    // It waits before its first tag.
    let (script, at_gate, gate) = Script::of(5).gated(0);
    let store = room.open();
    let audio = AudioPlan {
        codec: AudioCodec::Aac,
        kbps: 128,
        sample_rate: 48_000,
        channels: 2,
        fast: false,
        level: None,
    };
    let recipe = Recipe { tracks: Tracks::Both, plan: Plan { audio: Some(audio), ..Plan::COPY } };
    let ask = || store.prepare(&source, recipe.clone(), script.cutter());
    let error = ask().expect_err("nothing of it is there");
    at_gate.recv().expect("it comes to its gate");
    let Error::ReelStore { source: why, .. } = &error else { panic!("{error:?}") };
    assert_eq!(why.kind(), io::ErrorKind::WouldBlock);
    drop(gate);
    until("it is kept", || store.stats().reels == 1);
    let reel = ask().expect("it is there");
    assert_eq!((reel.slots(), script.opened()), (50, 1));
}

#[test]
fn a_reel_that_nobody_follows_any_more_is_finished() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let (script, at_gate, gate) = Script::of(10).gated(220);
    let store = room.open();
    drop(prepare(&store, &source, &script).expect("three seconds are there"));
    at_gate.recv().expect("it comes to its gate");
    drop(gate);
    until("it is kept", || store.stats().reels == 1);
    assert_eq!(store.stats().in_use, 0);
}

#[test]
fn all_who_ask_at_once_get_the_same_reel() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let script = Script::of(4);
    let store = room.open();
    let start = Barrier::new(8);
    let reels: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    prepare(&store, &source, &script).expect("it is cut")
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert!(reels.iter().all(|reel| Arc::ptr_eq(reel, &reels[0])));
    assert_eq!(script.opened(), 1);
    settled(&store, &reels[0]);
    // Let go and asked for again by all: one of them opens it.
    drop(reels);
    let (send, receive) = crossbeam_channel::unbounded();
    for _ in 0..8 {
        let send = send.clone();
        let done = move |answer| send.send(answer).expect("the test waits");
        store.prepare_async(&source, what(&script), Box::new(done));
    }
    let reels: Vec<_> = (0..8).map(|_| receive.recv().expect("all answer").expect("it is there")).collect();
    assert!(reels.iter().all(|reel| Arc::ptr_eq(reel, &reels[0])));
    assert_eq!(script.opened(), 1);
}

#[test]
fn a_directory_belongs_to_one() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let store = room.open();
    let reel = prepare(&store, &source, &Script::of(3)).expect("it is cut");
    settled(&store, &reel);
    assert!(matches!(Store::open(&room.settings()), Err(Error::ReelStoreInUse { .. })));
    let within = ReelStore { when_in_use: WhenInUse::Subdirectory, ..room.settings() };
    let second = Store::open(&within).expect("there is a second place");
    let third = Store::open(&within).expect("there is a third place");
    drop(prepare(&second, &source, &Script::of(3)).expect("it is cut there"));
    until("it is kept", || second.stats().reels == 1);
    assert_eq!(names(&room.settings().dir.join("second")).len(), 2);
    drop((second, third));
    // Closed, it is free, whoever still plays from it.
    store.close(Duration::from_secs(10));
    let again = room.open();
    assert_eq!((again.stats().reels, again.stats().orphans_removed), (1, 0));
    assert_eq!(read_all(&reel).expect("it is readable"), frames(3));
    assert!(matches!(&prepare(&store, &source, &Script::of(3)).expect_err("it is closed"), Error::Ended));
}

#[test]
fn orphans_go_and_nothing_else() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let store = room.open();
    let reel = prepare(&store, &source, &Script::of(3)).expect("it is cut");
    settled(&store, &reel);
    drop((reel, store));
    let kept = room.names();
    let dir = room.settings().dir;
    let key = |n: u8| format!("{n:02x}").repeat(16);
    let put = |name: String, content: &[u8]| std::fs::write(dir.join(name), content).expect("there is room");
    let orphans = [
        format!("{}.flv", key(1)),
        format!("{}.flv.part", key(2)),
        format!("{}.reel.part", key(3)),
        // An index without data, and what is no index.
        format!("{}.reel", key(4)),
        format!("{}.reel", key(5)),
        format!("{}.flv", key(5)),
    ];
    let index = std::fs::read(dir.join(&kept[1])).expect("it is there");
    for name in &orphans {
        put(name.clone(), if name.starts_with("04") { &index } else { b"half" });
    }
    let others =
        ["film.flv", "abc.reel", "reels.txt", &format!("{}.mp4", key(6)), &format!("{}.FLV", key(6))];
    others.iter().for_each(|name| put((*name).to_owned(), b"mine"));
    std::fs::create_dir(dir.join(format!("{}.flv", key(7)))).expect("it is ours");

    let store = room.open();
    assert_eq!((store.stats().reels, store.stats().orphans_removed), (1, 6));
    let left = room.names();
    assert!(orphans.iter().all(|name| !left.contains(name)), "{left:?}");
    assert!(others.iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
    assert!(kept.iter().all(|name| left.contains(name)), "{left:?}");
    assert_eq!(left.len(), kept.len() + others.len() + 1);
}

#[test]
fn the_reel_unused_for_longest_goes_and_none_in_use() {
    let room = Room::new();
    let sources: Vec<_> = (0..6).map(|n| room.source(&format!("{n}.mp4"), 1000)).collect();
    let script = Script::of(5);
    let store = room.open();
    drop(prepare(&store, &sources[0], &script).expect("it is cut"));
    until("it is kept", || store.stats().reels == 1);
    let one = store.stats().bytes;
    drop(store);

    let settings = ReelStore { max_bytes: one * 3 + one / 2, ..room.settings() };
    let store = Store::open(&settings).expect("it is free");
    let take = |n: usize| {
        let reel = prepare(&store, &sources[n], &script).expect("it is cut");
        settled(&store, &reel);
        reel
    };
    let held = take(1);
    drop(take(2));
    assert_eq!((store.stats().reels, script.opened()), (3, 3));
    // 0 is used again: 2 is the oldest unused then.
    drop(take(0));
    drop(take(3));
    assert_eq!(store.stats().reels, 3);
    drop(take(0));
    assert_eq!(script.opened(), 4, "0 is still there");
    drop(take(2));
    assert_eq!(script.opened(), 5, "2 had gone");
    assert!(store.stats().bytes <= settings.max_bytes);
    assert_eq!(read_all(&held).expect("it is there"), frames(5));
    // All in use: there is no room for another. Its beginning was there to be followed.
    let all = [take(0), take(2)];
    let full = prepare(&store, &sources[4], &script).expect("there is room for its beginning");
    until("there is no room for the rest", || full.failure().is_some());
    let error = full.failure().expect("it was just there");
    assert!(matches!(&error, Error::ReelStoreFull { .. }), "{error:?}");
    assert_eq!(
        read_all(&full).expect("what is there is whole")[..],
        frames(5)[..read_all(&full).expect("it is whole").len()]
    );
    assert!(store.stats().bytes <= settings.max_bytes);
    // It is known by now how large it becomes: it is not even begun.
    let opened = script.opened();
    let error = prepare(&store, &sources[4], &script).expect_err("there is no room");
    assert!(matches!(&error, Error::ReelStoreFull { .. }), "{error:?}");
    assert_eq!(script.opened(), opened);
    drop(all);
    drop(take(4));
    until("parts are removed", || room.names().len() == 6);
    // A store that was made smaller shrinks when it is opened.
    drop((held, full, store));
    let settings = ReelStore { max_bytes: one * 2 - 1, ..room.settings() };
    let store = Store::open(&settings).expect("it is free");
    assert_eq!((store.stats().reels, room.names().len()), (1, 2));
}

#[test]
fn a_source_that_cannot_fit_is_not_begun() {
    let room = Room::new();
    let source = room.source("a.mp4", 10_000);
    let settings = ReelStore { max_bytes: 9_999, ..room.settings() };
    let store = Store::open(&settings).expect("it is ours");
    let script = Script::of(1);
    let error = prepare(&store, &source, &script).expect_err("it is too large");
    assert!(matches!(&error, Error::ReelStoreFull { max_bytes: 9_999, .. }), "{error:?}");
    assert_eq!((script.opened(), room.names()), (0, Vec::new()));
}

#[test]
fn damaged_reels_are_cut_anew() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let script = Script::of(5);
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("it is cut");
    settled(&store, &reel);
    let dir = room.settings().dir;
    let data = dir.join(&room.names()[0]);
    drop(reel);

    // A flipped byte is found as it is played.
    let mut content = std::fs::read(&data).expect("it is there");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&data, &content).expect("there is room");
    let reel = prepare(&store, &source, &script).expect("it is there");
    assert!(matches!(read_all(&reel), Err(Error::ReelDamaged { .. })));
    reel.damaged();
    reel.damaged();
    let anew = prepare(&store, &source, &script).expect("it is cut anew");
    settled(&store, &anew);
    assert_eq!((script.opened(), read_all(&anew).expect("it is whole")), (2, frames(5)));
    drop(anew);

    // A cut-off file, or index, when it is opened.
    for name in room.names() {
        let opened = script.opened();
        let file = std::fs::OpenOptions::new().write(true).open(dir.join(name)).expect("it is there");
        file.set_len(file.metadata().expect("it is open").len() - 1).expect("it is ours");
        let reel = prepare(&store, &source, &script).expect("it is cut anew");
        settled(&store, &reel);
        assert_eq!((script.opened(), read_all(&reel).expect("it is whole")), (opened + 1, frames(5)));
    }
    // One that is held says so, and does not take the new one with it.
    reel.damaged();
    assert_eq!(room.names().len(), 2);
}

#[test]
fn a_growing_reel_found_damaged_is_given_up() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let (script, at_gate, gate) = Script::of(10).gated(220);
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("three seconds are there");
    at_gate.recv().expect("it comes to its gate");
    reel.damaged();
    drop(gate);
    let anew = prepare(&store, &source, &Script::of(10)).expect("it is cut anew");
    assert!(!Arc::ptr_eq(&reel, &anew));
    assert!(reel.failure().is_some());
    settled(&store, &anew);
    assert_eq!(room.names().len(), 2);
}

#[test]
fn who_asks_while_a_job_that_was_called_off_ends_does_not_get_its_end() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let (mut script, at_gate, gate) = Script::of(10).gated(220);
    let (reached, at_door) = crossbeam_channel::unbounded();
    let (open, door) = crossbeam_channel::unbounded();
    script.door = Some((reached, door));
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("three seconds are there");
    at_gate.recv().expect("it comes to its gate");
    reel.damaged();
    drop(gate);
    at_door.recv().expect("it ends, and the reel has failed");
    let (answer, answered) = crossbeam_channel::bounded(1);
    std::thread::scope(|scope| {
        scope.spawn(|| answer.send(prepare(&store, &source, &Script::of(10))));
        until("it is waited for", || store.has_waited() || !answered.is_empty());
        assert!(answered.is_empty(), "the job has not ended");
        drop(open);
        settled(&store, &answered.recv().expect("an answer").expect("it is cut anew"));
    });
}

#[test]
fn what_is_wrong_with_the_source_is_told_and_leaves_nothing() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let store = room.open();
    let script = Script { fails_to_open: true, ..Script::of(1) };
    let error = prepare(&store, &source, &script).expect_err("it has no track");
    assert!(matches!(&error, Error::NoPlayableTrack { .. }), "{error:?}");
    let script = Script { ending: Ending::Fail, ..Script::default() };
    let error = prepare(&store, &source, &script).expect_err("it has no frame");
    assert!(matches!(&error, Error::SourceDried { .. }), "{error:?}");
    let script = Script { ending: Ending::Panic, ..Script::default() };
    let error = prepare(&store, &source, &script).expect_err("it panics");
    assert!(matches!(&error, Error::Panicked { .. }), "{error:?}");
    let gone = room.dir.path().join("gone.mp4");
    prepare(&store, &gone, &Script::of(1)).expect_err("there is none");
    until("nothing is left", || room.names().is_empty() && store.stats().cutting == 0);
    assert_eq!(store.stats().bytes, 0);

    // What was written before it failed stays readable.
    let script = Script { ending: Ending::Fail, fault: true, ..Script::of(10) };
    let reel = prepare(&store, &source, &script).expect("its beginning can be played");
    until("it fails", || reel.failure().is_some());
    assert!(matches!(&reel.failure().expect("it was just there"), Error::SourceDried { .. }));
    assert!(!reel.is_complete());
    let seen = read_all(&reel).expect("what is there is whole");
    assert_eq!(seen, frames(10)[..seen.len()]);
    assert_eq!(reel.notes(0), [Note::Damage("a fault".to_owned())]);
    until("nothing is left", || room.names().is_empty());
}

#[test]
fn closing_ends_jobs_and_removes_what_they_began() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let store = room.open();
    let script = Script { ending: Ending::Never, ..Script::of(5) };
    let reel = prepare(&store, &source, &script).expect("its beginning can be played");
    // One waits for a job that has not come to anything yet.
    let (other, at_gate, gate) = Script::of(5).gated(0);
    let waiting = room.source("b.mp4", 1000);
    let (send, receive) = crossbeam_channel::unbounded();
    let done = Box::new(move |answer| send.send(answer).expect("the test waits"));
    store.prepare_async(&waiting, what(&other), done);
    at_gate.recv().expect("it comes to its gate");
    drop(gate);
    store.close(Duration::from_secs(30));
    assert!(
        receive.recv().expect("it is answered").map_or_else(|error| matches!(error, Error::Ended), |_| true)
    );
    assert!(room.names().iter().all(|name| !name.ends_with(".part")), "{:?}", room.names());
    assert!(matches!(&reel.failure().expect("it was ended"), Error::Ended));
    let seen = read_all(&reel).expect("what is there is whole");
    let count = seen.len().min(frames(5).len());
    assert_eq!(seen[..count], frames(5)[..count]);
    assert!(count >= 50, "its first second: {count} tags");
    assert_eq!(room.open().stats().orphans_removed, 0);
}

#[test]
fn long_sources_are_cut_one_at_a_time() {
    let room = Room::new();
    let long = |name: &str| {
        let path = room.source(name, 10);
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it is ours");
        file.set_len(1 << 30).expect("it takes no room");
        path
    };
    let (first, second) = (long("a.mp4"), long("b.mp4"));
    let short = room.source("c.mp4", 10);
    let store = room.open();
    let (script, at_gate, gate) = Script::of(5).gated(0);
    let (send, receive) = crossbeam_channel::unbounded();
    let done = Box::new(move |answer| send.send(answer).expect("the test waits"));
    store.prepare_async(&first, what(&script), done);
    at_gate.recv().expect("it comes to its gate");
    let later = Script::of(5);
    for _ in 0..2 {
        let error = prepare(&store, &second, &later).expect_err("another long one is cut");
        let Error::ReelStore { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::WouldBlock);
    }
    assert_eq!(later.opened(), 0);
    drop(prepare(&store, &short, &Script::of(3)).expect("a short one does not wait"));
    drop(gate);
    receive.recv().expect("it is answered").expect("it is cut");
    until("the second had its turn", || store.stats().reels == 3);
    assert_eq!(later.opened(), 1, "the request was kept");
    prepare(&store, &second, &later).expect("it is there");
    assert_eq!(later.opened(), 1);
}

#[test]
fn reels_stay_where_they_cannot_make_the_room_that_is_missing() {
    let room = Room::new();
    let (source, script) = (room.source("a.mp4", 1000), Script::of(3));
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("it is cut");
    settled(&store, &reel);
    drop((reel, store));
    let mut settings = room.settings();
    settings.keep_free = Some(u64::MAX);
    let store = Store::open(&settings).expect("it is ours");
    store.look();
    store.look();
    assert_eq!(room.names().len(), 2, "no disk is as large");
    let other = room.source("b.mp4", 1000);
    let error = prepare(&store, &other, &Script::of(3)).expect_err("there is no room");
    let Error::ReelStore { source: why, .. } = &error else { panic!("{error:?}") };
    assert_eq!(why.kind(), io::ErrorKind::StorageFull);
    prepare(&store, &source, &script).expect("it is there");
    assert_eq!(script.opened(), 1, "it was kept");
}

#[test]
fn a_source_that_is_replaced_is_noticed() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    let script = Script::of(3);
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("it is cut");
    settled(&store, &reel);
    store.look();
    assert!(!reel.source_changed());
    std::fs::remove_file(&source).expect("it is ours");
    store.look();
    assert!(!reel.source_changed(), "deleted is not changed");
    for written in [0, 500, 2000] {
        room.source("a.mp4", written);
        store.look();
        assert!(!reel.source_changed(), "it is still being written: {written} bytes");
    }
    store.look();
    assert!(reel.source_changed());
    let other = prepare(&store, &source, &script).expect("it is another");
    assert!(!Arc::ptr_eq(&reel, &other));
    store.look();
    assert!(!other.source_changed());
    assert_eq!(read_all(&reel).expect("who plays it goes on"), frames(3));
}

#[test]
fn a_directory_that_can_never_be_made_is_refused() {
    let room = Room::new();
    let in_the_way = room.settings().dir;
    std::fs::write(&in_the_way, b"a file").expect("there is room");
    for dir in [in_the_way.clone(), in_the_way.join("within")] {
        let refused = Store::open(&ReelStore::new(dir));
        assert!(matches!(refused, Err(Error::ReelStore { .. })), "{refused:?}");
    }
}

#[test]
fn a_directory_that_cannot_be_used_yet_is_no_error_until_it_is_needed() {
    let room = Room::new();
    let source = room.source("a.mp4", 1000);
    // A place that leads nowhere for now, as one on a disk that is not mounted.
    let nowhere = room.settings().dir;
    std::os::unix::fs::symlink(&nowhere, &nowhere).expect("there is room");
    for dir in [nowhere.join("reels"), PathBuf::from("/proc/reels")] {
        let store = Store::open(&ReelStore::new(dir)).expect("it may become usable");
        let error = prepare(&store, &source, &Script::of(1)).expect_err("it cannot be used");
        assert!(matches!(&error, Error::ReelStore { .. }), "{error:?}");
        assert_eq!(store.stats(), Default::default());
    }
    // It is used as soon as it can be.
    let store = Store::open(&ReelStore::new(nowhere.join("reels"))).expect("it may become usable");
    prepare(&store, &source, &Script::of(1)).expect_err("it leads nowhere");
    std::fs::remove_file(&nowhere).expect("it is ours");
    prepare(&store, &source, &Script::of(1)).expect("it can be made now");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for settings in [
        ReelStore::new(""),
        ReelStore { max_bytes: 0, ..ReelStore::new("reels") },
        ReelStore { bytes_per_second: Some(0), ..ReelStore::new("reels") },
    ] {
        assert!(matches!(Store::open(&settings), Err(Error::Config { .. })), "{settings:?}");
    }
}

#[test]
fn an_engine_has_the_store_it_is_told_to_have() {
    let room = Room::new();
    let with = |reels| Config { reels, ..Config::default() };
    let engine = Engine::new(with(None)).expect("it needs no store");
    assert!(engine.reel_store_stats().is_none());
    let engine = Engine::new(with(Some(room.settings()))).expect("the store is free");
    assert_eq!(engine.reel_store_stats(), Some(Default::default()));
    let other = Engine::new(with(Some(room.settings())));
    assert!(matches!(other, Err(Error::ReelStoreInUse { .. })), "{other:?}");
    engine.shutdown(Duration::from_secs(10));
    Engine::new(with(Some(room.settings()))).expect("the store is free again");
    // What cannot be written in may become usable, and other streams need no store.
    Engine::new(with(Some(ReelStore::new("/proc/reels")))).expect("it is no error yet");
    let wrong = Engine::new(with(Some(ReelStore { max_bytes: 0, ..room.settings() })));
    assert!(matches!(wrong, Err(Error::Config { name: "reels.max_bytes", .. })), "{wrong:?}");
}
