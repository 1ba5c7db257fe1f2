//! Messages in, chunks out: the sending half of the chunk stream, one per connection.

use bytes::Bytes;

use super::header::{EXTENDED, HeaderBytes, MAX_CHUNK_SIZE, MAX_CHUNK_STREAM_ID, MessageHeader};
use super::{DEFAULT_CHUNK_SIZE, SharedBatch, SharedMessage, csid};
use crate::flv::{Tag, TagKind};
use crate::time::{MediaTime, WireTime};
use crate::wire::WireBuf;

/// Cuts messages into chunks and remembers per chunk stream what the peer already knows.
///
/// Commands and protocol control always get a type 0 header. Audio, video and script messages get type 1 as soon as
/// their chunk stream has had a message of the same message stream and the time goes forward: small, and no extended
/// timestamps for sessions longer than 4 h 39 m.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: usize,
    /// The last message of every chunk stream that was used for media.
    last: Vec<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    csid: u32,
    timestamp: WireTime,
    stream_id: u32,
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self::new(DEFAULT_CHUNK_SIZE)
    }
}

impl ChunkWriter {
    /// A writer with the given chunk size in bytes, 1 to 16,777,215; the peer must know it (128 at the start).
    #[must_use]
    pub fn new(chunk_size: u32) -> Self {
        Self { chunk_size: clamp(chunk_size), last: Vec::new() }
    }

    /// Bytes of payload in a full chunk.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        u32::try_from(self.chunk_size).unwrap_or(MAX_CHUNK_SIZE)
    }

    /// Cuts from the next message on into chunks of this size in bytes; write the Set Chunk Size message first.
    pub fn set_chunk_size(&mut self, chunk_size: u32) {
        self.chunk_size = clamp(chunk_size);
    }

    /// Queues one message whose body is `head` followed by `payload`; the payload is not copied unless it is tiny.
    ///
    /// At most 16,777,215 bytes, the length field has 24 bits; the rest of a longer body is cut off.
    pub fn write_message(&mut self, header: &MessageHeader, head: &[u8], payload: &Bytes, out: &mut WireBuf) {
        let head = head.get(..MAX_CHUNK_SIZE as usize).unwrap_or(head);
        let room = (MAX_CHUNK_SIZE as usize).saturating_sub(head.len());
        let payload = if payload.len() > room { payload.slice(..room) } else { payload.clone() };
        let length = u32::try_from(head.len().saturating_add(payload.len())).unwrap_or(MAX_CHUNK_SIZE);
        let header = MessageHeader { csid: header.csid.clamp(2, MAX_CHUNK_STREAM_ID), ..*header };

        let (first, field) = match self.delta(&header) {
            Some(delta) => (HeaderBytes::same_stream(header.csid, delta, length, header.type_id), delta),
            None => (HeaderBytes::full(&header, length), header.timestamp.get()),
        };
        self.remember(&header);
        first.write(out);
        let further = HeaderBytes::continuation(header.csid, field);
        let mut body = Body { head, payload };
        body.put(self.chunk_size, out);
        while !body.is_empty() {
            further.write(out);
            body.put(self.chunk_size, out);
        }
    }

    /// Queues a tag at `tag.timestamp - base` on its kind's chunk stream.
    pub fn write_tag(&mut self, tag: &Tag, stream_id: u32, base: MediaTime, out: &mut WireBuf) {
        let header = tag_header(tag, stream_id, base);
        self.write_message(&header, tag.body.head(), tag.body.payload(), out);
    }

    /// Queues a message that was chunked once for many connections.
    ///
    /// Its shared type 1 form is used if the last message of this connection on the chunk stream was the one before
    /// it, that is, if the delta leads to `timestamp - base` here too, and the chunk sizes agree. Otherwise (the first
    /// message, after a drop, a splice) it is chunked again for this connection.
    pub fn write_shared(
        &mut self,
        message: &SharedMessage,
        stream_id: u32,
        base: MediaTime,
        out: &mut WireBuf,
    ) {
        let tag = message.tag();
        let header = tag_header(tag, stream_id, base);
        let previous = message.previous().map(|previous| relative(previous, base));
        let last = self.last.iter_mut().find(|last| last.csid == header.csid);
        match last {
            Some(last)
                if Some(last.timestamp) == previous
                    && last.stream_id == stream_id
                    && message.chunk_size() == self.chunk_size =>
            {
                last.timestamp = header.timestamp;
                message.write(out);
            }
            _ => self.write_message(&header, tag.body.head(), tag.body.payload(), out),
        }
    }

    /// Queues messages that were put together for many connections, by reference.
    ///
    /// Says `false` and queues nothing if this connection did not get the messages before them as all others did, or has
    /// another chunk size: then write each of them by itself.
    #[must_use]
    pub fn write_batch(
        &mut self,
        batch: &SharedBatch,
        stream_id: u32,
        base: MediaTime,
        out: &mut WireBuf,
    ) -> bool {
        let continues = |(csid, before, _): (u32, MediaTime, MediaTime)| {
            let last = self.last.iter().find(|last| last.csid == csid);
            last.is_some_and(|last| last.stream_id == stream_id && last.timestamp == relative(before, base))
        };
        if batch.chunk_size() != self.chunk_size || !batch.spans().all(continues) {
            return false;
        }
        for (csid, _, end) in batch.spans() {
            if let Some(last) = self.last.iter_mut().find(|last| last.csid == csid) {
                last.timestamp = relative(end, base);
            }
        }
        out.put_bytes(batch.bytes().clone());
        true
    }

    /// The step from the last message of the chunk stream, if a type 1 header can say it.
    fn delta(&self, header: &MessageHeader) -> Option<u32> {
        TagKind::from_wire(header.type_id)?;
        let last = self.last.iter().find(|last| last.csid == header.csid)?;
        let delta = header.timestamp.get().wrapping_sub(last.timestamp.get());
        (last.stream_id == header.stream_id && delta < EXTENDED).then_some(delta)
    }

    fn remember(&mut self, header: &MessageHeader) {
        let (csid, timestamp, stream_id) = (header.csid, header.timestamp, header.stream_id);
        match self.last.iter_mut().find(|last| last.csid == csid) {
            Some(last) => *last = Last { csid, timestamp, stream_id },
            None if TagKind::from_wire(header.type_id).is_some() => {
                self.last.push(Last { csid, timestamp, stream_id });
            }
            None => {}
        }
    }
}

fn clamp(chunk_size: u32) -> usize {
    chunk_size.clamp(1, MAX_CHUNK_SIZE) as usize
}

/// `time` on a connection whose zero is `base`.
fn relative(time: MediaTime, base: MediaTime) -> WireTime {
    MediaTime::from_millis(time.millis_since(base)).wire()
}

fn tag_header(tag: &Tag, stream_id: u32, base: MediaTime) -> MessageHeader {
    let timestamp = relative(tag.timestamp, base);
    MessageHeader { csid: csid::of(tag.kind), timestamp, type_id: tag.kind.wire(), stream_id }
}

/// What is left of a message body.
struct Body<'a> {
    head: &'a [u8],
    payload: Bytes,
}

impl Body<'_> {
    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.payload.is_empty()
    }

    /// Moves up to `count` bytes to `out`.
    fn put(&mut self, count: usize, out: &mut WireBuf) {
        let (now, later) = self.head.split_at_checked(count).unwrap_or((self.head, &[]));
        out.put_slice(now);
        self.head = later;
        let count = count.saturating_sub(now.len()).min(self.payload.len());
        if count > 0 {
            out.put_bytes(self.payload.split_to(count));
        }
    }
}
