//! Bytes in, messages out: the receiving half of the chunk stream.
//!
//! The reader keeps one assembly buffer per chunk stream, so that messages of different chunk streams may interleave
//! at will. It applies Set Chunk Size and Abort itself, because both act between any two chunks. Payload bytes go from
//! the caller's input to the assembly buffer in one copy; buffers grow with bytes that arrived, never with lengths
//! that were announced.

use bytes::Bytes;

use super::DEFAULT_CHUNK_SIZE;
use super::header::{self, EXTENDED, Format};
use super::header::{MAX_CHUNK_SIZE, MAX_HEADER};
use crate::error::Error;
use crate::limits::{LimitKind, Limits};
use crate::message::type_id;
use crate::time::WireTime;

/// Room first made for a message that did not arrive in one piece, bytes.
const FIRST_ROOM: usize = 256;

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Chunk stream id it came on.
    pub csid: u32,
    /// Absolute timestamp, deltas already added.
    pub timestamp: WireTime,
    /// Message type id, see [`message::type_id`](crate::message::type_id).
    pub type_id: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// The body.
    pub payload: Bytes,
}

/// Takes chunks apart.
///
/// Tolerated because peers do it: a first header of type 1, 2 or 3 on a chunk stream (missing fields are 0), and
/// type 3 headers that leave the extended timestamp out.
///
/// ```
/// use flowcast_rtmp::chunk::ChunkReader;
/// use flowcast_rtmp::limits::Limits;
///
/// let mut reader = ChunkReader::new(&Limits::player());
/// let mut input: &[u8] = &[3, 0, 0, 40, 0, 0, 2, 20, 1, 0, 0, 0, 5, 5];
/// let message = reader.pull(&mut input)?.expect("the input holds a whole message");
/// assert_eq!((message.stream_id, message.payload.len()), (1, 2));
/// assert!(reader.pull(&mut input)?.is_none());
/// # Ok::<(), flowcast_rtmp::error::Error>(())
/// ```
#[derive(Debug)]
pub struct ChunkReader {
    limits: Limits,
    /// Bytes of payload in a full chunk.
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    state: State,
    header: Partial,
    /// Bytes taken for an extended timestamp that turned out to be something else.
    replay: Partial,
    /// Capacity of all assembly buffers.
    held: usize,
    /// Bytes parsed.
    offset: u64,
    /// Where the last chunk header began.
    chunk_at: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Collecting basic and message header.
    Header,
    /// Looking whether the extended timestamp is repeated on this type 3 header.
    Peek { stream: usize },
    /// Copying payload.
    Payload { stream: usize, left: usize },
}

/// What is remembered per chunk stream.
#[derive(Debug, Default)]
struct ChunkStream {
    csid: u32,
    /// Absolute time of the message under way or, between messages, of the last one.
    timestamp: WireTime,
    /// Timestamp field of the last type 0, 1 or 2 header: what a type 3 header repeats.
    field: u32,
    extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
    /// True from the first header of a message to its last byte.
    under_way: bool,
    body: Vec<u8>,
}

