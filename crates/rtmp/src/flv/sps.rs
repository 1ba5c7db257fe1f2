//! The H.264 sequence parameter set, as far as the picture's size: H.264 section 7.3.2.1.1.

use super::FlvError;
use super::bits::BitReader;

/// What a sequence parameter set states about every picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// profile_idc: 66 baseline, 77 main, 100 high, ...
    pub profile: u8,
    /// level_idc: ten times the level.
    pub level: u8,
    /// Width in pixels, after cropping.
    pub width: u32,
    /// Height in pixels, after cropping.
    pub height: u32,
}

impl Sps {
    /// Reads a NAL unit of type 7, its first byte included.
    ///
    /// # Errors
    ///
    /// [`FlvError::Invalid`] if it is another NAL unit or not a parameter set at all.
    pub fn parse(nal: &[u8]) -> Result<Self, FlvError> {
        let invalid = |value| FlvError::Invalid { what: "sequence parameter set", value, offset: 0 };
        let (&first, rest) = nal.split_first().ok_or(invalid(0))?;
        if first & 0x1F != 7 {
            return Err(invalid(u64::from(first)));
        }
        parse(&mut BitReader::new(&without_emulation_prevention(rest))).ok_or(invalid(u64::from(first)))
    }
}

/// Takes out the 3 of every 0 0 3, section 7.4.1.1.
pub(super) fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut zeros = 0u8;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros.saturating_add(1) } else { 0 };
        plain.push(byte);
    }
    plain
}

fn parse(bits: &mut BitReader<'_>) -> Option<Sps> {
    let profile = u8::try_from(bits.bits(8)?).ok()?;
    bits.skip(8)?;
    let level = u8::try_from(bits.bits(8)?).ok()?;
    bits.unsigned()?;
    let chroma =
        if has_chroma_format(profile) { chroma_format(bits)? } else { Chroma { format: 1, planes: false } };
    bits.unsigned()?;
    picture_order_count(bits)?;
    bits.unsigned()?;
    bits.skip(1)?;
    let width_in_blocks = bits.unsigned()?.checked_add(1)?;
    let height_in_units = bits.unsigned()?.checked_add(1)?;
    let frames_only = bits.bit()?;
    if !frames_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let fields: u32 = if frames_only { 1 } else { 2 };
    // Cropping counts in chroma samples, table 6-1.
    let subsampled = !chroma.planes;
    let unit_x = if subsampled && matches!(chroma.format, 1 | 2) { 2 } else { 1 };
    let unit_y = fields.checked_mul(if subsampled && chroma.format == 1 { 2 } else { 1 })?;
    let (mut crop_x, mut crop_y) = (0, 0);
    if bits.bit()? {
        crop_x = bits.unsigned()?.checked_add(bits.unsigned()?)?.checked_mul(unit_x)?;
        crop_y = bits.unsigned()?.checked_add(bits.unsigned()?)?.checked_mul(unit_y)?;
    }
    let width = width_in_blocks.checked_mul(16)?.checked_sub(crop_x)?;
    let height = height_in_units.checked_mul(16)?.checked_mul(fields)?.checked_sub(crop_y)?;
    (width > 0 && height > 0).then_some(Sps { profile, level, width, height })
}

/// Chroma format, and bits of luma and chroma samples less eight, of a NAL unit of type 7; `None` for profiles that do not say them.
pub(super) fn chroma_and_depths(nal: &[u8]) -> Option<[u8; 3]> {
    let payload = without_emulation_prevention(nal.get(1..)?);
    let mut bits = BitReader::new(&payload);
    let profile = u8::try_from(bits.bits(8)?).ok()?;
    if !has_chroma_format(profile) {
        return None;
    }
    bits.skip(16)?;
    bits.unsigned()?;
    let format = bits.unsigned().filter(|&format| format <= 3)?;
    if format == 3 {
        bits.skip(1)?;
    }
    let mut depth = || bits.unsigned().and_then(|depth| u8::try_from(depth).ok()).filter(|&depth| depth <= 7);
    Some([u8::try_from(format).ok()?, depth()?, depth()?])
}

const fn has_chroma_format(profile: u8) -> bool {
    matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244)
}

struct Chroma {
    /// 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    format: u32,
    /// The three planes are coded apart.
    planes: bool,
}

fn chroma_format(bits: &mut BitReader<'_>) -> Option<Chroma> {
    let format = bits.unsigned()?;
    let planes = format == 3 && bits.bit()?;
    bits.unsigned()?;
    bits.unsigned()?;
    bits.skip(1)?;
    if bits.bit()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if bits.bit()? {
                scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(Chroma { format, planes })
}

/// Section 7.3.2.1.1.1: the list ends early where the next scale becomes 0.
fn scaling_list(bits: &mut BitReader<'_>, size: u32) -> Option<()> {
    let mut scale = 8i32;
    for _ in 0..size {
        scale = scale.checked_add(bits.signed()?)? & 0xFF;
        if scale == 0 {
            break;
        }
    }
    Some(())
}

fn picture_order_count(bits: &mut BitReader<'_>) -> Option<()> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.skip(1)?;
            bits.signed()?;
            bits.signed()?;
            let count = bits.unsigned()?;
            if count > 255 {
                return None;
            }
            for _ in 0..count {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Some(())
}
