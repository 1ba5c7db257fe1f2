//! The directory of a store: its lock, the names in it, what a crash left behind.
//!
//! A reel is `<key>.flv` and `<key>.reel`; what is being written has `.part` behind it. The index is renamed last: where
//! there is one, the data is complete.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{CWD, Timespec, Timestamps, UTIME_NOW};

use super::super::identity::Key;
use super::super::index::{self, Data, Index};
use crate::config::{ReelStore, WhenInUse};
use crate::error::Error;
use crate::sys::LockedFile;

const LOCK: &str = "reels.lock";
/// Directories that are tried within one that is in use.
const SUBDIRECTORIES: [&str; 15] = [
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
];

/// A directory that is ours.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    lock: Mutex<Option<LockedFile>>,
}

/// A reel that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Bytes of its files.
    pub(super) bytes: u64,
    /// When it was last used, in microseconds since 1970.
    pub(super) used: u64,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) reels: HashMap<Key, Found>,
    /// Files without which nothing is missing.
    pub(super) orphans: Vec<PathBuf>,
}

/// A file of a reel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Data,
    Index,
}

impl Part {
    fn extension(self) -> &'static str {
        match self {
            Self::Data => "flv",
            Self::Index => "reel",
        }
    }
}

/// Takes the directory, or one within it; it is made if there is none.
///
/// # Errors
///
/// [`Error::ReelStoreInUse`], and [`Error::ReelStore`] if there is none and none can be made.
pub(super) fn take(settings: &ReelStore) -> Result<Dir, Error> {
    match lock(&settings.dir) {
        Err(Error::ReelStoreInUse { dir }) if settings.when_in_use == WhenInUse::Subdirectory => {
            for name in SUBDIRECTORIES {
                match lock(&settings.dir.join(name)) {
                    Err(Error::ReelStoreInUse { .. }) => {}
                    other => return other,
                }
            }
            Err(Error::ReelStoreInUse { dir })
        }
        other => other,
    }
}

fn lock(path: &Path) -> Result<Dir, Error> {
    let failed = |what| {
        move |source: io::Error| Error::ReelStore { dir: path.to_owned(), what, source: source.into() }
    };
    fs::create_dir_all(path).map_err(failed("making the directory"))?;
    let name = path.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        // A directory that we may not write in can still be read from.
        .or_else(|error| File::open(&name).map_err(|_| error))
        .map_err(failed("opening its lock"))?;
    match LockedFile::take(file).map_err(failed("locking"))? {
        Some(lock) => Ok(Dir { path: path.to_owned(), lock: Mutex::new(Some(lock)) }),
        None => Err(Error::ReelStoreInUse { dir: path.to_owned() }),
    }
}

impl Dir {
    /// Lets others have the directory.
    pub(super) fn release(&self) {
        *self.lock.lock() = None;
    }

    /// The name of a reel's file.
    pub(super) fn name(&self, key: Key, part: Part) -> PathBuf {
        self.path.join(format!("{key}.{}", part.extension()))
    }

    /// The name it has while it is written.
    pub(super) fn temporary(&self, key: Key, part: Part) -> PathBuf {
        self.path.join(format!("{key}.{}.part", part.extension()))
    }

