//! Slots kept in memory, for reels that many streams play at once: each is then read once, and not by every stream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use flowcast_rtmp::flv::tag::Tag;

/// From so many streams on a reel is worth its memory.
pub(super) const CROWD: usize = 8;
/// What a slot takes besides its bytes: its tags, at some ten of them.
const SLOT_EXTRA: u64 = 1 << 10;

/// How many bytes all reels of a store may keep.
#[derive(Debug)]
pub(super) struct Budget {
    most: u64,
    taken: AtomicU64,
}

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self { most, taken: AtomicU64::new(0) }
    }

    /// Bytes taken at the moment.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let add = |taken: u64| taken.checked_add(bytes).filter(|&sum| sum <= self.most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

/// The slots of one reel, each from when it was first read.
#[derive(Debug)]
pub(super) struct Kept {
    slots: Box<[OnceLock<Box<[Tag]>>]>,
    bytes: u64,
    budget: Arc<Budget>,
}

impl Kept {
    /// Room for a reel of `slots` slots and `bytes` bytes; `None` where the budget does not have it.
    pub(super) fn within(budget: &Arc<Budget>, slots: usize, bytes: u64) -> Option<Self> {
        let bytes = bytes.checked_add(SLOT_EXTRA.checked_mul(slots as u64)?)?;
        budget.take(bytes).then(|| Self {
            slots: (0..slots).map(|_| OnceLock::new()).collect(),
            bytes,
            budget: budget.clone(),
        })
    }

    /// The tags of a slot that was read before.
    pub(super) fn get(&self, slot: usize) -> Option<&[Tag]> {
        self.slots.get(slot)?.get().map(AsRef::as_ref)
    }

    /// Keeps a slot.
    pub(super) fn keep(&self, slot: usize, tags: &[Tag]) {
        if let Some(place) = self.slots.get(slot) {
            let _ = place.set(tags.into());
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_for_all_reels_together_and_comes_back() {
        let budget = Arc::new(Budget::new(10_000));
        let one = Kept::within(&budget, 2, 5_000).expect("there is room");
        assert!(Kept::within(&budget, 2, 5_000).is_none());
        let other = Kept::within(&budget, 1, 1_000).expect("there is room for a small one");
        assert_eq!(budget.taken(), 5_000 + 1_000 + 3 * 1024);
        drop((one, other));
        assert_eq!(budget.taken(), 0);
        assert!(Kept::within(&budget, usize::MAX, 1).is_none());
    }
}
