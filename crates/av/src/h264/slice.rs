//! What the headers of slices (H.264, 7.3.3) and the recovery point message (D.1.8) say. The bytes come as they lie in a NAL
//! unit, with emulation prevention.

use super::Sps;
use super::sps::without_emulation_prevention;
use crate::bits::BitReader;

/// Bytes of a slice that hold the fields read here: five numbers of 32 bits at most each.
const SLICE_HEADER: usize = 28;
/// Bytes of a message unit that are looked through; captions and the like may be long.
const MESSAGES: usize = 4096;
/// `payloadType` of the recovery point message.
const RECOVERY_POINT: u32 = 6;

/// How the macroblocks of a slice are predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SliceType {
    /// From before.
    P,
    /// From before and behind.
    B,
    /// From within.
    I,
}

/// The start of a slice header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SliceHeader {
    pub(super) slice_type: SliceType,
    /// The picture is one field of a frame.
    pub(super) field: bool,
}

impl SliceHeader {
    /// Reads the header of a slice NAL unit, as far as the SPS (if known) lets it be read. `None` if it cannot be one.
    pub(super) fn parse(nal: &[u8], sps: Option<&Sps>) -> Option<Self> {
        let payload = nal.get(1..)?;
        let payload = without_emulation_prevention(payload.get(..SLICE_HEADER).unwrap_or(payload));
        let mut bits = BitReader::new(&payload);
        bits.unsigned()?; // first_mb_in_slice
        let slice_type = match bits.unsigned().filter(|code| *code <= 9)? % 5 {
            0 | 3 => SliceType::P,
            1 => SliceType::B,
            _ => SliceType::I,
        };
        bits.unsigned().filter(|id| *id <= 255)?; // pic_parameter_set_id
        let mut header = Self { slice_type, field: false };
        if let Some(sps) = sps.filter(|sps| !sps.frames_only) {
            bits.skip(if sps.separate_planes { 2 } else { 0 } + sps.frame_num_bits)?;
            header.field = bits.bit()?;
        }
        Some(header)
    }
}

/// Whether a message NAL unit (SEI) says that pictures are right from here on, or soon after.
pub(super) fn has_recovery_point(nal: &[u8]) -> bool {
    let payload = nal.get(1..).unwrap_or_default();
    let payload = without_emulation_prevention(payload.get(..MESSAGES).unwrap_or(payload));
    let mut rest = payload.as_slice();
    // What ends the messages is one byte: 0x80.
    while rest.len() > 2 {
        let Some((kind, behind)) = read_number(rest) else { return false };
        let Some((size, behind)) = read_number(behind) else { return false };
        if kind == RECOVERY_POINT {
            return true;
        }
        let Some(next) = usize::try_from(size).ok().and_then(|size| behind.get(size..)) else { return false };
        rest = next;
    }
    false
}

/// A number as messages write it: as many 0xFF as fit, and the rest.
fn read_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let full = bytes.iter().take_while(|byte| **byte == 0xFF).count();
    let rest = bytes.get(full..)?;
    let (last, behind) = rest.split_first()?;
    let number = u32::try_from(full).ok()?.checked_mul(255)?.checked_add(u32::from(*last))?;
    Some((number, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slice_types() {
        // first_mb 0, slice_type 7 (I), pps 0; slice_type 5 (P); slice_type 6 (B); slice_type 0 (P).
        let parse = |byte, next| SliceHeader::parse(&[0x41, byte, next, 0xFF], None).map(|h| h.slice_type);
        assert_eq!(parse(0b1000_1000, 0b1100_0000), Some(SliceType::I));
        assert_eq!(parse(0b1001_1010, 0), Some(SliceType::P));
        assert_eq!(parse(0b1001_1110, 0), Some(SliceType::B));
        assert_eq!(parse(0b1110_0000, 0), Some(SliceType::P));
        assert_eq!(parse(0b1000_0101, 0b0101_1000), None, "there is no type 20");
        assert_eq!(SliceHeader::parse(&[], None), None);
    }

    #[test]
    fn recovery_points_are_found_behind_other_messages() {
        assert!(has_recovery_point(&[6, 6, 1, 0xC4, 0x80]));
        assert!(has_recovery_point(&[6, 5, 3, 1, 2, 3, 6, 1, 0xC4, 0x80]));
        assert!(!has_recovery_point(&[6, 5, 3, 6, 6, 6, 0x80]));
        assert!(!has_recovery_point(&[6, 5, 200, 6, 1, 0xC4, 0x80]), "longer than the unit");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = has_recovery_point(&bytes);
            let _ = SliceHeader::parse(&bytes, None);
        }
    }
}
