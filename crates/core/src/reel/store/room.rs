//! Room on the disk: what a store leaves free, and what it gives up for recordings.
//!
//! In: jobs that want to write, the watcher, and recordings whose disk is full. Out: unused reels go, the longest unused
//! first, then jobs end. What is in a store can be made again, what is recorded cannot.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Inner;
use super::dir::{self, Part};
use super::state::Place;
use crate::error::Error;
use crate::sys::FileId;

/// The stores of this process.
static STORES: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());
/// How long a recording waits for a reel to be let go of, or a job to end, and how often it looks.
const WAIT: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);
/// What is left free by default: this part of the disk, at most this many bytes.
const DEFAULT_PART: u64 = 20;
const DEFAULT_MOST: u64 = 512 << 20;

/// Takes note of a store.
pub(super) fn register(store: &Arc<Inner>) {
    let mut stores = STORES.lock();
    stores.retain(|store| store.strong_count() > 0);
    stores.push(Arc::downgrade(store));
}

fn stores() -> Vec<Arc<Inner>> {
    STORES.lock().iter().filter_map(Weak::upgrade).collect()
}

/// Whether the file, or the name where there is none, is one of a reel.
///
/// # Blocking
///
/// On the file system.
pub(crate) fn is_stored(path: &Path, id: Option<FileId>) -> bool {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let has_other_names = id.is_some() && fs::metadata(path).is_ok_and(|metadata| metadata.nlink() > 1);
    stores().iter().any(|store| {
        let Some(dir) = store.dir.get() else { return false };
        let parent = real.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let is_in = FileId::at(parent).is_some_and(|id| Some(id) == FileId::at(&dir.path));
        if is_in && real.file_name().is_some_and(dir::is_ours) {
            return true;
        }
        if !has_other_names {
            return false;
        }
        let keys: Vec<_> = store.state.lock().entries.keys().copied().collect();
        let files =
            keys.into_iter().flat_map(|key| [Part::Data, Part::Index].map(|part| dir.name(key, part)));
        files.into_iter().any(|file| FileId::at(&file) == id)
    })
}

/// Has the stores on a disk make room for a recording; `false` if they have nothing to give.
///
/// # Blocking
///
/// Until something is removed, at most some seconds.
pub(crate) fn make_room(device: u64) -> bool {
    let is_there = |store: &Arc<Inner>| {
        store.dir.get().and_then(|dir| FileId::at(&dir.path)).map(FileId::device) == Some(device)
    };
    stores().iter().filter(|store| is_there(store)).any(|store| store.give_way())
}

impl Inner {
    /// Bytes that are missing on the disk if `more` are to be written and the reserve is to be left.
    fn missing(&self, more: u64) -> u64 {
        let Some((free, total)) = self.space() else { return 0 };
        let default = (total / DEFAULT_PART).min(DEFAULT_MOST);
        let reserve = self.settings.keep_free.unwrap_or(default);
        reserve.saturating_add(more).saturating_sub(free)
    }

    /// Bytes of the disk that are free for this program, and all it has; `None` if it does not say.
    fn space(&self) -> Option<(u64, u64)> {
        let facts = rustix::fs::statvfs(&self.dir.get()?.path).ok()?;
        Some((facts.f_bavail.saturating_mul(facts.f_frsize), facts.f_blocks.saturating_mul(facts.f_frsize)))
    }

    /// Makes room for `more` bytes and the reserve.
    ///
    /// # Errors
    ///
    /// [`Error::ReelStore`] if all reels that may go are not enough; then none of them goes.
    pub(super) fn leave_room(&self, more: u64) -> Result<(), Error> {
        loop {
            let missing = self.missing(more);
            if missing == 0 {
                return Ok(());
            }
            // What others fill is not made free by this: then the reels stay.
            let is_enough = self.state.lock().idle_bytes() >= missing;
            if !is_enough || !self.remove_oldest() {
                return Err(self.no_room());
            }
        }
    }

    /// Removes the reel that was unused for the longest time; `false` if there is none.
    pub(super) fn remove_oldest(&self) -> bool {
        let mut state = self.state.lock();
        let Some(oldest) = state.oldest() else { return false };
        self.evict(&mut state, vec![oldest])
    }

    /// Keeps the reserve while others fill the disk. Jobs may go on until half of it is gone.
    pub(super) fn keep_reserve(&self) {
        if self.dir.get().is_none() {
            return;
        }
        if self.leave_room(0).is_ok() {
            self.short.store(false, Ordering::Relaxed);
            return;
        }
        let missing = self.missing(0);
        if !self.short.swap(true, Ordering::Relaxed) {
            let dir = self.settings.dir.display();
            log::warn!(
                "{dir}: what is to stay free on the disk lacks {missing} bytes, more than all unused reels have"
            );
        }
        if self.space().is_some_and(|(free, _)| missing > free) {
            self.end_jobs();
        }
    }

    /// Asks all jobs to end, because there is no room for what they write.
    fn end_jobs(&self) {
        let mut state = self.state.lock();
        let mut keys = Vec::new();
        for (key, entry) in &state.entries {
            if let Place::Cutting(cutting) = &entry.place
                && cutting.running
            {
                cutting.cancel.store(true, Ordering::Release);
                keys.push(*key);
            }
        }
        state.no_room.extend(keys);
    }

    /// Gives up a reel, or the jobs that run. Where all reels are in use it waits for one that is not any more: what is played
    /// or followed goes when the last stream lets go of it.
    fn give_way(&self) -> bool {
        if self.remove_oldest() {
            return true;
        }
        let free = || self.space().map(|(free, _)| free);
        let before = free();
        self.end_jobs();
        let until = Instant::now() + WAIT;
        while Instant::now() < until && !self.state.lock().entries.is_empty() {
            if self.remove_oldest() || free() > before {
                return true;
            }
            std::thread::sleep(LOOK);
        }
        false
    }

    pub(super) fn no_room(&self) -> Error {
        self.failed("leaving room on the disk", std::io::ErrorKind::StorageFull.into())
    }
}
