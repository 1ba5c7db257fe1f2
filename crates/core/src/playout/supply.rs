//! Gets items ready to be played: as reels from the store, or else directly.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::cutter::FileCutter;
use super::direct::{self, DirectFeed, Entered, OpenFile, track_skipped};
use super::item::{Feed, Item};
use super::recipes::Recipes;
use crate::config::QueueBounds;
use crate::error::Error;
use crate::event::EventKind;
pub(crate) use crate::lap::Wake;
use crate::reel::{Cutter, Recipe, Reel, SLOT_MS, Store};
use crate::stats::SourceMode;
use crate::sys::{CodecHost, CpuMeter};

/// Makes items of files, for one lane.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    pub(crate) store: Option<Store>,
    pub(crate) recipes: Recipes,
    pub(crate) direct: DirectOptions,
}

/// What is needed to read a file on a thread of its own.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav there are no readers"))]
pub(crate) struct DirectOptions {
    /// The thread's name, `fw-` and this.
    pub(crate) name: String,
    /// Bounds of what is read ahead.
    pub(crate) read_ahead: QueueBounds,
    /// Whose CPU time it is.
    pub(crate) cpu: CpuMeter,
    /// Wakes the stream where it does not wait for its next tick.
    pub(crate) wake: Option<Wake>,
}

/// How an item is to be read where there is no reel of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Once, to the end of all its tracks.
    Once,
    /// Once, as an item of a list: audio behind the end of the video is left out.
    Item,
    /// Again and again.
    Loop,
}

/// An item that can be begun.
#[derive(Debug)]
pub(super) struct Ready {
    /// The item.
    pub(super) item: Item,
    /// Why it is not played from a reel although there is a store.
    pub(super) fallback: Option<Error>,
    /// What has to be reported about it.
    pub(super) notices: Vec<EventKind>,
    /// Where a worker has begun it, in milliseconds of its clock; 0 for its beginning, and for a reel.
    pub(super) begins: i64,
}

impl Ready {
    /// Whether a reel of it is being made, or waits for its turn.
    pub(super) fn awaits_reel(&self) -> bool {
        self.fallback.as_ref().is_some_and(is_busy)
    }

    /// Tells what was decided, what is missing and what was wrong; the item, and why it is not played from a reel.
    pub(super) fn told(self, supply: &Supply, notices: &mut Vec<EventKind>) -> (Item, Option<Error>) {
        let Self { item, fallback, notices: own, begins: _ } = self;
        supply.recipes.tell(notices);
        notices.extend(own);
        (item, fallback)
    }
}

/// An item that is being got ready.
#[derive(Debug)]
pub(super) struct Pending {
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
    pub(super) fn usual_mode(&self, how: Use) -> SourceMode {
        if self.store_for(how).is_some() { SourceMode::Reel } else { SourceMode::Direct }
    }

