//! A file that never ends within a part: playable while it grows, whole when the disk fills up.
//!
//! In: bytes, and where a part of them ends that makes sense alone (a tag, a fragment). Out: a file that ends with a whole part,
//! even after an error. What was in it before is left alone until the first write. On the writer's thread.

use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::existing::{Begin, Opened};
use crate::files::WrittenFile;

/// Bytes gathered before they are written in any case.
const BUFFER: usize = 1 << 20;
/// Room that is kept from one write to the next.
const KEPT: usize = 128 << 10;
/// Bytes from which on it is cheaper to hand a piece to the kernel as it is than to copy it beside the others.
const LARGE: usize = 1 << 10;
/// Pieces that the kernel takes at once (`IOV_MAX`).
const AT_ONCE: usize = 1024;

/// What waits, in the order of the file.
#[derive(Debug)]
enum Piece {
    /// So many bytes of the buffer.
    Copied(usize),
    Shared(Bytes),
}

/// The file.
#[derive(Debug)]
pub(in crate::output) struct WholeFile {
    file: WrittenFile,
    path: PathBuf,
    begin: Begin,
    /// What was in it before is gone, as far as it is to go.
    begun: bool,
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    /// Bytes of the pieces.
    waiting: usize,
    /// Where in what waits each part ends.
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
            pieces: Vec::new(),
            waiting: 0,
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
        self.length - self.before + self.waiting as u64
    }

    /// Whether whole parts were written.
    pub(in crate::output) fn has_grown(&self) -> bool {
        self.length > self.before
    }

    /// Takes bytes of a part.
    pub(in crate::output) fn add(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        self.waiting += bytes.len();
        match self.pieces.last_mut() {
            Some(Piece::Copied(length)) => *length += bytes.len(),
            _ => self.pieces.push(Piece::Copied(bytes.len())),
        }
    }

    /// Takes bytes of a part that others have, too: they are not copied if there are many.
    pub(in crate::output) fn add_shared(&mut self, bytes: Bytes) {
        if bytes.len() < LARGE {
            return self.add(&bytes);
        }
        self.waiting += bytes.len();
        self.pieces.push(Piece::Shared(bytes));
    }

    /// What was added since the last call is a whole part. It is in the file after the next [`flush`](Self::flush), or when
    /// there is much to write.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub(in crate::output) fn end_part(&mut self) -> io::Result<()> {
        self.ends.push(self.waiting);
        if self.waiting >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Hands what was taken to the kernel.
    ///
    /// # Errors
    ///
    /// What the file system said. The file then ends with the last part that fitted, and takes no more.
    pub(in crate::output) fn flush(&mut self) -> io::Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.begin()?;
        }
        if let (done, Some(error)) = self.write() {
            return self.cut(done, error);
        }
        self.length += self.waiting as u64;
        self.forget();
        Ok(())
    }

    /// Writes what waits; how many bytes of it the file took, and why not all.
    fn write(&self) -> (usize, Option<io::Error>) {
        let mut copied = &*self.buffer;
        let slice = |piece| match piece {
            &Piece::Copied(length) => {
                let (this, rest) = copied.split_at_checked(length).unwrap_or_default();
                copied = rest;
                IoSlice::new(this)
            }
            Piece::Shared(bytes) => IoSlice::new(bytes),
        };
        let mut slices: Vec<_> = self.pieces.iter().map(slice).collect();
        let (mut rest, mut done) = (&mut *slices, 0);
        while done < self.waiting {
            let now = rest.len().min(AT_ONCE);
            match (&*self.file).write_vectored(rest.get(..now).unwrap_or_default()) {
                Ok(0) => return (done, Some(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    done += count;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) && (self.room)(self.file.id().device()) => {}
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    /// Nothing waits any more.
    fn forget(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.pieces.clear();
        self.ends.clear();
        self.waiting = 0;
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

    /// The disk took `done` bytes of what waits and no more: the file is cut after the last whole part.
    fn cut(&mut self, done: usize, error: io::Error) -> io::Result<()> {
        let whole = self.ends.iter().rev().find(|&&end| end <= done).copied().unwrap_or(0);
        self.length += whole as u64;
        self.forget();
        // The error that counts is the first one.
        let _ = self.file.set_len(self.length);
        Err(error)
    }

    /// Has the disk fill up after `done` bytes of what waits.
    #[cfg(test)]
    pub(in crate::output) fn fill_up_after(&mut self, done: usize) -> io::Error {
        let copied = &mut &*self.buffer;
        let piece = |piece: &Piece| match piece {
            Piece::Copied(length) => copied.split_off(..*length).expect("it is there").to_vec(),
            Piece::Shared(bytes) => bytes.to_vec(),
        };
        let all: Vec<u8> = self.pieces.iter().flat_map(piece).collect();
        (&*self.file).write_all(&all[..done]).expect("there is room");
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
    fn what_is_shared_lies_where_it_was_added() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mixed");
        let mut file = file(&path, Existing::Number);
        let mut expected = Vec::new();
        // More pieces than are taken at once, small and large ones, alone and beside each other.
        for number in 0..3 * AT_ONCE {
            let byte = u8::try_from(number % 251).unwrap();
            let piece = vec![byte; if number % 3 == 0 { 7 } else { LARGE + number % 5 }];
            expected.extend_from_slice(&piece);
            if number % 2 == 0 {
                file.add(&piece)
            } else {
                file.add_shared(piece.into())
            }
            assert_eq!(file.taken(), expected.len() as u64);
            if number == 17 {
                file.end_part().and_then(|()| file.flush()).unwrap();
            }
        }
        file.flush().unwrap();
        assert_eq!(file.length(), expected.len() as u64);
        assert!(std::fs::read(&path).unwrap() == expected);
        // A disk that fills up within a shared piece.
        file.add(b"part");
        file.end_part().unwrap();
        file.add_shared(Bytes::from(vec![1; 2 * LARGE]));
        file.end_part().unwrap();
        file.fill_up_after(100);
        expected.extend_from_slice(b"part");
        assert!(std::fs::read(&path).unwrap() == expected);
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
