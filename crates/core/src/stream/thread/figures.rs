//! What a stream's thread publishes of itself, once a second.

use std::time::{Duration, Instant};

use super::{Guest, Slot, StreamThread};
use crate::bit_rate::BitRate;
use crate::stats::{HeldBytes, OutputStats, StreamStats};
use crate::stream::meter::Meter;

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

/// The rate of an output.
#[derive(Default)]
pub(super) struct Rate {
    /// What it had sent when the window began.
    bytes: u64,
    /// Of the last whole window.
    rate: BitRate,
}

impl Rate {
    /// A window ends in which `bytes` became what was sent in all.
    fn measure(&mut self, bytes: u64, window: Duration) {
        let sent = bytes.saturating_sub(self.bytes);
        self.bytes = bytes;
        self.rate = BitRate::of(sent, window.as_secs_f64());
    }
}

impl StreamThread {
    /// Publishes the figures, once a second, at the end, and when there is news that is not to wait for it.
    pub(super) fn publish(&mut self, now: Instant, last: bool) {
        let is_due = !last && self.meter.is_due(now);
        if last || is_due || std::mem::take(&mut self.news) {
            self.publish_now(now, is_due);
        }
    }

    /// Publishes the figures; `whole` if a window ends over which rates are measured.
    pub(super) fn publish_now(&mut self, now: Instant, whole: bool) {
        self.setup.shared.cpu.lap(&mut self.cpu);
        let cpu = self.setup.shared.cpu.total();
        let source = &self.setup.source;
        let (ring_bytes, ahead) = (self.ring.bytes() as u64, source.bytes_held() as u64);
        let (mode, mut encoding) = (source.mode(), source.encoding());
        if let Some(encoding) = &mut encoding {
            let dial = &self.setup.shared.dial;
            encoding.target = dial.now().unwrap_or_default();
            (encoding.lowered, encoding.raised) = dial.counts();
            encoding.rung = u32::try_from(dial.rung()).unwrap_or(u32::MAX);
        }
        let (fallback, origin) = (source.fallback(), source.origin());
        let (playing, playing_sound) = (source.playing(), source.playing_sound());
        let started = self.setup.shared.started;
        let (ring, laps, meter, gone) = (&self.ring, self.laps, &mut self.meter, &self.gone);
        let (slots, ended, left) = (&mut self.slots, &self.ended, &self.left);
        self.setup.shared.publish_stats(|stats: &mut StreamStats| {
            let window = whole.then(|| meter.window(now));
            if whole {
                meter.report(now, cpu, encoding, stats);
            } else {
                Meter::encoded(encoding, stats);
            }
            (stats.playing, stats.playing_sound) = (playing, playing_sound);
            (stats.mode, stats.fallback, stats.origin) = (mode, fallback, origin);
            stats.media_time = ring.newest();
            stats.laps = laps;
            // The players of a branch are shown, not the branch.
            let is_output = |slot: &&mut Slot| !matches!(slot.guest, Some(Guest::Branch));
            let mut shown = 0;
            let mut first_media: Option<Instant> = None;
            for slot in slots.iter_mut().flatten().filter(is_output) {
                first_media = [first_media, slot.driver.first_media()].into_iter().flatten().min();
                // In place: the names are not made again each second.
                match stats.outputs.get_mut(shown) {
                    Some(output) if output.id == slot.id => slot.update(output, window),
                    Some(output) => *output = slot.stats(window),
                    None => stats.outputs.push(slot.stats(window)),
                }
                shown += 1;
            }
            if stats.first_media.is_none() {
                stats.first_media = first_media.map(|at| at.saturating_duration_since(started));
            }
            for ended in ended.iter().chain(left) {
                match stats.outputs.get_mut(shown) {
                    Some(output) => output.clone_from(ended),
                    None => stats.outputs.push(ended.clone()),
                }
                shown += 1;
            }
            stats.outputs.truncate(shown);
            let sum = |figure: fn(&OutputStats) -> u64| stats.outputs.iter().map(figure).sum::<u64>();
            let bytes_sent = sum(|output| output.bytes_sent);
            let (drops, reconnects) = (sum(|output| output.drops), sum(|output| output.reconnects));
            let kernel = sum(|output| output.bytes_in_kernel);
            let outputs = sum(|output| output.bytes_held).saturating_sub(kernel);
            let encoding = stats.encoding.as_ref();
            let (queued, in_encoder) = encoding.map_or((0, 0), |is| (is.queued_bytes, is.held_bytes));
            let (read_ahead, encoder) = (ahead.saturating_sub(queued), queued + in_encoder);
            stats.held = HeldBytes { read_ahead, encoder, ring: ring_bytes, outputs, kernel };
            stats.bytes_held = stats.held.total();
            stats.bytes_sent = gone.bytes_sent + bytes_sent;
            stats.drops = gone.drops + drops;
            stats.reconnects = gone.reconnects + reconnects;
            stats.lag = stats.outputs.iter().map(|output| output.lag).max().unwrap_or_default();
        });
        self.setup.shared.outputs_came(&mut self.came);
    }
}

impl Slot {
    /// Its figures; `window` is how long it was since they were measured last, if they are to be now.
    pub(super) fn stats(&mut self, window: Option<Duration>) -> OutputStats {
        let mut stats = OutputStats::new(self.id, self.label.clone(), self.name.clone());
        self.update(&mut stats, window);
        stats
    }

    /// Brings figures up to date that were made by [`stats`](Self::stats).
    fn update(&mut self, stats: &mut OutputStats, window: Option<Duration>) {
        (stats.lag, stats.bytes_held, stats.bytes_in_kernel) = (Duration::ZERO, 0, 0);
        self.driver.stats(stats);
        stats.removed = self.leaving.is_some();
        if let Some(window) = window {
            self.rate.measure(stats.bytes_sent, window);
        }
        stats.bit_rate = self.rate.rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_last_window_alone() {
        let mut rate = Rate::default();
        rate.measure(250_000, Duration::from_secs(2));
        assert_eq!(rate.rate, BitRate::from_kbps(1000));
        rate.measure(250_000, Duration::from_secs(1));
        assert_eq!(rate.rate, BitRate::ZERO);
        rate.measure(1, Duration::ZERO);
        assert_eq!(rate.rate, BitRate::ZERO, "what goes back is not a rate");
    }
}
