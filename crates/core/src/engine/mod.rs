//! The engine: what runs all streams of a process.

mod admission;
pub(crate) mod builder;
pub(crate) mod figures;
mod health;
#[cfg(feature = "state")]
pub(crate) mod keeper;
mod made_of;
mod restore;
#[cfg(feature = "schedule")]
mod scheduling;
pub(crate) mod serving;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, ReelStoreStats};
use crate::engine::builder::StreamBuilder;
use crate::engine::watch::EngineWatch;
use crate::error::Error;
use crate::event::Event;
use crate::event::bus::{Events, Subscription};
use crate::fence::Fence;
use crate::id::StreamId;
use crate::keys::KeyRegistry;
use crate::limiter::{Admission, Limits};
use crate::monitor::Monitor;
use crate::reel::Store;
use crate::spec::StreamSpec;
use crate::state::Earlier;
use crate::stats::StreamStats;
use crate::stream::{Hub, OpenSource, Registry, ShutdownReport, StreamHandle, StreamRef};
use crate::usage::Usage;

/// How long the last usage records are waited for beyond the deadline, where they come with it.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// Runs streams. Clones are the same engine. Dropping the last one stops all its streams, whatever handles exist, and
/// waits for them up to [`Config::force_stop_after`]: keep it as long as streams should be on the air. A callback
/// given to [`Engine::on_event`] must not hold an engine for ever, or neither is dropped.
#[derive(Debug, Clone)]
pub struct Engine {
    registry: Arc<Registry>,
    keys: KeyRegistry,
    monitor: Monitor,
    usage: Usage,
    /// What is to be restored.
    earlier: Arc<Earlier>,
    guard: Arc<Guard>,
}

/// Stops the streams when the last engine is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    registry: Arc<Registry>,
    #[cfg(feature = "schedule")]
    keeper: Arc<crate::schedule::Keeper>,
}

