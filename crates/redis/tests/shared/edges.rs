//! Edges that find streams on nodes by their names: when an origin is killed, another node has the stream, and the edge's players stay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flowcast_core::{Config, Engine, Output, Source, StreamSpec};
use flowcast_redis::{DesiredStatus, Origins};
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{Relay, RtmpServer, RtmpServerExt, ServerStats};
use kit::{Clip, Peer, Session, alone, directory, role_arguments, text};

use super::desired::{CLUSTER, Cluster, Member};
use super::nodes::*;

/// Media of each player that it cannot have had before.
const FLOWS: u64 = 60_000;

fn cluster() -> Cluster {
    Cluster { ttl: Duration::from_secs(5), node_ttl: Duration::from_secs(3), ..CLUSTER }
}

#[test]
fn players_of_an_edge_stay_when_the_origin_is_killed() {
    const ROLE: &str = "origin";
    if alone(ROLE) {
        return be_an_origin();
    }
    kill_an_origin(1, 8);
}

/// `cargo test -p flowcast-redis --test shared two_edges -- --ignored --nocapture`
#[test]
#[ignore = "two hundred players"]
fn players_of_two_edges_stay_when_the_origin_is_killed() {
    kill_an_origin(2, 200);
}

/// An engine that pulls what is asked for from where it is.
struct Edge {
    server: RtmpServer,
    origins: Origins,
    member: Member,
}

impl Edge {
    fn join(url: &str, name: &str) -> Self {
        let member = cluster().join(url, name, &[]);
        let origins = Origins::new(&member.redis, &member.nodes, &member.leases).unwrap();
        let rule = origins.clone();
        let relay = Relay::by(move |name| rule.pull(name)).hold(PATIENCE * 2).wait(PATIENCE);
        let server = member.engine.rtmp_server("127.0.0.1:0").relay(relay).start().unwrap();
        Self { server, origins, member }
    }
}

/// Players that read until it is over, or the server has them leave.
struct Players {
    threads: Vec<JoinHandle<Duration>>,
    is_over: Arc<AtomicBool>,
    left: Arc<AtomicUsize>,
}

impl Players {
    fn of(edges: &[Edge], players: usize) -> Self {
        let (is_over, left) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let player = |number: usize| {
            let (is_over, left) = (is_over.clone(), left.clone());
            let address = edges[number % edges.len()].server.address();
            thread::spawn(move || play(address, &is_over, &left))
        };
        Self { threads: (0..players).map(player).collect(), is_over, left }
    }

    fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// The longest time for which nothing came, of each, the shortest of them first.
    fn end(self) -> Vec<Duration> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut gaps: Vec<_> = self.threads.into_iter().map(|player| player.join().unwrap()).collect();
        gaps.sort_unstable();
        gaps
    }
}

fn play(address: SocketAddr, is_over: &AtomicBool, left: &AtomicUsize) -> Duration {
    let mut player = Session::plain(ClientRole::Play, address, "live/rain");
    let _ = player.go_live();
    let (mut longest, mut last) = (Duration::ZERO, None::<Instant>);
    while !is_over.load(Ordering::Relaxed) {
        if !matches!(player.read(), Ok(true)) {
            left.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if player.events.drain(..).len() == 0 {
            continue;
        }
        let now = Instant::now();
        longest = longest.max(last.map_or(Duration::ZERO, |last| now - last));
        last = Some(now);
    }
    longest
}

fn kill_an_origin(edges: usize, players: usize) {
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "rain.flv");
    let store = RedisServer::start();
    let url = store.url();
    let edges: Vec<_> = (0..edges).map(|number| Edge::join(&url, &format!("edge-{number}"))).collect();
    let Edge { member, origins, .. } = &edges[0];
    let spec = StreamSpec::new(Source::file(text(&clip)).looped()).to(Output::publish("rain"));
    assert!(wait_until(PATIENCE, || member.desired.put("rain", &spec).is_ok()));
    let test = "edges::players_of_an_edge_stay_when_the_origin_is_killed";
    let mut nodes = ["one", "two"].map(|node| {
        let (program, arguments) = role_arguments("origin", test);
        let environment = [("NODE_REDIS", url.as_ref()), ("NODE_NAME", node.as_ref())];
        let mut process = Peer::spawn_with(&program, arguments, &environment);
        process.wait_for_line("runs", PATIENCE);
        (node, process)
    });
    assert_eq!(origins.find("snow").unwrap(), None);
    let running = |not: &str| {
        let mut on = None;
        let in_time = wait_until(PATIENCE, || {
            on = match member.desired.status("rain") {
                Ok(DesiredStatus::Running { node, .. }) if node != not => Some(node),
                _ => None,
            };
            on.is_some()
        });
        assert!(in_time, "{:?}", member.desired.status("rain"));
        on.unwrap()
    };
    let first = running("");
    let is_found =
        |edge: &Edge| edge.origins.find("rain").unwrap().is_some_and(|origin| origin.url.is_some());
    assert!(wait_until(PATIENCE, || edges.iter().all(is_found)));
    let watching = Players::of(&edges, players);
    let flows = || {
        let stats = || edges.iter().map(|edge| edge.server.stats());
        let sent: Vec<_> = stats().map(|stats| stats.bytes_sent).collect();
        let enough = || {
            let has_sent =
                |(stats, sent): (ServerStats, &u64)| stats.bytes_sent > sent + FLOWS * stats.players;
            stats().map(|stats| stats.players).sum::<u64>() == players as u64
                && stats().zip(&sent).all(has_sent)
        };
        let in_time = wait_until(PATIENCE * 2, enough);
        assert!(in_time, "{} left, {:?}", watching.left(), stats().collect::<Vec<_>>());
    };
    flows();
    let (_, killed) = nodes.iter_mut().find(|(node, _)| *node == first).unwrap();
    killed.kill();
    let second = running(&first);
    assert_ne!(first, second);
    flows();
    assert_eq!(watching.left(), 0, "all have stayed");
    for edge in &edges {
        let stats = edge.server.stats();
        assert_eq!((stats.relays, stats.relays_begun), (1, 1), "one pull, for all the time");
        let origin = edge.origins.find("rain").unwrap();
        assert!(origin.is_some_and(|origin| origin.node == second && origin.epoch > 1));
    }
    let gaps = watching.end();
    let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    println!(
        "{players} players of {} edges: nothing came for {median:.1?}, at most {longest:.1?}",
        edges.len()
    );
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
        thread::park();
    }
}
