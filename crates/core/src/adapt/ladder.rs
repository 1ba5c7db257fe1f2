//! The ladder of qualities, and when streams step on it.

use std::time::Duration;

use crate::bit_rate::BitRate;
use crate::error::Error;
use crate::words::words;

/// One quality of a [`QualityLadder`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Rung {
    /// Its name, in events and as a floor.
    pub name: String,
    /// The bit rate, of a stream that is encoded to that of the first rung. Others are at the same part of their own.
    pub bit_rate: BitRate,
    /// Of so many pictures one is encoded: 1 to 8. Default 1. The sequence headers, and the times of the pictures that are left, stay.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub every: u32,
    /// Width and height, in percent of what is asked for: 10 to 100. Default 100. Another size begins with a GOP, with new sequence headers.
    #[cfg_attr(feature = "serde", serde(default = "whole"))]
    pub size_percent: u32,
}

#[cfg(feature = "serde")]
fn one() -> u32 {
    1
}

#[cfg(feature = "serde")]
fn whole() -> u32 {
    100
}

impl Rung {
    /// All pictures, in their size, at this bit rate.
    pub fn new(name: impl Into<String>, bit_rate: BitRate) -> Self {
        Self { name: name.into(), bit_rate, every: 1, size_percent: 100 }
    }
}

crate::settings::settings!(Rung);

/// Which of several streams gives way first, of those with the lowest [priority](UnderLoad::priority).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum GiveWay {
    /// The one that encodes the most pixels per second; of equals, the one that was started last.
    #[default]
    Dearest,
    /// The one that was started last.
    Newest,
}

words!(GiveWay, "order of streams that give way", Dearest = "dearest", Newest = "newest");

/// Lowers the quality of streams that are encoded while they are on the air when the machine, or an encoder, does not keep up, and raises it again
/// when there is room: see [`Config::ladder`](crate::Config::ladder).
///
/// Steps are of one rung, and as many are taken at once as are needed for what the streams that encode need to fit. The bit rate goes first, then the
/// frame rate, then the size; no connection is closed, and times go on. What is copied, or played from a reel that was encoded before, is not touched.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod encode { pub use flowcast_core::*; } }
/// use flowcast::encode::QualityLadder;
/// use flowcast::Config;
///
/// let mut config = Config::default();
/// config.ladder = Some(QualityLadder::default().with(|ladder| {
///     ladder.lower_percent = 85;
///     ladder.rungs.pop(); // never smaller pictures
/// }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct QualityLadder {
    /// The qualities, the best first: 2 to 16, each with a name of its own and none better than the one before it. Streams begin with the first, which
    /// is what they ask for. Default `high` (2500 kbit/s), `medium` (1800), `low` (1200, every other picture) and `potato` (800, every other picture, half
    /// as wide and half as high).
    pub rungs: Vec<Rung>,
    /// Above so much use of the cores that this process may use, in percent, by it and by others, streams step down: 10 to 100. Use by which streams only
    /// catch up, and will not need, does not count for the first half minute. Default 90.
    pub lower_percent: u32,
    /// A step up is taken if no more than this would be in use, in percent: less than [`lower_percent`](Self::lower_percent). Default 75.
    pub raise_percent: u32,
    /// An encoder is too slow if 19 of 20 pictures are not encoded within so much of the time that they are shown, in percent, while the cores are not all
    /// in use: 10 to 1,000. Default 80.
    pub encode_percent: u32,
    /// An encoder of a live source is behind if 1 of 20 pictures waits for it for so long: 50 ms to 10 s. Default 320 ms; beyond 500 ms pictures are left out.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub behind: Duration,
    /// How long it has to be too much before steps down: 500 ms to 10 min. Half as long where 125 percent of the cores are needed. What steps spare is
    /// reckoned at once, and measured again from 2 s later. Default 2 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub lower_after: Duration,
    /// How long there has to be room before the first step up: 1 s to 1 h. Further ones follow every half second, of one stream in eight at most. A stream
    /// whose step up proves wrong waits twice as long, up to eight times. Default 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub raise_after: Duration,
    /// Which of several streams gives way first. They come back in the reverse order. Default [`GiveWay::Dearest`].
    pub order: GiveWay,
}

impl Default for QualityLadder {
    fn default() -> Self {
        let rung = |name: &str, kbps, every, size_percent| Rung {
            name: name.to_owned(),
            bit_rate: BitRate::from_kbps(kbps),
            every,
            size_percent,
        };
        Self {
            rungs: vec![
                rung("high", 2500, 1, 100),
                rung("medium", 1800, 1, 100),
                rung("low", 1200, 2, 100),
                rung("potato", 800, 2, 50),
            ],
            lower_percent: 90,
            raise_percent: 75,
            encode_percent: 80,
            behind: Duration::from_millis(320),
            lower_after: Duration::from_secs(2),
            raise_after: Duration::from_secs(5),
            order: GiveWay::Dearest,
        }
    }
}

crate::settings::settings!(QualityLadder);

