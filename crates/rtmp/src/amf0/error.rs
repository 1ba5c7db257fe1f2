//! What can be wrong with AMF0 bytes.

use crate::limits::LimitKind;

/// Why bytes are not AMF0 that this crate takes.
///
/// `offset` counts bytes from the first one that the decoder was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmfError {
    /// The bytes end within a value, or a length in them reaches past their end.
    #[error("AMF0 ends within a value at byte {offset}: {missing} more needed at least")]
    Truncated {
        /// Where the part begins that is not all there.
        offset: u64,
        /// Bytes that are missing at least.
        missing: u64,
    },
    /// More values, or deeper nesting, than allowed.
    #[error("AMF0 at byte {offset} exceeds the limit of {limit} {kind}")]
    Limit {
        /// Which limit.
        kind: LimitKind,
        /// Its value.
        limit: usize,
        /// The value that was one too many.
        offset: u64,
    },
    /// A reference to an earlier object (marker 7, or AMF3's), or to a string or traits that are not there. No known
    /// peer sends one, and they can make values of unbounded size.
    #[error("AMF reference at byte {offset} refused")]
    Reference {
        /// Where the marker is.
        offset: u64,
    },
    /// An AMF3 value (behind marker 0x11) that is not taken: a vector, a dictionary, an externalizable object, or no
    /// value at all.
    #[error("AMF3 marker {marker:#04x} at byte {offset} is not a value that is taken")]
    Amf3 {
        /// The AMF3 marker.
        marker: u8,
        /// Where it is.
        offset: u64,
    },
    /// A marker that is reserved (MovieClip, RecordSet), unknown, or an object end outside of an object.
    #[error("AMF0 marker {marker:#04x} at byte {offset} is not the beginning of a value")]
    Marker {
        /// The marker.
        marker: u8,
        /// Where it is.
        offset: u64,
    },
}

impl AmfError {
    /// The byte at which decoding stopped, from the first byte that the decoder was given.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Truncated { offset, .. }
            | Self::Limit { offset, .. }
            | Self::Reference { offset }
            | Self::Amf3 { offset, .. }
            | Self::Marker { offset, .. } => *offset,
        }
    }
}
