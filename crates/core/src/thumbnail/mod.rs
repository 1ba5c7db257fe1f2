//! Thumbnails: the newest keyframe of a stream as a small JPEG.
//!
//! In: a keyframe of the ring, from the stream's thread. Out: a JPEG, made by one of a few threads that all streams of the engine share
//! ([`Studio`]), so that no stream waits for a picture. What a keyframe was made to is kept for a while: a loop shows its keyframes again.

#[cfg(feature = "libav")]
mod album;
#[cfg(feature = "libav")]
mod picture;
mod studio;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use studio::{Order, Studio};

use crate::error::Error;

/// The largest side of a thumbnail, in pixels: that of a JPEG.
const MOST_SIDE: u32 = 65_500;

/// What a thumbnail is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct ThumbnailOptions {
    /// Pixels it is wide at most, 1 to 65,500. The picture keeps its shape, has square pixels and even sides, and is not enlarged. Default 320.
    pub max_width: u32,
    /// Pixels it is high at most, 1 to 65,500. Default 320.
    pub max_height: u32,
    /// From 1 (coarse, small) to 100. Default 75: about 10 kB for the default size.
    pub quality: u8,
}

impl Default for ThumbnailOptions {
    fn default() -> Self {
        Self { max_width: 320, max_height: 320, quality: 75 }
    }
}

impl ThumbnailOptions {
    /// What cannot work.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut wrong = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        if !(1..=MOST_SIDE).contains(&self.max_width) || !(1..=MOST_SIDE).contains(&self.max_height) {
            wrong("thumbnail.max_width, max_height", "each must be 1 to 65500");
        }
        if !(1..=100).contains(&self.quality) {
            wrong("thumbnail.quality", "must be 1 to 100");
        }
        found
    }
}

crate::settings::settings!(ThumbnailOptions);

/// A picture of a stream.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Thumbnail {
    /// The bytes of a JPEG file.
    pub jpeg: Bytes,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// When the stream showed it, in the stream's own time: counted from where the stream began.
    pub time: Duration,
    /// How far the stream was beyond it when the thumbnail was asked for: up to the distance of its keyframes.
    pub behind: Duration,
    /// When it was made.
    pub(crate) made: Instant,
}
