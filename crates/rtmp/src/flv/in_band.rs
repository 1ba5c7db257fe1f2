//! Sequence headers of H.264 and HEVC made from the parameter sets that keyframes bring themselves (`avc3`, `hev1`).
//!
//! In: keyframes of one track whose own header has no parameter sets. Out: the header that has to go before a keyframe, with the
//! lengths before NAL units as the publisher has them.

use bytes::Bytes;

use super::bits::BitReader;
use super::coded::{Part, coded_track};
use super::enhanced;
use super::sps::{self, Sps, without_emulation_prevention};
use super::video::VideoCodec;
use super::{Tag, TagBody, TagKind};

/// Bytes of all parameter sets that are kept of a track. Those of usual encoders have less than 200.
const MOST_BYTES: usize = 16 << 10;
/// Sequence parameter sets that an avcC record can hold.
const MOST_SPS: usize = 31;
/// Where avcC and hvcC say how long the lengths before NAL units are: the lower two bits, and one.
const AVCC_LENGTH_SIZE: usize = 4;
const HVCC_LENGTH_SIZE: usize = 21;
/// Bytes of the length before a NAL unit where no header says it.
const USUAL_LENGTH_SIZE: u8 = 4;

/// The parameter sets that the keyframes of a track have brought.
#[derive(Clone, Debug)]
pub struct InBandSets {
    codec: VideoCodec,
    /// Bytes of the length before each NAL unit, 1 to 4.
    length_size: u8,
    /// By kind (video, sequence, picture parameter sets) and id, in the order they were first seen.
    sets: [Vec<(u32, Bytes)>; 3],
    /// There is something that the last header does not say.
    changed: bool,
}

