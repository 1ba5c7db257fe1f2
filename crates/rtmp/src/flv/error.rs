//! What can be wrong with FLV bytes, and what FLV cannot express.

use crate::amf0::AmfError;
use crate::limits::LimitKind;

/// Why bytes are not FLV that this crate takes, or why something cannot be written as FLV.
///
/// `offset` counts bytes from the beginning of the file, where a reader of files reports; from the beginning of the
/// tag's body (or codec configuration) otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlvError {
    /// The first three bytes are not `FLV`.
    #[error("not an FLV file")]
    Signature,
    /// The bytes end within a header, a tag or a field.
    #[error("FLV {what} at byte {offset} is cut off: {missing} more bytes needed at least")]
    Truncated {
        /// What is not all there.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// Bytes that are missing at least.
        missing: u64,
    },
    /// A field has a value that it must not have.
    #[error("FLV {what} at byte {offset} has the invalid value {value}")]
    Invalid {
        /// Which field.
        what: &'static str,
        /// What it holds.
        value: u64,
        /// Where it is.
        offset: u64,
    },
    /// A tag is larger than allowed.
    #[error("FLV tag at byte {offset} has {size} bytes, over the limit of {limit} {kind}")]
    Limit {
        /// Which limit.
        kind: LimitKind,
        /// Its value.
        limit: usize,
        /// What was announced.
        size: u64,
        /// Where the tag begins.
        offset: u64,
    },
    /// The tag is encrypted (its filter bit is set).
    #[error("FLV tag at byte {offset} is encrypted")]
    Encrypted {
        /// Where the tag begins.
        offset: u64,
    },
    /// The header is an Enhanced RTMP one, where the older form was expected.
    #[error("Enhanced RTMP header where a plain FLV one was expected")]
    Enhanced,
    /// A script tag is not `onMetaData` with an object.
    #[error("script tag is not onMetaData")]
    NotMetadata,
    /// A script tag is not AMF0.
    #[error("script tag is not valid AMF0")]
    Script(#[from] AmfError),
    /// FLV holds no MP3 of this sample rate: only 44100, 22050 and 11025 Hz, and 48000 Hz by convention.
    #[error("FLV cannot carry MP3 at {rate_hz} Hz")]
    Mp3Rate {
        /// The sample rate, in hertz.
        rate_hz: u32,
    },
    /// A composition time does not fit FLV's signed 24 bits of milliseconds.
    #[error("composition time of {millis} ms does not fit FLV")]
    CompositionTime {
        /// Presentation minus decoding time, in milliseconds.
        millis: i64,
    },
    /// A body is larger than FLV's 24 bits of size can say.
    #[error("a tag body of {size} bytes does not fit FLV")]
    TooLarge {
        /// Its bytes.
        size: u64,
    },
}

impl FlvError {
    /// The same error with its offset counted from `base` bytes further ahead.
    #[must_use]
    pub fn shifted(mut self, base: u64) -> Self {
        match &mut self {
            Self::Truncated { offset, .. }
            | Self::Invalid { offset, .. }
            | Self::Limit { offset, .. }
            | Self::Encrypted { offset } => *offset = offset.saturating_add(base),
            _ => {}
        }
        self
    }
}
