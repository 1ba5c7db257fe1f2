//! What can go wrong with Redis, and with what is kept there, split by what the caller does next.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why something that nodes share could not be read or changed. Passwords and stream keys never appear in the text.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting, or the URL, cannot work.
    #[error("{name}: {reason}")]
    Config {
        /// The setting, by its field name.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no connection, or too many calls wait for it. Nothing was done.
    #[error("{server}: Redis is away ({reason})")]
    Away {
        /// The server, without the password.
        server: Arc<str>,
        /// What the last attempt ended with.
        reason: String,
    },
    /// No answer came in time, or the connection broke before it came. What was asked may have been done.
    #[error("{server}: no answer from Redis within {after:?}")]
    NoAnswer {
        /// The server, without the password.
        server: Arc<str>,
        /// How long was waited.
        after: Duration,
    },
    /// The server takes no changes: it is a replica, as for a while in a fail-over, or cannot save to its disk. Nothing was done.
    #[error("{server}: Redis takes no changes ({reason})")]
    ReadOnly {
        /// The server, without the password.
        server: Arc<str>,
        /// What it says.
        reason: String,
    },
    /// The server reads its data from the disk, as after a restart. Nothing was done.
    #[error("{server}: Redis is still loading its data")]
    Loading {
        /// The server, without the password.
        server: Arc<str>,
    },
    /// The server has no memory left (`maxmemory`). Nothing was done.
    #[error("{server}: Redis is full")]
    Full {
        /// The server, without the password.
        server: Arc<str>,
    },
    /// The user or the password is wrong, or the user may not do this. Nothing was done.
    #[error("{server}: Redis refuses ({reason})")]
    Denied {
        /// The server, without the password.
        server: Arc<str>,
        /// What it says.
        reason: String,
    },
    /// The server answered something else than was to be expected.
    #[error("{server}: {reason}")]
    Answer {
        /// The server, without the password.
        server: Arc<str>,
        /// What.
        reason: String,
    },
    /// The server has lost the keys that this node knows: it was flushed, or came back empty. Nothing is written to it before
    /// [`RedisKeys::restore`](crate::RedisKeys::restore) or [`RedisKeys::forget`](crate::RedisKeys::forget) says what holds.
    #[error("{server}: Redis has lost its stream keys")]
    Emptied {
        /// The server, without the password.
        server: Arc<str>,
    },
    /// The server has lost the list of streams that should run, as this node knows it: it was flushed, or came back empty. What runs goes on; nothing is
    /// written to the list before [`DesiredStreams::restore`](crate::DesiredStreams::restore) or [`DesiredStreams::forget`](crate::DesiredStreams::forget)
    /// says what holds.
    #[error("{server}: Redis has lost the list of streams that should run")]
    DesiredEmptied {
        /// The server, without the password.
        server: Arc<str>,
    },
    /// A node has the lease of the name. It may be this one, as long as it gives it back.
    #[error("{name}: {by} has it, for {left:?} at most if it does not renew it")]
    Held {
        /// The name.
        name: String,
        /// The node.
        by: String,
        /// When it expires, if it is not renewed.
        left: Duration,
    },
    /// The server has just begun to keep leases, or has lost those it had: it grants none before their holders could say so.
    #[error("{server}: no lease is granted for another {left:?}: Redis has none yet")]
    Young {
        /// The server, without the password.
        server: Arc<str>,
        /// How long that lasts.
        left: Duration,
    },
    /// The name, the key or the rules cannot be used, or are taken: as a [`KeyRegistry`](flowcast_core::KeyRegistry) says it.
    #[error(transparent)]
    Core(#[from] flowcast_core::Error),
    /// The system gives no thread, or no random numbers.
    #[error("{what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "CONFIG_INVALID",
            Self::Away { .. } => "REDIS_AWAY",
            Self::NoAnswer { .. } => "REDIS_NO_ANSWER",
            Self::ReadOnly { .. } => "REDIS_READ_ONLY",
            Self::Loading { .. } => "REDIS_LOADING",
            Self::Full { .. } => "REDIS_FULL",
            Self::Denied { .. } => "REDIS_DENIED",
            Self::Answer { .. } => "REDIS_ANSWER",
            Self::Emptied { .. } => "REDIS_EMPTIED",
            Self::DesiredEmptied { .. } => "DESIRED_EMPTIED",
            Self::Held { .. } => "LEASE_HELD",
            Self::Young { .. } => "LEASES_YOUNG",
            Self::Core(error) => error.code(),
            Self::System { .. } => "SYSTEM_RESOURCE",
        }
    }

    /// Whether the same call can succeed later, without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Away { .. }
            | Self::NoAnswer { .. }
            | Self::ReadOnly { .. }
            | Self::Loading { .. }
            | Self::Full { .. }
            | Self::Held { .. }
            | Self::Young { .. }
            | Self::System { .. } => true,
            Self::Core(error) => error.is_retryable(),
            Self::Config { .. }
            | Self::Denied { .. }
            | Self::Answer { .. }
            | Self::Emptied { .. }
            | Self::DesiredEmptied { .. } => false,
        }
    }

    pub(crate) fn config(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Config { name, reason: reason.into() }
    }
}
