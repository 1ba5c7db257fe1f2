//! Leases: one node at a time, through everything that happens to Redis and to nodes.

use std::path::Path;
use std::time::Duration;

use flowcast_core::{Config, Engine, KeyRules, Output, Source, StreamRef};
use flowcast_redis::{Error, Lease, LeaseIfAway, LeaseOptions, LeasedKeys, Leases, Redis};
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{Departure, RefusalReason, RtmpServer, RtmpServerExt, ServerEventKind};
use kit::{Clip, FaultProxy, Peer, Session, alone, directory, own_address, role_arguments};

use super::nodes::*;

const SOON: Duration = Duration::from_secs(3);

fn strict() -> LeaseOptions {
    LeaseOptions::default().with(|options| {
        options.ttl = SOON;
        options.if_away = LeaseIfAway::Stop;
    })
}

fn lenient() -> LeaseOptions {
    LeaseOptions::default().with(|options| options.ttl = SOON)
}

/// Not longer than others wait: what a test waits for is the other node's turn, not this one's patience.
fn leases(url: &str, node: &str, options: LeaseOptions) -> Leases {
    let options_of_redis = quick().with(|options| (options.answer, options.call) = (SOON, SOON));
    let redis = Redis::new(url, options_of_redis).unwrap();
    Leases::new(&redis, node, options).unwrap()
}

/// Waits until the lease is free.
#[track_caller]
fn take(leases: &Leases, name: &str) -> Lease {
    let mut lease = None;
    let in_time = wait_until(PATIENCE, || {
        lease = leases.acquire(name).ok();
        lease.is_some()
    });
    assert!(in_time, "{:?}", leases.acquire(name));
    lease.unwrap()
}

fn holder(leases: &Leases, name: &str) -> Option<(String, u64)> {
    leases.holder(name).unwrap()
}

#[test]
fn one_node_has_a_name_and_the_next_one_a_higher_epoch() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let [one, two] = ["one", "two"].map(|node| leases(&store.url(), node, lenient()));
    let young = one.acquire("rain").expect_err("the server has just begun");
    assert!(matches!(&young, Error::Young { left, .. } if *left <= SOON) && young.is_retryable(), "{young}");
    let lease = take(&one, "rain");
    assert_eq!((lease.name(), lease.epoch(), lease.is_held()), ("rain", 1, true));
    let error = two.acquire("rain").expect_err("one has it");
    assert!(matches!(&error, Error::Held { by, left, .. } if by == "one" && *left <= SOON), "{error}");
    assert_eq!(error.code(), "LEASE_HELD");
    assert_eq!(code(one.acquire("rain")), "LEASE_HELD", "a name is leased once");
    assert_eq!(holder(&two, "rain"), Some(("one".into(), 1)));
    // It outlives its time as long as it is renewed.
    assert!(!lease.wait_lost(SOON * 3) && lease.is_held());
    drop(lease);
    let lease = take(&two, "rain");
    assert_eq!((lease.epoch(), holder(&one, "rain")), (2, Some(("two".into(), 2))));
    assert_eq!(take(&one, "snow").epoch(), 1, "another name");
    for name in ["", "..", "a/b", "a b"] {
        assert_eq!(code(one.acquire(name)), "CONFIG_INVALID", "{name}");
    }
}

#[test]
fn a_node_that_is_cut_off_stops_before_another_begins() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let proxy = FaultProxy::start(store.address);
    let cut_off = leases(&format!("redis://{}", proxy.address()), "cut-off", strict());
    let other = leases(&store.url(), "other", strict());
    let lease = take(&cut_off, "rain");
    proxy.stall();
    let mut taken = None;
    assert!(wait_until(PATIENCE, || {
        // Looked at before it is asked: what is open then is seen as open, even if Redis gives the lease away meanwhile.
        let was_open = lease.fence().is_open();
        taken = other.acquire("rain").ok();
        assert!(taken.is_none() || !was_open || !lease.fence().is_open(), "two at a time");
        taken.is_some()
    }));
    assert!(!lease.is_held() && taken.as_ref().is_some_and(Lease::is_held));
    proxy.resume();
    assert!(lease.wait_lost(PATIENCE) && !lease.fence().is_open());
    assert_eq!(holder(&cut_off, "rain"), Some(("other".into(), 2)));
    drop(taken);
    assert_eq!(take(&cut_off, "rain").epoch(), 3, "it plays along again");
}

