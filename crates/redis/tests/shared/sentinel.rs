//! A server that dies, and another that Sentinel puts in its place: three sentinels, two of which have to agree.

use std::path::Path;
use std::time::{Duration, Instant};

use flowcast_redis::{LeaseIfAway, Redis, RedisState};
use kit::{Peer, directory, own_address, text};

use super::desired::{CLUSTER, Cluster};
use super::nodes::*;
use super::stage::Stage;

const STREAMS: usize = 4;
/// What the sentinels call the server.
const SERVICE: &str = "main";
const PASSWORD: &str = "canary-of-sentinels";

/// So long that no fail-over takes as long, on the busiest machine.
fn cluster() -> Cluster {
    Cluster { ttl: Duration::from_secs(60), if_away: LeaseIfAway::KeepRunning, ..CLUSTER }
}

/// A server in a cluster of two. It says where it listens: the other would take its near end for that.
fn server(replica_of: Option<&RedisServer>) -> RedisServer {
    let address = own_address();
    let ip = address.ip().to_string();
    let mut arguments = vec!["--replica-announce-ip", &ip, "--repl-diskless-sync-delay", "0"];
    let of = replica_of.map(|server| (server.address.ip().to_string(), server.address.port().to_string()));
    if let Some((host, port)) = &of {
        arguments.extend(["--replicaof", host, port]);
    }
    RedisServer::at(address, &arguments)
}

struct Sentinel {
    address: std::net::SocketAddr,
    process: Peer,
    password: Option<&'static str>,
    _directory: tempfile::TempDir,
}

impl Sentinel {
    fn start(server: &RedisServer, password: Option<&'static str>) -> Self {
        let directory = directory();
        let address = own_address();
        let file = directory.path().join("sentinel.conf");
        let (at, watched) = (address, server.address);
        let mut settings = vec![
            format!("bind {}", at.ip()),
            format!("port {}", at.port()),
            format!("dir {}", text(directory.path())),
            format!("sentinel announce-ip {}", at.ip()),
            format!("sentinel monitor {SERVICE} {} {} 2", watched.ip(), watched.port()),
            format!("sentinel down-after-milliseconds {SERVICE} 1000"),
            format!("sentinel failover-timeout {SERVICE} 10000"),
        ];
        settings.extend(password.map(|password| format!("requirepass {password}")));
        std::fs::write(&file, settings.join("\n")).unwrap();
        let mut process = Peer::spawn(Path::new("redis-server"), [text(&file), "--sentinel"]);
        process.wait_listening(address, PATIENCE);
        Self { address, process, password, _directory: directory }
    }

    fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let login = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{login}{}", self.address))?;
        let mut command = redis::cmd("SENTINEL");
        for word in words {
            command.arg(*word);
        }
        command.query(&mut client.get_connection_with_timeout(PATIENCE)?)
    }

    /// Whether it knows the others, and a replica that can take over.
    fn is_ready(&self) -> bool {
        let Ok(facts) = self.ask::<Vec<String>>(&["MASTER", SERVICE]) else { return false };
        let is = |name: &str, value: &str| facts.chunks(2).any(|pair| pair == [name, value]);
        is("num-other-sentinels", "2")
            && is("num-slaves", "1")
            && is("flags", "master")
            && self.ask::<Vec<Vec<String>>>(&["REPLICAS", SERVICE]).is_ok_and(|replicas| {
                replicas
                    .iter()
                    .flat_map(|facts| facts.chunks(2))
                    .any(|pair| pair == ["master-link-status", "ok"])
            })
    }
}

/// What it is; nothing while a sentinel makes it something else, and closes all connections.
fn role(server: &RedisServer) -> String {
    let facts: String = try_say(server, &["INFO", "replication"]).unwrap_or_default();
    facts.lines().find_map(|line| line.strip_prefix("role:")).unwrap_or_default().to_owned()
}

