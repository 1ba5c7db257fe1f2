//! SIGTERM and SIGINT as a request to shut an engine down (feature `signals`).
//!
//! In: the first signal, on a thread that waits for it. Out: the engine is shut down, and who waits gets the report. A library does not
//! own the signals of a process, so nothing is installed before the program asks for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::{SigId, flag, low_level};

use crate::engine::Engine;
use crate::error::Error;
use crate::stream::{Ended, ShutdownReport};
use crate::sys::{Latch, spawn};

/// Stack of the thread that waits for signals and shuts the engine down.
const STACK: usize = 256 << 10;
const SIGNALS: [i32; 2] = [SIGTERM, SIGINT];
/// What a program that was ended by a signal leaves to its shell, less the signal's number.
const ENDED_BY_SIGNAL: i32 = 128;

/// Waits for a signal that ends the program; from [`Engine::shutdown_on_signals`]. Dropping it leaves the signals alone from then on:
/// they have no effect any more, since the handler the process had before is not put back.
#[derive(Debug)]
#[must_use = "signals shut the engine down as long as this is kept"]
pub struct SignalShutdown {
    report: Arc<Latch<ShutdownReport>>,
    handle: Handle,
    installed: Vec<SigId>,
}

impl Engine {
    /// Shuts the engine down at the first SIGTERM or SIGINT, with [`Config::force_stop_after`](crate::Config::force_stop_after) as the
    /// deadline: what an init system, a container and Ctrl-C send. A second signal ends the process at once, with status 128 and the
    /// signal's number, so that whoever waits in vain has a way out.
    ///
    /// The program's `main` waits, and returns; the exit code is its own, 0 if it returns normally:
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let engine = Engine::new(Config::default())?;
    ///     let signals = engine.shutdown_on_signals()?;
    ///     engine.stream(Source::file("show.mp4").looped()).to(Output::record("show.flv")).start()?.detach();
    ///     let report = signals.wait();
    ///     eprintln!("{report}"); // "stopped 1, abandoned 0"
    ///     Ok(())
    /// }
    /// ```
    ///
    /// It may be called for several engines: each is shut down. It does not keep the engine alive. A program that handles signals itself
    /// calls [`shutdown`](Self::shutdown) instead.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handlers cannot be installed, or there is no thread left.
    pub fn shutdown_on_signals(&self) -> Result<SignalShutdown, Error> {
        let system = |source: io::Error| Error::System { what: "no signal handler", source: source.into() };
        let mut installed = Vec::new();
        let signals = install(&mut installed);
        let mut signals = signals.map_err(|error| {
            uninstall(&mut installed);
            system(error)
        })?;
        let handle = signals.handle();
        let report = Arc::new(Latch::default());
        let shutdown = SignalShutdown { report: report.clone(), handle, installed };
        let engine = Arc::downgrade(self.guard());
        let waits = move || {
            let Some(signal) = signals.forever().next() else { return };
            log::info!("signal {signal}: shutting down");
            let ended = engine.upgrade().map(|engine| engine.shutdown(engine.patience()));
            report.set(ended.unwrap_or_default());
        };
        spawn("fc-signals", STACK, waits).map_err(system)?;
        Ok(shutdown)
    }
}

/// Installs what ends the process at the second signal, before what takes note of the first, and what wakes the thread.
fn install(installed: &mut Vec<SigId>) -> io::Result<Signals> {
    let second = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        installed.push(flag::register_conditional_shutdown(
            signal,
            ENDED_BY_SIGNAL + signal,
            second.clone(),
        )?);
        installed.push(flag::register(signal, second.clone())?);
    }
    Signals::new(SIGNALS)
}

fn uninstall(installed: &mut Vec<SigId>) {
    for id in installed.drain(..) {
        low_level::unregister(id);
    }
}

impl SignalShutdown {
    /// Waits for the signal, and then for the engine to be shut down.
    ///
    /// # Blocking
    ///
    /// Until then: for ever, if no signal comes.
    pub fn wait(self) -> ShutdownReport {
        self.report.wait_until(None).unwrap_or_default()
    }

    /// What became of the shutdown; `None` as long as no signal has come, or the engine is still shutting down.
    #[must_use]
    pub fn report(&self) -> Option<ShutdownReport> {
        self.report.get()
    }

    /// The same as a future, for programs that await it. Keep this value as long as it is awaited.
    pub fn ended(&self) -> Ended<ShutdownReport> {
        Ended::new(self.report.clone())
    }
}

impl Drop for SignalShutdown {
    fn drop(&mut self) {
        self.handle.close();
        // After the first signal, the second one is to work to the end.
        if self.report.get().is_none() {
            uninstall(&mut self.installed);
        }
    }
}
