//! What is done to tracks that do not fit where they go: they are decoded, changed and encoded again.
//!
//! A source carries a *wish* ([`Mode`], [`Encoding`]); together with what is in a file it becomes a [`Plan`]: for each track,
//! copy or encode, with every figure settled. A plan is a part of a reel's key.

#[cfg(feature = "libav")]
mod decode;
#[cfg(feature = "libav")]
mod encoders;
mod encoding;
#[cfg(feature = "libav")]
mod frames;
#[cfg(feature = "libav")]
mod grid;
mod length;
#[cfg(feature = "libav")]
mod leveling;
#[cfg(feature = "libav")]
mod limits;
#[cfg(feature = "libav")]
mod load;
#[cfg(feature = "libav")]
mod meter;
#[cfg(feature = "libav")]
mod packets;
#[cfg(feature = "libav")]
mod pictures;
#[cfg(feature = "libav")]
mod pipeline;
mod plan;
mod profile;
#[cfg(feature = "libav")]
mod rendition;
#[cfg(feature = "libav")]
mod scales;
#[cfg(feature = "libav")]
mod settle;
#[cfg(feature = "libav")]
mod shaper;
#[cfg(feature = "libav")]
mod shrinker;
#[cfg(feature = "libav")]
mod sounds;
#[cfg(feature = "libav")]
mod spread;
#[cfg(feature = "libav")]
mod steer;
#[cfg(all(test, feature = "libav"))]
mod tests;
#[cfg(feature = "libav")]
mod unheard;
#[cfg(feature = "serde")]
mod wire;

#[cfg(feature = "libav")]
pub(crate) use encoders::{Encoders, LibavEncoders, settings};
pub(crate) use encoding::Wish;
pub use encoding::{
    AudioCodec, AudioEncoding, EncoderChoice, Encoding, FrameRate, Mode, Threading, VideoCodec,
};
#[cfg(feature = "libav")]
pub(crate) use frames::{Converting, FrameEncoder, Raw};
pub(crate) use length::Length;
#[cfg(feature = "libav")]
pub(crate) use leveling::Patience;
#[cfg(feature = "libav")]
pub(crate) use packets::PacketSource;
#[cfg(feature = "libav")]
pub(crate) use pipeline::{Control, Transcoder};
#[cfg(any(test, feature = "libav"))]
pub(crate) use plan::AudioPlan;
pub(crate) use plan::Plan;
#[cfg(feature = "libav")]
pub(crate) use plan::VideoPlan;
pub use profile::Profile;
#[cfg(feature = "libav")]
pub(crate) use rendition::RenditionEncoder;
#[cfg(feature = "libav")]
pub(crate) use scales::Scales;
#[cfg(feature = "libav")]
pub(crate) use settle::{EncoderDefaults, Settling, shown_size, usual_rates};
#[cfg(feature = "libav")]
pub(crate) use spread::{Viewers, as_shown};
#[cfg(all(test, feature = "libav"))]
pub(crate) use {encoders::PictureEncoder, plan::EncoderPlan};
