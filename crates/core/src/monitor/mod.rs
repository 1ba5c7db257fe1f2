//! The resource monitor: what each stream uses, looked at every 30 seconds.
//!
//! In: the engine's streams. Out: CPU use and bytes held of each, an hour of both for a graph, and an event when a stream uses a lot. One
//! thread for the engine, while it is switched on; no stream waits for it.

mod judge;
mod load;
mod sampler;
#[cfg(test)]
mod tests;
mod window;

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;

pub use self::load::{LoadPoint, ProcessLoad, StreamLoad};
use self::sampler::Sampler;
use crate::config::MonitorConfig;
use crate::error::Error;
use crate::id::StreamId;
use crate::machine::ProcessUse;
use crate::stream::Registry;
use crate::sys::spawn;

const STACK: usize = 128 << 10;

/// The resource monitor of an engine ([`Engine::monitor`](crate::Engine::monitor)). Clones are the same one. It is off until it is
/// [started](Self::start), and ends with the engine.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; }
/// use std::time::Duration;
/// use flowcast::{Config, Engine};
///
/// let engine = Engine::new(Config::from_env()?)?;
/// let monitor = engine.monitor();
/// monitor.start()?;
/// // From now on a stream that uses more than one core and a half is reported.
/// monitor.set(monitor.settings().with(|settings| settings.cpu_percent = 150.0))?;
/// for load in monitor.loads() {
///     println!("{load}");
/// }
/// println!("{} threads", monitor.process().used.threads);
/// monitor.stop();
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Weak<Registry>,
    state: Arc<State>,
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug)]
struct State {
    settings: Mutex<MonitorConfig>,
    sampler: Mutex<Sampler>,
}

#[derive(Debug)]
struct Thread {
    /// Dropping it ends the thread; a message makes it look at the settings.
    wake: Sender<()>,
    handle: JoinHandle<()>,
}

impl Monitor {
    /// Of an engine.
    pub(crate) fn new(engine: &Arc<Registry>) -> Self {
        let state = State { settings: Mutex::new(engine.config.monitor), sampler: Mutex::default() };
        let engine = Arc::downgrade(engine);
        Self(Arc::new(Shared { engine, state: Arc::new(state), thread: Mutex::new(None) }))
    }

    /// Switches it on: it looks at once, and then every [`interval`](MonitorConfig::interval). Nothing happens if it is on.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread left.
    pub fn start(&self) -> Result<(), Error> {
        let mut thread = self.0.thread.lock();
        if thread.as_ref().is_some_and(|thread| !thread.handle.is_finished()) {
            return Ok(());
        }
        let (wake, woken) = crossbeam_channel::bounded(1);
        let (engine, state) = (self.0.engine.clone(), self.0.state.clone());
        let handle = spawn("fc-monitor", STACK, move || run(&engine, &state, &woken));
        let handle =
            handle.map_err(|source| Error::System { what: "no thread to monitor", source: source.into() })?;
        *thread = Some(Thread { wake, handle });
        Ok(())
    }

    /// Switches it off. What it knows of streams is forgotten: their warnings are counted anew when it is started again.
    ///
    /// # Blocking
    ///
    /// On a look that is being taken: a few milliseconds.
    pub fn stop(&self) {
        let Some(Thread { wake, handle }) = self.0.thread.lock().take() else { return };
        drop(wake);
        if handle.join().is_err() {
            log::error!("the resource monitor panicked");
        }
        self.0.state.sampler.lock().rest();
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.thread.lock().as_ref().is_some_and(|thread| !thread.handle.is_finished())
    }

    /// The settings that hold now: those of [`Config`](crate::Config), or the last that were [set](Self::set).
    #[must_use]
    pub fn settings(&self) -> MonitorConfig {
        *self.0.state.settings.lock()
    }

    /// Changes the settings. A monitor that runs looks at once and judges by them.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings that cannot work; nothing is changed then.
    pub fn set(&self, settings: MonitorConfig) -> Result<(), Error> {
        settings.check()?;
        *self.0.state.settings.lock() = settings;
        if let Some(thread) = &*self.0.thread.lock() {
            // One that waits already is enough.
            let _ = thread.wake.try_send(());
        }
        Ok(())
    }

    /// Looks now, on the calling thread, whether it is on or off. CPU use is measured over five seconds at least: until those are over since it
    /// was measured last, a look leaves it as it was.
    pub fn look(&self) {
        if let Some(engine) = self.0.engine.upgrade() {
            self.0.state.look(&engine);
        }
    }

    /// What a stream used when the monitor last looked; `None` if it was not there then.
    #[must_use]
    pub fn load(&self, stream: StreamId) -> Option<StreamLoad> {
        self.0.state.sampler.lock().load(stream)
    }

    /// What all streams used when the monitor last looked, in the order they were started.
    #[must_use]
    pub fn loads(&self) -> Vec<StreamLoad> {
        self.0.state.sampler.lock().loads()
    }

    /// What a stream used over the last hour, oldest first: at most 3600 points, one for each look.
    #[must_use]
    pub fn history(&self, stream: StreamId) -> Vec<LoadPoint> {
        self.0.state.sampler.lock().points(stream)
    }

    /// The same of the process; its memory is what is resident.
    #[must_use]
    pub fn process_history(&self) -> Vec<LoadPoint> {
        self.0.state.sampler.lock().history.points()
    }

    /// What the process uses now, and its control groups' limits; also while the monitor is off.
    ///
    /// # Blocking
    ///
    /// On the kernel, which goes through all pages of the process: a millisecond or a few.
    #[must_use]
    pub fn process(&self) -> ProcessLoad {
        let (cpu_percent, unattributed_percent) = self.0.state.sampler.lock().process_percent();
        ProcessLoad { used: ProcessUse::now(), cpu_percent, unattributed_percent }
    }
}

impl State {
    fn look(&self, engine: &Registry) {
        let settings = *self.settings.lock();
        let mut sampler = self.sampler.lock();
        sampler.look(engine, &settings, Instant::now(), SystemTime::now());
    }
}

/// The monitor's thread.
fn run(engine: &Weak<Registry>, state: &State, woken: &Receiver<()>) {
    loop {
        // Held only while it looks: the engine ends when nobody else has it.
        let Some(registry) = engine.upgrade() else { return };
        state.look(&registry);
        drop(registry);
        let interval = state.settings.lock().interval;
        match woken.recv_timeout(interval) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
