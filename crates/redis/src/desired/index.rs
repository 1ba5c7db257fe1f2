//! What runs where, and what waits why: hints for nodes and answers for people. Who may run a stream is decided by its lease alone.
//!
//! In: what a node does. Out: streams that seem to be free. On the link's thread.
//!
//! Redis has `desired:due`, when it is worth a look whether a stream is free; `desired:offers`, the node that is to take a stream next; `desired:air`, the
//! node and the epoch of what is on the air; `desired:why:NAME`, why nodes do not run it, each until it is said again.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use redis::Script;

use crate::error::Error;
use crate::link::{Does, Worker};

/// Names of one call.
const PAGE: usize = 500;
/// Streams that are looked at in one go.
pub(crate) const LOOKED_AT: usize = 200;
/// What a node said of a stream is forgotten after this.
pub(crate) const WHY: Duration = Duration::from_secs(60);

static DUE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/due.lua")));
static FREE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/free.lua")));
static OFFER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/offer.lua")));
static DECLINE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/decline.lua")));

/// The names of what is kept.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    desired: String,
}

/// What becomes of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// They should run.
    Put,
    /// This node has them.
    Hold(Duration),
    /// This node does not have them any more.
    Free,
    /// They should not run any more.
    Gone,
}

/// Streams that nobody seems to run.
#[derive(Debug, Default)]
pub(crate) struct Free {
    /// With the node each is offered to, if it is.
    pub(crate) names: Vec<(String, Option<String>)>,
    /// The list of when to look has all that should run, and nothing else.
    pub(crate) is_whole: bool,
}

impl Index {
    pub(super) fn new(prefix: &str) -> Self {
        Self { desired: format!("{prefix}desired") }
    }

    fn part(&self, part: &str) -> String {
        format!("{}:{part}", self.desired)
    }

    pub(crate) fn turn(
        &self,
        worker: &mut Worker,
        until: Instant,
        turn: Turn,
        names: &[String],
    ) -> Result<(), Error> {
        /// The longest that a stream is held.
        const MOST: Duration = Duration::from_secs(600);
        let (what, time, does) = match turn {
            Turn::Put => ("put", MOST, Does::Writes),
            Turn::Hold(time) => ("hold", time, Does::Little),
            Turn::Free => ("free", MOST, Does::Little),
            Turn::Gone => ("gone", MOST, Does::Little),
        };
        for page in names.chunks(PAGE) {
            let mut call = DUE.key(self.part("due"));
            call.arg(what).arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).arg(page);
            worker.run(does, until, |connection| call.invoke::<i64>(connection))?;
            if turn == Turn::Gone {
                let mut pipe = redis::pipe();
                pipe.cmd("HDEL").arg(self.part("offers")).arg(page).ignore();
                pipe.cmd("HDEL").arg(self.part("air")).arg(page).ignore();
                worker.run(does, until, |connection| pipe.query::<()>(connection))?;
            }
        }
        Ok(())
    }

    pub(crate) fn free(&self, worker: &mut Worker, until: Instant, part: f64) -> Result<Free, Error> {
        let mut call = FREE.key(self.part("due"));
        call.key(&self.desired).key(self.part("offers")).arg(LOOKED_AT).arg(part);
        let answer: Vec<String> = worker.run(Does::Little, until, |connection| call.invoke(connection))?;
        let mut words = answer.into_iter();
        let is_whole = words.next() == words.next();
        let mut names = Vec::new();
        while let (Some(name), Some(node)) = (words.next(), words.next()) {
            names.push((name, Some(node).filter(|node| !node.is_empty())));
        }
        Ok(Free { names, is_whole })
    }

    pub(crate) fn offer(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
        node: &str,
        time: Duration,
    ) -> Result<(), Error> {
        let mut call = OFFER.key(self.part("offers"));
        call.arg(name).arg(node).arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        worker.run(Does::Writes, until, |connection| call.invoke::<i64>(connection)).map(drop)
    }

    /// The node does not take what it was offered, if it was: others may.
    pub(crate) fn decline(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
        node: &str,
    ) -> Result<(), Error> {
        let mut call = DECLINE.key(self.part("offers"));
        call.arg(name).arg(node);
        worker.run(Does::Little, until, |connection| call.invoke::<i64>(connection)).map(drop)
    }

    /// A stream is on the air on a node.
    pub(crate) fn on_air(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
        node: &str,
        epoch: u64,
    ) -> Result<(), Error> {
        let mut pipe = redis::pipe();
        pipe.cmd("DEL").arg(self.part(&format!("why:{name}"))).ignore();
        pipe.cmd("HDEL").arg(self.part("offers")).arg(name).ignore();
        pipe.cmd("HSET").arg(self.part("air")).arg(name).arg(format!("{node}|{epoch}")).ignore();
        worker.run(Does::Writes, until, |connection| pipe.query::<()>(connection))
    }

    /// Who says that the stream is on the air there, and since which epoch.
    pub(crate) fn air(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
    ) -> Result<Option<(String, u64)>, Error> {
        let mut command = redis::cmd("HGET");
        command.arg(self.part("air")).arg(name);
        let said: Option<String> = worker.run(Does::Little, until, |connection| command.query(connection))?;
        let parts = said.as_deref().and_then(|said| said.rsplit_once('|'));
        Ok(parts.and_then(|(node, epoch)| Some((node.to_owned(), epoch.parse().ok()?))))
    }

    /// A node says why it does not run a stream, or still runs one that it is to hand over.
    pub(crate) fn say_why(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
        node: &str,
        why: &str,
    ) -> Result<(), Error> {
        let key = self.part(&format!("why:{name}"));
        let mut pipe = redis::pipe();
        pipe.cmd("HSET").arg(&key).arg(node).arg(why).ignore();
        pipe.cmd("PEXPIRE").arg(&key).arg(u64::try_from(WHY.as_millis()).unwrap_or(u64::MAX)).ignore();
        worker.run(Does::Writes, until, |connection| pipe.query::<()>(connection))
    }

    /// What nodes say why they do not run a stream, or still do.
    pub(crate) fn why(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.part(&format!("why:{name}")));
        let mut all: Vec<(String, String)> =
            worker.run(Does::Little, until, |connection| command.query(connection))?;
        all.sort();
        Ok(all)
    }
}
