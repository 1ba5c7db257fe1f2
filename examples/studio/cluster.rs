//! A node of a cluster, as `[cluster]` of the file says: it runs streams of the list that all nodes share, serves them wherever they run, publishes each
//! name on one node only, and hands everything over before it ends.

use std::collections::BTreeSet;
use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use flowcast::server::{Relay, RtmpServerBuilder};
use flowcast::{Engine, RtmpServer};
use flowcast_http::Options;
use flowcast_redis::{
    DesiredOptions, DesiredStreams, EngineStreams, HttpCluster, LeaseIfAway, LeaseOptions, LeasedKeys,
    Leases, NodeOptions, Nodes, Origins, Redis, RedisKeys, RedisKeysOptions, RedisOptions, Room,
    RunnerOptions, StreamRunner,
};

use crate::DEADLINE;
use crate::file::ClusterTable;
use crate::keys::NodeKeys;
use crate::support::Result;
use crate::support::print::out;

/// How often it is looked what runs here.
const LOOK: Duration = Duration::from_millis(200);
/// Players of what is pulled are held for this long while another node takes it.
const HOLD: Duration = Duration::from_secs(60);

/// What is there before the server is.
pub(crate) struct Joining {
    redis: Redis,
    name: String,
    leases: Leases,
    desired: DesiredStreams,
    origins: Arc<OnceLock<Origins>>,
    keys: NodeKeys,
}

/// A node.
pub(crate) struct Node {
    nodes: Nodes,
    keys: NodeKeys,
    desired: DesiredStreams,
    runner: Arc<StreamRunner>,
    drain: Duration,
    running: BTreeSet<String>,
    listed: bool,
}

impl Joining {
    pub(crate) fn new(table: &ClusterTable, engine: &Engine) -> Result<Self> {
        let said = |wanted: &Option<String>, name: &str| wanted.clone().or_else(|| env::var(name).ok());
        let url = said(&table.redis, "REDIS_URL").ok_or("cluster: redis is missing, and so is REDIS_URL")?;
        let name = said(&table.node, "NODE_NAME").or_else(hostname);
        let name = name.ok_or("cluster: node is missing, and so is NODE_NAME")?;
        let options = RedisOptions::default().with(|options| options.cluster.clone_from(&table.name));
        let redis = Redis::new(&url, options)?;
        let options = LeaseOptions::default().with(|options| {
            options.if_away = if table.stop_if_away { LeaseIfAway::Stop } else { LeaseIfAway::KeepRunning };
        });
        let leases = Leases::new(&redis, &name, options)?;
        let secret = env::var("CLUSTER_SECRET").ok().map(Into::into);
        let desired = DesiredOptions::default().with(|options| options.secret = secret);
        let desired = DesiredStreams::new(&redis, &leases, desired)?;
        let own = engine.keys().clone();
        let keys = NodeKeys { shared: RedisKeys::new(&redis, &own, RedisKeysOptions::default())?, own };
        Ok(Self { redis, name, leases, desired, origins: Arc::default(), keys })
    }

    /// A server that takes the keys of the cluster, on which a name is published only if it is on no other node, and which plays what runs on any.
    pub(crate) fn on(&self, server: RtmpServerBuilder, engine: &Engine) -> Result<RtmpServerBuilder> {
        let origins = self.origins.clone();
        let relay = Relay::by(move |name| origins.get()?.pull(name)).hold(HOLD);
        let keys = LeasedKeys::new(self.keys.clone(), &self.leases, engine)?;
        Ok(server.relay(relay).key_store(keys))
    }

    /// The node begins.
    pub(crate) fn enter(self, table: &ClusterTable, engine: &Engine, server: &RtmpServer) -> Result<Node> {
        let address = table.address.clone().or_else(|| env::var("NODE_ADDRESS").ok());
        let address = address.unwrap_or_else(|| format!("rtmp://{}/live", server.address()));
        let options = NodeOptions::default().with(|options| {
            options.address = Some(address.clone());
            options.labels.clone_from(&table.labels);
        });
        let here = engine.clone();
        let nodes = Nodes::new(&self.redis, &self.name, options, move || Room::of(&here))?;
        let _ = self.origins.set(Origins::new(&self.redis, &nodes, &self.leases)?);
        let runs = EngineStreams::new(engine);
        let runner = Arc::new(StreamRunner::start(&self.desired, &nodes, runs, RunnerOptions::default())?);
        out!("node {} of the cluster {}; others play from {address}", self.name, table.name)?;
        let drain = Duration::from_secs(table.drain_seconds);
        let (desired, keys) = (self.desired, self.keys);
        Ok(Node { nodes, keys, desired, runner, drain, running: BTreeSet::new(), listed: false })
    }
}

impl Node {
    /// For the page and the API.
    pub(crate) fn shown(&self, options: Options) -> Options {
        options.cluster(HttpCluster::new(&self.nodes, &self.desired, &self.runner)).keys(self.keys.clone())
    }

    /// What has changed since the last time.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        if self.nodes.is_listed() != self.listed {
            self.listed = !self.listed;
            said.push(match self.listed {
                true => "cluster: this node is in it".to_owned(),
                false => "cluster: this node is not in it: Redis is away, or another process has its name"
                    .to_owned(),
            });
        }
        let running: BTreeSet<_> = self.runner.running().into_iter().map(|(name, _)| name).collect();
        said.extend(running.difference(&self.running).map(|name| format!("cluster: {name} runs here")));
        let gone = self.running.difference(&running);
        said.extend(gone.map(|name| format!("cluster: {name} does not run here any more")));
        self.running = running;
        said
    }

    /// Hands everything over and leaves. Asked once more, it ends what is left.
    pub(crate) fn leave(mut self, asked: &AtomicBool, say: impl Fn(String)) {
        asked.store(false, Ordering::Relaxed);
        if !self.running.is_empty() {
            say(format!("cluster: handing {} streams over; once more ends them", self.running.len()));
        }
        let (runner, drain) = (self.runner.clone(), self.drain);
        let drained = thread::spawn(move || runner.drain(drain));
        while !drained.is_finished() && !asked.load(Ordering::Relaxed) {
            self.said().into_iter().for_each(&say);
            thread::sleep(LOOK);
        }
        if drained.is_finished()
            && let Ok(report) = drained.join()
        {
            say(format!("cluster: {report}"));
        }
        // What is left ends in order, and others take it.
        self.runner.stop(DEADLINE);
        // While Redis is away, the others find out by themselves.
        let _ = self.nodes.leave();
    }
}

/// That of the machine; in a container, that of the container.
fn hostname() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    (!name.is_empty()).then_some(name)
}
