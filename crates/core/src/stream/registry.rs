//! The streams that run: how they begin, how they are found, and how they are stopped.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::{Poll, Waker};
use parking_lot::Mutex;

use super::described::{Changes, Described};
use super::gauge::Gauge;
use super::handle::StreamRef;
use super::hub::{Claim, Hub};
use super::labels::check_label;
use super::leave::Leave;
use super::mailbox::{Command, Commands, Mailbox};
use super::opening::{OpenOutput, OpenedOutput, OutputOpening};
use super::report::{ShutdownReport, StreamEnd};
use super::shared::StreamShared;
use super::starting::Starting;
use super::thread::{Setup, StreamThread, WAKE};
use super::together::Together;
use super::{FOREVER, STREAM_STACK};
use crate::admission::Ask;
use crate::config::Config;
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::event::EventBus;
use crate::files::StreamFiles;
use crate::id::{OutputId, StreamId};
use crate::limiter::{Admitted, Limiter, Permit};
use crate::net::dialer::Dialer;
use crate::recorded::Recordings;
use crate::reel::Store;
use crate::stats::{OutputStats, Totals};
use crate::sys::{Cancel, CodecThreads, Latch, LeftBehind, panic_message, spawn};
use crate::thumbnail::Studio;
use crate::usage::{self, Account, Moment, UsageCut};

const REAPER_STACK: usize = 64 << 10;
/// How long what is to be done before the streams stop may take, and the stack of its thread.
const LAST_THINGS: Duration = Duration::from_secs(2);
const LAST_STACK: usize = 256 << 10;

/// What streams and handles share with the engine.
pub(crate) struct Registry {
    pub(crate) config: Arc<Config>,
    limiter: Limiter,
    /// What measures for it.
    gauge: Gauge,
    /// Whose threads libav has started.
    codecs: Mutex<CodecThreads>,
    /// When streams end of which others know that.
    known_ends: OnceLock<Box<KnownEnds>>,
    dialer: Dialer,
    /// What makes thumbnails.
    studio: Studio,
    /// What all recordings take.
    recordings: Recordings,
    events: EventBus,
    hub: Hub,
    /// What streams share.
    together: Together,
    reels: Option<Store>,
    streams: Mutex<HashMap<StreamId, Arc<StreamShared>>>,
    next_stream: AtomicU64,
    reaper: Mutex<Option<Sender<Arc<StreamShared>>>>,
    abandoned: AtomicU64,
    /// What streams did that have ended. Locked after `streams`.
    ended: Mutex<Totals>,
    /// Of those, the threads that have not ended since.
    stuck: AtomicI64,
    /// Workers of outputs that were told to end.
    left: LeftBehind,
    /// What is being started.
    starting: Starting,
    /// The engine is shutting down for good: nothing new is put on the air.
    closed: AtomicBool,
    /// The same, for who waits for something.
    closing: Latch<()>,
    /// The last things were done, or took too long.
    streams_stop: AtomicBool,
    /// What is done when the engine begins to shut down.
    last_things: Mutex<Vec<LastThing>>,
    /// Who is told when the streams, or what they are made of, change.
    changes: Arc<Changes>,
    /// Where usage records wait for who wants them.
    usage: Arc<usage::Desk>,
}

/// Called once, when the engine begins to shut down and its streams still run.
type LastThing = Box<dyn FnOnce() + Send>;

/// How long until streams are ended.
type KnownEnds = dyn Fn() -> Vec<(StreamId, Duration)> + Send + Sync;

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What a stream is made of besides its outputs.
pub(crate) struct Parts {
    pub(crate) source: Box<dyn SourceDriver>,
    pub(crate) tick: Option<Duration>,
    pub(crate) keep_gop: bool,
    pub(crate) hold: bool,
    pub(crate) needs_outputs: bool,
    pub(crate) claim: Option<Claim>,
}

/// A stream thread that is ready to start: it has a number and a mailbox.
pub(crate) struct Prepared {
    pub(crate) shared: Arc<StreamShared>,
    pub(super) poll: Poll,
    pub(super) commands: Commands,
}

