//! The figures of a stream that are wanted often and for all streams: copied, not made.

use std::time::Duration;

use crate::stats::{HeldBytes, StreamPhase, StreamStats};

/// Figures of one stream without its names and outputs, its branches included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    pub(crate) phase: StreamPhase,
    pub(crate) uptime: Duration,
    /// CPU time of its own threads.
    pub(crate) cpu: Duration,
    /// CPU time of threads that libav started for it, as far as it was looked for.
    pub(crate) codecs: Duration,
    pub(crate) held: HeldBytes,
}

impl Glance {
    /// Of figures that are published; CPU time and uptime are filled in by the caller.
    pub(super) fn of(stats: &StreamStats) -> Self {
        Self {
            phase: stats.phase,
            uptime: stats.uptime,
            cpu: Duration::ZERO,
            codecs: Duration::ZERO,
            held: stats.held,
        }
    }

    /// CPU time of all threads.
    pub(crate) fn cpu_in_all(&self) -> Duration {
        self.cpu + self.codecs
    }
}
