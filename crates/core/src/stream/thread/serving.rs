//! Which output has its turn, and whether any is left.

use std::time::Instant;

use super::StreamThread;

impl StreamThread {
    /// Whether this is a branch that has not been needed for a while.
    pub(super) fn is_left(&mut self, now: Instant) -> bool {
        let Some(root) = &self.setup.root else { return false };
        if self.slots.iter().any(Option::is_some) {
            self.empty_since = now;
        }
        root.branches.may_leave(&self.setup.shared, now.saturating_duration_since(self.empty_since))
    }

    /// Gives their turns to all outputs with a tick, with new tags to those that send them at once, and to those that are ready.
    pub(super) fn serve_outputs(&mut self, now: Instant, tick: bool, fresh: bool) {
        // An output that is not done after its turn goes on the list again.
        let mut served = std::mem::replace(&mut self.ready, std::mem::take(&mut self.served));
        for &index in &served {
            if let Some(Some(slot)) = self.slots.get_mut(index) {
                slot.ready = false;
                let with_the_others = tick || (fresh && slot.immediate);
                if !with_the_others {
                    self.turn_output(index, now, tick);
                }
            }
        }
        served.clear();
        self.served = served;
        if tick || (fresh && self.immediate > 0) {
            for index in 0..self.slots.len() {
                if let Some(Some(slot)) = self.slots.get(index)
                    && (tick || slot.immediate)
                {
                    self.turn_output(index, now, tick);
                }
            }
        }
    }

    /// Whether all outputs have taken what there is, and none of them is away.
    pub(super) fn is_taken(&self) -> bool {
        let end = self.ring.end();
        let mut slots = self.slots.iter().flatten();
        slots.all(|slot| !slot.driver.is_away() && slot.driver.cursor().is_none_or(|cursor| cursor >= end))
    }

    /// Forgets what no output still has to send.
    pub(super) fn trim(&mut self) {
        let cursors = self.slots.iter().flatten().filter_map(|slot| slot.driver.cursor());
        let needed = cursors.min().unwrap_or(u64::MAX).min(self.ring.end());
        self.ring.trim(needed);
    }
}
