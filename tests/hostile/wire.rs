//! Raw RTMP: what no session of ours would ever say.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use kit::PATIENCE;

pub(crate) const COMMAND: u8 = 20;
pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const DATA: u8 = 18;

/// A repeatable generator of bytes (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 56) as u8).collect()
    }
}

/// A chunk header of type 0.
pub(crate) fn header(csid: u8, length: u32, kind: u8, stream: u32) -> Vec<u8> {
    header_at(csid, 0, length, kind, stream)
}

/// The same with a timestamp field.
pub(crate) fn header_at(csid: u8, time: u32, length: u32, kind: u8, stream: u32) -> Vec<u8> {
    let [_, t @ ..] = time.to_be_bytes();
    let [_, l @ ..] = length.to_be_bytes();
    let mut bytes = vec![csid];
    bytes.extend(t);
    bytes.extend(l);
    bytes.push(kind);
    bytes.extend(stream.to_le_bytes());
    bytes
}

/// A whole message in chunks of this many bytes.
pub(crate) fn message_in(chunk: usize, csid: u8, kind: u8, body: &[u8], stream: u32) -> Vec<u8> {
    let mut bytes = header(csid, body.len() as u32, kind, stream);
    for (number, part) in body.chunks(chunk).enumerate() {
        if number > 0 {
            bytes.push(0xc0 | csid);
        }
        bytes.extend(part);
    }
    bytes
}

/// A whole message in chunks of 128 bytes.
pub(crate) fn message(csid: u8, kind: u8, body: &[u8], stream: u32) -> Vec<u8> {
    message_in(128, csid, kind, body, stream)
}

pub(crate) fn chunk_size(size: u32) -> Vec<u8> {
    message(2, 1, &size.to_be_bytes(), 0)
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    [&[2][..], &(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

pub(crate) fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}

/// The body of `connect` to an application.
pub(crate) fn connect_body(app: &str) -> Vec<u8> {
    let property = |name: &str, value: Vec<u8>| [&[0, name.len() as u8], name.as_bytes(), &value].concat();
    let object = [property("app", string(app)), property("tcUrl", string("rtmp://localhost/live"))].concat();
    [string("connect"), number(1.0), vec![3], object, vec![0, 0, 9]].concat()
}

/// `connect` with its command object left open, then `tail`.
pub(crate) fn connect_then(tail: &[u8]) -> Vec<u8> {
    message(3, COMMAND, &[&string("connect"), &number(1.0), tail].concat(), 0)
}

pub(crate) fn connect() -> Vec<u8> {
    message(3, COMMAND, &connect_body("live"), 0)
}

/// A command with a transaction, null, and strings.
pub(crate) fn command(name: &str, transaction: f64, arguments: &[&str], stream: u32) -> Vec<u8> {
    let mut body = [string(name), number(transaction), vec![5]].concat();
    body.extend(arguments.iter().flat_map(|argument| string(argument)));
    message(3, COMMAND, &body, stream)
}

pub(crate) fn create_stream() -> Vec<u8> {
    command("createStream", 2.0, &[], 0)
}

/// C0, C1 and C2 at once: the server's bytes need not be known for a C2.
pub(crate) fn handshake() -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.resize(1 + 2 * 1536, 0);
    bytes
}

/// Everything up to and with the `publish` of a key.
pub(crate) fn publish(key: &str) -> Vec<u8> {
    [handshake(), connect(), create_stream(), command("publish", 3.0, &[key, "live"], 1)].concat()
}

/// A connection from an address that is not the honest pair's.
pub(crate) fn tcp(server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    if cfg!(target_os = "linux") {
        socket.bind(&SocketAddr::from(([127, 0, 0, 66], 0)).into()).expect("a free port");
    }
    socket.connect(&server.into()).expect("a listening server");
    socket.set_tcp_nodelay(true).expect("a TCP socket");
    socket.into()
}

/// Writes as much as the server takes before it closes, and no longer than `at_most`; says how much.
pub(crate) fn write_until_closed(socket: &mut impl Write, bytes: &[u8], at_most: Duration) -> usize {
    let (end, mut sent) = (Instant::now() + at_most, 0);
    while sent < bytes.len() && Instant::now() < end {
        match socket.write(bytes.get(sent..).unwrap_or_default()) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    sent
}

/// Reads until the server closes, in whichever way; returns what it said.
#[track_caller]
pub(crate) fn read_to_close(socket: &mut TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    let mut answer = Vec::new();
    if let Err(error) = socket.read_to_end(&mut answer) {
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "not closed");
    }
    answer
}
