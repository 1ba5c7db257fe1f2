//! A server that takes publishers and throws their media away, as cheaply as it can be done.
//!
//! In: connections of publishers, plain or TLS. Out: what each of them sent, and when. One thread, `bench-sink`.
//!
//! The RTMP session lives until the publish is accepted. From then on nothing is looked at: plain bytes are discarded
//! in the kernel (MSG_TRUNC), TLS is decrypted and dropped. No Acknowledgements are sent; neither our pushes nor
//! ffmpeg's wait for any.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Buf;
use flowcast::rtmp::session::{Reject, ServerConfig, ServerEvent, ServerSession};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use rustix::net::RecvFlags;
use rustls::ServerConnection;

use crate::process;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Most bytes discarded with one call. The kernel does not write to the memory, so it never becomes resident.
const DISCARD: usize = 4 << 20;
/// Most bytes read with one call where they are looked at.
const READ: usize = 64 << 10;
const BACKLOG: i32 = 4096;

/// Is told a publisher's key and when its first media byte arrived, on the sink's thread.
pub type OnFirst = Box<dyn FnMut(&str, Instant) + Send>;

/// How a sink receives.
#[derive(Default)]
pub struct Options {
    /// TLS, if it is wanted.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// No RTMP: everything is media from the first byte.
    pub raw: bool,
    /// Rest between two looks at the sockets while every connection is publishing. What arrives meanwhile waits in the
    /// kernel, and senders need not wake anybody. Default none.
    pub round: Duration,
    /// Who is told of first media bytes. Default nobody.
    pub on_first: Option<OnFirst>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("raw", &self.raw).field("round", &self.round).finish_non_exhaustive()
    }
}

/// What one connection sent.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// The key it published with; empty without RTMP.
    pub name: String,
    /// Bytes of everything behind the publish.
    pub bytes: u64,
    /// Of those, what came with the first read.
    pub first_bytes: u64,
    /// When the first of them arrived, and the last.
    pub times: Option<(Instant, Instant)>,
}

impl Received {
    /// Time between the first media byte and the last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.times.map_or(Duration::ZERO, |(first, last)| last.duration_since(first))
    }

    /// Bits per second between the first read and the last, in thousands; 0 with less than a second in between.
    #[must_use]
    pub fn kbps(&self) -> f64 {
        let seconds = self.elapsed().as_secs_f64();
        if seconds < 1.0 { 0.0 } else { (self.bytes - self.first_bytes) as f64 * 8.0 / 1000.0 / seconds }
    }
}

/// What came in all.
#[derive(Debug, Default)]
pub struct Report {
    /// Each connection that got as far as media, in the order they ended in.
    pub connections: Vec<Received>,
    /// Why connections were given up.
    pub failures: Vec<String>,
    /// CPU time of the sink's thread.
    pub cpu: Duration,
}

/// A running sink; [`Sink::finish`] ends it.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    cpu_nanos: Arc<AtomicU64>,
    thread: JoinHandle<Report>,
}

impl Sink {
    /// Listens on `listen` and starts the thread.
    pub fn start(listen: SocketAddr, options: Options) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(listen), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let stop = Arc::new(AtomicBool::new(false));
        let cpu_nanos = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            cpu_nanos: cpu_nanos.clone(),
            poll,
            listener,
            stop: stop.clone(),
            options,
            peers: Vec::new(),
            talking: 0,
            scratch: vec![0; DISCARD],
            report: Report::default(),
        };
        let thread = std::thread::Builder::new().name("bench-sink".to_owned()).spawn(|| worker.run())?;
        Ok(Self { address, stop, waker, cpu_nanos, thread })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time of its thread, as of when it last had nothing to do; kept only for those who ask with
    /// [`Options::on_first`].
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// Closes all connections; what came until now.
    pub fn finish(self) -> io::Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake()?;
        self.thread.join().map_err(|_| io::Error::other("the sink panicked"))
    }
}

