//! An output, opened and given tags.
//!
//! In: how it stands after each turn. Out: mistakes. On the checking thread, in the place of a stream's thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Check;
use super::mistake::MistakeKind;
use super::notes::{May, Notes};
use super::testtags::TestTags;
use crate::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use crate::error::{Error, chain};
use crate::event::EventKind;
use crate::pool::Scratch;
use crate::ring::Ring;
use crate::stats::OutputStats;
use crate::stream::{DRIVER, OUTPUT, OpenOutput, OpenedOutput, Registry, Stage};

/// Virtual time runs this much faster than real time.
const SPEED: u32 = 10;
/// Media time waits for an output this long at most.
const HOLD: Duration = Duration::from_secs(5);
/// How long the source rests.
const REST: Duration = Duration::from_secs(1);
/// A cursor that stands still for this much media time keeps the ring.
const STILL: Duration = Duration::from_secs(6);
/// Bytes of tags that an output may hold beyond the ring.
const HELD: usize = 16 << 20;
/// Turns in a row that say there is more and do nothing.
const SPINS: u32 = 200;
/// Turns between ticks after which it is known whether new tags are taken in them.
const FRESH_TURNS: u32 = 40;
/// Media that comes after the output was finished.
const AFTER: Duration = Duration::from_secs(2);

type Call = fn(&mut dyn OutputDriver, &mut OutputContext<'_>) -> OutputState;

/// Opens the output and finishes it; in between, if `plays`, it is given media.
pub(super) fn run(
    check: &Check,
    registry: &Arc<Registry>,
    output: Box<dyn OpenOutput>,
    notes: &Notes,
    plays: bool,
) {
    let Some(mut run) = Run::open(check, registry, output, notes) else { return };
    // `None` where it panicked or ended by itself.
    let _ = run.whole(plays);
    let Run { driver, .. } = run;
    notes.call("drop", May::NotBlock, move || drop(driver));
}

/// How far an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    cursor: Option<u64>,
    sent: u64,
}

struct Run<'a> {
    check: &'a Check,
    notes: &'a Notes,
    stage: Stage,
    driver: Box<dyn OutputDriver>,
    ring: Ring,
    tags: TestTags,
    tick: Duration,
    /// The time of the turn, which the driver is told.
    now: Instant,
    /// How far the media is.
    media: Duration,
    immediate: bool,
    scratch: Scratch,
    stats: OutputStats,
    /// Turns between ticks, and how many of them moved the cursor; and how many ticks did.
    fresh: (u32, u32),
    moved_by_ticks: u32,
    /// Since when, in media time, the cursor stands still behind the end.
    still: Option<(u64, Duration)>,
}

impl<'a> Run<'a> {
    fn open(
        check: &'a Check,
        registry: &Arc<Registry>,
        output: Box<dyn OpenOutput>,
        notes: &'a Notes,
    ) -> Option<Self> {
        let fails = |error: &Error| notes.add(MistakeKind::DoesNotOpen, || chain(error));
        notes.call("check", May::Answer, || output.check())?.map_err(|error| fails(&error)).ok()?;
        let stage =
            Stage::new(registry, crate::files::Reads::default()).map_err(|error| fails(&error)).ok()?;
        let opened = notes.call("open", May::Block, || stage.open_output(|cx| output.open(cx)))?;
        let OpenedOutput { name, driver } = opened.map_err(|error| fails(&error)).ok()?;
        let immediate = notes.call("is_immediate", May::Answer, || driver.is_immediate())?;
        Some(Self {
            check,
            notes,
            stage,
            driver,
            ring: Ring::new(registry.config.backlog.clone(), true),
            tags: TestTags::default(),
            tick: registry.config.tick,
            now: Instant::now(),
            media: Duration::ZERO,
            immediate,
            scratch: Scratch::default(),
            stats: OutputStats::new(OUTPUT, None, name),
            fresh: (0, 0),
            moved_by_ticks: 0,
            still: None,
        })
    }

    fn whole(&mut self, plays: bool) -> Option<()> {
        self.serve(false, |driver, cx| driver.turn(cx))?;
        if plays {
            self.hold()?;
            let half = self.check.media / 2;
            self.feed(half)?;
            self.rest()?;
            self.feed(self.check.media.saturating_sub(half))?;
            self.judge();
        }
        self.finish(plays)
    }

    /// Media time waits for the output, in real time.
    fn hold(&mut self) -> Option<()> {
        let began = Instant::now();
        loop {
            let driver = &self.driver;
            if self.notes.call("readiness", May::Answer, || driver.readiness())? != Readiness::Pending {
                return Some(());
            }
            if began.elapsed() > HOLD.max(self.check.patience) {
                self.notes.add(MistakeKind::NeverReady, || format!("pending for {HOLD:?} and more"));
                return Some(());
            }
            self.pass(Duration::from_millis(10), 1)?;
        }
    }

