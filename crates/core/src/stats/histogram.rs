//! Lengths of time, counted by how long they were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Where the buckets end; what is longer is in one more.
const BOUNDS: [Duration; 13] = [
    millis(1),
    millis(2),
    millis(5),
    millis(10),
    millis(20),
    millis(40),
    millis(80),
    millis(160),
    millis(320),
    millis(500),
    millis(1000),
    millis(2000),
    millis(5000),
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// How often something took how long, since it was first counted. Buckets end at 1, 2, 5, 10, 20, 40, 80, 160, 320 and 500 ms, 1, 2 and 5 s.
///
/// ```
/// # extern crate flowcast_core as flowcast;
/// # use std::time::Duration;
/// # fn show(encoding: &flowcast_core::EncodingStats) {
/// let times = &encoding.encode_time;
/// if times.share_within(Duration::from_millis(40)) < 0.95 {
///     println!("more than one picture in twenty takes longer than 40 ms; half of them up to {:?}", times.quantile(0.5));
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum: Duration,
}

fn bucket(length: Duration) -> usize {
    BOUNDS.iter().position(|bound| length <= *bound).unwrap_or(BOUNDS.len())
}

impl Histogram {
    /// Counts a length of time, so many times.
    pub(crate) fn add(&mut self, length: Duration, times: u32) {
        self.counts[bucket(length)] += u64::from(times);
        self.sum += length * times;
    }

    /// What was counted since it was like `before`; all if that is of another one.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let is_later = self.counts.iter().zip(before.counts).all(|(count, before)| *count >= before);
        if !is_later {
            return *self;
        }
        Self {
            counts: std::array::from_fn(|place| self.counts[place] - before.counts[place]),
            sum: self.sum.saturating_sub(before.sum),
        }
    }

    /// What this part of all, from 0 to 1, is not shorter than: where the bucket begins that the others are within. Zero if nothing was counted.
    pub(crate) fn at_least(&self, part: f64) -> Duration {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let (mut beyond, mut begins) = (0, Duration::ZERO);
        for place in (0..BUCKETS).rev() {
            beyond += self.counts[place];
            if beyond >= wanted {
                begins = place.checked_sub(1).map_or(Duration::ZERO, |before| BOUNDS[before]);
                break;
            }
        }
        begins
    }

    /// How often anything was counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All lengths together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The upper bounds of the buckets with how often something fell into each, the shortest first; the last one has no bound
    /// ([`Duration::MAX`]).
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        BOUNDS.into_iter().chain([Duration::MAX]).zip(self.counts)
    }

    /// The part that took no longer than this, from 0 to 1: whole buckets are counted. 1 if nothing was counted.
    #[must_use]
    pub fn share_within(&self, length: Duration) -> f64 {
        let within: u64 = self.buckets().filter(|(bound, _)| *bound <= length).map(|(_, count)| count).sum();
        if self.count() == 0 { 1.0 } else { within as f64 / self.count() as f64 }
    }

    /// The bound of the bucket that this part of all, from 0 to 1, is within: 0.5 for the middle, 0.95 for all but one in twenty. `None` if nothing
    /// was counted, or it is beyond the last bound.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut within = 0;
        let found = self.buckets().find(|(_, count)| {
            within += count;
            within >= wanted
        });
        found.map(|(bound, _)| bound).filter(|bound| *bound < Duration::MAX)
    }
}

/// The same, counted on one thread and read on others. Clones of what is read are of one moment only as nearly as threads can see it.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
pub(crate) struct AtomicHistogram {
    counts: [AtomicU64; BUCKETS],
    /// Microseconds.
    sum: AtomicU64,
}

#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
impl AtomicHistogram {
    /// Counts a length of time.
    pub(crate) fn add(&self, length: Duration) {
        self.counts[bucket(length)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(u64::try_from(length.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> Histogram {
        let sum = Duration::from_micros(self.sum.load(Ordering::Relaxed));
        Histogram { counts: std::array::from_fn(|place| self.counts[place].load(Ordering::Relaxed)), sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_since_is_told_from_what_was_before() {
        let mut histogram = Histogram::default();
        histogram.add(millis(3), 100);
        let before = histogram;
        histogram.add(millis(30), 19);
        histogram.add(millis(50), 1);
        let since = histogram.since(&before);
        assert_eq!((since.count(), since.sum()), (20, millis(620)));
        assert_eq!((since.at_least(0.05), since.at_least(0.06)), (millis(40), millis(20)));
        assert_eq!(Histogram::default().at_least(0.05), Duration::ZERO);
        assert_eq!(before.since(&histogram), before, "another one began");
    }

    #[test]
    fn what_is_counted_is_found_in_its_bucket_and_by_its_part() {
        let (mut histogram, shared) = (Histogram::default(), AtomicHistogram::default());
        assert_eq!((histogram.quantile(0.5), histogram.share_within(millis(1))), (None, 1.0));
        for (length, times) in [(0, 1), (1, 2), (3, 4), (40, 2), (9000, 1)] {
            histogram.add(millis(length), times);
            (0..times).for_each(|_| shared.add(millis(length)));
        }
        assert_eq!(shared.read(), histogram);
        assert_eq!((histogram.count(), histogram.sum()), (10, millis(2 + 12 + 80 + 9000)));
        let filled: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(millis(1), 3), (millis(5), 4), (millis(40), 2), (Duration::MAX, 1)]);
        assert_eq!((histogram.quantile(0.3), histogram.quantile(0.5)), (Some(millis(1)), Some(millis(5))));
        assert_eq!((histogram.quantile(0.9), histogram.quantile(1.0)), (Some(millis(40)), None));
        assert!((histogram.share_within(millis(40)) - 0.9).abs() < 1e-9);
        assert!((histogram.share_within(millis(39)) - 0.7).abs() < 1e-9);
    }
}
