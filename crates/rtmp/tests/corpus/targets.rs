//! What is fuzzed, and what must hold for any bytes: no panic, the same outcome for every cut, memory within the
//! limits. The programs in `fuzz/` and the replay beside this file call the same functions.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use flowcast_rtmp::amf0::{Value, decode_all, encode_all};
use flowcast_rtmp::chunk::{ChunkReader, Message};
use flowcast_rtmp::flv::audio::AudioHeader;
use flowcast_rtmp::flv::enhanced::{self, Header};
use flowcast_rtmp::flv::video::VideoHeader;
use flowcast_rtmp::flv::{
    AudioSpecificConfig, AvcConfig, FlvError, FlvReader, FlvWriter, Metadata, Tag, TagFlags, TagKind,
};
use flowcast_rtmp::handshake::HANDSHAKE_BYTES;
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::session::{
    ClientConfig, ClientEvent, ClientRole, ClientSession, Reject, ServerConfig, ServerEvent, ServerSession,
};
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::url::Destination;

/// A target: its name, which is that of its folder of inputs, and what it does with one of them.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them.
pub(crate) const TARGETS: [Target; 6] = [
    ("chunk_reader", chunk_reader),
    ("amf0", amf0),
    ("amf3", amf3),
    ("flv_reader", flv_reader),
    ("server_session", server_session),
    ("client_session", client_session),
];

/// Limits small enough that an input of some kilobytes can reach them.
const LIMITS: Limits = Limits { message_bytes: 20_000, assembly_bytes: 30_000, ..Limits::publisher() };

/// The first byte of an input says how the rest is used; two bits of it in what pieces.
fn pieces(choice: u8, input: &[u8]) -> std::slice::Chunks<'_, u8> {
    let size = match choice & 3 {
        0 => input.len(),
        1 => 1,
        2 => 7,
        _ => 64,
    };
    input.chunks(size.max(1))
}

/// Messages and the error that ends them are the same in one piece and in small ones.
fn chunk_reader(data: &[u8]) {
    let Some((&choice, input)) = data.split_first() else { return };
    let read = |choice: u8| {
        let mut reader = ChunkReader::new(&LIMITS);
        let mut messages: Vec<Message> = Vec::new();
        for mut piece in pieces(choice, input) {
            loop {
                match reader.pull(&mut piece) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some((error.code(), error.offset()))),
                }
                assert!(reader.assembly_bytes() <= LIMITS.assembly_bytes);
            }
            assert!(piece.is_empty(), "bytes are left over");
        }
        assert!(reader.offset() <= input.len() as u64);
        (messages, None)
    };
    let whole = read(0);
    let bytes: usize = whole.0.iter().map(|message| message.payload.len()).sum();
    assert!(bytes <= input.len(), "messages hold more than came in");
    assert_eq!(whole, read(choice | 1));
}

/// What decodes encodes to bytes that decode to the same.
fn amf(data: &[u8]) {
    let Ok(values) = decode_all(data, &LIMITS).map_err(|error| {
        assert!(error.offset() <= data.len() as u64);
        assert!(!error.to_string().is_empty());
    }) else {
        return;
    };
    let count: usize = values.iter().map(count).sum();
    assert!(count <= LIMITS.amf_values);
    let encode = |values: &[Value]| {
        let mut out = BytesMut::new();
        encode_all(values, &mut out);
        out
    };
    let once = encode(&values);
    // Bytes are compared because a value that is not a number is not equal to itself.
    let again = decode_all(&once, &LIMITS).map(|values| encode(&values));
    assert_eq!(again, Ok(once));
    for value in &values {
        let _ = (value.get("code"), value.as_str(), value.as_number(), value.as_bool());
    }
}

/// Values of all depths.
fn count(value: &Value) -> usize {
    let inner: usize = match value {
        Value::StrictArray(items) => items.iter().map(count).sum(),
        other => other.properties().unwrap_or_default().iter().map(|(_, value)| count(value)).sum(),
    };
    1 + inner
}

/// AMF0 as in a command.
fn amf0(data: &[u8]) {
    amf(data);
}

/// An AMF3 value, then AMF0.
fn amf3(data: &[u8]) {
    amf(&[&[0x11], data].concat());
}

/// A file gives the same tags in every cut, and they are written as they were.
fn flv_reader(data: &[u8]) {
    let Some((&choice, input)) = data.split_first() else { return };
    let read = |choice: u8| {
        let mut reader = FlvReader::new(&LIMITS);
        let mut tags: Vec<Tag> = Vec::new();
        let mut error: Option<FlvError> = None;
        'file: for piece in pieces(choice, input) {
            reader.push(piece);
            loop {
                match reader.pull() {
                    Ok(Some(tag)) => tags.push(tag),
                    Ok(None) => break,
                    Err(seen) => {
                        error = Some(seen);
                        break 'file;
                    }
                }
            }
        }
        (tags, error)
    };
    let outcome = read(0);
    assert_eq!(outcome, read(choice | 1));
    let (tags, _) = outcome;
    let mut written = FlvWriter::header(true, true).to_vec();
    for tag in &tags {
        read_everything(tag);
        let _ = FlvWriter::write_tag(tag, &mut written);
    }
    let mut reader = FlvReader::new(&LIMITS);
    reader.push(&written);
    for tag in &tags {
        let again = reader.pull();
        assert!(
            matches!(&again, Ok(Some(again)) if again.body == tag.body && again.flags == tag.flags),
            "{again:?}"
        );
    }
}

