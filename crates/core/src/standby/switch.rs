//! A source that was replaced on the air, or is about to be.
//!
//! In: the driver on the air, and replacements as messages. Out: the tags of the one on the air. The next one is started beside it and
//! left out until it can begin; only then is the one before told to stop. Runs on the stream's thread.

use std::any::Any;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::child::{Addressed, Beginning, Candidate};
use super::replacing::{At, Outcome, Replacement};
use super::splice::{OnAir, Place, Splice};
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::stats::{EncodingStats, FallbackStats, Origin, Playing, SourceMode};

/// The driver that stands for those that follow each other.
pub(crate) struct Switch {
    on_air: Box<dyn SourceDriver>,
    /// Its number among the sources of the stream.
    seat: u64,
    /// It is over, and the next one is waited for: how it ended.
    over: Option<Option<Error>>,
    next: Option<Next>,
    /// Those that were on the air, until they have stopped.
    leaving: Vec<Box<dyn SourceDriver>>,
    splice: Splice,
    /// What the fallbacks of those before came to.
    before: Option<FallbackStats>,
    /// Media time has begun.
    begun: bool,
    stopping: bool,
    /// A source came and has not had a turn.
    fresh: bool,
}

/// The source that is to take over.
struct Next {
    candidate: Candidate,
    seat: u64,
    at: At,
    within: Duration,
    fitted: bool,
    /// Since when it has been asked for a keyframe.
    since: Option<Instant>,
    outcome: Outcome,
}

/// What became of the next source in a turn.
enum Advance {
    /// It is to take over with this.
    Ready(Beginning),
    Waits,
    Gone(Error),
}

/// Stands where a driver is being wrapped.
struct Vacant;

impl SourceDriver for Vacant {
    fn pull(&mut self, _cx: &mut SourceContext<'_>) -> SourceState {
        SourceState::Running
    }
}

impl Switch {
    /// Puts a switch where `driver` is, of which receivers have `sent`; `begun` says whether media time has.
    pub(crate) fn wrap(driver: &mut Box<dyn SourceDriver>, sent: OnAir, begun: bool) {
        let on_air = std::mem::replace(driver, Box::new(Vacant));
        *driver = Box::new(Self::new(on_air, sent, begun));
    }

    fn new(on_air: Box<dyn SourceDriver>, sent: OnAir, begun: bool) -> Self {
        Self {
            on_air,
            seat: 0,
            over: None,
            next: None,
            leaving: Vec::new(),
            splice: Splice::new(Instant::now(), sent),
            before: None,
            begun,
            stopping: false,
            fresh: false,
        }
    }

    /// What the source on the air gives, and how it stands.
    fn pull_on_air(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        if self.over.is_some() {
            return SourceState::Running;
        }
        match self.on_air.pull(cx) {
            SourceState::Ended if self.next.is_some() => self.over = Some(None),
            SourceState::Failed(error) if self.next.is_some() => {
                cx.notices.push(EventKind::SourceFault { error: error.clone() });
                self.over = Some(Some(error));
            }
            state => return state,
        }
        SourceState::Running
    }

    /// Looks after the source that is to take over. What the one on the air gave in this turn begins at `from`, what it reported at
    /// `told`.
    fn advance(&mut self, cx: &mut SourceContext<'_>, from: usize, told: usize, refills: usize) {
        let Some(next) = &mut self.next else { return };
        // A fallback has no items of the source: it plays on and on.
        let stood_in_for = self.on_air.fallback().is_some_and(|fallback| fallback.on_air);
        let playing = self.on_air.playing().filter(|_| !stood_in_for).map(|playing| playing.path);
        let told_now = cx.notices.get(told..).unwrap_or_default();
        let item = told_now.iter().any(|notice| begins_item(notice, playing.as_deref()));
        let boundary = item || self.over.is_some();
        // What has no items has no end to wait for.
        let waits = next.at == At::ItemEnd && !boundary && playing.is_some();
        // What is live is joined early; a file begins when it is its turn.
        let early = next.candidate.driver.mode() == SourceMode::Live;
        let cut = if item && next.at == At::ItemEnd { Cut::of(cx, from) } else { None };
        // It begins when the item ended, not when that was noticed.
        let late = cut.as_ref().map_or(Duration::ZERO, |cut| cut.late);
        let begin = cx.now.checked_sub(late).unwrap_or(cx.now);
        let advance = if waits && !early { Advance::Waits } else { next.advance(cx, begin, waits) };
        match advance {
            Advance::Waits if boundary => next.at = At::NextKeyframe,
            Advance::Waits => {}
            Advance::Ready(_) if waits => {}
            Advance::Ready(beginning) => {
                let follows = item && next.at == At::ItemEnd;
                if follows {
                    // Without a cut, nothing of the item was due yet.
                    let end = cut.map_or(cx.tags.len(), |cut| cut.at);
                    leave_item(cx, end, told, playing.as_deref());
                    cx.refills.truncate(refills);
                }
                let place = if follows { Place::Next } else { Place::At(cx.now) };
                self.splice.pass(cx, from, refills);
                self.take_over(cx, place, beginning);
                return;
            }
            Advance::Gone(error) => {
                if let Some(next) = self.next.take() {
                    self.retire(next.candidate.driver);
                    next.outcome.tell(Err(error));
                }
            }
        }
        self.splice.pass(cx, from, refills);
    }

