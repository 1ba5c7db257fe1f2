//! Names that one node at a time may publish or run.
//!
//! In: names that programs want to use. Out: leases, with a fence that streams are put behind. The link's thread renews them.

mod held;
mod ledger;
mod options;
mod publishers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_core::{Engine, Fence, StreamHandle, StreamRef, StreamSpec};

use self::held::Held;
pub(crate) use self::ledger::holders;
use self::ledger::{Keep, Ledger};
pub use self::options::{LeaseIfAway, LeaseOptions};
pub use self::publishers::LeasedKeys;
use crate::error::Error;
use crate::life::{check_node, life};
use crate::link::Redis;

/// Leases of names among the nodes of a cluster: who has the lease of a name runs its stream, and nobody else does.
///
/// A lease expires [`ttl`](LeaseOptions::ttl) after it was last renewed, so what a node that died ran can be taken by another. Each time a name is leased it has
/// the next [epoch](Lease::epoch), also after Redis has lost everything, as long as a holder of it lives: whoever gets two things under one name
/// takes the one of the higher epoch.
///
/// A server that has no lease at all may have lost some that are held. So it grants none in the first [`ttl`](LeaseOptions::ttl)
/// ([`Error::Young`]); holders put theirs back within it. It is so, too, when a cluster begins.
///
/// ```no_run
/// use flowcast_core::{Config, Engine, Output, Source};
/// use flowcast_redis::{Error, LeaseOptions, Leases, Redis, RedisOptions};
///
/// let engine = Engine::new(Config::default())?;
/// let redis = Redis::new("redis://redis.example.com", RedisOptions::default())?;
/// let leases = Leases::new(&redis, "node-1", LeaseOptions::default())?;
/// match leases.acquire("rain") {
///     Ok(lease) => {
///         let source = Source::published("rain");
///         let stream = engine.stream(source).to(Output::rtmp("rtmp://a.rtmp.youtube.com/live2", "key")).start()?;
///         assert!(lease.guard(&stream.stream())); // it ends when the lease is lost
///         let _ = stream.wait();
///     }
///     Err(Error::Held { by, .. }) => println!("{by} runs it"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Leases {
    redis: Redis,
    ledger: Arc<Ledger>,
}

/// A name that this node alone may use. Dropping it gives it up: streams that are behind it end, and then the name is free for others. While it is given
/// back, this node cannot have it either ([`Error::Held`], by itself). It is renewed as long as it lives, whether [`Leases`] are kept or not; if it was the last that
/// used the connection, it is not given back but expires.
#[derive(Debug)]
#[must_use = "dropping a lease gives it up"]
pub struct Lease {
    held: Arc<Held>,
    /// What renews it.
    _leases: Leases,
}

impl Leases {
    /// Leases of the node `node` in the cluster of `redis`. Its name is for others to see: 1 to 64 letters, digits, `-`, `_` and `.`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting that cannot work; [`Error::Away`] if too much waits for `redis`.
    pub fn new(redis: &Redis, node: &str, options: LeaseOptions) -> Result<Self, Error> {
        options.check()?;
        check_node(node)?;
        let me = format!("{node}|{}", life()?);
        let ledger = Arc::new(Ledger::new(&redis.prefix(), me, options));
        redis.every(Keep { ledger: Arc::downgrade(&ledger), renew_at: Instant::now() })?;
        Ok(Self { redis: redis.clone(), ledger })
    }

    /// Takes the lease of `name`: 1 to 128 bytes of letters, digits, `-`, `_` and `.`, not only dots.
    ///
    /// # Errors
    ///
    /// [`Error::Held`] if a node has it, [`Error::Young`] as said for [`Leases`]; [`Error::Config`] for a name that is none; what is in the way with
    /// Redis. A lease that was granted though its answer did not come ([`Error::NoAnswer`]) is this node's when it asks again, or expires.
    ///
    /// # Blocking
    ///
    /// Up to [`RedisOptions::call`](crate::RedisOptions::call).
    pub fn acquire(&self, name: &str) -> Result<Lease, Error> {
        self.take(name, None)
    }

