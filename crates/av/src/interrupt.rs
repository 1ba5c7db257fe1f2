//! Ends blocking calls into libav: from another thread, or at a deadline.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Ends blocking calls of the handles it was given to.
///
/// Clones act on the same handles. libav asks it several times a second while it waits on a socket, and between reads of a
/// file. It does not wake a DNS look-up, nor a read of a dead network file system.
///
/// ```
/// use flowcast_av::Interrupt;
/// use std::time::{Duration, Instant};
///
/// let interrupt = Interrupt::new();
/// interrupt.set_deadline(Some(Instant::now() + Duration::from_secs(5)));
/// assert!(!interrupt.is_cancelled());
/// interrupt.cancel();
/// assert!(interrupt.is_cancelled());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    cancelled: AtomicBool,
    deadline: Deadline,
}

/// Why a call has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Cancelled,
    Deadline,
}

impl Interrupt {
    /// One that lets everything pass.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every call that runs at or after `deadline` with [`Error::Timeout`](crate::Error::Timeout); `None` takes the
    /// deadline away. It comes on top of [`OpenOptions::timeout`](crate::OpenOptions::timeout).
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.state.deadline.set(deadline);
    }

    /// Ends the running call and every later one with [`Error::Cancelled`](crate::Error::Cancelled). It cannot be undone, so
    /// that the calls a shutdown makes (a trailer, a close) do not wait again.
    pub fn cancel(&self) {
        self.state.cancelled.store(true, Ordering::Release);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state.cancelled.load(Ordering::Acquire)
    }

    /// Why the running call has to end, if it has to.
    pub(crate) fn reason(&self) -> Option<Reason> {
        if self.is_cancelled() {
            return Some(Reason::Cancelled);
        }
        self.state.deadline.has_passed().then_some(Reason::Deadline)
    }
}

/// An instant that can be read and set from any thread, as nanoseconds since the process first asked; 0 is none.
#[derive(Debug, Default)]
pub(crate) struct Deadline(AtomicU64);

impl Deadline {
    pub(crate) fn set(&self, deadline: Option<Instant>) {
        let nanos = deadline.map_or(0, |at| nanos_since_epoch(at).max(1));
        self.0.store(nanos, Ordering::Release);
    }

    pub(crate) fn has_passed(&self) -> bool {
        match self.0.load(Ordering::Acquire) {
            0 => false,
            nanos => nanos_since_epoch(Instant::now()) >= nanos,
        }
    }
}

fn nanos_since_epoch(at: Instant) -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let epoch = *EPOCH.get_or_init(Instant::now);
    u64::try_from(at.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn cancel_latches() {
        let interrupt = Interrupt::new();
        let other = interrupt.clone();
        assert_eq!(interrupt.reason(), None);
        other.cancel();
        interrupt.set_deadline(None);
        assert_eq!(interrupt.reason(), Some(Reason::Cancelled));
    }

    #[test]
    fn deadline_comes_and_goes() {
        let interrupt = Interrupt::new();
        interrupt.set_deadline(Some(Instant::now()));
        assert_eq!(interrupt.reason(), Some(Reason::Deadline));
        interrupt.set_deadline(Some(Instant::now() + Duration::from_secs(3600)));
        assert_eq!(interrupt.reason(), None);
        interrupt.set_deadline(None);
        assert_eq!(interrupt.reason(), None);
    }
}
