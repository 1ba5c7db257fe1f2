//! What an encoder was not given, by why.

#[cfg(feature = "libav")]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::words::words;

/// Why pictures, or sound, were left out before they were decoded or encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The encoder was more than half a second behind.
    Behind,
    /// A picture before it was left out without which it cannot be decoded: all up to the next keyframe.
    Undecodable,
    /// The encoder was more than a second behind: sound is left out, too.
    FarBehind,
    /// More waited than is kept: bytes, tags, or the queue of a program that makes pictures.
    Full,
    /// More pictures came than the frame rate that is encoded has places for.
    FrameRate,
    /// The [`QualityLadder`](crate::QualityLadder) has lowered the frame rate.
    Load,
}

words!(
    DropReason,
    "reason to leave something out before it is encoded",
    Behind = "behind",
    Undecodable = "undecodable",
    FarBehind = "far_behind",
    Full = "full",
    FrameRate = "frame_rate",
    Load = "load",
);

const REASONS: usize = DropReason::ALL.len();

/// How much was left out before it was decoded or encoded, by why. Of live sources tags are counted, of what a program makes pictures.
///
/// ```
/// # extern crate flowcast_core as flowcast;
/// # fn show(encoding: &flowcast_core::EncodingStats) {
/// for (reason, count) in encoding.drops.iter().filter(|(_, count)| *count > 0) {
///     println!("{count} left out: {reason}");
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncoderDrops {
    counts: [u64; REASONS],
}

impl EncoderDrops {
    /// How much was left out for this reason.
    #[must_use]
    pub const fn of(&self, reason: DropReason) -> u64 {
        self.counts[reason as usize]
    }

    /// All reasons, each with how much was left out for it.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (*reason, self.of(*reason)))
    }

    /// What was counted since `earlier`.
    #[must_use]
    #[cfg(feature = "libav")]
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        let pairs = self.counts.iter_mut().zip(earlier.counts);
        pairs.for_each(|(count, earlier)| *count = count.saturating_sub(earlier));
        self
    }

    /// Adds what was counted elsewhere.
    #[must_use]
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn and(mut self, reason: DropReason, count: u64) -> Self {
        self.counts[reason as usize] += count;
        self
    }
}

/// The same, counted on one thread and read on others.
#[derive(Debug, Default)]
#[cfg(feature = "libav")]
pub(crate) struct AtomicDrops([AtomicU64; REASONS]);

#[cfg(feature = "libav")]
impl AtomicDrops {
    /// Counts what was left out.
    pub(crate) fn add(&self, reason: DropReason, count: u64) {
        self.0[reason as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// What was counted so far, and `others` besides.
    pub(crate) fn read(&self, others: EncoderDrops) -> EncoderDrops {
        DropReason::ALL
            .iter()
            .fold(others, |sum, reason| sum.and(*reason, self.0[*reason as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(all(test, feature = "libav"))]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let shared = AtomicDrops::default();
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place, "{reason} has the place of its word");
            shared.add(*reason, place as u64 + 1);
        }
        let drops = shared.read(EncoderDrops::default().and(DropReason::Behind, 10));
        assert_eq!(drops.iter().map(|(_, count)| count).collect::<Vec<_>>(), [11, 2, 3, 4, 5, 6]);
        shared.add(DropReason::Full, 7);
        assert_eq!(shared.read(EncoderDrops::default()).since(&drops).of(DropReason::Full), 7);
    }
}
