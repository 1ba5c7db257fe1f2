//! The unit that sources make and outputs take: one FLV tag, shared by reference count.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use bytes::{BufMut, Bytes, BytesMut};

use super::audio::AudioCodec;
use super::data;
use super::enhanced::{self, PacketType};
use super::script::{ON_META_DATA, SET_DATA_FRAME};
use super::video::{FrameType, VideoCodec};
use crate::time::MediaTime;

/// What a tag carries. The numbers are those of FLV tag types and of RTMP message types alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// Type 8.
    Audio,
    /// Type 9.
    Video,
    /// Type 18: AMF0 data, such as `onMetaData`.
    Script,
}

impl TagKind {
    /// The kind with this number on the wire; `None` for numbers that FLV has no tag for.
    #[must_use]
    pub const fn from_wire(id: u8) -> Option<Self> {
        match id {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }
}

/// The codec of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Of a video tag.
    Video(VideoCodec),
    /// Of an audio tag.
    Audio(AudioCodec),
}

impl Codec {
    /// A short name in lower case: see [`VideoCodec::name`] and [`AudioCodec::name`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Video(codec) => codec.name(),
            Self::Audio(codec) => codec.name(),
        }
    }
}

/// What queues and caches need to know of a tag without looking into its body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TagFlags(u8);

impl TagFlags {
    /// None of them.
    pub const EMPTY: Self = Self(0);
    /// A video frame that decoding can begin at. Never set on a sequence header, nor on audio; of several tracks it is
    /// track 0 that counts.
    pub const KEYFRAME: Self = Self(1);
    /// Codec configuration, to be sent again to players that join later: the last one of each kind and
    /// [track](Tag::track).
    pub const SEQUENCE_HEADER: Self = Self(1 << 1);
    /// `onMetaData`, with or without `@setDataFrame` before it.
    pub const METADATA: Self = Self(1 << 2);
    /// A video frame that no other frame refers to: it may be dropped alone.
    pub const DISPOSABLE: Self = Self(1 << 3);
    /// What belongs to the codec configuration and comes beside it: Enhanced RTMP's video metadata (`colorInfo`) and
    /// channel configuration. To be sent again to players that join later, after the sequence header of its kind and
    /// [track](Tag::track). Never set together with [`SEQUENCE_HEADER`](Self::SEQUENCE_HEADER).
    pub const SIDE_CONFIG: Self = Self(1 << 4);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for TagFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for TagFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for TagFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::KEYFRAME, "KEYFRAME"),
            (Self::SEQUENCE_HEADER, "SEQUENCE_HEADER"),
            (Self::METADATA, "METADATA"),
            (Self::DISPOSABLE, "DISPOSABLE"),
            (Self::SIDE_CONFIG, "SIDE_CONFIG"),
        ];
        f.debug_set()
            .entries(names.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| name))
            .finish()
    }
}

/// Packet type of AVC, AAC and what is carried like them: codec configuration.
const SEQUENCE_HEADER: u8 = 0;
/// Packet type of AVC and what is carried like it: frames.
const CODED_FRAMES: u8 = 1;

/// The most bytes that a [`TagBody`] keeps before its payload.
pub const MAX_HEAD: usize = 16;

/// The body of a tag: a short head of its own, then a payload that is shared.
///
/// The head lets a tagger put FLV's codec header in front of a buffer that somebody else owns, without copying that
/// buffer. Two bodies are equal if their joined bytes are, wherever the seam lies.
#[derive(Clone)]
pub struct TagBody {
    head: [u8; MAX_HEAD],
    head_len: u8,
    payload: Bytes,
}

impl TagBody {
    /// A body that is all payload.
    #[must_use]
    pub const fn new(payload: Bytes) -> Self {
        Self { head: [0; MAX_HEAD], head_len: 0, payload }
    }

    /// A body of `head`, then `payload`. A head of more than [`MAX_HEAD`] bytes costs a copy of the payload.
    #[must_use]
    pub fn with_head(head: &[u8], payload: Bytes) -> Self {
        let mut body = Self::new(payload);
        match (body.head.get_mut(..head.len()), u8::try_from(head.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(head);
                body.head_len = length;
            }
            _ => body.payload = join(head, &body.payload),
        }
        body
    }

