//! Handles: outputs that come and go on the air, and the ways a stream ends.

use std::time::{Duration, Instant};

use flowcast::error::LimitScope;
use flowcast::{Config, Engine, Error, EventKind, Output, Source};

use crate::{Witness, stop_within};
use kit::bystander::at_most;
use kit::rig::{Known, engine, push, wait_ended, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, wait_until};

#[test]
fn outputs_come_and_go_on_the_air() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let events = engine.events();
    let live = witness.start(&engine, &clip, None);
    for round in 0..3 {
        let added = Instant::now();
        let output = live.add_output(push(&server)).expect("it is added");
        assert!(witness.watch(&live, PATIENCE, || server.wait_pictures(round, 15, Duration::ZERO)));
        let first = server.visits()[round].first_picture().expect("a picture") - added;
        live.remove_output(output).expect("it is removed");
        let removed = Instant::now();
        assert!(wait_ended(&events, output, PATIENCE).is_none(), "it ends without an error");
        assert!(witness.watch(&live, PATIENCE, || server.visits()[round].closed.is_some()));
        println!("added: first picture after {first:?}; removed: closed after {:?}", removed.elapsed());
        live.remove_output(output).expect("removing it again is no error");
    }
    let file = clip.beside("later.flv");
    let recording = live.add_output(Output::record(&file)).expect("it is added");
    assert!(wait_until(PATIENCE, || std::fs::metadata(&file).is_ok_and(|facts| facts.len() > 30_000)));
    live.remove_output(recording).expect("it is removed");
    wait_ended(&events, recording, PATIENCE);
    assert!(wait_until(PATIENCE, || !live
        .stats()
        .outputs
        .iter()
        .any(|o| o.id == recording && o.bytes_held > 0)));
    let refused = live.add_output(Output::rtmp("http://127.0.0.1/live", "key")).expect_err("no RTMP URL");
    assert_eq!(refused.code(), "URL_INVALID");
    stop_within(live, Duration::from_secs(3));
    assert_eq!(server.count(), 3);
    server.visits().iter().for_each(|visit| clip.assert_fresh_start(&visit.tags));
    clip.assert_fresh_start(&kit::rig::read_flv(&file));
    witness.assert_unharmed(&clip);
}

#[test]
fn a_dropped_handle_ends_the_stream_and_returns_at_once() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    assert!(server.wait_pictures(0, 5, PATIENCE));
    let view = live.stream();
    let dropped = Instant::now();
    at_most(Duration::ZERO, dropped);
    drop(live);
    let took = dropped.elapsed();
    assert!(took < at_most(Duration::from_millis(50), dropped), "dropping took {took:?}");
    assert!(wait_until(PATIENCE, || view.has_ended() && server.visits()[0].closed.is_some()));
    assert_eq!(engine.running(), 0);
    println!("dropped handle: ended after {:?}", dropped.elapsed());
    let refused = view.add_output(push(&server)).expect_err("the stream has ended");
    assert_eq!((refused.code(), refused.is_retryable()), ("STREAM_ENDED", false));
    assert_eq!(
        view.remove_output(outputs_of_ended(&view)).expect_err("the stream has ended").code(),
        "STREAM_ENDED"
    );
}

fn outputs_of_ended(view: &flowcast::StreamRef) -> flowcast::OutputId {
    view.stats().outputs.first().expect("what has ended is still shown").id
}

#[test]
fn a_detached_stream_goes_on_until_the_engine_ends() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let start =
        || engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    let first = start().detach();
    assert!(server.wait_pictures(0, 30, PATIENCE));
    assert!(engine.get(first.id()).is_some() && engine.running() == 1);
    let ended = engine.stop(first.id(), Duration::from_secs(3)).expect("such a stream runs");
    assert!(ended.is_ok() && engine.get(first.id()).is_none() && engine.running() == 0);

    // What runs when the last engine is dropped is stopped; handles that are left are harmless.
    let (detached, held) = (start().detach(), start());
    assert!(server.wait_pictures(1, 5, PATIENCE) && server.wait_pictures(2, 5, PATIENCE));
    let clone = engine.clone();
    drop(engine);
    assert!(!detached.has_ended() && !held.has_ended(), "a clone of the engine is left");
    let dropped = Instant::now();
    drop(clone);
    let took = dropped.elapsed();
    assert!(detached.has_ended() && held.has_ended());
    assert!(took < at_most(Duration::from_secs(2), dropped), "dropping the engine took {took:?}");
    println!("dropped engine: two streams ended in {took:?}");
    assert!(matches!(held.wait_timeout(Duration::ZERO), Some(Ok(()))));
    stop_within(held, Duration::from_secs(1));
    assert!(wait_until(PATIENCE, || server.visits().iter().all(|visit| visit.closed.is_some())));
}

