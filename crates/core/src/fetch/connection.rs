//! One connection: the name is looked up, its addresses are judged, one is connected to, TLS if that is asked for.
//!
//! In: a place, what may be reached, deadlines. Out: a connection that reads and writes, and gives up when its peer is silent for too long or
//! nobody wants it any more.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;

use super::{Cancel, SLICE};
use crate::config::ConnectConfig;
use crate::error::{ConnectStep, Error};
use crate::net::location::{Location, Protocol};
use crate::net::reach::Judge;
use crate::net::resolver::Resolver;
use crate::net::tls::TlsRoots;

/// Part of the time that one address has, where a host has several.
const ADDRESS_SHARE: u32 = 3;

/// How connections are made.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) reach: Arc<Judge>,
    pub(crate) roots: TlsRoots,
    pub(crate) connect: ConnectConfig,
    pub(crate) resolver: Resolver,
    pub(crate) cancel: Cancel,
}

impl Dial {
    /// The addresses of a host that may be reached.
    ///
    /// # Errors
    ///
    /// [`Error::Dns`], [`Error::ConnectTimeout`], and [`Error::AddressRefused`] if it has no other.
    pub(crate) fn look_up(&self, location: &Location) -> Result<Vec<SocketAddr>, Error> {
        let host = || location.host().to_owned();
        let (send, receive) = crossbeam_channel::bounded(1);
        let reply = move |answer| drop(send.send(answer));
        self.resolver.resolve(location.host(), location.port(), Box::new(reply));
        let deadline = Instant::now() + self.connect.dns;
        let answer = loop {
            self.cancel.check().map_err(|source| super::lost(location, source))?;
            match receive.recv_timeout(SLICE) {
                Ok(answer) => break answer,
                Err(_) if Instant::now() < deadline => {}
                Err(_) => {
                    let after = self.connect.dns;
                    return Err(Error::ConnectTimeout { host: host(), step: ConnectStep::Dns, after });
                }
            }
        };
        let addresses = match &*answer {
            Ok(addresses) => addresses,
            Err(error) => {
                let source = io::Error::new(error.kind(), error.to_string());
                return Err(Error::Dns { host: host(), source: source.into() });
            }
        };
        self.reach.allowed(addresses).map_err(|address| Error::AddressRefused { host: host(), address })
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    server: (Protocol, String, u16),
    cancel: Cancel,
    /// How long the peer may be silent, or take nothing.
    patience: Duration,
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

/// Connects to a place whose protocol is on TCP.
///
/// # Errors
///
/// Those of [`Dial::look_up`], [`Error::Connect`], [`Error::ConnectTimeout`], [`Error::Tls`].
///
/// # Blocking
///
/// For the time that [`ConnectConfig`] gives each step.
pub(crate) fn connect(dial: &Dial, location: &Location) -> Result<Connection, Error> {
    let addresses = dial.look_up(location)?;
    let (give_up, count) = (Instant::now() + dial.connect.tcp, addresses.len());
    let mut failure = None;
    for (index, peer) in addresses.into_iter().enumerate() {
        let left = give_up.saturating_duration_since(Instant::now());
        let share = if index + 1 == count { left } else { left / ADDRESS_SHARE };
        match connect_to(peer, Instant::now() + share, &dial.cancel) {
            Ok(socket) => return secure(dial, location, socket),
            Err(source) if source.kind() == io::ErrorKind::TimedOut => {
                let (host, after) = (location.host().to_owned(), dial.connect.tcp);
                failure = Some(Error::ConnectTimeout { host, step: ConnectStep::Tcp, after });
            }
            Err(source) => failure = Some(Error::Connect { peer, source: source.into() }),
        }
        dial.cancel.check().map_err(|source| super::lost(location, source))?;
    }
    Err(failure.unwrap_or_else(|| Error::System {
        what: "no address to connect to",
        source: io::Error::from(io::ErrorKind::NotFound).into(),
    }))
}

fn connect_to(peer: SocketAddr, deadline: Instant, cancel: &Cancel) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(peer), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&peer.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            while !wait(socket.as_fd(), PollFlags::OUT)? {
                cancel.check()?;
                if Instant::now() >= deadline {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Waits a moment for one of these; whether there is one.
fn wait(socket: BorrowedFd<'_>, flags: PollFlags) -> io::Result<bool> {
    let mut waiting = [PollFd::from_borrowed_fd(socket, flags)];
    let slice = Timespec { tv_sec: 0, tv_nsec: i64::from(SLICE.subsec_nanos()) };
    match poll(&mut waiting, Some(&slice)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn secure(dial: &Dial, location: &Location, socket: TcpStream) -> Result<Connection, Error> {
    let host = || location.host().to_owned();
    let (protocol, _, port) = location.server();
    let mut connection = Connection {
        wire: Wire::Plain(socket),
        server: (protocol, host(), port),
        cancel: dial.cancel.clone(),
        patience: dial.connect.tls,
    };
    if !protocol.is_tls() {
        return Ok(connection);
    }
    let name = ServerName::try_from(host())
        .map_err(|error| Error::Tls { host: host(), source: rustls::Error::General(error.to_string()) })?;
    let tls = rustls::ClientConnection::new(dial.roots.client_config()?, name)
        .map_err(|source| Error::Tls { host: host(), source })?;
    let Wire::Plain(socket) = connection.wire else { return Ok(connection) };
    connection.wire = Wire::Tls(Box::new(rustls::StreamOwned::new(tls, socket)));
    // The handshake is part of the first write; a certificate that is not trusted ends it.
    match connection.flush() {
        Ok(()) => Ok(connection),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Error::ConnectTimeout { host: host(), step: ConnectStep::Tls, after: dial.connect.tls })
        }
        Err(error) => Err(match error.downcast::<rustls::Error>() {
            Ok(source) => Error::Tls { host: host(), source },
            Err(source) => super::lost(location, source),
        }),
    }
}

impl Connection {
    /// How long the peer may be silent from now on, or take nothing.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Whether what is at this place can be asked for here.
    pub(crate) fn leads_to(&self, location: &Location) -> bool {
        let (protocol, host, port) = &self.server;
        location.server() == (*protocol, host.as_str(), *port)
    }

    fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(socket) => socket,
            Wire::Tls(tls) => &tls.sock,
        }
    }

    /// Reads what is there, without waiting: `WouldBlock` if nothing is.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.read(buffer),
            Wire::Tls(tls) => match tls.read(buffer) {
                // Servers that close without saying so are as usual as those that do.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                result => result,
            },
        }
    }

    /// Writes what the socket takes, without waiting.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush_now(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(_) => Ok(()),
            Wire::Tls(tls) => {
                while tls.conn.is_handshaking() {
                    tls.conn.complete_io(&mut tls.sock)?;
                }
                tls.flush()
            }
        }
    }

    /// The descriptor to wait for.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }

    /// Does `turn` until it does not have to wait any more.
    fn patiently<T>(
        &mut self,
        flags: PollFlags,
        mut turn: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + self.patience;
        loop {
            self.cancel.check()?;
            match turn(self) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Even if the process stood still: what came meanwhile was looked at just now.
                    if Instant::now() >= deadline {
                        let reason = format!("the server was silent for {:?}", self.patience);
                        return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                    }
                    wait(self.descriptor(), flags)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(PollFlags::IN, |connection| connection.read_now(buffer))
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(PollFlags::OUT, |connection| connection.write_now(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        // TLS reads while it shakes hands.
        self.patiently(PollFlags::IN, Self::flush_now)
    }
}
