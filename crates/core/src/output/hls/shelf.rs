//! Where an HLS output puts its files: a directory, or memory.
//!
//! In: files, each whole or piece by piece. Out: files that are seen whole or not at all. On the writer's thread.

use std::io;

/// A place for the files of one output. Nobody else writes to it as long as it is held.
pub(super) trait Shelf: Send {
    /// The text of a file; `None` if there is none.
    ///
    /// # Errors
    ///
    /// What the file system said.
    fn read(&self, name: &str) -> io::Result<Option<String>>;

    /// The names of all files.
    ///
    /// # Errors
    ///
    /// What the file system said.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes sure that it is there. `false`: it was gone, and there is another one of its name, without the files that were put here.
    ///
    /// # Errors
    ///
    /// It is not there, or somebody else has taken it.
    fn check(&mut self) -> io::Result<bool>;

    /// Puts a whole file, in place of one of its name.
    ///
    /// # Errors
    ///
    /// What the file system said; one of its name is as it was.
    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Begins a file, which nobody sees. One that was begun before is dropped.
    ///
    /// # Errors
    ///
    /// What the file system said.
    fn begin(&mut self, name: &str) -> io::Result<()>;

    /// Adds to the file that was begun.
    ///
    /// # Errors
    ///
    /// What the file system said. The file is to be dropped then.
    fn add(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The file that was begun is complete, and is seen from now on; its size in bytes.
    ///
    /// # Errors
    ///
    /// What the file system said, or that none was begun.
    fn complete(&mut self) -> io::Result<u64>;

    /// Drops the file that was begun.
    fn discard(&mut self);

    /// Whether a file is there, and nothing reads or writes it.
    fn is_free(&self, name: &str) -> bool;

    /// Removes a file.
    fn remove(&mut self, name: &str);
}

/// That no file was begun.
pub(super) fn none_begun() -> io::Error {
    io::Error::other("no segment is being written")
}
