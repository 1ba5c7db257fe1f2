//! The nodes of a cluster: who is there, and what room each has.
//!
//! In: what this node says of itself. Out: all nodes, and where a stream fits. A task on the link's thread says every two seconds that this node is
//! there.
//!
//! Redis has `nodes`, when each was heard of last by the server's clock, and `node:NAME`, what it says, until it is forgotten.

mod options;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redis::Script;

pub use self::options::NodeOptions;
pub(crate) use self::options::check_labels;
use crate::error::Error;
use crate::life::{check_node, life};
use crate::link::{Does, Redis, Task, Worker};
use crate::node::{Node, NodeState};
use crate::placement::{Placement, place};
use crate::room::{Demand, Room};

/// How long a heartbeat may take in all.
const BEAT: Duration = Duration::from_secs(5);
/// Nodes whose records are asked for at once.
const PAGE: usize = 500;
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

static SAY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/beat.lua")));
static LEAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/leave.lua")));
static AGES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/ages.lua")));
static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/list.lua")));

/// This node among the others of its cluster. It says every [`interval`](NodeOptions::interval) that it is there and what room it has; who
/// is not heard of for [`ttl`](NodeOptions::ttl) is lost. Clones are the same node; when the last is dropped, the node leaves.
///
/// A name is one process's: another one that uses it too is not listed, and says so in the log, until the first was not heard of for a `ttl`. So is a node that was killed and
/// begins again.
///
/// ```no_run
/// use flowcast_core::{Config, Engine, Output, Source, StreamSpec};
/// use flowcast_redis::{Demand, NodeOptions, Nodes, Redis, RedisOptions, Room};
///
/// let engine = Engine::new(Config::from_env()?)?;
/// let redis = Redis::new("redis://redis.example.com", RedisOptions::default())?;
/// let here = engine.clone();
/// let nodes = Nodes::new(&redis, "node-1", NodeOptions::default(), move || Room::of(&here))?;
/// for node in nodes.list()? {
///     println!("{}: {}, {:.0} % in use", node.name, node.state, node.room.load() * 100.0);
/// }
/// let show = StreamSpec::new(Source::file("show.mp4").looped()).to(Output::rtmp("rtmp://live.twitch.tv/app", "your-stream-key"));
/// println!("{}", nodes.place("show", &Demand::of(&engine, &show)?, &[])?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Nodes {
    redis: Redis,
    desk: Arc<Desk>,
}

/// What is known of this node.
struct Desk {
    name: String,
    options: NodeOptions,
    room: Box<dyn Fn() -> Room + Send + Sync>,
    boot: String,
    /// It has left, and says nothing any more.
    has_left: AtomicBool,
    /// How often that began and ended: odd while it takes nothing new.
    draining: AtomicU64,
    has_runner: AtomicBool,
    /// Something is to be said before the next interval is over.
    is_hurried: AtomicBool,
    is_listed: Mutex<bool>,
    listed: Condvar,
}

/// Says that the node is there; once nobody needs it any more, that it leaves.
struct Beat {
    desk: Weak<Desk>,
    name: String,
    boot: String,
    next: Instant,
    /// Another process has the name, and the log says so.
    is_refused: bool,
}

impl Nodes {
    /// This node, `name`, in the cluster of `redis`: 1 to 64 letters, digits, `-`, `_` and `.`. `room` is asked for what it has, on the thread of
    /// the connection: it must not wait for anything. [`Room::of`] gives that of an engine.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting that cannot work; [`Error::Away`] if too much waits for `redis`.
    pub fn new(
        redis: &Redis,
        name: &str,
        options: NodeOptions,
        room: impl Fn() -> Room + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        options.check()?;
        check_node(name)?;
        let desk = Arc::new(Desk {
            name: name.to_owned(),
            options,
            room: Box::new(room),
            boot: life()?,
            has_left: AtomicBool::new(false),
            draining: AtomicU64::new(0),
            has_runner: AtomicBool::new(false),
            is_hurried: AtomicBool::new(true),
            is_listed: Mutex::new(false),
            listed: Condvar::new(),
        });
        let weak = Arc::downgrade(&desk);
        let next = Instant::now();
        redis.every(Beat {
            desk: weak,
            name: name.to_owned(),
            boot: desk.boot.clone(),
            next,
            is_refused: false,
        })?;
        Ok(Self { redis: redis.clone(), desk })
    }