struct Worker {
    poll: Poll,
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    cpu_nanos: Arc<AtomicU64>,
    options: Options,
    /// By token; never used again, so that a late event finds nobody.
    peers: Vec<Option<Peer>>,
    /// Connections that have not published yet.
    talking: usize,
    scratch: Vec<u8>,
    report: Report,
}

impl Worker {
    fn run(mut self) -> Report {
        let mut events = Events::with_capacity(4096);
        while !self.stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.report.failures.push(format!("poll: {error}"));
                    break;
                }
                Ok(()) => {}
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now),
                    WAKER => {}
                    Token(index) => self.turn(index, event.is_read_closed() || event.is_error(), now),
                }
            }
            if self.options.on_first.is_some() {
                let nanos = u64::try_from(process::thread_cpu_time().as_nanos()).unwrap_or(u64::MAX);
                self.cpu_nanos.store(nanos, Ordering::Relaxed);
            }
            if self.talking == 0 && !self.options.round.is_zero() {
                std::thread::sleep(self.options.round);
            }
        }
        for index in 0..self.peers.len() {
            self.close(index);
        }
        self.report.cpu = process::thread_cpu_time();
        self.report
    }

    fn accept(&mut self, now: Instant) {
        loop {
            match self.listener.accept() {
                Ok((socket, address)) => {
                    let added =
                        Peer::new(socket, address, &self.options, now).and_then(|peer| self.add(peer));
                    if let Err(error) = added {
                        self.report.failures.push(format!("accept: {error}"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.report.failures.push(format!("accept: {error}"));
                    return;
                }
            }
        }
    }

    fn add(&mut self, mut peer: Peer) -> io::Result<()> {
        peer.register(self.poll.registry(), Token(self.peers.len()))?;
        self.talking += usize::from(peer.session.is_some());
        self.peers.push(Some(peer));
        Ok(())
    }

    fn turn(&mut self, index: usize, closed: bool, now: Instant) {
        let Some(Some(peer)) = self.peers.get_mut(index) else { return };
        let (was_talking, was_silent) = (peer.session.is_some(), peer.received.times.is_none());
        let result = peer.turn(&mut self.scratch, closed, now);
        if was_talking && peer.session.is_none() {
            self.talking -= 1;
        }
        if let (true, true, Some(tell)) =
            (was_silent, peer.received.times.is_some(), &mut self.options.on_first)
        {
            tell(&peer.received.name, now);
        }
        match result {
            Ok(true) => {}
            Ok(false) => self.close(index),
            Err(error) => {
                let name = &peer.received.name;
                self.report.failures.push(format!("{name:?} after {} bytes: {error}", peer.received.bytes));
                self.close(index);
            }
        }
    }

    fn close(&mut self, index: usize) {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::take) else { return };
        self.talking -= usize::from(peer.session.is_some());
        if peer.received.times.is_some() {
            self.report.connections.push(peer.received);
        }
    }
}

struct Peer {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// Until the publish is accepted.
    session: Option<Box<ServerSession>>,
    received: Received,
}

impl Peer {
    fn new(socket: TcpStream, address: SocketAddr, options: &Options, now: Instant) -> io::Result<Self> {
        let tls = match &options.tls {
            Some(config) => Some(Box::new(ServerConnection::new(config.clone()).map_err(io::Error::other)?)),
            None => None,
        };
        socket.set_nodelay(true)?;
        let session =
            || Box::new(ServerSession::new(ServerConfig::default(), Some(address), [0x5a; 1528], now));
        let session = (!options.raw).then(session);
        Ok(Self { socket, tls, session, received: Received::default() })
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// Takes what has arrived; `false` once the peer has closed. A read that was not filled has emptied the socket, so
    /// the next one can wait for its event, unless the event said that the end is near.
    fn turn(&mut self, scratch: &mut [u8], closed: bool, now: Instant) -> io::Result<bool> {
        loop {
            let discards = self.tls.is_none() && self.session.is_none();
            let room = if discards { scratch.len() } else { READ };
            let buffer = scratch.get_mut(..room).unwrap_or_default();
            let flags =
                if discards && cfg!(target_os = "linux") { RecvFlags::TRUNC } else { RecvFlags::empty() };
            let count = match rustix::net::recv(&self.socket, &mut *buffer, flags) {
                Ok((_, count)) => count,
                Err(rustix::io::Errno::AGAIN) => return Ok(true),
                Err(rustix::io::Errno::INTR) => continue,
                // A push that was aborted is over all the same.
                Err(rustix::io::Errno::CONNRESET) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            if count == 0 {
                return Ok(false);
            }
            if discards {
                self.count(count, now);
            } else {
                self.take(buffer.get(..count).unwrap_or_default(), now)?;
            }
            if count < room && !closed {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], now: Instant) -> io::Result<()> {
        let Some(mut tls) = self.tls.take() else {
            self.plain(bytes, now)?;
            return self.answer();
        };
        while !bytes.is_empty() {
            if tls.read_tls(&mut bytes)? == 0 {
                // Behind the peer's goodbye.
                break;
            }
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = tls.reader();
                let plain = reader.fill_buf()?;
                let count = plain.len();
                self.plain(plain, now)?;
                reader.consume(count);
                left = left.saturating_sub(count.max(1));
            }
            if let Some(session) = &mut self.session {
                let wire = session.wire();
                while wire.has_remaining() {
                    let count = tls.writer().write(wire.chunk())?;
                    wire.advance(count);
                }
            }
            self.forget_session();
            while tls.wants_write() {
                tls.write_tls(&mut &self.socket)?;
            }
        }
        self.tls = Some(tls);
        Ok(())
    }

    fn plain(&mut self, bytes: &[u8], now: Instant) -> io::Result<()> {
        let Some(session) = self.session.as_mut().filter(|session| !session.is_live()) else {
            self.count(bytes.len(), now);
            return Ok(());
        };
        session.handle_input(now, bytes).map_err(io::Error::other)?;
        let mut early = 0;
        while let Some(event) = session.poll_event() {
            match event {
                ServerEvent::Publish(request) => {
                    request.key.reveal().clone_into(&mut self.received.name);
                    early = session.buffered_bytes();
                    session.accept_publish(now);
                }
                ServerEvent::Play(_) => session.reject(Reject::Denied, now),
                _ => {}
            }
        }
        if early > 0 {
            self.count(early, now);
        }
        Ok(())
    }

    /// Sends what the session has to say.
    fn answer(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            while session.wire().has_remaining() {
                let count = (&self.socket).write(session.wire().chunk())?;
                session.wire().advance(count);
            }
            self.forget_session();
        }
        Ok(())
    }

    /// Once the publish is accepted and the client was told so, nobody looks at anything any more.
    fn forget_session(&mut self) {
        if self.session.as_mut().is_some_and(|session| session.is_live() && session.wire().is_empty()) {
            self.session = None;
        }
    }

    fn count(&mut self, bytes: usize, now: Instant) {
        let received = &mut self.received;
        received.bytes += bytes as u64;
        match &mut received.times {
            Some((_, last)) => *last = now,
            times => {
                *times = Some((now, now));
                received.first_bytes = bytes as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;

    use bytes::Bytes;
    use flowcast::rtmp::flv::{Tag, TagKind};
    use flowcast::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
    use flowcast::rtmp::time::MediaTime;
    use flowcast::rtmp::url::Destination;
    use rustls::{ClientConnection, StreamOwned};

    use super::*;

    fn sink(options: Options) -> Sink {
        Sink::start(([127, 0, 0, 1], 0).into(), options).expect("a sink")
    }

    /// Ends the connection; back once the sink has seen all of it.
    fn close(mut socket: TcpStream) {
        socket.shutdown(std::net::Shutdown::Write).expect("a socket");
        // TLS has said something of its own.
        socket.read_to_end(&mut Vec::new()).expect("an orderly close");
    }

    fn talk(session: &mut ClientSession, socket: &mut impl Write) {
        while session.wire().has_remaining() {
            let count = socket.write(session.wire().chunk()).expect("a socket");
            session.wire().advance(count);
        }
        socket.flush().expect("a socket");
    }

    /// Publishes one tag; back with its size on the wire once the sink is about to get it.
    fn publish(sink: &Sink, socket: &mut (impl Read + Write)) -> u64 {
        let destination =
            Destination::parse(&format!("rtmp://{}/live/key-7", sink.address())).expect("a URL");
        let now = Instant::now();
        let mut session =
            ClientSession::new(ClientRole::Publish, &destination, ClientConfig::default(), [1; 1528], now);
        let mut buffer = vec![0; 4096];
        while !session.is_live() {
            talk(&mut session, socket);
            let count = socket.read(&mut buffer).expect("an answer");
            assert_ne!(count, 0, "the sink hung up");
            session.handle_input(now, buffer.get(..count).unwrap_or_default()).expect("RTMP");
            while let Some(event) = session.poll_event() {
                assert!(!matches!(event, ClientEvent::Closed { .. }));
            }
        }
        talk(&mut session, socket);
        session.send_tag(&Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::from(vec![0x17; 100_000])));
        let size = session.wire().len() as u64;
        talk(&mut session, socket);
        size
    }

    fn encrypted(sink: &Sink, config: Arc<rustls::ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
        let socket = TcpStream::connect(sink.address()).expect("a listener");
        let name = rustls::pki_types::ServerName::from(sink.address().ip());
        StreamOwned::new(ClientConnection::new(config, name).expect("a name"), socket)
    }

    fn certificates(name: &str) -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
        let ca = std::env::temp_dir().join(format!("flowcast-bench-{name}-{}.pem", std::process::id()));
        let server = crate::tls::server(&ca).expect("a certificate");
        let client = crate::tls::client(&ca).expect("an authority");
        let _ = std::fs::remove_file(&ca);
        (server, client)
    }

    #[test]
    fn counts_every_byte_without_looking_at_it() {
        for round in [Duration::ZERO, Duration::from_millis(5)] {
            let sink = sink(Options { raw: true, round, ..Options::default() });
            for size in [1, 70_000, 5_000_000] {
                let mut socket = TcpStream::connect(sink.address()).expect("a listener");
                socket.write_all(&vec![3; size]).expect("a socket");
                close(socket);
            }
            let report = sink.finish().expect("a report");
            assert_eq!(report.failures, Vec::<String>::new());
            let bytes: Vec<u64> = report.connections.iter().map(|received| received.bytes).collect();
            assert_eq!(bytes, [1, 70_000, 5_000_000]);
        }
    }

    #[test]
    fn decrypts_and_counts() {
        let (server, client) = certificates("raw");
        let sink = sink(Options { raw: true, tls: Some(server), ..Options::default() });
        let mut stream = encrypted(&sink, client);
        stream.write_all(&vec![3; 300_000]).expect("a connection");
        stream.conn.send_close_notify();
        stream.flush().expect("a connection");
        close(stream.sock);
        let report = sink.finish().expect("a report");
        assert_eq!(report.failures, Vec::<String>::new());
        assert_eq!(report.connections.iter().map(|received| received.bytes).collect::<Vec<_>>(), [300_000]);
    }

    #[test]
    fn media_begins_behind_the_publish() {
        let (server, client) = certificates("rtmp");
        for tls in [None, Some(server)] {
            let (tell, told) = std::sync::mpsc::channel();
            let on_first: OnFirst =
                Box::new(move |name, _| tell.send(name.to_owned()).expect("a test that listens"));
            let sink = sink(Options { on_first: Some(on_first), tls: tls.clone(), ..Options::default() });
            let size = if tls.is_some() {
                let mut stream = encrypted(&sink, client.clone());
                let size = publish(&sink, &mut stream);
                close(stream.sock);
                size
            } else {
                let mut socket = TcpStream::connect(sink.address()).expect("a listener");
                let size = publish(&sink, &mut socket);
                close(socket);
                size
            };
            assert_eq!(told.recv().expect("a first byte"), "key-7");
            let report = sink.finish().expect("a report");
            assert_eq!(report.failures, Vec::<String>::new());
            let [received] = report.connections.as_slice() else { panic!("{report:?}") };
            assert_eq!((received.name.as_str(), received.bytes), ("key-7", size));
        }
    }
}
