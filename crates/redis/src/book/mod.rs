//! Records in Redis, each under a name, that all nodes keep up with: where they are, and the commands that read and change them.
//!
//! In: questions of the link's thread. Out: answers as they are, not yet understood.
//!
//! For stream keys, `keys` has a record for each name, `digests` the name of each key's hash; `at` the salt, the number of the last change, and since which change they are
//! remembered; `changed` the number of the last change of each name, `stamps` a random number for each change: a server that fell back to an earlier
//! state, and went on from there, has the same numbers and other stamps. All are changed by one script, so at once.

mod digest;

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::Script;
use ring::rand::SecureRandom;

pub(crate) use self::digest::{Digest, Salt, random_key};
use crate::error::Error;
use crate::link::{Does, Worker};

/// Changes that are remembered: a node that missed more reads everything.
const KEEP: usize = 10_000;
/// Names of one look, and of one page.
pub(crate) const PAGE: usize = 1000;

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/look.lua")));
static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/swap.lua")));
static RESTORE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/restore.lua")));

/// The names of what is kept.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    at: String,
    changed: String,
    keys: String,
    stamps: String,
    digests: String,
}

/// A place in the order of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: u64,
    pub(crate) stamp: String,
}

/// What a look saw.
#[derive(Debug)]
pub(crate) enum Look {
    /// There are no keys, and never were any since the server was emptied.
    Nothing,
    /// The node's knowledge is of another store, of another past, or too old: changes up to `floor` are no longer remembered.
    Anew { salt: Salt, floor: u64 },
    /// Names that changed, with their records.
    Changes { place: Place, names: Vec<(String, Option<String>)> },
}

/// What became of a swap.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Swapped {
    Done,
    /// The store was begun anew.
    Salt,
    /// Somebody was faster.
    Changed,
    /// Another name has one of the keys.
    Held(String),
}

/// A record in the place of another.
#[derive(Debug, Default)]
pub(crate) struct Swap<'a> {
    pub(crate) name: &'a str,
    pub(crate) before: Option<&'a str>,
    pub(crate) after: Option<String>,
    pub(crate) coming: Vec<Digest>,
    pub(crate) going: Vec<Digest>,
}

impl Book {
    /// The one that is called `name` in Redis.
    pub(crate) fn new(prefix: &str, name: &str) -> Self {
        let key = |part: &str| format!("{prefix}{name}{part}");
        Self {
            at: key(":at"),
            changed: key(":changed"),
            keys: key(""),
            stamps: key(":stamps"),
            digests: key(":digests"),
        }
    }

    /// What has changed since `place`.
    pub(crate) fn look(
        &self,
        worker: &mut Worker,
        until: Instant,
        salt: Option<&Salt>,
        place: &Place,
    ) -> Result<Look, Error> {
        let mut call = LOOK.key(&self.at);
        call.key(&self.changed).key(&self.keys).key(&self.stamps);
        call.arg(salt.map(Salt::hex).unwrap_or_default()).arg(place.version).arg(&place.stamp).arg(PAGE);
        let answer: Vec<String> = worker.run(Does::Little, until, |connection| call.invoke(connection))?;
        parse_look(answer).ok_or_else(|| not_understood(worker))
    }

    /// The salt, and the last change.
    pub(crate) fn place(&self, worker: &mut Worker, until: Instant) -> Result<Option<(Salt, Place)>, Error> {
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(&self.at).arg("salt").arg("version");
        pipe.cmd("ZREVRANGE").arg(&self.stamps).arg(0).arg(0);
        let (at, stamps): ((Option<String>, Option<u64>), Vec<String>) =
            worker.run(Does::Little, until, |connection| pipe.atomic().query(connection))?;
        let Some(salt) = at.0 else { return Ok(None) };
        let salt = Salt::parse(&salt).ok_or_else(|| not_understood(worker))?;
        let stamp = stamps.into_iter().next().unwrap_or_default();
        Ok(Some((salt, Place { version: at.1.unwrap_or(0), stamp })))
    }

    /// A page of the records, from `cursor` on, and the next cursor: 0 after the last page. A name may come twice.
    pub(crate) fn page(
        &self,
        worker: &mut Worker,
        until: Instant,
        cursor: u64,
    ) -> Result<(u64, Vec<(String, String)>), Error> {
        let mut command = redis::cmd("HSCAN");
        command.arg(&self.keys).arg(cursor).arg("COUNT").arg(PAGE);
        worker.run(Does::Little, until, |connection| command.query(connection))
    }

    /// The record of a name.
    pub(crate) fn record(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
    ) -> Result<Option<String>, Error> {
        let mut command = redis::cmd("HGET");
        command.arg(&self.keys).arg(name);
        worker.run(Does::Little, until, |connection| command.query(connection))
    }

