//! Enhanced RTMP's tag headers: packet type and FourCC instead of FLV's codec numbers, several tracks in one stream, and
//! times finer than a millisecond.
//!
//! Specification: Veovera,
//! [*Enhanced RTMP v2*](https://veovera.org/docs/enhanced/enhanced-rtmp-v2), "ExAudioTagHeader" and
//! "ExVideoTagHeader"; v1 is the part of it without tracks and ModEx. Read here is what a server needs to pass such tags
//! on and to say what they are; the coded data is left alone. Written are tags of one track.

mod single;
mod tags;

pub use single::{
    has_mod_ex, has_number, in_flv_form, number_four_cc, on_track, single_tracks, with_four_cc, with_number,
    without_mod_ex,
};
pub use tags::{audio_frame, audio_sequence_start, video_frame, video_sequence_start};

use super::video::FrameType;
use super::{TagBody, TagKind};

/// The sound format that says "extended header".
const AUDIO: u8 = 9;
/// The bit of a video tag's first byte that says "extended header".
const VIDEO: u8 = 0x80;

const AUDIO_MULTITRACK: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const MOD_EX: u8 = 7;

/// ModEx type: three bytes of nanoseconds.
const TIMESTAMP_OFFSET_NANO: u8 = 0;

/// ModEx prefixes of one header: there is one kind of them today. More would only cost time.
const MAX_MOD_EX: usize = 16;

/// Tracks of one tag: their ids have eight bits.
const MAX_TRACKS: usize = 256;

/// What a tag with an extended header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PacketType {
    /// 0: codec configuration.
    SequenceStart,
    /// 1: frames, with a composition time where the codec has one (`avc1`, `hvc1`, `vvc1`).
    CodedFrames,
    /// 2: the end of the track.
    SequenceEnd,
    /// 3, video: frames whose composition time is 0 and left out.
    CodedFramesX,
    /// 4, video: facts about the picture, such as `colorInfo` for HDR, in AMF.
    Metadata,
    /// 4, audio: which channel is where.
    MultichannelConfig,
    /// 5, video: codec configuration as an MPEG-2 TS descriptor.
    Mpeg2TsSequenceStart,
    /// Any other.
    Unknown(u8),
}

impl PacketType {
    const fn from_wire(kind: TagKind, id: u8) -> Self {
        match (id, kind) {
            (0, _) => Self::SequenceStart,
            (1, _) => Self::CodedFrames,
            (2, _) => Self::SequenceEnd,
            (3, TagKind::Video) => Self::CodedFramesX,
            (4, TagKind::Video) => Self::Metadata,
            (4, TagKind::Audio) => Self::MultichannelConfig,
            (5, TagKind::Video) => Self::Mpeg2TsSequenceStart,
            (other, _) => Self::Unknown(other),
        }
    }
}

/// How the tracks of a multitrack tag lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Multitrack {
    /// 0: one track, up to the end of the tag.
    One,
    /// 1: several tracks of one codec, each with its size.
    Many,
    /// 2: several tracks, each with its codec and size.
    ManyCodecs,
}

/// An extended header, all but the tracks' own parts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the tag holds, in every one of its tracks.
    pub packet_type: PacketType,
    /// Of video, what the pictures are; `None` for numbers that mean nothing. It says nothing in
    /// [`PacketType::Metadata`]. A [`FrameType::Command`] has a byte of command and no data.
    pub frame_type: Option<FrameType>,
    /// The codec, such as `hvc1` or `Opus`; `None` if every track has its own, or if it is cut off.
    pub four_cc: Option<[u8; 4]>,
    /// How the tracks lie; `None` without the multitrack extension: all of it is track 0.
    pub multitrack: Option<Multitrack>,
    /// Nanoseconds to be added to the tag's time when it is shown, 0 to 999,999.
    pub nanos: u32,
    /// Bytes of the header: where the data or the first track begins.
    pub len: usize,
}

impl Header {
    /// The extended header of a body; `None` if it is not extended, is cut off (the FourCC apart), or says multitrack in
    /// a way that the specification has not.
    #[must_use]
    pub fn read(kind: TagKind, body: &TagBody) -> Option<Self> {
        let first = body.byte(0)?;
        let multitrack_type = multitrack_type(kind, first)?;
        let frame_type = if kind == TagKind::Video { FrameType::from_wire(first >> 4 & 7) } else { None };
        let mut packet_type = first & 0x0F;
        let (mut next, mut nanos) = (1, 0);
        for _ in 0..MAX_MOD_EX {
            if packet_type != MOD_EX {
                break;
            }
            (next, packet_type) = mod_ex(body, next, &mut nanos)?;
        }
        let is_command = frame_type == Some(FrameType::Command)
            && PacketType::from_wire(kind, packet_type) != PacketType::Metadata;
        let mut multitrack = None;
        if packet_type == multitrack_type && !is_command {
            let byte = body.byte(next)?;
            multitrack = Some(match byte >> 4 {
                0 => Multitrack::One,
                1 => Multitrack::Many,
                2 => Multitrack::ManyCodecs,
                _ => return None,
            });
            packet_type = byte & 0x0F;
            next = next.saturating_add(1);
        }
        let mut four_cc = None;
        if !is_command && multitrack != Some(Multitrack::ManyCodecs) {
            four_cc = four_bytes(body, next);
            next = next.saturating_add(4);
        }
        let packet_type = match packet_type {
            MOD_EX => PacketType::Unknown(MOD_EX),
            other => PacketType::from_wire(kind, other),
        };
        Some(Self { packet_type, frame_type, four_cc, multitrack, nanos, len: next })
    }

