//! Keeps a file up to date with what runs (feature `state`).
//!
//! In: word that something has changed, and time that passes. Out: snapshots, written by a thread of its own, one at a time. When the engine
//! shuts down, the last one is written while its streams still run; what ends then stays in the file.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;

use super::Engine;
use super::restore::Camera;
use crate::error::{Error, chain};
use crate::state::{Earlier, Restarts, RestoreOptions, Restored, Snapshot, StateFile};
use crate::stream::Registry;
use crate::sys::spawn;

/// Stack of the thread that writes.
const STACK: usize = 256 << 10;
/// A state of this many streams is not written more often than it takes to write it.
const SHARE: u32 = 4;

/// Keeps a file up to date with what runs on an engine; from [`Engine::keep_state`] and [`Engine::restore_state`]. Dropped before the
/// engine shuts down, it writes once more and gives the file back. It does not keep the engine alive.
#[derive(Debug)]
#[must_use = "the file is kept up to date as long as this is kept"]
pub struct StateKeeper {
    desk: Arc<Desk>,
    /// Dropping it ends the thread.
    _ends: Sender<()>,
}

/// What the thread, the keeper and the engine share.
#[derive(Debug)]
struct Desk {
    registry: Weak<Registry>,
    earlier: Arc<Earlier>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` once the last one was written.
    file: Option<StateFile>,
    written: Option<Snapshot>,
    writes: u64,
    error: Option<Error>,
}

impl Engine {
    /// Keeps `file` up to date with what runs from now on. What was in it is written over.
    ///
    /// # Errors
    ///
    /// [`Error::StateFailed`] if it cannot be written now; later failures are logged, tried again with the next change, and shown by
    /// [`StateKeeper::last_error`]. [`Error::System`] if there is no thread left.
    ///
    /// # Blocking
    ///
    /// On the disk.
    pub fn keep_state(&self, file: StateFile) -> Result<StateKeeper, Error> {
        let (write_every, place_every) = (file.write_every, file.place_every);
        let state = State { file: Some(file), written: None, writes: 0, error: None };
        let registry = Arc::downgrade(self.registry());
        let desk = Arc::new(Desk { registry, earlier: self.earlier.clone(), state: Mutex::new(state) });
        let changes = self.registry().changes().watch();
        desk.write()?;
        let last = desk.clone();
        self.registry().before_close(move || last.write_last());
        let (ends, ended) = crossbeam_channel::bounded(0);
        let kept = desk.clone();
        let work = move || kept.run(&changes, &ended, write_every, place_every.max(write_every));
        spawn("fc-state", STACK, work)
            .map_err(|source| Error::System { what: "no thread to keep the state", source: source.into() })?;
        Ok(StateKeeper { desk, _ends: ends })
    }

    /// Goes on with what is in `file`, as [`restore`](Self::restore), and keeps it up to date from then on, as
    /// [`keep_state`](Self::keep_state). A process that dies meanwhile loses nothing: what has not been started yet is still in the file.
    ///
    /// # Errors
    ///
    /// As of [`keep_state`](Self::keep_state); nothing is started then.
    ///
    /// # Blocking
    ///
    /// As [`restore`](Self::restore), and on the disk.
    pub fn restore_state(
        &self,
        mut file: StateFile,
        options: &RestoreOptions,
    ) -> Result<(StateKeeper, Restored), Error> {
        let Some(snapshot) = file.take_snapshot() else {
            return Ok((self.keep_state(file)?, Restored::default()));
        };
        let restoring = self.begin_restore(snapshot, options);
        let keeper = match self.keep_state(file) {
            Ok(keeper) => keeper,
            Err(error) => {
                restoring.forget(&self.earlier);
                return Err(error);
            }
        };
        Ok((keeper, self.finish_restore(restoring, options)))
    }
}

impl StateKeeper {
    /// Writes what runs now, on the disk when this returns. Nothing is written once the engine shuts down: the last one was.
    ///
    /// # Errors
    ///
    /// [`Error::StateFailed`].
    ///
    /// # Blocking
    ///
    /// On the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.desk.write()
    }

    /// Why the file could not be written the last time it was tried; `None` if it could.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.desk.state.lock().error.clone()
    }

    /// How often it was written.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.desk.state.lock().writes
    }
}

impl Drop for StateKeeper {
    fn drop(&mut self) {
        if let Err(error) = self.desk.write() {
            log::error!("{}", chain(&error));
        }
        self.desk.state.lock().file = None;
    }
}

impl Desk {
    /// Writes whenever something has changed, not too often, until the keeper is dropped or the engine shuts down.
    fn run(
        &self,
        changes: &Receiver<()>,
        ended: &Receiver<()>,
        write_every: Duration,
        place_every: Duration,
    ) {
        let mut pause = write_every;
        loop {
            crossbeam_channel::select! {
                recv(changes) -> change => if change.is_err() { return },
                recv(ended) -> _ => return,
                default(place_every) => {}
            }
            let begin = Instant::now();
            if self.is_over() {
                return;
            }
            // It is noted and logged; the next change tries again.
            let _ = self.write();
            if !pause.is_zero() {
                pause = write_every.max(begin.elapsed() * SHARE);
            }
            match ended.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
    }

    fn is_over(&self) -> bool {
        self.state.lock().file.is_none()
    }

    /// Writes what runs now, unless that is what was written last. Not once the streams may have been stopped: what ran then is to stay
    /// in the file.
    fn write(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        if self.registry.upgrade().is_none_or(|registry| registry.is_closed()) {
            return Ok(());
        }
        self.write_under(&mut state, |_| {})
    }

    /// Writes for the last time.
    fn write_last(&self) {
        let mut state = self.state.lock();
        if self.registry.upgrade().is_none_or(|registry| registry.is_too_late()) {
            return;
        }
        // A run that ends in order is no crash.
        let _ = self.write_under(&mut state, |snapshot| snapshot.restarts = Restarts::default());
        state.file = None;
    }

    fn write_under(&self, state: &mut State, change: impl FnOnce(&mut Snapshot)) -> Result<(), Error> {
        let State { file: Some(file), written, writes, error } = state else { return Ok(()) };
        let Some(registry) = self.registry.upgrade() else { return Ok(()) };
        let mut snapshot = Camera { registry: &registry, earlier: &self.earlier }.snapshot();
        change(&mut snapshot);
        snapshot.left_out.clear();
        let is_same = |before: &Snapshot| *before == Snapshot { taken: before.taken, ..snapshot.clone() };
        if error.is_none() && written.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let result = file.write(&snapshot);
        match &result {
            Ok(()) => {
                *writes += 1;
                *written = Some(snapshot);
                *error = None;
            }
            Err(failure) => {
                if error.as_ref().map(Error::code) != Some(failure.code()) {
                    log::error!("{}", chain(failure));
                }
                *error = Some(failure.clone());
            }
        }
        result
    }
}
