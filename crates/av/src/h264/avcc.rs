//! `AVCDecoderConfigurationRecord` (avcC), ISO/IEC 14496-15, 5.3.3.1.

use super::sps::Sps;
use super::{NAL_PPS, NAL_SPS, nal_type};

/// Whether codec configuration bytes are an avcC record rather than Annex B.
pub(crate) fn is_avcc(config: &[u8]) -> bool {
    config.len() >= 7 && config.first() == Some(&1)
}

/// Where a record says how long the lengths in packets are: its lower two bits, and one.
pub(crate) const LENGTH_SIZE_AT: usize = 4;

/// Whether a record has a sequence and a picture parameter set; those of `avc3` tracks may have them in their packets only.
pub(crate) fn has_sets(record: &[u8]) -> bool {
    let sets = parse(record).map(|record| record.sets).unwrap_or_default();
    let has = |kind| sets.iter().any(|set| set.len() > 1 && nal_type(set) == kind);
    has(NAL_SPS) && has(NAL_PPS)
}

/// The first sequence parameter set of an avcC record.
pub(crate) fn sps_of_avcc(record: &[u8]) -> Option<&[u8]> {
    let [1, _, _, _, _, count, high, low, rest @ ..] = record else { return None };
    if count & 0x1F == 0 {
        return None;
    }
    rest.get(..usize::from(u16::from_be_bytes([*high, *low])))
}

/// What an avcC record holds.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Bytes of the length in front of each NAL unit, 1 to 4.
    pub(crate) length_size: usize,
    /// Sequence and picture parameter sets, in this order. Fewer than it says if it is cut off.
    pub(crate) sets: Vec<&'a [u8]>,
}

/// Takes an avcC record apart. `None` if it is none.
pub(crate) fn parse(record: &[u8]) -> Option<Record<'_>> {
    let [1, _, _, _, lengths, count, rest @ ..] = record else { return None };
    let mut parsed = Record { length_size: usize::from(lengths & 3) + 1, sets: Vec::new() };
    // Cut-off records leave what could be read.
    let _ = read_sets(rest, count & 0x1F, &mut parsed.sets)
        .and_then(|rest| rest.split_first())
        .and_then(|(count, rest)| read_sets(rest, *count, &mut parsed.sets));
    Some(parsed)
}

fn read_sets<'a>(mut rest: &'a [u8], count: u8, sets: &mut Vec<&'a [u8]>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let [high, low, behind @ ..] = rest else { return None };
        let (set, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        sets.push(set);
        rest = behind;
    }
    Some(rest)
}

/// An avcC record with 4-byte lengths, byte for byte as libavformat writes it: with the chroma and depth bytes for every
/// profile but Baseline, Main and Extended.
///
/// `None` if there is no usable SPS, no PPS, or more or longer ones than the record can hold.
pub(crate) fn build(sps: &[&[u8]], pps: &[&[u8]]) -> Option<Vec<u8>> {
    let [first, ..] = sps else { return None };
    let [_, profile, compatibility, level, ..] = **first else { return None };
    if pps.is_empty() || sps.len() > 31 || pps.len() > 255 {
        return None;
    }
    let size: usize = sps.iter().chain(pps).map(|set| set.len() + 2).sum();
    let mut record = Vec::with_capacity(size + 11);
    record.extend_from_slice(&[1, profile, compatibility, level, 0xFF]);
    record.push(0xE0 | u8::try_from(sps.len()).ok()?);
    for set in sps {
        record.extend_from_slice(&u16::try_from(set.len()).ok()?.to_be_bytes());
        record.extend_from_slice(set);
    }
    record.push(u8::try_from(pps.len()).ok()?);
    for set in pps {
        record.extend_from_slice(&u16::try_from(set.len()).ok()?.to_be_bytes());
        record.extend_from_slice(set);
    }
    if !matches!(profile, 66 | 77 | 88) {
        let parsed = Sps::parse(first)?;
        record.push(0xFC | parsed.chroma_format);
        record.push(0xF8 | (parsed.bit_depth_luma - 8));
        record.push(0xF8 | (parsed.bit_depth_chroma - 8));
        record.push(0);
    }
    Some(record)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    const SPS: [u8; 8] = [0x67, 77, 0, 31, 1, 2, 3, 4];
    const PPS: [u8; 3] = [0x68, 0xCE, 0x38];

    #[test]
    fn layout_for_main_profile() {
        let record = build(&[&SPS], &[&PPS]).unwrap();
        assert_eq!(
            record,
            [1, 77, 0, 31, 0xFF, 0xE1, 0, 8, 0x67, 77, 0, 31, 1, 2, 3, 4, 1, 0, 3, 0x68, 0xCE, 0x38]
        );
        assert!(is_avcc(&record));
        assert_eq!(sps_of_avcc(&record), Some(&SPS[..]));
        let parsed = parse(&record).unwrap();
        assert_eq!((parsed.length_size, parsed.sets), (4, vec![&SPS[..], &PPS]));
        for length in 0..record.len() {
            let cut = parse(record.get(..length).unwrap());
            assert!(cut.is_none_or(|record| record.sets.len() < 2));
        }
    }

    #[test]
    fn nothing_is_made_of_too_little() {
        assert!(has_sets(&build(&[&SPS], &[&PPS]).unwrap()) && !has_sets(&[1, 66, 192, 12, 255, 224, 0]));
        assert_eq!(build(&[], &[&PPS]), None);
        assert_eq!(build(&[&SPS], &[]), None);
        assert_eq!(build(&[&[0x67, 77]], &[&PPS]), None);
        assert_eq!(sps_of_avcc(&[1, 77, 0, 31, 0xFF, 0xE1, 0, 9, 1]), None);
    }
}
