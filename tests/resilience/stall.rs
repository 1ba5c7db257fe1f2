//! Peers that stay connected and stop reading.

use std::time::{Duration, Instant};

use flowcast::config::TlsRoots;
use flowcast::stats::OutputPhase;
use flowcast::{Config, Error, EventKind, Output, Source};

use crate::{Witness, stop_within};
use kit::bystander::at_most;
use kit::rig::{Known, LONGEST_WAIT, engine, outputs, push, wait_event, wait_retry};
use kit::scripted::{Script, Scripted, Seen};
use kit::{FfmpegListen, Identity, Need, PATIENCE, TlsProxy, need, wait_until};

const DROP: Duration = Duration::from_secs(1);
const DISCONNECT: Duration = Duration::from_secs(2);
/// What the kernels take without a reader, at 2 MB a second, and a measurement a tick.
const UNSEEN: Duration = Duration::from_millis(1500);

fn impatient(config: &mut Config) {
    config.lag.drop_after = DROP;
    config.lag.disconnect_after = DISCONNECT;
}

#[test]
fn a_peer_that_stops_reading_is_dropped_to_a_keyframe_then_given_up_then_found_again() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::heavy();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let engine = engine(impatient);
    let events = engine.events();
    let live = witness.start(&engine, &clip, push(&server));
    let output = outputs(&live)[2];
    assert!(server.wait_pictures(0, 25, PATIENCE));
    let stalled = Instant::now();
    server.deafen(true);
    let mut worst = Duration::ZERO;
    let (mut dropped, mut lost) = (None, None);
    witness.watch(&live, PATIENCE, || {
        let stats = live.stats();
        worst = worst.max(stats.outputs.iter().find(|o| o.id == output).map_or(Duration::ZERO, |o| o.lag));
        while let Some(event) = events.try_next() {
            match event.kind {
                EventKind::OutputDropped { output: it, tags } if it == output => {
                    dropped.get_or_insert((stalled.elapsed(), tags));
                }
                EventKind::OutputRetrying { output: it, error, .. } if it == output => {
                    lost.get_or_insert((stalled.elapsed(), error));
                }
                _ => {}
            }
        }
        lost.is_some()
    });
    let (after, error) = lost.expect("it is given up");
    assert!(matches!(&error, Error::TooSlow { .. }), "{error:?}");
    assert_eq!((error.code(), error.is_retryable()), ("TOO_SLOW", true));
    assert!(
        after >= DISCONNECT && after <= at_most(DISCONNECT + UNSEEN, stalled),
        "given up after {after:?}"
    );
    assert!(worst >= DROP / 2, "the figures showed a lag of {worst:?} only");
    let visits = server.count();
    server.deafen(false);
    let back = Instant::now();
    assert!(
        witness.watch(&live, PATIENCE, || server.count() > visits
            || server.visits()[visits - 1].closed.is_some())
    );
    let next = server.count().max(visits + 1) - 1;
    assert!(witness.watch(&live, PATIENCE, || server.wait_pictures(next, 1, Duration::ZERO)));
    let resumed = server.visits()[next].first_picture().expect("a picture") - back;
    assert!(resumed <= at_most(LONGEST_WAIT + Duration::from_secs(1), back), "resumed after {resumed:?}");
    assert!(server.wait_pictures(next, 25, PATIENCE));
    let stats = live.stats();
    stop_within(live, Duration::from_secs(3));
    clip.assert_fresh_start(&server.visits()[next].tags);
    witness.assert_unharmed(&clip);
    println!(
        "stopped reading: dropping {dropped:?}, given up after {after:?}, lag shown {worst:?}, resumed {resumed:?}; {stats}"
    );
}

#[test]
fn a_peer_that_reads_again_goes_on_at_a_keyframe_in_the_same_connection() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::heavy();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let engine = engine(|config| {
        config.lag.drop_after = Duration::from_millis(500);
        config.lag.disconnect_after = Duration::from_secs(8);
    });
    let events = engine.events();
    let live = witness.start(&engine, &clip, push(&server));
    let output = outputs(&live)[2];
    assert!(server.wait_pictures(0, 25, PATIENCE));
    server.deafen(true);
    let behind = witness.watch(&live, PATIENCE, || live.stats().lag > Duration::from_millis(700));
    assert!(behind, "{}", live.stats());
    server.deafen(false);
    let tags = wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::OutputDropped { output: it, tags } if it == output => Some(tags),
        _ => None,
    });
    let count = |server: &Scripted| server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    let before = count(&server);
    assert!(witness.watch(&live, PATIENCE, || count(&server) >= before + 50));
    let settled = witness.watch(&live, PATIENCE, || live.stats().lag < Duration::from_millis(300));
    assert!(settled, "{}", live.stats());
    let stats = live.stats();
    stop_within(live, Duration::from_secs(3));
    assert!(stats.drops >= tags && stats.reconnects == 0, "{stats}");
    let visits = server.visits();
    assert_eq!(visits.len(), 1);
    assert_goes_on_at_keyframes(&clip, &visits[0].tags);
    witness.assert_unharmed(&clip);
    println!("read again: {} tags dropped, no reconnect; {stats}", stats.drops);
}

