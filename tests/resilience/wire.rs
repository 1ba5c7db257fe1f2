//! The path to a server, at work: bytes that arrive changed, late or not at all, and too few of them.

use std::time::{Duration, Instant};

use flowcast::rtmp::flv::TagKind;
use flowcast::{Error, Output, Source};
use kit::bystander::at_most;
use kit::rig::{Known, engine, outputs, push, wait_retry};
use kit::scripted::{Script, Scripted};
use kit::{Apart, FaultProxy, Need, PATIENCE, alone, need, nft, tc, wait_until};

use crate::{Witness, stop_within};

/// A push through a proxy.
fn through(proxy: &FaultProxy) -> Output {
    Output::rtmp(&format!("rtmp://{}/live", proxy.address()), "a-stream-key")
}

#[test]
fn bytes_that_arrive_changed_end_the_connection_and_the_next_one_begins_anew() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let proxy = FaultProxy::start(server.address());
    let engine = engine(|_| {});
    let events = engine.events();
    let live = witness.start(&engine, &clip, through(&proxy));
    let output = outputs(&live)[2];
    for round in 0..3 {
        assert!(server.wait_pictures(round, 20, PATIENCE), "round {round}: not on the air");
        let changed = Instant::now();
        proxy.corrupt();
        let error = wait_retry(&events, output, PATIENCE);
        assert!(error.is_retryable(), "{error:?}");
        println!("changed bytes, round {round}: {} after {:?}", error.code(), changed.elapsed());
    }
    assert!(witness.watch(&live, PATIENCE, || server.wait_pictures(3, 20, Duration::ZERO)));
    stop_within(live, Duration::from_secs(3));
    clip.assert_fresh_start(&server.visits()[3].tags);
    witness.assert_unharmed(&clip);
}

#[test]
fn a_path_that_takes_a_tenth_of_a_second_each_way_costs_only_that() {
    const EACH_WAY: Duration = Duration::from_millis(100);
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let proxy = FaultProxy::start(server.address());
    proxy.delay(EACH_WAY);
    let engine = engine(|_| {});
    let began = Instant::now();
    let live = witness.start(&engine, &clip, through(&proxy));
    let mut lag = Duration::ZERO;
    assert!(witness.watch(&live, PATIENCE, || {
        lag = live.stats().outputs.iter().map(|output| output.lag).max().unwrap_or_default().max(lag);
        server.wait_pictures(0, 150, Duration::ZERO)
    }));
    let stats = live.stats();
    assert_eq!((stats.reconnects, stats.drops, server.count()), (0, 0, 1), "{stats}");
    stop_within(live, Duration::from_secs(3));
    let visit = &server.visits()[0];
    clip.assert_fresh_start(&visit.tags);
    let (open, first) =
        (visit.live.expect("it is") - began, visit.first_picture().expect("there are") - began);
    assert!(open >= EACH_WAY * 4, "a handshake and a request take two round trips: {open:?}");
    println!("100 ms each way: let in after {open:?}, first picture after {first:?}, largest lag {lag:?}");
    witness.assert_unharmed(&clip);
}

#[test]
fn a_server_that_says_more_than_it_is_sent_is_read_all_the_time() {
    /// More than a socket's buffers hold.
    const MUCH: u64 = 32 << 20;
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Talk);
    let engine = engine(|_| {});
    let live = witness.start(&engine, &clip, push(&server));
    let talked = || server.visits().first().map_or(0, |visit| visit.talked);
    assert!(witness.watch(&live, PATIENCE * 2, || talked() > MUCH), "it reads no more: {} bytes", talked());
    assert!(server.wait_pictures(0, 50, PATIENCE));
    let stats = live.stats();
    assert_eq!((stats.reconnects, stats.drops, server.count()), (0, 0, 1), "{stats}");
    println!("{} bytes of acknowledgements and pings read in {:?}", talked(), stats.uptime);
    stop_within(live, Duration::from_secs(3));
    clip.assert_fresh_start(&server.visits()[0].tags);
    witness.assert_unharmed(&clip);
}

/// Runs one test of this file with a role in a network of its own, if the machine lets it.
fn apart(role: &str, test: &str) {
    if need(&[Need::Apart(Apart::Network)]) {
        print!("{}", Apart::Network.run(role, &format!("wire::{test}"), Duration::from_secs(120)));
    }
}

#[test]
fn a_path_that_is_cut_is_given_up_and_found_again() {
    if !alone("cut") {
        return apart("cut", "a_path_that_is_cut_is_given_up_and_found_again");
    }
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let mut limit = Duration::ZERO;
    let engine = engine(|config| limit = config.lag.disconnect_after);
    let events = engine.events();
    let live = witness.start(&engine, &clip, push(&server));
    let output = outputs(&live)[2];
    assert!(server.wait_pictures(0, 20, PATIENCE));
    // Nobody is told of it: no packet comes through in either direction, and none comes back to say so.
    let port = server.address().port();
    nft("add table inet cut");
    nft("add chain inet cut passing { type filter hook input priority 0; }");
    nft(&format!("add rule inet cut passing tcp dport {port} drop"));
    nft(&format!("add rule inet cut passing tcp sport {port} drop"));
    let cut = Instant::now();
    let error = wait_retry(&events, output, PATIENCE);
    let noticed = cut.elapsed();
    assert!(matches!(error, Error::TooSlow { .. }), "{error:?}");
    assert!(noticed <= at_most(limit + Duration::from_secs(1), cut), "{noticed:?}");
    let error = wait_retry(&events, output, PATIENCE);
    assert_eq!(error.code(), "CONNECT_TIMEOUT", "{error:?}");
    nft("delete table inet cut");
    let back = Instant::now();
    assert!(witness.watch(&live, PATIENCE, || server.wait_pictures(1, 20, Duration::ZERO)));
    let resumed = server.visits()[1].first_picture().expect("there are") - back;
    println!("a path that is cut: given up after {noticed:?}, resumed {resumed:?} after it was whole again");
    stop_within(live, Duration::from_secs(3));
    clip.assert_fresh_start(&server.visits()[1].tags);
    witness.assert_unharmed(&clip);
}

