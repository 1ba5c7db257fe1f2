//! Settings of usage records.

use std::time::Duration;

use crate::error::Error;

/// How often usage records are cut, and how many may wait.
///
/// [`Config`](crate::Config) has those an engine begins with; [`Usage::set`](crate::usage::Usage::set) changes them while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageConfig {
    /// How often records of what runs are cut; what ends is cut at its end. 1 s to a day. Default 60 s. A process that is killed loses the
    /// usage since the last cut, so up to this much.
    pub interval: Duration,
    /// How many records may wait for callbacks and, in each file that cannot be written, for the disk. What comes then is lost, and counted.
    /// At least 1. Default 100,000, about 40 MB.
    pub kept: usize,
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), kept: 100_000 }
    }
}

impl UsageConfig {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |name, reason: &str| Err(Error::Config { name, reason: reason.to_owned() });
        if !(Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&self.interval) {
            return fail("usage.interval", "must be 1 s to a day");
        }
        if self.kept == 0 {
            return fail("usage.kept", "must be at least 1");
        }
        Ok(())
    }
}
