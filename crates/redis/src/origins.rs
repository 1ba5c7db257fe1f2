//! Streams by name: which node has one on the air, and where it is pulled from.
//!
//! In: names that players ask an edge for. Out: what an edge pulls, and where that is now. A task on the link's thread looks twice a second where
//! the streams are that are pulled here.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use flowcast_core::ReconnectPolicy;
use flowcast_core::pull::{Pull, Whereabouts};
use parking_lot::Mutex;

use crate::error::Error;
use crate::lease::Leases;
use crate::link::{Redis, Task, Worker};
use crate::nodes::Nodes;

/// How often it is looked where streams are.
const LOOK: Duration = Duration::from_millis(500);
/// How long a look may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Names of one question.
const PAGE: usize = 500;

/// Finds streams on the nodes of a cluster by their names: those that are published there ([`LeasedKeys`](crate::LeasedKeys)), and those that run there
/// ([`StreamRunner`](crate::StreamRunner)) and are published under the name of their lease. For the rule of a relay: an edge pulls from the node
/// that has the stream, and from the next one when it has moved.
///
/// ```no_run
/// use flowcast_core::{Config, Engine};
/// use flowcast_redis::{LeaseOptions, Leases, NodeOptions, Nodes, Origins, Redis, RedisOptions, Room};
/// use flowcast_server::{Relay, RtmpServerExt};
///
/// let engine = Engine::new(Config::from_env()?)?;
/// let redis = Redis::new("redis://redis.example.com", RedisOptions::default())?;
/// let here = engine.clone();
/// let nodes = Nodes::new(&redis, "edge-1", NodeOptions::default(), move || Room::of(&here))?;
/// let leases = Leases::new(&redis, "edge-1", LeaseOptions::default())?;
/// let origins = Origins::new(&redis, &nodes, &leases)?;
/// let relay = Relay::by(move |name| origins.pull(name));
/// let server = engine.rtmp_server("0.0.0.0:1935").relay(relay).start()?;
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Origins {
    redis: Redis,
    nodes: Nodes,
    leases: Leases,
    followed: Arc<Followed>,
}

/// A node that has a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The node.
    pub node: String,
    /// The epoch of its lease.
    pub epoch: u64,
    /// Where the stream is played from; `None` if the node is lost, or says no [address](crate::NodeOptions::address).
    pub url: Option<String>,
}

/// What is pulled here.
type Followed = Mutex<Vec<(String, Whereabouts)>>;

/// Looks where it is.
struct Follow {
    followed: Weak<Followed>,
    ttl: Duration,
}

impl Origins {
    /// Streams of the cluster of `redis`, for the node of `nodes` and `leases`.
    ///
    /// # Errors
    ///
    /// [`Error::Away`] if too much waits for `redis`.
    pub fn new(redis: &Redis, nodes: &Nodes, leases: &Leases) -> Result<Self, Error> {
        let followed = Arc::new(Followed::default());
        let (weak, ttl) = (Arc::downgrade(&followed), nodes.ttl());
        redis.every(Follow { followed: weak, ttl })?;
        Ok(Self { redis: redis.clone(), nodes: nodes.clone(), leases: leases.clone(), followed })
    }

    /// Which node has the stream of this name, if one has it.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis.
    ///
    /// # Blocking
    ///
    /// Twice up to [`RedisOptions::call`](crate::RedisOptions::call).
    pub fn find(&self, name: &str) -> Result<Option<Origin>, Error> {
        let Some((node, epoch)) = self.leases.holder(name)? else { return Ok(None) };
        let ttl = self.nodes.ttl();
        let asked = [node.clone()];
        let address =
            self.redis.call(move |worker, until| crate::nodes::addresses(worker, until, ttl, &asked))?;
        let url = address.into_iter().next().flatten().map(|address| url(&address, name));
        Ok(Some(Origin { node, epoch, url }))
    }

    /// What an edge pulls for this name, for [`Relay::by`](https://docs.rs/flowcast-server/latest/flowcast_server/struct.Relay.html#method.by): the stream of the node that has
    /// it, wherever that is later. `None` if no other node has it, or Redis cannot be asked; the log says the latter.
    ///
    /// A lost node is dialled again after half a second, and every second from then on, at its own address or, once it has the name, another node's.
    /// How long players stay meanwhile is said by the relay (`hold`, 30 s).
    ///
    /// # Blocking
    ///
    /// As of [`find`](Self::find).
    #[must_use]
    pub fn pull(&self, name: &str) -> Option<Pull> {
        let origin = match self.find(name) {
            Ok(origin) => origin?,
            Err(error) => {
                log::warn!("{name}: it is not known who has it: {error}");
                return None;
            }
        };
        if origin.node == self.nodes.name() {
            return None;
        }
        // The address was looked at when the node said it.
        let whereabouts = Whereabouts::new(&origin.url?).ok()?;
        self.followed.lock().push((name.to_owned(), whereabouts.clone()));
        let mut soon = ReconnectPolicy::default();
        (soon.first, soon.cap) = (Duration::from_millis(500), Duration::from_secs(1));
        Some(Pull::following(&whereabouts).reconnect(soon).first_media(Duration::from_secs(5)))
    }
}

impl Task for Follow {
    fn run(&mut self, worker: &mut Worker) -> Option<Instant> {
        let followed = self.followed.upgrade()?;
        let all = {
            let mut followed = followed.lock();
            // The list has one itself.
            followed.retain(|(_, whereabouts)| whereabouts.is_followed());
            followed.clone()
        };
        // While Redis cannot be asked, they stay where they were.
        let _ = self.look(worker, &all);
        Some(Instant::now() + LOOK)
    }
}

impl Follow {
    fn look(&self, worker: &mut Worker, all: &[(String, Whereabouts)]) -> Result<(), Error> {
        for page in all.chunks(PAGE) {
            let until = Instant::now() + PATIENCE;
            let names: Vec<_> = page.iter().map(|(name, _)| name.as_str()).collect();
            let holders = crate::lease::holders(worker, until, &names)?;
            let nodes: Vec<_> = holders.iter().map(|holder| holder.clone().unwrap_or_default()).collect();
            let addresses = crate::nodes::addresses(worker, until, self.ttl, &nodes)?;
            for ((name, whereabouts), address) in page.iter().zip(addresses) {
                let Some(address) = address else { continue };
                if whereabouts.set(&url(&address, name)).is_ok_and(|has_moved| has_moved) {
                    log::info!("{name}: is at {address} now");
                }
            }
        }
        Ok(())
    }
}

fn url(address: &str, name: &str) -> String {
    format!("{}/{name}", address.trim_end_matches('/'))
}
