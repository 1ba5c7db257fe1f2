//! Bounds on what a peer or a file can make this crate hold.

use std::fmt;

/// Which limit was hit; the errors of this crate carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// Bytes of one RTMP message, or of one FLV tag: [`Limits::message_bytes`].
    MessageBytes,
    /// Bytes of all messages that a connection has begun and not finished: [`Limits::assembly_bytes`].
    AssemblyBytes,
    /// Chunk streams in use on a connection: [`Limits::chunk_streams`].
    ChunkStreams,
    /// AMF0 objects and arrays inside each other: [`Limits::amf_depth`].
    AmfDepth,
    /// AMF0 values in one message: [`Limits::amf_values`].
    AmfValues,
    /// Bytes that one message repeats by AMF3 references: 64 KiB.
    AmfRepeated,
    /// All bytes of a connection before its publish or play was accepted: [`Limits::total_bytes_before_auth`].
    BytesBeforeAuth,
    /// Bytes received while a publish or play waits for its decision.
    HeldBytes,
    /// Message streams created on one connection.
    MessageStreams,
    /// Bytes of answers that a peer asked for and does not read.
    ReplyBytes,
    /// Bytes of the application name in `connect`.
    AppBytes,
    /// Bytes of one codec configuration, or of one metadata, of a publisher: [`Limits::header_bytes`].
    HeaderBytes,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MessageBytes => "bytes of a message or tag",
            Self::AssemblyBytes => "bytes under assembly",
            Self::ChunkStreams => "chunk streams",
            Self::AmfDepth => "AMF0 nesting depth",
            Self::AmfValues => "AMF0 values in a message",
            Self::AmfRepeated => "bytes repeated by AMF3 references",
            Self::BytesBeforeAuth => "bytes before publish or play",
            Self::HeldBytes => "bytes held for a decision",
            Self::MessageStreams => "message streams",
            Self::ReplyBytes => "bytes of unread answers",
            Self::AppBytes => "bytes of application name",
            Self::HeaderBytes => "bytes of codec configuration or metadata",
        })
    }
}

/// Bounds on what a peer or a file can make this crate hold in memory.
///
/// Memory grows with bytes received, never with lengths announced; these are the ends of that growth. Start from one
/// of the sets and change what you need:
///
/// ```
/// use flowcast_rtmp::limits::Limits;
/// let limits = Limits { message_bytes: 4 << 20, ..Limits::publisher() };
/// assert_eq!(limits.amf_depth, 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message or FLV tag. A keyframe must fit: 16 MiB (which FLV's 24 bit sizes end at anyway) for
    /// publishers, 64 KiB for everybody else. Larger lets one peer hold more memory.
    pub message_bytes: usize,
    /// Bytes of all unfinished messages of one connection. At least `message_bytes`; default 24 MiB for publishers.
    pub assembly_bytes: usize,
    /// Bytes of one codec configuration, or of one metadata, of a publisher; they are kept for players that join later. 1 MiB by
    /// default, which holds the keyframe index of a day of video that some encoders put there; else they are a few hundred.
    pub header_bytes: usize,
    /// Chunk streams in use on one connection, 64 by default. Encoders use about six.
    pub chunk_streams: usize,
    /// AMF0 objects and arrays inside each other, 16 by default. Real commands need three. Values are freed by
    /// recursion, so stay below some thousands.
    pub amf_depth: usize,
    /// AMF0 values in one message, 1024 by default; one takes about 56 bytes of memory and at least one on the wire.
    /// FLV files with a keyframe index in their metadata need more: see [`Limits::file`].
    pub amf_values: usize,
    /// Bytes that a connection may send in all before its publish or play was accepted, 64,000 by default.
    pub total_bytes_before_auth: u64,
}

impl Limits {
    /// For a connection that has not yet been let in: 64 KiB per message, 64,000 bytes in all.
    #[must_use]
    pub const fn before_auth() -> Self {
        Self {
            message_bytes: 64 << 10,
            assembly_bytes: 64 << 10,
            header_bytes: 1 << 20,
            chunk_streams: 64,
            amf_depth: 16,
            amf_values: 1024,
            total_bytes_before_auth: 64_000,
        }
    }

    /// For an accepted publisher: 16 MiB per message, 24 MiB under assembly.
    #[must_use]
    pub const fn publisher() -> Self {
        Self { message_bytes: 16 << 20, assembly_bytes: 24 << 20, ..Self::before_auth() }
    }

    /// For an accepted player, which has only commands to send: 64 KiB per message.
    #[must_use]
    pub const fn player() -> Self {
        Self::before_auth()
    }

    /// For FLV files of one's own: tags of any size FLV has, and 262,144 AMF0 values, which holds the keyframe index
    /// of a day of video.
    #[must_use]
    pub const fn file() -> Self {
        Self { amf_values: 1 << 18, ..Self::publisher() }
    }
}
