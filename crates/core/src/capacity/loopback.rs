//! Where the self-benchmark's streams go: a server on loopback that accepts every publisher and throws away what it sends.
//!
//! One thread. The session of `flowcast-rtmp` answers until the publish is accepted; from then on bytes are discarded in the
//! kernel, without being copied or parsed, so that what is measured beside the streams is next to nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowcast_rtmp::session::{ServerConfig, ServerEvent, ServerSession};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::net::RecvFlags;

use super::loopback_tls;
use crate::error::Error;
use crate::net::random;
use crate::net::transport::{TlsError, Transport};
use crate::sys::{CpuLap, CpuMeter, spawn};

const WAKE: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST: usize = 2;
/// Bytes discarded with one call; the buffer's pages are never touched.
const DISCARD: usize = 256 << 10;
const SCRATCH: usize = 16 << 10;
const STACK: usize = 256 << 10;
/// How often its CPU time is noted.
const NOTE: Duration = Duration::from_millis(50);

/// The server; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Loopback {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicU64,
    cpu: CpuMeter,
}

struct Guest {
    transport: Transport,
    /// `None` once the publish was accepted and answered.
    session: Option<ServerSession>,
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    guests: Vec<Option<Guest>>,
    shared: Arc<Shared>,
    discard: Vec<u8>,
}

impl Loopback {
    /// Starts it, with TLS if there is `tls`.
    ///
    /// # Errors
    ///
    /// No port, descriptor or thread left.
    pub(crate) fn start(tls: Option<&loopback_tls::Identity>) -> Result<Self, Error> {
        Self::open(tls).map_err(|source| Error::System {
            what: "no receiver for the self-benchmark",
            source: source.into(),
        })
    }

    fn open(tls: Option<&loopback_tls::Identity>) -> io::Result<Self> {
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let shared = Arc::new(Shared::default());
        let tls = tls.map(|identity| identity.server.clone());
        let server = Server {
            poll,
            listener,
            tls,
            guests: Vec::new(),
            shared: shared.clone(),
            discard: vec![0; DISCARD],
        };
        let thread = spawn("fc-capacity", STACK, move || server.run())?;
        Ok(Self { address, shared, waker, thread: Some(thread) })
    }

    /// CPU time its thread used so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.shared.cpu.total()
    }

    /// Publishers accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Acquire)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the self-benchmark's receiver panicked");
        }
    }
}

impl Server {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; SCRATCH];
        let mut cpu = CpuLap::default();
        let mut noted = Instant::now();
        while !self.shared.stop.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("the self-benchmark's receiver cannot wait for sockets: {error}");
                return;
            }
            for event in &events {
                match event.token() {
                    WAKE => {}
                    LISTENER => self.accept(),
                    Token(token) => self.turn(token - FIRST, &mut scratch),
                }
            }
            if noted.elapsed() >= NOTE {
                noted = Instant::now();
                self.shared.cpu.lap(&mut cpu);
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, peer)) = self.listener.accept() {
            if let Err(error) = self.welcome(socket, peer) {
                log::debug!("the self-benchmark's receiver: {error}");
            }
        }
    }

    fn welcome(&mut self, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let mut transport = match &self.tls {
            None => Transport::plain(socket),
            Some(config) => {
                let tls = rustls::ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                Transport::tls(socket, tls.into())
            }
        };
        let token = Token(self.guests.len() + FIRST);
        self.poll.registry().register(transport.socket(), token, Interest::READABLE)?;
        let session =
            ServerSession::new(ServerConfig::default(), Some(peer), random::bytes(), Instant::now());
        self.guests.push(Some(Guest { transport, session: Some(session) }));
        Ok(())
    }

    fn turn(&mut self, index: usize, scratch: &mut [u8]) {
        let Some(Some(guest)) = self.guests.get_mut(index) else { return };
        if guest.session.is_some() {
            match guest.talk(scratch) {
                Ok(true) => {
                    self.shared.accepted.fetch_add(1, Ordering::Release);
                }
                Ok(false) => return,
                Err(error) => {
                    log::debug!("the self-benchmark's receiver: {error}");
                    self.guests[index] = None;
                    return;
                }
            }
        }
        if !guest.discard(&mut self.discard) {
            self.guests[index] = None;
        }
    }
}

impl Guest {
    /// Goes on with the handshakes and commands; `true` once the publish is accepted and answered.
    fn talk(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        let Some(session) = &mut self.session else { return Ok(true) };
        let now = Instant::now();
        match self.transport.handshake() {
            Ok(()) => {}
            Err(TlsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(TlsError::Io(error)) => return Err(error),
            Err(TlsError::Tls(error)) => return Err(io::Error::other(error)),
        }
        loop {
            let count = match self.transport.read(scratch) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = scratch.get(..count).unwrap_or_default();
            session.handle_input(now, bytes).map_err(io::Error::other)?;
            let mut accepted = false;
            while let Some(event) = session.poll_event() {
                if matches!(event, ServerEvent::Publish(_)) {
                    session.accept_publish(now);
                    accepted = true;
                }
            }
            // A few hundred bytes on a new connection: the socket takes them.
            self.transport.write(session.wire(), usize::MAX)?;
            if accepted {
                self.session = None;
                return Ok(true);
            }
        }
    }

    /// Throws away what has arrived; `false` once the publisher is gone.
    fn discard(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            let room = buffer.len();
            match discard(self.transport.socket(), buffer) {
                Ok(0) => return false,
                // Less than was asked for: there is no more, and what comes wakes the thread again.
                Ok(count) if count < room => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

/// Takes bytes off a socket. On Linux `MSG_TRUNC` leaves them uncopied, see tcp(7).
fn discard(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = if cfg!(target_os = "linux") { RecvFlags::TRUNC } else { RecvFlags::empty() };
    let (_, count) = rustix::net::recv(socket, buffer, flags)?;
    Ok(count)
}
