//! One lap of an item: what is played from its first frame to its last, before it begins again or another item follows.
//!
//! A lap's tags carry times on the item's own clock, which begins at zero. [`LapFacts`] say what those times cannot: how long
//! the lap is exactly, and where its audio begins and ends to the sample. Both the reader of a file and a reel give them.

#[cfg(feature = "libav")]
mod blocks;
#[cfg(feature = "libav")]
mod instep;
#[cfg(feature = "libav")]
mod measure;
mod others;
#[cfg(feature = "libav")]
mod paced;
mod place;
mod position;
mod queue;
#[cfg(feature = "libav")]
mod reader;
#[cfg(feature = "libav")]
mod shortfall;
mod silence;
mod step;
mod stop;

use std::time::Duration;

pub(crate) use others::{OtherPlace, OtherRows};
pub(crate) use place::{AudioPlace, Fill, Grid, Placement, VideoPlace};
pub(crate) use position::Position;
pub(crate) use queue::{Taken, Wake};
#[cfg(all(test, feature = "libav"))]
pub(crate) use silence::{OPUS, opus_silence};
pub(crate) use silence::{is_opus, silent_frame};
pub(crate) use step::Step;
#[cfg(feature = "libav")]
pub(crate) use {
    instep::InStep,
    paced::Paced,
    queue::{TagReceiver, TagSender, queue},
    reader::{LapReader, Tail},
    stop::{Closed, Finish, Stop},
};

/// A lap is at least this long, in milliseconds: a file of one frame without a duration is a picture, not a busy loop.
pub(crate) const SHORTEST_LAP: i64 = 40;

/// Units per second as a fraction: a time of `ticks` is `ticks × num / den` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Numerator.
    pub(crate) num: u32,
    /// Denominator, never zero.
    pub(crate) den: u32,
}

impl Unit {
    /// Milliseconds.
    pub(crate) const MILLIS: Self = Self { num: 1, den: 1000 };

    /// One sample of audio at `rate` Hz.
    pub(crate) fn sample(rate: u32) -> Self {
        Self { num: 1, den: rate.max(1) }
    }

    /// Milliseconds, rounded to nearest, halves away from zero, as libav rounds them.
    pub(crate) fn to_millis(self, ticks: i64) -> i64 {
        self.to(ticks, Self::MILLIS)
    }

    /// `ticks` of this unit in `other`, rounded to nearest.
    pub(crate) fn to(self, ticks: i64, other: Self) -> i64 {
        // Nearly always it fits into 64 bits, which divide ten times as fast.
        let scale = i64::try_from(u64::from(self.num) * u64::from(other.den)).ok();
        let denominator = i64::try_from(u64::from(self.den) * u64::from(other.num)).unwrap_or(0);
        if let Some(numerator) = scale.and_then(|scale| ticks.checked_mul(scale))
            && denominator > 0
            && let Some(rounded) = if numerator >= 0 {
                numerator.checked_add(denominator / 2)
            } else {
                numerator.checked_sub(denominator / 2)
            }
        {
            return rounded / denominator;
        }
        self.to_wide(ticks, other)
    }

    fn to_wide(self, ticks: i64, other: Self) -> i64 {
        let numerator = i128::from(ticks) * i128::from(self.num) * i128::from(other.den);
        let denominator = (i128::from(self.den) * i128::from(other.num)).max(1);
        let half = denominator / 2;
        let rounded =
            if numerator >= 0 { (numerator + half) / denominator } else { (numerator - half) / denominator };
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }
}

/// What one lap is, besides its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LapFacts {
    /// The video track, which sets the length of the lap.
    pub(crate) video: Option<VideoLap>,
    /// The audio track; it sets the length where there is no video.
    pub(crate) audio: Option<AudioLap>,
}

impl LapFacts {
    /// Where the lap ends, if its picture begins at `lead` milliseconds.
    pub(crate) fn end(&self, lead: i64) -> Option<Duration> {
        let millis = match (self.video, self.audio) {
            (Some(video), _) => lead + video.unit.to_millis(video.length),
            (None, Some(audio)) => Unit::sample(audio.rate).to_millis(audio.end),
            (None, None) => return None,
        };
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }
}

/// The video of a lap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VideoLap {
    /// The unit of `length`.
    pub(crate) unit: Unit,
    /// From the lap's first decoding time to that of the next lap: the last decoding time plus its duration.
    pub(crate) length: i64,
    /// Frames.
    pub(crate) frames: u64,
}

/// The audio of a lap, in samples on the item's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AudioLap {
    /// Samples per second.
    pub(crate) rate: u32,
    /// Samples of one frame, 1024 for AAC-LC.
    pub(crate) frame: u32,
    /// Frames at the lap's beginning that only warm the decoder up: played once, left out of later laps.
    pub(crate) priming: u32,
    /// Frames after those.
    pub(crate) frames: u64,
    /// Where the first frame after the priming begins.
    pub(crate) start: i64,
    /// Where the last frame ends.
    pub(crate) end: i64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounding_is_to_nearest_and_away_from_zero() {
        let unit = Unit { num: 1, den: 90_000 };
        assert_eq!(unit.to_millis(45), 1);
        assert_eq!(unit.to_millis(44), 0);
        assert_eq!(unit.to_millis(-45), -1);
        assert_eq!(Unit { num: 1, den: 12_800 }.to_millis(-1024), -80);
        assert_eq!(Unit { num: 1001, den: 30_000 }.to_millis(1), 33);
    }

    proptest! {
        #[test]
        fn both_widths_round_alike(ticks in any::<i64>(), shift in 0u32..63, num in 1u32.., den in 1u32.., rate in 1u32..200_000) {
            let (unit, other) = (Unit { num, den }, Unit::sample(rate));
            prop_assert_eq!(unit.to(ticks >> shift, other), unit.to_wide(ticks >> shift, other));
        }
    }
}
