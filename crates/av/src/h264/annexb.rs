//! Annex B byte streams: splitting at start codes, and rewriting with length prefixes.

/// Whether `data` starts with a start code of 3 or 4 bytes.
pub(crate) fn is_annexb(data: &[u8]) -> bool {
    data.starts_with(&[0, 0, 1]) || data.starts_with(&[0, 0, 0, 1])
}

/// The NAL units of an Annex B byte stream, without start codes. Bytes before the first start code are no NAL unit.
///
/// One zero byte before a start code belongs to the start code; more than one stay with the unit, as in libavformat, so that
/// what is made of the units equals what its FLV muxer writes. Units without a byte are left out.
pub(crate) fn nal_units(data: &[u8]) -> NalUnits<'_> {
    NalUnits { data, next: find_start_code(data, 0).map(|code| code + 3) }
}

/// See [`nal_units`].
#[derive(Debug, Clone)]
pub(crate) struct NalUnits<'a> {
    data: &'a [u8],
    /// Where the next unit starts; `None` at the end.
    next: Option<usize>,
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let start = self.next?;
            let end = match find_start_code(self.data, start) {
                Some(code) => {
                    self.next = Some(code + 3);
                    let long = code > start && self.data.get(code - 1) == Some(&0);
                    if long { code - 1 } else { code }
                }
                None => {
                    self.next = None;
                    self.data.len()
                }
            };
            let unit = self.data.get(start..end)?;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    }
}

/// Where the next `00 00 01` at or after `from` begins. One at the very end of the data, with no unit after it, does not count.
pub(crate) fn find_start_code(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at + 3 < data.len() {
        // Looks at the last byte first: most bytes are above 1 and let three positions be skipped.
        match data.get(at..at + 3)? {
            [_, _, third] if *third > 1 => at += 3,
            [0, 0, 1] => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// The same NAL units, each behind its length as 4 bytes, big endian: the form of MP4 and FLV.
pub(crate) fn to_length_prefixed(data: &[u8]) -> Vec<u8> {
    // A 3-byte start code grows by one byte; 32 such units fit before this has to grow.
    let mut out = Vec::with_capacity(data.len() + 32);
    for unit in nal_units(data) {
        // A packet is below 2 GiB (libav's sizes are `int`), so the length fits.
        let length = u32::try_from(unit.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(unit);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn units(data: &[u8]) -> Vec<&[u8]> {
        nal_units(data).collect()
    }

    #[test]
    fn splits_at_both_start_codes() {
        assert_eq!(units(&[0, 0, 0, 1, 9, 1, 0, 0, 1, 7, 2, 3]), [&[9, 1][..], &[7, 2, 3]]);
        assert_eq!(units(&[0, 0, 1, 9, 1, 0, 0, 0, 1, 7]), [&[9, 1][..], &[7]]);
    }

    #[test]
    fn garbage_before_the_first_start_code_is_dropped() {
        assert_eq!(units(&[5, 5, 0, 0, 1, 9]), [&[9][..]]);
        assert_eq!(units(&[5, 5, 5]).len(), 0);
    }

    #[test]
    fn a_start_code_at_the_end_is_data() {
        assert_eq!(units(&[0, 0, 1, 9, 0, 0, 1]), [&[9, 0, 0, 1][..]]);
    }

    #[test]
    fn empty_units_are_left_out() {
        assert_eq!(units(&[0, 0, 1, 0, 0, 1, 9]), [&[9][..]]);
    }

    /// The plain reading of the rule, to hold the skipping search against.
    fn slow_start_code(data: &[u8], from: usize) -> Option<usize> {
        (from..data.len().saturating_sub(3)).find(|&at| data[at..at + 3] == [0, 0, 1])
    }

    proptest! {
        #[test]
        fn search_equals_the_plain_search(data in vec(0_u8..4, 0..64), from in 0_usize..8) {
            prop_assert_eq!(find_start_code(&data, from), slow_start_code(&data, from));
        }

        #[test]
        fn units_survive_the_round_trip(
            parts in vec((vec(2_u8.., 1..40), any::<bool>()), 1..20),
        ) {
            let mut stream = Vec::new();
            for (unit, long) in &parts {
                stream.extend_from_slice(if *long { &[0, 0, 0, 1][..] } else { &[0, 0, 1] });
                stream.extend_from_slice(unit);
            }
            let mut expected = Vec::new();
            for (unit, _) in &parts {
                expected.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
                expected.extend_from_slice(unit);
            }
            // Units of bytes above 1 hold no start code; the last one of a length below 1 cannot occur.
            prop_assert_eq!(to_length_prefixed(&stream), expected);
        }

        #[test]
        fn any_bytes_are_accepted(data in vec(any::<u8>(), 0..512)) {
            let total: usize = nal_units(&data).map(<[u8]>::len).sum();
            prop_assert!(total <= data.len());
            prop_assert_eq!(to_length_prefixed(&data).len(), total + 4 * nal_units(&data).count());
        }
    }
}
