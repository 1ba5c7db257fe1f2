//! Players beyond what one thread serves: branches of a stream.
//!
//! A branch is a thread like that of a stream, whose source is a tap on it and whose outputs are players. It has the number of
//! its stream and nothing to say of its own: its figures are part of the stream's, it ends with the stream, and once it has
//! been without players for a while. The newest GOP is kept on each branch, so players join there as anywhere.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use parking_lot::Mutex;

use super::glance::Glance;
use super::handle::StreamRef;
use super::mailbox::{Command, Mailbox};
use super::seat::Seat;
use super::shared::StreamShared;
use super::thread::{Setup, StreamThread, WAKE};
use super::traffic::Traffic;
use crate::driver::OutputDriver;
use crate::error::Error;
use crate::id::OutputId;
use crate::ring::Join;
use crate::stats::{StreamStats, Totals};
use crate::stream::STREAM_STACK;
use crate::stream::tap::{TapPace, tap};
use crate::sys::spawn;

/// A thread that needs more of a core than this gets no more players, percent.
const BUSY: f64 = 70.0;
/// A branch without players ends after this.
const IDLE: Duration = Duration::from_secs(10);
/// A branch sends when tags come, so its own ticks are for timers and for forgetting.
const TICK: Duration = Duration::from_millis(250);

/// An output that somebody else added to the stream: it is removed when the stream stops admitting players.
#[derive(Debug)]
pub(crate) enum Guest {
    /// A player.
    Player {
        /// Given back with the player.
        _seat: Seat,
    },
    /// The tap of a branch, which does not count as an output.
    Branch,
    /// The tap of another stream, which found this one under a name.
    Reader {
        /// The name.
        name: Arc<str>,
    },
}

/// The branches of a stream, and the players on its own thread.
#[derive(Debug, Default)]
pub(crate) struct Branches {
    seats: Arc<AtomicUsize>,
    list: Mutex<Vec<Arc<StreamShared>>>,
    /// Branches that end and take no more players, and what those have done that are gone: the stream's sums never go back. Locked
    /// after `list`.
    gone: Mutex<Gone>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Gone {
    leaving: Vec<Arc<StreamShared>>,
    totals: Totals,
}

/// Puts a player on the thread of `stream` or one of its branches, wherever there is room.
pub(crate) fn attach(
    stream: &StreamRef,
    name: String,
    driver: Box<dyn OutputDriver>,
) -> Result<OutputId, Error> {
    let root = &stream.shared;
    let output = root.next_output();
    let limit = stream.registry.config.players_per_thread;
    let has_room = |shared: &StreamShared| {
        shared.branches.seats.load(Ordering::Relaxed) < limit && shared.cpu_percent() < BUSY
    };
    // Held until the command is on its way: a branch that is no longer needed leaves under this lock.
    let mut branches = root.branches.list.lock();
    let mut place = if has_room(root) { Some(root) } else { branches.iter().find(|branch| has_room(branch)) };
    if place.is_none() && branches.len() + 1 < most_threads() {
        match grow(stream, driver.is_immediate()) {
            Ok(branch) => branches.push(branch),
            Err(error) => log::warn!("{}: no branch for more players: {error}", root.id),
        }
        place = branches.last();
    }
    let crowd = |shared: &&Arc<StreamShared>| shared.branches.seats.load(Ordering::Relaxed);
    let place = place.or_else(|| std::iter::once(root).chain(branches.iter()).min_by_key(crowd));
    let place = place.unwrap_or(root);
    let guest = Some(Guest::Player { _seat: Seat::take(&place.branches.seats) });
    let sent = place.mailbox.send(Command::AddOutput { output, name, driver, guest });
    if sent { Ok(output) } else { Err(Error::Ended) }
}

/// More threads than processors make nothing faster; two, so that there is one to spare for the publisher.
fn most_threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2)
}

