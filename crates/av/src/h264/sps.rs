//! Sequence parameter sets (H.264, 7.3.2.1.1 and E.1.1): what a header-only probe needs from them.

use crate::bits::BitReader;
use crate::{FieldOrder, Ratio};

/// What a sequence parameter set of H.264 states about the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sps {
    /// `profile_idc`: 66 Baseline, 77 Main, 100 High, 110 High 10 and so on.
    pub profile: u8,
    /// The second byte: constraint flags, `constraint_set0_flag` highest.
    pub constraints: u8,
    /// `level_idc`: 31 is level 3.1.
    pub level: u8,
    /// 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits per sample of brightness, 8 to 14.
    pub bit_depth_luma: u8,
    /// Bits per sample of colour, 8 to 14.
    pub bit_depth_chroma: u8,
    /// Pictures a decoder keeps to predict from (`max_num_ref_frames`).
    pub reference_frames: u32,
    /// Width in pixels, after cropping.
    pub width: u32,
    /// Height in pixels, after cropping.
    pub height: u32,
    /// `frame_mbs_only_flag`: no interlaced coding.
    pub frames_only: bool,
    /// `mb_adaptive_frame_field_flag`: pairs of macroblocks may be fields within frames (MBAFF).
    pub adaptive_fields: bool,
    /// Shape of a pixel, `None` if not said.
    pub sample_aspect: Option<Ratio>,
    /// Samples use all values (`video_full_range_flag`), not those of television.
    pub full_range: bool,
    /// Primaries, transfer and matrix as numbers of table E-3 to E-5 (1 is BT.709, 16 the transfer of PQ, 18 of HLG), if said.
    pub color: Option<(u8, u8, u8)>,
    /// `max_num_reorder_frames`, if said.
    pub reorder_frames: Option<u32>,
    /// From `time_scale` and `num_units_in_tick`, in frames per second, if said.
    pub frame_rate: Option<Ratio>,
    /// `fixed_frame_rate_flag`, if timing is said.
    pub fixed_frame_rate: Option<bool>,
    /// The hypothetical decoder's buffer, if said: the encoder kept to a rate.
    pub hrd: Option<Hrd>,
    /// `log2_max_frame_num`: bits of `frame_num` in a slice header.
    pub(crate) frame_num_bits: u32,
    /// Slice headers say which colour plane they are of.
    pub(crate) separate_planes: bool,
}

/// Parameters of the hypothetical reference decoder (H.264, E.1.2), of its first schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hrd {
    /// Bits per second that enter the buffer at most.
    pub bit_rate: u64,
    /// Size of the buffer in bits.
    pub buffer_bits: u64,
    /// `cbr_flag`: exactly that rate, with filler where the pictures need less.
    pub constant: bool,
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
pub(super) const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

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
        let frame_num_bits = bits.unsigned().filter(|above| *above <= 12)? + 4;
        skip_picture_order(&mut bits)?;
        let reference_frames = bits.unsigned()?;
        bits.bit()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = bits.unsigned().filter(|mbs| *mbs < 4096)? + 1;
        let height_units = bits.unsigned().filter(|mbs| *mbs < 4096)? + 1;
        let frames_only = bits.bit()?;
        let adaptive_fields = !frames_only && bits.bit()?;
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
            reference_frames,
            frames_only,
            adaptive_fields,
            sample_aspect: None,
            full_range: false,
            color: None,
            reorder_frames: None,
            frame_rate: None,
            fixed_frame_rate: None,
            hrd: None,
            frame_num_bits,
            separate_planes,
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
                let mut code = || bits.bits(8).and_then(|code| u8::try_from(code).ok());
                self.color = Some((code()?, code()?, code()?));
            }
        }
        if bits.bit()? {
            bits.unsigned()?; // chroma_sample_loc_type_top_field
            bits.unsigned()?; // chroma_sample_loc_type_bottom_field
        }
        if bits.bit()? {
            let units_in_tick = bits.bits(32)?;
            let time_scale = bits.bits(32)?;
            self.fixed_frame_rate = Some(bits.bit()?);
            // A tick is a field (D.2.1, table D-1): two make a frame.
            self.frame_rate = Ratio::reduced(u64::from(time_scale), u64::from(units_in_tick) * 2);
        }
        let nal_hrd = bits.bit()?;
        if nal_hrd {
            self.hrd = Some(read_hrd(bits)?);
        }
        let vcl_hrd = bits.bit()?;
        if vcl_hrd {
            let hrd = read_hrd(bits)?;
            self.hrd = self.hrd.or(Some(hrd));
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

pub(super) fn skip_picture_order(bits: &mut BitReader<'_>) -> Option<()> {
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

pub(super) fn skip_scaling_lists(bits: &mut BitReader<'_>, chroma_format: u32) -> Option<()> {
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

fn read_hrd(bits: &mut BitReader<'_>) -> Option<Hrd> {
    let count = bits.unsigned().filter(|count| *count < 32)? + 1;
    let (rate_scale, size_scale) = (bits.bits(4)?, bits.bits(4)?);
    let mut first = None;
    for _ in 0..count {
        let (rate, size) = (u64::from(bits.unsigned()?) + 1, u64::from(bits.unsigned()?) + 1);
        let constant = bits.bit()?;
        first.get_or_insert(Hrd {
            bit_rate: rate << (6 + rate_scale),
            buffer_bits: size << (4 + size_scale),
            constant,
        });
    }
    bits.skip(20)?; // lengths of delays and of the time offset
    first
}

/// Takes out the 3 of every `00 00 03` (H.264, 7.4.1; H.265 has the same).
pub(crate) fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
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
        assert_eq!((sps.fixed_frame_rate, sps.hrd, sps.color), (Some(false), None, None));
        assert_eq!((sps.chroma_format, sps.bit_depth_luma, sps.reference_frames), (1, 8, 4));
    }

    /// 64x48, Main, BT.709, `nal-hrd=cbr` with 64 kbit/s into 64 kbit, interlaced MBAFF (x264).
    const X264_CBR: [u8; 34] = [
        0x67, 0x4d, 0x40, 0x15, 0xec, 0xa2, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x03,
        0x00, 0x20, 0x00, 0x00, 0x06, 0x5c, 0xd4, 0x0f, 0xa0, 0x7d, 0xc9, 0x86, 0x01, 0xf1, 0x42, 0x99, 0x60,
    ];

    #[test]
    fn reads_the_buffer_and_the_colour() {
        let sps = Sps::parse(&X264_CBR).unwrap();
        assert_eq!(sps.hrd, Some(Hrd { bit_rate: 64_000, buffer_bits: 64_000, constant: true }));
        assert_eq!(sps.color, Some((1, 1, 1)));
        assert_eq!(sps.fixed_frame_rate, Some(true));
        assert!(!sps.frames_only && sps.adaptive_fields);
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
