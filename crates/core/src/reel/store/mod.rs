//! The reel store: finds the reel of a source or has it cut, keeps within its bytes, and lets nothing go that is in use.
//!
//! Locks are held for moments only, never while a file is touched. Reels are opened on the thread that asks, or on one of
//! a few threads for those who do not want to wait; cutting has threads of its own, at most four for what is copied and as many
//! as there are processors for what is encoded.

mod dir;
mod job;
mod pace;
mod room;
mod state;
mod watcher;
mod workers;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::{Condvar, Mutex, MutexGuard};

use self::dir::{Dir, Part};
use self::pace::Pace;
pub(crate) use self::room::{is_stored, make_room};
use self::state::{Cutting, Done, Entry, Most, Order, Place, State};
use self::workers::Workers;
use super::cutter::{Cutter, Recipe};
use super::identity::{Identity, Key};
use super::index::Data;
use super::reader::Reel;
use crate::config::{ReelStore, ReelStoreStats};
use crate::error::{Error, chain};
use crate::sys::spawn;

/// Sources that are copied at once. Those that are encoded are bounded by the processors.
const MOST_COPYING: usize = 4;
/// From this size on sources are cut one at a time: libav's tables of a ten-hour file take some 200 MB.
const HEAVY: u64 = 1 << 30;
/// How long the beginning of a reel that is encoded is waited for, and the end of a job that was called off.
const ENCODE_WAIT: Duration = Duration::from_secs(2);
/// Most time that jobs are waited for when the last handle is dropped.
const CLOSE: Duration = Duration::from_secs(5);

/// Finds out what is to be made of a source; may look at it.
pub(crate) type What = Box<dyn FnOnce() -> Result<(Recipe, Box<dyn Cutter>), Error> + Send>;

/// A store that is open. Clones are the same one; when the last is dropped its jobs are ended.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Guard>);

/// Closes the store when its last handle goes.
struct Guard(Arc<Inner>);

/// What jobs and reels share with the store.
pub(super) struct Inner {
    settings: ReelStore,
    /// Unset as long as the directory cannot be used.
    dir: OnceLock<Dir>,
    attaching: Mutex<()>,
    state: Mutex<State>,
    /// An entry, or the number of jobs, has changed.
    changed: Condvar,
    /// Somebody waits for the end of a job that was called off.
    #[cfg(test)]
    waits: AtomicBool,
    /// The watcher is to end.
    closing: Condvar,
    pace: Option<Pace>,
    workers: Workers,
    /// Jobs that may run at once.
    most: Most,
    /// The reserve of the disk cannot be kept, and that was said.
    short: AtomicBool,
}

/// Where a reel is kept.
#[derive(Debug)]
pub(super) struct Home {
    store: Weak<Inner>,
    key: Key,
    index: PathBuf,
    used: Arc<AtomicU64>,
}

/// Whether a store's directory is a mistake in the configuration, which waiting does not resolve.
fn is_settled(error: &Error) -> bool {
    let Error::ReelStore { source, .. } = error else { return false };
    matches!(
        source.kind(),
        io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
    )
}

impl Store {
    /// Opens a store, removes what a crash left behind, and keeps within its bytes. A disk that is full, read-only or failing is
    /// no error yet: the directory is tried again when a reel is asked for.
    ///
    /// # Errors
    ///
    /// [`Error::ReelStoreInUse`], [`Error::Config`] for settings that cannot work, and [`Error::ReelStore`] for a directory that
    /// waiting does not mend: a name that a file has, or a place where we may not make one.
    ///
    /// # Blocking
    ///
    /// On the directory.
    pub(crate) fn open(settings: &ReelStore) -> Result<Self, Error> {
        settings.check()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let inner = Arc::new(Inner {
            settings: settings.clone(),
            dir: OnceLock::new(),
            attaching: Mutex::new(()),
            state: Mutex::default(),
            changed: Condvar::new(),
            #[cfg(test)]
            waits: AtomicBool::new(false),
            closing: Condvar::new(),
            pace: settings.bytes_per_second.map(Pace::new),
            workers: Workers::default(),
            most: Most { copying: MOST_COPYING, encoding: cores },
            short: AtomicBool::new(false),
        });
        match inner.attach() {
            Err(error @ Error::ReelStoreInUse { .. }) => return Err(error),
            Err(error) if is_settled(&error) => return Err(error),
            Err(error) => log::warn!("{}", chain(&error)),
            Ok(_) => {}
        }
        room::register(&inner);
        Ok(Self(Arc::new(Guard(inner))))
    }

