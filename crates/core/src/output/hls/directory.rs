//! The files of an HLS output in a directory.
//!
//! In: files, whole or piece by piece. Out: the same under their names, each written under another name first and renamed when it is whole, so that a web server
//! never serves half of one. One output at a time has a directory: it is locked, as recordings are. On the writer's thread.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::shelf::{Shelf, none_begun};
use crate::files::{StreamFiles, WrittenFile, is_free, refuse_replacing};
use crate::output::file::existing::{Begin, Opened};
use crate::output::file::whole::WholeFile;
use crate::sys::FileId;

/// Files that are not whole are called so.
const PARTIAL: &str = ".partial";

/// The directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    files: Arc<StreamFiles>,
    /// It, locked.
    claim: WrittenFile,
    begun: Option<(PathBuf, WholeFile)>,
}

impl Directory {
    /// Takes a directory, and makes it if only the last part of its path is missing.
    ///
    /// # Errors
    ///
    /// What the file system said; `ResourceBusy` if another output has it.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn open(path: &Path, files: &Arc<StreamFiles>) -> io::Result<Self> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let (claim, files) = (claim(path, files)?, files.clone());
        let mut directory = Self { path: path.to_owned(), files, claim, begun: None };
        directory.refuse_taken(super::PLAYLIST)?;
        directory.clear();
        Ok(directory)
    }

    /// Removes what was being written when the process ended.
    fn clear(&mut self) {
        let names = self.names().unwrap_or_default();
        for name in names.iter().filter(|name| name.strip_suffix(PARTIAL).is_some_and(is_named_here)) {
            self.remove(name);
        }
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{PARTIAL}"))
    }

    /// Makes a file that nobody else has. One that is there is left from before.
    fn create(&self, path: &Path) -> io::Result<WholeFile> {
        let create = || File::options().write(true).create_new(true).open(path);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                create()?
            }
            other => other?,
        };
        let file = WrittenFile::take(file, Some(path.to_owned()), &self.files)?;
        Ok(WholeFile::new(Opened { file, path: path.to_owned(), begin: Begin::Empty }))
    }

    /// Refuses a file that a stream plays, or that belongs to somebody else.
    fn refuse_taken(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        self.files.own(&path, FileId::at(&path))?;
        Ok(refuse_replacing(&path)?)
    }
}

/// Whether such a file is written in a directory of an output.
fn is_named_here(name: &str) -> bool {
    super::playlist::is_own(name) || name == super::PLAYLIST
}

fn claim(path: &Path, files: &Arc<StreamFiles>) -> io::Result<WrittenFile> {
    let directory = File::open(path)?;
    if !directory.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    WrittenFile::take(directory, None, files)
}

impl Shelf for Directory {
    fn read(&self, name: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?.flatten();
        Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn check(&mut self) -> io::Result<bool> {
        if FileId::at(&self.path) == Some(self.claim.id()) {
            return Ok(true);
        }
        self.claim = claim(&self.path, &self.files)?;
        self.refuse_taken(super::PLAYLIST)?;
        Ok(false)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (partial, path) = (self.partial(name), self.path.join(name));
        let written = self.create(&partial).and_then(|mut file| {
            file.add(bytes);
            file.end_part()?;
            file.flush()?;
            fs::rename(&partial, &path)
        });
        written.inspect_err(|_| {
            let _ = fs::remove_file(&partial);
        })
    }

    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.discard();
        let file = self.create(&self.partial(name))?;
        self.begun = Some((self.path.join(name), file));
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (_, file) = self.begun.as_mut().ok_or_else(none_begun)?;
        file.add(bytes);
        file.end_part()?;
        file.flush()
    }

    fn complete(&mut self) -> io::Result<u64> {
        let (path, mut file) = self.begun.take().ok_or_else(none_begun)?;
        let partial = file.path().to_owned();
        let renamed = file.flush().and_then(|()| fs::rename(&partial, path));
        renamed.map(|()| file.length()).inspect_err(|_| {
            let _ = fs::remove_file(partial);
        })
    }

    fn discard(&mut self) {
        if let Some((_, file)) = self.begun.take() {
            let _ = fs::remove_file(file.path());
        }
    }

    fn is_free(&self, name: &str) -> bool {
        let path = self.path.join(name);
        fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_file() && is_free(&path, &facts))
    }

    fn remove(&mut self, name: &str) {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{}: cannot be removed: {error}", self.path.join(name).display());
            }
            _ => {}
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.discard();
    }
}