/// A few bytes that were cut off.
#[derive(Debug, Clone, Copy, Default)]
struct Partial {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Partial {
    /// Takes bytes off the front of `input` until `want` are there; true if they are.
    fn fill(&mut self, want: usize, input: &mut &[u8]) -> bool {
        let missing = want.saturating_sub(self.len);
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        let end = self.len.saturating_add(taken.len());
        if let Some(slot) = self.bytes.get_mut(self.len..end) {
            slot.copy_from_slice(taken);
            self.len = end;
        }
        *input = rest;
        self.len >= want
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.len = 0;
    }
}

impl ChunkReader {
    /// A reader at the start of the chunk stream, with a chunk size of 128 bytes.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            chunk_size: DEFAULT_CHUNK_SIZE as usize,
            streams: Vec::new(),
            state: State::Header,
            header: Partial::default(),
            replay: Partial::default(),
            held: 0,
            offset: 0,
            chunk_at: 0,
        }
    }

    /// Counts offsets in errors from `offset`: the bytes before the first chunk, such as the handshake.
    #[must_use]
    pub fn with_offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Uses other limits from the next message on.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = *limits;
    }

    /// Bytes consumed so far, the offset given at the start included.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Memory of unfinished messages, bytes; at most [`Limits::assembly_bytes`].
    #[must_use]
    pub fn assembly_bytes(&self) -> usize {
        self.held
    }

    /// The peer's chunk size, bytes.
    #[must_use]
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Takes bytes off the front of `input` until a message is whole; `None` if it needs more.
    ///
    /// Set Chunk Size and Abort are applied and not returned.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] or [`Error::Limit`]; the reader must not be used after that. The offset is that of the
    /// chunk's header, or of the end of a control message.
    pub fn pull(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        loop {
            let message = if self.replay.len > 0 {
                let replay = std::mem::take(&mut self.replay);
                let mut bytes = replay.as_slice();
                let message = self.counted_step(&mut bytes)?;
                if self.replay.len == 0 {
                    self.replay.fill(bytes.len(), &mut bytes);
                }
                message
            } else if input.is_empty() {
                return Ok(None);
            } else {
                self.counted_step(input)?
            };
            if let Some(message) = message
                && let Some(message) = self.control(message)?
            {
                return Ok(Some(message));
            }
        }
    }

    fn counted_step(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        let before = input.len();
        let message = self.step(input)?;
        let taken = before.saturating_sub(input.len()) as u64;
        self.offset = self.offset.saturating_add(taken).saturating_sub(self.replay.len as u64);
        Ok(message)
    }

    /// Moves on by one header or one piece of payload.
    fn step(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        match self.state {
            State::Header => self.read_header(input),
            State::Peek { stream } => {
                self.peek_extended(stream, input);
                Ok(self.finish_if_empty())
            }
            State::Payload { stream, left } => self.read_payload(stream, left, input),
        }
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        if self.header.len == 0 {
            self.chunk_at = self.offset;
        }
        if !self.header.fill(1, input) {
            return Ok(None);
        }
        let [first, ..] = self.header.bytes;
        let format = Format::of(first);
        let basic_len = header::basic_header_len(first);
        let message_end = basic_len.saturating_add(format.message_header_len());
        if !self.header.fill(message_end, input) {
            return Ok(None);
        }
        let (basic, fields) = self.header.as_slice().split_at_checked(basic_len).unwrap_or_default();
        let csid = header::chunk_stream_id(basic).unwrap_or_default();
        let Some((time, _)) = fields.split_first_chunk::<3>() else {
            self.header.clear();
            return self.continue_stream(csid);
        };
        let mut field = header::be24(*time);
        let extended = field == EXTENDED;
        if extended {
            if !self.header.fill(message_end.saturating_add(4), input) {
                return Ok(None);
            }
            field = self.header.as_slice().last_chunk().map_or(field, |time| u32::from_be_bytes(*time));
        }
        let header = std::mem::take(&mut self.header);
        let fields = header.bytes.get(basic_len..message_end).unwrap_or_default();
        let stream = self.stream(csid)?;
        self.begin(stream, format, field, extended, fields)?;
        self.begin_chunk(stream);
        Ok(self.finish_if_empty())
    }

    /// A type 3 header: the next chunk of the message, or a message like the last one.
    fn continue_stream(&mut self, csid: u32) -> Result<Option<Message>, Error> {
        let stream = self.stream(csid)?;
        let offset = self.chunk_at;
        let Some(state) = self.streams.get_mut(stream) else { return Ok(None) };
        if !state.under_way {
            check_length(state.length, &self.limits, offset)?;
            state.under_way = true;
            state.timestamp = state.timestamp.wrapping_add(state.field);
        }
        if state.extended {
            self.state = State::Peek { stream };
            return Ok(None);
        }
        self.begin_chunk(stream);
        Ok(self.finish_if_empty())
    }

    /// A header of type 0, 1 or 2.
    fn begin(
        &mut self,
        stream: usize,
        format: Format,
        field: u32,
        extended: bool,
        fields: &[u8],
    ) -> Result<(), Error> {
        let offset = self.chunk_at;
        let Some(state) = self.streams.get_mut(stream) else { return Ok(()) };
        if state.under_way {
            return Err(Error::protocol("new message header inside a message of the chunk stream", offset));
        }
        if let Some([_, _, _, a, b, c, type_id]) = fields.first_chunk::<7>() {
            state.length = header::be24([*a, *b, *c]) as usize;
            state.type_id = *type_id;
        }
        check_length(state.length, &self.limits, offset)?;
        if let (Format::Full, Some(stream_id)) = (format, fields.last_chunk::<4>()) {
            state.stream_id = u32::from_le_bytes(*stream_id);
            state.timestamp = WireTime::new(field);
        } else {
            state.timestamp = state.timestamp.wrapping_add(field);
        }
        state.field = field;
        state.extended = extended;
        state.under_way = true;
        Ok(())
    }

    /// Consumes the extended timestamp of a type 3 header if it is there.
    ///
    /// It is taken as present if the four bytes repeat the timestamp field or are the message's absolute time; any
    /// other value is payload of a peer that leaves it out.
    fn peek_extended(&mut self, stream: usize, input: &mut &[u8]) {
        let Some(state) = self.streams.get(stream) else { return };
        let candidates = [state.field.to_be_bytes(), state.timestamp.get().to_be_bytes()];
        let whole = self.header.fill(4, input);
        let seen = self.header.as_slice();
        if candidates.iter().any(|candidate| candidate.starts_with(seen)) {
            if !whole {
                return;
            }
        } else {
            self.replay = self.header;
        }
        self.header.clear();
        self.begin_chunk(stream);
    }

    fn begin_chunk(&mut self, stream: usize) {
        let missing =
            self.streams.get(stream).map_or(0, |state| state.length.saturating_sub(state.body.len()));
        self.state = State::Payload { stream, left: missing.min(self.chunk_size) };
    }

    /// Ends a message of zero bytes, which no payload byte would end.
    fn finish_if_empty(&mut self) -> Option<Message> {
        match self.state {
            State::Payload { stream, left: 0 } => {
                self.state = State::Header;
                self.finish(stream)
            }
            _ => None,
        }
    }

    fn read_payload(
        &mut self,
        stream: usize,
        left: usize,
        input: &mut &[u8],
    ) -> Result<Option<Message>, Error> {
        let (taken, rest) = input.split_at_checked(left).unwrap_or((input, &[]));
        self.make_room(stream, taken.len())?;
        let Some(state) = self.streams.get_mut(stream) else { return Ok(None) };
        state.body.extend_from_slice(taken);
        *input = rest;
        let left = left.saturating_sub(taken.len());
        if left > 0 {
            self.state = State::Payload { stream, left };
            return Ok(None);
        }
        self.state = State::Header;
        if state.body.len() < state.length {
            return Ok(None);
        }
        Ok(self.finish(stream))
    }

    /// Makes room for `more` bytes of payload: exactly the message if it is all there, else twice what arrived.
    fn make_room(&mut self, stream: usize, more: usize) -> Result<(), Error> {
        let Some(state) = self.streams.get_mut(stream) else { return Ok(()) };
        let needed = state.body.len().saturating_add(more);
        let before = state.body.capacity();
        if needed <= before {
            return Ok(());
        }
        let others = self.held.saturating_sub(before);
        let allowed = self.limits.assembly_bytes.saturating_sub(others);
        if needed > allowed {
            let limit = self.limits.assembly_bytes as u64;
            return Err(Error::limit(LimitKind::AssemblyBytes, limit, self.chunk_at));
        }
        let room = needed.saturating_mul(2).max(FIRST_ROOM).min(state.length).min(allowed).max(needed);
        state.body.reserve_exact(room.saturating_sub(state.body.len()));
        self.held = others.saturating_add(state.body.capacity());
        Ok(())
    }

    fn finish(&mut self, stream: usize) -> Option<Message> {
        let state = self.streams.get_mut(stream)?;
        state.under_way = false;
        let body = std::mem::take(&mut state.body);
        self.held = self.held.saturating_sub(body.capacity());
        Some(Message {
            csid: state.csid,
            timestamp: state.timestamp,
            type_id: state.type_id,
            stream_id: state.stream_id,
            payload: Bytes::from(body),
        })
    }

    /// Applies the messages that concern the chunk stream itself.
    fn control(&mut self, message: Message) -> Result<Option<Message>, Error> {
        match message.type_id {
            type_id::SET_CHUNK_SIZE => self.set_chunk_size(&message.payload).map(|()| None),
            type_id::ABORT => self.abort(&message.payload).map(|()| None),
            _ => Ok(Some(message)),
        }
    }

    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), Error> {
        let size = self.control_value(payload)?;
        if size == 0 || size > i32::MAX as u32 {
            return Err(Error::protocol("chunk size 0 or above 2^31 - 1", self.offset));
        }
        self.chunk_size = size.min(MAX_CHUNK_SIZE) as usize;
        Ok(())
    }

    fn abort(&mut self, payload: &[u8]) -> Result<(), Error> {
        let csid = self.control_value(payload)?;
        if let Some(state) = self.streams.iter_mut().find(|state| state.csid == csid) {
            self.held = self.held.saturating_sub(state.body.capacity());
            state.body = Vec::new();
            state.under_way = false;
        }
        Ok(())
    }

    fn control_value(&self, payload: &[u8]) -> Result<u32, Error> {
        let value = payload.first_chunk::<4>().copied().map(u32::from_be_bytes);
        value.ok_or_else(|| Error::protocol("protocol control message shorter than 4 bytes", self.offset))
    }

    /// Index of the chunk stream `csid`, made if it is new.
    fn stream(&mut self, csid: u32) -> Result<usize, Error> {
        if let Some(index) = self.streams.iter().position(|state| state.csid == csid) {
            return Ok(index);
        }
        let index = self.streams.len();
        if index >= self.limits.chunk_streams {
            let limit = self.limits.chunk_streams as u64;
            return Err(Error::limit(LimitKind::ChunkStreams, limit, self.chunk_at));
        }
        self.streams.push(ChunkStream { csid, ..ChunkStream::default() });
        Ok(index)
    }
}

fn check_length(length: usize, limits: &Limits, offset: u64) -> Result<(), Error> {
    if length > limits.message_bytes {
        return Err(Error::limit(LimitKind::MessageBytes, limits.message_bytes as u64, offset));
    }
    Ok(())
}
