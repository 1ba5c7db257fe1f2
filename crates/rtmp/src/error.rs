//! The one error type of the wire layer, split by what the caller does next.
//!
//! Every variant that stems from bytes carries the offset of those bytes in the connection's inbound byte stream
//! (the handshake included, the first byte is 0), so that the place can be found in a capture.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub use crate::limits::LimitKind;

/// Why an RTMP session cannot go on.
///
/// After an error the session is dead: send what [`wire`](crate::session::ServerSession::wire) still holds if that
/// can be done at once (it may hold the peer's answer), then close.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer does not speak RTMP. Close without an answer; a scanner or a wrong port.
    #[error("not an RTMP handshake: {reason} at byte {offset}{}", Peer(.peer))]
    Handshake {
        /// What was seen.
        reason: &'static str,
        /// Inbound byte offset.
        offset: u64,
        /// The peer, when the session knows it.
        peer: Option<SocketAddr>,
    },
    /// The peer broke the protocol. Close.
    #[error("RTMP protocol: {reason} at byte {offset}{}", Peer(.peer))]
    Protocol {
        /// Which rule was broken.
        reason: &'static str,
        /// Inbound byte offset.
        offset: u64,
        /// The peer, when the session knows it.
        peer: Option<SocketAddr>,
    },
    /// The peer asked for more than the limits of its role allow. Close, and count it.
    #[error("RTMP limit: {limit} above {allowed} at byte {offset}{}", Peer(.peer))]
    Limit {
        /// Which limit.
        limit: LimitKind,
        /// The greatest allowed value, in the limit's own unit.
        allowed: u64,
        /// Inbound byte offset.
        offset: u64,
        /// The peer, when the session knows it.
        peer: Option<SocketAddr>,
    },
    /// A command or data message does not hold the AMF0 it should. Close.
    #[error("RTMP command in the message that ends at byte {offset}{}", Peer(.peer))]
    Amf {
        /// What is wrong with it; its own offset counts from the start of the message.
        #[source]
        source: crate::amf0::AmfError,
        /// Inbound byte offset of the end of the message.
        offset: u64,
        /// The peer, when the session knows it.
        peer: Option<SocketAddr>,
    },
    /// The peer did not do in time what was its turn. Close; a client may try again.
    #[error("RTMP peer silent: no {waiting_for} within {after:?}{}", Peer(.peer))]
    Timeout {
        /// What was waited for.
        waiting_for: Deadline,
        /// The whole length of the wait.
        after: Duration,
        /// The peer, when the session knows it.
        peer: Option<SocketAddr>,
    },
    /// The server refused. Whether another try makes sense is decided by the code: see [`is_retryable`].
    ///
    /// [`is_retryable`]: Self::is_retryable
    #[error("refused by the server: {code}: {description}")]
    Rejected {
        /// RTMP status code, such as `NetStream.Publish.BadName`. Text of the peer, at most 256 bytes.
        code: String,
        /// Text of the peer for a person, at most 1024 bytes, may be empty. The stream key is blotted out.
        description: String,
    },
    /// The server asks for a login (`authmod=`) and does not get one it takes.
    #[error("login: {reason} (the server says: {description})")]
    Login {
        /// Why not.
        reason: LoginError,
        /// Text of the peer, at most 1024 bytes. The stream key and the password are blotted out.
        description: String,
    },
}

/// Why a client cannot log in to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoginError {
    /// The address has no user and password before the host.
    Missing,
    /// The server does not take this user and password.
    Refused,
    /// The server asks in another way than Adobe's and Limelight's (`adobe`, `llnw`).
    Unsupported,
    /// The server's question is not one that can be answered.
    Unusable,
}

/// What a session waits for when a deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// The end of the handshake.
    Handshake,
    /// A publish or play command (server).
    Command,
    /// The answer to `connect` (client).
    ConnectReply,
    /// The answer to `createStream` (client).
    CreateStreamReply,
    /// The answer to `publish` (client).
    PublishReply,
    /// The answer to `play` (client).
    PlayReply,
    /// Any byte at all after a ping (server).
    Ping,
}