    /// The bytes before the payload: none, or up to [`MAX_HEAD`].
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.head.get(..usize::from(self.head_len)).unwrap_or_default()
    }

    /// The shared bytes after the head.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Bytes of head and payload together.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.payload.len().saturating_add(self.head_len as usize)
    }

    /// Whether there is not a single byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The byte at `index`, counted from the beginning of the head.
    #[must_use]
    pub fn byte(&self, index: usize) -> Option<u8> {
        let head = self.head();
        head.get(index).or_else(|| self.payload.get(index.checked_sub(head.len())?)).copied()
    }

    /// All bytes in one piece. Copies only if there is a head.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.head() {
            [] => self.payload.clone(),
            head => join(head, &self.payload),
        }
    }

    /// The bytes from `start` to before `end`; `None` if they are not all there. Copies only if they begin in the head.
    #[must_use]
    pub fn part(&self, start: usize, end: usize) -> Option<Bytes> {
        let head = self.head().len();
        let (body, from, to) = match start.checked_sub(head) {
            Some(start) => (self.payload.clone(), start, end.checked_sub(head)?),
            None => (self.to_bytes(), start, end),
        };
        body.get(from..to).map(|part| body.slice_ref(part))
    }

    /// The first `N` bytes, filled up with zeros, and how many of them are there.
    #[must_use]
    pub(crate) fn peek<const N: usize>(&self) -> ([u8; N], usize) {
        let mut bytes = [0; N];
        let from = self.head().iter().chain(self.payload.iter());
        let count = bytes.iter_mut().zip(from).map(|(to, &byte)| *to = byte).count();
        (bytes, count)
    }
}

impl From<Bytes> for TagBody {
    fn from(payload: Bytes) -> Self {
        Self::new(payload)
    }
}

impl PartialEq for TagBody {
    fn eq(&self, other: &Self) -> bool {
        if self.head_len == other.head_len {
            return self.head() == other.head() && self.payload == other.payload;
        }
        let bytes = self.head().iter().chain(self.payload.iter());
        self.len() == other.len() && bytes.eq(other.head().iter().chain(other.payload.iter()))
    }
}

impl Eq for TagBody {}

impl fmt::Debug for TagBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, count) = self.peek::<8>();
        let shown = bytes.get(..count).unwrap_or_default();
        write!(f, "TagBody({} bytes, {shown:02x?}…)", self.len())
    }
}

fn join(head: &[u8], payload: &[u8]) -> Bytes {
    let mut joined = BytesMut::with_capacity(head.len().saturating_add(payload.len()));
    joined.put_slice(head);
    joined.put_slice(payload);
    joined.freeze()
}

/// One FLV tag. A clone shares the payload.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::{Tag, TagKind};
/// use flowcast_rtmp::time::MediaTime;
/// let tag = Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::from_static(&[0x17, 1, 0, 0, 0]));
/// assert!(tag.is_keyframe() && !tag.is_sequence_header());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it carries.
    pub kind: TagKind,
    /// Decoding time on the stream's clock.
    pub timestamp: MediaTime,
    /// What is known of the body.
    pub flags: TagFlags,
    /// Codec header and data.
    pub body: TagBody,
}

impl Tag {
    /// A tag as a file or a peer gave it: the flags are found by looking at the first bytes of the body.
    ///
    /// No body is refused here: of one that is too short or unknown, nothing is known.
    #[must_use]
    pub fn from_wire(kind: TagKind, timestamp: MediaTime, body: Bytes) -> Self {
        Self::with_body(kind, timestamp, TagBody::new(body))
    }

    /// The same of a body with a head.
    pub(super) fn with_body(kind: TagKind, timestamp: MediaTime, body: TagBody) -> Self {
        let flags = match kind {
            TagKind::Audio => audio_flags(&body),
            TagKind::Video => video_flags(&body),
            TagKind::Script => script_flags(&body),
        };
        Self { kind, timestamp, flags, body }
    }

    /// Whether this is a video tag.
    #[must_use]
    pub fn is_video(&self) -> bool {
        self.kind == TagKind::Video
    }

    /// Whether this is an audio tag.
    #[must_use]
    pub fn is_audio(&self) -> bool {
        self.kind == TagKind::Audio
    }

    /// Whether this is a script tag.
    #[must_use]
    pub fn is_script(&self) -> bool {
        self.kind == TagKind::Script
    }

    /// Whether this is a video frame that decoding can begin at.
    #[must_use]
    pub const fn is_keyframe(&self) -> bool {
        self.flags.contains(TagFlags::KEYFRAME)
    }

    /// Whether this is codec configuration.
    #[must_use]
    pub const fn is_sequence_header(&self) -> bool {
        self.flags.contains(TagFlags::SEQUENCE_HEADER)
    }

    /// Whether it says what a decoder has to know before the media: a sequence header, metadata, or what belongs to them.
    #[must_use]
    pub const fn is_header(&self) -> bool {
        self.is_sequence_header() || self.is_metadata() || self.is_side_config()
    }

    /// Whether this is `onMetaData`.
    #[must_use]
    pub const fn is_metadata(&self) -> bool {
        self.flags.contains(TagFlags::METADATA)
    }

