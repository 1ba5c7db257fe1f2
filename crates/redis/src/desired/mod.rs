//! The streams that should run in a cluster, wherever.
//!
//! In: specs of the program. Out: the list, kept in Redis and known on each node, and what becomes of each stream. Nothing here starts anything: that is what a
//! runner does.

mod index;
mod options;
mod record;
mod seal;
mod shelf;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use flowcast_core::StreamSpec;

pub(crate) use self::index::{Index, LOOKED_AT, Turn, WHY};
pub use self::options::DesiredOptions;
pub use self::record::DesiredStream;
use self::record::Record;
use self::seal::Seal;
pub(crate) use self::shelf::Kept;
use self::shelf::Shelf;
use crate::error::Error;
use crate::lease::Leases;
use crate::life::no_random;
use crate::link::{Redis, Task, Worker};
use crate::nodes::check_labels;

/// How long a look, without the pages of a first one, may take.
const LOOK: Duration = Duration::from_secs(60);
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// The streams that should run in a cluster: put by any node, run by whichever has room ([`StreamRunner`](crate::StreamRunner)). Clones share
/// everything.
///
/// ```no_run
/// use std::time::Duration;
/// use flowcast_core::{Output, Source, StreamSpec};
/// use flowcast_redis::{DesiredOptions, DesiredStreams, LeaseOptions, Leases, Redis, RedisOptions};
///
/// let redis = Redis::new("redis://redis.example.com", RedisOptions::default())?;
/// let leases = Leases::new(&redis, "control", LeaseOptions::default())?;
/// let options = DesiredOptions::default().with(|options| options.secret = std::env::var("CLUSTER_SECRET").ok().map(Into::into));
/// let desired = DesiredStreams::new(&redis, &leases, options)?;
/// let show = StreamSpec::new(Source::file("show.mp4").looped()).to(Output::rtmp("rtmp://live.twitch.tv/app", "your-stream-key"));
/// println!("revision {}", desired.put("show", &show)?);
/// std::thread::sleep(Duration::from_secs(5));
/// println!("show: {}", desired.status("show")?); // node-2 runs it (epoch 1)
/// desired.remove("show")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DesiredStreams {
    redis: Redis,
    leases: Leases,
    list: Arc<List>,
}

/// What is shared.
#[derive(Debug)]
struct List {
    shelf: Shelf,
    index: Index,
    seal: Option<Seal>,
}

/// What becomes of a stream that should run. `Display` gives it in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DesiredStatus {
    /// It is not in the list.
    Unknown,
    /// A node has its lease, and is starting it.
    Starting {
        /// The node.
        node: String,
        /// The epoch of the lease.
        epoch: u64,
    },
    /// It runs.
    Running {
        /// The node.
        node: String,
        /// The epoch of the lease.
        epoch: u64,
        /// Why it stays there although the node is drained, as said in the last minute: the node, and a sentence. Otherwise empty.
        reasons: Vec<(String, String)>,
    },
    /// No node runs it.
    Waiting {
        /// Why each node does not, as far as they have said in the last minute: the node, and a sentence.
        reasons: Vec<(String, String)>,
    },
}

/// Keeps the list equal to what Redis has.
struct Follow {
    list: Weak<List>,
    refresh: Duration,
    trouble: Option<&'static str>,
}

impl Task for Follow {
    fn run(&mut self, worker: &mut Worker) -> Option<Instant> {
        let list = self.list.upgrade()?;
        let looked = list.shelf.look(worker, Instant::now() + LOOK);
        let trouble = looked.as_ref().err().map(Error::code);
        if let Err(error) = &looked
            && trouble != self.trouble
        {
            log::warn!("streams that should run: {error}");
        }
        self.trouble = trouble;
        Some(Instant::now() + self.refresh)
    }
}

