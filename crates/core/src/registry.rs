//! The stream keys a server accepts, in memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::key::StreamKey;
use parking_lot::Mutex;

use crate::error::Error;
use crate::hub::Hub;
use crate::net::random;

/// Longest name, in bytes.
const MAX_NAME: usize = 128;
/// Shortest and longest key that can be registered, in bytes.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 4..=256;

/// Stream keys and the names they publish under. Publishers say the key, which is secret; players say the name.
///
/// Clones share the same keys.
#[derive(Debug, Clone)]
pub struct KeyRegistry {
    keys: Arc<Mutex<HashMap<String, StreamKey>>>,
    hub: Hub,
}

/// A stream that is published now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ActiveStream {
    /// The name players use.
    pub name: String,
    /// Where the publisher is.
    pub peer: Option<SocketAddr>,
    /// For how long it has been published.
    pub since: Duration,
}

impl KeyRegistry {
    pub(crate) fn new(hub: Hub) -> Self {
        Self { keys: Arc::default(), hub }
    }

    /// Registers `key` for `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if the name has a key already, another name has this key, or one of them is unusable: names are 1 to
    /// 128 bytes of letters, digits, `-`, `_` and `.`; keys 4 to 256 printable ASCII bytes without `/`, `?` and space.
    pub fn add(&self, name: &str, key: impl Into<StreamKey>) -> Result<(), Error> {
        let key = key.into();
        let fail = |reason| Err(Error::Key { name: name.chars().take(MAX_NAME).collect(), reason });
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
            return fail("a name is 1 to 128 letters, digits, '-', '_' or '.'");
        }
        let secret = key.reveal();
        let is_secret = |byte: u8| byte.is_ascii_graphic() && !b"/?".contains(&byte);
        if !KEY_LENGTH.contains(&secret.len()) || !secret.bytes().all(is_secret) {
            return fail("a key is 4 to 256 printable characters without '/', '?' and space");
        }
        let mut keys = self.keys.lock();
        if keys.contains_key(name) {
            return fail("has a key already");
        }
        if keys.values().any(|known| *known == key) {
            return fail("the key is another name's already");
        }
        keys.insert(name.to_owned(), key);
        Ok(())
    }

    /// Registers a new random key of 128 bits for `name` and returns it.
    ///
    /// # Errors
    ///
    /// As [`KeyRegistry::add`].
    pub fn issue(&self, name: &str) -> Result<StreamKey, Error> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(32);
        let Some(bytes) = random::secret::<16>() else {
            return Err(Error::Key { name: name.to_owned(), reason: "the system gives no random numbers" });
        };
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        let key = StreamKey::new(text);
        self.add(name, key.clone())?;
        Ok(key)
    }

    /// Forgets the key of `name` and takes its publisher off the air; `false` if there was none.
    #[must_use = "says whether there was such a key"]
    pub fn remove(&self, name: &str) -> bool {
        let removed = self.keys.lock().remove(name).is_some();
        if removed {
            self.hub.take_off(name);
        }
        removed
    }

    /// The name `key` publishes under. Every key is compared, each in constant time, so that the time taken says nothing
    /// about how much of a key was right.
    #[must_use]
    pub fn name_of(&self, key: &StreamKey) -> Option<String> {
        let keys = self.keys.lock();
        keys.iter().fold(None, |found, (name, known)| if *known == *key { Some(name.clone()) } else { found })
    }

    /// The streams published now.
    #[must_use]
    pub fn active(&self) -> Vec<ActiveStream> {
        let now = Instant::now();
        self.hub.published(|name, peer, since| ActiveStream {
            name: name.to_owned(),
            peer,
            since: now.saturating_duration_since(since),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_find_their_name_and_removed_ones_do_not() {
        let keys = KeyRegistry::new(Hub::default());
        keys.add("studio", "s3cret").expect("both are usable");
        let issued = keys.issue("door").expect("the name is free");
        assert_eq!(issued.reveal().len(), 32);
        assert_eq!(keys.name_of(&"s3cret".into()).as_deref(), Some("studio"));
        assert_eq!(keys.name_of(&issued).as_deref(), Some("door"));
        assert_eq!(keys.name_of(&"studio".into()), None, "a name is no key");
        assert!(keys.remove("door") && !keys.remove("door"));
        assert_eq!(keys.name_of(&issued), None);
    }

    #[test]
    fn doubles_and_unusable_names_are_refused_without_showing_the_key() {
        let keys = KeyRegistry::new(Hub::default());
        keys.add("a", "topsecret").expect("both are usable");
        for (name, key) in
            [("a", "other-key"), ("b", "topsecret"), ("", "good-key"), ("../x", "good-key"), ("c", "a/b/c")]
        {
            let error = keys.add(name, key).expect_err("refused");
            assert!(!error.to_string().contains(key), "{error}");
        }
    }
}
