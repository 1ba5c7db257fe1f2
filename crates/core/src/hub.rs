//! The streams players can ask for, by name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::error::Error;
use crate::stream::handle::StreamRef;

/// Names and the streams behind them. Clones share the same names.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    names: Arc<Mutex<HashMap<String, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    token: u64,
    since: Instant,
    peer: Option<SocketAddr>,
    /// `None` between the claim and the start of its stream.
    stream: Option<StreamRef>,
    /// The name was taken away before its stream began.
    revoked: bool,
}

/// A name that is taken; dropping it gives the name back. Only the owner of the claim can do that.
#[derive(Debug)]
pub struct Claim {
    hub: Hub,
    name: String,
    token: u64,
}

impl Hub {
    /// Takes `name` for a publisher at `peer`.
    ///
    /// # Errors
    ///
    /// [`Error::NameInUse`].
    pub fn claim(&self, name: &str, peer: Option<SocketAddr>) -> Result<Claim, Error> {
        let mut names = self.names.lock();
        if names.contains_key(name) {
            return Err(Error::NameInUse { name: name.to_owned() });
        }
        let token = u64::from_le_bytes(crate::net::random::bytes());
        names.insert(
            name.to_owned(),
            Entry { token, since: Instant::now(), peer, stream: None, revoked: false },
        );
        Ok(Claim { hub: self.clone(), name: name.to_owned(), token })
    }

    /// The stream behind `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StreamRef> {
        self.names.lock().get(name)?.stream.clone()
    }

    pub(crate) fn take_off(&self, name: &str) {
        let stream = self.names.lock().get_mut(name).and_then(|entry| {
            entry.revoked = true;
            entry.stream.clone()
        });
        // Outside the lock: the stream gives its name back when it ends.
        if let Some(stream) = stream {
            let by = Instant::now() + stream.engine.config.force_stop_after;
            stream.shared.ask_to_stop(by);
        }
    }

    pub(crate) fn published<T>(
        &self,
        mut describe: impl FnMut(&str, Option<SocketAddr>, Instant) -> T,
    ) -> Vec<T> {
        let names = self.names.lock();
        names.iter().map(|(name, entry)| describe(name, entry.peer, entry.since)).collect()
    }
}

impl Claim {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets players find `stream` under the name; refused if the name was taken away meanwhile.
    pub(crate) fn open(&self, stream: &StreamRef) -> Result<(), Error> {
        match self.hub.names.lock().get_mut(&self.name) {
            Some(entry) if entry.token == self.token && !entry.revoked => {
                entry.stream = Some(stream.clone());
                Ok(())
            }
            _ => Err(Error::Ended),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut names = self.hub.names.lock();
        let released = match names.get(&self.name) {
            Some(entry) if entry.token == self.token => names.remove(&self.name),
            _ => None,
        };
        drop(names);
        // The stream's last reference may be in it; it must not be dropped under the lock.
        drop(released);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_owner_and_is_free_again_after_it() {
        let hub = Hub::default();
        let claim = hub.claim("studio", None).expect("the name is free");
        assert!(matches!(hub.claim("studio", None), Err(Error::NameInUse { .. })));
        assert!(hub.find("studio").is_none(), "no stream yet");
        drop(claim);
        assert!(hub.claim("studio", None).is_ok());
    }
}
