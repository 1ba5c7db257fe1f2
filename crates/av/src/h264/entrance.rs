//! Whether decoding can start at a picture.
//!
//! In: a packet of NAL units behind their lengths. Out: yes or no, by the units in front of its first slice.

use super::nal_type;
use super::slice::has_recovery_point;

/// `nal_unit_type` of slices that are none of an IDR picture: whole ones, and the first parts of divided ones.
const SLICES: std::ops::RangeInclusive<u8> = 1..=2;
/// `nal_unit_type` of a slice of an IDR picture.
const NAL_IDR: u8 = 5;
/// `nal_unit_type` of messages.
const NAL_SEI: u8 = 6;

/// Whether the picture is an IDR picture, or has a recovery point. The lengths have `length_size` bytes.
pub(crate) fn is_entrance(mut data: &[u8], length_size: usize) -> bool {
    while let Some((prefix, rest)) = data.split_at_checked(length_size).filter(|_| length_size > 0) {
        let length = prefix.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let Some((unit, rest)) = rest.split_at_checked(length) else { return false };
        match nal_type(unit) {
            NAL_IDR => return true,
            NAL_SEI if has_recovery_point(unit) => return true,
            kind if SLICES.contains(&kind) => return false,
            _ => data = rest,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(length_size: usize, units: &[&[u8]]) -> Vec<u8> {
        let mut packet = Vec::new();
        for unit in units {
            packet.extend_from_slice(&unit.len().to_be_bytes()[8 - length_size..]);
            packet.extend_from_slice(unit);
        }
        packet
    }

    #[test]
    fn idr_pictures_and_recovery_points_are_entrances() {
        let (delimiter, idr, slice) = ([9, 0xF0], [0x65, 0x88], [0x41, 0x9A]);
        let (recovery, other) = ([6, 6, 1, 0xC4, 0x80], [6, 5, 1, 0, 0x80]);
        for size in [1, 2, 4] {
            let is = |units: &[&[u8]]| is_entrance(&packet(size, units), size);
            assert!(is(&[&delimiter, &idr]));
            assert!(is(&[&delimiter, &other, &recovery, &slice]));
            assert!(!is(&[&delimiter, &other, &slice]));
            assert!(!is(&[&slice, &recovery, &idr]), "what follows the first slice says nothing");
            assert!(!is(&[&delimiter]) && !is(&[]));
        }
    }

    #[test]
    fn lengths_that_lead_nowhere_are_no_entrance() {
        assert!(!is_entrance(&[0, 0, 0, 9, 0x65], 4));
        assert!(!is_entrance(&[0, 0], 4));
        assert!(!is_entrance(&[0x65, 0x88], 0));
    }
}
