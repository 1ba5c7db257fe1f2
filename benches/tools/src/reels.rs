//! The one place that knows how streams are told to play from reels.

use std::path::Path;
use std::time::{Duration, Instant};

use flowcast::{Config, Engine, ReelStore};

/// How long between two looks at the store.
const LOOK: Duration = Duration::from_millis(20);

/// Lets looped files play from reels kept in `directory`.
pub fn keep_in(config: &mut Config, directory: &Path) {
    config.reels = Some(ReelStore::new(directory));
}

/// Waits until no reel is being cut, or for `patience`.
pub fn wait_for_cutter(engine: &Engine, patience: Duration) {
    let deadline = Instant::now() + patience;
    while engine.reel_store_stats().is_some_and(|stats| stats.cutting > 0) && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
}
