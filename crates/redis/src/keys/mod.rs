//! Stream keys that all nodes share.
//!
//! In: keys of programs, on any node; questions of servers. Out: whether publishers and players are let in, from memory. The link's thread looks what has
//! changed.

mod known;
mod options;
mod record;
mod shelf;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use flowcast_core::{Asker, Denial, Grant, KeyEntry, KeyRegistry, KeyRules, KeyStore, Play};
use flowcast_rtmp::key::StreamKey;

pub use self::options::{IfAway, RedisKeysOptions};
use self::record::{Entry, PlayRule};
use self::shelf::Shelf;
use crate::book::{Salt, random_key};
use crate::error::Error;
use crate::life::no_random;
use crate::link::{Redis, Task, Worker};

/// How long a look, without the pages of a first one, may take.
const LOOK: Duration = Duration::from_secs(60);
/// Where the system's clock ends, an old key is accepted for this long.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Stream keys in Redis, for the RTMP servers of all nodes: a key that is issued on one node is accepted on all, one that is revoked is accepted on none, and who
/// publishes with it is taken off the air wherever that is.
///
/// Servers are answered from memory: what is asked never waits for Redis. Keys are kept as salted hashes, in memory and in Redis: only
/// [`issue`](Self::issue) returns a key. The rules are those of [`KeyRegistry`]. Names without a key are public. Clones share everything.
///
/// Give it to a server with `key_store`:
///
/// ```no_run
/// use flowcast_core::{Config, Engine};
/// use flowcast_redis::{Redis, RedisKeys, RedisKeysOptions, RedisOptions};
/// use flowcast_server::RtmpServerExt;
///
/// let engine = Engine::new(Config::default())?;
/// let redis = Redis::new("redis://redis.example.com", RedisOptions::default())?;
/// let keys = RedisKeys::new(&redis, engine.keys(), RedisKeysOptions::default())?;
/// let server = engine.rtmp_server("0.0.0.0:1935").key_store(keys.clone()).start()?;
/// println!("{}", keys.issue("studio")?.reveal());
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # While Redis is away
///
/// Publishers and players on the air stay there. For new ones [`RedisKeysOptions::if_away`] holds. Calls that change something fail with the
/// [`Error`] that says why, and change nothing, but for [`Error::NoAnswer`], after which they may have. A server that comes back without its keys is
/// told from one without any: see [`Error::Emptied`].
#[derive(Debug, Clone)]
pub struct RedisKeys {
    redis: Redis,
    shelf: Arc<Shelf>,
    oldest: Duration,
}

/// Looks what has changed.
struct Follow {
    shelf: Weak<Shelf>,
    refresh: Duration,
    /// What the last look ended with, to say it once.
    trouble: Option<&'static str>,
}

impl Task for Follow {
    fn run(&mut self, worker: &mut Worker) -> Option<Instant> {
        let shelf = self.shelf.upgrade()?;
        let until = Instant::now() + LOOK;
        let looked = shelf.look(worker, until).and_then(|()| shelf.sweep(worker, until));
        let trouble = looked.as_ref().err().map(Error::code);
        if let Err(error) = &looked
            && trouble != self.trouble
        {
            log::warn!("stream keys: {error}");
        }
        self.trouble = trouble;
        Some(Instant::now() + self.refresh)
    }
}

impl RedisKeys {
    /// Keys of the cluster of `redis`. Publishers of keys that are revoked are taken off the air in `registry`, that of the engine
    /// ([`Engine::keys`](flowcast_core::Engine::keys)). Returns at once: [`wait_until_known`](Self::wait_until_known) waits for the keys.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting that cannot work; [`Error::Away`] if too much waits for `redis`.
    pub fn new(redis: &Redis, registry: &KeyRegistry, options: RedisKeysOptions) -> Result<Self, Error> {
        options.check()?;
        let shelf = Arc::new(Shelf::new(&redis.prefix(), registry.clone(), options.most));
        let oldest = options.oldest(redis.options().answer);
        redis.every(Follow { shelf: Arc::downgrade(&shelf), refresh: options.refresh, trouble: None })?;
        Ok(Self { redis: redis.clone(), shelf, oldest })
    }

    /// Waits until the keys are known; `false` if they are not in time.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    #[must_use = "says whether they are"]
    pub fn wait_until_known(&self, deadline: Duration) -> bool {
        let until = Instant::now().checked_add(deadline);
        self.shelf.wait_until_known(until.unwrap_or_else(|| Instant::now() + FOREVER))
    }

