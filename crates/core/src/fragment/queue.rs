//! The queue between the program that pushes fragments and the stream that plays them.
//!
//! In: fragments, on the program's threads and tasks, which wait while it is full. Out: one fragment at a time, on the stream's thread,
//! which never waits; and what became of each.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::boxes::Look;
use super::clock::Stamp;
use super::figures::{Figures, Outcome};
use super::media::{Fragment, Held};
use super::{FragmentHealth, FragmentOptions, FragmentStats, Pushed};
use crate::error::Error;
use crate::sys::{Waiting, Wakers};

/// Ids that are kept.
const MOST_IDS: usize = 4096;
/// Files that are not taken and not told yet.
const MOST_REFUSED: usize = 64;

/// Whether the stream waits for a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Gap {
    /// It does not.
    #[default]
    None,
    /// The one before is over, and there is none.
    Waits,
}

/// What both sides have.
#[derive(Debug)]
pub(crate) struct Shared {
    options: FragmentOptions,
    state: Mutex<State>,
    /// There is room, or no use in waiting for it.
    room: Condvar,
    tasks: Arc<Wakers>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Held>,
    /// Places that are kept for what is being pushed, and for the fragment that is being opened.
    pushing: usize,
    opening: usize,
    /// The number that was given last.
    number: u64,
    /// The init segment that came last.
    init: Option<Bytes>,
    /// When the fragment begins that is on the air, or is being opened for it.
    opened: Option<Stamp>,
    ids: Ids,
    /// A stream plays it; one did, and has ended.
    attached: bool,
    ended: bool,
    /// Streams that will open it again if it fails.
    claims: usize,
    finished: bool,
    gap: Gap,
    figures: Figures,
    /// What a watched directory has that is not taken, to be told by the stream.
    refused: Vec<(String, Error)>,
}