    /// Takes the lease of `name`, and with it one of the `most` places that `owner` has on all nodes together. Both or neither: the number holds at every
    /// moment, and the places of a node that died are free with its leases. All nodes need the same `most`.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire); [`StreamLimitExceeded`](flowcast_core::Error::StreamLimitExceeded) in [`Error::Core`] if the owner has as many.
    ///
    /// # Blocking
    ///
    /// As for [`acquire`](Self::acquire).
    pub fn acquire_for(&self, name: &str, owner: &str, most: usize) -> Result<Lease, Error> {
        if most == 0 {
            return Err(Error::config("most", "must be at least 1"));
        }
        if owner.is_empty() || owner.len() > 256 {
            return Err(Error::config("owner", "an owner has 1 to 256 bytes"));
        }
        self.take(name, Some((owner.to_owned(), most)))
    }

    fn take(&self, name: &str, owner: Option<(String, usize)>) -> Result<Lease, Error> {
        if !flowcast_core::Grant::new(name).has_usable_name() {
            return Err(Error::config("name", "a name has 1 to 128 letters, digits, '-', '_' and '.'"));
        }
        let (leases, name) = (self.clone(), name.to_owned());
        self.redis.call(move |worker, until| {
            // Given up again if nobody waits for the answer any more.
            let held = leases.ledger.acquire(worker, until, &name, owner)?;
            Ok(Lease { held, _leases: leases })
        })
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        self.ledger.node()
    }

    /// How long a lease outlives its last renewal.
    pub(crate) fn ttl(&self) -> Duration {
        self.ledger.ttl()
    }

    /// Whether this node has the lease of `name`, also while it is given back.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.ledger.has(name)
    }

    /// Which node has `name`, and since which epoch.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis.
    ///
    /// # Blocking
    ///
    /// As for [`acquire`](Self::acquire).
    pub fn holder(&self, name: &str) -> Result<Option<(String, u64)>, Error> {
        let (ledger, name) = (self.ledger.clone(), name.to_owned());
        self.redis.call(move |worker, until| ledger.holder(worker, until, &name))
    }
}

impl Lease {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.held.name
    }

    /// How often the name has been leased: higher than for all who had it before. A fencing token.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.held.epoch
    }

    /// Puts a stream behind the lease: it ends, without a goodbye, before another node can have the name; see
    /// [`StreamRef::set_fence`]. `false` if it is behind one already.
    #[must_use = "says whether it is"]
    pub fn guard(&self, stream: &StreamRef) -> bool {
        self.held.guard(stream)
    }

    /// Starts a stream in `engine`, behind the lease before anything of it is sent: [`Engine::start_behind`], and what [`guard`](Self::guard) does.
    ///
    /// # Errors
    ///
    /// As of [`Engine::start_behind`]; [`Fenced`](flowcast_core::Error::Fenced) if the lease is lost by the time the source is open.
    ///
    /// # Blocking
    ///
    /// As of [`Engine::start`].
    pub fn start(&self, engine: &Engine, spec: StreamSpec) -> Result<StreamHandle, flowcast_core::Error> {
        let stream = engine.start_behind(spec, self.fence())?;
        self.held.keep(&stream.stream());
        Ok(stream)
    }

    /// The fence, for what is no stream: nothing is to be sent once it is closed.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.held.fence
    }

    /// Whether it is held. A `true` may be over the next moment: what has to be exact asks the [fence](Self::fence) before it sends.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_held()
    }

    /// Waits until it is lost; `false` if it is still held after `deadline`.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn wait_lost(&self, deadline: Duration) -> bool {
        let until = Instant::now().checked_add(deadline);
        self.held.wait_lost(until.unwrap_or_else(|| Instant::now() + Duration::from_secs(365 * 86_400)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.give_up();
    }
}
