//! A source, opened and run.
//!
//! In: what it gives, turn by turn. Out: mistakes. On the checking thread, in the place of a stream's thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;

use super::Check;
use super::mistake::MistakeKind;
use super::notes::{May, Notes};
use super::rules::Rules;
use crate::driver::{SourceContext, SourceDriver, SourceState, TurnClock};
use crate::error::chain;
use crate::pool::Scratch;
use crate::stream::{DRIVER, OpenSource, Registry, Stage};

/// Ticks before media time begins.
const HELD_TICKS: u32 = 3;
/// Media that may be given before its time, milliseconds.
const AHEAD: i64 = 5_000;
/// Bytes a source may hold.
const HELD: usize = 64 << 20;
/// Turns in a row without a tag that each say there is more.
const SPINS: u32 = 200;
/// How long a source may take to stop.
const STOP: Duration = Duration::from_secs(2);

/// Opens the source and stops it; in between, if `plays`, it is on the air.
pub(super) fn run(
    check: &Check,
    registry: &Arc<Registry>,
    source: Box<dyn OpenSource>,
    notes: &Notes,
    plays: bool,
) {
    let Some(mut run) = Run::open(check, registry, source, notes) else { return };
    let goes_on = run.attach() && run.hold() && (!plays || run.play());
    if goes_on {
        run.stop();
    }
    let Run { driver, .. } = run;
    notes.call("drop", May::NotBlock, move || drop(driver));
}

struct Run<'a> {
    check: &'a Check,
    notes: &'a Notes,
    stage: Stage,
    driver: Box<dyn SourceDriver>,
    tick: Duration,
    /// The time of the turn, which the driver is told.
    now: Instant,
    rules: Rules,
    scratch: Scratch,
    /// It returned `Ended` or `Failed`.
    over: bool,
}

impl<'a> Run<'a> {
    fn open(
        check: &'a Check,
        registry: &Arc<Registry>,
        source: Box<dyn OpenSource>,
        notes: &'a Notes,
    ) -> Option<Self> {
        let fails = |error: &crate::error::Error| notes.add(MistakeKind::DoesNotOpen, || chain(error));
        notes.call("check", May::Answer, || source.check())?.map_err(|error| fails(&error)).ok()?;
        let reads = notes.call("reads", May::Answer, || source.reads())?;
        let stage = Stage::new(registry, reads).map_err(|error| fails(&error)).ok()?;
        let opened = notes.call("open", May::Block, || stage.open_source(|cx| source.open(cx)))?;
        let driver = opened.map_err(|error| fails(&error)).ok()?;
        let (tick, now) = (registry.config.tick, Instant::now());
        let (rules, scratch) = (Rules::default(), Scratch::default());
        Some(Self { check, notes, stage, driver, tick, now, rules, scratch, over: false })
    }