impl QualityLadder {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |name, reason: &str| Err(Error::Config { name, reason: reason.to_owned() });
        if !(2..=16).contains(&self.rungs.len()) {
            return fail("ladder.rungs", "must be 2 to 16");
        }
        if !is_asked(&self.rungs[0]) {
            return fail("ladder.rungs", "the first is what is asked for: every picture, in its size");
        }
        for (place, rung) in self.rungs.iter().enumerate() {
            let before = &self.rungs[place.saturating_sub(1)];
            let is_better = rung.bit_rate > before.bit_rate
                || rung.every < before.every
                || rung.size_percent > before.size_percent;
            let is_known = self.rungs[..place].iter().any(|other| other.name == rung.name);
            if rung.name.is_empty() || is_known {
                return fail("ladder.rungs", "each needs a name of its own");
            }
            if is_better || rung.bit_rate.bps() == 0 {
                return fail(
                    "ladder.rungs",
                    "none may be better than the one before it, or have no bit rate",
                );
            }
            if !(1..=8).contains(&rung.every) || !(10..=100).contains(&rung.size_percent) {
                return fail("ladder.rungs", "every must be 1 to 8, size_percent 10 to 100");
            }
        }
        if !(10..=100).contains(&self.lower_percent) || self.raise_percent >= self.lower_percent {
            return fail("ladder.lower_percent", "must be 10 to 100, and more than raise_percent");
        }
        if !(10..=1000).contains(&self.encode_percent) {
            return fail("ladder.encode_percent", "must be 10 to 1000");
        }
        if !(Duration::from_millis(50)..=Duration::from_secs(10)).contains(&self.behind) {
            return fail("ladder.behind", "must be 50 ms to 10 s");
        }
        if !(Duration::from_millis(500)..=Duration::from_secs(600)).contains(&self.lower_after) {
            return fail("ladder.lower_after", "must be 500 ms to 10 min");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.raise_after) {
            return fail("ladder.raise_after", "must be 1 s to 1 h");
        }
        Ok(())
    }

    /// The rung of this name.
    pub(crate) fn place_of(&self, name: &str) -> Option<usize> {
        self.rungs.iter().position(|rung| rung.name == name)
    }

    /// What the rung at a place makes of a stream.
    pub(crate) fn cut(&self, place: usize) -> Cut {
        let (Some(first), Some(rung)) = (self.rungs.first(), self.rungs.get(place)) else {
            return Cut::default();
        };
        let share = rung.bit_rate.bps().saturating_mul(1000) / first.bit_rate.bps().max(1);
        Cut {
            permille: u16::try_from(share).unwrap_or(1000),
            every: rung.every as u16,
            percent: rung.size_percent as u16,
        }
    }

    pub(super) fn lowest(&self) -> usize {
        self.rungs.len().saturating_sub(1)
    }
}

fn is_asked(rung: &Rung) -> bool {
    (rung.every, rung.size_percent) == (1, 100)
}

/// How one stream gives way on the [ladder](QualityLadder) of its engine: see [`Encoding::under_load`](crate::Encoding::under_load).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct UnderLoad {
    /// Streams of a higher priority step down only once those of lower ones are at their floors. Default 0.
    pub priority: u8,
    /// The name of the lowest rung it may be on; that of the first rung keeps it as it is. Default `None`: the lowest of the ladder.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub floor: Option<String>,
}

crate::settings::settings!(UnderLoad);

impl UnderLoad {
    /// Refuses what has no effect.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn check(&self, ladder: Option<&QualityLadder>) -> Result<(), Error> {
        if *self == Self::default() {
            return Ok(());
        }
        let fail = |reason: String| Err(Error::Config { name: "encoding.under_load", reason });
        let Some(ladder) = ladder else {
            return fail("the engine has no ladder (Config::ladder)".to_owned());
        };
        match &self.floor {
            Some(name) if ladder.place_of(name).is_none() => {
                let names: Vec<_> = ladder.rungs.iter().map(|rung| rung.name.as_str()).collect();
                fail(format!("no such rung: {name:?}; there are {}", names.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

/// What a rung makes of the pictures of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Of the bit rate.
    pub(crate) permille: u16,
    /// Of so many pictures, one is encoded.
    pub(crate) every: u16,
    /// Of width and height.
    pub(crate) percent: u16,
}

impl Default for Cut {
    fn default() -> Self {
        Self { permille: 1000, every: 1, percent: 100 }
    }
}

impl Cut {
    /// What both leave.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            permille: self.permille.min(other.permille),
            every: self.every.max(other.every),
            percent: self.percent.min(other.percent),
        }
    }

    /// What is left of the work for so many pixels per second. All pictures are decoded, and sound is encoded, whatever is encoded of the pictures: a
    /// fifth of the work at 720p and x264's `veryfast`, three fifths at 480p and what [`Profile::Default`](crate::Profile) has. The rest goes with
    /// pixels, and a little with bits.
    pub(super) fn of(self, pixels: f64) -> f64 {
        const FIXED: f64 = 0.4;
        const BITS: f64 = 0.2;
        let bits = 1.0 - BITS + BITS * f64::from(self.permille) / 1000.0;
        FIXED * pixels + (1.0 - FIXED) * self.encoded(pixels) * bits
    }

    /// What is encoded of so many pixels per second.
    pub(crate) fn encoded(self, pixels: f64) -> f64 {
        let side = f64::from(self.percent) / 100.0;
        pixels * side * side / f64::from(self.every.max(1))
    }

    /// In one number.
    pub(super) fn packed(self) -> u64 {
        (u64::from(self.permille) << 32) | (u64::from(self.every) << 16) | u64::from(self.percent)
    }

    pub(super) fn unpacked(packed: u64) -> Self {
        let part = |shift: u32| ((packed >> shift) & 0xFFFF) as u16;
        if packed == 0 {
            Self::default()
        } else {
            Self { permille: part(32), every: part(16), percent: part(0) }
        }
    }
}
