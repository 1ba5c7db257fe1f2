//! A view of what runs on an engine.

use std::sync::{Arc, Weak};

use crate::stats::StreamStats;
use crate::stream::Registry;

/// A view of an engine's streams that keeps neither the engine nor a stream alive. Clones watch the same engine.
#[derive(Debug, Clone)]
pub struct EngineWatch(Weak<Registry>);

impl EngineWatch {
    pub(crate) fn new(engine: &Arc<Registry>) -> Self {
        Self(Arc::downgrade(engine))
    }

    pub(super) fn registry(&self) -> Option<Arc<Registry>> {
        self.0.upgrade()
    }

    /// The figures of all running streams, in the order they were started; none once the engine is gone.
    #[must_use]
    pub fn stats(&self) -> Vec<StreamStats> {
        let Some(engine) = self.0.upgrade() else { return Vec::new() };
        let mut stats: Vec<_> = engine.running_streams().iter().map(|stream| stream.stats()).collect();
        stats.sort_unstable_by_key(|stats| stats.id);
        stats
    }
}