impl Registry {
    /// Of an engine with `config`.
    ///
    /// # Errors
    ///
    /// [`Error::ReelStoreInUse`].
    ///
    /// # Blocking
    ///
    /// On the reel store's directory, if there is one.
    pub(crate) fn new(config: Config) -> Result<Arc<Self>, Error> {
        let reels = config.reels.as_ref().map(Store::open).transpose()?;
        let usage = usage::Desk::new(config.usage);
        Ok(Arc::new(Self {
            limiter: Limiter::new(config.limits(), config.admission.clone()),
            gauge: Gauge::default(),
            codecs: Mutex::default(),
            known_ends: OnceLock::new(),
            dialer: Dialer::new(config.dials.clone()),
            studio: Studio::new(config.thumbnail_threads),
            recordings: Recordings::new(config.recording.budget),
            config: Arc::new(config),
            events: EventBus::default(),
            hub: Hub::default(),
            together: Together::default(),
            reels,
            streams: Mutex::default(),
            next_stream: AtomicU64::new(1),
            reaper: Mutex::new(None),
            abandoned: AtomicU64::new(0),
            ended: Mutex::default(),
            stuck: AtomicI64::new(0),
            left: LeftBehind::default(),
            starting: Starting::default(),
            closed: AtomicBool::new(false),
            closing: Latch::default(),
            streams_stop: AtomicBool::new(false),
            last_things: Mutex::default(),
            changes: Arc::default(),
            usage,
        }))
    }

    /// The events of all streams.
    pub(crate) fn events(&self) -> &EventBus {
        &self.events
    }

    /// Who may start how much.
    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Streams abandoned so far.
    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// What dials for pushes.
    pub(crate) fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// What makes thumbnails.
    pub(crate) fn studio(&self) -> &Studio {
        &self.studio
    }

    /// What all recordings take.
    pub(crate) fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// A stream that runs, by its number.
    pub(crate) fn find(self: &Arc<Self>, id: StreamId) -> Option<StreamRef> {
        let shared = self.streams.lock().get(&id)?.clone();
        Some(StreamRef { shared, registry: self.clone() })
    }

    /// The streams players can ask for.
    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What streams share.
    pub(super) fn together(&self) -> &Together {
        &self.together
    }

    /// What is being started.
    pub(crate) fn starting(&self) -> &Starting {
        &self.starting
    }

    /// Whether nothing new is put on the air.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The streams that run, in no order.
    pub(crate) fn running_streams(&self) -> Vec<Arc<StreamShared>> {
        self.streams.lock().values().cloned().collect()
    }

    /// A stream runs no longer; what it did stays counted.
    fn forget(&self, stream: &StreamShared) {
        let mut streams = self.streams.lock();
        if streams.remove(&stream.id).is_some() {
            *self.ended.lock() += stream.glance().totals;
        }
        drop(streams);
        self.changes.note();
    }

    /// The streams that run, in no order, and what all others did before them: each stream is in one of the two.
    pub(crate) fn running_and_ended(&self) -> (Vec<Arc<StreamShared>>, Totals) {
        let streams = self.streams.lock();
        let ended = *self.ended.lock();
        (streams.values().cloned().collect(), ended)
    }

    /// The store of reels, if there is one.
    pub(crate) fn reels(&self) -> Option<&Store> {
        self.reels.as_ref()
    }

    /// Adds what threads of libav used to the meters of these streams, which are all that run.
    pub(crate) fn look_for_codecs(&self, streams: &[Arc<StreamShared>]) {
        let ours: HashSet<_> = streams.iter().map(|stream| stream.cpu.number()).collect();
        self.codecs.lock().look(|meter| ours.contains(&meter.number()));
    }

    /// What measures for the limiter.
    pub(super) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// Who knows when streams end, given once.
    #[cfg(feature = "schedule")]
    pub(crate) fn set_known_ends(
        &self,
        ends: impl Fn() -> Vec<(StreamId, Duration)> + Send + Sync + 'static,
    ) {
        let _ = self.known_ends.set(Box::new(ends));
    }

