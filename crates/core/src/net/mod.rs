//! Sockets and TLS.

mod backoff;
pub(crate) mod dialer;
mod pace;
pub mod tls;
pub mod transport;

pub(crate) use backoff::Backoff;
pub use pace::ReadPace;
#[cfg_attr(
    not(feature = "libav"),
    allow(dead_code, reason = "without libav no input but RTMP is connected to")
)]
pub(crate) mod location;
pub(crate) mod random;
pub(crate) mod reach;
pub(crate) mod resolver;
mod spread;

/// Random bytes of the TLS provider's generator.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    random::bytes()
}
