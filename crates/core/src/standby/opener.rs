//! Sources that are opened while the stream is on the air, on a thread of their own.
//!
//! In: how a source is opened. Out: its driver, or why there is none, for the stream's thread to find with a tick.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::parameters::Parameters;
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::sys::{Cancel, Worker, panic_message};

/// Stack of the thread, for what libav needs to look into a file.
const STACK: usize = 2 << 20;

/// How a source is opened, as often as it has to be.
pub(crate) trait Reopen: Send + Sync {
    /// Opens it, unless it is called off; `beside` is what is on the air.
    ///
    /// # Errors
    ///
    /// Why it cannot be played.
    ///
    /// # Blocking
    ///
    /// On its files, until it is called off.
    fn open(&self, beside: Option<Parameters>, cancel: &Arc<Cancel>) -> Result<Opened, Error>;
}

/// A source that was opened.
pub(crate) struct Opened {
    pub(crate) driver: Box<dyn SourceDriver>,
    /// It is encoded to what is on the air.
    pub(crate) fitted: bool,
}

/// A source that is being opened.
pub(super) struct Opening {
    answer: Arc<Mutex<Option<Result<Opened, Error>>>>,
    cancel: Arc<Cancel>,
    thread: Option<Worker>,
}

impl Opening {
    /// Begins to open it.
    pub(super) fn begin(name: &str, how: &Arc<dyn Reopen>, beside: Option<Parameters>) -> Self {
        let answer = Arc::new(Mutex::new(None));
        let cancel: Arc<Cancel> = Arc::default();
        let (slot, opener, called_off) = (answer.clone(), how.clone(), cancel.clone());
        let work = move || {
            // Without an answer it would be waited for, for ever.
            let opened = catch_unwind(AssertUnwindSafe(|| opener.open(beside, &called_off)));
            let opened =
                opened.unwrap_or_else(|panic| Err(Error::Panicked { message: panic_message(&*panic) }));
            *slot.lock() = Some(opened);
        };
        let thread = Worker::start("the opener of a source", format!("fs-{name}"), STACK, work);
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(source) => {
                let error = Error::System { what: "no thread to open a source", source: source.into() };
                *answer.lock() = Some(Err(error));
                None
            }
        };
        Self { answer, cancel, thread }
    }

    /// The source, once it is opened or cannot be.
    pub(super) fn take(&self) -> Option<Result<Opened, Error>> {
        self.answer.lock().take()
    }

    /// It is not needed any more.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
        if let Some(Ok(mut opened)) = self.answer.lock().take() {
            opened.driver.stop();
        }
    }

    /// Whether its thread has ended.
    pub(super) fn is_over(&mut self) -> bool {
        self.thread.as_mut().is_none_or(Worker::is_stopped)
    }
}
