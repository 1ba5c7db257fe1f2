//! What Redis keeps of a name: JSON, with hashes for secrets.
//!
//! In: rules of the program, text from Redis. Out: text, and what a node answers from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flowcast_core::{IpNet, KeyEntry, KeyRules, Play, PlayAccess};
use serde::{Deserialize, Serialize};

use crate::book::{Digest, Salt};

/// The form of what is written. What is of another form is not understood: then nobody is let in under the name.
const FORM: u32 = 1;

/// What is known of a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: Digest,
    /// Keys that were replaced, and until when they are accepted.
    pub(super) old: Vec<(Digest, SystemTime)>,
    pub(super) play: PlayRule,
    /// `play` in it is not used.
    pub(super) rules: Rules,
}

/// The rules without the play token.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rules {
    pub(super) owner: Option<String>,
    pub(super) expires: Option<SystemTime>,
    pub(super) publish_from: Vec<IpNet>,
}

/// [`Play`] without the secret.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PlayRule {
    Public,
    Token(Digest),
    Nobody,
}

impl PlayRule {
    pub(super) fn of(play: &Play, salt: &Salt) -> Self {
        match play {
            Play::Public => Self::Public,
            Play::Token(token) => Self::Token(salt.digest(token)),
            // A rule this crate does not know lets nobody in.
            _ => Self::Nobody,
        }
    }
}

impl Entry {
    pub(super) fn new(key: Digest, rules: &KeyRules, salt: &Salt) -> Self {
        let play = PlayRule::of(&rules.play, salt);
        let rules = Rules {
            owner: rules.owner.clone(),
            // As it is read again.
            expires: rules.expires.map(|at| time(millis(at))),
            publish_from: rules.publish_from.clone(),
        };
        Self { key, old: Vec::new(), play, rules }
    }

    /// Of all its keys.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.key).chain(self.old.iter().map(|(old, _)| old))
    }

    /// The rules as the core knows them, to ask it.
    pub(super) fn core_rules(&self) -> KeyRules {
        let mut rules = KeyRules::new().publish_from(self.rules.publish_from.iter().copied());
        rules.expires = self.rules.expires;
        rules
    }

    /// What may be shown of it.
    pub(super) fn listed(&self, name: &str, now: SystemTime) -> KeyEntry {
        let mut listed = KeyEntry::new(name);
        listed.expires = self.rules.expires;
        listed.publish_from.clone_from(&self.rules.publish_from);
        listed.owner.clone_from(&self.rules.owner);
        listed.old_keys = self.old.iter().filter(|(_, until)| *until > now).count();
        listed.play = match self.play {
            PlayRule::Public => PlayAccess::Public,
            PlayRule::Token(_) => PlayAccess::Token,
            PlayRule::Nobody => PlayAccess::Nobody,
        };
        listed
    }

    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.rules.expires.is_some_and(|at| at <= now)
    }

    pub(super) fn write(&self) -> String {
        let written = Written {
            form: FORM,
            key: self.key.hex(),
            old: self.old.iter().map(|(old, until)| (old.hex(), millis(*until))).collect(),
            play: match self.play {
                PlayRule::Public => WrittenPlay::Public,
                PlayRule::Nobody => WrittenPlay::Nobody,
                PlayRule::Token(token) => WrittenPlay::Token(token.hex()),
            },
            owner: self.rules.owner.clone(),
            expires: self.rules.expires.map(millis),
            from: self.rules.publish_from.iter().map(ToString::to_string).collect(),
        };
        // It has no map whose keys are no strings, and writes to memory.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// `None` for what is not understood.
    pub(super) fn read(text: &str) -> Option<Self> {
        let written: Written =
            serde_json::from_str(text).ok().filter(|written: &Written| written.form == FORM)?;
        let old = written.old.iter().map(|(old, until)| Some((Digest::parse(old)?, time(*until))));
        let from = written.from.iter().map(|net| net.parse().ok());
        Some(Self {
            key: Digest::parse(&written.key)?,
            old: old.collect::<Option<_>>()?,
            play: match &written.play {
                WrittenPlay::Public => PlayRule::Public,
                WrittenPlay::Nobody => PlayRule::Nobody,
                WrittenPlay::Token(token) => PlayRule::Token(Digest::parse(token)?),
            },
            rules: Rules {
                owner: written.owner,
                expires: written.expires.map(time),
                publish_from: from.collect::<Option<_>>()?,
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    form: u32,
    key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    old: Vec<(String, u64)>,
    play: WrittenPlay,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    from: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenPlay {
    Public,
    Nobody,
    Token(String),
}

/// Milliseconds since 1970, never later than `time`.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time beyond what the clock can hold is a long time away.
fn time(millis: u64) -> SystemTime {
    const FOREVER: Duration = Duration::from_secs(1000 * 365 * 86_400);
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH + FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_the_same_and_holds_no_secret() {
        let salt = Salt::random().expect("random numbers");
        let rules = KeyRules::new()
            .owner("alice")
            .expires_at(UNIX_EPOCH + Duration::from_millis(1_900_000_000_123))
            .publish_from(["192.0.2.0/24".parse().expect("a net"), "2001:db8::/32".parse().expect("a net")])
            .play(Play::Token("canary-token".into()));
        let mut entry = Entry::new(salt.digest(&"canary-key".into()), &rules, &salt);
        entry.old.push((salt.digest(&"canary-old".into()), UNIX_EPOCH + Duration::from_secs(5)));
        let text = entry.write();
        assert!(!text.contains("canary"), "{text}");
        assert_eq!(Entry::read(&text), Some(entry.clone()));
        let plain = Entry::new(entry.key, &KeyRules::new(), &salt);
        assert_eq!(Entry::read(&plain.write()), Some(plain.clone()));
        let nobody = Entry { play: PlayRule::Nobody, ..plain };
        assert_eq!(Entry::read(&nobody.write()), Some(nobody));
    }

    #[test]
    fn what_is_not_understood_is_no_entry() {
        let salt = Salt::random().expect("random numbers");
        let text = Entry::new(salt.digest(&"a-key".into()), &KeyRules::new(), &salt).write();
        assert!(Entry::read(&text).is_some());
        for (what, instead) in
            [("\"form\":1", "\"form\":2"), ("public", "friends"), ("\"key\":\"", "\"key\":\"x")]
        {
            assert!(text.contains(what), "{text}");
            assert_eq!(Entry::read(&text.replace(what, instead)), None, "{what}");
        }
        for text in ["", "null", "[]", "{}"] {
            assert_eq!(Entry::read(text), None, "{text}");
        }
    }
}