    /// The reel of a source, as soon as it can be followed: complete, or with its first closed GOP or two seconds written.
    /// Requests for the same source get the same reel; it is cut once.
    ///
    /// # Errors
    ///
    /// What is wrong with the source; [`Error::ReelStore`] if the store cannot take it (with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if only not now: it waits in a queue and will be there later),
    /// [`Error::ReelStoreFull`]; [`Error::Ended`] once the store is closed.
    ///
    /// # Blocking
    ///
    /// On the source and the directory; up to some seconds while others are cut. What has to be encoded is waited for two seconds:
    /// on a busy machine its first ones may take far longer.
    pub(crate) fn prepare(
        &self,
        source: &Path,
        recipe: Recipe,
        cutter: Box<dyn Cutter>,
    ) -> Result<Arc<Reel>, Error> {
        let (send, receive) = crossbeam_channel::bounded(1);
        let done = move |answer| {
            // Nobody is there any more.
            let _ = send.send(answer);
        };
        let encodes = recipe.encodes();
        self.0.0.ask(source, recipe, cutter, Box::new(done));
        let ended = || Err(Error::Ended);
        if !encodes {
            return receive.recv().unwrap_or_else(|_| ended());
        }
        match receive.recv_timeout(ENCODE_WAIT) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(self.0.0.busy()),
            Err(RecvTimeoutError::Disconnected) => ended(),
        }
    }

    /// As [`prepare`](Self::prepare), answered on a thread of the store's, where `what` says what is to be made. `done` must not
    /// block.
    pub(crate) fn prepare_async(&self, source: &Path, what: What, done: Done) {
        let (inner, source) = (self.0.0.clone(), source.to_owned());
        self.0.0.workers.run(move || match what() {
            Ok((recipe, cutter)) => inner.ask(&source, recipe, cutter, done),
            Err(error) => done(Err(error)),
        });
    }

    /// The store in figures.
    pub(crate) fn stats(&self) -> ReelStoreStats {
        let state = self.0.0.state.lock();
        let mut stats = ReelStoreStats {
            orphans_removed: state.orphans_removed,
            orphans_left: state.orphans_left,
            ..ReelStoreStats::default()
        };
        for entry in state.entries.values() {
            stats.bytes += entry.bytes();
            match &entry.place {
                Place::Idle | Place::Opening => stats.reels += 1,
                Place::Open(reel) => {
                    stats.reels += 1;
                    stats.in_use += usize::from(reel.strong_count() > 0);
                }
                Place::Cutting(cutting) => {
                    stats.cutting += 1;
                    stats.in_use += usize::from(cutting.reel.is_some());
                }
                Place::Leaving => {}
            }
        }
        stats
    }

    /// Ends all jobs, removes what they had begun, and gives the directory back. Reels that are held stay readable.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`, for jobs to end. One that does not is left behind, and keeps the directory until it does.
    pub(crate) fn close(&self, deadline: Duration) {
        self.0.0.close(deadline);
    }

    /// Whether somebody has waited for the end of a job that was called off.
    #[cfg(test)]
    pub(super) fn has_waited(&self) -> bool {
        self.0.0.waits.load(Ordering::Acquire)
    }

    /// What the watcher does every two seconds.
    #[cfg(test)]
    pub(super) fn look(&self) {
        self.0.0.look();
    }
}

