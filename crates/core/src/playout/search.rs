//! Looks for the next item of a list that can be played, past those that cannot.
//!
//! In: a place in a list. Out: the first item from there on that can be begun. Files are opened on threads of the reel store
//! and of readers, one after the other; the stream thread begins a search, asks how far it got, and takes what was found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::direct::{self, DirectFeed};
use super::faults::Faults;
use super::item::{Feed, Item};
use super::sequencer::LEAST_PLAYED;
use super::supply::{Ready, Supply, Use, not_built, order};
use crate::error::Error;
use crate::id::ItemId;
use crate::playlist::{Looker, PlaylistItem};
use crate::reel::{Reel, SLOT_MS, Store};

/// Items tried without a pause; the stream thread lets a search go on with its next turn.
const MOST_TRIES: usize = 512;

/// How far into a file a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// It is opened to be played.
    Play,
    /// It is opened, looked at and closed again: two readers of one stream hold memory, and the one that plays is not done yet.
    Glance,
}

/// How far a search got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// It goes on.
    Nowhere,
    /// This item can be begun.
    Ready,
    /// An item can be played, as far as a glance shows.
    Seen,
    /// It has to start over: many items failed.
    Tired,
    /// Nothing can be played.
    Nothing,
}

/// A search. Dropped, it ends, and what it opened is closed.
#[derive(Debug)]
pub(super) struct Search {
    shared: Arc<Shared>,
    depth: Depth,
    /// What was found.
    ready: Option<Ready>,
}

#[derive(Debug)]
struct Shared {
    supply: Supply,
    looker: Looker,
    faults: Arc<Mutex<Faults>>,
    over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trying: Option<PlaylistItem>,
    stage: Stage,
    tries: usize,
    /// The worker that opens files.
    feed: Option<DirectFeed>,
    /// Why the item is not played from a reel although there is a store.
    fallback: Option<Error>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Looking,
    Reel(Arc<Reel>),
    /// Its worker has opened the item.
    Opened,
    Seen,
    Tired,
    Nothing,
}

impl Search {
    /// Begins a search; never blocks.
    pub(super) fn begin(supply: Supply, looker: Looker, faults: Arc<Mutex<Faults>>, depth: Depth) -> Self {
        let state = Mutex::default();
        let shared = Arc::new(Shared { supply, looker, faults, over: AtomicBool::new(false), state });
        match depth {
            Depth::Play => shared.advance(),
            Depth::Glance => shared.glance(),
        }
        Self { shared, depth, ready: None }
    }

    /// How far into files it looks.
    pub(super) fn depth(&self) -> Depth {
        self.depth
    }

    /// The item it tries or has found; none if there is nothing left.
    pub(super) fn item(&self) -> Option<ItemId> {
        let state = self.shared.state.lock();
        match state.stage {
            Stage::Nothing | Stage::Tired => None,
            _ => state.trying.as_ref().map(|item| item.id),
        }
    }

    /// Whether it has left items out: there may be more of them, and what comes next is not to be expected in a moment.
    pub(super) fn is_past_bad_items(&self) -> bool {
        self.shared.state.lock().tries > 1
    }

    /// How far it got.
    pub(super) fn poll(&mut self) -> Got {
        self.check_reel();
        if self.ready.is_some() {
            return Got::Ready;
        }
        let mut state = self.shared.state.lock();
        match &state.stage {
            Stage::Nothing => Got::Nothing,
            Stage::Tired => Got::Tired,
            Stage::Seen => Got::Seen,
            Stage::Looking => {
                if state.feed.as_mut().is_some_and(|feed| feed.is_stopped()) {
                    // Its worker is gone without an answer: it panicked, and would do so again.
                    let item = state.trying.clone();
                    state.stage = Stage::Tired;
                    drop(state);
                    if let Some(item) = item {
                        let message = "the source's reader".to_owned();
                        self.shared.failed(&item, Error::Panicked { message });
                    }
                    return Got::Tired;
                }
                Got::Nowhere
            }
            Stage::Reel(reel) => {
                let (reel, path) = (reel.clone(), state.trying.as_ref().map(|item| item.path.clone()));
                drop(state);
                let item = Item::new(&path.unwrap_or_default(), Feed::Reel { reel, slot: 0 }, true);
                self.ready = Some(Ready { item, fallback: None, notices: Vec::new(), begins: 0 });
                Got::Ready
            }
            Stage::Opened => {
                let (Some(feed), Some(item)) = (state.feed.take(), state.trying.clone()) else {
                    return Got::Tired;
                };
                let fallback = state.fallback.take();
                drop(state);
                self.opened(feed, &item, fallback)
            }
        }
    }

