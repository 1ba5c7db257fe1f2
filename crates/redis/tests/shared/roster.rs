//! Nodes that see each other, are lost and come back.

use std::time::Duration;

use flowcast_core::{Config, Engine};
use flowcast_redis::{Budget, Demand, Node, NodeOptions, NodeState, Nodes, Redis, Room, Verdict};
use kit::FaultProxy;

use super::nodes::*;

fn often() -> NodeOptions {
    NodeOptions::default().with(|options| {
        options.interval = Duration::from_millis(100);
        options.ttl = Duration::from_secs(3);
    })
}

fn room(used: f64) -> Room {
    Room { cpu: Some(Budget { used, budget: 3.6 }), ..Room::default() }
}

fn join(url: &str, name: &str, options: NodeOptions, room: Room) -> Nodes {
    let redis = Redis::new(url, quick()).unwrap();
    Nodes::new(&redis, name, options, move || room).unwrap()
}

/// Waits until a node is seen so.
#[track_caller]
fn sees(nodes: &Nodes, name: &str, is_so: impl Fn(Option<&Node>) -> bool) {
    let list = || nodes.list().unwrap_or_default();
    let in_time = wait_until(PATIENCE, || is_so(list().iter().find(|node| node.name == name)));
    assert!(in_time, "{name}: {:?}", list());
}

#[test]
fn nodes_see_each_other_and_who_is_lost() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let proxy = FaultProxy::start(store.address);
    let options = often().with(|options| {
        options.address = Some("rtmp://192.0.2.5:1935/live".into());
        options.labels = vec!["gpu".into()];
        options.version = "7.1".into();
    });
    let one = join(&format!("redis://{}", proxy.address()), "one", options, room(0.36));
    let two = join(&store.url(), "two", often(), room(1.8));
    assert!(one.wait_until_listed(PATIENCE) && two.wait_until_listed(PATIENCE) && one.is_listed());
    sees(&two, "one", |node| {
        node.is_some_and(|node| {
            let said = (node.state, node.address.as_deref(), node.labels.as_slice(), node.version.as_str());
            said == (NodeState::Up, Some("rtmp://192.0.2.5:1935/live"), &["gpu".to_owned()], "7.1")
                && (node.room.load() - 0.1).abs() < 1e-9
        })
    });
    let demand = Demand { cpu: 0.3, ..Demand::default() };
    assert_eq!(two.place("rain", &demand, &[]).unwrap().node.as_deref(), Some("one"));
    let nowhere = two.place("rain", &demand, &["disk".into()]).unwrap();
    assert!(nowhere.node.is_none() && nowhere.to_string().contains("one does not have the label disk"));
    one.set_draining(true);
    sees(&two, "one", |node| node.is_some_and(|node| node.state == NodeState::Draining));
    assert_eq!(two.place("rain", &demand, &[]).unwrap().node.as_deref(), Some("two"));
    one.set_draining(false);
    sees(&two, "one", |node| node.is_some_and(|node| node.state == NodeState::Up));
    // One that is cut off is lost, not forgotten, and is there again by itself.
    proxy.refuse(true);
    proxy.reset();
    sees(&two, "one", |node| node.is_some_and(|node| node.state == NodeState::Lost));
    let placement = two.place("rain", &demand, &[]).unwrap();
    let of_one = placement.choices.iter().find(|choice| choice.node == "one");
    assert!(of_one.is_some_and(|choice| matches!(choice.verdict, Verdict::Lost(_))), "{placement}");
    proxy.refuse(false);
    sees(&two, "one", |node| node.is_some_and(|node| node.state == NodeState::Up));
    // So are all after the server has lost everything.
    let _: () = say(&store, &["FLUSHALL"]);
    sees(&two, "one", |node| node.is_some());
    sees(&two, "two", |node| node.is_some());
    // One that leaves is gone at once. Its connection is kept, so that it can say so.
    let redis = Redis::new(&store.url(), quick()).unwrap();
    let three = Nodes::new(&redis, "three", often(), || room(0.0)).unwrap();
    sees(&two, "three", |node| node.is_some());
    drop(three);
    sees(&two, "three", |node| node.is_none());
}

#[test]
fn a_name_is_one_process_and_whoever_waits_for_it_gets_it() {
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    // So long that no pause of the machine lets the first be lost.
    let long = || often().with(|options| options.ttl = Duration::from_secs(300));
    let redis = Redis::new(&store.url(), quick()).unwrap();
    let first = Nodes::new(&redis, "one", long(), || room(0.0)).unwrap();
    assert!(first.wait_until_listed(PATIENCE));
    let second = join(&store.url(), "one", long(), room(1.8));
    let other = join(&store.url(), "other", long(), room(1.8));
    // It has been round by now: both asked at the same intervals.
    assert!(other.wait_until_listed(PATIENCE));
    sees(&other, "one", |node| node.is_some_and(|node| node.room == room(0.0)));
    assert!(!second.is_listed() && first.is_listed());
    drop(first);
    assert!(second.wait_until_listed(PATIENCE));
    sees(&other, "one", |node| node.is_some_and(|node| node.room == room(1.8)));
    let engine = Engine::new(Config::default()).unwrap();
    engine.set_limits(engine.limits().with(|limits| limits.total = 7)).unwrap();
    assert_eq!(Room::of(&engine).streams, Some(Budget { used: 0.0, budget: 7.0 }));
    for name in ["", "a b", "a/b"] {
        let redis = Redis::new(&store.url(), quick()).unwrap();
        assert_eq!(code(Nodes::new(&redis, name, often(), || room(0.0))), "CONFIG_INVALID", "{name}");
    }
}
