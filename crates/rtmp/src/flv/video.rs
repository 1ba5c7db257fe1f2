//! The header of video tags, FLV annex E.4.3.1, and the tags that H.264 is carried in.

use bytes::Bytes;

use super::{FlvError, Tag, TagBody, TagFlags, TagKind, enhanced};
use crate::time::MediaTime;

/// What the coded picture is, the upper four bits of a video tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameType {
    /// 1: decoding can begin here.
    Key,
    /// 2: refers to other frames.
    Inter,
    /// 3: as [`FrameType::Inter`], and nothing refers to it.
    DisposableInter,
    /// 4: a keyframe that a server made up; reserved.
    GeneratedKey,
    /// 5: not a picture but a command to the player.
    Command,
}

impl FrameType {
    pub(super) const fn from_wire(id: u8) -> Option<Self> {
        Some(match id {
            1 => Self::Key,
            2 => Self::Inter,
            3 => Self::DisposableInter,
            4 => Self::GeneratedKey,
            5 => Self::Command,
            _ => return None,
        })
    }

    pub(super) const fn wire(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Inter => 2,
            Self::DisposableInter => 3,
            Self::GeneratedKey => 4,
            Self::Command => 5,
        }
    }
}

/// The codec: the lower four bits of a video tag, or the FourCC of an Enhanced RTMP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// 2: Sorenson H.263.
    SorensonH263,
    /// 3: Screen video.
    Screen,
    /// 4: On2 VP6.
    Vp6,
    /// 5: On2 VP6 with alpha channel.
    Vp6Alpha,
    /// 6: Screen video version 2.
    Screen2,
    /// 7, or `avc1`: H.264.
    Avc,
    /// 9: MPEG-4 part 2, in no specification but written by libavformat.
    Mpeg4,
    /// `hvc1`: HEVC. Also 12, in no specification but common in China.
    Hevc,
    /// `av01`: AV1. Also 13, likewise.
    Av1,
    /// `vvc1`: VVC; no number.
    Vvc,
    /// `vp08`: VP8; no number.
    Vp8,
    /// `vp09`: VP9; no number.
    Vp9,
    /// A number with no codec known to it.
    Unknown(u8),
    /// A FourCC with no codec known to it.
    UnknownFourCc([u8; 4]),
}

impl VideoCodec {
    /// The codec with this number (the lower four bits count).
    #[must_use]
    pub const fn from_wire(id: u8) -> Self {
        match id & 0x0F {
            2 => Self::SorensonH263,
            3 => Self::Screen,
            4 => Self::Vp6,
            5 => Self::Vp6Alpha,
            6 => Self::Screen2,
            7 => Self::Avc,
            9 => Self::Mpeg4,
            12 => Self::Hevc,
            13 => Self::Av1,
            other => Self::Unknown(other),
        }
    }

    /// The codec of this FourCC.
    #[must_use]
    pub const fn from_four_cc(code: [u8; 4]) -> Self {
        match &code {
            b"avc1" => Self::Avc,
            b"hvc1" => Self::Hevc,
            b"av01" => Self::Av1,
            b"vvc1" => Self::Vvc,
            b"vp08" => Self::Vp8,
            b"vp09" => Self::Vp9,
            _ => Self::UnknownFourCc(code),
        }
    }

    /// The codec of a tag's body, by its number or, with an Enhanced RTMP header, by its FourCC; of several tracks that
    /// of track 0, else of the first. `None` for a body that does not say.
    #[must_use]
    pub fn of(body: &TagBody) -> Option<Self> {
        if enhanced::is_enhanced(TagKind::Video, body) {
            enhanced::main_four_cc(TagKind::Video, body).map(Self::from_four_cc)
        } else {
            body.byte(0).map(Self::from_wire)
        }
    }

    /// A short name in lower case, such as `h264` or `hevc`; `unknown` for those that have none.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SorensonH263 => "h263",
            Self::Screen => "screen",
            Self::Vp6 => "vp6",
            Self::Vp6Alpha => "vp6a",
            Self::Screen2 => "screen2",
            Self::Avc => "h264",
            Self::Mpeg4 => "mpeg4",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
            Self::Vvc => "vvc",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Unknown(_) | Self::UnknownFourCc(_) => "unknown",
        }
    }

    /// The number in the tag, and `videocodecid` in the metadata; 0, which is no codec, for those that have a FourCC only.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::SorensonH263 => 2,
            Self::Screen => 3,
            Self::Vp6 => 4,
            Self::Vp6Alpha => 5,
            Self::Screen2 => 6,
            Self::Avc => 7,
            Self::Mpeg4 => 9,
            Self::Hevc => 12,
            Self::Av1 => 13,
            Self::Vvc | Self::Vp8 | Self::Vp9 | Self::UnknownFourCc(_) => 0,
            Self::Unknown(id) => id & 0x0F,
        }
    }

    /// Whether packet type and composition time follow the first byte, as with H.264.
    #[must_use]
    pub const fn has_packet_type(self) -> bool {
        matches!(self, Self::Avc | Self::Mpeg4 | Self::Hevc | Self::Av1)
    }
}

/// What an H.264 tag holds, its second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AvcPacketType {
    /// 0: an AVCDecoderConfigurationRecord.
    SequenceHeader,
    /// 1: NAL units, each behind its length.
    Nalu,
    /// 2: the end of the track; no data.
    EndOfSequence,
}

impl AvcPacketType {
    const fn from_wire(id: u8) -> Option<Self> {
        Some(match id {
            0 => Self::SequenceHeader,
            1 => Self::Nalu,
            2 => Self::EndOfSequence,
            _ => return None,
        })
    }

