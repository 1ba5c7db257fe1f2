//! The size of pictures, as the codec's own configuration or a keyframe says it.
//!
//! In: the configuration of a track, and the data of a keyframe. Out: width and height in pixels, or `None` where they are not said or cut off.
//! Specifications: H.264 and H.265 section 7.3.2, AV1 section 5.5, VP9 section 6.2, RFC 6386 section 9.1.

use bytes::Bytes;

use super::AvcConfig;
use super::bits::BitReader;
use super::sps::without_emulation_prevention;
use super::video::VideoCodec;

/// Bytes of hvcC before its arrays.
const HVCC_FIXED: usize = 22;
/// The type of HEVC's sequence parameter sets.
const HEVC_SPS: u8 = 33;
/// Bytes of a NAL unit's header in HEVC.
const HEVC_HEADER: usize = 2;
/// Bytes of av1C before the units it holds.
const AV1C_FIXED: usize = 4;
/// The type of AV1's sequence header.
const AV1_SEQUENCE_HEADER: u8 = 1;
/// What a keyframe of VP9 says after its first bits, and one of VP8 after its first three bytes.
const VP9_SYNC: u32 = 0x49_83_42;
const VP8_SYNC: [u8; 3] = [0x9D, 0x01, 0x2A];
/// VP9's number of a picture that is coded as red, green and blue.
const VP9_RGB: u32 = 7;

/// Width and height of a track's pictures in pixels, after cropping. `config` is what its sequence header has (avcC, hvcC, av1C, vpcC), `keyframe`
/// the data of a keyframe; VP8 and VP9 say it only there, H.264 and HEVC only in the configuration.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::picture;
/// use flowcast_rtmp::flv::video::VideoCodec;
/// let keyframe = Bytes::from_static(&[0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x40, 0x01, 0xF0, 0x00]);
/// assert_eq!(picture::size(VideoCodec::Vp8, &Bytes::new(), &keyframe), Some((320, 240)));
/// ```
#[must_use]
pub fn size(codec: VideoCodec, config: &Bytes, keyframe: &[u8]) -> Option<(u32, u32)> {
    let found = match codec {
        VideoCodec::Avc => AvcConfig::parse(config).ok()?.dimensions(),
        VideoCodec::Hevc => hevc(config),
        VideoCodec::Av1 => config.get(AV1C_FIXED..).and_then(av1).or_else(|| av1(keyframe)),
        VideoCodec::Vp8 => vp8(keyframe),
        VideoCodec::Vp9 => vp9(&mut BitReader::new(keyframe)),
        _ => None,
    };
    found.filter(|&(width, height)| width > 0 && height > 0)
}

/// By the first sequence parameter set of an hvcC record.
fn hevc(record: &[u8]) -> Option<(u32, u32)> {
    let (&arrays, mut rest) = record.get(HVCC_FIXED..)?.split_first()?;
    for _ in 0..arrays {
        let (&[kind, high, low], behind) = rest.split_first_chunk()?;
        rest = behind;
        for _ in 0..u16::from_be_bytes([high, low]) {
            let (&length, behind) = rest.split_first_chunk()?;
            let (unit, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(length)))?;
            if kind & 0x3F == HEVC_SPS {
                return hevc_sps(unit);
            }
            rest = behind;
        }
    }
    None
}

/// H.265 section 7.3.2.2.1, up to the conformance window.
fn hevc_sps(unit: &[u8]) -> Option<(u32, u32)> {
    let payload = without_emulation_prevention(unit.get(HEVC_HEADER..)?);
    let mut bits = BitReader::new(&payload);
    bits.skip(4)?;
    let layers = bits.bits(3)?;
    // Nesting, and the general part of the profile.
    bits.skip(1_usize.checked_add(96)?)?;
    let mut said = Vec::new();
    for _ in 0..layers {
        said.push((bits.bit()?, bits.bit()?));
    }
    if layers > 0 {
        bits.skip(usize::try_from(8_u32.checked_sub(layers)?).ok()?.checked_mul(2)?)?;
    }
    for (profile, level) in said {
        bits.skip(if profile { 88 } else { 0 })?;
        bits.skip(if level { 8 } else { 0 })?;
    }
    bits.unsigned()?;
    let chroma = bits.unsigned()?;
    let planes = chroma == 3 && bits.bit()?;
    let (width, height) = (bits.unsigned()?, bits.unsigned()?);
    if !bits.bit()? {
        return Some((width, height));
    }
    // Cropping counts in chroma samples, table 6-1.
    let unit_x = if !planes && matches!(chroma, 1 | 2) { 2 } else { 1 };
    let unit_y = if !planes && chroma == 1 { 2 } else { 1 };
    let crop_x = bits.unsigned()?.checked_add(bits.unsigned()?)?.checked_mul(unit_x)?;
    let crop_y = bits.unsigned()?.checked_add(bits.unsigned()?)?.checked_mul(unit_y)?;
    Some((width.checked_sub(crop_x)?, height.checked_sub(crop_y)?))
}

/// By the first sequence header among open bitstream units (AV1 section 5.3).
fn av1(mut units: &[u8]) -> Option<(u32, u32)> {
    loop {
        let (&header, behind) = units.split_first()?;
        let (kind, has_extension, has_size) = (header >> 3 & 0x0F, header & 4 != 0, header & 2 != 0);
        let mut rest = behind.get(usize::from(has_extension)..)?;
        let size = if has_size { leb128(&mut rest)? } else { rest.len() };
        let (unit, behind) = rest.split_at_checked(size)?;
        if kind == AV1_SEQUENCE_HEADER {
            return av1_sequence_header(&mut BitReader::new(unit));
        }
        units = behind;
    }
}

fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for shift in (0..56_u32).step_by(7) {
        let (&byte, behind) = bytes.split_first()?;
        *bytes = behind;
        value |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

/// AV1 section 5.5.1, up to the largest size of a frame.
fn av1_sequence_header(bits: &mut BitReader<'_>) -> Option<(u32, u32)> {
    bits.skip(4)?;
    if bits.bit()? {
        bits.skip(5)?;
    } else {
        let mut delay_bits = None;
        if bits.bit()? {
            bits.skip(64)?;
            if bits.bit()? {
                bits.unsigned()?;
            }
            if bits.bit()? {
                delay_bits = Some(bits.bits(5)?.checked_add(1)?);
                bits.skip(42)?;
            }
        }
        let has_display_delay = bits.bit()?;
        for _ in 0..=bits.bits(5)? {
            bits.skip(12)?;
            if bits.bits(5)? > 7 {
                bits.skip(1)?;
            }
            if let Some(count) = delay_bits
                && bits.bit()?
            {
                bits.skip(usize::try_from(count).ok()?.checked_mul(2)?.checked_add(1)?)?;
            }
            if has_display_delay && bits.bit()? {
                bits.skip(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.bits(4)?.checked_add(1)?, bits.bits(4)?.checked_add(1)?);
    Some((bits.bits(width_bits)?.checked_add(1)?, bits.bits(height_bits)?.checked_add(1)?))
}

fn vp8(keyframe: &[u8]) -> Option<(u32, u32)> {
    let rest = keyframe.get(3..)?.strip_prefix(&VP8_SYNC)?;
    let &[a, b, c, d] = rest.first_chunk()?;
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    Some((side(a, b), side(c, d)))
}

/// VP9 section 6.2: the uncompressed header of a keyframe.
fn vp9(bits: &mut BitReader<'_>) -> Option<(u32, u32)> {
    if bits.bits(2)? != 2 {
        return None;
    }
    let profile = u32::from(bits.bit()?) | u32::from(bits.bit()?) << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (shows_other, is_inter) = (bits.bit()?, bits.bit()?);
    bits.skip(2)?;
    if shows_other || is_inter || bits.bits(24)? != VP9_SYNC {
        return None;
    }
    if profile >= 2 {
        bits.skip(1)?;
    }
    let is_rgb = bits.bits(3)? == VP9_RGB;
    let says_subsampling = matches!(profile, 1 | 3);
    bits.skip(if is_rgb { 0 } else { 1 })?;
    bits.skip(match (says_subsampling, is_rgb) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 3,
    })?;
    Some((bits.bits(16)?.checked_add(1)?, bits.bits(16)?.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libx265, libaom and libvpx made of pictures of 322 by 182 pixels.
    const HVCC: &[u8] = &[
        1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x3c, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3, 0x20,
        0, 1, 0, 0x18, 0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x3c,
        0x95, 0x98, 9, 0x21, 0, 1, 0, 0x2a, 0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x3c,
        0xa0, 0x0a, 0x48, 0x0b, 0x9c, 0x95, 0x96, 0x56, 0x69, 0x24, 0xca, 0xf0, 0x16, 0x80, 0x80, 0, 0, 3, 0,
        0x80, 0, 0, 0x0c, 0x84, 0x22, 0, 1, 0, 7, 0x44, 1, 0xc1, 0x72, 0xb4, 0x62, 0x40,
    ];
    const AV1C: &[u8] = &[0x81, 0, 0x0c, 0, 0x0a, 0x0b, 0, 0, 0, 4, 0x3d, 6, 0xd4, 0xda, 0xf9, 0, 0x40];
    const VP9_KEYFRAME: &[u8] =
        &[0x82, 0x49, 0x83, 0x42, 0, 0x14, 0x10, 0x0b, 0x56, 6, 0x38, 0x24, 0x1c, 0x18, 0x4a, 0, 0x0b, 0x90];

    #[test]
    fn sizes_are_those_that_were_encoded_and_what_is_cut_off_says_none() {
        let none = Bytes::new();
        for (codec, config, keyframe, needed) in [
            (VideoCodec::Hevc, Bytes::from_static(HVCC), &[][..], 97),
            (VideoCodec::Av1, Bytes::from_static(AV1C), &[], 17),
            (VideoCodec::Av1, none.clone(), AV1C.get(AV1C_FIXED..).unwrap_or_default(), 13),
            (VideoCodec::Vp9, none, VP9_KEYFRAME, 9),
        ] {
            assert_eq!(size(codec, &config, keyframe), Some((322, 182)), "{codec:?}");
            for length in 0..needed {
                let config = config.slice(..length.min(config.len()));
                let keyframe = keyframe.get(..length).unwrap_or(keyframe);
                assert_eq!(size(codec, &config, keyframe), None, "{length} bytes of {codec:?}");
            }
        }
    }

    #[test]
    fn what_is_no_keyframe_says_nothing() {
        for codec in [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::Av1, VideoCodec::Avc, VideoCodec::Screen]
        {
            for data in [&[][..], &[0x86], &[0xFF; 40], &[0; 40]] {
                assert_eq!(size(codec, &Bytes::new(), data), None, "{codec:?} {data:?}");
            }
        }
    }
}
