//! The fallback of a source: opened ahead, to what is on the air, and again after each time it was used.
//!
//! In: what is known of the stream. Out: what it begins with, once it is needed and has a keyframe. Runs on the stream's thread; it is
//! opened on another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::away::{RETRY as WAITS, STABLE, longer};
use super::child::{Beginning, Candidate};
use super::opener::{Opened, Opening, Reopen};
use super::parameters::Parameters;
use super::splice::Splice;
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::stats::FallbackStats;

/// What is on the air is known well enough to encode to it after this.
const KNOWN_AFTER: Duration = Duration::from_secs(1);
/// One that cannot be opened, or gives nothing to begin with, is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// When a fallback stands in for its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// The source has given nothing for this long.
    pub(crate) after: Duration,
    /// A source that comes back has to give something steadily for this long.
    pub(crate) steady: Duration,
    /// It stays on the air for this long.
    pub(crate) at_least: Duration,
}

/// The fallback.
pub(super) struct Slate {
    how: Arc<dyn Reopen>,
    pub(super) times: Times,
    /// Opened, and not begun.
    spare: Option<Opened>,
    /// What it was opened beside last, and how much was known of the stream then.
    beside: Option<Parameters>,
    revision: u64,
    opening: Option<Opening>,
    /// Not to be opened before.
    not_before: Option<Instant>,
    /// That it cannot be played was told.
    told: bool,
    /// How long is waited if the one that is on the air fails soon.
    wait: Duration,
    /// Started, and without a keyframe so far.
    rising: Option<(Candidate, bool)>,
    /// Since when it stands in for the source.
    since: Option<Instant>,
    /// Since when it is on the air; not while it is opened again after a failure.
    shown: Option<Instant>,
    /// How long it was on the air before that, since it stands in.
    stint: Duration,
    stats: FallbackStats,
}

impl Slate {
    pub(super) fn new(how: Arc<dyn Reopen>, times: Times) -> Self {
        Self {
            how,
            times,
            spare: None,
            beside: None,
            revision: 0,
            opening: None,
            not_before: None,
            told: false,
            wait: WAITS[0],
            rising: None,
            since: None,
            shown: None,
            stint: Duration::ZERO,
            stats: FallbackStats::default(),
        }
    }

    /// How it stands now.
    pub(super) fn figures(&self) -> FallbackStats {
        let current = self.shown.map_or(Duration::ZERO, |shown| shown.elapsed());
        let ready = self.spare.is_some() && self.opening.is_none();
        FallbackStats { on_air: self.shown.is_some(), ready, time: self.stats.time + current, ..self.stats }
    }

    /// Until when it stands in at least, if it does.
    pub(super) fn until(&self) -> Option<Instant> {
        self.since.map(|since| since + self.times.at_least)
    }

