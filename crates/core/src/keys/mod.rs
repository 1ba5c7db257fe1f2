//! The stream keys a server accepts.
//!
//! In: keys of the program, and what publishers and players send. Out: whether they are let in. Secrets are kept as
//! salted hashes and found by them, on the calling thread.

mod active;
mod rules;
mod secret;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::NAME_PREFIXES;
use parking_lot::Mutex;

pub use self::active::ActiveStream;
pub use self::rules::{KeyRules, Play};
use self::secret::{Digest, Salt, random_key};
pub use self::store::{Asker, Denial, Grant, KeyStore};
use crate::error::Error;
use crate::stream::{Hub, check_name, refused, shown};

/// The shortest and the longest secret, in bytes.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 4..=256;
/// Expired keys are looked for when there are this many keys, and again whenever the number has doubled.
const SWEEP_FROM: usize = 64;

/// Stream keys and the names they publish under. A publisher sends the key, which is secret; a player sends the name.
///
/// Keys are kept as salted hashes: only [`issue`](Self::issue) returns a key. Clones share the same keys.
#[derive(Debug, Clone)]
pub struct KeyRegistry {
    keys: Arc<Mutex<Keys>>,
    salt: Salt,
    hub: Hub,
}

#[derive(Debug, Default)]
struct Keys {
    entries: HashMap<String, Entry>,
    names: HashMap<Digest, String>,
    sweep_at: usize,
}

/// What is known of a name.
#[derive(Debug)]
struct Entry {
    key: Digest,
    play: PlayRule,
    /// `play` in it is not used.
    rules: KeyRules,
}

/// [`Play`] without the secret.
#[derive(Debug, Clone, Copy)]
enum PlayRule {
    Public,
    Token(Digest),
    Nobody,
}

impl KeyRegistry {
    pub(crate) fn new(hub: Hub) -> Self {
        Self { keys: Arc::default(), salt: Salt::new(), hub }
    }

    /// Registers `key` for `name`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyInUse`] if the name has a key already or another name has this key. [`Error::Key`] if one of them is
    /// malformed: names are 1 to 128 bytes of letters, digits, `-`, `_` and `.`, not only dots, and not `_definst_`; keys 4 to
    /// 256 printable ASCII bytes without `/`, `?` and space, without a prefix that servers ignore (`mp4:`, `flv:`).
    pub fn add(&self, name: &str, key: impl Into<StreamKey>) -> Result<(), Error> {
        self.add_with(name, key, KeyRules::default())
    }

    /// Registers `key` for `name` with `rules`.
    ///
    /// # Errors
    ///
    /// As for [`KeyRegistry::add`]; and an unusable play token, see [`Play::Token`].
    pub fn add_with(&self, name: &str, key: impl Into<StreamKey>, rules: KeyRules) -> Result<(), Error> {
        let key = key.into();
        let fail = |reason| Err(refused(name, reason));
        let taken = |reason| Err(Error::KeyInUse { name: name.to_owned(), reason });
        check_name(name)?;
        if !is_secret(&key, |byte| byte.is_ascii_graphic() && !b"/?".contains(&byte)) {
            return fail("a key is 4 to 256 printable characters without '/', '?' and space");
        }
        if NAME_PREFIXES.iter().any(|prefix| is_prefix(prefix, key.reveal())) || key.reveal() == "_definst_" {
            return fail("servers ignore 'mp4:', 'flv:', 'f4v:' and 'mp3:' before a key, and '_definst_'");
        }
        let play = self.play_rule(name, &rules.play)?;
        let rules = KeyRules { play: Play::Public, ..rules };
        let digest = self.salt.digest(&key);
        let mut keys = self.keys.lock();
        keys.sweep(&self.hub);
        if keys.entries.get(name).is_some_and(|entry| !entry.rules.is_over(SystemTime::now())) {
            return taken("has a key already");
        }
        if keys.names.get(&digest).is_some_and(|holder| holder != name) {
            return taken("the key is another name's already");
        }
        keys.forget(name, &self.hub);
        keys.names.insert(digest, name.to_owned());
        keys.entries.insert(name.to_owned(), Entry { key: digest, play, rules });
        Ok(())
    }

    /// Registers a new random key of 128 bits for `name` and returns it.
    ///
    /// # Errors
    ///
    /// As for [`KeyRegistry::add`].
    pub fn issue(&self, name: &str) -> Result<StreamKey, Error> {
        self.issue_with(name, KeyRules::default())
    }

    /// Registers a new random key of 128 bits for `name` with `rules` and returns it.
    ///
    /// # Errors
    ///
    /// As for [`KeyRegistry::add_with`].
    pub fn issue_with(&self, name: &str, rules: KeyRules) -> Result<StreamKey, Error> {
        let key = random_key()?;
        self.add_with(name, key.clone(), rules)?;
        Ok(key)
    }

