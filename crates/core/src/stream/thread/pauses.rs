//! What concerns all outputs at once: the source rests, or players are let in no more.

use std::time::Instant;

use super::StreamThread;
use super::outputs::Slot;
use crate::stream::branch::Guest;

impl StreamThread {
    /// Tells the outputs when the source has nothing to send for an indefinite time, and when it has again.
    pub(super) fn note_rest(&mut self, now: Instant) {
        let rests = self.setup.source.is_resting();
        if std::mem::replace(&mut self.rests, rests) == rests {
            return;
        }
        for index in 0..self.slots.len() {
            self.with_output(
                index,
                now,
                |driver, cx| {
                    if rests { driver.rest(cx) } else { driver.resume(cx) }
                },
            );
        }
    }

    /// An output ended that let players in by `name`: streams that found this one so end what they made of it. If no output is
    /// left that lets players in, they are told that the stream is over.
    pub(super) fn close_door(&mut self, now: Instant, name: &str) {
        let is_reader =
            |slot: &&Slot| matches!(&slot.guest, Some(Guest::Reader { name: by }) if **by == *name);
        let readers = self.slots.iter().flatten().filter(|slot| slot.leaving.is_none()).filter(is_reader);
        let readers: Vec<_> = readers.map(|slot| slot.id).collect();
        readers.into_iter().for_each(|id| self.remove_output(now, id));
        let open = self.slots.iter().flatten().any(|slot| slot.driver.hub_name().is_some());
        if self.setup.keep_gop || self.stopping || open {
            return;
        }
        self.ring.set_keep_gop(false);
        let guests =
            self.slots.iter().flatten().filter(|slot| slot.guest.is_some() && slot.leaving.is_none());
        let guests: Vec<_> = guests.map(|slot| slot.id).collect();
        guests.into_iter().for_each(|id| self.remove_output(now, id));
    }
}
