//! Until when a stream may send.
//!
//! In: a time that whoever allows it moves on, from any thread. Out: whether that time is still to come, for the stream's thread to see before it
//! sends. The clock is that of the machine since it started, sleep included: no change of the date moves it, and a process that is stopped finds it advanced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Closed for good.
const CLOSED: u64 = 0;

/// What a stream may send within: until a time that is moved on as long as the permission is renewed, and not a turn of its thread longer. For
/// programs on several machines that agree who sends. Clones are the same fence. [`StreamRef::set_fence`](crate::StreamRef::set_fence) puts a stream behind it.
///
/// ```
/// # mod flowcast { pub mod fence { pub use flowcast_core::Fence; } }
/// use std::time::Duration;
/// use flowcast::fence::Fence;
///
/// let asked_at = Fence::clock();
/// // ... the permission was given, for ten seconds from when it was asked for ...
/// let fence = Fence::until(asked_at + Duration::from_secs(8));
/// assert!(fence.is_open());
/// fence.close();
/// assert!(!fence.move_to(asked_at + Duration::from_secs(16)), "closed for good");
/// ```
#[derive(Debug, Clone)]
pub struct Fence {
    /// Nanoseconds of the clock.
    until: Arc<AtomicU64>,
}

impl Fence {
    /// Open until this time of the [clock](Self::clock). [`Duration::MAX`] is no end.
    #[must_use]
    pub fn until(at: Duration) -> Self {
        Self { until: Arc::new(AtomicU64::new(nanos(at))) }
    }

    /// The time since the machine started, with the time it slept where the system counts that (Linux does).
    #[must_use]
    pub fn clock() -> Duration {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    /// Open until this time of the clock from now on; `false` if it was closed for good.
    pub fn move_to(&self, at: Duration) -> bool {
        let moved = |until| (until != CLOSED).then(|| nanos(at));
        self.until.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved).is_ok()
    }

    /// Closes it, for good.
    pub fn close(&self) {
        self.until.store(CLOSED, Ordering::SeqCst);
    }

    /// Whether it is open now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.left().is_zero()
    }

    /// For how long it is still open, if it is not moved.
    #[must_use]
    pub fn left(&self) -> Duration {
        match self.until.load(Ordering::SeqCst) {
            u64::MAX => Duration::MAX,
            until => Duration::from_nanos(until).saturating_sub(Self::clock()),
        }
    }
}

/// At least one: zero is closed for good.
fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_open_until_its_time_and_closed_for_good() {
        let hour = Duration::from_secs(3600);
        let fence = Fence::until(Fence::clock() + hour);
        assert!(fence.is_open() && fence.left() <= hour && fence.left() > hour / 2);
        assert!(fence.move_to(Fence::clock()) && !fence.is_open());
        assert!(fence.move_to(Duration::ZERO) && !fence.is_open(), "over, and not for good");
        assert!(fence.move_to(Duration::MAX) && fence.left() == Duration::MAX);
        let same = fence.clone();
        same.close();
        assert!(!fence.is_open() && !fence.move_to(Duration::MAX) && !fence.is_open());
    }
}
