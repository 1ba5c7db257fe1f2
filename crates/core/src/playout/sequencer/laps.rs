//! A file that goes round: what is played from one lap to the next, alone or in step with others.

use std::time::{Duration, Instant};

use super::{Program, RETRY_CAP, RETRY_FIRST, Sequencer};
use crate::error::Error;
use crate::event::EventKind;
use crate::playout::item::Item;
use crate::playout::supply::{Use, is_busy};
use crate::playout::sync::SyncMember;
use crate::stats::SourceMode;

impl Sequencer {
    /// The same, in step with others.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn in_step(mut self, member: SyncMember) -> Self {
        member.plays_reel(self.mode == SourceMode::Reel);
        self.sync = Some((member, false));
        self
    }

    /// The others it keeps in step with.
    pub(in crate::playout) fn in_step_with(&self) -> Option<&SyncMember> {
        self.sync.as_ref().map(|(member, _)| member)
    }

    /// When its first tag is due, once it is known when the others begin; told once.
    pub(in crate::playout) fn origin(&mut self, now: Instant) -> Option<Instant> {
        let (member, begun) = self.sync.as_mut().filter(|(_, begun)| !begun)?;
        let (first, length) = (self.lane.position(), self.lane.item().and_then(Item::length));
        let origin = member.origin(now, first, length)?;
        *begun = true;
        Some(origin)
    }

    /// The number of its lap, and when that was due to begin on the clock of the stream, in milliseconds.
    pub(in crate::playout) fn lap(&self) -> (u64, i64) {
        (self.laps, self.lane.lap_began())
    }

    /// Takes the reel of the looped file that is played directly with the first lap after it has become complete.
    pub(super) fn await_reel(&mut self) {
        if let (Program::Loop, Some(item)) = (&self.program, self.lane.item()) {
            self.pending = Some(self.supply.prepare(item.path(), Use::Loop));
        }
    }

    /// The file begins again; or what there is now in its place, or a reel of it, if that is ready.
    pub(super) fn next_lap(&mut self, now: Instant, notices: &mut Vec<EventKind>) {
        let (path, changed) = match self.lane.item() {
            Some(item) => {
                let changed = item.reel().is_some_and(|reel| reel.source_changed());
                (item.path().to_owned(), changed)
            }
            None => return,
        };
        // What is there is played until all of what replaces it is: half a file may be on its way yet.
        let answer = match (self.replacement.take(), &mut self.pending) {
            (Some(ready), _) => Some(Ok(*ready)),
            (None, Some(pending)) => pending.poll_whole(&self.supply, changed),
            (None, None) => None,
        };
        if let Some(answer) = answer {
            self.pending = None;
            match answer {
                Ok(ready) if changed && self.waits_for_others() => {
                    self.replacement = Some(Box::new(ready));
                    self.lane.begin_again();
                    return;
                }
                Ok(ready) => {
                    let is_direct = ready.item.mode() == SourceMode::Direct;
                    self.retry = is_direct.then_some((now + RETRY_FIRST, RETRY_FIRST));
                    if changed {
                        self.told.forget();
                        notices.push(EventKind::SourceReplaced { path });
                    }
                    self.begin(ready, Duration::ZERO, notices);
                    return;
                }
                // The job waits for its turn: a later request finds its result.
                Err(error) if is_busy(&error) => self.await_reel(),
                // Of a file that is played directly already, nothing but a reel is an improvement.
                Err(error) => {
                    if let Some(others) = self.in_step_with().filter(|_| changed) {
                        others.cannot_replace();
                    }
                    self.put_off(now, error, notices);
                }
            }
        }
        let is_time = self.retry.is_none_or(|(at, _)| now >= at);
        if self.pending.is_none() && is_time && (changed || self.retry.is_some()) {
            self.pending = Some(self.supply.prepare(&path, Use::Loop));
        }
        self.lane.begin_again();
    }

    /// Whether what has replaced the file is ready here, but not yet for all that keep in step.
    fn waits_for_others(&self) -> bool {
        self.in_step_with().is_some_and(|others| !others.may_replace(self.laps))
    }

    /// The store is not asked again for a while.
    fn put_off(&mut self, now: Instant, error: Error, notices: &mut Vec<EventKind>) {
        let wait = self.retry.map_or(RETRY_FIRST, |(_, wait)| (wait * 2).min(RETRY_CAP));
        self.retry = Some((now + wait, wait));
        if wait == RETRY_FIRST {
            notices.push(EventKind::SourceFault { error });
        }
    }
}
