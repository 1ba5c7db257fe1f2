//! How streams are described and ended: lists of outputs, none at all, labels, the ways to stop.

use std::time::Duration;

use flowcast::driver::OpenOutput;
use flowcast::rtmp::time::MediaTime;
use flowcast::stats::StreamPhase;
use flowcast::{Error, EventKind, Output, Source, StreamId};

use crate::stop_within;
use kit::rig::{Known, engine, push, read_flv, wait_ended, wait_event};
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

#[test]
fn what_has_a_label_is_found_and_shown_by_it() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let events = engine.events();
    let show = || engine.stream(Source::file(&clip.file).looped()).label("show");
    let kept = clip.beside("kept.flv");
    let twice = show().to(Output::record(&kept).label("one")).to(push(&server).label("one")).start();
    assert_eq!(twice.expect_err("two of one label").code(), "LABEL_IN_USE");
    assert!(!kept.exists(), "something was made before it was refused");
    for builder in [show().label(""), show().to(push(&server).label("a\nb"))] {
        let refused = builder.record(&kept).start().expect_err("no such label");
        assert!(matches!(refused, Error::Config { name: "label", .. }), "{refused:?}");
    }

    let live = show().to(push(&server).label("youtube")).record(&kept).start().expect("it starts");
    assert_eq!((live.label(), live.output("twitch")), (Some("show"), None));
    let youtube = live.output("youtube").expect("it was given");
    assert_eq!(youtube.to_string().parse(), Ok(youtube));
    let id: StreamId = live.id().to_string().parse().expect("as it is shown");
    assert_eq!(engine.get(id).and_then(|found| found.output("youtube")), Some(youtube));
    let line = wait_event(&events, PATIENCE, |event| {
        let is_live = matches!(event.kind, EventKind::OutputLive { output, .. } if output == youtube);
        is_live.then(|| event.to_string())
    });
    assert!(line.contains(&format!(" {} \"show\"/{youtube} \"youtube\": ", live.id())), "{line}");
    let shown = || live.stats().outputs.into_iter().map(|output| output.label);
    assert!(wait_until(PATIENCE, || shown().eq([Some("youtube".into()), None])));
    assert!(live.stats().to_string().starts_with(&format!("{} \"show\" ", live.id())));

    let taken = live.add_output(push(&server).label("youtube")).expect_err("it is taken");
    assert_eq!((taken.code(), taken.is_retryable()), ("LABEL_IN_USE", false));
    live.remove_output(youtube).expect("it runs");
    assert_eq!(live.output("youtube"), None, "it is free at once");
    let again = live.add_output(push(&server).label("youtube")).expect("it is free");
    assert!(again > youtube && live.output("youtube") == Some(again));
    let ended = wait_event(&events, PATIENCE, |event| {
        let is_end = matches!(event.kind, EventKind::OutputEnded { output, .. } if output == youtube);
        is_end.then(|| event.output_label.clone())
    });
    assert_eq!(ended.as_deref(), Some("youtube"), "its last event still shows it");
    assert!(server.wait_pictures(1, 5, PATIENCE));
    stop_within(live, Duration::from_secs(3));
}

#[test]
fn each_way_to_stop_a_stream_says_how_it_went() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let start = || {
        let stream = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start();
        let stream = stream.expect("it starts");
        assert!(wait_until(PATIENCE, || stream.stats().media_time > MediaTime::ZERO));
        stream
    };
    let deadline = Duration::from_secs(3);
    let (view, held, listed) = (start().detach(), start(), start().detach());
    let by_view = view.stop(deadline).expect("it ends in time");
    let by_handle = held.stop(deadline).expect("it ends in time");
    let by_engine = engine.stop(listed.id(), deadline).expect("it runs").expect("it ends in time");
    for stats in [&by_view, &by_handle, &by_engine] {
        assert!(stats.phase == StreamPhase::Ended && stats.bytes_sent > 0, "{stats}");
    }
    assert_eq!((by_view.id, by_engine.id), (view.id(), listed.id()));
    assert!(view.stop(deadline).is_ok(), "stopping it again is no error");
    assert!(engine.stop(view.id(), deadline).is_none() && engine.running() == 0);

    let refusing = Scripted::start(Script::Refuse("NetStream.Publish.BadName", "no such key"));
    let failed = engine.stream(Source::file(&clip.file).looped()).to(push(&refusing)).start();
    let failed = failed.expect("it starts").detach();
    assert!(wait_until(PATIENCE, || failed.has_ended()));
    assert!(failed.stop(deadline).is_err(), "it had ended with an error");
}
