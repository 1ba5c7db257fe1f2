//! A node that is cut off from Redis by the network, and comes back: nobody is told, packets are lost in both directions.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flowcast_core::{Source, StreamRef, StreamSpec};
use flowcast_redis::{DesiredStatus, LeaseIfAway, NodeState, RedisState, StreamRunner};
use kit::{Apart, alone, nft, own_address};

use super::desired::{Cluster, Member};
use super::nodes::*;
use super::stage::{Stage, cluster};

const STREAMS: usize = 4;
/// Where the node that is cut off reaches Redis.
const FAR: &str = "127.0.0.9";

#[test]
fn a_node_that_is_cut_off_by_the_network_keeps_running() {
    const ROLE: &str = "keeps-running";
    let test = "a_node_that_is_cut_off_by_the_network_keeps_running";
    apart(ROLE, test, || keep_running(Duration::from_secs(3), Duration::from_secs(8)));
}

#[test]
fn a_node_that_is_cut_off_by_the_network_stops_in_time() {
    const ROLE: &str = "stops";
    let test = "a_node_that_is_cut_off_by_the_network_stops_in_time";
    apart(ROLE, test, || stop_in_time(Duration::from_secs(3), Duration::from_secs(8)));
}

/// `cargo test -p flowcast-redis --test shared half_a_minute -- --ignored`
#[test]
#[ignore = "takes a minute"]
fn a_node_that_is_cut_off_for_half_a_minute_keeps_running() {
    const ROLE: &str = "keeps-running-long";
    let test = "a_node_that_is_cut_off_for_half_a_minute_keeps_running";
    apart(ROLE, test, || keep_running(Duration::from_secs(10), Duration::from_secs(30)));
}

#[test]
#[ignore = "takes a minute"]
fn a_node_that_is_cut_off_for_half_a_minute_stops_in_time() {
    const ROLE: &str = "stops-long";
    let test = "a_node_that_is_cut_off_for_half_a_minute_stops_in_time";
    apart(ROLE, test, || stop_in_time(Duration::from_secs(10), Duration::from_secs(30)));
}

/// Runs a test of this file in a network of its own, if the machine lets it.
fn apart(role: &str, test: &str, run: impl FnOnce()) {
    if alone(role) {
        return run();
    }
    if need(&[Need::Redis, Need::Ffmpeg, Need::Apart(Apart::Network)]) {
        print!("{}", Apart::Network.run(role, &format!("partition::{test}"), Duration::from_secs(400)));
    }
}

/// Two nodes, the first of which runs all streams, and can be cut off.
struct Two {
    stage: Stage,
    far: Member,
    near: Member,
    far_runs: StreamRunner,
    near_runs: StreamRunner,
    streams: Vec<StreamRef>,
    lasts: Duration,
}

impl Two {
    fn start(if_away: LeaseIfAway, ttl: Duration, lasts: Duration) -> Self {
        let cluster = Cluster { if_away, ..cluster(ttl) };
        let address = own_address();
        let store = RedisServer::at(address, &["--bind", &address.ip().to_string(), FAR]);
        let url = store.url();
        let stage = Stage::with(store, &url, STREAMS, &cluster);
        let far = cluster.join(&format!("redis://{FAR}:{}", address.port()), "far", &["far"]);
        let far_runs = far.run();
        stage.all_flow(&[]);
        let near = cluster.join(&url, "near", &[]);
        let near_runs = near.run();
        let streams = far_runs.running().into_iter().map(|(_, stream)| stream).collect::<Vec<_>>();
        assert_eq!(streams.len(), STREAMS);
        assert!(wait_until(PATIENCE, || near.nodes.list().is_ok_and(|nodes| nodes.len() == 3)));
        Self { stage, far, near, far_runs, near_runs, streams, lasts }
    }

    /// From here on, nothing passes between the first node and Redis.
    fn cut(&self) -> Instant {
        let SocketAddr::V4(address) = self.stage.store.address else { panic!("it has an IPv4 address") };
        let port = address.port();
        nft("add table inet cut");
        nft("add chain inet cut passing { type filter hook input priority 0; }");
        let since = Instant::now();
        nft(&format!("add rule inet cut passing ip daddr {FAR} tcp dport {port} drop"));
        nft(&format!("add rule inet cut passing ip saddr {FAR} tcp sport {port} drop"));
        since
    }

    fn heal(&self, cut: Instant) -> Instant {
        wait_until(self.lasts.saturating_sub(cut.elapsed()), || false);
        nft("delete table inet cut");
        Instant::now()
    }

