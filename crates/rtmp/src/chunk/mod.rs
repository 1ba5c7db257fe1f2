//! The chunk stream: messages cut into chunks and put together again
//! ([RTMP 1.0, section 5.3](https://rtmp.veriskope.com/docs/spec/#53chunking)).

mod header;
mod reader;
mod shared;
mod writer;

pub use header::{MAX_CHUNK_SIZE, MAX_CHUNK_STREAM_ID, MessageHeader};
pub use reader::{ChunkReader, Message};
pub use shared::{SharedBatch, SharedChunker, SharedMessage};
pub use writer::ChunkWriter;

/// Chunk size in both directions until a Set Chunk Size, bytes.
pub const DEFAULT_CHUNK_SIZE: u32 = 128;

/// Chunk stream ids used when sending.
pub mod csid {
    use crate::flv::TagKind;

    /// Protocol control and user control.
    pub const CONTROL: u32 = 2;
    /// Commands on the connection.
    pub const COMMAND: u32 = 3;
    /// Commands on a message stream.
    pub const STREAM_COMMAND: u32 = 8;
    /// Audio.
    pub const AUDIO: u32 = 4;
    /// Metadata and other script data.
    pub const SCRIPT: u32 = 5;
    /// Video.
    pub const VIDEO: u32 = 6;

    /// The chunk stream of a kind of tag.
    #[must_use]
    pub fn of(kind: TagKind) -> u32 {
        match kind {
            TagKind::Audio => AUDIO,
            TagKind::Video => VIDEO,
            TagKind::Script => SCRIPT,
        }
    }
}
