//! Gets items ready to be played: as reels from the store, or else directly.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

#[cfg(feature = "libav")]
use super::direct::{DirectFeed, DirectOptions, Laps, OpenFile, track_skipped};
use super::item::{Feed, Item};
use super::recipes::Recipes;
use crate::error::Error;
use crate::event::EventKind;
use crate::reel::{Cutter, Recipe, Reel, Store};
use crate::stats::SourceMode;

/// Makes items of files, for one lane.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    pub(crate) store: Option<Store>,
    pub(crate) recipes: Recipes,
    #[cfg(feature = "libav")]
    pub(crate) direct: DirectOptions,
}

/// How an item is to be read where there is no reel of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Once, to the end of all its tracks.
    Once,
    /// As one of many.
    Item,
    /// Again and again.
    Loop,
}

/// An item that can be begun.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The item.
    pub(crate) item: Item,
    /// Why it is not played from a reel although there is a store.
    pub(crate) fallback: Option<Error>,
    /// What has to be reported about it.
    pub(crate) notices: Vec<EventKind>,
}

impl Ready {
    /// Whether a reel of it is being made, or waits for its turn.
    pub(crate) fn awaits_reel(&self) -> bool {
        self.fallback.as_ref().is_some_and(|error| is_busy(error))
    }

    /// Tells what was decided, what is missing and what was wrong; the item, and why it is not played from a reel.
    pub(crate) fn told(self, supply: &Supply, notices: &mut Vec<EventKind>) -> (Item, Option<Error>) {
        let Self { item, fallback, notices: own } = self;
        #[cfg(feature = "libav")]
        supply.recipes.tell(notices);
        #[cfg(not(feature = "libav"))]
        let _ = supply;
        notices.extend(own);
        (item, fallback)
    }
}

/// An item that is being got ready.
#[derive(Debug)]
pub(crate) struct Pending {
    path: PathBuf,
    how: Use,
    state: State,
    fallback: Option<Error>,
}

type Answer = Arc<Mutex<Option<Result<Arc<Reel>, Error>>>>;

#[derive(Debug)]
enum State {
    /// The store is asked.
    Asked(Answer),
    /// The store has a reel, which may still grow.
    Following(Arc<Reel>),
    /// A worker opens the file.
    #[cfg(feature = "libav")]
    Opening(Box<Item>),
    Failed(Error),
    Taken,
}

impl Supply {
    /// The store, if an item is to be played from a reel.
    fn store_for(&self, how: Use) -> Option<&Store> {
        // A file that is played once is not worth a reel, unless nothing else can read it.
        self.store.as_ref().filter(|_| how != Use::Once || cfg!(not(feature = "libav")))
    }

    /// How an item is played unless the store cannot serve it.
    pub(crate) fn usual_mode(&self, how: Use) -> SourceMode {
        if self.store_for(how).is_some() { SourceMode::Reel } else { SourceMode::Direct }
    }

    /// Gets an item ready.
    ///
    /// # Errors
    ///
    /// What is wrong with the file. Trouble with the store is no error: the item is then played directly.
    ///
    /// # Blocking
    ///
    /// On the file: until its first seconds are cut, or it is open.
    pub(crate) fn ready(&self, path: &Path, how: Use) -> Result<Ready, Error> {
        let mut fallback = None;
        if let Some(store) = self.store_for(how) {
            let order = order(&self.recipes, path)?;
            match store.prepare(path, order.0, order.1) {
                Ok(reel) => {
                    let item = Item::new(path, Feed::Reel { reel, slot: 0 }, how != Use::Once);
                    return Ok(Ready { item, fallback: None, notices: Vec::new() });
                }
                Err(error) => fallback = Some(error),
            }
        }
        // If it was the file and not the store, opening it again says so.
        self.open(path, how, fallback)
    }

    #[cfg(feature = "libav")]
    fn open(&self, path: &Path, how: Use, fallback: Option<Error>) -> Result<Ready, Error> {
        let laps = how.laps();
        let file = OpenFile::open(path, &self.recipes, laps.tail())?;
        let notices = file.skipped().iter().cloned().map(track_skipped).collect();
        let headers = file.headers();
        let feed = Feed::Direct(file.start(laps, 0, &self.direct)?);
        let item = Item::opened(path, feed, headers, how != Use::Once);
        Ok(Ready { item, fallback, notices })
    }

    #[cfg(not(feature = "libav"))]
    fn open(&self, _path: &Path, _how: Use, fallback: Option<Error>) -> Result<Ready, Error> {
        Err(fallback.unwrap_or(Error::NotBuilt { feature: "libav" }))
    }

    /// Begins to get an item ready; never blocks.
    pub(crate) fn prepare(&self, path: &Path, how: Use) -> Pending {
        let state = match &self.store {
            Some(store) => {
                let answer = Answer::default();
                let slot = answer.clone();
                let (recipes, file) = (self.recipes.clone(), path.to_owned());
                store.prepare_async(
                    path,
                    Box::new(move || order(&recipes, &file)),
                    Box::new(move |result| *slot.lock() = Some(result)),
                );
                State::Asked(answer)
            }
            None => self.opening(path, how, None),
        };
        Pending { path: path.to_owned(), how, state, fallback: None }
    }