#[test]
fn a_tenth_of_all_packets_lost_costs_no_connection() {
    if !alone("loss") {
        return apart("loss", "a_tenth_of_all_packets_lost_costs_no_connection");
    }
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    // A packet that is lost again and again holds the others up; what is to be seen is that none is missing in the end.
    let engine = engine(|config| {
        (config.lag.drop_after, config.lag.disconnect_after) = (PATIENCE, PATIENCE * 2);
    });
    let port = server.address().port();
    nft("add table inet lossy");
    nft("add chain inet lossy passing { type filter hook input priority 0; }");
    for side in ["dport", "sport"] {
        nft(&format!(
            "add rule inet lossy passing tcp {side} {port} numgen random mod 100 < 10 counter drop"
        ));
    }
    let lost = || -> u64 {
        let rules = nft("list table inet lossy");
        rules.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
    };
    let live = witness.start(&engine, &clip, push(&server));
    let mut lag = Duration::ZERO;
    // How many packets the pictures make, and so how many are lost, is up to the machine.
    assert!(
        witness.watch(&live, PATIENCE * 3, || {
            lag = live.stats().outputs.iter().map(|output| output.lag).max().unwrap_or_default().max(lag);
            server.wait_pictures(server.count().saturating_sub(1), 400, Duration::ZERO) && lost() > 20
        }),
        "{}",
        nft("list table inet lossy")
    );
    let stats = live.stats();
    assert_eq!((stats.reconnects, stats.drops), (0, 0), "{stats}");
    let lost = lost();
    println!("{lost} packets lost, 10 %: 400 pictures and more, none missing, largest lag {lag:?}");
    stop_within(live, PATIENCE);
    clip.assert_fresh_start(&server.visits().last().expect("it came").tags);
    witness.assert_unharmed(&clip);
}

#[test]
fn an_uplink_slower_than_the_stream_loses_pictures_and_keeps_the_sound() {
    if !alone("slow") {
        return apart("slow", "an_uplink_slower_than_the_stream_loses_pictures_and_keeps_the_sound");
    }
    let clip = Known::small();
    let bits = std::fs::metadata(&clip.file).expect("it is there").len() * 8 / 2;
    let server = Scripted::start(Script::Record);
    // A moment in which the machine does nothing at all is no slower uplink.
    let mut limit = Duration::ZERO;
    let engine = engine(|config| limit = std::mem::replace(&mut config.lag.disconnect_after, PATIENCE));
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    assert!(server.wait_pictures(0, 20, PATIENCE));
    at_most(Duration::ZERO, Instant::now());
    tc(&format!("qdisc add dev lo root tbf rate {}bit burst 6kb latency 300ms", bits * 8 / 10));
    let mut lag = Duration::ZERO;
    let slow = Instant::now();
    assert!(
        wait_until(PATIENCE * 3, || {
            let stats = live.stats();
            lag = stats.outputs[0].lag.max(lag);
            stats.drops > 100
        }),
        "{}",
        live.stats()
    );
    let took = slow.elapsed();
    let stats = live.stats();
    assert_eq!((stats.reconnects, server.count()), (0, 1), "{stats}");
    assert!(lag < at_most(limit, slow), "{lag:?}");
    tc("qdisc del dev lo root");
    // As it should be again.
    let goes_on = || live.stats().outputs[0].lag < Duration::from_secs(1);
    assert!(wait_until(PATIENCE, goes_on), "{}", live.stats());
    let seen = server.visits()[0].tags.len();
    assert!(wait_until(PATIENCE, || server.visits()[0].tags.len() > seen + 100));
    stop_within(live, Duration::from_secs(3));
    let tags = &server.visits()[0].tags;
    let sound: Vec<_> =
        tags.iter().filter(|tag| tag.kind == TagKind::Audio && !tag.header).map(|tag| tag.time).collect();
    let gap = sound.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    assert!(gap <= 100, "sound is missing for {gap} ms");
    let mut pictures = tags.iter().filter(|tag| tag.is_picture());
    let mut last = pictures.next().expect("there are").time;
    for picture in pictures {
        assert!(picture.time > last, "back to {} ms", picture.time);
        assert!(picture.time - last <= 60 || picture.keyframe, "after a loss it goes on at a keyframe");
        last = picture.time;
    }
    println!("80 % of the stream's rate: {} tags dropped in {took:?}, largest lag {lag:?}", stats.drops);
}
