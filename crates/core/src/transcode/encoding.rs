//! The request: whether to encode, and how.

use std::fmt;
use std::time::Duration;

use super::profile::Profile;
use crate::adapt::{Adaptation, UnderLoad};
use crate::admission::{CheaperEncoding, PRESETS};
use crate::bit_rate::BitRate;
use crate::error::Error;
use crate::loudness::Loudness;
use crate::overlay::{self, Overlay};
use crate::tracks::Carriage;
use crate::verdict::{Platform, Strictness};
use crate::words::words;

/// Whether the tracks of a source are sent as they are or encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Mode {
    /// As they are. Tracks that cannot be sent this way are left out, with an event.
    #[default]
    Copy,
    /// Each track as it is if it fits its destination, encoded if it does not, as the [`verdict`](crate::verdict())
    /// on the file says: for the platforms that are named ([`Source::platform`](crate::Source::platform)), or else
    /// for any receiver. A file is read once to find out; one that cannot be judged is encoded. For what is
    /// published, the headers decide.
    Auto,
    /// Always encoded.
    Encode,
}

words!(Mode, "mode", Copy = "copy", Auto = "auto", Encode = "encode");

/// Frames per second, as a ratio: 30000/1001 is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    num: u32,
    den: u32,
}

impl FrameRate {
    /// `num / den` frames per second; `None` if it is not between 1 and 240, or a part of it is above 1,000,000.
    #[must_use]
    pub const fn new(num: u32, den: u32) -> Option<Self> {
        if den == 0 || num < den || num / den >= 240 || num > 1_000_000 {
            return None;
        }
        let (mut divisor, mut rest) = (num, den);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        Some(Self { num: num / divisor, den: den / divisor })
    }

    /// This many whole frames per second, moved into the range of 1 to 239.
    #[must_use]
    pub const fn whole(frames: u32) -> Self {
        let num = if frames == 0 {
            1
        } else if frames > 239 {
            239
        } else {
            frames
        };
        Self { num, den: 1 }
    }

    /// Numerator.
    #[must_use]
    pub const fn num(self) -> u32 {
        self.num
    }

    /// Denominator.
    #[must_use]
    pub const fn den(self) -> u32 {
        self.den
    }

    /// Frames per second.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 { write!(f, "{}", self.num) } else { write!(f, "{}/{}", self.num, self.den) }
    }
}

/// What an encoder's threads share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threading {
    /// Whole pictures: better compression, and a picture of delay for each thread.
    Frame,
    /// Slices of one picture: no delay. Not together with frame threads: x264 does one or the other.
    Slice,
}

/// Which encoder is used for pictures.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum EncoderChoice {
    /// Hardware or software, as [`Config::prefer_hardware_encoding`](crate::Config::prefer_hardware_encoding) says.
    #[default]
    Auto,
    /// Hardware that works here, the best first: NVENC, Quick Sync, VideoToolbox.
    Hardware,
    /// libx264, libx265, SVT-AV1 or libvpx.
    Software,
    /// The one with this name in libav, such as `h264_nvenc`; it has to be one for the codec.
    Named(String),
}

/// The codec for pictures. All but H.264 need a source that is [`Source::enhanced`](crate::Source::enhanced), or a
/// platform that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum VideoCodec {
    /// H.264, which every platform takes.
    #[default]
    H264,
    /// HEVC: the same picture for about two thirds of the bits, at three times the work.
    Hevc,
    /// AV1: fewer bits still.
    Av1,
    /// VP9.
    Vp9,
    /// VP8.
    Vp8,
}

words!(Threading, "threading", Frame = "frame", Slice = "slice");

// As libav calls them.
words!(VideoCodec, "video codec", H264 = "h264", Hevc = "hevc", Av1 = "av1", Vp9 = "vp9", Vp8 = "vp8");

/// The codec for sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AudioCodec {
    /// AAC-LC, which every platform takes.
    #[default]
    Aac,
    /// Opus, at 48,000 Hz. It needs a source that is [`Source::enhanced`](crate::Source::enhanced), or a platform that is.
    Opus,
}

