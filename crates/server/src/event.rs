//! What a server reports to the program that embeds it, besides the events of its streams.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flowcast_core::{Error, StreamId, chain, utc};

use crate::refusal::RefusalReason;

/// One event of one server. No event contains a stream key, a play token, or a name that does not exist.
///
/// `Display` gives one line, with the time: `2026-03-01T12:00:00.250Z 192.0.2.7:50000: publishes studio as s1`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerEvent {
    /// When it happened, by the system's clock.
    pub at: SystemTime,
    /// The client it is about, if known.
    pub peer: Option<SocketAddr>,
    /// What happened.
    pub kind: ServerEventKind,
}

/// What happened. `Display` gives a sentence without the client.
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
    /// A stream is relayed: its origin gives media, and the players who asked for it are let in.
    RelayBegan {
        /// The name players use.
        name: Arc<str>,
        /// The stream.
        stream: StreamId,
        /// How long the first player has waited.
        after: Duration,
    },
    /// Players asked for a name, and no origin gave it; they are refused. The name is not told: it may be anything.
    RelayFailed {
        /// What they are refused for.
        reason: RefusalReason,
        /// What the last origin said, or what kept the stream from being started; `None` if nothing was heard in time.
        error: Option<Error>,
    },
    /// A stream is relayed no longer.
    RelayEnded {
        /// The name players used.
        name: Arc<str>,
        /// The stream.
        stream: StreamId,
        /// Why its origin was given up; `None` if nobody played it any more, a publisher took its place, or it was stopped.
        error: Option<Error>,
        /// How long it was relayed.
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

impl ServerEvent {
    /// What has happened now.
    pub(crate) fn now(peer: Option<SocketAddr>, kind: ServerEventKind) -> Self {
        Self { at: SystemTime::now(), peer, kind }
    }
}

impl fmt::Display for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", utc(self.at))?;
        match self.peer {
            Some(peer) => write!(f, " {peer}: {}", self.kind),
            None => write!(f, " {}", self.kind),
        }
    }
}

impl ServerEventKind {
    /// Its name, such as `publisher_joined`, for logs, metrics and JSON. It does not change from one version to the next.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConnectionRefused { .. } => "connection_refused",
            Self::PublishRefused { .. } => "publish_refused",
            Self::PlayRefused { .. } => "play_refused",
            Self::AcceptFailed { .. } => "accept_failed",
            Self::ConnectionFailed { .. } => "connection_failed",
            Self::PublisherJoined { .. } => "publisher_joined",
            Self::PublisherReturned { .. } => "publisher_returned",
            Self::PublisherTookOver { .. } => "publisher_took_over",
            Self::PublisherLeft { .. } => "publisher_left",
            Self::RelayBegan { .. } => "relay_began",
            Self::RelayFailed { .. } => "relay_failed",
            Self::RelayEnded { .. } => "relay_ended",
            Self::PlayerJoined { .. } => "player_joined",
            Self::PlayerDropped { .. } => "player_dropped",
            Self::PlayerLeft { .. } => "player_left",
        }
    }

    /// A publisher was let in: to a stream of its own (`None`), or to an existing one, by taking over or coming back.
    pub(crate) fn publisher(name: Arc<str>, stream: StreamId, takeover: Option<bool>) -> Self {
        match takeover {
            None => Self::PublisherJoined { name, stream },
            Some(false) => Self::PublisherReturned { name, stream },
            Some(true) => Self::PublisherTookOver { name, stream },
        }
    }
}

