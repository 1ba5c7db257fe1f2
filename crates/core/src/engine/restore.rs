//! What runs on an engine, as data, and an engine that goes on with it.
//!
//! In: a snapshot, on the caller's thread. Out: its streams, started one after the other. What has not been started yet is part of every
//! snapshot that is taken meanwhile, so that a process that dies in between loses nothing and starts nothing twice.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Engine;
use super::builder::StreamBuilder;
use crate::error::Error;
use crate::state::{
    self, Earlier, LeftOut, Restarts, RestoreOptions, Restored, Resumed, SavedStream, Snapshot,
};
use crate::stream::{Data, Registry, StreamRef, StreamShared};

/// Streams whose starts are spread over [`RestoreOptions::spread`].
const SPREAD_OF: u32 = 50;

/// Who takes snapshots: an engine, without keeping it alive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Camera<'a> {
    pub(super) registry: &'a Registry,
    pub(super) earlier: &'a Earlier,
}

impl Camera<'_> {
    /// What runs, and what is still to be restored.
    pub(super) fn snapshot(self) -> Snapshot {
        // In this order: what is started in between is among both, and is told by its number.
        let waiting = self.earlier.waiting.lock().clone();
        let mut running = self.registry.running_streams();
        running.sort_by_key(|shared| shared.id);
        let mut snapshot = Snapshot {
            taken: SystemTime::now(),
            streams: Vec::with_capacity(running.len() + waiting.len()),
            #[cfg(feature = "schedule")]
            schedules: self.earlier.all_schedules(),
            left_out: Vec::new(),
            restarts: *self.earlier.restarts.lock(),
        };
        let mut there = Vec::new();
        for shared in running {
            let what = shared.described.what();
            if !what.is_started || shared.is_fenced() {
                continue;
            }
            there.extend(what.restored);
            let label = shared.label.as_deref().map(str::to_owned);
            let mut left_out = Vec::new();
            let saved = state::saved((label.clone(), shared.owner()), &what, &mut left_out);
            snapshot.streams.extend(saved.map(|saved| placed(saved, &shared, what.source.as_ref())));
            let stream = shared.id;
            let named = |what| LeftOut { stream, label: label.clone(), what };
            snapshot.left_out.extend(left_out.into_iter().map(named));
        }
        let waits = |(number, _): &(u64, SavedStream)| !there.contains(number);
        snapshot.streams.extend(waiting.into_iter().filter(waits).map(|(_, stream)| stream));
        snapshot
    }
}

/// What is to be restored.
#[derive(Debug)]
pub(super) struct Restoring {
    taken: SystemTime,
    numbers: Vec<u64>,
    held: Duration,
}

#[cfg(feature = "state")]
impl Restoring {
    /// It is not.
    pub(super) fn forget(self, earlier: &Earlier) {
        #[cfg(feature = "schedule")]
        earlier.waiting_schedules.lock().clear();
        self.numbers.into_iter().for_each(|number| earlier.settled(number));
    }
}

/// With the place it has now.
fn placed(mut saved: SavedStream, shared: &StreamShared, source: Option<&Data>) -> SavedStream {
    let stats = shared.stats();
    // The numbers of items are those of the list that plays, not those of its copy.
    if let Some(source) = source.and_then(|data| data.downcast_ref::<crate::source::Source>()) {
        saved.place = stats.playing.as_ref().map(|playing| state::place_of(playing, source, false));
        saved.sound_place =
            stats.playing_sound.as_ref().map(|playing| state::place_of(playing, source, true));
    }
    saved
}

