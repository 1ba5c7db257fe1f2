//! What sessions tell their callers, and what callers answer.

use std::fmt;

use super::client::LoginAnswer;
use crate::capability::Capabilities;
use crate::flv::Tag;
use crate::key::StreamKey;

/// What a [`ServerSession`](super::ServerSession) tells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// The client connected to an application. Already answered.
    Connect {
        /// Application, without surrounding slashes; may hold a query.
        app: String,
        /// URL the client used; may be empty.
        tc_url: String,
    },
    /// The client wants to publish. Nothing more is parsed until
    /// [`accept_publish`](super::ServerSession::accept_publish) or [`reject`](super::ServerSession::reject).
    Publish(PublishRequest),
    /// The client wants to play. Nothing more is parsed until
    /// [`accept_play`](super::ServerSession::accept_play) or [`reject`](super::ServerSession::reject).
    Play(PlayRequest),
    /// A tag of the publisher; time unwrapped, `@setDataFrame` stripped.
    Tag(Tag),
    /// The publisher ended its stream in an orderly way.
    Unpublish,
    /// The player does not want any more.
    StopPlay,
    /// The player paused (true) or goes on (false).
    Pause(bool),
    /// The player wants to jump; a live stream can only ignore it.
    Seek {
        /// Position, milliseconds.
        millis: f64,
    },
    /// The player wants audio or not.
    ReceiveAudio(bool),
    /// The player wants video or not.
    ReceiveVideo(bool),
    /// The player buffers this much.
    BufferLength {
        /// Milliseconds.
        millis: u32,
    },
}

/// A client wants to publish.
#[derive(Clone, PartialEq)]
pub struct PublishRequest {
    /// Application from `connect`, without its query.
    pub app: String,
    /// Stream name without its query.
    pub key: StreamKey,
    /// Query of the stream name without `?`, else the application's; may hold a token and is not shown by `Debug`.
    pub query: String,
    /// `live`, `record` or `append`; empty if left out.
    pub mode: String,
    /// What the client said in `connect` that it can do beyond RTMP 1.0; most say nothing.
    pub capabilities: Capabilities,
}

/// A client wants to play.
#[derive(Clone, PartialEq)]
pub struct PlayRequest {
    /// Application from `connect`, without its query.
    pub app: String,
    /// Stream name without its query.
    pub name: String,
    /// Query of the stream name without `?`, else the application's; may hold a token and is not shown by `Debug`.
    pub query: String,
    /// Where to start, as sent: -2 live or recorded, -1 live only, from 0 a position in a recording. Flash players
    /// count in seconds, librtmp and ffmpeg in milliseconds (-2000, -1000).
    pub start: f64,
    /// How long, in the unit of `start`; -1 to the end.
    pub duration: f64,
    /// False to add to a playlist instead of starting over.
    pub reset: bool,
    /// The relays behind a client that is one; see [`Connect::via`](crate::command::Connect::via).
    pub via: String,
    /// What the client said in `connect` that it can do beyond RTMP 1.0; most say nothing.
    pub capabilities: Capabilities,
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("app", &self.app)
            .field("key", &self.key)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PlayRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlayRequest")
            .field("app", &self.app)
            .field("name", &self.name)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// Why a publish or play is refused. What the client is told:
///
/// | | publish | play |
/// |---|---|---|
/// | `BadName` | `NetStream.Publish.BadName` | `NetStream.Play.StreamNotFound` |
/// | `Denied` | `NetStream.Publish.Denied` | `NetStream.Play.Failed` |
/// | `NotFound` | `NetStream.Publish.BadName` | `NetStream.Play.StreamNotFound` |
/// | `Busy` | `NetStream.Publish.BadName`, "already publishing" | `NetStream.Play.Failed`, "server is busy" |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// The name or key is not known.
    BadName,
    /// The client may not do this.
    Denied,
    /// There is no such stream.
    NotFound,
    /// Somebody else publishes under the name, or there is no room for another player.
    Busy,
    /// Words of the program's own.
    Custom {
        /// Such as `NetStream.Publish.Denied`.
        code: String,
        /// For a person.
        description: String,
    },
}

/// What a [`ClientSession`](super::ClientSession) tells.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The server accepted `connect`.
    Connected,
    /// Publishing was accepted, or playing has started.
    Live,
    /// A tag of the played stream; time unwrapped, `@setDataFrame` stripped.
    Tag(Tag),
    /// The server opened the message stream.
    StreamBegin,
    /// The played stream is over or rests; a [`Closed`](Self::Closed) may follow.
    StreamEof,
    /// Any other status of the server.
    Status {
        /// `status`, `warning` or `error`.
        level: String,
        /// Such as `NetStream.Play.Reset`.
        code: String,
        /// For a person.
        description: String,
    },
    /// The server wants the client elsewhere. The session is over; dial `url`.
    Redirect {
        /// Where to; not shown by `Debug`, it may hold a token.
        url: String,
    },
    /// The server asks for a login, and the address has a user and a password. The session is over; connect again, with
    /// this answer in [`ClientConfig::login`](super::ClientConfig::login). A server asks twice.
    Login(LoginAnswer),
    /// The server asks for a new connection, because it is going away or wants the client elsewhere. The session goes
    /// on: reconnect, then leave at a keyframe. Only with [`ClientConfig::enhanced`](super::ClientConfig::enhanced).
    ReconnectRequest {
        /// Server and application to connect to, resolved to a whole URL; the same ones again if `None`. Not shown by
        /// `Debug`, it may hold a token.
        url: Option<String>,
        /// For a person; may be empty.
        description: String,
    },
    /// The server ended the stream in an orderly way. The session is over.
    Closed {
        /// Such as `NetStream.Unpublish.Success`.
        code: String,
    },
}

impl fmt::Debug for ClientEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("Connected"),
            Self::Live => f.write_str("Live"),
            Self::Tag(tag) => f.debug_tuple("Tag").field(tag).finish(),
            Self::StreamBegin => f.write_str("StreamBegin"),
            Self::StreamEof => f.write_str("StreamEof"),
            Self::Status { level, code, .. } => {
                f.debug_struct("Status").field("level", level).field("code", code).finish_non_exhaustive()
            }
            Self::Redirect { .. } => f.write_str("Redirect(****)"),
            Self::Login(answer) => f.debug_tuple("Login").field(answer).finish(),
            Self::ReconnectRequest { .. } => f.write_str("ReconnectRequest(****)"),
            Self::Closed { code } => f.debug_struct("Closed").field("code", code).finish(),
        }
    }
}
