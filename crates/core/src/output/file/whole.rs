//! A file that never ends within a part: playable while it grows, whole when the disk fills up.
//!
//! In: bytes, and where a part of them ends that makes sense alone (a tag, a fragment). Out: a file that ends with a whole part,
//! even after an error. What was in it before is left alone until the first write. On the writer's thread.

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::existing::{Begin, Opened};
use crate::files::WrittenFile;

/// Bytes gathered before they are written in any case.
const BUFFER: usize = 1 << 20;
/// Room that is kept from one write to the next.
const KEPT: usize = 128 << 10;

/// The file.
#[derive(Debug)]
pub(in crate::output) struct WholeFile {
    file: WrittenFile,
    path: PathBuf,
    begin: Begin,
    /// What was in it before is gone, as far as it is to go.
    begun: bool,
    buffer: Vec<u8>,
    /// Where in the buffer each part ends.
    ends: Vec<usize>,
    /// Bytes that were in it before, and stay.
    before: u64,
    /// Bytes of the file that are written, with those.
    length: u64,
    /// Asked when the disk is full: whether there is room now, so that it is worth another try.
    room: fn(u64) -> bool,
}

impl WholeFile {
    pub(in crate::output) fn new(opened: Opened) -> Self {
        let Opened { file, path, begin } = opened;
        let before = match begin {
            Begin::Behind(end) => end,
            Begin::Empty | Begin::Replace => 0,
        };
        Self {
            file,
            path,
            begin,
            begun: false,
            buffer: Vec::new(),
            ends: Vec::new(),
            before,
            length: before,
            room: crate::reel::make_room,
        }
    }

    /// Its real name.
    pub(in crate::output) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something stays of what was in it before.
    pub(in crate::output) fn goes_on(&self) -> bool {
        self.before > 0
    }

    /// Bytes that are written, with those that were there before.
    pub(in crate::output) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes taken so far.
    pub(in crate::output) fn taken(&self) -> u64 {
        self.length - self.before + self.buffer.len() as u64
    }

    /// Whether whole parts were written.
    pub(in crate::output) fn has_grown(&self) -> bool {
        self.length > self.before
    }

    /// Takes bytes of a part.
    pub(in crate::output) fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What was added since the last call is a whole part. It is in the file after the next [`flush`](Self::flush), or when
    /// there is much to write.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub(in crate::output) fn end_part(&mut self) -> io::Result<()> {
        self.ends.push(self.buffer.len());
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Hands what was taken to the kernel.
    ///
    /// # Errors
    ///
    /// What the file system said. The file then ends with the last part that fitted, and takes no more.
    pub(in crate::output) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.begin()?;
        }
        let mut done = 0;
        while let Some(rest) = self.buffer.get(done..).filter(|rest| !rest.is_empty()) {
            match (&*self.file).write(rest) {
                Ok(0) => return self.cut(done, io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) && (self.room)(self.file.id().device()) => {}
                Err(error) => return self.cut(done, error),
            }
        }
        self.length += done as u64;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.ends.clear();
        Ok(())
    }

    /// What was in the file before goes; of what stays, half a part at its end.
    fn begin(&mut self) -> io::Result<()> {
        match self.begin {
            Begin::Empty => {}
            Begin::Replace => self.file.set_len(0)?,
            Begin::Behind(end) => {
                self.file.set_len(end)?;
                (&*self.file).seek(SeekFrom::Start(end))?;
            }
        }
        self.file.keep();
        Ok(())
    }

    /// The disk took `done` bytes of the buffer and no more: the file is cut after the last whole part.
    fn cut(&mut self, done: usize, error: io::Error) -> io::Result<()> {
        let whole = self.ends.iter().rev().find(|&&end| end <= done).copied().unwrap_or(0);
        self.length += whole as u64;
        self.buffer.clear();
        self.ends.clear();
        // The error that counts is the first one.
        let _ = self.file.set_len(self.length);
        Err(error)
    }

    /// Has the disk fill up after `done` bytes of what waits.
    #[cfg(test)]
    pub(in crate::output) fn fill_up_after(&mut self, done: usize) -> io::Error {
        (&*self.file).write_all(&self.buffer[..done]).expect("there is room");
        self.cut(done, io::ErrorKind::StorageFull.into()).expect_err("it is handed on")
    }

    /// Waits until all that was written is on the disk, if that is where it is.
    ///
    /// # Errors
    ///
    /// What the file system said.
    pub(in crate::output) fn sync(&self) -> io::Result<()> {
        if self.file.metadata()?.is_file() { self.file.sync_data() } else { Ok(()) }
    }

    /// Writes over bytes that are in the file.
    ///
    /// # Errors
    ///
    /// What the file system said.
    pub(in crate::output) fn amend(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }
}

/// Whether the disk has no room left, or this program may take no more of it.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::existing::{self, Existing};
    use super::*;

    fn file(path: &Path, existing: Existing) -> WholeFile {
        WholeFile::new(existing::open(path, existing, &Arc::default(), |_| Ok(Some(5))).unwrap())
    }

    #[test]
    fn a_cut_keeps_whole_parts_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut");
        std::fs::write(&path, b"there and").unwrap();
        let mut file = file(&path, Existing::Append);
        file.add(b"-one");
        file.end_part().and_then(|()| file.flush()).unwrap();
        for part in [&b"-two"[..], b"-three", b"-four"] {
            file.add(part);
            file.end_part().unwrap();
        }
        // As if the disk had taken two parts and a half.
        assert_eq!(file.fill_up_after(12).kind(), io::ErrorKind::StorageFull);
        assert_eq!((file.length(), file.taken()), (19, 14));
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"there-one-two-three");
    }

    #[test]
    fn a_full_disk_is_tried_again_as_long_as_others_make_room() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let mut file = file(Path::new("/dev/full"), Existing::Number);
        file.room = |_| ASKED.fetch_add(1, Ordering::Relaxed) < 3;
        file.add(b"it waits in the buffer");
        file.end_part().unwrap();
        let error = file.flush().unwrap_err();
        assert_eq!((error.kind(), ASKED.load(Ordering::Relaxed)), (io::ErrorKind::StorageFull, 4));
        assert!(!file.has_grown());
    }
}
