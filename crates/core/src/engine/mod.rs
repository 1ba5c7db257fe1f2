//! The engine: what runs all streams of a process.

pub(crate) mod builder;
pub(crate) mod watch;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::{Poll, Waker};
use parking_lot::Mutex;

use crate::config::{Config, ReelStoreStats};
use crate::driver::{OutputDriver, SourceDriver};
use crate::engine::builder::{NoOutput, StreamBuilder};
use crate::engine::watch::EngineWatch;
use crate::error::Error;
use crate::event::bus::Events;
use crate::event::{Event, EventBus};
use crate::files::StreamFiles;
use crate::id::{OutputId, StreamId};
use crate::keys::KeyRegistry;
use crate::limiter::{Limiter, Permit};
use crate::net::dialer::Dialer;
use crate::output::gate::Intake;
use crate::output::{HubOutput, Output, OutputKind, Recorder, RtmpPush};
use crate::publish::ingest::{Desk, Ingest};
use crate::reel::Store;
use crate::source::Source;
use crate::stream::handle::StreamRef;
use crate::stream::hub::{Claim, Hub};
use crate::stream::mailbox::{Commands, Mailbox};
use crate::stream::shared::StreamShared;
use crate::stream::starting::Starting;
use crate::stream::thread::{Setup, StreamThread, WAKE};
use crate::stream::{FOREVER, STREAM_STACK, branch};
use crate::sys::{panic_message, spawn};

const REAPER_STACK: usize = 64 << 10;

/// Runs streams. Clones are the same engine. Dropping the last one stops all its streams, whatever handles exist, and
/// waits for them up to [`Config::force_stop_after`]: keep it as long as streams should be on the air. A callback
/// given to [`Engine::on_event`] must not hold an engine for ever, or neither is dropped.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    _guard: Arc<Guard>,
}

/// What streams and handles share with the engine.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    limiter: Limiter,
    dialer: Dialer,
    events: EventBus,
    hub: Hub,
    keys: KeyRegistry,
    reels: Option<Store>,
    streams: Mutex<HashMap<StreamId, Arc<StreamShared>>>,
    next_stream: AtomicU64,
    reaper: Mutex<Option<Sender<Arc<StreamShared>>>>,
    abandoned: AtomicU64,
    /// What is being started.
    starting: Starting,
    /// The engine is shutting down: no new stream goes on the air.
    closed: AtomicBool,
}

/// Stops the streams when the last engine is dropped.
#[derive(Debug)]
struct Guard(Arc<Inner>);

/// How [`Engine::shutdown`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Streams that ended in time.
    pub stopped: usize,
    /// Streams whose thread had to be abandoned.
    pub abandoned: usize,
}

/// What a stream consists of besides its outputs.
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
    poll: Poll,
    commands: Commands,
}

/// How a publisher goes on the air; see [`Engine::publish`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublishOptions {
    /// How long the stream waits for a publisher that was lost. Default 30 s.
    pub grace: Duration,
    /// The stream's tick, over which its players' writes are merged. Default [`Config::tick`].
    pub tick: Option<Duration>,
    /// Whether players that join get the newest GOP; otherwise they wait for the next keyframe. Default `true`.
    pub gop_cache: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30), tick: None, gop_cache: true }
    }
}

