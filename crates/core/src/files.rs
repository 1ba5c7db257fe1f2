//! Which files the streams of this process read, and which they write: nothing that is read or written is written over.
//!
//! In: what streams are made from, and the recordings they make. Out: refusals. Files are told apart by device and inode, so
//! links do not pass. Everything here may be called from any thread, and looks at the file system where it says so.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::FlockOperation;

use crate::error::Error;
use crate::playlist::Playlist;
use crate::reel;
use crate::sys::FileId;

/// What the streams of all engines read.
static READ: Mutex<Vec<Weak<StreamFiles>>> = Mutex::new(Vec::new());
/// What they write.
static WRITTEN: Mutex<Option<HashSet<FileId>>> = Mutex::new(None);

/// What a source reads.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Reads {
    /// Files, lists apart.
    pub files: Vec<PathBuf>,
    /// Lists, with all their items, whenever they are added.
    pub playlists: Vec<Playlist>,
    /// The name it is made from, if that is published.
    pub published: Option<String>,
    /// The names of what else is published and heard in it.
    pub heard: Vec<String>,
}

/// The files of one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamFiles {
    /// What it is made from, by the number of its source: while one replaces another there are two.
    made_from: Mutex<Vec<(u64, Reads)>>,
    /// What it plays now, by lane of its sources: an item may have been taken off its list.
    now: Mutex<Vec<Weak<Played>>>,
    /// Its own recordings.
    recordings: Mutex<Vec<FileId>>,
    /// How many these are, so that a stream without any looks at no file.
    recording: AtomicUsize,
    /// Nothing is read any more.
    over: AtomicBool,
}

/// The file that one lane of a source plays now, as long as the source has it.
#[derive(Debug, Default)]
pub(crate) struct Played(Mutex<Option<PathBuf>>);

impl Played {
    /// Says what it plays from now on.
    pub(crate) fn set(&self, path: &Path) {
        *self.0.lock() = Some(path.to_owned());
    }

    /// It plays nothing any more.
    pub(crate) fn clear(&self) {
        *self.0.lock() = None;
    }
}

/// Whose files a file is among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InUse {
    /// The stream that is to be recorded is made from it.
    Source,
    /// Another stream plays it, or may do so.
    Played,
    /// It is being recorded.
    Recorded,
    /// A reel store keeps it.
    Reel,
}

impl InUse {
    /// For an error's text.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Source => "is a file the stream is made from",
            Self::Played => "is being played by a stream",
            Self::Recorded => "is being recorded",
            Self::Reel => "belongs to a reel store",
        }
    }
}

impl From<InUse> for io::Error {
    fn from(in_use: InUse) -> Self {
        let kind = match in_use {
            InUse::Source | InUse::Reel => io::ErrorKind::InvalidInput,
            InUse::Played | InUse::Recorded => io::ErrorKind::ResourceBusy,
        };
        Self::new(kind, in_use.reason())
    }
}

impl StreamFiles {
    /// The files of a stream that is made from these; they count until [`end`](Self::end).
    pub(crate) fn new(reads: Reads) -> Arc<Self> {
        let files = Arc::new(Self::default());
        files.come(0, reads);
        files
    }

    /// Source number `source` of the stream is made from these, until it is [settled](Self::settle) that it is not.
    pub(crate) fn come(self: &Arc<Self>, source: u64, reads: Reads) {
        let has_files = !reads.files.is_empty() || !reads.playlists.is_empty();
        self.made_from.lock().push((source, reads));
        if has_files {
            let mut read = READ.lock();
            read.retain(|files| files.strong_count() > 0);
            let me = Arc::downgrade(self);
            if !read.iter().any(|files| files.ptr_eq(&me)) {
                read.push(me);
            }
        }
    }

    /// Source number `source` is on the air now in place of those before it, or it is not used after all. A later one may be on its way.
    pub(crate) fn settle(&self, source: u64, is_used: bool) {
        let stays = |number: u64| if is_used { number >= source } else { number != source };
        self.made_from.lock().retain(|(number, _)| stays(*number));
    }

    /// The stream has ended.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// One more lane of one of its sources. Several are there at once: a fallback is opened while its source plays.
    pub(crate) fn lane(&self) -> Arc<Played> {
        let played = Arc::default();
        let mut now = self.now.lock();
        now.retain(|played| played.strong_count() > 0);
        now.push(Arc::downgrade(&played));
        played
    }

