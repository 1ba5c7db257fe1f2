//! The identity the server presents to RTMPS clients, and how it changes while the server runs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use flowcast_core::net::transport::Transport;
use mio::net::TcpStream;
use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;

/// A certificate chain and its private key: what an RTMPS server presents to its clients.
///
/// TLS 1.2 and 1.3, no client certificates, no ALPN. Sessions of TLS 1.2 are resumed from a bounded memory of the last 256; with TLS
/// 1.3 there are no tickets to resume from, because librtmp cannot take them.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub use flowcast_server::*; pub mod server { pub use flowcast_server::*; } }
/// use flowcast::server::TlsIdentity;
///
/// let identity = TlsIdentity::from_pem_files("fullchain.pem", "privkey.pem")?;
/// # Ok::<(), flowcast_server::Error>(())
/// ```
#[derive(Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl TlsIdentity {
    /// Reads a certificate chain (the server's own first) and its private key (PKCS #8, PKCS #1 or SEC 1) from PEM files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or has no certificate or key in it, or the key does not belong to the certificate.
    ///
    /// # Blocking
    ///
    /// On reading the files.
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| unusable(format!("{}: {error}", path.display())))
        };
        let (chain, key) = (chain.as_ref(), key.as_ref());
        Self::from_pem(&read(chain)?, &read(key)?).map_err(|error| match error {
            Error::Certificate { reason } => {
                unusable(format!("{}, {}: {reason}", chain.display(), key.display()))
            }
            error => error,
        })
    }

    /// The same, from PEM in memory.
    ///
    /// # Errors
    ///
    /// There is no certificate or key in it, or the key does not belong to the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(format!("certificate: {error}")))?;
        if chain.is_empty() {
            return Err(unusable("no certificate in it".to_owned()));
        }
        // The parser's message about a broken key could show a part of it.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| unusable("no usable private key in it".to_owned()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| unusable(error.to_string()))?;
        // librtmp mistakes the tickets of TLS 1.3 for a failed read; a connection that lasts for hours gains nothing
        // from them.
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }
}

/// Shows nothing of the key.
impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity")
    }
}

fn unusable(reason: String) -> Error {
    Error::Certificate { reason }
}

/// The identity that new connections get.
#[derive(Debug, Default)]
pub(crate) struct Identity(RwLock<Option<TlsIdentity>>);

impl Identity {
    pub(crate) fn set(&self, identity: TlsIdentity) {
        *self.0.write() = Some(identity);
    }

    /// What a client's socket is served through: TLS if its listener is `secure`.
    pub(crate) fn transport(&self, socket: TcpStream, secure: bool) -> Result<Transport, rustls::Error> {
        if !secure {
            return Ok(Transport::plain(socket));
        }
        let identity = self.0.read().clone();
        let TlsIdentity(config) = identity.ok_or(rustls::Error::NoCertificatesPresented)?;
        Transport::accept_tls(socket, config)
    }
}