    /// Takes a place for a stream of `owner`, in the first of these forms that fits. Where starts may wait, it waits `most` at most.
    ///
    /// # Errors
    ///
    /// [`Error::StreamLimitExceeded`], [`Error::CapacityExceeded`], [`Error::TooManyAbandoned`]; [`Error::Cancelled`] if `leave` is taken back
    /// meanwhile, [`Error::Ended`] if the engine shuts down.
    ///
    /// # Blocking
    ///
    /// As said, and a fraction of a second the first time.
    pub(crate) fn admit(
        self: &Arc<Self>,
        owner: Option<&str>,
        asks: &[Ask],
        most: Duration,
        leave: &Leave,
    ) -> Result<Admitted, Error> {
        self.check_abandoned()?;
        self.be_measured();
        // Whoever calls it off wakes it.
        let (closing, limiter) = (Arc::new(Cancel::default()), self.limiter.clone());
        self.starting.watch(&closing);
        for cancel in [&closing, leave.cancel()] {
            let limiter = limiter.clone();
            cancel.on_cancel(move || limiter.wake());
        }
        let is_over = || match leave.cancel().is_cancelled() {
            true => Some(Error::Cancelled { what: "the start" }),
            false => self.is_closed().then_some(Error::Ended),
        };
        let admitted = self.limiter.admit(owner, asks, most, &is_over);
        closing.over();
        leave.cancel().over();
        admitted.map_err(|error| self.with_end(error, asks))
    }

    /// A refusal with when it is over, if that is known.
    pub(crate) fn with_end(&self, error: Error, asks: &[Ask]) -> Error {
        if !matches!(error, Error::CapacityExceeded { .. }) {
            return error;
        }
        let ended_by_others: HashMap<_, _> =
            self.known_ends.get().map_or_else(Vec::new, |ends| ends()).into_iter().collect();
        let end = |stream: &Arc<StreamShared>| {
            let slot = stream.slot()?;
            let by_others = ended_by_others.get(&stream.id).copied();
            let end = by_others.into_iter().chain(stream.ends_with_its_file()).min()?;
            Some((slot, end))
        };
        let ends: Vec<_> = self.running_streams().iter().filter_map(end).collect();
        self.limiter.with_end(error, asks, &ends)
    }

    /// Makes a stream's number and mailbox.
    pub(crate) fn prepare(
        &self,
        label: Option<Arc<str>>,
        permit: Option<Permit>,
        files: Arc<StreamFiles>,
    ) -> Result<Prepared, Error> {
        if self.is_closed() {
            return Err(Error::Ended);
        }
        let system = |source: std::io::Error| Error::System {
            what: "no descriptor for a stream",
            source: source.into(),
        };
        let poll = Poll::new().map_err(system)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(system)?;
        let (mailbox, commands) = Mailbox::new(waker);
        let id = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        let account = Account::of(&self.usage, label.clone());
        let mut shared = StreamShared::new(id, label, mailbox, self.events.clone(), permit, files);
        shared.usage = account;
        shared.described = Arc::new(Described::new(self.changes.clone()));
        let shared = Arc::new(shared);
        Ok(Prepared { shared, poll, commands })
    }

    /// Starts a stream's thread.
    pub(crate) fn launch(self: &Arc<Self>, prepared: Prepared, parts: Parts) -> Result<StreamRef, Error> {
        let Prepared { shared, poll, commands } = prepared;
        let stream = StreamRef { shared: shared.clone(), registry: self.clone() };
        if let Some(claim) = parts.claim {
            let opened = claim.open(&stream)?;
            shared.span.is_published(claim.name());
            shared.hold_name(claim);
            opened.announce();
        }
        shared.usage.open(shared.owner_now());
        shared.publish_stats(|stats| stats.mode = parts.source.mode());
        let setup = Setup {
            shared: shared.clone(),
            poll,
            commands,
            source: parts.source,
            config: self.config.clone(),
            tick: parts.tick,
            keep_gop: parts.keep_gop,
            hold: parts.hold,
            needs_outputs: parts.needs_outputs,
            root: None,
        };
        let engine = Arc::downgrade(self);
        {
            let mut streams = self.streams.lock();
            // A start that waited for a file meanwhile does not go on: nothing would end its stream.
            if self.is_closed() {
                shared.release_names();
                return Err(Error::Ended);
            }
            streams.insert(shared.id, shared.clone());
        }
        self.changes.note();
        let id = shared.id;
        let (ending, patience) = (shared.clone(), self.config.force_stop_after);
        let spawned = spawn(format!("fc-{id}"), STREAM_STACK, move || {
            let run = AssertUnwindSafe(|| ending.span.run(|| StreamThread::new(setup).run()));
            let outcome = std::panic::catch_unwind(run)
                .unwrap_or_else(|panic| Err(Error::Panicked { message: panic_message(&*panic) }));
            ending.branches.wait(ending.stop_by().unwrap_or_else(|| Instant::now() + patience));
            let engine = engine.upgrade();
            if let Some(engine) = &engine {
                engine.forget(&ending);
            }
            if !ending.end(outcome)
                && let Some(engine) = engine
            {
                // It had been abandoned, and came back after all.
                engine.stuck.fetch_sub(1, Ordering::Relaxed);
            }
        });
        if let Err(source) = spawned {
            self.streams.lock().remove(&id);
            shared.release_names();
            return Err(Error::System { what: "no thread for a stream", source: source.into() });
        }
        Ok(stream)
    }