impl Error {
    /// Stable code for logs, metrics and callers that match on text.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Handshake { .. } => "RTMP_HANDSHAKE",
            Self::Protocol { .. } => "RTMP_PROTOCOL",
            Self::Limit { .. } => "RTMP_LIMIT_EXCEEDED",
            Self::Amf { .. } => "RTMP_BAD_COMMAND",
            Self::Timeout { .. } => "RTMP_TIMEOUT",
            Self::Rejected { .. } => "RTMP_REJECTED",
            Self::Login { .. } => "RTMP_LOGIN_FAILED",
        }
    }

    /// True if the same connection attempt may succeed later without anybody changing its settings.
    ///
    /// Timeouts are retryable, broken peers too (a restarting server, a proxy in the way). A login is not. A refusal is decided by
    /// its code, and for the codes that servers use for several reasons, by its text:
    ///
    /// | code | retry |
    /// |---|---|
    /// | `NetStream.Publish.BadName` without a text, or with one that does not say that the name or key is wrong | yes: the code means that the name is published already, and the old session of the same publisher may still be dying |
    /// | `NetStream.Publish.BadName` with a text that says so ("no such", "not found", "key", "invalid", "denied" and the like, unless it also says "already", "busy", "in use" or "duplicate") | no |
    /// | `NetStream.Publish.Denied`, `NetStream.Publish.Rejected`, `…Unauthorized`, `…InvalidArg` | no |
    /// | `NetConnection.Connect.InvalidApp` | no |
    /// | `NetConnection.Connect.AppShutdown` | yes: the application is being restarted |
    /// | `NetConnection.Connect.Rejected` saying "busy", "too many", "limit", "try again" or "overload" | yes |
    /// | `NetConnection.Connect.Rejected` otherwise (unknown app, authentication, licence) | no |
    /// | `NetStream.Play.StreamNotFound`, `NetStream.Play.UnpublishNotify` | yes: the publisher may come |
    /// | any `….Failed`, `….Closed`, `….IdleTimeout`, `….InsufficientBW`, `NetConnection.Connect.NetworkChange` | yes |
    /// | every other code | no |
    ///
    /// A refusal that is final here may be temporary for a client that was let in before with the same address and key: a
    /// server that restarts refuses what it has not loaded yet.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Handshake { .. } | Self::Protocol { .. } | Self::Amf { .. } => true,
            Self::Limit { .. } => false,
            Self::Rejected { code, description } => rejection_is_retryable(code, description),
            Self::Login { reason, .. } => *reason == LoginError::Unusable,
        }
    }

    /// Byte offset in the inbound stream, if the error stems from bytes.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Handshake { offset, .. }
            | Self::Protocol { offset, .. }
            | Self::Limit { offset, .. }
            | Self::Amf { offset, .. } => Some(*offset),
            Self::Timeout { .. } | Self::Rejected { .. } | Self::Login { .. } => None,
        }
    }

    /// Names the peer in an error made by a layer that does not know it.
    pub(crate) fn with_peer(mut self, address: Option<SocketAddr>) -> Self {
        match &mut self {
            Self::Handshake { peer, .. }
            | Self::Protocol { peer, .. }
            | Self::Limit { peer, .. }
            | Self::Amf { peer, .. }
            | Self::Timeout { peer, .. } => *peer = peer.or(address),
            Self::Rejected { .. } | Self::Login { .. } => {}
        }
        self
    }

    pub(crate) fn protocol(reason: &'static str, offset: u64) -> Self {
        Self::Protocol { reason, offset, peer: None }
    }

    pub(crate) fn limit(limit: LimitKind, allowed: u64, offset: u64) -> Self {
        Self::Limit { limit, allowed, offset, peer: None }
    }
}

/// Words that mean: the name is taken for now.
const TAKEN: &[&str] = &["already", "busy", "in use", "duplicate"];
/// Words that mean: the name or key is not valid.
const NO_GOOD: &[&str] = &[
    "no such",
    "no application",
    "names no",
    "not found",
    "exist",
    "unknown",
    "key",
    "invalid",
    "not valid",
    "wrong",
    "incorrect",
    "malformed",
    "expired",
    "auth",
    "denied",
    "reject",
    "refuse",
    "forbid",
    "allowed",
    "permi",
];

/// Words that mean: there is no room for now.
const FULL: &[&str] = &["busy", "too many", "limit", "try again", "overload"];

