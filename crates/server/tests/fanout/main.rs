//! Many players of one publisher, on real sockets: each is sent what was published, however it is put together.

#[path = "../sessions/peer.rs"]
#[allow(dead_code, reason = "shared with the tests of sessions")]
mod peer;

use std::time::Duration;

use bytes::Bytes;
use flowcast_core::{Config, Engine};
use flowcast_rtmp::flv::{Tag, TagKind};
use flowcast_rtmp::session::ClientEvent;
use flowcast_rtmp::time::MediaTime;
use flowcast_server::{RtmpServer, RtmpServerExt};
use peer::{Client, wait_until};

/// Pictures between two keyframes.
const GOP: i64 = 10;

/// The sequence headers, and then picture `number` with the sound beside it; no two bodies are alike.
fn headers() -> Vec<Tag> {
    let header =
        |kind, bytes: &'static [u8]| Tag::from_wire(kind, MediaTime::ZERO, Bytes::from_static(bytes));
    const AVCC: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 31, 0xFF, 0xE1, 0, 1, 0x67, 1, 0, 1, 0x68];
    vec![header(TagKind::Video, AVCC), header(TagKind::Audio, &[0xAF, 0, 0x11, 0x90])]
}

fn frame(number: i64) -> [Tag; 2] {
    let body = |head: &[u8], len: usize| {
        let filler = (0..len).map(|n| (n as i64 * 31 + number) as u8);
        Bytes::from(head.iter().copied().chain(number.to_be_bytes()).chain(filler).collect::<Vec<_>>())
    };
    let time = MediaTime::from_millis(5000 + number * 40);
    // Keyframes are longer than a chunk.
    let (head, len) = if number % GOP == 0 { (0x17, 90_000) } else { (0x27, 3000) };
    let picture = Tag::from_wire(TagKind::Video, time, body(&[head, 1, 0, 0, 0], len));
    [picture, Tag::from_wire(TagKind::Audio, time, body(&[0xAF, 1], 200))]
}

fn start(merge: Duration, players_per_thread: usize) -> (Engine, RtmpServer) {
    let mut config = Config::default();
    config.players_per_thread = players_per_thread;
    let engine = Engine::new(config).expect("usable settings");
    engine.keys().add("demo", "demo-key").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").options(|options| options.merge = merge).start();
    (engine, server.expect("a free port"))
}

/// Players join between any two pictures; all get everything from their keyframe on.
fn plays_to_all(merge: Duration, players_per_thread: usize) {
    const PICTURES: i64 = 60;
    let (engine, server) = start(merge, players_per_thread);
    let mut publisher = Client::publisher(server.address(), "demo-key");
    publisher.publish(&headers());
    assert!(wait_until(|| engine.hub().find("demo").is_some()), "{:?}", server.stats());
    let mut players = Vec::new();
    for number in 0..PICTURES {
        publisher.publish(&frame(number));
        if number % 3 == 1 {
            players.push(Client::player(server.address(), "demo"));
        }
        // Those that have joined keep reading.
        players.iter_mut().for_each(|player| assert!(player.read().expect("proper chunks")));
    }
    let last = frame(PICTURES - 1)[1].body.to_bytes();
    for (index, player) in players.iter_mut().enumerate() {
        let complete = player.run_until(|player| {
            player.tags().last().is_some_and(|tag| tag.is_audio() && tag.body.to_bytes() == last)
        });
        assert!(matches!(complete, Ok(true)), "player {index}: {complete:?}");
        let got: Vec<_> = player.tags().filter(|tag| !tag.is_sequence_header()).cloned().collect();
        let first = got.first().expect("it is complete");
        assert!(
            first.is_keyframe() && first.timestamp == MediaTime::ZERO,
            "player {index} begins with {first:?}"
        );
        let from = PICTURES - got.len() as i64 / 2;
        let zero = frame(from)[0].timestamp;
        let expected = (from..PICTURES).flat_map(frame);
        for (got, expected) in got.iter().zip(expected) {
            assert_eq!((got.kind, got.body.to_bytes()), (expected.kind, expected.body.to_bytes()));
            assert_eq!(got.timestamp.as_millis(), expected.timestamp.millis_since(zero), "player {index}");
        }
    }
    let stream = engine.hub().find("demo").expect("on the air");
    let stats = stream.stats();
    assert_eq!((stats.drops, server.stats().protocol_errors), (0, 0), "{stats}");
    assert!(wait_until(|| stream.stats().outputs.len() == players.len()), "{}", stream.stats());
    let sent = server.stats().bytes_sent;
    assert!(wait_until(|| stream.stats().bytes_sent == sent), "{} of {sent}", stream.stats().bytes_sent);

    // All are told of the end, wherever they are served.
    publisher.session.finish();
    publisher.send().expect("an open connection");
    for player in &mut players {
        player.wait_closed();
        let last = player.events.last();
        let told = |event: &ClientEvent| matches!(event, ClientEvent::Closed { .. });
        assert!(last.is_some_and(told), "{last:?}");
    }
    assert!(wait_until(|| stream.has_ended()) && stream.stats().bytes_sent >= sent, "{}", stream.stats());
    assert!(wait_until(|| server.stats().players == 0), "{:?}", server.stats());
}