impl Engine {
    /// An engine with `config`. It has no thread of its own until one is needed.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings that cannot work, [`Error::ReelStoreInUse`] for a reel store that another
    /// engine uses.
    ///
    /// # Blocking
    ///
    /// On the reel store's directory, if there is one.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let reels = config.reels.as_ref().map(Store::open).transpose()?;
        let hub = Hub::default();
        let inner = Arc::new(Inner {
            limiter: Limiter::new(config.max_streams_per_owner, config.max_streams),
            config,
            dialer: Dialer::default(),
            events: EventBus::default(),
            keys: KeyRegistry::new(hub.clone()),
            hub,
            reels,
            streams: Mutex::default(),
            next_stream: AtomicU64::new(1),
            reaper: Mutex::new(None),
            abandoned: AtomicU64::new(0),
            starting: Starting::default(),
            closed: AtomicBool::new(false),
        });
        Ok(Self { _guard: Arc::new(Guard(inner.clone())), inner })
    }

    /// Describes a stream of `source`; it runs once it has an output and is started.
    pub fn stream(&self, source: Source) -> StreamBuilder<NoOutput> {
        StreamBuilder::new(self.inner.clone(), source)
    }

    /// The stream keys servers of this engine accept.
    #[must_use]
    pub fn keys(&self) -> &KeyRegistry {
        &self.inner.keys
    }

    /// The streams that players can ask for.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// A running stream, by its number.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<StreamRef> {
        let shared = self.inner.streams.lock().get(&id)?.clone();
        Some(StreamRef { shared, engine: self.inner.clone() })
    }

    /// All running streams.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamRef> {
        let streams = self.inner.streams.lock();
        streams
            .values()
            .map(|shared| StreamRef { shared: shared.clone(), engine: self.inner.clone() })
            .collect()
    }

    /// A view of all streams' figures that keeps neither the engine nor a stream alive.
    #[must_use]
    pub fn watch(&self) -> EngineWatch {
        EngineWatch::new(&self.inner)
    }

    /// Streams that count against the limits.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.limiter.running()
    }

    /// Streams abandoned since the engine was created, because they did not stop in time.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.inner.abandoned.load(Ordering::Relaxed)
    }

    /// Figures of the reel store; `None` if there is none.
    #[must_use]
    pub fn reel_store_stats(&self) -> Option<ReelStoreStats> {
        self.inner.reels.as_ref().map(Store::stats)
    }

    /// The events of all streams from now on. At most 1024 wait; then the oldest is dropped and counted.
    #[must_use]
    pub fn events(&self) -> Events {
        self.inner.events.subscribe(None)
    }

    /// Calls `callback` for every event of every stream from now on, one after the other, on a thread of its own. No
    /// stream waits for it, so it may block, and it may stop or drop streams, servers and engines. At most 1024
    /// events wait for it; then the oldest is dropped and counted ([`Engine::missed_events`]). A panic in it is
    /// caught. If the last output of a stream has failed, the stream ends once the callbacks have received that
    /// event, or after a second: until then they may add another output.
    pub fn on_event(&self, callback: impl Fn(&Event) + Send + Sync + 'static) {
        self.inner.events.on_event(Arc::new(callback));
    }

    /// Events that were dropped because a callback given to [`Engine::on_event`] was too slow, for all callbacks
    /// together.
    #[must_use]
    pub fn missed_events(&self) -> u64 {
        self.inner.events.missed()
    }

    /// Stops one stream, like [`StreamHandle::stop`](crate::StreamHandle::stop); `None` if no such stream runs.
    ///
    /// # Errors
    ///
    /// [`Error::ForceKillRequired`], or the error the stream had ended with.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop(&self, id: StreamId, deadline: Duration) -> Option<Result<(), Arc<Error>>> {
        let shared = self.inner.streams.lock().get(&id)?.clone();
        self.inner.stop_streams(std::slice::from_ref(&shared), deadline);
        shared.outcome()
    }

    /// Stops these streams at once, under one deadline.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop_all(&self, streams: &[StreamRef], deadline: Duration) -> ShutdownReport {
        let streams: Vec<_> = streams.iter().map(|stream| stream.shared.clone()).collect();
        self.inner.stop_streams(&streams, deadline)
    }

    /// Stops all streams at once, under one deadline, and starts no more: publishers that come back are refused.
    /// Reels that are being cut are abandoned, and so are files that are being read to find out what has to be
    /// encoded: a [`start`](StreamBuilder::start) that waits for one fails with [`Error::Ended`]. Callbacks get the
    /// rest of the deadline to receive the last events, unless this is called inside one.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.inner.close();
        self.inner.shutdown(deadline)
    }

    /// Counts what will be published under `claim` as a stream of `owner`, together with those started for them,
    /// until the claim is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::StreamLimitExceeded`].
    pub fn publish_for(&self, claim: &mut Claim, owner: &str) -> Result<(), Error> {
        claim.belongs_to(owner, self.inner.limiter.admit_published(owner)?);
        Ok(())
    }

    /// Puts a publisher on the air under a name, as an embedded server does. Players find the stream through the
    /// [`Hub`], other publishers of the name through [`Hub::enter`]. The stream waits for a publisher that fails: its
    /// outputs and players stay up, and the next publisher continues its time. The stream ends at once when a
    /// publisher is complete ([`SourceState::Ended`](crate::driver::SourceState::Ended)), with a zero grace, or if
    /// there was no media yet. It does not count against the limit of all started streams, and against an owner's
    /// only after [`publish_for`](Self::publish_for).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread or descriptor left.
    pub fn publish(
        &self,
        mut claim: Claim,
        publisher: Box<dyn SourceDriver>,
        options: &PublishOptions,
    ) -> Result<StreamRef, Error> {
        let prepared = self.inner.prepare(None, Arc::default())?;
        let desk = Desk::new();
        claim.set_desk(desk.clone());
        let source = Box::new(Ingest::new(publisher, desk, options.grace));
        let PublishOptions { tick, gop_cache: keep_gop, .. } = *options;
        let claim = Some(claim);
        let parts = Parts { source, tick, keep_gop, hold: false, needs_outputs: false, claim };
        self.inner.launch(prepared, parts)
    }

    /// Adds a driver of an embedded server (a player) to a stream: on the stream's own thread, or, if that is busy,
    /// on another one that takes its tags from there ([`Config::players_per_thread`]).
    ///
    /// # Errors
    ///
    /// [`Error::Ended`].
    pub fn attach(
        &self,
        stream: &StreamRef,
        name: String,
        driver: Box<dyn OutputDriver>,
    ) -> Result<OutputId, Error> {
        branch::attach(stream, name, driver)
    }
}

impl Inner {
    /// The streams that players can ask for.
    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What is being started.
    pub(crate) fn starting(&self) -> &Starting {
        &self.starting
    }

    /// Whether no new stream goes on the air.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The running streams, in no particular order.
    pub(crate) fn running_streams(&self) -> Vec<Arc<StreamShared>> {
        self.streams.lock().values().cloned().collect()
    }

