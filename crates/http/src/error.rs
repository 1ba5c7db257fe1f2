//! What can go wrong with setting HTTP up. What is wrong with a request is a problem, and is answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why there is no router, or no server.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot work, or would leave the API open to strangers.
    #[error("{name}: {reason}")]
    Options {
        /// The field of [`Options`](crate::Options).
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
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
    /// No thread or descriptor is left.
    #[error("cannot start the HTTP server")]
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
            Self::Options { .. } => "CONFIG_INVALID",
            Self::Address { .. } => "ADDRESS_INVALID",
            Self::Listen { .. } => "LISTEN_FAILED",
            Self::Start { .. } => "SYSTEM_RESOURCE",
        }
    }

    /// Whether the same call can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Listen { .. } | Self::Start { .. })
    }

    pub(crate) fn options(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Options { name, reason: reason.into() }
    }
}