impl InBandSets {
    /// None yet. `None` for codecs whose parameter sets are not read: all but H.264 and HEVC.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Option<Self> {
        matches!(codec, VideoCodec::Avc | VideoCodec::Hevc).then(|| Self {
            codec,
            length_size: USUAL_LENGTH_SIZE,
            sets: [const { Vec::new() }; 3],
            changed: false,
        })
    }

    /// The codec of the track.
    #[must_use]
    pub const fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Takes the size of the lengths from a header without parameter sets; other tags say nothing.
    pub fn announce(&mut self, header: &Tag) {
        let Some(Part::Config(record)) = coded_track(header, header.track()).map(|coded| coded.part) else {
            return;
        };
        let at = if self.codec == VideoCodec::Avc { AVCC_LENGTH_SIZE } else { HVCC_LENGTH_SIZE };
        if let (Some(1), Some(byte)) = (record.first(), record.get(at)) {
            let length_size = (byte & 3).saturating_add(1);
            self.changed |= length_size != self.length_size;
            self.length_size = length_size;
        }
    }

    /// Takes in a keyframe. Returns the sequence header that has to go before it, in the form the keyframe's tag has: `None` while
    /// a parameter set is missing, and if the last header says it all. A tag whose NAL units do not fill it exactly brings nothing.
    #[must_use]
    pub fn take(&mut self, keyframe: &Tag) -> Option<Tag> {
        let coded = coded_track(keyframe, keyframe.track())?;
        let Part::Frames { data, .. } = coded.part else { return None };
        each_unit(&data, self.length_size, |_| ())?;
        each_unit(&data, self.length_size, |unit| self.take_unit(unit))?;
        if !self.changed {
            return None;
        }
        let record = if self.codec == VideoCodec::Avc { self.to_avcc() } else { self.to_hvcc() }?;
        let header = self.header(keyframe, &record)?;
        self.changed = false;
        Some(header)
    }

    fn take_unit(&mut self, unit: &[u8]) {
        // Trailing zeros are not part of a parameter set.
        let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
        let set = || unit.get(..end).unwrap_or_default();
        let found = match self.codec {
            VideoCodec::Avc => avc_place(unit.first().copied(), set),
            _ => hevc_place(unit.first().copied(), set),
        };
        let Some((kind, id)) = found else { return };
        let kept: usize = self.sets.iter().flatten().map(|(_, set)| set.len()).sum();
        let Some(list) = self.sets.get_mut(kind) else { return };
        let set = set();
        let is_full = kind == 1 && list.len() >= MOST_SPS;
        let known = list.iter_mut().find(|(known, _)| *known == id);
        if known.as_ref().is_some_and(|(_, known)| known.as_ref() == set) {
            return;
        }
        let replaced = known.as_ref().map_or(0, |(_, known)| known.len());
        if kept.saturating_sub(replaced).saturating_add(set.len()) > MOST_BYTES {
            return;
        }
        match known {
            Some((_, known)) => *known = Bytes::copy_from_slice(set),
            None if is_full => return,
            None => list.push((id, Bytes::copy_from_slice(set))),
        }
        self.changed = true;
    }

    /// ISO/IEC 14496-15 section 5.3.3.1; `None` while a kind is missing.
    fn to_avcc(&self) -> Option<Vec<u8>> {
        let [_, sps, pps] = &self.sets;
        let (_, first) = sps.first()?;
        let &[_, profile, compatibility, level] = first.first_chunk()?;
        let mut record = vec![1, profile, compatibility, level, 0xFC | self.length_size.checked_sub(1)?];
        record.push(0xE0 | u8::try_from(sps.len()).ok()?);
        put_sets(&mut record, sps)?;
        if pps.is_empty() {
            return None;
        }
        record.push(u8::try_from(pps.len()).ok()?);
        put_sets(&mut record, pps)?;
        if let Some([chroma, luma_depth, chroma_depth]) = sps::chroma_and_depths(first) {
            record.extend([0xFC | chroma, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0]);
        }
        Some(record)
    }

    /// ISO/IEC 14496-15 section 8.3.3.1; `None` while a kind is missing. Its facts about pictures are those of the first sequence
    /// parameter set.
    fn to_hvcc(&self) -> Option<Vec<u8>> {
        let [_, sps, _] = &self.sets;
        let HevcSps { profile_tier_level, layers, nested, chroma, luma_depth, chroma_depth, .. } =
            HevcSps::parse(&sps.first()?.1)?;
        let mut record = vec![1];
        record.extend(profile_tier_level);
        record.extend([0xF0, 0, 0xFC, 0xFC | chroma, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0, 0]);
        let layers = layers.checked_add(1)?.checked_shl(3)?;
        record.extend([layers | u8::from(nested) << 2 | self.length_size.checked_sub(1)?, 3]);
        for (kind, list) in (32_u8..).zip(&self.sets) {
            if list.is_empty() {
                return None;
            }
            record.push(kind);
            record.extend(u16::try_from(list.len()).ok()?.to_be_bytes());
            put_sets(&mut record, list)?;
        }
        Some(record)
    }

    /// The record as a header of the track and in the form of `keyframe`.
    fn header(&self, keyframe: &Tag, record: &[u8]) -> Option<Tag> {
        let four_cc = if self.codec == VideoCodec::Avc { b"avc1" } else { b"hvc1" };
        let mut body = Vec::with_capacity(record.len().saturating_add(8));
        match (enhanced::is_enhanced(keyframe.kind, &keyframe.body), keyframe.track()) {
            (false, _) => body.extend([0x10 | keyframe.body.byte(0)? & 0x0F, 0, 0, 0, 0]),
            (true, 0) => {
                body.push(0x90);
                body.extend(four_cc);
            }
            (true, track) => {
                body.extend([0x96, 0]);
                body.extend(four_cc);
                body.push(track);
            }
        }
        body.extend(record);
        Some(Tag::with_body(TagKind::Video, keyframe.timestamp, TagBody::new(Bytes::from(body))))
    }
}

