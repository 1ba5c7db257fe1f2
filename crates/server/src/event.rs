//! What a server reports to the program that embeds it, besides the events of its streams.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowcast_core::{Error, StreamId};

use crate::refusal::RefusalReason;

/// One event of one server. No event contains a stream key, a play token, or a name that does not exist.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerEvent {
    /// The client it is about, if known.
    pub peer: Option<SocketAddr>,
    /// What happened.
    pub kind: ServerEventKind,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerEventKind {
    /// A connection was closed before it could send a request.
    ConnectionRefused {
        /// Why.
        reason: RefusalReason,
    },
    /// A publisher was refused.
    PublishRefused {
        /// Why.
        reason: RefusalReason,
        /// The application it named, without the query; at most 128 characters.
        app: Arc<str>,
    },
    /// A player was refused.
    PlayRefused {
        /// Why.
        reason: RefusalReason,
        /// The application it named, without the query; at most 128 characters.
        app: Arc<str>,
    },
    /// No connection could be accepted. The server tries again at once; existing connections go on.
    AcceptFailed {
        /// The system's error.
        error: Arc<io::Error>,
    },
    /// A connection that neither published nor played broke the protocol, exceeded a limit, or missed a deadline.
    ConnectionFailed {
        /// What it was.
        error: Error,
    },
    /// A publisher was let in; its stream has begun.
    PublisherJoined {
        /// The name players use.
        name: Arc<str>,
        /// The number of the stream among the engine's.
        stream: StreamId,
    },
    /// A publisher was let in after its predecessor was lost; the stream goes on.
    PublisherReturned {
        /// The name players use.
        name: Arc<str>,
        /// The stream.
        stream: StreamId,
    },
    /// A publisher was let in and replaced its predecessor; the stream goes on.
    PublisherTookOver {
        /// The name players use.
        name: Arc<str>,
        /// The stream.
        stream: StreamId,
    },
    /// A publisher has left.
    PublisherLeft {
        /// The name players use.
        name: Arc<str>,
        /// Why.
        why: Departure,
        /// Bytes received from it.
        bytes: u64,
        /// How long it was there.
        after: Duration,
    },
    /// A player was let in.
    PlayerJoined {
        /// The name it plays.
        name: Arc<str>,
        /// The stream.
        stream: StreamId,
    },
    /// A player was behind and tags were dropped for it up to a keyframe.
    PlayerDropped {
        /// The name it plays.
        name: Arc<str>,
        /// Tags dropped since the last such event.
        tags: u64,
    },
    /// A player has left.
    PlayerLeft {
        /// The name it played.
        name: Arc<str>,
        /// Why.
        why: Departure,
        /// Bytes sent to it.
        bytes: u64,
        /// Tags dropped for it in all.
        drops: u64,
        /// How long it was there.
        after: Duration,
    },
}

impl ServerEventKind {
    /// A publisher was let in: to a stream of its own (`None`), or to an existing one, by taking over or coming back.
    pub(crate) fn publisher(name: Arc<str>, stream: StreamId, takeover: Option<bool>) -> Self {
        match takeover {
            None => Self::PublisherJoined { name, stream },
            Some(false) => Self::PublisherReturned { name, stream },
            Some(true) => Self::PublisherTookOver { name, stream },
        }
    }
}

/// Why a publisher or player left.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Departure {
    /// It ended its stream.
    SaidGoodbye,
    /// It closed the connection without ending its stream.
    HungUp,
    /// It was disconnected: the stream ended, the publisher's key was removed, another publisher took over, or the
    /// server stopped.
    Dismissed,
    /// It broke the protocol, was too slow or too fast, sent or took nothing for too long, or the network failed.
    Failed(Error),
}

impl Departure {
    /// A stable word for logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SaidGoodbye => "said goodbye",
            Self::HungUp => "hung up",
            Self::Dismissed => "dismissed",
            Self::Failed(_) => "failed",
        }
    }
}
