//! What the sequence headers of a stream say of it, so that something else can be encoded to be like it.

use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::tag::{Codec, Tag};
use flowcast_rtmp::flv::video::VideoCodec;
use flowcast_rtmp::flv::{AudioSpecificConfig, AvcConfig, Metadata};

use crate::ring::Headers;

/// The parameters of a stream, as far as something can be encoded to them: H.264 and AAC-LC.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Parameters {
    /// Of its pictures.
    pub(crate) pictures: Option<Pictures>,
    /// Of its sound: samples a second, and channels.
    pub(crate) sound: Option<(u32, u8)>,
    /// There are pictures, of this or another codec.
    pub(crate) has_pictures: bool,
    /// There is sound, of this or another codec.
    pub(crate) has_sound: bool,
}

/// The parameters of H.264.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pictures {
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// `profile_idc`: 66 baseline, 77 main, 100 high.
    pub(crate) profile: u8,
    /// Ten times the level.
    pub(crate) level: u8,
    /// Pictures a second, as the metadata says.
    pub(crate) rate: Option<f64>,
}

impl Parameters {
    /// What these headers say.
    pub(crate) fn of(headers: &Headers) -> Self {
        let mut found = Self::default();
        let mut rate = None;
        for tag in headers.tags() {
            found.has_pictures |= tag.is_video();
            found.has_sound |= tag.is_audio();
            if tag.is_script() {
                rate = Metadata::parse(&tag.body.to_bytes()).ok().and_then(|metadata| metadata.framerate);
            } else if let Some(pictures) = pictures(tag) {
                found.pictures = Some(pictures);
            } else if let Some(sound) = sound(tag) {
                let is_plain = sound.object_type == 2 && sound.sbr_rate_hz.is_none() && sound.channels > 0;
                found.sound = is_plain.then_some((sound.sample_rate_hz, sound.channels));
            }
        }
        if let Some(pictures) = &mut found.pictures {
            pictures.rate = rate.filter(|rate| (1.0..=240.0).contains(rate));
        }
        found
    }

    /// Whether what is encoded to one of the two is like the other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        /// Rates that were measured differ by as much, as a part of them.
        const NEAR: f64 = 0.03;
        let without_rate = |of: &Self| {
            let pictures = of.pictures.map(|pictures| Pictures { rate: None, ..pictures });
            Self { pictures, ..*of }
        };
        let rate = |of: &Self| of.pictures.and_then(|pictures| pictures.rate);
        let is_near = match (rate(self), rate(other)) {
            (Some(one), Some(other)) => (one / other - 1.0).abs() <= NEAR,
            (None, None) => true,
            _ => false,
        };
        without_rate(self) == without_rate(other) && is_near
    }
}

fn pictures(tag: &Tag) -> Option<Pictures> {
    let coded = coded(tag).filter(|coded| coded.codec == Codec::Video(VideoCodec::Avc))?;
    let Part::Config(record) = coded.part else { return None };
    let config = AvcConfig::parse(&record).ok()?;
    let size = config.dimensions()?;
    Some(Pictures { size, profile: config.profile, level: config.level, rate: None })
}

fn sound(tag: &Tag) -> Option<AudioSpecificConfig> {
    let coded = coded(tag).filter(|coded| coded.codec == Codec::Audio(AudioCodec::Aac))?;
    let Part::Config(config) = coded.part else { return None };
    AudioSpecificConfig::parse(&config).ok()
}

/// Whether two sequence headers configure a decoder of AAC in the same way, although their bytes may differ: some encoders say
/// in five bytes what others say in two.
pub(super) fn is_same_sound(one: &Tag, other: &Tag) -> bool {
    one.is_audio() && other.is_audio() && one.track() == other.track() && {
        let one = sound(one);
        one.is_some() && one == sound(other)
    }
}

/// Whether what these headers say is alike in everything that something can be encoded to; the level apart, which says what a
/// decoder must be able to do.
pub(super) fn are_alike(one: &Headers, other: &Headers) -> bool {
    let (one, other) = (Parameters::of(one), Parameters::of(other));
    let shape = |of: &Parameters| of.pictures.map(|pictures| (pictures.size, pictures.profile));
    let is_known = one.pictures.is_some() || one.sound.is_some();
    is_known && shape(&one) == shape(&other) && one.sound == other.sound
}
