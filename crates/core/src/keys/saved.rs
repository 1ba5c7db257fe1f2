//! Keys as they are kept on disk: salted hashes, so that a restart needs no key in clear text.
//!
//! In: the keys of a registry. Out: the same in any serde format, and back.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::secret::{Digest, Salt};
use super::{Entry, KeyRegistry, KeyRules, Keys, Old, Play, PlayRule};
use crate::error::Error;
use crate::stream::check_name;

/// The form that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The keys of a [`KeyRegistry`] as salted hashes, with their rules: what [`export`](KeyRegistry::export) gives and
/// [`import`](KeyRegistry::import) takes. It is written with serde, with the version of its form.
///
/// Nobody can publish with a hash. Who has the file can try guesses against it, though: a key of
/// [`issue`](KeyRegistry::issue) cannot be guessed, one that a person chose may be. Keep the file as you would keep hashes of
/// passwords.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedKeys {
    version: u32,
    salt: Salt,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Saved>,
}

/// One name.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    name: String,
    key: Digest,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    old: Vec<SavedOld>,
    #[serde(default, skip_serializing_if = "SavedPlay::is_public")]
    play: SavedPlay,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<At>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    publish_from: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedOld {
    key: Digest,
    until: At,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedPlay {
    #[default]
    Public,
    Token(Digest),
    Nobody,
}

impl SavedPlay {
    fn is_public(&self) -> bool {
        *self == Self::Public
    }
}

/// A point in time, written in UTC.
#[derive(Clone, Copy, PartialEq)]
struct At(SystemTime);

impl Serialize for At {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // The text of a time after the year 9999 cannot be made.
        let mut text = String::new();
        fmt::write(&mut text, format_args!("{}", humantime::format_rfc3339(self.0)))
            .map_err(|_| serde::ser::Error::custom("a time that cannot be written"))?;
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        humantime::parse_rfc3339(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Names, and no hashes.
impl fmt::Debug for SavedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.keys.iter().map(|saved| &saved.name).collect();
        f.debug_struct("SavedKeys")
            .field("version", &self.version)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

impl KeyRegistry {
    /// All keys that have not expired, as salted hashes with their rules, to be kept on disk: after a restart,
    /// [`import`](Self::import) takes them, and publishers go on with the keys they have. The program needs to keep no key in
    /// clear text for that.
    ///
    /// ```
    /// # mod flowcast { pub use flowcast_core::*; pub mod keys { pub use flowcast_core::*; } }
    /// use flowcast::keys::SavedKeys;
    /// use flowcast::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let key = engine.keys().issue("studio")?;
    /// let text = serde_json::to_string(&engine.keys().export())?;
    /// assert!(!text.contains(key.reveal()));
    ///
    /// let restarted = Engine::new(Config::default())?;
    /// restarted.keys().import(&serde_json::from_str::<SavedKeys>(&text)?)?;
    /// assert_eq!(restarted.keys().name_of(&key).as_deref(), Some("studio"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn export(&self) -> SavedKeys {
        let now = SystemTime::now();
        let keys = self.keys.lock();
        let valid = keys.entries.iter().filter(|(_, entry)| !entry.rules.is_over(now));
        let mut saved: Vec<_> = valid.map(|(name, entry)| Saved::new(name, entry, now)).collect();
        // The same keys make the same file.
        saved.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        SavedKeys { version: VERSION, salt: keys.salt.clone(), keys: saved }
    }

    /// Takes over keys that were [exported](Self::export), into a registry that has none: the hashes belong to one salt. To be
    /// called before keys are added, and before the server listens.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the registry has keys already, or for a form of another version, a name or a key that is there twice,
    /// or an unusable address. [`Error::Key`] for an unusable name. Nothing is taken over then.
    pub fn import(&self, saved: &SavedKeys) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Config { name: "keys", reason });
        if saved.version != VERSION {
            return refuse(format!("version {} is not known, only {VERSION}", saved.version));
        }
        let (mut entries, mut names, mut doubled) = (HashMap::new(), HashMap::new(), HashSet::new());
        for saved in &saved.keys {
            check_name(&saved.name)?;
            let entry = saved.entry()?;
            for digest in entry.digests() {
                if names.insert(*digest, saved.name.clone()).is_some() {
                    doubled.insert(&saved.name);
                }
            }
            if entries.insert(saved.name.clone(), entry).is_some() {
                doubled.insert(&saved.name);
            }
        }
        if let Some(name) = doubled.into_iter().next() {
            return refuse(format!("the name {name:?} or its key is there twice"));
        }
        let mut keys = self.keys.lock();
        if !keys.entries.is_empty() {
            return refuse("keys can be imported only where there are none yet".to_owned());
        }
        *keys = Keys { salt: saved.salt.clone(), entries, names, sweep_at: 0 };
        Ok(())
    }
}

impl Saved {
    fn new(name: &str, entry: &Entry, now: SystemTime) -> Self {
        let old = entry.old.iter().filter(|old| old.until > now);
        let rules = &entry.rules;
        Self {
            name: name.to_owned(),
            key: entry.key,
            old: old.map(|old| SavedOld { key: old.key, until: At(old.until) }).collect(),
            play: match entry.play {
                PlayRule::Public => SavedPlay::Public,
                PlayRule::Token(digest) => SavedPlay::Token(digest),
                PlayRule::Nobody => SavedPlay::Nobody,
            },
            expires: rules.expires.map(At),
            publish_from: rules.publish_from.iter().map(ToString::to_string).collect(),
            owner: rules.owner.clone(),
        }
    }

    fn entry(&self) -> Result<Entry, Error> {
        let nets = self.publish_from.iter().map(|net| {
            net.parse().map_err(|_| {
                let reason = format!("{net:?} of {:?} is no range of addresses", self.name);
                Error::Config { name: "keys", reason }
            })
        });
        let rules = KeyRules {
            expires: self.expires.map(|at| at.0),
            publish_from: nets.collect::<Result<_, _>>()?,
            play: Play::Public,
            owner: self.owner.clone(),
        };
        Ok(Entry {
            key: self.key,
            old: self.old.iter().map(|old| Old { key: old.key, until: old.until.0 }).collect(),
            play: match self.play {
                SavedPlay::Public => PlayRule::Public,
                SavedPlay::Token(digest) => PlayRule::Token(digest),
                SavedPlay::Nobody => PlayRule::Nobody,
            },
            rules,
        })
    }
}