    /// Whether the stream reads the file, or may read it later.
    fn reads(&self, id: FileId) -> bool {
        if self.over.load(Ordering::Acquire) {
            return false;
        }
        let is_it = |path: &Path| FileId::at(path) == Some(id);
        let lanes: Vec<_> = self.now.lock().iter().filter_map(Weak::upgrade).collect();
        let now: Vec<_> = lanes.iter().filter_map(|played| played.0.lock().clone()).collect();
        let made_from = self.made_from.lock().clone();
        let mut reads = made_from.iter().map(|(_, reads)| reads);
        now.iter().any(|path| is_it(path))
            || reads.any(|reads| {
                reads.files.iter().any(|path| is_it(path))
                    || reads.playlists.iter().any(|list| {
                        list.own_file().as_deref().is_some_and(is_it)
                            || list.items().iter().any(|item| is_it(&item.path))
                    })
            })
    }

    /// Refuses the name the stream is made from: it would feed itself.
    ///
    /// # Errors
    ///
    /// [`Error::FeedsItself`].
    pub(crate) fn refuse_name(&self, name: &str) -> Result<(), Error> {
        let is_it = |reads: &Reads| reads.published.iter().chain(&reads.heard).any(|read| read == name);
        if self.made_from.lock().iter().any(|(_, reads)| is_it(reads)) {
            return Err(Error::FeedsItself { name: name.to_owned() });
        }
        Ok(())
    }

    /// What the stream itself must not write to.
    ///
    /// # Blocking
    ///
    /// On looking at every file of the stream's lists.
    pub(crate) fn own(&self, path: &Path, id: Option<FileId>) -> Result<(), InUse> {
        if id.is_some_and(|id| self.reads(id)) {
            return Err(InUse::Source);
        }
        if reel::is_stored(path, id) { Err(InUse::Reel) } else { Ok(()) }
    }

    /// Refuses an item that is being recorded: by this stream it would never end, and by another one it is not whole yet.
    ///
    /// # Errors
    ///
    /// [`Error::FileInUse`].
    ///
    /// # Blocking
    ///
    /// On looking at the file, while anything is recorded.
    pub(crate) fn refuse_recording(&self, path: &Path) -> Result<(), Error> {
        // Who names the one file of a stream knows what it is.
        let is_named = |(_, reads): &(u64, Reads)| reads.files.iter().any(|file| file == path);
        let is_item = !self.made_from.lock().iter().any(is_named);
        if self.recording.load(Ordering::Acquire) == 0 && !is_item {
            return Ok(());
        }
        let is_any = WRITTEN.lock().as_ref().is_some_and(|written| !written.is_empty());
        let Some(id) = is_any.then(|| FileId::at(path)).flatten() else { return Ok(()) };
        if self.recordings.lock().contains(&id) || (is_item && is_written(id)) {
            return Err(Error::FileInUse { path: path.to_owned(), reason: InUse::Recorded.reason() });
        }
        Ok(())
    }
}

/// Whether a recording of this process writes to the file.
pub(crate) fn is_written(id: FileId) -> bool {
    WRITTEN.lock().as_ref().is_some_and(|written| written.contains(&id))
}

/// Refuses a file that any stream of this process reads.
///
/// # Blocking
///
/// On looking at every file of all lists that are played.
pub(crate) fn refuse_played(id: FileId) -> Result<(), InUse> {
    let streams: Vec<_> = READ.lock().iter().filter_map(Weak::upgrade).collect();
    if streams.iter().any(|files| files.reads(id)) { Err(InUse::Played) } else { Ok(()) }
}

/// Refuses a name that is not to be given to another file: what it leads to is played or recorded.
///
/// # Blocking
///
/// As [`refuse_played`].
pub(crate) fn refuse_replacing(path: &Path) -> Result<(), InUse> {
    let id = FileId::at(path);
    if reel::is_stored(path, id) {
        return Err(InUse::Reel);
    }
    let Some(id) = id else { return Ok(()) };
    if is_written(id) || File::open(path).is_ok_and(|file| is_locked(&file)) {
        return Err(InUse::Recorded);
    }
    refuse_played(id)
}

/// Whether nothing reads or writes a file: no stream or recording of this process, and no recording of another one.
///
/// # Blocking
///
/// As [`refuse_played`].
pub(crate) fn is_free(path: &Path, facts: &fs::Metadata) -> bool {
    let id = FileId::of(facts);
    !is_written(id) && refuse_played(id).is_ok() && !File::open(path).is_ok_and(|file| is_locked(&file))
}

/// Whether another process has locked the file, or another recording of this one.
fn is_locked(file: &File) -> bool {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            unlock(file);
            false
        }
        Err(errno) => errno == rustix::io::Errno::WOULDBLOCK,
    }
}

