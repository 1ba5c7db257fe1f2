//! What runs on an engine, for who only watches.

use std::sync::{Arc, Weak};

use crate::engine::Inner;
use crate::stats::StreamStats;

/// The streams of an engine, for who only watches them: neither the engine nor a stream is kept by it. Clones watch the same
/// engine.
#[derive(Debug, Clone)]
pub struct EngineWatch(Weak<Inner>);

impl EngineWatch {
    pub(crate) fn new(engine: &Arc<Inner>) -> Self {
        Self(Arc::downgrade(engine))
    }

    /// The figures of all streams that run, in the order they were started; none once the engine is gone.
    #[must_use]
    pub fn stats(&self) -> Vec<StreamStats> {
        let Some(engine) = self.0.upgrade() else { return Vec::new() };
        let mut stats: Vec<_> = engine.running_streams().iter().map(|stream| stream.stats()).collect();
        stats.sort_unstable_by_key(|stats| stats.id);
        stats
    }
}