words!(AudioCodec, "audio codec", Aac = "aac", Opus = "opus");

/// How tracks are encoded that have to be. A field that is `None` is taken from the [`Profile`], or from the source.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod encode { pub use flowcast_core::*; } }
/// use flowcast::{BitRate, Encoding, Profile, Source};
/// use flowcast::encode::FrameRate;
///
/// let mut encoding = Encoding::new(Profile::Ultra);
/// encoding.size = Some((1280, 720));
/// encoding.frame_rate = Some(FrameRate::whole(30));
/// encoding.video_bit_rate = Some(BitRate::from_kbps(2000));
/// let source = Source::file("old.avi").looped().mode(flowcast::Mode::Encode).encoding(encoding);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Encoding {
    /// The source of all figures that are not given below. Default [`Profile::Default`].
    pub profile: Profile,
    /// The codec of the pictures. Default H.264. With another one the profile's parameters for x264 are left out, and so is
    /// [`h264_profile`](Self::h264_profile).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "crate::written::is_default"))]
    pub video_codec: VideoCodec,
    /// Width and height in pixels, both even, 16 to 8192. Default `None`: those of the source (of a list, the first
    /// item) as it is shown, upright and with square pixels, within what the platforms take. A picture of another
    /// shape is fitted in.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::size::option", skip_serializing_if = "Option::is_none")
    )]
    pub size: Option<(u32, u32)>,
    /// Frames per second, constant. Default `None`: the source's (of a list, the first item's), at most 60.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub frame_rate: Option<FrameRate>,
    /// Bits per second of the pictures, 64 kbit/s to 100 Mbit/s; what is not a whole kbit/s is rounded down. Default `None`: the
    /// profile's, within what the platforms take.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub video_bit_rate: Option<BitRate>,
    /// The decoder's buffer that the encoder assumes (VBV), in thousand bits. Default `None`: the profile's, in
    /// proportion to the bit rate.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub vbv_kbits: Option<u32>,
    /// Time from one keyframe to the next, constant. Default 2 s, 0.5 to 10 s; many platforms refuse more than 4 s.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span", skip_serializing_if = "super::wire::is_usual_gop")
    )]
    pub gop: Duration,
    /// The encoder's preset, such as `veryfast`: one of x264's, also for other encoders; if an encoder is named, also
    /// one of its own. Default `None`: the profile's.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub preset: Option<String>,
    /// The encoder's tune, such as `zerolatency`; empty for none. Default `None`: the profile's.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub tune: Option<String>,
    /// B-frames in a row, 0 to 16: better compression, and some delay. Default `None`: the profile's.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub b_frames: Option<u32>,
    /// The highest H.264 profile that may be used: `baseline`, `main` or `high`. Default `None`: the profile's.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub h264_profile: Option<String>,
    /// Threads of the encoder, 1 to 64. Default `None`: the profile's.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub threads: Option<u32>,
    /// What the threads share. Default `None`: the profile's.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub threading: Option<Threading>,
    /// Parameters for x264 in its own notation, separated by colons (`aq-mode=2:subme=6`), after those of the
    /// profile; the last one of a name wins. With HEVC, for x265. Default empty. Other encoders ignore them.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "crate::written::is_default"))]
    pub x264_params: String,
    /// Which encoder is used. Default [`EncoderChoice::Auto`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "crate::written::is_default"))]
    pub encoder: EncoderChoice,
    /// Whether another encoder takes over if one fails. Default `None`: as
    /// [`Config::hardware_encoder_fallback`](crate::Config::hardware_encoder_fallback) says.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub fallback: Option<bool>,
    /// Whether to add filler where the pictures need fewer bits, so that the bit rate is never lower. Default
    /// `false`: no platform needs it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "crate::written::is_default"))]
    pub filler: bool,
    /// A filter graph for the pictures, in libav's notation (`eq=contrast=1.1,unsharp`): one input, one output. It works on pictures of the size that is
    /// encoded, before the [overlays](Self::overlays); what comes out of it in another size is fitted in. Only filters that open no file, socket or
    /// device may be used, and none that makes pictures or changes times: `docs/jobs/overlays.md` lists them. Default empty: none. Anything else
    /// is refused at `start`. With it, pictures are always encoded; refused with [`Mode::Copy`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "crate::written::is_default"))]
    pub filters: String,
    /// What is drawn over the pictures, the last one on top. Default empty. With it, pictures are always encoded; refused with [`Mode::Copy`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub overlays: Vec<Overlay>,
    /// How the bit rate of pictures follows the network of the outputs. Default `None`: it does not, and an output that is behind is dropped from. With it,
    /// pictures are always encoded, while they are on the air: a file is not played from a reel. Refused with [`Mode::Copy`]. [`StreamRef::set_bitrate`](crate::StreamRef::set_bitrate) says what is asked for, with it or without it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub adaptation: Option<Adaptation>,
    /// How it gives way when the machine does not keep up. Default: first, as far as the ladder goes. Anything else is refused where the engine has no
    /// [`Config::ladder`](crate::Config::ladder), and with [`Mode::Copy`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "crate::written::is_default"))]
    pub under_load: UnderLoad,
    /// How sound is encoded.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "crate::written::is_default"))]
    pub audio: AudioEncoding,
}

