//! Bytes as peers write them, and a client and a server that talk in memory.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use flowcast_rtmp::amf0::Value;
use flowcast_rtmp::chunk::{ChunkReader, Message};
use flowcast_rtmp::command::{Command, Status};
use flowcast_rtmp::error::Error;
use flowcast_rtmp::flv::{Tag, TagKind};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::message::type_id;
use flowcast_rtmp::session::{
    ClientConfig, ClientEvent, ClientRole, ClientSession, ServerConfig, ServerEvent, ServerSession,
};
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::url::Destination;
use flowcast_rtmp::wire::WireBuf;

/// A type 0 header with a one-byte basic header.
pub(crate) fn header(csid: u8, time: u32, length: usize, type_id: u8, stream_id: u32) -> Vec<u8> {
    let mut out = vec![csid];
    out.extend_from_slice(&time.min(0xFF_FFFF).to_be_bytes()[1..]);
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.push(type_id);
    out.extend_from_slice(&stream_id.to_le_bytes());
    if time >= 0xFF_FFFF {
        out.extend_from_slice(&time.to_be_bytes());
    }
    out
}

/// A whole message, type 0 and then type 3 chunks.
pub(crate) fn message(csid: u8, type_id: u8, body: &[u8], stream_id: u32, chunk: usize) -> Vec<u8> {
    let mut out = header(csid, 0, body.len(), type_id, stream_id);
    for (index, piece) in body.chunks(chunk).enumerate() {
        if index > 0 {
            out.push(0xC0 | csid);
        }
        out.extend_from_slice(piece);
    }
    out
}

/// A command message on chunk stream 3, in chunks of 128.
pub(crate) fn command(name: &str, transaction: f64, arguments: Vec<Value>, stream_id: u32) -> Vec<u8> {
    message(3, 20, &Command::new(name, transaction, arguments).encode(), stream_id, 128)
}

pub(crate) fn connect() -> Vec<u8> {
    let object = Value::object([("app", Value::from("live")), ("tcUrl", Value::from("rtmp://host/live"))]);
    message(3, 20, &Command::with_object("connect", 1.0, object, Vec::new()).encode(), 0, 128)
}

pub(crate) fn set_chunk_size(size: u32) -> Vec<u8> {
    message(2, 1, &size.to_be_bytes(), 0, 128)
}

/// C0, C1 and C2.
pub(crate) fn client_handshake() -> Vec<u8> {
    let mut out = vec![0; 3073];
    out[0] = 3;
    out
}

/// connect, createStream and publish as librtmp would send them without waiting.
pub(crate) fn publish_commands(key: &str) -> Vec<u8> {
    let mut out = connect();
    out.extend(command("createStream", 2.0, Vec::new(), 0));
    out.extend(command("publish", 3.0, vec![Value::from(key), Value::from("live")], 1));
    out
}

/// All messages in `bytes`, which must end with a message.
pub(crate) fn read_all(limits: &Limits, bytes: &[u8]) -> Result<Vec<Message>, Error> {
    let mut reader = ChunkReader::new(limits);
    let mut input = bytes;
    let mut messages = Vec::new();
    while let Some(message) = reader.pull(&mut input)? {
        messages.push(message);
    }
    assert_eq!(reader.assembly_bytes(), 0, "a message is unfinished");
    Ok(messages)
}

/// The same in pieces of `step` bytes.
pub(crate) fn read_in_steps(limits: &Limits, bytes: &[u8], step: usize) -> Result<Vec<Message>, Error> {
    let mut reader = ChunkReader::new(limits);
    let mut messages = Vec::new();
    for mut piece in bytes.chunks(step) {
        while let Some(message) = reader.pull(&mut piece)? {
            messages.push(message);
        }
        assert!(piece.is_empty());
    }
    Ok(messages)
}

pub(crate) fn drain(wire: &mut WireBuf) -> Vec<u8> {
    wire.copy_to_bytes(wire.remaining()).to_vec()
}

/// A numbered body that no header could be mistaken for.
pub(crate) fn body(seed: usize, length: usize) -> Bytes {
    (0..length).map(|i| (seed.wrapping_mul(31).wrapping_add(i * 7)) as u8).collect::<Vec<_>>().into()
}

