//! What the bit rate is to be: lowered when the network takes less than is encoded, raised when it has been calm.
//!
//! In: a tick of all outputs, and the time. Out: steps, each with its reason. It has no clock and no threads; a simulation drives it as a stream's thread
//! does.

use std::time::{Duration, Instant};

pub(crate) use super::link::Sample;
use super::link::{FAR_BEHIND, Link};
use super::settings::{Adaptation, Follow};
use crate::bit_rate::BitRate;
use crate::id::OutputId;
use crate::stats::RateReason;

/// The rate is lowered at most this often. NVENC begins a GOP each time.
const LOWER_EVERY: Duration = Duration::from_secs(1);
/// Of what a network takes, this part is used.
const USED: f64 = 0.9;
/// An output that is behind is to have caught up after about this long.
const CATCH_UP: f64 = 2.0;
/// Outputs that have been calm for this long have caught up.
const CAUGHT_UP: Duration = Duration::from_millis(200);
/// Rates are whole multiples of this.
const GRID: u64 = 50_000;
/// Where it is not known what is delivered, the rate becomes this part of itself.
const UNMEASURED: f64 = 0.7;
/// Each step up that proved right makes the next one this much larger, up to this part of what is asked for.
const STEP_GROWS: f64 = 1.5;
const MOST_STEP: f64 = 0.35;
/// The wait before a step up becomes at most this many times as long.
const MOST_WAITS: u32 = 5;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Pictures are encoded to another rate; because of this output, if it is because of one, which was so far behind.
    Rate { from: BitRate, to: BitRate, reason: RateReason, output: Option<OutputId>, lag: Duration },
    /// The rate does not follow this output any more, which takes only so much.
    Left { output: OutputId, takes: BitRate },
    /// It follows it again.
    Follows { output: OutputId },
}

/// Decides for one stream.
#[derive(Debug)]
pub(crate) struct Controller {
    settings: Adaptation,
    links: Vec<Link>,
    /// What pictures are encoded to; `None` if that is what is asked for.
    rate: Option<BitRate>,
    /// What it becomes when the outputs have caught up.
    settles: Option<BitRate>,
    /// When it was last changed, and last lowered.
    changed: Option<Instant>,
    lowered: Option<Instant>,
    /// What it was before the last change, if that was a step up.
    before_raise: Option<BitRate>,
    /// How long the outputs have to be calm for the next step up, and how large that is.
    wait: Duration,
    step: f64,
    /// Bits per second of sound, as last measured; and bytes of it, by when.
    sound: BitRate,
    sound_counted: Option<(Instant, u64)>,
}

impl Controller {
    pub(crate) fn new(settings: Adaptation) -> Self {
        let (wait, step) = (settings.raise_after, f64::from(settings.raise_percent) / 100.0);
        Self {
            settings,
            links: Vec::new(),
            rate: None,
            settles: None,
            changed: None,
            lowered: None,
            before_raise: None,
            wait,
            step,
            sound: BitRate::ZERO,
            sound_counted: None,
        }
    }

    /// What pictures are to be encoded to; `None` if that is what is asked for.
    pub(crate) fn rate(&self) -> Option<BitRate> {
        self.rate
    }

