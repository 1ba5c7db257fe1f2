//! How leases are held.

use std::time::Duration;

use crate::error::Error;
use crate::options::check_range;

/// How leases are held. All nodes of a cluster need the same [`ttl`](Self::ttl).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LeaseOptions {
    /// How long a lease outlives its last renewal in Redis: 1 s to 5 min. It is renewed four times as often. What a node that died ran can be taken by
    /// others after this. Default 10 s.
    pub ttl: Duration,
    /// What becomes of streams while Redis cannot be asked. Default [`LeaseIfAway::KeepRunning`].
    pub if_away: LeaseIfAway,
}

/// What becomes of streams behind a lease that cannot be renewed, because Redis cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseIfAway {
    /// They run on until Redis says that another node has the lease. A node that was cut off alone may run beside the one that took over, for
    /// as long as it is cut off.
    KeepRunning,
    /// They end a fifth of [`ttl`](LeaseOptions::ttl) before another node can have the lease. Never two at a time, and none while Redis is away for longer.
    Stop,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(10), if_away: LeaseIfAway::KeepRunning }
    }
}

impl LeaseOptions {
    /// The same settings with what `change` does to them.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        check_range("ttl", self.ttl, Duration::from_secs(1), Duration::from_secs(300))
    }

    /// How often it is renewed.
    pub(super) fn renewal(&self) -> Duration {
        self.ttl / 4
    }

    /// Until when streams may send by an answer to what was asked at `asked`.
    pub(super) fn until(&self, asked: Duration) -> Duration {
        match self.if_away {
            LeaseIfAway::KeepRunning => Duration::MAX,
            LeaseIfAway::Stop => asked + self.ttl - self.ttl / 5,
        }
    }
}
