//! The outputs of a stream: how they come, have their turns, and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Token;

use super::figures::Rate;
use super::{FIRST_OUTPUT, StreamThread};
use crate::bit_rate::BitRate;
use crate::driver::{OutputContext, OutputDriver, OutputState};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::stats::{OutputFailure, OutputPhase};
use crate::stream::branch::Guest;
use crate::usage::Moment;

/// Outputs that have ended and are still shown in the figures, and as many players.
const ENDED_SHOWN: usize = 16;

/// An output, and how it stands.
pub(super) struct Slot {
    pub(super) id: OutputId,
    pub(super) label: Option<Arc<str>>,
    pub(super) name: String,
    pub(super) driver: Box<dyn OutputDriver>,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Has something to do before the next tick, and is on the list of those.
    pub(super) ready: bool,
    /// New tags are sent at once.
    pub(super) immediate: bool,
    pub(super) finished: bool,
    pub(super) guest: Option<Guest>,
    /// Removed: since when it says goodbye.
    pub(super) leaving: Option<Instant>,
    pub(super) rate: Rate,
}

impl StreamThread {
    pub(super) fn add_output(
        &mut self,
        now: Instant,
        id: OutputId,
        name: String,
        driver: Box<dyn OutputDriver>,
        guest: Option<Guest>,
    ) {
        if guest.is_none() {
            // Players are not worth it: they come by the hundred.
            self.came.push(id);
            self.news = true;
        }
        if self.stopping {
            self.setup.shared.usage.output_is_refused(id);
            return;
        }
        // A stream that found this one under a name it has given back meanwhile gets nothing of it.
        let is_reader = match &guest {
            Some(Guest::Reader { name }) if !self.setup.shared.has_name(name) => {
                self.setup.shared.usage.output_is_refused(id);
                return;
            }
            guest => matches!(guest, Some(Guest::Reader { .. })),
        };
        let immediate = driver.is_immediate();
        self.immediate += usize::from(immediate);
        let slot = Slot {
            id,
            label: self.setup.shared.labels.of(id),
            name,
            driver,
            readable: false,
            writable: false,
            ready: false,
            immediate,
            finished: false,
            guest,
            leaving: None,
            rate: Rate::default(),
        };
        // The stream has an output again, whatever happened to those before.
        (self.last_failure, self.hearing) = (None, None);
        let index = match self.slots.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        if slot.driver.hub_name().is_some() {
            self.ring.set_keep_gop(true);
        }
        self.slots[index] = Some(slot);
        if is_reader {
            self.notices.push(EventKind::OutputLive { output: id, reconnects: 0, failures: 0 });
        }
        let rests = self.setup.source.is_resting();
        self.with_output(index, now, |driver, cx| if rests { driver.rest(cx) } else { driver.turn(cx) });
    }

    /// Lets the output say goodbye; it is gone once it has.
    pub(super) fn remove_output(&mut self, now: Instant, id: OutputId) {
        let found = self.slots.iter().position(|slot| slot.as_ref().is_some_and(|slot| slot.id == id));
        let Some(index) = found else { return };
        self.with_output(index, now, |driver, cx| {
            driver.finish(cx);
            driver.turn(cx)
        });
        if let Some(Some(slot)) = self.slots.get_mut(index) {
            slot.leaving = Some(now);
        }
    }

    /// Ends the removed outputs that have said goodbye or taken too long over it. A file is written to its end however long the disk takes.
    pub(super) fn end_leaving(&mut self, now: Instant) {
        let limit = self.setup.config.force_stop_after;
        for index in 0..self.slots.len() {
            let Some(Some(slot)) = self.slots.get_mut(index) else { continue };
            let Some(since) = slot.leaving else { continue };
            let patience = slot.driver.patience();
            let late =
                patience < Duration::MAX && now.saturating_duration_since(since) >= patience.min(limit);
            if slot.driver.is_finished() || late {
                let failure = slot.driver.failure();
                self.end_output(index, failure);
            }
        }
    }

    /// Gives an output its turn.
    pub(super) fn turn_output(&mut self, index: usize, now: Instant, tick: bool) {
        let Some(Some(slot)) = self.slots.get_mut(index) else { return };
        let ready = (std::mem::take(&mut slot.readable), std::mem::take(&mut slot.writable));
        self.call_output(index, now, tick, ready, |driver, cx| driver.turn(cx));
    }

    /// Has an output do something beside its turns. It need not look at its socket then: what is known of that stays for its next turn, since
    /// the poll tells it once.
    pub(super) fn with_output(
        &mut self,
        index: usize,
        now: Instant,
        call: impl FnOnce(&mut dyn OutputDriver, &mut OutputContext<'_>) -> OutputState,
    ) {
        let Some(Some(slot)) = self.slots.get(index) else { return };
        let ready = (slot.readable, slot.writable);
        self.call_output(index, now, false, ready, call);
    }

    fn call_output(
        &mut self,
        index: usize,
        now: Instant,
        tick: bool,
        (readable, writable): (bool, bool),
        call: impl FnOnce(&mut dyn OutputDriver, &mut OutputContext<'_>) -> OutputState,
    ) {
        let Some(Some(slot)) = self.slots.get_mut(index) else { return };
        let mut cx = OutputContext {
            now,
            output: slot.id,
            registry: self.setup.poll.registry(),
            token: Token(index + FIRST_OUTPUT),
            ring: &self.ring,
            readable,
            writable,
            tick,
            scratch: &mut self.scratch,
            notices: &mut self.notices,
        };
        match call(slot.driver.as_mut(), &mut cx) {
            OutputState::Running => {}
            OutputState::More => {
                if !std::mem::replace(&mut slot.ready, true) {
                    self.ready.push(index);
                }
            }
            OutputState::Ended(error) => self.end_output(index, error),
        }
    }

    pub(super) fn end_output(&mut self, index: usize, error: Option<Error>) {
        let Some(mut slot) = self.slots[index].take() else { return };
        self.immediate -= usize::from(slot.immediate);
        if matches!(slot.guest, Some(Guest::Branch)) {
            return;
        }
        let mut stats = slot.stats(None);
        stats.phase = OutputPhase::Ended;
        stats.lag = Duration::ZERO;
        (stats.bytes_held, stats.bytes_in_kernel) = (0, 0);
        stats.bit_rate = BitRate::ZERO;
        if let Some(error) = &error {
            // Counted by the driver if it has noted a failure itself.
            stats.failures += u64::from(stats.last_error.is_none());
            stats.last_error = Some(OutputFailure::now(error));
        }
        if !matches!(slot.guest, Some(Guest::Player { .. })) {
            self.setup.shared.usage.output_ends(Moment::now(), self.setup.shared.id, &stats);
        }
        self.last_failure.clone_from(&error);
        let shown = if slot.guest.is_some() { &mut self.left } else { &mut self.ended };
        if shown.len() == ENDED_SHOWN {
            self.gone.add(&shown.remove(0));
        }
        shown.push(stats);
        self.notice(EventKind::OutputEnded { output: slot.id, error });
        self.setup.shared.labels.release(slot.id);
        let let_in = slot.driver.hub_name().map(str::to_owned);
        drop(slot);
        if let Some(name) = let_in {
            self.close_door(Instant::now(), &name);
        }
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
    }
}
