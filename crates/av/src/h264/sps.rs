//! Sequence parameter sets (H.264, 7.3.2.1.1 and E.1.1): what a header-only probe needs from them.

use crate::bits::BitReader;
use crate::{FieldOrder, Ratio};

/// What an SPS says, as far as a probe needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sps {
    pub(crate) profile: u8,
    /// The second byte: constraint flags.
    pub(crate) constraints: u8,
    pub(crate) level: u8,
    /// 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub(crate) chroma_format: u8,
    /// 8 to 14.
    pub(crate) bit_depth_luma: u8,
    /// 8 to 14.
    pub(crate) bit_depth_chroma: u8,
    /// Cropped size in pixels.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `frame_mbs_only_flag`: no interlaced coding.
    pub(crate) frames_only: bool,
    pub(crate) sample_aspect: Option<Ratio>,
    pub(crate) full_range: bool,
    /// `max_num_reorder_frames`, if said.
    pub(crate) reorder_frames: Option<u32>,
    /// From `time_scale` and `num_units_in_tick`, in frames per second.
    pub(crate) frame_rate: Option<Ratio>,
}

/// Table E-1: sample aspect ratios 1 to 16.
const ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Profiles whose SPS has the chroma and depth fields.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

impl Sps {
    /// Parses an SPS NAL unit, header byte included. `None` if it is cut off or absurd.
    pub(crate) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = without_emulation_prevention(nal.get(1..)?);
        let [profile, constraints, level, rest @ ..] = payload.as_slice() else { return None };
        let mut bits = BitReader::new(rest);
        bits.unsigned()?; // seq_parameter_set_id
        let (mut chroma_format, mut bit_depth_luma, mut bit_depth_chroma) = (1, 8, 8);
        let mut separate_planes = false;
        if HIGH_PROFILES.contains(profile) {
            chroma_format = bits.unsigned().filter(|format| *format <= 3)?;
            if chroma_format == 3 {
                separate_planes = bits.bit()?;
            }
            bit_depth_luma = bits.unsigned().filter(|above| *above <= 6)? + 8;
            bit_depth_chroma = bits.unsigned().filter(|above| *above <= 6)? + 8;
            bits.bit()?; // qpprime_y_zero_transform_bypass_flag
            if bits.bit()? {
                skip_scaling_lists(&mut bits, chroma_format)?;
            }
        }
        bits.unsigned()?; // log2_max_frame_num_minus4
        skip_picture_order(&mut bits)?;
        bits.unsigned()?; // max_num_ref_frames
        bits.bit()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = bits.unsigned().filter(|mbs| *mbs < 4096)? + 1;
        let height_units = bits.unsigned().filter(|mbs| *mbs < 4096)? + 1;
        let frames_only = bits.bit()?;
        if !frames_only {
            bits.bit()?; // mb_adaptive_frame_field_flag
        }
        bits.bit()?; // direct_8x8_inference_flag
        let crop = if bits.bit()? {
            [bits.unsigned()?, bits.unsigned()?, bits.unsigned()?, bits.unsigned()?]
        } else {
            [0; 4]
        };
        let field_factor = if frames_only { 1 } else { 2 };
        let (unit_x, unit_y) = match chroma_format {
            _ if separate_planes => (1, field_factor),
            1 => (2, 2 * field_factor),
            2 => (2, field_factor),
            _ => (1, field_factor),
        };
        let [left, right, top, bottom] = crop;
        let cropped = |full: u32, first: u32, second: u32, unit: u32| {
            full.checked_sub(first.checked_add(second)?.checked_mul(unit)?).filter(|size| *size > 0)
        };
        let mut sps = Self {
            profile: *profile,
            constraints: *constraints,
            level: *level,
            chroma_format: u8::try_from(chroma_format).ok()?,
            bit_depth_luma: u8::try_from(bit_depth_luma).ok()?,
            bit_depth_chroma: u8::try_from(bit_depth_chroma).ok()?,
            width: cropped(width_mbs * 16, left, right, unit_x)?,
            height: cropped(height_units * 16 * field_factor, top, bottom, unit_y)?,
            frames_only,
            sample_aspect: None,
            full_range: false,
            reorder_frames: None,
            frame_rate: None,
        };
        if bits.bit()? {
            // A cut-off VUI leaves what was read: encoders have written wrong ones.
            let _ = sps.read_vui(&mut bits);
        }
        Some(sps)
    }

    fn read_vui(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        if bits.bit()? {
            self.sample_aspect = match bits.bits(8)? {
                255 => Ratio::new(bits.bits(16)?, bits.bits(16)?),
                code => usize::try_from(code)
                    .ok()
                    .and_then(|code| ASPECTS.get(code.checked_sub(1)?))
                    .and_then(|(num, den)| Ratio::new(*num, *den)),
            };
        }
        if bits.bit()? {
            bits.bit()?; // overscan_appropriate_flag
        }
        if bits.bit()? {
            bits.bits(3)?; // video_format
            self.full_range = bits.bit()?;
            if bits.bit()? {
                bits.skip(24)?; // primaries, transfer, matrix
            }
        }
        if bits.bit()? {
            bits.unsigned()?; // chroma_sample_loc_type_top_field
            bits.unsigned()?; // chroma_sample_loc_type_bottom_field
        }
        if bits.bit()? {
            let units_in_tick = bits.bits(32)?;
            let time_scale = bits.bits(32)?;
            bits.bit()?; // fixed_frame_rate_flag
            // A tick is a field (D.2.1, table D-1): two make a frame.
            self.frame_rate = Ratio::reduced(u64::from(time_scale), u64::from(units_in_tick) * 2);
        }
        let nal_hrd = bits.bit()?;
        if nal_hrd {
            skip_hrd(bits)?;
        }
        let vcl_hrd = bits.bit()?;
        if vcl_hrd {
            skip_hrd(bits)?;
        }
        if nal_hrd || vcl_hrd {
            bits.bit()?; // low_delay_hrd_flag
        }
        bits.bit()?; // pic_struct_present_flag
        if bits.bit()? {
            bits.bit()?; // motion_vectors_over_pic_boundaries_flag
            for _ in 0..4 {
                bits.unsigned()?; // max_bytes_per_pic_denom and others
            }
            self.reorder_frames = bits.unsigned().filter(|frames| *frames <= 16);
        }
        Some(())
    }

    /// libav's name of the pixel format a decoder gives.
    pub(crate) fn pixel_format(&self) -> Option<String> {
        let base = match self.chroma_format {
            0 => "gray",
            1 => "yuv420p",
            2 => "yuv422p",
            _ => "yuv444p",
        };
        let jpeg = self.full_range && self.chroma_format != 0;
        match self.bit_depth_luma {
            8 if jpeg => Some(base.replacen("yuv", "yuvj", 1)),
            8 => Some(base.to_owned()),
            depth if depth == self.bit_depth_chroma || self.chroma_format == 0 => {
                Some(format!("{base}{depth}le"))
            }
            _ => None,
        }
    }

    /// libav's name of the profile.
    pub(crate) fn profile_name(&self) -> Option<&'static str> {
        let set1 = self.constraints & 0x40 != 0;
        let intra = self.constraints & 0x10 != 0;
        Some(match self.profile {
            66 if set1 => "Constrained Baseline",
            66 => "Baseline",
            77 => "Main",
            88 => "Extended",
            100 => "High",
            110 if intra => "High 10 Intra",
            110 => "High 10",
            122 if intra => "High 4:2:2 Intra",
            122 => "High 4:2:2",
            244 if intra => "High 4:4:4 Intra",
            244 => "High 4:4:4 Predictive",
            44 => "CAVLC 4:4:4",
            118 => "Multiview High",
            128 => "Stereo High",
            _ => return None,
        })
    }

    /// Progressive if the SPS rules fields out.
    pub(crate) fn field_order(&self) -> FieldOrder {
        if self.frames_only { FieldOrder::Progressive } else { FieldOrder::Unknown }
    }

    /// Frames a decoder must hold back; 0 where the profile has no B-frames, `None` if the SPS does not tell.
    pub(crate) fn reorder(&self) -> Option<u32> {
        if self.profile == 66 { Some(0) } else { self.reorder_frames }
    }
}

