//! One fragment: where its bytes are, and how they are read.
//!
//! In: what a program gives. Out: a reader that libav can go back in. Files and spooled readers are read a chunk at a time, and how far is
//! counted for the stream's thread.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::boxes::{Look, look};
use super::clock::Stamp;
use crate::error::Error;
use crate::net::random;

/// A fragment to be pushed: where its bytes come from, and what it is called.
///
/// Paths, `Bytes` and `Vec<u8>` become one by themselves.
#[must_use = "it is not published until it is pushed"]
pub struct Fragment {
    pub(super) from: Origin,
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
}

/// Where it comes from.
pub(super) enum Origin {
    Path(PathBuf),
    Bytes(Bytes),
    Reader(Box<dyn Read + Send>),
}

impl Fragment {
    fn of(from: Origin) -> Self {
        Self { from, name: None, id: None }
    }

    /// A file. It is opened when it is pushed, and may be removed after that.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self::of(Origin::Path(path.into()))
    }

    /// What is in memory; it is not copied.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::of(Origin::Bytes(bytes.into()))
    }

    /// What a reader gives up to its end. When it is pushed, it is read into a file without a name in the directory for temporary files, a chunk at a time, as
    /// an MP4 may have its index at its end.
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self::of(Origin::Reader(Box::new(reader)))
    }

    /// What it is called in events and errors. Default: its path, or `fragment` and its number.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What makes it known again: another one with the same id is dropped. The last 4096 ids are kept. Default: none, and it is taken
    /// however often it is pushed.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match &self.from {
            Origin::Path(path) => path.display().to_string(),
            Origin::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Origin::Reader(_) => "a reader".to_owned(),
        };
        f.debug_struct("Fragment")
            .field("from", &from)
            .field("name", &self.name)
            .field("id", &self.id)
            .finish()
    }
}

macro_rules! from {
    ($make:ident: $($kind:ty),+) => {$(
        impl From<$kind> for Fragment {
            fn from(from: $kind) -> Self {
                Self::$make(from)
            }
        }
    )+};
}

from!(path: &str, String, &Path, PathBuf, &PathBuf);
from!(bytes: Bytes, Vec<u8>, &'static [u8]);

/// The bytes of a fragment that is held.
#[derive(Debug)]
enum Media {
    File(File),
    Bytes(Bytes),
}

/// A fragment that waits to be played.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// What it is called.
    pub(crate) name: String,
    /// Its bytes, without those of its init segment if that was another one.
    pub(crate) size: u64,
    /// When it was pushed.
    pub(crate) pushed: Instant,
    /// When it begins by the clock of who made it, if it says.
    pub(crate) stamp: Option<Stamp>,
    media: Media,
    /// What comes before it.
    init: Option<Bytes>,
    chunk: usize,
}

/// What was found in what was pushed.
#[derive(Debug)]
pub(super) struct Looked {
    media: Media,
    size: u64,
    pub(super) look: Look,
    pub(super) name: String,
}

impl Origin {
    /// Whether it has a name of its own.
    pub(super) fn has_name(&self) -> bool {
        matches!(self, Self::Path(_))
    }

    /// Opens it, and looks what it is.
    pub(super) fn look(self, name: Option<String>, number: u64, chunk: usize) -> Result<Looked, Error> {
        let name = name.unwrap_or_else(|| match &self {
            Self::Path(path) => path.display().to_string(),
            Self::Bytes(_) | Self::Reader(_) => format!("fragment {number}"),
        });
        let unreadable = |source: io::Error| Error::FragmentUnreadable {
            fragment: name.clone(),
            source: Arc::new(source),
        };
        let (media, size, look) = match self {
            Self::Path(path) => {
                let mut file = open(&path).map_err(unreadable)?;
                let size = file.metadata().map_err(unreadable)?.len();
                let look = look(&mut file, size).map_err(unreadable)?;
                (Media::File(file), size, look)
            }
            Self::Bytes(bytes) => {
                let size = bytes.len() as u64;
                let look = look(&mut Cursor::new(&bytes), size).map_err(unreadable)?;
                (Media::Bytes(bytes), size, look)
            }
            Self::Reader(reader) => {
                let (mut file, size) = spooled(reader, chunk).map_err(unreadable)?;
                let look = look(&mut file, size).map_err(unreadable)?;
                (Media::File(file), size, look)
            }
        };
        Ok(Looked { media, size, look, name })
    }
}