    /// How old is what is known: the time since Redis was asked what has changed, and answered. `None` before it first did.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.shelf.known().age()
    }

    /// Registers `key` for `name`.
    ///
    /// # Errors
    ///
    /// As [`KeyRegistry::add`] says, in [`Error::Core`]; what is in the way with Redis.
    ///
    /// # Blocking
    ///
    /// Up to [`RedisOptions::call`](crate::RedisOptions::call), as all calls here that return a [`Result`].
    pub fn add(&self, name: &str, key: impl Into<StreamKey>) -> Result<(), Error> {
        self.add_with(name, key, KeyRules::default())
    }

    /// Registers `key` for `name` with `rules`.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add).
    pub fn add_with(&self, name: &str, key: impl Into<StreamKey>, rules: KeyRules) -> Result<(), Error> {
        let key = key.into();
        rules.check(name, &key)?;
        self.change(name, move |name, salt, entry, now| {
            let digest = salt.digest(&key);
            if let Some(entry) = entry.filter(|entry| !entry.is_over(now)) {
                // An answer that was lost, and the call made again.
                let new = Entry::new(digest, &rules, salt);
                return if *entry == new { Ok(None) } else { Err(taken(name, "has a key already")) };
            }
            Ok(Some(Some(Entry::new(digest, &rules, salt))))
        })
        .map(drop)
    }

    /// Registers a new random key of 128 bits for `name` and returns it.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add).
    pub fn issue(&self, name: &str) -> Result<StreamKey, Error> {
        self.issue_with(name, KeyRules::default())
    }

    /// Registers a new random key of 128 bits for `name` with `rules` and returns it.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add).
    pub fn issue_with(&self, name: &str, rules: KeyRules) -> Result<StreamKey, Error> {
        let key = random_key().ok_or_else(no_random)?;
        self.add_with(name, key.clone(), rules)?;
        Ok(key)
    }

    /// Gives `name` another key, with the rules it has; the keys before are accepted for `old_valid_for`, as
    /// [`KeyRegistry::replace`] says.
    ///
    /// # Errors
    ///
    /// As for [`KeyRegistry::replace`], in [`Error::Core`]; what is in the way with Redis.
    pub fn replace(
        &self,
        name: &str,
        new: impl Into<StreamKey>,
        old_valid_for: Duration,
    ) -> Result<(), Error> {
        let new = new.into();
        KeyRules::new().check(name, &new)?;
        self.change(name, move |name, salt, entry, now| {
            let digest = salt.digest(&new);
            let entry = entry.filter(|entry| !entry.is_over(now)).ok_or_else(|| no_key(name))?;
            if entry.key == digest {
                return Ok(None);
            }
            let mut after = entry.clone();
            let until = now.checked_add(old_valid_for).unwrap_or(now + FOREVER);
            after.old.push((std::mem::replace(&mut after.key, digest), until));
            after.old.retain(|(old, until)| *until > now && *old != digest);
            Ok(Some(Some(after)))
        })
        .map(drop)
    }

    /// Changes who may play `name` from now on. Players that are on the air stay there.
    ///
    /// # Errors
    ///
    /// As for [`KeyRegistry::set_play`], in [`Error::Core`]; what is in the way with Redis.
    pub fn set_play(&self, name: &str, play: &Play) -> Result<(), Error> {
        // The key is of no account here.
        KeyRules::new().play(play.clone()).check(name, &"no-key".into())?;
        let play = play.clone();
        self.change(name, move |name, salt, entry, now| {
            let entry = entry.filter(|entry| !entry.is_over(now)).ok_or_else(|| no_key(name))?;
            Ok(Some(Some(Entry { play: PlayRule::of(&play, salt), ..entry.clone() })))
        })
        .map(drop)
    }

    /// Revokes the key of `name`, and takes its publisher off the air: here at once, on other nodes when they look. `false` if there was none. It needs
    /// no memory, so a full server does it.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis.
    pub fn remove(&self, name: &str) -> Result<bool, Error> {
        // What is not understood goes, too.
        self.change(name, |_, _, _, _| Ok(Some(None)))
    }

    /// The name `key` publishes under now, whatever the address, as it is known here.
    #[must_use]
    pub fn name_of(&self, key: &StreamKey) -> Option<String> {
        let known = self.shelf.known();
        let digest = known.salt.as_ref()?.digest(key);
        let (name, entry) = known.find(&digest)?;
        let now = SystemTime::now();
        let is_old = entry.old.iter().any(|(old, until)| *old == digest && *until <= now);
        (!is_old && !entry.is_over(now)).then(|| name.to_owned())
    }

    /// The names that have a key which has not ended, sorted, as they are known here.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let now = SystemTime::now();
        let known = self.shelf.known();
        let valid = known.entries().filter(|(_, entry)| entry.is_some_and(|entry| !entry.is_over(now)));
        let mut names: Vec<_> = valid.map(|(name, _)| name.to_owned()).collect();
        drop(known);
        names.sort_unstable();
        names
    }

    /// The names that have a key which has not ended, with their rules, by name, as they are known here.
    #[must_use]
    pub fn list(&self) -> Vec<KeyEntry> {
        let now = SystemTime::now();
        let known = self.shelf.known();
        let valid = known.entries().filter_map(|(name, entry)| Some((name, entry?)));
        let valid = valid.filter(|(_, entry)| !entry.is_over(now));
        let mut listed: Vec<_> = valid.map(|(name, entry)| entry.listed(name, now)).collect();
        drop(known);
        listed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        listed
    }

    /// Puts the keys that this node knows back into a server that has lost them ([`Error::Emptied`]): it was flushed, or restarted without its data. The
    /// number of names; 0 if it has keys. Keys that were revoked after this node last looked come back with the others.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis; [`Error::Answer`] if another node began anew meanwhile. What was put back then is of no effect.
    pub fn restore(&self) -> Result<usize, Error> {
        let shelf = self.shelf.clone();
        self.redis.call(move |worker, _| shelf.restore(worker))
    }

    /// Forgets the keys that a server has lost ([`Error::Emptied`]), on this node: what Redis has is what there is, if it is nothing. Nobody is let in before
    /// Redis has answered.
    pub fn forget(&self) {
        self.shelf.forget();
    }

    /// Changes an entry, on the link's thread.
    fn change(
        &self,
        name: &str,
        mut wanted: impl FnMut(&str, &Salt, Option<&Entry>, SystemTime) -> Result<Option<Option<Entry>>, Error>
        + Send
        + 'static,
    ) -> Result<bool, Error> {
        let (shelf, name) = (self.shelf.clone(), name.to_owned());
        self.redis.call(move |worker, until| {
            shelf.change(worker, until, &name, &mut |salt, entry, now| wanted(&name, salt, entry, now))
        })
    }

    /// Refuses if what is known is too old.
    fn check_age(&self, age: Option<Duration>) -> Result<(), Denial> {
        match age {
            Some(age) if age <= self.oldest => Ok(()),
            _ => Err(Denial::Unavailable),
        }
    }
}

