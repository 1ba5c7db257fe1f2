//! A length of time that one thread finds out and another one reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A length of time in milliseconds; 0 if it is not known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Length(Arc<AtomicU64>);

impl Length {
    pub(crate) fn set(&self, length: Option<Duration>) {
        let millis = length.and_then(|length| u64::try_from(length.as_millis()).ok());
        self.0.store(millis.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.0.load(Ordering::Relaxed))).filter(|length| !length.is_zero())
    }
}
