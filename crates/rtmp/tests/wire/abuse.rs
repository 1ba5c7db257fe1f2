//! Hostile bytes after a good handshake: every one ends in a typed error or is ignored, and costs little.

use flowcast_rtmp::amf0::{AmfError, Value};
use flowcast_rtmp::error::{Error, LimitKind};
use flowcast_rtmp::session::{ServerConfig, ServerEvent};

use crate::util::{Server, XorShift, command, connect, header, message, set_chunk_size};

/// Feeds `bytes` to a server past the handshake; what it said and whether it stayed small.
fn attack(bytes: &[u8]) -> Result<Vec<ServerEvent>, Error> {
    let mut outcome = None;
    for step in [bytes.len().max(1), 1500, 1] {
        let mut server = Server::new();
        let mut events = Vec::new();
        let result = bytes.chunks(step).try_for_each(|piece| {
            let result = server.input(piece);
            events.extend(server.events());
            assert!(server.session.buffered_bytes() <= 64 << 10);
            assert!(server.session.wire().len() <= 70 << 10);
            result
        });
        let result = result.map(|()| events);
        let shown = format!("{result:?}");
        assert_eq!(outcome.get_or_insert(shown.clone()), &shown, "cut into {step}");
        if step == 1 {
            return result;
        }
    }
    unreachable!("the loop returns")
}

fn protocol(bytes: &[u8]) -> u64 {
    match attack(bytes).unwrap_err() {
        Error::Protocol { offset, .. } => offset - 3073,
        other => panic!("{other}"),
    }
}

fn limit(bytes: &[u8]) -> (LimitKind, u64) {
    match attack(bytes).unwrap_err() {
        Error::Limit { limit, offset, .. } => (limit, offset - 3073),
        other => panic!("{other}"),
    }
}

fn amf(bytes: &[u8]) -> AmfError {
    match attack(bytes).unwrap_err() {
        Error::Amf { source, offset, .. } => {
            assert_eq!(offset, 3073 + bytes.len() as u64);
            source
        }
        other => panic!("{other}"),
    }
}

/// `connect` with a transaction and then `tail` in place of the command object.
fn connect_then(tail: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 0, 7];
    body.extend_from_slice(b"connect");
    body.push(0);
    body.extend_from_slice(&1_f64.to_be_bytes());
    body.extend_from_slice(tail);
    message(3, 20, &body, 0, 128)
}

