//! The output while it is being written: a file beside it, which takes its name once it is whole.
//!
//! The file is locked. One that is left of a process that was killed is not, and goes with the next preparation of the same
//! output.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowcast_av::{Error as Media, Interrupt, Muxer, MuxerOptions, TrackInfo};
use rustix::fs::FlockOperation;

use crate::error::Error;
use crate::files::refuse_replacing;

/// The extension of a file that is not finished.
const PART: &str = "part";
/// Symbolic links that are followed from one to the next, at most.
const MOST_LINKS: u32 = 40;

/// A file that is not finished. Dropped before [`commit`](Self::commit) it is removed.
#[derive(Debug)]
pub(super) struct Part {
    output: PathBuf,
    directory: PathBuf,
    path: PathBuf,
    /// Holds the lock; removed from here on if `None`.
    file: Option<File>,
}

impl Part {
    /// Creates a file beside `output`, which is not touched.
    ///
    /// # Errors
    ///
    /// [`Error::OutputUnwritable`], [`Error::DiskFull`].
    pub(super) fn create(output: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| failed(output, source);
        let output = followed(output);
        match fs::metadata(&output).map(|data| data.file_type()) {
            Ok(kind) if kind.is_dir() => return Err(failed(io::ErrorKind::IsADirectory.into())),
            // A device or a pipe would be gone for everybody.
            Ok(kind) if !kind.is_file() => return Err(failed(io::Error::other("it is not a regular file"))),
            _ => {}
        }
        refuse_replacing(&output).map_err(|in_use| failed(in_use.into()))?;
        let name = output.file_name().ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?;
        let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.map_or_else(|| PathBuf::from("."), Path::to_owned);
        let begin = format!(".{}.", name.to_string_lossy());
        remove_abandoned(&directory, &begin);
        let mut number = 0u32;
        loop {
            let path = directory.join(format!("{begin}{}-{number}.{PART}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let part = Self { output, directory, path, file: Some(file) };
                    part.lock().map_err(failed)?;
                    return Ok(part);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn lock(&self) -> io::Result<()> {
        match &self.file {
            Some(file) => Ok(rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)?),
            None => Ok(()),
        }
    }

    /// Where it is for now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an MP4 that can be played before all of it is there.
    pub(super) fn muxer(&self, tracks: &[TrackInfo], cancel: &Interrupt) -> Result<Muxer, Error> {
        let options = MuxerOptions {
            format: Some("mp4".to_owned()),
            options: vec![("movflags".to_owned(), "+faststart".to_owned())],
            interrupt: cancel.clone(),
        };
        Muxer::create_with(&self.path, tracks, &options).map_err(|error| self.failed(error))
    }

    /// What a failure to write means.
    pub(super) fn failed(&self, error: Media) -> Error {
        match error {
            Media::Cancelled { .. } => Error::Cancelled { what: "prepare" },
            Media::Io { source, .. } => failed(&self.output, source),
            // libav's codes of the system's errors are their negatives.
            Media::Libav { code, .. } if (-200..0).contains(&code) => {
                failed(&self.output, io::Error::from_raw_os_error(-code))
            }
            other => failed(&self.output, io::Error::other(other)),
        }
    }

    /// Brings all of it to the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.as_ref().map_or(Ok(()), File::sync_all).map_err(|source| failed(&self.output, source))
    }

    /// Gives it the output's name, in place of what had it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub(super) fn commit(mut self) -> Result<PathBuf, Error> {
        // It may have been put on the air meanwhile.
        refuse_replacing(&self.output).map_err(|in_use| failed(&self.output, io::Error::from(in_use)))?;
        fs::rename(&self.path, &self.output).map_err(|source| failed(&self.output, source))?;
        self.file = None;
        // The name is the new file's in any case; that it survives a power failure is best effort.
        if let Err(error) = File::open(&self.directory).and_then(|directory| directory.sync_all()) {
            log::warn!("{}: cannot be synchronised: {error}", self.directory.display());
        }
        Ok(self.output.clone())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.file.is_some()
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("{}: cannot be removed: {error}", self.path.display());
        }
    }
}

