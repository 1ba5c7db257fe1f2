//! Opening the file of a recording: what exists already, and what happens to it.
//!
//! In: a name, and what the caller chose for existing files. Out: a file that only this recording writes to, and in
//! which nothing has been changed yet. This is the one place where files of outputs are opened.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::FileFormat;
use crate::files::{StreamFiles, WrittenFile, refuse_played};
use crate::sys::FileId;
use crate::words::words;

/// The most numbers that are tried.
const MOST_NUMBERS: u32 = 99_999;
/// The most links that are followed in a row, as on Linux.
const MOST_LINKS: u32 = 40;

/// What a recording does with an existing file; see [`Output::existing`](crate::Output::existing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Existing {
    /// The recording is refused.
    Refuse,
    /// The recording goes to another file beside it: `archive-1.flv` for `archive.flv`, or the first number that is free.
    #[default]
    Number,
    /// The recording continues the file, in time, too. A file that is not FLV, or whose end cannot be read, is
    /// refused; a tag that was only half written, as after a crash, is cut off. Only for FLV.
    Append,
    /// The file is replaced as soon as there is something to write.
    Replace,
}

words!(
    Existing,
    "policy for an existing file",
    Refuse = "refuse",
    Number = "number",
    Append = "append",
    Replace = "replace",
);

/// How the file of a recording begins.
#[derive(Debug)]
pub(in crate::output) enum Begin {
    /// It is empty.
    Empty,
    /// Its content is removed with the first write.
    Replace,
    /// The recording continues it, behind this many bytes; what follows them is half a part.
    Behind(u64),
}

/// The file of a recording.
#[derive(Debug)]
pub(in crate::output) struct Opened {
    pub(in crate::output) file: WrittenFile,
    /// Its real name.
    pub(in crate::output) path: PathBuf,
    pub(in crate::output) begin: Begin,
}

/// Opens the file of a recording of the stream with these files. `end_of` finds where what is whole ends in a file that is
/// continued; `None` if nothing in it is.
///
/// # Errors
///
/// The obstacle as an error of the file system: `AlreadyExists` for [`Existing::Refuse`]; `InvalidInput` for what the
/// stream is made from, for a reel, and for a FIFO or a socket; `ResourceBusy` for what another stream plays or
/// records; `InvalidData` for what cannot be appended to.
///
/// # Blocking
///
/// On the file system.
pub(in crate::output) fn open(
    path: &Path,
    existing: Existing,
    files: &Arc<StreamFiles>,
    end_of: impl FnOnce(&File) -> io::Result<Option<u64>>,
) -> io::Result<Opened> {
    let there = match fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(metadata) = &there {
        let kind = metadata.file_type();
        if kind.is_fifo() || kind.is_socket() {
            // Opening a FIFO to write waits for a reader, without end; and a reader that goes raises SIGPIPE.
            let reason = "is a FIFO or a socket, not a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() {
            let file = WrittenFile::device(OpenOptions::new().write(true).open(path)?)?;
            return Ok(Opened { file, path: path.to_owned(), begin: Begin::Empty });
        }
    }
    // That is a mistake, whatever happens to the file.
    files.own(path, there.as_ref().map(FileId::of))?;
    match existing {
        Existing::Refuse => made(create(path)?, path, files),
        Existing::Number => number(path, files),
        Existing::Append | Existing::Replace => match create(path) {
            Ok(file) => made(file, path, files),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                go_on(path, existing, files, end_of)
            }
            Err(error) => Err(error),
        },
    }
}

/// That a file of this format cannot be continued, for its `end_of`.
pub(in crate::output) fn no_end(format: FileFormat) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("a recording as {format} cannot be continued"))
}

/// Makes a file. If two callers try the same name, only one gets it.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A file that was just made.
fn made(file: File, path: &Path, files: &Arc<StreamFiles>) -> io::Result<Opened> {
    let file = WrittenFile::take(file, Some(path.to_owned()), files)?;
    // It may be an item of a list that was missing so far.
    files.own(path, Some(file.id()))?;
    Ok(Opened { file, path: path.to_owned(), begin: Begin::Empty })
}

