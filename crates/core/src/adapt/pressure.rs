//! Which streams take the next steps on the ladder, when the machine is loaded and when it has room again.
//!
//! In: use of the machine, what each stream's encoder needs and has done, and the time. Out: steps, of one rung each. It has no clock and no threads.
//!
//! What counts is what the streams need to keep up, not what they use: one that fell behind, or fills its queue, encodes faster than it plays and takes
//! all that there is, and one that cannot keep up takes less than it needs. What a stream's work takes of the cores is learned from what was encoded;
//! see [`Demand`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::demand::Demand;
use super::ladder::{GiveWay, QualityLadder};
use crate::id::StreamId;
use crate::stats::LoadReason;

/// What a step does shows after this long: a GOP, and the window that use is measured over.
const SHOWS_AFTER: Duration = Duration::from_secs(4);
/// A step up is wrong if the stream has to step down again within this long.
const PROVES_WITHIN: Duration = Duration::from_secs(15);
/// Its wait becomes at most this many times as long.
const MOST_WAITS: u32 = 8;
/// Where this much of the cores is needed, streams fall behind by a fifth of the time.
const FAR_TOO_MUCH: f64 = 1.25;
/// For so long the machine may be in full use because streams catch up. Steps follow each other at this distance then.
const CATCH_UP: Duration = Duration::from_secs(30);
const FORCED_EVERY: Duration = Duration::from_secs(2);
/// One stream in so many steps up at once.
const RAISED_OF: usize = 8;

/// What is known of one stream that encodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) stream: StreamId,
    /// The rung it is on: where one begins that was not seen before.
    pub(crate) rung: usize,
    pub(crate) priority: u8,
    /// The lowest rung it may be on.
    pub(crate) floor: usize,
    /// Pixels per second of what is asked for; 0 while it encodes nothing.
    pub(crate) pixels: f64,
    /// How much of it was encoded since the last tick.
    pub(crate) encoded: Duration,
    /// The time that 1 of 20 pictures or more took to encode, at least, in parts of the time they are shown; 0 if there were none.
    pub(crate) encode: f64,
    /// How long 1 of 20 pictures or more waited for the encoder, at least.
    pub(crate) waited: Duration,
}

/// What all do, as seen in one tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    /// Of the cores that may be used, by all; and of that, by this process.
    pub(crate) all: f64,
    pub(crate) own: f64,
}

/// A stream goes to another rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) stream: StreamId,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) reason: LoadReason,
}

/// Decides for one engine.
#[derive(Debug)]
pub(crate) struct Pressure {
    ladder: QualityLadder,
    streams: HashMap<StreamId, Standing>,
    demand: Demand,
    /// Since when there is too much, and since when there is room.
    strained: Option<Instant>,
    calm: Option<Instant>,
    /// While the machine is in full use: until when streams may be catching up.
    patience: Option<Instant>,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy)]
struct Standing {
    rung: usize,
    raised: Option<Instant>,
    wait: Duration,
    lowered: Option<Instant>,
    /// Since when its own encoder is too slow.
    slow: Option<Instant>,
    /// When it last encoded anything.
    worked: Instant,
}

impl Pressure {
    pub(crate) fn new(ladder: QualityLadder) -> Self {
        let demand = Demand::default();
        Self { ladder, streams: HashMap::new(), demand, strained: None, calm: None, patience: None }
    }

    /// The rung of a stream that was seen before.
    pub(crate) fn rung(&self, stream: StreamId) -> Option<usize> {
        self.streams.get(&stream).map(|standing| standing.rung)
    }

