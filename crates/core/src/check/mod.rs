//! Holds a source or an output against the contract of drivers, and reports mistakes as data.
//!
//! In: a description of a source or an output, such as a program's own. Out: a [`Report`]. The driver runs on a thread of its own,
//! without an engine's stream, and mostly on a virtual clock: twenty seconds of media take about two. Needs no media and no network.

mod mistake;
mod notes;
mod output;
mod rules;
mod source;
mod testtags;

use std::sync::Arc;
use std::time::Duration;

pub use self::mistake::{Mistake, MistakeKind, Report};
use self::notes::Notes;
use crate::engine::Engine;
use crate::stream::{OpenOutput, OpenSource, Registry};
use crate::sys::spawn;

/// Stack of the checking thread.
const STACK: usize = 1 << 20;

/// How a driver is checked: [`source`](Self::source) and [`output`](Self::output) do it.
#[derive(Debug, Clone)]
#[must_use = "nothing is checked before `source` or `output`"]
pub struct Check {
    media: Duration,
    longest_turn: Duration,
    patience: Duration,
    thread_grace: Duration,
    real_time: bool,
    engine: Option<Engine>,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            media: Duration::from_secs(20),
            longest_turn: Duration::from_millis(200),
            patience: Duration::from_secs(5),
            thread_grace: Duration::from_millis(20),
            real_time: false,
            engine: None,
        }
    }
}

impl Check {
    /// A check with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Media time a driver is run for. Default 20 s; less than 12 s leaves some mistakes unseen.
    pub fn media(self, media: Duration) -> Self {
        Self { media, ..self }
    }

    /// How long a call may sleep, or compute. Time in which the thread only waits for a processor does not count (on Linux). Default
    /// 200 ms: generous, for a busy machine; a good turn takes well under a millisecond. With [`Duration::MAX`] sleep is not looked for,
    /// which makes weeks of media affordable.
    pub fn longest_turn(self, longest_turn: Duration) -> Self {
        Self { longest_turn, ..self }
    }

    /// Real time to wait for what may take long: a connection, a writer, the end. Default 5 s.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Real time that threads of a source's own get for a tick of virtual time that brought nothing. Default 20 ms. More makes the virtual clock
    /// wait for them on a busy machine, and costs as much for each tick in which nothing is due.
    pub fn thread_grace(self, thread_grace: Duration) -> Self {
        Self { thread_grace, ..self }
    }

    /// Runs the driver in real time: for a source that gets its media from elsewhere, and for a slow peer.
    pub fn in_real_time(self) -> Self {
        Self { real_time: true, ..self }
    }

    /// Opens drivers with the settings of this engine, and with what is published on it. Default: an engine of its own.
    pub fn on(self, engine: &Engine) -> Self {
        Self { engine: Some(engine.clone()), ..self }
    }

    /// Checks a source, opened twice: stopped before its media time begins, and played.
    ///
    /// # Blocking
    ///
    /// For a few seconds; [`media`](Self::media) in real time. A driver that never returns is given up after ten seconds, and its
    /// thread left behind.
    #[must_use]
    pub fn source<S: OpenSource + 'static>(&self, open: impl Fn() -> S + Send + 'static) -> Report {
        self.run(move |check, registry, notes| {
            source::run(check, registry, Box::new(open()), notes, false);
            source::run(check, registry, Box::new(open()), notes, true);
        })
    }

    /// Checks an output, opened twice: finished at once, and given pictures and sound, a rest, more of both, and its end.
    ///
    /// # Blocking
    ///
    /// As [`source`](Self::source).
    #[must_use]
    pub fn output<O: OpenOutput + 'static>(&self, open: impl Fn() -> O + Send + 'static) -> Report {
        self.run(move |check, registry, notes| {
            output::run(check, registry, Box::new(open()), notes, false);
            output::run(check, registry, Box::new(open()), notes, true);
        })
    }

    fn run(&self, check: impl FnOnce(&Self, &Arc<Registry>, &Notes) + Send + 'static) -> Report {
        let engine = match &self.engine {
            Some(engine) => engine.clone(),
            None => match Engine::new(crate::config::Config::default()) {
                Ok(engine) => engine,
                Err(error) => return Report::not_run(&error),
            },
        };
        let notes = Notes::new(self.longest_turn);
        let (over, done) = crossbeam_channel::bounded::<()>(1);
        let (seen, settings) = (notes.clone(), self.clone());
        let spawned = spawn("fc-check", STACK, move || {
            check(&settings, engine.registry(), &seen);
            let _ = over.send(());
        });
        if let Err(source) = spawned {
            return Report::not_run(&crate::error::Error::System {
                what: "no thread for a check",
                source: Arc::new(source),
            });
        }
        // The channel is closed without a word if the check itself panicked.
        while matches!(
            done.recv_timeout(Duration::from_millis(50)),
            Err(crossbeam_channel::RecvTimeoutError::Timeout)
        ) {
            if notes.is_stuck() {
                break;
            }
        }
        notes.report()
    }
}

/// Checks a source with the defaults of [`Check`].
///
/// # Blocking
///
/// See [`Check::source`].
#[must_use]
pub fn check_source<S: OpenSource + 'static>(open: impl Fn() -> S + Send + 'static) -> Report {
    Check::new().source(open)
}

/// Checks an output with the defaults of [`Check`].
///
/// # Blocking
///
/// See [`Check::output`].
#[must_use]
pub fn check_output<O: OpenOutput + 'static>(open: impl Fn() -> O + Send + 'static) -> Report {
    Check::new().output(open)
}