/// The ids that came last.
#[derive(Debug, Default)]
struct Ids {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Ids {
    fn add(&mut self, id: String) {
        if self.known.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > MOST_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl State {
    fn held(&self) -> usize {
        self.queue.len() + self.opening
    }

    fn is_full(&self, options: &FragmentOptions) -> bool {
        self.held() + self.pushing >= options.fragment_buffer_size.max(1)
    }

    fn is_over(&self) -> bool {
        self.finished || (self.ended && !self.attached && self.claims == 0)
    }

    fn is_known(&self, id: Option<&String>) -> bool {
        id.is_some_and(|id| self.ids.known.contains(id))
    }

    /// Where a fragment goes among those that are held: behind them, unless it is a segment that is missing between two of them. One that is older
    /// than what has begun is of a clock that was set back.
    fn place_of(&self, held: &Held) -> usize {
        let behind = self.queue.len();
        let Some(stamp) = &held.stamp else { return behind };
        let is_between = |at: usize| {
            let next = self.queue.get(at).and_then(|next| next.stamp.as_ref());
            let before = match at.checked_sub(1).and_then(|before| self.queue.get(before)) {
                Some(before) => before.stamp.as_ref(),
                None => self.opened.as_ref(),
            };
            next.and_then(|next| stamp.since(next)).is_some_and(|since| since < 0)
                && before.is_none_or(|before| stamp.since(before).is_some_and(|since| since > 0))
        };
        (0..behind).find(|at| is_between(*at)).unwrap_or(behind)
    }
}

/// Why a fragment does not get a place.
pub(super) enum Refused {
    /// There is no room.
    Full,
    /// It is known.
    Duplicate,
    /// Nobody plays it any more.
    Over,
}

impl Shared {
    pub(super) fn new(options: FragmentOptions) -> Self {
        Self { options, state: Mutex::default(), room: Condvar::new(), tasks: Arc::default() }
    }

    pub(crate) fn options(&self) -> &FragmentOptions {
        &self.options
    }

    pub(super) fn held(&self) -> usize {
        self.state.lock().held()
    }

    pub(super) fn stats(&self) -> FragmentStats {
        let state = self.state.lock();
        FragmentStats { held: state.held(), ..state.figures.stats.clone() }
    }

    pub(super) fn health(&self) -> FragmentHealth {
        let state = self.state.lock();
        state.figures.health(state.gap)
    }

    /// As [`FragmentPublisher::finish`](super::FragmentPublisher::finish).
    pub(super) fn finish(&self) {
        self.state.lock().finished = true;
        self.tell();
    }

    /// Those who wait look again.
    fn tell(&self) {
        self.room.notify_all();
        self.tasks.wake();
    }

    pub(super) fn push(&self, fragment: Fragment) -> Result<Pushed, Error> {
        let mut state = self.state.lock();
        let mut is_first = true;
        loop {
            match Self::place(&mut state, &self.options, &fragment) {
                Ok(()) => break,
                Err(Refused::Full) => {
                    if std::mem::take(&mut is_first) {
                        state.figures.note_full();
                    }
                    self.room.wait(&mut state);
                }
                Err(Refused::Duplicate) => return Ok(Pushed::Duplicate),
                Err(Refused::Over) => return Err(Error::Ended),
            }
        }
        drop(state);
        self.put(fragment)
    }

    pub(super) fn try_push(&self, fragment: Fragment) -> Result<Result<Pushed, Fragment>, Error> {
        match self.reserve(&fragment) {
            Ok(()) => self.put(fragment).map(Ok),
            Err(Refused::Full) => Ok(Err(fragment)),
            Err(Refused::Duplicate) => Ok(Ok(Pushed::Duplicate)),
            Err(Refused::Over) => Err(Error::Ended),
        }
    }

    /// A file of a watched directory is not taken.
    pub(super) fn refuse(&self, name: String, error: Error) {
        let mut state = self.state.lock();
        if state.refused.len() < MOST_REFUSED {
            state.refused.push((name, error));
        }
    }

    /// Keeps a place for it, for [`put`](Self::put).
    pub(super) fn reserve(&self, fragment: &Fragment) -> Result<(), Refused> {
        Self::place(&mut self.state.lock(), &self.options, fragment)
    }

    pub(super) fn note_full(&self) {
        self.state.lock().figures.note_full();
    }

    /// A place among the tasks that wait for room.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting::new(self.tasks.clone())
    }

    fn place(
        state: &mut MutexGuard<'_, State>,
        options: &FragmentOptions,
        fragment: &Fragment,
    ) -> Result<(), Refused> {
        if state.is_over() {
            return Err(Refused::Over);
        }
        if state.is_known(fragment.id.as_ref()) {
            state.figures.stats.duplicates += 1;
            return Err(Refused::Duplicate);
        }
        if state.is_full(options) {
            return Err(Refused::Full);
        }
        state.pushing += 1;
        Ok(())
    }

    /// Opens it, looks what it is, and puts it into the place that was kept.
    pub(super) fn put(&self, fragment: Fragment) -> Result<Pushed, Error> {
        let next = self.state.lock().number + 1;
        let Fragment { from, name, id } = fragment;
        let is_unnamed = name.is_none() && !from.has_name();
        // A program's reader may panic.
        let place = Place(self);
        let looked = from.look(name, next, self.options.chunk_size);
        let mut state = self.state.lock();
        let mut looked = looked?;
        // Another thread may have pushed it meanwhile.
        if state.is_known(id.as_ref()) {
            state.figures.stats.duplicates += 1;
            return Ok(Pushed::Duplicate);
        }
        let unusable = |fragment, reason| Err(Error::FragmentUnusable { fragment, reason });
        let (init, stamp) = match std::mem::replace(&mut looked.look, Look::Nothing("")) {
            Look::File(None) => (None, None),
            Look::File(Some((init, index))) => {
                let stamp = Stamp::of(&init, &index, false);
                state.init = Some(init);
                (None, stamp)
            }
            Look::Init(init) => {
                state.init = Some(init);
                state.ids.note(id);
                drop(state);
                return Ok(Pushed::Init);
            }
            Look::Segments(index) => match &state.init {
                Some(init) => (Some(init.clone()), Stamp::of(init, &index, true)),
                None => return unusable(looked.name, "no init segment was pushed before it"),
            },
            Look::Nothing(reason) => return unusable(looked.name, reason),
        };
        state.number += 1;
        let number = state.number;
        if is_unnamed {
            looked.name = format!("fragment {number}");
        }
        state.ids.note(id);
        let held = looked.held(number, (init, stamp), self.options.chunk_size);
        let at = state.place_of(&held);
        state.figures.stats.reordered += u64::from(at < state.queue.len());
        state.queue.insert(at, held);
        drop(state);
        drop(place);
        Ok(Pushed::Queued { number })
    }

    /// A stream will [attach](Self::attach) again after its [`Feed`] is dropped, for as long as it has this: those who push wait.
    pub(crate) fn claim(self: &Arc<Self>) -> Claim {
        self.state.lock().claims += 1;
        Claim { shared: self.clone(), _with: None }
    }

    /// The stream's side.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: another stream has it.
    pub(crate) fn attach(self: &Arc<Self>) -> Result<Feed, Error> {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.attached, true) {
            let reason = "another stream plays what is pushed there".to_owned();
            return Err(Error::Config { name: "fragments", reason });
        }
        state.ended = false;
        drop(state);
        Ok(Feed { shared: self.clone(), with: None })
    }
}

impl Ids {
    fn note(&mut self, id: Option<String>) {
        if let Some(id) = id {
            self.add(id);
        }
    }
}

/// A place that is kept; dropped, it is free.
struct Place<'a>(&'a Shared);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state.lock().pushing -= 1;
        self.0.tell();
    }
}

/// A stream goes on with what is pushed, even while nothing is [attached](Shared::attach).
#[derive(Debug)]
pub(crate) struct Claim {
    shared: Arc<Shared>,
    /// What pushes, where that is not the program.
    _with: Option<Arc<super::Watched>>,
}

