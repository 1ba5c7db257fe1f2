//! What platforms take, as data.
//!
//! Vendors change their limits; each table has its date, and every field may be changed. The sources of the figures
//! are in `docs/verdict.md`.

use std::str::FromStr;
use std::time::Duration;

use super::reason::Severity;
use crate::bit_rate::BitRate;
use crate::words::UnknownName;

/// When the tables were compiled, from copies of the vendors' pages.
const READ: &str = "2026-11-21";

/// What a platform takes. Start from a known one and change what differs:
///
/// ```
/// # extern crate flowcast_core as flowcast;
/// use flowcast::{BitRate, Platform};
///
/// let mut own = Platform::twitch();
/// own.name = "partner".to_owned();
/// own.max_bit_rate = Some(BitRate::from_mbps(8.0));
/// own.max_b_frames = Some(0);
/// assert_eq!("Twitch".parse(), Ok(Platform::twitch()));
/// ```
///
/// An empty list or `None` means no limit. Only for the lists of video codecs and of codecs for Enhanced RTMP, an empty list means that none is taken.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Platform {
    /// Its name, lower case.
    pub name: String,
    /// The date of its limits, as YYYY-MM-DD; empty for limits of your own.
    pub as_of: String,
    /// Video codecs it takes over plain RTMP, by libav's names.
    pub video_codecs: Vec<String>,
    /// Video codecs it takes over Enhanced RTMP.
    pub enhanced_codecs: Vec<String>,
    /// Whether the stream is sent over Enhanced RTMP. Default false: it breaks destinations that do not expect it.
    pub enhanced: bool,
    /// H.264 profiles it recommends, by libav's names; others are advised against.
    pub profiles: Vec<String>,
    /// Longer and shorter side of the largest picture in pixels, in either orientation.
    pub max_size: Option<(u32, u32)>,
    /// Shorter side of the smallest picture it recommends, in pixels.
    pub min_short_side: Option<u32>,
    /// Sizes it recommends, longer side first; others are advised against.
    pub sizes: Vec<(u32, u32)>,
    /// The most pictures per second.
    pub max_frame_rate: Option<f64>,
    /// Bit rates by size and rate, smallest first; the first row that holds the picture applies.
    pub bit_rates: Vec<BitRateRow>,
    /// The most bits per second of video, whatever the size.
    pub max_bit_rate: Option<BitRate>,
    /// Factor by which the densest two seconds may exceed the maximum rate. Default 1.5.
    pub peak_factor: f64,
    /// The longest GOP it takes.
    pub gop_max: Option<Duration>,
    /// The longest GOP it recommends.
    pub gop_recommended: Option<Duration>,
    /// The shortest useful GOP, on average.
    pub gop_min: Option<Duration>,
    /// The severity of an open GOP.
    pub open_gop: Severity,
    /// The severity of a change of the codec's parameters in the middle. A change of the picture's size is always an error.
    pub parameter_changes: Severity,
    /// The most B-frames in a row.
    pub max_b_frames: Option<u32>,
    /// It shows nothing without a picture.
    pub needs_video: bool,
    /// It shows nothing without sound.
    pub needs_audio: bool,
    /// Audio codecs it takes, by libav's names.
    pub audio_codecs: Vec<String>,
    /// Audio codecs it takes besides these over Enhanced RTMP.
    pub enhanced_audio_codecs: Vec<String>,
    /// AAC profiles it takes, by libav's names.
    pub audio_profiles: Vec<String>,
    /// Sampling rates it takes, in Hz.
    pub sample_rates: Vec<u32>,
    /// The most channels.
    pub max_channels: Option<u32>,
    /// The most bits per second of sound.
    pub audio_max_bit_rate: Option<BitRate>,
    /// The least bits per second of sound that it recommends.
    pub audio_min_bit_rate: Option<BitRate>,
    /// A broadcast ends by itself after this.
    pub longest_broadcast: Option<Duration>,
}

