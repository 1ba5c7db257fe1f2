//! One stream after the other on the same connection.

use std::sync::Arc;

use flowcast_core::{Config, Engine, KeyRules};
use flowcast_rtmp::amf0::Value;
use flowcast_server::{Departure, RtmpServerExt, ServerEventKind};

use crate::raw::Raw;
use crate::support::{PATIENCE, Studio, wait_until};

const HEADER: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68];

fn keyframe(fill: u8) -> Vec<u8> {
    [&[0x17, 1, 0, 0, 0, 0, 0, 0, 4], [fill; 4].as_slice()].concat()
}

#[test]
fn a_publisher_publishes_again_with_the_same_and_with_another_key() {
    let studio = Studio::start(|server| server);
    for name in ["studio", "other"] {
        studio.engine.keys().add(name, format!("key-of-{name}")).unwrap();
    }
    let events = studio.server.events();
    let mut raw = Raw::connect(studio.server.address(), "live");
    let names = [
        "studio", "studio", "other", "studio", "other", "other", "studio", "other", "studio", "studio",
        "other",
    ];
    for (round, name) in names.into_iter().enumerate() {
        let key = format!("key-of-{name}");
        // Some go on with the message stream they have.
        if round == 0 || round % 4 != 3 {
            raw.say("releaseStream", vec![Value::from(key.as_str())], 0);
            raw.say("FCPublish", vec![Value::from(key.as_str())], 0);
            raw.create();
        }
        assert_eq!(raw.ask("publish", &key), "NetStream.Publish.Start", "{round}");
        raw.picture(HEADER);
        let picture = keyframe(round as u8);
        raw.picture(&picture);
        assert!(wait_until(|| studio.has(name)));
        let mut player = Raw::connect(studio.server.address(), "live");
        player.create();
        assert_eq!(player.ask("play", name), "NetStream.Play.Start");
        player.wait_picture(&picture);
        raw.say("FCUnpublish", vec![Value::from(key.as_str())], 0);
        match round % 2 {
            0 => raw.say("closeStream", Vec::new(), raw.id),
            _ => raw.say("deleteStream", vec![Value::from(f64::from(raw.id))], 0),
        }
    }
    let mut told = Vec::new();
    assert!(wait_until(|| {
        told.extend(std::iter::from_fn(|| events.try_next()).filter_map(|event| match event.kind {
            ServerEventKind::PublisherJoined { name, .. } => Some((true, name)),
            ServerEventKind::PublisherLeft { name, why: Departure::SaidGoodbye, .. } => Some((false, name)),
            ServerEventKind::PublisherLeft { why, .. } => panic!("{why:?}"),
            _ => None,
        }));
        told.len() == 2 * names.len()
    }));
    let wanted = names.iter().flat_map(|name| [(true, Arc::from(*name)), (false, Arc::from(*name))]);
    assert_eq!(told, wanted.collect::<Vec<(bool, Arc<str>)>>());
    drop(raw);
    assert!(wait_until(|| studio.stats().connections == 0), "{:?}", studio.stats());
    assert_eq!((studio.stats().protocol_errors, studio.stats().publishers), (0, 0));
}

#[test]
fn an_owner_who_may_have_one_stream_begins_it_again_without_waiting() {
    let mut config = Config::default();
    config.max_streams_per_owner = 1;
    let engine = Engine::new(config).unwrap();
    engine.keys().add_with("studio", "good-key", KeyRules::new().owner("alice")).unwrap();
    let server = engine.rtmp_server("127.0.0.1:0").start().unwrap();
    let mut raw = Raw::connect(server.address(), "live");
    for round in 0..50 {
        raw.create();
        assert_eq!(raw.ask("publish", "good-key"), "NetStream.Publish.Start", "{round}");
        raw.say("deleteStream", vec![Value::from(f64::from(raw.id))], 0);
    }
}

#[test]
fn a_wrong_key_the_second_time_is_refused_with_a_status() {
    let studio = Studio::start(|server| server);
    studio.engine.keys().add("studio", "good-key").unwrap();
    let mut raw = Raw::connect(studio.server.address(), "live");
    raw.create();
    assert_eq!(raw.ask("publish", "good-key"), "NetStream.Publish.Start");
    raw.say("closeStream", Vec::new(), raw.id);
    raw.create();
    assert_eq!(raw.ask("publish", "wrong-key"), "NetStream.Publish.BadName");
    raw.end().expect("closed in an orderly way");
    assert!(wait_until(|| studio.engine.hub().find("studio").is_none()), "the name is free");
}

#[test]
fn a_player_plays_something_else_and_then_publishes() {
    let studio = Studio::start(|server| server);
    let mut publishers = ["one", "two"].map(|name| {
        studio.engine.keys().add(name, format!("key-of-{name}")).unwrap();
        let mut raw = Raw::connect(studio.server.address(), "live");
        raw.create();
        assert_eq!(raw.ask("publish", &format!("key-of-{name}")), "NetStream.Publish.Start");
        raw.picture(HEADER);
        raw
    });
    for (fill, raw) in publishers.iter_mut().enumerate() {
        raw.picture(&keyframe(fill as u8));
    }
    let mut raw = Raw::connect(studio.server.address(), "live");
    raw.create();
    for round in 0..6 {
        let which = round % 2;
        assert_eq!(raw.ask("play", ["one", "two"][which]), "NetStream.Play.Start", "{round}");
        raw.wait_picture(&keyframe(which as u8));
        // Every other time it does not end the one before.
        if round % 4 > 1 {
            raw.say("closeStream", Vec::new(), raw.id);
        }
    }
    assert_eq!(raw.ask("play", "nothing"), "NetStream.Play.StreamNotFound");
    raw.end().expect("closed in an orderly way");

    let mut raw = Raw::connect(studio.server.address(), "live");
    raw.create();
    assert_eq!(raw.ask("play", "one"), "NetStream.Play.Start");
    raw.say("deleteStream", vec![Value::from(f64::from(raw.id))], 0);
    raw.create();
    studio.engine.keys().add("three", "key-of-three").unwrap();
    assert_eq!(raw.ask("publish", "key-of-three"), "NetStream.Publish.Start");
    assert!(studio.has("three"));
}

#[test]
fn who_ended_its_stream_and_stays_is_sent_away_and_a_server_stops_without_it() {
    let studio = Studio::start(|server| server);
    studio.engine.keys().add("studio", "good-key").unwrap();
    let mut raws = [(); 2].map(|()| {
        let mut raw = Raw::connect(studio.server.address(), "live");
        raw.create();
        assert_eq!(raw.ask("publish", "good-key"), "NetStream.Publish.Start");
        raw.say("closeStream", Vec::new(), raw.id);
        assert_eq!(raw.status("NetStream.Unpublish"), "NetStream.Unpublish.Success");
        raw
    });
    raws[0].end().expect("closed in an orderly way");
    let stats = studio.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0));
    assert_eq!(studio.server.stop(PATIENCE).abandoned, 0);
}
