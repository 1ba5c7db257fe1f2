//! How to encode pictures.

use crate::{Codec, ColorInfo, Ratio, ThreadMode, TimeBase};

/// A codec pictures can be encoded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodecKind {
    /// H.264: what every platform takes.
    H264,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
}

impl VideoCodecKind {
    /// The codec of the packets.
    #[must_use]
    pub const fn codec(self) -> Codec {
        match self {
            Self::H264 => Codec::H264,
            Self::Hevc => Codec::Hevc,
            Self::Av1 => Codec::Av1,
            Self::Vp8 => Codec::Vp8,
            Self::Vp9 => Codec::Vp9,
        }
    }
}

/// How an encoder spends bits. Rates are in bits per second; `vbv_bits` is the size in bits of the buffer a player is
/// assumed to have: the most by which the rate may be exceeded for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateControl {
    /// The same rate throughout, as platforms want it.
    Cbr {
        /// Bits per second.
        bit_rate: u64,
        /// Buffer in bits.
        vbv_bits: u64,
        /// Whether pictures that need fewer bits are padded with filler.
        filler: bool,
    },
    /// The same quality throughout, with a limit.
    CappedCrf {
        /// Quality: lower is better. 18 to 28 is usual for H.264.
        crf: f32,
        /// Bits per second at most.
        max_bit_rate: u64,
        /// Buffer in bits.
        vbv_bits: u64,
    },
    /// The same quality throughout.
    Crf(f32),
    /// A rate in bits per second on average over the whole.
    Abr(u64),
}

impl RateControl {
    /// Bits per second: the rate, or the most it may be; `None` if there is no limit.
    #[must_use]
    pub const fn bit_rate(self) -> Option<u64> {
        match self {
            Self::Cbr { bit_rate, .. } | Self::Abr(bit_rate) => Some(bit_rate),
            Self::CappedCrf { max_bit_rate, .. } => Some(max_bit_rate),
            Self::Crf(_) => None,
        }
    }

    /// The buffer in bits, if there is one.
    #[must_use]
    pub const fn vbv_bits(self) -> Option<u64> {
        match self {
            Self::Cbr { vbv_bits, .. } | Self::CappedCrf { vbv_bits, .. } => Some(vbv_bits),
            Self::Crf(_) | Self::Abr(_) => None,
        }
    }

    pub(super) const fn crf(self) -> Option<f32> {
        match self {
            Self::CappedCrf { crf, .. } | Self::Crf(crf) => Some(crf),
            Self::Cbr { .. } | Self::Abr(_) => None,
        }
    }
}

/// How to encode pictures. Every keyframe starts a closed GOP with an IDR picture.
#[derive(Debug, Clone)]
pub struct VideoSettings {
    /// The codec. Default H.264.
    pub codec: VideoCodecKind,
    /// libav's name of the encoder; `None` (the default) for the codec's usual software encoder, else the first that opens.
    pub encoder: Option<String>,
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
    /// Frames per second.
    pub frame_rate: Ratio,
    /// Unit of the times of pictures and packets. `None` (the default) for one tick per frame.
    pub time_base: Option<TimeBase>,
    /// How to spend bits. Default 1,000,000 bits per second on average.
    pub rate_control: RateControl,
    /// Whether the bit rate is going to be [changed](super::VideoEncoder::set_bit_rate) while it encodes. Default `false`. x264 cannot change what its
    /// headers say of the rate, as it does with filler: then filler is added without that.
    pub rate_changes: bool,
    /// Frames from one keyframe to the next, fixed. Default 50.
    pub gop_frames: u32,
    /// B-frames in a row at most. Default 0.
    pub b_frames: u32,
    /// Pictures a picture may refer to. `None` (the default): as the preset says.
    pub refs: Option<u32>,
    /// Profile by the encoder's name ("baseline", "main", "high"). `None` (the default): the lowest that holds what is used.
    pub profile: Option<String>,
    /// Level times ten (31 is 3.1), for H.264. `None` (the default): the lowest of H.264's table A-1 that holds size, frame
    /// rate, references and rate.
    pub level: Option<u32>,
    /// Preset by x264's names, from "ultrafast" to "veryslow", which are mapped to those of other encoders; a name of the
    /// encoder's own ("p4", "8") is passed on. Default "veryfast".
    pub preset: String,
    /// Tuning by x264's names ("zerolatency", "film"). Encoders without one ignore it. Default none.
    pub tune: Option<String>,
    /// Threads; 0 lets the encoder choose. With 1 (the default) the output depends on nothing but the input.
    pub threads: u32,
    /// What several threads share. Default [`ThreadMode::Frame`].
    pub thread_mode: ThreadMode,
    /// libav's name of the pixel format of what is pushed. `None` (the default): 8-bit 4:2:0, in the order of bytes the
    /// encoder takes ([`VideoEncoder::pixel_format`](super::VideoEncoder::pixel_format)).
    pub pixel_format: Option<String>,
    /// What to write about colours. Default nothing.
    pub color: ColorInfo,
    /// Parameters for x264 or x265 as their programs write them ("aq-mode=2:me=hex"); they win over everything else here.
    /// Unknown ones are ignored.
    pub x264_params: Option<String>,
}

impl VideoSettings {
    /// The defaults for a size in pixels and a rate in frames per second.
    #[must_use]
    pub fn new(width: u32, height: u32, frame_rate: Ratio) -> Self {
        Self {
            codec: VideoCodecKind::H264,
            encoder: None,
            width,
            height,
            frame_rate,
            time_base: None,
            rate_control: RateControl::Abr(1_000_000),
            rate_changes: false,
            gop_frames: 50,
            b_frames: 0,
            refs: None,
            profile: None,
            level: None,
            preset: "veryfast".to_owned(),
            tune: None,
            threads: 1,
            thread_mode: ThreadMode::Frame,
            pixel_format: None,
            color: ColorInfo::default(),
            x264_params: None,
        }
    }
}