    /// Takes a tick.
    pub(crate) fn tick(&mut self, now: Instant, used: Use, sights: &[Sight]) -> Vec<Step> {
        let done = sights.iter().map(|sight| sight.encoded.as_secs_f64() * self.cost(sight)).sum();
        self.demand.add(now, used, done);
        let most = f64::from(self.ladder.lower_percent) / 100.0;
        let (is_full, is_full_at_times) = (self.demand.used() >= most, self.demand.used_at_times() >= most);
        self.look_at_each(now, is_full_at_times, sights);
        let mut needed = self.demand.of(self.wanted(now, sights));
        let mut steps = self.lower_slow(now, sights, &mut needed);
        self.patience = if is_full { self.patience.or(Some(now + CATCH_UP)) } else { None };
        let is_forced = self.patience.is_some_and(|until| now >= until);
        let is_strained = is_forced || (is_full_at_times && needed >= most);
        self.strained = if is_strained { self.strained.or(Some(now)) } else { None };
        if is_full {
            self.calm = None;
        }
        // Who falls behind fast has less time.
        let long = if needed >= FAR_TOO_MUCH { self.ladder.lower_after / 2 } else { self.ladder.lower_after };
        if self.strained.is_some_and(|since| now.saturating_duration_since(since) >= long) {
            let needed = if is_forced { needed.max(self.demand.used()) } else { needed };
            self.lower_until_they_fit(now, needed, sights, &mut steps);
            if is_forced {
                self.patience = Some(now + FORCED_EVERY);
            }
        } else if steps.is_empty() && !is_full {
            self.raise(now, needed, sights, &mut steps);
        }
        steps
    }

    /// Notes who is there, who works, and whose encoder is too slow.
    fn look_at_each(&mut self, now: Instant, is_full: bool, sights: &[Sight]) {
        let wait = self.ladder.raise_after;
        self.streams.retain(|stream, _| sights.iter().any(|sight| sight.stream == *stream));
        for sight in sights {
            let rung = sight.rung.min(self.ladder.lowest());
            let fresh = Standing { rung, raised: None, wait, lowered: None, slow: None, worked: now };
            let is_slow = self.trouble(is_full, sight).is_some();
            let standing = self.streams.entry(sight.stream).or_insert(fresh);
            standing.slow = if is_slow { standing.slow.or(Some(now)) } else { None };
            if !sight.encoded.is_zero() {
                standing.worked = now;
            }
        }
    }

    /// What an encoder lacks, if it lacks anything. Where all share cores that are in full use, each takes long for a picture, whether it keeps up or not.
    fn trouble(&self, is_full: bool, sight: &Sight) -> Option<LoadReason> {
        if sight.waited >= self.ladder.behind {
            return Some(LoadReason::Queue);
        }
        let is_slow = !is_full && sight.encode * 100.0 > f64::from(self.ladder.encode_percent);
        is_slow.then_some(LoadReason::EncodeTime)
    }

    fn floor(&self, sight: &Sight) -> usize {
        sight.floor.min(self.ladder.lowest())
    }

    fn may_fall(&self, sight: &Sight) -> bool {
        sight.pixels > 0.0
            && self.streams.get(&sight.stream).is_some_and(|standing| standing.rung < self.floor(sight))
    }

    /// The work of a stream, on the rung it is on.
    fn cost(&self, sight: &Sight) -> f64 {
        let rung = self.streams.get(&sight.stream).map_or(0, |standing| standing.rung);
        self.ladder.cut(rung).of(sight.pixels)
    }

    /// The work of all that go on.
    fn wanted(&self, now: Instant, sights: &[Sight]) -> f64 {
        let goes_on = |sight: &&Sight| {
            let standing = self.streams.get(&sight.stream);
            standing
                .is_some_and(|standing| now.saturating_duration_since(standing.worked) < Demand::REMEMBERED)
        };
        sights.iter().filter(goes_on).map(|sight| self.cost(sight)).sum()
    }

    /// Those whose own encoders are too slow step down themselves, whoever else might: they alone are known to lose pictures.
    fn lower_slow(&mut self, now: Instant, sights: &[Sight], needed: &mut f64) -> Vec<Step> {
        let mut steps = Vec::new();
        for sight in sights.iter().filter(|sight| sight.pixels > 0.0) {
            let Some(standing) = self.streams.get(&sight.stream) else { continue };
            // What the last step did has to show first.
            let lasts = |since: Instant| now.saturating_duration_since(since);
            let is_settling = standing.lowered.is_some_and(|since| lasts(since) < SHOWS_AFTER);
            let is_slow = standing.slow.is_some_and(|since| lasts(since) >= self.ladder.lower_after);
            // Why it is slow may have changed since.
            let Some(reason) = self.trouble(false, sight) else { continue };
            if is_slow && !is_settling && self.may_fall(sight) {
                *needed -= self.lower(now, sight, reason, &mut steps);
            }
        }
        steps
    }

