//! What one output's network takes.
//!
//! In: how far the output is behind and how much was delivered, once a tick. Out: whether it is congested, calm, or neither, and how many bits a second
//! it delivers while something waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::bit_rate::BitRate;
use crate::id::OutputId;

/// What is delivered is measured over at least this long, and at most that long, while something waits all the time.
const LEAST_MEASURED: Duration = Duration::from_millis(400);
const MOST_MEASURED: Duration = Duration::from_millis(1500);
/// A network that lost something holds back that later bytes have come, and then says so of all at once: so it is also measured over as long as this, whatever was changed
/// meanwhile.
const LONG_MEASURED: Duration = Duration::from_secs(4);
/// It falls behind if it is further behind than this long ago, by at least that.
const RISING_OVER: Duration = Duration::from_millis(400);
const RISING_BY: Duration = Duration::from_millis(60);
/// So far behind, it is congested whether that grows or not.
pub(super) const FAR_BEHIND: Duration = Duration::from_millis(700);
/// What an output is behind at its best is the way there and back, if it is no more than this; the best of this long counts, and of as long before.
const MOST_DISTANCE: Duration = Duration::from_millis(500);
const DISTANCE_OVER: Duration = Duration::from_secs(15);

/// One tick of an output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) output: OutputId,
    /// Media time that was due and is not delivered.
    pub(crate) lag: Duration,
    /// Bytes that were delivered in all, if that is known.
    pub(crate) delivered: Option<u64>,
}

/// The network of one output.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) output: OutputId,
    /// When, what was delivered, and the lag, since something waits; oldest first.
    busy: VecDeque<(Instant, Option<u64>, Duration)>,
    /// When, and what was delivered, since something waits; oldest first.
    waiting: VecDeque<(Instant, u64)>,
    lag: Duration,
    distance: Distance,
    /// The last rate at which it delivered while something waited.
    capacity: Option<BitRate>,
    /// The same over the longer time.
    lasting: Option<BitRate>,
    /// Since when it is calm.
    calm_since: Option<Instant>,
    /// The rate does not follow it, because it is alone too slow.
    pub(super) is_left: bool,
}

impl Link {
    pub(super) fn new(output: OutputId) -> Self {
        Self {
            output,
            busy: VecDeque::new(),
            waiting: VecDeque::new(),
            lag: Duration::ZERO,
            distance: Distance::default(),
            capacity: None,
            lasting: None,
            calm_since: None,
            is_left: false,
        }
    }

    /// Takes a tick. `calm` is how far behind it may be to be called calm.
    pub(super) fn take(&mut self, now: Instant, sample: Sample, calm: Duration) {
        self.lag = sample.lag;
        self.distance.take(now, sample.lag);
        let behind = self.behind();
        if behind > calm {
            self.calm_since = None;
        } else if self.calm_since.is_none() {
            self.calm_since = Some(now);
        }
        let goes_back = self.busy.back().is_some_and(|(_, before, _)| *before > sample.delivered);
        // Another connection counts anew; and where nothing waits, it is the encoder that sets the pace.
        if behind.is_zero() || goes_back {
            self.busy.clear();
            self.waiting.clear();
        }
        if behind.is_zero() {
            return;
        }
        self.busy.push_back((now, sample.delivered, behind));
        while self.busy.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) > MOST_MEASURED) {
            self.busy.pop_front();
        }
        let measured = self.busy.front().and_then(|(since, from, _)| {
            let took = now.saturating_duration_since(*since);
            let delivered = sample.delivered?.saturating_sub((*from)?);
            (took >= LEAST_MEASURED).then(|| BitRate::of(delivered, took.as_secs_f64()))
        });
        self.capacity = measured.or(self.capacity);
        let Some(delivered) = sample.delivered else { return };
        self.waiting.push_back((now, delivered));
        while self.waiting.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > LONG_MEASURED) {
            self.waiting.pop_front();
        }
        if let Some((since, from)) = self.waiting.front() {
            let took = now.saturating_duration_since(*since);
            if took >= LEAST_MEASURED {
                self.lasting = Some(BitRate::of(delivered.saturating_sub(*from), took.as_secs_f64()));
            }
        }
    }

    /// The rate was changed: what is measured from now on counts.
    pub(super) fn measure_anew(&mut self) {
        let newest = self.busy.pop_back();
        self.busy.clear();
        self.busy.extend(newest);
    }

    /// How far behind it is, the way there and back included.
    pub(super) fn lag(&self) -> Duration {
        self.lag
    }

    /// How far behind it is because of what waits.
    pub(super) fn behind(&self) -> Duration {
        self.lag.saturating_sub(self.distance.get())
    }

    /// How many bits a second it delivers while something waits, sound and protocol included; `None` if that is not known.
    pub(super) fn capacity(&self) -> Option<BitRate> {
        self.capacity.map(|capacity| self.lasting.map_or(capacity, |lasting| lasting.min(capacity)))
    }

    /// Whether it has been `trigger` behind and falls behind further.
    pub(super) fn falls_behind(&self, now: Instant, trigger: Duration) -> bool {
        let behind = self.behind();
        if behind < trigger {
            return false;
        }
        let before =
            self.busy.iter().rev().find(|(at, ..)| now.saturating_duration_since(*at) >= RISING_OVER);
        before.is_some_and(|(_, _, before)| behind >= *before + RISING_BY || behind >= FAR_BEHIND)
    }

    /// For how long it has been calm.
    pub(super) fn calm_for(&self, now: Instant) -> Duration {
        self.calm_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// The least lag of the last while: what is sent is acknowledged only after the way there and back, however fast the network is.
#[derive(Debug, Default)]
struct Distance {
    since: Option<Instant>,
    /// Of this while, and of the one before.
    least: [Option<Duration>; 2],
}

impl Distance {
    fn take(&mut self, now: Instant, lag: Duration) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= DISTANCE_OVER {
            self.since = Some(now);
            self.least = [None, self.least[0]];
        }
        self.least[0] = Some(self.least[0].map_or(lag, |least| least.min(lag)));
    }

    fn get(&self) -> Duration {
        let least = self.least.into_iter().flatten().min();
        least.map_or(Duration::ZERO, |least| least.min(MOST_DISTANCE))
    }
}
