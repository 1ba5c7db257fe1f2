//! What one input may make libav hold while it is opened, read and decoded.

/// Bounds on what one input may make libav hold or work on. They protect against files that are made to take memory and time:
/// libav's own needs grow with counts that a file of a few megabytes can make arbitrarily large.
///
/// All defaults are above what the levels of H.264, HEVC and AV1 allow, and above what files of ten hours hold. An input that exceeds
/// one fails with [`Error::LimitExceeded`](crate::Error::LimitExceeded), which names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputLimits {
    /// Tracks of a file, those that are not read included. Some containers take time in proportion to it for every packet.
    /// Default 256: a multiplex of thirty television programmes fits.
    pub max_tracks: u32,
    /// Pixels of a picture, width times height. Default 8192 x 4608. Sound files with larger cover art play without it.
    pub max_pixels: u64,
    /// Pixels of all pictures a decoder has to keep to predict from: pixels of a picture times reference pictures, as the
    /// parameter sets of H.264 and HEVC say. Default 6 x 8192 x 4352, HEVC level 6.2; H.264 allows less in every level.
    pub max_reference_pixels: u64,
    /// NAL units (H.264, HEVC) or OBUs (AV1) of one picture, parameter sets and messages included. libav takes 4 KiB for each,
    /// also for an empty one. Default 8192: a picture of 8K in slices of one network packet fits twice.
    pub max_units: u32,
    /// Bytes of one picture in a raw stream (`.h264`, `.hevc`, `.obu`), and of one packet in any file. Default 64 MiB.
    pub max_packet_bytes: u64,
    /// Entries of an MP4's index: samples of all its tracks. libav takes 24 to 60 bytes for each. Default 20,000,000: ten hours
    /// of 60 pictures per second with thirty tracks of sound fit.
    pub max_samples: u64,
    /// Tags (titles, comments) of a file. libav takes time with the square of their number. Default 10,000, which takes less
    /// than a second.
    pub max_tags: u32,
}

impl Default for InputLimits {
    fn default() -> Self {
        Self {
            max_tracks: 256,
            max_pixels: 8192 * 4608,
            max_reference_pixels: 6 * 8192 * 4352,
            max_units: 8192,
            max_packet_bytes: 64 << 20,
            max_samples: 20_000_000,
            max_tags: 10_000,
        }
    }
}

/// A limit that an input went beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// The field of [`InputLimits`].
    pub(crate) limit: &'static str,
    pub(crate) allowed: u64,
}

impl Exceeded {
    pub(crate) const fn new(limit: &'static str, allowed: u64) -> Self {
        Self { limit, allowed }
    }

    /// What exceeds the limit.
    pub(crate) fn what(limit: &str) -> &'static str {
        match limit {
            "max_tracks" => "tracks",
            "max_pixels" => "pixels in a picture",
            "max_reference_pixels" => "pixels in reference pictures",
            "max_units" => "NAL units or OBUs in a picture",
            "max_packet_bytes" => "bytes in a packet",
            "max_samples" => "samples in the index",
            "max_tags" => "tags",
            _ => "of it",
        }
    }
}

impl InputLimits {
    /// Checks the size of a picture, and how many of that size a decoder keeps.
    pub(crate) fn check_picture(&self, pixels: u64, references: u32) -> Result<(), Exceeded> {
        if pixels > self.max_pixels {
            return Err(Exceeded::new("max_pixels", self.max_pixels));
        }
        if pixels.saturating_mul(u64::from(references)) > self.max_reference_pixels {
            return Err(Exceeded::new("max_reference_pixels", self.max_reference_pixels));
        }
        Ok(())
    }

    pub(crate) fn check_units(&self, units: usize) -> Result<(), Exceeded> {
        if u32::try_from(units).is_ok_and(|units| units <= self.max_units) {
            return Ok(());
        }
        Err(Exceeded::new("max_units", u64::from(self.max_units)))
    }

    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), Exceeded> {
        if bytes <= self.max_packet_bytes {
            return Ok(());
        }
        Err(Exceeded::new("max_packet_bytes", self.max_packet_bytes))
    }
}
