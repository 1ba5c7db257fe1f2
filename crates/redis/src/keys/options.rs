//! How keys are known on a node.

use std::time::Duration;

use crate::error::Error;
use crate::options::check_range;

/// How a node knows the keys, and what it does while Redis is away.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisKeysOptions {
    /// How often the node looks what has changed: 50 ms to 60 s. A key that is issued or revoked elsewhere is so here after this, and the time of an
    /// answer. One small script each time. Default 500 ms.
    pub refresh: Duration,
    /// What is answered while Redis cannot be asked. Default [`IfAway::UseKnown`] for an hour.
    pub if_away: IfAway,
    /// The most keys that are held in memory, about 600 bytes each: 1 to 100,000,000. A node does not take over a store with more, as if that were away.
    /// Default 1,000,000.
    pub most: usize,
}

/// What is answered while Redis cannot be asked. What is on the air goes on in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfAway {
    /// What was last known, as long as it is not older than this; after that as with [`Refuse`](Self::Refuse). A key that was revoked meanwhile
    /// is accepted as long.
    UseKnown(Duration),
    /// Nobody new is let in, neither publisher nor player: [`Denial::Unavailable`](flowcast_core::Denial::Unavailable). Known answers hold for
    /// four times [`refresh`](RedisKeysOptions::refresh) and the [time of an answer](crate::RedisOptions::answer).
    Refuse,
}

impl Default for RedisKeysOptions {
    fn default() -> Self {
        Self {
            refresh: Duration::from_millis(500),
            if_away: IfAway::UseKnown(Duration::from_secs(3600)),
            most: 1_000_000,
        }
    }
}

impl RedisKeysOptions {
    /// The same settings with what `change` does to them.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// How old an answer may be, where Redis takes up to `answer` for one.
    pub(super) fn oldest(&self, answer: Duration) -> Duration {
        let fresh = self.refresh * 4 + answer;
        match self.if_away {
            IfAway::UseKnown(age) => age.max(fresh),
            IfAway::Refuse => fresh,
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        check_range("refresh", self.refresh, Duration::from_millis(50), Duration::from_secs(60))?;
        if !(1..=100_000_000).contains(&self.most) {
            return Err(Error::config("most", "must be from 1 to 100,000,000"));
        }
        if self.if_away == IfAway::UseKnown(Duration::ZERO) {
            return Err(Error::config("if_away", "keys of no age are never known: say Refuse"));
        }
        Ok(())
    }
}
