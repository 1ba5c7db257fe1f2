//! The cheapest sender there is: bytes to a socket, plain or through rustls, and nothing else.

use std::io::{self, IoSlice, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};

use crate::Result;

/// One connection.
#[derive(Debug)]
pub struct Writer {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Writer {
    /// Connects; over TLS if there is a `config` for it. Blocks until the handshake is over.
    pub fn connect(to: SocketAddr, config: Option<Arc<ClientConfig>>) -> Result<Self> {
        let mut socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        let Some(config) = config else { return Ok(Self { socket, tls: None }) };
        let mut tls = ClientConnection::new(config, rustls::pki_types::ServerName::from(to.ip()))?;
        // A tick is handed over whole.
        tls.set_buffer_limit(None);
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self { socket, tls: Some(Box::new(tls)) })
    }

    /// Writes all of it, with one call where the kernel takes it. Blocks while it does not.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            return Ok(());
        }
        while !bytes.is_empty() {
            let count = self.socket.write_vectored(&[IoSlice::new(bytes)])?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}
