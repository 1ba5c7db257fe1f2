//! Where records wait for those who want them. One for each engine.
//!
//! In: records, from whichever thread cuts one; who wants them. Out: numbered records in their order, to the thread that hands them over. No
//! lock is held while somebody's code runs or a disk is waited for, so whoever cuts never waits for either. Records wait up to a
//! bound; what comes then is lost, and counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::record::{RunId, UsageCut, UsageId, UsageRecord, UsageSubject, Used};
use super::sink::Sink;
use crate::config::UsageConfig;
use crate::id::StreamId;

/// How soon a file that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// A record that has no number yet.
#[derive(Debug)]
pub(super) struct Unnumbered {
    pub(super) cut: UsageCut,
    pub(super) owner: Option<Arc<str>>,
    pub(super) stream: StreamId,
    pub(super) label: Option<Arc<str>>,
    pub(super) subject: UsageSubject,
    pub(super) from: SystemTime,
    pub(super) to: SystemTime,
    pub(super) used: Used,
}

/// The records of an engine.
#[derive(Debug)]
pub(crate) struct Desk {
    run: RunId,
    /// Somebody wants records; read by who cuts.
    wanted: AtomicBool,
    state: Mutex<State>,
    /// Something is to be done.
    came: Condvar,
    /// Records were handed over.
    done: Condvar,
}

#[derive(Debug)]
struct State {
    settings: UsageConfig,
    waiting: VecDeque<Arc<UsageRecord>>,
    /// The number of the last record.
    cut: u64,
    /// All up to this number were handed over, or are lost.
    given: u64,
    lost: u64,
    sinks: Vec<Arc<Sink>>,
    next_sink: u64,
    has_thread: bool,
    next_cut: Instant,
    /// When those that failed are tried again.
    retry: Option<Instant>,
    /// The engine is gone.
    closed: bool,
}

/// What the thread is to do.
pub(super) enum Work {
    /// Cut records of all streams.
    Cut,
    /// Hand these over.
    Give(Batch),
}

/// Records, and who gets them.
pub(super) struct Batch {
    pub(super) records: Vec<Arc<UsageRecord>>,
    pub(super) sinks: Vec<Arc<Sink>>,
    /// How many may wait in each.
    pub(super) kept: usize,
    up_to: u64,
}

impl Desk {
    pub(crate) fn new(settings: UsageConfig) -> Arc<Self> {
        let state = State {
            settings,
            waiting: VecDeque::new(),
            cut: 0,
            given: 0,
            lost: 0,
            sinks: Vec::new(),
            next_sink: 0,
            has_thread: false,
            next_cut: Instant::now(),
            retry: None,
            closed: false,
        };
        Arc::new(Self {
            run: RunId::new(),
            wanted: AtomicBool::new(false),
            state: Mutex::new(state),
            came: Condvar::new(),
            done: Condvar::new(),
        })
    }

    pub(super) fn run(&self) -> RunId {
        self.run
    }

    /// Whether somebody wants records.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Whether a record is to be cut for this reason. Where there is no room, one whose time has come is not cut: the next one has all of it.
    pub(super) fn takes(&self, why: UsageCut) -> bool {
        self.is_wanted() && (why != UsageCut::Interval || !self.state.lock().is_full())
    }

