//! What can go wrong, split by what the caller does next.

use std::path::PathBuf;
use std::sync::Arc;

use crate::limits::Exceeded;

/// Why libav, or an input given to it, failed. Addresses in it are redacted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file.
    #[error("{}: no such file", path.display())]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// The path names a directory, a FIFO, a device or a socket.
    #[error("{}: is a {kind}, not a regular file", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The operating system would not let us open, read or create a file.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The path as given.
        path: PathBuf,
        /// What was tried ("open", "read", "create").
        operation: &'static str,
        /// The system's error.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The file has no bytes.
    #[error("{input}: is empty")]
    Empty {
        /// The input, redacted.
        input: String,
    },
    /// The input is damaged, cut off, or not media.
    #[error("{input}: not readable as media: {message}")]
    InvalidData {
        /// The input, redacted.
        input: String,
        /// The message of libav or the converter.
        message: String,
    },
    /// The input is in a format that is not opened: one that names other files or hosts (a playlist, a concat script), or one
    /// that is no media container.
    #[error("{input}: format {format} is not opened")]
    UnsupportedFormat {
        /// The input, redacted.
        input: String,
        /// libav's name of the format.
        format: String,
    },
    /// The input tried to reach another file or host, or its address is of a scheme that is not opened.
    #[error("{input}: {protocol} is not allowed for this input")]
    ProtocolRefused {
        /// The input, redacted.
        input: String,
        /// The scheme or protocol that was refused.
        protocol: String,
    },
    /// The linked libav was built without what an address needs: see [`require_protocol`](crate::require_protocol).
    #[error("the FFmpeg libraries were built without {library}, which {protocol}:// needs")]
    ProtocolNotBuilt {
        /// The scheme of the address.
        protocol: String,
        /// The library that is missing ("libsrt").
        library: &'static str,
    },
    /// The input would make libav hold or do more than is allowed: see [`InputLimits`](crate::InputLimits).
    #[error("{input}: more than {allowed} {} (InputLimits::{limit})", Exceeded::what(limit))]
    LimitExceeded {
        /// The input, redacted.
        input: String,
        /// The field of [`InputLimits`](crate::InputLimits).
        limit: &'static str,
        /// Its value.
        allowed: u64,
    },
    /// A packet cannot be decoded: the input is damaged there. The decoder goes on with the next packet.
    #[error("track {track}: damaged{}: {message}", at(*pts))]
    Damaged {
        /// Index of the track.
        track: usize,
        /// Time of the packet in ticks of its track, if known. Decoders hold packets back, so the damage may lie a few before.
        pts: Option<i64>,
        /// libav's text.
        message: String,
    },
    /// The input has no audio and no video track.
    #[error("{input}: no playable track")]
    NoPlayableTrack {
        /// The input, redacted.
        input: String,
    },
    /// A raw stream has no timestamps and they cannot be derived, because its frames are reordered.
    #[error("{input}: track {track} has no timestamps and its frames are reordered")]
    MissingTimestamps {
        /// The input, redacted.
        input: String,
        /// Index of the track.
        track: usize,
    },
    /// A server refused what it was asked for.
    #[error("{address}: refused with status {status}: {message}")]
    Refused {
        /// The address, redacted.
        address: String,
        /// The status of its answer, as HTTP and RTSP have them: 401, 403, 404; else 400 or 500 for the class.
        status: u16,
        /// libav's text.
        message: String,
    },
    /// An address cannot be connected to, or its connection is lost.
    #[error("{address}: cannot {operation}: {message}")]
    Network {
        /// The address, redacted.
        address: String,
        /// What was tried ("connect", "send").
        operation: &'static str,
        /// libav's text.
        message: String,
    },
    /// The input cannot go back: a live input, a pipe.
    #[error("{input}: cannot go back to the start")]
    NotSeekable {
        /// The input, redacted.
        input: String,
    },
    /// A deadline passed.
    #[error("{operation}: deadline passed")]
    Timeout {
        /// What was going on ("open", "read").
        operation: &'static str,
    },
    /// [`Interrupt::cancel`](crate::Interrupt::cancel) was called.
    #[error("{operation}: cancelled")]
    Cancelled {
        /// What was going on.
        operation: &'static str,
    },
    /// libav has no encoder, decoder, filter, muxer or demuxer of that name, or none of them works on this machine.
    #[error("no usable {what}: {name}")]
    Unavailable {
        /// "encoder", "decoder", "filter", "muxer", "format".
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A hardware encoder runs no more at a time. It is not broken: one may become free, and software encoders remain.
    #[error("encoder {name}: all its sessions are in use")]
    NoFreeSession {
        /// libav's name of the encoder.
        name: String,
    },
    /// An argument that can never work: a zero size, a string with a NUL, a track without a configuration.
    #[error("invalid argument: {message}")]
    InvalidArgument {
        /// What is wrong with it.
        message: String,
    },
    /// The loaded libav is of another major version than the one this program was compiled for.
    #[error("{library} {linked} is loaded, but this program was compiled for {compiled}")]
    VersionMismatch {
        /// The library.
        library: &'static str,
        /// Major version in the process.
        linked: u32,
        /// Major version of the headers.
        compiled: u32,
    },
    /// Any other failure of libav.
    #[error("{operation}: {message} (libav code {code})")]
    Libav {
        /// libav's error code (an `AVERROR`), negative.
        code: i32,
        /// The function that failed.
        operation: &'static str,
        /// libav's text.
        message: String,
    },
}

