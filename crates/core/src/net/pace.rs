//! Which senders are read as their packets arrive, and which with ticks only.
//!
//! In: what a turn has read. Out: whether packets wake the thread. Where no output takes anything between two ticks, what arrives there can
//! wait in the kernel, and one wake-up takes it all. On the stream's thread.

use std::time::{Duration, Instant};

/// A sender is read with ticks only while what it sends in one is at most this part of what the kernel buffers of it: it must
/// never have to wait for a tick.
const ROOM: u64 = 2;
/// A sender that sent more is read as it sends for this long.
const BUSY: Duration = Duration::from_secs(3);

/// How one sender is read. It starts as one whose packets wake the thread.
#[derive(Debug)]
pub struct ReadPace {
    resting: bool,
    busy_until: Instant,
    /// Bytes the kernel buffers of it, when last asked: it grows with what is sent.
    buffer: u64,
}

impl ReadPace {
    /// A sender that comes at this instant.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { resting: false, busy_until: now, buffer: 0 }
    }

    /// Whether its packets do not wake the thread: it is to be read with each tick.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.resting
    }

    /// Takes note of `received` bytes that a turn has read. `may_rest`: nobody would take its media before the next tick. `buffer` asks the
    /// kernel how many bytes it keeps. Whether packets wake the thread from now on, if that changes.
    pub fn after_turn(
        &mut self,
        now: Instant,
        received: u64,
        may_rest: bool,
        buffer: impl FnOnce() -> usize,
    ) -> Option<bool> {
        if self.resting && received.saturating_mul(ROOM) > self.buffer {
            self.buffer = buffer() as u64;
            if received.saturating_mul(ROOM) > self.buffer {
                self.busy_until = now + BUSY;
            }
        }
        let rest = may_rest && now >= self.busy_until;
        (rest != std::mem::replace(&mut self.resting, rest)).then_some(!rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fills_its_buffer_is_read_as_it_sends_for_a_while() {
        let start = Instant::now();
        let mut pace = ReadPace::new(start);
        assert_eq!(pace.after_turn(start, 900, false, || 1000), None, "somebody waits for its media");
        assert_eq!(pace.after_turn(start, 900, true, || 1000), Some(false));
        assert!(pace.is_resting());
        assert_eq!(pace.after_turn(start, 500, true, || 1000), None, "half of the buffer");
        assert_eq!(pace.after_turn(start, 501, true, || 2000), None, "the buffer has grown");
        assert_eq!(pace.after_turn(start, 1001, true, || 2000), Some(true));
        let later = start + BUSY;
        assert_eq!(pace.after_turn(later - Duration::from_millis(1), 10, true, || 2000), None);
        assert_eq!(pace.after_turn(later, 10, true, || 2000), Some(false));
    }
}
