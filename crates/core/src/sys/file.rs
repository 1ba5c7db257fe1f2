//! Which file a name leads to: links of either kind lead to the same one.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells files apart, whatever names they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The file at `path`; `None` if there is none, or it cannot be looked at.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    /// The disk it is on.
    pub(crate) fn device(self) -> u64 {
        self.device
    }
}

/// Whether both names lead to one file that is there.
#[cfg(feature = "libav")]
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    FileId::at(one).is_some_and(|one| Some(one) == FileId::at(other))
}

#[cfg(all(test, feature = "libav"))]
mod tests {
    use super::*;

    #[test]
    fn links_of_either_kind_lead_to_the_same_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [file, hard, soft, other] = ["a", "b", "c", "d"].map(|name| dir.path().join(name));
        fs::write(&file, "a").expect("there is room");
        fs::write(&other, "a").expect("there is room");
        fs::hard_link(&file, &hard).expect("the file system has links");
        std::os::unix::fs::symlink(&file, &soft).expect("the file system has links");
        assert!(is_same_file(&file, &hard) && is_same_file(&file, &soft) && is_same_file(&hard, &soft));
        assert!(!is_same_file(&file, &other));
        let gone = dir.path().join("gone");
        assert!(!is_same_file(&gone, &gone), "there is none");
    }
}