impl fmt::Display for ServerEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |after: &Duration| after.as_secs_f64();
        match self {
            Self::ConnectionRefused { reason } => write!(f, "connection refused ({reason})"),
            // Quoted: the application is the client's text, and may hold anything.
            Self::PublishRefused { reason, app } => write!(f, "publish refused ({reason}), app {app:?}"),
            Self::PlayRefused { reason, app } => write!(f, "play refused ({reason}), app {app:?}"),
            Self::AcceptFailed { error } => write!(f, "no connection can be accepted: {error}"),
            Self::ConnectionFailed { error } => write!(f, "the connection failed: {}", chain(error)),
            Self::PublisherJoined { name, stream } => write!(f, "publishes {name} as {stream}"),
            Self::PublisherReturned { name, stream } => write!(f, "is back and publishes {name} as {stream}"),
            Self::PublisherTookOver { name, stream } => write!(f, "takes over {name}, {stream}"),
            Self::PublisherLeft { name, why, bytes, after } => {
                write!(f, "published {name} for {:.1} s, {bytes} bytes: {why}", seconds(after))
            }
            Self::RelayBegan { name, stream, after } => {
                write!(f, "{name} is relayed as {stream}, after {:.2} s", seconds(after))
            }
            Self::RelayFailed { reason, error: Some(error) } => {
                write!(f, "nothing to relay ({reason}): {}", chain(error))
            }
            Self::RelayFailed { reason, error: None } => write!(f, "nothing to relay ({reason})"),
            Self::RelayEnded { name, stream, error: None, after } => {
                write!(f, "{name} was relayed as {stream} for {:.1} s", seconds(after))
            }
            Self::RelayEnded { name, stream, error: Some(error), after } => {
                write!(f, "{name} was relayed as {stream} for {:.1} s: {}", seconds(after), chain(error))
            }
            Self::PlayerJoined { name, stream } => write!(f, "plays {name}, {stream}"),
            Self::PlayerDropped { name, tags } => write!(f, "{tags} tags of {name} dropped, it is behind"),
            Self::PlayerLeft { name, why, bytes, drops, after } => {
                write!(
                    f,
                    "played {name} for {:.1} s, {bytes} bytes, {drops} tags dropped: {why}",
                    seconds(after)
                )
            }
        }
    }
}

/// Why a publisher or player left. `Display` gives the word for it, or the text of the error.
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
    /// Its name: `said goodbye`, `hung up`, `dismissed` or `failed`.
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

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => f.write_str(&chain(error)),
            _ => f.write_str(self.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_line_has_the_time_the_client_and_the_sentence() {
        let line = |peer: Option<&str>, kind| {
            let peer = peer.map(|peer| peer.parse().expect("an address"));
            ServerEvent { at: UNIX_EPOCH + Duration::from_millis(1250), peer, kind }.to_string()
        };
        let (name, why): (Arc<str>, _) = ("studio".into(), Departure::Failed(Error::Ended));
        let (after, peer) = (Duration::from_millis(12_340), Some("192.0.2.7:50000"));
        assert_eq!(
            line(peer, ServerEventKind::PublisherLeft { name: name.clone(), why, bytes: 7, after }),
            "1970-01-01T00:00:01.250Z 192.0.2.7:50000: published studio for 12.3 s, 7 bytes: the stream has ended"
        );
        let why = Departure::HungUp;
        assert_eq!(
            line(peer, ServerEventKind::PlayerLeft { name, why, bytes: 7, drops: 2, after }),
            "1970-01-01T00:00:01.250Z 192.0.2.7:50000: played studio for 12.3 s, 7 bytes, 2 tags dropped: hung up"
        );
        let (reason, app) = (RefusalReason::App, "a\"b".into());
        assert_eq!(
            line(peer, ServerEventKind::PublishRefused { reason, app }),
            "1970-01-01T00:00:01.250Z 192.0.2.7:50000: publish refused (app), app \"a\\\"b\""
        );
        let error = Arc::new(io::Error::other("no descriptors"));
        let kind = ServerEventKind::AcceptFailed { error };
        assert_eq!(kind.name(), "accept_failed");
        assert_eq!(
            line(None, kind),
            "1970-01-01T00:00:01.250Z no connection can be accepted: no descriptors"
        );
    }
}
