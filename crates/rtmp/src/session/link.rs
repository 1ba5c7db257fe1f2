//! What both sessions do alike: handshake, chunks, acknowledgements, pings, tags.

use bytes::{Bytes, BytesMut};

use super::aggregate::Aggregate;
use crate::amf0::{self, AmfError};
use crate::chunk::{
    ChunkReader, ChunkWriter, DEFAULT_CHUNK_SIZE, Message, MessageHeader, SharedBatch, SharedMessage, csid,
};
use crate::command::{Command, unwrap_amf3};
use crate::error::Error;
use crate::flv::script::for_players;
use crate::flv::{Tag, TagKind};
use crate::handshake::Handshake;
use crate::limits::{LimitKind, Limits};
use crate::message::{Control, UserControl, type_id};
use crate::time::{MediaTime, TrackClocks, WireTime};
use crate::wire::WireBuf;

/// How often to acknowledge while the peer has not said, bytes.
const DEFAULT_WINDOW: u32 = 2_500_000;

/// Answers the peer may ask for without reading any, bytes.
const MAX_REPLY_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) out: WireBuf,
    pub(super) limits: Limits,
    pub(super) base: MediaTime,
    handshake: Option<Box<Handshake>>,
    reader: ChunkReader,
    writer: ChunkWriter,
    clocks: TrackClocks,
    /// The peer wants an acknowledgement for this many bytes.
    peer_window: u32,
    /// Bytes received when the last Acknowledgement was sent.
    acknowledged_at: u64,
    /// What the peer acknowledged, unwrapped.
    acknowledged: u64,
    /// Bytes of answers since the queue was last empty.
    replies: usize,
    /// Bytes the peer may send in all.
    total: u64,
}

/// What came in, besides what the link answers by itself.
#[derive(Debug)]
pub(super) enum Incoming {
    Command {
        stream_id: u32,
        command: Command,
    },
    Media {
        kind: TagKind,
        timestamp: WireTime,
        payload: Bytes,
    },
    /// Media in one message, to be taken apart by [`Link::aggregate`] if media has its place.
    Aggregate {
        timestamp: WireTime,
        payload: Bytes,
    },
    Event(UserControl),
}

impl Link {
    pub(super) fn new(shake: impl FnOnce(&mut WireBuf) -> Handshake, limits: &Limits) -> Self {
        let mut out = WireBuf::new();
        Self {
            handshake: Some(Box::new(shake(&mut out))),
            out,
            limits: *limits,
            base: MediaTime::ZERO,
            reader: ChunkReader::new(limits),
            writer: ChunkWriter::new(DEFAULT_CHUNK_SIZE),
            clocks: TrackClocks::default(),
            peer_window: DEFAULT_WINDOW,
            acknowledged_at: 0,
            acknowledged: 0,
            replies: 0,
            total: u64::MAX,
        }
    }

    /// Bytes consumed since the connection began.
    pub(super) fn received(&self) -> u64 {
        self.handshake.as_ref().map_or_else(|| self.reader.offset(), |handshake| handshake.offset())
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn assembly_bytes(&self) -> usize {
        self.reader.assembly_bytes()
    }

    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.limits = *limits;
        self.reader.set_limits(limits);
    }

    /// From now on the peer may send this many bytes in all, including those that came.
    pub(super) fn set_total(&mut self, bytes: u64) {
        self.total = bytes;
    }

    /// Goes on with the handshake; true if it is over.
    pub(super) fn shake_hands(&mut self, input: &mut &[u8]) -> Result<bool, Error> {
        let Some(handshake) = &mut self.handshake else { return Ok(true) };
        if !handshake.pull(input, &mut self.out)? {
            return Ok(false);
        }
        self.reader = ChunkReader::new(&self.limits).with_offset(handshake.offset());
        self.handshake = None;
        Ok(true)
    }

