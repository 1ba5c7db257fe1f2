//! What can go wrong with a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// An error of the server itself; errors of single connections are counted and logged.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address to listen on is malformed or unknown.
    #[error("{address}: no such address to listen on")]
    Address {
        /// What was given.
        address: String,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// Nothing can listen there: the port is taken, or not allowed.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// A setting cannot work.
    #[error("{name}: {reason}")]
    Options {
        /// The field of [`ServerOptions`](crate::ServerOptions), or the call.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The certificate or private key of an RTMPS server cannot be used.
    #[error("TLS identity: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// No thread or descriptor is left.
    #[error("cannot start the server's thread")]
    Start {
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "ADDRESS_INVALID",
            Self::Listen { .. } => "LISTEN_FAILED",
            Self::Options { .. } => "CONFIG_INVALID",
            Self::Certificate { .. } => "CERTIFICATE_INVALID",
            Self::Start { .. } => "SYSTEM_RESOURCE",
        }
    }

    /// Whether the same call can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Address { .. } | Self::Options { .. } | Self::Certificate { .. })
    }
}
