//! The rate limit of cutting, shared by all jobs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often a job that waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// Says when the next bytes may be written.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When what was written so far is paid for.
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free_at: Mutex::new(None) }
    }

    /// Takes note of `bytes` that are about to be written, and says until when to wait first: for what was written before,
    /// so that the first one does not wait.
    fn take(&self, bytes: u64, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock();
        let from = free_at.unwrap_or(now).max(now);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        *free_at = Some(from + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        from
    }

    /// Waits until `bytes` may be written, or `cancel` is set.
    pub(super) fn wait(&self, bytes: u64, cancel: &AtomicBool) {
        let until = self.take(bytes, Instant::now());
        while !cancel.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_go_at_once_and_all_jobs_together_keep_the_rate() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        assert_eq!(pace.take(500, start), start);
        assert_eq!(pace.take(500, start), start + Duration::from_millis(500));
        assert_eq!(pace.take(1, start + Duration::from_millis(100)), start + Duration::from_secs(1));
        // Nothing is saved up.
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.take(1000, later), later);
        assert_eq!(pace.take(1000, later), later + Duration::from_secs(1));
    }
}