/// Bit rates of video up to a size and a frame rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BitRateRow {
    /// Shorter side of the picture in pixels, at most.
    pub short_side: u32,
    /// Pictures per second, at most.
    pub frame_rate: f64,
    /// Recommended.
    pub recommended: Option<BitRate>,
    /// At least, as recommended.
    pub min: Option<BitRate>,
    /// At most.
    pub max: Option<BitRate>,
    /// H.264 level at most (41 is level 4.1), as recommended.
    pub max_level: Option<u32>,
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Platform {
    /// The names that are known; they are parsed in any case.
    pub const NAMES: &[&str] = &["youtube", "twitch", "facebook", "any"];

    /// Any RTMP server: what FLV carries and every player decodes. Long or open GOPs are advised against.
    #[must_use]
    pub fn any() -> Self {
        Self {
            name: "any".to_owned(),
            as_of: String::new(),
            video_codecs: names(&["h264"]),
            enhanced_codecs: names(&["hevc", "av1", "vp9"]),
            enhanced: false,
            profiles: Vec::new(),
            max_size: None,
            min_short_side: None,
            sizes: Vec::new(),
            max_frame_rate: None,
            bit_rates: Vec::new(),
            max_bit_rate: None,
            peak_factor: 1.5,
            gop_max: None,
            gop_recommended: Some(Duration::from_secs(4)),
            gop_min: None,
            open_gop: Severity::Warning,
            parameter_changes: Severity::Warning,
            max_b_frames: None,
            needs_video: false,
            needs_audio: false,
            audio_codecs: names(&["aac", "mp3"]),
            enhanced_audio_codecs: names(&["opus"]),
            audio_profiles: Vec::new(),
            sample_rates: Vec::new(),
            max_channels: None,
            audio_max_bit_rate: None,
            audio_min_bit_rate: None,
            longest_broadcast: None,
        }
    }

    /// YouTube Live.
    #[must_use]
    pub fn youtube() -> Self {
        let row = |short_side, frame_rate, recommended_kbps| BitRateRow {
            short_side,
            frame_rate,
            recommended: Some(BitRate::from_kbps(recommended_kbps)),
            min: None,
            max: None,
            max_level: None,
        };
        Self {
            name: "youtube".to_owned(),
            as_of: READ.to_owned(),
            enhanced_codecs: names(&["hevc", "av1"]),
            enhanced_audio_codecs: Vec::new(),
            max_size: Some((3840, 2160)),
            min_short_side: Some(240),
            max_frame_rate: Some(60.0),
            bit_rates: vec![
                row(720, 30.0, 4_000),
                row(720, 60.0, 6_000),
                row(1080, 30.0, 10_000),
                row(1080, 60.0, 12_000),
                row(1440, 30.0, 15_000),
                row(1440, 60.0, 24_000),
                row(2160, 30.0, 30_000),
                row(2160, 60.0, 35_000),
            ],
            max_bit_rate: Some(BitRate::from_kbps(51_000)),
            gop_max: Some(Duration::from_secs(4)),
            gop_recommended: Some(Duration::from_millis(2050)),
            gop_min: Some(SHORT_GOP),
            open_gop: Severity::Error,
            needs_video: true,
            needs_audio: true,
            sample_rates: vec![44_100, 48_000],
            max_channels: Some(6),
            audio_max_bit_rate: Some(BitRate::from_kbps(384)),
            audio_min_bit_rate: Some(LOW_AUDIO),
            ..Self::any()
        }
    }

    /// Twitch.
    #[must_use]
    pub fn twitch() -> Self {
        Self {
            name: "twitch".to_owned(),
            as_of: READ.to_owned(),
            enhanced_codecs: Vec::new(),
            max_size: Some((1920, 1080)),
            max_frame_rate: Some(60.0),
            max_bit_rate: Some(BitRate::from_kbps(6_000)),
            gop_max: Some(Duration::from_secs(4)),
            gop_recommended: Some(Duration::from_millis(2050)),
            gop_min: Some(SHORT_GOP),
            open_gop: Severity::Error,
            needs_video: true,
            needs_audio: true,
            audio_codecs: names(&["aac"]),
            enhanced_audio_codecs: Vec::new(),
            audio_profiles: names(&["LC"]),
            sample_rates: vec![44_100, 48_000],
            max_channels: Some(2),
            audio_max_bit_rate: Some(BitRate::from_kbps(320)),
            audio_min_bit_rate: Some(LOW_AUDIO),
            longest_broadcast: Some(Duration::from_secs(48 * 3600)),
            ..Self::any()
        }
    }

    /// Facebook Live.
    #[must_use]
    pub fn facebook() -> Self {
        let row = |short_side, frame_rate, min_kbps, max_kbps, level| BitRateRow {
            short_side,
            frame_rate,
            recommended: None,
            min: Some(BitRate::from_kbps(min_kbps)),
            max: Some(BitRate::from_kbps(max_kbps)),
            max_level: Some(level),
        };
        Self {
            name: "facebook".to_owned(),
            as_of: READ.to_owned(),
            enhanced_codecs: Vec::new(),
            profiles: names(&["Main", "High"]),
            max_size: Some((1920, 1080)),
            sizes: vec![(1920, 1080), (1280, 720), (854, 480), (852, 480), (640, 360)],
            max_frame_rate: Some(60.0),
            bit_rates: vec![
                row(360, 60.0, 400, 1_000, 41),
                row(480, 60.0, 600, 2_000, 41),
                row(720, 30.0, 1_500, 4_000, 41),
                row(720, 60.0, 2_250, 6_000, 42),
                row(1080, 30.0, 3_000, 6_000, 41),
                row(1080, 60.0, 4_500, 9_000, 42),
            ],
            gop_max: Some(Duration::from_secs(4)),
            gop_recommended: Some(Duration::from_millis(2050)),
            gop_min: Some(SHORT_GOP),
            open_gop: Severity::Error,
            parameter_changes: Severity::Error,
            needs_video: true,
            needs_audio: true,
            audio_codecs: names(&["aac"]),
            enhanced_audio_codecs: Vec::new(),
            audio_profiles: names(&["LC"]),
            sample_rates: vec![44_100, 48_000],
            max_channels: Some(2),
            audio_max_bit_rate: Some(BitRate::from_kbps(256)),
            audio_min_bit_rate: Some(LOW_AUDIO),
            longest_broadcast: Some(Duration::from_secs(8 * 3600)),
            ..Self::any()
        }
    }

    /// The limits of [`Strictness::Seed`](super::Strictness::Seed), in place of a platform's.
    pub(super) fn seed() -> Self {
        Self {
            max_size: Some((1920, 1080)),
            max_frame_rate: Some(30.0),
            gop_recommended: None,
            open_gop: Severity::Info,
            parameter_changes: Severity::Info,
            audio_codecs: Vec::new(),
            ..Self::any()
        }
    }

    /// Whether it takes video of this codec, by libav's name, in the way the stream is sent.
    #[must_use]
    pub fn takes_video(&self, codec: &str) -> bool {
        let takes = |codecs: &[String]| codecs.iter().any(|known| known == codec);
        takes(&self.video_codecs) || (self.enhanced && takes(&self.enhanced_codecs))
    }

    /// Whether it takes sound of this codec, by libav's name, in the way the stream is sent.
    #[must_use]
    pub fn takes_audio(&self, codec: &str) -> bool {
        let takes = |codecs: &[String]| codecs.iter().any(|known| known == codec);
        self.audio_codecs.is_empty()
            || takes(&self.audio_codecs)
            || (self.enhanced && takes(&self.enhanced_audio_codecs))
    }

    /// The bit rates for a picture.
    #[must_use]
    pub fn bit_rates_of(&self, width: u32, height: u32, frame_rate: f64) -> Option<&BitRateRow> {
        let short = width.min(height);
        self.bit_rates
            .iter()
            .find(|row| short <= row.short_side && frame_rate <= row.frame_rate * RATE_TOLERANCE)
    }

    /// The limits that one encode for all of these has to keep to. `None` for no platforms.
    #[must_use]
    pub fn intersection(platforms: &[Self]) -> Option<Self> {
        let (first, others) = platforms.split_first()?;
        Some(others.iter().fold(first.clone(), |all, other| all.and(other)))
    }

    fn and(mut self, other: &Self) -> Self {
        self.name = format!("{}, {}", self.name, other.name);
        // The older of the two dates; an undated one has no limits that age.
        if self.as_of.is_empty() || !other.as_of.is_empty() && other.as_of < self.as_of {
            self.as_of.clone_from(&other.as_of);
        }
        self.bit_rates = merged_rows(&self, other);
        self.video_codecs.retain(|codec| other.video_codecs.contains(codec));
        self.enhanced_codecs.retain(|codec| other.enhanced_codecs.contains(codec));
        self.enhanced &= other.enhanced;
        self.profiles = common(self.profiles, &other.profiles);
        self.max_size = match (self.max_size, other.max_size) {
            (Some((long, short)), Some((other_long, other_short))) => {
                Some((long.min(other_long), short.min(other_short)))
            }
            (one, other) => one.or(other),
        };
        self.min_short_side = self.min_short_side.max(other.min_short_side);
        self.sizes = common(self.sizes, &other.sizes);
        self.max_frame_rate = least(self.max_frame_rate, other.max_frame_rate);
        self.max_bit_rate = least(self.max_bit_rate, other.max_bit_rate);
        self.peak_factor = self.peak_factor.min(other.peak_factor);
        self.gop_max = least(self.gop_max, other.gop_max);
        self.gop_recommended = least(self.gop_recommended, other.gop_recommended);
        self.gop_min = self.gop_min.max(other.gop_min);
        self.open_gop = self.open_gop.max(other.open_gop);
        self.parameter_changes = self.parameter_changes.max(other.parameter_changes);
        self.max_b_frames = least(self.max_b_frames, other.max_b_frames);
        self.needs_video |= other.needs_video;
        self.needs_audio |= other.needs_audio;
        self.audio_codecs = common(self.audio_codecs, &other.audio_codecs);
        self.enhanced_audio_codecs.retain(|codec| other.enhanced_audio_codecs.contains(codec));
        self.audio_profiles = common(self.audio_profiles, &other.audio_profiles);
        self.sample_rates = common(self.sample_rates, &other.sample_rates);
        self.max_channels = least(self.max_channels, other.max_channels);
        self.audio_max_bit_rate = least(self.audio_max_bit_rate, other.audio_max_bit_rate);
        self.audio_min_bit_rate = self.audio_min_bit_rate.max(other.audio_min_bit_rate);
        self.longest_broadcast = least(self.longest_broadcast, other.longest_broadcast);
        self
    }
}