impl Looked {
    /// The fragment, behind `init` if that is given.
    pub(super) fn held(
        self,
        number: u64,
        (init, stamp): (Option<Bytes>, Option<Stamp>),
        chunk: usize,
    ) -> Held {
        let pushed = Instant::now();
        Held { number, name: self.name, size: self.size, pushed, stamp, media: self.media, init, chunk }
    }
}

/// A regular file: a pipe would be waited for, and has no end to begin with.
fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path)
}

/// What a reader gives, in a file that is gone with its last handle.
fn spooled(mut reader: Box<dyn Read + Send>, chunk: usize) -> io::Result<(File, u64)> {
    let name = format!("flowcast-fragment-{:016x}", u64::from_le_bytes(random::bytes()));
    let path = std::env::temp_dir().join(name);
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path)?;
    std::fs::remove_file(&path)?;
    let (mut room, mut size) = (vec![0; chunk], 0);
    loop {
        match reader.read(&mut room) {
            Ok(0) => break,
            Ok(count) => {
                file.write_all(room.get(..count).unwrap_or_default())?;
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((file, size))
}

/// How far the reading of a fragment got; the stream's thread asks.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    bytes: AtomicU64,
    /// Microseconds from when it was begun to its end, without those in which nothing more was wanted.
    busy: AtomicU64,
}

impl Reading {
    /// Bytes read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Time that reading took, without that in which the queue had no room.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_micros(self.busy.load(Ordering::Relaxed))
    }

    /// It was begun at `since`, and `waited` since then.
    pub(crate) fn note(&self, since: Instant, waited: Duration) {
        let busy = since.elapsed().saturating_sub(waited);
        self.busy.store(u64::try_from(busy.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Held {
    /// Its bytes, behind those of its init segment, and how many they are.
    pub(crate) fn into_reader(self, reading: Arc<Reading>) -> (Reader, u64) {
        let init = self.init.unwrap_or_default();
        let size = self.size + init.len() as u64;
        let source: Box<dyn Source> = match self.media {
            Media::File(file) => Box::new(Chunked::new(file, self.chunk, reading)),
            Media::Bytes(bytes) => Box::new(Counted { bytes: Cursor::new(bytes), reading }),
        };
        (Reader { init, source, size, at: 0 }, size)
    }
}

trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// A fragment behind its init segment.
pub(crate) struct Reader {
    init: Bytes,
    source: Box<dyn Source>,
    size: u64,
    at: u64,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("size", &self.size).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.init.len() as u64;
        let count = if self.at < before {
            let rest = usize::try_from(self.at).ok().and_then(|at| self.init.get(at..)).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                to.copy_from_slice(from);
            }
            count
        } else {
            self.source.seek(SeekFrom::Start(self.at - before))?;
            self.source.read(buffer)?
        };
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Bytes in memory, counted.
struct Counted {
    bytes: Cursor<Bytes>,
    reading: Arc<Reading>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.reading.bytes.fetch_max(self.bytes.position(), Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

/// Reads a file in large pieces; short ways back stay within the piece that is held.
struct Chunked {
    file: File,
    chunk: usize,
    held: Vec<u8>,
    /// Where what is held begins, and where reading goes on.
    from: u64,
    at: u64,
    reading: Arc<Reading>,
}

impl Chunked {
    fn new(file: File, chunk: usize, reading: Arc<Reading>) -> Self {
        Self { file, chunk, held: Vec::new(), from: 0, at: 0, reading }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.held.resize(self.chunk, 0);
        self.from = self.at;
        let mut filled = 0;
        self.file.seek(SeekFrom::Start(self.at))?;
        while let Some(rest) = self.held.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.held.clear();
                    return Err(error);
                }
            }
        }
        self.held.truncate(filled);
        self.reading.bytes.fetch_max(self.from + filled as u64, Ordering::Relaxed);
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        let offset = self.at.checked_sub(self.from).and_then(|offset| usize::try_from(offset).ok());
        offset.and_then(|offset| self.held.get(offset..)).unwrap_or_default()
    }
}

impl Read for Chunked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest().is_empty() {
            self.fill()?;
        }
        let rest = self.rest();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Chunked {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.file.metadata()?.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