    /// The next source is on the air from here on.
    fn take_over(&mut self, cx: &mut SourceContext<'_>, place: Place, beginning: Beginning) {
        let Some(next) = self.next.take() else { return };
        let Next { candidate, seat, fitted, outcome, .. } = next;
        let Candidate { driver, headers, notices, .. } = candidate;
        let Some(first) = beginning.tags.first() else { return };
        let joint = self.splice.join(place, &headers, first, fitted);
        let (from, refills) = (cx.tags.len(), cx.refills.len());
        cx.tags.extend(joint.headers);
        cx.tags.extend(beginning.tags);
        self.splice.pass(cx, from, refills);
        let mut old = std::mem::replace(&mut self.on_air, driver);
        if let Some(after) = old.end_fallback(cx.now) {
            cx.notices.push(EventKind::FallbackEnded { after, seam: joint.seam });
        }
        let before = together(self.before, old.fallback());
        self.before = before.map(|before| FallbackStats { on_air: false, ready: false, ..before });
        self.retire(old);
        (self.seat, self.over) = (seat, None);
        cx.notices.push(EventKind::SourceSwitched { seam: joint.seam });
        cx.notices.extend(notices);
        outcome.tell(Ok(joint.seam));
    }

    /// Lets a driver stop in its own time.
    fn retire(&mut self, mut driver: Box<dyn SourceDriver>) {
        driver.stop();
        if !driver.is_stopped() {
            self.leaving.push(driver);
        }
    }

    /// How the stream goes on after a turn in which the source on the air stood so.
    fn state(&self, state: SourceState) -> SourceState {
        match (&self.over, &self.next) {
            (Some(None), None) => SourceState::Ended,
            (Some(Some(error)), None) => SourceState::Failed(error.clone()),
            _ => state,
        }
    }
}

impl Next {
    /// Pulls it, begun at `begin`; `waits` says that it is not its turn yet.
    fn advance(&mut self, cx: &mut SourceContext<'_>, begin: Instant, waits: bool) -> Advance {
        self.candidate.start(begin);
        if waits {
            // Its time begins with its turn.
            self.since = Some(cx.now);
        }
        let since = *self.since.get_or_insert(cx.now);
        let (state, beginning) = self.candidate.pull(cx);
        if let Some(beginning) = beginning {
            if waits {
                beginning.tags.iter().for_each(|tag| {
                    self.candidate.headers.note(tag);
                });
            }
            return Advance::Ready(beginning);
        }
        match state {
            SourceState::Failed(error) => Advance::Gone(error),
            SourceState::Ended => {
                Advance::Gone(Error::SourceNotReady { after: cx.now.saturating_duration_since(since) })
            }
            _ if !waits && cx.now.saturating_duration_since(since) >= self.within => {
                Advance::Gone(Error::SourceNotReady { after: self.within })
            }
            SourceState::Running | SourceState::More => Advance::Waits,
        }
    }
}

/// What the fallbacks of a stream came to that was made from one source after another.
fn together(before: Option<FallbackStats>, now: Option<FallbackStats>) -> Option<FallbackStats> {
    match (before, now) {
        (Some(before), Some(now)) => {
            Some(FallbackStats { times: before.times + now.times, time: before.time + now.time, ..now })
        }
        (one, other) => other.or(one),
    }
}

/// Whether a notice says that an item of a list begins, or a lap of a loop. The file that is `playing` now is that of the pictures: what
/// begins in a list of sound beside them ends nothing.
fn begins_item(notice: &EventKind, playing: Option<&Path>) -> bool {
    match notice {
        EventKind::ItemStarted { path } => playing == Some(path),
        EventKind::Looped { .. } => true,
        _ => false,
    }
}

/// Where in a turn the next item of a list begins, or the next lap.
struct Cut {
    /// The place of its first tag.
    at: usize,
    /// How much of it was due in this turn.
    late: Duration,
}

