//! The leases of a node, and how they are taken, renewed and given back.
//!
//! In: names that programs want. Out: leases, or who has them. On the link's thread; what is held is under a lock of its own.
//!
//! Redis has `lease:NAME`, who holds it, until it expires; `epochs`, how often each name was leased; `leases:born`, since when the server has what it has;
//! `owner:OWNER`, the names of an owner, each until it expires.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use flowcast_core::Fence;
use flowcast_core::LimitScope;
use parking_lot::Mutex;
use redis::Script;

use super::held::Held;
use super::options::LeaseOptions;
use crate::error::Error;
use crate::link::{Does, Task, Worker};

/// Leases of one renewal.
const PAGE: usize = 500;
/// How often it is looked what is to be done.
const TURN: Duration = Duration::from_millis(100);
/// How long a renewal may take in all.
const RENEWAL: Duration = Duration::from_secs(60);

static ACQUIRE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/acquire.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/renew.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/release.lua")));

/// What a node holds.
#[derive(Debug)]
pub(super) struct Ledger {
    prefix: String,
    /// The node, and which life of it.
    me: String,
    options: LeaseOptions,
    held: Mutex<HashMap<String, Arc<Held>>>,
}

/// Renews what is held, and gives back what is given up.
pub(super) struct Keep {
    pub(super) ledger: std::sync::Weak<Ledger>,
    pub(super) renew_at: Instant,
}

impl Ledger {
    pub(super) fn new(prefix: &str, me: String, options: LeaseOptions) -> Self {
        Self { prefix: prefix.to_owned(), me, options, held: Mutex::default() }
    }

    pub(super) fn node(&self) -> &str {
        self.me.split('|').next().unwrap_or_default()
    }

    pub(super) fn ttl(&self) -> Duration {
        self.options.ttl
    }

    fn lease(&self, name: &str) -> String {
        format!("{}lease:{name}", self.prefix)
    }

    fn owner(&self, owner: &str) -> String {
        format!("{}owner:{owner}", self.prefix)
    }

    fn epochs(&self) -> String {
        format!("{}epochs", self.prefix)
    }

    /// Whether this node has it: also while it is being given back.
    pub(super) fn has(&self, name: &str) -> bool {
        self.held.lock().contains_key(name)
    }

    /// Takes a lease.
    pub(super) fn acquire(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
        owner: Option<(String, usize)>,
    ) -> Result<Arc<Held>, Error> {
        let in_use = |by: String, left| Error::Held { name: name.to_owned(), by, left };
        if self.has(name) {
            return Err(in_use(node_of(&self.me), Duration::ZERO));
        }
        let mut call = ACQUIRE.key(self.lease(name));
        call.key(self.epochs()).key(format!("{}leases:born", self.prefix));
        call.arg(&self.me).arg(millis(self.options.ttl)).arg(name);
        if let Some((owner, most)) = &owner {
            call.key(self.owner(owner)).arg(*most);
        }
        let asked = Fence::clock();
        let answer: Vec<String> = worker.run(Does::Writes, until, |connection| call.invoke(connection))?;
        let mut words = answer.into_iter();
        let word = words.next();
        let rest: Vec<_> = words.collect();
        let left = |place: usize| {
            let millis = rest.get(place).and_then(|millis| millis.parse::<i64>().ok());
            Duration::from_millis(u64::try_from(millis.unwrap_or(0)).unwrap_or(0))
        };
        match (word.as_deref(), rest.first()) {
            (Some("ok"), Some(epoch)) => {
                let Ok(number) = epoch.parse() else { return Err(not_understood(worker)) };
                let value = format!("{}|{epoch}", self.me);
                let held = Held::new(name.to_owned(), value, number, owner, self.options.until(asked));
                let held = Arc::new(held);
                self.held.lock().insert(name.to_owned(), held.clone());
                Ok(held)
            }
            (Some("held"), Some(by)) => Err(in_use(node_of(by), left(1))),
            (Some("young"), _) => Err(Error::Young { server: worker.shown(), left: left(0) }),
            (Some("limit"), _) => {
                let limit = owner.map_or(0, |(_, most)| most);
                Err(flowcast_core::Error::StreamLimitExceeded { scope: LimitScope::Owner, limit }.into())
            }
            _ => Err(not_understood(worker)),
        }
    }

