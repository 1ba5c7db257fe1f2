//! When the bit rate follows the network, and by how much.

use std::time::Duration;

use crate::bit_rate::BitRate;
use crate::error::Error;
use crate::words::words;

/// The least that pictures are encoded to.
pub(super) const LEAST: BitRate = BitRate::from_kbps(64);
/// Without a floor of the program's: this part of the rate that is asked for.
const USUAL_FLOOR: f64 = 0.1;

/// Whose congestion lowers the bit rate of a stream with several outputs. Outputs that do not count, or that the rate does not follow, are sent what
/// their network takes, by [`LagPolicy`](crate::LagPolicy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Follow {
    /// The slowest of all. One that is alone too slow ([`Adaptation::alone_percent`]) is not followed.
    #[default]
    Slowest,
    /// The one with the lowest number of those that are on the air: the first that was given to the stream.
    Primary,
    /// More than half of them: the rate is lowered to what the majority takes.
    Majority,
}

words!(
    Follow,
    "choice of outputs to follow",
    Slowest = "slowest",
    Primary = "primary",
    Majority = "majority",
);

/// How the bit rate of pictures follows the network of the outputs: see [`Encoding::adaptation`](crate::Encoding::adaptation).
///
/// The bit rate is lowered when an output that counts has been [`trigger`](Self::trigger) behind, falls behind further, and delivers less than is
/// encoded: to nine tenths of what it delivers, and below that for as long as it takes to catch up. It is raised again step by step, while all
/// outputs that count are [calm](Self::calm), up to what was asked for. Trigger, wait and step are those of OBS Studio's dynamic bitrate. Pushes by RTMP,
/// SRT and RTSP count; players, recordings and HLS do not.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod encode { pub use flowcast_core::*; } }
/// use flowcast::encode::{Adaptation, Follow};
/// use flowcast::{BitRate, Encoding, Mode, Profile, Source};
///
/// let adaptation = Adaptation::default().with(|adaptation| {
///     adaptation.follow = Follow::Primary;
///     adaptation.floor = Some(BitRate::from_kbps(400));
/// });
/// let encoding = Encoding::new(Profile::Default).with(|encoding| encoding.adaptation = Some(adaptation));
/// let source = Source::file("show.mp4").looped().mode(Mode::Encode).encoding(encoding);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Adaptation {
    /// Whose congestion counts. Default [`Follow::Slowest`].
    pub follow: Follow,
    /// The least bit rate, from 64 kbit/s up. Default `None`: a tenth of what is asked for, at least 64 kbit/s. What an output cannot take of that is
    /// dropped, by [`LagPolicy`](crate::LagPolicy).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub floor: Option<BitRate>,
    /// Media time that an output has to be behind before the rate is lowered: 50 ms to 10 s, less than
    /// [`LagPolicy::drop_after`](crate::LagPolicy::drop_after) to be of use. Default 200 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub trigger: Duration,
    /// An output that is less behind is calm: more than zero, less than [`trigger`](Self::trigger). Default 120 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub calm: Duration,
    /// How long outputs have to be calm before the rate is raised, and again before each further step: 1 s to 10 min. It doubles each time a
    /// step was too much, up to eight times this. Default 4 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub raise_after: Duration,
    /// The first step up, in percent of what is asked for: 1 to 100. Each step that proved right makes the next one half as large again. Default 10.
    pub raise_percent: u32,
    /// With [`Follow::Slowest`] and several outputs: an output that takes less than this part of what is asked for, in percent, while none of the
    /// others is congested, is not followed until it has been calm: 0 to 100; 0 follows every one. Default 50.
    pub alone_percent: u32,
    /// How far ahead files are encoded, so that a lower rate shows soon: 100 ms to 5 s. Less of it asks more of the machine: what
    /// keeps it from encoding for longer interrupts the stream. Default 500 ms, and never more than
    /// [`Config::read_ahead`](crate::Config::read_ahead).
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub ahead: Duration,
}

impl Default for Adaptation {
    fn default() -> Self {
        Self {
            follow: Follow::Slowest,
            floor: None,
            trigger: Duration::from_millis(200),
            calm: Duration::from_millis(120),
            raise_after: Duration::from_secs(4),
            raise_percent: 10,
            alone_percent: 50,
            ahead: Duration::from_millis(500),
        }
    }
}

crate::settings::settings!(Adaptation);

impl Adaptation {
    /// The least rate, where `asked` is asked for.
    pub(super) fn floor_of(&self, asked: BitRate) -> BitRate {
        self.floor.unwrap_or_else(|| asked.scaled(USUAL_FLOOR)).max(LEAST).min(asked)
    }

    /// All that cannot work; `asked` is the bit rate, if that is said.
    pub(crate) fn problems(&self, asked: Option<BitRate>) -> Vec<Error> {
        let mut found = Vec::new();
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        if self.floor.is_some_and(|floor| floor < LEAST) {
            fail("encoding.adaptation.floor", "must be at least 64 kbit/s");
        }
        if self.floor.zip(asked).is_some_and(|(floor, asked)| floor >= asked) {
            fail("encoding.adaptation.floor", "must be less than encoding.video_bit_rate");
        }
        if !(millis(50)..=seconds(10)).contains(&self.trigger) {
            fail("encoding.adaptation.trigger", "must be 50 ms to 10 s");
        }
        if self.calm.is_zero() || self.calm >= self.trigger {
            fail("encoding.adaptation.calm", "must be more than zero and less than the trigger");
        }
        if !(seconds(1)..=seconds(600)).contains(&self.raise_after) {
            fail("encoding.adaptation.raise_after", "must be 1 s to 10 min");
        }
        if !(1..=100).contains(&self.raise_percent) {
            fail("encoding.adaptation.raise_percent", "must be 1 to 100");
        }
        if self.alone_percent > 100 {
            fail("encoding.adaptation.alone_percent", "must be at most 100");
        }
        if !(millis(100)..=seconds(5)).contains(&self.ahead) {
            fail("encoding.adaptation.ahead", "must be 100 ms to 5 s");
        }
        found
    }
}