impl Inner {
    /// The directory; taken now if it was not available before.
    ///
    /// # Errors
    ///
    /// See [`dir::take`].
    fn attach(&self) -> Result<&Dir, Error> {
        if let Some(dir) = self.dir.get() {
            return Ok(dir);
        }
        let _one = self.attaching.lock();
        if let Some(dir) = self.dir.get() {
            return Ok(dir);
        }
        let dir = dir::take(&self.settings)?;
        let contents = dir.look().map_err(|source| self.failed("reading the directory", source))?;
        let (mut removed, mut left) = (0, 0);
        for orphan in contents.orphans {
            match dir::remove(&orphan) {
                Ok(()) => removed += 1,
                Err(error) => {
                    left += 1;
                    log::error!("{}: left behind, cannot be removed: {error}", orphan.display());
                }
            }
        }
        let dir = self.dir.get_or_init(|| dir);
        let mut state = self.state.lock();
        state.orphans_removed += removed;
        state.orphans_left += left;
        for (key, found) in contents.reels {
            if !state.entries.contains_key(&key) {
                state.insert(key, Entry::new(Place::Idle, found.used));
                state.resize(key, found.bytes, 0);
            }
        }
        let going = state.make_room(None, 0, self.settings.max_bytes).unwrap_or_default();
        self.evict(&mut state, going);
        Ok(dir)
    }

    fn ask(self: &Arc<Self>, source: &Path, recipe: Recipe, cutter: Box<dyn Cutter>, done: Done) {
        if self.state.lock().closed {
            return done(Err(Error::Ended));
        }
        let identity = self.attach().and_then(|_| Identity::of(source, recipe));
        match identity {
            Ok(identity) => self.find(identity, cutter, done),
            Err(error) => done(Err(error)),
        }
    }

    /// Finds the reel, or puts it in the queue.
    fn find(self: &Arc<Self>, identity: Identity, cutter: Box<dyn Cutter>, done: Done) {
        let (key, until) = (identity.key, Instant::now() + ENCODE_WAIT);
        let mut state = self.state.lock();
        self.watch(&mut state);
        let answer = loop {
            if state.closed {
                break Err(Error::Ended);
            }
            let Some(entry) = state.entries.get_mut(&key) else {
                return self.order(state, identity, cutter, done);
            };
            match &mut entry.place {
                Place::Idle => {
                    entry.place = Place::Opening;
                    let used = entry.used.clone();
                    state.busy += 1;
                    let opened = MutexGuard::unlocked(&mut state, || self.open(&identity, used));
                    state.busy -= 1;
                    self.opened(&mut state, key, &opened);
                    if let Ok(reel) = opened {
                        break Ok(reel);
                    }
                }
                Place::Open(reel) => match reel.upgrade() {
                    None => entry.place = Place::Idle,
                    Some(reel) if !reel.is_damaged() => break Ok(reel),
                    Some(_) => self.changed.wait(&mut state),
                },
                Place::Cutting(Cutting { reel: Some(reel), .. }) if !reel.is_damaged() => {
                    break Ok(reel.clone());
                }
                // A reel that was found damaged while it grew: its job ends soon.
                Place::Cutting(Cutting { reel: Some(_), .. }) | Place::Opening | Place::Leaving => {
                    self.changed.wait(&mut state);
                }
                // The same of one that was called off and shows no reel any more: its end is no answer to this request.
                Place::Cutting(cutting) if cutting.running && cutting.cancel.load(Ordering::Acquire) => {
                    #[cfg(test)]
                    self.waits.store(true, Ordering::Release);
                    if self.changed.wait_until(&mut state, until).timed_out() {
                        break Err(self.busy());
                    }
                }
                Place::Cutting(cutting) if cutting.heavy && !cutting.running => break Err(self.busy()),
                Place::Cutting(cutting) => return cutting.waiting.push((Instant::now(), done)),
            }
        };
        drop(state);
        if let Ok(reel) = &answer {
            reel.note_source(&identity.path, identity.facts);
        }
        done(answer);
    }