    /// Real time passes, and `speed` times as much for the driver; then it has a tick.
    fn pass(&mut self, real: Duration, speed: u32) -> Option<()> {
        let until = Instant::now() + real;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let woken = self.stage.wait(left).unwrap_or_default();
            if let Some(token) = woken.strange {
                self.notes.add(MistakeKind::WrongToken, || format!("token {token}, its own is {}", DRIVER.0));
                // It would be told again and again.
                std::thread::sleep(left);
            }
            while let Some(letter) = self.stage.letter() {
                self.call("deliver", false, (false, false), |driver, cx| driver.deliver(cx, letter))?;
            }
            if woken.readable || woken.writable {
                self.serve_with(false, (woken.readable, woken.writable), |driver, cx| driver.turn(cx))?;
            }
            if left.is_zero() {
                break;
            }
        }
        self.now += real * speed;
        self.serve(true, |driver, cx| driver.turn(cx))
    }

    /// Pictures and sound for this much media time.
    fn feed(&mut self, media: Duration) -> Option<()> {
        let speed = if self.check.real_time { 1 } else { SPEED };
        let until = self.media + media;
        while self.media < until {
            // In between two ticks comes something new, too.
            self.give(self.tick / 2);
            if self.immediate {
                let before = self.place()?;
                self.serve(false, |driver, cx| driver.turn(cx))?;
                self.fresh.0 += 1;
                self.fresh.1 += u32::from(self.place()?.cursor != before.cursor);
            }
            self.give(self.tick - self.tick / 2);
            let before = self.place()?;
            self.pass(self.tick / speed, speed)?;
            self.moved_by_ticks += u32::from(self.place()?.cursor != before.cursor);
            self.look()?;
        }
        Some(())
    }

    fn give(&mut self, media: Duration) {
        self.media += media;
        let tags = self.tags.up_to(i64::try_from(self.media.as_millis()).unwrap_or(i64::MAX));
        let (media, count) = (self.media, tags.len() as u64);
        self.notes.update(|report| {
            report.tags += count;
            report.media = media;
        });
        tags.into_iter().for_each(|tag| self.ring.push(tag));
    }

    fn place(&mut self) -> Option<Place> {
        let driver = &self.driver;
        let cursor = self.notes.call("cursor", May::Answer, || driver.cursor())?;
        let before = self.stats.clone();
        let (driver, stats) = (&self.driver, &mut self.stats);
        self.notes.call("stats", May::Answer, || driver.stats(stats))?;
        if self.stats.bytes_sent < before.bytes_sent || self.stats.drops < before.drops {
            self.notes.add(MistakeKind::FiguresGoBack, || {
                format!("{} bytes sent and {} drops, then fewer", before.bytes_sent, before.drops)
            });
        }
        let end = self.ring.end();
        if let Some(cursor) = cursor.filter(|&cursor| cursor > end) {
            self.notes.add(MistakeKind::CursorBeyondRing, || format!("at {cursor}, the end is {end}"));
        }
        Some(Place { cursor, sent: self.stats.bytes_sent })
    }

    /// What a stream's thread does after a tick, and a look at what the output holds.
    fn look(&mut self) -> Option<()> {
        let place = self.place()?;
        self.ring.trim(place.cursor.unwrap_or(u64::MAX).min(self.ring.end()));
        let held = self.tags.held().saturating_sub(self.ring.bytes());
        if held > HELD || self.stats.bytes_held > (HELD + (16 << 20)) as u64 {
            let told = self.stats.bytes_held;
            self.notes.add(MistakeKind::GrowsWithoutBound, || {
                format!("{held} bytes of tags are held beyond the ring; it says {told}")
            });
        }
        let driver = &self.driver;
        if self.notes.call("is_immediate", May::Answer, || driver.is_immediate())? != self.immediate {
            self.notes.add(MistakeKind::ImmediateChanges, || format!("it was {} at first", self.immediate));
        }
        let waits = place.cursor.filter(|&cursor| cursor < self.ring.end());
        let since = self.still.filter(|(at, _)| waits == Some(*at)).map_or(self.media, |(_, since)| since);
        self.still = waits.map(|at| (at, since));
        if let Some(at) = waits
            && self.media - since > STILL
        {
            self.wait_for(|place| place.cursor != Some(at))?.then_some(()).or_else(|| {
                let media = self.media - since;
                self.notes.add(MistakeKind::KeepsTheRing, || format!("at tag {at} for {media:?}"));
                Some(())
            })?;
            self.still = None;
        }
        Some(())
    }

    /// Real time for a thread or a peer of the output; whether what was waited for is so.
    fn wait_for(&mut self, is_so: impl Fn(&Place) -> bool) -> Option<bool> {
        let until = Instant::now() + self.check.patience;
        loop {
            if is_so(&self.place()?) {
                return Some(true);
            }
            if Instant::now() >= until {
                return Some(false);
            }
            self.pass(Duration::from_millis(10), 1)?;
        }
    }

    /// The source has nothing for a while, and then it has again.
    fn rest(&mut self) -> Option<()> {
        let driver = &mut self.driver;
        let replaced = EventKind::PublisherReplaced { silent: Duration::from_secs(1) };
        self.notes.call("hear", May::Answer, || driver.hear(&replaced))?;
        let began = self.place()?;
        self.serve(false, |driver, cx| driver.rest(cx))?;
        for _ in 0..10 {
            self.pass(REST / 10 / SPEED, SPEED)?;
        }
        let before = self.ring.end();
        self.serve(false, |driver, cx| driver.resume(cx))?;
        let keyframe = Duration::from_millis(self.tags.begin_gop().try_into().unwrap_or(0));
        self.media = self.media.max(keyframe);
        self.give(self.tick);
        self.serve(true, |driver, cx| driver.turn(cx))?;
        // An output that hung up has to be connected again first, and begins with a keyframe.
        let was_reading = began.cursor.is_some_and(|cursor| cursor > 0);
        let goes_on = |place: &Place| place.cursor.is_some_and(|cursor| cursor > before);
        if was_reading {
            let until = Instant::now() + self.check.patience;
            while !goes_on(&self.place()?) {
                if Instant::now() >= until {
                    self.notes.add(MistakeKind::NotBackFromRest, || format!("not beyond tag {before}"));
                    break;
                }
                self.give(Duration::from_millis(40));
                self.pass(Duration::from_millis(40), 1)?;
            }
        }
        self.still = None;
        Some(())
    }

    /// What is known once it has been given all.
    fn judge(&self) {
        let (turns, moved) = self.fresh;
        if self.immediate && moved == 0 && turns >= FRESH_TURNS && self.moved_by_ticks > 0 {
            self.notes
                .add(MistakeKind::ImmediateInVain, || format!("{turns} turns between ticks took nothing"));
        }
    }

    /// The orderly end, while the stream goes on.
    fn finish(&mut self, plays: bool) -> Option<()> {
        self.serve(false, |driver, cx| {
            driver.finish(cx);
            driver.turn(cx)
        })?;
        let end = self.ring.end();
        let driver = &self.driver;
        let patience =
            self.notes.call("patience", May::Answer, || driver.patience())?.min(self.check.patience);
        let until = Instant::now() + patience;
        while !self.is_finished()? {
            if Instant::now() >= until {
                self.notes.add(MistakeKind::NeverEnds, || format!("it is not finished after {patience:?}"));
                return Some(());
            }
            if plays {
                self.give(Duration::from_millis(5));
            }
            self.pass(Duration::from_millis(5), 1)?;
        }
        if !plays {
            return Some(());
        }
        let before = self.place()?;
        for _ in 0..10 {
            self.give(AFTER / 10);
            self.pass(Duration::from_millis(5), 1)?;
        }
        let after = self.place()?;
        if after.sent > before.sent
            || after.cursor.is_some_and(|cursor| cursor > end)
            || !self.is_finished()?
        {
            let bytes = after.sent - before.sent;
            let at = after.cursor;
            self.notes.add(MistakeKind::SendsAfterEnd, || {
                format!("{bytes} bytes; its cursor is {at:?}, it was to end at {end}")
            });
        }
        let driver = &self.driver;
        self.notes.call("failure", May::Answer, || (driver.failure(), driver.first_media())).map(drop)
    }

    fn is_finished(&mut self) -> Option<bool> {
        let driver = &mut self.driver;
        self.notes.call("is_finished", May::Answer, || driver.is_finished())
    }

    fn serve(&mut self, tick: bool, call: Call) -> Option<()> {
        self.serve_with(tick, (false, false), call)
    }

    /// A turn, and those that follow while there is more. `None` if it ended or cannot go on.
    fn serve_with(&mut self, tick: bool, ready: (bool, bool), call: Call) -> Option<()> {
        let (mut more, mut spins) = (self.call("turn", tick, ready, call)?, 0);
        while more && spins < SPINS {
            let before = self.place()?;
            more = self.call("turn", false, ready, |driver, cx| driver.turn(cx))?;
            spins = if self.place()? == before { spins + 1 } else { 0 };
        }
        if spins == SPINS {
            self.notes.add(MistakeKind::Spins, || format!("{SPINS} turns in a row"));
            return None;
        }
        self.ring.end_turn();
        self.scratch.put_back();
        Some(())
    }

    /// One call; whether there is more.
    fn call(
        &mut self,
        what: &'static str,
        tick: bool,
        (readable, writable): (bool, bool),
        call: impl FnOnce(&mut dyn OutputDriver, &mut OutputContext<'_>) -> OutputState,
    ) -> Option<bool> {
        let mut notices = Vec::new();
        let mut cx = OutputContext {
            now: self.now,
            registry: self.stage.registry(),
            output: OUTPUT,
            token: DRIVER,
            ring: &self.ring,
            readable,
            writable,
            tick,
            scratch: &mut self.scratch,
            notices: &mut notices,
        };
        let driver = self.driver.as_mut();
        match self.notes.call(what, May::NotBlock, || call(driver, &mut cx))? {
            OutputState::Running => Some(false),
            OutputState::More => Some(true),
            OutputState::Ended(error) => {
                let why = error.map_or(String::new(), |error| chain(&error));
                self.notes.update(|report| report.ended = Some(why));
                None
            }
        }
    }
}
