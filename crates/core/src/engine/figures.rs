//! All that an engine and its streams do, in figures, for who shows them.

use std::sync::Arc;
use std::time::Duration;

use super::watch::EngineWatch;
use crate::admission::ResourceUse;
use crate::config::ReelStoreStats;
use crate::event::Counts;
use crate::id::StreamId;
use crate::limiter::Limits;
use crate::reel::Store;
use crate::stats::{FallbackStats, HeldBytes, StreamPhase, Totals};
use crate::stream::{Registry, StreamShared};

/// What an engine does and has done ([`EngineWatch::figures`]).
///
/// What is counted only grows as long as the engine is there: what streams did stays in it when they end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineFigures {
    /// How often what happened.
    pub counts: Counts,
    /// What all streams did, those that have ended included.
    pub totals: Totals,
    /// The streams that run, in the order they were started.
    pub streams: Vec<StreamFigures>,
    /// How many may run at once.
    pub limits: Limits,
    /// The streams that count for [`Limits::total`]: those that run or are being started, publications left out.
    pub places_in_use: usize,
    /// What is used of each resource that has a budget; nothing while admission is off, and before its first measurement.
    pub resources: Vec<ResourceUse>,
    /// Threads of abandoned streams that have not ended since.
    pub abandoned_now: usize,
    /// Its reel store, if there is one.
    pub reels: Option<ReelStoreStats>,
    /// Encoders that devices run for this process, by libav's name; those of other engines, and of reels that are cut, are among them.
    pub hardware: Vec<(String, u32)>,
}

/// What one stream does and has done; less than [`StreamStats`](crate::StreamStats), and cheap to have of a thousand streams.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamFigures {
    /// Its number.
    pub id: StreamId,
    /// Its label, if it has one.
    pub label: Option<Arc<str>>,
    /// Whose it is, if it is somebody's: who started it, or whose key it is published with.
    pub owner: Option<String>,
    /// Its phase.
    pub phase: StreamPhase,
    /// Time since it was started.
    pub uptime: Duration,
    /// Bytes it holds, by part.
    pub held: HeldBytes,
    /// Lag of the output that is furthest behind.
    pub lag: Duration,
    /// How late its thread came to a tick, at worst over the last second.
    pub schedule_lag: Duration,
    /// The encoder it has at work, by libav's name.
    pub encoder: Option<String>,
    /// How the fallback of its source stands, if it has one.
    pub fallback: Option<FallbackStats>,
    /// What it has done since its start.
    pub totals: Totals,
}

impl EngineFigures {
    /// How full the engine is, 0.0 to 1.0 and above: the share in use of what it has least left of, its limit of streams or a
    /// [resource](Self::resources).
    #[must_use]
    pub fn load(&self) -> f64 {
        let share = |used: f64, budget: f64| if budget > 0.0 { used / budget } else { 1.0 };
        let streams = share(self.places_in_use as f64, self.limits.total as f64);
        self.resources.iter().map(|of| share(of.used, of.budget)).fold(streams, f64::max)
    }

    fn of(engine: &Registry) -> Self {
        // Before the streams: a stream that is counted as ended is not among those that run.
        let (running, mut totals) = engine.running_and_ended();
        let mut streams: Vec<_> = running.iter().map(|stream| StreamFigures::of(stream)).collect();
        streams.sort_unstable_by_key(|stream| stream.id);
        streams.iter().for_each(|stream| totals += stream.totals);
        Self {
            counts: engine.events().counts(),
            totals,
            streams,
            limits: engine.limiter().limits(),
            places_in_use: engine.limiter().running(),
            resources: engine.limiter().uses(),
            abandoned_now: engine.stuck(),
            reels: engine.reels().map(Store::stats),
            hardware: hardware(),
        }
    }
}

impl StreamFigures {
    fn of(stream: &StreamShared) -> Self {
        let glance = stream.glance();
        Self {
            id: stream.id,
            label: stream.label.clone(),
            owner: stream.owner_now(),
            phase: glance.phase,
            uptime: glance.uptime,
            held: glance.held,
            lag: glance.lag,
            schedule_lag: glance.schedule_lag,
            encoder: stream.encoder(),
            fallback: glance.fallback,
            totals: glance.totals,
        }
    }
}

impl EngineWatch {
    /// What the engine and its streams do; `None` once the engine is gone. No stream's thread waits for more than the copy of its own
    /// figures.
    #[must_use]
    pub fn figures(&self) -> Option<EngineFigures> {
        Some(EngineFigures::of(&*self.registry()?))
    }
}

#[cfg(feature = "libav")]
fn hardware() -> Vec<(String, u32)> {
    flowcast_av::encoder::hardware_sessions()
}

#[cfg(not(feature = "libav"))]
fn hardware() -> Vec<(String, u32)> {
    Vec::new()
}
