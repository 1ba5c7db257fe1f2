//! Cutting: one source becomes one reel, on a thread of its own.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::Inner;
use super::dir::{self, Dir, Part};
use super::state::{Cutting, Entry, Order, Place, State};
use crate::error::{Error, chain};
use crate::lap::{LapFacts, Step};
use crate::reel::cutter::{Cut, Cutter};
use crate::reel::foreign::{Misfit, Progress, Scan};
use crate::reel::identity::{Identity, Key};
use crate::reel::index::Data;
use crate::reel::note::Note;
use crate::reel::reader::Reel;
use crate::reel::writer::{Room, Writer};

/// Stack of a job: libav's demuxers and parsers need a few tens of kilobytes, its encoders some hundreds.
pub(super) const STACK: usize = 2 << 20;

/// What a job has made.
struct Made {
    reel: Arc<Reel>,
    data: Data,
}

impl Inner {
    /// A job's thread: cuts one source after the other as long as any waits.
    pub(super) fn work(self: Arc<Self>, first: Order) {
        crate::sys::yield_to_others(crate::sys::Leave::Most);
        let mut next = Some(first);
        while let Some(order) = next.take() {
            let (key, kinds) = (order.identity.key, order.kinds());
            // What was asked is answered within; here only the count must be right whatever happens.
            let run = AssertUnwindSafe(|| self.run(order));
            if std::panic::catch_unwind(run).is_err() {
                log::error!("telling of a reel panicked");
            }
            let mut state = self.state.lock();
            state.ended(kinds);
            state.no_room.remove(&key);
            next = state.next_order(self.most);
            self.release(&mut state);
            self.changed.notify_all();
        }
    }

    fn run(self: &Arc<Self>, order: Order) {
        let key = order.identity.key;
        let Order { identity, cutter, cancel, .. } = order;
        let job = Job { inner: self, identity: &identity, cancel: &cancel };
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| job.run(cutter)))
            .unwrap_or_else(|panic| Err(Error::Panicked { message: crate::sys::panic_message(&*panic) }));
        if let Err(error) = outcome {
            if let Some(dir) = self.dir.get() {
                dir.discard(key);
            }
            if matches!(error, Error::ReelStore { .. } | Error::ReelStoreFull { .. }) {
                log::warn!("{}: {}", identity.path.display(), chain(&error));
            }
            self.give_up(self.state.lock(), key, &error);
        }
    }

    /// The reel can be followed: all who wait get it.
    fn followable(&self, key: Key, reel: &Arc<Reel>) {
        let mut state = self.state.lock();
        let waiting = match state.cutting(key) {
            Some(cutting) => {
                cutting.reel = Some(reel.clone());
                std::mem::take(&mut cutting.waiting)
            }
            None => Vec::new(),
        };
        drop(state);
        waiting.into_iter().for_each(|(_, done)| done(Ok(reel.clone())));
    }
}

impl State {
    fn cutting(&mut self, key: Key) -> Option<&mut Cutting> {
        match &mut self.entries.get_mut(&key)?.place {
            Place::Cutting(cutting) => Some(cutting),
            _ => None,
        }
    }
}

/// One source that is being cut.
struct Job<'a> {
    inner: &'a Arc<Inner>,
    identity: &'a Identity,
    cancel: &'a AtomicBool,
}

