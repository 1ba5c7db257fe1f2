//! What makes a source the same source: the key of its reels.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::digest;

use super::cutter::Recipe;
use super::index;
use crate::error::Error;

/// Bytes looked at in each of three places of the source.
const SAMPLE: u64 = 64 << 10;

/// The key of a reel, which names its files: the first half of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) [u8; 16]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Key {
    /// Reads what `Display` writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_ours = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_ours) {
            return None;
        }
        Some(Self(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
}

/// The file system's facts about a source: as long as they stay the same, the source has not been replaced or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceFacts {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
}

impl SourceFacts {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// What the path names now.
    pub(super) fn look(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of(&metadata))
    }
}

/// A source that was looked at, and is open.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) key: Key,
    /// As it was given.
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) facts: SourceFacts,
    pub(super) recipe: Recipe,
}

impl Identity {
    /// Opens a source and finds the key of its reel.
    ///
    /// # Errors
    ///
    /// The file system's facts about a file. Anything but a regular file is refused, and never waited for.
    ///
    /// # Blocking
    ///
    /// On reading up to 192 KiB.
    pub(super) fn of(path: &Path, recipe: Recipe) -> Result<Self, Error> {
        let failed = |operation| move |source| unreadable(path, operation, source);
        // Opening a FIFO waits for its writer unless it is told not to; opening some devices does things.
        refuse(path, &std::fs::metadata(path).map_err(failed("open"))?)?;
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(path)
            .map_err(failed("open"))?;
        let metadata = file.metadata().map_err(failed("open"))?;
        refuse(path, &metadata)?;
        let canonical = std::fs::canonicalize(path).map_err(failed("open"))?;
        let facts = SourceFacts::of(&metadata);

        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"flowcast reel");
        hash.update(&index::VERSION.to_le_bytes());
        let recipe_text = recipe.text();
        for text in [recipe_text.as_bytes(), canonical.as_os_str().as_bytes()] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update(&facts.size.to_le_bytes());
        hash.update(&facts.modified.0.to_le_bytes());
        hash.update(&facts.modified.1.to_le_bytes());
        sample(&file, facts.size, &mut hash).map_err(failed("read"))?;
        let digest = hash.finish();
        let half = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Ok(Self { key: Key(*half), path: path.to_owned(), file, facts, recipe })
    }

    /// Whether the path still names what was looked at.
    pub(super) fn is_unchanged(&self) -> bool {
        SourceFacts::look(&self.path).map_or_else(|_| true, |now| now == self.facts)
    }
}

/// The beginning, the middle and the end.
fn sample(file: &File, size: u64, hash: &mut digest::Context) -> io::Result<()> {
    let mut buffer = vec![0; SAMPLE as usize];
    let last = size.saturating_sub(SAMPLE);
    for from in [0, last / 2, last] {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, from + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    Ok(())
}

fn refuse(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let known = [(kind.is_dir(), "directory"), (kind.is_fifo(), "FIFO"), (kind.is_socket(), "socket")];
    let name = known.into_iter().find_map(|(is, name)| is.then_some(name)).unwrap_or("device");
    Err(no_file(path, name))
}

/// The errors a file is refused with are the same whether it is played from a reel or directly.
#[cfg(feature = "libav")]
fn unreadable(path: &Path, operation: &'static str, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        return flowcast_av::Error::NotFound { path: path.to_owned() }.into();
    }
    flowcast_av::Error::Io { path: path.to_owned(), operation, source: source.into() }.into()
}

#[cfg(feature = "libav")]
fn no_file(path: &Path, kind: &'static str) -> Error {
    flowcast_av::Error::NotAFile { path: path.to_owned(), kind }.into()
}

#[cfg(not(feature = "libav"))]
fn unreadable(path: &Path, _: &'static str, source: io::Error) -> Error {
    Error::SourceUnreadable { path: path.to_owned(), source: source.into() }
}

#[cfg(not(feature = "libav"))]
fn no_file(path: &Path, kind: &'static str) -> Error {
    let source = io::Error::new(io::ErrorKind::InvalidInput, format!("it is a {kind}"));
    Error::SourceUnreadable { path: path.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &Path, recipe: Recipe) -> Key {
        Identity::of(path, recipe).expect("it is a file").key
    }

    #[test]
    fn whatever_changes_the_source_changes_its_key() {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let path = dir.path().join("a.mp4");
        let mut content = vec![7u8; 1 << 20];
        std::fs::write(&path, &content).expect("there is room");
        let modified = std::fs::metadata(&path).and_then(|facts| facts.modified()).expect("Linux has one");
        let first = key(&path, Recipe::BOTH);
        assert_eq!(first, key(&path, Recipe::BOTH));
        assert_ne!(first, key(&path, Recipe::AUDIO));
        assert_eq!(Key::parse(&first.to_string()), Some(first));
        // Another name of the same file is another source; the same name by another way is not.
        assert_eq!(first, key(&dir.path().join("../").join(dir.path()).join("a.mp4"), Recipe::BOTH));
        // The content alone, with size and time as they were.
        for place in [0, 1 << 19, (1 << 20) - 1] {
            content[place] ^= 1;
            std::fs::write(&path, &content).expect("there is room");
            File::options().write(true).open(&path).and_then(|f| f.set_modified(modified)).expect("is ours");
            assert_ne!(first, key(&path, Recipe::BOTH), "byte {place}");
            content[place] ^= 1;
        }
        std::fs::write(&path, &content).expect("there is room");
        File::options().write(true).open(&path).and_then(|f| f.set_modified(modified)).expect("is ours");
        assert_eq!(first, key(&path, Recipe::BOTH));
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("a FIFO needs no privilege");
        for path in [fifo.as_path(), dir.path(), Path::new("/dev/zero"), &dir.path().join("gone")] {
            let error = Identity::of(path, Recipe::BOTH).expect_err("no file");
            assert!(!matches!(error, Error::ReelStore { .. }), "{error:?}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for refused in ["", "0123", &"g".repeat(32), &"A".repeat(32), &"+".repeat(32), &"0".repeat(33)] {
            assert_eq!(Key::parse(refused), None, "{refused}");
        }
    }
}