/// Wherever pictures are missing, headers and a keyframe follow; times never go back; sound has no such gap.
fn assert_goes_on_at_keyframes(clip: &Known, tags: &[Seen]) {
    let mut pieces: Vec<Vec<Seen>> = vec![Vec::new()];
    let mut gaps = 0;
    for tag in tags.iter().filter(|tag| tag.is_picture()) {
        if let Some(last) = pieces.last().and_then(|piece| piece.last())
            && tag.time - last.time > 60
        {
            assert!(tag.keyframe, "after a gap at {} ms comes no keyframe", last.time);
            gaps += 1;
            pieces.push(Vec::new());
        }
        pieces.last_mut().expect("there is one").push(tag.clone());
    }
    assert!(gaps > 0, "nothing was left out");
    for piece in &pieces {
        clip.assert_gapless(piece);
    }
}

#[test]
fn stop_keeps_its_deadline_while_a_peer_does_not_read() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::heavy();
    let engine = engine(|_| {});
    let tls = need(&[Need::Stunnel]);
    for (deadline, tls) in [(300, false), (1000, false), (3000, false), (1000, tls)] {
        let (deadline, server) = (Duration::from_millis(deadline), Scripted::start(Script::Deaf));
        let proxy = tls.then(|| TlsProxy::start(server.address(), Identity::Right));
        let output = proxy.as_ref().map_or_else(
            || push(&server),
            |proxy| {
                let roots = TlsRoots::from_pem_file(proxy.trusted()).expect("the authority's certificate");
                Output::rtmp_url(&proxy.url("live", "key")).tls_roots(roots)
            },
        );
        let file = clip.beside("beside-a-stall.flv");
        let live = engine
            .stream(Source::file(&clip.file).looped())
            .to(output)
            .record(&file)
            .start()
            .expect("the stream starts");
        let stuck = |output: &flowcast::stats::OutputStats| {
            output.phase == OutputPhase::Live && output.lag > Duration::from_millis(500)
        };
        assert!(wait_until(PATIENCE, || live.stats().outputs.iter().any(stuck)), "{}", live.stats());
        let stopped = stop_within(live, deadline);
        println!("stalled, TLS {tls}: stop({deadline:?}) took {stopped:?}");
        clip.assert_gapless(&kit::rig::read_flv(&file));
    }
    assert_eq!((engine.running(), engine.abandoned()), (0, 0));
}

#[test]
fn stop_keeps_its_deadline_after_the_source_is_complete() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::heavy();
    let server = Scripted::start(Script::Deaf);
    let engine = engine(|_| {});
    let live = engine.stream(Source::file(&clip.file)).to(push(&server)).start().expect("the stream starts");
    // The file is over after two seconds, and the stream waits for the server to take the rest.
    assert!(wait_until(PATIENCE, || live.stats().uptime > Duration::from_secs(3)));
    assert!(!live.has_ended(), "{}", live.stats());
    let stopped = stop_within(live, Duration::from_millis(800));
    println!("source complete, server does not read: stop took {stopped:?}");
    assert_eq!(engine.abandoned(), 0);
}

#[test]
fn a_frozen_ffmpeg_is_noticed() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::heavy();
    let mut witness = Witness::new(&clip);
    let listener = FfmpegListen::start("live", "key");
    let engine = engine(impatient);
    let events = engine.events();
    let live = witness.start(&engine, &clip, Output::rtmp_url(&listener.url));
    let output = outputs(&live)[2];
    assert!(
        wait_until(PATIENCE, || std::fs::metadata(&listener.file).is_ok_and(|facts| facts.len() > 1 << 20))
    );
    listener.process().freeze();
    let frozen = Instant::now();
    let error = wait_retry(&events, output, PATIENCE);
    let after = frozen.elapsed();
    assert!(matches!(&error, Error::TooSlow { .. }), "{error:?}");
    println!("SIGSTOP of ffmpeg: given up after {after:?} (its kernel takes up to 6 MB first)");
    listener.process().thaw();
    stop_within(live, Duration::from_secs(3));
    witness.assert_unharmed(&clip);
}