/// Whether the bytes from `start` to `end` of `text` are within a word that decides what a refusal means.
pub(crate) fn is_within_meaning(text: &str, start: usize, end: usize) -> bool {
    let lower = text.to_ascii_lowercase();
    let words = TAKEN.iter().chain(NO_GOOD).chain(FULL);
    words
        .flat_map(|word| lower.match_indices(word))
        .any(|(at, word)| at <= start && end <= at.saturating_add(word.len()))
}

/// The table in the documentation of [`Error::is_retryable`].
pub(crate) fn rejection_is_retryable(code: &str, description: &str) -> bool {
    let says = |words: &[&str]| {
        let text = description.to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    match code {
        "NetStream.Publish.BadName" => says(TAKEN) || !says(NO_GOOD),
        "NetConnection.Connect.Rejected" => says(FULL),
        "NetStream.Play.StreamNotFound" | "NetStream.Play.UnpublishNotify" => true,
        "NetConnection.Connect.NetworkChange" | "NetConnection.Connect.AppShutdown" => true,
        _ => {
            matches!(code.rsplit('.').next(), Some("Failed" | "Closed" | "IdleTimeout" | "InsufficientBW"))
        }
    }
}

/// Prints ` from <address>` or nothing.
struct Peer<'a>(&'a Option<SocketAddr>);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(peer) => write!(f, " from {peer}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the server wants a user and a password, and the address has none",
            Self::Refused => "the server does not take this user and password",
            Self::Unsupported => "the server asks for it in a way that is not supported",
            Self::Unusable => "the server's question cannot be answered",
        })
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "complete handshake",
            Self::Command => "publish or play",
            Self::ConnectReply => "answer to connect",
            Self::CreateStreamReply => "answer to createStream",
            Self::PublishReply => "answer to publish",
            Self::PlayReply => "answer to play",
            Self::Ping => "sign of life",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(code: &str, description: &str) -> Error {
        Error::Rejected { code: code.to_owned(), description: description.to_owned() }
    }

    #[test]
    fn retry_is_decided_by_code_and_text() {
        assert!(!rejected("NetStream.Publish.BadName", "stream key is wrong").is_retryable());
        assert!(rejected("NetStream.Publish.BadName", "Already publishing").is_retryable());
        assert!(rejected("NetStream.Publish.BadName", "Stream key is already in use").is_retryable());
        for bare in ["", "live", "NetStream.Publish.BadName", "Stream is being closed"] {
            assert!(rejected("NetStream.Publish.BadName", bare).is_retryable(), "{bare:?}");
        }
        for text in [
            "Stream name or key is not valid.",
            "No such stream.",
            "Permission denied",
            "does not exist",
            "This server has no application \"****\".",
            "The URL names no stream; it stands behind the application, as in rtmp://host/app/name.",
        ] {
            assert!(!rejected("NetStream.Publish.BadName", text).is_retryable(), "{text:?}");
        }
        assert!(rejected("NetConnection.Connect.AppShutdown", "").is_retryable());
        assert!(!rejected("NetStream.Publish.Denied", "").is_retryable());
        assert!(
            !rejected("NetConnection.Connect.Rejected", "[ AccessManager.Reject ] : code=403").is_retryable()
        );
        assert!(rejected("NetConnection.Connect.Rejected", "Server busy").is_retryable());
        assert!(rejected("NetStream.Play.StreamNotFound", "").is_retryable());
        assert!(rejected("NetConnection.Connect.Failed", "").is_retryable());
        assert!(!rejected("NetConnection.Connect.InvalidApp", "").is_retryable());
        assert!(!rejected("Vendor.Unknown", "").is_retryable());
    }

    #[test]
    fn text_names_limit_offset_and_peer() {
        let peer = Some(SocketAddr::from(([192, 0, 2, 7], 4000)));
        let error = Error::limit(LimitKind::ChunkStreams, 64, 3999).with_peer(peer);
        assert_eq!(error.to_string(), "RTMP limit: chunk streams above 64 at byte 3999 from 192.0.2.7:4000");
        assert_eq!(error.offset(), Some(3999));
        assert_eq!(error.code(), "RTMP_LIMIT_EXCEEDED");
    }
}
