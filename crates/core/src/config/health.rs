//! From when on a stream, or the engine, is not well.

use std::path::PathBuf;
use std::time::Duration;

/// Two limits of one figure: from the first on it is fair, from the second on bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// At or above this, it is fair.
    pub fair: f64,
    /// At or above this, it is bad.
    pub bad: f64,
}

impl Limit {
    /// Fair from the first on, bad from the second on.
    #[must_use]
    pub const fn new(fair: f64, bad: f64) -> Self {
        Self { fair, bad }
    }
}

/// By what the health of streams and of the engine is judged: [`StreamRef::health`](crate::StreamRef::health),
/// [`Engine::health`](crate::Engine::health). A limit of infinity is never reached.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HealthConfig {
    /// Lag of an output, players left out, in seconds. Default 0.5 and 2.
    pub lag: Limit,
    /// Tags dropped for all outputs in the last minute. Default 1 and 250.
    pub drops: Limit,
    /// Reconnects of all outputs in the last five minutes. Default 1 and 5.
    pub reconnects: Limit,
    /// How late the stream's thread came to a tick, in seconds, at worst over the last second. Default 0.1 and 0.5.
    pub schedule_lag: Limit,
    /// For how long the source has given nothing, in seconds. Default 1 and 10.
    pub stall: Limit,
    /// Tags of a live source that an encoder was too slow for, in the last minute. Default 1 and 100.
    pub encoder_drops: Limit,
    /// Pushes and recordings that are not on the air after a failure, in percent of all. Default above 0 (1), and 100.
    pub outputs_down: Limit,
    /// What was fair or bad is so until its figure is below this share of its limit. More than zero, at most 1. Default 0.8.
    pub calm_at: f64,
    /// Stream threads that have said nothing for this long are stuck: the engine is not alive. They do so every second. Default 10 s.
    pub stuck_after: Duration,
    /// The engine is not ready with less free bytes than this where its reels are, and in [`directories`](Self::directories). Default
    /// 256 MiB.
    pub disk_left: u64,
    /// Other directories that have to have room: those of recordings. Default none.
    pub directories: Vec<PathBuf>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            lag: Limit::new(0.5, 2.0),
            drops: Limit::new(1.0, 250.0),
            reconnects: Limit::new(1.0, 5.0),
            schedule_lag: Limit::new(0.1, 0.5),
            stall: Limit::new(1.0, 10.0),
            encoder_drops: Limit::new(1.0, 100.0),
            outputs_down: Limit::new(1.0, 100.0),
            calm_at: 0.8,
            stuck_after: Duration::from_secs(10),
            disk_left: 256 << 20,
            directories: Vec::new(),
        }
    }
}
