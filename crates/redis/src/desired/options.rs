//! How streams that should run are kept.

use std::time::Duration;

use flowcast_rtmp::key::StreamKey;

use crate::error::Error;
use crate::options::check_range;

/// How streams that should run are kept. All nodes of a cluster need the same [`secret`](Self::secret).
///
/// ```
/// use flowcast_redis::DesiredOptions;
///
/// let options = DesiredOptions::default().with(|options| options.secret = Some("0c9b5d0e7f…, 32 random bytes".into()));
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DesiredOptions {
    /// What specs are encrypted with in Redis (AES-256-GCM), for they have stream keys of platforms in them: 16 bytes or more, which only the nodes know.
    /// Default `None`: specs are kept in clear text, and those with something secret in them are refused.
    pub secret: Option<StreamKey>,
    /// How often the node looks what has changed: 50 ms to 60 s. Default 500 ms.
    pub refresh: Duration,
    /// The most streams that are held in memory, each with the text of its spec: 1 to 10,000,000. A node does not take over a list with more.
    /// Default 100,000.
    pub most: usize,
}

impl Default for DesiredOptions {
    fn default() -> Self {
        Self { secret: None, refresh: Duration::from_millis(500), most: 100_000 }
    }
}

impl DesiredOptions {
    /// The same settings with what `change` does to them.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.secret.as_ref().is_some_and(|secret| secret.reveal().len() < 16) {
            return Err(Error::config("secret", "must have 16 bytes or more"));
        }
        check_range("refresh", self.refresh, Duration::from_millis(50), Duration::from_secs(60))?;
        if !(1..=10_000_000).contains(&self.most) {
            return Err(Error::config("most", "must be from 1 to 10,000,000"));
        }
        Ok(())
    }
}
