//! How it stands with Redis, as others see it.
//!
//! In: what the link's thread meets. Out: the state, for whoever asks or waits.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How it stands with Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedisState {
    /// No attempt to connect has ended yet.
    Connecting,
    /// It answers, and takes changes.
    Up,
    /// There is no connection, or it did not answer in time. Another attempt is made, after a pause.
    Away,
    /// It reads its data from the disk.
    Loading,
    /// It answers, and takes no changes: a replica, or its disk fails.
    ReadOnly,
    /// It answers, and takes no changes that need memory (`maxmemory`).
    Full,
    /// It refuses the user or the password, or what the user asks for.
    Denied,
}

impl RedisState {
    /// Its name: `connecting`, `up`, `away`, `loading`, `read_only`, `full`, `denied`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Away => "away",
            Self::Loading => "loading",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::Denied => "denied",
        }
    }
}

impl std::fmt::Display for RedisState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Figures of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// How it stands.
    pub state: RedisState,
    /// For how long.
    pub since: Duration,
    /// Connections that were made so far.
    pub connections: u64,
    /// Attempts to connect that failed so far.
    pub failures: u64,
    /// How long the last answer took.
    pub latency: Duration,
}

/// Where the thread notes it.
#[derive(Debug)]
pub(super) struct Board {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug)]
struct Now {
    state: RedisState,
    since: Instant,
    connections: u64,
    failures: u64,
    latency: Duration,
}

impl Board {
    pub(super) fn new() -> Self {
        let (state, since) = (RedisState::Connecting, Instant::now());
        let now = Now { state, since, connections: 0, failures: 0, latency: Duration::ZERO };
        Self { now: Mutex::new(now), changed: Condvar::new() }
    }

    pub(super) fn stats(&self) -> RedisStats {
        let Now { state, since, connections, failures, latency } = *self.now.lock();
        RedisStats { state, since: since.elapsed(), connections, failures, latency }
    }

    pub(super) fn state(&self) -> RedisState {
        self.now.lock().state
    }

    /// Notes a state; `true` if it is another one.
    pub(super) fn set(&self, state: RedisState) -> bool {
        let mut now = self.now.lock();
        let is_other = now.state != state;
        if is_other {
            (now.state, now.since) = (state, Instant::now());
            self.changed.notify_all();
        }
        is_other
    }

    pub(super) fn connected(&self) {
        self.now.lock().connections += 1;
    }

    pub(super) fn failed(&self) {
        self.now.lock().failures += 1;
    }

    pub(super) fn answered(&self, latency: Duration) {
        self.now.lock().latency = latency;
    }

    /// Waits for a state; `false` if it does not come in time.
    pub(super) fn wait(&self, wanted: RedisState, until: Instant) -> bool {
        let mut now = self.now.lock();
        while now.state != wanted {
            if self.changed.wait_until(&mut now, until).timed_out() {
                return now.state == wanted;
            }
        }
        true
    }
}