    /// Whether the tag is a command to the player and has no data.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.frame_type == Some(FrameType::Command) && self.packet_type != PacketType::Metadata
    }
}

/// One track in a tag with an extended header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its id; 0 is the one that most players take.
    pub id: u8,
    /// Its codec.
    pub four_cc: [u8; 4],
    /// Where its data begins in the body.
    pub start: usize,
    /// Where its data ends in the body.
    pub end: usize,
}

/// The tracks of a tag with an extended header, in the order of the wire: one, unless the tag is a multitrack one. They
/// end where something is cut off, and after 256.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::{TagBody, TagKind, enhanced};
/// // Two tracks of Opus, of two bytes and of one.
/// let body = TagBody::new(Bytes::from_static(b"\x95\x11Opus\x00\x00\x00\x02ab\x01\x00\x00\x01c"));
/// let tracks: Vec<_> = enhanced::tracks(TagKind::Audio, &body).map(|t| (t.id, t.end - t.start)).collect();
/// assert_eq!(tracks, [(0, 2), (1, 1)]);
/// ```
pub fn tracks(kind: TagKind, body: &TagBody) -> impl Iterator<Item = Track> {
    let header = Header::read(kind, body).filter(|header| !header.is_command());
    let mut next = header.map(|header| header.len);
    std::iter::from_fn(move || {
        let (header, position) = (header?, next.take()?);
        let (track, following) = track(&header, body, position)?;
        next = following;
        Some(track)
    })
    .take(MAX_TRACKS)
}

/// The track at `position`, and where another one may begin.
fn track(header: &Header, body: &TagBody, mut position: usize) -> Option<(Track, Option<usize>)> {
    let Some(multitrack) = header.multitrack else {
        let track = Track { id: 0, four_cc: header.four_cc?, start: position, end: body.len() };
        return Some((track, None));
    };
    let mut four_cc = header.four_cc;
    if multitrack == Multitrack::ManyCodecs {
        four_cc = four_bytes(body, position);
        position = position.saturating_add(4);
    }
    let id = body.byte(position)?;
    position = position.saturating_add(1);
    if multitrack == Multitrack::One {
        return Some((Track { id, four_cc: four_cc?, start: position, end: body.len() }, None));
    }
    let mut size = 0;
    for _ in 0..3 {
        size = size << 8 | usize::from(body.byte(position)?);
        position = position.saturating_add(1);
    }
    let end = position.saturating_add(size);
    let track = Track { id, four_cc: four_cc?, start: position, end };
    (end <= body.len()).then_some((track, Some(end)))
}

/// Whether the body's header is an extended one.
#[must_use]
pub fn is_enhanced(kind: TagKind, body: &TagBody) -> bool {
    body.byte(0).and_then(|first| multitrack_type(kind, first)).is_some()
}

/// The FourCC in an extended header, such as `hvc1`, `av01` or `Opus`.
///
/// `None` if the header is not extended, is cut off, or is that of a multitrack tag with a FourCC for each track.
#[must_use]
pub fn four_cc(kind: TagKind, body: &TagBody) -> Option<[u8; 4]> {
    Header::read(kind, body)?.four_cc
}

/// The FourCC of track 0, else of the first.
pub(super) fn main_four_cc(kind: TagKind, body: &TagBody) -> Option<[u8; 4]> {
    let header = Header::read(kind, body)?;
    let default = || tracks(kind, body).find(|track| track.id == 0).or_else(|| tracks(kind, body).next());
    header.four_cc.or_else(|| default().map(|track| track.four_cc))
}

/// Codecs whose frames have a composition time.
const REORDERED: [[u8; 4]; 3] = [*b"avc1", *b"hvc1", *b"vvc1"];

/// Whether a composition time precedes the frames of a codec.
pub(super) fn is_reordered(four_cc: [u8; 4]) -> bool {
    REORDERED.contains(&four_cc)
}

/// The packet type that means multitrack, if a first byte begins an extended header.
fn multitrack_type(kind: TagKind, first: u8) -> Option<u8> {
    match kind {
        TagKind::Audio => (first >> 4 == AUDIO).then_some(AUDIO_MULTITRACK),
        TagKind::Video => (first & VIDEO != 0).then_some(VIDEO_MULTITRACK),
        TagKind::Script => None,
    }
}

/// Reads a ModEx prefix at `next`; where the rest goes on, and the packet type that it modifies.
fn mod_ex(body: &TagBody, mut next: usize, nanos: &mut u32) -> Option<(usize, u8)> {
    let mut size = usize::from(body.byte(next)?).saturating_add(1);
    next = next.saturating_add(1);
    if size == 256 {
        let high = body.byte(next)?;
        let low = body.byte(next.saturating_add(1))?;
        size = usize::from(u16::from_be_bytes([high, low])).saturating_add(1);
        next = next.saturating_add(2);
    }
    let data = next;
    next = next.saturating_add(size);
    let types = body.byte(next)?;
    if types >> 4 == TIMESTAMP_OFFSET_NANO && size >= 3 {
        let [_, high, middle, low] = four_bytes(body, data.saturating_sub(1))?;
        *nanos = u32::from_be_bytes([0, high, middle, low]).min(999_999);
    }
    Some((next.saturating_add(1), types & 0x0F))
}

fn four_bytes(body: &TagBody, from: usize) -> Option<[u8; 4]> {
    let mut bytes = [0; 4];
    for (place, index) in bytes.iter_mut().zip(from..) {
        *place = body.byte(index)?;
    }
    Some(bytes)
}
