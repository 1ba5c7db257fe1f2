//! flowcast's own client session over any byte stream, plain or TLS.

use super::PATIENCE;
use super::net::wait_until;
use bytes::Buf;
use flowcast::rtmp::error::Error;
use flowcast::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
use flowcast::rtmp::url::Destination;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one read waits.
const GLANCE: Duration = Duration::from_millis(5);

/// A publisher or player.
#[derive(Debug)]
pub struct Session<S> {
    /// What it speaks through.
    pub stream: S,
    /// The protocol.
    pub session: ClientSession,
    /// What the protocol has told so far.
    pub events: Vec<ClientEvent>,
}

impl Session<TcpStream> {
    /// Connects without TLS.
    pub fn plain(role: ClientRole, server: SocketAddr, path: &str) -> Self {
        Self::new(role, tcp(server), &format!("rtmp://{server}/{path}"))
    }
}

impl<S: Read + Write> Session<S> {
    /// A session over a stream whose reads return after a short while.
    pub fn new(role: ClientRole, stream: S, url: &str) -> Self {
        let destination = Destination::parse(url).expect("a proper URL");
        let config = ClientConfig::default();
        let session = ClientSession::new(role, &destination, config, [0x5a; 1528], Instant::now());
        Self { stream, session, events: Vec::new() }
    }

    /// Sends what the session has to say.
    ///
    /// # Errors
    ///
    /// The stream does not take it.
    pub fn send(&mut self) -> std::io::Result<()> {
        let wire = self.session.wire();
        let bytes = wire.copy_to_bytes(wire.remaining());
        self.stream.write_all(&bytes)
    }

    /// Reads once. `Ok(false)`: the server has closed, or the connection broke.
    ///
    /// # Errors
    ///
    /// The server refuses, or does not follow the protocol.
    pub fn read(&mut self) -> Result<bool, Error> {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                self.session.handle_input(Instant::now(), buffer.get(..count).unwrap_or_default())?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Ok(false),
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        Ok(true)
    }

    /// Goes on until publish or play was accepted (`Ok(true)`), the server closes, or it refuses.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn go_live(&mut self) -> Result<bool, Error> {
        self.run_until(|session| session.session.is_live())
    }

    /// Goes on until `done` (`Ok(true)`), the server closes, or it refuses.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<bool, Error> {
        let mut result = Ok(true);
        let in_time = wait_until(PATIENCE, || {
            // A server that has closed may have left an answer.
            let _ = self.send();
            result = self.read();
            !matches!(result, Ok(true)) || done(self)
        });
        assert!(in_time, "nothing happens: {:?}", self.session);
        result
    }
}

/// A TCP connection with short reads.
pub fn tcp(server: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(server).expect("a listening server");
    socket.set_read_timeout(Some(GLANCE)).expect("a timeout above zero");
    socket.set_nodelay(true).expect("a TCP socket");
    socket
}

/// A TLS connection to `localhost`, whose certificate has to be of the authority with the certificate `trusted`; the
/// handshake is over.
///
/// # Errors
///
/// Nobody listens, or the handshake fails.
pub fn tls_stream(
    server: SocketAddr,
    trusted: &str,
) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
    tls_stream_of(server, trusted, rustls::DEFAULT_VERSIONS)
}

/// The same with TLS versions of one's choice.
///
/// # Errors
///
/// As [`tls_stream`].
pub fn tls_stream_of(
    server: SocketAddr,
    trusted: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(trusted.as_bytes()).expect("a certificate in PEM");
    roots.add(certificate).expect("a proper certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions the provider has")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a host name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("proper settings");
    let mut socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    socket.set_read_timeout(Some(GLANCE))?;
    socket.set_nodelay(true)?;
    Ok(StreamOwned::new(tls, socket))
}
