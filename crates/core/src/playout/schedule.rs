//! What a list gives a sequencer: the next item that can be played, looked for while the current one plays.
//!
//! In: the list, edits, skips and jumps, and what happened to the items before. Out: when an item begins, and what is sent where
//! none can. Runs on the stream thread; files are opened by a [`Search`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::faults::Faults;
use super::search::{Depth, Got, Search};
use super::supply::{Ready, Supply, Use};
use crate::error::{Error, chain};
use crate::event::EventKind;
use crate::id::ItemId;
use crate::playlist::{Next, NothingPlays, PlaylistCursor, PlaylistItem};

/// How long the next item is waited for behind the end of the current one, before that is played once more: opening a file
/// takes a moment, which is not visible, since the stream catches up.
const PATIENCE: Duration = Duration::from_millis(500);

/// A list that is played.
#[derive(Debug)]
pub(super) struct Schedule {
    cursor: PlaylistCursor,
    faults: Arc<Mutex<Faults>>,
    search: Option<Search>,
    /// Since when a search has been leaving items out.
    past_bad_since: Option<Instant>,
    /// The count of edits when they were looked at last.
    edits: u64,
    /// The current item is to be left as soon as there is another one.
    leaving: bool,
    /// Since when there has been nothing to play.
    dry_since: Option<Instant>,
    /// Since when nothing of the list can be played.
    stalled: Option<Instant>,
}

/// What is on the air, as far as a schedule wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnAir {
    /// An item.
    Item,
    /// An item that goes round only until there is another one.
    Filler,
    /// Nothing.
    Nothing,
}

/// What comes when an item is over.
#[derive(Debug)]
pub(super) enum Choice {
    /// This item.
    Begin(Box<Ready>, PathBuf),
    /// Nothing yet.
    Dry,
    /// Nothing yet; what was played last goes round until there is something.
    Fill,
    /// Nothing: all of the list was played.
    Ended,
}

impl Schedule {
    /// Plays a list from the cursor's place on.
    pub(super) fn new(cursor: PlaylistCursor) -> Self {
        Self {
            edits: cursor.edits(),
            cursor,
            faults: Arc::default(),
            search: None,
            past_bad_since: None,
            leaving: false,
            dry_since: None,
            stalled: None,
        }
    }

    /// The list's place.
    pub(super) fn cursor(&self) -> &PlaylistCursor {
        &self.cursor
    }

    /// The first item that can be played, and where it is begun: `offset` is meant for the one that comes first. `None` if there is no
    /// item. Puts those that cannot be played into `notices`.
    ///
    /// # Errors
    ///
    /// [`Error::Playlist`]: there are items, and none can be played.
    ///
    /// # Blocking
    ///
    /// As [`Supply::ready`], on one item after the other.
    pub(super) fn first(
        &mut self,
        supply: &Supply,
        mut offset: Duration,
        notices: &mut Vec<EventKind>,
    ) -> Result<Option<(Ready, PathBuf, Duration)>, Error> {
        loop {
            let item = match self.cursor.next() {
                Next::Item(item) => item,
                Next::Empty => return Ok(None),
                Next::Complete | Next::AllFailed => {
                    let reason = match self.faults.lock().last() {
                        Some(error) => format!("no item can be played, the last one: {}", chain(&error)),
                        None => "has no item".to_owned(),
                    };
                    return Err(Error::Playlist { path: Path::new("").to_owned(), reason });
                }
            };
            match supply.ready(&item.path, Use::Item, offset) {
                Ok(ready) => {
                    self.tell(notices);
                    return Ok(Some((ready, item.path, offset)));
                }
                Err(error) => self.failed(&item, error, Instant::now()),
            }
            offset = Duration::ZERO;
        }
    }

    /// Looks ahead, and obeys what was asked of the list. `depth` is how far into files it may look now, and `refused` says why
    /// an item must not follow what is on the air. Whether that is to be left now; [`choose`](Self::choose) then says for what.
    pub(super) fn attend(
        &mut self,
        now: Instant,
        supply: &Supply,
        on_air: OnAir,
        depth: Depth,
        refused: impl Fn(&Ready) -> Option<&'static str>,
        notices: &mut Vec<EventKind>,
    ) -> bool {
        let mut changed = self.obey(on_air);
        if let Some(due) = self.faults.lock().due(now) {
            self.cursor.release(|id| due.contains(&id));
            changed = true;
        }
        let depth = if on_air != OnAir::Item || self.leaving { Depth::Play } else { depth };
        let is_too_shallow = |search: &Search| search.depth() == Depth::Glance && depth == Depth::Play;
        if self.search.as_ref().is_some_and(is_too_shallow)
            || changed && self.search.as_ref().map(Search::item) != Some(self.peek())
        {
            self.search = None;
        }
        let mut got = self.look(now, supply, depth);
        if got == Got::Ready && self.refuse(now, refused) {
            got = Got::Nowhere;
        }
        self.faults.lock().take_events(notices);
        match got {
            Got::Ready => self.leaving || on_air == OnAir::Filler,
            // Who skips the last item of a list wants it to be over, and who emptied it, silence.
            Got::Nothing if self.leaving => {
                let stop = self.cursor.stop();
                self.leaving = stop.is_none();
                matches!(stop, Some(Next::Complete | Next::Empty))
            }
            _ => false,
        }
    }

