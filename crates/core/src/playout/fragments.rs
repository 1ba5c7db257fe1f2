//! Fragments on the air: what a program pushed gives a sequencer.
//!
//! In: the queue of a publisher. Out: the next fragment once it is open, and what became of those before. One is opened ahead, when the one
//! on the air needs no more of its file, so that two are never read at once. Runs on the stream thread; files are opened on workers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::direct::DirectFeed;
use super::item::{Feed as ItemFeed, Item};
use super::supply::{Ready, Supply};
use crate::error::Error;
use crate::event::EventKind;
use crate::fragment::{Feed, FragmentPace, Held, LATE, Outcome, Reading, Stamp};
use crate::lap::Unit;
use crate::playlist::ParameterChange;

/// Chunks between two reports of how far a fragment was read.
const REPORT_EVERY: u64 = 10;

/// A publisher's fragments, as a lane plays them.
#[derive(Debug)]
pub(super) struct Fragments {
    feed: Feed,
    next: Option<Next>,
    on_air: Option<About>,
    /// When the one that was begun last begins, by the clock of who made it.
    stamp: Option<Stamp>,
    /// Since when there has been nothing to play behind a fragment.
    dry_since: Option<Instant>,
    /// When those before would have been played, with [`FragmentPace::Off`].
    turn: Option<Instant>,
    has_begun: bool,
}

/// A fragment that is being opened, or is open.
#[derive(Debug)]
struct Next {
    about: About,
    state: Opened,
}

#[derive(Debug)]
enum Opened {
    /// Its worker opens it.
    Not(Box<Item>),
    Ready(Box<Ready>),
}

/// What is known of a fragment.
#[derive(Debug)]
struct About {
    number: u64,
    name: String,
    size: u64,
    pushed: Instant,
    stamp: Option<Stamp>,
    reading: Arc<Reading>,
    /// Bytes that were reported.
    told: u64,
    /// When its turn came, once it did.
    begun: Option<Instant>,
    late: bool,
    fixups: u64,
    drain_waits: u64,
}

/// What comes when a fragment is over.
#[derive(Debug)]
pub(super) enum Comes {
    /// This one; and how long after the one before it, by the clock of who made both, if that says.
    Begin(Box<Ready>, PathBuf, Option<(i64, Unit)>),
    /// The next one is not due yet.
    Later,
    /// There is none yet.
    Dry,
    /// None comes any more.
    Ended,
}

impl About {
    fn of(held: &Held) -> Self {
        Self {
            number: held.number,
            name: held.name.clone(),
            size: held.size,
            pushed: held.pushed,
            stamp: held.stamp.clone(),
            reading: Arc::default(),
            told: 0,
            begun: None,
            late: false,
            fixups: 0,
            drain_waits: 0,
        }
    }

    fn skipped(&self, error: Error) -> EventKind {
        EventKind::FragmentSkipped { number: Some(self.number), name: self.name.clone(), error }
    }

    fn outcome(&self) -> Outcome {
        let Self { late, fixups, drain_waits, .. } = *self;
        Outcome { late, fixups, drain_waits, ..Outcome::default() }
    }
}

impl Fragments {
    /// The fragments of a publisher.
    pub(super) fn new(feed: Feed) -> Self {
        let (next, on_air, stamp) = (None, None, None);
        Self { feed, next, on_air, stamp, dry_since: None, turn: None, has_begun: false }
    }

    /// What happens to one with other parameters.
    pub(super) fn on_change(&self) -> ParameterChange {
        self.feed.options().on_change
    }

    /// Reports what was read, and opens the next one if that `may` be done now.
    pub(super) fn attend(&mut self, supply: &Supply, may: bool, notices: &mut Vec<EventKind>) {
        for (name, error) in self.feed.refused() {
            self.feed.note(Outcome { skipped: true, ..Outcome::default() });
            notices.push(EventKind::FragmentSkipped { number: None, name, error });
        }
        let step = REPORT_EVERY * self.feed.options().chunk_size as u64;
        if let Some(about) = &mut self.on_air {
            let bytes = about.reading.bytes();
            if bytes.min(about.size) >= about.told + step {
                about.told = bytes / step * step;
                notices.push(EventKind::FragmentProgress { number: about.number, bytes, of: about.size });
            }
        }
        if may && self.next.is_none() {
            self.open(supply, notices);
        }
        self.poll(notices);
    }

