//! A server and its clients.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use flowcast_core::{Config, Engine};
use flowcast_rtmp::error::Error as RtmpError;
use flowcast_rtmp::flv::Tag;
use flowcast_rtmp::flv::video::{avc_frame, avc_sequence_header};
use flowcast_rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::url::Destination;
use flowcast_server::{RtmpServer, RtmpServerBuilder, RtmpServerExt, ServerStats};

/// Enough for anything on a busy machine. Waiting ends as soon as the condition holds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks every few milliseconds until the condition holds. False: it did not in time.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    condition()
}

/// A server and its engine.
pub(crate) struct Studio {
    pub(crate) engine: Engine,
    pub(crate) server: RtmpServer,
}

impl Studio {
    pub(crate) fn start(change: impl FnOnce(RtmpServerBuilder) -> RtmpServerBuilder) -> Self {
        let engine = Engine::new(Config::default()).unwrap();
        let server = change(engine.rtmp_server("127.0.0.1:0")).start().unwrap();
        Self { engine, server }
    }

    pub(crate) fn stats(&self) -> ServerStats {
        self.server.stats()
    }

    pub(crate) fn publisher(&self, key: &str) -> Client {
        self.client(ClientRole::Publish, "live", key)
    }

    pub(crate) fn player(&self, name: &str) -> Client {
        self.client(ClientRole::Play, "live", name)
    }

    pub(crate) fn client(&self, role: ClientRole, app: &str, name: &str) -> Client {
        self.client_from(Ipv4Addr::LOCALHOST, role, app, name)
    }

    /// A client at another address of this machine.
    pub(crate) fn client_from(&self, from: Ipv4Addr, role: ClientRole, app: &str, name: &str) -> Client {
        let url = format!("rtmp://{}/{app}/{name}", self.server.address());
        Client::new(connect(from, self.server.address()).expect("it listens"), role, &url)
    }

    /// A publisher of `key` that is on the air.
    pub(crate) fn on_air(&self, key: &str) -> Client {
        let mut publisher = self.publisher(key);
        publisher.go_live();
        publisher
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.engine.hub().find(name).is_some_and(|stream| !stream.has_ended())
    }
}

/// A connection from an address of this machine.
pub(crate) fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    Ok(socket.into())
}

/// flowcast's client session on a blocking socket.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) session: ClientSession,
    pub(crate) events: Vec<ClientEvent>,
}

impl Client {
    pub(crate) fn new(socket: TcpStream, role: ClientRole, url: &str) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        socket.set_nodelay(true).unwrap();
        let destination = Destination::parse(url).expect("a proper URL");
        let config = ClientConfig::default();
        let session = ClientSession::new(role, &destination, config, [0x5a; 1528], Instant::now());
        Self { socket, session, events: Vec::new() }
    }

    /// What is to be sent, taken from the session.
    pub(crate) fn take_wire(&mut self) -> Vec<u8> {
        let wire = self.session.wire();
        wire.copy_to_bytes(wire.remaining()).to_vec()
    }

    /// Sends what is to be sent and reads once. `Ok(false)`: the server has closed.
    pub(crate) fn turn(&mut self) -> Result<bool, RtmpError> {
        let bytes = self.take_wire();
        // Who is refused may not be listened to any more.
        let _ = self.socket.write_all(&bytes);
        let mut buffer = [0; 65_536];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => self.session.handle_input(Instant::now(), &buffer[..count])?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Ok(false),
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        Ok(true)
    }

    /// Goes on until `done`, the server closes (`Ok(false)`), or it refuses.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<bool, RtmpError> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "nothing happens: {:?}", self.session);
            if !self.turn()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn go_live(&mut self) {
        let live = self.run_until(|client| client.session.is_live());
        assert!(matches!(live, Ok(true)), "{live:?}");
    }

    /// The status of a refusal; the server then closes.
    pub(crate) fn refusal(self) -> String {
        let refused = self.refused();
        let RtmpError::Rejected { code, .. } = refused else { panic!("not refused: {refused:?}") };
        code
    }

    /// What the server says no with, and its words.
    pub(crate) fn refused(mut self) -> RtmpError {
        let refused = self.run_until(|client| client.session.is_live()).expect_err("it is refused");
        self.wait_closed();
        refused
    }

    /// Waits until the server has closed the connection.
    pub(crate) fn wait_closed(&mut self) {
        let mut buffer = [0; 65_536];
        let closed = wait_until(|| match self.socket.read(&mut buffer) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        });
        assert!(closed, "the connection stays open");
    }

    pub(crate) fn send(&mut self, tags: &[Tag]) {
        for tag in tags {
            self.session.send_tag(tag);
        }
        let bytes = self.take_wire();
        self.socket.write_all(&bytes).expect("an open connection");
    }

    /// Goes as far as the answer to `createStream`, and returns the `publish` or `play` that would be sent next.
    pub(crate) fn wish(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nothing happens: {:?}", self.session);
            let bytes = self.take_wire();
            let says = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
            if says(b"\x02\x00\x07publish") || says(b"\x02\x00\x04play") {
                return bytes;
            }
            self.socket.write_all(&bytes).unwrap();
            assert!(matches!(self.turn(), Ok(true)), "closed");
        }
    }

    /// The bodies of video tags that came, without sequence headers.
    pub(crate) fn pictures(&self) -> Vec<Vec<u8>> {
        let tags = self.events.iter().filter_map(|event| match event {
            ClientEvent::Tag(tag) if tag.is_video() && !tag.is_sequence_header() => Some(tag),
            _ => None,
        });
        tags.map(|tag| tag.body.to_bytes().to_vec()).collect()
    }
}

pub(crate) fn header() -> Tag {
    avc_sequence_header(
        Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68]),
        MediaTime::ZERO,
    )
}

/// A picture of `size` bytes that `fill` is the content of.
pub(crate) fn picture(millis: i64, keyframe: bool, fill: u8, size: usize) -> Tag {
    avc_frame(MediaTime::from_millis(millis), 0, keyframe, Bytes::from(vec![fill; size])).unwrap()
}
