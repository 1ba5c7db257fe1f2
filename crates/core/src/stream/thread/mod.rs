//! The thread of one stream: the clock, the source, and all outputs on one poll.
//!
//! It sleeps until the next tick, a socket that is ready, or a command. Nothing it calls blocks, so no output can delay
//! another: each has a budget per turn, and what is left over is done after the others had theirs.

mod figures;
mod outputs;
mod pauses;
mod rate;
mod serving;
mod source;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;
use mio::{Events, Poll, Token};

use self::figures::Gone;
use self::outputs::Slot;
use self::rate::Adaptor;
use super::branch::Guest;
use super::mailbox::{Command, Commands};
use super::meter::Meter;
use super::shared::{Outcome, StreamShared};
use super::thumbnail::Shown;
use crate::clock::pace::Ticker;
use crate::config::Config;
use crate::driver::{Readiness, Refillable, SourceContext, SourceDriver, SourceState, TurnClock};
use crate::error::Error;
use crate::event::bus::Told;
use crate::event::{Event, EventKind};
use crate::id::OutputId;
use crate::pool::{Scratch, Shelf};
use crate::ring::Ring;
use crate::stats::{OutputStats, Seam, StreamPhase};
use crate::sys::{CpuLap, Latch};

/// The token of the mailbox's waker.
pub(crate) const WAKE: Token = Token(0);
const SOURCE: Token = Token(1);
const FIRST_OUTPUT: usize = 2;
/// Media time begins at the latest after this, whatever the outputs do.
const HOLD: Duration = Duration::from_secs(5);
/// Once one output is ready, the others are waited for this much longer.
const HOLD_FOR_OTHERS: Duration = Duration::from_secs(1);
/// A source that does not stop (a file system that is gone) is waited for this long.
const FINISH: Duration = Duration::from_secs(2);
/// What is still to be sent when a source is complete may take this long.
const DRAIN: Duration = Duration::from_secs(10);
/// Kept free before the deadline of a stop, so that the end is announced before the waiting thread abandons this one: a
/// quarter of the time, and this at most.
const ANNOUNCE: Duration = Duration::from_millis(100);
/// Callbacks may take this long to hear that the last output has failed and give the stream another one.
const HEAR: Duration = Duration::from_secs(1);
/// Room for tags of one turn that is kept for another.
const TAGS_KEPT: usize = 256;
/// Room for the tags of a turn.
static TAGS: Shelf<Vec<Tag>> = Shelf::new();
/// Sockets told of at a time; what more there is comes with the next wait, which does not sleep.
const EVENTS: usize = 32;
/// What a stream thread starts with.
pub(crate) struct Setup {
    pub(crate) shared: Arc<StreamShared>,
    pub(crate) poll: Poll,
    pub(crate) commands: Commands,
    pub(crate) source: Box<dyn SourceDriver>,
    pub(crate) config: Arc<Config>,
    /// How often it ticks, if not as the engine's streams do.
    pub(crate) tick: Option<Duration>,
    /// Players may join: keep the newest GOP.
    pub(crate) keep_gop: bool,
    /// Media time waits for the first outputs; a live source does not.
    pub(crate) hold: bool,
    /// The stream ends when its last output has failed for good.
    pub(crate) needs_outputs: bool,
    /// Of a branch: its stream.
    pub(crate) root: Option<Arc<StreamShared>>,
}

/// How media time begins.
enum Clock {
    Held { until: Instant, someone_ready: bool },
    Running,
}

