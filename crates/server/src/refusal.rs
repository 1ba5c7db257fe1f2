//! Why a client was refused.

use std::fmt;

use flowcast_core::Denial;
use flowcast_rtmp::session::Reject;

/// Why a connection, a publish or a play was refused. [`ServerStats::refused`](crate::ServerStats::refused) counts each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The server has [`max_connections`](crate::ServerOptions::max_connections) connections; or this one made room
    /// for another.
    Connections,
    /// Too many connections of the address have not yet published or played.
    Crowd,
    /// The address failed too often, see [`FailurePolicy`](crate::FailurePolicy).
    Banned,
    /// The process has no descriptor, thread or socket left.
    Resources,
    /// The memory for messages under assembly is used up.
    Memory,
    /// An application other than the server's.
    App,
    /// No such stream key.
    Key,
    /// The stream key has expired.
    Expired,
    /// The stream key may not be used from this address.
    Address,
    /// Another publisher has the name.
    NameInUse,
    /// The owner of the key has as many streams as allowed.
    OwnerLimit,
    /// The name needs a play token, and none was sent.
    NoToken,
    /// A wrong play token.
    Token,
    /// Nobody may play the name.
    NotPlayable,
    /// Nothing is on the air under the name.
    NoStream,
    /// The name is relayed, and no origin could be reached, or gave the stream in time.
    NoOrigin,
    /// The server pulls as many streams as it may, or as this address may have it begin: see [`Relay`](crate::Relay). Or the engine has no room
    /// for another stream.
    RelayLimit,
    /// A relay plays from this server what this server plays from it.
    Loop,
    /// A hook refused, or dropped its [`Admission`](crate::Admission).
    Denied,
    /// A hook or the program's own key store did not answer in time.
    NoAnswer,
    /// The hooks and the program's own key store are overloaded.
    Overload,
    /// The URL names no stream.
    NoName,
    /// The program let it in under a name that is none: its key store or its hook granted it, see
    /// [`Grant::has_usable_name`](flowcast_core::Grant::has_usable_name).
    BadName,
    /// The program's own key store cannot say now whether it may: see [`Denial::Unavailable`](flowcast_core::Denial::Unavailable).
    Unavailable,
}

impl RefusalReason {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Connections,
        Self::Crowd,
        Self::Banned,
        Self::Resources,
        Self::Memory,
        Self::App,
        Self::Key,
        Self::Expired,
        Self::Address,
        Self::NameInUse,
        Self::OwnerLimit,
        Self::NoToken,
        Self::Token,
        Self::NotPlayable,
        Self::NoStream,
        Self::NoOrigin,
        Self::RelayLimit,
        Self::Loop,
        Self::Denied,
        Self::NoAnswer,
        Self::Overload,
        Self::NoName,
        Self::BadName,
        Self::Unavailable,
    ];

    /// A stable word for logs and metrics, such as `name_in_use`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Crowd => "crowd",
            Self::Banned => "banned",
            Self::Resources => "resources",
            Self::Memory => "memory",
            Self::App => "app",
            Self::Key => "key",
            Self::Expired => "expired",
            Self::Address => "address",
            Self::NameInUse => "name_in_use",
            Self::OwnerLimit => "owner_limit",
            Self::NoToken => "no_token",
            Self::Token => "token",
            Self::NotPlayable => "not_playable",
            Self::NoStream => "no_stream",
            Self::NoOrigin => "no_origin",
            Self::RelayLimit => "relay_limit",
            Self::Loop => "loop",
            Self::Denied => "denied",
            Self::NoAnswer => "no_answer",
            Self::Overload => "overload",
            Self::NoName => "no_name",
            Self::BadName => "bad_name",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the client may have been guessing. A key that has expired or is used from elsewhere is answered like
    /// one that does not exist, with the same delay: whoever found it learns nothing.
    pub(crate) fn is_guess(self) -> bool {
        matches!(self, Self::Key | Self::Expired | Self::Address | Self::Token)
    }

    /// The text a client gets that wants to publish or play; `app` is the application it named.
    pub(crate) fn reject(self, publish: bool, app: &str) -> Reject {
        let code = |publishing: &str, playing: &str| (if publish { publishing } else { playing }).to_owned();
        let (name, failed) = (
            code("NetStream.Publish.BadName", "NetStream.Play.StreamNotFound"),
            code("NetStream.Publish.Failed", "NetStream.Play.Failed"),
        );
        let custom = |code, description: &str| Reject::Custom { code, description: description.to_owned() };
        match self {
            Self::App if app.is_empty() => custom(name, "The URL names no application."),
            Self::App => custom(name, &format!("This server has no application {app:?}.")),
            Self::NoName => custom(
                name,
                "The URL names no stream; it stands behind the application, as in rtmp://host/app/name.",
            ),
            Self::Loop => custom(name, "The stream would be relayed in a circle."),
            Self::Overload | Self::RelayLimit | Self::Unavailable => {
                custom(failed, "The server is busy, try again.")
            }
            Self::Key | Self::Expired | Self::Address => Reject::BadName,
            Self::NoStream | Self::NoOrigin => Reject::NotFound,
            Self::NameInUse => Reject::Busy,
            _ => Reject::Denied,
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Denial> for RefusalReason {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::UnknownKey => Self::Key,
            Denial::Expired => Self::Expired,
            Denial::Address => Self::Address,
            Denial::NoToken => Self::NoToken,
            Denial::WrongToken => Self::Token,
            Denial::NotPlayable => Self::NotPlayable,
            Denial::InUse => Self::NameInUse,
            Denial::OwnerLimit => Self::OwnerLimit,
            Denial::Unavailable => Self::Unavailable,
            _ => Self::Denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_place_and_its_word() {
        for (index, reason) in RefusalReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason}");
            assert!(!RefusalReason::ALL[..index].iter().any(|other| other.as_str() == reason.as_str()));
        }
    }
}