    /// Opens an output of `stream` and puts it on the stream's thread, once that runs.
    ///
    /// # Errors
    ///
    /// What its description said; [`Error::LabelInUse`], [`Error::Ended`].
    pub(crate) fn add_output(stream: &StreamRef, output: Box<dyn OpenOutput>) -> Result<OutputId, Error> {
        let shared = &stream.shared;
        let id = shared.next_output();
        let Some([primary, backup]) = output.as_pair() else {
            return Self::add_one(stream, id, output, true).map(|()| id);
        };
        // First, so that whoever hears of the one and removes it removes the other as well.
        let other = shared.next_output();
        shared.note_pair(id, other);
        let added = Self::add_one(stream, id, primary, true);
        let added = added.and_then(|()| Self::add_one(stream, other, backup, false));
        // Where the one could not be opened, or was removed before the other was there. What has ended needs no removing.
        if added.is_err() || shared.backup_of(id).is_none() {
            let _ = [id, other].map(|output| stream.remove_output(output));
        }
        added.map(|()| id)
    }

    /// An output that is one connection; a backup is described with its primary.
    fn add_one(
        stream: &StreamRef,
        id: OutputId,
        output: Box<dyn OpenOutput>,
        is_described: bool,
    ) -> Result<(), Error> {
        let label: Option<Arc<str>> = output.label().map(Arc::from);
        let described_as = label.clone();
        let labels = &stream.shared.labels;
        if let Some(label) = &label {
            check_label(label)?;
            labels.take(label, id)?;
        }
        let opening = OutputOpening { stream, output: id, label: label.clone() };
        let span = stream.shared.span.of_output(id, label.as_deref());
        let (data, is_passing) = (output.as_data(), output.is_passing());
        let opened = span.run(|| output.open(&opening));
        let sent = opened.and_then(|OpenedOutput { name, driver }| {
            let mut stats = OutputStats::new(id, label, name.clone());
            driver.stats(&mut stats);
            stream.shared.usage.output_comes(Moment::now(), &stats);
            stream.shared.output_comes(stats);
            let sent = stream.send(Command::AddOutput { output: id, name, driver, guest: None });
            if sent.is_err() {
                stream.shared.outputs_came(&mut vec![id]);
                stream.shared.usage.output_is_refused(id);
            }
            sent
        });
        match sent {
            Ok(()) if is_described && !is_passing => {
                stream.shared.described.add_output(id, described_as, data)
            }
            Ok(()) => {}
            Err(_) => labels.release(id),
        }
        sent
    }

    /// Asks streams to stop and waits for them, all under one deadline; those that do not answer are abandoned.
    pub(crate) fn stop_streams(&self, streams: &[Arc<StreamShared>], deadline: Duration) -> ShutdownReport {
        let asked = Instant::now();
        let until = asked + deadline.min(FOREVER);
        let had_ended: Vec<_> = streams.iter().map(|shared| shared.outcome().is_some()).collect();
        for shared in streams {
            shared.ask_to_stop(until);
        }
        let mut report = ShutdownReport::default();
        for (shared, had_ended) in streams.iter().zip(had_ended) {
            let in_time = shared.wait_until(Some(until));
            let phase = shared.phase();
            let stuck_in = (in_time.is_none() && self.abandon(shared, deadline)).then_some(phase);
            report.add(StreamEnd {
                id: shared.id,
                label: shared.label.clone(),
                took: if had_ended { Duration::ZERO } else { shared.ended_after(asked) },
                error: shared.outcome().and_then(Result::err),
                stuck_in,
            });
        }
        report.streams.sort_by_key(|end| end.id);
        report
    }

    /// Gives a stream up whose thread does not answer; `true` if it had not ended by itself meanwhile.
    fn abandon(&self, shared: &StreamShared, deadline: Duration) -> bool {
        let abandoned = shared.abandon(deadline);
        if abandoned {
            self.abandoned.fetch_add(1, Ordering::Relaxed);
            self.stuck.fetch_add(1, Ordering::Relaxed);
            self.forget(shared);
        }
        abandoned
    }

