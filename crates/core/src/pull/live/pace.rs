//! The pace of what does not come at the pace it is played at: segments of HLS, files.
//!
//! In: how long it has been, and what there was. Out: up to which media time is due. Where nothing was there in time, all that follows is
//! that much later, once: after a few segments there is as much in store as their arrival varies by.

use std::time::Instant;

/// How much faster it goes while a lot waits, so that a source whose clock is faster than ours is never left behind.
const FASTER: f64 = 1.001;

#[derive(Debug)]
pub(super) struct Pace {
    at: Instant,
    /// Media time at that instant, in milliseconds.
    due: f64,
}

impl Pace {
    /// The first media, of this time, is due now.
    pub(super) fn new(now: Instant, millis: i64) -> Self {
        Self { at: now, due: millis as f64 }
    }

    /// Up to which media time is due. `waits_much` says that there is enough in store.
    pub(super) fn until(&mut self, now: Instant, waits_much: bool) -> i64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64() * 1000.0;
        self.due += if waits_much { passed * FASTER } else { passed };
        self.at = now;
        self.due as i64
    }

    /// Nothing is there behind this time.
    pub(super) fn dry(&mut self, millis: i64) {
        self.due = self.due.min(millis as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_comes_late_makes_all_that_follows_later_and_no_burst() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(start, 500);
        assert_eq!(pace.until(at(100), false), 600);
        // There was nothing behind 580 ms, and for two seconds.
        pace.dry(580);
        assert_eq!(pace.until(at(2100), false), 2580);
        pace.dry(580);
        assert_eq!(pace.until(at(2200), false), 680);
        assert!((10_689..=10_690).contains(&pace.until(at(12_200), true)));
    }
}