impl Engine {
    /// An engine with `config`. It has no thread of its own until one is needed.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings that cannot work, [`Error::ReelStoreInUse`] for a reel store that another
    /// engine uses, [`Error::System`] if [`Config::admission`] or [`Config::ladder`] needs a thread and there is none.
    ///
    /// # Blocking
    ///
    /// On the reel store's directory, if there is one.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let registry = Registry::new(config)?;
        let keys = KeyRegistry::new(registry.hub().clone());
        let monitor = Monitor::new(&registry);
        let streams = Arc::downgrade(&registry);
        let usage = Usage::new(streams, registry.usage().clone());
        let guard = Guard {
            #[cfg(feature = "schedule")]
            keeper: scheduling::keeper(&registry),
            registry: registry.clone(),
        };
        let engine = Self { guard: Arc::new(guard), registry, keys, monitor, usage, earlier: Arc::default() };
        #[cfg(feature = "schedule")]
        let _ = engine.earlier.schedules.set(engine.schedules());
        engine.registry.begin_to_measure()?;
        engine.registry.begin_to_step()?;
        Ok(engine)
    }

    /// Describes a stream of `source`, a [`Source`](crate::Source) or anything else that says how it is opened; it runs once it was
    /// given an output and [started](StreamBuilder::start).
    pub fn stream(&self, source: impl OpenSource + 'static) -> StreamBuilder {
        StreamBuilder::new(self.registry.clone(), Box::new(source))
    }

    /// Describes a stream of pictures and sound that the program makes, with the usual settings: a sink for them, and the stream, which runs
    /// once it was given an output and [started](StreamBuilder::start). [`Frames`](crate::frames::Frames) has the settings;
    /// [`Frames::open`](crate::frames::Frames::open) gives a source that can be encoded in any way and have a fallback.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod encode { pub use flowcast_core::FrameRate; } }
    /// use flowcast::encode::FrameRate;
    /// use flowcast::frames;
    /// use flowcast::frames::{PixelFormat, VideoFormat};
    /// use flowcast::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let (sink, stream) = engine.frames(VideoFormat::new(PixelFormat::Rgba, 1280, 720, FrameRate::whole(30)))?;
    /// let live = stream.record("drawn.flv").start()?;
    /// for number in 0..300_u32 {
    ///     let mut frame = sink.frame()?;
    ///     frame.plane_mut(0).fill(number as u8);
    ///     sink.send(frame, frames::When::Now)?; // one after the other, at the rate of the stream
    /// }
    /// drop(sink); // nothing follows: the stream is complete
    /// live.wait()?;
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`Frames::open`](crate::frames::Frames::open).
    #[cfg(feature = "libav")]
    pub fn frames(
        &self,
        frames: impl Into<crate::frames::Frames>,
    ) -> Result<(crate::frames::FrameSink, StreamBuilder), Error> {
        let (sink, source) = frames.into().open()?;
        Ok((sink, self.stream(source)))
    }

    /// Starts a stream that is described as data. As `self.stream(spec.source)` with all of the spec, and
    /// [`start`](StreamBuilder::start).
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] with all that is wrong with the spec, before anything is opened; else as of
    /// [`start`](StreamBuilder::start).
    ///
    /// # Blocking
    ///
    /// As of [`start`](StreamBuilder::start).
    pub fn start(&self, spec: StreamSpec) -> Result<StreamHandle, Error> {
        spec.check()?;
        StreamBuilder::of(self.registry.clone(), spec).start()
    }

    /// Starts a stream that is described as data, behind a fence: as [`start`](Self::start), with [`StreamBuilder::fence`].
    ///
    /// # Errors
    ///
    /// As of [`start`](Self::start); [`Error::Fenced`] if the fence is closed by the time the source is open.
    ///
    /// # Blocking
    ///
    /// As of [`start`](Self::start).
    pub fn start_behind(&self, spec: StreamSpec, fence: &Fence) -> Result<StreamHandle, Error> {
        spec.check()?;
        StreamBuilder::of(self.registry.clone(), spec).fence(fence).start()
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The stream keys servers of this engine accept.
    #[must_use]
    pub fn keys(&self) -> &KeyRegistry {
        &self.keys
    }

    /// The streams that players can ask for.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        self.registry.hub()
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.registry.config
    }

    /// A running stream, by its number.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<StreamRef> {
        self.registry.find(id)
    }

    /// All running streams.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamRef> {
        let streams = self.registry.running_streams();
        streams.into_iter().map(|shared| StreamRef { shared, registry: self.registry.clone() }).collect()
    }

    /// A view of all streams' figures that keeps neither the engine nor a stream alive.
    #[must_use]
    pub fn watch(&self) -> EngineWatch {
        EngineWatch::new(&self.registry)
    }

    /// Streams that count against the limits.
    #[must_use]
    pub fn running(&self) -> usize {
        self.registry.limiter().running()
    }

    /// Streams of `owner` that count against the limit per owner: those started, and those published with the owner's keys.
    #[must_use]
    pub fn owner_running(&self, owner: &str) -> usize {
        self.registry.limiter().of(owner)
    }

    /// Whether another stream could be started now, of this owner or of none. It takes no place, and it can be out of date when it
    /// returns: what decides is [`start`](StreamBuilder::start), which asks and takes the place in one step.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::default().with(|config| config.max_streams_per_owner = 2))?;
    /// let admission = engine.can_start(Some("alice"));
    /// assert!(admission.allowed && admission.reason.is_none());
    /// assert_eq!((admission.running, admission.limit), (0, 2));
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    #[must_use]
    pub fn can_start(&self, owner: Option<&str>) -> Admission {
        let admission = self.registry.limiter().ask(owner);
        match self.registry.check_abandoned() {
            Ok(()) => admission,
            Err(error) => Admission { allowed: false, reason: Some(error), ..admission },
        }
    }

    /// The limits that hold now: those of [`Config`], or the last that were [set](Self::set_limits).
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.registry.limiter().limits()
    }

    /// Changes the limits from now on. Streams that run go on, even if there are more of them than the new limits allow.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// engine.set_limits(engine.limits().with(|limits| limits.total = 100))?;
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a limit of 0; nothing is changed then.
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        limits.check()?;
        self.registry.limiter().set_limits(limits);
        Ok(())
    }

    /// The resource monitor, which is off until it is [started](Monitor::start).
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// The usage records, which are cut once somebody [wants](Usage::records) them.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Streams abandoned since the engine was created, because they did not stop in time.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.registry.abandoned()
    }

    /// Threads of abandoned streams that have not ended since, and of outputs' connections that were given up more than five seconds ago; at [`Config::max_abandoned`] of them, starts are refused.
    #[must_use]
    pub fn abandoned_now(&self) -> usize {
        self.registry.stuck()
    }

    /// Figures of the reel store; `None` if there is none.
    #[must_use]
    pub fn reel_store_stats(&self) -> Option<ReelStoreStats> {
        self.registry.reels().map(Store::stats)
    }

    /// The events of all streams from now on. At most 1024 wait; then the oldest is dropped and counted.
    #[must_use]
    pub fn events(&self) -> Events {
        self.registry.events().subscribe(None)
    }

    /// Calls `callback` for every event of every stream from now on, one after the other, on a thread of its own. No
    /// stream waits for it, so it may block, and it may stop or drop streams, servers and engines. At most 1024
    /// events wait for it; then the oldest is dropped and counted ([`Engine::missed_events`]). A panic in it is
    /// caught. If the last output of a stream has failed, the stream ends once the callbacks have received that
    /// event, or after a second: until then they may add another output.
    /// It is called as long as the engine lives, unless [`Subscription::cancel`] takes it off.
    pub fn on_event(&self, callback: impl Fn(&Event) + Send + Sync + 'static) -> Subscription {
        self.registry.events().on_event(Arc::new(callback))
    }

    /// Events that were dropped because a callback given to [`Engine::on_event`] was too slow, for all callbacks
    /// together.
    #[must_use]
    pub fn missed_events(&self) -> u64 {
        self.registry.events().missed()
    }

    /// Stops one stream, like [`StreamRef::stop`]; `None` if no such stream runs.
    ///
    /// # Errors
    ///
    /// [`Error::ForceKillRequired`], or the error the stream had ended with.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop(&self, id: StreamId, deadline: Duration) -> Option<Result<StreamStats, Error>> {
        Some(self.registry.find(id)?.stop(deadline))
    }

    /// Stops these streams at once, under one deadline. The report counts them; the last figures of each are in
    /// [`StreamRef::stats`].
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop_all(&self, streams: &[StreamRef], deadline: Duration) -> ShutdownReport {
        let streams: Vec<_> = streams.iter().map(|stream| stream.shared.clone()).collect();
        self.registry.stop_streams(&streams, deadline)
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
        self.guard.shutdown(deadline)
    }

    /// What ends the engine's streams when nobody else does.
    #[cfg(feature = "signals")]
    pub(crate) fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }
}

impl Guard {
    /// Nothing new is put on the air.
    fn close(&self) {
        #[cfg(feature = "schedule")]
        self.keeper.close();
        self.registry.close();
    }
}

impl Guard {
    /// Stops all streams, and starts no more.
    pub(crate) fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.close();
        self.registry.shutdown(deadline)
    }

    /// How long streams are waited for.
    #[cfg(feature = "signals")]
    pub(crate) fn patience(&self) -> Duration {
        self.registry.config.force_stop_after
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let report = self.shutdown(self.registry.config.force_stop_after);
        // A stream that had to be abandoned has its last records at the deadline.
        self.registry.usage().close(Instant::now() + LAST_RECORDS);
        if report.abandoned > 0 {
            log::error!("{report}");
        }
    }
}