    /// Both nodes and Redis say the same: each stream runs once, on the second node.
    #[track_caller]
    fn agree(&self) {
        assert!(
            wait_until(PATIENCE, || self.far.redis.stats().state == RedisState::Up),
            "{:?}",
            self.far.redis.stats()
        );
        let by = self.stage.run_by(|node| node == "near");
        assert_eq!(self.stage.holders(), by);
        assert!(wait_until(PATIENCE, || self.far_runs.running().is_empty()), "{:?}", self.far_runs.running());
        let mut names: Vec<_> = self.near_runs.running().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, self.stage.names);
        for name in &self.stage.names {
            let told = || [&self.far, &self.near].map(|node| node.desired.status(name).ok());
            let is_same = |status: &Option<DesiredStatus>| matches!(status, Some(DesiredStatus::Running { node, .. }) if node == "near");
            assert!(wait_until(PATIENCE, || told().iter().all(is_same)), "{name}: {:?}", told());
        }
        let is_listed = || {
            self.near
                .nodes
                .list()
                .unwrap()
                .iter()
                .any(|node| node.name == "far" && node.state == NodeState::Up)
        };
        assert!(wait_until(PATIENCE, is_listed));
        assert!(
            wait_until(PATIENCE * 2, || self.stage.gate.seen().iter().all(|seen| seen.open == 1)),
            "{:?}",
            self.stage.gate.seen()
        );
        self.stage.all_flow(&self.stage.seen());
        // It is a node like any other again.
        let resting = StreamSpec::new(Source::published("nobody")).without_outputs();
        self.stage.control.desired.put_where("new", &resting, &["far".to_owned()]).unwrap();
        let status = || self.stage.control.desired.status("new");
        let is_run = || matches!(status(), Ok(DesiredStatus::Running { node, .. }) if node == "far");
        assert!(wait_until(PATIENCE, is_run), "{:?}", status());
    }
}

fn keep_running(ttl: Duration, lasts: Duration) {
    let two = Two::start(LeaseIfAway::KeepRunning, ttl, lasts);
    let cut = two.cut();
    let taken = two.stage.run_by(|node| node == "near");
    println!("another node has the leases {:?} after the cut", cut.elapsed());
    assert!(taken.iter().all(|(_, epoch)| *epoch > 1), "{taken:?}");
    // The receiver lets one at a time in under a name: the one that was there.
    let publishers = || two.stage.server.stats().publishers;
    let mut received = two.stage.server.stats().bytes_received;
    while cut.elapsed() < lasts {
        assert!(two.streams.iter().all(|stream| !stream.has_ended()), "what runs goes on");
        let flows = || two.stage.server.stats().bytes_received > received + 100_000;
        assert!(wait_until(PATIENCE, flows), "{:?}", two.stage.server.stats());
        received = two.stage.server.stats().bytes_received;
        assert!(publishers() >= STREAMS as u64, "{:?}", two.stage.server.stats());
    }
    let healed = two.heal(cut);
    assert!(wait_until(PATIENCE, || two.streams.iter().all(StreamRef::has_ended)));
    println!("streams of the node that was cut off ended {:?} after that was over", healed.elapsed());
    two.agree();
    println!("all agree {:?} after it was over", healed.elapsed());
}

fn stop_in_time(ttl: Duration, lasts: Duration) {
    let two = Two::start(LeaseIfAway::Stop, ttl, lasts);
    let cut = two.cut();
    assert!(wait_until(PATIENCE, || two.streams.iter().all(StreamRef::has_ended)));
    let ended = cut.elapsed();
    println!("streams of the node that was cut off ended {ended:?} after the cut");
    // Four fifths of the time after the last renewal; the rest is for a busy machine.
    assert!(ended <= ttl * 2, "{ended:?}");
    let taken = two.stage.run_by(|node| node == "near");
    assert!(taken.iter().all(|(_, epoch)| *epoch > 1), "{taken:?}");
    two.stage.all_flow(&[]);
    println!("all are on the air again {:?} after the cut", cut.elapsed());
    two.stage.was_never_twice();
    let healed = two.heal(cut);
    two.agree();
    println!("all agree {:?} after it was over", healed.elapsed());
    two.stage.was_never_twice();
    for stream in &two.streams {
        assert_eq!(stream.stop(PATIENCE).map(drop).map_err(|error| error.code()), Err("FENCED"));
    }
}
