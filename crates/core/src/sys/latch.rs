//! A value that is set once, and threads and tasks that wait for it.
//!
//! In: the value, from any thread. Out: the value, on every thread that waits, and in every task.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::wakers::{Waiting, Wakers};

/// A value that is set once.
pub struct Latch<T> {
    value: Mutex<Option<T>>,
    set: Condvar,
    tasks: Arc<Wakers>,
}

impl<T: Clone> Latch<T> {
    /// The value, if it is set.
    pub fn get(&self) -> Option<T> {
        self.value.lock().clone()
    }

    /// Sets the value if it is not set, and wakes whoever waits; `false` if it is.
    pub fn set(&self, value: T) -> bool {
        let is_set = self.set_after(value, || {});
        if is_set {
            self.announce();
        }
        is_set
    }

    /// Sets the value if it is not set, `before` it can be seen; `false` if it is. [`announce`](Self::announce) has to follow.
    pub fn set_after(&self, value: T, before: impl FnOnce()) -> bool {
        let mut slot = self.value.lock();
        if slot.is_some() {
            return false;
        }
        before();
        *slot = Some(value);
        true
    }

    /// Wakes whoever waits.
    pub fn announce(&self) {
        self.set.notify_all();
        self.tasks.wake();
    }

    /// Waits for the value up to `until`, or for ever.
    ///
    /// # Blocking
    ///
    /// Until then.
    pub fn wait_until(&self, until: Option<Instant>) -> Option<T> {
        let mut value = self.value.lock();
        while value.is_none() {
            match until {
                None => self.set.wait(&mut value),
                Some(until) => {
                    if self.set.wait_until(&mut value, until).timed_out() {
                        break;
                    }
                }
            }
        }
        value.clone()
    }

    /// A place for a task that waits for the value.
    pub fn waiting(&self) -> Waiting {
        Waiting::new(self.tasks.clone())
    }

    /// The value, or the task of `cx` is woken when there is one.
    pub fn poll(&self, waiting: &mut Waiting, cx: &Context<'_>) -> Poll<T> {
        if let Some(value) = self.get() {
            return Poll::Ready(value);
        }
        waiting.note(cx.waker());
        // It may have been set before the task was noted, and then nobody wakes it.
        match self.get() {
            Some(value) => {
                waiting.forget();
                Poll::Ready(value)
            }
            None => Poll::Pending,
        }
    }
}

impl<T> Default for Latch<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), set: Condvar::new(), tasks: Arc::default() }
    }
}

impl<T> fmt::Debug for Latch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("is_set", &self.value.lock().is_some()).finish_non_exhaustive()
    }
}
