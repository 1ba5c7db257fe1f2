//! Holds back a program that dies soon after each start: a stream that ends the process would otherwise do so all day long.

use std::time::{Duration, SystemTime};

/// When an engine that is restored again and again is held back.
///
/// A run that lasts less than [`within`](Self::within) counts as a crash. From the start on that is number [`starts`](Self::starts) of
/// such a row, each one is held for [`hold`](field@Self::hold) first, and for twice as long each time, up to
/// [`hold_at_most`](Self::hold_at_most). A run that lasts, and one that ends with [`Engine::shutdown`](crate::Engine::shutdown), begins a
/// new row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashGuard {
    /// Starts in a row. At least 2. Default 3.
    pub starts: u32,
    /// The shortest run that is no crash. Default 60 s.
    pub within: Duration,
    /// How long the first one is held. Default 60 s.
    pub hold: Duration,
    /// How long any is held at most. Default 15 min.
    pub hold_at_most: Duration,
}

impl Default for CrashGuard {
    fn default() -> Self {
        Self {
            starts: 3,
            within: Duration::from_secs(60),
            hold: Duration::from_secs(60),
            hold_at_most: Duration::from_secs(15 * 60),
        }
    }
}

crate::settings::settings!(CrashGuard);

/// How often an engine was restored in short order; part of a [`Snapshot`](crate::Snapshot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Restarts {
    /// When it was restored last: when its streams were to start, after being held. `None` if it never was, or has ended in order since.
    pub last: Option<SystemTime>,
    /// Runs in a row that ended soon.
    pub short: u32,
    /// How often in a row it was held.
    pub held: u32,
}

impl CrashGuard {
    /// How long a start at `now` is held, and what is to be remembered of it.
    pub(crate) fn hold(&self, before: Restarts, now: SystemTime) -> (Duration, Restarts) {
        let Some(last) = before.last else {
            return (Duration::ZERO, Restarts { last: Some(now), ..Restarts::default() });
        };
        let ran = match now.duration_since(last) {
            Ok(ran) => ran,
            // It was ended while it was held: what is left of that is held.
            Err(early) if before.held > 0 => {
                let left = early.duration().min(self.hold_at_most);
                return (left, Restarts { last: Some(now + left), ..before });
            }
            // The system's clock was set back: there is no telling.
            Err(_) => self.within,
        };
        if ran >= self.within {
            return (Duration::ZERO, Restarts { last: Some(now), ..Restarts::default() });
        }
        let short = before.short.saturating_add(1);
        if short.saturating_add(1) < self.starts {
            return (Duration::ZERO, Restarts { last: Some(now), short, held: 0 });
        }
        let times = 2u32.saturating_pow(before.held.min(31));
        let hold = self.hold.saturating_mul(times).min(self.hold_at_most);
        (hold, Restarts { last: Some(now + hold), short, held: before.held.saturating_add(1) })
    }
}
