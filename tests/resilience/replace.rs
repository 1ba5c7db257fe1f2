//! `replace_output` and `replace_key`: an output goes on at another server or with another key.

use std::time::Duration;

use flowcast::output::IfTaken;
use flowcast::stats::Cutover;
use flowcast::{Error, Event, EventKind, Events, Output, OutputId, RtmpServerExt, Source};
use kit::rig::{Known, both_ways, engine, outputs, push, read_flv, wait_event, wait_retry};
use kit::scripted::{Script, Scripted, Seen};
use kit::{PATIENCE, wait_until};

use crate::{Witness, stop_within};

fn replaced(output: OutputId) -> impl Fn(&Event) -> Option<Result<Cutover, Error>> {
    move |event| match &event.kind {
        EventKind::OutputReplaced { output: it, cutover } if *it == output => Some(Ok(*cutover)),
        EventKind::OutputNotReplaced { output: it, error } if *it == output => Some(Err(error.clone())),
        _ => None,
    }
}

fn outcome(events: &Events, output: OutputId) -> Result<Cutover, Error> {
    wait_event(events, PATIENCE, replaced(output))
}

/// Which tags.
type Which = fn(&Seen) -> bool;

fn hashes(tags: &[Seen], wanted: Which) -> Vec<u64> {
    tags.iter().filter(|tag| wanted(tag) && !tag.header).map(|tag| tag.hash).collect()
}

#[test]
fn an_output_goes_on_at_another_server_at_a_keyframe_with_no_tag_doubled_or_lost() {
    let clip = Known::small();
    both_ways(|mode, engine, directory| {
        let servers = [(); 4].map(|()| Scripted::start(Script::Record));
        let file = directory.join("all.flv");
        let live = engine
            .stream(Source::file(&clip.file).looped())
            .to(push(&servers[0]).label("main"))
            .record(&file)
            .start()
            .expect("it starts");
        let (events, output) = (live.events(), outputs(&live)[0]);
        assert!(servers[0].wait_pictures(0, 20, PATIENCE), "{mode}: not on the air");
        for server in &servers[1..] {
            live.replace_output(output, push(server), IfTaken::Keep).expect("it is a push");
            assert_eq!(outcome(&events, output).expect("it is let in"), Cutover::AtKeyframe, "{mode}");
            assert!(server.wait_pictures(0, 20, PATIENCE), "{mode}: not on the air");
        }
        assert_eq!(live.output("main"), Some(output), "{mode}: it keeps its label");
        let last = servers[3].address().to_string();
        assert!(
            wait_until(PATIENCE, || live.stats().outputs[0].name.contains(&last)),
            "{mode}: {}",
            live.stats()
        );
        for server in &servers[..3] {
            assert!(wait_until(PATIENCE, || server.visits()[0].closed.is_some()), "{mode}: still open");
        }
        let stats = live.stop(PATIENCE).expect("it runs well");
        assert_eq!((stats.drops, stats.reconnects), (0, 0), "{mode}: {stats}");
        let visits: Vec<_> = servers.iter().map(|server| server.visits()).collect();
        let mut sent = Vec::new();
        for visits in &visits {
            assert_eq!(visits.len(), 1, "{mode}: one connection each");
            clip.assert_fresh_start(&visits[0].tags);
            sent.extend_from_slice(&visits[0].tags);
        }
        let recorded = read_flv(&file);
        // The recording began with the first connection, and holds what came after the last one's end.
        let kinds: [(&str, Which); 2] = [
            ("pictures", |tag| tag.is_picture()),
            ("sound", |tag| tag.kind == flowcast::rtmp::flv::TagKind::Audio),
        ];
        for (what, wanted) in kinds {
            let (sent, recorded) = (hashes(&sent, wanted), hashes(&recorded, wanted));
            let begin = recorded.iter().position(|hash| *hash == sent[0]).expect("it was recorded");
            assert!(sent.len() > 60, "{mode}: only {} {what}", sent.len());
            let there = recorded.get(begin..begin + sent.len()).unwrap_or(&recorded[begin..]);
            assert!(sent == there, "{mode}: {what} are doubled or lost");
        }
    });
}

