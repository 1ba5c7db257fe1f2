//! AV1 without decoding: its units (OBUs), its sequence header, and the configuration record av1C. Safe Rust, no libav.
//!
//! References are to the AV1 bitstream specification and to "AV1 Codec ISO Media File Format Binding".

use bytes::Bytes;

use crate::bits::BitReader;

/// `obu_type` (6.2.2).
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const METADATA: u8 = 5;
const REDUNDANT_FRAME_HEADER: u8 = 7;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// Whether codec configuration bytes are an av1C record rather than OBUs: its first bit is set, which an OBU's never is.
pub(crate) fn is_av1c(config: &[u8]) -> bool {
    config.len() >= 4 && config.first() == Some(&0x81)
}

/// One unit of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Obu<'a> {
    kind: u8,
    /// With its header.
    start: usize,
    end: usize,
    payload: &'a [u8],
}

/// The units of a packet; ends where one is cut off.
fn obus(data: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let obu = obu(data, next)?;
        next = obu.end;
        Some(obu)
    })
}

fn obu(data: &[u8], start: usize) -> Option<Obu<'_>> {
    let header = *data.get(start)?;
    let mut at = start + 1 + usize::from(header & 4 != 0);
    let size = if header & 2 != 0 {
        let (size, length) = leb128(data.get(at..)?)?;
        at += length;
        size
    } else {
        data.len().checked_sub(at)?
    };
    let end = at.checked_add(size)?;
    Some(Obu { kind: header >> 3 & 0x0F, start, end, payload: data.get(at..end)? })
}

/// How many units a packet holds; counts to one more than `most`.
pub(crate) fn count(data: &[u8], most: usize) -> usize {
    obus(data).take(most.saturating_add(1)).count()
}

/// A number in as many bytes as it needs (4.10.5), and their count.
fn leb128(data: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (index, byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, index + 1));
        }
    }
    None
}

/// The packet without what MP4 has no place for: temporal delimiters, repeated headers, tile lists, padding. Not copied where
/// these are only at its beginning.
pub(crate) fn without_delimiters(data: &Bytes) -> Bytes {
    let is_left_out =
        |kind| matches!(kind, TEMPORAL_DELIMITER | REDUNDANT_FRAME_HEADER | TILE_LIST | PADDING);
    let begin = obus(data).find(|obu| !is_left_out(obu.kind)).map_or(0, |obu| obu.start);
    let rest = data.slice(begin..);
    if !obus(&rest).any(|obu| is_left_out(obu.kind)) {
        return rest;
    }
    let mut out = Vec::with_capacity(rest.len());
    let mut read = 0;
    for obu in obus(&rest) {
        read = obu.end;
        if !is_left_out(obu.kind) {
            out.extend_from_slice(rest.get(obu.start..obu.end).unwrap_or_default());
        }
    }
    // What cannot be read is not ours to judge.
    out.extend_from_slice(rest.get(read..).unwrap_or_default());
    Bytes::from(out)
}

/// The fields of the record that come from a sequence header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sequence {
    profile: u32,
    level: u32,
    tier: u32,
    high_depth: bool,
    twelve_bits: bool,
    monochrome: bool,
    subsampling: (bool, bool),
    sample_position: u32,
    size: (u32, u32),
}