/// A known platform by its name, in any case.
impl FromStr for Platform {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name.to_ascii_lowercase().as_str() {
            "youtube" => Ok(Self::youtube()),
            "twitch" => Ok(Self::twitch()),
            "facebook" => Ok(Self::facebook()),
            "any" => Ok(Self::any()),
            _ => Err(UnknownName::new("platform", Self::NAMES)),
        }
    }
}

/// A rate may exceed a limit by this much: containers round times to milliseconds.
pub(super) const RATE_TOLERANCE: f64 = 1.0025;
/// Bit rates may exceed a limit by this much: encoders approach their target, but rarely to the bit.
pub(super) const BITS_TOLERANCE: f64 = 1.05;
/// Our own figures: no vendor says how short a GOP may be, nor how few bits sound may take.
const SHORT_GOP: Duration = Duration::from_millis(500);
const LOW_AUDIO: BitRate = BitRate::from_kbps(64);

/// What is in both lists; an empty one is no limit. If nothing is, the first, which at least one of them takes: an empty list
/// would allow anything.
fn common<T: PartialEq + Clone>(one: Vec<T>, other: &[T]) -> Vec<T> {
    if one.is_empty() {
        return other.to_vec();
    }
    let both: Vec<T> = one.iter().filter(|item| other.contains(item)).cloned().collect();
    if both.is_empty() { one } else { both }
}

