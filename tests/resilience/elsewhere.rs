//! Servers that send an output to another one.

use std::time::Duration;

use flowcast::{EventKind, Source};

use crate::stop_within;
use kit::PATIENCE;
use kit::rig::{Known, engine, push, wait_event};
use kit::scripted::{Script, Scripted};

#[test]
fn a_redirected_output_goes_there_and_comes_back_when_that_is_lost() {
    let clip = Known::small();
    let mut there = Scripted::start(Script::Record);
    let here = Scripted::start(Script::Redirect(there.url()));
    let engine = engine(|_| {});
    let events = engine.events();
    let source = Source::file(&clip.file).looped();
    let live = engine.stream(source).to(push(&here)).start().expect("started");
    assert!(there.wait_pictures(0, 20, PATIENCE), "not on the air");
    let host = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::OutputMoved { host, .. } => Some(host.clone()),
        _ => None,
    });
    assert_eq!(host, there.address().ip().to_string());
    there.down();
    // It asks where it was sent first, and is sent on again.
    there.up();
    assert!(there.wait_pictures(1, 5, PATIENCE), "not back on the air");
    assert!(here.count() >= 2, "only asked once");
    stop_within(live, Duration::from_secs(3));
    clip.assert_fresh_start(&there.visits()[0].tags);
}

#[test]
fn an_output_that_is_sent_round_in_circles_waits() {
    let clip = Known::small();
    let here = Scripted::start(Script::Mute);
    here.follow(Script::Redirect(here.url()));
    let engine = engine(|_| {});
    let events = engine.events();
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&here)).start().expect("started");
    let error = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::OutputRetrying { error, .. } => Some(error.clone()),
        _ => None,
    });
    assert!(flowcast::error::chain(&error).contains("again and again"), "{error:?}");
    stop_within(live, Duration::from_secs(3));
}

#[test]
fn an_output_that_is_asked_to_connect_anew_does_so_if_it_said_that_it_can() {
    let clip = Known::small();
    let there = Scripted::start(Script::Record);
    let here = Scripted::start(Script::SendAway(20, there.url()));
    let engine = engine(|_| {});
    let source = Source::file(&clip.file).looped();
    let live = engine.stream(source).to(push(&here).enhanced()).start().expect("started");
    assert!(there.wait_pictures(0, 20, PATIENCE), "not on the air there");
    stop_within(live, Duration::from_secs(3));
    assert_eq!((here.count(), there.count()), (1, 1));
    clip.assert_fresh_start(&here.visits()[0].tags);
    clip.assert_fresh_start(&there.visits()[0].tags);
}