    /// Takes note of skips, jumps and edits; whether there were any.
    fn obey(&mut self, on_air: OnAir) -> bool {
        let commanded = self.cursor.take_command().is_some();
        self.leaving |= commanded && on_air != OnAir::Nothing;
        let edits = self.cursor.edits();
        let edited = edits != self.edits;
        if edited {
            self.edits = edits;
            let mut faults = self.faults.lock();
            if faults.len() > 0 {
                faults.keep(&self.cursor.ids());
            }
        }
        commanded || edited
    }

    fn peek(&self) -> Option<ItemId> {
        self.cursor.peek().map(|item| item.id)
    }

    /// Goes on looking for what comes next.
    fn look(&mut self, now: Instant, supply: &Supply, depth: Depth) -> Got {
        let search = self.search.get_or_insert_with(|| {
            Search::begin(supply.clone(), self.cursor.looker(), self.faults.clone(), depth)
        });
        let got = search.poll();
        match got {
            Got::Ready | Got::Seen | Got::Nothing => self.past_bad_since = None,
            Got::Nowhere | Got::Tired if search.is_past_bad_items() => {
                self.past_bad_since.get_or_insert(now);
            }
            Got::Nowhere | Got::Tired => {}
        }
        if got == Got::Tired {
            self.search = None;
        }
        got
    }

    /// What is to be played now. `refused` says why an item must not follow what is on the air.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        supply: &Supply,
        can_fill: bool,
        refused: impl Fn(&Ready) -> Option<&'static str>,
        notices: &mut Vec<EventKind>,
    ) -> Choice {
        let since = *self.dry_since.get_or_insert(now);
        let got = self.look(now, supply, Depth::Play);
        // A search past bad items that had its time while another one played is not waited for once more: what fills in is left
        // as soon as something is found.
        let since = self.past_bad_since.map_or(since, |past| past.min(since));
        let choice = match got {
            Got::Ready if self.refuse(now, refused) => Choice::Dry,
            Got::Ready => match self.take() {
                Some((ready, path)) => {
                    self.dry_since = None;
                    self.leaving = false;
                    if let Some(since) = self.stalled.take() {
                        let after = now.saturating_duration_since(since);
                        notices.push(EventKind::PlaylistResumed { after });
                    }
                    Choice::Begin(Box::new(ready), path)
                }
                None => Choice::Dry,
            },
            Got::Seen => {
                self.search = None;
                Choice::Dry
            }
            Got::Nowhere | Got::Tired if now.saturating_duration_since(since) < PATIENCE => Choice::Dry,
            Got::Nowhere | Got::Tired => self.fill(can_fill),
            Got::Nothing => self.nothing(now, can_fill, notices),
        };
        self.faults.lock().take_events(notices);
        choice
    }

    /// Takes what was found, unless the list was edited since.
    fn take(&mut self) -> Option<(Ready, PathBuf)> {
        let search = self.search.take()?;
        let (_, item) = search.found()?;
        if !self.cursor.take(item.id) {
            return None;
        }
        search.take().map(|ready| (ready, item.path))
    }

    /// Whether what was found must not follow what is on the air; then another one is looked for.
    fn refuse(&mut self, now: Instant, refused: impl Fn(&Ready) -> Option<&'static str>) -> bool {
        let Some((ready, item)) = self.search.as_ref().and_then(Search::found) else { return false };
        let Some(what) = refused(ready) else { return false };
        let error = Error::ParametersDiffer { path: item.path.clone(), what };
        self.failed(&item, error, now);
        self.search = None;
        true
    }

    /// No item can be played.
    fn nothing(&mut self, now: Instant, can_fill: bool, notices: &mut Vec<EventKind>) -> Choice {
        let (items, error) = match self.cursor.stop() {
            Some(Next::Complete) => return Choice::Ended,
            Some(Next::Empty) => (0, None),
            Some(_) => (self.cursor.ids().len(), self.faults.lock().last()),
            None => {
                self.search = None;
                return Choice::Dry;
            }
        };
        if self.stalled.is_none() {
            self.stalled = Some(now);
            self.faults.lock().take_events(notices);
            notices.push(EventKind::PlaylistStalled { items, error });
        }
        // Removing all items from a list is a request for silence.
        self.fill(can_fill && items > 0)
    }

    fn fill(&self, can_fill: bool) -> Choice {
        if can_fill && self.cursor.nothing_plays() == NothingPlays::Repeat {
            Choice::Fill
        } else {
            // There is nothing to skip.
            self.cursor.rest();
            Choice::Dry
        }
    }

    /// The current item was played to its end.
    pub(super) fn ended(&mut self) {
        self.dry_since = None;
        if let Some(item) = self.cursor.current() {
            self.faults.lock().played(item.id);
        }
    }

    /// An item cannot be played.
    pub(super) fn failed(&self, item: &PlaylistItem, error: Error, now: Instant) {
        self.faults.lock().failed(item, error, now);
        self.cursor.looker().hold(item.id);
    }

    /// The current item broke off; `early` if it was hardly played.
    pub(super) fn broke(&mut self, error: Error, early: bool, now: Instant) {
        self.dry_since = None;
        let Some(item) = self.cursor.current().cloned() else { return };
        if early {
            // Otherwise a list of files that can be opened but not read would go round and round without a pause.
            self.failed(&item, error, now);
        } else {
            self.faults.lock().broke(&item, error);
        }
        if self.search.as_ref().map(Search::item) != Some(self.peek()) {
            self.search = None;
        }
    }

    /// What was reported, and what has to be reported.
    pub(super) fn tell(&self, notices: &mut Vec<EventKind>) {
        self.faults.lock().take_events(notices);
    }

    /// Stops looking.
    pub(super) fn stop(&mut self) {
        self.search = None;
    }
}
