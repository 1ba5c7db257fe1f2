//! What a decoder is given of a tag, whether its header is FLV's own or that of Enhanced RTMP.

use bytes::Bytes;

use super::audio::{AacPacketType, AudioCodec, AudioHeader};
use super::enhanced::{self, Header, PacketType};
use super::tag::{Codec, Tag, TagKind};
use super::video::{AvcPacketType, FrameType, VideoCodec, VideoHeader};

/// What a tag holds of its track 0, without headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// The codec.
    pub codec: Codec,
    /// Configuration or frames. Shares the tag's buffer.
    pub part: Part,
}

/// Configuration or frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The codec's record, such as avcC, hvcC, av1C, vpcC, `AudioSpecificConfig` or `OpusHead`.
    Config(Bytes),
    /// Coded data in the form the codec has in MP4.
    Frames {
        /// Presentation minus decoding time, in milliseconds, -2²³ to 2²³ - 1; 0 for codecs that have none.
        composition_time: i32,
        /// The data; never empty.
        data: Bytes,
    },
}

/// What a tag holds. `None` for script tags, commands, the end of a track, facts beside the configuration, tags of other tracks
/// than 0, and tags that are cut off or empty.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::coded::{Part, coded};
/// use flowcast_rtmp::flv::enhanced;
/// use flowcast_rtmp::time::MediaTime;
/// let tag = enhanced::video_frame(*b"hvc1", MediaTime::ZERO, 40, true, Bytes::from_static(b"picture"))?;
/// let coded = coded(&tag).expect("it holds a picture");
/// assert_eq!(coded.codec.name(), "hevc");
/// assert_eq!(coded.part, Part::Frames { composition_time: 40, data: Bytes::from_static(b"picture") });
/// # Ok::<(), flowcast_rtmp::flv::FlvError>(())
/// ```
#[must_use]
pub fn coded(tag: &Tag) -> Option<Coded> {
    coded_track(tag, 0)
}

/// The same of another track; a tag without an extended header has track 0 only.
#[must_use]
pub fn coded_track(tag: &Tag, track: u8) -> Option<Coded> {
    if enhanced::is_enhanced(tag.kind, &tag.body) {
        return of_enhanced(tag, track);
    }
    if track != 0 {
        return None;
    }
    let (start, count) = tag.body.peek::<5>();
    let start = start.get(..count)?;
    let data = |length: usize| tag.body.part(length, tag.body.len());
    match tag.kind {
        TagKind::Video => {
            let header = VideoHeader::parse(start).ok()?;
            let part = match header.packet_type {
                _ if header.frame_type == FrameType::Command => return None,
                AvcPacketType::SequenceHeader => Part::Config(data(header.len())?),
                AvcPacketType::Nalu => frames(data(header.len())?, header.composition_time)?,
                AvcPacketType::EndOfSequence => return None,
            };
            Some(Coded { codec: Codec::Video(header.codec), part })
        }
        TagKind::Audio => {
            let header = AudioHeader::parse(start).ok()?;
            let data = data(header.len())?;
            let part = match (header.codec, header.packet_type) {
                (AudioCodec::Aac, AacPacketType::SequenceHeader) => Part::Config(data),
                _ => frames(data, 0)?,
            };
            Some(Coded { codec: Codec::Audio(header.codec), part })
        }
        TagKind::Script => None,
    }
}

fn of_enhanced(tag: &Tag, id: u8) -> Option<Coded> {
    let header = Header::read(tag.kind, &tag.body)?;
    let track = enhanced::tracks(tag.kind, &tag.body).find(|track| track.id == id)?;
    let codec = match tag.kind {
        TagKind::Video => Codec::Video(VideoCodec::from_four_cc(track.four_cc)),
        TagKind::Audio => Codec::Audio(AudioCodec::from_four_cc(track.four_cc)),
        TagKind::Script => return None,
    };
    let part = match header.packet_type {
        PacketType::SequenceStart => Part::Config(tag.body.part(track.start, track.end)?),
        PacketType::CodedFrames if tag.is_video() && enhanced::is_reordered(track.four_cc) => {
            let start = track.start.checked_add(3)?;
            let time = tag.body.part(track.start, start)?;
            let &[high, middle, low] = time.first_chunk()?;
            // The shift down again extends the sign of the 24 bits.
            frames(tag.body.part(start, track.end)?, i32::from_be_bytes([high, middle, low, 0]) >> 8)?
        }
        PacketType::CodedFrames | PacketType::CodedFramesX => {
            frames(tag.body.part(track.start, track.end)?, 0)?
        }
        _ => return None,
    };
    Some(Coded { codec, part })
}

fn frames(data: Bytes, composition_time: i32) -> Option<Part> {
    (!data.is_empty()).then_some(Part::Frames { composition_time, data })
}