    fn open(&mut self, supply: &Supply, notices: &mut Vec<EventKind>) {
        let Some(held) = self.feed.next() else { return };
        let about = About::of(&held);
        match DirectFeed::open_fragment(held, about.reading.clone(), &supply.recipes, &supply.direct) {
            Ok(feed) => {
                let item = Item::new(about.name.as_ref(), ItemFeed::Direct(feed), true).joining();
                self.next = Some(Next { about, state: Opened::Not(Box::new(item)) });
            }
            Err(error) => self.left_out(&about, error, notices),
        }
    }

    /// Looks whether the next one is open.
    fn poll(&mut self, notices: &mut Vec<EventKind>) {
        let Some(Next { about, state: Opened::Not(mut item) }) = self.next.take_if(Next::is_opening) else {
            return;
        };
        let mut own = Vec::new();
        let state = match item.try_open(&mut own) {
            Ok(true) => {
                Opened::Ready(Box::new(Ready { item: *item, fallback: None, notices: own, begins: 0 }))
            }
            Ok(false) => {
                notices.append(&mut own);
                Opened::Not(item)
            }
            Err(error) => return self.left_out(&about, error, notices),
        };
        self.next = Some(Next { about, state });
    }

    /// One that was opened, or could not be, is not played.
    fn left_out(&self, about: &About, error: Error, notices: &mut Vec<EventKind>) {
        self.feed.begun();
        self.feed.note(Outcome { skipped: true, ..about.outcome() });
        notices.push(about.skipped(error));
    }

