//! The interface that answers whether a key is right.

use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use flowcast_rtmp::key::StreamKey;

/// Knows which keys publish what, and who may play it. A server asks its engine's [`KeyRegistry`](crate::KeyRegistry)
/// unless the program gives it another store.
///
/// It is called on a thread for which only the asking clients wait, and may take until the server's deadline for
/// hooks. It may be asked twice about one publisher.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// What a publisher with `key` is granted. Compare keys in constant time ([`StreamKey`] does).
    ///
    /// # Errors
    ///
    /// Why it is refused. The publisher gets the same answer for every reason.
    fn publisher(&self, key: &StreamKey, asker: &Asker<'_>) -> Result<Grant, Denial>;

    /// Whether `asker` may play `name`; `token` is the value of `?token=` in its URL. Whether the name is on the air
    /// is checked afterwards, elsewhere.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    fn player(&self, name: &str, token: Option<&StreamKey>, asker: &Asker<'_>) -> Result<(), Denial>;
}

/// A client that wants to publish or play.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Asker<'a> {
    /// Its address.
    pub peer: SocketAddr,
    /// The application it connected to.
    pub app: &'a str,
}

impl<'a> Asker<'a> {
    /// A client at `peer` that connected to `app`.
    #[must_use]
    pub fn new(peer: SocketAddr, app: &'a str) -> Self {
        Self { peer, app }
    }
}

/// What a publisher is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The name it publishes under, which players use.
    pub name: String,
    /// The owner of the stream, for the limit per owner.
    pub owner: Option<String>,
    /// When its publisher is taken off the air.
    pub until: Option<SystemTime>,
}

impl Grant {
    /// Publishing under `name`, without an owner and without an end.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), owner: None, until: None }
    }

    /// The stream belongs to `owner`.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Its publisher is taken off the air at `at`.
    #[must_use]
    pub fn until(mut self, at: SystemTime) -> Self {
        self.until = Some(at);
        self
    }

    /// Whether the name is valid: 1 to 128 bytes of letters, digits, `-`, `_` and `.`, not only dots.
    #[must_use]
    pub fn has_usable_name(&self) -> bool {
        crate::stream::is_name(&self.name)
    }
}

impl From<&str> for Grant {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Grant {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// Why a [`KeyStore`] refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Denial {
    /// No such key.
    UnknownKey,
    /// The key has expired.
    Expired,
    /// The key may not be used from this address.
    Address,
    /// The name needs a play token, and none was sent.
    NoToken,
    /// A wrong play token was sent.
    WrongToken,
    /// Nobody may play the name.
    NotPlayable,
    /// Somebody publishes under the name already, on another machine.
    InUse,
    /// The owner has as many streams as allowed, on all machines together.
    OwnerLimit,
    /// The store cannot say now: what it asks is away. The client may come back; it is no guess at a key.
    Unavailable,
}