    /// Whether this is a video frame that no other frame refers to.
    #[must_use]
    pub const fn is_disposable(&self) -> bool {
        self.flags.contains(TagFlags::DISPOSABLE)
    }

    /// Whether this is configuration beside the sequence header: see [`TagFlags::SIDE_CONFIG`].
    #[must_use]
    pub const fn is_side_config(&self) -> bool {
        self.flags.contains(TagFlags::SIDE_CONFIG)
    }

    /// The track of its kind that the tag belongs to: 0, unless it is an Enhanced RTMP multitrack tag. Of one that holds
    /// several tracks the smallest id, which is that of the default track if it is among them.
    ///
    /// It is read from the body, in a time that does not depend on its length.
    #[must_use]
    pub fn track(&self) -> u8 {
        enhanced::tracks(self.kind, &self.body).map(|track| track.id).min().unwrap_or(0)
    }

    /// The codec, as far as the tag says it: see [`VideoCodec::of`] and [`AudioCodec::of`].
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        match self.kind {
            TagKind::Video => VideoCodec::of(&self.body).map(Codec::Video),
            TagKind::Audio => AudioCodec::of(&self.body).map(Codec::Audio),
            TagKind::Script => None,
        }
    }
}

/// FLV annex E.4.2.1: the sound format, and for AAC the packet type.
fn audio_flags(body: &TagBody) -> TagFlags {
    if let Some(header) = enhanced::Header::read(TagKind::Audio, body) {
        return match header.packet_type {
            PacketType::SequenceStart => TagFlags::SEQUENCE_HEADER,
            PacketType::MultichannelConfig => TagFlags::SIDE_CONFIG,
            _ => TagFlags::EMPTY,
        };
    }
    let is_aac = body.byte(0).is_some_and(|first| first >> 4 == 10);
    if is_aac && body.byte(1) == Some(SEQUENCE_HEADER) { TagFlags::SEQUENCE_HEADER } else { TagFlags::EMPTY }
}

/// FLV annex E.4.3.1: the frame type, and for codecs that have configuration the packet type.
fn video_flags(body: &TagBody) -> TagFlags {
    let Some(first) = body.byte(0) else { return TagFlags::EMPTY };
    if enhanced::is_enhanced(TagKind::Video, body) {
        return enhanced_video_flags(body);
    }
    let packet_type =
        if VideoCodec::from_wire(first & 0x0F).has_packet_type() { body.byte(1) } else { Some(CODED_FRAMES) };
    match (first >> 4, packet_type) {
        (5, _) => TagFlags::EMPTY,
        (_, Some(SEQUENCE_HEADER)) => TagFlags::SEQUENCE_HEADER,
        (1, Some(CODED_FRAMES)) => TagFlags::KEYFRAME,
        (3, Some(CODED_FRAMES)) => TagFlags::DISPOSABLE,
        _ => TagFlags::EMPTY,
    }
}

fn enhanced_video_flags(body: &TagBody) -> TagFlags {
    let Some(header) = enhanced::Header::read(TagKind::Video, body) else { return TagFlags::EMPTY };
    match (header.packet_type, header.frame_type) {
        // Its frame type says nothing.
        (PacketType::Metadata, _) => TagFlags::SIDE_CONFIG,
        (_, Some(FrameType::Command)) => TagFlags::EMPTY,
        (PacketType::SequenceStart | PacketType::Mpeg2TsSequenceStart, _) => TagFlags::SEQUENCE_HEADER,
        (PacketType::CodedFrames | PacketType::CodedFramesX, Some(FrameType::Key)) => {
            // Players begin with track 0, which may be in the middle of a GOP when another track has a keyframe.
            let has_main = header.multitrack.is_none()
                || enhanced::tracks(TagKind::Video, body).any(|track| track.id == 0);
            if has_main { TagFlags::KEYFRAME } else { TagFlags::EMPTY }
        }
        (PacketType::CodedFrames | PacketType::CodedFramesX, Some(FrameType::DisposableInter)) => {
            TagFlags::DISPOSABLE
        }
        _ => TagFlags::EMPTY,
    }
}

/// `onMetaData` as an AMF0 string, with `@setDataFrame` before it where a publisher sent it.
fn script_flags(body: &TagBody) -> TagFlags {
    let (bytes, count) = body.peek::<29>();
    let start = bytes.get(..count).unwrap_or_default();
    if start.starts_with(data::ANNOUNCEMENT) {
        return TagFlags::SIDE_CONFIG;
    }
    let start = start.strip_prefix(SET_DATA_FRAME).unwrap_or(start);
    if start.starts_with(ON_META_DATA) { TagFlags::METADATA } else { TagFlags::EMPTY }
}
