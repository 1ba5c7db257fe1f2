//! `HEVCDecoderConfigurationRecord` (hvcC), ISO/IEC 14496-15, 8.3.3.1.

use super::{HEADER, NAL_PPS, NAL_SPS, NAL_VPS};
use crate::bits::BitReader;
use crate::h264::{is_annexb, without_emulation_prevention};

/// Bytes of a record before its arrays.
const FIXED: usize = 23;

/// Where a record says how long the lengths in packets are: its lower two bits, and one.
pub(crate) const LENGTH_SIZE_AT: usize = 21;

/// Whether codec configuration bytes are an hvcC record rather than Annex B.
pub(crate) fn is_hvcc(config: &[u8]) -> bool {
    config.len() >= FIXED && !is_annexb(config)
}

/// Whether a record holds parameter sets of all kinds; those of `hev1` files may have them in their packets only.
pub(crate) fn has_sets(record: &[u8]) -> bool {
    let mut seen = [false; 3];
    // Cut-off records have what could be read.
    let _ = each_set(record, |kind, _| {
        if let Some(place) =
            usize::from(kind).checked_sub(usize::from(NAL_VPS)).and_then(|at| seen.get_mut(at))
        {
            *place = true;
        }
    });
    seen == [true; 3]
}

/// Calls `f` with the type and bytes of each NAL unit of a record. `None` if it is cut off.
pub(crate) fn each_set<'a>(record: &'a [u8], mut f: impl FnMut(u8, &'a [u8])) -> Option<()> {
    let (count, mut rest) = record.get(FIXED - 1..)?.split_first()?;
    for _ in 0..*count {
        let [kind, high, low, units @ ..] = rest else { return None };
        rest = units;
        for _ in 0..u16::from_be_bytes([*high, *low]) {
            let [high, low, behind @ ..] = rest else { return None };
            let (unit, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
            f(kind & 0x3F, unit);
            rest = behind;
        }
    }
    Some(())
}

/// `profile_tier_level` of a parameter set, its general part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ptl {
    space: u8,
    tier: u8,
    profile: u8,
    compatibility: u32,
    constraints: u64,
    level: u8,
}

impl Ptl {
    /// Reads it for this many sub-layers less one (7.3.3).
    pub(super) fn read(bits: &mut BitReader<'_>, sub_layers: u32) -> Option<Self> {
        let byte = |value: u32| u8::try_from(value).unwrap_or(0);
        let ptl = Self {
            space: byte(bits.bits(2)?),
            tier: byte(bits.bits(1)?),
            profile: byte(bits.bits(5)?),
            compatibility: bits.bits(32)?,
            constraints: u64::from(bits.bits(16)?) << 32 | u64::from(bits.bits(32)?),
            level: byte(bits.bits(8)?),
        };
        let mut present = Vec::new();
        for _ in 0..sub_layers {
            present.push((bits.bit()?, bits.bit()?));
        }
        if sub_layers > 0 {
            bits.skip(2 * (8 - sub_layers))?;
        }
        for (profile, level) in present {
            bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
        }
        Some(ptl)
    }
}

/// The fields of the record that come from a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) id: u32,
    ptl: Ptl,
    layers: u32,
    nested: bool,
    chroma_format: u32,
    bit_depth_luma: u32,
    bit_depth_chroma: u32,
}

impl Sps {
    /// Parses a sequence parameter set with its header (7.3.2.2), up to the bit depths.
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = without_emulation_prevention(nal.get(HEADER..)?);
        let mut bits = BitReader::new(&payload);
        bits.skip(4)?;
        let layers = bits.bits(3)?;
        let nested = bits.bit()?;
        let ptl = Ptl::read(&mut bits, layers)?;
        let id = bits.unsigned().filter(|id| *id <= 15)?;
        let chroma_format = bits.unsigned().filter(|format| *format <= 3)?;
        if chroma_format == 3 {
            bits.bit()?;
        }
        let _size = (bits.unsigned()?, bits.unsigned()?);
        if bits.bit()? {
            for _ in 0..4 {
                bits.unsigned()?;
            }
        }
        let mut depth = || bits.unsigned().filter(|depth| *depth <= 8);
        let (bit_depth_luma, bit_depth_chroma) = (depth()?, depth()?);
        Some(Self { id, ptl, layers, nested, chroma_format, bit_depth_luma, bit_depth_chroma })
    }
}

