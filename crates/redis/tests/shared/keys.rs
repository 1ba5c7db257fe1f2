//! Keys that are issued on one node and hold on the others.

use std::time::{Duration, SystemTime};

use flowcast_core::{Denial, KeyRules, Play};
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{RefusalReason, RtmpServerExt};
use kit::Session;

use super::nodes::*;

#[test]
fn a_key_and_its_rules_hold_on_all_nodes() {
    if !need(&[Need::Redis]) {
        return;
    }
    let server = RedisServer::start();
    let (here, there) = (Node::start(&server.url()), Node::start(&server.url()));
    assert_eq!(there.ask("canary-key"), Err(Denial::UnknownKey));
    let rules = KeyRules::new()
        .owner("alice")
        .expires_in(Duration::from_secs(3600))
        .publish_from(["192.0.2.0/24".parse().unwrap()])
        .play(Play::Token("canary-token".into()));
    here.keys.add_with("studio", "canary-key", rules.clone()).unwrap();
    let grant = here.ask("canary-key").expect("known here at once");
    assert_eq!((grant.name.as_str(), grant.owner.as_deref()), ("studio", Some("alice")));
    let (until, expires) = (grant.until.unwrap(), rules.expires.unwrap());
    assert!(until <= expires && expires.duration_since(until).unwrap() < Duration::from_millis(1));
    there.waits_for("canary-key", Ok("studio"));
    assert_eq!(there.ask("canary-key"), Ok(grant));
    assert_eq!(there.ask_from("canary-key", "198.51.100.1:1"), Err(Denial::Address));
    assert_eq!(there.play("studio", Some("canary-token")), Ok(()));
    assert_eq!(there.play("studio", Some("other-token")), Err(Denial::WrongToken));
    assert_eq!((there.play("studio", None), there.play("nobodys", None)), (Err(Denial::NoToken), Ok(())));
    there.keys.set_play("studio", &Play::Nobody).unwrap();
    assert_eq!(there.play("studio", Some("canary-token")), Err(Denial::NotPlayable));
    assert!(wait_until(PATIENCE, || here.play("studio", Some("canary-token")) == Err(Denial::NotPlayable)));
    assert_eq!(there.keys.names(), ["studio"]);
    // What is kept shows no secret.
    let shown = format!("{:?} {:?}", here.keys, here.redis);
    let kept: Vec<String> = say(&server, &["HVALS", "fc:{flowcast}:keys"]);
    assert_eq!(kept.len(), 1);
    assert!(!kept[0].contains("canary") && !shown.contains("canary"), "{kept:?} {shown}");

    assert!(there.keys.remove("studio").unwrap());
    assert!(!there.keys.remove("studio").unwrap());
    assert_eq!(there.ask("canary-key"), Err(Denial::UnknownKey));
    here.waits_for("canary-key", Err(Denial::UnknownKey));
    assert_eq!(here.play("studio", None), Ok(()), "a name without a key");
}

#[test]
fn doubles_are_refused_wherever_the_other_is() {
    if !need(&[Need::Redis]) {
        return;
    }
    let server = RedisServer::start();
    let (here, there) = (Node::start(&server.url()), Node::start(&server.url()));
    here.keys.add("studio", "key-1").unwrap();
    assert_eq!(code(there.keys.add("studio", "key-2")), "KEY_IN_USE");
    assert_eq!(code(there.keys.add("door", "key-1")), "KEY_IN_USE");
    here.keys.add("studio", "key-1").expect("the same again: an answer may have been lost");
    for (name, key) in [("", "good-key"), ("../x", "good-key"), ("c", "a/b/c"), ("c", "abc")] {
        let error = there.keys.add(name, key).expect_err("refused");
        assert_eq!(error.code(), "KEY_INVALID", "{error}");
    }
    assert_eq!(code(there.keys.replace("nobodys", "key-3", Duration::ZERO)), "KEY_UNKNOWN");
    there.keys.replace("studio", "key-2", Duration::from_secs(3600)).unwrap();
    there.keys.replace("studio", "key-3", Duration::ZERO).unwrap();
    here.waits_for("key-3", Ok("studio"));
    assert_eq!(here.ask("key-1").map(|grant| grant.name), Ok("studio".into()), "as long as was said");
    assert_eq!(here.ask("key-2"), Err(Denial::UnknownKey));
    assert_eq!(code(here.keys.add("door", "key-1")), "KEY_IN_USE");
    here.keys.add("door", "key-2").expect("a key that is over is free");
    // A key that has ended, and one that is over, are in nobody's way.
    let over = KeyRules::new().expires_at(SystemTime::now());
    here.keys.add_with("late", "key-4", over).unwrap();
    assert_eq!(here.ask("key-4"), Err(Denial::Expired));
    there.keys.add("late", "key-5").unwrap();
    there.keys.add("other", "key-4").unwrap();
    here.waits_for("key-4", Ok("other"));
}

