//! Publishers, one for each name on all nodes.
//!
//! In: what a key store grants on a server. Out: the same, once the node has the lease of the name; the stream is put behind it. On the hooks' threads of
//! the server; what is done later, on a thread of its own, `fc-leases`: the link's may be waiting for Redis.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use flowcast_core::{Asker, Denial, Engine, Grant, Hub, KeyStore, StreamId};
use flowcast_rtmp::key::StreamKey;
use parking_lot::Mutex;

use super::{Lease, Leases};
use crate::error::Error;

/// How often it is looked who is on the air.
const TURN: Duration = Duration::from_millis(100);
/// In bytes.
const STACK: usize = 256 << 10;
/// Between the grant and the stream there are the program's hooks, and the key is asked for again.
const ENTERS: Duration = Duration::from_secs(30);

/// A key store that lets a publisher in only if no other node has one under the name; and, if that is asked for, only if its owner has not as many streams as
/// allowed on all nodes together.
///
/// The node takes the [lease](Leases) of a name with its publisher, keeps it as long as the stream is on the air, with the grace for publishers that are
/// lost, and gives it back then. A stream whose lease is lost ends.
///
/// ```no_run
/// use flowcast_core::{Config, Engine};
/// use flowcast_redis::{LeaseOptions, LeasedKeys, Leases, Redis, RedisKeys, RedisKeysOptions, RedisOptions};
/// use flowcast_server::RtmpServerExt;
///
/// let engine = Engine::new(Config::default())?;
/// let redis = Redis::new("redis://redis.example.com", RedisOptions::default())?;
/// let keys = RedisKeys::new(&redis, engine.keys(), RedisKeysOptions::default())?;
/// let leases = Leases::new(&redis, "node-1", LeaseOptions::default())?;
/// let one_each = LeasedKeys::new(keys, &leases, &engine)?.most_per_owner(5);
/// let server = engine.rtmp_server("0.0.0.0:1935").key_store(one_each).start()?;
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LeasedKeys {
    keys: Box<dyn KeyStore>,
    leases: Leases,
    most_per_owner: Option<usize>,
    desk: Arc<Desk>,
}

/// The leases of names that are published here.
struct Desk {
    hub: Hub,
    names: Mutex<HashMap<String, Entered>>,
}

struct Entered {
    lease: Lease,
    owner: Option<String>,
    /// The stream that is behind it.
    stream: Option<StreamId>,
    /// When it was last granted, or on the air.
    seen: Instant,
}

impl LeasedKeys {
    /// What `keys` grants, with leases of `leases`, on servers of `engine`.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread.
    pub fn new(keys: impl KeyStore + 'static, leases: &Leases, engine: &Engine) -> Result<Self, Error> {
        let desk = Arc::new(Desk { hub: engine.hub().clone(), names: Mutex::default() });
        let watched = Arc::downgrade(&desk);
        let started = flowcast_core::spawn("fc-leases", STACK, move || attend(&watched));
        let no_thread = |source| Error::System { what: "no thread for leases", source: Arc::new(source) };
        drop(started.map_err(no_thread)?);
        Ok(Self { keys: Box::new(keys), leases: leases.clone(), most_per_owner: None, desk })
    }

    /// At most this many publications of one owner on all nodes together, at least 1. The limits of each engine hold besides. Default: no limit.
    #[must_use]
    pub fn most_per_owner(mut self, most: usize) -> Self {
        self.most_per_owner = Some(most.max(1));
        self
    }

    fn enter(&self, grant: &Grant) -> Result<(), Denial> {
        if let Some(entered) = self.desk.names.lock().get_mut(&grant.name)
            && entered.lease.is_held()
            && entered.owner == grant.owner
        {
            entered.seen = Instant::now();
            return Ok(());
        }
        let lease = match (&grant.owner, self.most_per_owner) {
            (Some(owner), Some(most)) => self.leases.acquire_for(&grant.name, owner, most),
            _ => self.leases.acquire(&grant.name),
        };
        let lease = lease.map_err(|error| denial(&grant.name, &error))?;
        let (owner, seen) = (grant.owner.clone(), Instant::now());
        let before =
            self.desk.names.lock().insert(grant.name.clone(), Entered { lease, owner, stream: None, seen });
        drop(before);
        Ok(())
    }
}

impl KeyStore for LeasedKeys {
    fn publisher(&self, key: &StreamKey, asker: &Asker<'_>) -> Result<Grant, Denial> {
        let grant = self.keys.publisher(key, asker)?;
        // The server says what is wrong with a name that is none.
        if grant.has_usable_name() {
            self.enter(&grant)?;
        }
        Ok(grant)
    }

    fn player(&self, name: &str, token: Option<&StreamKey>, asker: &Asker<'_>) -> Result<(), Denial> {
        self.keys.player(name, token, asker)
    }
}

impl fmt::Debug for LeasedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedKeys")
            .field("keys", &self.keys)
            .field("leases", &self.leases)
            .finish_non_exhaustive()
    }
}

/// Puts streams behind their leases, and gives leases back, as long as somebody has the desk.
fn attend(watched: &Weak<Desk>) {
    while let Some(desk) = watched.upgrade() {
        desk.look();
        drop(desk);
        std::thread::sleep(TURN);
    }
}

impl Desk {
    fn look(&self) {
        let now = Instant::now();
        self.names.lock().retain(|name, entered| {
            let stream = self.hub.find(name).filter(|stream| !stream.has_ended());
            let Some(stream) = stream else {
                // One that was on the air and is no more has left; one that was not may be about to be.
                let is_coming =
                    entered.stream.is_none() && now.saturating_duration_since(entered.seen) < ENTERS;
                return entered.lease.is_held() && is_coming;
            };
            entered.seen = now;
            if entered.stream != Some(stream.id()) {
                entered.stream = Some(stream.id());
                if !entered.lease.guard(&stream) {
                    log::error!("{name}: its stream is behind another fence");
                }
            }
            true
        });
    }
}

/// What a publisher is told that did not get the lease.
fn denial(name: &str, error: &Error) -> Denial {
    log::info!("{name}: a publisher is refused: {error}");
    match error {
        Error::Held { .. } => Denial::InUse,
        Error::Core(flowcast_core::Error::StreamLimitExceeded { .. }) => Denial::OwnerLimit,
        _ => Denial::Unavailable,
    }
}
