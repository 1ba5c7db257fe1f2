//! Streams of a list that go through a [`Gate`] to a receiver; and nodes in processes of their own that run them.

use std::ffi::OsStr;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flowcast_core::{Config, Engine, Output, Source, StreamSpec};
use flowcast_redis::{DesiredStatus, RunnerOptions};
use flowcast_server::{RtmpServer, RtmpServerExt};
use kit::{Clip, Peer, directory, role_arguments, text};

use super::desired::{CLUSTER, Cluster, Member};
use super::gate::{Gate, Seen};
use super::nodes::*;

/// Media of a stream that was just put on the air: more than a handshake and its headers.
const FLOWS: u64 = 30_000;
/// A turn of a stream's thread that was being written when its time was over.
pub(crate) const TURN: u64 = 16_000;

/// Nodes that are soon known to be lost.
pub(crate) fn cluster(ttl: Duration) -> Cluster {
    Cluster { ttl, node_ttl: Duration::from_secs(3), ..CLUSTER }
}

/// Redis, a list of streams, and where they go to.
pub(crate) struct Stage {
    pub(crate) control: Member,
    pub(crate) gate: Gate,
    pub(crate) server: RtmpServer,
    pub(crate) store: RedisServer,
    pub(crate) names: Vec<String>,
    clip: PathBuf,
    _receiver: Engine,
    _directory: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn start(streams: usize, ttl: Duration) -> Self {
        let store = RedisServer::start();
        let url = store.url();
        Self::with(store, &url, streams, &cluster(ttl))
    }

    /// Where those who control it reach Redis at a URL.
    pub(crate) fn with(store: RedisServer, url: &str, streams: usize, cluster: &Cluster) -> Self {
        // Old enough to grant leases.
        let _: () = say(&store, &["SET", "fc:{flowcast}:leases:born", "1"]);
        let directory = directory();
        let clip = Clip::default().make(directory.path(), "rain.flv");
        let receiver = Engine::new(Config::default().with(|config| config.max_streams = 100)).unwrap();
        let names: Vec<_> = (0..streams).map(|number| format!("s-{number}")).collect();
        for name in &names {
            receiver.keys().add(name, format!("key-of-{name}")).unwrap();
        }
        let server = receiver.rtmp_server("127.0.0.1:0").start().unwrap();
        let gate = Gate::start(server.address(), streams);
        let control = cluster.join(url, "control", &[]);
        let stage =
            Self { control, gate, server, store, names, clip, _receiver: receiver, _directory: directory };
        for (number, name) in stage.names.iter().enumerate() {
            let spec = stage.spec(number);
            assert!(wait_until(PATIENCE, || stage.control.desired.put(name, &spec).is_ok()));
        }
        stage
    }

    /// A stream through one of the gate's doors.
    pub(crate) fn spec(&self, number: usize) -> StreamSpec {
        let output = Output::rtmp(
            &format!("rtmp://{}/live", self.gate.addresses[number]),
            format!("key-of-{}", self.names[number]),
        );
        StreamSpec::new(Source::file(text(&self.clip)).looped()).to(output)
    }

    /// Connections of each stream so far, and bytes of the youngest.
    pub(crate) fn seen(&self) -> Vec<(u64, u64)> {
        self.gate.seen().iter().map(|seen| (seen.connections, seen.bytes)).collect()
    }

    /// Waits until all are on the air, from connections that were not there `before`, or have sent more since.
    #[track_caller]
    pub(crate) fn all_flow(&self, before: &[(u64, u64)]) {
        self.flow(self.names.len(), before);
    }

    /// Waits until so many are.
    #[track_caller]
    pub(crate) fn flow(&self, wanted: usize, before: &[(u64, u64)]) {
        let flows = |(number, seen): &(usize, &Seen)| {
            let (connections, bytes) = before.get(*number).copied().unwrap_or_default();
            let bytes = if seen.connections == connections { bytes } else { 0 };
            seen.is_open && seen.bytes >= bytes + FLOWS
        };
        let enough = || self.gate.seen().iter().enumerate().filter(flows).count() >= wanted;
        let in_time = wait_until(PATIENCE * 2, enough);
        let statuses = || {
            let status = |name: &String| self.control.desired.status(name).map(|status| status.to_string());
            self.names.iter().map(status).collect::<Vec<_>>()
        };
        assert!(in_time, "{:?} {:?}", self.gate.seen(), statuses());
    }

    /// Waits until each stream is run by a node that may, and says by which, and with which epochs.
    #[track_caller]
    pub(crate) fn run_by(&self, is_right: impl Fn(&str) -> bool) -> Vec<(String, u64)> {
        let by = |name: &String| {
            let mut by = None;
            let in_time = wait_until(PATIENCE * 2, || {
                by = match self.control.desired.status(name) {
                    Ok(DesiredStatus::Running { node, epoch, .. }) if is_right(&node) => Some((node, epoch)),
                    _ => None,
                };
                by.is_some()
            });
            assert!(in_time, "{name}: {:?}", self.control.desired.status(name));
            by.unwrap()
        };
        self.names.iter().map(by).collect()
    }

    /// Who has the lease of each stream.
    pub(crate) fn holders(&self) -> Vec<(String, u64)> {
        let holder = |name: &String| self.control.leases.holder(name).ok().flatten().unwrap_or_default();
        self.names.iter().map(holder).collect()
    }

    /// Bytes that came from two at a time.
    #[track_caller]
    pub(crate) fn was_never_twice(&self) {
        let late = self.gate.seen().iter().map(|seen| seen.late).max();
        assert!(late <= Some(TURN), "{late:?} bytes from two at a time");
    }
}

/// Nodes of a role of the test they are started by.
pub(crate) struct Role {
    pub(crate) role: &'static str,
    pub(crate) test: &'static str,
    pub(crate) url: String,
    pub(crate) ttl: Duration,
}

impl Role {
    /// Starts a node that runs streams.
    pub(crate) fn node(&self, name: &str, environment: &[(&str, &OsStr)]) -> Peer {
        let (program, arguments) = role_arguments(self.role, self.test);
        let ttl = self.ttl.as_millis().to_string();
        let own: [(&str, &OsStr); 3] =
            [("NODE_REDIS", self.url.as_ref()), ("NODE_NAME", name.as_ref()), ("NODE_TTL", ttl.as_ref())];
        let all: Vec<_> = own.into_iter().chain(environment.iter().copied()).collect();
        let mut process = Peer::spawn_with(&program, arguments, &all);
        process.wait_for_line("runs", PATIENCE);
        process
    }
}

/// What such a node does, until it is killed; `NODE_MOST` says how many streams an owner may have. Asked with a word, it says that word, what time it is, and how long it has been running, in seconds.
#[allow(clippy::print_stdout, reason = "the test that started it waits for it")]
pub(crate) fn run_streams() {
    let given = |name| std::env::var(name).unwrap();
    let ttl = Duration::from_millis(given("NODE_TTL").parse().unwrap());
    let name = given("NODE_NAME");
    let begun = Instant::now();
    let member = cluster(ttl).join(&given("NODE_REDIS"), &name, &[&name]);
    let most = std::env::var("NODE_MOST").ok().map(|most| most.parse().unwrap());
    let _runner = member.run_with(RunnerOptions::default().with(|options| options.most_per_owner = most));
    println!("\nruns");
    for word in std::io::stdin().lock().lines().map_while(Result::ok) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        println!("{word} {time} {}", begun.elapsed().as_secs());
    }
    loop {
        std::thread::park();
    }
}
