//! flowcast's own client session on a blocking socket, and tags as it sends them.

use super::*;

/// flowcast's client session on a blocking socket.
pub(super) struct Client {
    pub(super) socket: TcpStream,
    pub(super) session: ClientSession,
    pub(super) events: Vec<ClientEvent>,
}

impl Client {
    pub(super) fn connect(role: ClientRole, url: &str) -> Self {
        let destination = Destination::parse(url).expect("a proper URL");
        let socket =
            TcpStream::connect((destination.host(), destination.port())).expect("a listening server");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout above zero");
        socket.set_nodelay(true).expect("a TCP socket");
        let config = ClientConfig::default();
        let session = ClientSession::new(role, &destination, config, [0x5a; 1528], Instant::now());
        Self { socket, session, events: Vec::new() }
    }

    /// What is to be sent, taken from the session.
    pub(super) fn take_wire(&mut self) -> Vec<u8> {
        let wire = self.session.wire();
        wire.copy_to_bytes(wire.remaining()).to_vec()
    }

    pub(super) fn send(&mut self) {
        let bytes = self.take_wire();
        self.socket.write_all(&bytes).expect("an open connection");
    }

    /// Reads once. `Ok(false)`: the server has closed.
    pub(super) fn read(&mut self) -> Result<bool, RtmpError> {
        let mut buffer = [0; 65_536];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => self.session.handle_input(Instant::now(), &buffer[..count])?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("the connection broke: {error}"),
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        Ok(true)
    }

    /// Goes on until `done`, the server closes (`Ok(false)`), or it refuses.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> Result<bool, RtmpError> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "nothing happens: {:?}", self.session);
            self.send();
            if !self.read()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The status of a refusal; the server then closes.
    pub(super) fn refusal(mut self) -> String {
        let refused = self.run_until(|client| client.session.is_live());
        let Err(RtmpError::Rejected { code, .. }) = refused else { panic!("not refused: {refused:?}") };
        self.assert_closed();
        code
    }

    /// The server closes in its own good time, without a reset.
    pub(super) fn assert_closed(&mut self) {
        let mut buffer = [0; 1024];
        let closed = wait_until(PATIENCE, || matches!(self.socket.read(&mut buffer), Ok(0)));
        assert!(closed, "the connection stays open");
    }

    /// Goes as far as the answer to `createStream`, and returns the `publish` that would be sent next.
    pub(super) fn publish_command(&mut self) -> Vec<u8> {
        const PUBLISH: &[u8] = b"\x02\x00\x07publish";
        let mut command = Vec::new();
        let reached = self.run_until(|client| {
            let bytes = client.take_wire();
            if bytes.windows(PUBLISH.len()).any(|window| window == PUBLISH) {
                command = bytes;
                return true;
            }
            client.socket.write_all(&bytes).expect("an open connection");
            false
        });
        assert!(matches!(reached, Ok(true)), "{reached:?}");
        command
    }
}

/// The tags of an FLV file, without its script data.
pub(super) fn media_tags(file: &Path) -> Vec<Tag> {
    kit::flv_tags(file).into_iter().filter(|tag| tag.kind != TagKind::Script).collect()
}

/// Tags as a publisher sends them on its message stream.
pub(super) fn on_the_wire(tags: &[Tag]) -> Vec<u8> {
    let mut writer = ChunkWriter::new(ClientConfig::default().chunk_size);
    let mut wire = WireBuf::new();
    for tag in tags {
        writer.write_tag(tag, 1, MediaTime::ZERO, &mut wire);
    }
    let bytes: Bytes = wire.copy_to_bytes(wire.remaining());
    bytes.to_vec()
}
