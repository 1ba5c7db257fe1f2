//! The stream keys a server accepts.
//!
//! In: keys of the program, and what publishers and players send. Out: whether they are let in. Secrets are kept as
//! salted hashes and found by them, on the calling thread.

mod active;
mod listed;
mod rules;
#[cfg(feature = "serde")]
mod saved;
mod secret;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::NAME_PREFIXES;
use parking_lot::Mutex;

pub use self::active::ActiveStream;
pub use self::listed::{KeyEntry, PlayAccess};
pub use self::rules::{KeyRules, Play};
#[cfg(feature = "serde")]
pub use self::saved::SavedKeys;
use self::secret::{Digest, Salt, random_key};
pub use self::store::{Asker, Denial, Grant, KeyStore};
use crate::error::Error;
use crate::stream::{Hub, check_name, refused, shown};

/// The shortest and the longest secret, in bytes.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 4..=256;
/// Expired keys are looked for when there are this many keys, and again whenever the number has doubled.
const SWEEP_FROM: usize = 64;
/// Where the system's clock ends, an old key is accepted for this long.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Stream keys and the names they publish under. A publisher sends the key, which is secret; a player sends the name.
///
/// Keys are kept as salted hashes: only [`issue`](Self::issue) returns a key. Clones share the same keys.
#[derive(Debug, Clone)]
pub struct KeyRegistry {
    keys: Arc<Mutex<Keys>>,
    hub: Hub,
}

#[derive(Debug)]
struct Keys {
    salt: Salt,
    entries: HashMap<String, Entry>,
    /// Of all keys, old ones as well.
    names: HashMap<Digest, String>,
    sweep_at: usize,
}

/// What is known of a name.
#[derive(Debug)]
struct Entry {
    key: Digest,
    /// Keys that were replaced and are still accepted, or were until a moment ago.
    old: Vec<Old>,
    play: PlayRule,
    /// `play` in it is not used.
    rules: KeyRules,
}

/// A key that was replaced.
#[derive(Debug)]
struct Old {
    key: Digest,
    until: SystemTime,
}

impl Entry {
    /// Of all its keys.
    fn digests(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.key).chain(self.old.iter().map(|old| &old.key))
    }
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
        let keys = Keys { salt: Salt::new(), entries: HashMap::new(), names: HashMap::new(), sweep_at: 0 };
        Self { keys: Arc::new(Mutex::new(keys)), hub }
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
        let taken = |reason| Err(Error::KeyInUse { name: name.to_owned(), reason });
        check_name(name)?;
        check_key(name, &key)?;
        let mut keys = self.keys.lock();
        let play = keys.play_rule(name, &rules.play)?;
        let rules = KeyRules { play: Play::Public, ..rules };
        let digest = keys.salt.digest(&key);
        keys.sweep(&self.hub);
        if keys.entries.get(name).is_some_and(|entry| !entry.rules.is_over(SystemTime::now())) {
            return taken("has a key already");
        }
        if keys.is_of_another(&digest, name) {
            return taken("the key is another name's already");
        }
        keys.forget(name, &self.hub);
        keys.names.insert(digest, name.to_owned());
        keys.entries.insert(name.to_owned(), Entry { key: digest, old: Vec::new(), play, rules });
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

    /// Gives `name` another key, with the rules it has. A publisher that is on the air stays there, whichever key it came with. The
    /// key before is accepted for `old_valid_for` from now (zero: no longer), so that publishers can be set to the new one
    /// without being turned away meanwhile; so are those before it, as long as was said when they were replaced. An end that the
    /// [rules](KeyRules::expires) set holds for all of them.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// use std::time::Duration;
    /// use flowcast::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let old = engine.keys().issue("studio")?;
    /// engine.keys().replace("studio", "a-new-key", Duration::from_secs(3600))?;
    /// assert_eq!(engine.keys().name_of(&"a-new-key".into()).as_deref(), Some("studio"));
    /// assert_eq!(engine.keys().name_of(&old).as_deref(), Some("studio"));
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if the name has no key, or an expired one; [`Error::KeyInUse`] if another name has the new one;
    /// [`Error::Key`] if it is malformed. Nothing is changed then.
    pub fn replace(
        &self,
        name: &str,
        new: impl Into<StreamKey>,
        old_valid_for: Duration,
    ) -> Result<(), Error> {
        let new = new.into();
        check_key(name, &new)?;
        let now = SystemTime::now();
        let mut keys = self.keys.lock();
        let digest = keys.salt.digest(&new);
        if keys.is_of_another(&digest, name) {
            let reason = "the key is another name's already";
            return Err(Error::KeyInUse { name: name.to_owned(), reason });
        }
        let Keys { entries, names, .. } = &mut *keys;
        let entry = entries.get_mut(name).filter(|entry| !entry.rules.is_over(now));
        let entry = entry.ok_or_else(|| Error::NoKey { name: shown(name) })?;
        if entry.key == digest {
            return Ok(());
        }
        let before = std::mem::replace(&mut entry.key, digest);
        // A time that the clock cannot hold is for ever: until the rules end it.
        let until = now.checked_add(old_valid_for);
        entry.old.push(Old { key: before, until: until.unwrap_or(now + FOREVER) });
        entry.old.retain(|old| {
            let stays = old.until > now && old.key != digest;
            // One that was over may be another name's by now.
            if !stays && names.get(&old.key).is_some_and(|holder| holder == name) {
                names.remove(&old.key);
            }
            stays
        });
        names.insert(digest, name.to_owned());
        Ok(())
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
        let mut keys = self.keys.lock();
        let play = keys.play_rule(name, play)?;
        match keys.entries.get_mut(name) {
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
        let keys = self.keys.lock();
        let (name, entry) = keys.find(&keys.salt.digest(key), SystemTime::now()).ok()?;
        (!entry.rules.is_over(SystemTime::now())).then(|| name.to_owned())
    }

    /// The streams published now.
    #[must_use]
    pub fn active(&self) -> Vec<ActiveStream> {
        active::list(&self.hub)
    }
}