impl Claim {
    /// The same, together with what pushes.
    pub(super) fn with(mut self, watched: Arc<super::Watched>) -> Self {
        self._with = Some(watched);
        self
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.claims = state.claims.saturating_sub(1);
        drop(state);
        self.shared.tell();
    }
}

/// The stream's side of the queue. Dropped, nobody plays what is pushed, unless there is a [`Claim`].
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    /// What pushes, where that is not the program; it ends with this.
    with: Option<Arc<super::Watched>>,
}

impl Feed {
    /// The same, together with what pushes.
    pub(super) fn with(mut self, watched: Arc<super::Watched>) -> Self {
        self.with = Some(watched);
        self
    }

    /// Its options.
    pub(crate) fn options(&self) -> &FragmentOptions {
        &self.shared.options
    }

    /// The next fragment; it counts as held until it has [begun](Self::begun).
    pub(crate) fn next(&self) -> Option<Held> {
        let mut state = self.shared.state.lock();
        let held = state.queue.pop_front()?;
        state.opened.clone_from(&held.stamp);
        state.opening += 1;
        Some(held)
    }

    /// The fragment that was opened is on the air, or was left out.
    pub(crate) fn begun(&self) {
        let mut state = self.shared.state.lock();
        state.opening = state.opening.saturating_sub(1);
        drop(state);
        self.shared.tell();
    }

    /// Whether nothing comes any more.
    pub(crate) fn is_finished(&self) -> bool {
        let state = self.shared.state.lock();
        state.finished && state.queue.is_empty() && state.pushing == 0
    }

    /// What was not taken since it was asked last.
    pub(crate) fn refused(&self) -> Vec<(String, Error)> {
        std::mem::take(&mut self.shared.state.lock().refused)
    }

    /// The stream waits for a fragment, or does not.
    pub(crate) fn note_gap(&self, waits: bool) {
        self.shared.state.lock().gap = if waits { Gap::Waits } else { Gap::None };
    }

    /// What became of a fragment; how many were published by now.
    pub(crate) fn note(&self, outcome: Outcome) -> u64 {
        let mut state = self.shared.state.lock();
        state.figures.note(outcome);
        state.figures.stats.published
    }

    /// A fragment was played to its end: it will not be needed again.
    pub(crate) fn published(&self, number: u64) {
        if let Some(watched) = &self.with {
            watched.published(number);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        (state.attached, state.ended, state.opening, state.gap) = (false, true, 0, Gap::None);
        drop(state);
        self.shared.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Barrier;

    use super::*;

    /// What is taken for a file of its own.
    const FLV: &[u8] = b"FLV\x01\x05\0\0\0\x09";

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(FragmentOptions::default()))
    }

    #[test]
    fn what_is_pushed_waits_while_a_stream_opens_it_again() {
        let shared = shared();
        let claim = shared.claim();
        drop(shared.attach().expect("nobody has it"));
        for number in 1..=3 {
            let pushed = shared.push(FLV.into()).expect("the stream goes on");
            assert_eq!(pushed, Pushed::Queued { number });
        }
        assert!(matches!(shared.try_push(FLV.into()), Ok(Err(_))), "there is no room");
        let pushing = std::thread::spawn({
            let shared = shared.clone();
            move || shared.push(FLV.into())
        });
        let feed = shared.attach().expect("nobody has it");
        assert!(feed.next().is_some());
        feed.begun();
        assert_eq!(pushing.join().expect("it only pushes").ok(), Some(Pushed::Queued { number: 4 }));
        let pushing = std::thread::spawn({
            let shared = shared.clone();
            move || shared.push(FLV.into())
        });
        drop(feed);
        drop(claim);
        assert!(matches!(pushing.join().expect("it only pushes"), Err(Error::Ended)));
        assert!(matches!(shared.try_push(FLV.into()), Err(Error::Ended)));
    }

    /// Gives its bytes once another one gives its own.
    struct Together(Arc<Barrier>, &'static [u8]);

    impl Read for Together {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if !self.1.is_empty() {
                self.0.wait();
            }
            self.1.read(buffer)
        }
    }

    #[test]
    fn an_id_that_two_threads_push_at_once_is_taken_once() {
        let (shared, barrier) = (shared(), Arc::new(Barrier::new(2)));
        let pushing = [(); 2].map(|()| {
            let (shared, barrier) = (shared.clone(), barrier.clone());
            std::thread::spawn(move || shared.push(Fragment::reader(Together(barrier, FLV)).id("batch-1")))
        });
        let mut pushed = pushing.map(|thread| thread.join().expect("it only pushes").expect("it is taken"));
        pushed.sort_by_key(|pushed| *pushed == Pushed::Duplicate);
        assert_eq!(pushed, [Pushed::Queued { number: 1 }, Pushed::Duplicate]);
        assert_eq!((shared.held(), shared.stats().duplicates), (1, 1));
    }
}