    /// Whether another thread may be started.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyAbandoned`].
    pub(crate) fn check_abandoned(&self) -> Result<(), Error> {
        let (abandoned, limit) = (self.stuck(), self.config.max_abandoned);
        if abandoned < limit { Ok(()) } else { Err(Error::TooManyAbandoned { abandoned, limit }) }
    }

    /// Threads that were abandoned and have not ended since, those of outputs among them.
    pub(crate) fn stuck(&self) -> usize {
        // A thread may end before it was counted.
        let streams = usize::try_from(self.stuck.load(Ordering::Relaxed)).unwrap_or(0);
        streams + self.left.hanging(Instant::now())
    }

    /// Workers that were told to end.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what libav sends"))]
    pub(crate) fn left(&self) -> &LeftBehind {
        &self.left
    }

    /// Nothing new is put on the air; what is being started ends.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.starting.close();
        self.closing.set(());
        let last_things = std::mem::take(&mut *self.last_things.lock());
        if last_things.is_empty() {
            return;
        }
        // They may wait for a disk, and a disk may hang.
        let done = Arc::new(Latch::default());
        let all = done.clone();
        let spawned = spawn("fc-last", LAST_STACK, move || {
            last_things.into_iter().for_each(|thing| thing());
            all.set(());
        });
        let in_time = spawned.is_ok() && done.wait_until(Some(Instant::now() + LAST_THINGS)).is_some();
        if !in_time {
            log::error!(
                "what is to be done before the streams stop takes too long, or there is no thread for it"
            );
        }
        self.streams_stop.store(true, Ordering::Release);
    }

    /// Whether it is too late for what is to be done before the streams stop.
    #[cfg(feature = "state")]
    pub(crate) fn is_too_late(&self) -> bool {
        self.streams_stop.load(Ordering::Acquire)
    }

    /// Has `thing` done when the engine begins to shut down, while its streams still run; not at all if it has begun already.
    #[cfg(feature = "state")]
    pub(crate) fn before_close(&self, thing: impl FnOnce() + Send + 'static) {
        self.last_things.lock().push(Box::new(thing));
    }

    /// Waits until `until`; `true` if the engine shuts down before.
    ///
    /// # Blocking
    ///
    /// Until then.
    pub(crate) fn wait_closed(&self, until: Instant) -> bool {
        self.closing.wait_until(Some(until)).is_some()
    }

    /// Who is told when the streams, or what they are made of, change.
    pub(crate) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Where usage records wait for who wants them.
    pub(crate) fn usage(&self) -> &Arc<usage::Desk> {
        &self.usage
    }

    /// Stops all streams, and ends what the reel store does.
    pub(crate) fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let until = Instant::now() + deadline.min(FOREVER);
        let streams = self.running_streams();
        let report = self.stop_streams(&streams, deadline);
        if let Some(reels) = &self.reels {
            reels.close(until.saturating_duration_since(Instant::now()));
        }
        self.usage.wait_given(until);
        self.events.wait_heard(until);
        report
    }

    /// Stops a stream whose handle was dropped, without waiting: the reaper waits, and abandons it if need be.
    pub(crate) fn release(self: &Arc<Self>, shared: Arc<StreamShared>) {
        shared.ask_to_stop(Instant::now() + self.config.force_stop_after);
        let mut reaper = self.reaper.lock();
        if reaper.is_none() {
            let (send, receive) = crossbeam_channel::unbounded::<Arc<StreamShared>>();
            let engine = Arc::downgrade(self);
            let spawned = spawn("fc-reap", REAPER_STACK, move || {
                while let Ok(shared) = receive.recv() {
                    let until = shared.stop_by();
                    if shared.wait_until(until).is_none()
                        && let Some(engine) = engine.upgrade()
                    {
                        engine.abandon(&shared, engine.config.force_stop_after);
                    }
                }
            });
            match spawned {
                Ok(_) => *reaper = Some(send),
                Err(error) => log::error!("no thread to wait for stopping streams: {error}"),
            }
        }
        if let Some(reaper) = &*reaper {
            let _ = reaper.send(shared);
        }
    }
}

impl usage::Streams for Registry {
    fn cut_usage(&self) {
        let mut streams = self.running_streams();
        streams.sort_unstable_by_key(|stream| stream.id);
        streams.iter().for_each(|stream| stream.cut_usage(UsageCut::Interval, None));
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