    /// Takes a tick: what is asked for, bytes of sound in all, and the outputs that count, by their numbers. Puts what was decided into `changes`.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        asked: BitRate,
        sound_bytes: u64,
        samples: &[Sample],
        changes: &mut Vec<Change>,
    ) {
        self.hear(now, sound_bytes);
        self.links.retain(|link| samples.iter().any(|sample| sample.output == link.output));
        for sample in samples {
            let known = self.links.iter().position(|link| link.output == sample.output);
            let place = known.unwrap_or_else(|| {
                self.links.push(Link::new(sample.output));
                self.links.len() - 1
            });
            self.links[place].take(now, *sample, self.settings.calm);
        }
        self.links.sort_by_key(|link| link.output);
        self.welcome_back(now, changes);
        let current = self.rate.map_or(asked, |rate| rate.min(asked));
        if let Some((to, output)) = self.congestion(now, asked, current, changes) {
            self.lower(now, current, to, output, changes);
        } else {
            self.rise(now, asked, current, changes);
        }
        // What is asked for later is no step.
        self.rate = self.rate.filter(|rate| *rate < asked);
    }

    /// Measures the sound: what it takes is not left for pictures.
    fn hear(&mut self, now: Instant, bytes: u64) {
        let (since, before) = *self.sound_counted.get_or_insert((now, bytes));
        let took = now.saturating_duration_since(since);
        if took >= Duration::from_secs(2) {
            self.sound = BitRate::of(bytes.saturating_sub(before), took.as_secs_f64());
            self.sound_counted = Some((now, bytes));
        }
    }

    /// The links whose congestion counts.
    fn followed(&self) -> impl Iterator<Item = &Link> {
        let count = if self.settings.follow == Follow::Primary { 1 } else { usize::MAX };
        self.links.iter().filter(|link| !link.is_left).take(count)
    }

    /// What is left for pictures of what a link takes.
    fn takes(&self, link: &Link, current: BitRate) -> BitRate {
        let capacity = link.capacity().map(|bits| bits.bps().saturating_sub(self.sound.bps()));
        capacity.map_or_else(|| current.scaled(UNMEASURED), BitRate::from_bps)
    }

    /// Follows outputs again that were too slow, once they have been calm.
    fn welcome_back(&mut self, now: Instant, changes: &mut Vec<Change>) {
        let after = self.settings.raise_after;
        for link in self.links.iter_mut().filter(|link| link.is_left && link.calm_for(now) >= after) {
            link.is_left = false;
            changes.push(Change::Follows { output: link.output });
        }
    }

    /// What the rate is to be because of congestion, if it is to be lower, and the output it is because of.
    fn congestion(
        &mut self,
        now: Instant,
        asked: BitRate,
        current: BitRate,
        changes: &mut Vec<Change>,
    ) -> Option<(BitRate, OutputId)> {
        let trigger = self.settings.trigger;
        let falls_behind = |link: &&Link| link.falls_behind(now, trigger);
        let count = self.followed().count();
        let mut slow: Vec<(BitRate, OutputId)> = self
            .followed()
            .filter(falls_behind)
            .map(|link| (self.takes(link, current), link.output))
            .collect();
        slow.sort();
        if self.settings.follow == Follow::Majority {
            if slow.len() * 2 <= count {
                return None;
            }
            // So many may be too slow and leave more than half of them.
            slow.drain(..count.saturating_sub(1) / 2);
        }
        let &(takes, output) = slow.first()?;
        let alone = asked.scaled(f64::from(self.settings.alone_percent) / 100.0);
        let others_are_calm =
            self.followed().filter(|link| link.output != output).all(|link| link.behind() < trigger);
        let is_alone =
            self.settings.follow == Follow::Slowest && count > 1 && takes < alone && others_are_calm;
        if is_alone {
            let left = self.links.iter_mut().find(|link| link.output == output)?;
            left.is_left = true;
            // Where it takes less than the sound alone, nothing of it is left for pictures, which would say little.
            changes.push(Change::Left { output, takes: left.capacity().unwrap_or(takes) });
            return None;
        }
        let behind = self.links.iter().find(|link| link.output == output)?.behind();
        let used = self.on_grid(takes.scaled(USED), asked);
        if self.settles.is_some() {
            // It is still catching up, and the longer that takes, the better is known what it delivers.
            self.settles = Some(used);
        }
        if self.lowered.is_some_and(|at| now.saturating_duration_since(at) < LOWER_EVERY) {
            return None;
        }
        let waits = behind.as_secs_f64() * (current.bps() + self.sound.bps()) as f64;
        let catching_up = used.bps().saturating_sub((waits / CATCH_UP) as u64);
        let catching_up = self.on_grid(BitRate::from_bps(catching_up), asked);
        let (to, settles) = match self.before_raise.filter(|_| self.is_proving(now)) {
            _ if takes < current => (catching_up, used),
            // The network takes what is encoded, if only just: the last step up was too much.
            Some(before) => (before, before),
            None if behind >= FAR_BEHIND && self.settles.is_none() => (catching_up, used.min(current)),
            None => return None,
        };
        (to < current).then(|| {
            self.settles = Some(settles);
            (to, output)
        })
    }

    /// Whether the last change was a step up that may still prove wrong.
    fn is_proving(&self, now: Instant) -> bool {
        self.before_raise.is_some()
            && self.changed.is_some_and(|at| now.saturating_duration_since(at) <= self.settings.raise_after)
    }

    /// A rate that can be, at or below this one.
    fn on_grid(&self, rate: BitRate, asked: BitRate) -> BitRate {
        let floor = self.settings.floor_of(asked);
        BitRate::from_bps(rate.bps() / GRID * GRID).clamp(floor, asked)
    }

    fn lower(
        &mut self,
        now: Instant,
        from: BitRate,
        to: BitRate,
        output: OutputId,
        changes: &mut Vec<Change>,
    ) {
        let lag = self.links.iter().find(|link| link.output == output).map_or(Duration::ZERO, Link::lag);
        if self.is_proving(now) {
            let most = self.settings.raise_after * MOST_WAITS;
            self.wait = (self.wait * 2).min(most);
        }
        self.step = f64::from(self.settings.raise_percent) / 100.0;
        (self.before_raise, self.lowered) = (None, Some(now));
        let reason = RateReason::Congestion;
        self.change(now, to, Change::Rate { from, to, reason, output: Some(output), lag }, changes);
    }

    /// Raises the rate if the outputs have caught up, or have been calm for long enough.
    fn rise(&mut self, now: Instant, asked: BitRate, current: BitRate, changes: &mut Vec<Change>) {
        if current >= asked || self.followed().next().is_none() {
            return;
        }
        let calm = self.calm_for(now);
        let since = self.changed.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        if let Some(settles) = self.settles {
            if calm >= CAUGHT_UP && since >= CAUGHT_UP {
                self.settles = None;
                // The outputs have caught up: what they take is known, the better the longer that took.
                let known = self.followed().filter(|link| link.capacity().is_some());
                let taken = known.map(|link| self.takes(link, current).scaled(USED)).min();
                let settles = taken.map_or(settles, |taken| settles.min(self.on_grid(taken, asked)));
                if settles > current {
                    let to = settles;
                    let reason = RateReason::CaughtUp;
                    let lag = Duration::ZERO;
                    let change = Change::Rate { from: current, to, reason, output: None, lag };
                    self.change(now, to, change, changes);
                }
            }
            return;
        }
        // After a step that proved right, the next one does not wait for what earlier ones did wrong.
        let wait = if self.before_raise.is_some() { self.settings.raise_after } else { self.wait };
        if calm.min(since) < wait {
            return;
        }
        if self.before_raise.is_some() {
            // The step before proved right.
            self.wait = self.settings.raise_after;
            self.step = (self.step * STEP_GROWS).min(MOST_STEP.max(self.step));
        }
        let raised = current.bps() + asked.scaled(self.step).bps().max(GRID);
        let to = self.on_grid(BitRate::from_bps(raised), asked);
        let to = if to <= current { asked } else { to };
        let (reason, lag) = (RateReason::Calm, Duration::ZERO);
        self.change(now, to, Change::Rate { from: current, to, reason, output: None, lag }, changes);
        self.before_raise = Some(current);
    }

    /// For how long those that count have been calm; more than half of them, where that is enough.
    fn calm_for(&self, now: Instant) -> Duration {
        let mut calm: Vec<Duration> = self.followed().map(|link| link.calm_for(now)).collect();
        calm.sort();
        let spared = match self.settings.follow {
            Follow::Majority => calm.len() / 2,
            Follow::Slowest | Follow::Primary => 0,
        };
        calm.get(spared).copied().unwrap_or_default()
    }

    fn change(&mut self, now: Instant, to: BitRate, change: Change, changes: &mut Vec<Change>) {
        self.rate = Some(to);
        self.changed = Some(now);
        self.links.iter_mut().for_each(Link::measure_anew);
        changes.push(change);
    }
}
