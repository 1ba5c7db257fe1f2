//! How much of the cores a process's streams need to keep up, from what it used and what it encoded meanwhile.

use std::time::{Duration, Instant};

use super::pressure::Use;

/// Of each figure so much is of the past, at each tick: a stride of a file is a second and more, and ticks are half a second apart. Of what others use, less.
const PAST: f64 = 0.6;
const PAST_OF_OTHERS: f64 = 0.4;
/// What a step down does to what is encoded shows after this long; until then, work that is done is taken for less than it was.
const SETTLES: Duration = Duration::from_secs(2);

/// Learns what a unit of work takes of the cores. Work is in units of [`Cut::of`](super::ladder::Cut::of), per second.
///
/// All that the process does counts as if it were for what is encoded: rather too much than too little.
#[derive(Debug, Default)]
pub(super) struct Demand {
    last: Option<Instant>,
    /// Use of the cores, by all, in the last tick.
    now: f64,
    /// The same, by all, by others, and by this process; and units that were done meanwhile, per second. Means of the last ticks.
    all: f64,
    others: f64,
    own: f64,
    done: f64,
    /// Units that were done in the tick before: use is measured over two.
    before: f64,
    /// What a unit takes; 0 while nothing is known.
    each: f64,
    settles: Option<Instant>,
}

impl Demand {
    /// A stream that has encoded nothing for so long is taken not to go on.
    pub(super) const REMEMBERED: Duration = Duration::from_secs(10);

    /// Takes a tick: use of the cores, and units that were done since the last one.
    pub(super) fn add(&mut self, now: Instant, used: Use, done: f64) {
        self.now = used.all;
        let others = (used.all - used.own).max(0.0);
        let Some(last) = self.last.replace(now) else {
            (self.all, self.others) = (used.all, others);
            return;
        };
        let mean = |past: f64, new: f64| PAST * past + (1.0 - PAST) * new;
        self.all = mean(self.all, used.all);
        self.others = PAST_OF_OTHERS * self.others + (1.0 - PAST_OF_OTHERS) * others;
        let done = done / now.saturating_duration_since(last).as_secs_f64().max(0.001);
        let before = std::mem::replace(&mut self.before, done);
        let done = f64::midpoint(done, before);
        // Where nothing is encoded, what the process uses is for something else.
        if done <= 0.0 || self.settles.is_some_and(|until| now < until) {
            return;
        }
        self.own = mean(self.own, used.own);
        self.done = mean(self.done, done);
        self.each = self.own / self.done;
    }

    /// A stream stepped down.
    pub(super) fn lowered(&mut self, now: Instant) {
        self.settles = Some(now + SETTLES);
    }

    /// Use of the cores, by all, over some ticks.
    pub(super) fn used(&self) -> f64 {
        self.all
    }

    /// The same, or that of the last tick if that is more: streams that began together encode together, and then wait.
    pub(super) fn used_at_times(&self) -> f64 {
        self.all.max(self.now)
    }

    /// What all need of the cores if streams are to do so much work; what is used, while nothing is known.
    pub(super) fn of(&self, work: f64) -> f64 {
        if self.each > 0.0 { self.others + self.share(work) } else { self.all }
    }

    /// What so much work takes of the cores; 0 while nothing is known.
    pub(super) fn share(&self, work: f64) -> f64 {
        self.each * work
    }
}
