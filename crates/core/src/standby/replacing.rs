//! A source that is to take the place of another: what is asked of the stream's thread, and what comes of it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::driver::SourceDriver;
use crate::error::Error;
use crate::stats::Seam;
use crate::sys::{Latch, Waiting};
use crate::words::words;

/// When a source that replaces another one takes over; see [`StreamRef::replace_source`](crate::StreamRef::replace_source).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum At {
    /// With its first keyframe.
    #[default]
    NextKeyframe,
    /// When the item of the list that is being played ends, or the lap of the loop, or the file. What has no items, such as what is
    /// published, is left at the new source's first keyframe. A file begins then; what is live is joined before, so that it is there.
    ItemEnd,
}

words!(At, "moment to take over", NextKeyframe = "next_keyframe", ItemEnd = "item_end");

/// A source that is about to take over; from [`StreamRef::replace_source`](crate::StreamRef::replace_source).
///
/// Dropping it changes nothing: the source takes over all the same. As a future it gives what [`wait`](Self::wait) does, on any
/// runtime.
#[must_use = "whether the source takes over is known only after `wait`"]
pub struct Replacing {
    outcome: Arc<Latch<Result<Seam, Error>>>,
    waiting: Waiting,
}

impl Replacing {
    /// Waits until the source has taken over, and says what receivers saw of it.
    ///
    /// # Errors
    ///
    /// [`Error::SourceNotReady`] if it did not come up in time, its own error if it failed, [`Error::Cancelled`] if another one was to
    /// take over meanwhile: in all three cases the source before it stays on the air. [`Error::Ended`] if the stream has ended.
    ///
    /// # Blocking
    ///
    /// Until then: with [`At::NextKeyframe`] at most for the deadline that was given.
    pub fn wait(self) -> Result<Seam, Error> {
        self.outcome.wait_until(None).unwrap_or(Err(Error::Ended))
    }

    /// As [`wait`](Self::wait), for at most `timeout`; `None` if it is still to take over.
    ///
    /// # Blocking
    ///
    /// Up to `timeout`.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<Seam, Error>> {
        /// Longer ones are for ever.
        const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
        self.outcome.wait_until(Some(Instant::now() + timeout.min(FOREVER)))
    }
}

impl Future for Replacing {
    type Output = Result<Seam, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { outcome, waiting } = self.get_mut();
        outcome.poll(waiting, cx)
    }
}

impl fmt::Debug for Replacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replacing").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Called with the outcome, before the program hears of it.
type Settle = Box<dyn FnOnce(&Result<Seam, Error>) + Send>;

/// Where the outcome of a replacement goes. It is always told: if nothing else comes, that the stream has ended.
pub(crate) struct Outcome {
    latch: Arc<Latch<Result<Seam, Error>>>,
    settle: Option<Settle>,
}

impl Outcome {
    /// An outcome to be told, and the end that waits for it; `settle` hears it first.
    pub(crate) fn new(settle: Settle) -> (Self, Replacing) {
        let latch: Arc<Latch<_>> = Arc::default();
        let replacing = Replacing { waiting: latch.waiting(), outcome: latch.clone() };
        (Self { latch, settle: Some(settle) }, replacing)
    }

    /// Tells it.
    pub(crate) fn tell(mut self, outcome: Result<Seam, Error>) {
        self.set(outcome);
    }

    fn set(&mut self, outcome: Result<Seam, Error>) {
        if let Some(settle) = self.settle.take() {
            settle(&outcome);
            self.latch.set(outcome);
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.set(Err(Error::Ended));
    }
}

/// A source that was opened, on its way to the stream's thread.
pub(crate) struct Replacement {
    pub(crate) driver: Box<dyn SourceDriver>,
    /// Its number among the sources of the stream.
    pub(crate) seat: u64,
    pub(crate) at: At,
    /// How long it may take to give a keyframe.
    pub(crate) within: Duration,
    /// It is encoded to what was on the air when it was opened.
    pub(crate) fitted: bool,
    pub(crate) outcome: Outcome,
}
