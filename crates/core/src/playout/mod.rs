//! Files on the air: one lane, or a lane of pictures under a lane of sound, on one clock.
//!
//! Each storey says how it stands with the same words: *due*, everything due was handed over; *more*, more is due and the outputs
//! come first; *dry*, something due is not there yet; *lap end*; *ended*, nothing follows; *failed*.
//!
//! In: sequencers, one a lane. Out: the tags that are due with each tick, and how to make them again. Runs on the stream thread.

#[cfg(feature = "libav")]
mod cutter;
#[cfg(feature = "libav")]
mod direct;
#[cfg(feature = "libav")]
mod encoding;
mod faults;
mod fragments;
mod item;
mod lane;
mod metadata;
mod recipes;
mod schedule;
mod search;
mod sequencer;
mod supply;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
mod sync;
mod told;
mod turn;
#[cfg(not(feature = "libav"))]
mod without_libav;

use std::time::{Duration, Instant};

use flowcast_rtmp::time::MediaTime;
#[cfg(not(feature = "libav"))]
use {without_libav as cutter, without_libav as direct, without_libav as encoding};

use self::sequencer::SequencerState;
use self::turn::Turn;
use crate::clock::pace::{Burst, Pacer};
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::event::EventKind;
use crate::stats::{EncodingStats, Playing, SourceMode};

pub(crate) use lane::{Lane, MetadataRole};
pub(crate) use recipes::Recipes;
pub(crate) use sequencer::Sequencer;
pub(crate) use supply::{DirectOptions, Supply, Use, Wake};
#[cfg(feature = "libav")]
pub(crate) use sync::SyncGroup;

/// Most media time handed over at once after the process was suspended or starved.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Media time handed over at once where it goes out as fast as it is taken.
const STEP: Duration = Duration::from_millis(250);
/// A reader that delivers nothing for this long is reported.
const STALL_AFTER: Duration = Duration::from_secs(2);

/// A source made of files.
#[derive(Debug)]
pub(crate) struct Playout {
    main: Sequencer,
    /// Plays sound to the main sequencer's pictures.
    sound: Option<Sequencer>,
    pacer: Pacer,
    /// What is played goes out as fast as it is taken.
    burst: Option<Burst>,
    /// What has to be reported with the first turn.
    notices: Vec<EventKind>,
    /// Since when the main sequencer has had nothing to deliver, and whether that was reported.
    dry_since: Option<(Instant, bool)>,
    /// The lap that the others it keeps in step with were told of.
    lapped: u64,
}

impl Playout {
    /// Plays `main`, with the sound of `sound` if there is one; `notices` are reported first.
    pub(crate) fn new(mut main: Sequencer, sound: Option<Sequencer>, notices: Vec<EventKind>) -> Self {
        if let Some(sound) = &sound {
            main.accompany(sound.sound());
        }
        let pacer = Pacer::new(Instant::now(), CATCH_UP);
        Self { main, sound, pacer, burst: None, notices, dry_since: None, lapped: 0 }
    }

    /// The same, as fast as it is taken.
    pub(crate) fn at_once(self) -> Self {
        Self { burst: Some(Burst::new(STEP)), ..self }
    }

    /// The media time due at `now`, in milliseconds; `None` before the start.
    fn due(&mut self, now: Instant) -> Option<i64> {
        if let Some(origin) = self.main.origin(now) {
            self.pacer.start_from(origin, now);
        }
        match &mut self.burst {
            Some(burst) => burst.due(now, self.main.handed()),
            None => self.pacer.due(now).map(MediaTime::as_millis),
        }
    }

    /// While a reader has nothing to give, time stands still beyond a second: what comes late is then sent at the speed of
    /// life, not all at once. `gave` says that this turn gave something, with which it may be dry again.
    fn wait_for_reader(&mut self, cx: &mut SourceContext<'_>, due: i64, is_dry: bool, gave: bool) {
        if (!is_dry || gave)
            && let Some((since, true)) = self.dry_since.take()
        {
            let after = cx.now.saturating_duration_since(since);
            cx.notices.push(EventKind::SourceResumed { after });
        }
        if !is_dry {
            self.dry_since = None;
            return;
        }
        let late = Duration::from_millis(u64::try_from(due - self.main.handed()).unwrap_or(0));
        if late > CATCH_UP && self.burst.is_none() {
            self.pacer.hold(late - CATCH_UP);
        }
        let since = *self.dry_since.get_or_insert((cx.now, false));
        let after = cx.now.saturating_duration_since(since.0);
        if !since.1 && after >= STALL_AFTER {
            self.dry_since = Some((since.0, true));
            cx.notices.push(EventKind::SourceStalled { after });
        }
    }

