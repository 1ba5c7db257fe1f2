//! The names that have a key, with their rules, and no secret.
//!
//! In: the keys of a registry. Out: what a page shows of them.

use std::time::SystemTime;

use ipnet::IpNet;

use super::{Entry, KeyRegistry, PlayRule};

/// A name that has a key. The key itself is not kept, so it is nowhere here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyEntry {
    /// The name that the key publishes under, and that players ask for.
    pub name: String,
    /// When the key expires; `None` if it does not.
    pub expires: Option<SystemTime>,
    /// The addresses it may be used from; empty: all.
    pub publish_from: Vec<IpNet>,
    /// Who may play the name.
    pub play: PlayAccess,
    /// Its owner.
    pub owner: Option<String>,
    /// Keys that were replaced and are still accepted.
    pub old_keys: usize,
}

/// Who may play what is published under a name: [`Play`](crate::Play) without the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlayAccess {
    /// Everybody who knows the name.
    Public,
    /// Who has the play token.
    Token,
    /// Nobody.
    Nobody,
}

crate::words::words!(PlayAccess, "access of players", Public = "public", Token = "token", Nobody = "nobody");

impl KeyEntry {
    /// A name with a key for ever, without an owner, that everybody may play: for stores of a program's own.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            expires: None,
            publish_from: Vec::new(),
            play: PlayAccess::Public,
            owner: None,
            old_keys: 0,
        }
    }

    fn of(name: &str, entry: &Entry, now: SystemTime) -> Self {
        Self {
            name: name.to_owned(),
            expires: entry.rules.expires,
            publish_from: entry.rules.publish_from.clone(),
            play: match entry.play {
                PlayRule::Public => PlayAccess::Public,
                PlayRule::Token(_) => PlayAccess::Token,
                PlayRule::Nobody => PlayAccess::Nobody,
            },
            owner: entry.rules.owner.clone(),
            old_keys: entry.old.iter().filter(|old| old.until > now).count(),
        }
    }
}

impl KeyRegistry {
    /// The names that have a key which has not expired, by name.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// engine.keys().issue("studio")?;
    /// engine.keys().issue("backup")?;
    /// let names: Vec<_> = engine.keys().list().into_iter().map(|entry| entry.name).collect();
    /// assert_eq!(names, ["backup", "studio"]);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    #[must_use]
    pub fn list(&self) -> Vec<KeyEntry> {
        let now = SystemTime::now();
        let keys = self.keys.lock();
        let valid = keys.entries.iter().filter(|(_, entry)| !entry.rules.is_over(now));
        let mut listed: Vec<_> = valid.map(|(name, entry)| KeyEntry::of(name, entry, now)).collect();
        drop(keys);
        listed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        listed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keys::{KeyRules, Play};
    use crate::stream::Hub;

    #[test]
    fn names_are_listed_with_their_rules_and_no_secret() {
        let keys = KeyRegistry::new(Hub::default());
        let rules = KeyRules::new().play(Play::Token("for-viewers".into())).owner("alice");
        let rules = rules.publish_from(["192.0.2.0/24".parse().unwrap()]);
        keys.add_with("studio", "canary-key", rules).unwrap();
        keys.add_with("late", "canary-late", KeyRules::new().expires_at(SystemTime::now())).unwrap();
        keys.add_with("quiet", "canary-quiet", KeyRules::new().play(Play::Nobody)).unwrap();
        keys.replace("quiet", "canary-other", Duration::from_secs(60)).unwrap();
        let listed = keys.list();
        let brief: Vec<_> =
            listed.iter().map(|entry| (entry.name.as_str(), entry.play.as_str(), entry.old_keys)).collect();
        assert_eq!(brief, [("quiet", "nobody", 1), ("studio", "token", 0)], "what has expired is left out");
        assert_eq!(listed[1].owner.as_deref(), Some("alice"));
        assert_eq!(listed[1].publish_from, ["192.0.2.0/24".parse().unwrap()]);
        let shown = format!("{listed:?}");
        assert!(!shown.contains("canary") && !shown.contains("viewers"), "{shown}");
    }
}
