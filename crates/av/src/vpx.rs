//! VP8 and VP9 without decoding: the headers of their keyframes, and the configuration record vpcC. Safe Rust.
//!
//! References are to "VP9 Bitstream & Decoding Process", RFC 6386 and "VP Codec ISO Media File Format Binding".

use bytes::Bytes;

use crate::bits::BitReader;
use crate::sys;
use crate::{Codec, Ratio, TrackInfo};

/// VP9's levels (annex A): luma samples per second and per picture.
const LEVELS: [(u64, u64, u8); 14] = [
    (829_440, 36_864, 10),
    (2_764_800, 73_728, 11),
    (4_608_000, 122_880, 20),
    (9_216_000, 245_760, 21),
    (20_736_000, 552_960, 30),
    (36_864_000, 983_040, 31),
    (83_558_400, 2_228_224, 40),
    (160_432_128, 2_228_224, 41),
    (311_951_360, 8_912_896, 50),
    (588_251_136, 8_912_896, 51),
    (1_176_502_272, 8_912_896, 52),
    (1_176_502_272, 35_651_584, 60),
    (2_353_004_544, 35_651_584, 61),
    (4_706_009_088, 35_651_584, 62),
];

/// What the pictures of a track are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format {
    profile: u8,
    depth: u8,
    /// 1 is 4:2:0, 2 is 4:2:2 and 3 is 4:4:4.
    subsampling: u8,
    full_range: bool,
    /// As H.273 has it; 2 is unknown.
    matrix: u8,
    size: (u32, u32),
}

/// The record of a track, and what it is made of.
#[derive(Debug, Clone)]
pub(crate) struct Vpx {
    is_vp9: bool,
    frame_rate: Option<Ratio>,
    /// Of the size the container says.
    level: Option<u8>,
    primaries: u8,
    transfer: u8,
    format: Option<Format>,
}

impl Vpx {
    /// What a container tells of a track.
    pub(crate) fn new(track: &TrackInfo) -> Self {
        let video = track.video.as_ref();
        let color = video.map(|video| sys::color_numbers(&video.color)).unwrap_or((2, 2, 2));
        let format = video.and_then(|video| {
            let (depth, subsampling) = pixel_format(&video.pixel_format)?;
            Some(Format {
                profile: u8::from(subsampling != 1) | u8::from(depth > 8) << 1,
                depth,
                subsampling,
                full_range: video.color.range.as_deref() == Some("pc"),
                matrix: color.2,
                size: (video.width, video.height),
            })
        });
        Self {
            is_vp9: track.codec == Codec::Vp9,
            frame_rate: video.and_then(|video| video.frame_rate),
            level: track.level.and_then(|level| u8::try_from(level).ok()).filter(|level| *level > 0),
            primaries: color.0,
            transfer: color.1,
            format,
        }
    }

    /// Looks at a packet; true if it is a keyframe of another format or size.
    pub(crate) fn update(&mut self, packet: &[u8]) -> bool {
        let found = if self.is_vp9 { vp9_keyframe(packet) } else { vp8_keyframe(packet) };
        let Some(mut found) = found else { return false };
        if let Some(known) = self.format {
            if found.matrix == 2 || known.matrix != 2 {
                found.matrix = known.matrix;
            }
            if found == known {
                return false;
            }
            if found.size != known.size {
                self.level = None;
            }
        }
        self.format = Some(found);
        true
    }

    /// The vpcC record with the version and flags in front of it, as libavformat's FLV muxer writes it. `None` while the format
    /// is not known.
    pub(crate) fn to_vpcc(&self) -> Option<Bytes> {
        let format = self.format?;
        let level = self.level.unwrap_or_else(|| level(format.size, self.frame_rate));
        let Format { profile, depth, subsampling, full_range, matrix, .. } = format;
        let packed = depth << 4 | subsampling << 1 | u8::from(full_range);
        let record = [1, 0, 0, 0, profile, level, packed, self.primaries, self.transfer, matrix, 0, 0];
        Some(Bytes::copy_from_slice(&record))
    }
}

/// Bits of a sample, and how colours are subsampled.
fn pixel_format(name: &str) -> Option<(u8, u8)> {
    let (planes, depth) = match name.strip_suffix("le").or_else(|| name.strip_suffix("be")) {
        Some(name) if name.ends_with("p10") => (name.strip_suffix("10")?, 10),
        Some(name) if name.ends_with("p12") => (name.strip_suffix("12")?, 12),
        _ => (name, 8),
    };
    let subsampling = match planes {
        "yuv420p" | "yuva420p" | "yuvj420p" => 1,
        "yuv422p" => 2,
        "yuv444p" | "gbrp" => 3,
        _ => return None,
    };
    Some((depth, subsampling))
}