    /// The name of this node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.desk.name
    }

    /// Who was not heard of for this long is lost.
    pub(crate) fn ttl(&self) -> Duration {
        self.desk.options.ttl
    }

    /// What it has now.
    #[must_use]
    pub fn room(&self) -> Room {
        (self.desk.room)()
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.desk.options.labels
    }

    /// Says that this node takes nothing new, or that it does again. Others see it within a fraction of a second.
    pub fn set_draining(&self, is_draining: bool) {
        self.change_draining(is_draining);
    }

    /// The same; `false` if that is how it stood.
    pub(crate) fn change_draining(&self, is_draining: bool) -> bool {
        let change = |turn: u64| (is_over(turn) == is_draining).then(|| turn + 1);
        let changed = self.desk.draining.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).is_ok();
        self.desk.is_hurried.store(true, Ordering::SeqCst);
        changed
    }

    /// Which time it is that it takes nothing new; `None` while it takes streams.
    pub(crate) fn draining(&self) -> Option<u64> {
        let turn = self.desk.draining.load(Ordering::SeqCst);
        (!is_over(turn)).then_some(turn)
    }

    /// Says whether it runs streams of the list.
    pub(crate) fn set_has_runner(&self, has_runner: bool) {
        self.desk.has_runner.store(has_runner, Ordering::SeqCst);
        self.desk.is_hurried.store(true, Ordering::SeqCst);
    }

    /// Whether it takes nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining().is_some()
    }

    /// Says that this node leaves, for a process that is about to end: the others forget it at once. Clones say nothing any more either.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis: the node is lost a while later.
    ///
    /// # Blocking
    ///
    /// Up to [`RedisOptions::call`](crate::RedisOptions::call).
    pub fn leave(&self) -> Result<(), Error> {
        self.desk.has_left.store(true, Ordering::SeqCst);
        self.desk.set_listed(false);
        let (name, boot) = (self.desk.name.clone(), self.desk.boot.clone());
        self.redis.call(move |worker, until| leave(worker, until, &name, &boot))
    }

    /// Waits until the others see this node; `false` if they do not in time: Redis is away, or another process has the name.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    #[must_use = "says whether they do"]
    pub fn wait_until_listed(&self, deadline: Duration) -> bool {
        let until = Instant::now().checked_add(deadline).unwrap_or_else(|| Instant::now() + FOREVER);
        let mut is_listed = self.desk.is_listed.lock();
        while !*is_listed {
            if self.desk.listed.wait_until(&mut is_listed, until).timed_out() {
                break;
            }
        }
        *is_listed
    }

    /// Whether the others saw it when it last said that it is there.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        *self.desk.is_listed.lock()
    }

    /// All nodes, by name: those that are there, and those that were lost in the last [while](NodeOptions::remember).
    ///
    /// # Errors
    ///
    /// What is in the way with Redis.
    ///
    /// # Blocking
    ///
    /// Up to [`RedisOptions::call`](crate::RedisOptions::call).
    pub fn list(&self) -> Result<Vec<Node>, Error> {
        let ttl = self.desk.options.ttl;
        self.redis.call(move |worker, until| list(worker, until, ttl))
    }

    /// The same, for a program that is no node: those that were not heard of for `ttl` are lost.
    ///
    /// # Errors
    ///
    /// As for [`list`](Self::list).
    ///
    /// # Blocking
    ///
    /// As for [`list`](Self::list).
    pub fn look(redis: &Redis, ttl: Duration) -> Result<Vec<Node>, Error> {
        redis.call(move |worker, until| list(worker, until, ttl))
    }

    /// Where a stream fits best now, and why: [`place`] over all nodes. A stream that was put on a node counts there with the node's next heartbeat.
    ///
    /// # Errors
    ///
    /// As for [`list`](Self::list).
    ///
    /// # Blocking
    ///
    /// As for [`list`](Self::list).
    pub fn place(&self, name: &str, demand: &Demand, labels: &[String]) -> Result<Placement, Error> {
        Ok(place(name, demand, labels, &self.list()?))
    }
}

impl Desk {
    fn report(&self) -> Node {
        let mut node = Node::new(&self.name, (self.room)());
        if !is_over(self.draining.load(Ordering::SeqCst)) {
            node.state = NodeState::Draining;
        }
        node.address = self.options.address.clone();
        node.labels = self.options.labels.clone();
        node.version = self.options.version.clone();
        node.has_runner = self.has_runner.load(Ordering::SeqCst);
        node
    }

