//! The parameter sets a stream has shown so far, and the hvcC record they make.

use bytes::Bytes;

use super::hvcc::{self, Sps};
use super::{HEADER, NAL_PPS, NAL_SEI_PREFIX, NAL_SEI_SUFFIX, NAL_SPS, NAL_VPS, nal_type};
use crate::bits::BitReader;
use crate::h264::nal_units;

/// What of a stream's NAL units belongs to its configuration, in the order of the record.
const KINDS: [u8; 5] = [NAL_VPS, NAL_SPS, NAL_PPS, NAL_SEI_PREFIX, NAL_SEI_SUFFIX];

/// Parameter sets by their ids, in the order they were first seen, and messages that hold for all of the stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct ParameterSets {
    units: [Vec<(u32, Bytes)>; KINDS.len()],
}

impl ParameterSets {
    /// Takes in a configuration: an hvcC record, or Annex B. True if a parameter set is new or differs from the one with its id.
    pub(crate) fn announce(&mut self, config: &[u8]) -> bool {
        let mut units = Vec::new();
        if hvcc::is_hvcc(config) {
            // Cut-off records leave what could be read.
            let _ = hvcc::each_set(config, |_, unit| units.push(unit));
        } else {
            units.extend(nal_units(config));
        }
        let mut changed = false;
        for unit in units {
            if let Some(kind @ (NAL_SEI_PREFIX | NAL_SEI_SUFFIX)) = nal_type(unit) {
                let list = &mut self.units[if kind == NAL_SEI_PREFIX { 3 } else { 4 }];
                if !list.iter().any(|(_, known)| known.as_ref() == unit) {
                    list.push((0, Bytes::copy_from_slice(unit)));
                }
            } else {
                changed |= self.take(unit);
            }
        }
        changed
    }

    /// Takes in one NAL unit. True if it is a parameter set that is new or differs from the one with its id.
    pub(crate) fn take(&mut self, unit: &[u8]) -> bool {
        let Some(kind @ NAL_VPS..=NAL_PPS) = nal_type(unit) else { return false };
        // Trailing zeros are not part of a parameter set, but a byte stream may have them (Annex B, B.1).
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let set = unit.get(..end).unwrap_or_default();
        let Some(id) = set_id(kind, set) else { return false };
        let Some(list) = self.units.get_mut(usize::from(kind - NAL_VPS)) else { return false };
        match list.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) if known.as_ref() == set => false,
            Some((_, known)) => {
                *known = Bytes::copy_from_slice(set);
                true
            }
            None => {
                list.push((id, Bytes::copy_from_slice(set)));
                true
            }
        }
    }

    /// The hvcC record of all sets, or `None` while one of a kind is missing.
    pub(crate) fn to_hvcc(&self) -> Option<Bytes> {
        let of = |list: &'_ Vec<(u32, Bytes)>| list.iter().map(|(_, unit)| unit.clone()).collect::<Vec<_>>();
        let lists: Vec<Vec<Bytes>> = self.units.iter().map(of).collect();
        let units: Vec<(u8, Vec<&[u8]>)> = KINDS
            .into_iter()
            .zip(&lists)
            .map(|(kind, list)| (kind, list.iter().map(AsRef::as_ref).collect()))
            .collect();
        hvcc::build(&units).map(Bytes::from)
    }
}

/// The id of a parameter set with its header: they go to 15, 15 and 63.
fn set_id(kind: u8, set: &[u8]) -> Option<u32> {
    match kind {
        NAL_VPS => BitReader::new(set.get(HEADER..)?).bits(4),
        NAL_SPS => Sps::parse(set).map(|sps| sps.id),
        _ => BitReader::new(set.get(HEADER..)?).unsigned().filter(|id| *id <= 63),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 160x90, Main, level 2, no VUI but the timing (x265).
    const VPS: [u8; 24] = [
        0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00,
        0x00, 0x03, 0x00, 0x1e, 0x95, 0x98, 0x09,
    ];
    const SPS: [u8; 24] = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
        0x1e, 0xa0, 0x14, 0x20, 0x61, 0x65, 0x95,
    ];
    const PPS: [u8; 6] = [0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62];

    fn annexb(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect()
    }

    #[test]
    fn repeated_sets_are_no_change_and_a_record_says_the_same() {
        let mut sets = ParameterSets::default();
        assert!(sets.announce(&annexb(&[&VPS, &SPS])));
        assert_eq!(sets.to_hvcc(), None);
        assert!(sets.take(&PPS));
        let record = sets.to_hvcc().unwrap();
        assert!(hvcc::is_hvcc(&record) && hvcc::has_sets(&record));
        assert!(!sets.announce(&annexb(&[&VPS, &SPS, &PPS])));
        assert!(!sets.take(&[PPS.as_slice(), &[0, 0]].concat()), "trailing zeros");
        let mut again = ParameterSets::default();
        assert!(again.announce(&record));
        assert_eq!(again.to_hvcc().unwrap(), record);
        assert!(!hvcc::has_sets(&record[..record.len() - 1]));
    }

    #[test]
    fn the_layout_of_the_record() {
        let mut sets = ParameterSets::default();
        sets.announce(&annexb(&[&VPS, &SPS, &PPS]));
        let record = sets.to_hvcc().unwrap();
        assert_eq!(
            record[..23],
            [1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 30, 0xF0, 0, 0xFC, 0xFD, 0xF8, 0xF8, 0, 0, 0x0F, 3]
        );
        assert_eq!(record[23..30], [0x20, 0, 1, 0, 24, 0x40, 0x01]);
    }

    #[test]
    fn a_changed_set_replaces_the_one_with_its_id() {
        let mut sets = ParameterSets::default();
        sets.announce(&annexb(&[&VPS, &SPS, &PPS]));
        let mut other = SPS;
        other[17] = 60;
        assert!(sets.take(&other));
        let record = sets.to_hvcc().unwrap();
        assert_eq!((record[12], record[22]), (60, 3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..96), kind in 32_u8..41) {
            let mut sets = ParameterSets::default();
            sets.announce(&bytes);
            sets.take(&[&[kind << 1, 1], bytes.as_slice()].concat());
            sets.announce(&annexb(&[&VPS, &SPS, &PPS]));
            let _ = sets.to_hvcc();
        }
    }
}
