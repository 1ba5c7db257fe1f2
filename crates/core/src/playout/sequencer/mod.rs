//! Plays a lane: chooses what comes next, gets it ready in time, and goes on another way when something fails.

mod laps;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fragments::{Comes, Fragments};
use super::item::{Feed, Item};
use super::lane::{Flow, Lane};
use super::metadata::{Sound, sound_of};
use super::schedule::{Choice, OnAir, Schedule};
use super::search::Depth;
use super::supply::{Pending, Ready, Supply, Use};
use super::sync::SyncMember;
use super::told::Told;
use super::turn::Turn;
use crate::error::Error;
use crate::event::EventKind;
use crate::fragment;
use crate::playlist::{ParameterChange, Playlist};
use crate::reel::{Reel, SLOT_MS};
use crate::stats::{EncodingStats, Playing, SourceMode};

/// A reel that has nothing to give for this long, or is this late, grows slower than it is played.
const REEL_PATIENCE: Duration = Duration::from_millis(500);
/// After a failure the store is asked again this much later, and twice as much each time.
const RETRY_FIRST: Duration = Duration::from_secs(30);
const RETRY_CAP: Duration = Duration::from_secs(600);
/// What a segment begins too early or too late by its own clock, in milliseconds, without a word: it follows the one before at once.
const TOLERANCE: i64 = 500;
/// An item that breaks off earlier than this, in milliseconds, counts as one that cannot be played.
pub(super) const LEAST_PLAYED: i64 = 1000;

/// What a lane plays.
#[derive(Debug)]
pub(super) enum Program {
    /// One file, once.
    Once,
    /// One file again and again.
    Loop,
    /// A list.
    List(Box<Schedule>),
    /// What a program pushes.
    Fragments(Box<Fragments>),
}

#[cfg(all(test, feature = "libav"))]
impl Program {
    /// A list from the cursor's place on.
    pub(super) fn list(cursor: crate::playlist::PlaylistCursor) -> Self {
        Self::List(Box::new(Schedule::new(cursor)))
    }
}

/// What an item can be begun with once more.
#[derive(Debug)]
struct Spare {
    path: PathBuf,
    reel: Option<Arc<Reel>>,
}

impl Spare {
    fn of(item: &Item) -> Self {
        // A reel that broke off would do so again; the file is opened again.
        let reel = item.reel().filter(|reel| reel.is_complete()).cloned();
        Self { path: item.path().to_owned(), reel }
    }
}

/// How a sequencer stands.
#[derive(Debug)]
pub(super) enum SequencerState {
    /// Everything due was handed over.
    Due,
    /// More is due; the outputs come first.
    More,
    /// Something due is not there yet.
    Dry,
    /// Everything was played.
    Ended,
    /// It cannot go on.
    Failed(Error),
}

/// Plays one lane.
#[derive(Debug)]
pub(crate) struct Sequencer {
    lane: Lane,
    program: Program,
    supply: Supply,
    change: ParameterChange,
    /// What is being prepared: the same file again.
    pending: Option<Pending>,
    /// The item of a list that was played last, for when there is no other.
    spare: Option<Spare>,
    /// What is on the air goes round only until another item can be played.
    filling: bool,
    dry_since: Option<Instant>,
    laps: u64,
    told: Told,
    /// When the store is asked again for a file that is played directly, and after how long once more.
    retry: Option<(Instant, Duration)>,
    mode: SourceMode,
    /// The loops that it keeps in step with, and whether it has begun.
    sync: Option<(SyncMember, bool)>,
    /// What has replaced the file, until all of them have it.
    replacement: Option<Box<Ready>>,
}

impl Sequencer {
    /// Plays a file, once or again and again; `lane` is empty yet. It begins with the keyframe at or before `offset`. Puts what is to be
    /// told of it into `notices`.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    ///
    /// # Blocking
    ///
    /// As [`Supply::ready`].
    pub(crate) fn file(
        lane: Lane,
        supply: Supply,
        (path, how): (&Path, Use),
        offset: Duration,
        notices: &mut Vec<EventKind>,
    ) -> Result<Self, Error> {
        let program = if how == Use::Loop { Program::Loop } else { Program::Once };
        let ready = supply.ready(path, how, offset)?;
        let mut sequencer = Self::new(lane, program, supply);
        sequencer.begin_first(ready, offset, notices);
        Ok(sequencer)
    }

