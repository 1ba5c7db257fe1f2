//! Figures of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::refusal::RefusalReason;
use crate::visit::Roll;

const REASONS: usize = RefusalReason::ALL.len();

/// Figures of one server since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections accepted by the kernel and let in.
    pub accepted: u64,
    /// Connections open now.
    pub connections: u64,
    /// Publishers on the air now.
    pub publishers: u64,
    /// Players on the air now.
    pub players: u64,
    /// Connections closed at once because a limit was reached or the address was banned.
    pub refused_full: u64,
    /// Publishers refused, for whatever reason.
    pub refused_publish: u64,
    /// Players refused, for whatever reason.
    pub refused_play: u64,
    /// Each refusal by its reason.
    pub(crate) refusals: [u64; REASONS],
    /// Publishers disconnected because they sent more than [`publisher_bit_rate`](crate::ServerOptions::publisher_bit_rate).
    pub too_fast: u64,
    /// Bytes of unfinished messages held now.
    pub assembly_bytes: u64,
    /// Connections that broke the protocol or exceeded a limit of it.
    pub protocol_errors: u64,
    /// Connections that broke TLS, or did not speak it where it is required.
    pub tls_errors: u64,
    /// Connections that missed a deadline.
    pub timeouts: u64,
    /// Names that are pulled from an origin now, or dialled for players that wait.
    pub relays: u64,
    /// Streams that were pulled for players.
    pub relays_begun: u64,
    /// Names that were asked for, and that no origin gave.
    pub relays_failed: u64,
    /// Bytes received from publishers.
    pub bytes_received: u64,
    /// Tags dropped for players that were behind.
    pub dropped_tags: u64,
    /// Bytes sent to players.
    pub bytes_sent: u64,
    /// Events that callbacks missed because they were too slow.
    pub missed_events: u64,
}

impl ServerStats {
    /// How many were refused for `reason`.
    #[must_use]
    pub fn refused(&self, reason: RefusalReason) -> u64 {
        self.refusals.get(reason as usize).copied().unwrap_or(0)
    }
}

/// The counters behind [`ServerStats`], and everything else that all connections of a server share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) publishers: AtomicU64,
    pub(crate) players: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_publish: AtomicU64,
    pub(crate) refused_play: AtomicU64,
    refusals: [AtomicU64; REASONS],
    pub(crate) too_fast: AtomicU64,
    pub(crate) assembly: AtomicU64,
    pub(crate) protocol_errors: AtomicU64,
    pub(crate) tls_errors: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) relays: AtomicU64,
    pub(crate) relays_begun: AtomicU64,
    pub(crate) relays_failed: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    /// The clients on the air, and the receivers of their events.
    pub(crate) roll: Arc<Roll>,
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
            refusals: std::array::from_fn(|index| self.refusals.get(index).map_or(0, read)),
            too_fast: read(&self.too_fast),
            assembly_bytes: read(&self.assembly),
            protocol_errors: read(&self.protocol_errors),
            tls_errors: read(&self.tls_errors),
            timeouts: read(&self.timeouts),
            relays: read(&self.relays),
            relays_begun: read(&self.relays_begun),
            relays_failed: read(&self.relays_failed),
            bytes_received: read(&self.bytes_received),
            dropped_tags: self.roll.drops(),
            bytes_sent: read(&self.bytes_sent),
            missed_events: self.roll.bus.missed(),
        }
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, reason: RefusalReason) {
        if let Some(counter) = self.refusals.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection that is closed before it could send a request.
    pub(crate) fn turned_away(&self, reason: RefusalReason) {
        self.refused(reason);
        self.refused_full.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failure of a session by its kind.
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

/// What a connection holds of the memory that all share.
#[derive(Debug)]
pub(crate) struct Share {
    counters: Arc<Counters>,
    bytes: u64,
}

impl Share {
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        Self { counters: counters.clone(), bytes: 0 }
    }

    /// Notes that it holds `bytes` now. Returns what all hold, unless this connection holds no more than before.
    pub(crate) fn set(&mut self, bytes: usize) -> Option<u64> {
        let (bytes, before) = (bytes as u64, self.bytes);
        self.bytes = bytes;
        match bytes.checked_sub(before) {
            None => {
                self.counters.assembly.fetch_sub(before - bytes, Ordering::Relaxed);
                None
            }
            Some(0) => None,
            Some(more) => Some(self.counters.assembly.fetch_add(more, Ordering::Relaxed) + more),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.counters.assembly.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