    /// Makes an empty file under the temporary name; it is read and written.
    pub(super) fn create(&self, key: Key, part: Part) -> io::Result<File> {
        let path = self.temporary(key, part);
        remove(&path)?;
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Makes a complete reel stay: the data, if it has any of its own, and the index under their names, on the disk. Gives
    /// the bytes of the index.
    pub(super) fn keep(&self, index: &Index, data: Option<&File>) -> io::Result<u64> {
        let key = index.key;
        let bytes = index::encode(index).map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
        if let Some(data) = data {
            data.sync_all()?;
        }
        let mut file = self.create(key, Part::Index)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        if data.is_some() {
            fs::rename(self.temporary(key, Part::Data), self.name(key, Part::Data))?;
        }
        fs::rename(self.temporary(key, Part::Index), self.name(key, Part::Index))?;
        File::open(&self.path)?.sync_all()?;
        Ok(bytes.len() as u64)
    }

    /// Reads the index of a reel.
    pub(super) fn index(&self, key: Key) -> Result<Index, Error> {
        let path = self.name(key, Part::Index);
        let damaged = |reason: String| Error::ReelDamaged { path: path.clone(), reason };
        let unread = |error: io::Error| damaged(format!("it cannot be read: {error}"));
        let file = File::open(&path).map_err(unread)?;
        let size = file.metadata().map_err(unread)?.len();
        if size > index::LARGEST {
            return Err(damaged("the index is too large".to_owned()));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(index::LARGEST).read_to_end(&mut bytes).map_err(unread)?;
        let index = index::decode(&Bytes::from(bytes)).map_err(|what| damaged(what.to_owned()))?;
        if index.key != key {
            return Err(damaged("the index is another reel's".to_owned()));
        }
        Ok(index)
    }

    /// Removes all files of a reel, the index first: without it the data is an orphan.
    pub(super) fn remove(&self, key: Key) -> io::Result<()> {
        let index = remove(&self.name(key, Part::Index));
        index.and(remove(&self.name(key, Part::Data)))
    }

    /// Removes what a reel that did not become complete left behind.
    pub(super) fn discard(&self, key: Key) {
        for part in [Part::Index, Part::Data] {
            if let Err(error) = remove(&self.temporary(key, part)) {
                log::warn!("reel store {}: {error}", self.path.display());
            }
        }
    }

    /// What is in the directory.
    pub(super) fn look(&self) -> io::Result<Contents> {
        let mut data: HashMap<Key, u64> = HashMap::new();
        let mut indexes = Vec::new();
        let mut contents = Contents::default();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((key, part, is_temporary)) = name.to_str().and_then(parse_name) else { continue };
            let metadata = match entry.metadata() {
                Ok(metadata) if metadata.is_file() => metadata,
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match part {
                _ if is_temporary => contents.orphans.push(entry.path()),
                Part::Data => {
                    data.insert(key, metadata.len());
                }
                Part::Index => indexes.push((key, metadata)),
            }
        }
        for (key, metadata) in indexes {
            let own = match self.peek(key) {
                Some((len, Data::Own(bytes))) if len == metadata.len() && data.get(&key) == Some(&bytes) => {
                    bytes
                }
                Some((len, Data::Source(_))) if len == metadata.len() => 0,
                _ => {
                    contents.orphans.push(self.name(key, Part::Index));
                    continue;
                }
            };
            if own > 0 {
                data.remove(&key);
            }
            let used = metadata.modified().map_or(0, micros);
            contents.reels.insert(key, Found { bytes: own + metadata.len(), used });
        }
        contents.orphans.extend(data.into_keys().map(|key| self.name(key, Part::Data)));
        Ok(contents)
    }

    fn peek(&self, key: Key) -> Option<(u64, Data)> {
        let mut start = [0; index::PEEK];
        File::open(self.name(key, Part::Index)).ok()?.read_exact(&mut start).ok()?;
        index::peek(&start)
    }
}

/// Whether a name in a store's directory is one of its own.
pub(super) fn is_ours(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name == LOCK || parse_name(name).is_some())
}

/// The key, the file and whether the name is a temporary one, of a name that is ours.
fn parse_name(name: &str) -> Option<(Key, Part, bool)> {
    let (whole, is_temporary) = match name.strip_suffix(".part") {
        Some(rest) => (rest, true),
        None => (name, false),
    };
    let (key, extension) = whole.split_once('.')?;
    let part = [Part::Data, Part::Index].into_iter().find(|part| part.extension() == extension)?;
    Some((Key::parse(key)?, part, is_temporary))
}

/// Removes a file, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Marks a file as used now.
pub(super) fn touch(path: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    // Where it cannot be done, the reel only looks older than it is.
    let _ = rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::empty());
}

/// Microseconds since 1970.
pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