fn read_everything(tag: &Tag) {
    let body = tag.body.to_bytes();
    let _ = (VideoHeader::parse(&body), AudioHeader::parse(&body), Metadata::parse(&body));
    let _ = (Header::read(tag.kind, &tag.body), enhanced::four_cc(tag.kind, &tag.body), tag.codec());
    let tracks: Vec<_> = enhanced::tracks(tag.kind, &tag.body).collect();
    assert!(
        tracks.len() <= 256 && tracks.iter().all(|track| track.start <= track.end && track.end <= body.len())
    );
    assert!(tracks.is_empty() || tracks.iter().any(|track| track.id == tag.track()));
    assert!(!(tag.is_keyframe() && tag.is_sequence_header()));
    let config = body.slice(body.len().min(if tag.is_video() { 5 } else { 2 })..);
    let _ = AudioSpecificConfig::parse(&config);
    let _ = AvcConfig::parse(&config).map(|config| config.dimensions());
}

/// A picture that a player is sent.
fn picture(millis: i64) -> Tag {
    Tag::from_wire(TagKind::Video, MediaTime::from_millis(millis), Bytes::from_static(&[0x17, 1, 0, 0, 0, 1]))
}

/// A client's bytes, and a server that decides in several ways.
fn server_session(data: &[u8]) {
    let Some((&choice, input)) = data.split_first() else { return };
    let mut now = Instant::now();
    let config = ServerConfig { publisher: LIMITS, ..ServerConfig::default() };
    let held = config.held_bytes;
    let mut session = ServerSession::new(config, None, [9; 1528], now);
    if choice & 4 != 0 {
        let mut handshake = vec![0; HANDSHAKE_BYTES as usize];
        handshake[0] = 3;
        assert!(session.handle_input(now, &handshake).is_ok());
    }
    for piece in pieces(choice, input) {
        now += Duration::from_millis(40);
        let result = session.handle_input(now, piece);
        assert!(result.is_ok() || session.is_finished());
        while let Some(event) = session.poll_event() {
            server_event(&mut session, event, choice, now);
        }
        if session.next_timeout().is_some_and(|due| due <= now) {
            assert!(session.handle_timeout(now).is_ok() || session.is_finished());
        }
        session.send_tag(&picture(40));
        assert!(session.buffered_bytes() <= LIMITS.assembly_bytes + held);
        assert!(session.wire().len() <= 256 << 10, "{} bytes wait", session.wire().len());
        if choice & 0x40 != 0 {
            let bytes = session.wire().remaining();
            session.wire().advance(bytes);
        }
        if result.is_err() {
            return;
        }
    }
    session.request_reconnect(Some("/other"), "");
    session.finish();
    assert!(session.is_finished());
}

fn server_event(session: &mut ServerSession, event: ServerEvent, choice: u8, now: Instant) {
    assert!(!format!("{event:?}").is_empty());
    match event {
        ServerEvent::Publish(_) | ServerEvent::Play(_) if choice & 0x30 == 0x30 => {
            session.reject(Reject::BadName, now);
        }
        ServerEvent::Publish(_) => {
            session.accept_play(now);
            session.accept_publish(now);
        }
        ServerEvent::Play(_) => session.accept_play(now),
        ServerEvent::Tag(tag) => {
            assert!(!tag.body.is_empty());
            read_everything(&tag);
        }
        _ => {}
    }
}

/// A server's bytes, and a client that publishes or plays.
fn client_session(data: &[u8]) {
    let Some((&choice, input)) = data.split_first() else { return };
    let mut now = Instant::now();
    let role = if choice & 8 == 0 { ClientRole::Play } else { ClientRole::Publish };
    let config = ClientConfig { limits: Some(LIMITS), enhanced: choice & 16 != 0, ..ClientConfig::default() };
    let Ok(destination) = Destination::parse("rtmp://user:canary@host/live/canary") else { return };
    let mut session = ClientSession::new(role, &destination, config, [1; 1528], now);
    if choice & 4 != 0 {
        let mut handshake = vec![0; HANDSHAKE_BYTES as usize];
        handshake[0] = 3;
        assert!(session.handle_input(now, &handshake).is_ok());
    }
    for piece in pieces(choice, input) {
        now += Duration::from_millis(40);
        let result = session.handle_input(now, piece);
        assert!(result.is_ok() || session.is_finished());
        if let Err(error) = &result {
            assert!(!error.to_string().contains("canary"));
        }
        while let Some(event) = session.poll_event() {
            match event {
                ClientEvent::Tag(tag) => read_everything(&tag),
                other => assert!(!format!("{other:?}").contains("canary")),
            }
        }
        let mut tag = picture(80);
        session.send_tag(&tag);
        tag.flags = TagFlags::METADATA;
        session.send_tag(&tag);
        assert!(session.buffered_bytes() <= LIMITS.assembly_bytes);
        let waiting = session.wire().len();
        session.wire().advance(waiting);
        if result.is_err() {
            return;
        }
    }
    let _ = session.handle_timeout(now + Duration::from_secs(60));
    session.finish();
    assert!(session.is_finished());
}
