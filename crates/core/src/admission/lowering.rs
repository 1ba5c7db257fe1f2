//! A cheaper encode, as data.

use std::fmt;

use crate::bit_rate::BitRate;
use crate::error::Error;

/// What an encode is brought down to; see [`WhenFull::Lower`](crate::WhenFull::Lower). What is below it already stays as it is, and what is
/// `None` is not changed.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod admission { pub use flowcast_core::*; } }
/// use flowcast::BitRate;
/// use flowcast::admission::{CheaperEncoding, WhenFull};
///
/// let at_720p = CheaperEncoding::default().with(|lower| lower.size = Some((1280, 720)));
/// let least = CheaperEncoding::default().with(|lower| {
///     lower.size = Some((640, 360));
///     lower.frame_rate = Some(25.0);
///     lower.preset = Some("ultrafast".to_owned());
///     lower.video_bit_rate = Some(BitRate::from_kbps(800));
/// });
/// assert_eq!(least.to_string(), "at most 640x360, 25 fps, preset ultrafast, 800 kbit/s");
/// let when_full = WhenFull::Lower(vec![at_720p, least]);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct CheaperEncoding {
    /// Longer and shorter side in pixels, at most, whichever way the picture is turned; its shape stays. Both even, 16 to 8192.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::size::option", skip_serializing_if = "Option::is_none")
    )]
    pub size: Option<(u32, u32)>,
    /// Frames per second, at most: a whole part of the rate, such as 30 of 60. 1 to 240.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub frame_rate: Option<f64>,
    /// The slowest preset of x264 that may be used, such as `ultrafast`. Encoders with presets of their own keep theirs.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub preset: Option<String>,
    /// Bits per second of the pictures, at most. 64 kbit/s to 100 Mbit/s.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub video_bit_rate: Option<BitRate>,
}

crate::settings::settings!(CheaperEncoding);

/// Presets of libx264 and libx265, the cheapest first.
pub(crate) const PRESETS: [&str; 10] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
];

impl CheaperEncoding {
    /// Refuses what cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let fail =
            |reason: &str| Err(Error::Config { name: "admission.when_full", reason: reason.to_owned() });
        if *self == Self::default() {
            return fail("a cheaper encoding that changes nothing");
        }
        if let Some((longer, shorter)) = self.size
            && (longer < shorter
                || [longer, shorter].iter().any(|side| !(16..=8192).contains(side) || side % 2 != 0))
        {
            return fail("size must be the longer and the shorter side, each even and 16 to 8192 pixels");
        }
        if self.frame_rate.is_some_and(|rate| !(1.0..=240.0).contains(&rate)) {
            return fail("frame_rate must be 1 to 240");
        }
        if self.preset.as_deref().is_some_and(|preset| !PRESETS.contains(&preset)) {
            return fail(&format!("preset must be one of {}", PRESETS.join(", ")));
        }
        let (least, most) = (BitRate::from_kbps(64), BitRate::from_kbps(100_000));
        if self.video_bit_rate.is_some_and(|rate| !(least..=most).contains(&rate)) {
            return fail("video_bit_rate must be 64 kbit/s to 100 Mbit/s");
        }
        Ok(())
    }

    /// The cheaper of this preset and its own.
    pub(crate) fn preset<'a>(&'a self, preset: &'a str) -> &'a str {
        let place = |name: &str| PRESETS.iter().position(|known| *known == name);
        match self.preset.as_deref() {
            Some(own) if place(own) < place(preset) => own,
            _ => preset,
        }
    }
}

impl fmt::Display for CheaperEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.map(|(longer, shorter)| format!("{longer}x{shorter}"));
        let rate = self.frame_rate.map(|rate| format!("{rate} fps"));
        let preset = self.preset.as_ref().map(|preset| format!("preset {preset}"));
        let bits = self.video_bit_rate.map(|rate| format!("{:.0} kbit/s", rate.kbps()));
        let parts: Vec<_> = [size, rate, preset, bits].into_iter().flatten().collect();
        write!(f, "at most {}", parts.join(", "))
    }
}
