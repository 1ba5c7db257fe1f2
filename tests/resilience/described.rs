//! How streams are described: lists of outputs, none at all.

use std::time::Duration;

use flowcast::{Error, OpenOutput, Output, Source, StreamPhase};

use crate::stop_within;
use kit::rig::{Known, engine, push, read_flv, wait_ended};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, wait_until};

#[test]
fn a_list_of_outputs_is_given_at_once() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let mixed: Vec<Box<dyn OpenOutput>> =
        vec![Box::new(push(&server)), Box::new(Output::record(clip.beside("kept.flv")))];
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .outputs((0..2).map(|_| push(&server)))
        .outputs(mixed)
        .start()
        .expect("it starts");
    assert!((0..3).all(|visit| server.wait_pictures(visit, 5, PATIENCE)));
    stop_within(live, Duration::from_secs(3));
    server.visits().iter().for_each(|visit| clip.assert_fresh_start(&visit.tags));
    clip.assert_fresh_start(&read_flv(&clip.beside("kept.flv")));
}

#[test]
fn a_stream_without_outputs_is_refused_unless_they_come_later() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let source = || Source::file(&clip.file).looped();
    for builder in [engine.stream(source()), engine.stream(source()).outputs(Vec::<Output>::new())] {
        match builder.start() {
            Err(Error::Config { name: "outputs", reason }) => assert!(reason.contains("without_outputs")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(engine.running(), 0);

    let live = engine.stream(source()).without_outputs().start().expect("it starts");
    let is_past = |laps| wait_until(PATIENCE, || live.stats().laps >= laps);
    assert!(is_past(1), "its time goes on: {}", live.stats());
    let late = live.add_output(push(&server)).expect("it runs");
    assert!(server.wait_pictures(0, 15, PATIENCE));
    live.remove_output(late).expect("it runs");

    // It stays up without outputs, also if the last one failed.
    let refusing = Scripted::start(Script::Refuse("NetStream.Publish.BadName", "no such key"));
    let events = live.events();
    let failing = live.add_output(push(&refusing)).expect("it runs");
    assert!(wait_ended(&events, failing, PATIENCE).is_some(), "the server refused it");
    assert!(is_past(live.stats().laps + 1));
    assert_eq!(live.stats().phase, StreamPhase::Running);
    let again = live.add_output(push(&server)).expect("it runs");
    assert!(server.wait_pictures(1, 5, PATIENCE));
    live.remove_output(again).expect("it runs");
    stop_within(live, Duration::from_secs(3));
    server.visits().iter().for_each(|visit| clip.assert_fresh_start(&visit.tags));
}
