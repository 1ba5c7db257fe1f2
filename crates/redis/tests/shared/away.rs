//! A server that is away: at the start, in between, and for long.

use std::time::Duration;

use flowcast_core::{Denial, KeyStore};
use flowcast_redis::{Error, RedisState};
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{RefusalReason, RtmpServerExt};
use kit::{FaultProxy, Session, own_address};

use super::nodes::*;

#[test]
fn a_node_starts_without_redis_and_knows_the_keys_once_it_is_there() {
    if !need(&[Need::Redis]) {
        return;
    }
    let address = own_address();
    let url = format!("redis://alice:canary@{address}");
    let node = Node::with(&url, quick(), looks_often());
    node.waits_until(RedisState::Away);
    let error = node.keys.issue("studio").expect_err("nobody is there");
    assert!(matches!(error, Error::Away { .. }) && error.is_retryable(), "{error}");
    let shown = format!("{error} {error:?} {:?}", node.redis);
    assert!(shown.contains(&address.to_string()) && !shown.contains("canary"), "{shown}");
    assert_eq!((node.ask("key-1"), node.keys.age()), (Err(Denial::Unavailable), None));
    assert_eq!(node.play("studio", None), Err(Denial::Unavailable));
    assert!(!node.keys.wait_until_known(Duration::ZERO));

    // Its user comes from the configuration, so that the first connection finds it.
    let _server = RedisServer::at(address, &["--user", "alice", "on", ">canary", "~fc:*", "+@all"]);
    assert!(node.keys.wait_until_known(PATIENCE) && node.redis.wait_until_up(PATIENCE));
    let key = node.keys.issue("studio").unwrap();
    assert_eq!(node.ask(key.reveal()).map(|grant| grant.name), Ok("studio".into()));
}

#[test]
fn what_is_known_holds_while_redis_is_killed_and_publishers_stay() {
    if !need(&[Need::Redis]) {
        return;
    }
    let mut store = RedisServer::at(own_address(), &["--appendonly", "yes", "--appendfsync", "always"]);
    let (node, strict) = (Node::start(&store.url()), Node::with(&store.url(), quick(), refuses()));
    let key = node.keys.issue("studio").unwrap();
    strict.waits_for(key.reveal(), Ok("studio"));
    let server = strict.engine.rtmp_server("127.0.0.1:0").key_store(strict.keys.clone()).start().unwrap();
    let publish = || Session::plain(ClientRole::Publish, server.address(), &format!("live/{}", key.reveal()));
    let mut publisher = publish();
    assert!(matches!(publisher.go_live(), Ok(true)));

    store.kill();
    node.waits_until(RedisState::Away);
    assert!(matches!(node.keys.issue("door"), Err(Error::Away { .. } | Error::NoAnswer { .. })));
    strict.waits_for(key.reveal(), Err(Denial::Unavailable));
    assert!(matches!(publish().go_live(), Err(_) | Ok(false)));
    assert_eq!(server.stats().refused(RefusalReason::Unavailable), 1);
    assert_eq!(node.ask(key.reveal()).map(|grant| grant.name), Ok("studio".into()), "for an hour");
    assert!(matches!(publisher.read(), Ok(true)) && strict.engine.hub().find("studio").is_some());

    store.restart();
    strict.waits_for(key.reveal(), Ok("studio"));
    assert!(node.redis.wait_until_up(PATIENCE));
    let door = node.keys.issue("door").unwrap();
    strict.waits_for(door.reveal(), Ok("door"));
    assert!(matches!(publisher.read(), Ok(true)) && strict.engine.hub().find("studio").is_some());
}

#[test]
fn a_frozen_server_holds_nobody_up_for_longer_than_was_said() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let options = quick().with(|options| {
        options.call = Duration::from_secs(2);
        options.answer = Duration::from_secs(1);
    });
    let node = Node::with(&store.url(), options, looks_often());
    assert!(node.keys.wait_until_known(PATIENCE));
    let key = node.keys.issue("studio").unwrap();
    store.process().frozen(|| {
        let outcome = node.keys.issue("door");
        assert!(matches!(outcome, Err(Error::Away { .. } | Error::NoAnswer { .. })), "{outcome:?}");
        node.waits_until(RedisState::Away);
        // From memory, as before.
        assert_eq!(
            node.keys.publisher(&key, &asker("192.0.2.9:1")).map(|grant| grant.name),
            Ok("studio".into())
        );
    });
    assert!(node.redis.wait_until_up(PATIENCE));
    // What was asked of the frozen server may have been done once it went on.
    let outcome = node.keys.issue("door");
    assert!(outcome.as_ref().err().is_none_or(|error| error.code() == "KEY_IN_USE"), "{outcome:?}");
    node.keys.issue("window").unwrap();
}

#[test]
fn a_slow_server_is_waited_for_and_a_slower_one_is_not() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let proxy = FaultProxy::start(store.address);
    let options = quick().with(|options| {
        options.connect = Duration::from_secs(20);
        options.answer = Duration::from_secs(10);
        options.call = Duration::from_secs(60);
    });
    let node = Node::with(&format!("redis://{}", proxy.address()), options, looks_often());
    assert!(node.keys.wait_until_known(PATIENCE));
    proxy.delay(Duration::from_millis(500));
    let key = node.keys.issue("studio").expect("each answer takes a second");
    assert_eq!(node.ask(key.reveal()).map(|grant| grant.name), Ok("studio".into()));
    assert!(node.redis.stats().latency >= Duration::from_secs(1), "{:?}", node.redis.stats());

    let hasty = quick().with(|options| options.answer = Duration::from_millis(300));
    let hasty = Node::with(&format!("redis://{}", proxy.address()), hasty, looks_often());
    hasty.waits_until(RedisState::Away);
    assert_eq!(hasty.ask(key.reveal()), Err(Denial::Unavailable));
    proxy.delay(Duration::ZERO);
    hasty.waits_for(key.reveal(), Ok("studio"));
}