    /// Has a source cut.
    fn order(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        identity: Identity,
        cutter: Box<dyn Cutter>,
        done: Done,
    ) {
        let (key, heavy) = (identity.key, identity.facts.size >= HEAVY);
        let cancel = Arc::new(AtomicBool::new(false));
        let waiting = vec![(Instant::now(), done)];
        let cutting = Cutting { cancel: cancel.clone(), heavy, running: false, reel: None, waiting };
        state.insert(key, Entry::new(Place::Cutting(cutting), dir::micros(SystemTime::now())));
        state.queue.push_back(Order { identity, cutter, cancel, heavy });
        while let Some(order) = state.next_order(self.most) {
            let started = self.clone();
            let (key, kinds) = (order.identity.key, order.kinds());
            let spawned = spawn("reel-cut", job::STACK, move || started.work(order));
            if let Err(source) = spawned {
                state.ended(kinds);
                let error = Error::System { what: "no thread to cut a reel", source: source.into() };
                self.give_up(state, key, &error);
                return;
            }
        }
        self.turn_away(state, |cutting, _| cutting.heavy);
    }

    /// Tells those who wait for a job that has not begun, and whom `choose` chooses, that it will take a while.
    fn turn_away(&self, mut state: MutexGuard<'_, State>, choose: impl Fn(&Cutting, Instant) -> bool) {
        let mut away = Vec::new();
        for entry in state.entries.values_mut() {
            if let Place::Cutting(cutting) = &mut entry.place
                && !cutting.running
            {
                let waiting = std::mem::take(&mut cutting.waiting);
                for (since, done) in waiting {
                    if choose(cutting, since) {
                        away.push(done);
                    } else {
                        cutting.waiting.push((since, done));
                    }
                }
            }
        }
        drop(state);
        away.into_iter().for_each(|done| done(Err(self.busy())));
    }

    /// A job could not begin or came to nothing.
    fn give_up(&self, mut state: MutexGuard<'_, State>, key: Key, error: &Error) {
        let entry = state.remove(key);
        drop(state);
        self.changed.notify_all();
        if let Some(Entry { place: Place::Cutting(cutting), .. }) = entry {
            if let Some(reel) = cutting.reel {
                reel.fail(error.clone());
            }
            cutting.waiting.into_iter().for_each(|(_, done)| done(Err(error.clone())));
        }
    }

    /// Opens a complete reel.
    fn open(self: &Arc<Self>, identity: &Identity, used: Arc<AtomicU64>) -> Result<Arc<Reel>, Error> {
        let (dir, key) = (self.attach()?, identity.key);
        let index = dir.index(key)?;
        let (path, file, size) = match index.data {
            Data::Own(size) => (dir.name(key, Part::Data), None, size),
            Data::Source(size) => (identity.path.clone(), Some(&identity.file), size),
        };
        let damaged = |reason: String| Error::ReelDamaged { path: path.clone(), reason };
        let unread = |error: io::Error| damaged(format!("it cannot be read: {error}"));
        let file = file.map_or_else(|| File::open(&path), File::try_clone).map_err(unread)?;
        let now = file.metadata().map_err(unread)?.len();
        if now != size {
            return Err(damaged(format!("it has {now} bytes, not {size}")));
        }
        let reel = Arc::new(Reel::from_index(path, file, index));
        reel.note_source(&identity.path, identity.facts);
        let home = self.home(dir, key, used);
        home.touch();
        reel.settle(home);
        Ok(reel)
    }

    /// Takes note of how opening a reel went; one that is damaged is removed.
    fn opened(&self, state: &mut MutexGuard<'_, State>, key: Key, opened: &Result<Arc<Reel>, Error>) {
        match opened {
            Ok(reel) => {
                if let Some(entry) = state.entries.get_mut(&key) {
                    entry.place = Place::Open(Arc::downgrade(reel));
                }
                self.changed.notify_all();
            }
            Err(error) => {
                log::warn!("{}: it is cut anew", chain(error));
                self.purge(state, key);
            }
        }
    }

    fn home(self: &Arc<Self>, dir: &Dir, key: Key, used: Arc<AtomicU64>) -> Home {
        Home { store: Arc::downgrade(self), key, index: dir.name(key, Part::Index), used }
    }

