//! Work that can be called off: whether it was, and what ends the waiting it is at.
//!
//! In: from any thread, that it is called off. Out: calls of what ends its waits, once each, on that thread.

use std::fmt;

use parking_lot::Mutex;

/// Ends what the work waits for.
type End = Box<dyn Fn() + Send>;

/// One piece of work.
#[derive(Default)]
pub(crate) struct Cancel(Mutex<State>);

#[derive(Default)]
struct State {
    is_cancelled: bool,
    ends: Vec<End>,
}

impl Cancel {
    /// Has `end` called when the work is called off before it is [over](Self::over); at once if it has been already.
    pub(crate) fn on_cancel(&self, end: impl Fn() + Send + 'static) {
        let mut state = self.0.lock();
        if state.is_cancelled {
            drop(state);
            end();
        } else {
            state.ends.push(Box::new(end));
        }
    }

    /// The work has succeeded or failed: nothing of it waits any more.
    pub(crate) fn over(&self) {
        let ends = std::mem::take(&mut self.0.lock().ends);
        drop(ends);
    }

    /// It is called off, also what it will wait for.
    pub(crate) fn cancel(&self) {
        let mut state = self.0.lock();
        state.is_cancelled = true;
        let ends = std::mem::take(&mut state.ends);
        drop(state);
        ends.into_iter().for_each(|end| end());
    }

    /// Whether it was called off.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.lock().is_cancelled
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").finish_non_exhaustive()
    }
}