    /// Plays a list, from its item number `first` on if one is given, counted from 0; `offset` is within that. Silence as long as the list is empty.
    /// Otherwise as [`file`](Self::file).
    ///
    /// # Errors
    ///
    /// [`Error::Playlist`]: none of its items can be played.
    ///
    /// # Blocking
    ///
    /// As [`Supply::ready`], on one item after the other until one can be played.
    pub(crate) fn list(
        lane: Lane,
        supply: Supply,
        (list, first): (&Playlist, Option<usize>),
        offset: Duration,
        notices: &mut Vec<EventKind>,
    ) -> Result<Self, Error> {
        let mut schedule = Box::new(Schedule::new(list.cursor_at(first)));
        let first = schedule.first(&supply, offset, notices)?;
        let mut sequencer = Self::new(lane, Program::List(schedule), supply);
        if let Some((ready, path, offset)) = first {
            notices.push(EventKind::ItemStarted { path });
            sequencer.begin_first(ready, offset, notices);
        }
        Ok(sequencer)
    }

    /// Plays what a program pushes. Nothing is sent as long as nothing was pushed.
    pub(crate) fn fragments(lane: Lane, supply: Supply, feed: fragment::Feed) -> Self {
        // Each is read once: there is nothing a reel would save.
        let supply = Supply { store: None, ..supply };
        Self::new(lane, Program::Fragments(Box::new(Fragments::new(feed))), supply)
    }

    /// Plays what `program` says; nothing has begun yet.
    pub(super) fn new(lane: Lane, program: Program, supply: Supply) -> Self {
        let (change, how) = match &program {
            Program::List(schedule) => (schedule.cursor().parameter_change(), Use::Item),
            Program::Fragments(fragments) => (fragments.on_change(), Use::Item),
            Program::Once => (ParameterChange::Allow, Use::Once),
            Program::Loop => (ParameterChange::Allow, Use::Loop),
        };
        Self {
            mode: supply.usual_mode(how),
            lane,
            program,
            supply,
            change,
            pending: None,
            spare: None,
            filling: false,
            dry_since: None,
            laps: 0,
            told: Told::default(),
            retry: None,
            sync: None,
            replacement: None,
        }
    }

    /// Begins the first item. A loop that has to be played directly takes a reel of it with the first lap after that has become
    /// complete.
    pub(super) fn begin_first(&mut self, ready: Ready, offset: Duration, notices: &mut Vec<EventKind>) {
        let awaits_reel = ready.awaits_reel();
        self.begin(ready, offset, notices);
        if self.mode == SourceMode::Direct && self.supply.store.is_some() {
            self.retry = Some((Instant::now() + RETRY_FIRST, RETRY_FIRST));
        }
        if awaits_reel {
            self.await_reel();
        }
    }

    /// What the metadata of its item states about the sound.
    pub(super) fn sound(&self) -> Option<Sound> {
        self.lane.item()?.headers().iter().find(|tag| tag.is_metadata()).and_then(sound_of)
    }

    /// The sound comes from elsewhere, and is as `companion` says, if that is known.
    pub(super) fn accompany(&mut self, companion: Option<Sound>) {
        self.lane.accompany(companion);
    }

    /// How the current item is read.
    pub(super) fn mode(&self) -> SourceMode {
        self.mode
    }

    /// Up to where everything was handed over, in milliseconds.
    pub(super) fn handed(&self) -> i64 {
        self.lane.handed()
    }

    /// What a worker encodes for it.
    pub(super) fn encoding(&self) -> Option<EncodingStats> {
        self.lane.item().and_then(Item::encoding)
    }

    /// Outputs have no room for what is to be handed over at once.
    pub(super) fn note_drain_wait(&mut self) {
        if let Program::Fragments(fragments) = &mut self.program {
            fragments.note_drain_wait();
        }
    }

    /// How far what was handed over at once is ahead of real time.
    pub(super) fn ahead(&self, now: Instant) -> Duration {
        match &self.program {
            Program::Fragments(fragments) => fragments.ahead(now, self.played()),
            Program::Once | Program::Loop | Program::List(_) => Duration::ZERO,
        }
    }