/// How sound is encoded where it has to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AudioEncoding {
    /// The codec. Default AAC-LC.
    pub codec: AudioCodec,
    /// Bits per second, 16 to 512 kbit/s; what is not a whole kbit/s is rounded down. Default `None`: the profile's.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub bit_rate: Option<BitRate>,
    /// Samples per second: 44,100 or 48,000 for most platforms. Default `None`: the source's if it is one of these, else 48,000.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub sample_rate: Option<u32>,
    /// Channels, 1 to 8. Default `None`: 2.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub channels: Option<u32>,
    /// AAC with about half the CPU: its bit rate is less even, and it distorts a loud pure tone much more; other sound less, with FFmpeg 5.1.
    /// Default `None`: `true` where sound is [mixed](crate::Source::with_mix), else the profile's, which is `false` except for
    /// [`Profile::Ultra`]. Ignored below 64 kbit/s, and with Opus.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub fast: Option<bool>,
}

impl Encoding {
    /// All figures as `profile` says.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            video_codec: VideoCodec::H264,
            size: None,
            frame_rate: None,
            video_bit_rate: None,
            vbv_kbits: None,
            gop: Duration::from_secs(2),
            preset: None,
            tune: None,
            b_frames: None,
            h264_profile: None,
            threads: None,
            threading: None,
            x264_params: String::new(),
            encoder: EncoderChoice::Auto,
            fallback: None,
            filler: false,
            filters: String::new(),
            overlays: Vec::new(),
            adaptation: None,
            under_load: UnderLoad::default(),
            audio: AudioEncoding::default(),
        }
    }

    /// Draws something more over the pictures: see [`overlays`](Self::overlays).
    #[must_use]
    pub fn overlay(mut self, overlay: Overlay) -> Self {
        self.overlays.push(overlay);
        self
    }

    /// Filters the pictures: see [`filters`](Self::filters). Replaces what was there.
    #[must_use]
    pub fn filters(mut self, graph: impl Into<String>) -> Self {
        self.filters = graph.into();
        self
    }

    /// Whether pictures are changed on the way, so that they cannot be sent as they are.
    pub(crate) fn draws(&self) -> bool {
        !self.filters.trim().is_empty() || !self.overlays.is_empty()
    }

    /// Why pictures cannot be sent as they are, and the setting that says so, if there is one.
    pub(crate) fn encodes_because(&self) -> Option<(&'static str, &'static str)> {
        match (self.draws(), &self.adaptation) {
            (true, _) if self.overlays.is_empty() => {
                Some(("encoding.filters", "filters or overlays change the pictures"))
            }
            (true, _) => Some(("encoding.overlays", "filters or overlays change the pictures")),
            (false, Some(_)) => Some(("encoding.adaptation", "the bit rate follows the network")),
            (false, None) => None,
        }
    }

    /// Whether what is drawn, or the bit rate, may change, so that what is encoded cannot be kept.
    pub(crate) fn changes(&self) -> bool {
        self.adaptation.is_some() || self.overlays.iter().any(Overlay::changes)
    }

    /// Refuses what cannot work: the first of the [problems](Self::problems).
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that cannot work.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        if let Some((width, height)) = self.size
            && [width, height].iter().any(|side| !(16..=8192).contains(side) || side % 2 != 0)
        {
            fail("encoding.size", "each side must be even and 16 to 8192 pixels");
        }
        if self.video_bit_rate.is_some_and(|rate| !is_within(rate, 64, 100_000)) {
            fail("encoding.video_bit_rate", "must be 64 kbit/s to 100 Mbit/s");
        }
        if self.vbv_kbits.is_some_and(|kbits| !(16..=200_000).contains(&kbits)) {
            fail("encoding.vbv_kbits", "must be 16 to 200000");
        }
        if !(Duration::from_millis(500)..=Duration::from_secs(10)).contains(&self.gop) {
            fail("encoding.gop", "must be 0.5 to 10 s");
        }
        if self.threads.is_some_and(|threads| !(1..=64).contains(&threads)) {
            fail("encoding.threads", "must be 1 to 64");
        }
        if self.b_frames.is_some_and(|frames| frames > 16) {
            fail("encoding.b_frames", "must be at most 16");
        }
        let known = ["baseline", "main", "high"];
        if self.h264_profile.as_deref().is_some_and(|profile| !known.contains(&profile)) {
            fail("encoding.h264_profile", "must be baseline, main or high");
        }
        let audio = &self.audio;
        if audio.bit_rate.is_some_and(|rate| !is_within(rate, 16, 512)) {
            fail("encoding.audio.bit_rate", "must be 16 to 512 kbit/s");
        }
        if audio.sample_rate.is_some_and(|rate| !(8000..=96_000).contains(&rate)) {
            fail("encoding.audio.sample_rate", "must be 8000 to 96000");
        }
        if audio.codec == AudioCodec::Opus && audio.sample_rate.is_some_and(|rate| rate != 48_000) {
            fail("encoding.audio.sample_rate", "Opus has 48000 only");
        }
        if audio.channels.is_some_and(|channels| !(1..=8).contains(&channels)) {
            fail("encoding.audio.channels", "must be 1 to 8");
        }
        // Software is libx264 or libx265; other encoders have presets of their own.
        let by_name = matches!(self.encoder, EncoderChoice::Auto | EncoderChoice::Software)
            && matches!(self.video_codec, VideoCodec::H264 | VideoCodec::Hevc);
        if by_name && self.preset.as_deref().is_some_and(|preset| !PRESETS.contains(&preset)) {
            fail("encoding.preset", &format!("must be one of {}", PRESETS.join(", ")));
        }
        let texts = [self.preset.as_deref(), self.tune.as_deref(), Some(self.x264_params.as_str())];
        if texts.into_iter().flatten().any(|text| text.chars().any(char::is_control)) {
            fail("encoding", "a preset, a tune or a parameter holds a control character");
        }
        if let Err(reason) = self.check_filters() {
            fail("encoding.filters", &reason);
        }
        found.extend(overlay::problems(&self.overlays));
        found.extend(self.adaptation.iter().flat_map(|adaptation| adaptation.problems(self.video_bit_rate)));
        found
    }
}