impl Sequence {
    /// Parses a sequence header without its OBU header (5.5.1).
    fn parse(payload: &[u8]) -> Option<Self> {
        let bits = &mut BitReader::new(payload);
        let profile = bits.bits(3)?;
        let _still = bits.bit()?;
        let reduced = bits.bit()?;
        let (mut level, mut tier) = (0, 0);
        if reduced {
            level = bits.bits(5)?;
        } else {
            let delay_bits = skip_timing(bits)?;
            let display_delay = bits.bit()?;
            for point in 0..=bits.bits(5)? {
                bits.skip(12)?;
                let own_level = bits.bits(5)?;
                let own_tier = if own_level > 7 { bits.bits(1)? } else { 0 };
                if point == 0 {
                    (level, tier) = (own_level, own_tier);
                }
                if let Some(length) = delay_bits
                    && bits.bit()?
                {
                    bits.skip(2 * length + 1)?;
                }
                if display_delay && bits.bit()? {
                    bits.skip(4)?;
                }
            }
        }
        let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
        let size = (bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
        if !reduced && bits.bit()? {
            bits.skip(7)?;
        }
        bits.skip(3)?;
        if !reduced {
            skip_tools(bits)?;
        }
        bits.skip(3)?;
        let mut sequence = Self {
            profile,
            level,
            tier,
            high_depth: bits.bit()?,
            twelve_bits: false,
            monochrome: false,
            subsampling: (true, true),
            sample_position: 0,
            size,
        };
        sequence.read_color(bits)?;
        Some(sequence)
    }

    /// The rest of `color_config` (5.5.2).
    fn read_color(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.twelve_bits = self.profile == 2 && self.high_depth && bits.bit()?;
        self.monochrome = self.profile != 1 && bits.bit()?;
        let color = if bits.bit()? { (bits.bits(8)?, bits.bits(8)?, bits.bits(8)?) } else { (2, 2, 2) };
        if self.monochrome {
            return Some(());
        }
        // sRGB has neither a range nor less of the colours.
        if color == (1, 13, 0) {
            self.subsampling = (false, false);
            return Some(());
        }
        let _range = bits.bit()?;
        self.subsampling = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if self.twelve_bits => {
                let across = bits.bit()?;
                (across, across && bits.bit()?)
            }
            _ => (true, false),
        };
        if self.subsampling == (true, true) {
            self.sample_position = bits.bits(2)?;
        }
        Some(())
    }

    /// The first bytes of the record.
    fn head(&self) -> [u8; 4] {
        let byte = |value: u32| u8::try_from(value).unwrap_or(0);
        let flags = u8::from(self.high_depth) << 6
            | u8::from(self.twelve_bits) << 5
            | u8::from(self.monochrome) << 4
            | u8::from(self.subsampling.0) << 3
            | u8::from(self.subsampling.1) << 2;
        let tier = byte(self.tier) << 7;
        [0x81, byte(self.profile) << 5 | byte(self.level), tier | flags | byte(self.sample_position), 0]
    }
}

/// Skips `timing_info` and `decoder_model_info` (5.5.3, 5.5.4); the bits of a delay, if the second is there.
fn skip_timing(bits: &mut BitReader<'_>) -> Option<Option<u32>> {
    if !bits.bit()? {
        return Some(None);
    }
    bits.skip(64)?;
    if bits.bit()? {
        let mut zeros = 0;
        while !bits.bit()? {
            zeros += 1;
        }
        bits.skip(if zeros < 32 { zeros } else { 0 })?;
    }
    if !bits.bit()? {
        return Some(None);
    }
    let length = bits.bits(5)? + 1;
    bits.skip(42)?;
    Some(Some(length))
}

/// Skips which tools the pictures use.
fn skip_tools(bits: &mut BitReader<'_>) -> Option<()> {
    bits.skip(4)?;
    let order_hint = bits.bit()?;
    if order_hint {
        bits.skip(2)?;
    }
    let screen_content = bits.bit()? || bits.bit()?;
    if screen_content && !bits.bit()? {
        bits.skip(1)?;
    }
    if order_hint {
        bits.skip(3)?;
    }
    Some(())
}

/// The sequence header in OBUs.
fn sequence(data: &[u8]) -> Option<Sequence> {
    obus(data).find(|obu| obu.kind == SEQUENCE_HEADER).and_then(|obu| Sequence::parse(obu.payload))
}

/// An av1C record of the sequence header in `data`, byte for byte as libavformat writes it; the metadata is that of a
/// configuration. `None` if there is no sequence header that can be read.
pub(crate) fn build(data: &[u8], with_metadata: bool) -> Option<Bytes> {
    let mut record = sequence(data)?.head().to_vec();
    for kind in [SEQUENCE_HEADER, METADATA] {
        let wanted = kind == SEQUENCE_HEADER || with_metadata;
        for obu in
            obus(data).filter(|obu| wanted && obu.kind == kind).take(if kind == METADATA { 16 } else { 1 })
        {
            push_sized(&mut record, data, obu);
        }
    }
    Some(Bytes::from(record))
}