#[test]
fn by_policy_a_node_that_is_cut_off_runs_on_until_it_hears_of_another() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let proxy = FaultProxy::start(store.address);
    let cut_off = leases(&format!("redis://{}", proxy.address()), "cut-off", lenient());
    let other = leases(&store.url(), "other", lenient());
    let [rain, snow] = ["rain", "snow"].map(|name| take(&cut_off, name));
    proxy.refuse(true);
    proxy.reset();
    let taken = take(&other, "rain");
    assert!(rain.is_held() && snow.is_held() && taken.is_held());
    // What nobody has taken meanwhile is its own again.
    assert!(wait_until(PATIENCE, || holder(&other, "snow").is_none()));
    proxy.refuse(false);
    assert!(rain.wait_lost(PATIENCE) && !rain.is_held());
    assert!(wait_until(PATIENCE, || holder(&other, "snow") == Some(("cut-off".into(), 1))));
    assert!(snow.is_held() && taken.is_held());
}

#[test]
fn a_flushed_server_gives_no_lease_away_that_is_held() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let [one, two] = ["one", "two"].map(|node| leases(&store.url(), node, strict()));
    drop(take(&two, "rain"));
    let lease = take(&one, "rain");
    assert_eq!(lease.epoch(), 2);
    let _: () = say(&store, &["FLUSHALL"]);
    let mut codes = Vec::new();
    assert!(wait_until(PATIENCE, || {
        let refused = code(two.acquire("rain"));
        if codes.last() != Some(&refused) {
            codes.push(refused);
        }
        // No longer young: it would have granted it.
        two.acquire("free").is_ok()
    }));
    assert!(codes.iter().all(|code| ["LEASES_YOUNG", "LEASE_HELD"].contains(code)), "{codes:?}");
    assert!(lease.is_held());
    assert_eq!(holder(&two, "rain"), Some(("one".into(), 2)));
    drop(lease);
    assert_eq!(take(&two, "rain").epoch(), 3, "epochs go on");
}