impl Encoding {
    /// Why the filters cannot be used.
    #[cfg(feature = "libav")]
    fn check_filters(&self) -> Result<(), String> {
        let (width, height) = self.size.unwrap_or((1280, 720));
        let from = flowcast_av::VideoFormat {
            width,
            height,
            pixel_format: "yuv420p".to_owned(),
            sample_aspect: None,
            color: flowcast_av::ColorInfo::default(),
        };
        flowcast_av::check_filters(&self.filters, &from).map_err(|error| error.to_string())
    }

    /// Why the filters cannot be used: without libav nothing is encoded.
    #[cfg(not(feature = "libav"))]
    fn check_filters(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Whether a rate is from `least` to `most` kbit/s.
fn is_within(rate: BitRate, least: u64, most: u64) -> bool {
    (BitRate::from_kbps(least)..=BitRate::from_kbps(most)).contains(&rate)
}

impl Default for Encoding {
    fn default() -> Self {
        Self::new(Profile::Default)
    }
}

impl From<Profile> for Encoding {
    fn from(profile: Profile) -> Self {
        Self::new(profile)
    }
}

/// The request of a source.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Wish {
    /// `None` if not set: copy, unless platforms are named.
    pub(crate) mode: Option<Mode>,
    pub(crate) encoding: Encoding,
    /// The platforms it goes to.
    pub(crate) platforms: Vec<Platform>,
    pub(crate) strictness: Strictness,
    /// Whether to take what only Enhanced RTMP carries.
    pub(crate) enhanced: bool,
    /// What is encoded is brought down to that.
    pub(crate) lowered: Option<CheaperEncoding>,
    /// How loud files are to be. With it, sound is always encoded.
    pub(crate) loudness: Option<Loudness>,
    /// It is one of several sizes of its source: pictures are encoded, whatever they are.
    pub(crate) is_rendition: bool,
}

impl Wish {
    pub(crate) fn mode(&self) -> Mode {
        match self.mode {
            _ if self.encoding.profile == Profile::Copy => Mode::Copy,
            Some(mode) => mode,
            None if self.platforms.is_empty() => Mode::Copy,
            None => Mode::Auto,
        }
    }

