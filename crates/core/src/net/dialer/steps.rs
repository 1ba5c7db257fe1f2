//! The steps of an attempt: TLS, the RTMP handshake and its commands, without blocking.
//!
//! In: a socket, and what its peer says. Out: how far that took the attempt. On the dialer's thread.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use flowcast_rtmp::session::{ClientConfig, ClientEvent, ClientSession, LoginAnswer};
use flowcast_rtmp::url::Scheme;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;

use super::super::random;
use super::super::transport::{TlsError, Transport};
use super::{Dialed, Request, ServerUrl};
use crate::error::Error;

pub(super) enum State {
    Resolving,
    Connecting { socket: TcpStream, peer: SocketAddr, rest: Vec<SocketAddr>, give_up: Instant },
    Tls { transport: Transport },
    Rtmp { transport: Transport, session: Box<ClientSession> },
}

/// How far a turn took an attempt.
pub(super) enum Turn {
    Wait(State, Instant),
    Done(Box<Dialed>),
    Elsewhere(ServerUrl),
    /// The peer wants another connection with this.
    Login(SocketAddr, LoginAnswer),
}

/// Abandons an attempt that is no longer wanted. A peer that was already asked for the stream is told, or it would wait for it.
pub(super) fn give_up(state: State) {
    if let State::Rtmp { mut transport, mut session } = state
        && session.has_asked()
    {
        session.finish();
        let _ = transport.write(session.wire(), usize::MAX);
        transport.close();
    }
}

/// Whether a connecting socket is through.
pub(super) fn connected(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn begin_session(request: &Request, socket: TcpStream, now: Instant) -> Result<Turn, Error> {
    if request.destination.scheme() == Scheme::Rtmp {
        return Ok(rtmp(request, Transport::plain(socket), now));
    }
    let host = request.destination.host();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::Tls {
        host: host.to_owned(),
        source: rustls::Error::General(error.to_string()),
    })?;
    let config = request.roots.client_config()?;
    let tls = rustls::ClientConnection::new(config, name)
        .map_err(|source| Error::Tls { host: host.to_owned(), source })?;
    let transport = Transport::tls(socket, tls.into());
    Ok(Turn::Wait(State::Tls { transport }, now + request.config.tls))
}

fn rtmp(request: &Request, transport: Transport, now: Instant) -> Turn {
    let config = ClientConfig {
        chunk_size: crate::config::CHUNK_SIZE,
        handshake_timeout: request.config.handshake,
        reply_timeout: request.config.reply,
        enhanced: request.enhanced,
        via: request.via.clone(),
        login: request.login.clone(),
        ..ClientConfig::default()
    };
    let random = random::bytes();
    let session = Box::new(ClientSession::new(request.role, &request.destination, config, random, now));
    Turn::Wait(State::Rtmp { transport, session }, now)
}

/// Drives TLS and RTMP until the socket has to be waited for.
pub(super) fn advance(request: &Request, turn: Turn, now: Instant, buffer: &mut [u8]) -> Result<Turn, Error> {
    let host = || request.destination.host().to_owned();
    let (state, deadline) = match turn {
        Turn::Wait(state, deadline) => (state, deadline),
        done => return Ok(done),
    };
    match state {
        State::Tls { mut transport } => match transport.handshake() {
            Ok(()) if !transport.is_handshaking() => {
                advance(request, rtmp(request, transport, now), now, buffer)
            }
            Ok(()) => Ok(Turn::Wait(State::Tls { transport }, deadline)),
            Err(TlsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(Turn::Wait(State::Tls { transport }, deadline))
            }
            Err(TlsError::Io(source)) => Err(Error::ConnectionLost { host: host(), source: source.into() }),
            Err(TlsError::Tls(source)) => Err(Error::Tls { host: host(), source }),
        },
        State::Rtmp { mut transport, mut session } => {
            match pump(&mut transport, &mut session, &request.asked, now, buffer)
                .map_err(|error| error.of(host()))?
            {
                Pumped::Live => return Ok(Turn::Done(Box::new(Dialed { transport, session: *session }))),
                Pumped::Elsewhere(url) => return Ok(Turn::Elsewhere(url)),
                Pumped::Login(answer) => {
                    let lost =
                        |source: io::Error| Error::ConnectionLost { host: host(), source: source.into() };
                    return Ok(Turn::Login(transport.socket().peer_addr().map_err(lost)?, answer));
                }
                Pumped::Waits => {}
            }
            let deadline = session.next_timeout().unwrap_or(now + request.config.reply);
            Ok(Turn::Wait(State::Rtmp { transport, session }, deadline))
        }
        other => Ok(Turn::Wait(other, deadline)),
    }
}

enum PumpError {
    Io(io::Error),
    Rtmp(flowcast_rtmp::error::Error),
}

impl PumpError {
    fn of(self, host: String) -> Error {
        match self {
            Self::Io(source) => Error::ConnectionLost { host, source: source.into() },
            Self::Rtmp(source) => Error::Rtmp { host, source },
        }
    }
}

enum Pumped {
    /// The socket has to be waited for.
    Waits,
    /// The peer accepted the stream.
    Live,
    Elsewhere(ServerUrl),
    Login(LoginAnswer),
}

/// Exchanges bytes until the peer has decided or the socket has to be waited for.
fn pump(
    transport: &mut Transport,
    session: &mut ClientSession,
    asked: &AtomicBool,
    now: Instant,
    buffer: &mut [u8],
) -> Result<Pumped, PumpError> {
    loop {
        asked.fetch_or(session.has_asked(), Ordering::Release);
        transport.write(session.wire(), usize::MAX).map_err(PumpError::Io)?;
        while let Some(event) = session.poll_event() {
            let refused = match event {
                ClientEvent::Live => return Ok(Pumped::Live),
                ClientEvent::Closed { code } => code,
                ClientEvent::Redirect { url } => return Ok(Pumped::Elsewhere(ServerUrl(url))),
                ClientEvent::Login(answer) => return Ok(Pumped::Login(answer)),
                _ => continue,
            };
            return Err(PumpError::Io(io::Error::new(io::ErrorKind::ConnectionAborted, refused)));
        }
        match transport.read(buffer) {
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                session.handle_input(now, bytes).map_err(PumpError::Rtmp)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PumpError::Io(error)),
        }
    }
    session.handle_timeout(now).map_err(PumpError::Rtmp)?;
    Ok(Pumped::Waits)
}
