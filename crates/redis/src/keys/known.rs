//! What a node knows of the keys: the memory it answers from.
//!
//! In: entries from Redis. Out: names by hash, entries by name, and how old that is. Under a lock of whoever asks.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use super::record::Entry;
use crate::book::{Digest, Salt};

/// All keys, as they were when Redis was last looked at.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// `None` where Redis has never had a key.
    pub(super) salt: Option<Salt>,
    /// The last change that is in here.
    pub(super) version: u64,
    /// `None` for what is not understood: nobody is let in.
    entries: HashMap<String, Option<Entry>>,
    names: HashMap<Digest, String>,
    /// When it was last asked for, successfully.
    pub(super) as_of: Option<Instant>,
    /// Redis has lost the keys; these are what is left of them.
    pub(super) is_emptied: bool,
}

impl Known {
    /// Nothing but the salt.
    pub(super) fn of(salt: Option<Salt>, version: u64) -> Self {
        Self { salt, version, ..Self::default() }
    }

    /// How old it is.
    pub(super) fn age(&self) -> Option<Duration> {
        self.as_of.map(|at| at.elapsed())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Option<Entry>> {
        self.entries.get(name)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Option<&Entry>)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.as_ref()))
    }

    /// The entry that has this key: found by its hash, then compared whole, because the map's own comparison may not take constant time.
    pub(super) fn find(&self, digest: &Digest) -> Option<(&str, &Entry)> {
        let name = self.names.get(digest)?;
        let entry = self.entries.get(name)?.as_ref()?;
        entry.digests().any(|own| own == digest).then_some((name.as_str(), entry))
    }

    /// Puts what Redis has of a name; `None` if it has nothing any more. `true` if a name went.
    pub(super) fn put(&mut self, name: &str, record: Option<&str>) -> bool {
        let before = self.entries.remove(name);
        for digest in before.iter().flatten().flat_map(Entry::digests) {
            if self.names.get(digest).is_some_and(|holder| holder == name) {
                self.names.remove(digest);
            }
        }
        let Some(record) = record else { return before.is_some() };
        let entry = Entry::read(record);
        if entry.is_none() {
            log::error!("{name}: what Redis has of its key is not understood; nobody is let in");
        }
        for digest in entry.iter().flat_map(Entry::digests) {
            self.names.insert(*digest, name.to_owned());
        }
        self.entries.insert(name.to_owned(), entry);
        false
    }

    /// Names of `self` that `other` does not have.
    pub(super) fn missing_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().filter(|name| !other.entries.contains_key(*name)).map(String::as_str)
    }

    /// Some names whose keys ended this long before `now`.
    pub(super) fn over(&self, now: SystemTime, for_at_least: Duration, most: usize) -> Vec<String> {
        let Some(then) = now.checked_sub(for_at_least) else { return Vec::new() };
        let over = self.entries().filter(|(_, entry)| entry.is_some_and(|entry| entry.is_over(then)));
        over.map(|(name, _)| name.to_owned()).take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use flowcast_core::KeyRules;

    use super::*;

    fn record(salt: &Salt, key: &str) -> String {
        Entry::new(salt.digest(&key.into()), &KeyRules::new(), salt).write()
    }

    #[test]
    fn a_key_is_found_as_long_as_it_is_the_names() {
        let salt = Salt::random().expect("random numbers");
        let mut known = Known::of(Some(salt.clone()), 1);
        assert!(!known.put("studio", Some(&record(&salt, "key-1"))));
        let find =
            |known: &Known, key: &str| known.find(&salt.digest(&key.into())).map(|(name, _)| name.to_owned());
        assert_eq!(find(&known, "key-1").as_deref(), Some("studio"));
        assert!(!known.put("studio", Some(&record(&salt, "key-2"))));
        assert_eq!((find(&known, "key-1"), find(&known, "key-2").as_deref()), (None, Some("studio")));
        // The key goes to another name, and the name that had it is told of later.
        known.put("door", Some(&record(&salt, "key-2")));
        known.put("studio", Some(&record(&salt, "key-3")));
        assert_eq!(find(&known, "key-2").as_deref(), Some("door"));
        assert!(known.put("door", None) && !known.put("door", None));
        assert_eq!(find(&known, "key-2"), None);
    }

    #[test]
    fn what_is_not_understood_has_no_key_and_is_no_name_without_one() {
        let salt = Salt::random().expect("random numbers");
        let mut known = Known::of(Some(salt.clone()), 1);
        known.put("studio", Some(&record(&salt, "key-1")));
        known.put("studio", Some("{\"form\":9}"));
        assert!(known.find(&salt.digest(&"key-1".into())).is_none());
        assert_eq!(known.entry("studio"), Some(&None));
    }

    #[test]
    fn names_that_went_and_keys_that_ended_are_told() {
        let salt = Salt::random().expect("random numbers");
        let (mut one, mut other) = (Known::of(Some(salt.clone()), 1), Known::of(Some(salt.clone()), 2));
        let now = SystemTime::now();
        let ended = KeyRules::new().expires_at(now - Duration::from_secs(100));
        one.put("a", Some(&Entry::new(salt.digest(&"key-a".into()), &ended, &salt).write()));
        one.put("b", Some(&record(&salt, "key-b")));
        other.put("b", Some(&record(&salt, "key-b")));
        assert_eq!(one.missing_in(&other).collect::<Vec<_>>(), ["a"]);
        assert_eq!(one.over(now, Duration::from_secs(60), 10), ["a"]);
        assert!(one.over(now, Duration::from_secs(200), 10).is_empty());
        assert!(one.over(now, Duration::from_secs(60), 0).is_empty());
    }
}
