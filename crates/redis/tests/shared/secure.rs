//! TLS, and users with few rights.

use flowcast_redis::{Redis, RedisState};
use kit::{Identity, TlsProxy, own_address};

use super::nodes::*;

/// What docs/jobs/cluster.md says a user needs.
const RIGHTS: [&str; 6] = ["~fc:*", "+@read", "+@write", "+@scripting", "+@connection", "+@transaction"];

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
