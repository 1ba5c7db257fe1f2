//! Chunking once for many connections.
//!
//! The players of a stream all get the same messages. With type 1 headers, which say the time as a step from the
//! message before, the chunks of a message are the same bytes on every connection that also got the message before,
//! whatever time the connection started at.

use super::csid;
use super::header::{EXTENDED, HeaderBytes, MAX_CHUNK_SIZE};
use crate::flv::tag::MAX_HEAD;
use crate::flv::{Tag, TagKind};
use crate::time::MediaTime;
use crate::wire::WireBuf;

/// Chunks the tags of one stream for all connections with one chunk size.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::chunk::{ChunkWriter, SharedChunker};
/// use flowcast_rtmp::flv::{Tag, TagKind};
/// use flowcast_rtmp::time::MediaTime;
/// use flowcast_rtmp::wire::WireBuf;
///
/// let mut chunker = SharedChunker::new(60_000);
/// let mut player = (ChunkWriter::new(60_000), WireBuf::new());
/// for millis in [0, 23, 46] {
///     let tag = Tag::from_wire(TagKind::Audio, MediaTime::from_millis(millis), Bytes::from_static(&[0xAF, 1, 0]));
///     let message = chunker.chunk(&tag);
///     player.0.write_shared(&message, 1, MediaTime::ZERO, &mut player.1);
/// }
/// assert_eq!(player.1.len(), (12 + 3) + 2 * (8 + 3));
/// ```
#[derive(Debug, Clone)]
pub struct SharedChunker {
    chunk_size: usize,
    /// Time of the last audio, video and script tag.
    previous: [Option<MediaTime>; 3],
}

/// A type 1 header of 8 bytes, a tag's head of up to 16, and a continuation header between each two bytes of that if chunks
/// are one byte long.
const START: usize = 8 + MAX_HEAD + MAX_HEAD;

/// Bytes in place: one allocation less for each tag.
#[derive(Debug, Clone, Copy)]
struct Start {
    bytes: [u8; START],
    len: usize,
}

impl Default for Start {
    fn default() -> Self {
        Self { bytes: [0; START], len: 0 }
    }
}

impl Start {
    fn put(&mut self, bytes: &[u8]) {
        for (slot, byte) in self.bytes.iter_mut().skip(self.len).zip(bytes) {
            *slot = *byte;
        }
        self.len = self.len.saturating_add(bytes.len()).min(START);
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// One tag as chunks that any number of connections can send. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct SharedMessage {
    tag: Tag,
    chunk_size: usize,
    previous: Option<MediaTime>,
    /// Type 1 header and the tag's head, cut into chunks where the head is longer than one. Empty without `previous`.
    start: Start,
    /// Payload bytes that belong to the chunk `start` ends in.
    first_piece: usize,
}

impl SharedChunker {
    /// For connections whose chunk size is `chunk_size` bytes.
    #[must_use]
    pub fn new(chunk_size: u32) -> Self {
        Self { chunk_size: chunk_size.clamp(1, MAX_CHUNK_SIZE) as usize, previous: [None; 3] }
    }

    /// Chunks the next tag of the stream. The payload is shared with `tag`.
    pub fn chunk(&mut self, tag: &Tag) -> SharedMessage {
        self.chunk_owned(tag.clone())
    }

    /// As [`chunk`](Self::chunk), without a second reference to the payload.
    pub fn chunk_owned(&mut self, tag: Tag) -> SharedMessage {
        let [audio, video, script] = &mut self.previous;
        let previous = match tag.kind {
            TagKind::Audio => audio,
            TagKind::Video => video,
            TagKind::Script => script,
        };
        let previous = previous.replace(tag.timestamp);
        SharedMessage::new(tag, self.chunk_size, previous)
    }
}

impl SharedMessage {
    fn new(tag: Tag, chunk_size: usize, previous: Option<MediaTime>) -> Self {
        let mut message = Self { tag, chunk_size, previous: None, start: Start::default(), first_piece: 0 };
        let tag = &message.tag;
        let step = previous.and_then(|previous| u32::try_from(tag.timestamp.millis_since(previous)).ok());
        let length = u32::try_from(tag.body.len()).ok().filter(|length| *length <= MAX_CHUNK_SIZE);
        let (Some(step), Some(length)) = (step.filter(|step| *step < EXTENDED), length) else {
            return message;
        };
        let csid = csid::of(tag.kind);
        let mut start = Start::default();
        start.put(HeaderBytes::same_stream(csid, step, length, tag.kind.wire()).as_slice());
        let mut filled = 0_usize;
        for piece in tag.body.head().chunks(chunk_size) {
            if filled > 0 {
                start.put(message.further().as_slice());
            }
            start.put(piece);
            filled = piece.len();
        }
        message.first_piece = chunk_size.saturating_sub(filled).min(tag.body.payload().len());
        message.previous = previous;
        message.start = start;
        message
    }

    /// The tag that was chunked.
    #[must_use]
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// About how many bytes it takes on the wire: what a queue should count.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        let body = self.tag.body.len();
        body.saturating_add(12).saturating_add(body.checked_div(self.chunk_size).unwrap_or(0))
    }

    /// Time of the message the delta counts from; `None` if there is no shared form.
    pub(super) fn previous(&self) -> Option<MediaTime> {
        self.previous
    }

    pub(super) fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Queues the shared form: two pieces for a body of one chunk.
    pub(super) fn write(&self, out: &mut WireBuf) {
        let payload = self.tag.body.payload();
        out.put_slice(self.start.as_slice());
        let further = self.further();
        let mut from = 0_usize;
        let mut to = self.first_piece;
        if to == payload.len() && to > 0 {
            out.put_bytes(payload.clone());
            return;
        }
        loop {
            if from < to {
                out.put_bytes(payload.slice(from..to));
            }
            if to >= payload.len() {
                return;
            }
            further.write(out);
            from = to;
            to = from.saturating_add(self.chunk_size).min(payload.len());
        }
    }

    fn further(&self) -> HeaderBytes {
        HeaderBytes::continuation(csid::of(self.tag.kind), 0)
    }
}