#[test]
fn a_full_server_renews_and_grants_nothing_new() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let [one, two] = ["one", "two"].map(|node| leases(&store.url(), node, strict()));
    drop(take(&one, "first"));
    let lease = one.acquire_for("rain", "alice", 1).unwrap();
    let _: () = say(&store, &["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(code(two.acquire("snow")), "REDIS_FULL");
    assert!(!lease.wait_lost(SOON * 3) && lease.is_held());
    drop(lease);
    assert!(wait_until(PATIENCE, || holder(&two, "rain").is_none()), "given back");
    let _: () = say(&store, &["CONFIG", "SET", "maxmemory", "0"]);
    assert!(take(&two, "snow").is_held());
}

#[test]
fn an_owner_has_as_many_places_as_said_on_all_nodes_together() {
    if !need(&[Need::Redis]) {
        return;
    }
    const MOST: usize = 3;
    let store = RedisServer::start();
    let proxy = FaultProxy::start(store.address);
    let mut urls = vec![store.url(); 3];
    urls.push(format!("redis://{}", proxy.address()));
    let nodes: Vec<_> = urls
        .iter()
        .enumerate()
        .map(|(number, url)| leases(url, &format!("node-{number}"), strict()))
        .collect();
    drop(take(&nodes[0], "first"));
    let all = || {
        std::thread::scope(|scope| {
            let ask = |(number, node): (usize, &Leases)| {
                let node = node.clone();
                scope.spawn(move || {
                    let names = (0..4).map(|name| format!("s-{number}-{name}"));
                    names.map(|name| node.acquire_for(&name, "alice", MOST)).collect::<Vec<_>>()
                })
            };
            let asked: Vec<_> = nodes.iter().enumerate().map(ask).collect();
            asked.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let outcomes = all();
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let codes: Vec<_> = refused.map(Error::code).collect();
    assert_eq!(codes, ["STREAM_LIMIT_EXCEEDED"; 13], "16 that asked, {MOST} places");
    assert!(nodes[0].acquire_for("bobs", "bob", 1).is_ok(), "another owner");
    drop(outcomes);
    // The places of a node that is gone are free with its leases.
    let mut places = Vec::new();
    assert!(wait_until(PATIENCE, || {
        places.extend(nodes[3].acquire_for(&format!("gone-{}", places.len()), "alice", MOST));
        places.len() == MOST
    }));
    assert_eq!(code(nodes[0].acquire_for("late", "alice", MOST)), "STREAM_LIMIT_EXCEEDED");
    proxy.refuse(true);
    proxy.reset();
    assert!(wait_until(PATIENCE, || nodes[0].acquire_for("late", "alice", MOST).is_ok()));
    assert!(places.iter().all(|place| !place.is_held()));
    assert_eq!(code(nodes[0].acquire_for("none", "alice", 0)), "CONFIG_INVALID");
}

/// A server that says who came and how they left.
fn receiver() -> (Engine, RtmpServer) {
    let engine = Engine::new(Config::default()).unwrap();
    engine.keys().add("rain", "rain-key").unwrap();
    let server = engine.rtmp_server("127.0.0.1:0").start().unwrap();
    (engine, server)
}

/// A stream that goes to the receiver.
fn stream(engine: &Engine, clip: &Path, to: &str) -> StreamRef {
    let output = Output::rtmp(to, "rain-key");
    engine.stream(Source::file(clip).looped()).to(output).start().unwrap().detach()
}

#[test]
fn a_stream_ends_with_its_lease_and_says_no_goodbye() {
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "rain.flv");
    let store = RedisServer::start();
    let proxy = FaultProxy::start(store.address);
    let node = leases(&format!("redis://{}", proxy.address()), "node", strict());
    let (_there, server) = receiver();
    let events = server.events();
    let here = Engine::new(Config::default()).unwrap();
    let lease = take(&node, "rain");
    let stream = stream(&here, &clip, &format!("rtmp://{}/live", server.address()));
    assert!(lease.guard(&stream) && !lease.guard(&stream), "behind one fence");
    assert!(wait_until(PATIENCE, || server.stats().publishers == 1));
    proxy.stall();
    assert!(wait_until(PATIENCE, || stream.has_ended()));
    assert!(!lease.is_held());
    let error = stream.stop(PATIENCE).expect_err("it had to end");
    assert_eq!(error.code(), "FENCED", "{error}");
    let mut left = None;
    assert!(wait_until(PATIENCE, || {
        while let Some(event) = events.try_next() {
            if let ServerEventKind::PublisherLeft { why, .. } = event.kind {
                left = Some(why);
            }
        }
        left.is_some()
    }));
    assert!(matches!(left, Some(Departure::Failed(_) | Departure::HungUp)), "{left:?}");
    proxy.resume();
    // Given up by the program: it ends as well, and the name is free once it has.
    drop(lease);
    let lease = take(&node, "rain");
    let stream = self::stream(&here, &clip, &format!("rtmp://{}/live", server.address()));
    assert!(lease.guard(&stream));
    drop(lease);
    let _next = take(&node, "rain");
    assert!(stream.has_ended());
}

#[test]
fn a_name_is_published_on_one_node_at_a_time() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let proxy = FaultProxy::start(store.address);
    let urls = [format!("redis://{}", proxy.address()), store.url()];
    let nodes = urls.map(|url| {
        let node = Node::start(&url);
        let leases = leases(&url, "node", strict());
        drop(take(&leases, "first"));
        let keys = LeasedKeys::new(node.keys.clone(), &leases, &node.engine).unwrap().most_per_owner(2);
        let server = node.engine.rtmp_server("127.0.0.1:0").key_store(keys).start().unwrap();
        (node, leases, server)
    });
    let [here, there] = &nodes;
    let rules = || KeyRules::new().owner("alice");
    for name in ["studio", "door", "window"] {
        here.0.keys.add_with(name, format!("key-of-{name}"), rules()).unwrap();
        there.0.waits_for(&format!("key-of-{name}"), Ok(name));
    }
    let publish = |node: &(Node, Leases, RtmpServer), name: &str| {
        let path = format!("live/key-of-{name}");
        let mut session = Session::plain(ClientRole::Publish, node.2.address(), &path);
        let is_live = matches!(session.go_live(), Ok(true));
        is_live.then_some(session)
    };
    let mut studio = publish(here, "studio").expect("nobody has it");
    assert!(publish(there, "studio").is_none());
    assert_eq!(there.2.stats().refused(RefusalReason::NameInUse), 1);
    let door = publish(there, "door").expect("another name");
    assert!(publish(here, "window").is_none());
    assert_eq!(here.2.stats().refused(RefusalReason::OwnerLimit), 1);
    // Whoever leaves makes room, wherever; the server waits a while for publishers that are lost.
    there.0.engine.keys().take_off("door");
    drop(door);
    let mut window = None;
    assert!(wait_until(PATIENCE, || {
        window = publish(here, "window");
        window.is_some()
    }));
    // A node that is cut off ends its streams before the name can be published elsewhere.
    proxy.stall();
    assert!(!matches!(studio.run_until(|_| false), Ok(true)), "it is closed");
    let mut elsewhere = None;
    assert!(wait_until(PATIENCE, || {
        elsewhere = publish(there, "studio");
        elsewhere.is_some()
    }));
    assert!(here.0.engine.hub().find("studio").is_none() && there.0.engine.hub().find("studio").is_some());
    assert!(publish(here, "door").is_none());
    assert_eq!(here.2.stats().refused(RefusalReason::Unavailable), 1);
    proxy.resume();
}

/// A process that is stopped for longer than its lease lasts, and goes on, sends nothing any more: it finds that its time is over before it asks anybody.
#[test]
fn a_process_that_was_stopped_sends_nothing_when_it_goes_on() {
    const NAME: &str = "leases::a_process_that_was_stopped_sends_nothing_when_it_goes_on";
    const ROLE: &str = "leaseholder";
    if alone(ROLE) {
        return hold_a_lease();
    }
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "rain.flv");
    let store = RedisServer::at(own_address(), &[]);
    let (_there, server) = receiver();
    let (program, arguments) = role_arguments(ROLE, NAME);
    let to = format!("rtmp://{}/live", server.address());
    let url = store.url();
    let environment =
        [("LEASE_REDIS", url.as_ref()), ("LEASE_TO", to.as_ref()), ("LEASE_CLIP", clip.as_os_str())];
    let mut process = Peer::spawn_with(&program, arguments, &environment);
    process.wait_for_line("held", PATIENCE);
    assert!(wait_until(PATIENCE, || server.stats().publishers == 1 && server.stats().bytes_received > 50_000));
    let other = leases(&store.url(), "other", strict());
    process.freeze();
    let lease = take(&other, "rain");
    assert_eq!(lease.epoch(), 2);
    // What it had sent before has arrived.
    let mut before = 0;
    assert!(wait_until(PATIENCE, || {
        std::thread::park_timeout(Duration::from_millis(200));
        before == std::mem::replace(&mut before, server.stats().bytes_received)
    }));
    process.thaw();
    process.wait_for_line("over FENCED", PATIENCE);
    assert!(wait_until(PATIENCE, || server.stats().publishers == 0));
    // A turn of its thread that was being written when it was stopped is 8 kB.
    let sent = server.stats().bytes_received - before;
    assert!(sent < 16_000, "{sent} bytes were sent behind the fence");
    assert!(lease.is_held());
    process.wait_success(PATIENCE);
}

#[allow(clippy::print_stdout, reason = "the test that started it waits for it")]
fn hold_a_lease() {
    let given = |name| std::env::var(name).unwrap();
    let engine = Engine::new(Config::default()).unwrap();
    let lease = take(&leases(&given("LEASE_REDIS"), "stopped", strict()), "rain");
    let stream = stream(&engine, Path::new(&given("LEASE_CLIP")), &given("LEASE_TO"));
    assert!(lease.guard(&stream));
    println!("\nheld");
    assert!(lease.wait_lost(PATIENCE * 3));
    assert!(wait_until(PATIENCE, || stream.has_ended()));
    let error = stream.stop(PATIENCE).expect_err("it had to end");
    println!("over {}", error.code());
}
