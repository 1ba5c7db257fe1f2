//! What a store knows of its reels, and which one goes when room is needed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::super::cutter::Cutter;
use super::super::identity::{Identity, Key};
use super::super::reader::Reel;
use crate::error::Error;

/// What is reported about a reel that was requested.
pub(super) type Answer = Result<Arc<Reel>, Error>;
/// The receiver. Called without any lock held.
pub(super) type Done = Box<dyn FnOnce(Answer) + Send>;

/// Most keys whose size is remembered after they did not fit.
const MOST_REMEMBERED: usize = 1024;

/// Everything that changes.
#[derive(Default)]
pub(super) struct State {
    pub(super) entries: HashMap<Key, Entry>,
    /// Sources that wait to be cut.
    pub(super) queue: VecDeque<Order>,
    /// Jobs that run, and how many of them are of each kind.
    pub(super) running: usize,
    pub(super) kinds: Kinds,
    /// Bytes of all entries, with what is reserved.
    total: u64,
    /// How large reels became that did not fit.
    too_large: HashMap<Key, u64>,
    /// Jobs that were ended because the disk is full.
    pub(super) no_room: HashSet<Key>,
    pub(super) orphans_removed: u64,
    pub(super) orphans_left: u64,
    pub(super) watching: bool,
    /// Threads that are at files of the directory besides jobs.
    pub(super) busy: usize,
    /// Nothing new begins.
    pub(super) closed: bool,
    /// The directory is another's.
    pub(super) released: bool,
}

/// One reel.
pub(super) struct Entry {
    pub(super) place: Place,
    /// Bytes on the disk.
    bytes: u64,
    /// Bytes it may come to have.
    reserved: u64,
    /// When it was last used, in microseconds since 1970.
    pub(super) used: Arc<AtomicU64>,
}

/// How a reel stands.
pub(super) enum Place {
    /// Complete, on the disk.
    Idle,
    /// Complete; its index is being read.
    Opening,
    /// Complete and in use, or let go since.
    Open(Weak<Reel>),
    /// Queued or running.
    Cutting(Cutting),
    /// Its files are being removed.
    Leaving,
}

/// A job, for those who wait for it.
pub(super) struct Cutting {
    pub(super) cancel: Arc<AtomicBool>,
    pub(super) heavy: bool,
    pub(super) running: bool,
    /// The reel, once it can be followed.
    pub(super) reel: Option<Arc<Reel>>,
    pub(super) waiting: Vec<(Instant, Done)>,
}

/// A source that is to be cut.
pub(super) struct Order {
    pub(super) identity: Identity,
    pub(super) cutter: Box<dyn Cutter>,
    pub(super) cancel: Arc<AtomicBool>,
    pub(super) heavy: bool,
}

/// How many jobs are of a kind that is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Kinds {
    pub(super) heavy: usize,
    pub(super) encoding: usize,
}

/// How many jobs may run at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Of those that copy.
    pub(super) copying: usize,
    /// Of those that encode.
    pub(super) encoding: usize,
}

impl Order {
    pub(super) fn kinds(&self) -> Kinds {
        Kinds { heavy: usize::from(self.heavy), encoding: usize::from(self.identity.recipe.encodes()) }
    }
}

impl Entry {
    pub(super) fn new(place: Place, used: u64) -> Self {
        Self { place, bytes: 0, reserved: 0, used: Arc::new(AtomicU64::new(used)) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn counted(&self) -> u64 {
        self.bytes.max(self.reserved)
    }

    /// Whether it may be removed: it is not in use.
    fn may_go(&self) -> bool {
        match &self.place {
            Place::Idle => true,
            Place::Open(reel) => reel.strong_count() == 0,
            _ => false,
        }
    }
}

impl State {
    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        self.remove(key);
        self.total += entry.counted();
        self.entries.insert(key, entry);
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.total -= entry.counted();
        Some(entry)
    }

    /// Says how many bytes a reel has and is going to have.
    pub(super) fn resize(&mut self, key: Key, bytes: u64, reserved: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            self.total -= entry.counted();
            (entry.bytes, entry.reserved) = (bytes, reserved);
            self.total += entry.counted();
        }
    }

    /// What was reserved for a reel.
    pub(super) fn reserved(&self, key: Key) -> u64 {
        self.entries.get(&key).map_or(0, |entry| entry.reserved)
    }

    /// The reels that have to go so that `key` can have `bytes`, the longest unused first; `None` if all that may go are
    /// not enough. They are marked as leaving; the caller removes their files.
    pub(super) fn make_room(&mut self, key: Option<Key>, bytes: u64, max_bytes: u64) -> Option<Vec<Key>> {
        let own = key.and_then(|key| self.entries.get(&key)).map_or(0, Entry::counted);
        let needed = self.total - own + bytes;
        let mut over = needed.saturating_sub(max_bytes);
        if over == 0 {
            return Some(Vec::new());
        }
        let mut may_go: Vec<_> =
            self.entries.iter().filter(|(at, entry)| Some(**at) != key && entry.may_go()).collect();
        may_go.sort_unstable_by_key(|(_, entry)| entry.used.load(Ordering::Relaxed));
        let mut going = Vec::new();
        for (at, entry) in may_go {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(entry.counted());
            going.push(*at);
        }
        if over > 0 {
            return None;
        }
        self.mark_leaving(&going);
        Some(going)
    }

    /// Bytes of all reels that may go.
    pub(super) fn idle_bytes(&self) -> u64 {
        self.entries.values().filter(|entry| entry.may_go()).map(|entry| entry.bytes).sum()
    }

    /// The reel that was unused for the longest time, marked as leaving.
    pub(super) fn oldest(&mut self) -> Option<Key> {
        let unused = self.entries.iter().filter(|(_, entry)| entry.may_go() && entry.bytes > 0);
        let (&key, _) = unused.min_by_key(|(_, entry)| entry.used.load(Ordering::Relaxed))?;
        self.mark_leaving(&[key]);
        Some(key)
    }

    fn mark_leaving(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.place = Place::Leaving;
            }
        }
    }

    /// The next source that may be cut now.
    pub(super) fn next_order(&mut self, most: Most) -> Option<Order> {
        if self.closed {
            return None;
        }
        let Kinds { heavy, encoding } = self.kinds;
        let copying = self.running - encoding;
        let may = |order: &Order| {
            let has_turn = match order.kinds() {
                Kinds { encoding: 0, .. } => copying < most.copying,
                _ => encoding < most.encoding,
            };
            has_turn && (!order.heavy || heavy == 0)
        };
        let place = self.queue.iter().position(may)?;
        let order = self.queue.remove(place)?;
        let kinds = order.kinds();
        self.running += 1;
        self.kinds.heavy += kinds.heavy;
        self.kinds.encoding += kinds.encoding;
        if let Some(Entry { place: Place::Cutting(cutting), .. }) = self.entries.get_mut(&order.identity.key)
        {
            cutting.running = true;
        }
        Some(order)
    }

    /// A job of these kinds runs no more.
    pub(super) fn ended(&mut self, kinds: Kinds) {
        self.running -= 1;
        self.kinds.heavy -= kinds.heavy;
        self.kinds.encoding -= kinds.encoding;
    }

    /// What a reel is known to need at least.
    pub(super) fn known_size(&self, key: Key) -> u64 {
        self.too_large.get(&key).copied().unwrap_or(0)
    }

    /// A reel of `bytes` did not fit.
    pub(super) fn note_too_large(&mut self, key: Key, bytes: u64) {
        if self.too_large.len() >= MOST_REMEMBERED {
            self.too_large.clear();
        }
        self.too_large.insert(key, bytes);
    }
}
