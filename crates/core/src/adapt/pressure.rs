//! Which stream takes the next step on the ladder, when the machine is loaded and when it has room again.
//!
//! In: use of the machine, what each stream's encoder needs, and the time. Out: at most one step for each tick. It has no clock and no threads.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::ladder::{GiveWay, QualityLadder};
use crate::id::StreamId;
use crate::stats::LoadReason;

/// What a step up adds shows in the measured use after this long: a GOP, and the window it is measured over. A step down of a rate shows sooner.
const SHOWS_AFTER: Duration = Duration::from_secs(4);
const SPARES_AFTER: Duration = Duration::from_secs(2);
/// A step up is wrong if the stream has to step down again within this long.
const PROVES_WITHIN: Duration = Duration::from_secs(15);
/// Its wait becomes at most this many times as long.
const MOST_WAITS: u32 = 8;

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
    /// Since when there is too much, and since when there is room.
    strained: Option<Instant>,
    calm: Option<Instant>,
    /// What steps are going to add, of the cores, or to spare, and when that shows.
    coming: Vec<(Instant, f64)>,
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
}

impl Pressure {
    pub(crate) fn new(ladder: QualityLadder) -> Self {
        Self { ladder, streams: HashMap::new(), strained: None, calm: None, coming: Vec::new() }
    }

    /// The rung of a stream that was seen before.
    pub(crate) fn rung(&self, stream: StreamId) -> Option<usize> {
        self.streams.get(&stream).map(|standing| standing.rung)
    }

    /// Takes a tick.
    pub(crate) fn tick(&mut self, now: Instant, used: Use, sights: &[Sight]) -> Option<Step> {
        let wait = self.ladder.raise_after;
        self.streams.retain(|stream, _| sights.iter().any(|sight| sight.stream == *stream));
        for sight in sights {
            let rung = sight.rung.min(self.ladder.lowest());
            let fresh = Standing { rung, raised: None, wait, lowered: None, slow: None };
            let is_slow = self.trouble(sight).is_some();
            let standing = self.streams.entry(sight.stream).or_insert(fresh);
            standing.slow = if is_slow { standing.slow.or(Some(now)) } else { None };
        }
        self.coming.retain(|(shows, _)| now < *shows);
        // What a pixel per second takes, as if everything that this process does were for them: rather too much than too little.
        let pixels: f64 = sights.iter().map(|sight| self.cost(sight)).sum();
        let each = if pixels > 0.0 { used.own / pixels } else { 0.0 };
        let is_strained = used.all * 100.0 >= f64::from(self.ladder.lower_percent);
        self.strained = if is_strained { self.strained.or(Some(now)) } else { None };
        let lasts = |since: Option<Instant>| since.map(|since| now.saturating_duration_since(since));
        // One whose own encoder is too slow steps down itself, whoever else might: it alone is known to lose pictures.
        let long = self.ladder.lower_after;
        let slow = sights.iter().filter(|sight| self.may_fall(sight)).find_map(|sight| {
            let standing = self.streams.get(&sight.stream)?;
            // What the last step did has to show first.
            let is_settling = lasts(standing.lowered).is_some_and(|since| since < SHOWS_AFTER);
            let reason = self.trouble(sight)?;
            (!is_settling && lasts(standing.slow)? >= long).then_some((sight.stream, reason))
        });
        if let Some((stream, reason)) = slow {
            return self.lower(now, stream, reason, each, sights);
        }
        if is_strained {
            self.calm = None;
            let spared: f64 = self.coming.iter().map(|(_, share)| share.min(0.0)).sum();
            if lasts(self.strained)? < long
                || (used.all + spared) * 100.0 < f64::from(self.ladder.lower_percent)
            {
                return None;
            }
            let stream = self.next_down(sights)?;
            return self.lower(now, stream, LoadReason::Cpu, each, sights);
        }
        self.raise(now, used, each, sights)
    }

    /// What an encoder lacks, if it lacks anything.
    fn trouble(&self, sight: &Sight) -> Option<LoadReason> {
        if sight.waited >= self.ladder.behind {
            return Some(LoadReason::Queue);
        }
        (sight.encode * 100.0 > f64::from(self.ladder.encode_percent)).then_some(LoadReason::EncodeTime)
    }

