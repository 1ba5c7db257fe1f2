//! H.264 without decoding: what its headers say of a stream ([`Sps`]) and of each picture ([`Inspector`]), and its byte
//! formats, Annex B and avcC. Safe Rust, no libav.
//!
//! References are to ITU-T H.264 and ISO/IEC 14496-15.

mod annexb;
mod avcc;
mod extent;
mod inspector;
mod parameter_sets;
mod slice;
mod sps;

pub(crate) use annexb::find_start_code;
pub(crate) use annexb::{is_annexb, nal_units, to_length_prefixed};
pub(crate) use avcc::{LENGTH_SIZE_AT, has_sets, is_avcc, parse as parse_avcc, sps_of_avcc};
pub(crate) use extent::extent;
pub use inspector::{Inspector, Picture, PictureKind};
pub(crate) use parameter_sets::ParameterSets;
pub(crate) use sps::without_emulation_prevention;
pub use sps::{Hrd, Sps};

/// `nal_unit_type` of a sequence parameter set (H.264, table 7-1).
const NAL_SPS: u8 = 7;
/// `nal_unit_type` of a picture parameter set.
const NAL_PPS: u8 = 8;

/// The `nal_unit_type` of a NAL unit; 0 (unspecified) for an empty one.
fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1F)
}
