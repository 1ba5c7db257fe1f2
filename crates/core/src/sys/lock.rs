//! A file that one process, and one owner in it, has for itself.

use std::fs::File;
use std::io;
use std::ops::Deref;

use rustix::fs::FlockOperation;

/// A file under an exclusive lock, for as long as this is kept.
///
/// Closing the file would not be enough to give the lock up: a process that the program starts has the file, too, for a moment.
#[derive(Debug)]
pub(crate) struct LockedFile(File);

impl LockedFile {
    /// Locks a file; `None` if somebody else has it, another holder in this process included.
    ///
    /// # Errors
    ///
    /// The file system does not lock.
    pub(crate) fn take(file: File) -> io::Result<Option<Self>> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            log::warn!("a lock was not given up before its file is closed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_holder_at_a_time() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("lock");
        let open = || File::create(&path).expect("it can be made");
        let held = LockedFile::take(open()).expect("it locks").expect("nobody has it");
        assert!(LockedFile::take(open()).expect("it locks").is_none());
        // As a process that was started meanwhile has it.
        let inherited = held.try_clone().expect("it can be had twice");
        drop(held);
        assert!(LockedFile::take(open()).expect("it locks").is_some(), "the lock outlives its holder");
        drop(inherited);
    }
}
