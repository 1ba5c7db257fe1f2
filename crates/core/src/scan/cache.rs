//! Facts of files that were looked at before, in memory.

use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use flowcast_av::Interrupt;
use parking_lot::Mutex;

use super::scanner::{self, ScanOptions};
use crate::error::Error;
use crate::verdict::{Facts, Reach};

/// Files remembered at most, about a kilobyte each; the one not asked for the longest is forgotten.
const MOST: usize = 1024;

static CACHE: LazyLock<Mutex<Cache<PathBuf, Facts>>> = LazyLock::new(|| Mutex::new(Cache::default()));

/// What a file is like, by its packets: opened, and every packet read once without decoding.
///
/// Facts of the newest 1,024 files are kept in memory by path, size and time of change, so asking again costs one look at the
/// file's metadata; a file that has changed is scanned again. A scan that did not reach the end ([`Facts::reach`]) is not
/// kept. Two threads that ask for the same new file at once both scan it.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod verdict { pub use flowcast_core::{*, verdict::*}; } }
/// use flowcast::verdict::Interrupt;
/// use flowcast::Platform;
/// use flowcast::verdict::{ScanOptions, Strictness, facts, verdict};
///
/// let facts = facts("intro.mp4".as_ref(), &ScanOptions::default(), &Interrupt::new())?;
/// let verdict = verdict(&facts, &Platform::youtube(), Strictness::Lenient);
/// println!("{}", verdict.action);
/// for reason in &verdict.reasons {
///     println!("{}: {}", reason.code, reason.detail);
/// }
/// # Ok::<(), flowcast::Error>(())
/// ```
///
/// # Errors
/// [`Error::Media`]: the file cannot be opened or read, `cancel` ended it, or the deadline passed before anything was read.
/// [`verdict_of_failure`](crate::verdict_of_failure) makes a verdict of that.
///
/// # Blocking
/// On reading the whole file, for [`ScanOptions::deadline`] at most; `cancel` ends it earlier.
pub fn facts(path: &Path, options: &ScanOptions, cancel: &Interrupt) -> Result<Facts, Error> {
    let key = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = Stamp::of(path);
    if let Some(before) = before
        && let Some(known) = CACHE.lock().get(&key, before)
    {
        return Ok(Facts::clone(&known));
    }
    let facts = Arc::new(scanner::scan(path, options, cancel)?);
    // What was changed while it was read is neither the old file nor the new one.
    if let Some(stamp) = before.filter(|stamp| Some(*stamp) == Stamp::of(path))
        && facts.reach == Reach::Whole
    {
        CACHE.lock().put(key, stamp, facts.clone());
    }
    Ok(Arc::unwrap_or_clone(facts))
}

/// What tells that a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: SystemTime,
}

impl Stamp {
    /// That of the file there is now; `None` if there is none.
    ///
    /// # Blocking
    ///
    /// On the file's metadata.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        Some(Self { size: data.len(), modified: data.modified().ok()? })
    }
}

/// What is known of files, as long as they do not change.
#[derive(Debug)]
pub(crate) struct Cache<K, T> {
    files: HashMap<K, Entry<T>>,
    /// Counts what was asked.
    turn: u64,
}

#[derive(Debug)]
struct Entry<T> {
    stamp: Stamp,
    facts: Arc<T>,
    asked: u64,
}

impl<K, T> Default for Cache<K, T> {
    fn default() -> Self {
        Self { files: HashMap::new(), turn: 0 }
    }
}

impl<K: Hash + Eq + Clone, T> Cache<K, T> {
    pub(crate) fn get(&mut self, key: &K, stamp: Stamp) -> Option<Arc<T>> {
        self.turn += 1;
        let entry = self.files.get_mut(key).filter(|entry| entry.stamp == stamp)?;
        entry.asked = self.turn;
        Some(entry.facts.clone())
    }

    pub(crate) fn put(&mut self, key: K, stamp: Stamp, facts: Arc<T>) {
        self.turn += 1;
        if self.files.len() >= MOST
            && !self.files.contains_key(&key)
            && let Some(oldest) = self.files.iter().min_by_key(|(_, entry)| entry.asked)
        {
            let oldest = oldest.0.clone();
            self.files.remove(&oldest);
        }
        self.files.insert(key, Entry { stamp, facts, asked: self.turn });
    }
}

impl Facts {
    /// What a file is like: [`facts`] with the default options.
    ///
    /// # Errors
    ///
    /// [`Error::Media`]: the file cannot be opened or read, or nothing was read within two minutes.
    ///
    /// # Blocking
    ///
    /// On reading the whole file, for two minutes at most.
    pub fn scan(path: impl AsRef<Path>) -> Result<Self, Error> {
        facts(path.as_ref(), &ScanOptions::default(), &Interrupt::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_forgets_what_nobody_asks_for() {
        let mut cache: Cache<PathBuf, Facts> = Cache::default();
        let stamp = Stamp { size: 1, modified: SystemTime::UNIX_EPOCH };
        let path = |number: usize| PathBuf::from(format!("{number}.mp4"));
        for number in 0..MOST + 10 {
            cache.put(path(number), stamp, Arc::default());
            assert!(cache.get(&path(0), stamp).is_some(), "asked for all the time");
        }
        assert_eq!(cache.files.len(), MOST);
        assert!(cache.get(&path(1), stamp).is_none());
        let changed = Stamp { size: 2, ..stamp };
        assert!(cache.get(&path(0), changed).is_none());
    }
}
