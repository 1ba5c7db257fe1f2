//! Places for streams, and who has them.
//!
//! In: an owner who asks, what for, and what is measured. Out: a place, given back when it is dropped, or a refusal, perhaps after a wait. All
//! on the caller's thread, under one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Line;
use super::sync::{Bell, Mutex, MutexGuard};
use super::{Admission, Limits};
use crate::admission::{
    Ask, CheaperEncoding, Choice, Kind, Ledger, Measured, MeasuredAdmission, Needs, Reading, ResourceUse,
    Slot,
};
use crate::error::{Error, LimitScope, Shortage};

/// Counts running streams and what they use; asking and taking the place is one step, so two starts cannot both take the last one.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    counts: Mutex<Counts>,
    /// Rings when there may be room.
    bell: Bell,
}

#[derive(Debug)]
struct Counts {
    limits: Limits,
    total: usize,
    owners: HashMap<String, usize>,
    ledger: Ledger,
    /// Starts that wait for room.
    line: Line,
}

/// A place taken; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Limiter,
    owner: Option<String>,
    /// It counts among all streams, too.
    global: bool,
    /// Where it counts with what it uses.
    slot: Option<Slot>,
}

/// A stream that may start.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) permit: Permit,
    /// Which of the forms it was asked for in.
    pub(crate) form: usize,
    /// What was short for the first of them.
    pub(crate) short: Option<Shortage>,
}

impl Counts {
    fn of(&self, owner: &str) -> usize {
        self.owners.get(owner).copied().unwrap_or(0)
    }

    fn check_total(&self) -> Result<(), Error> {
        let limit = self.limits.total;
        match self.total >= limit {
            true => Err(Error::StreamLimitExceeded { scope: LimitScope::Global, limit }),
            false => Ok(()),
        }
    }

    fn check_owner(&self, owner: &str) -> Result<(), Error> {
        let limit = self.limits.per_owner;
        match self.of(owner) >= limit {
            true => Err(Error::StreamLimitExceeded { scope: LimitScope::Owner, limit }),
            false => Ok(()),
        }
    }

    fn check(&self, owner: Option<&str>) -> Result<(), Error> {
        self.check_total()?;
        owner.map_or(Ok(()), |owner| self.check_owner(owner))
    }

    fn count(&mut self, owner: &str) {
        let running = self.of(owner);
        self.owners.insert(owner.to_owned(), running + 1);
    }

    /// Asks for a place and takes it.
    fn take(&mut self, limiter: &Limiter, owner: Option<&str>, asks: &[Ask]) -> Result<Admitted, Error> {
        self.check(owner)?;
        let Choice { number: form, needs, short } = self.ledger.choose(asks)?;
        owner.iter().for_each(|owner| self.count(owner));
        self.total += 1;
        let slot = asks.get(form).map(|ask| self.ledger.take(ask.clone(), needs));
        let owner = owner.map(str::to_owned);
        let permit = Permit { limiter: limiter.clone(), owner, global: true, slot };
        Ok(Admitted { permit, form, short })
    }
}

impl Limiter {
    /// Streams without an owner count only among all. Where `admission` is `None`, only numbers count.
    pub(crate) fn new(limits: Limits, admission: Option<MeasuredAdmission>) -> Self {
        let (ledger, line) = (Ledger::new(admission), Line::default());
        let counts = Counts { limits, total: 0, owners: HashMap::new(), ledger, line };
        Self { inner: Arc::new(Inner { counts: Mutex::new(counts), bell: Bell::default() }) }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.inner.counts.lock()
    }

    /// Takes a place for a stream of `owner`, in the first of these forms that fits. Where starts may wait, it waits `most` at most, behind
    /// those that came before; `is_over` calls it off, once [`wake`](Self::wake) was called.
    ///
    /// # Errors
    ///
    /// [`Error::StreamLimitExceeded`], [`Error::CapacityExceeded`]; what `is_over` gives.
    ///
    /// # Blocking
    ///
    /// As said.
    pub(crate) fn admit(
        &self,
        owner: Option<&str>,
        asks: &[Ask],
        most: Duration,
        is_over: &dyn Fn() -> Option<Error>,
    ) -> Result<Admitted, Error> {
        let mut counts = self.counts();
        let Some(patience) = counts.ledger.patience() else { return counts.take(self, owner, asks) };
        counts.check(owner)?;
        let until = Instant::now() + patience.min(most);
        let ticket = counts.line.join();
        let mut is_late = patience.min(most).is_zero();
        let outcome = loop {
            if let Some(error) = is_over() {
                break Err(error);
            }
            let shortage = if counts.line.is_first(ticket) {
                match counts.take(self, owner, asks) {
                    Err(Error::CapacityExceeded { shortage }) => {
                        counts.line.set_shortage(shortage);
                        Some(shortage)
                    }
                    decided => break decided,
                }
            } else {
                counts.line.shortage()
            };
            if is_late && let Some(shortage) = shortage {
                break Err(Error::CapacityExceeded { shortage });
            }
            (counts, is_late) = self.inner.bell.wait_until(counts, until);
        };
        counts.line.leave(ticket);
        // The next one is the first now.
        self.ring(&counts);
        outcome
    }

    /// Wakes starts that wait, to ask again.
    fn ring(&self, counts: &Counts) {
        if !counts.line.is_empty() {
            self.inner.bell.ring();
        }
    }

    /// Wakes starts that wait: one may have been called off.
    pub(crate) fn wake(&self) {
        self.ring(&self.counts());
    }

    /// Takes a place among the streams of `owner` only: for what they publish, which other limits hold for.
    pub(crate) fn admit_published(&self, owner: &str) -> Result<Permit, Error> {
        let mut counts = self.counts();
        counts.check_owner(owner)?;
        counts.count(owner);
        Ok(Permit { limiter: self.clone(), owner: Some(owner.to_owned()), global: false, slot: None })
    }