fn skip_picture_order(bits: &mut BitReader<'_>) -> Option<()> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.bit()?; // delta_pic_order_always_zero_flag
            bits.signed()?; // offset_for_non_ref_pic
            bits.signed()?; // offset_for_top_to_bottom_field
            for _ in 0..bits.unsigned().filter(|count| *count < 256)? {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Some(())
}

fn skip_scaling_lists(bits: &mut BitReader<'_>, chroma_format: u32) -> Option<()> {
    for list in 0..if chroma_format == 3 { 12 } else { 8 } {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed()?).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

fn skip_hrd(bits: &mut BitReader<'_>) -> Option<()> {
    let count = bits.unsigned().filter(|count| *count < 32)? + 1;
    bits.skip(8)?; // bit_rate_scale, cpb_size_scale
    for _ in 0..count {
        bits.unsigned()?;
        bits.unsigned()?;
        bits.bit()?;
    }
    bits.skip(20)
}

/// Takes out the 3 of every `00 00 03` (H.264, 7.4.1).
fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 1280x720, High, level 3.1, 25 fps, B-frames (x264).
    const X264_720P: [u8; 25] = [
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
        0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x83, 0x19,
    ];

    #[test]
    fn reads_an_x264_header() {
        let sps = Sps::parse(&X264_720P).unwrap();
        assert_eq!((sps.width, sps.height), (1280, 720));
        assert_eq!(sps.profile_name(), Some("High"));
        assert_eq!(sps.level, 31);
        assert_eq!(sps.pixel_format().as_deref(), Some("yuv420p"));
        assert_eq!(sps.frame_rate, Ratio::new(25, 1));
        assert_eq!(sps.field_order(), FieldOrder::Progressive);
    }

    #[test]
    fn every_cut_is_refused_or_read() {
        for length in 0..X264_720P.len() {
            let _ = Sps::parse(X264_720P.get(..length).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            if let Some(sps) = Sps::parse(&bytes) {
                prop_assert!(sps.width > 0 && sps.height > 0);
            }
        }
    }
}