#[test]
fn players_join_at_any_time_and_are_served_with_ticks() {
    plays_to_all(Duration::from_millis(50), 400);
}

#[test]
fn players_join_at_any_time_and_are_served_at_once() {
    plays_to_all(Duration::ZERO, 400);
}

#[test]
fn players_are_spread_over_threads_and_served_with_ticks() {
    plays_to_all(Duration::from_millis(50), 3);
}

#[test]
fn players_are_spread_over_threads_and_served_at_once() {
    plays_to_all(Duration::ZERO, 3);
}

#[test]
fn players_of_a_branch_are_removed_and_stopped_like_others() {
    let (engine, server) = start(Duration::from_millis(20), 1);
    let mut publisher = Client::publisher(server.address(), "demo-key");
    publisher.publish(&headers());
    publisher.publish(&frame(0));
    assert!(wait_until(|| engine.hub().find("demo").is_some()), "{:?}", server.stats());
    let stream = engine.hub().find("demo").expect("on the air");
    let mut players: Vec<_> = (0..4).map(|_| Client::player(server.address(), "demo")).collect();
    players.iter_mut().for_each(|player| player.wait_pictures(1));
    assert!(wait_until(|| stream.stats().outputs.len() == 4), "{}", stream.stats());
    let last = stream.stats().outputs.iter().map(|output| output.id).max().expect("there are four");
    stream.remove_output(last).expect("it is on the air");
    assert!(wait_until(|| server.stats().players == 3), "{:?}", server.stats());
    let report = engine.stop_all(&[stream], Duration::from_secs(5));
    assert_eq!((report.stopped, report.abandoned), (1, 0));
    assert!(wait_until(|| server.stats().players == 0), "{:?}", server.stats());
    players.iter_mut().for_each(|player| player.wait_closed());
}

/// A publisher whose packets wake nobody is read all the same, whatever it sends at once.
#[test]
fn a_publisher_that_bursts_is_taken_whole() {
    let (engine, server) = start(Duration::from_millis(100), 400);
    let mut publisher = Client::publisher(server.address(), "demo-key");
    publisher.publish(&headers());
    publisher.publish(&frame(0));
    assert!(wait_until(|| engine.hub().find("demo").is_some()), "{:?}", server.stats());
    let mut player = Client::player(server.address(), "demo");
    player.wait_pictures(1);
    // Much more than a kernel buffers in one tick, at once, though not much time.
    let burst = |number: i64| Tag {
        timestamp: MediaTime::from_millis(5040 + number * 10),
        ..frame(number * GOP)[0].clone()
    };
    publisher.publish(&(0..100).map(burst).collect::<Vec<_>>());
    player.wait_pictures(101);
    // And quiet again: one picture is not held up until more comes.
    publisher.publish(&[burst(100)]);
    player.wait_pictures(102);
    let stats = engine.hub().find("demo").expect("on the air").stats();
    assert_eq!(stats.drops, 0, "{stats}");
}