    fn attach(&mut self) -> bool {
        let (driver, registry) = (&mut self.driver, self.stage.registry());
        match self.notes.call("attach", May::NotBlock, || driver.attach(registry, DRIVER)) {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.notes.add(MistakeKind::DoesNotOpen, || format!("attach: {error}"));
                false
            }
            None => false,
        }
    }

    /// Media time is held for the outputs.
    fn hold(&mut self) -> bool {
        (0..HELD_TICKS).all(|_| {
            self.now += self.tick;
            self.turn(Duration::from_millis(1)).is_some()
        })
    }

    /// On the air.
    fn play(&mut self) -> bool {
        let (began, real) = (self.now, Instant::now());
        let driver = &mut self.driver;
        if self.notes.call("start", May::NotBlock, || driver.start(began)).is_none() {
            return false;
        }
        let mut rested = false;
        while !self.over && self.now.duration_since(began) < self.check.media {
            let before = self.rules.frames();
            let breath = if self.check.real_time { self.tick } else { self.check.thread_grace };
            let Some(mut gave) = self.turn(if before == 0 { breath } else { Duration::ZERO }) else {
                return false;
            };
            let until = Instant::now() + breath;
            while !gave && !self.over && Instant::now() < until {
                let left = until.saturating_duration_since(Instant::now());
                let Some(given) = self.turn(left) else { return false };
                gave = given;
            }
            self.compare_pace(began);
            rested |= self.rests();
            let real = real.elapsed();
            self.now = if self.check.real_time {
                // What came early waits for its tick.
                std::thread::sleep((self.now + self.tick).saturating_duration_since(began + real));
                self.now + self.tick
            } else {
                self.now + self.tick
            };
        }
        let span = Duration::from_millis(self.rules.span().try_into().unwrap_or(0));
        let frames = self.rules.frames();
        if frames == 0 && !rested {
            self.notes.add(MistakeKind::Silent, || format!("no media in {:?}", self.check.media));
        }
        self.notes.update(|report| report.media = report.media.max(span));
        true
    }

    fn rests(&self) -> bool {
        let driver = &self.driver;
        self.notes.call("is_resting", May::Answer, || driver.is_resting()).unwrap_or(false)
    }

    fn compare_pace(&self, began: Instant) {
        let passed = i64::try_from(self.now.duration_since(began).as_millis()).unwrap_or(i64::MAX);
        if self.rules.span() > passed + AHEAD {
            let span = self.rules.span();
            self.notes.add(MistakeKind::RunsAhead, || format!("{span} ms of media after {passed} ms"));
        }
    }

    /// A tick and what follows from it, after a wait for `breath` at most; whether media was given. `None` if it cannot go on.
    fn turn(&mut self, breath: Duration) -> Option<bool> {
        let before = self.rules.frames();
        let (mut tick, mut spins) = (true, 0);
        loop {
            let woken = self.stage.wait(if spins > 0 { Duration::ZERO } else { breath }).unwrap_or_default();
            if let Some(token) = woken.strange {
                self.notes.add(MistakeKind::WrongToken, || format!("token {token}, its own is {}", DRIVER.0));
            }
            self.deliver()?;
            let given = self.rules.frames();
            let more = self.pull(tick, woken.readable, woken.writable)?;
            tick = false;
            if !more || self.over {
                break;
            }
            spins = if self.rules.frames() > given || woken.readable { 1 } else { spins + 1 };
            if spins > SPINS {
                self.notes.add(MistakeKind::Spins, || format!("{SPINS} turns in a row"));
                return None;
            }
        }
        Some(self.rules.frames() > before)
    }

    fn deliver(&mut self) -> Option<()> {
        while let Some(letter) = self.stage.letter() {
            let (driver, registry) = (&mut self.driver, self.stage.registry());
            self.notes.call("deliver", May::NotBlock, || driver.deliver(letter, registry, DRIVER))?;
        }
        let driver = &self.driver;
        self.notes.call("is_due", May::Answer, || driver.is_due()).map(drop)
    }

    /// One `pull`; whether there is more.
    fn pull(&mut self, tick: bool, readable: bool, writable: bool) -> Option<bool> {
        let rested = self.rests();
        let (mut tags, mut refills, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        let mut cx = SourceContext {
            now: self.now,
            clock: TurnClock::Still,
            readable,
            writable,
            tick,
            ticks_only: false,
            registry: self.stage.registry(),
            token: DRIVER,
            scratch: &mut self.scratch,
            tags: &mut tags,
            refills: &mut refills,
            notices: &mut notices,
        };
        let driver = &mut self.driver;
        let state = self.notes.call("pull", May::NotBlock, || driver.pull(&mut cx))?;
        self.scratch.put_back();
        for refillable in refills {
            let given = tags.get(refillable.tags).unwrap_or_default();
            let mut again = Vec::new();
            let refilled =
                self.notes.call("refill", May::NotBlock, || refillable.refill.refill(&mut again))?;
            if refilled.is_err() || again != given {
                self.notes.add(MistakeKind::RefillDiffers, || differs(given, &again));
            }
        }
        tags.iter().for_each(|tag| self.rules.see(tag, self.notes));
        self.notes.update(|report| report.tags += tags.len() as u64);
        if rested && self.rests() && tags.iter().any(|tag| !tag.is_header() && !tag.is_script()) {
            self.notes.add(MistakeKind::RestsAndGives, || format!("{} tags in a turn", tags.len()));
        }
        let driver = &self.driver;
        let held = self.notes.call("bytes_held", May::Answer, || {
            let _ = (driver.mode(), driver.encoding());
            driver.bytes_held()
        })?;
        if held > HELD {
            self.notes.add(MistakeKind::GrowsWithoutBound, || format!("{held} bytes are held"));
        }
        let ended = match state {
            SourceState::Running => return Some(false),
            SourceState::More => return Some(true),
            SourceState::Ended => String::new(),
            SourceState::Failed(error) => chain(&error),
        };
        self.over = true;
        self.notes.update(|report| report.ended = Some(ended));
        Some(false)
    }

    fn stop(&mut self) {
        let driver = &mut self.driver;
        if self.notes.call("stop", May::NotBlock, || driver.stop()).is_none() {
            return;
        }
        let until = Instant::now() + STOP.max(self.check.patience);
        loop {
            let driver = &mut self.driver;
            match self.notes.call("is_stopped", May::Answer, || driver.is_stopped()) {
                Some(false) if Instant::now() < until => {}
                Some(false) => {
                    self.notes.add(MistakeKind::NeverEnds, || "it is not stopped after `stop`".to_owned());
                    return;
                }
                _ => return,
            }
            let _ = self.stage.wait(Duration::from_millis(5));
            if self.deliver().is_none() {
                return;
            }
        }
    }
}

fn differs(given: &[Tag], again: &[Tag]) -> String {
    format!("{} tags were given and {} made again, or others", given.len(), again.len())
}
