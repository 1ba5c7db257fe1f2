//! How much a sequence parameter set makes a decoder hold.

use super::HEADER;
use super::hvcc::Ptl;
use crate::bits::BitReader;
use crate::h264::without_emulation_prevention;

/// Pixels of a picture before cropping, and pictures kept besides the one being decoded, of an SPS NAL unit with its header.
pub(crate) fn extent(nal: &[u8]) -> Option<(u64, u32)> {
    let payload = without_emulation_prevention(nal.get(HEADER..)?);
    let bits = &mut BitReader::new(&payload);
    bits.skip(4)?;
    let layers = bits.bits(3)?;
    bits.skip(1)?;
    Ptl::read(bits, layers)?;
    bits.unsigned()?; // sps_seq_parameter_set_id
    if bits.unsigned()? == 3 {
        bits.bit()?; // separate_colour_plane_flag
    }
    let pixels = u64::from(bits.unsigned()?).saturating_mul(u64::from(bits.unsigned()?));
    Some((pixels, kept(bits, layers).unwrap_or(0)))
}

fn kept(bits: &mut BitReader<'_>, layers: u32) -> Option<u32> {
    if bits.bit()? {
        for _ in 0..4 {
            bits.unsigned()?; // the conformance window
        }
    }
    for _ in 0..3 {
        bits.unsigned()?; // bit depths, log2_max_pic_order_cnt_lsb_minus4
    }
    let first = if bits.bit()? { 0 } else { layers };
    let mut kept = 0;
    for _ in first..=layers {
        kept = bits.unsigned()?; // sps_max_dec_pic_buffering_minus1
        bits.unsigned()?; // sps_max_num_reorder_pics
        bits.unsigned()?; // sps_max_latency_increase_plus1
    }
    // 16 is the most any level allows.
    Some(kept.min(16))
}