    /// Removes the files of reels that are not in use and that were marked as leaving; `false` if some cannot be removed.
    /// Those stay.
    fn evict(&self, state: &mut MutexGuard<'_, State>, keys: Vec<Key>) -> bool {
        let mut all = true;
        for key in keys {
            if self.remove(state, key) {
                state.remove(key);
            } else {
                all = false;
                if let Some(entry) = state.entries.get_mut(&key) {
                    entry.place = Place::Idle;
                }
            }
            self.changed.notify_all();
        }
        all
    }

    /// Forgets a reel that cannot be played, whether its files can be removed or not.
    fn purge(&self, state: &mut MutexGuard<'_, State>, key: Key) {
        if let Some(entry) = state.entries.get_mut(&key) {
            entry.place = Place::Leaving;
        }
        self.remove(state, key);
        state.remove(key);
        self.changed.notify_all();
    }

    fn remove(&self, state: &mut MutexGuard<'_, State>, key: Key) -> bool {
        let Some(dir) = self.dir.get() else { return false };
        if state.released {
            return false;
        }
        state.busy += 1;
        let removed = MutexGuard::unlocked(state, || dir.remove(key));
        state.busy -= 1;
        if let Err(error) = &removed {
            log::warn!("reel store {}: a reel cannot be removed: {error}", self.settings.dir.display());
        }
        removed.is_ok()
    }

    fn close(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let mut state = self.state.lock();
        state.closed = true;
        let mut waiting = Vec::new();
        let queued: Vec<_> = std::mem::take(&mut state.queue).into_iter().collect();
        for order in &queued {
            if let Some(Entry { place: Place::Cutting(cutting), .. }) = state.remove(order.identity.key) {
                waiting.extend(cutting.waiting);
            }
        }
        for entry in state.entries.values() {
            if let Place::Cutting(cutting) = &entry.place {
                cutting.cancel.store(true, Ordering::Release);
            }
        }
        self.changed.notify_all();
        self.closing.notify_all();
        self.workers.close();
        MutexGuard::unlocked(&mut state, || {
            drop(queued);
            waiting.into_iter().for_each(|(_, done)| done(Err(Error::Ended)));
        });
        while !self.release(&mut state) {
            if self.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        if !self.release(&mut state) {
            let dir = self.settings.dir.display();
            log::error!("reel store {dir}: {} jobs did not end in time", state.running);
        }
    }

    /// Gives the directory back, if the store is closed and its files are not in use any more.
    fn release(&self, state: &mut State) -> bool {
        if !state.closed || state.running > 0 || state.busy > 0 {
            return false;
        }
        state.released = true;
        if let Some(dir) = self.dir.get() {
            dir.release();
        }
        true
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        Error::ReelStore { dir: self.settings.dir.clone(), what, source: source.into() }
    }

    fn busy(&self) -> Error {
        self.failed("waiting while others are cut", io::ErrorKind::WouldBlock.into())
    }
}

impl Home {
    /// Takes a reel out of the store that is not what it should be.
    pub(super) fn drop_damaged(&self, reel: &Arc<Reel>) {
        let Some(store) = self.store.upgrade() else { return };
        let mut state = store.state.lock();
        let Some(entry) = state.entries.get_mut(&self.key) else { return };
        match &entry.place {
            Place::Open(kept) if std::ptr::eq(kept.as_ptr(), Arc::as_ptr(reel)) => {}
            Place::Cutting(cutting) => {
                if cutting.reel.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, reel)) {
                    cutting.cancel.store(true, Ordering::Release);
                }
                return;
            }
            _ => return,
        }
        entry.place = Place::Leaving;
        drop(state);
        let (inner, key) = (store.clone(), self.key);
        store.workers.run(move || {
            let mut state = inner.state.lock();
            inner.purge(&mut state, key);
        });
    }

    /// The reel is used no more.
    pub(super) fn let_go(&self) {
        self.touch();
    }

    fn touch(&self) {
        self.used.store(dir::micros(SystemTime::now()), Ordering::Relaxed);
        dir::touch(&self.index);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Who closed it has waited already.
        if !self.0.state.lock().closed {
            self.0.close(CLOSE);
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Guard").field(&self.0.settings).finish()
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("settings", &self.settings).finish_non_exhaustive()
    }
}