    /// Takes as many steps as are needed, and one at least: until there is room to catch up, too.
    fn lower_until_they_fit(
        &mut self,
        now: Instant,
        mut needed: f64,
        sights: &[Sight],
        steps: &mut Vec<Step>,
    ) {
        let enough = f64::from(self.ladder.lower_percent + self.ladder.raise_percent) / 200.0;
        while let Some(sight) = self.next_down(sights) {
            let spared = self.lower(now, sight, LoadReason::Cpu, steps);
            needed -= spared;
            // Where it is not known what a step spares, one shows it.
            if spared <= 0.0 || needed < enough {
                break;
            }
        }
    }

    /// Who gives way next.
    fn next_down<'a>(&self, sights: &'a [Sight]) -> Option<&'a Sight> {
        let lowest = sights.iter().filter(|sight| self.may_fall(sight)).map(|sight| sight.priority).min()?;
        let who = sights.iter().filter(|sight| self.may_fall(sight) && sight.priority == lowest);
        who.max_by(|one, other| {
            let costs = match self.ladder.order {
                GiveWay::Dearest => self.cost(one).total_cmp(&self.cost(other)),
                GiveWay::Newest => std::cmp::Ordering::Equal,
            };
            costs.then(one.stream.cmp(&other.stream))
        })
    }

    /// Has a stream take a step down; what that spares, of the cores.
    fn lower(&mut self, now: Instant, sight: &Sight, reason: LoadReason, steps: &mut Vec<Step>) -> f64 {
        let first = self.ladder.raise_after;
        let before = self.cost(sight);
        let Some(standing) = self.streams.get_mut(&sight.stream) else { return 0.0 };
        let is_wrong = standing.raised.is_some_and(|at| now.saturating_duration_since(at) < PROVES_WITHIN);
        if is_wrong {
            standing.wait = (standing.wait * 2).min(first * MOST_WAITS);
        }
        let from = standing.rung;
        (standing.rung, standing.raised, standing.lowered) = (from + 1, None, Some(now));
        standing.slow = None;
        self.calm = None;
        self.demand.lowered(now);
        steps.push(Step { stream: sight.stream, from, to: from + 1, reason });
        self.demand.share(before - self.cost(sight))
    }

    /// Has streams come back, if there is room.
    fn raise(&mut self, now: Instant, needed: f64, sights: &[Sight], steps: &mut Vec<Step>) {
        let mut room = f64::from(self.ladder.raise_percent) / 100.0 - needed;
        if room < 0.0 {
            self.calm = None;
            return;
        }
        let calm = now.saturating_duration_since(*self.calm.get_or_insert(now));
        if calm < self.ladder.raise_after {
            return;
        }
        for _ in 0..sights.len().div_ceil(RAISED_OF) {
            let Some((sight, adds)) = self.next_up(now, room, sights) else { return };
            room -= adds;
            let Some(standing) = self.streams.get_mut(&sight.stream) else { return };
            if standing.raised.is_some_and(|at| now.saturating_duration_since(at) >= PROVES_WITHIN) {
                standing.wait = self.ladder.raise_after;
            }
            let from = standing.rung;
            (standing.rung, standing.raised) = (from - 1, Some(now));
            steps.push(Step { stream: sight.stream, from, to: from - 1, reason: LoadReason::Room });
        }
    }

    /// The stream that comes back next, and what that adds, of the cores: no more than there is room for.
    fn next_up<'a>(&self, now: Instant, room: f64, sights: &'a [Sight]) -> Option<(&'a Sight, f64)> {
        let may = sights.iter().filter_map(|sight| {
            let standing = self.streams.get(&sight.stream)?;
            let since = standing.lowered.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
            let above = self.ladder.cut(standing.rung.checked_sub(1)?).of(sight.pixels);
            let adds = self.demand.share(above - self.cost(sight));
            let may = since >= standing.wait && standing.slow.is_none() && adds <= room;
            may.then_some((sight, adds))
        });
        // The reverse of who gave way first: the most important, the cheapest, the oldest.
        may.min_by(|(one, _), (other, _)| {
            let costs = match self.ladder.order {
                GiveWay::Dearest => self.cost(one).total_cmp(&self.cost(other)),
                GiveWay::Newest => std::cmp::Ordering::Equal,
            };
            other.priority.cmp(&one.priority).then(costs).then(one.stream.cmp(&other.stream))
        })
    }
}