    /// All that cannot work: among others, a codec that a platform does not take, or one that only Enhanced RTMP carries without
    /// the setting for it.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = self.encoding.problems();
        found.extend(self.loudness.iter().flat_map(Loudness::problems));
        let is_copy = self.mode == Some(Mode::Copy) || self.encoding.profile == Profile::Copy;
        if let Some((name, _)) = self.encoding.encodes_because().filter(|_| is_copy) {
            let reason = match self.encoding.draws() {
                true => "nothing can be drawn over pictures that are copied",
                false => "pictures that are copied keep their bit rate",
            };
            found.push(Error::Config { name, reason: reason.to_owned() });
        }
        let (video, audio) = (self.encoding.video_codec, self.encoding.audio.codec);
        if self.is_copy() || (video == VideoCodec::H264 && audio == AudioCodec::Aac) {
            return found;
        }
        if self.carriage() == Carriage::Plain {
            let (name, codec) = match video {
                VideoCodec::H264 => ("encoding.audio.codec", audio.as_str()),
                _ => ("encoding.video_codec", video.as_str()),
            };
            let reason = format!("{codec} needs Enhanced RTMP: Source::enhanced, or a platform that is");
            found.push(Error::Config { name, reason });
            return found;
        }
        for platform in &self.platforms {
            let refused = |codec: &str| format!("{} does not take {codec}", platform.name);
            if !platform.takes_video(video.as_str()) {
                found.push(Error::Config { name: "encoding.video_codec", reason: refused(video.as_str()) });
            }
            if !platform.takes_audio(audio.as_str()) {
                found.push(Error::Config { name: "encoding.audio.codec", reason: refused(audio.as_str()) });
            }
        }
        found
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: the first of the [problems](Self::problems).
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// The codecs tracks may have on the wire: as the source says, or a platform it goes to.
    pub(crate) fn carriage(&self) -> Carriage {
        let enhanced = self.enhanced || self.platforms.iter().any(|platform| platform.enhanced);
        if enhanced { Carriage::Enhanced } else { Carriage::Plain }
    }

    /// The receivers of the stream: the platforms that are named, else any receiver.
    pub(crate) fn receivers(&self) -> Vec<Platform> {
        if !self.platforms.is_empty() {
            return self.platforms.clone();
        }
        let mut any = Platform::any();
        if self.enhanced {
            any.enhanced = true;
            any.enhanced_codecs.push("vp8".to_owned());
        }
        vec![any]
    }

    /// Why pictures cannot be sent as they are, if that is so whatever they are.
    pub(crate) fn encodes_because(&self) -> Option<&'static str> {
        let why = self.encoding.encodes_because().map(|(_, why)| why);
        why.or_else(|| self.is_rendition.then_some("it is one of several sizes"))
    }

