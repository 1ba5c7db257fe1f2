//! Sockets and TLS.

mod backoff;
pub(crate) mod dialer;
pub mod tls;
pub mod transport;

pub(crate) use backoff::Backoff;
pub(crate) mod random;
mod resolver;