    /// Tells those it keeps in step with when its lap began.
    fn tell_lap(&mut self) {
        let Some(others) = self.main.in_step_with() else { return };
        let (laps, began) = self.main.lap();
        if laps > self.lapped {
            self.lapped = laps;
            if let Some(began) = self.pacer.instant_of(began) {
                others.has_lapped(laps, began);
            }
        }
    }

    /// Hands over what is due at `due`.
    fn play(
        &mut self,
        now: Instant,
        due: i64,
        turn: &mut Turn,
        notices: &mut Vec<EventKind>,
    ) -> SequencerState {
        let mut state = self.main.pull(now, due, false, turn, notices);
        if let Some(sound) = &mut self.sound {
            let before = turn.tags.len();
            match sound.pull(now, due, true, turn, notices) {
                // Pictures without sound are better than none.
                SequencerState::Failed(error) => {
                    notices.push(EventKind::SourceFault { error });
                    self.sound = None;
                }
                SequencerState::Ended => self.sound = None,
                SequencerState::More if matches!(state, SequencerState::Due) => state = SequencerState::More,
                SequencerState::Due | SequencerState::More | SequencerState::Dry => {}
            }
            turn.sort |= turn.tags.len() > before;
        }
        state
    }
}

impl SourceDriver for Playout {
    fn start(&mut self, now: Instant) {
        match self.main.in_step_with() {
            Some(others) => others.comes(now),
            None => self.pacer.start(now),
        }
        self.burst.iter_mut().for_each(|burst| burst.start(now));
    }

    fn is_burst(&self) -> bool {
        self.burst.is_some()
    }

    fn is_due(&self) -> bool {
        // Its reader has something for it.
        self.burst.is_some()
    }

    fn note_taken(&mut self, taken: bool) {
        if let Some(burst) = &mut self.burst {
            if !taken && !burst.is_held() {
                self.main.note_drain_wait();
            }
            burst.note_taken(taken);
        }
    }

    fn ahead(&self, now: Instant) -> Duration {
        if self.burst.is_some() { self.main.ahead(now) } else { Duration::ZERO }
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        cx.notices.append(&mut self.notices);
        let Some(due) = self.due(cx.now) else { return SourceState::Running };
        let mut turn = Turn::begin();
        let state = self.play(cx.now, due, &mut turn, cx.notices);
        let refill = turn.finish();
        let count = turn.tags.len();
        cx.tags.append(&mut turn.tags);
        turn.end();
        if let Some(refill) = refill {
            cx.refill(count, refill);
        }
        self.wait_for_reader(cx, due, matches!(state, SequencerState::Dry), count > 0);
        self.tell_lap();
        match state {
            SequencerState::Due | SequencerState::Dry => SourceState::Running,
            SequencerState::More => SourceState::More,
            SequencerState::Ended => SourceState::Ended,
            SequencerState::Failed(error) => SourceState::Failed(error),
        }
    }

    fn seek(&mut self, to: Duration) {
        self.main.seek(to);
    }

    fn mode(&self) -> SourceMode {
        self.main.mode()
    }

    fn encoding(&self) -> Option<EncodingStats> {
        self.main.encoding()
    }

    fn playing(&self) -> Option<Playing> {
        self.main.playing()
    }

    fn playing_sound(&self) -> Option<Playing> {
        self.sound.as_ref().and_then(Sequencer::playing)
    }

    fn bytes_held(&self) -> usize {
        self.main.bytes_held() + self.sound.as_ref().map_or(0, Sequencer::bytes_held)
    }

    fn stop(&mut self) {
        self.main.stop();
        if let Some(sound) = &mut self.sound {
            sound.stop();
        }
    }

    fn is_stopped(&mut self) -> bool {
        let sound = self.sound.as_mut().is_none_or(Sequencer::is_stopped);
        self.main.is_stopped() && sound
    }
}