#[test]
fn limits_refuse_with_a_code_and_a_place_is_free_again_after_the_end() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|config| {
        config.max_streams_per_owner = 2;
        config.max_streams = 3;
    });
    let start =
        |owner: &str| engine.stream(Source::file(&clip.file).looped()).owner(owner).to(push(&server)).start();
    let mut running = vec![start("alice").expect("a place"), start("alice").expect("a place")];
    let refused = start("alice").expect_err("alice has two");
    assert!(matches!(refused, Error::StreamLimitExceeded { scope: LimitScope::Owner, limit: 2 }));
    assert_eq!((refused.code(), refused.is_retryable()), ("STREAM_LIMIT_EXCEEDED", true));
    running.push(start("bob").expect("a place"));
    let refused = start("carol").expect_err("the engine is full");
    assert!(matches!(refused, Error::StreamLimitExceeded { scope: LimitScope::Global, limit: 3 }));
    assert_eq!(refused.to_string(), "Maximum 3 concurrent streams reached");

    // A start that fails for another reason keeps no place.
    stop_within(running.remove(0), Duration::from_secs(3));
    for _ in 0..10 {
        let missing = clip.beside("missing.mp4");
        let failed = engine.stream(Source::file(missing)).owner("alice").to(push(&server)).start();
        assert_eq!(failed.expect_err("no such file").code(), "INPUT_NOT_FOUND");
    }
    // Many at once: exactly one place is left.
    let admitted: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| start("alice"))).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("no panic").ok()).collect()
    });
    assert_eq!((admitted.len(), engine.running()), (1, 3));
    running.extend(admitted);
    let report = engine.shutdown(Duration::from_secs(3));
    assert_eq!((report.stopped, report.abandoned, engine.running()), (3, 0, 0));
}

#[test]
fn a_panicking_callback_harms_nobody() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let engine = engine(|_| {});
    engine.on_event(|event| {
        if !matches!(event.kind, EventKind::Abandoned) {
            panic!("in the program's callback, as the test wants");
        }
    });
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    engine.on_event({
        let heard = heard.clone();
        move |_| {
            heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let events = engine.events();
    let live = witness.start(&engine, &clip, None);
    wait_event(&events, PATIENCE, |event| matches!(event.kind, EventKind::Looped { laps: 1 }).then_some(()));
    stop_within(live, Duration::from_secs(3));
    wait_event(&events, PATIENCE, |event| {
        matches!(event.kind, EventKind::Ended { error: None }).then_some(())
    });
    assert!(heard.load(std::sync::atomic::Ordering::Relaxed) >= 4);
    witness.assert_unharmed(&clip);
}

#[test]
fn a_callback_may_replace_the_last_output_when_it_fails() {
    let clip = Known::small();
    let refusing = Scripted::start(Script::Refuse("NetStream.Publish.BadName", "no such key"));
    for output in [push(&refusing), Output::record("/dev/full")] {
        let backup = Scripted::start(Script::Record);
        let engine = engine(|_| {});
        let (own, instead) = (std::sync::Mutex::new(Some(engine.clone())), push(&backup));
        engine.on_event(move |event| {
            let failed = matches!(&event.kind, EventKind::OutputEnded { error: Some(_), .. });
            // Taken out, so that the callback does not keep its own engine for ever.
            let engine = own.lock().expect("no panic").take_if(|_| failed);
            if let Some(stream) = engine.and_then(|engine| engine.get(event.stream)) {
                assert!(stream.stats().uptime > Duration::ZERO);
                stream.add_output(instead.clone()).expect("the stream goes on");
            }
        });
        // It is the stream's only output: the stream would end with it.
        let live = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts");
        assert!(backup.wait_pictures(0, 15, PATIENCE), "{:?}", live.wait_timeout(Duration::ZERO));
        stop_within(live, Duration::from_secs(3));
        clip.assert_fresh_start(&backup.visits()[0].tags);
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for change in [(|config: &mut Config| config.tick = Duration::ZERO) as fn(&mut Config), |config| {
        config.lag.drop_after = config.lag.disconnect_after
    }] {
        let mut config = Config::default();
        change(&mut config);
        assert!(matches!(Engine::new(config), Err(Error::Config { .. })));
    }
}
