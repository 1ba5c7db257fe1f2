//! How a node runs streams of the list.

use std::time::Duration;

use crate::error::Error;
use crate::options::check_range;

/// How a node runs streams of the list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunnerOptions {
    /// The most streams that an owner has on all nodes together, publishers of [`LeasedKeys`](crate::LeasedKeys) included; the same on all nodes. At least 1. Default
    /// `None`: no limit.
    pub most_per_owner: Option<usize>,
    /// Streams that are started at the same time: 1 to 64. Default 4.
    pub starts_at_once: usize,
    /// How long a node that is full would wait before it takes a stream that is free, one that is half full half as long, and so on: 10 ms to 60 s.
    /// So the node that is least loaded usually has it. Default 1 s.
    pub claim_delay: Duration,
    /// How long a stream that should not run here any more may take to end in order: 100 ms to 5 min. Default 10 s.
    pub stop: Duration,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self {
            most_per_owner: None,
            starts_at_once: 4,
            claim_delay: Duration::from_secs(1),
            stop: Duration::from_secs(10),
        }
    }
}

impl RunnerOptions {
    /// The same settings with what `change` does to them.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.most_per_owner == Some(0) {
            return Err(Error::config("most_per_owner", "must be at least 1"));
        }
        if !(1..=64).contains(&self.starts_at_once) {
            return Err(Error::config("starts_at_once", "must be from 1 to 64"));
        }
        check_range("claim_delay", self.claim_delay, Duration::from_millis(10), Duration::from_secs(60))?;
        check_range("stop", self.stop, Duration::from_millis(100), Duration::from_secs(300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_its_name() {
        let refused =
            |change: &dyn Fn(&mut RunnerOptions)| match RunnerOptions::default().with(change).check() {
                Err(Error::Config { name, .. }) => name,
                other => panic!("{other:?}"),
            };
        assert!(RunnerOptions::default().check().is_ok());
        assert_eq!(refused(&|options| options.most_per_owner = Some(0)), "most_per_owner");
        assert_eq!(refused(&|options| options.starts_at_once = 65), "starts_at_once");
        assert_eq!(refused(&|options| options.claim_delay = Duration::ZERO), "claim_delay");
        assert_eq!(refused(&|options| options.stop = Duration::ZERO), "stop");
    }
}