#[test]
fn garbage_instead_of_a_handshake() {
    let mut session = flowcast_rtmp::session::ServerSession::new(
        ServerConfig::default(),
        None,
        [0; 1528],
        std::time::Instant::now(),
    );
    let error = session.handle_input(std::time::Instant::now(), b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert_eq!((error.code(), error.offset()), ("RTMP_HANDSHAKE", Some(0)));
    assert!(session.wire().is_empty());
}

#[test]
fn commands_with_too_few_values() {
    assert_eq!(protocol(&message(3, 20, &[5], 0, 128)), 13);
    assert_eq!(protocol(&header(3, 0, 0, 20, 0)), 12);
}

#[test]
fn amf_nested_deeply() {
    let nested = b"\x03\0\x01a".repeat(4000);
    let AmfError::Limit { kind, limit, .. } = amf(&connect_then(&nested)) else { panic!("no limit") };
    assert_eq!((kind, limit), (LimitKind::AmfDepth, 16));
    // 400 kB of it do not get past the header.
    let nested = b"\x03\0\x01a".repeat(100_000);
    assert_eq!(limit_of_first_chunk(&connect_then(&nested)), (LimitKind::MessageBytes, 0));
}

fn limit_of_first_chunk(bytes: &[u8]) -> (LimitKind, u64) {
    limit(&bytes[..140])
}

#[test]
fn amf_counts_and_lengths_of_4_gib() {
    amf(&connect_then(b"\x0a\xff\xff\xff\xff"));
    amf(&connect_then(&[b"\x0c\xff\xff\xff\xff".as_slice(), &[b'x'; 50]].concat()));
    amf(&connect_then(b"\x08\xff\xff\xff\xff"));
    let many = b"\x05".repeat(2000);
    let AmfError::Limit { kind, .. } = amf(&connect_then(&many)) else { panic!("no limit") };
    assert_eq!(kind, LimitKind::AmfValues);
    assert!(matches!(amf(&connect_then(&[7, 0, 0])), AmfError::Reference { .. }));
    assert!(matches!(amf(&connect_then(&[0x11, 0x0D])), AmfError::Amf3 { .. }));
}

#[test]
fn chunk_sizes() {
    assert_eq!(protocol(&[set_chunk_size(0), connect()].concat()), 16);
    assert_eq!(protocol(&set_chunk_size(0x8000_0001)), 16);
    let body = &connect()[12..];
    assert!(body.len() < 128);
    for (size, chunk) in [(1, 1), (0x7FFF_FFFF, 1 << 30)] {
        let bytes = [set_chunk_size(size), message(3, 20, body, 0, chunk)].concat();
        assert!(matches!(attack(&bytes).unwrap().as_slice(), [ServerEvent::Connect { .. }]));
    }
}

#[test]
fn lengths_announced_and_not_sent() {
    let bytes = [header(6, 0, 0xFF_FFFF, 9, 1), vec![0; 128]].concat();
    assert_eq!(limit(&bytes), (LimitKind::MessageBytes, 0));
}

#[test]
fn a_length_that_shrinks_in_the_middle() {
    let bytes = [header(6, 0, 1000, 9, 1), vec![0; 128], header(6, 0, 10, 9, 1), vec![0; 20]].concat();
    assert_eq!(protocol(&bytes), 12 + 128);
}

#[test]
fn interleaved_media_before_publish() {
    // Legal interleaving; only the place is wrong. The audio message is whole first.
    let bytes = [
        header(6, 40, 200, 9, 1),
        vec![0x17; 128],
        header(4, 40, 10, 8, 1),
        vec![0xAF; 10],
        vec![0xC6],
        vec![0x17; 72],
    ]
    .concat();
    assert_eq!(protocol(&bytes), 12 + 128 + 12 + 10);
    let mut server = Server::publishing();
    server.input(&bytes).unwrap();
    let lengths: Vec<_> = server
        .events()
        .iter()
        .map(|event| if let ServerEvent::Tag(tag) = event { tag.body.len() } else { 0 })
        .collect();
    assert_eq!(lengths, [10, 200]);
}

#[test]
fn a_flood_of_chunk_streams() {
    let mut bytes = Vec::new();
    for id in 0..65_000_u16 {
        bytes.push(1);
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0x40, 9, 1, 0, 0, 0, 0]);
    }
    // Chunks are longer than the one byte each header is followed by: this is media.
    protocol(&bytes);
    let mut bytes = Vec::new();
    for id in 0..65_u16 {
        bytes.push(1);
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0xFF, 20, 0, 0, 0, 0]);
        bytes.extend([0; 128]);
    }
    assert_eq!(limit(&bytes), (LimitKind::ChunkStreams, 64 * (14 + 128)));
}

#[test]
fn a_type_3_header_first() {
    let bytes = [vec![0xC5], vec![0; 64]].concat();
    assert_eq!(attack(&bytes).unwrap(), []);
}

