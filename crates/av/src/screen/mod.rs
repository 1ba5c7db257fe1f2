//! Looks at coded pictures before libav does, because libav's parsers and decoders take memory for what a few bytes announce:
//! NAL units without content, pictures of any size, any number of references.
//!
//! In: the bytes of raw streams ([`StreamScreen`]), or packets of any container ([`PacketScreen`]). Out: the limit that is
//! exceeded. Safe Rust; on the thread that reads.

mod bytes;
mod obus;
mod packets;

use bytes::ByteScreen;
use obus::ObuScreen;
pub(crate) use packets::PacketScreen;

use crate::limits::{Exceeded, InputLimits};
use crate::{Codec, h264, hevc};

/// How the pictures of a track are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    H264,
    Hevc,
    Av1,
    /// Not known yet, or one of start codes and units that is not read here (VVC).
    Other,
}

/// Looks at the bytes of a raw stream.
#[derive(Debug, Clone)]
pub(crate) enum StreamScreen {
    Units(ByteScreen),
    Obus(ObuScreen),
}

impl StreamScreen {
    pub(crate) fn new(syntax: Syntax, limits: InputLimits) -> Self {
        match syntax {
            Syntax::Av1 => Self::Obus(ObuScreen::new(limits)),
            _ => Self::Units(ByteScreen::new(syntax, limits)),
        }
    }

    /// Takes in the next bytes.
    pub(crate) fn feed(&mut self, data: &[u8]) -> Result<(), Exceeded> {
        match self {
            Self::Units(screen) => screen.feed(data),
            Self::Obus(screen) => screen.feed(data),
        }
    }

    /// No bytes follow.
    pub(crate) fn end(&mut self) -> Result<(), Exceeded> {
        match self {
            Self::Units(screen) => screen.end(),
            Self::Obus(_) => Ok(()),
        }
    }

    /// What follows is from elsewhere in the stream.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::Units(screen) => screen.restart(),
            Self::Obus(screen) => screen.restart(),
        }
    }
}

/// A track without a picture's start in sight may hold this many times the units: its codec is not known.
const UNKNOWN: u32 = 4;

impl Syntax {
    /// `None` for codecs of which libav takes no memory by the unit.
    pub(crate) fn of(codec: &Codec) -> Option<Self> {
        match codec {
            Codec::H264 => Some(Self::H264),
            Codec::Hevc => Some(Self::Hevc),
            Codec::Av1 => Some(Self::Av1),
            Codec::Other(name) if matches!(name.as_str(), "vvc" | "none") => Some(Self::Other),
            _ => None,
        }
    }

    /// Whether a NAL unit begins a picture, as libav's parsers see it: they end the picture before it.
    fn begins_picture(self, unit: &[u8]) -> bool {
        match (self, unit) {
            // A slice whose first macroblock is the first of the picture.
            (Self::H264, [header, first, ..]) => matches!(header & 0x1F, 1 | 2 | 5) && first & 0x80 != 0,
            (Self::Hevc, [header, layer, first, ..]) => {
                let base = header & 1 == 0 && layer >> 3 == 0;
                base && matches!(header >> 1 & 0x3F, 0..=9 | 16..=21) && first & 0x80 != 0
            }
            _ => false,
        }
    }

    /// Looks at a NAL unit that may be a sequence parameter set.
    fn check_unit(self, unit: &[u8], limits: &InputLimits) -> Result<(), Exceeded> {
        let extent = match (self, unit.first()) {
            (Self::H264, Some(header)) if matches!(header & 0x1F, 7 | 15) => h264::extent(unit),
            (Self::Hevc, Some(header)) if header >> 1 & 0x3F == 33 => hevc::extent(unit),
            _ => None,
        };
        extent.map_or(Ok(()), |(pixels, references)| limits.check_picture(pixels, references))
    }

    fn most_units(self, limits: &InputLimits) -> u32 {
        if self == Self::Other { limits.max_units.saturating_mul(UNKNOWN) } else { limits.max_units }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests;