/// Makes the first file of this name, or with a number behind it, that does not exist.
fn number(path: &Path, files: &Arc<StreamFiles>) -> io::Result<Opened> {
    for number in 0..=MOST_NUMBERS {
        let name = numbered(path, number);
        match create(&name) {
            Ok(file) => return made(file, &name, files),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `archive-1.flv` for number 1 of `archive.flv`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let Some(stem) = path.file_stem().filter(|_| number > 0) else { return path.to_owned() };
    let mut name = OsString::from(stem);
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Opens an existing file, and changes nothing in it.
fn go_on(
    path: &Path,
    existing: Existing,
    files: &Arc<StreamFiles>,
    end_of: impl FnOnce(&File) -> io::Result<Option<u64>>,
) -> io::Result<Opened> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        // The link leads to a name that does not exist yet. It is created like any other, so that it is removed if
        // nothing is written.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let target = target(path);
            return Ok(Opened { path: path.to_owned(), ..made(create(&target)?, &target, files)? });
        }
        other => other?,
    };
    let file = WrittenFile::take(file, None, files)?;
    files.own(path, Some(file.id()))?;
    refuse_played(file.id())?;
    let begin = match existing {
        Existing::Append if file.metadata()?.len() > 0 => {
            end_of(&file)?.map_or(Begin::Replace, Begin::Behind)
        }
        Existing::Append => Begin::Empty,
        _ => Begin::Replace,
    };
    Ok(Opened { file, path: path.to_owned(), begin })
}

/// Where links lead from a name.
fn target(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(next) = fs::read_link(&target) else { break };
        target = target.parent().unwrap_or(Path::new("")).join(next);
    }
    target
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::io::Write;

    use super::*;

    fn opened(path: &Path, existing: Existing) -> io::Result<Opened> {
        let refused = |_: &File| Err(io::Error::new(io::ErrorKind::InvalidData, "nothing of the format"));
        open(path, existing, &Arc::default(), refused)
    }

    #[test]
    fn what_is_there_is_left_alone_unless_the_caller_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.flv");
        let first = opened(&path, Existing::Number).unwrap();
        assert_eq!(first.path, path);
        // As long as it is written, no other recording gets it, whatever the setting.
        for existing in [Existing::Append, Existing::Replace] {
            let error = opened(&path, existing).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{existing:?}: {error}");
        }
        (&*first.file).write_all(b"precious").unwrap();
        let mut file = first.file;
        file.keep();
        drop(file);
        let second = opened(&path, Existing::Number).unwrap();
        assert_eq!(second.path, dir.path().join("archive-1.flv"));
        assert_eq!(opened(&path, Existing::Number).unwrap().path, dir.path().join("archive-2.flv"));
        let error = opened(&path, Existing::Refuse).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let error = opened(&path, Existing::Append).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "what the format says");
        let replaced = opened(&path, Existing::Replace).unwrap();
        assert!(matches!(replaced.begin, Begin::Replace));
        drop((second, replaced));
        assert_eq!(fs::read(&path).unwrap(), b"precious", "nothing was written");
        // Files of recordings that never began are gone.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_recording_of_another_process_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.flv");
        fs::write(&path, b"FLV").unwrap();
        // Locks are of open files: to the kernel this is another process.
        let other = File::open(&path).unwrap();
        rustix::fs::flock(&other, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        for existing in [Existing::Append, Existing::Replace] {
            assert_eq!(opened(&path, existing).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        }
        drop(other);
        assert!(opened(&path, Existing::Replace).is_ok(), "nothing is left of the refusals");
    }

    #[test]
    fn numbers_go_before_the_extension() {
        let cases = [("a/b.flv", "a/b-3.flv"), ("b", "b-3"), (".flv", ".flv-3"), ("b.c.flv", "b.c-3.flv")];
        for (path, with_number) in cases {
            assert_eq!(numbered(Path::new(path), 3), Path::new(with_number));
            assert_eq!(numbered(Path::new(path), 0), Path::new(path));
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_not_followed_to_a_new_file_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link.flv"), dir.path().join("target.flv"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(opened(&link, Existing::Number).unwrap().path, dir.path().join("link-1.flv"));
        assert!(!target.exists());
        for existing in [Existing::Append, Existing::Replace] {
            let mut file = opened(&link, existing).unwrap().file;
            assert!(target.exists());
            if existing == Existing::Replace {
                file.keep();
            }
            drop(file);
            // It stays only if something was written; the link stays in any case.
            assert_eq!(target.exists(), existing == Existing::Replace);
            assert!(fs::symlink_metadata(&link).is_ok());
        }
    }
}