impl DesiredStreams {
    /// The list of the cluster of `redis`. Returns at once: [`wait_until_known`](Self::wait_until_known) waits for the list.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting that cannot work; [`Error::Away`] if too much waits for `redis`.
    pub fn new(redis: &Redis, leases: &Leases, options: DesiredOptions) -> Result<Self, Error> {
        options.check()?;
        let prefix = redis.prefix();
        let seal = options.secret.as_ref().map(|secret| Seal::new(secret, &prefix).ok_or_else(no_random));
        let (shelf, index) = (Shelf::new(&prefix, options.most), Index::new(&prefix));
        let list = Arc::new(List { shelf, index, seal: seal.transpose()? });
        redis.every(Follow { list: Arc::downgrade(&list), refresh: options.refresh, trouble: None })?;
        Ok(Self { redis: redis.clone(), leases: leases.clone(), list })
    }

    /// Waits until the list is known; `false` if it is not in time.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    #[must_use = "says whether it is"]
    pub fn wait_until_known(&self, deadline: Duration) -> bool {
        let until = Instant::now().checked_add(deadline);
        self.list.shelf.wait_until_known(until.unwrap_or_else(|| Instant::now() + FOREVER))
    }

    /// How old is what is known: the time since Redis was asked what has changed, and answered. `None` before it first did.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.list.shelf.age()
    }

    /// Has a stream run, on any node; one that is in the list already is started anew if this changes its spec. Its revision. The name is that of its lease: 1 to 128 bytes of
    /// letters, digits, `-`, `_` and `.`, and not the name of what somebody publishes.
    ///
    /// A stream that has ended by itself is begun again, also if its source was complete.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] with all that is wrong with the spec; [`Error::Config`] for a name that is none, and for a spec with a key in it
    /// where there is no [`secret`](DesiredOptions::secret); [`Error::DesiredEmptied`]; what is in the way with Redis.
    ///
    /// # Blocking
    ///
    /// Up to [`RedisOptions::call`](crate::RedisOptions::call).
    pub fn put(&self, name: &str, spec: &StreamSpec) -> Result<u64, Error> {
        self.put_where(name, spec, &[])
    }

    /// The same, on nodes with all of these [labels](crate::NodeOptions::labels). Where only they change, a stream goes on where it runs, if it may.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put); [`Error::Config`] for a label that is none.
    ///
    /// # Blocking
    ///
    /// As for [`put`](Self::put).
    pub fn put_where(&self, name: &str, spec: &StreamSpec, labels: &[String]) -> Result<u64, Error> {
        check_name(name)?;
        check_labels("labels", labels)?;
        spec.check()?;
        // What cannot be kept is refused before anybody is asked.
        Record::new(name, 1, labels, spec, self.list.seal.as_ref())?;
        let (list, name) = (self.list.clone(), name.to_owned());
        let (spec, labels) = (spec.clone(), labels.to_vec());
        self.redis.call(move |worker, until| {
            let mut revision = 1;
            list.shelf.change(worker, until, &name, |before| {
                let record = before.and_then(Record::read);
                let seal = list.seal.as_ref();
                let stream = record.as_ref().and_then(|record| record.stream(&name, seal));
                if let Some(stream) = &stream
                    && (&stream.spec, &stream.labels) == (&spec, &labels)
                {
                    revision = stream.revision;
                    return Ok(None);
                }
                revision = record.map_or(1, |record| record.revision.saturating_add(1));
                let record = Record::new(&name, revision, &labels, &spec, seal)?;
                Ok(Some(Some(record.write())))
            })?;
            list.index.turn(worker, until, Turn::Put, &[name])?;
            Ok(revision)
        })
    }

    /// Has a stream run no more: the node that runs it ends it in order. `true` if it was in the list.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis; [`Error::DesiredEmptied`].
    ///
    /// # Blocking
    ///
    /// As for [`put`](Self::put). The stream ends soon after.
    pub fn remove(&self, name: &str) -> Result<bool, Error> {
        let (list, name) = (self.list.clone(), name.to_owned());
        self.redis.call(move |worker, until| {
            let was_there = list.shelf.change(worker, until, &name, |_| Ok(Some(None)))?;
            list.index.turn(worker, until, Turn::Gone, &[name])?;
            Ok(was_there)
        })
    }

    /// The names in the list, as far as it is known here.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.list.shelf.names()
    }

    /// A stream of the list, as far as it is known here. `None` as well for one that cannot be read: of a later version, or encrypted with
    /// another secret.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<DesiredStream> {
        let kept = self.list.shelf.find(name)?;
        self.read(name, &kept)
    }

    /// What becomes of a stream, asked of Redis.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis.
    ///
    /// # Blocking
    ///
    /// As for [`put`](Self::put).
    pub fn status(&self, name: &str) -> Result<DesiredStatus, Error> {
        if let Some((node, epoch)) = self.leases.holder(name)? {
            let asked = name.to_owned();
            let (air, reasons) = self.index(move |index, worker, until| {
                Ok((index.air(worker, until, &asked)?, index.why(worker, until, &asked)?))
            })?;
            return Ok(match air == Some((node.clone(), epoch)) {
                true => DesiredStatus::Running { node, epoch, reasons },
                false => DesiredStatus::Starting { node, epoch },
            });
        }
        let (list, asked) = (self.list.clone(), name.to_owned());
        let look = move |worker: &mut Worker, until| {
            list.shelf.look(worker, until)?;
            list.index.why(worker, until, &asked)
        };
        let reasons = self.redis.call(look)?;
        let is_there = self.list.shelf.find(name).is_some();
        Ok(if is_there { DesiredStatus::Waiting { reasons } } else { DesiredStatus::Unknown })
    }

    /// Puts the streams that this node knows back into a server that has lost its list ([`Error::DesiredEmptied`]). How many.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis.
    ///
    /// # Blocking
    ///
    /// As for [`put`](Self::put); with many streams longer, and then it may be done though it fails with [`Error::NoAnswer`].
    pub fn restore(&self) -> Result<usize, Error> {
        let list = self.list.clone();
        self.redis.call(move |worker, _| list.shelf.restore(worker))
    }

    /// Takes it that what a server has lost is to stay lost ([`Error::DesiredEmptied`]): this node knows what the server has, and ends what is not there.
    pub fn forget(&self) {
        self.list.shelf.forget();
    }

    /// The leases that streams of the list run behind.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(crate) fn is_known(&self) -> bool {
        self.list.shelf.is_known()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Kept>> {
        self.list.shelf.find(name)
    }

    pub(crate) fn news(&self) -> Vec<String> {
        self.list.shelf.news()
    }

    pub(crate) fn read(&self, name: &str, kept: &Kept) -> Option<DesiredStream> {
        kept.record.as_ref()?.stream(name, self.list.seal.as_ref())
    }

    /// Asks the index.
    pub(crate) fn index<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index, &mut Worker, Instant) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let list = self.list.clone();
        self.redis.call(move |worker, until| work(&list.index, worker, until))
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if !flowcast_core::Grant::new(name).has_usable_name() {
        return Err(Error::config("name", "a name has 1 to 128 letters, digits, '-', '_' and '.'"));
    }
    Ok(())
}

impl fmt::Display for DesiredStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it is not in the list"),
            Self::Starting { node, epoch } => write!(f, "{node} is starting it (epoch {epoch})"),
            Self::Running { node, epoch, reasons } => {
                write!(f, "{node} runs it (epoch {epoch})")?;
                reasons.iter().try_for_each(|(node, why)| write!(f, "; {node}: {why}"))
            }
            Self::Waiting { reasons } if reasons.is_empty() => {
                f.write_str("it waits for a node; none has said why it does not run it")
            }
            Self::Waiting { reasons } => {
                f.write_str("it waits for a node")?;
                reasons.iter().try_for_each(|(node, why)| write!(f, "; {node}: {why}"))
            }
        }
    }
}
