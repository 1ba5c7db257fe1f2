//! The thread that keeps the schedules of an engine, and the few that start streams for it.
//!
//! In: schedules, two clocks. Out: streams of the engine, events. The thread sleeps half a minute at most, so a machine that was suspended
//! or a clock that was set is noticed by then. It ends with the engine.

use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::calendar::Occurrence;
use super::event::{Line, ScheduleEvent, ScheduleEventKind};
use super::planner::{Action, Now, Planner, RunNumber};
use super::when::When;
use crate::error::Error;
use crate::event::bus::{Bus, Events, Subscription};
use crate::id::StreamId;
use crate::spec::StreamSpec;
use crate::stream::{FOREVER, Leave, StreamRef};
use crate::sys::{panic_message, spawn};

/// The longest sleep.
const SLICE: Duration = Duration::from_secs(30);
const KEEPER_STACK: usize = 256 << 10;
/// Starting opens files, as it does on the threads of programs.
const START_STACK: usize = 2 << 20;
/// Streams that are started at the same time.
const STARTERS: usize = 4;

/// How a stream is started for a schedule. It goes on the air only with the leave that it is given.
type StartScheduled = dyn Fn(&StreamSpec, &Leave) -> Result<StreamRef, Error> + Send + Sync;

/// The number of a schedule within its engine, given once. `Display` gives `t1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScheduleId(pub(super) u64);

impl ScheduleId {
    /// The number alone.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// A stream and when it is to run, as data: what is kept over a restart.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Schedule {
    /// The stream.
    pub spec: StreamSpec,
    /// When it runs.
    pub when: When,
    /// When the window began in which it ran as this was made; `None` if it did not run. A schedule that is
    /// [added](Schedules::add) with it runs on if that window has not ended, however late it is by then.
    pub began: Option<SystemTime>,
    /// When the last window began that is done with: its stream has ended by itself, or was stopped, or could not be started. `None`
    /// while it runs. A schedule that is [added](Schedules::add) with it makes up for no window that began then or before.
    pub done: Option<SystemTime>,
}

impl Schedule {
    /// Of a stream that does not run yet.
    #[must_use]
    pub const fn new(spec: StreamSpec, when: When) -> Self {
        Self { spec, when, began: None, done: None }
    }
}

/// A schedule of an engine, as it is at the moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Scheduled {
    /// Its number.
    pub id: ScheduleId,
    /// What it is made of.
    pub schedule: Schedule,
    /// The stream that was last started for it, if it has not ended.
    pub stream: Option<StreamId>,
    /// When it begins next; `None` if it does not.
    pub next: Option<Occurrence>,
}

/// The schedules of an engine; [`Engine::schedules`](crate::Engine::schedules). Clones are the same.
#[derive(Clone)]
pub struct Schedules {
    keeper: Arc<Keeper>,
}

/// Two clocks, which tests set.
pub(super) trait Clock: Send + Sync {
    fn now(&self) -> Now;
}

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { wall: SystemTime::now(), steady: self.0.elapsed() }
    }
}

/// What schedules and threads share.
pub(crate) struct Keeper {
    state: Mutex<State>,
    wake: Arc<Wake>,
    /// A start has come to its end.
    started: Condvar,
    /// Read with the state locked: turns of two threads would else be taken in another order than their times.
    clock: Box<dyn Clock>,
    start: Box<StartScheduled>,
    /// How long a stream may take to stop before another takes its place.
    patience: Duration,
    bus: Bus<ScheduleEvent>,
}

#[derive(Default)]
struct State {
    planner: Planner,
    runs: HashMap<RunNumber, Leave>,
    waiting: VecDeque<Job>,
    /// Starts that threads are at, also such as were called off meanwhile: those may still hold a place among the streams.
    under_way: HashSet<RunNumber>,
    /// Starts that wait for one that was called off.
    giving_way: usize,
    starters: usize,
    has_thread: bool,
    closed: bool,
}

impl State {
    /// The runs whose streams have ended, which are forgotten. Asked once: one that ends meanwhile is found the next time, by the planner
    /// as well.
    fn take_ended(&mut self) -> HashSet<RunNumber> {
        let has_ended = |leave: &Leave| leave.stream().is_some_and(|stream| stream.has_ended());
        self.runs.extract_if(|_, leave| has_ended(leave)).map(|(run, _)| run).collect()
    }

    /// All schedules as they are now.
    fn list(&mut self, now: Now) -> Vec<Scheduled> {
        let ended = self.take_ended();
        self.planner.note_ended(&|run| ended.contains(&run));
        self.planner.list(now)
    }
}

struct Job {
    schedule: ScheduleId,
    run: RunNumber,
    spec: Arc<StreamSpec>,
    leave: Leave,
    after: Option<Before>,
}

/// What has to be gone before another stream takes its place.
enum Before {
    Stream(StreamRef),
    /// A start that was called off.
    Start(RunNumber),
}

/// What ends the sleep of the thread.
#[derive(Default)]
struct Wake {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    fn wake(&self) {
        *self.woken.lock() = true;
        self.changed.notify_all();
    }