/// Calls `f` with the NAL units behind length fields of this many bytes. `None` if they do not fill the data exactly.
fn each_unit(mut data: &[u8], length_size: u8, mut f: impl FnMut(&[u8])) -> Option<()> {
    while !data.is_empty() {
        let (prefix, rest) = data.split_at_checked(usize::from(length_size))?;
        let length = prefix.iter().fold(0_u32, |length, &byte| length << 8 | u32::from(byte));
        let (unit, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        f(unit);
        data = rest;
    }
    Some(())
}

fn put_sets(record: &mut Vec<u8>, sets: &[(u32, Bytes)]) -> Option<()> {
    for (_, set) in sets {
        record.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
        record.extend_from_slice(set);
    }
    Some(())
}

/// Kind and id of a parameter set of H.264, sections 7.3.2.1 and 7.3.2.2; `None` for other NAL units.
fn avc_place<'a>(first: Option<u8>, set: impl Fn() -> &'a [u8]) -> Option<(usize, u32)> {
    match first? & 0x9F {
        7 => {
            Sps::parse(set()).ok()?;
            let id = BitReader::new(set().get(4..)?).unsigned().filter(|&id| id <= 31)?;
            Some((1, id))
        }
        8 => {
            let mut bits = BitReader::new(set().get(1..)?);
            let id = bits.unsigned().filter(|&id| id <= 255)?;
            bits.unsigned().filter(|&sps| sps <= 31)?;
            // 255 is the most that the record can count.
            (id < 255).then_some((2, id))
        }
        _ => None,
    }
}

/// Kind and id of a parameter set of HEVC, sections 7.3.2.1 to 7.3.2.3; `None` for other NAL units and other layers than the base.
fn hevc_place<'a>(first: Option<u8>, set: impl Fn() -> &'a [u8]) -> Option<(usize, u32)> {
    let first = first?;
    if !matches!(first, 0x40 | 0x42 | 0x44) {
        return None;
    }
    let (&[_, second], payload) = set().split_first_chunk()?;
    if second & 0xF8 != 0 {
        return None;
    }
    match first >> 1 {
        32 => Some((0, BitReader::new(payload).bits(4)?)),
        33 => Some((1, HevcSps::parse(set())?.id)),
        _ => {
            let mut bits = BitReader::new(payload);
            let id = bits.unsigned().filter(|&id| id <= 63)?;
            bits.unsigned().filter(|&sps| sps <= 15)?;
            Some((2, id))
        }
    }
}

/// The fields of hvcC that come from a sequence parameter set of HEVC.
struct HevcSps {
    id: u32,
    /// `general_profile_space` to `general_level_idc`.
    profile_tier_level: [u8; 12],
    /// Temporal sub-layers, less one.
    layers: u8,
    nested: bool,
    chroma: u8,
    /// Bits of a sample, less eight.
    luma_depth: u8,
    chroma_depth: u8,
}

impl HevcSps {
    /// Reads section 7.3.2.2.1 up to the bit depths; the header of the NAL unit included.
    fn parse(nal: &[u8]) -> Option<Self> {
        let payload = without_emulation_prevention(nal.get(2..)?);
        let (&[first], rest) = payload.split_first_chunk()?;
        let &profile_tier_level = rest.first_chunk::<12>()?;
        let mut bits = BitReader::new(rest.get(12..)?);
        let layers = first >> 1 & 7;
        sub_layers(&mut bits, layers)?;
        let id = bits.unsigned().filter(|&id| id <= 15)?;
        let chroma = bits.unsigned().filter(|&format| format <= 3)?;
        if chroma == 3 {
            bits.skip(1)?;
        }
        let (width, height) = (bits.unsigned()?, bits.unsigned()?);
        if width == 0 || height == 0 {
            return None;
        }
        if bits.bit()? {
            for _ in 0..4 {
                bits.unsigned()?;
            }
        }
        let mut depth = || bits.unsigned().and_then(|depth| u8::try_from(depth).ok()).filter(|&d| d <= 7);
        let (luma_depth, chroma_depth) = (depth()?, depth()?);
        let chroma = u8::try_from(chroma).ok()?;
        Some(Self {
            id,
            profile_tier_level,
            layers,
            nested: first & 1 == 1,
            chroma,
            luma_depth,
            chroma_depth,
        })
    }
}

