//! What protects connections: nothing, or TLS.
//!
//! In: settings of the program. Out: what connects to an address.

use redis::{Client, ConnectionInfo, RedisResult, TlsCertificates};

use crate::error::Error;
use crate::options::RedisOptions;

/// What protects connections. Whether an address is spoken to by TLS is said by the address.
#[derive(Clone)]
pub(super) enum Security {
    Plain,
    Tls(TlsCertificates),
}

impl Security {
    /// Reads the authorities, if TLS needs any of the program's.
    pub(super) fn new(is_tls: bool, options: &RedisOptions) -> Result<Self, Error> {
        if !is_tls {
            return match options.roots {
                Some(_) => Err(Error::config("roots", "only rediss:// has certificates")),
                None => Ok(Self::Plain),
            };
        }
        // rustls asks the process for its provider where the program has named none.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let unreadable = |reason: String| Error::config("roots", reason);
        let root_cert = match &options.roots {
            Some(file) => {
                let read = std::fs::read(file);
                Some(read.map_err(|error| unreadable(format!("{}: {error}", file.display())))?)
            }
            None => None,
        };
        Ok(Self::Tls(TlsCertificates { client_tls: None, root_cert }))
    }

    /// What connects there. Nothing is connected.
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match self {
            Self::Plain => Client::open(info),
            Self::Tls(certificates) => Client::build_with_tls(info, certificates.clone()),
        }
    }
}
