//! Whether an engine is alive and ready for more: what its thread and its limits say, put into words.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, chain};
use crate::id::StreamId;

/// How an engine is: [`Engine::health`](crate::Engine::health).
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct EngineHealth {
    /// Its threads answer. Nothing at the other end of a network is asked, so that a platform that is gone does not have the process
    /// restarted.
    pub is_live: bool,
    /// It is alive and takes new streams: it is not shutting down, has a place free and room on its disks.
    pub is_ready: bool,
    /// Why it is not both.
    pub troubles: Vec<EngineTrouble>,
}

/// Why an engine is not alive, or not ready.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EngineTrouble {
    /// The thread of a stream has said nothing for too long: not alive.
    Stuck {
        /// The stream.
        stream: StreamId,
    },
    /// It is shutting down.
    Closed,
    /// Another stream would be refused.
    Full {
        /// By which limit.
        error: Error,
    },
    /// There is too little room on a disk.
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// Bytes that are free.
        left: u64,
    },
}

impl EngineTrouble {
    /// Whether it means that the engine is not alive.
    pub(crate) const fn is_death(&self) -> bool {
        matches!(self, Self::Stuck { .. })
    }
}

impl EngineHealth {
    /// Of these troubles.
    pub(crate) fn of(troubles: Vec<EngineTrouble>) -> Self {
        let is_live = !troubles.iter().any(EngineTrouble::is_death);
        Self { is_live, is_ready: troubles.is_empty(), troubles }
    }
}

impl fmt::Display for EngineTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck { stream } => write!(f, "the thread of {stream} does not answer"),
            Self::Closed => f.write_str("it is shutting down"),
            Self::Full { error } => f.write_str(&chain(error)),
            Self::DiskFull { path, left } => write!(f, "{}: {left} bytes are left", path.display()),
        }
    }
}

/// `ready`, or `alive, not ready: it is shutting down`.
impl fmt::Display for EngineHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.is_live, self.is_ready) {
            (true, true) => "ready",
            (true, false) => "alive, not ready",
            (false, _) => "not alive",
        })?;
        for (number, trouble) in self.troubles.iter().enumerate() {
            write!(f, "{}{trouble}", if number == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}
