//! The one place that knows how streams are told to play from reels.

use std::path::Path;
use std::time::Duration;

use flowcast::{Config, Engine, StreamStats};

use crate::Result;

/// Lets looped files play from reels kept in `directory`.
pub fn keep_in(config: &mut Config, directory: &Path) -> Result<()> {
    let _ = config;
    Err(format!("{}: this build plays no reels", directory.display()).into())
}

/// How late a stream's thread woke at the worst, if the library tells.
#[must_use]
pub fn schedule_lag_max(stats: &StreamStats) -> Option<Duration> {
    let _ = stats;
    None
}

/// Waits until no reel is being cut, or for `patience`.
pub fn wait_for_cutter(engine: &Engine, patience: Duration) {
    let _ = (engine, patience);
}
