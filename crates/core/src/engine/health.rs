//! What an engine says of itself: whether it is alive and ready, and how often what happened.

use std::time::Instant;

use super::Engine;
use crate::event::Counts;
use crate::health::{EngineHealth, EngineTrouble};
use crate::stats::StreamPhase;

impl Engine {
    /// Whether it is alive and ready for more, by [`Config::health`](crate::Config::health); what an orchestrator asks.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// use std::time::Duration;
    /// use flowcast::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// assert!(engine.health().is_ready);
    /// engine.shutdown(Duration::from_secs(5));
    /// let health = engine.health();
    /// assert!(health.is_live && !health.is_ready);
    /// assert_eq!(health.to_string(), "alive, not ready: it is shutting down");
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Blocking
    ///
    /// On the disks that have to have room; a network file system that does not answer holds it up.
    pub fn health(&self) -> EngineHealth {
        let (rules, now) = (&self.config().health, Instant::now());
        let mut troubles = Vec::new();
        let mut stuck: Vec<_> = self.registry.running_streams();
        stuck.retain(|stream| {
            let (phase, heard) = stream.heard();
            let silent = now.saturating_duration_since(heard.unwrap_or(stream.started));
            phase != StreamPhase::Ended && silent >= rules.stuck_after
        });
        stuck.sort_unstable_by_key(|stream| stream.id);
        troubles.extend(stuck.iter().map(|stream| EngineTrouble::Stuck { stream: stream.id }));
        if self.registry.is_closed() {
            troubles.push(EngineTrouble::Closed);
        }
        troubles.extend(self.can_start(None).reason.map(|error| EngineTrouble::Full { error }));
        let reels = self.config().reels.as_ref().map(|reels| reels.dir.as_path());
        for path in reels.into_iter().chain(rules.directories.iter().map(|path| path.as_path())) {
            // Of a directory that is not there, it is said when something is to be written to it.
            let Ok(disk) = rustix::fs::statvfs(path) else { continue };
            let left = disk.f_bavail.saturating_mul(disk.f_frsize);
            if left < rules.disk_left {
                troubles.push(EngineTrouble::DiskFull { path: path.to_owned(), left });
            }
        }
        EngineHealth::of(troubles)
    }

    /// How often what happened since the engine was created: events, errors by code, starts and ends by outcome.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.registry.events().counts()
    }
}
