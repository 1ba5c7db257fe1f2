//! Tags with an extended header: one track, no ModEx.

use bytes::Bytes;

use super::super::video::{FrameType, check_composition_time};
use super::super::{FlvError, Tag, TagBody, TagFlags, TagKind};
use super::{AUDIO, VIDEO, is_reordered};
use crate::time::MediaTime;

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const CODED_FRAMES_X: u8 = 3;

/// The tag that configures a decoder of pictures: `config` is the record of the codec, such as hvcC for `hvc1`, av1C for `av01`
/// and vpcC for `vp08` and `vp09`.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::enhanced;
/// use flowcast_rtmp::time::MediaTime;
/// let tag = enhanced::video_sequence_start(*b"av01", Bytes::from_static(b"\x81\x00\x0c\x00"), MediaTime::ZERO);
/// assert!(tag.is_sequence_header());
/// assert_eq!(tag.body.to_bytes(), &b"\x90av01\x81\x00\x0c\x00"[..]);
/// ```
#[must_use]
pub fn video_sequence_start(four_cc: [u8; 4], config: Bytes, timestamp: MediaTime) -> Tag {
    let head = video_head(FrameType::Key, SEQUENCE_START, four_cc);
    tag(TagKind::Video, &head, TagFlags::SEQUENCE_HEADER, timestamp, config)
}

/// A tag of one picture: `timestamp` is its decoding time, `composition_time` its presentation time minus that, in
/// milliseconds, `payload` the picture as the codec's MP4 has it. A composition time of 0 is left out, and so is any other for
/// codecs that have none (`av01`, `vp08`, `vp09`), whose pictures are shown in the order they come.
///
/// # Errors
///
/// [`FlvError::CompositionTime`] if that is not within -2²³ to 2²³ - 1.
pub fn video_frame(
    four_cc: [u8; 4],
    timestamp: MediaTime,
    composition_time: i32,
    keyframe: bool,
    payload: Bytes,
) -> Result<Tag, FlvError> {
    check_composition_time(composition_time)?;
    let (frame_type, flags) =
        if keyframe { (FrameType::Key, TagFlags::KEYFRAME) } else { (FrameType::Inter, TagFlags::EMPTY) };
    if !is_reordered(four_cc) {
        let head = video_head(frame_type, CODED_FRAMES, four_cc);
        return Ok(tag(TagKind::Video, &head, flags, timestamp, payload));
    }
    if composition_time == 0 {
        let head = video_head(frame_type, CODED_FRAMES_X, four_cc);
        return Ok(tag(TagKind::Video, &head, flags, timestamp, payload));
    }
    let [first, a, b, c, d] = video_head(frame_type, CODED_FRAMES, four_cc);
    let [_, high, middle, low] = composition_time.to_be_bytes();
    Ok(tag(TagKind::Video, &[first, a, b, c, d, high, middle, low], flags, timestamp, payload))
}

/// The tag that configures a decoder of sound: `config` is `OpusHead` for `Opus`.
#[must_use]
pub fn audio_sequence_start(four_cc: [u8; 4], config: Bytes, timestamp: MediaTime) -> Tag {
    let head = audio_head(SEQUENCE_START, four_cc);
    tag(TagKind::Audio, &head, TagFlags::SEQUENCE_HEADER, timestamp, config)
}

/// A tag of one packet of sound.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::enhanced;
/// use flowcast_rtmp::time::MediaTime;
/// let tag = enhanced::audio_frame(*b"Opus", MediaTime::ZERO, Bytes::from_static(b"\xf8\xff\xfe"));
/// assert_eq!(tag.body.to_bytes(), &b"\x91Opus\xf8\xff\xfe"[..]);
/// ```
#[must_use]
pub fn audio_frame(four_cc: [u8; 4], timestamp: MediaTime, payload: Bytes) -> Tag {
    tag(TagKind::Audio, &audio_head(CODED_FRAMES, four_cc), TagFlags::EMPTY, timestamp, payload)
}

const fn video_head(frame_type: FrameType, packet_type: u8, four_cc: [u8; 4]) -> [u8; 5] {
    let [a, b, c, d] = four_cc;
    [VIDEO | frame_type.wire() << 4 | packet_type, a, b, c, d]
}

const fn audio_head(packet_type: u8, four_cc: [u8; 4]) -> [u8; 5] {
    let [a, b, c, d] = four_cc;
    [AUDIO << 4 | packet_type, a, b, c, d]
}

fn tag(kind: TagKind, head: &[u8], flags: TagFlags, timestamp: MediaTime, payload: Bytes) -> Tag {
    Tag { kind, timestamp, flags, body: TagBody::with_head(head, payload) }
}
