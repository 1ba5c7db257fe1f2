//! How it went to stop streams.
//!
//! In: streams that were asked to stop, and how each ended. Out: counts, and a line for each stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, chain};
use crate::id::StreamId;
use crate::stats::StreamPhase;

/// How it went to stop several streams: [`Engine::stop_all`](crate::Engine::stop_all),
/// [`Engine::shutdown`](crate::Engine::shutdown), and `stop` of a server.
///
/// `Display` gives one line: how many stopped and were abandoned, and what was wrong with those that did not end cleanly.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Streams that ended in time.
    pub stopped: usize,
    /// Streams whose thread had to be abandoned (`FORCE_KILL_REQUIRED`).
    pub abandoned: usize,
    /// Each of them, in the order they were started.
    pub streams: Vec<StreamEnd>,
}

/// How one stream ended when it was stopped; see [`ShutdownReport`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamEnd {
    /// Its number.
    pub id: StreamId,
    /// Its label, if it has one.
    pub label: Option<Arc<str>>,
    /// How long its end took, from the moment it was asked. A stream that had ended before took nothing.
    pub took: Duration,
    /// Why it did not end cleanly; `None` if it did. [`Error::ForceKillRequired`] if its thread was abandoned, else the error that it
    /// had ended with by itself.
    pub error: Option<Error>,
    /// What it was doing when it was abandoned: [`Running`](StreamPhase::Running) means that its thread never took the request
    /// (a driver blocks it), [`Stopping`](StreamPhase::Stopping) that it was still ending its outputs or its source. `None` for a
    /// stream that was not abandoned.
    pub stuck_in: Option<StreamPhase>,
}

impl StreamEnd {
    /// Whether its thread had to be abandoned.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.stuck_in.is_some()
    }

    /// Whether it ended in time and without an error.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.error.is_none()
    }
}

impl ShutdownReport {
    /// Whether every stream ended in time and without an error.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.streams.iter().all(StreamEnd::is_clean)
    }

    /// One more stream.
    pub(super) fn add(&mut self, end: StreamEnd) {
        match end.is_forced() {
            true => self.abandoned += 1,
            false => self.stopped += 1,
        }
        self.streams.push(end);
    }
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(label) = &self.label {
            write!(f, " {label:?}")?;
        }
        match (&self.error, self.stuck_in) {
            (None, _) => write!(f, ": ended in {:?}", self.took),
            (Some(error), None) => write!(f, ": {}", chain(error)),
            (Some(error), Some(phase)) => write!(f, ": {} ({})", chain(error), phase.as_str()),
        }
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped {}, abandoned {}", self.stopped, self.abandoned)?;
        self.streams.iter().filter(|end| !end.is_clean()).try_for_each(|end| write!(f, "; {end}"))
    }
}