    fn floor(&self, sight: &Sight) -> usize {
        sight.floor.min(self.ladder.lowest())
    }

    fn may_fall(&self, sight: &Sight) -> bool {
        sight.pixels > 0.0
            && self.streams.get(&sight.stream).is_some_and(|standing| standing.rung < self.floor(sight))
    }

    /// Pixels per second of a stream, on the rung it is on.
    fn cost(&self, sight: &Sight) -> f64 {
        let rung = self.streams.get(&sight.stream).map_or(0, |standing| standing.rung);
        self.ladder.cut(rung).of(sight.pixels)
    }

    /// Who gives way next.
    fn next_down(&self, sights: &[Sight]) -> Option<StreamId> {
        let lowest = sights.iter().filter(|sight| self.may_fall(sight)).map(|sight| sight.priority).min()?;
        let who = sights.iter().filter(|sight| self.may_fall(sight) && sight.priority == lowest);
        let first = who.max_by(|one, other| {
            let costs = match self.ladder.order {
                GiveWay::Dearest => self.cost(one).total_cmp(&self.cost(other)),
                GiveWay::Newest => std::cmp::Ordering::Equal,
            };
            costs.then(one.stream.cmp(&other.stream))
        });
        first.map(|sight| sight.stream)
    }

    fn lower(
        &mut self,
        now: Instant,
        stream: StreamId,
        reason: LoadReason,
        each: f64,
        sights: &[Sight],
    ) -> Option<Step> {
        let first = self.ladder.raise_after;
        let sight = sights.iter().find(|sight| sight.stream == stream)?;
        let before = self.cost(sight);
        let standing = self.streams.get_mut(&stream)?;
        let is_wrong = standing.raised.is_some_and(|at| now.saturating_duration_since(at) < PROVES_WITHIN);
        if is_wrong {
            standing.wait = (standing.wait * 2).min(first * MOST_WAITS);
        }
        let from = standing.rung;
        (standing.rung, standing.raised, standing.lowered) = (from + 1, None, Some(now));
        standing.slow = None;
        self.calm = None;
        let after = self.cost(sight);
        self.coming.push((now + SPARES_AFTER, (after - before) * each));
        Some(Step { stream, from, to: from + 1, reason })
    }

    /// The stream that comes back next, if there is room.
    fn raise(&mut self, now: Instant, used: Use, each: f64, sights: &[Sight]) -> Option<Step> {
        let coming: f64 = self.coming.iter().map(|(_, share)| share).sum();
        let room = f64::from(self.ladder.raise_percent) / 100.0 - used.all - coming;
        if room < 0.0 {
            self.calm = None;
            return None;
        }
        let calm = now.saturating_duration_since(*self.calm.get_or_insert(now));
        let mut may: Vec<_> = sights
            .iter()
            .filter_map(|sight| {
                let standing = self.streams.get(&sight.stream)?;
                let since = standing.lowered.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
                let waits = calm >= self.ladder.raise_after && since >= standing.wait;
                let (cut, above) = (self.ladder.cut(standing.rung), standing.rung.checked_sub(1)?);
                let above = self.ladder.cut(above).of(sight.pixels) - cut.of(sight.pixels);
                let is_slow = standing.slow.is_some();
                (waits && !is_slow && above * each <= room).then_some((sight, above * each))
            })
            .collect();
        // The reverse of who gave way first: the most important, the cheapest, the oldest.
        may.sort_by(|(one, _), (other, _)| {
            let costs = match self.ladder.order {
                GiveWay::Dearest => self.cost(one).total_cmp(&self.cost(other)),
                GiveWay::Newest => std::cmp::Ordering::Equal,
            };
            other.priority.cmp(&one.priority).then(costs).then(one.stream.cmp(&other.stream))
        });
        let &(sight, adds) = may.first()?;
        self.coming.push((now + SHOWS_AFTER, adds));
        let standing = self.streams.get_mut(&sight.stream)?;
        if standing.raised.is_some_and(|at| now.saturating_duration_since(at) >= PROVES_WITHIN) {
            standing.wait = self.ladder.raise_after;
        }
        let from = standing.rung;
        (standing.rung, standing.raised) = (from - 1, Some(now));
        Some(Step { stream: sight.stream, from, to: from - 1, reason: LoadReason::Room })
    }
}