    /// What is to be played now. `refused` says why a fragment must not follow the one before.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        supply: &Supply,
        refused: impl Fn(&Ready) -> Option<&'static str>,
        notices: &mut Vec<EventKind>,
    ) -> Comes {
        loop {
            self.attend(supply, true, notices);
            if self.is_early(now) {
                return Comes::Later;
            }
            match self.next.take_if(|next| !Next::is_opening(next)) {
                Some(Next { about, state: Opened::Ready(ready) }) => match refused(&ready) {
                    Some(what) => {
                        let path = about.name.as_str().into();
                        self.left_out(&about, Error::ParametersDiffer { path, what }, notices);
                    }
                    None => return self.begin(now, about, ready, notices),
                },
                _ if self.next.is_none() && self.feed.is_finished() => return Comes::Ended,
                _ => {
                    self.dry_since.get_or_insert(now);
                    self.feed.note_gap(self.has_begun);
                    return Comes::Dry;
                }
            }
        }
    }

    /// Whether what was sent at once is still ahead of real time.
    fn is_early(&self, now: Instant) -> bool {
        self.turn.is_some_and(|turn| now < turn)
    }

    fn begin(
        &mut self,
        now: Instant,
        mut about: About,
        ready: Box<Ready>,
        notices: &mut Vec<EventKind>,
    ) -> Comes {
        self.feed.begun();
        self.feed.note_gap(false);
        let due = self.turn.or(self.dry_since.take()).unwrap_or(now);
        let by = now.saturating_duration_since(due);
        self.dry_since = None;
        about.late = self.has_begun && by >= LATE;
        if about.late {
            notices.push(EventKind::FragmentLate { number: about.number, by });
        }
        // One that is late does not make those behind it early.
        about.begun = Some(if about.late { now } else { due });
        self.has_begun = true;
        let path = about.name.as_str().into();
        let before = std::mem::replace(&mut self.stamp, about.stamp.take());
        let stamps = self.stamp.as_ref().zip(before.as_ref());
        let step = stamps.and_then(|(stamp, before)| {
            Some((stamp.since(before)?, Unit { num: 1, den: stamp.timescale() }))
        });
        self.on_air = Some(about);
        Comes::Begin(ready, path, step)
    }

    /// The times of what has begun had to be mended.
    pub(super) fn note_fixup(&mut self) {
        if let Some(about) = &mut self.on_air {
            about.fixups += 1;
        }
    }

    /// What is on the air reported these.
    pub(super) fn heard(&mut self, notices: &[EventKind]) {
        let is_fixup = |notice: &&EventKind| {
            matches!(
                notice,
                EventKind::ClockJumped { .. } | EventKind::ClockStalled { .. } | EventKind::ClockUnsteady
            )
        };
        if let Some(about) = &mut self.on_air {
            about.fixups += notices.iter().filter(is_fixup).count() as u64;
        }
    }

    /// Outputs had no room for what was to be handed over.
    pub(super) fn note_drain_wait(&mut self) {
        if let Some(about) = &mut self.on_air {
            about.drain_waits += 1;
        }
    }

    /// What is on the air was played to its end, which took `length` of media.
    pub(super) fn ended(&mut self, now: Instant, length: Duration, notices: &mut Vec<EventKind>) {
        let Some(about) = self.on_air.take() else { return };
        let begun = about.begun.unwrap_or(now);
        let elapsed = match self.feed.options().pace {
            FragmentPace::Off => {
                self.turn = Some(begun + length);
                now.saturating_duration_since(begun)
            }
            FragmentPace::Realtime => about.reading.busy(),
        };
        let pushed = Some((about.pushed, length));
        let total = self.feed.note(Outcome { bytes: about.size, elapsed, pushed, ..about.outcome() });
        self.feed.published(about.number);
        let (number, bytes) = (about.number, about.size);
        notices.push(EventKind::FragmentPublished { number, bytes, elapsed, total });
    }

    /// What is on the air broke off, `played` of media into it.
    pub(super) fn broke(&mut self, error: Error, played: Duration, notices: &mut Vec<EventKind>) {
        let Some(about) = self.on_air.take() else { return };
        if self.feed.options().pace == FragmentPace::Off {
            // As if it had been no longer: what was sent of it is ahead of real time all the same.
            self.turn = about.begun.map(|begun| begun + played);
        }
        self.feed.note(Outcome { skipped: true, ..about.outcome() });
        notices.push(about.skipped(error));
    }

    /// How far what was sent at once is ahead of real time, where that is `played` of the one on the air.
    pub(super) fn ahead(&self, now: Instant, played: Duration) -> Duration {
        let until = match &self.on_air {
            Some(about) => about.begun.map(|begun| begun + played),
            None => self.turn,
        };
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Stops opening.
    pub(super) fn stop(&mut self) {
        self.next = None;
    }
}

impl Next {
    fn is_opening(next: &mut Self) -> bool {
        matches!(next.state, Opened::Not(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fragment::{FragmentOptions, FragmentPublisher};

    #[test]
    fn what_breaks_off_is_not_followed_before_it_would_have_been_played() {
        for (pace, waits) in [(FragmentPace::Off, true), (FragmentPace::Realtime, false)] {
            let options = FragmentOptions::default().with(|options| options.pace = pace);
            let publisher = FragmentPublisher::with_options(options);
            let mut fragments = Fragments::new(publisher.shared().attach().expect("nobody else has it"));
            let begun = Instant::now();
            fragments.on_air = Some(About {
                number: 1,
                name: "cut.mp4".to_owned(),
                size: 1,
                pushed: begun,
                stamp: None,
                reading: Arc::default(),
                told: 0,
                begun: Some(begun),
                late: false,
                fixups: 0,
                drain_waits: 0,
            });
            let mut notices = Vec::new();
            let played = Duration::from_secs(4);
            fragments.broke(Error::Ended, played, &mut notices);
            assert_eq!(notices.len(), 1);
            assert_eq!(fragments.is_early(begun + Duration::from_millis(3999)), waits, "{pace}");
            assert!(!fragments.is_early(begun + played), "{pace}");
        }
    }
}