    /// Whether nothing is ever encoded.
    pub(crate) fn is_copy(&self) -> bool {
        self.copies_pictures() && self.loudness.is_none()
    }

    /// Whether pictures are never encoded.
    pub(crate) fn copies_pictures(&self) -> bool {
        self.mode() == Mode::Copy
    }

    /// Whether what is encoded may change on the air.
    pub(crate) fn changes(&self) -> bool {
        !self.copies_pictures() && self.encoding.changes()
    }

    /// Whether one of the platforms refuses pictures without sound.
    pub(crate) fn needs_audio(&self) -> bool {
        !self.copies_pictures() && self.platforms.iter().any(|platform| platform.needs_audio)
    }
}

crate::settings::settings!(Encoding, AudioEncoding);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        assert!(Encoding::default().check().is_ok());
        let refused = |change: fn(&mut Encoding)| {
            let mut encoding = Encoding::default();
            change(&mut encoding);
            encoding.check().expect_err("it cannot work").to_string()
        };
        assert!(refused(|encoding| encoding.size = Some((1281, 720))).contains("encoding.size"));
        assert!(
            refused(|encoding| encoding.video_bit_rate = Some(BitRate::from_kbps(10)))
                .contains("video_bit_rate")
        );
        assert!(refused(|encoding| encoding.gop = Duration::ZERO).contains("gop"));
        assert!(refused(|encoding| encoding.threads = Some(0)).contains("threads"));
        assert!(refused(|encoding| encoding.h264_profile = Some("high10".into())).contains("h264_profile"));
        assert!(refused(|encoding| encoding.audio.channels = Some(9)).contains("channels"));
        assert!(refused(|encoding| encoding.preset = Some("fastest".into())).contains("ultrafast"));
        let named = Encoding {
            encoder: EncoderChoice::Named("h264_nvenc".into()),
            preset: Some("p5".into()),
            ..Encoding::default()
        };
        assert!(named.check().is_ok(), "an encoder's own");
        assert!(refused(|encoding| encoding.x264_params = "a\n".into()).contains("control"));
    }

    #[test]
    fn codecs_that_are_not_taken_are_refused() {
        let hevc = |platforms: Vec<Platform>, enhanced| {
            let mut wish = Wish { mode: Some(Mode::Encode), platforms, enhanced, ..Wish::default() };
            wish.encoding.video_codec = VideoCodec::Hevc;
            wish
        };
        let refused = |wish: &Wish| wish.check().expect_err("it is not taken").to_string();
        assert!(refused(&hevc(Vec::new(), false)).contains("Source::enhanced"));
        assert!(hevc(Vec::new(), true).check().is_ok());
        let mut youtube = Platform::youtube();
        assert!(refused(&hevc(vec![youtube.clone()], true)).contains("youtube does not take hevc"));
        youtube.enhanced = true;
        assert!(hevc(vec![youtube.clone()], false).check().is_ok());
        let both = hevc(vec![youtube.clone(), Platform::twitch()], false);
        assert!(refused(&both).contains("twitch does not take hevc"));
        let mut opus = hevc(vec![youtube], false);
        opus.encoding.audio.codec = AudioCodec::Opus;
        assert!(refused(&opus).contains("youtube does not take opus"));
        opus.mode = Some(Mode::Copy);
        assert!(opus.check().is_ok(), "nothing is encoded");
        opus.encoding.audio.sample_rate = Some(44_100);
        assert!(refused(&opus).contains("48000"));
    }

    #[test]
    fn frame_rates_stay_in_range() {
        assert_eq!(FrameRate::new(30_000, 1001).map(|rate| rate.to_string()).as_deref(), Some("30000/1001"));
        assert_eq!(FrameRate::new(25, 1), Some(FrameRate::whole(25)));
        for (num, den) in [(0, 1), (1, 0), (1, 2), (240, 1), (90_000_000, 1_000_000)] {
            assert_eq!(FrameRate::new(num, den), None, "{num}/{den}");
        }
        assert_eq!((FrameRate::whole(0).num(), FrameRate::whole(1000).num()), (1, 239));
    }
}
