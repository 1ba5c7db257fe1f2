//! Edges that find streams on nodes by their names: when an origin is killed, another node has the stream, and the edge's players stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use flowcast_core::{Config, Engine, Output, Source, StreamSpec};
use flowcast_redis::{DesiredStatus, Origins};
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{Relay, RtmpServerExt};
use kit::{Clip, Peer, Session, alone, directory, role_arguments, text};

use super::desired::{CLUSTER, Cluster};
use super::nodes::*;

const PLAYERS: u64 = 8;
/// Media of each player that it cannot have had before.
const FLOWS: u64 = 60_000;

fn cluster() -> Cluster {
    Cluster { ttl: Duration::from_secs(5), node_ttl: Duration::from_secs(3), ..CLUSTER }
}

#[test]
fn players_of_an_edge_stay_when_the_origin_is_killed() {
    const NAME: &str = "edges::players_of_an_edge_stay_when_the_origin_is_killed";
    const ROLE: &str = "origin";
    if alone(ROLE) {
        return be_an_origin();
    }
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "rain.flv");
    let store = RedisServer::start();
    let edge = cluster().join(&store.url(), "edge", &[]);
    let spec = StreamSpec::new(Source::file(text(&clip)).looped()).to(Output::publish("rain"));
    assert!(wait_until(PATIENCE, || edge.desired.put("rain", &spec).is_ok()));
    let url = store.url();
    let mut nodes = ["one", "two"].map(|node| {
        let (program, arguments) = role_arguments(ROLE, NAME);
        let environment = [("NODE_REDIS", url.as_ref()), ("NODE_NAME", node.as_ref())];
        let mut process = Peer::spawn_with(&program, arguments, &environment);
        process.wait_for_line("runs", PATIENCE);
        (node, process)
    });
    let origins = Origins::new(&edge.redis, &edge.nodes, &edge.leases).unwrap();
    assert_eq!(origins.find("snow").unwrap(), None);
    let rule = origins.clone();
    let relay = Relay::by(move |name| rule.pull(name)).hold(PATIENCE * 2).wait(PATIENCE);
    let server = edge.engine.rtmp_server("127.0.0.1:0").relay(relay).start().unwrap();
    let running = |not: &str| {
        let mut on = None;
        let in_time = wait_until(PATIENCE, || {
            on = match edge.desired.status("rain") {
                Ok(DesiredStatus::Running { node, .. }) if node != not => Some(node),
                _ => None,
            };
            on.is_some()
        });
        assert!(in_time, "{:?}", edge.desired.status("rain"));
        on.unwrap()
    };
    let first = running("");
    assert!(wait_until(PATIENCE, || origins
        .find("rain")
        .unwrap()
        .is_some_and(|origin| origin.url.is_some())));
    let is_over = Arc::new(AtomicBool::new(false));
    let left = Arc::new(AtomicUsize::new(0));
    let players: Vec<_> = (0..PLAYERS)
        .map(|_| {
            let (is_over, left, address) = (is_over.clone(), left.clone(), server.address());
            std::thread::spawn(move || {
                let mut player = Session::plain(ClientRole::Play, address, "live/rain");
                let _ = player.go_live();
                while !is_over.load(Ordering::Relaxed) {
                    if !matches!(player.read(), Ok(true)) {
                        left.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            })
        })
        .collect();
    let flows_since = |sent: u64| {
        let stats = || server.stats();
        let enough = sent + FLOWS * PLAYERS;
        let in_time = wait_until(PATIENCE * 2, || stats().players == PLAYERS && stats().bytes_sent > enough);
        assert!(in_time, "{} left, {:?}", left.load(Ordering::Relaxed), stats());
    };
    flows_since(0);
    let (_, killed) = nodes.iter_mut().find(|(node, _)| *node == first).unwrap();
    killed.kill();
    let second = running(&first);
    assert_ne!(first, second);
    flows_since(server.stats().bytes_sent);
    assert_eq!(left.load(Ordering::Relaxed), 0, "all have stayed");
    let stats = server.stats();
    assert_eq!(
        (stats.players, stats.relays, stats.relays_begun),
        (PLAYERS, 1, 1),
        "one pull, for all the time"
    );
    assert!(origins.find("rain").unwrap().is_some_and(|origin| origin.node == second && origin.epoch > 1));
    is_over.store(true, Ordering::Relaxed);
    players.into_iter().for_each(|player| player.join().unwrap());
}

#[allow(clippy::print_stdout, reason = "the test that started it waits for it")]
fn be_an_origin() {
    let given = |name| std::env::var(name).unwrap();
    let engine = Engine::new(Config::default()).unwrap();
    let server = engine.rtmp_server("127.0.0.1:0").start().unwrap();
    let address = format!("rtmp://{}/live", server.address());
    let member = cluster().join_with(&given("NODE_REDIS"), &given("NODE_NAME"), &[], engine, Some(address));
    let _runner = member.run();
    println!("\nruns");
    // Until it is killed.
    loop {
        std::thread::park();
    }
}
