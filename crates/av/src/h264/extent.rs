//! How much a sequence parameter set makes a decoder hold. Reads less than [`Sps`](super::Sps), and takes what that refuses:
//! decoders go on with a crop that cannot be.

use super::sps::{HIGH_PROFILES, skip_picture_order, skip_scaling_lists, without_emulation_prevention};
use crate::bits::BitReader;

/// Pixels of a picture before cropping, and reference pictures, of an SPS NAL unit with its header.
pub(crate) fn extent(nal: &[u8]) -> Option<(u64, u32)> {
    let payload = without_emulation_prevention(nal.get(1..)?);
    let [profile, _, _, rest @ ..] = payload.as_slice() else { return None };
    let bits = &mut BitReader::new(rest);
    bits.unsigned()?; // seq_parameter_set_id
    if HIGH_PROFILES.contains(profile) {
        let chroma_format = bits.unsigned().filter(|format| *format <= 3)?;
        if chroma_format == 3 {
            bits.bit()?;
        }
        bits.unsigned()?; // bit_depth_luma_minus8
        bits.unsigned()?; // bit_depth_chroma_minus8
        bits.bit()?; // qpprime_y_zero_transform_bypass_flag
        if bits.bit()? {
            skip_scaling_lists(bits, chroma_format)?;
        }
    }
    bits.unsigned()?; // log2_max_frame_num_minus4
    skip_picture_order(bits)?;
    let references = bits.unsigned()?;
    bits.bit()?; // gaps_in_frame_num_value_allowed_flag
    let width = u64::from(bits.unsigned()?).saturating_add(1).saturating_mul(16);
    let height = u64::from(bits.unsigned()?).saturating_add(1).saturating_mul(16);
    let height = if bits.bit()? { height } else { height.saturating_mul(2) };
    // libav keeps 16 at most, whatever is said.
    Some((width.saturating_mul(height), references.min(16)))
}
