//! The settings of a reel store, and its figures.

use std::path::PathBuf;

use crate::error::Error;

/// Where reels are kept: files that are cut once and from then on played without libav. See
/// [`Config::reels`](crate::Config::reels).
///
/// Everything in the directory can be made again. The directory belongs to one engine at a time. Files in it that are
/// not named like a reel's are never touched.
///
/// ```
/// # extern crate flowcast_core as flowcast;
/// use flowcast::{Config, ReelStore};
/// let mut store = ReelStore::new("/var/cache/flowcast");
/// store.max_bytes = 50 << 30;
/// let mut config = Config::default();
/// config.reels = Some(store);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReelStore {
    /// The directory; it is created if it does not exist. It needs about as many bytes as the sources that are
    /// played.
    pub dir: PathBuf,
    /// The most bytes of reels kept, including those that are being cut. Default 10 GiB. Above it, the reel that has
    /// not been used for the longest time is removed; one in use never is. If this is too small, files are cut again
    /// and again.
    pub max_bytes: u64,
    /// Bytes of the disk that are left free for others, such as recordings. Default `None`: a twentieth of the disk,
    /// at most 512 MiB. If less is free, no reel is begun, and unused reels are removed, those unused for the longest
    /// time first; if less than half of it is free, cutting stops, too. If a recording's disk is full all the same,
    /// reels are removed and cutting stops before the recording ends.
    pub keep_free: Option<u64>,
    /// The most bytes per second that all cutting together writes. Default `None`: as fast as the disk. A limit
    /// leaves the disk to others; below the sources' own bit rate, streams have to be read directly in their first
    /// lap.
    pub bytes_per_second: Option<u64>,
    /// What happens if another engine, of this process or another, uses the directory. Default [`WhenInUse::Refuse`].
    pub when_in_use: WhenInUse,
}

/// What happens if the directory of a [`ReelStore`] is already in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenInUse {
    /// The engine is not made: [`Error::ReelStoreInUse`](crate::Error::ReelStoreInUse).
    #[default]
    Refuse,
    /// A subdirectory is used, the first of `second` to `sixteenth` that is free. It has a [`ReelStore::max_bytes`]
    /// of its own, and the same one is found again after a restart if no other engine took it.
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

/// Figures of a reel store; see [`Engine::reel_store_stats`](crate::Engine::reel_store_stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReelStoreStats {
    /// Complete reels.
    pub reels: usize,
    /// Bytes they take on the disk, including what has been cut so far.
    pub bytes: u64,
    /// Reels that are open: streams play them, or they grow.
    pub in_use: usize,
    /// Files left behind by a crash that were removed when the store was opened.
    pub orphans_removed: u64,
    /// Those that could not be removed; they are tried again when the store is opened the next time.
    pub orphans_left: u64,
    /// Files that are being cut or wait for that.
    pub cutting: usize,
}

crate::settings::settings!(ReelStore);