    /// A new random secret of 128 bits that is not registered: for a [`Play::Token`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system gives no random numbers.
    pub fn random() -> Result<StreamKey, Error> {
        random_key()
    }

    /// Changes who may play `name`; current players go on.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if the name has no key, [`Error::Key`] if the token is malformed.
    pub fn set_play(&self, name: &str, play: &Play) -> Result<(), Error> {
        let play = self.play_rule(name, play)?;
        match self.keys.lock().entries.get_mut(name) {
            Some(entry) => entry.play = play,
            None => return Err(Error::NoKey { name: shown(name) }),
        }
        Ok(())
    }

    /// Forgets the key of `name` and takes its publisher off the air; `false` if there was none.
    #[must_use = "says whether there was such a key"]
    pub fn remove(&self, name: &str) -> bool {
        self.keys.lock().forget(name, &self.hub)
    }

    /// Takes the publisher of `name` off the air, without waiting; its key stays, so it may come back. `false` if
    /// there is no publisher.
    pub fn take_off(&self, name: &str) -> bool {
        self.hub.take_off(name)
    }

    /// The name `key` publishes under now, whatever the address.
    #[must_use]
    pub fn name_of(&self, key: &StreamKey) -> Option<String> {
        let digest = self.salt.digest(key);
        let keys = self.keys.lock();
        let (name, entry) = keys.find(&digest)?;
        (!entry.rules.is_over(SystemTime::now())).then(|| name.to_owned())
    }

    /// The streams published now.
    #[must_use]
    pub fn active(&self) -> Vec<ActiveStream> {
        active::list(&self.hub)
    }

    fn play_rule(&self, name: &str, play: &Play) -> Result<PlayRule, Error> {
        Ok(match play {
            Play::Public => PlayRule::Public,
            Play::Nobody => PlayRule::Nobody,
            Play::Token(token) => {
                if !is_secret(token, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)) {
                    return Err(refused(
                        name,
                        "a play token is 4 to 256 letters, digits, '-', '_', '.' or '~'",
                    ));
                }
                PlayRule::Token(self.salt.digest(token))
            }
        })
    }
}

impl KeyStore for KeyRegistry {
    fn publisher(&self, key: &StreamKey, asker: &Asker<'_>) -> Result<Grant, Denial> {
        let digest = self.salt.digest(key);
        let keys = self.keys.lock();
        let (name, entry) = keys.find(&digest).ok_or(Denial::UnknownKey)?;
        if entry.rules.is_over(SystemTime::now()) {
            return Err(Denial::Expired);
        }
        if !entry.rules.allows(asker.peer.ip()) {
            return Err(Denial::Address);
        }
        let (owner, until) = (entry.rules.owner.clone(), entry.rules.expires);
        Ok(Grant { name: name.to_owned(), owner, until })
    }

    /// Names without a key are public: what the program itself puts on the air.
    fn player(&self, name: &str, token: Option<&StreamKey>, _asker: &Asker<'_>) -> Result<(), Denial> {
        let play = self.keys.lock().entries.get(name).map_or(PlayRule::Public, |entry| entry.play);
        match (play, token) {
            (PlayRule::Public, _) => Ok(()),
            (PlayRule::Nobody, _) => Err(Denial::NotPlayable),
            (PlayRule::Token(_), None) => Err(Denial::NoToken),
            (PlayRule::Token(right), Some(token)) if right == self.salt.digest(token) => Ok(()),
            (PlayRule::Token(_), Some(_)) => Err(Denial::WrongToken),
        }
    }
}

impl Keys {
    /// Finds by the hash, then compares all of it: the map's own comparison may not take constant time.
    fn find(&self, digest: &Digest) -> Option<(&str, &Entry)> {
        let name = self.names.get(digest)?;
        let entry = self.entries.get(name).filter(|entry| entry.key == *digest)?;
        Some((name, entry))
    }

    /// Forgets a name and takes it off the air, under one lock: the stream cannot be found while its rules are gone.
    fn forget(&mut self, name: &str, hub: &Hub) -> bool {
        let Some(entry) = self.entries.remove(name) else { return false };
        self.names.remove(&entry.key);
        hub.take_off(name);
        true
    }

    /// Forgets expired keys, now and then.
    fn sweep(&mut self, hub: &Hub) {
        if self.entries.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        let now = SystemTime::now();
        let over = self.entries.iter().filter(|(_, entry)| entry.rules.is_over(now));
        for name in over.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.forget(&name, hub);
        }
        self.sweep_at = self.entries.len() * 2;
    }
}

fn is_prefix(prefix: &str, text: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}

fn is_secret(key: &StreamKey, allowed: impl Fn(u8) -> bool) -> bool {
    SECRET_LENGTH.contains(&key.reveal().len()) && key.reveal().bytes().all(allowed)
}

#[cfg(test)]
mod tests;
