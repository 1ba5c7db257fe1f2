//! A server that is there and cannot do what is asked: flushed, full, a replica, fallen back to an earlier state.

use std::time::Duration;

use flowcast_core::Denial;
use flowcast_redis::RedisState;
use flowcast_rtmp::session::ClientRole;
use flowcast_server::RtmpServerExt;
use kit::{FaultProxy, Session, own_address};

use super::nodes::*;

#[test]
fn a_flushed_server_revokes_nothing_and_gets_its_keys_back() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let (here, there) = (Node::start(&store.url()), Node::start(&store.url()));
    let keys = ["studio", "door", "window"].map(|name| here.keys.issue(name).unwrap());
    here.keys.replace("door", "key-of-door", Duration::from_secs(3600)).unwrap();
    there.waits_for("key-of-door", Ok("door"));
    let server = there.engine.rtmp_server("127.0.0.1:0").key_store(there.keys.clone()).start().unwrap();
    let mut publisher =
        Session::plain(ClientRole::Publish, server.address(), &format!("live/{}", keys[0].reveal()));
    assert!(matches!(publisher.go_live(), Ok(true)));

    let _: () = say(&store, &["FLUSHALL"]);
    assert!(wait_until(PATIENCE, || here
        .keys
        .issue("late")
        .is_err_and(|error| error.code() == "REDIS_EMPTIED")));
    for key in &keys {
        assert!(here.ask(key.reveal()).is_ok() && there.ask(key.reveal()).is_ok(), "known still");
    }
    // One that has just started knows nothing, and lets nobody in: what it says of keys is true.
    let late = Node::start(&store.url());
    assert_eq!(late.ask(keys[0].reveal()), Err(Denial::UnknownKey));
    assert_eq!(here.keys.restore().unwrap(), 3);
    for (key, name) in
        keys.iter().map(|key| key.reveal()).chain(["key-of-door"]).zip(["studio", "door", "window", "door"])
    {
        late.waits_for(key, Ok(name));
        there.waits_for(key, Ok(name));
    }
    assert_eq!(there.keys.restore().unwrap(), 0, "there are keys");
    let later = there.keys.issue("later").expect("it is as before");
    here.waits_for(later.reveal(), Ok("later"));
    assert!(matches!(publisher.read(), Ok(true)) && there.engine.hub().find("studio").is_some());
    assert!(late.keys.remove("studio").unwrap());
    assert!(!matches!(publisher.run_until(|_| false), Ok(true)), "revoked, and taken off");
}

#[test]
fn a_program_may_say_that_lost_keys_are_to_stay_lost() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let node = Node::start(&store.url());
    let key = node.keys.issue("studio").unwrap();
    let _: () = say(&store, &["FLUSHALL"]);
    assert!(wait_until(PATIENCE, || node
        .keys
        .issue("door")
        .is_err_and(|error| error.code() == "REDIS_EMPTIED")));
    node.keys.forget();
    node.waits_for(key.reveal(), Err(Denial::UnknownKey));
    let door = node.keys.issue("door").unwrap();
    assert_eq!(node.keys.names(), ["door"]);
    assert_eq!(node.ask(door.reveal()).map(|grant| grant.name), Ok("door".into()));
}