    /// Gets an item ready, to be begun at the keyframe at or before `offset`.
    ///
    /// # Errors
    ///
    /// What is wrong with the file. Trouble with the store is no error: the item is then played directly.
    ///
    /// # Blocking
    ///
    /// On the file: until its first seconds are cut, or it is open.
    pub(super) fn ready(&self, path: &Path, how: Use, offset: Duration) -> Result<Ready, Error> {
        let mut fallback = None;
        let millis = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX);
        if let Some(store) = self.store_for(how) {
            let order = order(&self.recipes, path)?;
            match store.prepare(path, order.0, order.1) {
                // One that does not reach so far yet is taken up with a later lap.
                Ok(reel) if !direct::IS_BUILT || reaches(&reel, millis) => {
                    let item = Item::new(path, Feed::Reel { reel, slot: 0 }, how != Use::Once);
                    return Ok(Ready { item, fallback: None, notices: Vec::new(), begins: 0 });
                }
                Ok(_) => {}
                Err(error) => fallback = Some(error),
            }
        }
        // If it was the file and not the store, opening it again says so.
        self.open(path, how, millis, fallback)
    }

    fn open(&self, path: &Path, how: Use, millis: i64, fallback: Option<Error>) -> Result<Ready, Error> {
        if !direct::IS_BUILT {
            return Err(not_built(fallback));
        }
        // This is the program's thread, and codecs start theirs when they are opened.
        let host = CodecHost::lend(&format!("fw-{}", self.direct.name), &self.direct.cpu);
        let mut file = OpenFile::open(path, &self.recipes, how)?;
        if how == Use::Item {
            // An index without the media it points to opens well; a list has other items, which do give something.
            file = file.primed()?;
        }
        let mut entered = Entered { lead: None, begins: 0 };
        if millis > 0 {
            (file, entered) = file.entered(millis)?;
        }
        drop(host);
        let notices = file.skipped().iter().cloned().map(track_skipped).collect();
        let headers = file.headers();
        let feed = Feed::Direct(file.start(how, 0, &self.direct)?);
        let item = Item::opened(path, feed, headers, how != Use::Once).led_by(entered.lead);
        Ok(Ready { item, fallback, notices, begins: entered.begins })
    }

    /// Begins to get an item ready; never blocks.
    pub(super) fn prepare(&self, path: &Path, how: Use) -> Pending {
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

    fn opening(&self, path: &Path, how: Use, why: Option<Error>) -> State {
        if !direct::IS_BUILT {
            return State::Failed(not_built(why));
        }
        match DirectFeed::open(path.to_owned(), &self.recipes, how, 0, &self.direct) {
            Ok(feed) => State::Opening(Box::new(Item::new(path, Feed::Direct(feed), true))),
            Err(error) => State::Failed(error),
        }
    }

    /// Goes on with `path` directly, from slot number `from` of its first lap on; never blocks.
    pub(super) fn go_on(&self, path: &Path, how: Use, from: usize) -> Result<Feed, Error> {
        DirectFeed::open(path.to_owned(), &self.recipes, how, from, &self.direct).map(Feed::Direct)
    }
}

impl Pending {
    /// A reel that is known already, for when it is complete.
    pub(super) fn following(path: &Path, how: Use, reel: Arc<Reel>) -> Self {
        Self { path: path.to_owned(), how, state: State::Following(reel), fallback: None }
    }

    /// The item, once it is ready or it is clear that it never will be; then this is not to be asked again.
    pub(super) fn poll(&mut self, supply: &Supply) -> Option<Result<Ready, Error>> {
        self.poll_reel(supply, |_| true, true)
    }

    /// As [`poll`](Self::poll), but a reel only once all of the file is in it; and only a reel, unless `or_directly`.
    pub(super) fn poll_whole(&mut self, supply: &Supply, or_directly: bool) -> Option<Result<Ready, Error>> {
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
                return Some(Ok(Ready { item, fallback: None, notices: Vec::new(), begins: 0 }));
            }
            let failure = failure?;
            if or_directly {
                self.open(supply, failure);
            } else {
                self.state = State::Failed(failure);
            }
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Opening(mut item) => {
                let mut notices = Vec::new();
                match item.try_open(&mut notices) {
                    Ok(true) => {
                        Some(Ok(Ready { item: *item, fallback: self.fallback.take(), notices, begins: 0 }))
                    }
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

/// Whether it is only that the store has not got so far.
pub(super) fn is_busy(error: &Error) -> bool {
    matches!(error, Error::ReelStore { source, .. } if source.kind() == std::io::ErrorKind::WouldBlock)
}

/// Whether a reel has what is `millis` into the file, as far as it is cut.
fn reaches(reel: &Reel, millis: i64) -> bool {
    let cut = i64::try_from(reel.slots()).unwrap_or(i64::MAX).saturating_mul(SLOT_MS);
    millis == 0 || reel.is_complete() || millis < cut
}

/// What the store is asked for.
pub(super) fn order(recipes: &Recipes, path: &Path) -> Result<(Recipe, Box<dyn Cutter>), Error> {
    let settled = recipes.settle(path)?;
    let recipe = settled.recipe.clone();
    Ok((recipe, Box::new(FileCutter::new(settled, recipes))))
}

/// Why a file cannot be read where libav is not built: the reason why there is no reel of it, if there is one.
pub(super) fn not_built(why: Option<Error>) -> Error {
    why.unwrap_or(Error::NotBuilt { feature: "libav" })
}
