//! Figures of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of one server since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections accepted by the kernel and taken in.
    pub accepted: u64,
    /// Connections open now.
    pub connections: u64,
    /// Publishers on the air now.
    pub publishers: u64,
    /// Players on the air now.
    pub players: u64,
    /// Connections closed at once because a limit was reached.
    pub refused_full: u64,
    /// Publishers refused for their key or app, or because the name was taken.
    pub refused_publish: u64,
    /// Players refused because there is no such stream.
    pub refused_play: u64,
    /// Connections that broke the protocol or a limit of it.
    pub protocol_errors: u64,
    /// Connections that broke TLS, or did not speak it where they had to.
    pub tls_errors: u64,
    /// Connections that let a deadline pass.
    pub timeouts: u64,
    /// Bytes received from publishers.
    pub bytes_received: u64,
    /// Bytes sent to players.
    pub bytes_sent: u64,
}

/// The counters behind [`ServerStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) publishers: AtomicU64,
    pub(crate) players: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_publish: AtomicU64,
    pub(crate) refused_play: AtomicU64,
    pub(crate) protocol_errors: AtomicU64,
    pub(crate) tls_errors: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> ServerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerStats {
            accepted: read(&self.accepted),
            connections: read(&self.connections),
            publishers: read(&self.publishers),
            players: read(&self.players),
            refused_full: read(&self.refused_full),
            refused_publish: read(&self.refused_publish),
            refused_play: read(&self.refused_play),
            protocol_errors: read(&self.protocol_errors),
            tls_errors: read(&self.tls_errors),
            timeouts: read(&self.timeouts),
            bytes_received: read(&self.bytes_received),
            bytes_sent: read(&self.bytes_sent),
        }
    }

    /// Counts a session's failure as what it was.
    pub(crate) fn failed(&self, error: &flowcast_rtmp::error::Error) {
        let counter = match error {
            flowcast_rtmp::error::Error::Timeout { .. } => &self.timeouts,
            _ => &self.protocol_errors,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    counters: Arc<Counters>,
    which: fn(&Counters) -> &AtomicU64,
}

impl Counted {
    pub(crate) fn new(counters: &Arc<Counters>, which: fn(&Counters) -> &AtomicU64) -> Self {
        which(counters).fetch_add(1, Ordering::Relaxed);
        Self { counters: counters.clone(), which }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.which)(&self.counters).fetch_sub(1, Ordering::Relaxed);
    }
}
