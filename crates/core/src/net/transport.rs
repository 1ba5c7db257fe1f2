//! A non-blocking connection, plain or TLS.
//!
//! Writes go through `sendmsg` with MSG_NOSIGNAL, so a peer that is gone can never raise SIGPIPE in the program that
//! embeds us, whatever it did with its signal handlers.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use bytes::Buf;
use flowcast_rtmp::wire::WireBuf;
use mio::net::TcpStream;
use rustix::net::SendFlags;

/// Most slices handed to the kernel in one call.
const MAX_SLICES: usize = 64;
/// Plaintext one TLS connection holds at most before it was sent.
const TLS_BUFFER: usize = 64 << 10;

/// One connection.
#[derive(Debug)]
pub struct Transport {
    socket: TcpStream,
    tls: Option<Box<rustls::Connection>>,
    /// Plain bytes TLS has taken since it last had nothing left to send.
    in_tls: usize,
}

impl Transport {
    /// A plain connection.
    #[must_use]
    pub fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None, in_tls: 0 }
    }

    /// A connection that begins with a TLS handshake.
    pub(crate) fn tls(socket: TcpStream, mut tls: rustls::Connection) -> Self {
        tls.set_buffer_limit(Some(TLS_BUFFER));
        Self { socket, tls: Some(Box::new(tls)), in_tls: 0 }
    }

    /// A client's connection that begins with a TLS handshake. [`Transport::read`] and [`Transport::write`] take the
    /// handshake along, so the owner serves it like any other connection; its deadline is the owner's, too.
    ///
    /// # Errors
    ///
    /// The settings are unusable.
    pub fn accept_tls(socket: TcpStream, config: Arc<rustls::ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::tls(socket, rustls::ServerConnection::new(config)?.into()))
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The socket, to register it.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether the TLS handshake is still going on.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Takes the handshake as far as the socket lets it; `WouldBlock` asks to wait for the socket.
    pub(crate) fn handshake(&mut self) -> Result<(), TlsError> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.is_handshaking() {
            while tls.wants_write() {
                tls.write_tls(&mut NoSignal(&self.socket)).map_err(TlsError::Io)?;
            }
            if tls.is_handshaking() && tls.wants_read() {
                if tls.read_tls(&mut &self.socket).map_err(TlsError::Io)? == 0 {
                    return Err(TlsError::Io(io::ErrorKind::UnexpectedEof.into()));
                }
                if let Err(error) = tls.process_new_packets() {
                    // Tell the peer why, as far as it can be told without waiting.
                    let _ = tls.write_tls(&mut NoSignal(&self.socket));
                    return Err(TlsError::Tls(error));
                }
            }
        }
        Ok(())
    }

    /// Reads what has arrived.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing has; an orderly close is `UnexpectedEof`. A peer that breaks TLS is `InvalidData` with
    /// the [`rustls::Error`] inside.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return match (&self.socket).read(buffer)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                count => Ok(count),
            };
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if tls.read_tls(&mut &self.socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Err(error) = tls.process_new_packets() {
                // Tell the peer why, as far as it can be told without waiting.
                let _ = tls.write_tls(&mut NoSignal(&self.socket));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Writes what the kernel takes of `wire`, at most `budget` bytes; says how much it took.
    ///
    /// # Errors
    ///
    /// What the kernel said, but for `WouldBlock`: then the count is what was taken before.
    pub fn write(&mut self, wire: &mut WireBuf, budget: usize) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            if !self.flush_tls()? {
                return Ok(taken);
            }
            if wire.is_empty() || taken >= budget {
                return Ok(taken);
            }
            let result = match &mut self.tls {
                Some(tls) => write_slices(wire, &mut tls.writer()),
                // What many players are sent is one piece.
                None if wire.chunk().len() == wire.len() => NoSignal(&self.socket).write(wire.chunk()),
                None => write_slices(wire, &mut NoSignal(&self.socket)),
            };
            match result {
                // rustls takes nothing while its buffer is full; flush_tls then says whether the socket is, too.
                Ok(0) if self.tls.is_none() => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    wire.advance(count);
                    taken += count;
                    if self.tls.is_some() {
                        self.in_tls += count;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what TLS has encrypted; `false` when the socket takes no more.
    fn flush_tls(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.wants_write() {
            match tls.write_tls(&mut NoSignal(&self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.in_tls = 0;
        Ok(true)
    }

    /// Bytes taken by [`Transport::write`] that may not have reached the kernel yet: those in TLS records.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.in_tls
    }

    /// Whether encrypted bytes wait for the socket.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Bytes the peer's kernel has not acknowledged; 0 where the kernel does not tell.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        crate::sys::unacknowledged_bytes(&self.socket).unwrap_or(0)
    }

    /// Whether it is without TLS: what the socket has is then what there is to read.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Bytes the kernel keeps of what the peer sends before it is read; 0 where it does not tell.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        socket2::SockRef::from(&self.socket).recv_buffer_size().unwrap_or(0)
    }

    /// Makes the coming close throw away what the kernel still holds, and tell the peer at once.
    pub fn abort(&mut self) {
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(std::time::Duration::ZERO));
    }

    /// The coming close says no goodbye, and what the kernel still holds is thrown away. Nothing is to be written any more.
    pub(crate) fn cut(&mut self) {
        self.abort();
        self.tls = None;
    }

    /// Says goodbye as far as that goes without waiting, and closes both directions.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.flush_tls();
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

fn write_slices(wire: &WireBuf, to: &mut impl Write) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let count = wire.chunks_vectored(&mut slices);
    to.write_vectored(slices.get(..count).unwrap_or_default())
}

/// Why a TLS handshake did not go on.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// The socket: also `WouldBlock`.
    Io(io::Error),
    /// The peer, its certificate or ours.
    Tls(rustls::Error),
}

/// Writes without ever raising SIGPIPE.
struct NoSignal<'a>(&'a TcpStream);

#[cfg(not(target_vendor = "apple"))]
const FLAGS: SendFlags = SendFlags::NOSIGNAL;
// mio sets SO_NOSIGPIPE there.
#[cfg(target_vendor = "apple")]
const FLAGS: SendFlags = SendFlags::empty();

impl Write for NoSignal<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.0, bytes, FLAGS)?)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut control = rustix::net::SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(self.0, slices, &mut control, FLAGS)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Settings every media connection has: no delay (writes are merged by us), dead peers are noticed, and the kernel does
/// not take more from us unsent than it can use.
///
/// # Errors
///
/// What the kernel said.
pub fn tune(socket: &TcpStream, stall_after: std::time::Duration) -> io::Result<()> {
    /// Bytes the kernel takes ahead of the network: what is above it stays with us, where it can still be dropped.
    const NOT_SENT: u32 = 128 << 10;
    socket.set_nodelay(true)?;
    let socket = socket2::SockRef::from(socket);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(std::time::Duration::from_secs(30))
        .with_interval(std::time::Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(stall_after))?;
        socket.set_tcp_notsent_lowat(NOT_SENT)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stall_after, NOT_SENT, socket);
    Ok(())
}