    /// It is on the air from here on; whether it did not stand in before.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let begins = self.since.is_none();
        if begins {
            (self.since, self.stint) = (Some(now), Duration::ZERO);
            self.stats.times += 1;
        }
        self.shown = Some(now);
        self.told = false;
        begins
    }

    /// What is on the air of it has ended or failed. One that does so right after it began is opened less and less.
    pub(super) fn breaks(&mut self, now: Instant) {
        if self.hides(now) {
            return;
        }
        self.not_before = Some(now + self.wait);
        self.wait = longer(self.wait);
    }

    /// It does not stand in any more; for how long it was on the air, if it did.
    pub(super) fn ends(&mut self, now: Instant) -> Option<Duration> {
        self.since.take()?;
        self.hides(now);
        Some(self.stint)
    }

    /// It is not on the air any more; whether it was there for long. Then what was before is forgotten.
    fn hides(&mut self, now: Instant) -> bool {
        let Some(shown) = self.shown.take() else { return false };
        let lasted = now.saturating_duration_since(shown);
        self.stint += lasted;
        self.stats.time += lasted;
        let is_stable = lasted >= STABLE;
        if is_stable {
            self.wait = WAITS[0];
        }
        is_stable
    }

    /// Gets it ready for what is on the air: ahead once that is known, and at once if it is `needed`.
    pub(super) fn prepare(&mut self, cx: &mut SourceContext<'_>, name: &str, splice: &Splice, needed: bool) {
        if let Some(answer) = self.opening.as_ref().and_then(Opening::take) {
            self.opening = None;
            match answer {
                Ok(opened) => (self.spare, self.not_before) = (Some(opened), None),
                Err(error) => self.fails(cx, error),
            }
        }
        let is_held = self.not_before.is_some_and(|at| cx.now < at);
        if self.opening.is_some() || self.rising.is_some() || is_held {
            return;
        }
        let is_current = self.spare.is_some() && (needed || self.revision == splice.revision());
        if is_current || !(needed || splice.on_air_for(cx.now) >= KNOWN_AFTER) {
            return;
        }
        let beside = splice.parameters();
        self.revision = splice.revision();
        if self.spare.is_some() && self.beside.is_some_and(|known| known.is_like(&beside)) {
            return;
        }
        if let Some(mut outdated) = self.spare.take() {
            outdated.driver.stop();
        }
        self.beside = Some(beside);
        let beside = (beside != Parameters::default()).then_some(beside);
        self.opening = Some(Opening::begin(name, &self.how, beside));
    }

    /// Lets it rise: what it begins with, once there is something, and whether it was encoded to what is on the air.
    pub(super) fn rise(&mut self, cx: &mut SourceContext<'_>) -> Option<(Candidate, Beginning, bool)> {
        let (mut candidate, fitted) = match self.rising.take() {
            Some(rising) => rising,
            None => {
                let Opened { mut driver, fitted } = self.spare.take()?;
                if let Err(source) = driver.attach(cx.registry, cx.token) {
                    let what = "cannot poll the fallback";
                    self.fails(cx, Error::System { what, source: source.into() });
                    return None;
                }
                (Candidate::new(driver), fitted)
            }
        };
        candidate.start(cx.now);
        match candidate.pull(cx) {
            (_, Some(beginning)) => return Some((candidate, beginning, fitted)),
            (SourceState::Running | SourceState::More, None) => self.rising = Some((candidate, fitted)),
            (SourceState::Failed(error), None) => self.fails(cx, error),
            (SourceState::Ended, None) => self.not_before = Some(cx.now + RETRY),
        }
        None
    }

    /// It cannot be played now; told once, until it can.
    fn fails(&mut self, cx: &mut SourceContext<'_>, error: Error) {
        self.not_before = Some(cx.now + RETRY);
        if !std::mem::replace(&mut self.told, true) {
            cx.notices.push(EventKind::SourceFault { error });
        }
    }

    /// It is not needed after all.
    pub(super) fn sinks(&mut self) -> Option<Box<dyn SourceDriver>> {
        self.rising.take().map(|(candidate, _)| candidate.driver)
    }

    pub(super) fn bytes_held(&self) -> usize {
        let spare = self.spare.as_ref().map_or(0, |spare| spare.driver.bytes_held());
        spare + self.rising.as_ref().map_or(0, |(candidate, _)| candidate.driver.bytes_held())
    }

    pub(super) fn is_due(&self) -> bool {
        self.rising.as_ref().is_some_and(|(candidate, _)| candidate.driver.is_due())
    }

    pub(super) fn stop(&mut self) {
        if let Some(opening) = &self.opening {
            opening.cancel();
        }
        if let Some(spare) = &mut self.spare {
            spare.driver.stop();
        }
        if let Some((candidate, _)) = &mut self.rising {
            candidate.driver.stop();
        }
    }

    pub(super) fn is_stopped(&mut self) -> bool {
        self.opening.as_mut().is_none_or(Opening::is_over)
            && self.spare.as_mut().is_none_or(|spare| spare.driver.is_stopped())
            && self.rising.as_mut().is_none_or(|(candidate, _)| candidate.driver.is_stopped())
    }
}