#[test]
fn a_full_server_revokes_and_answers_and_issues_when_it_can_again() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let (here, there) = (Node::start(&store.url()), Node::start(&store.url()));
    let [studio, door] = ["studio", "door"].map(|name| here.keys.issue(name).unwrap());
    there.waits_for(door.reveal(), Ok("door"));
    let _: () = say(&store, &["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(code(here.keys.issue("window")), "REDIS_FULL");
    assert_eq!(here.redis.stats().state, RedisState::Full);
    assert_eq!(code(here.keys.replace("door", "key-of-door", Duration::ZERO)), "REDIS_FULL");
    assert!(here.keys.remove("studio").expect("it takes no memory"));
    there.waits_for(studio.reveal(), Err(Denial::UnknownKey));
    assert!(there.ask(door.reveal()).is_ok());
    let _: () = say(&store, &["CONFIG", "SET", "maxmemory", "0"]);
    here.waits_until(RedisState::Up);
    let window = here.keys.issue("window").unwrap();
    there.waits_for(window.reveal(), Ok("window"));
}

#[test]
fn a_replica_answers_and_takes_changes_once_it_is_promoted() {
    if !need(&[Need::Redis]) {
        return;
    }
    let (main, replica) = (RedisServer::start(), RedisServer::start());
    let (host, port) = (main.address.ip().to_string(), main.address.port().to_string());
    let _: () = say(&replica, &["REPLICAOF", &host, &port]);
    let (here, there) = (Node::start(&main.url()), Node::start(&replica.url()));
    let key = here.keys.issue("studio").unwrap();
    there.waits_for(key.reveal(), Ok("studio"));
    assert_eq!(code(there.keys.issue("door")), "REDIS_READ_ONLY");
    assert_eq!(there.redis.stats().state, RedisState::ReadOnly);
    assert_eq!(here.keys.issue("window").map(drop).map_err(|error| error.code()), Ok(()));
    assert!(wait_until(PATIENCE, || there.keys.names() == ["studio", "window"]), "it is still looked at");
    let _: () = say(&replica, &["REPLICAOF", "NO", "ONE"]);
    there.waits_until(RedisState::Up);
    there.keys.issue("door").expect("it takes changes now");
}

/// A server that was killed comes back with what it saved last, and goes on from there: its changes have the numbers of those it forgot.
#[test]
fn a_server_that_fell_back_is_read_anew_and_nobody_is_taken_off() {
    if !need(&[Need::Redis]) {
        return;
    }
    let mut store = RedisServer::at(own_address(), &["--dbfilename", "kept.rdb"]);
    let proxy = FaultProxy::start(store.address);
    let node = Node::start(&format!("redis://{}", proxy.address()));
    let saved = node.keys.issue("saved").unwrap();
    let _: () = say(&store, &["SAVE"]);
    let forgotten = node.keys.issue("forgotten").unwrap();
    assert!(wait_until(PATIENCE, || node.keys.names() == ["forgotten", "saved"]));
    let server = node.engine.rtmp_server("127.0.0.1:0").key_store(node.keys.clone()).start().unwrap();
    let mut publisher =
        Session::plain(ClientRole::Publish, server.address(), &format!("live/{}", forgotten.reveal()));
    assert!(matches!(publisher.go_live(), Ok(true)));

    proxy.refuse(true);
    proxy.reset();
    store.restart();
    let elsewhere = Node::start(&store.url());
    let instead = elsewhere.keys.issue("instead").unwrap();
    proxy.refuse(false);
    node.waits_for(instead.reveal(), Ok("instead"));
    // What was forgotten goes as soon as everything is read.
    node.waits_for(forgotten.reveal(), Err(Denial::UnknownKey));
    assert!(node.ask(saved.reveal()).is_ok());
    assert!(matches!(publisher.read(), Ok(true)) && node.engine.hub().find("forgotten").is_some());
}

/// The node itself made the change that the server lost, and had not looked since.
#[test]
fn what_a_node_changed_itself_is_lost_with_the_servers_state() {
    if !need(&[Need::Redis]) {
        return;
    }
    let mut store = RedisServer::at(own_address(), &["--dbfilename", "kept.rdb"]);
    let proxy = FaultProxy::start(store.address);
    let seldom = looks_often().with(|options| options.refresh = Duration::from_secs(3));
    let node = Node::with(&format!("redis://{}", proxy.address()), quick(), seldom);
    assert!(node.keys.wait_until_known(PATIENCE));
    node.keys.issue("saved").unwrap();
    let _: () = say(&store, &["SAVE"]);
    // Just after a look, so that there is none between the change and the end of the connection.
    assert!(wait_until(PATIENCE, || node.keys.age().is_some_and(|age| age < Duration::from_millis(500))));
    let forgotten = node.keys.issue("forgotten").unwrap();
    proxy.refuse(true);
    proxy.reset();
    assert_eq!(node.ask(forgotten.reveal()).map(|grant| grant.name), Ok("forgotten".into()));
    store.restart();
    proxy.refuse(false);
    node.waits_for(forgotten.reveal(), Err(Denial::UnknownKey));
    assert_eq!(node.keys.names(), ["saved"]);
}

/// More changes than are remembered: what is missing then was revoked.
#[test]
fn a_node_that_missed_too_much_reads_everything_and_takes_off_what_is_gone() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let proxy = FaultProxy::start(store.address);
    let node = Node::start(&format!("redis://{}", proxy.address()));
    let elsewhere = Node::start(&store.url());
    let [studio, door] = ["studio", "door"].map(|name| node.keys.issue(name).unwrap());
    let server = node.engine.rtmp_server("127.0.0.1:0").key_store(node.keys.clone()).start().unwrap();
    let publish = |key: &str| Session::plain(ClientRole::Publish, server.address(), &format!("live/{key}"));
    let (mut revoked, mut stays) = (publish(studio.reveal()), publish(door.reveal()));
    assert!(matches!(revoked.go_live(), Ok(true)) && matches!(stays.go_live(), Ok(true)));

    proxy.refuse(true);
    proxy.reset();
    assert!(elsewhere.keys.remove("studio").unwrap());
    let version: String = say(&store, &["HGET", "fc:{flowcast}:keys:at", "version"]);
    let _: () = say(&store, &["HSET", "fc:{flowcast}:keys:at", "floor", &version]);
    let _: () = say(&store, &["ZREMRANGEBYSCORE", "fc:{flowcast}:keys:changed", "-inf", &version]);
    proxy.refuse(false);
    assert!(!matches!(revoked.run_until(|_| false), Ok(true)), "it is closed");
    node.waits_for(studio.reveal(), Err(Denial::UnknownKey));
    assert!(matches!(stays.read(), Ok(true)) && node.ask(door.reveal()).is_ok());
}

/// Pages of changes, and of what there is.
#[test]
fn thousands_of_keys_are_known_everywhere() {
    if !need(&[Need::Redis]) {
        return;
    }
    const MANY: usize = 2500;
    let store = RedisServer::start();
    let (here, there) = (Node::start(&store.url()), Node::start(&store.url()));
    for number in 0..MANY {
        here.keys.add(&format!("name-{number}"), format!("key-{number}")).unwrap();
    }
    let last = format!("key-{}", MANY - 1);
    there.waits_for(&last, Ok(&format!("name-{}", MANY - 1)));
    let late = Node::start(&store.url());
    assert_eq!((there.keys.names().len(), late.keys.names().len()), (MANY, MANY));
    assert!((0..MANY).all(|number| late.ask(&format!("key-{number}")).is_ok()));
    let bounded = Node::with(&store.url(), quick(), looks_often().with(|options| options.most = 1000));
    bounded.waits_until(RedisState::Up);
    assert_eq!(code(bounded.keys.issue("more")), "REDIS_ANSWER");
    assert_eq!(bounded.ask(&last), Err(Denial::Unavailable));
}
