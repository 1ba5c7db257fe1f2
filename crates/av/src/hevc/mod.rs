//! HEVC's parameter sets and its configuration record. Safe Rust, no libav.
//!
//! References are to ITU-T H.265 and ISO/IEC 14496-15.

mod extent;
mod hvcc;
mod parameter_sets;

pub(crate) use extent::extent;
pub(crate) use hvcc::{LENGTH_SIZE_AT, each_set, has_sets, is_hvcc};
pub(crate) use parameter_sets::ParameterSets;

/// `nal_unit_type` of video, sequence and picture parameter sets (H.265, table 7-1).
const NAL_VPS: u8 = 32;
const NAL_SPS: u8 = 33;
const NAL_PPS: u8 = 34;
/// `nal_unit_type` of messages before and behind a picture.
const NAL_SEI_PREFIX: u8 = 39;
const NAL_SEI_SUFFIX: u8 = 40;

/// Bytes of the header of a NAL unit.
const HEADER: usize = 2;

/// The `nal_unit_type` of a NAL unit of the base layer; `None` for others, and for what is cut off.
fn nal_type(nal: &[u8]) -> Option<u8> {
    let [first, second, ..] = nal else { return None };
    let layer = (first & 1) << 5 | second >> 3;
    (layer == 0).then_some(first >> 1 & 0x3F)
}
