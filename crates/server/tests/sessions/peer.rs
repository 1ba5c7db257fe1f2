//! flowcast's client session on a blocking socket, and what it publishes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use flowcast_rtmp::error::Error as RtmpError;
use flowcast_rtmp::flv::{Tag, TagKind};
use flowcast_rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::url::Destination;

/// Enough for anything on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks every few milliseconds until the condition holds; `false` if it does not.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// A publisher or a player.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) session: ClientSession,
    pub(crate) events: Vec<ClientEvent>,
    /// The last bytes that came.
    pub(crate) tail: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(role: ClientRole, server: SocketAddr, name: &str) -> Self {
        let url = format!("rtmp://{server}/live/{name}");
        let destination = Destination::parse(&url).expect("a proper URL");
        let socket = TcpStream::connect(server).expect("a listening server");
        socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout above zero");
        socket.set_nodelay(true).expect("a TCP socket");
        let session =
            ClientSession::new(role, &destination, ClientConfig::default(), [0x5a; 1528], Instant::now());
        Self { socket, session, events: Vec::new(), tail: Vec::new() }
    }

    /// A publisher that was let in.
    #[track_caller]
    pub(crate) fn publisher(server: SocketAddr, key: &str) -> Self {
        let mut client = Self::connect(ClientRole::Publish, server, key);
        let live = client.run_until(|client| client.session.is_live());
        assert!(matches!(live, Ok(true)), "{live:?}");
        client
    }

    /// A player that was let in.
    #[track_caller]
    pub(crate) fn player(server: SocketAddr, name: &str) -> Self {
        let mut client = Self::connect(ClientRole::Play, server, name);
        let live = client.run_until(|client| client.session.is_live());
        assert!(matches!(live, Ok(true)), "{live:?}");
        client
    }

    pub(crate) fn send(&mut self) -> std::io::Result<()> {
        let wire = self.session.wire();
        let bytes = wire.copy_to_bytes(wire.remaining());
        self.socket.write_all(&bytes)
    }

    /// Sends media; the connection must be up.
    #[track_caller]
    pub(crate) fn publish(&mut self, tags: &[Tag]) {
        tags.iter().for_each(|tag| self.session.send_tag(tag));
        self.send().expect("an open connection");
    }

    /// Reads once. `Ok(false)`: the server has closed.
    pub(crate) fn read(&mut self) -> Result<bool, RtmpError> {
        let mut buffer = [0; 65_536];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                self.tail.extend_from_slice(&buffer[..count]);
                self.tail.drain(..self.tail.len().saturating_sub(256));
                self.session.handle_input(Instant::now(), &buffer[..count])?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => panic!("the connection broke: {error}"),
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        Ok(true)
    }

    /// Goes on until `done`, the server closes (`Ok(false)`), or it refuses.
    #[track_caller]
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<bool, RtmpError> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "nothing happens: {:?}", self.events.last());
            if self.send().is_err() || !self.read()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for this many pictures in all.
    #[track_caller]
    pub(crate) fn wait_pictures(&mut self, count: usize) {
        let got = self.run_until(|client| client.times(TagKind::Video).len() >= count);
        assert!(matches!(got, Ok(true)), "{got:?} after {} pictures", self.times(TagKind::Video).len());
    }

    /// The status of a refusal.
    #[track_caller]
    pub(crate) fn refusal(mut self) -> String {
        match self.run_until(|client| client.session.is_live()) {
            Err(RtmpError::Rejected { code, .. }) => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Waits until the server has closed.
    #[track_caller]
    pub(crate) fn wait_closed(&mut self) {
        let end = self.run_until(|_| false);
        assert!(matches!(end, Ok(false)), "{end:?}");
    }

    pub(crate) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.events.iter().filter_map(|event| match event {
            ClientEvent::Tag(tag) => Some(tag),
            _ => None,
        })
    }

    /// The times of the frames of a track.
    pub(crate) fn times(&self, kind: TagKind) -> Vec<i64> {
        let frames = self.tags().filter(|tag| tag.kind == kind && !tag.is_sequence_header());
        frames.map(|tag| tag.timestamp.as_millis()).collect()
    }

    /// Sequence headers of the pictures that came.
    pub(crate) fn headers(&self) -> usize {
        self.tags().filter(|tag| tag.is_video() && tag.is_sequence_header()).count()
    }

    /// What came is one stream: times strictly increase, track by track.
    #[track_caller]
    pub(crate) fn assert_one_stream(&self) {
        for kind in [TagKind::Video, TagKind::Audio] {
            let times = self.times(kind);
            let falls = times.windows(2).find(|pair| pair[0] >= pair[1]);
            assert!(falls.is_none(), "{kind:?}: {falls:?} in {times:?}");
        }
    }
}

/// This many pictures of 40 ms behind a header, the first a keyframe, each with its sound, from `time` of the publisher's
/// clock. Headers of another `look` differ.
pub(crate) fn media(look: u8, time: i64, pictures: i64) -> Vec<Tag> {
    let tag = |kind, offset, body: &[u8]| {
        Tag::from_wire(kind, MediaTime::from_millis(time + offset), Bytes::copy_from_slice(body))
    };
    let header = tag(
        TagKind::Video,
        0,
        &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 31, 0xFF, 0xE1, 0, 2, 0x67, look, 1, 0, 1, 0x68],
    );
    let frames = (0..pictures).flat_map(|number| {
        let head = if number == 0 { [0x17, 1, 0, 0, 0, look] } else { [0x27, 1, 0, 0, 0, look] };
        [
            tag(TagKind::Video, number * 40, &head),
            tag(TagKind::Audio, number * 40 + 7, &[0x2F, look, 1, 2, 3]),
        ]
    });
    std::iter::once(header).chain(frames).collect()
}