    fn sleep(&self, most: Duration) {
        let mut woken = self.woken.lock();
        if !*woken {
            self.changed.wait_for(&mut woken, most);
        }
        *woken = false;
    }
}

impl Keeper {
    /// The schedules of an engine whose streams are started like this. There is no thread before the first schedule.
    pub(crate) fn new(patience: Duration, start: Box<StartScheduled>) -> Arc<Self> {
        Self::with_clock(patience, start, Box::new(SystemClock(Instant::now())))
    }

    pub(super) fn with_clock(
        patience: Duration,
        start: Box<StartScheduled>,
        clock: Box<dyn Clock>,
    ) -> Arc<Self> {
        let (state, wake, started, bus) = Default::default();
        Arc::new(Self { state, wake, started, clock, start, patience, bus })
    }

    pub(crate) fn schedules(self: &Arc<Self>) -> Schedules {
        Schedules { keeper: self.clone() }
    }

    /// No start any more; what runs is the engine's. The list can still be read.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
        for leave in std::mem::take(&mut state.runs).into_values() {
            leave.revoke();
        }
        drop(state);
        self.wake.wake();
    }

    /// The streams that are on the air, and how long until each is stopped, where that is known.
    pub(crate) fn ends(&self) -> Vec<(StreamId, Duration)> {
        let state = self.state.lock();
        state.planner.ends(self.clock.now())
    }

    /// Sees to it that the thread runs.
    fn ensure_thread(self: &Arc<Self>, state: &mut State) -> Result<(), Error> {
        if state.has_thread {
            return Ok(());
        }
        let (keeper, wake) = (Arc::downgrade(self), self.wake.clone());
        let spawned = spawn("fc-schedule", KEEPER_STACK, move || keep(&keeper, &wake));
        spawned.map_err(|source| Error::System { what: "no thread for schedules", source: source.into() })?;
        state.has_thread = true;
        Ok(())
    }

    /// Does what is to be done now, and says how long nothing will be.
    fn turn(self: &Arc<Self>) -> Duration {
        let mut state = self.state.lock();
        let now = self.clock.now();
        if state.closed {
            return SLICE;
        }
        let ended = state.take_ended();
        let actions = state.planner.tick(now, &|run| ended.contains(&run));
        let mut stopped = HashMap::new();
        for action in actions {
            match action {
                Action::Tell { schedule, label, kind } => self.tell(schedule, label, kind),
                Action::Stop { run } => {
                    if let Some(stream) = state.runs.remove(&run).and_then(|leave| leave.revoke()) {
                        stream.release();
                        stopped.insert(run, stream);
                    }
                }
                Action::Start { schedule, run, spec, after } => {
                    let leave = Leave::default();
                    state.runs.insert(run, leave.clone());
                    let after =
                        after.map(|run| stopped.remove(&run).map_or(Before::Start(run), Before::Stream));
                    state.waiting.push_back(Job { schedule, run, spec, leave, after });
                }
            }
        }
        self.hire(&mut state);
        state.planner.idle(now).map_or(SLICE, |idle| idle.min(SLICE))
    }

    /// Has what waits started, by as many threads as are allowed.
    fn hire(self: &Arc<Self>, state: &mut State) {
        let more = state.waiting.len().min(STARTERS - state.starters);
        for _ in 0..more {
            let keeper = self.clone();
            match spawn("fc-start", START_STACK, move || keeper.work()) {
                Ok(_) => state.starters += 1,
                Err(source) => {
                    if state.starters == 0
                        && let Some(job) = state.waiting.pop_front()
                    {
                        let error =
                            Error::System { what: "no thread to start a stream", source: source.into() };
                        self.report(state, &job, Err(error));
                        continue;
                    }
                    break;
                }
            }
        }
    }

    /// Starts what waits, one after the other.
    fn work(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while let Some(job) = state.waiting.pop_front() {
            state.under_way.insert(job.run);
            state = self.give_way(&job, state);
            drop(state);
            // Nobody is told of a start that was called off. One that panics must not take the thread's place along.
            let start = || catch_unwind(AssertUnwindSafe(|| (self.start)(&job.spec, &job.leave)));
            let failed =
                |panic: Box<dyn Any + Send>| Err(Error::Panicked { message: panic_message(&*panic) });
            let outcome = (!job.leave.is_revoked()).then(|| start().unwrap_or_else(failed));
            state = self.state.lock();
            state.under_way.remove(&job.run);
            self.started.notify_all();
            if let Some(outcome) = outcome
                && !job.leave.is_revoked()
            {
                self.report(&mut state, &job, outcome.map(|stream| stream.id()));
            }
        }
        state.starters -= 1;
        drop(state);
        self.wake.wake();
    }

    /// Waits until what a start takes the place of is gone. A start that was called off was taken up before this one, by another thread, if
    /// at all.
    fn give_way<'a>(&'a self, job: &Job, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        match &job.after {
            Some(Before::Stream(stream)) => {
                MutexGuard::unlocked(&mut state, || stream.wait_gone(self.patience));
            }
            Some(Before::Start(run)) => {
                let until = Instant::now() + self.patience.min(FOREVER);
                state.giving_way += 1;
                while state.under_way.contains(run) {
                    if self.started.wait_until(&mut state, until).timed_out() {
                        break;
                    }
                }
                state.giving_way -= 1;
            }
            None => {}
        }
        state
    }

    fn report(&self, state: &mut State, job: &Job, outcome: Result<StreamId, Error>) {
        if outcome.is_err() {
            state.runs.remove(&job.run);
        }
        let action = state.planner.started(job.schedule, job.run, outcome, self.clock.now());
        if let Some(Action::Tell { schedule, label, kind }) = action {
            self.tell(schedule, label, kind);
        }
    }

    fn tell(&self, schedule: ScheduleId, label: Option<Arc<str>>, kind: ScheduleEventKind) {
        let event = ScheduleEvent { at: self.clock.now().wall, schedule, label, kind };
        log::log!(event.kind.level(), "{}", Line(&event));
        self.bus.emit(&event);
    }

    /// Takes schedules out, and calls off the starts that are under way.
    fn take(&self, of: impl Fn(&Scheduled) -> bool) -> Vec<Scheduled> {
        let mut state = self.state.lock();
        let now = self.clock.now();
        let ids: Vec<_> = state.list(now).into_iter().filter(of).map(|listed| listed.id).collect();
        let mut taken = Vec::new();
        for id in ids {
            let Some((mut listed, run)) = state.planner.remove(id, now) else { continue };
            let leave = run.and_then(|run| state.runs.remove(&run));
            // It is on the air by now, or never will be.
            listed.stream = leave.and_then(|leave| leave.revoke()).map(|stream| stream.id());
            state.waiting.retain(|job| job.schedule != id);
            taken.push(listed);
        }
        taken
    }
}

