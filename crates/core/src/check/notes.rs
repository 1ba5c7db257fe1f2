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

/// Which calls may take how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    Block,
    NotBlock,
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

    /// Makes a call; `None` if it panicked.
    pub(super) fn call<R>(&self, what: &'static str, may: May, call: impl FnOnce() -> R) -> Option<R> {
        {
            let mut state = self.state.lock();
            state.call = Some((what, Instant::now()));
            state.report.calls += 1;
        }
        let (began, cpu, waited) = (Instant::now(), thread_cpu_time(), run_delay());
        let result = std::panic::catch_unwind(AssertUnwindSafe(call));
        let (took, cpu) = (began.elapsed(), thread_cpu_time().saturating_sub(cpu));
        let waited =
            run_delay().zip(waited).map_or(Duration::ZERO, |(now, before)| now.saturating_sub(before));
        let slept = took.saturating_sub(cpu).saturating_sub(waited);
        let mut state = self.state.lock();
        state.call = None;
        if may == May::NotBlock {
            let longest = slept.max(cpu);
            state.report.longest_turn = state.report.longest_turn.max(longest);
            if longest > self.longest_turn {
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

/// How long the calling thread has been ready to run, and others ran; where the system tells.
fn run_delay() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}
