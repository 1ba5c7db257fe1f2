//! Pacing: which media time is due at which instant.
//!
//! A stream thread wakes once a tick. Ticks of different streams are spread over the tick, so that a thousand streams
//! do not all wake in the same millisecond.

use std::time::{Duration, Instant};

use flowcast_rtmp::time::MediaTime;

/// The instants at which one stream wakes.
#[derive(Debug, Clone)]
pub(crate) struct Ticker {
    period: Duration,
    next: Instant,
}

impl Ticker {
    /// Ticks every `period`, the first one a fraction of the period after `now` that depends on `stream`.
    pub(crate) fn new(now: Instant, period: Duration, stream: u64) -> Self {
        // Golden-ratio hashing spreads consecutive numbers evenly whatever their count is.
        let fraction = stream.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44;
        let offset = period.mul_f64(fraction as f64 / f64::from(1 << 20));
        Self { period, next: now + offset }
    }

    /// When the next tick is.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// How late a tick is that is due; the following one is then planned. Ticks missed by a late thread are skipped, not
    /// made up for: what a tick hands over follows from the clock, not from the number of ticks.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Duration> {
        let late = now.checked_duration_since(self.next)?;
        let skipped = late.as_nanos() / self.period.as_nanos().max(1);
        self.next += self.period * u32::try_from(skipped + 1).unwrap_or(u32::MAX);
        Some(late)
    }
}

/// Maps instants to media time at the speed of life.
///
/// After the machine was suspended or starved, the clock does not run through everything that was missed at once:
/// beyond `catch_up` it moves its origin, so that no more than that is ever sent faster than real time.
#[derive(Debug, Clone)]
pub(crate) struct Pacer {
    origin: Option<Instant>,
    last: Instant,
    catch_up: Duration,
}

impl Pacer {
    /// A clock that starts with [`Pacer::start`]; `catch_up` is the most media time handed over at once.
    pub(crate) fn new(now: Instant, catch_up: Duration) -> Self {
        Self { origin: None, last: now, catch_up }
    }

    /// Starts the clock at media time zero; a running clock goes on.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.origin.is_none() {
            self.origin = Some(now);
            self.last = now;
        }
    }

    /// Starts the clock at `now`, with the media time that is due if it had begun at `origin`: that much is handed over at once. A running clock goes on.
    pub(crate) fn start_from(&mut self, origin: Instant, now: Instant) {
        if self.origin.is_none() {
            self.origin = Some(origin);
            self.last = now;
        }
    }

    /// When this media time is due; `None` before the start.
    pub(crate) fn instant_of(&self, millis: i64) -> Option<Instant> {
        let since = Duration::from_millis(millis.unsigned_abs());
        let origin = self.origin?;
        if millis < 0 { origin.checked_sub(since) } else { origin.checked_add(since) }
    }

    /// Lets `late` go by: the source had nothing to give for that long, and what it gives now is not late.
    pub(crate) fn hold(&mut self, late: Duration) {
        if let Some(origin) = &mut self.origin {
            *origin += late;
        }
    }

    /// The media time due at `now`, or `None` before the start.
    pub(crate) fn due(&mut self, now: Instant) -> Option<MediaTime> {
        let origin = self.origin.as_mut()?;
        let missed = now.saturating_duration_since(self.last);
        if missed > self.catch_up {
            *origin += missed - self.catch_up;
        }
        self.last = now;
        let elapsed = now.saturating_duration_since(*origin);
        Some(MediaTime::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Media time for what goes out as fast as it is taken.
///
/// Where it is taken at once, media time is always a step ahead of what was handed over; where it is not, it goes on at the speed of life.
#[derive(Debug, Clone)]
pub(crate) struct Burst {
    due: i64,
    last: Option<Instant>,
    taken: bool,
    step: Duration,
}

impl Burst {
    /// So much of it at a time.
    pub(crate) fn new(step: Duration) -> Self {
        Self { due: 0, last: None, taken: true, step }
    }

    /// Media time begins.
    pub(crate) fn start(&mut self, now: Instant) {
        self.last = self.last.or(Some(now));
    }

    /// Whether all of what was handed over is taken.
    pub(crate) fn note_taken(&mut self, taken: bool) {
        self.taken = taken;
    }

    /// Whether there is no room for more than real time.
    pub(crate) fn is_held(&self) -> bool {
        !self.taken
    }

    /// The media time due at `now`, in milliseconds, where `handed` was handed over; `None` before the start.
    pub(crate) fn due(&mut self, now: Instant, handed: i64) -> Option<i64> {
        let elapsed = now.saturating_duration_since(self.last?);
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        if self.taken {
            self.due = handed.saturating_add(millis(self.step));
            self.last = Some(now);
        } else {
            // What is less than a millisecond counts with the next turn.
            let whole = millis(elapsed);
            self.due = self.due.saturating_add(whole);
            self.last = self.last.map(|last| last + Duration::from_millis(whole.unsigned_abs()));
        }
        Some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    #[test]
    fn a_burst_is_ahead_where_it_is_taken_and_real_time_where_it_is_not() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut burst = Burst::new(Duration::from_millis(250));
        assert_eq!(burst.due(begin, 0), None);
        burst.start(begin);
        assert_eq!(burst.due(at(1), 0), Some(250));
        assert_eq!(burst.due(at(2), 250), Some(500));
        burst.note_taken(false);
        assert!(burst.is_held());
        assert_eq!(burst.due(at(102), 500), Some(600));
        assert_eq!(burst.due(at(202), 600), Some(700));
        burst.note_taken(true);
        assert_eq!(burst.due(at(302), 700), Some(950));
        // However long nothing came, what comes then is not late.
        assert_eq!(burst.due(at(90_000), 950), Some(1200));
    }

    #[test]
    fn ticks_of_many_streams_are_spread() {
        let now = Instant::now();
        let mut buckets = [0; 10];
        for stream in 0..1000 {
            let offset = Ticker::new(now, TICK, stream).next().duration_since(now);
            buckets[(offset.as_millis() / 10) as usize] += 1;
        }
        assert!(buckets.iter().all(|&count| (90..=110).contains(&count)), "{buckets:?}");
    }

    #[test]
    fn a_late_thread_skips_ticks_and_keeps_its_phase() {
        let now = Instant::now();
        let mut ticker = Ticker::new(now, TICK, 0);
        assert_eq!(ticker.due(now), Some(Duration::ZERO));
        assert_eq!(ticker.due(now + TICK / 2), None);
        assert_eq!(ticker.due(now + TICK * 7 + TICK / 2), Some(TICK * 6 + TICK / 2));
        assert_eq!(ticker.next(), now + TICK * 8);
    }

    #[test]
    fn the_clock_keeps_time_and_never_makes_up_a_long_pause() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now, Duration::from_secs(1));
        assert_eq!(pacer.due(now), None);
        pacer.start(now);
        for tick in 1..=5u32 {
            assert_eq!(pacer.due(now + TICK * tick), Some(MediaTime::from_millis(100 * i64::from(tick))));
        }
        // Suspended for a minute: one second of media is due, not sixty.
        let woken = now + TICK * 5 + Duration::from_secs(60);
        assert_eq!(pacer.due(woken), Some(MediaTime::from_millis(1500)));
        assert_eq!(pacer.due(woken + TICK), Some(MediaTime::from_millis(1600)));
    }
}