    #[cfg(feature = "libav")]
    fn opening(&self, path: &Path, how: Use, _why: Option<Error>) -> State {
        match DirectFeed::open(path.to_owned(), &self.recipes, how.laps(), 0, &self.direct) {
            Ok(feed) => State::Opening(Box::new(Item::new(path, Feed::Direct(feed), true))),
            Err(error) => State::Failed(error),
        }
    }

    #[cfg(not(feature = "libav"))]
    fn opening(&self, _path: &Path, _how: Use, why: Option<Error>) -> State {
        State::Failed(why.unwrap_or(Error::NotBuilt { feature: "libav" }))
    }

    /// Goes on with `path` directly, from slot number `from` of its first lap on; never blocks.
    #[cfg(feature = "libav")]
    pub(crate) fn go_on(&self, path: &Path, how: Use, from: usize) -> Result<Feed, Error> {
        DirectFeed::open(path.to_owned(), &self.recipes, how.laps(), from, &self.direct).map(Feed::Direct)
    }
}

impl Pending {
    /// A reel that is known already, for when it is complete.
    pub(crate) fn following(path: &Path, how: Use, reel: Arc<Reel>) -> Self {
        Self { path: path.to_owned(), how, state: State::Following(reel), fallback: None }
    }

    /// The item, once it is ready or it is clear that it never will be; then this is not to be asked again.
    pub(crate) fn poll(&mut self, supply: &Supply) -> Option<Result<Ready, Error>> {
        self.poll_reel(supply, |_| true, true)
    }

    /// As [`poll`](Self::poll), but a reel only once all of the file is in it; and only a reel, unless `or_directly`.
    pub(crate) fn poll_whole(&mut self, supply: &Supply, or_directly: bool) -> Option<Result<Ready, Error>> {
        self.poll_reel(supply, Reel::is_complete, or_directly)
    }

    fn poll_reel(
        &mut self,
        supply: &Supply,
        is_enough: impl FnOnce(&Reel) -> bool,
        or_directly: bool,
    ) -> Option<Result<Ready, Error>> {
        if let State::Asked(answer) = &self.state {
            let answer = answer.lock().take()?;
            match answer {
                Ok(reel) => self.state = State::Following(reel),
                Err(error) if or_directly => self.open(supply, error),
                Err(error) => self.state = State::Failed(error),
            }
        }
        if let State::Following(reel) = &self.state {
            let failure = reel.failure();
            if is_enough(reel) {
                let item = Item::new(&self.path, Feed::Reel { reel: reel.clone(), slot: 0 }, true);
                self.state = State::Taken;
                return Some(Ok(Ready { item, fallback: None, notices: Vec::new() }));
            }
            let failure = failure?;
            if or_directly {
                self.open(supply, failure);
            } else {
                self.state = State::Failed(failure);
            }
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            #[cfg(feature = "libav")]
            State::Opening(mut item) => {
                let mut notices = Vec::new();
                match item.try_open(&mut notices) {
                    Ok(true) => Some(Ok(Ready { item: *item, fallback: self.fallback.take(), notices })),
                    Ok(false) => {
                        self.state = State::Opening(item);
                        None
                    }
                    Err(error) => Some(Err(error)),
                }
            }
            State::Failed(error) => Some(Err(error)),
            State::Asked(_) | State::Following(_) | State::Taken => None,
        }
    }

    /// There is no reel: if it was the file and not the store, opening it again says so.
    fn open(&mut self, supply: &Supply, why: Error) {
        self.state = supply.opening(&self.path, self.how, Some(why.clone()));
        self.fallback = Some(why);
    }
}

#[cfg(feature = "libav")]
impl Use {
    fn laps(self) -> Laps {
        match self {
            Self::Once => Laps::Once,
            Self::Item => Laps::Item,
            Self::Loop => Laps::Endless,
        }
    }
}

/// Whether it is only that the store has not got so far.
pub(crate) fn is_busy(error: &Error) -> bool {
    matches!(error, Error::ReelStore { source, .. } if source.kind() == std::io::ErrorKind::WouldBlock)
}

/// What the store is asked for.
#[cfg(feature = "libav")]
pub(crate) fn order(recipes: &Recipes, path: &Path) -> Result<(Recipe, Box<dyn Cutter>), Error> {
    let settled = recipes.settle(path)?;
    let (encoders, listener) = (recipes.encoders().cloned(), recipes.listener());
    let recipe = settled.recipe.clone();
    Ok((recipe, Box::new(super::cutter::FileCutter { settled, encoders, listener })))
}

/// Without libav only files that already are reels can be played.
#[cfg(not(feature = "libav"))]
pub(crate) fn order(recipes: &Recipes, path: &Path) -> Result<(Recipe, Box<dyn Cutter>), Error> {
    struct NoCutter;
    impl Cutter for NoCutter {
        fn open(
            self: Box<Self>,
            _path: &Path,
            _cancel: &std::sync::atomic::AtomicBool,
        ) -> Result<Box<dyn crate::reel::Cut>, Error> {
            Err(Error::NotBuilt { feature: "libav" })
        }
    }
    Ok((recipes.settle(path)?.recipe, Box::new(NoCutter)))
}