    /// Whether the numbers leave room for one more.
    pub(crate) fn ask(&self, owner: Option<&str>) -> Admission {
        let counts = self.counts();
        let total = (counts.total, counts.limits.total);
        let own = owner.map(|owner| (counts.of(owner), counts.limits.per_owner));
        let is_global = counts.check_total().is_err();
        let refused = counts.check(owner);
        let free = |(running, limit): (usize, usize)| limit.saturating_sub(running);
        // An owner who has too many has no place free, and the engine has one: the owner's limit comes first then, too.
        let (running, limit) = match own {
            Some(own) if !is_global && free(own) <= free(total) => own,
            _ => total,
        };
        Admission { allowed: refused.is_ok(), reason: refused.err(), running, limit }
    }

    /// What [`admit`](Self::admit) would choose at once, and what that needs.
    pub(crate) fn forecast(
        &self,
        owner: Option<&str>,
        asks: &[Ask],
    ) -> (Result<Choice, Error>, Option<Needs>) {
        let counts = self.counts();
        let choice = counts.check(owner).and_then(|()| counts.ledger.choose(asks));
        let choice = choice.and_then(|choice| match counts.line.shortage() {
            // Whoever waits comes first.
            Some(shortage) if counts.ledger.patience().is_some() => Err(Error::CapacityExceeded { shortage }),
            _ => Ok(choice),
        });
        let form = choice.as_ref().map_or(0, |choice| choice.number);
        (choice, asks.get(form).and_then(|ask| counts.ledger.needs(ask)))
    }

    /// A refusal with when it is over, if that follows from these ends of streams.
    pub(crate) fn with_end(&self, error: Error, asks: &[Ask], ends: &[(Slot, Duration)]) -> Error {
        match (error, asks.first()) {
            (Error::CapacityExceeded { shortage }, Some(ask)) => {
                Error::CapacityExceeded { shortage: self.counts().ledger.with_end(shortage, ask, ends) }
            }
            (error, _) => error,
        }
    }

    /// Streams running now.
    pub(crate) fn running(&self) -> usize {
        self.counts().total
    }

    /// Streams of `owner` now, with those that are published.
    pub(crate) fn of(&self, owner: &str) -> usize {
        self.counts().of(owner)
    }

    /// The limits that hold now.
    pub(crate) fn limits(&self) -> Limits {
        self.counts().limits
    }

    /// Other limits from now on. What runs goes on, even if it is more.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.counts().limits = limits;
    }

    /// By what is measured it is decided; `None` if by nothing.
    pub(crate) fn admission(&self) -> Option<MeasuredAdmission> {
        self.counts().ledger.settings().cloned()
    }

    /// Whether anything measured counts, without copying the settings.
    pub(crate) fn is_measuring(&self) -> bool {
        self.counts().ledger.settings().is_some()
    }

    /// Other settings from now on. What runs goes on.
    pub(crate) fn set_admission(&self, admission: Option<MeasuredAdmission>) {
        let mut counts = self.counts();
        counts.ledger.set(admission);
        self.ring(&counts);
    }

    /// Whether something was measured since these settings hold; also if nothing has to be.
    pub(crate) fn is_measured(&self) -> bool {
        let counts = self.counts();
        counts.ledger.settings().is_none() || counts.ledger.is_measured()
    }

    /// What is used now: of the machine, and by each stream that has a place.
    pub(crate) fn measure(&self, measured: Measured, readings: &HashMap<Slot, Reading>) {
        let mut counts = self.counts();
        counts.ledger.measure(measured, readings);
        self.ring(&counts);
    }

    /// What is used of each resource that has a budget.
    pub(crate) fn uses(&self) -> Vec<ResourceUse> {
        self.counts().ledger.uses()
    }

    /// The cheaper encodings that may be tried.
    pub(crate) fn lowerings(&self) -> Vec<CheaperEncoding> {
        self.counts().ledger.lowerings()
    }

    /// Takes a place of which only the numbers count.
    #[cfg(test)]
    pub(super) fn admit_one(&self, owner: Option<&str>) -> Result<Permit, Error> {
        Ok(self.admit(owner, &[], Duration::ZERO, &|| None)?.permit)
    }

    /// What the first of those that wait waits for.
    #[cfg(test)]
    pub(super) fn shortage(&self) -> Option<Shortage> {
        self.counts().line.shortage()
    }

    /// Starts that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.counts().line.len()
    }
}

impl Permit {
    /// Whose place it is.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Where its stream counts with what it uses.
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// Whether its stream ends together with its file.
    pub(crate) fn is_once(&self) -> bool {
        self.slot.is_some_and(|slot| self.limiter.counts().ledger.is_once(slot))
    }

    /// What its stream is has turned out.
    pub(crate) fn correct(&self, change: impl FnOnce(&mut Kind)) {
        if let Some(slot) = self.slot {
            let mut counts = self.limiter.counts();
            counts.ledger.correct(slot, change);
            self.limiter.ring(&counts);
        }
    }

    /// Its stream plays something else than it was started with.
    pub(crate) fn plays_another(&self) {
        if let Some(slot) = self.slot {
            self.limiter.counts().ledger.plays_another(slot);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        counts.total = counts.total.saturating_sub(usize::from(self.global));
        if let Some(owner) = &self.owner
            && let Some(running) = counts.owners.get_mut(owner)
        {
            *running -= 1;
            if *running == 0 {
                counts.owners.remove(owner);
            }
        }
        if let Some(slot) = self.slot {
            counts.ledger.give_back(slot);
        }
        self.limiter.ring(&counts);
    }
}