/// Section 7.3.3, the part of the sub-layers.
fn sub_layers(bits: &mut BitReader<'_>, layers: u8) -> Option<()> {
    if layers == 0 {
        return Some(());
    }
    if layers > 6 {
        return None;
    }
    // Two flags for each of eight, some of which are reserved.
    let flags = bits.bits(16)?;
    for layer in 0..u32::from(layers) {
        let present = flags.checked_shr(14_u32.checked_sub(layer.checked_mul(2)?)?)? & 3;
        bits.skip(if present & 2 != 0 { 88 } else { 0 })?;
        bits.skip(if present & 1 != 0 { 8 } else { 0 })?;
    }
    Some(())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a failed test may panic"
)]
mod tests {
    use super::super::AvcConfig;
    use super::*;
    use crate::time::MediaTime;

    /// 320x180, baseline, level 1.3.
    const SPS: &[u8] = &[0x67, 66, 0xC0, 13, 0xDA, 5, 0x06, 0xC4];
    const PPS: &[u8] = &[0x68, 0xCE, 0x3C, 0x80];
    const IDR: &[u8] = &[0x65, 0x88, 0x84, 0];
    /// 160x90, Main, level 1, of x265.
    const HEVC: [&[u8]; 3] = [
        &[
            0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03,
            0x00, 0x00, 0x03, 0x00, 0x1e, 0x95, 0x98, 0x09,
        ],
        &[
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
            0x00, 0x1e, 0xa0, 0x14, 0x20, 0x61, 0x65, 0x95,
        ],
        &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62],
    ];

    fn keyframe(head: &[u8], length_size: usize, units: &[&[u8]]) -> Tag {
        let mut body = head.to_vec();
        for unit in units {
            body.extend(&(unit.len() as u32).to_be_bytes()[4 - length_size..]);
            body.extend(*unit);
        }
        Tag::from_wire(TagKind::Video, MediaTime::from_millis(40), Bytes::from(body))
    }

    fn header(body: &[u8]) -> Tag {
        Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::copy_from_slice(body))
    }

    #[test]
    fn a_keyframe_with_sets_makes_the_header_of_its_form() {
        for (head, made) in [
            (&b"\x17\x01\0\0\0"[..], &b"\x17\0\0\0\0"[..]),
            (b"\x91avc1\0\0\0", b"\x90avc1"),
            (b"\x93avc1", b"\x90avc1"),
            (b"\x96\x01avc1\x02\0\0\0", b"\x96\0avc1\x02"),
        ] {
            let mut sets = InBandSets::new(VideoCodec::Avc).unwrap();
            let tag = keyframe(head, 4, &[SPS, PPS, IDR]);
            let header = sets.take(&tag).unwrap();
            assert!(header.is_sequence_header() && header.track() == tag.track());
            assert_eq!(header.timestamp, tag.timestamp);
            let body = header.body.to_bytes();
            assert_eq!(&body[..made.len()], made);
            let config = AvcConfig::parse(&body.slice(made.len()..)).unwrap();
            assert_eq!((config.profile, config.level, config.nal_length_size), (66, 13, 4));
            assert_eq!(
                (config.sps, config.pps),
                (vec![Bytes::from_static(SPS)], vec![Bytes::from_static(PPS)])
            );
            assert_eq!(sets.take(&tag), None, "the same sets");
        }
    }

    #[test]
    fn lengths_are_as_the_empty_header_says() {
        for length_size in 1..=4 {
            let mut sets = InBandSets::new(VideoCodec::Avc).unwrap();
            let size = 0xFC | (length_size - 1);
            sets.announce(&header(&[0x17, 0, 0, 0, 0, 1, 66, 0xC0, 13, size, 0xE0, 0]));
            let header =
                sets.take(&keyframe(b"\x17\x01\0\0\0", length_size.into(), &[SPS, PPS, IDR])).unwrap();
            let config = AvcConfig::parse(&header.body.to_bytes().slice(5..)).unwrap();
            assert_eq!(config.nal_length_size, length_size);
        }
    }

    #[test]
    fn changed_sets_make_another_header() {
        let mut sets = InBandSets::new(VideoCodec::Avc).unwrap();
        let head = b"\x17\x01\0\0\0";
        assert_eq!(sets.take(&keyframe(head, 4, &[SPS, IDR])), None, "no picture parameter set yet");
        assert!(sets.take(&keyframe(head, 4, &[PPS, IDR])).is_some());
        let mut other = SPS.to_vec();
        other[3] = 30;
        let header = sets.take(&keyframe(head, 4, &[&other, PPS, IDR])).unwrap();
        let config = AvcConfig::parse(&header.body.to_bytes().slice(5..)).unwrap();
        assert_eq!((config.level, config.sps.len()), (30, 1));
    }

    #[test]
    fn hevc_has_video_parameter_sets_too() {
        for (head, made) in [(&b"\x1c\x01\0\0\0"[..], &b"\x1c\0\0\0\0"[..]), (b"\x91hvc1\0\0\0", b"\x90hvc1")]
        {
            let mut sets = InBandSets::new(VideoCodec::Hevc).unwrap();
            assert_eq!(sets.take(&keyframe(head, 4, &HEVC[1..])), None, "no video parameter set yet");
            let header = sets.take(&keyframe(head, 4, &[HEVC[0], &[0x26, 1, 9]])).unwrap();
            let body = header.body.to_bytes();
            assert_eq!(&body[..5], made);
            let fixed = [
                1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 30, 0xF0, 0, 0xFC, 0xFD, 0xF8, 0xF8, 0, 0, 0x0F, 3,
            ];
            assert_eq!(body[5..28], fixed);
            assert_eq!(body[28..34], [32, 0, 1, 0, 24, 0x40]);
            assert_eq!(body.len(), 28 + 3 * 5 + 24 + 24 + 6);
        }
    }

    #[test]
    fn garbage_makes_no_header() {
        let head = b"\x17\x01\0\0\0";
        for units in [
            &[&[0x67, 66][..], PPS][..],
            &[&[0x67, 0, 0, 0, 0, 0, 0, 0], PPS],
            &[SPS, &[0x68]],
            &[SPS, &[0x68, 0, 0, 0, 0]],
            &[IDR],
            &[],
        ] {
            let mut sets = InBandSets::new(VideoCodec::Avc).unwrap();
            assert_eq!(sets.take(&keyframe(head, 4, units)), None, "{units:?}");
        }
        let mut sets = InBandSets::new(VideoCodec::Avc).unwrap();
        let whole = keyframe(head, 4, &[SPS, PPS, IDR]).body.to_bytes();
        for end in 5..whole.len() {
            let is_at_a_seam = [5, 17, 25].contains(&end);
            let header = sets.take(&header(&whole[..end]));
            assert!(header.is_none() || is_at_a_seam, "cut off at {end}");
        }
        for first in 0..=255 {
            for kind in [VideoCodec::Avc, VideoCodec::Hevc] {
                let mut sets = InBandSets::new(kind).unwrap();
                let noise: Vec<u8> = (0..60_u8).map(|n| n.wrapping_mul(first).wrapping_add(n >> 3)).collect();
                let unit = [&[first], &noise[..]].concat();
                let head: &[u8] = if kind == VideoCodec::Avc { head } else { b"\x1c\x01\0\0\0" };
                let _ = sets.take(&keyframe(head, 4, &[&unit, &noise]));
            }
        }
        assert!(InBandSets::new(VideoCodec::Av1).is_none());
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut sets = InBandSets::new(VideoCodec::Avc).unwrap();
        let large = [PPS, &[1; 15_000]].concat();
        let mut other = large.clone();
        // Number 1 instead of 0.
        other[1] = 0x5C;
        let header = sets.take(&keyframe(b"\x17\x01\0\0\0", 4, &[SPS, &large, &other, IDR])).unwrap();
        assert!(header.body.len() < MOST_BYTES + 64);
    }
}
