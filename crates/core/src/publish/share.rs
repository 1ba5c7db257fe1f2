//! What one stream of several that share something has of it.
//!
//! In: what the shared thing cost and did. Out: an equal part of the cost for each stream, and the figures since it came. On any thread.

use parking_lot::Mutex;

use super::fan::Missed;
use crate::stats::{DropReason, EncodingStats};
use crate::sys::CpuMeter;

/// What something costs, and the streams that pay for it.
#[derive(Debug, Default)]
pub(super) struct Costs {
    meter: CpuMeter,
    payers: Mutex<Vec<CpuMeter>>,
}

impl Costs {
    /// Where it is counted.
    pub(super) fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    /// A stream pays for it from now on.
    pub(super) fn come(&self, stream: &CpuMeter) {
        self.settle();
        self.payers.lock().push(stream.clone());
    }

    /// A stream pays no longer.
    pub(super) fn leave(&self, stream: &CpuMeter) {
        self.settle();
        let mut payers = self.payers.lock();
        let index = payers.iter().position(|payer| payer.number() == stream.number());
        index.map(|index| payers.swap_remove(index));
    }

    /// What was counted since the last time is the streams'.
    pub(super) fn settle(&self) {
        self.meter.share_among(&self.payers.lock());
    }
}

/// The figures of an encoder for a stream that came when they were `before`, and has missed pictures itself.
pub(super) fn since(stats: EncodingStats, before: &EncodingStats, missed: &Missed) -> EncodingStats {
    let missed = missed.pictures();
    EncodingStats {
        frames: stats.frames.saturating_sub(before.frames),
        bytes: stats.bytes.saturating_sub(before.bytes),
        pixels: stats.pixels.saturating_sub(before.pixels),
        damaged: stats.damaged.saturating_sub(before.damaged),
        dropped: stats.dropped.saturating_sub(before.dropped) + missed,
        drops: stats.drops.since(&before.drops).and(DropReason::Full, missed),
        ..stats
    }
}