#[test]
fn two_nodes_that_want_the_same_get_it_once() {
    if !need(&[Need::Redis]) {
        return;
    }
    let server = RedisServer::start();
    let nodes = [(); 4].map(|()| Node::start(&server.url()));
    for round in 0..20 {
        let name = format!("name-{round}");
        let issued = std::thread::scope(|scope| {
            let issue = nodes.each_ref().map(|node| scope.spawn(|| node.keys.issue(&name)));
            issue.map(|thread| thread.join().unwrap())
        });
        let keys: Vec<_> = issued.iter().flatten().collect();
        let [key] = keys[..] else { panic!("{issued:?}") };
        nodes[0].waits_for(key.reveal(), Ok(&name));
        assert!(issued.iter().all(|one| one.as_ref().err().is_none_or(|error| error.code() == "KEY_IN_USE")));
    }
}

#[test]
fn a_key_that_is_revoked_elsewhere_takes_its_publisher_off_the_air() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let (here, there) = (Node::start(&store.url()), Node::start(&store.url()));
    let server = there.engine.rtmp_server("127.0.0.1:0").key_store(there.keys.clone()).start().unwrap();
    let [studio, door] = ["studio", "door"].map(|name| here.keys.issue(name).unwrap());
    there.waits_for(door.reveal(), Ok("door"));
    let publish = |key: &str| Session::plain(ClientRole::Publish, server.address(), &format!("live/{key}"));
    let (mut revoked, mut stays) = (publish(studio.reveal()), publish(door.reveal()));
    assert!(matches!(revoked.go_live(), Ok(true)) && matches!(stays.go_live(), Ok(true)));
    assert!(here.keys.remove("studio").unwrap());
    assert!(!matches!(revoked.run_until(|_| false), Ok(true)), "it is closed");
    assert!(matches!(stays.read(), Ok(true)), "the other goes on");
    assert!(matches!(publish(studio.reveal()).go_live(), Err(_) | Ok(false)));
    assert_eq!(server.stats().refused(RefusalReason::Key), 1);
    assert!(there.engine.hub().find("door").is_some());
}

#[test]
fn what_a_later_version_wrote_lets_nobody_in_and_can_be_removed() {
    if !need(&[Need::Redis]) {
        return;
    }
    let server = RedisServer::start();
    let (here, there) = (Node::start(&server.url()), Node::start(&server.url()));
    here.keys.add("studio", "key-1").unwrap();
    there.waits_for("key-1", Ok("studio"));
    let _: () = say(&server, &["HSET", "fc:{flowcast}:keys", "studio", "{\"form\":2}"]);
    let later = Node::start(&server.url());
    assert_eq!(
        (later.ask("key-1"), later.play("studio", None)),
        (Err(Denial::UnknownKey), Err(Denial::NotPlayable))
    );
    assert_eq!(code(later.keys.add("studio", "key-2")), "REDIS_ANSWER");
    assert!(later.keys.remove("studio").unwrap());
    there.waits_for("key-1", Err(Denial::UnknownKey));
}

#[test]
fn keys_of_another_cluster_are_others() {
    if !need(&[Need::Redis]) {
        return;
    }
    let server = RedisServer::start();
    let node = Node::start(&server.url());
    let elsewhere = quick().with(|options| options.cluster = "elsewhere".into());
    let elsewhere = Node::with(&server.url(), elsewhere, looks_often());
    assert!(elsewhere.keys.wait_until_known(PATIENCE));
    node.keys.add("studio", "key-1").unwrap();
    elsewhere.keys.add("studio", "key-2").expect("the name is free there");
    assert_eq!(elsewhere.ask("key-1"), Err(Denial::UnknownKey));
    assert_eq!(node.ask("key-2"), Err(Denial::UnknownKey));
}