/// The lowest level that holds this many pixels; 0 if none does. By the size alone if the rate is not known.
fn level((width, height): (u32, u32), rate: Option<Ratio>) -> u8 {
    let size = u64::from(width) * u64::from(height);
    let rate = rate.filter(|rate| rate.den > 0);
    let per_second = rate.map_or(0, |rate| size.saturating_mul(u64::from(rate.num)) / u64::from(rate.den));
    let fits = |(most_per_second, most, _): &&(u64, u64, u8)| per_second <= *most_per_second && size <= *most;
    LEVELS.iter().find(fits).map_or(0, |(_, _, level)| *level)
}

/// The uncompressed header of a keyframe (6.2).
fn vp9_keyframe(packet: &[u8]) -> Option<Format> {
    /// `color_space` (7.2.2) as H.273 numbers it.
    const MATRICES: [u8; 8] = [2, 5, 1, 6, 7, 9, 2, 0];
    const SYNC: u32 = 0x49_8342;
    const SRGB: u32 = 7;
    let bits = &mut BitReader::new(packet);
    if bits.bits(2)? != 2 {
        return None;
    }
    let profile = bits.bits(1)? | bits.bits(1)? << 1;
    if profile == 3 {
        bits.bit()?;
    }
    let (shown_again, is_inter) = (bits.bit()?, bits.bit()?);
    if shown_again || is_inter {
        return None;
    }
    bits.skip(2)?;
    if bits.bits(24)? != SYNC {
        return None;
    }
    let depth = match profile {
        0 | 1 => 8,
        _ if bits.bit()? => 12,
        _ => 10,
    };
    let space = bits.bits(3)?;
    let has_choice = profile == 1 || profile == 3;
    let mut full_range = true;
    let mut subsampling = if space == SRGB { 3 } else { 1 };
    if space != SRGB {
        full_range = bits.bit()?;
        if has_choice {
            subsampling = match (bits.bit()?, bits.bit()?) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => return None,
            };
        }
    }
    if has_choice {
        bits.bit()?;
    }
    Some(Format {
        profile: u8::try_from(profile).ok()?,
        depth,
        subsampling,
        full_range,
        matrix: MATRICES.get(usize::try_from(space).ok()?).copied()?,
        size: (bits.bits(16)? + 1, bits.bits(16)? + 1),
    })
}

/// The header of a keyframe (RFC 6386, 9.1).
fn vp8_keyframe(packet: &[u8]) -> Option<Format> {
    let [tag, _, _, 0x9D, 0x01, 0x2A, width_low, width_high, height_low, height_high, ..] = *packet else {
        return None;
    };
    let size = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    (tag & 1 == 0).then_some(Format {
        profile: 0,
        depth: 8,
        subsampling: 1,
        full_range: false,
        matrix: 2,
        size: (size(width_low, width_high), size(height_low, height_high)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::{TimeBase, TrackKind};
    use proptest::prelude::*;

    /// 160x90, profile 0 (libvpx).
    const VP9: [u8; 10] = [0x82, 0x49, 0x83, 0x42, 0x00, 0x09, 0xf0, 0x05, 0x96, 0x05];
    /// 160x90 (libvpx).
    const VP8: [u8; 10] = [0x50, 0x10, 0x00, 0x9d, 0x01, 0x2a, 0xa0, 0x00, 0x5a, 0x00];

    fn track(codec: Codec) -> Vpx {
        Vpx::new(&TrackInfo::new(0, TrackKind::Video, codec, TimeBase::MILLIS))
    }

    #[test]
    fn a_keyframe_tells_what_the_container_does_not() {
        for (codec, packet) in [(Codec::Vp9, VP9), (Codec::Vp8, VP8)] {
            let mut vpx = track(codec);
            assert_eq!(vpx.to_vpcc(), None);
            assert!(vpx.update(&packet), "{packet:?}");
            assert_eq!(vpx.to_vpcc().unwrap()[..], [1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0]);
            assert!(!vpx.update(&packet), "the same again");
        }
        let mut vpx = track(Codec::Vp9);
        vpx.update(&VP9);
        assert!(!vpx.update(&[0x86, 0, 0x40]), "no keyframe");
        let mut wide = VP9;
        wide[5] = 0x7f;
        assert!(vpx.update(&wide));
        assert_eq!(vpx.to_vpcc().unwrap()[5], 21);
    }

    #[test]
    fn levels_are_by_size_and_rate() {
        let rate = |num| Some(Ratio { num, den: 1 });
        assert_eq!(level((640, 360), None), 20 + 1);
        assert_eq!(level((1280, 720), rate(30)), 31);
        assert_eq!(level((1280, 720), rate(60)), 40);
        assert_eq!(level((30_000, 30_000), None), 0);
    }

    #[test]
    fn pixel_formats() {
        assert_eq!(pixel_format("yuv420p"), Some((8, 1)));
        assert_eq!(pixel_format("yuv420p10le"), Some((10, 1)));
        assert_eq!(pixel_format("yuv444p12le"), Some((12, 3)));
        assert_eq!(pixel_format("gray"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            track(Codec::Vp9).update(&bytes);
            track(Codec::Vp8).update(&bytes);
        }
    }
}