fn least<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other < one { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Rows for every size and rate of either, with the tighter figures.
fn merged_rows(one: &Platform, other: &Platform) -> Vec<BitRateRow> {
    let rows = || one.bit_rates.iter().chain(&other.bit_rates);
    let mut sides: Vec<u32> = rows().map(|row| row.short_side).collect();
    sides.sort_unstable();
    sides.dedup();
    let mut rates: Vec<f64> = rows().map(|row| row.frame_rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let mut merged = Vec::new();
    for short_side in sides {
        for &frame_rate in &rates {
            let [a, b] = [one, other]
                .map(|platform| platform.bit_rates_of(short_side, short_side, frame_rate).copied());
            let Some(first) = a.or(b) else { continue };
            let second = b.unwrap_or(first);
            let max = least(first.max, second.max);
            merged.push(BitRateRow {
                short_side,
                frame_rate,
                recommended: least(first.recommended, second.recommended),
                // No stream can satisfy a minimum above the other's maximum.
                min: first.min.max(second.min).filter(|min| max.is_none_or(|max| *min <= max)),
                max,
                max_level: least(first.max_level, second.max_level),
            });
        }
    }
    merged
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn kbps(kilobits: u64) -> Option<BitRate> {
        Some(BitRate::from_kbps(kilobits))
    }

    #[test]
    fn every_name_is_known() {
        for name in Platform::NAMES {
            assert_eq!(name.parse::<Platform>().unwrap().name, *name);
        }
        let unknown = "vimeo".parse::<Platform>().unwrap_err();
        assert_eq!(unknown.to_string(), "no such platform: there are youtube, twitch, facebook, any");
    }

    #[test]
    fn rows_are_found_whichever_way_a_picture_is_turned() {
        let youtube = Platform::youtube();
        let recommended =
            |width, height, rate| youtube.bit_rates_of(width, height, rate).and_then(|row| row.recommended);
        assert_eq!(recommended(1080, 1920, 60000.0 / 1001.0), kbps(12_000));
        assert_eq!(recommended(1920, 1080, 30.0), kbps(10_000));
        assert_eq!(recommended(640, 360, 25.0), kbps(4_000));
        assert_eq!(recommended(4096, 2300, 30.0), None);
    }

    #[test]
    fn an_intersection_keeps_to_all() {
        let all = [Platform::youtube(), Platform::twitch(), Platform::facebook()];
        let shared = Platform::intersection(&all).unwrap();
        assert_eq!(shared.name, "youtube, twitch, facebook");
        assert_eq!(shared.max_size, Some((1920, 1080)));
        assert_eq!((shared.max_bit_rate, shared.max_channels), (kbps(6_000), Some(2)));
        assert_eq!(shared.audio_codecs, ["aac"]);
        let row = shared.bit_rates_of(1280, 720, 30.0).unwrap();
        assert_eq!((row.recommended, row.min, row.max), (kbps(4_000), kbps(1_500), kbps(4_000)));
        let mut enhanced = [Platform::twitch(), Platform::youtube()];
        enhanced.iter_mut().for_each(|platform| platform.enhanced = true);
        assert!(enhanced[1].takes_video("hevc") && !enhanced[0].takes_video("hevc"));
        let shared = Platform::intersection(&enhanced).unwrap();
        assert!(!shared.takes_video("hevc") && shared.takes_video("h264"), "one of them does not take it");
        let mut apart = [Platform::any(), Platform::any()];
        (apart[0].sample_rates, apart[1].sample_rates) = (vec![44_100], vec![48_000]);
        let shared = Platform::intersection(&apart).unwrap();
        assert_eq!(shared.sample_rates, [44_100], "an empty list would allow any");
        assert_eq!(Platform::intersection(&[]), None);
        assert_eq!(Platform::intersection(&all[..1]).unwrap(), all[0]);
    }
}

crate::settings::settings!(Platform);
