//! The figures of a stream that are wanted often and for all streams: copied, not made.

use std::time::Duration;

use crate::stats::{FallbackStats, HeldBytes, StreamPhase, StreamStats, Totals};

/// Figures of one stream without its names and outputs, its branches included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    pub(crate) phase: StreamPhase,
    pub(crate) uptime: Duration,
    pub(crate) held: HeldBytes,
    pub(crate) lag: Duration,
    pub(crate) schedule_lag: Duration,
    pub(crate) fallback: Option<FallbackStats>,
    /// What it has done; CPU time that libav's threads used, as far as it was looked for.
    pub(crate) totals: Totals,
}

impl Glance {
    /// Of figures that are published; what is counted elsewhere, and uptime, are filled in by the caller.
    pub(super) fn of(stats: &StreamStats) -> Self {
        let StreamStats { bytes_sent, reconnects, drops, .. } = *stats;
        let fallback_time = stats.fallback.map_or(Duration::ZERO, |fallback| fallback.time);
        Self {
            phase: stats.phase,
            uptime: stats.uptime,
            held: stats.held,
            lag: stats.lag,
            schedule_lag: stats.schedule_lag,
            fallback: stats.fallback,
            totals: Totals { bytes_sent, reconnects, drops, fallback_time, ..Totals::default() },
        }
    }

    /// CPU time of all threads.
    pub(crate) fn cpu_in_all(&self) -> Duration {
        self.totals.cpu_time + self.totals.codec_cpu_time
    }
}