    /// What was found.
    pub(super) fn found(&self) -> Option<(&Ready, PlaylistItem)> {
        Some((self.ready.as_ref()?, self.shared.state.lock().trying.clone()?))
    }

    /// What was found, to be begun.
    pub(super) fn take(mut self) -> Option<Ready> {
        self.ready.take()
    }

    fn opened(&mut self, feed: DirectFeed, entry: &PlaylistItem, fallback: Option<Error>) -> Got {
        let mut item = Item::new(&entry.path, Feed::Direct(feed), true);
        let mut notices = Vec::new();
        match item.try_open(&mut notices) {
            Ok(true) => {
                self.ready = Some(Ready { item, fallback, notices, begins: 0 });
                Got::Ready
            }
            // What the worker sends comes a moment after what it says here.
            Ok(false) => {
                let mut state = self.shared.state.lock();
                state.feed = item.into_direct();
                state.fallback = fallback;
                Got::Nowhere
            }
            Err(error) => {
                self.shared.failed(entry, error);
                Got::Tired
            }
        }
    }

    /// A reel that broke off at its very beginning is of no use; reading the file directly says what is wrong with it.
    fn check_reel(&mut self) {
        let Some(reel) = self.ready.as_ref().and_then(|ready| ready.item.reel()) else { return };
        let Some(error) = reel.failure().filter(|_| !reel.is_complete()) else { return };
        if (reel.slots() as i64) * SLOT_MS < LEAST_PLAYED {
            self.ready = None;
            let mut state = self.shared.state.lock();
            state.stage = Stage::Looking;
            let item = state.trying.clone();
            drop(state);
            if let Some(item) = item {
                self.shared.open(item, Some(error));
            }
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.state.lock().feed = None;
    }
}

impl Shared {
    /// Tries the next item, or ends the search.
    fn advance(self: &Arc<Self>) {
        let Some(item) = self.next() else { return };
        match self.supply.store.clone() {
            Some(store) => self.ask(&store, item),
            None => self.open(item, None),
        }
    }

    /// The item that is to be tried now.
    fn next(&self) -> Option<PlaylistItem> {
        if self.over.load(Ordering::Acquire) {
            return None;
        }
        let item = self.looker.peek();
        let mut state = self.state.lock();
        state.tries += 1;
        state.trying.clone_from(&item);
        if item.is_none() {
            state.stage = Stage::Nothing;
        } else if state.tries > MOST_TRIES {
            state.stage = Stage::Tired;
            return None;
        }
        item
    }

    fn failed(&self, item: &PlaylistItem, error: Error) {
        if !self.over.load(Ordering::Acquire) {
            self.faults.lock().failed(item, error, Instant::now());
            self.looker.hold(item.id);
        }
    }

    fn ask(self: &Arc<Self>, store: &Store, item: PlaylistItem) {
        let (recipes, path) = (self.supply.recipes.clone(), item.path.clone());
        let asked = Asked { search: Arc::downgrade(self), item: Some(item) };
        let what = {
            let path = path.clone();
            Box::new(move || order(&recipes, &path))
        };
        store.prepare_async(&path, what, Box::new(move |answer| asked.answer(answer)));
    }

    fn answered(self: &Arc<Self>, item: PlaylistItem, answer: Result<Arc<Reel>, Error>) {
        match answer {
            Ok(reel) => self.state.lock().stage = Stage::Reel(reel),
            Err(error) if direct::is_of_file(&error) => {
                self.failed(&item, error);
                self.advance();
            }
            // If it was the file and not the store, opening it again says so.
            Err(error) => self.open(item, Some(error)),
        }
    }

    /// Has a worker open files, from this one on.
    fn open(self: &Arc<Self>, item: PlaylistItem, fallback: Option<Error>) {
        if !direct::IS_BUILT {
            self.failed(&item, not_built(fallback));
            return self.advance();
        }
        let tried = self.tried(item.clone(), Stage::Opened);
        self.work(item, fallback, |supply, path| {
            DirectFeed::open_first(path, &supply.recipes, Use::Item, &supply.direct, tried)
        });
    }

