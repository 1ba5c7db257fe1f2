//! How much of everything.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use flowcast_core::BitRate;
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{Error, RefusalReason, RtmpServerExt};

use crate::raw::Raw;
use crate::support::{Client, Studio, connect, header, picture, wait_until};

fn idle(studio: &Studio, from: Ipv4Addr) -> Client {
    let socket = connect(from, studio.server.address()).unwrap();
    Client::new(socket, ClientRole::Play, "rtmp://127.0.0.1/live/x")
}

#[test]
fn an_address_has_few_places_in_the_lobby_and_those_on_the_air_take_none() {
    let studio = Studio::start(|server| {
        server.options(|options| (options.lobby_per_address, options.crowd_spares_loopback) = (2, false))
    });
    studio.engine.keys().add("studio", "good-key").unwrap();
    let _publisher = studio.on_air("good-key");
    let mut player = studio.player("studio");
    player.go_live();
    let crowd = [idle(&studio, Ipv4Addr::LOCALHOST), idle(&studio, Ipv4Addr::LOCALHOST)];
    assert!(wait_until(|| studio.stats().connections == 4));
    idle(&studio, Ipv4Addr::LOCALHOST).wait_closed();
    assert_eq!(studio.stats().refused(RefusalReason::Crowd), 1);
    let from_elsewhere = studio.client_from(Ipv4Addr::new(127, 0, 0, 5), ClientRole::Play, "live", "studio");
    { from_elsewhere }.go_live();
    drop(crowd);
    assert!(wait_until(|| studio.stats().connections <= 3));
    studio.player("studio").go_live();
}

#[test]
fn who_comes_back_to_the_lobby_finds_no_more_places_than_who_is_new() {
    let studio = Studio::start(|server| {
        server.options(|options| (options.lobby_per_address, options.crowd_spares_loopback) = (2, false))
    });
    studio.engine.keys().add("studio", "good-key").unwrap();
    let mut publisher = Raw::connect(studio.server.address(), "live");
    publisher.create();
    assert_eq!(publisher.ask("publish", "good-key"), "NetStream.Publish.Start");
    let crowd = [idle(&studio, Ipv4Addr::LOCALHOST), idle(&studio, Ipv4Addr::LOCALHOST)];
    assert!(wait_until(|| studio.stats().connections == 3));
    publisher.say("closeStream", Vec::new(), publisher.id);
    publisher.end().expect("closed in an orderly way, not reset");
    assert_eq!(studio.stats().refused(RefusalReason::Crowd), 1);
    drop(crowd);
}

#[test]
fn connections_have_a_limit_and_are_closed_beyond_it() {
    let studio = Studio::start(|server| server.options(|options| options.max_connections = 3));
    let all: Vec<_> = (0..3).map(|_| idle(&studio, Ipv4Addr::LOCALHOST)).collect();
    assert!(wait_until(|| studio.stats().connections == 3));
    idle(&studio, Ipv4Addr::LOCALHOST).wait_closed();
    let stats = studio.stats();
    assert_eq!((stats.refused(RefusalReason::Connections), stats.refused_full, stats.accepted), (1, 1, 3));
    drop(all);
    assert!(wait_until(|| studio.stats().connections == 0));
}

#[test]
fn a_crowd_of_the_silent_keeps_nobody_out_and_who_is_on_the_air_stays() {
    let studio = Studio::start(|server| {
        server.options(|options| {
            options.max_connections = 5;
            (options.handshake, options.command) = (Duration::from_secs(600), Duration::from_secs(600));
        })
    });
    studio.engine.keys().add("studio", "good-key").unwrap();
    let mut publisher = studio.on_air("good-key");
    let mut player = studio.player("studio");
    player.go_live();
    let mut silent: Vec<_> = (0..3).map(|_| idle(&studio, Ipv4Addr::LOCALHOST)).collect();
    assert!(wait_until(|| studio.stats().connections == 5));
    // As soon as the silent have been there for a second.
    let mut late = studio.player("studio");
    assert!(wait_until(|| {
        let is_in = matches!(late.run_until(|client| client.session.is_live()), Ok(true));
        if !is_in {
            late = studio.player("studio");
        }
        is_in
    }));
    silent.remove(0).wait_closed();
    publisher.send(&[header(), picture(0, true, 1, 100)]);
    for player in [&mut player, &mut late] {
        assert!(matches!(player.run_until(|player| !player.pictures().is_empty()), Ok(true)));
    }
    let stats = studio.stats();
    assert_eq!((stats.publishers, stats.players), (1, 2), "{stats:?}");
    assert!(stats.refused(RefusalReason::Connections) >= 1, "{stats:?}");
}

/// A picture of which all but the end has been sent, and the end.
fn begin_picture(publisher: &mut Client, millis: i64, size: usize) -> Vec<u8> {
    publisher.session.send_tag(&picture(millis, true, 1, size));
    let mut bytes = publisher.take_wire();
    let end = bytes.split_off(bytes.len() - 10_000);
    publisher.socket.write_all(&bytes).unwrap();
    end
}