impl Job<'_> {
    fn run(&self, cutter: Box<dyn Cutter>) -> Result<(), Error> {
        let dir = self.inner.attach()?;
        let scanned = if self.identity.recipe.takes_all_as_it_is() { self.scan()? } else { None };
        let made = match scanned {
            Some(made) => made,
            None => self.cut(dir, cutter)?,
        };
        self.keep(dir, made)
    }

    /// A source that fits as it is; `None` if it has to be cut.
    fn scan(&self) -> Result<Option<Made>, Error> {
        let file = &self.identity.file;
        let Ok(Some(mut scan)) = Scan::open(file) else { return Ok(None) };
        let mut reel: Option<Arc<Reel>> = None;
        let mut told = false;
        loop {
            self.check()?;
            if let Some(pace) = &self.inner.pace {
                pace.wait(1 << 20, self.cancel);
            }
            let facts = match scan.step(file) {
                Ok(Progress::More) => None,
                Ok(Progress::End(facts)) => Some(facts),
                Err(misfit) => {
                    self.unfit(misfit, reel.filter(|_| told));
                    return Ok(None);
                }
            };
            let Some((headers, shift, begin)) = scan.begin() else { continue };
            let reel = match &mut reel {
                Some(reel) => reel,
                none => {
                    let Ok(file) = file.try_clone() else { return Ok(None) };
                    let path = self.identity.path.clone();
                    none.insert(self.settled(Reel::growing(path, file, headers, shift, begin)))
                }
            };
            reel.publish(scan.take());
            if let Some(facts) = facts {
                reel.complete(facts);
                reel.check_from_now_on();
            }
            if !told && (facts.is_some() || scan.is_followable()) {
                told = true;
                self.inner.followable(self.identity.key, reel);
            }
            if facts.is_some() {
                let made = Made { reel: reel.clone(), data: Data::Source(scan.read()) };
                return Ok(Some(made));
            }
        }
    }

    /// What was handed out already grows no further; the same job cuts another one.
    fn unfit(&self, misfit: Misfit, followed: Option<Arc<Reel>>) {
        let reason = match misfit {
            Misfit::Unfit(reason) => reason.to_owned(),
            Misfit::Io(error) => error.to_string(),
        };
        log::info!("{}: cannot be played as it is: {reason}", self.identity.path.display());
        if let Some(reel) = followed {
            self.follow_no_more();
            let path = self.identity.path.clone();
            reel.fail(Error::SourceDamaged { path, reason });
        }
    }

    /// Whoever asks from now on waits for how the job goes on or ends, and is not given a reel that grows no further.
    fn follow_no_more(&self) {
        if let Some(cutting) = self.inner.state.lock().cutting(self.identity.key) {
            cutting.reel = None;
        }
    }

    /// Cuts the source into a file of the store.
    fn cut(&self, dir: &Dir, cutter: Box<dyn Cutter>) -> Result<Made, Error> {
        let key = self.identity.key;
        self.reserve(cutter.estimate())?;
        let mut cut = cutter.open(&self.identity.path, self.cancel).map_err(|error| self.cancelled(error))?;
        self.check()?;
        let file = dir.create(key, Part::Data).map_err(|error| self.failed("creating a file", error))?;
        let writer = Writer::new(dir.name(key, Part::Data), file, cut.headers(), self)?;
        let reel = writer.reel().clone();
        self.settle(&reel);
        let bytes = self.follow(writer, &mut *cut, &reel).inspect_err(|error| {
            self.follow_no_more();
            reel.fail(error.clone());
        })?;
        Ok(Made { reel, data: Data::Own(bytes) })
    }

    /// Writes what the cutter gives.
    fn follow(&self, mut writer: Writer<'_>, cut: &mut dyn Cut, reel: &Arc<Reel>) -> Result<u64, Error> {
        let key = self.identity.key;
        let (mut told, mut lap) = (false, LapFacts::default());
        loop {
            self.check()?;
            match cut.next().map_err(|error| self.cancelled(error))? {
                Step::Tag(tag) => {
                    writer.push(&tag)?;
                    if !told && writer.is_followable() {
                        told = true;
                        self.inner.followable(key, reel);
                    }
                }
                Step::Notice(notice) => {
                    if let Some(note) = Note::of(notice, &self.identity.path) {
                        reel.note(note);
                    }
                }
                // Its headers were asked for before.
                Step::Opened(_) => {}
                Step::Ending(facts) => lap = facts,
                Step::End => {
                    let bytes = writer.finish(lap)?;
                    if !told {
                        self.inner.followable(key, reel);
                    }
                    return Ok(bytes);
                }
            }
        }
    }

    /// Puts a complete reel on the disk for good. If that fails it is still played by those who have it.
    fn keep(&self, dir: &Dir, made: Made) -> Result<(), Error> {
        let key = self.identity.key;
        let kept = self.try_keep(dir, &made);
        let mut state = self.inner.state.lock();
        match kept {
            Ok(bytes) if !made.reel.is_damaged() => {
                state.resize(key, bytes, 0);
                if let Some(entry) = state.entries.get_mut(&key) {
                    entry.place = Place::Open(Arc::downgrade(&made.reel));
                    entry.used.store(dir::micros(SystemTime::now()), Ordering::Relaxed);
                }
                // Before the end of the job becomes visible: from here on the reel is used by none but its players.
                drop(made);
                self.inner.changed.notify_all();
                Ok(())
            }
            Ok(_) => {
                self.inner.purge(&mut state, key);
                Ok(())
            }
            Err(error) => {
                drop(state);
                made.reel.check_from_now_on();
                Err(error)
            }
        }
    }

    fn try_keep(&self, dir: &Dir, made: &Made) -> Result<u64, Error> {
        self.check()?;
        if !self.identity.is_unchanged() {
            made.reel.outdated();
            let path = self.identity.path.clone();
            let reason = "it was changed while it was read".to_owned();
            return Err(Error::SourceDamaged { path, reason });
        }
        let key = self.identity.key;
        let Some(index) = made.reel.to_index(key, made.data) else { return Err(Error::Ended) };
        let (own, data) = match made.data {
            Data::Own(bytes) => (bytes, Some(made.reel.file())),
            Data::Source(_) => (0, None),
        };
        loop {
            match dir.keep(&index, data) {
                Ok(index) => return Ok(own + index),
                Err(error) if error.kind() == io::ErrorKind::StorageFull && self.spare() => {}
                Err(error) => {
                    // Half of it may have its name already.
                    let _ = dir.remove(key);
                    return Err(self.failed("keeping a reel", error));
                }
            }
        }
    }

    /// Makes room for what the reel is expected to become.
    fn reserve(&self, estimate: Option<u64>) -> Result<(), Error> {
        let key = self.identity.key;
        let mut state = self.inner.state.lock();
        let estimate = estimate.unwrap_or_else(|| self.identity.recipe.estimate(self.identity.facts.size));
        let expected = estimate.max(state.known_size(key));
        let max = self.inner.settings.max_bytes;
        let going = state.make_room(Some(key), expected, max).ok_or_else(|| self.full())?;
        state.resize(key, 0, expected);
        self.inner.evict(&mut state, going);
        drop(state);
        self.inner.leave_room(expected)
    }

    fn full(&self) -> Error {
        let settings = &self.inner.settings;
        Error::ReelStoreFull { dir: settings.dir.clone(), max_bytes: settings.max_bytes }
    }

    fn check(&self) -> Result<(), Error> {
        if !self.cancel.load(Ordering::Acquire) {
            return Ok(());
        }
        let no_room = self.inner.state.lock().no_room.contains(&self.identity.key);
        Err(if no_room { self.inner.no_room() } else { Error::Ended })
    }

    /// An error of the cutter, unless it was only told to stop.
    fn cancelled(&self, error: Error) -> Error {
        self.check().err().unwrap_or(error)
    }

    fn settled(&self, reel: Reel) -> Arc<Reel> {
        let reel = Arc::new(reel);
        self.settle(&reel);
        reel
    }

    fn settle(&self, reel: &Reel) {
        let (inner, key) = (self.inner, self.identity.key);
        reel.note_source(&self.identity.path, self.identity.facts);
        let used = inner.state.lock().entries.get(&key).map(|entry: &Entry| entry.used.clone());
        if let (Some(dir), Some(used)) = (inner.dir.get(), used) {
            reel.settle(inner.home(dir, key, used));
        }
    }
}

impl Room for Job<'_> {
    fn grow(&self, bytes: u64) -> Result<(), Error> {
        let key = self.identity.key;
        let mut state = self.inner.state.lock();
        let reserved = state.reserved(key);
        if bytes > reserved {
            let max = self.inner.settings.max_bytes;
            let Some(going) = state.make_room(Some(key), bytes, max) else {
                state.note_too_large(key, bytes);
                return Err(self.full());
            };
            self.inner.evict(&mut state, going);
        }
        let before = state.entries.get(&key).map_or(0, Entry::bytes);
        state.resize(key, bytes, reserved);
        drop(state);
        self.inner.leave_room(bytes.saturating_sub(before))?;
        if let Some(pace) = &self.inner.pace {
            pace.wait(bytes.saturating_sub(before), self.cancel);
        }
        Ok(())
    }

    fn spare(&self) -> bool {
        self.inner.remove_oldest()
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        self.inner.failed(what, source)
    }
}
