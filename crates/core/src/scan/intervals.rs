//! How long pictures are shown: times to show come out of order and are put in order here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::windows::Frequency;

/// Pictures held back to put them in order: H.264 allows 16.
const HELD: usize = 20;
/// Intervals are counted by quarters of a millisecond, up to this many of them: 1 s.
const STEP_MICROS: i64 = 250;
const MOST_STEPS: i64 = 4000;

/// Intervals between pictures, in the order they are shown.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    waiting: BinaryHeap<Reverse<i64>>,
    last: Option<i64>,
    counts: BTreeMap<i64, u64>,
    frequency: Frequency,
}

impl Intervals {
    /// A picture is shown at this time.
    pub(super) fn push(&mut self, micros: i64) {
        self.waiting.push(Reverse(micros));
        if self.waiting.len() > HELD {
            self.pull();
        }
    }

    fn pull(&mut self) {
        let Some(Reverse(at)) = self.waiting.pop() else { return };
        // Out of order by more than can be: the clock's own trouble, counted elsewhere.
        if let Some(last) = self.last
            && at >= last
        {
            *self.counts.entry(((at - last) / STEP_MICROS).min(MOST_STEPS)).or_default() += 1;
        }
        let at = self.last.map_or(at, |last| last.max(at));
        self.frequency.push(at);
        self.last = Some(at);
    }

    /// No more pictures: the share of intervals that differ by more than a quarter from the usual one, and the rates over a
    /// second.
    pub(super) fn finish(mut self) -> (f64, Option<(f64, f64)>) {
        while !self.waiting.is_empty() {
            self.pull();
        }
        let total: u64 = self.counts.values().sum();
        let mut below = 0;
        let median = self.counts.iter().find_map(|(step, count)| {
            below += count;
            (below * 2 >= total).then_some(*step)
        });
        let Some(median) = median.filter(|_| total > 0) else { return (0.0, self.frequency.range()) };
        // Times in whole milliseconds differ by one of them.
        let tolerated = (median / 4).max(5);
        let odd: u64 = self
            .counts
            .iter()
            .filter(|(step, _)| (**step - median).abs() > tolerated)
            .map(|(_, count)| count)
            .sum();
        (odd as f64 / total as f64, self.frequency.range())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reordered_pictures_of_a_constant_rate() {
        let mut intervals = Intervals::default();
        for group in 0..50 {
            [0, 3, 1, 2].iter().for_each(|at| intervals.push((group * 4 + at) * 40_000));
        }
        let (irregular, rates) = intervals.finish();
        let (least, most) = rates.unwrap_or_default();
        assert!(irregular < 1e-9 && (24.9..25.1).contains(&least) && (24.9..25.1).contains(&most));
    }

    #[test]
    fn whole_milliseconds_are_regular_and_holes_are_not() {
        let mut regular = Intervals::default();
        (0..600).for_each(|at| regular.push(at * 1000 / 60 * 1000));
        assert!(regular.finish().0 < 1e-9);
        let mut holes = Intervals::default();
        (0..100).filter(|at| at % 10 != 3).for_each(|at| holes.push(at * 40_000));
        let (irregular, _) = holes.finish();
        assert!((0.1..0.13).contains(&irregular), "{irregular}");
    }
}