    fn glance(self: &Arc<Self>) {
        let Some(item) = self.next() else { return };
        let tried = self.tried(item.clone(), Stage::Seen);
        self.work(item, None, |supply, path| {
            DirectFeed::glance(path, &supply.recipes, &supply.direct, tried)
        });
    }

    fn work(
        self: &Arc<Self>,
        item: PlaylistItem,
        fallback: Option<Error>,
        start: impl FnOnce(&Supply, std::path::PathBuf) -> Result<DirectFeed, Error>,
    ) {
        // Held until the worker is noted: it answers under the same lock.
        let mut state = self.state.lock();
        if self.over.load(Ordering::Acquire) {
            return;
        }
        state.fallback = fallback;
        match start(&self.supply, item.path.clone()) {
            Ok(feed) => state.feed = Some(feed),
            // There is no thread: that is not the item's fault, but it cannot be played now.
            Err(error) => {
                state.stage = Stage::Tired;
                drop(state);
                self.failed(&item, error);
            }
        }
    }

    /// What a worker asks after each file it tried: which one is next.
    fn tried(
        self: &Arc<Self>,
        mut item: PlaylistItem,
        on_success: Stage,
    ) -> impl FnMut(Result<(), Error>) -> Option<std::path::PathBuf> + Send + use<> {
        let search = Arc::downgrade(self);
        let mut on_success = Some(on_success);
        move |result| {
            let search = search.upgrade()?;
            let Err(error) = result else {
                search.state.lock().stage = on_success.take()?;
                return None;
            };
            search.failed(&item, error);
            if search.supply.store.is_some() {
                // This worker is done; the store is asked for the next one.
                search.state.lock().feed = None;
                search.advance();
                return None;
            }
            item = search.next()?;
            Some(item.path.clone())
        }
    }
}

/// A question to the store. One that is dropped without an answer is answered by that.
struct Asked {
    search: Weak<Shared>,
    item: Option<PlaylistItem>,
}

impl Asked {
    fn answer(mut self, answer: Result<Arc<Reel>, Error>) {
        if let (Some(search), Some(item)) = (self.search.upgrade(), self.item.take()) {
            search.answered(item, answer);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let (Some(search), Some(item)) = (self.search.upgrade(), self.item.take()) {
            search.failed(&item, Error::Ended);
            search.state.lock().stage = Stage::Tired;
        }
    }
}

#[cfg(all(test, feature = "libav"))]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::time::Duration;

    use super::super::supply::DirectOptions;
    use super::*;
    use crate::config::Config;
    use crate::playlist::Playlist;
    use crate::playout::recipes::Recipes;

    #[test]
    fn a_file_whose_reader_panics_waits_like_any_that_fails() {
        let (list, dir) = (Playlist::new(), tempfile::tempdir().unwrap());
        let bad = list.add(dir.path().join("bad")).unwrap();
        let next = list.add(dir.path().join("next")).unwrap();
        let cursor = list.cursor();
        let direct = DirectOptions {
            name: "test".to_owned(),
            read_ahead: Config::default().read_ahead,
            cpu: crate::sys::CpuMeter::default(),
            wake: None,
        };
        let recipes = Recipes::copy(crate::tracks::Tracks::Both, crate::tracks::Carriage::Plain);
        let faults = Arc::new(Mutex::new(Faults::default()));
        let shared = Arc::new(Shared {
            supply: Supply { store: None, recipes, direct },
            looker: cursor.looker(),
            faults: faults.clone(),
            over: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let item = shared.next().unwrap();
        assert_eq!(item.id, bad);
        shared.work(item, None, |supply, path| {
            DirectFeed::open_first(path, &supply.recipes, Use::Item, &supply.direct, |_| panic!("by design"))
        });
        let mut search = Search { shared, depth: Depth::Play, ready: None };
        let until = Instant::now() + Duration::from_secs(20);
        let mut got = Got::Nowhere;
        while got == Got::Nowhere && Instant::now() < until {
            std::thread::yield_now();
            got = search.poll();
        }
        assert_eq!(got, Got::Tired);
        let mut events = Vec::new();
        faults.lock().take_events(&mut events);
        let [crate::event::EventKind::ItemSkipped { error, .. }] = &*events else { panic!("{events:?}") };
        assert!(matches!(error, Error::Panicked { .. }), "{error:?}");
        // The next search begins behind it.
        assert_eq!(cursor.looker().peek().map(|item| item.id), Some(next));
    }
}