impl Error {
    /// A stable name for programs and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "INPUT_NOT_FOUND",
            Self::NotAFile { .. } => "INPUT_NOT_A_FILE",
            Self::Io { .. } => "INPUT_IO",
            Self::Empty { .. } => "INPUT_EMPTY",
            Self::InvalidData { .. } => "INPUT_INVALID",
            Self::UnsupportedFormat { .. } => "FORMAT_UNSUPPORTED",
            Self::ProtocolRefused { .. } => "PROTOCOL_REFUSED",
            Self::ProtocolNotBuilt { .. } => "PROTOCOL_NOT_BUILT",
            Self::LimitExceeded { .. } => "INPUT_LIMIT_EXCEEDED",
            Self::Damaged { .. } => "PACKET_DAMAGED",
            Self::NoPlayableTrack { .. } => "NO_PLAYABLE_TRACK",
            Self::MissingTimestamps { .. } => "TIMESTAMPS_MISSING",
            Self::Refused { .. } => "REFUSED",
            Self::Network { .. } => "NETWORK",
            Self::NotSeekable { .. } => "INPUT_NOT_SEEKABLE",
            Self::Timeout { .. } => "TIMEOUT",
            Self::Cancelled { .. } => "CANCELLED",
            Self::Unavailable { .. } => "UNAVAILABLE",
            Self::NoFreeSession { .. } => "NO_FREE_SESSION",
            Self::InvalidArgument { .. } => "INVALID_ARGUMENT",
            Self::VersionMismatch { .. } => "LIBAV_VERSION_MISMATCH",
            Self::Libav { .. } => "LIBAV",
        }
    }

    /// Whether it is damage in the input behind which reading or decoding goes on with the next packet: to be counted, and
    /// tolerated up to a limit.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::InvalidData { .. })
    }

    /// Whether the same call may succeed later without anything being changed: time-outs, network and system trouble, a
    /// busy device.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Io { .. }
                | Self::Libav { .. }
                | Self::NoFreeSession { .. }
                | Self::Network { .. }
                | Self::Refused { status: 500.., .. }
        )
    }
}

/// " at 512", or nothing.
fn at(pts: Option<i64>) -> String {
    pts.map(|pts| format!(" at {pts}")).unwrap_or_default()
}