/// Closing the file would not be enough: a process that the program starts has it, too, for a moment.
fn unlock(file: &File) {
    if let Err(errno) = rustix::fs::flock(file, FlockOperation::Unlock) {
        log::debug!("a recording's lock: {errno}");
    }
}

/// A file that nothing else writes as long as it is held: not in this process, nor by a recording of another one.
#[derive(Debug)]
pub(crate) struct WrittenFile {
    file: File,
    id: FileId,
    owner: Option<Arc<StreamFiles>>,
    /// Its name, if it was made for this and nothing is in it yet.
    fresh: Option<PathBuf>,
}

impl WrittenFile {
    /// Takes a file that was opened to be written; `fresh` is its name if it was made for that.
    ///
    /// # Errors
    ///
    /// [`InUse::Recorded`]; what the file system said.
    pub(crate) fn take(file: File, fresh: Option<PathBuf>, owner: &Arc<StreamFiles>) -> io::Result<Self> {
        let id = FileId::of(&file.metadata()?);
        if !WRITTEN.lock().get_or_insert_default().insert(id) {
            return Err(InUse::Recorded.into());
        }
        owner.recordings.lock().push(id);
        owner.recording.fetch_add(1, Ordering::AcqRel);
        let mut taken = Self { file, id, owner: Some(owner.clone()), fresh };
        match rustix::fs::flock(&taken.file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                taken.keep();
                return Err(InUse::Recorded.into());
            }
            // Not every file system has locks.
            Err(errno) => log::debug!("a recording is not locked: {errno}"),
            Ok(()) => {}
        }
        Ok(taken)
    }

    /// A device, which has no owner.
    pub(crate) fn device(file: File) -> io::Result<Self> {
        let id = FileId::of(&file.metadata()?);
        Ok(Self { file, id, owner: None, fresh: None })
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Something is in it: it stays.
    pub(crate) fn keep(&mut self) {
        self.fresh = None;
    }
}

impl Deref for WrittenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for WrittenFile {
    fn drop(&mut self) {
        // What never became a recording leaves no empty file behind, unless the name is another file's by now.
        if let Some(path) = &self.fresh
            && FileId::at(path) == Some(self.id)
            && let Err(error) = fs::remove_file(path)
        {
            log::warn!("{}: empty, and cannot be removed: {error}", path.display());
        }
        if let Some(owner) = &self.owner {
            unlock(&self.file);
            owner.recordings.lock().retain(|id| *id != self.id);
            owner.recording.fetch_sub(1, Ordering::AcqRel);
            if let Some(written) = WRITTEN.lock().as_mut() {
                written.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(path: &Path) -> Reads {
        Reads { files: vec![path.to_owned()], ..Reads::default() }
    }

    #[test]
    fn a_source_that_takes_over_leaves_the_files_of_one_that_is_being_opened() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = ["first", "second", "third", "fourth"].map(|name| directory.path().join(name));
        files.iter().for_each(|path| fs::write(path, b"media").expect("a file"));
        let ids = files.each_ref().map(|path| FileId::at(path).expect("it is there"));
        let stream = StreamFiles::new(reads(&files[0]));
        let seen = || ids.map(|id| stream.reads(id));
        stream.come(1, reads(&files[1]));
        stream.come(2, reads(&files[2]));
        stream.settle(1, true);
        assert_eq!(seen(), [false, true, true, false], "the third is on its way");
        stream.come(3, reads(&files[3]));
        stream.settle(2, false);
        assert_eq!(seen(), [false, true, false, true], "it is not used after all");
        stream.settle(3, true);
        assert_eq!(seen(), [false, false, false, true]);
    }

    #[test]
    fn what_each_lane_plays_counts_as_long_as_it_does() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = ["picture", "slate"].map(|name| directory.path().join(name));
        files.iter().for_each(|path| fs::write(path, b"media").expect("a file"));
        let ids = files.each_ref().map(|path| FileId::at(path).expect("it is there"));
        let stream = StreamFiles::new(Reads::default());
        let seen = || ids.map(|id| stream.reads(id));
        let (picture, slate) = (stream.lane(), stream.lane());
        picture.set(&files[0]);
        slate.set(&files[1]);
        assert_eq!(seen(), [true, true], "one is opened while the other plays");
        drop(slate);
        assert_eq!(seen(), [true, false]);
        picture.clear();
        assert_eq!(seen(), [false, false], "it is told to stop");
    }
}