impl Engine {
    /// What runs, as data: the streams that were started, with what was changed on the air, and their places in files and lists, which are at
    /// most a second old. [`restore`](Self::restore) goes on with it, in this process or another one.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod state { pub use flowcast_core::*; } }
    /// use flowcast::state::{RestoreOptions, Resume};
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let live = engine.stream(Source::file("show.mp4").looped()).to(Output::record("show.flv")).start()?;
    /// let snapshot = engine.snapshot();
    /// drop((live, engine));
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let options = RestoreOptions::default().with(|options| options.resume = Resume::WhereItWouldBe);
    /// let restored = engine.restore(snapshot, &options);
    /// assert!(restored.failed.is_empty());
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Camera { registry: self.registry(), earlier: &self.earlier }.snapshot()
    }

    /// Starts the streams of a snapshot, those that were started first first, and [spread](RestoreOptions::spread). A stream that cannot be
    /// started does not keep the others from it. [`shutdown`](Self::shutdown) on another thread ends the wait; what has not been started
    /// by then is kept.
    ///
    /// # Blocking
    ///
    /// For as long as the starts are spread, on each start as [`start`](Self::start), and for as long as the
    /// [guard](RestoreOptions::guard) holds: 15 minutes at most by default.
    pub fn restore(&self, snapshot: Snapshot, options: &RestoreOptions) -> Restored {
        let restoring = self.begin_restore(snapshot, options);
        self.finish_restore(restoring, options)
    }

    /// From now on snapshots have what is to be restored.
    pub(super) fn begin_restore(&self, snapshot: Snapshot, options: &RestoreOptions) -> Restoring {
        let Snapshot {
            taken,
            streams,
            restarts,
            #[cfg(feature = "schedule")]
            schedules,
            ..
        } = snapshot;
        let held = self.note_restart(restarts, options);
        #[cfg(feature = "schedule")]
        self.earlier.waiting_schedules.lock().extend(schedules);
        let restoring = Restoring { taken, numbers: self.earlier.wait(streams), held };
        self.registry().changes().note();
        restoring
    }

    /// Starts it.
    pub(super) fn finish_restore(&self, restoring: Restoring, options: &RestoreOptions) -> Restored {
        let Restoring { taken, numbers, held } = restoring;
        let mut restored = Restored { held, ..Restored::default() };
        if !held.is_zero() {
            log::warn!("restored again and again: held for {held:?}");
        }
        let begin = Instant::now() + held;
        let step = options.spread / SPREAD_OF;
        #[cfg(feature = "schedule")]
        if !self.registry().wait_closed(begin) {
            restored.failed_schedules = self.earlier.add_schedules();
        }
        for (place, number) in (0u32..).zip(numbers) {
            let is_closed = self.registry().wait_closed(begin + start_of(place, step));
            // It may have been forgotten meanwhile.
            let Some(stream) = self.earlier.find(number) else { continue };
            if is_closed {
                restored.failed.push((stream, Error::Ended));
                continue;
            }
            let away = SystemTime::now().duration_since(taken).unwrap_or_default();
            match self.resume(&stream, number, away, options) {
                Ok(Some(started)) => {
                    self.earlier.settled(number);
                    restored.started.push(started);
                }
                Ok(None) => {
                    self.earlier.settled(number);
                    restored.over.push(stream);
                }
                Err(error) => {
                    log::error!(
                        "{}: not restored: {error}",
                        stream.spec.label.as_deref().unwrap_or("a stream")
                    );
                    restored.failed.push((stream, error));
                }
            }
        }
        self.registry().changes().note();
        restored
    }

    /// Has snapshots keep no more what could not be restored, or has not been yet; how many streams that were.
    pub fn forget_unrestored(&self) -> usize {
        let forgotten = std::mem::take(&mut *self.earlier.waiting.lock()).len();
        #[cfg(feature = "schedule")]
        self.earlier.waiting_schedules.lock().clear();
        self.registry().changes().note();
        forgotten
    }

    fn note_restart(&self, before: Restarts, options: &RestoreOptions) -> Duration {
        let Some(guard) = &options.guard else { return Duration::ZERO };
        let (held, now) = guard.hold(before, SystemTime::now());
        *self.earlier.restarts.lock() = now;
        held
    }

    /// Starts one; `None` if it would be over.
    fn resume(
        &self,
        stream: &SavedStream,
        number: u64,
        away: Duration,
        options: &RestoreOptions,
    ) -> Result<Option<StreamRef>, Error> {
        stream.spec.check()?;
        let resumed = state::resumed(stream, options.resume, away, &mut |file| state::length_of(file));
        let Resumed::At(source) = resumed else { return Ok(None) };
        let mut spec = stream.spec.clone();
        let data: Data = Arc::new(std::mem::replace(&mut spec.source, *source));
        Ok(Some(StreamBuilder::of(self.registry().clone(), spec).restored(data, number).start()?.detach()))
    }
}

/// How long after the first one a stream is started: at a moment of its own step, drawn by lot.
fn start_of(place: u32, step: Duration) -> Duration {
    if place == 0 || step.is_zero() {
        return Duration::ZERO;
    }
    let lot = u32::from_le_bytes(crate::net::random::bytes());
    step * place + step.mul_f64(f64::from(lot) / f64::from(u32::MAX)) - step
}
