//! How fast a publisher may send.

use std::time::{Duration, Instant};

use flowcast_core::BitRate;

/// Bytes that may come at once, however little is allowed per second: a keyframe.
const LEAST_BURST: u64 = 256 << 10;
/// A publisher that has been at its limit for this long is disconnected.
pub(crate) const TOO_FAST_AFTER: Duration = Duration::from_secs(10);

/// A token bucket: a second's worth of bytes may come at once.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: BitRate,
    room: u64,
    filled: Instant,
    /// When the bucket was emptied, if it has not been full since: everything it was given was used.
    empty_since: Option<Instant>,
}

impl Throttle {
    /// Lets `limit` through from `now` on.
    pub(crate) fn new(limit: BitRate, now: Instant) -> Self {
        let mut throttle = Self { limit, room: 0, filled: now, empty_since: None };
        throttle.room = throttle.burst();
        throttle
    }

    /// In thousand bits per second.
    pub(crate) fn limit(&self) -> BitRate {
        self.limit
    }

    /// Bytes that may be read now. With `0`, the rest waits.
    pub(crate) fn allowed(&mut self, now: Instant) -> usize {
        let micros = now.saturating_duration_since(self.filled).as_micros();
        let fresh = u128::from(self.per_second()) * micros / 1_000_000;
        if fresh > 0 {
            // A fraction of a byte is left for the next time.
            self.filled = now;
            let room = u128::from(self.room).saturating_add(fresh);
            self.room = u64::try_from(room).unwrap_or(u64::MAX).min(self.burst());
        }
        if self.room == 0 {
            self.empty_since.get_or_insert(now);
        } else if self.room == self.burst() {
            self.empty_since = None;
        }
        usize::try_from(self.room).unwrap_or(usize::MAX)
    }

    /// Notes that this many bytes were read.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.room = self.room.saturating_sub(bytes as u64);
    }

    /// Whether the publisher has been too fast for too long; call it when nothing is [`allowed`](Self::allowed).
    pub(crate) fn is_too_fast(&self, now: Instant) -> bool {
        self.empty_since.is_some_and(|since| now.saturating_duration_since(since) >= TOO_FAST_AFTER)
    }

    fn per_second(&self) -> u64 {
        self.limit.bps() / 8
    }

    fn burst(&self) -> u64 {
        self.per_second().max(LEAST_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    /// Reads as much as allowed of `offered` bytes a tick for `ticks` ticks; how much that was, and whether it ended as too
    /// fast.
    fn run(throttle: &mut Throttle, start: Instant, offered: usize, ticks: u32) -> (usize, bool) {
        let (mut waiting, mut read) = (0usize, 0);
        for tick in 1..=ticks {
            let now = start + TICK * tick;
            waiting += offered;
            let taken = throttle.allowed(now).min(waiting);
            throttle.took(taken);
            (waiting, read) = (waiting - taken, read + taken);
            if waiting > 0 && throttle.allowed(now) == 0 && throttle.is_too_fast(now) {
                return (read, true);
            }
        }
        (read, false)
    }

    #[test]
    fn what_is_allowed_comes_through_whole_also_in_bursts() {
        let start = Instant::now();
        let mut throttle = Throttle::new(BitRate::from_kbps(4000), start);
        // 4000 kbit/s are 50,000 bytes a tick.
        assert_eq!(run(&mut throttle, start, 49_000, 600), (49_000 * 600, false));
        let later = start + TICK * 700;
        assert_eq!(run(&mut throttle, later, 450_000, 1), (450_000, false), "a keyframe after a pause");
    }

    #[test]
    fn who_empties_it_now_and_then_is_not_too_fast_and_who_pauses_for_moments_is() {
        let start = Instant::now();
        let mut throttle = Throttle::new(BitRate::from_kbps(4000), start);
        let second = Duration::from_secs(1);
        // Half of what is allowed, all of it at once every two seconds, which empties the bucket each time.
        for turn in 1..60 {
            let now = start + second * 2 * turn;
            let allowed = throttle.allowed(now);
            throttle.took(allowed);
            assert_eq!(throttle.allowed(now), 0);
            assert!(!throttle.is_too_fast(now), "turn {turn}");
        }
        // As much as is allowed, in half-second pieces between which nothing waits.
        let later = start + second * 200;
        let mut throttle = Throttle::new(BitRate::from_kbps(4000), later);
        let ended = (0..40).find(|turn| {
            let now = later + second / 2 * *turn;
            let allowed = throttle.allowed(now);
            throttle.took(allowed);
            throttle.allowed(now) == 0 && throttle.is_too_fast(now)
        });
        assert_eq!(ended, Some(20));
    }

    #[test]
    fn what_is_too_much_is_held_back_and_ends_after_ten_seconds() {
        let start = Instant::now();
        let mut throttle = Throttle::new(BitRate::from_kbps(4000), start);
        let (read, too_fast) = run(&mut throttle, start, 100_000, 600);
        assert!(too_fast);
        // Ten seconds of backlog after the burst, and no more than the rate allows.
        assert!((5_500_000..6_600_000).contains(&read), "{read}");
    }
}