/// What a symbolic link names, there or not: that is replaced, not the link.
fn followed(output: &Path) -> PathBuf {
    let mut path = output.to_owned();
    for _ in 0..MOST_LINKS {
        if let Ok(found) = fs::canonicalize(&path) {
            return found;
        }
        let Ok(named) = fs::read_link(&path) else { return path };
        path = path.parent().map_or(named.clone(), |parent| parent.join(&named));
    }
    path
}

fn failed(path: &Path, source: impl Into<Arc<io::Error>>) -> Error {
    let (path, source) = (path.to_owned(), source.into());
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::DiskFull { path, source }
        }
        _ => Error::OutputUnwritable { path, source },
    }
}

/// Removes what killed processes have left of the same output.
fn remove_abandoned(directory: &Path, begin: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let middle = name.strip_prefix(begin).and_then(|rest| rest.strip_suffix(PART)?.strip_suffix('.'));
        let is_ours = middle
            .and_then(|middle| middle.split_once('-'))
            .is_some_and(|(process, number)| process.parse::<u32>().is_ok() && number.parse::<u32>().is_ok());
        if is_ours
            && let Ok(file) = File::open(entry.path())
            && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && let Err(error) = fs::remove_file(entry.path())
        {
            log::warn!("{}: cannot be removed: {error}", entry.path().display());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_old_output_stays_until_the_new_one_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("out.mp4");
        fs::write(&output, "old").unwrap();
        drop(Part::create(&output).unwrap());
        assert_eq!(
            (names(directory.path()), fs::read(&output).unwrap()),
            (vec!["out.mp4".into()], b"old".into())
        );
        let part = Part::create(&output).unwrap();
        fs::write(part.path(), "new").unwrap();
        assert_eq!(fs::read(&output).unwrap(), b"old");
        part.sync().unwrap();
        assert_eq!(part.commit().unwrap(), fs::canonicalize(&output).unwrap());
        assert_eq!(
            (names(directory.path()), fs::read(&output).unwrap()),
            (vec!["out.mp4".into()], b"new".into())
        );
    }

    #[test]
    fn only_what_nobody_writes_any_more_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("out.mp4");
        for left in [".out.mp4.12-0.part", ".out.mp4.x-0.part", ".other.mp4.12-0.part", "out.mp4.12-0.part"] {
            fs::write(directory.path().join(left), "left").unwrap();
        }
        let one = Part::create(&output).unwrap();
        let two = Part::create(&output).unwrap();
        assert!(one.path().exists() && two.path().exists() && one.path() != two.path());
        drop((one, two));
        assert_eq!(
            names(directory.path()),
            [".other.mp4.12-0.part", ".out.mp4.x-0.part", "out.mp4.12-0.part"]
        );
    }

    #[test]
    fn devices_and_pipes_are_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for special in [Path::new("/dev/null"), &socket] {
            let error = Part::create(special).unwrap_err();
            assert_eq!(error.code(), "OUTPUT_UNWRITABLE", "{error:?}");
            assert!(!fs::metadata(special).unwrap().is_file());
        }
        assert_eq!(names(directory.path()), ["socket"]);
    }

    #[test]
    fn a_link_is_followed_and_a_directory_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target.mp4"), directory.path().join("link.mp4"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let part = Part::create(&link).unwrap();
        fs::write(part.path(), "new").unwrap();
        part.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
        fs::remove_file(&target).unwrap();
        Part::create(&link).unwrap().commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && target.is_file());
        let refused = Part::create(directory.path()).unwrap_err();
        assert_eq!(refused.code(), "OUTPUT_UNWRITABLE");
        assert_eq!(
            Part::create(&directory.path().join("none/out.mp4")).unwrap_err().code(),
            "OUTPUT_UNWRITABLE"
        );
    }
}