    fn set_listed(&self, is_listed: bool) {
        *self.is_listed.lock() = is_listed;
        self.listed.notify_all();
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Task for Beat {
    fn run(&mut self, worker: &mut Worker) -> Option<Instant> {
        /// How often it is looked whether something is to be said at once.
        const LOOK: Duration = Duration::from_millis(100);
        let until = Instant::now() + BEAT;
        let Some(desk) = self.desk.upgrade() else {
            // If it cannot be said now, the node is lost a while later.
            let _ = leave(worker, until, &self.name, &self.boot);
            return None;
        };
        if desk.has_left.load(Ordering::SeqCst) {
            return None;
        }
        let [nodes, node] = keys(&worker.prefix(), &self.name);
        if !desk.is_hurried.swap(false, Ordering::SeqCst) && Instant::now() < self.next {
            return Some(Instant::now() + LOOK);
        }
        let NodeOptions { ttl, remember, interval, .. } = &desk.options;
        let mut call = SAY.key(nodes);
        call.key(node).arg(&self.name).arg(&self.boot).arg(millis(*ttl)).arg(millis(*remember));
        call.arg(desk.report().write());
        // While Redis is away, it is not known what the others think of it; they lose it a while later.
        if let Ok(answer) = worker.run(Does::Writes, until, |connection| call.invoke::<i64>(connection)) {
            let is_listed = answer == 1;
            desk.set_listed(is_listed);
            let was_refused = std::mem::replace(&mut self.is_refused, !is_listed);
            if !is_listed && !was_refused {
                log::warn!("{}: another process has the name of this node", self.name);
            }
        }
        self.next = Instant::now() + *interval;
        Some(Instant::now() + LOOK)
    }
}

/// Whether a draining node takes streams again; so does one that never was.
fn is_over(turn: u64) -> bool {
    turn.is_multiple_of(2)
}

fn leave(worker: &mut Worker, until: Instant, name: &str, boot: &str) -> Result<(), Error> {
    let [nodes, node] = keys(&worker.prefix(), name);
    let mut call = LEAVE.key(nodes);
    call.key(node).arg(name).arg(boot);
    worker.run(Does::Little, until, |connection| call.invoke::<i64>(connection)).map(drop)
}

fn keys(prefix: &str, name: &str) -> [String; 2] {
    [format!("{prefix}nodes"), format!("{prefix}node:{name}")]
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Where others play what is on the air on these nodes; `None` for one that is not known, is lost, or says nothing of it.
pub(crate) fn addresses(
    worker: &mut Worker,
    until: Instant,
    ttl: Duration,
    names: &[String],
) -> Result<Vec<Option<String>>, Error> {
    let prefix = worker.prefix();
    let mut call = AGES.key(format!("{prefix}nodes"));
    call.arg(names);
    let ages: Vec<Option<u64>> = worker.run(Does::Little, until, |connection| call.invoke(connection))?;
    let mut command = redis::cmd("MGET");
    for name in names {
        let [_, node] = keys(&prefix, name);
        command.arg(node);
    }
    let said: Vec<Option<String>> =
        worker.run(Does::Little, until, |connection| command.query(connection))?;
    let address = |((name, age), said): ((&String, Option<u64>), Option<String>)| {
        let said = said?;
        let (_, said) = said.split_once('|')?;
        let node = Node::read(name, said, Duration::from_millis(age?), ttl)?;
        node.address.filter(|_| node.state != NodeState::Lost)
    };
    Ok(names.iter().zip(ages).zip(said).map(address).collect())
}

fn list(worker: &mut Worker, until: Instant, ttl: Duration) -> Result<Vec<Node>, Error> {
    let prefix = worker.prefix();
    let call = LIST.key(format!("{prefix}nodes"));
    let mut heard: Vec<(String, u64)> =
        worker.run(Does::Little, until, |connection| call.invoke(connection))?;
    heard.sort();
    let mut all = Vec::with_capacity(heard.len());
    for page in heard.chunks(PAGE) {
        let mut command = redis::cmd("MGET");
        for (name, _) in page {
            let [_, node] = keys(&prefix, name);
            command.arg(node);
        }
        let said: Vec<Option<String>> =
            worker.run(Does::Little, until, |connection| command.query(connection))?;
        for ((name, age), said) in page.iter().zip(said) {
            // One that was just forgotten, and what a later version says, are no nodes for this one.
            let said = said.as_deref().and_then(|said| said.split_once('|'));
            all.extend(said.and_then(|(_, said)| Node::read(name, said, Duration::from_millis(*age), ttl)));
        }
    }
    Ok(all)
}