/// The thread's state.
pub(crate) struct StreamThread {
    setup: Setup,
    slots: Vec<Option<Slot>>,
    /// The slots of outputs that are ready, or were when they were put here: a thousand that are not cost nothing between ticks.
    ready: Vec<usize>,
    /// The room of the list while it is gone through.
    served: Vec<usize>,
    /// Outputs that send new tags at once.
    immediate: usize,
    ended: Vec<OutputStats>,
    /// The same of players, which come and go: they must not hide what happened to an output.
    left: Vec<OutputStats>,
    gone: Gone,
    /// Outputs that were added since the figures were published.
    came: Vec<OutputId>,
    /// The figures are published with this turn, due or not.
    news: bool,
    ring: Ring,
    ticker: Ticker,
    clock: Clock,
    meter: Meter,
    /// What sets the bit rate by how the outputs are.
    adaptor: Adaptor,
    cpu: CpuLap,
    scratch: Scratch,
    tags: Vec<Tag>,
    refills: Vec<Refillable>,
    notices: Vec<EventKind>,
    source_more: bool,
    /// The source is a switch: it was replaced, or is about to be.
    switches: bool,
    /// The source rests, and the outputs know.
    rests: bool,
    stopping: bool,
    /// When a branch last had players.
    empty_since: Instant,
    laps: u64,
    /// The fallback is sent in place of the source.
    on_fallback: bool,
    last_failure: Option<Error>,
    /// Who waits for a keyframe.
    shown: Vec<Arc<Latch<Shown>>>,
    /// No output is left: what the callbacks are still to hear before the stream ends, and until when.
    hearing: Option<(Told<Event>, Instant)>,
}

/// What one wait brought.
#[derive(Default)]
struct Woken {
    /// There are commands.
    asked: bool,
    source_readable: bool,
    source_writable: bool,
}

impl StreamThread {
    pub(crate) fn new(setup: Setup) -> Self {
        let now = Instant::now();
        let clock = if setup.hold {
            Clock::Held { until: now + HOLD, someone_ready: false }
        } else {
            Clock::Held { until: now, someone_ready: true }
        };
        Self {
            ring: Ring::new(setup.config.backlog.clone(), setup.keep_gop),
            ticker: Ticker::new(now, setup.tick.unwrap_or(setup.config.tick), setup.shared.id.0),
            clock,
            meter: Meter::new(now),
            adaptor: Adaptor::default(),
            cpu: CpuLap::default(),
            scratch: Scratch::default(),
            tags: Vec::new(),
            refills: Vec::new(),
            notices: Vec::new(),
            source_more: false,
            switches: false,
            rests: setup.source.is_resting(),
            stopping: false,
            empty_since: now,
            laps: 0,
            on_fallback: false,
            slots: Vec::new(),
            ready: Vec::new(),
            served: Vec::new(),
            immediate: 0,
            ended: Vec::new(),
            left: Vec::new(),
            gone: Gone::default(),
            came: Vec::new(),
            news: false,
            last_failure: None,
            hearing: None,
            shown: Vec::new(),
            setup,
        }
    }

    /// Runs the stream to its end.
    pub(crate) fn run(mut self) -> Outcome {
        let attached = self.setup.source.attach(self.setup.poll.registry(), SOURCE);
        self.notice(EventKind::Started);
        let outcome = match attached {
            Ok(()) => self.serve(),
            Err(source) => Err(Error::System { what: "cannot poll the source", source: source.into() }),
        };
        if matches!(outcome, Err(Error::Fenced)) {
            self.cut();
        }
        self.finish();
        self.publish(Instant::now(), true);
        outcome
    }

    /// The stream on the air; returns when it was asked to stop, the source is over, or no output is left.
    fn serve(&mut self) -> Outcome {
        let mut events = Events::with_capacity(EVENTS);
        let mut wants_room = false;
        loop {
            let now = Instant::now();
            let woken = self.wait(&mut events, now, self.ticker.next())?;
            if self.setup.shared.is_fenced_off() {
                return Err(Error::Fenced);
            }
            let now = Instant::now();
            let tick = self.tick(now);
            if woken.asked {
                self.obey(now);
                if self.setup.shared.stop_by().is_some() {
                    return Ok(());
                }
            }
            // What begins the stream is not made to wait for the tick.
            let begins = self.release_clock(now);
            let (mut fresh, mut at_once) = (false, false);
            let ready = woken.source_readable || woken.source_writable;
            let due = woken.asked && self.setup.source.is_due();
            if tick || begins || self.source_more || ready || due {
                let bursts = self.note_taken();
                let state = self.pull(now, tick, &woken);
                self.note_return();
                fresh = self.take_tags();
                self.ring.set_ahead(self.setup.source.ahead(now));
                if fresh && !self.shown.is_empty() {
                    self.show();
                }
                self.note_rest(now);
                at_once = bursts && fresh;
                match state {
                    SourceState::Running => self.source_more = false,
                    SourceState::More => self.source_more = true,
                    SourceState::Ended => {
                        self.drain();
                        return Ok(());
                    }
                    SourceState::Failed(error) => {
                        self.notice(EventKind::SourceFault { error: error.clone() });
                        self.drain();
                        return Err(error);
                    }
                }
            }
            // The tags of a branch come with the ticks of its stream.
            self.serve_outputs(now, tick || at_once || (fresh && self.setup.root.is_some()), fresh);
            // What is there is wanted as soon as there is room: the next tick is not waited for.
            wants_room |= at_once;
            if wants_room && self.is_taken() {
                (wants_room, self.source_more) = (false, true);
            }
            if tick {
                self.adapt(now);
                self.trim();
                self.end_leaving(now);
                if self.is_left(now) {
                    return Ok(());
                }
            }
            self.end_turn();
            self.flush_notices();
            self.publish(now, false);
            if let Some(error) = self.failed_for_good(now) {
                return Err(error);
            }
        }
    }

