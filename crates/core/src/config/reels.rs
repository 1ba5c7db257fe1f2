//! The settings of a reel store, and what it tells of itself.

use std::path::PathBuf;

use crate::error::Error;

/// Where reels are kept: files that were cut to fit once and are played without libav from then on. See
/// [`Config::reels`](crate::Config::reels).
///
/// The directory holds nothing but what can be made again. It belongs to one engine at a time; files in it that are not
/// named like a reel's are never touched.
///
/// ```
/// use flowcast_core::{Config, ReelStore};
/// let mut store = ReelStore::new("/var/cache/flowcast");
/// store.max_bytes = 50 << 30;
/// let mut config = Config::default();
/// config.reels = Some(store);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReelStore {
    /// The directory; it is made if there is none. It wants about as many bytes as the sources that are played have.
    pub dir: PathBuf,
    /// Most bytes of reels kept, those that are being cut included. Default 10 GiB. Over it, the reel that was not used
    /// for the longest time goes; one in use never does. Too small, and files are cut again and again.
    pub max_bytes: u64,
    /// Bytes of the disk that are left free for others, such as recordings. Default `None`: a twentieth of the disk, at most
    /// 512 MiB. Where less is free, no reel is begun, and those that nobody uses go, the longest unused first; where less than half
    /// of it is, cutting ends, too. A recording whose disk is full all the same has reels removed, and cutting ended, before it
    /// gives up.
    pub keep_free: Option<u64>,
    /// Most bytes per second that all cutting together writes. Default `None`: as fast as the disk. A limit keeps a disk
    /// free for others; below the sources' own bitrate streams have to be read directly for their first lap.
    pub bytes_per_second: Option<u64>,
    /// What is done if another engine, of this process or another, uses the directory. Default [`WhenInUse::Refuse`].
    pub when_in_use: WhenInUse,
}

/// What is done if the directory of a [`ReelStore`] is in use already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenInUse {
    /// The engine is not made: [`Error::ReelStoreInUse`](crate::Error::ReelStoreInUse).
    #[default]
    Refuse,
    /// A directory within it is used, `second` to `sixteenth` of its kind, the first that is free. It has
    /// [`ReelStore::max_bytes`] of its own, and the same one is found again after a restart if no other engine took it.
    Subdirectory,
}

impl ReelStore {
    /// A store in `dir` with the defaults.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_bytes: 10 << 30,
            keep_free: None,
            bytes_per_second: None,
            when_in_use: WhenInUse::default(),
        }
    }

    /// Refuses settings that cannot work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |name, reason: &str| Err(Error::Config { name, reason: reason.to_owned() });
        if self.dir.as_os_str().is_empty() {
            return fail("reels.dir", "must name a directory");
        }
        if self.max_bytes == 0 {
            return fail("reels.max_bytes", "must be more than zero");
        }
        if self.bytes_per_second == Some(0) {
            return fail("reels.bytes_per_second", "must be more than zero, or None for no limit");
        }
        Ok(())
    }
}

/// A reel store in figures; see [`Engine::reel_store_stats`](crate::Engine::reel_store_stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReelStoreStats {
    /// Complete reels.
    pub reels: usize,
    /// Bytes they take on the disk, with what has been cut so far.
    pub bytes: u64,
    /// Reels that are open: streams play them, or they grow.
    pub in_use: usize,
    /// Files that a crash had left behind and that were removed when the store was opened.
    pub orphans_removed: u64,
    /// Files that are being cut or wait for it.
    pub cutting: usize,
}