/// A unit with its size, which records want and the last of a packet may lack.
fn push_sized(record: &mut Vec<u8>, data: &[u8], obu: Obu<'_>) {
    let bytes = data.get(obu.start..obu.end).unwrap_or_default();
    let Some(header) = bytes.first() else { return };
    if header & 2 != 0 {
        return record.extend_from_slice(bytes);
    }
    record.push(header | 2);
    if header & 4 != 0 {
        record.extend(bytes.get(1));
    }
    let mut size = obu.payload.len();
    while size >= 0x80 {
        record.push((size & 0x7F) as u8 | 0x80);
        size >>= 7;
    }
    record.push(size as u8);
    record.extend_from_slice(obu.payload);
}

/// The record for a packet, if it has a sequence header that a decoder set up by `known` could not do with: another profile,
/// level, depth or size. What else it says, every keyframe says itself, and encoders announce it wrongly (SVT-AV1).
pub(crate) fn changed(packet: &[u8], known: Option<&[u8]>) -> Option<Bytes> {
    let new = sequence(packet)?;
    if let Some(known) = known
        && is_av1c(known)
        && known.get(..3) == new.head().get(..3)
        && known.get(4..).and_then(sequence).is_none_or(|sequence| sequence.size == new.size)
    {
        return None;
    }
    build(packet, false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 160x90, as SVT-AV1 writes it.
    const SEQUENCE: [u8; 12] = [0x0a, 0x0a, 0, 0, 0, 0x03, 0xb4, 0xfd, 0x91, 0x2b, 0xe4, 0x01];
    const DELIMITER: [u8; 2] = [0x12, 0];
    const FRAME: [u8; 4] = [0x32, 2, 7, 7];

    #[test]
    fn the_record_of_a_sequence_header() {
        let packet = [&DELIMITER[..], &SEQUENCE, &FRAME].concat();
        let record = build(&packet, true).unwrap();
        assert_eq!(record, [&[0x81, 0, 0x0c, 0], &SEQUENCE[..]].concat());
        assert!(is_av1c(&record) && !is_av1c(&SEQUENCE));
        assert_eq!(sequence(&packet).unwrap().size, (160, 90));
        assert_eq!(changed(&packet, Some(&record)), None);
        assert_eq!(changed(&packet, None), Some(record.clone()));
        assert_eq!(changed(&FRAME, None), None);
        // Another tool is no change, another level is.
        let mut other = SEQUENCE;
        other[9] = 0x0b;
        assert_eq!(changed(&other, Some(&record)), None);
        let mut level = record.to_vec();
        level[1] = 8;
        assert_eq!(changed(&packet, Some(&level)), Some(record));
    }

    #[test]
    fn delimiters_and_padding_are_left_out() {
        let packet = Bytes::from([&DELIMITER[..], &SEQUENCE, &FRAME].concat());
        let kept = without_delimiters(&packet);
        assert_eq!(kept, [&SEQUENCE[..], &FRAME].concat());
        assert_eq!(kept.as_ptr(), packet[2..].as_ptr(), "not copied");
        let padded = Bytes::from([&SEQUENCE[..], &[0x7a, 1, 0x80], &FRAME].concat());
        assert_eq!(without_delimiters(&padded), kept);
    }

    #[test]
    fn a_unit_without_a_size_gets_one_in_the_record() {
        let bare = [&[0x08], &SEQUENCE[2..]].concat();
        assert_eq!(build(&bare, false).unwrap()[4..], SEQUENCE);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let data = Bytes::from(bytes);
            prop_assert!(without_delimiters(&data).len() <= data.len());
            let _ = (build(&data, true), changed(&data, Some(&data)), Sequence::parse(&data));
        }
    }
}
