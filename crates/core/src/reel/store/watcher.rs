//! Looks every two seconds whether the sources of reels in use are still what they were, and whether the disk has room.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::Inner;
use super::state::{Place, State};
use crate::reel::reader::Reel;
use crate::sys::spawn;

const EVERY: Duration = Duration::from_secs(2);
const STACK: usize = 128 << 10;

impl Inner {
    /// Starts the watcher, once.
    pub(super) fn watch(self: &Arc<Self>, state: &mut State) {
        if state.watching || state.closed {
            return;
        }
        let inner = self.clone();
        let spawned = spawn("reel-watch", STACK, move || {
            let mut state = inner.state.lock();
            while !state.closed {
                inner.closing.wait_for(&mut state, EVERY);
                MutexGuard::unlocked(&mut state, || inner.look());
            }
        });
        match spawned {
            Ok(_) => state.watching = true,
            Err(error) => log::error!("no thread to watch the sources of reels: {error}"),
        }
    }

    /// Looks at the sources of all reels in use and at the disk, and sends those away who have waited for their turn long enough.
    pub(super) fn look(&self) {
        for reel in self.in_use() {
            reel.look_at_source();
        }
        self.keep_reserve();
        self.turn_away(self.state.lock(), |_, since| since.elapsed() >= EVERY);
    }

    fn in_use(&self) -> Vec<Arc<Reel>> {
        let state = self.state.lock();
        let reels = state.entries.values().filter_map(|entry| match &entry.place {
            Place::Open(reel) => reel.upgrade(),
            Place::Cutting(cutting) => cutting.reel.clone(),
            _ => None,
        });
        reels.collect()
    }
}
