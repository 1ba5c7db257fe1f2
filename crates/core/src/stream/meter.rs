//! Rates over the last second.

use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;

use crate::stats::StreamStats;

/// The least time a rate is measured over.
const WINDOW: Duration = Duration::from_secs(1);

/// Counts what a stream hands out and turns it into rates.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Instant,
    frames: u64,
    bytes: u64,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, frames: 0, bytes: 0, cpu: Duration::ZERO }
    }

    /// Counts a tag.
    pub(crate) fn count(&mut self, tag: &Tag) {
        self.frames += u64::from(tag.is_video() && !tag.is_sequence_header());
        self.bytes += tag.body.len() as u64;
    }

    /// Whether a window is complete.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }

    /// Writes the rates of the window that ends now and begins the next; `cpu` is the stream's CPU time in all.
    pub(crate) fn report(&mut self, now: Instant, cpu: Duration, stats: &mut StreamStats) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        if seconds > 0.0 {
            stats.fps = self.frames as f64 / seconds;
            stats.kbps = self.bytes as f64 * 8.0 / 1000.0 / seconds;
            stats.cpu_percent = cpu.saturating_sub(self.cpu).as_secs_f64() / seconds * 100.0;
        }
        *self = Self { since: now, frames: 0, bytes: 0, cpu };
    }
}