/// The thread.
fn keep(keeper: &Weak<Keeper>, wake: &Wake) {
    while let Some(keeper) = keeper.upgrade() {
        if keeper.state.lock().closed {
            return;
        }
        let idle = keeper.turn();
        drop(keeper);
        wake.sleep(idle);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.wake.wake();
    }
}

impl Schedules {
    /// Has a stream run by the calendar from now on. A window that has begun already counts, if it is not over and not later than
    /// [`Missed::StartLate`](crate::Missed::StartLate) allows.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] and [`Error::Config`] for what cannot work, also for a schedule of which nothing lies ahead; [`Error::Ended`] after
    /// [`Engine::shutdown`](crate::Engine::shutdown); [`Error::System`].
    pub fn add(&self, schedule: Schedule) -> Result<ScheduleId, Error> {
        schedule.spec.check()?;
        schedule.when.check()?;
        let keeper = &self.keeper;
        let mut state = keeper.state.lock();
        if state.closed {
            return Err(Error::Ended);
        }
        keeper.ensure_thread(&mut state)?;
        let id = state.planner.add(schedule, keeper.clock.now())?;
        drop(state);
        keeper.wake.wake();
        Ok(id)
    }

    /// All schedules, in the order in which they were added.
    #[must_use]
    pub fn list(&self) -> Vec<Scheduled> {
        let mut state = self.keeper.state.lock();
        let now = self.keeper.clock.now();
        state.list(now)
    }

    /// Takes one schedule out, as it was; `None` if there is none of this number. No stream starts by it from then on, also
    /// none whose start is under way. A stream that is on the air goes on, and nothing stops it any more:
    /// [`Scheduled::stream`] says which it is.
    pub fn cancel(&self, id: ScheduleId) -> Option<Scheduled> {
        self.keeper.take(|listed| listed.id == id).pop()
    }

    /// Takes all schedules out, as [`cancel`](Self::cancel) does.
    pub fn clear_all(&self) -> Vec<Scheduled> {
        self.keeper.take(|_| true)
    }

    /// What happens from now on. At most 1024 events wait; then the oldest is dropped and counted.
    #[must_use]
    pub fn events(&self) -> Events<ScheduleEvent> {
        self.keeper.bus.subscribe()
    }

    /// Calls `callback` for every event from now on, on a thread of its own, as [`Engine::on_event`](crate::Engine::on_event) does.
    pub fn on_event(
        &self,
        callback: impl Fn(&ScheduleEvent) + Send + Sync + 'static,
    ) -> Subscription<ScheduleEvent> {
        self.keeper.bus.on_event(Arc::new(callback))
    }

    /// Whether the state is locked just now.
    #[cfg(test)]
    pub(super) fn is_busy(&self) -> bool {
        self.keeper.state.is_locked()
    }

    /// Starts that threads are at.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.keeper.state.lock().under_way.len()
    }

    /// Starts that wait for one that was called off.
    #[cfg(test)]
    pub(super) fn giving_way(&self) -> usize {
        self.keeper.state.lock().giving_way
    }

    /// Does at once what is to be done by the clock as it is.
    #[cfg(test)]
    pub(super) fn look(&self) {
        self.keeper.turn();
    }
}

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list().iter().map(|listed| listed.id)).finish()
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}
