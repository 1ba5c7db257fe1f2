//! Connections that end under a running stream.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use flowcast::config::TlsRoots;
use flowcast::{Error, Output, RtmpServerExt, Source};

use crate::{Witness, stop_within};
use kit::bystander::at_most;
use kit::rig::{Known, LONGEST_WAIT, engine, outputs, push, read_flv, wait_ended, wait_event, wait_retry};
use kit::scripted::{Script, Scripted};
use kit::{Identity, Need, Nginx, PATIENCE, TlsProxy, frame_hashes, laps, need, wait_closed, wait_until};

/// From being reachable again to the next keyframe: the longest wait, a GOP of the clip, a tick, and some delay.
const RESUME: Duration = LONGEST_WAIT.saturating_add(Duration::from_millis(480 + 100 + 1000));

#[test]
fn a_killed_server_is_found_again_and_nobody_else_notices() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let mut server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let events = engine.events();
    let live = witness.start(&engine, &clip, push(&server));
    let output = outputs(&live)[2];
    for round in 0..2 {
        assert!(server.wait_pictures(server.count() - 1, 20, PATIENCE), "round {round}: not on the air");
        let killed = Instant::now();
        server.down();
        let error = wait_retry(&events, output, PATIENCE);
        let detected = killed.elapsed();
        assert!(matches!(&error, Error::ConnectionLost { .. }), "{error:?}");
        assert_eq!((error.code(), error.is_retryable()), ("CONNECTION_LOST", true));
        // It is tried again while nobody listens.
        let error = wait_retry(&events, output, PATIENCE);
        assert!(matches!(&error, Error::Connect { .. }), "{error:?}");
        assert_eq!((error.code(), error.is_retryable()), ("CONNECT_FAILED", true));
        let visits = server.count();
        let back = Instant::now();
        server.up();
        assert!(
            witness.watch(&live, PATIENCE, || server.count() > visits
                && server.wait_pictures(visits, 1, PATIENCE))
        );
        let resumed = server.visits()[visits].first_picture().expect("a picture") - back;
        assert!(resumed <= at_most(RESUME, back), "resumed after {resumed:?}");
        println!(
            "killed, round {round}: noticed after {detected:?}, resumed {resumed:?} after the server was back"
        );
    }
    assert!(server.wait_pictures(server.count() - 1, 30, PATIENCE));
    let stopped = stop_within(live, Duration::from_secs(3));
    println!("  stopped in {stopped:?}");
    let visits = server.visits();
    for visit in visits.iter().filter(|visit| visit.live.is_some()) {
        clip.assert_fresh_start(&visit.tags);
    }
    witness.assert_unharmed(&clip);
}

#[test]
fn nginx_is_killed_and_comes_back() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let clip = Known::small();
    let frames = frame_hashes(&clip.file);
    let (mut nginx, other) = (Nginx::start(&["live"]), Nginx::start(&["live"]));
    let file = clip.beside("recorded.flv");
    let engine = engine(|_| {});
    let events = engine.events();
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(Output::rtmp_url(&nginx.url("live", "key")))
        .to(Output::rtmp_url(&other.url("live", "key")))
        .record(&file)
        .start()
        .expect("the stream starts");
    let output = outputs(&live)[0];
    let grows = |nginx: &Nginx, number: usize, bytes: u64| {
        wait_until(PATIENCE, || {
            let recordings = nginx.recordings("live", "key");
            let length = |file| std::fs::metadata(file).map_or(0, |facts: std::fs::Metadata| facts.len());
            recordings.get(number).is_some_and(|file| length(file) > bytes)
        })
    };
    assert!(grows(&nginx, 0, 50_000), "nginx records nothing");
    nginx.kill();
    let killed = Instant::now();
    wait_retry(&events, output, PATIENCE);
    let detected = killed.elapsed();
    // nginx names a recording after the second it began in.
    assert!(wait_until(PATIENCE, || killed.elapsed() > Duration::from_secs(1)));
    let back = Instant::now();
    nginx.restart();
    wait_event(&events, PATIENCE, |event| match event.kind {
        flowcast::EventKind::OutputLive { output: it, reconnects: 1, .. } if it == output => Some(()),
        _ => None,
    });
    let resumed = back.elapsed();
    assert!(resumed <= at_most(RESUME, back), "resumed after {resumed:?}");
    println!("nginx killed: noticed after {detected:?}, live again {resumed:?} after it was started");
    assert!(grows(&nginx, 1, 50_000), "nginx records nothing after it came back");
    stop_within(live, Duration::from_secs(3));

    let second = &nginx.recordings("live", "key")[1];
    assert!(wait_closed(second, PATIENCE), "nginx does not end its recording");
    let second = frame_hashes(second);
    let found = laps(&second, &frames).expect("the second recording is the clip");
    assert_eq!(found.first % 12, 0, "it begins with a keyframe of the clip: {found}");
    let undisturbed = frame_hashes(&other.recording("live", "key"));
    let found = laps(&undisturbed, &frames).expect("the other server missed nothing");
    assert_eq!(found.first, 0, "{found}");
    let recorded = clip.assert_gapless(&read_flv(&file));
    assert!(recorded >= undisturbed.len() && undisturbed.len() > second.len());
}