#[test]
fn what_is_on_the_air_stays_there_when_the_other_server_fails() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let engine = engine(|config| config.connect.handshake = Duration::from_millis(500));
    let live = witness.start(&engine, &clip, push(&server));
    let (events, output) = (live.events(), outputs(&live)[2]);
    assert!(server.wait_pictures(0, 10, PATIENCE));
    let refuses = Scripted::start(Script::Refuse("NetStream.Publish.Denied", "no such key"));
    let mute = Scripted::start(Script::Mute);
    let mut gone = Scripted::start(Script::Record);
    gone.down();
    for (other, code) in [(&refuses, "RTMP_REJECTED"), (&mute, "RTMP_TIMEOUT"), (&gone, "CONNECT_FAILED")] {
        live.replace_output(output, push(other), IfTaken::Break).expect("it is a push");
        let error = outcome(&events, output).expect_err("it is not let in");
        assert_eq!(error.code(), code, "{error}");
    }
    // Only the last of two counts.
    live.replace_output(output, push(&mute), IfTaken::Break).expect("it is a push");
    live.replace_output(output, push(&refuses), IfTaken::Break).expect("it is a push");
    assert!(matches!(outcome(&events, output), Err(Error::Cancelled { .. })));
    assert_eq!(outcome(&events, output).expect_err("refused").code(), "RTMP_REJECTED");
    let error =
        live.replace_output(outputs(&live)[1], push(&server), IfTaken::Break).expect_err("a recording");
    assert!(matches!(error, Error::Config { name: "output", .. }), "{error}");
    let error =
        live.replace_output(output, Output::record("x.flv"), IfTaken::Break).expect_err("a recording");
    assert!(matches!(error, Error::Config { name: "output", .. }), "{error}");
    assert!(live.replace_key(output, "****", IfTaken::Break).is_err(), "a hidden key");
    let pictures = server.visits()[0].tags.len();
    assert!(wait_until(PATIENCE, || server.visits()[0].tags.len() > pictures + 20), "it is not on the air");
    // A stop waits for none of it.
    live.replace_output(output, push(&mute), IfTaken::Break).expect("it is a push");
    let stopped = stop_within(live, Duration::from_secs(3));
    println!("  stopped in {stopped:?} while another server is dialled");
    assert_eq!(server.count(), 1, "it was never connected anew");
    clip.assert_gapless(&server.visits()[0].tags);
    witness.assert_unharmed(&clip);
}

#[test]
fn a_key_is_replaced_on_the_air_and_one_that_is_taken_breaks_by_policy_only() {
    let clip = Known::small();
    let studio = engine(|_| {});
    let server = studio.rtmp_server("127.0.0.1:0").start().expect("it listens");
    studio.keys().add("one", "key-one").expect("usable");
    studio.keys().add("two", "key-two").expect("usable");
    let url = format!("rtmp://{}/live", server.address());
    let engine = engine(|_| {});
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(Output::rtmp(&url, "key-one"))
        .start()
        .expect("it starts");
    let (events, output) = (live.events(), outputs(&live)[0]);
    let on_air = |name: &str| studio.keys().active().iter().any(|active| active.name == name);
    assert!(wait_until(PATIENCE, || on_air("one")));
    live.replace_key(output, "key-two", IfTaken::Keep).expect("it is a push");
    assert_eq!(outcome(&events, output).expect("it is let in"), Cutover::AtKeyframe);
    assert!(wait_until(PATIENCE, || on_air("two")));
    #[cfg(feature = "state")]
    assert_eq!(engine.snapshot().streams[0].spec.outputs, [Output::rtmp(&url, "key-two")]);
    // The same key once more: the server takes one publisher of a name.
    live.replace_output(output, Output::rtmp(&url, "key-two"), IfTaken::Keep).expect("it is a push");
    assert_eq!(outcome(&events, output).expect_err("it is taken").code(), "RTMP_REJECTED");
    assert!(on_air("two") && live.stats().reconnects == 0);
    live.replace_output(output, Output::rtmp(&url, "key-two"), IfTaken::Break).expect("it is a push");
    assert_eq!(outcome(&events, output).expect("it is let in"), Cutover::AfterBreak);
    assert!(wait_until(PATIENCE, || on_air("two")));
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn an_output_that_is_not_on_the_air_goes_on_where_it_is_let_in() {
    let clip = Known::small();
    let mut server = Scripted::start(Script::Record);
    let other = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    let (events, output) = (live.events(), outputs(&live)[0]);
    assert!(server.wait_pictures(0, 10, PATIENCE));
    server.down();
    wait_retry(&events, output, PATIENCE);
    live.replace_output(output, push(&other), IfTaken::Break).expect("it is a push");
    assert_eq!(outcome(&events, output).expect("it is let in"), Cutover::WasOff);
    assert!(other.wait_pictures(0, 10, PATIENCE));
    live.stop(PATIENCE).expect("it runs well");
    clip.assert_fresh_start(&other.visits()[0].tags);
}
