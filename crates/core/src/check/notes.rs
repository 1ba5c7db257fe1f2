//! The notes of a check: each call of the driver is timed, and its panic caught.
//!
//! In: calls, on the checking thread. Out: a report, which the waiting thread sees at any time: also that a call does not return.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::mistake::{MistakeKind, Report};
use crate::sys::{panic_message, thread_cpu_time};

/// A call that takes this long does not return.
const STUCK: Duration = Duration::from_secs(10);

/// What only answers may take this much longer: time in which others run is not told apart.
const ANSWERS: u32 = 10;

/// Which calls may take how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    Block,
    NotBlock,
    /// It only answers a question. Its sleep is not looked for closely, because that takes longer than the answer.
    Answer,
}

#[derive(Debug)]
struct State {
    report: Report,
    /// The call that is made, and since when.
    call: Option<(&'static str, Instant)>,
}

/// The notes. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    state: Arc<Mutex<State>>,
    longest_turn: Duration,
}

impl Notes {
    pub(super) fn new(longest_turn: Duration) -> Self {
        let state = State { report: Report::default(), call: None };
        Self { state: Arc::new(Mutex::new(state)), longest_turn }
    }

    pub(super) fn report(&self) -> Report {
        self.state.lock().report.clone()
    }

    pub(super) fn add(&self, kind: MistakeKind, detail: impl FnOnce() -> String) {
        self.state.lock().report.add(kind, detail);
    }

    pub(super) fn update(&self, update: impl FnOnce(&mut Report)) {
        update(&mut self.state.lock().report);
    }

    /// Whether a call does not return; that is a mistake, too.
    pub(super) fn is_stuck(&self) -> bool {
        let mut state = self.state.lock();
        let Some((what, since)) = state.call else { return false };
        // What opens a source may read a whole file first.
        let limit = if what == "open" { STUCK * 12 } else { STUCK };
        let stuck = since.elapsed() > limit;
        if stuck {
            state.report.add(MistakeKind::Blocks, || format!("{what} has not returned for {limit:?}"));
        }
        stuck
    }

    fn kernel(&self, may: May) -> Option<Kernel> {
        (may == May::NotBlock && self.longest_turn != Duration::MAX).then(Kernel::now).flatten()
    }

    /// Makes a call; `None` if it panicked.
    pub(super) fn call<R>(&self, what: &'static str, may: May, call: impl FnOnce() -> R) -> Option<R> {
        {
            let mut state = self.state.lock();
            state.call = Some((what, Instant::now()));
            state.report.calls += 1;
        }
        let (began, cpu, kernel) = (Instant::now(), thread_cpu_time(), self.kernel(may));
        let result = std::panic::catch_unwind(AssertUnwindSafe(call));
        let (took, cpu) = (began.elapsed(), thread_cpu_time().saturating_sub(cpu));
        let slept = Kernel::slept(kernel, self.kernel(may), took.saturating_sub(cpu));
        let mut state = self.state.lock();
        state.call = None;
        // What is told of a panic takes its time, a backtrace that of reading what the program was built of.
        if may != May::Block && result.is_ok() {
            let longest = slept.max(cpu);
            if may == May::NotBlock {
                state.report.longest_turn = state.report.longest_turn.max(longest);
            }
            let limit = if may == May::Answer {
                self.longest_turn.saturating_mul(ANSWERS)
            } else {
                self.longest_turn
            };
            if longest > limit {
                let how = if slept >= cpu { "slept" } else { "computed" };
                state.report.add(MistakeKind::Blocks, || format!("{what} {how} for {longest:.1?}"));
            }
        }
        match result {
            Ok(result) => Some(result),
            Err(panic) => {
                let message = panic_message(&*panic);
                state.report.add(MistakeKind::Panics, || format!("{what}: {message}"));
                None
            }
        }
    }
}

/// What the kernel knows of the calling thread; `None` where it does not tell.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    /// How long it has been ready to run, and others ran.
    waited: Duration,
    /// How often it has gone to sleep by itself.
    sleeps: u64,
}

impl Kernel {
    fn now() -> Option<Self> {
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let waited = Duration::from_nanos(times.split_whitespace().nth(1)?.parse().ok()?);
        let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some(Self { waited, sleeps: sleeps.trim().parse().ok()? })
    }

    /// How much of the time `off` the processor the thread slept. What is not known counts as sleep.
    fn slept(before: Option<Self>, after: Option<Self>, off: Duration) -> Duration {
        match (before, after) {
            (Some(before), Some(after)) if before.sleeps == after.sleeps => Duration::ZERO,
            (Some(before), Some(after)) => off.saturating_sub(after.waited.saturating_sub(before.waited)),
            _ => off,
        }
    }
}
