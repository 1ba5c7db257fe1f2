//! The keys of a node: those that all nodes of the cluster share, which the page issues, and those of its own file.

use std::collections::HashSet;
use std::time::Duration;

use flowcast::Error;
use flowcast::keys::{Asker, Denial, Grant, KeyEntry, KeyRegistry, KeyRules, KeyStore, Play, StreamKey};
use flowcast_http::{ClusterError, KeyBook};
use flowcast_redis::RedisKeys;

/// Shared keys, and the file's.
#[derive(Debug, Clone)]
pub(crate) struct NodeKeys {
    pub(crate) shared: RedisKeys,
    pub(crate) own: KeyRegistry,
}

impl NodeKeys {
    fn is_own(&self, name: &str) -> bool {
        self.own.list().iter().any(|entry| entry.name == name)
    }
}

impl KeyStore for NodeKeys {
    fn publisher(&self, key: &StreamKey, asker: &Asker<'_>) -> Result<Grant, Denial> {
        match self.own.publisher(key, asker) {
            Err(Denial::UnknownKey) => self.shared.publisher(key, asker),
            known => known,
        }
    }

    fn player(&self, name: &str, token: Option<&StreamKey>, asker: &Asker<'_>) -> Result<(), Denial> {
        match self.is_own(name) {
            true => self.own.player(name, token, asker),
            false => self.shared.player(name, token, asker),
        }
    }
}

impl KeyBook for NodeKeys {
    fn list(&self) -> Result<Vec<KeyEntry>, ClusterError> {
        let mut all = self.own.list();
        let own: HashSet<_> = all.iter().map(|entry| entry.name.clone()).collect();
        all.extend(self.shared.list().into_iter().filter(|entry| !own.contains(&entry.name)));
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn issue(&self, name: &str, rules: KeyRules) -> Result<StreamKey, ClusterError> {
        if self.is_own(name) {
            return Err(Error::KeyInUse { name: name.to_owned(), reason: "has a key already" }.into());
        }
        KeyBook::issue(&self.shared, name, rules)
    }

    fn replace(&self, name: &str, new: StreamKey, old_valid_for: Duration) -> Result<(), ClusterError> {
        match self.is_own(name) {
            true => KeyBook::replace(&self.own, name, new, old_valid_for),
            false => KeyBook::replace(&self.shared, name, new, old_valid_for),
        }
    }

    fn set_play(&self, name: &str, play: &Play) -> Result<(), ClusterError> {
        match self.is_own(name) {
            true => KeyBook::set_play(&self.own, name, play),
            false => KeyBook::set_play(&self.shared, name, play),
        }
    }

    fn remove(&self, name: &str) -> Result<bool, ClusterError> {
        match self.is_own(name) {
            true => KeyBook::remove(&self.own, name),
            false => KeyBook::remove(&self.shared, name),
        }
    }
}
