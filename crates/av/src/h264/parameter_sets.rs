//! The parameter sets a stream has shown so far, and the avcC record they make.

use bytes::Bytes;

use super::{NAL_PPS, NAL_SPS, annexb, avcc, nal_type};
use crate::bits::BitReader;

/// Sequence and picture parameter sets by their ids, in the order they were first seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct ParameterSets {
    sps: Vec<(u32, Bytes)>,
    pps: Vec<(u32, Bytes)>,
}

impl ParameterSets {
    /// Takes in a configuration: an avcC record, or Annex B. True if a parameter set is new or differs from the one with its id.
    pub(crate) fn announce(&mut self, config: &[u8]) -> bool {
        match avcc::parse(config).filter(|_| avcc::is_avcc(config)) {
            Some(record) => record.sets.into_iter().fold(false, |changed, set| self.take(set) | changed),
            None => self.update(config),
        }
    }

    /// Takes in the parameter sets of Annex B bytes. True if one is new or differs from the one with its id.
    pub(crate) fn update(&mut self, annexb: &[u8]) -> bool {
        let mut changed = false;
        for unit in annexb::nal_units(annexb) {
            changed |= self.take(unit);
        }
        changed
    }

    /// Takes in one NAL unit. True if it is a parameter set that is new or differs from the one with its id.
    pub(crate) fn take(&mut self, unit: &[u8]) -> bool {
        let list = match nal_type(unit) {
            NAL_SPS => &mut self.sps,
            NAL_PPS => &mut self.pps,
            _ => return false,
        };
        // Trailing zeros are not part of a parameter set, but a byte stream may have them (Annex B, B.1).
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let set = unit.get(..end).unwrap_or_default();
        let Some(id) = set_id(set) else { return false };
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

    /// Whether there is an SPS and a PPS.
    pub(crate) fn are_complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// The avcC record of all sets, or `None` while an SPS or a PPS is missing.
    pub(crate) fn to_avcc(&self) -> Option<Bytes> {
        let sps: Vec<&[u8]> = self.sps.iter().map(|(_, set)| set.as_ref()).collect();
        let pps: Vec<&[u8]> = self.pps.iter().map(|(_, set)| set.as_ref()).collect();
        avcc::build(&sps, &pps).map(Bytes::from)
    }
}

/// `seq_parameter_set_id` or `pic_parameter_set_id`: ids go to 31 and 255.
fn set_id(set: &[u8]) -> Option<u32> {
    let (payload, limit) = match nal_type(set) {
        NAL_SPS => (set.get(4..)?, 31),
        _ => (set.get(1..)?, 255),
    };
    BitReader::new(payload).unsigned().filter(|id| *id <= limit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    /// Main profile, level 3.1, id 0.
    const SPS: [u8; 9] = [0, 0, 0, 1, 0x67, 77, 0, 31, 0x95];
    const PPS: [u8; 8] = [0, 0, 0, 1, 0x68, 0xCE, 0x38, 0x80];

    #[test]
    fn repeated_sets_are_no_change() {
        let mut sets = ParameterSets::default();
        assert!(sets.update(&SPS));
        assert_eq!(sets.to_avcc(), None);
        assert!(sets.update(&PPS));
        let record = sets.to_avcc().unwrap();
        assert!(!sets.update(&[SPS.as_slice(), &PPS].concat()));
        assert_eq!(sets.to_avcc().unwrap(), record);
    }

    #[test]
    fn a_changed_set_replaces_the_one_with_its_id() {
        let mut sets = ParameterSets::default();
        assert!(sets.update(&[SPS.as_slice(), &PPS].concat()));
        let mut other = SPS;
        other[7] = 40;
        assert!(sets.update(&other));
        let record = sets.to_avcc().unwrap();
        assert_eq!(record.get(3), Some(&40));
        assert_eq!(record.get(5), Some(&0xE1));
    }

    #[test]
    fn trailing_zeros_are_no_change() {
        let mut sets = ParameterSets::default();
        assert!(sets.update(&[SPS.as_slice(), &PPS].concat()));
        assert!(!sets.update(&[SPS.as_slice(), &[0, 0, 0], &PPS].concat()));
    }
}