    /// Takes bytes off the front of `input` up to the next thing the session has to see.
    pub(super) fn pull(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Error> {
        loop {
            let message = self.reader.pull(input)?;
            if self.reader.offset() > self.total {
                return Err(Error::limit(LimitKind::BytesBeforeAuth, self.total, self.total));
            }
            let Some(message) = message else { return Ok(None) };
            if let Some(incoming) = self.sort(message)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// Does what the protocol demands of the link; the rest is for the session.
    fn sort(&mut self, message: Message) -> Result<Option<Incoming>, Error> {
        let kind = match message.type_id {
            type_id::SET_CHUNK_SIZE..=type_id::SET_PEER_BANDWIDTH => return self.control(&message),
            type_id::COMMAND | type_id::COMMAND_AMF3 => return self.command(&message),
            type_id::AUDIO => TagKind::Audio,
            type_id::VIDEO => TagKind::Video,
            type_id::DATA | type_id::DATA_AMF3 => TagKind::Script,
            type_id::AGGREGATE => {
                return Ok(Some(Incoming::Aggregate {
                    timestamp: message.timestamp,
                    payload: message.payload,
                }));
            }
            // Shared objects, and unknown types.
            _ => return Ok(None),
        };
        let payload =
            if message.type_id == type_id::DATA_AMF3 { self.data_amf3(&message)? } else { message.payload };
        Ok(Some(Incoming::Media { kind, timestamp: message.timestamp, payload }))
    }

    /// The AMF0 in an AMF3 data message. AMF3 values are rewritten as AMF0, which is what players and files
    /// expect of a script tag.
    fn data_amf3(&self, message: &Message) -> Result<Bytes, Error> {
        let data = unwrap_amf3(message.type_id, &message.payload);
        if !data.contains(&amf0::AVM_PLUS) {
            return Ok(message.payload.slice_ref(data));
        }
        let values = amf0::decode_all(data, &self.limits).map_err(|source| self.bad_amf(source))?;
        let mut body = BytesMut::with_capacity(data.len());
        amf0::encode_all(&values, &mut body);
        Ok(body.freeze())
    }

    fn bad_amf(&self, source: AmfError) -> Error {
        Error::Amf { source, offset: self.reader.offset(), peer: None }
    }

    fn command(&self, message: &Message) -> Result<Option<Incoming>, Error> {
        let command = Command::parse(message.type_id, &message.payload, &self.limits)
            .map_err(|source| self.bad_amf(source))?;
        let Some(command) = command else {
            return Err(Error::protocol("command without a name", self.reader.offset()));
        };
        Ok(Some(Incoming::Command { stream_id: message.stream_id, command }))
    }

    fn control(&mut self, message: &Message) -> Result<Option<Incoming>, Error> {
        let Some(control) = Control::parse(message.type_id, &message.payload) else {
            return Err(Error::protocol("control message too short", self.reader.offset()));
        };
        match control {
            Control::WindowAckSize(window) if window > 0 => self.peer_window = window,
            Control::Acknowledgement(sequence) => self.note_acknowledgement(sequence),
            Control::User(UserControl::PingRequest(time)) => {
                self.reply(&Control::User(UserControl::PingResponse(time)))?;
            }
            Control::User(event) => return Ok(Some(Incoming::Event(event))),
            _ => {}
        }
        Ok(None)
    }

    /// Unwraps the 32-bit count; what goes backwards or beyond what was queued is not believed.
    fn note_acknowledgement(&mut self, sequence: u32) {
        let step = sequence.wrapping_sub(self.acknowledged as u32);
        let count = self.acknowledged.saturating_add(u64::from(step));
        if count <= self.out.total_in() {
            self.acknowledged = count;
        }
    }

    /// Sends an Acknowledgement when half of the peer's window has arrived.
    pub(super) fn acknowledge(&mut self) -> Result<(), Error> {
        let received = self.received();
        let since = received.saturating_sub(self.acknowledged_at);
        if self.handshake.is_none() && since >= u64::from(self.peer_window / 2).max(1) {
            self.acknowledged_at = received;
            self.reply(&Control::Acknowledgement(received as u32))?;
        }
        Ok(())
    }

    /// Queues a control message that the peer caused, within the bound for such.
    fn reply(&mut self, control: &Control) -> Result<(), Error> {
        self.count_reply(18)?;
        self.send_control(control);
        Ok(())
    }

    fn count_reply(&mut self, bytes: usize) -> Result<(), Error> {
        if self.out.is_empty() {
            self.replies = 0;
        }
        self.replies = self.replies.saturating_add(bytes);
        if self.replies > MAX_REPLY_BYTES {
            let offset = self.received();
            return Err(Error::limit(LimitKind::ReplyBytes, MAX_REPLY_BYTES as u64, offset));
        }
        Ok(())
    }

    pub(super) fn send_control(&mut self, control: &Control) {
        let (type_id, body) = control.encode();
        let header =
            MessageHeader { csid: csid::CONTROL, timestamp: WireTime::new(0), type_id, stream_id: 0 };
        self.writer.write_message(&header, &[], &body, &mut self.out);
        if let Control::SetChunkSize(size) = control {
            self.writer.set_chunk_size(*size);
        }
    }

    /// Queues a command that the peer caused, within the bound for such.
    pub(super) fn reply_command(&mut self, stream_id: u32, command: &Command) -> Result<(), Error> {
        let before = self.out.len();
        if before == 0 {
            self.replies = 0;
        }
        self.send_command(stream_id, command);
        self.count_reply(self.out.len().saturating_sub(before))
    }

    pub(super) fn send_command(&mut self, stream_id: u32, command: &Command) {
        let csid = if stream_id == 0 { csid::COMMAND } else { csid::STREAM_COMMAND };
        let header =
            MessageHeader { csid, timestamp: WireTime::new(0), type_id: type_id::COMMAND, stream_id };
        self.writer.write_message(&header, &[], &command.encode(), &mut self.out);
    }

    pub(super) fn send_tag(&mut self, stream_id: u32, tag: &Tag) {
        self.writer.write_tag(tag, stream_id, self.base, &mut self.out);
    }

    pub(super) fn send_shared(&mut self, stream_id: u32, message: &SharedMessage) {
        self.writer.write_shared(message, stream_id, self.base, &mut self.out);
    }

    pub(super) fn send_batch(&mut self, stream_id: u32, batch: &SharedBatch) -> bool {
        self.writer.write_batch(batch, stream_id, self.base, &mut self.out)
    }

    /// A tag out of a media message; `None` if it says nothing.
    pub(super) fn tag(&mut self, kind: TagKind, timestamp: WireTime, payload: Bytes) -> Option<Tag> {
        let payload = if kind == TagKind::Script { for_players(payload) } else { payload };
        if payload.is_empty() {
            return None;
        }
        Some(Tag::from_wire(kind, self.clocks.unwrap(kind, timestamp), payload))
    }

    /// The tags of an aggregate message.
    pub(super) fn aggregate(&mut self, timestamp: WireTime, payload: Bytes) -> Result<Aggregate, Error> {
        let base = self.clocks.unwrap_common(timestamp);
        Aggregate::new(payload, base).map_err(|reason| Error::protocol(reason, self.reader.offset()))
    }
}
