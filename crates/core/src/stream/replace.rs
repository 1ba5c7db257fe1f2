//! Another source for a stream that is on the air.
//!
//! In: the source, on the caller's thread. Out: its driver, on its way to the stream's thread, which lets it take over once it can.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::StreamRef;
use super::mailbox::Command;
use super::opening::{OpenSource, SourceOpening};
use crate::error::Error;
use crate::limiter::Permit;
use crate::standby::{At, Outcome, Parameters, Replacement, Replacing};
use crate::sys::Latch;

/// How long a source may take to give a keyframe where nothing else is said.
const WITHIN: Duration = Duration::from_secs(10);
/// How long the stream's thread is asked what is on the air.
const ASK: Duration = Duration::from_secs(2);

impl StreamRef {
    /// Lets another source take the place of the one that is on the air. The one before stays until the new one has given
    /// a keyframe; outputs stay connected, and the times of the stream go on. Sequence headers are sent only where they differ. A
    /// source that [encodes](crate::Source::mode) and is given no size, frame rate or sound is encoded to those on the air.
    ///
    /// The source is given ten seconds to come up; [`replace_source_within`](Self::replace_source_within) takes another deadline.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod source { pub use flowcast_core::*; } }
    /// use flowcast::source::At;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let live = engine.stream(Source::file("intro.mp4").looped()).to(Output::record("day.flv")).start()?;
    /// let seam = live.replace_source(Source::published("studio"), At::NextKeyframe)?.wait()?;
    /// println!("on the air, {seam}"); // "seamless", "new_headers" or "encoded"
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What is wrong with the source, as from [`start`](crate::StreamBuilder::start); [`Error::Config`] for a stream that is itself
    /// published: its publishers take each other's place; [`Error::FeedsItself`] for a name this stream is found by;
    /// [`Error::Ended`]. Nothing changes then. What becomes of a source that was opened is said by [`Replacing`].
    ///
    /// # Blocking
    ///
    /// On opening the source, as [`start`](crate::StreamBuilder::start) does; one after the other for one stream.
    pub fn replace_source(&self, source: impl OpenSource + 'static, at: At) -> Result<Replacing, Error> {
        self.replace_source_within(source, at, WITHIN)
    }

    /// As [`replace_source`](Self::replace_source), with a deadline for the keyframe of the source, from the moment it is
    /// its turn.
    ///
    /// # Errors
    ///
    /// As of [`replace_source`](Self::replace_source).
    ///
    /// # Blocking
    ///
    /// As of [`replace_source`](Self::replace_source).
    pub fn replace_source_within(
        &self,
        source: impl OpenSource + 'static,
        at: At,
        within: Duration,
    ) -> Result<Replacing, Error> {
        let source: Box<dyn OpenSource> = Box::new(source);
        source.check()?;
        let shared = &self.shared;
        if shared.is_publication() {
            let reason = "what is published has its publishers as its source; they replace each other";
            return Err(Error::Config { name: "replace_source", reason: reason.to_owned() });
        }
        let mut opened = shared.sources.lock();
        let reads = source.reads();
        for name in reads.published.iter().chain(&reads.heard) {
            self.registry.hub().refuse_circle(name, shared.id)?;
        }
        let beside = self.parameters()?;
        // Given once: what cannot be opened may have left threads behind, which are not to be heard by the next one.
        *opened += 1;
        let seat = *opened;
        shared.files.come(seat, reads);
        let files = shared.files.clone();
        let (stream, data) = (Arc::downgrade(shared), source.as_data());
        let (outcome, replacing) = Outcome::new(Box::new(move |outcome| {
            files.settle(seat, outcome.is_ok());
            let Some(stream) = stream.upgrade() else { return };
            stream.mixers.settle(seat, outcome.is_ok());
            if outcome.is_ok() {
                stream.described.replace_source(data);
                stream.with_permit(Permit::plays_another);
            }
        }));
        let opening = SourceOpening::later(&self.registry, shared, seat, Some(beside));
        let driver = shared.span.run(|| source.open(&opening)).inspect_err(|_| opening.letters().close())?;
        let fitted = opening.was_fitted();
        let replacement = Replacement { driver, seat, at, within, fitted, outcome };
        self.send(Command::ReplaceSource(Box::new(replacement)))
            .inspect_err(|_| opening.letters().close())?;
        // After it, or they would find another driver, or none.
        opening.letters().open();
        Ok(replacing)
    }

    /// What is on the air, as far as something can be encoded to it.
    fn parameters(&self) -> Result<Parameters, Error> {
        let answer = Arc::new(Latch::default());
        self.send(Command::Describe(answer.clone()))?;
        let on_air = answer.wait_until(Some(Instant::now() + ASK)).unwrap_or_default();
        Ok(Parameters::of(&on_air.headers))
    }
}
