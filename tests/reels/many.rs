//! Many streams of one file, and ends in the middle of everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::stats::SourceMode;
use flowcast::{Engine, Playlist, ReelStore, Source};

use crate::{Air, only_reel, stored, timed, with_reels, with_store};
use kit::bystander::at_most;
use kit::rig::{Known, engine, push, threads_and_descriptors};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, alone, run_alone, wait_until};

#[test]
fn a_hundred_streams_of_a_new_file_are_cut_once() {
    const STREAMS: usize = 100;
    let clip = Known::small();
    let directory = clip.beside("reels");
    let engine = engine(|config| {
        let mut store = ReelStore::new(&directory);
        // So that all have asked before the first is done.
        store.bytes_per_second = Some(200_000);
        config.reels = Some(store);
        config.max_streams = STREAMS;
    });
    let server = Scripted::start(Script::Record);
    let streams: Vec<_> = timed("100 starts", || {
        std::thread::scope(|scope| {
            let start = || engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start();
            let started: Vec<_> = (0..STREAMS).map(|_| scope.spawn(start)).collect();
            let started = started.into_iter().map(|start| start.join().expect("no panic"));
            started.map(|started| started.expect("it starts")).collect()
        })
    });
    let stats = engine.reel_store_stats().expect("there is a store");
    assert_eq!(stats.cutting + stats.reels, 1, "{stats:?}");
    let on_air = || {
        let visits = server.visits();
        visits.len() == STREAMS
            && visits.iter().all(|visit| visit.tags.iter().filter(|tag| tag.is_picture()).count() > 60)
    };
    assert!(wait_until(2 * PATIENCE, on_air), "{} connections", server.count());
    only_reel(&directory);
    assert_eq!((stored(&directory, "flv").len(), stored(&directory, "part").len()), (1, 0));
    assert!(streams.iter().all(|stream| stream.stats().mode == SourceMode::Reel));
    let report = engine.shutdown(Duration::from_secs(5));
    assert_eq!((report.stopped, report.abandoned), (STREAMS, 0));
    for visit in server.visits() {
        clip.assert_fresh_start(&visit.tags);
    }
}

#[test]
fn ends_in_the_middle_of_cutting_leave_nothing_behind() {
    const TEST: &str = "many::ends_in_the_middle_of_cutting_leave_nothing_behind";
    if alone("cutting") {
        return end_while_cutting();
    }
    print!("{}", run_alone("cutting", TEST, Duration::from_secs(80)));
}

/// An engine whose reels take for ever.
fn slow(directory: &Path) -> Engine {
    with_store(directory, |store| store.bytes_per_second = Some(1))
}

/// Copies of a clip, so that each is cut by itself.
fn copies(clip: &Known, count: usize) -> Vec<PathBuf> {
    let copies: Vec<_> = (0..count).map(|number| clip.beside(&format!("copy-{number}.mp4"))).collect();
    for copy in &copies {
        fs::copy(&clip.file, copy).expect("there is room");
    }
    copies
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(directory).expect("it is there").flatten().map(|entry| entry.file_name()).collect()
}

/// Threads that flowcast has started.
fn threads_of_ours() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| ["fc-", "fr-", "fw-", "reel-"].iter().any(|ours| name.starts_with(ours))).collect()
}

/// What this process has open.
fn open_files() -> Vec<PathBuf> {
    let links = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    links.filter_map(|link| fs::read_link(link.path()).ok()).collect()
}

fn end_while_cutting() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let files = copies(&clip, 6);
    // What is made once and kept is no leak.
    Air::start(&with_reels(&clip.beside("warm")), Source::file(&clip.file).looped()).stop();
    at_most(Duration::ZERO, Instant::now());
    assert!(wait_until(PATIENCE, || threads_of_ours().is_empty()), "the warm-up does not end");
    let settle = |wanted: (usize, usize)| {
        let is_back = |(threads, files): (usize, usize)| threads <= wanted.0 && files <= wanted.1;
        wait_until(Duration::from_secs(5), || is_back(threads_and_descriptors()))
    };
    let before = threads_and_descriptors();

    for (what, list) in [("a loop", false), ("a list", true)] {
        let directory = clip.beside(what);
        let engine = slow(&directory);
        // The first may write at once; it is cut in the background for as long as the limit says, which is for ever.
        let source = match list {
            false => Source::file(&files[0]).looped(),
            true => Source::playlist(Playlist::files(&files[..3])),
        };
        let live = engine.stream(source).to(push(&server)).start().expect("it starts");
        let visit = server.count().max(1) - 1;
        assert!(server.wait_pictures(visit, 5, PATIENCE));
        let cutting =
            || engine.reel_store_stats().is_some_and(|stats| stats.cutting == 1 + usize::from(list));
        assert!(wait_until(PATIENCE, cutting), "{what}: {:?}", engine.reel_store_stats());
        let began = Instant::now();
        live.stop(Duration::from_secs(2)).expect("it stops");
        let took = began.elapsed();
        assert!(took < at_most(Duration::from_secs(1), began), "{what}: {took:?}");
        let began = Instant::now();
        let report = engine.shutdown(Duration::from_secs(3));
        println!("{what}: stopped after {took:.1?}, shut down after {:.1?}", began.elapsed());
        assert_eq!(report.abandoned, 0, "{what}");
        assert!(began.elapsed() < at_most(Duration::from_secs(2), began), "{what}");
        let left = names(&directory);
        assert_eq!(left.len(), 1, "{what}: nothing but the lock: {left:?}");
        drop(engine);
        let same = settle(before);
        assert!(
            same,
            "{what}: {before:?} before, {:?} after, {:?} {:?}",
            threads_and_descriptors(),
            open_files(),
            threads_of_ours()
        );
    }

    // All at once: streams on the air, some that wait for a reel while they start, and items that are got ready.
    let directory = clip.beside("all");
    let engine = slow(&directory);
    let first = engine.stream(Source::file(&files[0]).looped()).to(push(&server)).start().expect("it starts");
    std::thread::scope(|scope| {
        let waiting: Vec<_> = files[1..]
            .iter()
            .map(|file| {
                let (engine, server) = (&engine, &server);
                scope.spawn(move || engine.stream(Source::file(file).looped()).to(push(server)).start())
            })
            .collect();
        let asked = || engine.reel_store_stats().is_some_and(|stats| stats.cutting >= 4);
        assert!(wait_until(PATIENCE, asked), "{:?}", engine.reel_store_stats());
        let began = Instant::now();
        let report = engine.shutdown(Duration::from_secs(3));
        println!("all at once: shut down after {:.1?}", began.elapsed());
        assert!(began.elapsed() < at_most(Duration::from_secs(3), began));
        assert_eq!(report.abandoned, 0);
        for start in waiting {
            // Refused, or started before the end and ended with it.
            let started = start.join().expect("no panic");
            println!(
                "  a start that waited: {:?}",
                started.as_ref().map(|live| live.id()).map_err(|e| e.code())
            );
            if let Ok(live) = started {
                assert!(live.wait_timeout(PATIENCE).is_some(), "it plays on after the end");
            }
        }
    });
    assert!(first.wait_timeout(PATIENCE).is_some());
    drop(first);
    let left = names(&directory);
    assert_eq!(left.len(), 1, "nothing but the lock: {left:?}");
    drop(engine);
    assert!(
        settle(before),
        "{before:?} before, {:?} after, {:?} {:?}",
        threads_and_descriptors(),
        open_files(),
        threads_of_ours()
    );
}
