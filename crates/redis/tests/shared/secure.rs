//! TLS, and users with few rights.

use flowcast_core::{Source, StreamSpec};
use flowcast_redis::{DesiredStatus, LeaseOptions, Leases, Origins, Redis, RedisState};
use kit::{Identity, TlsProxy, own_address};

use super::desired::CLUSTER;
use super::nodes::*;

/// What docs/jobs/cluster.md says a user needs.
const RIGHTS: [&str; 7] =
    ["~fc:*", "+@read", "+@write", "+@scripting", "+@connection", "+@transaction", "+time"];

#[test]
fn a_user_needs_few_rights_and_the_right_password() {
    if !need(&[Need::Redis]) {
        return;
    }
    let mut arguments = vec!["--user", "flowcast", "on", ">canary"];
    arguments.extend(RIGHTS);
    let store = RedisServer::at(own_address(), &arguments);
    let url = |login: &str| format!("redis://{login}@{}", store.address);
    let node = Node::start(&url("flowcast:canary"));
    let key = node.keys.issue("studio").unwrap();
    assert!(node.keys.remove("studio").unwrap());
    assert!(node.ask(key.reveal()).is_err());
    assert_eq!(node.redis.stats().state, RedisState::Up);
    // For leases, nodes, the list and its runners, too.
    let member = CLUSTER.join(&url("flowcast:canary"), "one", &["gpu"]);
    let _runner = member.run();
    let _: () = say(&store, &["SET", "fc:{flowcast}:leases:born", "1"]);
    let spec = StreamSpec::new(Source::published("nobody")).without_outputs();
    assert_eq!(member.desired.put("rain", &spec).unwrap(), 1);
    let status = || member.desired.status("rain").unwrap();
    assert!(wait_until(PATIENCE, || matches!(status(), DesiredStatus::Running { .. })), "{:?}", status());
    let lease = member.leases.acquire_for("snow", "alice", 1).unwrap();
    assert_eq!(member.leases.holder("snow").unwrap(), Some(("one".into(), lease.epoch())));
    drop(lease);
    assert!(wait_until(PATIENCE, || member.nodes.list().unwrap().len() == 1));
    let origins = Origins::new(&member.redis, &member.nodes, &member.leases).unwrap();
    assert!(wait_until(PATIENCE, || origins.find("rain").unwrap().is_some()));
    assert!(member.desired.remove("rain").unwrap());
    member.nodes.leave().unwrap();
    assert_eq!(member.redis.stats().state, RedisState::Up);
    assert_eq!(member.redis.stats().connections, 1, "nothing was refused");

    let wrong = Node::with(&url("flowcast:canary-2"), quick(), looks_often());
    wrong.waits_until(RedisState::Denied);
    let error = wrong.keys.issue("studio").expect_err("a wrong password");
    assert!(error.code() == "REDIS_DENIED" && !error.is_retryable(), "{error}");
    assert!(!format!("{error} {error:?} {:?}", wrong.redis).contains("canary"), "{error:?}");
    // Once it is mended on the server, it works.
    let _: () = say(&store, &["ACL", "SETUSER", "flowcast", ">canary-2"]);
    assert!(wrong.redis.wait_until_up(PATIENCE));
    wrong.keys.issue("studio").unwrap();
}

/// A right that only scripts need.
#[test]
fn a_user_without_a_right_is_told_so() {
    if !need(&[Need::Redis]) {
        return;
    }
    let mut arguments = vec!["--user", "flowcast", "on", ">canary"];
    arguments.extend(RIGHTS.iter().filter(|right| **right != "+time"));
    let store = RedisServer::at(own_address(), &arguments);
    let redis = Redis::new(&format!("redis://flowcast:canary@{}", store.address), quick()).unwrap();
    let leases = Leases::new(&redis, "one", LeaseOptions::default()).unwrap();
    assert!(
        wait_until(PATIENCE, || code(leases.acquire("rain")) == "REDIS_DENIED"),
        "{:?}",
        leases.acquire("rain")
    );
}

#[test]
fn a_certificate_has_to_be_right() {
    if !need(&[Need::Redis, Need::Stunnel]) {
        return;
    }
    let store = RedisServer::start();
    for identity in [Identity::Right, Identity::WrongAuthority, Identity::WrongHost] {
        let proxy = TlsProxy::start(store.address, identity);
        let options = quick().with(|options| options.roots = Some(proxy.trusted()));
        let redis = Redis::new(&format!("rediss://{}", proxy.address), options).unwrap();
        let state = || redis.stats().state;
        assert!(wait_until(PATIENCE, || state() != RedisState::Connecting));
        let is_up = identity == Identity::Right;
        assert_eq!(state() == RedisState::Up, is_up, "{identity:?}: {:?}", redis.stats());
    }
}