#[test]
fn a_server_that_dies_is_replaced_and_nothing_ends() {
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let first = server(None);
    let mut second = server(Some(&first));
    let sentinels = [(); 3].map(|()| Sentinel::start(&first, None));
    let ready = || sentinels.iter().all(Sentinel::is_ready);
    assert!(wait_until(PATIENCE, ready), "{}", sentinels[0].process.report());
    let places: Vec<_> = sentinels.iter().map(|sentinel| sentinel.address.to_string()).collect();
    let url = format!("redis+sentinel://{}/{SERVICE}", places.join(","));
    let mut stage = Stage::with(first, &url, STREAMS, &cluster());
    let nodes = ["one", "two"].map(|name| cluster().join(&url, name, &[]));
    let runners = nodes.each_ref().map(|node| node.run());
    let keys = Node::start(&url);
    let key = keys.keys.issue("studio").unwrap();
    let other = Node::start(&url);
    other.waits_for(key.reveal(), Ok("studio"));
    stage.all_flow(&[]);
    let (before, holders) = (stage.seen(), stage.run_by(|_| true));
    let streams: Vec<_> = runners.iter().flat_map(|runner| runner.running()).collect();
    assert_eq!(streams.len(), STREAMS);
    // What is replicated in order is all there once the last of it is.
    let _: () = say(&stage.store, &["SET", "last", "1"]);
    let last = || say::<Option<u32>>(&second, &["GET", "last"]) == Some(1);
    assert!(wait_until(PATIENCE, last));

    stage.store.kill();
    let killed = Instant::now();
    let (mut codes, mut asked) = (Vec::new(), 0);
    let is_done = || {
        asked += 1;
        let Err(error) = keys.keys.issue(&format!("door-{asked}")) else { return true };
        assert!(error.is_retryable(), "{error}");
        if codes.last() != Some(&error.code()) {
            codes.push(error.code());
        }
        false
    };
    assert!(wait_until(PATIENCE, is_done), "{codes:?} {:?}", keys.redis.stats());
    println!(
        "changes work again {:?} after the server was killed; before, they said {codes:?}",
        killed.elapsed()
    );
    assert_eq!(role(&second), "master");
    for node in nodes.iter().map(|node| &node.redis).chain([&other.redis, &stage.control.redis]) {
        assert!(wait_until(PATIENCE, || node.stats().state == RedisState::Up), "{:?}", node.stats());
    }
    println!("all nodes have found the other one {:?} after that", killed.elapsed());
    // Keys, leases and the list are as they were, and go on.
    other.waits_for(key.reveal(), Ok("studio"));
    assert_eq!(stage.run_by(|_| true), holders);
    assert_eq!(stage.holders(), holders);
    let mut names = stage.control.desired.names();
    names.sort();
    assert_eq!(names, stage.names);
    stage.all_flow(&before);
    let connections =
        |seen: &[(u64, u64)]| seen.iter().map(|(connections, _)| *connections).collect::<Vec<_>>();
    assert_eq!(connections(&stage.seen()), connections(&before), "nothing was dialled anew");
    assert!(streams.iter().all(|(_, stream)| !stream.has_ended()));
    assert!(other.keys.remove("studio").unwrap());
    keys.waits_for(key.reveal(), Err(flowcast_core::Denial::UnknownKey));
    assert!(stage.control.desired.remove("s-0").unwrap());
    assert!(wait_until(PATIENCE, || runners.iter().map(|runner| runner.running().len()).sum::<usize>()
        == STREAMS - 1));
    stage.control.desired.put("s-0", &stage.spec(0)).unwrap();
    stage.all_flow(&[]);
    assert!(stage.run_by(|_| true)[0].1 > holders[0].1, "epochs go on");

    // It comes back, is made a replica, and is put in its place again, as in a planned change: connections are closed by the server that was demoted.
    stage.store.restart();
    assert!(wait_until(PATIENCE, || role(&stage.store) == "slave"));
    assert!(wait_until(PATIENCE, ready), "{}", sentinels[0].process.report());
    let before = stage.seen();
    assert!(wait_until(PATIENCE, || sentinels[0].ask::<String>(&["FAILOVER", SERVICE]).is_ok()));
    assert!(wait_until(PATIENCE, || role(&stage.store) == "master" && role(&second) == "slave"));
    let changed = Instant::now();
    assert!(wait_until(PATIENCE, || keys.keys.issue("window").is_ok()), "{:?}", keys.redis.stats());
    println!("changes work again {:?} after a planned change", changed.elapsed());
    second.kill();
    assert!(wait_until(PATIENCE, || other.keys.issue("roof").is_ok()), "it is of no use any more");
    stage.all_flow(&before);
    assert_eq!(connections(&stage.seen()), connections(&before));
}

#[test]
fn sentinels_that_are_wrong_away_or_silent_are_passed_over() {
    if !need(&[Need::Redis]) {
        return;
    }
    let main = server(None);
    let replica = server(Some(&main));
    let [right, wrong, silent] =
        [&main, &replica, &main].map(|server| Sentinel::start(server, Some(PASSWORD)));
    let url = |places: &[&Sentinel], name: &str| {
        let places: Vec<_> = places.iter().map(|sentinel| sentinel.address.to_string()).collect();
        format!("redis+sentinel://127.0.0.1:1,{}/{name}", places.join(","))
    };
    // One that was left alone with an old server sends everybody to it.
    assert!(wait_until(PATIENCE, || role(&replica) == "slave"));
    let options = quick().with(|options| options.sentinel_password = Some(PASSWORD.into()));
    let with = |url: String| Redis::new(&url, options.clone()).unwrap();
    silent.process.frozen(|| {
        let redis = with(url(&[&silent, &wrong, &right], SERVICE));
        assert!(redis.wait_until_up(PATIENCE), "{:?}", redis.stats());
        assert_eq!(redis.stats().connections, 1);
    });
    let states = |redis: &Redis, state: RedisState| {
        assert!(
            wait_until(PATIENCE, || redis.stats().state == state),
            "{:?} instead of {state}",
            redis.stats()
        );
    };
    states(&with(url(&[&wrong], SERVICE)), RedisState::ReadOnly);
    states(&with(url(&[&right], "another")), RedisState::Away);
    let no_password = Redis::new(&url(&[&right], SERVICE), quick()).unwrap();
    states(&no_password, RedisState::Denied);
}
