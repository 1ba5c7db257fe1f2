//! What all recordings of an engine take together.

use std::fs;
use std::io::ErrorKind;

use flowcast::output::Segments;
use flowcast::{Error, Output, Source, StreamHandle};

use kit::rig::{Known, engine, push, wait_ended};
use kit::scripted::{Script, Scripted};
use kit::{Need, PATIENCE, decode, directory, files, need, wait_until};

const BUDGET: u64 = 400_000;

#[test]
fn the_oldest_parts_of_any_stream_make_room_and_what_is_in_one_file_ends_in_order() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let own = directory();
    let engine = engine(|config| config.recording.budget = BUDGET);
    let events = engine.events();
    let parts = |name: &str| {
        let output = Output::record(own.path().join(format!("{name}-{{number}}.flv")));
        output.segments(Segments::of_bytes(64 << 10)).label("parts")
    };
    let server = Scripted::start(Script::Record);
    let stream = |name: &str| {
        engine.stream(Source::file(&clip.file).looped()).to(push(&server)).to(parts(name)).start()
    };
    let (one, other) = (stream("one").expect("it starts"), stream("other").expect("it starts"));
    let sizes = || -> Vec<u64> {
        let paths = files(own.path());
        paths.iter().filter_map(|path| fs::metadata(path).ok()).map(|facts| facts.len()).collect()
    };
    // Each of the two is to write more than there is for both.
    let recorded = |live: &StreamHandle| {
        let stats = live.stats();
        stats
            .outputs
            .iter()
            .filter(|output| output.path.is_some())
            .map(|output| output.bytes_sent)
            .sum::<u64>()
    };
    let wrote = || [&one, &other].into_iter().all(|live| recorded(live) > 2 * BUDGET);
    let slack = 2 * (256 << 10);
    assert!(wait_until(PATIENCE * 3, || {
        let all: u64 = sizes().iter().sum();
        assert!(all <= BUDGET + slack, "{all} bytes");
        wrote()
    }));
    assert!(!own.path().join("one-000000.flv").exists() && !own.path().join("other-000000.flv").exists());
    other.stop(PATIENCE).expect("it stops");
    // One that is not cut takes the room of all parts, and then its own end.
    let whole = own.path().join("whole.mp4");
    let output = one.add_output(Output::record(&whole)).expect("there is room for a file");
    let error = wait_ended(&events, output, PATIENCE * 3);
    let Some(Error::Recording { source, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull, "{source}");
    let decoded = decode(&whole);
    assert!(decoded.complaints.is_empty() && decoded.frames.len() > 50, "{}", decoded.complaints);
    one.stop(PATIENCE).expect("the stream goes on");
}
