//! Settings of the resource monitor.

use std::time::Duration;

use crate::error::Error;

/// How often streams are looked at, and from when on one uses a lot.
///
/// [`Config`](crate::Config) has those an engine begins with; [`Monitor::set`](crate::monitor::Monitor::set) changes them while the
/// monitor runs.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MonitorConfig {
    /// How often. 10 ms to an hour; CPU use is measured over five seconds at least, because threads count it once a second. Default
    /// 30 s; `RESOURCE_MONITOR_INTERVAL_MS`.
    pub interval: Duration,
    /// CPU use above which a stream is reported, in percent of one core, over an interval. More than zero; above 100 for streams
    /// that use several cores. Default 80; `RESOURCE_WARNING_CPU_PERCENT`.
    pub cpu_percent: f64,
    /// Bytes held above which a stream is reported. At least 1. Default 500 MB (500,000,000); `RESOURCE_WARNING_MEMORY_MB`.
    pub memory: u64,
    /// A stream that was reported is calm again, and may be reported again, once both are at most this share of the above. More than
    /// zero, at most 1. Default 0.9.
    pub calm_at: f64,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), cpu_percent: 80.0, memory: 500 * MEGABYTE, calm_at: 0.9 }
    }
}

/// Bytes of a megabyte, as the setting in the environment and the message count them.
pub(crate) const MEGABYTE: u64 = 1_000_000;

impl MonitorConfig {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |name, reason: &str| Err(Error::Config { name, reason: reason.to_owned() });
        if !(Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&self.interval) {
            return fail("monitor.interval", "must be 10 ms to an hour");
        }
        if !self.cpu_percent.is_finite() || self.cpu_percent <= 0.0 || self.memory == 0 {
            return fail("monitor", "cpu_percent and memory must be more than zero");
        }
        if !(self.calm_at > 0.0 && self.calm_at <= 1.0) {
            return fail("monitor.calm_at", "must be more than zero and at most 1");
        }
        Ok(())
    }
}
