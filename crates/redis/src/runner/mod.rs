//! A node that runs streams of the list: it takes those that are free, ends those that should not run any more, and hands over what it has.
//!
//! In: the list, leases, and what the program gives to start streams with. Out: streams on the air. One thread, `fc-desired`, decides; it waits for
//! Redis, and no stream waits for it.

mod hands;
mod moves;
mod options;
mod waiting;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, unbounded};
use flowcast_core::StreamRef;
use parking_lot::Mutex;

use self::hands::Hands;
pub use self::hands::{EngineStreams, RunStreams};
pub use self::moves::MoveReport;
pub use self::options::RunnerOptions;
use self::work::{Order, Work};
use crate::desired::DesiredStreams;
use crate::error::Error;
use crate::nodes::Nodes;

/// In bytes.
const STACK: usize = 1 << 20;
/// Beside the time that streams have to end: leases are given back.
const LEASES: Duration = Duration::from_secs(2);

/// Runs streams of a cluster's list on this node. It takes a stream that no node runs after a delay that grows with its load, so that the node with most room usually
/// has it; there is no leader. When a node dies, the others take what it ran as its leases run out.
///
/// Streams stay where they are, unless their node dies, is [drained](Self::drain) or [rebalanced](Self::rebalance). While Redis is away, what runs goes
/// on, as far as [`LeaseIfAway`](crate::LeaseIfAway) says so, and nothing begins.
///
/// Dropping it ends its streams in order and gives them to other nodes, as [`stop`](Self::stop) does.
///
/// ```no_run
/// use std::time::Duration;
/// use flowcast_core::{Config, Engine};
/// use flowcast_redis::{
///     DesiredOptions, DesiredStreams, EngineStreams, LeaseOptions, Leases, NodeOptions, Nodes, Redis, RedisOptions, Room, RunnerOptions, StreamRunner,
/// };
///
/// let engine = Engine::new(Config::from_env()?)?;
/// let redis = Redis::new("redis://redis.example.com", RedisOptions::default())?;
/// let here = engine.clone();
/// let nodes = Nodes::new(&redis, "node-1", NodeOptions::default(), move || Room::of(&here))?;
/// let leases = Leases::new(&redis, "node-1", LeaseOptions::default())?;
/// let desired = DesiredStreams::new(&redis, &leases, DesiredOptions::default())?;
/// let runner = StreamRunner::start(&desired, &nodes, EngineStreams::new(&engine), RunnerOptions::default())?;
/// // ... until the node is to go ...
/// println!("{}", runner.drain(Duration::from_secs(600)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it ends its streams"]
pub struct StreamRunner {
    desired: DesiredStreams,
    nodes: Nodes,
    runs: Runs,
    options: RunnerOptions,
    orders: Sender<Order>,
    running: Arc<Running>,
}

/// What runs here, for others to see.
type Running = Mutex<BTreeMap<String, StreamRef>>;

/// What the program starts streams with.
struct Runs(Arc<dyn RunStreams>);

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunStreams")
    }
}

impl StreamRunner {
    /// Begins to run streams of `desired` on the node of `nodes`, which should be that of the leases of `desired`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting that cannot work, or where the leases are of a node with another name; [`Error::System`] if there is no thread.
    pub fn start(
        desired: &DesiredStreams,
        nodes: &Nodes,
        runs: impl RunStreams,
        options: RunnerOptions,
    ) -> Result<Self, Error> {
        options.check()?;
        if desired.leases().node() != nodes.name() {
            let reason =
                format!("the leases are those of {}, the node is {}", desired.leases().node(), nodes.name());
            return Err(Error::config("node", reason));
        }
        let runs: Arc<dyn RunStreams> = Arc::new(runs);
        let no_thread = |source| Error::System { what: "no thread to run streams", source: Arc::new(source) };
        let (hands, done) = Hands::begin(runs.clone(), options.starts_at_once).map_err(no_thread)?;
        let (orders, inbox) = unbounded();
        let running = Arc::new(Running::default());
        let work = Work::new(desired.clone(), nodes.clone(), hands, done, options.clone(), running.clone());
        drop(flowcast_core::spawn("fc-desired", STACK, move || work.live(&inbox)).map_err(no_thread)?);
        nodes.set_has_runner(true);
        let (desired, nodes, runs) = (desired.clone(), nodes.clone(), Runs(runs));
        Ok(Self { desired, nodes, runs, options, orders, running })
    }

    /// The streams that run here, by name.
    #[must_use]
    pub fn running(&self) -> Vec<(String, StreamRef)> {
        self.running.lock().iter().map(|(name, stream)| (name.clone(), stream.clone())).collect()
    }

    /// Ends all its streams in order, gives them to other nodes, and takes no more. `false` if that takes longer than `deadline`; it goes on then.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop(&self, deadline: Duration) -> bool {
        self.nodes.set_has_runner(false);
        let until = Instant::now().checked_add(deadline);
        let (reply, ended) = bounded(1);
        if self.orders.send(Order::End { reply }).is_err() {
            return true;
        }
        match until {
            Some(until) => ended.recv_deadline(until).is_ok(),
            None => ended.recv().is_ok(),
        }
    }
}

impl Drop for StreamRunner {
    fn drop(&mut self) {
        self.stop(self.options.stop + LEASES);
    }
}
