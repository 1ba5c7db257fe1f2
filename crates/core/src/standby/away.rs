//! A source that is not on the air: it gives nothing, or is being opened again.
//!
//! In: its driver, pulled beside what is on the air. Out: what it comes back with. Runs on the stream's thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;

use super::child::{Beginning, Candidate};
use super::opener::{Opening, Reopen};
use crate::driver::{SourceContext, SourceState};
use crate::error::Error;
use crate::event::EventKind;

/// A source that comes back is steady as long as it is never silent for longer.
const STEADY: Duration = Duration::from_millis(500);
/// One that cannot be opened is tried again after this, then after twice as long, and so on up to the second of the two.
pub(super) const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// What was on the air for so long has not failed right after it was opened.
pub(super) const STABLE: Duration = Duration::from_secs(60);

/// What is waited after that much was in vain.
pub(super) fn longer(wait: Duration) -> Duration {
    (wait * 2).min(RETRY[1])
}

/// The source.
pub(super) enum Away {
    /// It may come back.
    There(There),
    /// It is being opened; how long is waited if it cannot be.
    Opening(Opening, Duration),
    /// It cannot be opened, or has failed: until when that is not tried again, and how long is waited after that.
    Closed(Instant, Duration),
}

/// A source that may come back.
pub(super) struct There {
    pub(super) candidate: Candidate,
    /// Since when it has given something without a pause, and when it last gave something.
    steady: Option<(Instant, Instant)>,
    /// It was opened again: closed once more if it gives nothing for so long, although something is expected of it since then.
    patience: Option<(Duration, Instant)>,
    /// How long is waited if it fails.
    wait: Duration,
}

/// What became of it in a turn.
pub(super) enum Back {
    /// It is there again.
    Comes(Candidate, Beginning),
    /// It is still away.
    Stays(Away, SourceState),
    /// The source is complete.
    Ended,
}

impl Away {
    /// It gives nothing, and has given this before.
    pub(super) fn silent(candidate: Candidate) -> Self {
        Self::There(There { candidate, steady: None, patience: None, wait: RETRY[0] })
    }

    /// It is opened again at once.
    pub(super) fn reopened(name: &str, how: &Arc<dyn Reopen>) -> Self {
        Self::Opening(Opening::begin(name, how, None), RETRY[0])
    }

    /// It has failed, and is opened again after this.
    pub(super) fn failed(now: Instant, wait: Duration) -> Self {
        Self::Closed(now + wait, longer(wait))
    }

    /// Whether it is there, and nothing is expected of it.
    pub(super) fn is_resting(&self) -> bool {
        matches!(self, Self::There(there) if there.candidate.driver.is_resting())
    }

    /// Looks after it. It may be back from `until` on, once it has been steady for so long; `patience` is how long one that was
    /// opened again may give nothing, and `watched` whether what one gives is kept for whom looks at it.
    pub(super) fn pull(
        self,
        cx: &mut SourceContext<'_>,
        again: (&str, &Arc<dyn Reopen>),
        back: Option<(Instant, Duration)>,
        (patience, watched): (Duration, bool),
    ) -> Back {
        match self {
            Self::There(there) => there.pull(cx, back),
            Self::Opening(opening, wait) => match opening.take() {
                None => Back::Stays(Self::Opening(opening, wait), SourceState::Running),
                Some(Ok(mut opened)) => match opened.driver.attach(cx.registry, cx.token) {
                    Ok(()) => {
                        let candidate = Candidate::new(opened.driver).watched(watched);
                        let patience = Some((patience, cx.now));
                        let there = There { candidate, steady: None, patience, wait };
                        there.pull(cx, back)
                    }
                    Err(source) => {
                        let what = "cannot poll the source";
                        Self::cannot(cx, Error::System { what, source: source.into() }, wait)
                    }
                },
                Some(Err(error)) => Self::cannot(cx, error, wait),
            },
            Self::Closed(until, wait) if cx.now >= until => {
                let opening = Self::Opening(Opening::begin(again.0, again.1, None), wait);
                Back::Stays(opening, SourceState::Running)
            }
            closed @ Self::Closed(..) => Back::Stays(closed, SourceState::Running),
        }
    }

    /// It cannot be opened; told the first time.
    fn cannot(cx: &mut SourceContext<'_>, error: Error, wait: Duration) -> Back {
        if wait <= RETRY[0] * 2 {
            cx.notices.push(EventKind::SourceFault { error });
        }
        Back::Stays(Self::failed(cx.now, wait), SourceState::Running)
    }

    /// Whether there is a driver that may come back.
    pub(super) const fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }

    pub(super) fn is_due(&self) -> bool {
        matches!(self, Self::There(there) if there.candidate.driver.is_due())
    }

    /// What it has given since the last time, if that is looked at.
    pub(super) fn take_seen(&mut self) -> Option<Vec<Tag>> {
        if let Self::There(there) = self { there.candidate.seen.as_mut().map(std::mem::take) } else { None }
    }

    pub(super) fn bytes_held(&self) -> usize {
        if let Self::There(there) = self { there.candidate.driver.bytes_held() } else { 0 }
    }

    pub(super) fn stop(&mut self) {
        match self {
            Self::There(there) => there.candidate.driver.stop(),
            Self::Opening(opening, _) => opening.cancel(),
            Self::Closed(..) => {}
        }
    }

    pub(super) fn is_stopped(&mut self) -> bool {
        match self {
            Self::There(there) => there.candidate.driver.is_stopped(),
            Self::Opening(opening, _) => opening.is_over(),
            Self::Closed(..) => true,
        }
    }
}

impl There {
    fn pull(mut self, cx: &mut SourceContext<'_>, back: Option<(Instant, Duration)>) -> Back {
        self.candidate.start(cx.now);
        let (state, beginning) = self.candidate.pull(cx);
        cx.notices.append(&mut self.candidate.notices);
        if self.candidate.gave {
            let since = match self.steady {
                Some((since, last)) if cx.now.saturating_duration_since(last) <= STEADY => since,
                _ => cx.now,
            };
            self.steady = Some((since, cx.now));
            self.patience = None;
        }
        let is_steady = back.is_none_or(|(until, steady)| {
            let since = self.steady.map(|(since, _)| cx.now.saturating_duration_since(since));
            cx.now >= until && since.is_some_and(|since| since >= steady)
        });
        match (state, beginning) {
            (SourceState::Ended, _) => Back::Ended,
            (SourceState::Failed(error), _) => {
                cx.notices.push(EventKind::SourceFault { error });
                self.candidate.driver.stop();
                Back::Stays(Away::failed(cx.now, self.wait), SourceState::Running)
            }
            (_, Some(beginning)) if is_steady => Back::Comes(self.candidate, beginning),
            (state, beginning) => {
                for tag in beginning.iter().flat_map(|beginning| &beginning.tags) {
                    self.candidate.headers.note(tag);
                }
                if self.candidate.driver.is_resting() {
                    // Nothing is expected of it: a publisher who has not come yet.
                    self.patience = self.patience.map(|(patience, _)| (patience, cx.now));
                }
                let is_over = |(patience, since)| cx.now.saturating_duration_since(since) >= patience;
                if self.patience.is_some_and(is_over) {
                    self.candidate.driver.stop();
                    return Back::Stays(Away::failed(cx.now, self.wait), SourceState::Running);
                }
                Back::Stays(Away::There(self), state)
            }
        }
    }
}