impl KeyStore for KeyRegistry {
    fn publisher(&self, key: &StreamKey, asker: &Asker<'_>) -> Result<Grant, Denial> {
        let now = SystemTime::now();
        let keys = self.keys.lock();
        let (name, entry) = keys.find(&keys.salt.digest(key), now)?;
        if entry.rules.is_over(now) {
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
        let keys = self.keys.lock();
        let play = keys.entries.get(name).map_or(PlayRule::Public, |entry| entry.play);
        match (play, token) {
            (PlayRule::Public, _) => Ok(()),
            (PlayRule::Nobody, _) => Err(Denial::NotPlayable),
            (PlayRule::Token(_), None) => Err(Denial::NoToken),
            (PlayRule::Token(right), Some(token)) if right == keys.salt.digest(token) => Ok(()),
            (PlayRule::Token(_), Some(_)) => Err(Denial::WrongToken),
        }
    }
}

impl Keys {
    /// Finds by the hash, then compares all of it: the map's own comparison may not take constant time.
    fn find(&self, digest: &Digest, now: SystemTime) -> Result<(&str, &Entry), Denial> {
        let name = self.names.get(digest).ok_or(Denial::UnknownKey)?;
        let entry = self.entries.get(name).ok_or(Denial::UnknownKey)?;
        let old = entry.old.iter().find(|old| old.key == *digest);
        match old {
            Some(old) if old.until <= now => Err(Denial::Expired),
            None if entry.key != *digest => Err(Denial::UnknownKey),
            _ => Ok((name, entry)),
        }
    }

    /// Whether a name other than `name` has this key; one that was replaced and is over is free.
    fn is_of_another(&self, digest: &Digest, name: &str) -> bool {
        let Some(holder) = self.names.get(digest).filter(|holder| *holder != name) else { return false };
        let is_over =
            |entry: &Entry| entry.old.iter().any(|old| old.key == *digest && old.until <= SystemTime::now());
        !self.entries.get(holder).is_some_and(is_over)
    }

    fn play_rule(&self, name: &str, play: &Play) -> Result<PlayRule, Error> {
        Ok(match play {
            Play::Public => PlayRule::Public,
            Play::Nobody => PlayRule::Nobody,
            Play::Token(token) => {
                check_token(name, token)?;
                PlayRule::Token(self.salt.digest(token))
            }
        })
    }

    /// Forgets a name and takes it off the air, under one lock: the stream cannot be found while its rules are gone.
    fn forget(&mut self, name: &str, hub: &Hub) -> bool {
        let Some(entry) = self.entries.remove(name) else { return false };
        for digest in entry.digests() {
            // One that was over may be another name's by now.
            if self.names.get(digest).is_some_and(|holder| holder == name) {
                self.names.remove(digest);
            }
        }
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

/// Refuses what cannot be a key.
fn check_key(name: &str, key: &StreamKey) -> Result<(), Error> {
    if !is_secret(key, |byte| byte.is_ascii_graphic() && !b"/?".contains(&byte)) {
        let reason = "a key is 4 to 256 printable characters without '/', '?' and space";
        return Err(refused(name, reason));
    }
    if NAME_PREFIXES.iter().any(|prefix| is_prefix(prefix, key.reveal())) || key.reveal() == "_definst_" {
        let reason = "servers ignore 'mp4:', 'flv:', 'f4v:' and 'mp3:' before a key, and '_definst_'";
        return Err(refused(name, reason));
    }
    Ok(())
}

/// Refuses what cannot be a play token.
fn check_token(name: &str, token: &StreamKey) -> Result<(), Error> {
    if !is_secret(token, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)) {
        return Err(refused(name, "a play token is 4 to 256 letters, digits, '-', '_', '.' or '~'"));
    }
    Ok(())
}

fn is_prefix(prefix: &str, text: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}

fn is_secret(key: &StreamKey, allowed: impl Fn(u8) -> bool) -> bool {
    SECRET_LENGTH.contains(&key.reveal().len()) && key.reveal().bytes().all(allowed)
}

#[cfg(test)]
mod tests;