    const fn wire(self) -> u8 {
        match self {
            Self::SequenceHeader => 0,
            Self::Nalu => 1,
            Self::EndOfSequence => 2,
        }
    }
}

/// The bytes before the coded data of a video tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoHeader {
    /// What the picture is.
    pub frame_type: FrameType,
    /// The codec.
    pub codec: VideoCodec,
    /// What the tag holds; [`AvcPacketType::Nalu`] for codecs that do not say.
    pub packet_type: AvcPacketType,
    /// Presentation minus decoding time, in milliseconds, -2²³ to 2²³ - 1; 0 for codecs that do not say.
    pub composition_time: i32,
}

impl VideoHeader {
    /// Reads the header at the beginning of a tag's body.
    ///
    /// # Errors
    ///
    /// [`FlvError::Truncated`], [`FlvError::Invalid`] for an unknown frame or packet type, and [`FlvError::Enhanced`]
    /// for an Enhanced RTMP header.
    pub fn parse(body: &[u8]) -> Result<Self, FlvError> {
        let truncated = |missing| FlvError::Truncated { what: "video header", offset: 0, missing };
        let &first = body.first().ok_or(truncated(1))?;
        if first & 0x80 != 0 {
            return Err(FlvError::Enhanced);
        }
        let invalid = |what, value: u8, offset| FlvError::Invalid { what, value: u64::from(value), offset };
        let frame_type = FrameType::from_wire(first >> 4).ok_or(invalid("frame type", first >> 4, 0))?;
        let codec = VideoCodec::from_wire(first & 0x0F);
        let mut header = Self { frame_type, codec, packet_type: AvcPacketType::Nalu, composition_time: 0 };
        if header.len() > 1 {
            let &[packet_type, high, middle, low] = body
                .get(1..)
                .and_then(|rest| rest.first_chunk())
                .ok_or_else(|| truncated(5u64.saturating_sub(body.len() as u64)))?;
            header.packet_type =
                AvcPacketType::from_wire(packet_type).ok_or(invalid("packet type", packet_type, 1))?;
            // The shift down again extends the sign of the 24 bits.
            header.composition_time = i32::from_be_bytes([high, middle, low, 0]) >> 8;
        }
        Ok(header)
    }

    /// The header as bytes, of which the first [`len`](Self::len) belong to it. A composition time outside of its
    /// range loses its upper bits.
    #[must_use]
    pub const fn encode(self) -> [u8; 5] {
        let [_, high, middle, low] = self.composition_time.to_be_bytes();
        [self.frame_type.wire() << 4 | self.codec.wire(), self.packet_type.wire(), high, middle, low]
    }

    /// Bytes of the header: 5 for H.264 and what is carried like it, 1 for older codecs.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    #[must_use]
    pub const fn len(self) -> usize {
        // A command frame has one byte of command after the first, and no packet type.
        if self.codec.has_packet_type() && !matches!(self.frame_type, FrameType::Command) { 5 } else { 1 }
    }
}

const MAX_COMPOSITION_TIME: i32 = (1 << 23) - 1;

/// The tag that configures an H.264 decoder: `avcc` is an AVCDecoderConfigurationRecord.
#[must_use]
pub fn avc_sequence_header(avcc: Bytes, timestamp: MediaTime) -> Tag {
    let header = avc_header(FrameType::Key, AvcPacketType::SequenceHeader, 0);
    tag(header, TagFlags::SEQUENCE_HEADER, timestamp, avcc)
}

/// A tag of one H.264 picture: `timestamp` is its decoding time, `composition_time` its presentation time minus that,
/// in milliseconds, `payload` its NAL units, each behind its length.
///
/// # Errors
///
/// [`FlvError::CompositionTime`] if that is not within -2²³ to 2²³ - 1.
pub fn avc_frame(
    timestamp: MediaTime,
    composition_time: i32,
    keyframe: bool,
    payload: Bytes,
) -> Result<Tag, FlvError> {
    check_composition_time(composition_time)?;
    let (frame_type, flags) =
        if keyframe { (FrameType::Key, TagFlags::KEYFRAME) } else { (FrameType::Inter, TagFlags::EMPTY) };
    Ok(tag(avc_header(frame_type, AvcPacketType::Nalu, composition_time), flags, timestamp, payload))
}

/// Refuses what 24 bits cannot hold.
pub(super) fn check_composition_time(millis: i32) -> Result<(), FlvError> {
    if (-MAX_COMPOSITION_TIME - 1..=MAX_COMPOSITION_TIME).contains(&millis) {
        return Ok(());
    }
    Err(FlvError::CompositionTime { millis: i64::from(millis) })
}

/// The tag that ends an H.264 track.
#[must_use]
pub fn avc_end_of_sequence(timestamp: MediaTime) -> Tag {
    tag(avc_header(FrameType::Key, AvcPacketType::EndOfSequence, 0), TagFlags::EMPTY, timestamp, Bytes::new())
}

const fn avc_header(frame_type: FrameType, packet_type: AvcPacketType, composition_time: i32) -> VideoHeader {
    VideoHeader { frame_type, codec: VideoCodec::Avc, packet_type, composition_time }
}

fn tag(header: VideoHeader, flags: TagFlags, timestamp: MediaTime, payload: Bytes) -> Tag {
    Tag { kind: TagKind::Video, timestamp, flags, body: TagBody::with_head(&header.encode(), payload) }
}
