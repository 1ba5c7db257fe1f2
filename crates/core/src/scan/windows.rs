//! The most and the least of what a track gives within a window of time that slides along. Bounded in memory.

use std::collections::VecDeque;

/// Bits per second in the densest window of one length.
#[derive(Debug)]
pub(super) struct Densest {
    /// Length in milliseconds.
    window: i64,
    /// Bytes by millisecond, so that there are no more entries than milliseconds.
    held: VecDeque<(i64, u64)>,
    bytes: u64,
    most: u64,
}

impl Densest {
    pub(super) fn new(window: i64) -> Self {
        Self { window, held: VecDeque::new(), bytes: 0, most: 0 }
    }

    /// `bytes` at a time, which never goes back.
    pub(super) fn push(&mut self, micros: i64, bytes: u64) {
        let at = micros / 1000;
        match self.held.back_mut() {
            Some((last, held)) if *last >= at => *held += bytes,
            _ => self.held.push_back((at, bytes)),
        }
        self.bytes += bytes;
        while let Some((first, held)) = self.held.front().copied()
            && first <= at - self.window
        {
            self.held.pop_front();
            self.bytes -= held;
        }
        self.most = self.most.max(self.bytes);
    }

    /// The peak in bits per second. A track shorter than the window counts with its mean.
    pub(super) fn peak(&self, length_micros: i64, mean: u64) -> u64 {
        if length_micros < self.window * 1000 {
            return mean;
        }
        self.most.saturating_mul(8000) / self.window.unsigned_abs().max(1)
    }
}

/// Points held at most: a second of 1,000 pictures and more.
const MOST_POINTS: usize = 4096;
const SECOND: i64 = 1_000_000;

/// How often something happens per second, where it is rarest and where it is most frequent.
#[derive(Debug, Default)]
pub(super) struct Frequency {
    points: VecDeque<i64>,
    least: Option<f64>,
    most: Option<f64>,
}

impl Frequency {
    /// It happened at this time, which never goes back.
    pub(super) fn push(&mut self, micros: i64) {
        self.points.push_back(micros);
        while self.points.len() > MOST_POINTS
            || self.points.get(1).is_some_and(|next| micros - next >= SECOND)
        {
            self.points.pop_front();
        }
        let Some(first) = self.points.front() else { return };
        if micros - first < SECOND && self.points.len() < MOST_POINTS {
            return;
        }
        let rate = (self.points.len() - 1) as f64 * SECOND as f64 / (micros - first).max(1) as f64;
        self.least = Some(self.least.map_or(rate, |least| least.min(rate)));
        self.most = Some(self.most.map_or(rate, |most| most.max(rate)));
    }

    /// Least and most, if it went on for a second.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        self.least.zip(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_densest_second() {
        let mut densest = Densest::new(1000);
        for at in 0..100 {
            // 40 ms apart, 100 bytes; a burst of ten times as much for half a second.
            let bytes = if (50..62).contains(&at) { 1000 } else { 100 };
            densest.push(at * 40_000, bytes);
        }
        let expected = (12 * 1000 + 13 * 100) * 8;
        assert_eq!(densest.peak(4_000_000, 1), expected);
        assert_eq!(densest.peak(500_000, 1), 1, "shorter than the window");
        assert!(densest.held.len() <= 26);
    }

    #[test]
    fn times_that_stand_still_are_bounded() {
        let mut densest = Densest::new(1000);
        let mut frequency = Frequency::default();
        for _ in 0..100_000 {
            densest.push(5_000_000, 1);
            frequency.push(5_000_000);
        }
        assert_eq!(densest.held.len(), 1);
        assert!(frequency.points.len() <= MOST_POINTS);
    }

    #[test]
    fn rates_over_a_second() {
        let mut frequency = Frequency::default();
        (0..60).for_each(|at| frequency.push(at * 33_333));
        (0..30).for_each(|at| frequency.push(2_000_000 + at * 100_000));
        let (least, most) = frequency.range().unwrap_or_default();
        assert!((9.9..10.1).contains(&least) && (29.9..30.1).contains(&most), "{least} {most}");
    }
}