#[test]
fn memory_for_unfinished_messages_is_shared_and_its_hogs_are_ended() {
    let studio = Studio::start(|server| {
        server.options(|options| (options.assembly, options.max_connections) = (1 << 20, 4))
    });
    for name in ["a", "b", "c"] {
        studio.engine.keys().add(name, format!("{name}-key")).unwrap();
    }
    let [mut first, mut second, mut small] = ["a-key", "b-key", "c-key"].map(|key| studio.on_air(key));
    [&mut first, &mut small].into_iter().for_each(|publisher| publisher.send(&[header()]));
    let end = begin_picture(&mut first, 0, 800_000);
    assert!(wait_until(|| studio.stats().assembly_bytes > 700_000), "{:?}", studio.stats());
    second.session.send_tag(&picture(0, true, 1, 800_000));
    let flood = second.take_wire();
    // It is closed before all of it is sent.
    let _ = second.socket.write_all(&flood);
    second.wait_closed();
    assert_eq!(studio.stats().refused(RefusalReason::Memory), 1, "{:?}", studio.stats());
    // Its even share everybody has, however full it is.
    let rest = begin_picture(&mut small, 0, 250_000);
    small.socket.write_all(&rest).unwrap();
    first.socket.write_all(&end).unwrap();
    for name in ["a", "c"] {
        let stream = studio.engine.hub().find(name).unwrap();
        assert!(wait_until(|| stream.stats().video.is_some()), "{name}: {}", stream.stats());
    }
    assert!(wait_until(|| studio.stats().assembly_bytes == 0), "{:?}", studio.stats());
}

#[test]
fn who_sends_too_much_is_held_back_then_disconnected_and_others_are_not() {
    const MOST: BitRate = BitRate::from_kbps(800);
    let studio = Studio::start(|server| server.options(|options| options.publisher_bit_rate = Some(MOST)));
    studio.engine.keys().add("modest", "modest-key").unwrap();
    studio.engine.keys().add("flood", "flood-key").unwrap();
    let mut modest = studio.on_air("modest-key");
    let mut flood = studio.on_air("flood-key");
    let began = Instant::now();
    flood.socket.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
    let junk: Vec<u8> = {
        flood.session.send_tag(&header());
        (0..400).for_each(|n| flood.session.send_tag(&picture(n * 40, true, 1, 60_000)));
        flood.take_wire()
    };
    let (mut sent, mut millis) = (0, 0);
    let ended = wait_until(|| {
        sent += flood.socket.write(&junk[sent..]).unwrap_or(0);
        millis += 40;
        modest.send(&[picture(millis, true, 1, 400)]);
        studio.stats().too_fast == 1
    });
    let (seconds, stats) = (began.elapsed().as_secs_f64(), studio.stats());
    assert!(ended && sent < junk.len(), "{sent} of {} bytes, {stats:?}", junk.len());
    let most = 2.0 * f64::from(256u32 << 10) + MOST.kbps() * 125.0 * (seconds + 1.0) + millis as f64 * 20.0;
    assert!((stats.bytes_received as f64) < most, "{} bytes, at most {most}", stats.bytes_received);
    assert!(wait_until(|| studio.stats().publishers == 1) && studio.has("modest"));
}

/// The first picture that a player gets who joins after a keyframe and another picture.
fn first_picture(gop_cache: bool) -> u8 {
    let studio = Studio::start(|server| server.options(|options| options.gop_cache = gop_cache));
    studio.engine.keys().add("studio", "good-key").unwrap();
    let mut publisher = studio.on_air("good-key");
    publisher.send(&[header(), picture(0, true, 1, 100), picture(40, false, 2, 100)]);
    let stream = studio.engine.hub().find("studio").unwrap();
    let is_due =
        || stream.stats().media_time.as_millis() == 40 && (gop_cache || stream.stats().bytes_held == 0);
    assert!(wait_until(is_due), "{}", stream.stats());
    let mut player = studio.player("studio");
    player.go_live();
    if gop_cache {
        assert!(matches!(player.run_until(|player| player.pictures().len() == 2), Ok(true)));
    }
    publisher.send(&[picture(80, false, 3, 100), picture(120, true, 4, 100), picture(160, false, 5, 100)]);
    let last = player.run_until(|player| player.pictures().iter().any(|body| body.ends_with(&[5])));
    assert!(matches!(last, Ok(true)), "{last:?}");
    *player.pictures().first().unwrap().last().unwrap()
}

#[test]
fn without_a_gop_cache_players_begin_at_the_next_keyframe() {
    assert_eq!((first_picture(true), first_picture(false)), (1, 4));
}

#[test]
fn chunks_have_the_size_that_was_asked_for() {
    let studio = Studio::start(|server| server.options(|options| options.chunk_size = 200));
    studio.engine.keys().add("studio", "good-key").unwrap();
    let mut publisher = studio.on_air("good-key");
    publisher.send(&[header(), picture(0, true, 1, 5000), picture(40, false, 2, 5000)]);
    let mut player = studio.player("studio");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
    let whole = wait_until(|| {
        let wire = player.take_wire();
        player.socket.write_all(&wire).unwrap();
        let count = player.socket.read(&mut buffer).unwrap_or(0);
        bytes.extend_from_slice(&buffer[..count]);
        player.session.handle_input(Instant::now(), &buffer[..count]).unwrap();
        player.events.extend(std::iter::from_fn(|| player.session.poll_event()));
        player.pictures().len() == 2
    });
    assert!(whole && player.pictures().iter().all(|body| body.len() == 5005));
    // No 201 bytes of a picture without a chunk header between them.
    assert!(bytes.windows(200).any(|run| run == [2; 200]) && !bytes.windows(201).any(|run| run == [2; 201]));
}

#[test]
fn settings_that_cannot_work_are_refused_at_the_start() {
    let studio = Studio::start(|server| server);
    let refused =
        studio.engine.rtmp_server("127.0.0.1:0").options(|options| options.max_connections = 0).start();
    assert!(matches!(refused, Err(Error::Options { .. })), "{refused:?}");
}