    /// The same, and what time it is for all nodes: what one of them decides for the others is not to depend on its own date, which may be wrong.
    pub(crate) fn record_now(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
    ) -> Result<(Option<String>, SystemTime), Error> {
        let mut pipe = redis::pipe();
        pipe.cmd("HGET").arg(&self.keys).arg(name).cmd("TIME");
        let (record, time): (_, (u64, u32)) =
            worker.run(Does::Little, until, |connection| pipe.query(connection))?;
        Ok((record, date(time)))
    }

    /// What time it is for all nodes.
    pub(crate) fn now(&self, worker: &mut Worker, until: Instant) -> Result<SystemTime, Error> {
        let time = worker.run(Does::Little, until, |connection| redis::cmd("TIME").query(connection))?;
        Ok(date(time))
    }

    /// The salt that holds, `salt` if there was none.
    pub(crate) fn begin(&self, worker: &mut Worker, until: Instant, salt: &Salt) -> Result<Salt, Error> {
        let mut pipe = redis::pipe();
        pipe.cmd("HSETNX").arg(&self.at).arg("salt").arg(salt.hex()).ignore();
        pipe.cmd("HGET").arg(&self.at).arg("salt");
        let (held,): (String,) =
            worker.run(Does::Writes, until, |connection| pipe.atomic().query(connection))?;
        Salt::parse(&held).ok_or_else(|| not_understood(worker))
    }

    /// Puts a record in the place of another.
    pub(crate) fn swap(
        &self,
        worker: &mut Worker,
        until: Instant,
        salt: &Salt,
        swap: &Swap<'_>,
    ) -> Result<Swapped, Error> {
        let mut call = SWAP.key(&self.at);
        call.key(&self.changed).key(&self.keys).key(&self.stamps).key(&self.digests);
        call.arg(salt.hex()).arg(swap.name).arg(swap.before.unwrap_or_default());
        call.arg(swap.after.as_deref().unwrap_or_default()).arg(stamp()).arg(KEEP).arg(swap.coming.len());
        for digest in swap.coming.iter().chain(&swap.going) {
            call.arg(digest.hex());
        }
        let does = if swap.after.is_some() { Does::Writes } else { Does::Little };
        let answer: Vec<String> = worker.run(does, until, |connection| call.invoke(connection))?;
        let mut words = answer.into_iter();
        match (words.next().as_deref(), words.next()) {
            (Some("ok"), _) => Ok(Swapped::Done),
            (Some("salt"), _) => Ok(Swapped::Salt),
            (Some("changed"), _) => Ok(Swapped::Changed),
            (Some("held"), Some(name)) => Ok(Swapped::Held(name)),
            _ => Err(not_understood(worker)),
        }
    }

    /// Puts records back that a server has lost. They count once [`restored`](Self::restored) says so.
    pub(crate) fn put_back<'a>(
        &self,
        worker: &mut Worker,
        until: Instant,
        entries: impl Iterator<Item = (&'a str, String, Vec<Digest>)>,
    ) -> Result<(), Error> {
        let mut pipe = redis::pipe();
        for (name, record, digests) in entries {
            pipe.cmd("HSET").arg(&self.keys).arg(name).arg(record).ignore();
            for digest in digests {
                pipe.cmd("HSET").arg(&self.digests).arg(digest.hex()).arg(name).ignore();
            }
        }
        worker.run(Does::Writes, until, |connection| pipe.query::<()>(connection))
    }

    /// Whether what was put back counts from now on; `false` if somebody has begun anew meanwhile.
    pub(crate) fn restored(
        &self,
        worker: &mut Worker,
        until: Instant,
        salt: &Salt,
        version: u64,
    ) -> Result<bool, Error> {
        let mut call = RESTORE.key(&self.at);
        call.key(&self.stamps).arg(salt.hex()).arg(version).arg(stamp());
        worker.run(Does::Writes, until, |connection| call.invoke(connection))
    }
}

fn parse_look(answer: Vec<String>) -> Option<Look> {
    let mut words = answer.into_iter();
    let Some(salt) = words.next() else { return Some(Look::Nothing) };
    let salt = Salt::parse(&salt)?;
    let second = words.next()?;
    let Some(stamp) = words.next() else { return Some(Look::Anew { salt, floor: second.parse().ok()? }) };
    let place = Place { version: second.parse().ok()?, stamp };
    let _floor = words.next()?;
    let mut names = Vec::new();
    while let Some(name) = words.next() {
        let record = words.next()?;
        names.push((name, (!record.is_empty()).then_some(record)));
    }
    Some(Look::Changes { place, names })
}

fn not_understood(worker: &Worker) -> Error {
    let reason = "what it has of records is not understood".to_owned();
    Error::Answer { server: worker.shown(), reason }
}

/// The answer to `TIME`: seconds since 1970, and microseconds.
fn date((seconds, micros): (u64, u32)) -> SystemTime {
    let since = Duration::from_secs(seconds) + Duration::from_micros(micros.into());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// What tells one change from another of the same number.
fn stamp() -> String {
    let mut bytes = [0; 8];
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    format!("{:016x}", u64::from_le_bytes(bytes))
}