    /// Who has a lease now, and its epoch.
    pub(super) fn holder(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
    ) -> Result<Option<(String, u64)>, Error> {
        let mut command = redis::cmd("GET");
        command.arg(self.lease(name));
        let held: Option<String> = worker.run(Does::Little, until, |connection| command.query(connection))?;
        let Some(held) = held else { return Ok(None) };
        let epoch = held.rsplit('|').next().and_then(|epoch| epoch.parse().ok());
        epoch.map(|epoch| Some((node_of(&held), epoch))).ok_or_else(|| not_understood(worker))
    }

    /// Renews everything. What cannot be asked stays as it is.
    fn renew(&self, worker: &mut Worker) -> Result<(), Error> {
        let all: Vec<_> = self.held.lock().values().cloned().collect();
        for page in all.chunks(PAGE) {
            let mut call = RENEW.key(self.epochs());
            call.arg(millis(self.options.ttl));
            for held in page {
                let lease = self.lease(&held.name);
                let (places, most) = match &held.owner {
                    Some((owner, most)) => (self.owner(owner), most.to_string()),
                    None => (lease.clone(), String::new()),
                };
                call.key(lease).key(places);
                call.arg(&held.value).arg(held.epoch).arg(&held.name).arg(most);
            }
            let (asked, until) = (Fence::clock(), Instant::now() + RENEWAL);
            let answer: Vec<i64> = worker.run(Does::Little, until, |connection| call.invoke(connection))?;
            if answer.len() != page.len() {
                return Err(not_understood(worker));
            }
            for (held, answer) in page.iter().zip(answer) {
                if answer == 0 {
                    self.lose(held, "another node has it");
                } else {
                    let _ = held.fence.move_to(self.options.until(asked));
                }
            }
        }
        Ok(())
    }

    fn lose(&self, held: &Arc<Held>, why: &str) {
        log::warn!("{}: its lease {} is lost: {why}", held.name, held.epoch);
        held.lose();
        self.held.lock().remove(&held.name);
    }

    /// What ran out is lost; what was given up, and nothing runs behind any more, is given back.
    fn settle(&self, worker: &mut Worker) {
        let all: Vec<_> = self.held.lock().values().cloned().collect();
        for held in all {
            if held.is_given_up() {
                if held.is_idle() {
                    self.release(worker, &held);
                }
            } else if !held.fence.is_open() {
                self.lose(&held, "it could not be renewed in time");
            }
        }
    }

    /// Gives a lease back, if the server can be asked; else it expires.
    fn release(&self, worker: &mut Worker, held: &Held) {
        let mut call = RELEASE.key(self.lease(&held.name));
        call.arg(&held.value).arg(&held.name);
        if let Some((owner, _)) = &held.owner {
            call.key(self.owner(owner));
        }
        let until = Instant::now() + RENEWAL;
        let outcome = worker.run(Does::Little, until, |connection| call.invoke::<i64>(connection));
        if let Err(error) = outcome {
            log::info!("{}: its lease was not given back, it expires: {error}", held.name);
        }
        held.lose();
        self.held.lock().remove(&held.name);
    }
}

impl Task for Keep {
    fn run(&mut self, worker: &mut Worker) -> Option<Instant> {
        let ledger = self.ledger.upgrade()?;
        ledger.settle(worker);
        if self.renew_at <= Instant::now() {
            let renewed = ledger.renew(worker);
            // What failed is tried again soon: four times fit into the time a lease has.
            let pause = if renewed.is_ok() { ledger.options.renewal() } else { TURN };
            self.renew_at = Instant::now() + pause;
        }
        Some(Instant::now() + TURN)
    }
}

/// The nodes that have these names.
pub(crate) fn holders(
    worker: &mut Worker,
    until: Instant,
    names: &[&str],
) -> Result<Vec<Option<String>>, Error> {
    let prefix = worker.prefix();
    let mut command = redis::cmd("MGET");
    for name in names {
        command.arg(format!("{prefix}lease:{name}"));
    }
    let held: Vec<Option<String>> =
        worker.run(Does::Little, until, |connection| command.query(connection))?;
    Ok(held.into_iter().map(|held| held.as_deref().map(node_of)).collect())
}

/// The node's name in what Redis has of a lease.
fn node_of(value: &str) -> String {
    value.split('|').next().unwrap_or_default().to_owned()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn not_understood(worker: &Worker) -> Error {
    let reason = "what it has of a lease is not understood".to_owned();
    Error::Answer { server: worker.shown(), reason }
}