#[test]
fn extended_timestamps_on_type_3() {
    let time = 0xFFFF_FFF0_u32;
    let mut bytes = header(6, time, 300, 9, 1);
    for (index, length) in [128, 128, 44].into_iter().enumerate() {
        if index > 0 {
            bytes.push(0xC6);
            bytes.extend_from_slice(&time.to_be_bytes());
        }
        bytes.extend(vec![0; length]);
    }
    assert_eq!(protocol(&bytes), bytes.len() as u64);
    let mut server = Server::publishing();
    server.input(&bytes).unwrap();
    let events = server.events();
    let [ServerEvent::Tag(tag)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((tag.timestamp.as_millis(), tag.body.len()), (i64::from(time), 300));
}

#[test]
fn a_window_of_zero() {
    assert_eq!(attack(&message(2, 5, &[0; 4], 0, 128)).unwrap(), []);
}

#[test]
fn commands_out_of_order() {
    let publish = message(8, 20, &command("publish", 2.0, vec![Value::from("k")], 1)[12..], 1, 128);
    assert_eq!(protocol(&publish), publish.len() as u64);
    let twice = [connect(), connect()].concat();
    assert_eq!(protocol(&twice), twice.len() as u64);
}

#[test]
fn a_thousand_streams() {
    let mut bytes = connect();
    let ninth = bytes.len() + 9 * command("createStream", 2.0, Vec::new(), 0).len();
    for transaction in 2..1002 {
        bytes.extend(command("createStream", f64::from(transaction), Vec::new(), 0));
    }
    assert_eq!(limit(&bytes), (LimitKind::MessageStreams, ninth as u64));
}

#[test]
fn a_long_application_name() {
    let mut tail = vec![3, 0, 3];
    tail.extend_from_slice(b"app");
    tail.push(2);
    tail.extend_from_slice(&60_000_u16.to_be_bytes());
    tail.extend(vec![b'a'; 60_000]);
    tail.extend([0, 0, 9]);
    let bytes = connect_then(&tail);
    assert_eq!(limit(&bytes), (LimitKind::AppBytes, bytes.len() as u64));
    // Without one, the application may still stand in the stream's name.
    assert!(attack(&connect_then(&[3, 0, 0, 9])).is_ok());
}

#[test]
fn an_aggregate_with_a_lying_size() {
    let body = [b"\x09\xff\xff\xff".as_slice(), &[0; 60]].concat();
    let bytes = message(6, 22, &body, 1, 128);
    assert_eq!(protocol(&bytes), bytes.len() as u64);
    let mut server = Server::publishing();
    let error = server.input(&bytes).unwrap_err();
    assert_eq!(error.code(), "RTMP_PROTOCOL", "{error}");
    assert!(server.events().is_empty());
}

/// What is kept for whoever joins later is bounded; pictures may be larger.
#[test]
fn giant_headers_of_a_publisher() {
    let tag = |kind: u8, first: &[u8], length: usize| {
        let body = [first, &vec![0; length - first.len()]].concat();
        message(6, kind, &body, 1, 128)
    };
    let kept: [(u8, &[u8]); 3] =
        [(9, &[0x17, 0]), (8, &[0xAF, 0]), (18, b"\x02\0\x0aonMetaData\x08\0\0\0\0")];
    for (kind, first) in kept {
        let mut server = Server::publishing();
        server.input(&tag(kind, first, 1 << 20)).unwrap();
        assert_eq!(server.events().len(), 1, "type {kind}");
        let error = server.input(&tag(kind, first, (1 << 20) + 1)).unwrap_err();
        assert!(matches!(error, Error::Limit { limit: LimitKind::HeaderBytes, .. }), "type {kind}: {error}");
        assert!(server.events().is_empty());
    }
    let mut server = Server::publishing();
    server.input(&tag(9, &[0x17, 1], 2 << 20)).unwrap();
    assert_eq!(server.events().len(), 1);
}

#[test]
fn random_bytes_after_the_handshake() {
    for seed in 1..50 {
        let mut random = XorShift::new(seed);
        let bytes: Vec<_> = (0..65_536).map(|_| random.next() as u8).collect();
        // Most seeds end in an error soon; none may panic, and all agree for every cut.
        let _ = attack(&bytes);
    }
}

#[test]
fn ping_floods_before_publish_are_bounded() {
    let ping = message(2, 4, &[0, 6, 0, 0, 0, 1], 0, 128);
    assert_eq!(limit(&ping.repeat(10_000)).0, LimitKind::BytesBeforeAuth);
}
