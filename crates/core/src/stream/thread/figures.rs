//! What a stream's thread publishes of itself, once a second.

use std::time::{Duration, Instant};

use super::{Guest, Slot, StreamThread};
use crate::stats::{OutputStats, StreamStats};

/// What outputs that are forgotten have done, so that the stream's sums never go back.
#[derive(Default)]
pub(super) struct Gone {
    bytes_sent: u64,
    drops: u64,
    reconnects: u64,
}

impl Gone {
    pub(super) fn add(&mut self, forgotten: &OutputStats) {
        self.bytes_sent += forgotten.bytes_sent;
        self.drops += forgotten.drops;
        self.reconnects += forgotten.reconnects;
    }
}

impl StreamThread {
    /// Publishes the figures, once a second or at the end.
    pub(super) fn publish(&mut self, now: Instant, last: bool) {
        if !last && !self.meter.is_due(now) {
            return;
        }
        self.setup.shared.cpu.lap(&mut self.cpu);
        let cpu = self.setup.shared.cpu.total();
        let held = (self.ring.bytes() + self.setup.source.bytes_held()) as u64;
        let mode = self.setup.source.mode();
        let encoding = self.setup.source.encoding();
        // The players of a branch are shown, not the branch.
        let is_output = |slot: &&Slot| !matches!(slot.guest, Some(Guest::Branch));
        let slots = || self.slots.iter().flatten().filter(is_output);
        let first_media = slots().filter_map(|slot| slot.driver.first_media()).min();
        let started = self.setup.shared.started;
        let (ring, laps, meter, gone) = (&self.ring, self.laps, &mut self.meter, &self.gone);
        self.setup.shared.publish_stats(|stats: &mut StreamStats| {
            if !last {
                meter.report(now, cpu, encoding, stats);
            }
            stats.mode = mode;
            stats.media_time = ring.newest();
            stats.laps = laps;
            if stats.first_media.is_none() {
                stats.first_media = first_media.map(|at| at.saturating_duration_since(started));
            }
            // In place: the names are not made again each second.
            stats.outputs.truncate(slots().count() + self.ended.len() + self.left.len());
            for (index, slot) in slots().enumerate() {
                match stats.outputs.get_mut(index) {
                    Some(output) if output.id == slot.id => slot.update(output),
                    Some(output) => *output = slot.stats(),
                    None => stats.outputs.push(slot.stats()),
                }
            }
            for (index, ended) in (slots().count()..).zip(self.ended.iter().chain(&self.left)) {
                match stats.outputs.get_mut(index) {
                    Some(output) => output.clone_from(ended),
                    None => stats.outputs.push(ended.clone()),
                }
            }
            let sum = |figure: fn(&OutputStats) -> u64| stats.outputs.iter().map(figure).sum::<u64>();
            let (bytes_held, bytes_sent) = (sum(|output| output.bytes_held), sum(|output| output.bytes_sent));
            let (drops, reconnects) = (sum(|output| output.drops), sum(|output| output.reconnects));
            stats.bytes_held = held + bytes_held;
            stats.bytes_sent = gone.bytes_sent + bytes_sent;
            stats.drops = gone.drops + drops;
            stats.reconnects = gone.reconnects + reconnects;
            stats.lag = stats.outputs.iter().map(|output| output.lag).max().unwrap_or_default();
        });
    }
}

impl Slot {
    pub(super) fn stats(&self) -> OutputStats {
        let mut stats = OutputStats::new(self.id, self.name.clone());
        self.driver.stats(&mut stats);
        stats
    }

    /// Brings figures up to date that were made by [`stats`](Self::stats).
    fn update(&self, stats: &mut OutputStats) {
        (stats.lag, stats.bytes_held) = (Duration::ZERO, 0);
        self.driver.stats(stats);
    }
}