    /// The store of reels, if there is one.
    pub(crate) fn reels(&self) -> Option<&Store> {
        self.reels.as_ref()
    }

    /// Takes a place for a stream of `owner`.
    pub(crate) fn admit(&self, owner: Option<&str>) -> Result<Permit, Error> {
        self.limiter.admit(owner)
    }

    /// Makes a stream's number and mailbox.
    pub(crate) fn prepare(&self, permit: Option<Permit>, files: Arc<StreamFiles>) -> Result<Prepared, Error> {
        if self.is_closed() {
            return Err(Error::Ended);
        }
        let system = |source| Error::System { what: "no descriptor for a stream", source };
        let poll = Poll::new().map_err(system)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(system)?;
        let (mailbox, commands) = Mailbox::new(waker);
        let id = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(StreamShared::new(id, mailbox, self.events.clone(), permit, files));
        Ok(Prepared { shared, poll, commands })
    }

    /// Starts a stream's thread.
    pub(crate) fn launch(self: &Arc<Self>, prepared: Prepared, parts: Parts) -> Result<StreamRef, Error> {
        let Prepared { shared, poll, commands } = prepared;
        let stream = StreamRef { shared: shared.clone(), engine: self.clone() };
        if let Some(claim) = parts.claim {
            let opened = claim.open(&stream)?;
            shared.hold_name(claim);
            opened.announce();
        }
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
        let id = shared.id;
        let (ending, patience) = (shared.clone(), self.config.force_stop_after);
        let spawned = spawn(format!("fc-{id}"), STREAM_STACK, move || {
            let run = AssertUnwindSafe(|| StreamThread::new(setup).run());
            let outcome = std::panic::catch_unwind(run)
                .unwrap_or_else(|panic| Err(Arc::new(Error::Panicked { message: panic_message(&*panic) })));
            ending.branches.wait(ending.stop_by().unwrap_or_else(|| Instant::now() + patience));
            if let Some(engine) = engine.upgrade() {
                engine.streams.lock().remove(&id);
            }
            ending.end(outcome);
        });
        if let Err(source) = spawned {
            self.streams.lock().remove(&id);
            shared.release_names();
            return Err(Error::System { what: "no thread for a stream", source });
        }
        Ok(stream)
    }

    /// Makes the driver of an output; refuses one that leads back to a source of the stream.
    pub(crate) fn driver(
        self: &Arc<Self>,
        shared: &Arc<StreamShared>,
        id: OutputId,
        output: Output,
    ) -> Result<(String, Box<dyn OutputDriver>), Error> {
        Ok(match output.kind? {
            OutputKind::Hub { name } => {
                shared.files.refuse_name(&name)?;
                let stream = StreamRef { shared: shared.clone(), engine: self.clone() };
                let hub = HubOutput::open(name.clone(), &stream)?;
                (format!("hub {name}"), Box::new(hub))
            }
            OutputKind::Rtmp(target) => {
                let name = target.destination.to_string();
                let (dialer, mailbox) = (self.dialer.clone(), shared.mailbox.clone());
                let push = RtmpPush::new(id, *target, &self.config, dialer, mailbox);
                (name, Box::new(push))
            }
            OutputKind::Record { path, existing, all_tracks } => {
                let (target, config) = ((path.as_path(), existing), &self.config.recording);
                let intake = Intake::file(all_tracks);
                let recorder =
                    Recorder::create(id, target, &shared.files, config, intake, shared.cpu.clone())?;
                (recorder.path().display().to_string(), Box::new(recorder))
            }
        })
    }

    /// Asks streams to stop and waits for them, all under one deadline; those that do not answer are abandoned.
    pub(crate) fn stop_streams(&self, streams: &[Arc<StreamShared>], deadline: Duration) -> ShutdownReport {
        let until = Instant::now() + deadline.min(FOREVER);
        for shared in streams {
            shared.ask_to_stop(until);
        }
        let mut report = ShutdownReport { stopped: 0, abandoned: 0 };
        for shared in streams {
            if shared.wait_until(Some(until)).is_none() && shared.abandon(deadline) {
                self.abandoned.fetch_add(1, Ordering::Relaxed);
                self.streams.lock().remove(&shared.id);
                report.abandoned += 1;
            } else {
                report.stopped += 1;
            }
        }
        report
    }

    /// Starts no new streams; ends the starts in progress.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.starting.close();
    }

    fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let until = Instant::now() + deadline.min(FOREVER);
        let streams = self.running_streams();
        let report = self.stop_streams(&streams, deadline);
        if let Some(reels) = &self.reels {
            reels.close(until.saturating_duration_since(Instant::now()));
        }
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
                        && shared.abandon(engine.config.force_stop_after)
                    {
                        engine.abandoned.fetch_add(1, Ordering::Relaxed);
                        engine.streams.lock().remove(&shared.id);
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

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close();
        let report = self.0.shutdown(self.0.config.force_stop_after);
        if report.abandoned > 0 {
            log::error!("{} streams did not stop in time", report.abandoned);
        }
    }
}
