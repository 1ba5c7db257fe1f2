//! SRT: to `srt-live-transmit` and ffmpeg, as caller and as listener, with loss, passphrases, and receivers that go away.

use std::time::Duration;

use flowcast::stats::{OutputPhase, OutputTransport};
use flowcast::{Error, Output};
use kit::rig::{Known, engine, quickly};
use kit::{
    Apart, Need, PATIENCE, Peer, SrtListener, alone, need, nft, own_address, text, wait_closed, wait_until,
};

use crate::{assert_pictures, start, wait_laps, wait_live, wait_retrying};

fn to(listener: &SrtListener, query: &str) -> Output {
    Output::url(&format!("srt://{}?{query}", listener.address())).reconnect(quickly())
}

#[test]
fn what_is_received_is_the_stream() {
    if !need(&[Need::Srt, Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let mut listener = SrtListener::start("latency=200");
    let engine = engine(|_| {});
    let events = engine.events();
    let live = start(&engine, &clip, to(&listener, "latency=200000"));
    assert_eq!(wait_live(&events), (0, 0));
    wait_laps(&live, 2);
    let output = live.stats().outputs.remove(0);
    assert_eq!((output.transport, output.phase), (OutputTransport::Srt, OutputPhase::Live));
    assert!(output.bytes_sent > 0 && output.drops == 0 && output.failures == 0, "{output:?}");
    live.stop(PATIENCE).expect("it runs well");
    listener.process().interrupt(PATIENCE);
    // All of it, up to the last picture: three laps were begun.
    assert!(assert_pictures(&clip, &listener.file()) >= 100);
    let complaints = kit::decode(&listener.file()).complaints;
    assert!(complaints.is_empty(), "{complaints}");
}

/// What is encrypted arrives with the right passphrase, and what is refused is tried again: SRT does not say why.
#[test]
fn a_passphrase_is_used_and_never_shown() {
    if !need(&[Need::Srt, Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let mut listener = SrtListener::start("passphrase=hush-hush-hush&pbkeylen=16");
    let engine = engine(|_| {});
    let events = engine.events();
    let wrong = to(&listener, "passphrase=wrong-wrong-wrong&streamid=%23!::r=secret,m=publish");
    assert!(!format!("{wrong:?}").contains("wrong") && !format!("{wrong:?}").contains("secret"), "{wrong:?}");
    let live = start(&engine, &clip, wrong);
    let error = wait_retrying(&events);
    let said = flowcast::error::chain(&error);
    assert!(matches!(error, Error::Connect { .. } | Error::ConnectTimeout { .. }), "{error:?}");
    let name = live.stats().outputs[0].name.clone();
    for text in [said, name, format!("{:?}", live.stats())] {
        assert!(!text.contains("wrong-") && !text.contains("secret"), "{text}");
    }
    live.stop(PATIENCE).expect("it runs well");
    let live = start(&engine, &clip, to(&listener, "passphrase=hush-hush-hush&pbkeylen=16"));
    wait_live(&events);
    wait_laps(&live, 1);
    live.stop(PATIENCE).expect("it runs well");
    listener.process().interrupt(PATIENCE);
    assert!(assert_pictures(&clip, &listener.file()) >= 50);
}

#[test]
fn a_receiver_that_is_killed_is_found_again_and_begins_with_a_keyframe() {
    if !need(&[Need::Srt, Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let mut listener = SrtListener::start("latency=200");
    let engine = engine(|config| config.connect.tcp = Duration::from_secs(1));
    let events = engine.events();
    let live = start(&engine, &clip, to(&listener, "latency=200000"));
    assert_eq!(wait_live(&events), (0, 0));
    for round in 1..=3 {
        assert!(wait_until(PATIENCE, || listener.received() > 100_000), "{}", live.stats());
        listener.kill();
        let error = wait_retrying(&events);
        assert!(error.is_retryable(), "{error:?}");
        listener.restart();
        assert_eq!(wait_live(&events).0, round);
    }
    assert!(wait_until(PATIENCE, || listener.received() > 100_000), "{}", live.stats());
    let stats = live.stats();
    assert_eq!((stats.reconnects, stats.outputs[0].failures >= 3), (3, true), "{stats}");
    live.stop(PATIENCE).expect("it runs well");
    listener.process().interrupt(PATIENCE);
    assert_pictures(&clip, &listener.file());
    let complaints = kit::decode(&listener.file()).complaints;
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn a_listener_waits_to_be_called_again_and_again() {
    if !need(&[Need::Srt, Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let address = own_address();
    let engine = engine(|_| {});
    let events = engine.events();
    // A caller that leaves is no failed try.
    let mut policy = quickly();
    policy.tries = Some(1);
    let output = Output::url(&format!("srt://{address}?mode=listener&latency=200000")).reconnect(policy);
    let live = start(&engine, &clip, output);
    // It holds nobody up, and waiting is no failure.
    wait_laps(&live, 1);
    assert_eq!(live.stats().outputs[0].phase, OutputPhase::Connecting);
    for round in 0..3 {
        let file = clip.beside(&format!("called-{round}.ts"));
        let url = format!("srt://{address}?latency=200000");
        let arguments =
            ["-nostdin", "-v", "error", "-i", &url, "-t", "3", "-c", "copy", "-f", "mpegts", text(&file)];
        let mut caller = Peer::spawn("ffmpeg".as_ref(), arguments);
        assert_eq!(wait_live(&events).0, round);
        caller.wait_success(PATIENCE);
        assert!(wait_closed(&file, PATIENCE));
        assert!(assert_pictures(&clip, &file) >= 50);
        let error = wait_retrying(&events);
        assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    }
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn a_twentieth_of_all_packets_lost_costs_no_picture() {
    if !alone("srt-loss") {
        if need(&[Need::Apart(Apart::Network), Need::Srt, Need::Ffmpeg]) {
            let test = "srt::a_twentieth_of_all_packets_lost_costs_no_picture";
            print!("{}", Apart::Network.run("srt-loss", test, Duration::from_secs(120)));
        }
        return;
    }
    let clip = Known::small();
    let mut listener = SrtListener::start("latency=2000");
    let port = listener.address().port();
    nft("add table inet lossy");
    nft("add chain inet lossy passing { type filter hook input priority 0; }");
    for side in ["dport", "sport"] {
        nft(&format!("add rule inet lossy passing udp {side} {port} numgen random mod 100 < 5 counter drop"));
    }
    let engine = engine(|_| {});
    let events = engine.events();
    let live = start(&engine, &clip, to(&listener, "latency=2000000"));
    wait_live(&events);
    wait_laps(&live, 5);
    let stats = live.stats();
    assert_eq!((stats.reconnects, stats.drops), (0, 0), "{stats}");
    let rules = nft("list table inet lossy");
    let lost = rules.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    let lost: u64 = lost.sum();
    assert!(lost > 20, "{rules}");
    let received = listener.received();
    // What is on its way is still to come, within the latency.
    assert!(wait_until(PATIENCE, || listener.received() > received));
    live.stop(PATIENCE).expect("it runs well");
    wait_until(Duration::from_secs(3), || false);
    listener.process().interrupt(PATIENCE);
    let pictures = assert_pictures(&clip, &listener.file());
    println!("{lost} packets lost, 5 %: {pictures} pictures, none missing");
    assert!(pictures >= 200);
}