#[test]
fn a_reset_and_an_orderly_end_are_told_apart_and_both_reconnect() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let events = engine.events();
    let live = witness.start(&engine, &clip, push(&server));
    let output = outputs(&live)[2];
    for (what, kinds) in
        [("RST", [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]), ("FIN", [ErrorKind::UnexpectedEof; 2])]
    {
        let visit = server.count() - 1;
        assert!(server.wait_pictures(visit, 10, PATIENCE));
        let broken = Instant::now();
        if what == "RST" {
            server.reset()
        } else {
            server.finish()
        }
        let error = wait_retry(&events, output, PATIENCE);
        let detected = broken.elapsed();
        let Error::ConnectionLost { source, .. } = &error else { panic!("{what}: {error:?}") };
        assert!(kinds.contains(&source.kind()), "{what}: {source:?}");
        assert!(witness.watch(&live, PATIENCE, || server.wait_pictures(visit + 1, 1, Duration::ZERO)));
        let resumed = server.visits()[visit + 1].first_picture().expect("a picture") - broken;
        assert!(resumed <= at_most(RESUME, broken), "{what}: resumed after {resumed:?}");
        println!("{what}: noticed after {detected:?}, resumed after {resumed:?}");
    }
    assert!(server.wait_pictures(2, 20, PATIENCE));
    let stats = live.stats();
    stop_within(live, Duration::from_secs(3));
    let visits = server.visits();
    assert_eq!(visits.len(), 3, "{stats}");
    visits.iter().for_each(|visit| clip.assert_fresh_start(&visit.tags));
    witness.assert_unharmed(&clip);
}

#[test]
fn tries_that_are_used_up_end_the_output_and_not_the_stream() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let engine = engine(|_| {});
    let events = engine.events();
    let mut policy = kit::rig::quickly();
    policy.first = Duration::from_millis(50);
    policy.tries = Some(3);
    let nobody = format!("rtmp://{}/live", kit::own_address());
    let live = witness.start(&engine, &clip, Output::rtmp(&nobody, "key").reconnect(policy));
    let output = outputs(&live)[2];
    let error = wait_ended(&events, output, PATIENCE).expect("it gave up");
    assert!(matches!(&error, Error::GaveUp { tries: 3, .. }), "{error:?}");
    assert_eq!((error.code(), error.is_retryable()), ("GAVE_UP", false));
    assert!(!live.has_ended());
    stop_within(live, Duration::from_secs(3));
    witness.assert_unharmed(&clip);
}

#[test]
fn the_embedded_server_is_stopped_and_started_again_at_its_address() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let receiving = engine(|_| {});
    receiving.keys().add("studio", "a-stream-key").expect("a key");
    let address = kit::own_address().to_string();
    let server = receiving.rtmp_server(&address).start().expect("it listens");
    let engine = engine(|_| {});
    let events = engine.events();
    let live = witness.start(&engine, &clip, Output::rtmp(&format!("rtmp://{address}/live"), "a-stream-key"));
    let output = outputs(&live)[2];
    let on_the_air = || receiving.keys().active().iter().any(|active| active.name == "studio");
    assert!(wait_until(PATIENCE, on_the_air));
    let began = Instant::now();
    server.stop(Duration::from_secs(3));
    let stopped = began.elapsed();
    wait_retry(&events, output, PATIENCE);
    assert!(wait_until(PATIENCE, || !on_the_air()));
    let back = Instant::now();
    let server = receiving.rtmp_server(address).start().expect("the address is free again");
    assert!(witness.watch(&live, PATIENCE, on_the_air));
    let resumed = back.elapsed();
    println!("embedded server: stopped in {stopped:?}, published to again {resumed:?} after it was back");
    assert!(resumed <= at_most(RESUME, back), "resumed after {resumed:?}");
    stop_within(live, Duration::from_secs(3));
    assert!(wait_until(PATIENCE, || !on_the_air()), "the name is not free after the publisher has gone");
    server.stop(Duration::from_secs(3));
    witness.assert_unharmed(&clip);
}

#[test]
fn a_tls_connection_that_is_killed_comes_back() {
    if !need(&[Need::Stunnel]) {
        return;
    }
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let proxy = TlsProxy::start(server.address(), Identity::Right);
    let roots = TlsRoots::from_pem_file(proxy.trusted()).expect("the authority's certificate");
    let engine = engine(|_| {});
    let events = engine.events();
    let output = Output::rtmp_url(&proxy.url("live", "key")).tls_roots(roots);
    let live = witness.start(&engine, &clip, output);
    let output = outputs(&live)[2];
    for round in 0..2 {
        assert!(server.wait_pictures(round, 15, PATIENCE));
        let broken = Instant::now();
        server.reset();
        let error = wait_retry(&events, output, PATIENCE);
        let detected = broken.elapsed();
        assert_eq!((error.code(), error.is_retryable()), ("CONNECTION_LOST", true), "{error:?}");
        assert!(witness.watch(&live, PATIENCE, || server.wait_pictures(round + 1, 1, Duration::ZERO)));
        let resumed = server.visits()[round + 1].first_picture().expect("a picture") - broken;
        assert!(resumed <= at_most(RESUME, broken), "resumed after {resumed:?}");
        println!("TLS, reset behind it: noticed after {detected:?}, resumed after {resumed:?}");
    }
    assert!(server.wait_pictures(2, 15, PATIENCE));
    stop_within(live, Duration::from_secs(3));
    server.visits().iter().for_each(|visit| clip.assert_fresh_start(&visit.tags));
    witness.assert_unharmed(&clip);
}