/// Starts a branch.
fn grow(stream: &StreamRef, immediate: bool) -> Result<Arc<StreamShared>, Error> {
    let (root, config) = (&stream.shared, &stream.registry.config);
    let system =
        |source: std::io::Error| Error::System { what: "no descriptor for a branch", source: source.into() };
    let poll = Poll::new().map_err(system)?;
    let waker = Waker::new(poll.registry(), WAKE).map_err(system)?;
    let (mailbox, commands) = Mailbox::new(waker);
    let pace = if immediate { TapPace::Immediate } else { TapPace::Ticks };
    let (tap, source) = tap(config.read_ahead, Join::Newest, pace, mailbox.clone());
    let shared = Arc::new(StreamShared::branch(root, mailbox));
    let setup = Setup {
        shared: shared.clone(),
        poll,
        commands,
        source: Box::new(source),
        config: config.clone(),
        tick: Some(TICK),
        keep_gop: true,
        hold: false,
        needs_outputs: false,
        root: Some(root.clone()),
    };
    let number = root.branches.next.fetch_add(1, Ordering::Relaxed) + 1;
    let (ending, of) = (shared.clone(), root.clone());
    let thread = format!("fc-{}.{number}", root.id);
    let run = move || {
        let run = AssertUnwindSafe(|| ending.span.run(|| StreamThread::new(setup).run()));
        let outcome = std::panic::catch_unwind(run);
        if outcome.is_err() {
            log::error!("{}: branch {number} panicked, its players are lost", ending.id);
        }
        ending.end(Ok(()));
        of.branches.forget(&ending);
    };
    spawn(thread, STREAM_STACK, run)
        .map_err(|source| Error::System { what: "no thread for a branch", source: source.into() })?;
    let (output, name, guest) = (root.next_output(), format!("branch {number}"), Some(Guest::Branch));
    root.mailbox.send(Command::AddOutput { output, name, driver: Box::new(tap), guest });
    Ok(shared)
}

impl Branches {
    /// Lets a branch end that has had no players for `idle`, unless one is on the way.
    pub(crate) fn may_leave(&self, branch: &Arc<StreamShared>, idle: Duration) -> bool {
        if idle < IDLE {
            return false;
        }
        let mut list = self.list.lock();
        let free = branch.branches.seats.load(Ordering::Relaxed) == 0;
        if free {
            list.retain(|other| !Arc::ptr_eq(other, branch));
            self.gone.lock().leaving.push(branch.clone());
        }
        free
    }

    /// A branch has ended.
    fn forget(&self, branch: &Arc<StreamShared>) {
        let mut list = self.list.lock();
        list.retain(|other| !Arc::ptr_eq(other, branch));
        let totals = branch.glance().totals;
        let mut gone = self.gone.lock();
        gone.leaving.retain(|other| !Arc::ptr_eq(other, branch));
        gone.totals += totals;
    }

    /// Sends a command to each of them.
    pub(crate) fn tell(&self, command: impl Fn() -> Command) {
        for branch in self.list.lock().iter() {
            branch.mailbox.send(command());
        }
    }

    /// Waits until all have ended, which they do by themselves once their taps have; asks them to when half of the time is over.
    pub(crate) fn wait(&self, until: Instant) {
        /// Left for the stream itself to end.
        const SPARE: Duration = Duration::from_millis(100);
        let branches = self.list.lock().clone();
        let now = Instant::now();
        let left = until.saturating_duration_since(now);
        let until = now + (left - SPARE.min(left / 4));
        let patience = now + left / 2;
        for branch in &branches {
            if branch.wait_until(Some(patience)).is_none() {
                branch.ask_to_stop(until);
            }
        }
        for branch in &branches {
            if branch.wait_until(Some(until)).is_none() {
                log::warn!("{}: a branch does not stop, it is left behind", branch.id);
            }
        }
    }

    /// Adds what branches hold and use to what is wanted often of their stream.
    pub(super) fn add_to_glance(&self, glance: &mut Glance) {
        let list = self.list.lock();
        let gone = self.gone.lock();
        for branch in list.iter().chain(&gone.leaving) {
            let more = branch.glance();
            glance.held += more.held;
            glance.lag = glance.lag.max(more.lag);
            glance.schedule_lag = glance.schedule_lag.max(more.schedule_lag);
            glance.totals += more.totals;
        }
        glance.totals += gone.totals;
    }

    /// Adds what branches send.
    pub(super) fn add_to_traffic(&self, traffic: &mut Traffic) {
        let list = self.list.lock();
        let gone = self.gone.lock();
        let more = list.iter().chain(&gone.leaving).map(|branch| branch.traffic().sent);
        traffic.sent += more.sum::<u64>();
    }

    /// Adds what happens on branches to the figures of their stream.
    pub(crate) fn add_to(&self, stats: &mut StreamStats) {
        let list = self.list.lock();
        let gone = self.gone.lock();
        for branch in list.iter().chain(&gone.leaving) {
            let more = branch.stats();
            stats.cpu_time += more.cpu_time;
            stats.cpu_percent += more.cpu_percent;
            stats.bytes_held += more.bytes_held;
            stats.held += more.held;
            stats.bytes_sent += more.bytes_sent;
            stats.drops += more.drops;
            stats.lag = stats.lag.max(more.lag);
            stats.schedule_lag = stats.schedule_lag.max(more.schedule_lag);
            stats.schedule_lag_max = stats.schedule_lag_max.max(more.schedule_lag_max);
            stats.outputs.extend(more.outputs);
        }
        stats.bytes_sent += gone.totals.bytes_sent;
        stats.drops += gone.totals.drops;
        stats.cpu_time += gone.totals.cpu_time;
    }
}
