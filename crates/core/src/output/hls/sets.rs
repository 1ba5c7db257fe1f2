//! Parameter sets in front of keyframes, for players that keep to the first header of a playlist.
//!
//! In: the configuration of a track of H.264 or HEVC, and a keyframe. Out: the keyframe with the sets in it. RFC 8216 has a player take the header that each segment names
//! (section 4.3.2.5); libavformat passes over all but the first, and decodes what comes by wrong sets unless others come with the
//! pictures. ISO/IEC 14496-15 wants them in the header alone, so they are repeated only where a header has changed. On the writer's thread.

use bytes::Bytes;
use flowcast_rtmp::flv::tag::Codec;
use flowcast_rtmp::flv::video::VideoCodec;

/// Where avcC and hvcC say how long the lengths before NAL units are: the lower two bits, and one.
const AVCC_LENGTH_SIZE: usize = 4;
const HVCC_LENGTH_SIZE: usize = 21;
/// Bytes of avcC and hvcC before what they list.
const AVCC_FIXED: usize = 5;
const HVCC_FIXED: usize = 22;

/// The parameter sets of a track.
#[derive(Debug, Clone)]
pub(super) struct Sets {
    is_avc: bool,
    /// Bytes of the length before each NAL unit, 1 to 4.
    length_size: usize,
    /// NAL units, each behind its length.
    units: Vec<u8>,
}

impl Sets {
    /// Those of avcC or hvcC; `None` if it has none, or the codec is another one.
    pub(super) fn of(codec: Codec, record: &[u8]) -> Option<Self> {
        match codec {
            Codec::Video(VideoCodec::Avc) => {
                let mut sets = Self::new(true, record.get(AVCC_LENGTH_SIZE)?);
                let mut rest = record.get(AVCC_FIXED..)?;
                // Sequence parameter sets, and picture parameter sets.
                for mask in [0x1F, 0xFF] {
                    let (&count, behind) = rest.split_first()?;
                    rest = sets.take(usize::from(count & mask), behind)?;
                }
                sets.some()
            }
            Codec::Video(VideoCodec::Hevc) => {
                let mut sets = Self::new(false, record.get(HVCC_LENGTH_SIZE)?);
                let (&arrays, mut rest) = record.get(HVCC_FIXED..)?.split_first()?;
                for _ in 0..arrays {
                    let (&[_, high, low], behind) = rest.split_first_chunk()?;
                    rest = sets.take(usize::from(u16::from_be_bytes([high, low])), behind)?;
                }
                sets.some()
            }
            _ => None,
        }
    }

    fn new(is_avc: bool, length_size: &u8) -> Self {
        Self { is_avc, length_size: usize::from(length_size & 3) + 1, units: Vec::new() }
    }

    fn some(self) -> Option<Self> {
        (!self.units.is_empty()).then_some(self)
    }

    /// Takes so many units, each behind its length in two bytes; what follows them.
    fn take<'a>(&mut self, count: usize, mut rest: &'a [u8]) -> Option<&'a [u8]> {
        for _ in 0..count {
            let (&length, behind) = rest.split_first_chunk()?;
            let length = u16::from_be_bytes(length);
            let (unit, behind) = behind.split_at_checked(usize::from(length))?;
            let wide = u32::from(length).to_be_bytes();
            let narrow = wide.get(wide.len() - self.length_size..)?;
            // In one byte there may be no room for it.
            wide.iter().rev().skip(self.length_size).all(|byte| *byte == 0).then_some(())?;
            self.units.extend(narrow);
            self.units.extend(unit);
            rest = behind;
        }
        Some(rest)
    }

    /// The keyframe with the sets in it: behind what says where a picture begins, which nothing may come before. As it is if it brings its own.
    pub(super) fn repeated(&self, keyframe: Bytes) -> Bytes {
        let mut place = 0;
        let mut at = 0;
        while let Some((kind, end)) = self.unit(&keyframe, at) {
            let (delimiter, sets, slices) =
                if self.is_avc { (9, 7..=8, 1..=5) } else { (35, 32..=34, 0..=31) };
            if sets.contains(&kind) {
                return keyframe;
            }
            if slices.contains(&kind) {
                break;
            }
            if kind == delimiter && at == 0 {
                place = end;
            }
            at = end;
        }
        let (before, behind) = keyframe.split_at(place);
        [before, &self.units, behind].concat().into()
    }

    /// The type of the unit that begins here, and where it ends.
    fn unit(&self, data: &[u8], at: usize) -> Option<(u8, usize)> {
        let behind = data.get(at..)?;
        let (length, unit) = behind.split_at_checked(self.length_size)?;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let first = unit.get(..length)?.first()?;
        let kind = if self.is_avc { first & 0x1F } else { first >> 1 & 0x3F };
        Some((kind, at + self.length_size + length))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn avc(length_size: u8) -> Sets {
        let record = [1, 77, 0, 30, 0xFC | (length_size - 1), 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 3];
        Sets::of(Codec::Video(VideoCodec::Avc), &record).unwrap()
    }

    #[test]
    fn sets_go_behind_the_delimiter_and_have_lengths_as_the_others() {
        assert_eq!(
            avc(4).repeated(Bytes::from_static(&[0, 0, 0, 2, 0x65, 9])).as_ref(),
            [0, 0, 0, 3, 0x67, 1, 2, 0, 0, 0, 2, 0x68, 3, 0, 0, 0, 2, 0x65, 9]
        );
        let delimited = Bytes::from_static(&[0, 2, 0x09, 0xF0, 0, 2, 0x65, 9]);
        assert_eq!(
            avc(2).repeated(delimited).as_ref(),
            [0, 2, 0x09, 0xF0, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3, 0, 2, 0x65, 9]
        );
    }

    #[test]
    fn a_keyframe_with_sets_of_its_own_or_without_sense_stays_or_is_whole_behind_them() {
        let own = Bytes::from_static(&[1, 0x06, 2, 0x67, 5, 1, 0x68, 2, 0x65, 9]);
        assert_eq!(avc(1).repeated(own.clone()), own);
        for cut in [&[][..], &[0], &[0, 0, 1], &[0xFF, 0xFF, 0xFF, 0xFF, 0x65]] {
            assert!(avc(4).repeated(Bytes::copy_from_slice(cut)).ends_with(cut));
        }
    }

    #[test]
    fn records_that_are_cut_have_no_sets() {
        let avcc = [1, 77, 0, 30, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 3];
        let hvcc = [&[1; 21][..], &[3, 1, 33, 0, 1, 0, 2, 0x42, 1]].concat();
        for (codec, record) in [(VideoCodec::Avc, &avcc[..]), (VideoCodec::Hevc, &hvcc)] {
            let of = |record: &[u8]| Sets::of(Codec::Video(codec), record);
            assert!(of(record).is_some());
            for end in 0..record.len() {
                assert!(of(&record[..end]).is_none(), "{codec:?} {end}");
            }
        }
        assert!(Sets::of(Codec::Video(VideoCodec::Av1), &[0x81; 20]).is_none());
    }
}