    /// Why the stream ends, if it has lost its last output: a callback that heard of it may have added another one.
    fn failed_for_good(&mut self, now: Instant) -> Option<Error> {
        if !self.setup.needs_outputs || !self.slots.iter().all(Option::is_none) {
            return None;
        }
        let error = self.last_failure.clone()?;
        let events = &self.setup.shared.events;
        let (told, until) = self.hearing.get_or_insert_with(|| (events.told(), now + HEAR));
        // What a callback asked for is there once it has returned.
        let was_heard = told.is_heard() || now >= *until;
        (was_heard && self.setup.commands.is_empty()).then_some(error)
    }

    /// Whether a tick is due.
    fn tick(&mut self, now: Instant) -> bool {
        let late = self.ticker.due(now);
        if let Some(late) = late {
            self.meter.ticked(late);
        }
        late.is_some()
    }

    /// Sleeps until something is to be done, at the latest until `until`; not at all if work is left over.
    fn wait(&mut self, events: &mut Events, now: Instant, until: Instant) -> Result<Woken, Error> {
        let left_over = self.source_more || !self.ready.is_empty();
        let timeout = if left_over { Duration::ZERO } else { until.saturating_duration_since(now) };
        if let Err(source) = self.setup.poll.poll(events, Some(timeout))
            && source.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(Error::System { what: "cannot wait for sockets", source: source.into() });
        }
        let mut woken = Woken::default();
        for event in events.iter() {
            let readable = event.is_readable() || event.is_read_closed() || event.is_error();
            let writable = event.is_writable() || event.is_write_closed() || event.is_error();
            match event.token() {
                WAKE => woken.asked = true,
                SOURCE => {
                    woken.source_readable |= readable;
                    woken.source_writable |= writable;
                }
                Token(token) => {
                    let index = token - FIRST_OUTPUT;
                    if let Some(Some(slot)) = self.slots.get_mut(index) {
                        slot.readable |= readable;
                        slot.writable |= writable;
                        if !std::mem::replace(&mut slot.ready, true) {
                            self.ready.push(index);
                        }
                    }
                }
            }
        }
        Ok(woken)
    }

    /// Carries out what other threads asked for.
    fn obey(&mut self, now: Instant) {
        while let Ok(command) = self.setup.commands.try_recv() {
            match *command {
                Command::AddOutput { output, name, driver, guest } => {
                    self.add_output(now, output, name, driver, guest);
                }
                Command::RemoveOutput(output) => self.remove_output(now, output),
                Command::DeliverTo { output, message } => {
                    let found = self
                        .slots
                        .iter()
                        .position(|slot| slot.as_ref().is_some_and(|slot| slot.id == output));
                    if let Some(index) = found {
                        self.with_output(index, now, |driver, cx| driver.deliver(cx, message));
                    }
                }
                Command::Deliver(message) => {
                    self.setup.source.deliver(message, self.setup.poll.registry(), SOURCE);
                }
                Command::ReplaceSource(replacement) => self.replace_source(replacement),
                Command::Describe(answer) => {
                    answer.set(self.on_air());
                }
                Command::Show(answer) => {
                    self.shown.push(answer);
                    self.show();
                }
                Command::Seek(to) => self.setup.source.seek(to),
                // The deadline is in the shared state.
                Command::Stop => {}
            }
        }
    }

    /// Lets media time begin once the outputs it was held for are ready; `true` if it begins now.
    fn release_clock(&mut self, now: Instant) -> bool {
        let Clock::Held { until, someone_ready } = &mut self.clock else { return false };
        let mut outputs = self.slots.iter().flatten().map(|slot| slot.driver.readiness());
        let all = outputs.clone().all(|output| output != Readiness::Pending);
        if !*someone_ready && outputs.any(|output| output == Readiness::Settled) {
            *someone_ready = true;
            *until = (*until).min(now + HOLD_FOR_OTHERS);
        }
        if !all && now < *until {
            return false;
        }
        self.setup.source.start(now);
        self.clock = Clock::Running;
        // What is being played is seen at once.
        self.news = true;
        self.setup.shared.publish_stats(|stats| stats.phase = StreamPhase::Running);
        true
    }

    /// Answers those who wait for a keyframe, if there is one, or will be none.
    fn show(&mut self) {
        let shown = match self.ring.keyframe() {
            Some(keyframe) => Shown::Keyframe(Box::new(keyframe)),
            None if self.ring.is_sound_alone() => Shown::NoPicture,
            None => return,
        };
        for answer in self.shown.drain(..) {
            answer.set(shown.clone());
        }
    }

    fn pull(&mut self, now: Instant, tick: bool, woken: &Woken) -> SourceState {
        self.tags = TAGS.take();
        self.setup.source.pull(&mut SourceContext {
            now,
            clock: TurnClock::Machine,
            readable: woken.source_readable,
            writable: woken.source_writable,
            tick,
            ticks_only: self.immediate == 0,
            registry: self.setup.poll.registry(),
            token: SOURCE,
            scratch: &mut self.scratch,
            tags: &mut self.tags,
            refills: &mut self.refills,
            notices: &mut self.notices,
        })
    }

    /// Says to a source that is a burst whether all outputs have taken what there is; whether it is one.
    fn note_taken(&mut self) -> bool {
        let is_burst = self.setup.source.is_burst();
        if is_burst {
            let taken = self.is_taken();
            self.setup.source.note_taken(taken);
        }
        is_burst
    }

    /// Lets the ring know that the source is back with the tags of this turn, if it is. While a fallback is on the air, its end counts.
    fn note_return(&mut self) {
        for kind in &self.notices {
            match kind {
                EventKind::FallbackBegan { .. } => self.on_fallback = true,
                EventKind::FallbackEnded { .. } => {
                    self.on_fallback = false;
                    self.ring.note_return();
                }
                EventKind::PublisherReturned { .. } | EventKind::PublisherReplaced { .. }
                    if !self.on_fallback =>
                {
                    self.ring.note_return();
                }
                EventKind::SourceLive { reconnects: 1.., .. } if !self.on_fallback => self.ring.note_return(),
                _ => {}
            }
        }
    }

    /// Moves what the source gave into the ring.
    fn take_tags(&mut self) -> bool {
        let fresh = !self.tags.is_empty();
        let (ring, meter) = (&mut self.ring, &mut self.meter);
        let mut tags = self.tags.drain(..).inspect(|tag| meter.count(tag));
        let mut taken = 0;
        for Refillable { tags: range, refill } in self.refills.drain(..) {
            tags.by_ref().take(range.start - taken).for_each(|tag| ring.push(tag));
            ring.push_refillable(tags.by_ref().take(range.len()), refill);
            taken = range.end;
        }
        tags.for_each(|tag| ring.push(tag));
        let room = std::mem::take(&mut self.tags);
        if room.capacity() <= TAGS_KEPT {
            TAGS.put_back(room);
        }
        fresh
    }

    /// Lets go of what was needed for this turn only.
    fn end_turn(&mut self) {
        self.scratch.put_back();
        self.ring.end_turn();
        if let Some(error) = self.ring.take_fault() {
            self.notices.push(EventKind::SourceFault { error });
        }
    }

    /// The source is complete: the outputs get what is left of it, unless the stream is stopped meanwhile.
    fn drain(&mut self) {
        // A publisher that comes back finds its name free at once.
        self.setup.shared.release_names();
        let until = Instant::now() + DRAIN;
        let end = self.ring.end();
        // What came last waits for no tick.
        self.serve_outputs(Instant::now(), true, true);
        self.end_turn();
        self.turns_until(until, |thread| {
            let stopped = thread.setup.shared.stop_by().is_some();
            let mut slots = thread.slots.iter().flatten();
            stopped || slots.all(|slot| slot.driver.cursor().is_none_or(|cursor| cursor >= end))
        });
    }

    /// What leads to others is closed, and says no goodbye.
    fn cut(&mut self) {
        for slot in self.slots.iter_mut().flatten() {
            slot.driver.cut();
        }
    }

    /// The orderly end of everything, within the deadline that was given.
    fn finish(&mut self) {
        self.setup.shared.release_names();
        self.setup.shared.publish_stats(|stats| stats.phase = StreamPhase::Stopping);
        self.stopping = true;
        let now = Instant::now();
        if let Some(after) = self.setup.source.end_fallback(now) {
            self.notice(EventKind::FallbackEnded { after, seam: Seam::Seamless });
        }
        self.setup.source.stop();
        for index in 0..self.slots.len() {
            self.with_output(index, now, |driver, cx| {
                driver.finish(cx);
                driver.turn(cx)
            });
        }
        let asked = self.setup.shared.stop_by().unwrap_or(now + self.setup.config.force_stop_after);
        let left = asked.saturating_duration_since(now);
        let left = left - ANNOUNCE.min(left / 4);
        self.turns_until(now + left, |thread| {
            let took = now.elapsed();
            let mut all = true;
            for slot in thread.slots.iter_mut().flatten() {
                slot.finished = slot.finished || took >= slot.driver.patience() || slot.driver.is_finished();
                all &= slot.finished;
            }
            all && (thread.setup.source.is_stopped() || took >= FINISH)
        });
        if !self.setup.source.is_stopped() {
            let stream = self.setup.shared.id;
            let error = Error::CleanupFailed { stream, what: "its source does not stop, it is left behind" };
            self.setup.shared.tell(EventKind::CleanupFailed { error });
        }
        for index in 0..self.slots.len() {
            if let Some(Some(slot)) = self.slots.get(index) {
                let failure = slot.driver.failure();
                self.end_output(index, failure);
            }
        }
        self.flush_notices();
        self.setup.shared.cpu.lap(&mut self.cpu);
    }

    /// Serves the outputs, and no source, until `done` or `until`.
    fn turns_until(&mut self, until: Instant, mut done: impl FnMut(&mut Self) -> bool) {
        /// What has no socket to wake the thread (a recorder, a worker) is looked at this often.
        const LOOK: Duration = Duration::from_millis(5);
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if done(self) || now >= until {
                return;
            }
            self.source_more = false;
            if self.wait(&mut events, now, until.min(now + LOOK)).is_err() {
                return;
            }
            if self.setup.shared.is_fenced_off() {
                self.cut();
            }
            let now = Instant::now();
            let tick = self.tick(now);
            self.obey(now);
            self.serve_outputs(now, tick, false);
            self.end_turn();
            self.flush_notices();
            self.publish(now, false);
        }
    }

    fn notice(&mut self, kind: EventKind) {
        self.notices.push(kind);
        self.flush_notices();
    }

    fn flush_notices(&mut self) {
        let is_shown = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::ItemStarted { .. }
                    | EventKind::SourceSwitched { .. }
                    | EventKind::FallbackBegan { .. }
                    | EventKind::FallbackEnded { .. }
            )
        };
        if self.notices.iter().any(is_shown) {
            // Who hears of it finds it in the figures.
            self.publish_now(Instant::now(), false);
        }
        for kind in self.notices.drain(..) {
            match &kind {
                EventKind::Looped { laps } => self.laps = *laps,
                EventKind::PublisherLost { .. }
                | EventKind::PublisherReturned { .. }
                | EventKind::PublisherReplaced { .. }
                | EventKind::ItemStarted { .. } => {
                    self.slots.iter_mut().flatten().for_each(|slot| slot.driver.hear(&kind));
                }
                _ => {}
            }
            self.setup.shared.tell(kind);
        }
    }
}
