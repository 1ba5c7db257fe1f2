//! Files that are read through to find out what is to be encoded, while whoever asked for them goes.

use std::fs::File;
use std::io::Write;

use super::*;
use crate::engine::Engine;
use crate::source::{Fallback, Source};
use crate::standby::At;

/// Far less than reading the file takes.
const SOON: Duration = Duration::from_secs(5);

/// Days of silence, of which the disk holds nothing.
fn vast(scratch: &Scratch) -> PathBuf {
    let path = scratch.0.path().join("vast.wav");
    let mut file = File::create(&path).expect("the directory is writable");
    let mut header = b"RIFF\xFF\xFF\xFF\xFFWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    header.extend(8000u32.to_le_bytes());
    header.extend(16_000u32.to_le_bytes());
    header.extend(b"\x02\0\x10\0data\xFF\xFF\xFF\xFF");
    file.write_all(&header).expect("the directory is writable");
    file.set_len(64 << 30).expect("a file with holes");
    path
}

#[test]
fn an_engine_that_shuts_down_ends_a_start_that_reads_a_file_through() {
    for with_store in [false, true] {
        let scratch = Scratch::new();
        let path = vast(&scratch);
        let reels = with_store.then(|| ReelStore::new(scratch.0.path().join("reels")));
        let config = Config { reels, ..Config::default() };
        let engine = Engine::new(config).expect("it can work");
        let source = Source::file(&path).looped().mode(Mode::Auto);
        let builder = engine.stream(source).record(scratch.0.path().join("recording.flv"));
        let events = engine.events();
        let starting = std::thread::spawn(move || builder.start().map(drop));
        while engine.running() == 0 {
            std::thread::yield_now();
        }
        let began = Instant::now();
        engine.shutdown(SOON);
        let started = starting.join().expect("no panic");
        assert!(matches!(started, Err(Error::Ended)), "{started:?}");
        assert!(began.elapsed() < SOON, "after {:?}", began.elapsed());
        assert!(events.next_timeout(Duration::ZERO).is_none(), "nothing was judged");
    }
}

/// Whether this process has the file open.
fn is_open(path: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").expect("it is there").flatten();
    open.filter_map(|open| std::fs::read_link(open.path()).ok()).any(|open| open == path)
}

#[test]
fn a_stream_that_stops_ends_the_scan_of_its_fallback_whatever_was_opened_meanwhile() {
    let scratch = Scratch::new();
    let path = vast(&scratch).canonicalize().expect("it is there");
    let engine = Engine::new(Config::default()).expect("it can work");
    let slate = Fallback::file(&path).mode(Mode::Auto).after(Duration::from_millis(500));
    let source = Source::published("nobody").fallback(slate);
    let live = engine.stream(source).without_outputs().start().expect("it starts");
    let events = live.events();
    while !is_open(&path) {
        std::thread::yield_now();
    }
    let replacing = live.replace_source(Source::published("somebody"), At::NextKeyframe).expect("it opens");
    live.stop(SOON).expect("it ends in time");
    assert!(matches!(replacing.wait(), Err(Error::Ended)));
    let left = events.try_iter().find(|event| matches!(event.kind, EventKind::CleanupFailed { .. }));
    assert!(left.is_none(), "{left:?}");
    assert!(!is_open(&path), "it is read on");
}

#[test]
fn a_sequencer_that_goes_ends_the_scan_of_what_it_would_play_next() {
    let scratch = Scratch::new();
    let path = vast(&scratch);
    for drops in [false, true] {
        let supply = supply_of(Some(scratch.store()), recipes(Mode::Auto, Profile::Ultra));
        let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
        let mut sequencer = Sequencer::new(lane, Program::Loop, supply.clone());
        let mut pending = supply.prepare(&path, Use::Item);
        let began = Instant::now();
        // It is dropped, or told to stop.
        let kept = if drops {
            drop(sequencer);
            None
        } else {
            sequencer.stop();
            Some(sequencer)
        };
        let answer = loop {
            if let Some(answer) = pending.poll_whole(&supply, false) {
                break answer;
            }
            assert!(began.elapsed() < SOON, "it is still read");
            std::thread::yield_now();
        };
        drop(kept);
        let error = answer.expect_err("it was given up");
        assert_eq!(error.code(), "CANCELLED", "{error}");
    }
}