    /// How much of the current item was handed over.
    fn played(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.lane.played()).unwrap_or(0))
    }

    /// What is on the air of it.
    pub(super) fn playing(&self) -> Option<Playing> {
        let on_air = self.lane.item()?;
        let item = match &self.program {
            Program::List(schedule) => schedule.cursor().current().filter(|item| item.path == on_air.path()),
            Program::Once | Program::Loop | Program::Fragments(_) => None,
        };
        Some(Playing {
            item: item.map(|item| item.id),
            path: on_air.path().to_owned(),
            position: self.lane.position(),
            length: on_air.length(),
        })
    }

    /// Bytes read ahead.
    pub(super) fn bytes_held(&self) -> usize {
        self.lane.item().map_or(0, Item::bytes_held)
    }

    /// Stops reading.
    pub(super) fn stop(&mut self) {
        (self.pending, self.replacement, self.sync) = (None, None, None);
        match &mut self.program {
            Program::List(schedule) => schedule.stop(),
            Program::Fragments(fragments) => fragments.stop(),
            Program::Once | Program::Loop => {}
        }
        self.supply.recipes.end_scans();
        // Whatever takes its place, the file is free from here on.
        self.supply.recipes.let_go();
        if let Some(feed) = self.lane.item_mut().and_then(Item::direct) {
            feed.stop();
        }
    }

    /// Whether its worker has ended.
    pub(super) fn is_stopped(&mut self) -> bool {
        if let Some(feed) = self.lane.item_mut().and_then(Item::direct) {
            return feed.is_stopped();
        }
        true
    }

    /// Goes to `to` of the current item, or the keyframe before it.
    pub(super) fn seek(&mut self, to: Duration) {
        let Some(item) = self.lane.item() else { return };
        let Some(reel) = item.reel() else { return };
        let fresh = Item::new(item.path(), Feed::Reel { reel: reel.clone(), slot: 0 }, item.is_limited());
        self.lane.cut();
        // From here on it goes its own way.
        self.sync.take_if(|(_, begun)| *begun);
        let (item, offset) = positioned(fresh, to);
        self.lane.begin(item, offset);
    }

    /// Hands over what is due at `due` of the stream's clock; silence as long as there is nothing, if `idle` says so.
    pub(super) fn pull(
        &mut self,
        now: Instant,
        due: i64,
        idle: bool,
        turn: &mut Turn,
        notices: &mut Vec<EventKind>,
    ) -> SequencerState {
        self.attend(now, notices);
        self.supply.recipes.tell(notices);
        loop {
            let from = notices.len();
            let flow =
                if self.lane.item().is_some() { self.lane.pull(due, turn, notices) } else { Flow::LapEnd };
            if let Some(item) = self.lane.item() {
                self.told.filter(item.path(), from, notices);
            }
            if let Program::Fragments(fragments) = &mut self.program {
                fragments.heard(notices.get(from..).unwrap_or_default());
            }
            let state = match flow {
                Flow::Due => {
                    self.dry_since = None;
                    return SequencerState::Due;
                }
                Flow::More => {
                    self.dry_since = None;
                    return SequencerState::More;
                }
                Flow::Dry => self.wait_for_reel(now, due, notices),
                Flow::LapEnd => self.next(now, notices),
                Flow::Failed(error) => self.mend(now, error, notices),
            };
            match state {
                Some(SequencerState::Dry) if idle && self.lane.item().is_none() => {
                    self.lane.idle(due, turn);
                    return SequencerState::Dry;
                }
                Some(state) => return state,
                None => {}
            }
        }
    }

    /// Looks ahead in a list, and leaves the current item if another one is wanted now.
    fn attend(&mut self, now: Instant, notices: &mut Vec<EventKind>) {
        if let Program::Fragments(fragments) = &mut self.program {
            let may = !self.lane.item().is_some_and(Item::is_being_read);
            return fragments.attend(&self.supply, may, notices);
        }
        let depth = self.depth();
        let Program::List(schedule) = &mut self.program else { return };
        let on_air = match self.lane.item() {
            None => OnAir::Nothing,
            Some(_) if self.filling => OnAir::Filler,
            Some(_) => OnAir::Item,
        };
        if on_air == OnAir::Item && self.lane.played() >= LEAST_PLAYED {
            self.spare = None;
        }
        let refused = |ready: &Ready| match self.change {
            ParameterChange::Refuse => self.lane.differs(&ready.item),
            _ => None,
        };
        let is_left = schedule.attend(now, &self.supply, on_air, depth, refused, notices);
        if is_left && on_air != OnAir::Nothing {
            self.lane.cut();
            self.filling = false;
        }
    }

    /// How far into the next file may be looked now: a reader for each of two items only where the first has nothing more to
    /// do.
    fn depth(&self) -> Depth {
        let reads = self.lane.item().is_some_and(Item::is_being_read);
        if reads && self.supply.store.is_none() { Depth::Glance } else { Depth::Play }
    }

    /// The item is over, or there is none; `None` once the next one has begun.
    fn next(&mut self, now: Instant, notices: &mut Vec<EventKind>) -> Option<SequencerState> {
        match &self.program {
            Program::Once => Some(SequencerState::Ended),
            Program::Loop => {
                self.laps += 1;
                notices.push(EventKind::Looped { laps: self.laps });
                self.next_lap(now, notices);
                None
            }
            Program::List(_) => self.next_item(now, notices),
            Program::Fragments(_) => self.next_fragment(now, notices),
        }
    }

    fn next_fragment(&mut self, now: Instant, notices: &mut Vec<EventKind>) -> Option<SequencerState> {
        let length = self.played();
        let Program::Fragments(fragments) = &mut self.program else { return Some(SequencerState::Ended) };
        if self.lane.item().is_some() {
            fragments.ended(now, length, notices);
        }
        self.lane.leave();
        let refused = |ready: &Ready| match self.change {
            ParameterChange::Refuse => self.lane.differs(&ready.item),
            ParameterChange::Allow => None,
        };
        match fragments.choose(now, &self.supply, refused, notices) {
            Comes::Begin(ready, path, step) => {
                let off = step.map_or(0, |(ticks, unit)| self.lane.follow(ticks, unit));
                if off != 0 {
                    fragments.note_fixup();
                }
                if off.abs() > TOLERANCE {
                    notices.push(EventKind::ClockJumped { millis: off });
                }
                if let Some(what) = self.lane.differs(&ready.item) {
                    notices.push(EventKind::ParametersChanged { path: path.clone(), what });
                }
                notices.push(EventKind::ItemStarted { path });
                self.begin(*ready, Duration::ZERO, notices);
                None
            }
            Comes::Later => Some(SequencerState::Due),
            Comes::Dry => Some(SequencerState::Dry),
            Comes::Ended => Some(SequencerState::Ended),
        }
    }

    fn next_item(&mut self, now: Instant, notices: &mut Vec<EventKind>) -> Option<SequencerState> {
        let Program::List(schedule) = &mut self.program else { return Some(SequencerState::Ended) };
        if let Some(item) = self.lane.item() {
            self.spare = Some(Spare::of(item));
            if !self.filling {
                schedule.ended();
            }
        }
        self.lane.leave();
        let refused = |ready: &Ready| match self.change {
            ParameterChange::Refuse => self.lane.differs(&ready.item),
            _ => None,
        };
        match schedule.choose(now, &self.supply, self.spare.is_some(), refused, notices) {
            Choice::Begin(ready, path) => {
                if let Some(what) = self.lane.differs(&ready.item) {
                    notices.push(EventKind::ParametersChanged { path: path.clone(), what });
                }
                notices.push(EventKind::ItemStarted { path });
                self.filling = false;
                self.pending = None;
                self.begin(*ready, Duration::ZERO, notices);
                None
            }
            Choice::Fill => self.fill(notices),
            Choice::Dry => Some(SequencerState::Dry),
            Choice::Ended => Some(SequencerState::Ended),
        }
    }

    /// What was played last goes round, since nothing else can be played.
    fn fill(&mut self, notices: &mut Vec<EventKind>) -> Option<SequencerState> {
        let spare = self.spare.as_ref()?;
        let path = spare.path.clone();
        let ready = if let Some(reel) = &spare.reel {
            let item = Item::new(&path, Feed::Reel { reel: reel.clone(), slot: 0 }, true);
            Ready { item, fallback: None, notices: Vec::new(), begins: 0 }
        } else {
            let pending = self.pending.get_or_insert_with(|| self.supply.prepare(&path, Use::Item));
            let Some(answer) = pending.poll(&self.supply) else { return Some(SequencerState::Dry) };
            self.pending = None;
            match answer {
                Ok(ready) => ready,
                Err(error) => {
                    log::warn!("{}: cannot go round: {}", path.display(), crate::error::chain(&error));
                    self.spare = None;
                    return Some(SequencerState::Dry);
                }
            }
        };
        self.filling = true;
        notices.push(EventKind::ItemStarted { path });
        self.begin(ready, Duration::ZERO, notices);
        None
    }

    fn begin(&mut self, ready: Ready, offset: Duration, notices: &mut Vec<EventKind>) {
        let from = notices.len();
        let begins = ready.begins;
        let (item, fallback) = ready.told(&self.supply, notices);
        self.told.filter(item.path(), from, notices);
        self.set_mode(item.mode(), fallback, notices);
        self.supply.recipes.playing(item.path());
        let (item, offset) = if begins > 0 { (item, begins) } else { positioned(item, offset) };
        self.lane.begin(item, offset);
    }

    fn set_mode(&mut self, mode: SourceMode, error: Option<Error>, notices: &mut Vec<EventKind>) {
        if self.mode != mode {
            self.mode = mode;
            if let Some(others) = self.in_step_with() {
                others.plays_reel(mode == SourceMode::Reel);
            }
            notices.push(EventKind::ModeChanged { mode, error });
        }
    }

    /// A reel that still grows had nothing to give.
    fn wait_for_reel(
        &mut self,
        now: Instant,
        due: i64,
        notices: &mut Vec<EventKind>,
    ) -> Option<SequencerState> {
        let waited = now.saturating_duration_since(*self.dry_since.get_or_insert(now));
        // One that gives a little now and then is too slow, too.
        let late = Duration::from_millis(u64::try_from(due - self.lane.handed()).unwrap_or(0));
        let path = self.lane.item().map(|item| item.path().to_owned()).unwrap_or_default();
        let is_reel = self.mode == SourceMode::Reel;
        if is_reel && waited.max(late) >= REEL_PATIENCE {
            return self.mend(now, Error::ReelTooSlow { path }, notices);
        }
        Some(SequencerState::Dry)
    }

    /// The item cannot be read any further this way: a reel goes on directly, a list with its next item.
    fn mend(&mut self, now: Instant, error: Error, notices: &mut Vec<EventKind>) -> Option<SequencerState> {
        self.dry_since = None;
        if self.mode == SourceMode::Reel {
            if let (Error::ReelDamaged { .. }, Some(reel)) = (&error, self.lane.item().and_then(Item::reel)) {
                reel.damaged();
            }
            let reel = self.lane.item().and_then(Item::reel).cloned();
            if self.go_on_directly(&error) {
                self.retry = Some((now + RETRY_FIRST, RETRY_FIRST));
                if let (Error::ReelTooSlow { path }, Program::Loop, Some(reel)) =
                    (&error, &self.program, reel)
                {
                    // It is on its way, and is taken up with the first lap after it has become complete.
                    self.pending = Some(Pending::following(path, Use::Loop, reel));
                }
                self.set_mode(SourceMode::Direct, Some(error), notices);
                return None;
            }
        }
        let played = self.played();
        if let Program::Fragments(fragments) = &mut self.program {
            fragments.broke(error, played, notices);
            self.lane.cut();
            return None;
        }
        let Program::List(schedule) = &mut self.program else { return Some(SequencerState::Failed(error)) };
        let early = self.lane.played() < LEAST_PLAYED;
        if !early && let Some(item) = self.lane.item() {
            self.spare = Some(Spare::of(item));
        } else if self.filling {
            self.spare = None;
        }
        schedule.broke(error, early, now);
        schedule.tell(notices);
        self.filling = false;
        self.lane.cut();
        None
    }

    fn go_on_directly(&mut self, error: &Error) -> bool {
        let how = if matches!(self.program, Program::Once | Program::Loop) { Use::Loop } else { Use::Item };
        let Some(item) = self.lane.item() else { return false };
        let path = item.path().to_owned();
        match self.supply.go_on(&path, how, item.next_slot()) {
            Ok(feed) => {
                self.lane.go_on(feed);
                true
            }
            Err(other) => {
                log::warn!("{}: {error}, and not directly either: {other}", path.display());
                false
            }
        }
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        self.supply.recipes.end_scans();
    }
}

/// The item from the keyframe at or before `offset` on, and where that is, if it is a reel; sound alone begins with any of its slots.
fn positioned(item: Item, offset: Duration) -> (Item, i64) {
    let millis = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX);
    let Some(reel) = item.reel().filter(|_| millis > 0).cloned() else { return (item, 0) };
    let (slot, time) = match (reel.keyframe_at_or_before(millis), reel.first_keyframe()) {
        (Some(keyframe), _) => (keyframe.slot, keyframe.time_ms),
        (None, Some(_)) => return (item, 0),
        (None, None) => {
            let slot = usize::try_from(millis / SLOT_MS).unwrap_or(usize::MAX);
            if slot >= reel.slots() {
                return (item, 0);
            }
            (slot, millis / SLOT_MS * SLOT_MS)
        }
    };
    let path: &Path = item.path();
    (Item::new(path, Feed::Reel { reel, slot }, item.is_limited()), time)
}