pub(crate) fn video(millis: i64, keyframe: bool, length: usize) -> Tag {
    let mut payload = vec![if keyframe { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    payload.extend_from_slice(&body(millis as usize, length));
    Tag::from_wire(TagKind::Video, MediaTime::from_millis(millis), payload.into())
}

pub(crate) fn audio(millis: i64, length: usize) -> Tag {
    let mut payload = vec![0xAF, 1];
    payload.extend_from_slice(&body(millis as usize, length));
    Tag::from_wire(TagKind::Audio, MediaTime::from_millis(millis), payload.into())
}

/// Tags of a short stream: metadata, sequence headers, 20 pictures, audio between them.
pub(crate) fn short_stream() -> Vec<Tag> {
    let script = flowcast_rtmp::flv::script::Metadata { width: Some(640.0), ..Default::default() };
    let mut tags = vec![script.to_tag(MediaTime::ZERO)];
    let sequence = Bytes::from_static(&[0x17, 0, 0, 0, 0, 1, 66, 0, 30]);
    tags.push(Tag::from_wire(TagKind::Video, MediaTime::ZERO, sequence));
    let sequence = Bytes::from_static(&[0xAF, 0, 0x12, 0x10]);
    tags.push(Tag::from_wire(TagKind::Audio, MediaTime::ZERO, sequence));
    for index in 0..20 {
        tags.push(video(index * 40, index % 10 == 0, 200 + index as usize * 90));
        tags.push(audio(index * 40 + 11, 120));
    }
    tags
}

/// Kinds, times and joined bytes: what must arrive.
pub(crate) fn facts(tags: &[Tag]) -> Vec<(TagKind, i64, Bytes)> {
    tags.iter().map(|tag| (tag.kind, tag.timestamp.as_millis(), tag.body.to_bytes())).collect()
}

/// Names and status codes of the commands among `messages`.
pub(crate) fn commands(messages: &[Message]) -> Vec<(String, f64, u32, String)> {
    messages
        .iter()
        .filter(|message| message.type_id == type_id::COMMAND)
        .map(|message| {
            let command =
                Command::parse(message.type_id, &message.payload, &Limits::before_auth()).unwrap().unwrap();
            let code = Status::of(&command).code;
            (command.name, command.transaction, message.stream_id, code)
        })
        .collect()
}

/// A server session past the handshake, and its clock.
pub(crate) struct Server {
    pub(crate) session: ServerSession,
    pub(crate) now: Instant,
    reader: ChunkReader,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with_config(ServerConfig::default())
    }

    pub(crate) fn with_config(config: ServerConfig) -> Self {
        let now = Instant::now();
        let mut session = ServerSession::new(config, None, [9; 1528], now);
        session.handle_input(now, &client_handshake()).unwrap();
        assert_eq!(drain(session.wire()).len(), 3073);
        Self { session, now, reader: ChunkReader::new(&Limits::publisher()) }
    }

    /// A server that has accepted a publisher with message stream 1.
    pub(crate) fn publishing() -> Self {
        let mut server = Self::new();
        server.input(&publish_commands("key")).unwrap();
        server.session.accept_publish(server.now);
        server.sent();
        server.events();
        server
    }

    /// A server that has accepted a player with message stream 1.
    pub(crate) fn playing() -> Self {
        let mut server = Self::new();
        server.input(&connect()).unwrap();
        server.input(&command("createStream", 2.0, Vec::new(), 0)).unwrap();
        server.input(&command("play", 0.0, vec![Value::from("key")], 1)).unwrap();
        server.session.accept_play(server.now);
        server.sent();
        server.events();
        server
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.session.handle_input(self.now, bytes)
    }

    pub(crate) fn events(&mut self) -> Vec<ServerEvent> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// What the server has sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<Message> {
        let bytes = drain(self.session.wire());
        let mut input = bytes.as_slice();
        let mut messages = Vec::new();
        while let Some(message) = self.reader.pull(&mut input).unwrap() {
            messages.push(message);
        }
        messages
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// A client session against bytes written by hand.
pub(crate) struct Client {
    pub(crate) session: ClientSession,
    pub(crate) now: Instant,
    reader: ChunkReader,
}

impl Client {
    /// A client past the handshake; it has sent `connect`.
    pub(crate) fn new(role: ClientRole) -> Self {
        Self::of(role, "rtmp://host/live/secret?token=1", ClientConfig::default())
    }

    /// The same for this URL.
    pub(crate) fn of(role: ClientRole, url: &str, config: ClientConfig) -> Self {
        let now = Instant::now();
        let destination = Destination::parse(url).unwrap();
        let mut session = ClientSession::new(role, &destination, config, [1; 1528], now);
        assert_eq!(drain(session.wire()).len(), 1537);
        session.handle_input(now, &client_handshake()).unwrap();
        session.wire().advance(1536);
        Self { session, now, reader: ChunkReader::new(&Limits::publisher()) }
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.session.handle_input(self.now, bytes)
    }

    pub(crate) fn events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    pub(crate) fn sent(&mut self) -> Vec<Message> {
        let bytes = drain(self.session.wire());
        let mut input = bytes.as_slice();
        let mut messages = Vec::new();
        while let Some(message) = self.reader.pull(&mut input).unwrap() {
            messages.push(message);
        }
        messages
    }
}

/// A client and a server session in memory.
pub(crate) struct Pair {
    pub(crate) client: ClientSession,
    pub(crate) server: ServerSession,
    pub(crate) now: Instant,
    /// Bytes per piece on the way.
    step: usize,
    pub(crate) client_events: Vec<ClientEvent>,
    pub(crate) server_events: Vec<ServerEvent>,
    /// Everything that was on the way to the server, and to the client.
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
}

impl Pair {
    pub(crate) fn new(role: ClientRole, step: usize) -> Self {
        Self::with_config(role, step, ClientConfig::default())
    }

    pub(crate) fn with_config(role: ClientRole, step: usize, config: ClientConfig) -> Self {
        let now = Instant::now();
        let destination = Destination::parse("rtmp://host/live/key").unwrap();
        Self {
            client: ClientSession::new(role, &destination, config, [1; 1528], now),
            server: ServerSession::new(ServerConfig::default(), None, [2; 1528], now),
            now,
            step,
            client_events: Vec::new(),
            server_events: Vec::new(),
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// Carries bytes both ways until nothing moves any more.
    pub(crate) fn drive(&mut self) -> Result<(), Error> {
        loop {
            let to_server = drain(self.client.wire());
            let to_client = drain(self.server.wire());
            if to_server.is_empty() && to_client.is_empty() {
                return Ok(());
            }
            for piece in to_server.chunks(self.step) {
                self.server.handle_input(self.now, piece)?;
            }
            for piece in to_client.chunks(self.step) {
                self.client.handle_input(self.now, piece)?;
            }
            self.to_server.extend(to_server);
            self.to_client.extend(to_client);
            self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
            self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
        }
    }

    /// Up to the accepted publish or play.
    pub(crate) fn go_live(role: ClientRole, step: usize) -> Self {
        let mut pair = Self::new(role, step);
        pair.accept(role);
        pair
    }

    /// From the start to the accepted publish or play.
    pub(crate) fn accept(&mut self, role: ClientRole) {
        self.drive().unwrap();
        match role {
            ClientRole::Publish => self.server.accept_publish(self.now),
            ClientRole::Play => self.server.accept_play(self.now),
        }
        self.drive().unwrap();
        assert!(self.client.is_live() && self.server.is_live());
    }

    pub(crate) fn server_tags(&self) -> Vec<Tag> {
        let tag =
            |event: &ServerEvent| if let ServerEvent::Tag(tag) = event { Some(tag.clone()) } else { None };
        self.server_events.iter().filter_map(tag).collect()
    }

    pub(crate) fn client_tags(&self) -> Vec<Tag> {
        let tag =
            |event: &ClientEvent| if let ClientEvent::Tag(tag) = event { Some(tag.clone()) } else { None };
        self.client_events.iter().filter_map(tag).collect()
    }
}

/// Seeded and small: the same numbers on every machine.
pub(crate) struct XorShift(u64);

impl XorShift {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}