impl Cut {
    /// In the tags from `from` on: at the last keyframe, and the headers before it.
    fn of(cx: &SourceContext<'_>, from: usize) -> Option<Self> {
        let key = cx.tags.iter().rposition(|tag| tag.is_keyframe()).filter(|&key| key >= from)?;
        let begin = cx.tags.get(key)?.timestamp;
        let late = cx.tags.last().map_or(0, |last| last.timestamp.millis_since(begin));
        let headers =
            cx.tags.get(from..key)?.iter().rev().take_while(|tag| tag.is_header() || tag.is_script());
        Some(Self {
            at: key - headers.count(),
            late: Duration::from_millis(u64::try_from(late).unwrap_or(0)),
        })
    }
}

/// Takes an item out that began in this turn: its tags from `end` on, and that it began, which was reported after `told`.
fn leave_item(cx: &mut SourceContext<'_>, end: usize, told: usize, playing: Option<&Path>) {
    cx.tags.truncate(end);
    let mut index = 0;
    cx.notices.retain(|notice| {
        index += 1;
        index <= told || !matches!(notice, EventKind::ItemStarted { path } if playing == Some(path))
    });
}

impl SourceDriver for Switch {
    fn attach(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.on_air.attach(registry, token)
    }

    fn start(&mut self, now: Instant) {
        self.begun = true;
        self.on_air.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        self.fresh = false;
        if cx.tick {
            self.leaving.retain_mut(|driver| !driver.is_stopped());
        }
        let (from, told, refills) = (cx.tags.len(), cx.notices.len(), cx.refills.len());
        let state = self.pull_on_air(cx);
        if self.next.is_some() && self.begun {
            self.advance(cx, from, told, refills);
        } else {
            self.splice.pass(cx, from, refills);
        }
        self.state(state)
    }

    fn is_due(&self) -> bool {
        let next = self.next.as_ref().filter(|_| self.begun);
        self.fresh || self.on_air.is_due() || next.is_some_and(|next| next.candidate.driver.is_due())
    }

    fn is_resting(&self) -> bool {
        self.on_air.is_resting()
    }

    fn deliver(&mut self, message: Box<dyn Any + Send>, registry: &Registry, token: Token) {
        let message = match message.downcast::<Replacement>() {
            Ok(replacement) => return self.receive(*replacement, registry, token),
            Err(message) => message,
        };
        let (seat, message) = match message.downcast::<Addressed>() {
            Ok(addressed) => (addressed.seat, addressed.message),
            Err(message) => (0, message),
        };
        if seat == self.seat {
            self.on_air.deliver(message, registry, token);
        } else if let Some(next) = self.next.as_mut().filter(|next| next.seat == seat) {
            next.candidate.driver.deliver(message, registry, token);
        }
    }

    fn seek(&mut self, to: Duration) {
        self.on_air.seek(to);
    }

    fn mode(&self) -> SourceMode {
        self.on_air.mode()
    }

    fn encoding(&self) -> Option<EncodingStats> {
        self.on_air.encoding()
    }

    fn playing(&self) -> Option<Playing> {
        self.on_air.playing()
    }

    fn origin(&self) -> Option<Origin> {
        self.on_air.origin()
    }

    fn playing_sound(&self) -> Option<Playing> {
        self.on_air.playing_sound()
    }

    fn fallback(&self) -> Option<FallbackStats> {
        together(self.before, self.on_air.fallback())
    }

    fn end_fallback(&mut self, now: Instant) -> Option<Duration> {
        self.on_air.end_fallback(now)
    }

    fn bytes_held(&self) -> usize {
        let next = self.next.as_ref().map_or(0, |next| next.candidate.driver.bytes_held());
        self.on_air.bytes_held() + next
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.on_air.stop();
        if let Some(next) = self.next.take() {
            self.retire(next.candidate.driver);
        }
    }

    fn is_stopped(&mut self) -> bool {
        self.leaving.retain_mut(|driver| !driver.is_stopped());
        self.on_air.is_stopped() && self.leaving.is_empty()
    }
}

impl Switch {
    /// Another source is to take over; one that was to do so before does not any more.
    fn receive(&mut self, replacement: Replacement, registry: &Registry, token: Token) {
        let Replacement { mut driver, seat, at, within, fitted, outcome } = replacement;
        if self.stopping {
            driver.stop();
            return;
        }
        if let Some(before) = self.next.take() {
            self.retire(before.candidate.driver);
            before.outcome.tell(Err(Error::Cancelled { what: "replacing the source" }));
        }
        if let Err(source) = driver.attach(registry, token) {
            self.retire(driver);
            outcome.tell(Err(Error::System { what: "cannot poll the source", source: source.into() }));
            return;
        }
        let candidate = Candidate::new(driver);
        self.next = Some(Next { candidate, seat, at, within, fitted, since: None, outcome });
        self.fresh = true;
    }
}
