//! Where stream keys are kept, for the API and the page.
//!
//! In: the registry of an engine, or what the program has in its place. Out: the same to all who list, issue and revoke keys, and to who plays by HTTP.

use std::sync::Arc;
use std::time::Duration;

use flowcast_core::{KeyEntry, KeyRegistry, KeyRules, KeyStore, Play};
use flowcast_rtmp::key::StreamKey;

use crate::cluster::ClusterError;

/// Stream keys that the API and the page show and change, for [`Options::keys`](crate::Options::keys): those of more than this engine, say. Give the RTMP
/// server the same. `flowcast-redis` has them in Redis (feature `http`).
///
/// # Blocking
///
/// Calls of this trait may block; they are made where that is allowed. Those of [`KeyStore`] may not.
pub trait KeyBook: KeyStore {
    /// The names that have a key which has not expired, by name.
    ///
    /// # Errors
    ///
    /// Why nobody can tell.
    fn list(&self) -> Result<Vec<KeyEntry>, ClusterError>;

    /// Registers a new random key for `name` and returns it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or in the way.
    fn issue(&self, name: &str, rules: KeyRules) -> Result<StreamKey, ClusterError>;

    /// Gives `name` another key; the keys before are accepted for `old_valid_for`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or in the way.
    fn replace(&self, name: &str, new: StreamKey, old_valid_for: Duration) -> Result<(), ClusterError>;

    /// Changes who may play `name` from now on.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or in the way.
    fn set_play(&self, name: &str, play: &Play) -> Result<(), ClusterError>;

    /// Revokes the key of `name`, and takes its publisher off the air. `false` if there was none.
    ///
    /// # Errors
    ///
    /// What is in the way.
    fn remove(&self, name: &str) -> Result<bool, ClusterError>;
}

/// How the settings keep it.
pub(crate) type Book = Arc<dyn KeyBook>;

impl KeyBook for KeyRegistry {
    fn list(&self) -> Result<Vec<KeyEntry>, ClusterError> {
        Ok(Self::list(self))
    }

    fn issue(&self, name: &str, rules: KeyRules) -> Result<StreamKey, ClusterError> {
        Ok(self.issue_with(name, rules)?)
    }

    fn replace(&self, name: &str, new: StreamKey, old_valid_for: Duration) -> Result<(), ClusterError> {
        Ok(Self::replace(self, name, new, old_valid_for)?)
    }

    fn set_play(&self, name: &str, play: &Play) -> Result<(), ClusterError> {
        Ok(Self::set_play(self, name, play)?)
    }

    fn remove(&self, name: &str) -> Result<bool, ClusterError> {
        Ok(Self::remove(self, name))
    }
}
