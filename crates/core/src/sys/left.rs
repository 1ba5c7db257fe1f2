//! Threads that were told to end, and that nobody waits for.
//!
//! In: workers that are given up. Out: how many of them hang, because what they call does not return.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Worker;

/// A thread that was told to end and has not after this long hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Workers that were given up. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftBehind(Arc<Mutex<Vec<(Instant, Left)>>>);

/// A worker that was given up.
#[derive(Debug, Clone)]
pub(crate) struct Left(Arc<Mutex<Worker>>);

#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what libav sends"))]
impl Left {
    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.lock().is_stopped()
    }
}

impl LeftBehind {
    /// Takes a worker that was told to end.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what libav sends"))]
    pub(crate) fn add(&self, worker: Worker, now: Instant) -> Left {
        let left = Left(Arc::new(Mutex::new(worker)));
        let mut all = self.0.lock();
        all.retain(|(_, left)| !left.has_ended());
        all.push((now, left.clone()));
        left
    }

    /// How many hang.
    pub(crate) fn hanging(&self, now: Instant) -> usize {
        let mut all = self.0.lock();
        all.retain(|(_, left)| !left.has_ended());
        all.iter().filter(|(since, _)| now.saturating_duration_since(*since) >= PATIENCE).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_hangs_after_a_while_until_it_ends() {
        let (end, ended) = crossbeam_channel::bounded::<()>(0);
        let (all, now) = (LeftBehind::default(), Instant::now());
        let worker = Worker::start("a test", "left".to_owned(), 64 << 10, move || {
            let _ = ended.recv();
        });
        let left = all.add(worker.expect("a thread"), now);
        assert_eq!((all.hanging(now), all.hanging(now + PATIENCE), left.has_ended()), (0, 1, false));
        drop(end);
        while !left.has_ended() {
            std::thread::yield_now();
        }
        assert_eq!(all.hanging(now + PATIENCE), 0);
    }
}
