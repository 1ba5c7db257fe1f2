//! A thread that works for a stream and that nobody waits for.
//!
//! In: what to run. Out: whether it has ended. Its owner asks it to end by what the two share; this only looks whether it has.

use std::io;
use std::thread::JoinHandle;

use super::{Span, spawn};

/// A thread that was started, until it was seen to have ended.
#[derive(Debug)]
pub(crate) struct Worker {
    /// What it is, for the log: "a file reader".
    what: &'static str,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread with a stack of this many bytes.
    ///
    /// # Errors
    ///
    /// As for [`spawn`].
    pub(crate) fn start(
        what: &'static str,
        name: String,
        stack: usize,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        // What it logs belongs to the stream it works for.
        let span = Span::current();
        Ok(Self { what, thread: Some(spawn(name, stack, move || span.run(work))?) })
    }

    /// Whether it has ended. That it panicked is logged, once.
    pub(crate) fn is_stopped(&mut self) -> bool {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("{} panicked", self.what);
        }
        self.thread.is_none()
    }
}