impl KeyStore for RedisKeys {
    fn publisher(&self, key: &StreamKey, asker: &Asker<'_>) -> Result<Grant, Denial> {
        let now = SystemTime::now();
        let known = self.shelf.known();
        self.check_age(known.age())?;
        let digest = known.salt.as_ref().ok_or(Denial::UnknownKey)?.digest(key);
        let (name, entry) = known.find(&digest).ok_or(Denial::UnknownKey)?;
        let is_old = entry.old.iter().any(|(old, until)| *old == digest && *until <= now);
        if is_old || entry.is_over(now) {
            return Err(Denial::Expired);
        }
        if !entry.core_rules().allows(asker.peer.ip()) {
            return Err(Denial::Address);
        }
        let mut grant = Grant::new(name);
        (grant.owner, grant.until) = (entry.rules.owner.clone(), entry.rules.expires);
        Ok(grant)
    }

    /// Names without a key are public: what the programs themselves put on the air.
    fn player(&self, name: &str, token: Option<&StreamKey>, _asker: &Asker<'_>) -> Result<(), Denial> {
        let known = self.shelf.known();
        self.check_age(known.age())?;
        let play = match known.entry(name) {
            None => PlayRule::Public,
            Some(Some(entry)) => entry.play,
            Some(None) => PlayRule::Nobody,
        };
        match (play, token, &known.salt) {
            (PlayRule::Public, _, _) => Ok(()),
            (PlayRule::Token(_), None, _) => Err(Denial::NoToken),
            (PlayRule::Token(right), Some(token), Some(salt)) if right == salt.digest(token) => Ok(()),
            (PlayRule::Token(_), Some(_), _) => Err(Denial::WrongToken),
            (PlayRule::Nobody, _, _) => Err(Denial::NotPlayable),
        }
    }
}

fn taken(name: &str, reason: &'static str) -> Error {
    flowcast_core::Error::KeyInUse { name: name.to_owned(), reason }.into()
}

fn no_key(name: &str) -> Error {
    flowcast_core::Error::NoKey { name: name.to_owned() }.into()
}