    /// Gives a record its number, and lets it wait for the thread.
    pub(super) fn push(&self, record: Unnumbered) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.cut += 1;
        // One whose time has come was asked for where there was room; a stream's records of one cut stay together.
        if record.cut != UsageCut::Interval && state.is_full() {
            if state.lost == 0 {
                log::error!("usage records are not taken, those that come are lost");
            }
            state.lost += 1;
            return;
        }
        let id = UsageId { run: self.run, number: state.cut };
        let Unnumbered { cut, owner, stream, label, subject, from, to, used } = record;
        state.waiting.push_back(Arc::new(UsageRecord {
            id,
            cut,
            owner,
            stream,
            label,
            subject,
            from,
            to,
            used,
        }));
        drop(state);
        self.came.notify_one();
    }

    pub(super) fn settings(&self) -> UsageConfig {
        self.state.lock().settings
    }

    pub(super) fn set(&self, settings: UsageConfig) {
        let mut state = self.state.lock();
        state.settings = settings;
        state.next_cut = state.next_cut.min(Instant::now() + settings.interval);
        drop(state);
        self.came.notify_one();
    }

    /// Records that were lost before anybody got them.
    pub(super) fn lost(&self) -> u64 {
        self.state.lock().lost
    }

    /// Lets somebody have the records that are cut from now on. `spawn` starts the thread, if there is none.
    pub(super) fn add<E>(
        &self,
        sink: impl FnOnce(u64) -> Sink,
        spawn: impl FnOnce() -> Result<(), E>,
    ) -> Result<Arc<Sink>, E> {
        let mut state = self.state.lock();
        let sink = Arc::new(sink(state.next_sink));
        if state.closed {
            sink.end();
            return Ok(sink);
        }
        if !state.has_thread {
            spawn()?;
            state.has_thread = true;
            state.next_cut = Instant::now() + state.settings.interval;
        }
        state.next_sink += 1;
        state.sinks.push(sink.clone());
        self.wanted.store(true, Ordering::Release);
        drop(state);
        self.came.notify_one();
        Ok(sink)
    }

    /// Somebody wants no more of them.
    pub(super) fn remove(&self, number: u64) {
        let removed = {
            let mut state = self.state.lock();
            let place = state.sinks.iter().position(|sink| sink.number == number);
            let removed = place.map(|place| state.sinks.remove(place));
            self.wanted.store(!state.sinks.is_empty() && !state.closed, Ordering::Release);
            removed
        };
        // Outside the lock: the program's code is in it.
        drop(removed);
        self.came.notify_one();
    }

    /// Waits until all records that are cut now were handed over, at most until `until`; `true` if they were. Not on the thread that
    /// does it.
    pub(crate) fn wait_given(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        let up_to = state.cut;
        if super::is_own_thread() {
            return state.given >= up_to;
        }
        while state.has_thread && state.given < up_to {
            if self.done.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.given >= up_to || !self.is_wanted()
    }

    /// The engine is gone: what waits is handed over, files are closed, then the thread ends, which is waited for until `until`; `true` if
    /// it has. Not on that thread.
    pub(crate) fn close(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        state.closed = true;
        self.wanted.store(false, Ordering::Release);
        self.came.notify_one();
        while state.has_thread && !super::is_own_thread() {
            if self.done.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        !state.has_thread
    }

    /// Waits for what is to be done; `None` when the thread is to end.
    pub(super) fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            // What could not be written is tried once more before the end.
            let is_over = state.closed && state.waiting.is_empty() && state.retry.is_none();
            if state.sinks.is_empty() || is_over {
                return self.end(state);
            }
            if !state.closed && now >= state.next_cut {
                state.next_cut = now + state.settings.interval;
                return Some(Work::Cut);
            }
            let again = state.retry.is_some_and(|retry| state.closed || now >= retry);
            if !state.waiting.is_empty() || again {
                state.retry = None;
                return Some(Work::Give(state.batch()));
            }
            let until = state.retry.map_or(state.next_cut, |retry| retry.min(state.next_cut));
            self.came.wait_until(&mut state, until);
        }
    }

    /// The thread ends. Nobody waits for what nobody wants.
    fn end(&self, mut state: MutexGuard<'_, State>) -> Option<Work> {
        state.waiting.clear();
        state.given = state.cut;
        let sinks = std::mem::take(&mut state.sinks);
        if !sinks.is_empty() {
            // Outside the lock: it waits for a disk, and the program's code is in them.
            MutexGuard::unlocked(&mut state, || sinks.into_iter().for_each(|sink| sink.end()));
        }
        state.has_thread = false;
        drop(state);
        self.done.notify_all();
        None
    }

    /// A batch was handed over; `failed` if somebody has kept records that could not be written.
    pub(super) fn given(&self, batch: Batch, failed: bool) {
        let up_to = batch.up_to;
        // The program's code may be in it.
        drop(batch);
        let mut state = self.state.lock();
        state.given = up_to;
        state.retry = (failed && !state.closed).then(|| Instant::now() + RETRY);
        drop(state);
        self.done.notify_all();
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting.len() >= self.settings.kept
    }

    fn batch(&mut self) -> Batch {
        let records = std::mem::take(&mut self.waiting).into();
        Batch { records, sinks: self.sinks.clone(), kept: self.settings.kept, up_to: self.cut }
    }
}