/// Sub-layers less one, and profile, of a video parameter set with its header (7.3.2.1).
fn parse_vps(nal: &[u8]) -> Option<(u32, Ptl)> {
    let payload = without_emulation_prevention(nal.get(HEADER..)?);
    let mut bits = BitReader::new(&payload);
    bits.skip(12)?;
    let layers = bits.bits(3)?;
    bits.skip(17)?;
    Some((layers, Ptl::read(&mut bits, layers)?))
}

/// An hvcC record with 4-byte lengths, byte for byte as libavformat's FLV muxer writes it, except for what only a decoder with
/// many threads asks for: how a picture may be shared by them is left open.
///
/// `units` are by type, in the order of the record. `None` if there is no usable SPS, no VPS or PPS, or more or longer ones than
/// the record can hold.
pub(super) fn build(units: &[(u8, Vec<&[u8]>)]) -> Option<Vec<u8>> {
    let of = |kind: u8| {
        let found = units.iter().find(|(known, _)| *known == kind).map(|(_, units)| units.as_slice());
        found.filter(|units| !units.is_empty())
    };
    let (vps, sps) = (of(NAL_VPS)?, of(NAL_SPS)?);
    of(NAL_PPS)?;
    let vps: Vec<(u32, Ptl)> = vps.iter().filter_map(|unit| parse_vps(unit)).collect();
    let sps: Vec<Sps> = sps.iter().filter_map(|unit| Sps::parse(unit)).collect();
    let last = sps.last()?;
    let ptls = || vps.iter().map(|(_, ptl)| ptl).chain(sps.iter().map(|sps| &sps.ptl));
    let tier = ptls().map(|ptl| ptl.tier).max()?;
    let profile = ptls().map(|ptl| ptl.profile).max()?;
    let compatibility = ptls().fold(u32::MAX, |all, ptl| all & ptl.compatibility);
    let constraints = ptls().fold(u64::MAX, |all, ptl| all & ptl.constraints);
    // Levels of different tiers cannot be compared.
    let level = ptls().filter(|ptl| ptl.tier == tier).map(|ptl| ptl.level).max()?;
    let layers = vps.iter().map(|(layers, _)| *layers).chain(sps.iter().map(|sps| sps.layers)).max()? + 1;

    let byte = |value: u32| u8::try_from(value).ok();
    let mut record = vec![1, last.ptl.space << 6 | tier << 5 | profile];
    record.extend_from_slice(&compatibility.to_be_bytes());
    record.extend_from_slice(constraints.to_be_bytes().get(2..)?);
    record.extend_from_slice(&[level, 0xF0, 0, 0xFC]);
    record.push(0xFC | byte(last.chroma_format)?);
    record.push(0xF8 | byte(last.bit_depth_luma)? & 7);
    record.push(0xF8 | byte(last.bit_depth_chroma)? & 7);
    record.extend_from_slice(&[0, 0]);
    record.push(byte(layers)? << 3 | u8::from(last.nested) << 2 | 3);
    let arrays = units.iter().filter(|(_, units)| !units.is_empty());
    record.push(u8::try_from(arrays.clone().count()).ok()?);
    for (kind, units) in arrays {
        record.push(*kind);
        record.extend_from_slice(&u16::try_from(units.len()).ok()?.to_be_bytes());
        for unit in units {
            record.extend_from_slice(&u16::try_from(unit.len()).ok()?.to_be_bytes());
            record.extend_from_slice(unit);
        }
    }
    Some(record)
}
