//! Chunking once for many connections.
//!
//! The players of a stream all get the same messages. With type 1 headers, which say the time as a step from the
//! message before, the chunks of a message are the same bytes on every connection that also got the message before,
//! whatever time the connection started at.

use bytes::{Bytes, BytesMut};

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
    /// Time of the last audio, video and script tag of track 0.
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
        // Most connections are sent track 0 only. Those that are sent all of them share it where the times are the same.
        let previous = if tag.track() == 0 { previous.replace(tag.timestamp) } else { *previous };
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

    /// Bytes of the shared form; `None` if there is none.
    fn shared_len(&self) -> Option<usize> {
        self.previous?;
        let (payload, further) = (self.tag.body.payload().len(), self.further().as_slice().len());
        let rest = payload.saturating_sub(self.first_piece);
        let headers = rest.div_ceil(self.chunk_size.max(1)).saturating_mul(further);
        Some(self.start.len.saturating_add(payload).saturating_add(headers))
    }

    /// Appends the shared form to `out`.
    fn copy(&self, out: &mut BytesMut) {
        out.extend_from_slice(self.start.as_slice());
        let payload = self.tag.body.payload();
        let (first, rest) = payload.split_at_checked(self.first_piece).unwrap_or((payload, &[]));
        out.extend_from_slice(first);
        let further = self.further();
        for piece in rest.chunks(self.chunk_size.max(1)) {
            out.extend_from_slice(further.as_slice());
            out.extend_from_slice(piece);
        }
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

/// Some messages in a row as one piece of bytes, for every connection that got the messages before them. Cloning shares
/// the bytes.
#[derive(Debug, Clone)]
pub struct SharedBatch {
    bytes: Bytes,
    chunk_size: usize,
    /// Of audio and video: when its last message before the batch was, and its last one in it.
    spans: [Option<(MediaTime, MediaTime)>; 2],
}

impl SharedBatch {
    /// Copies as many of `messages` together as have a shared form and, in all, up to `limit` bytes, in any case one; says how
    /// many those are. `None` if already the first one has no shared form, or if it is a script tag: those are not sent alike
    /// to every peer.
    pub fn collect<'a>(
        messages: impl Iterator<Item = &'a SharedMessage> + Clone,
        limit: usize,
    ) -> Option<(Self, usize)> {
        let mut chunk_size = None;
        let mut spans: [Option<(MediaTime, MediaTime)>; 2] = [None; 2];
        let (mut len, mut count) = (0_usize, 0_usize);
        for message in messages.clone() {
            let [audio, video] = &mut spans;
            let span = match message.tag.kind {
                TagKind::Audio => audio,
                TagKind::Video => video,
                TagKind::Script => break,
            };
            let (Some(previous), Some(more)) = (message.previous, message.shared_len()) else { break };
            let follows = span.is_none_or(|(_, last)| last == previous);
            let fits = count == 0 || len.saturating_add(more) <= limit;
            if !follows || !fits || *chunk_size.get_or_insert(message.chunk_size) != message.chunk_size {
                break;
            }
            *span = Some((span.map_or(previous, |(before, _)| before), message.tag.timestamp));
            len = len.saturating_add(more);
            count = count.saturating_add(1);
        }
        let chunk_size = chunk_size.filter(|_| count > 0)?;
        let mut bytes = BytesMut::with_capacity(len);
        messages.take(count).for_each(|message| message.copy(&mut bytes));
        Some((Self { bytes: bytes.freeze(), chunk_size, spans }, count))
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never true: there is a message in every batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(super) fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Of each kind in the batch: its chunk stream, and the times before and at the end.
    pub(super) fn spans(&self) -> impl Iterator<Item = (u32, MediaTime, MediaTime)> {
        let [audio, video] = self.spans;
        let of = |kind, span: Option<(MediaTime, MediaTime)>| {
            span.map(|(before, last)| (csid::of(kind), before, last))
        };
        of(TagKind::Audio, audio).into_iter().chain(of(TagKind::Video, video))
    }
}
