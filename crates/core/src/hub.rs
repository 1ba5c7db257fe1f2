//! The streams players can ask for, by name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::error::Error;
use crate::limiter::Permit;
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
    owner: Option<String>,
    /// `None` between the claim and the start of its stream.
    stream: Option<StreamRef>,
    /// The name was taken away before its stream began.
    revoked: bool,
}

/// A name that is taken, as its list of [`active`](crate::KeyRegistry::active) streams shows it.
pub(crate) struct Published<'a> {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) owner: Option<&'a str>,
    pub(crate) since: Instant,
    pub(crate) stream: Option<&'a StreamRef>,
}

/// A name that is taken; dropping it gives the name back. Only the owner of the claim can do that.
#[derive(Debug)]
pub struct Claim {
    hub: Hub,
    name: String,
    token: u64,
    terms: Terms,
}

/// What holds for the stream of a claim.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Players that join get the newest GOP.
    pub(crate) gop_cache: bool,
    /// The owner's place among the limits.
    place: Option<Permit>,
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
            Entry { token, since: Instant::now(), peer, owner: None, stream: None, revoked: false },
        );
        let terms = Terms { gop_cache: true, place: None };
        Ok(Claim { hub: self.clone(), name: name.to_owned(), token, terms })
    }

    /// The stream behind `name`, unless it was just taken off the air.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StreamRef> {
        self.names.lock().get(name).filter(|entry| !entry.revoked)?.stream.clone()
    }

    /// Ends what is on the air under `name`, without waiting; `false` if nothing is.
    pub(crate) fn take_off(&self, name: &str) -> bool {
        let taken = self.names.lock().get_mut(name).map(|entry| {
            entry.revoked = true;
            entry.stream.clone()
        });
        let Some(stream) = taken else { return false };
        // Outside the lock: the stream gives its name back when it ends.
        if let Some(stream) = stream {
            let by = Instant::now() + stream.engine.config.force_stop_after;
            stream.shared.ask_to_stop(by);
        }
        true
    }

    pub(crate) fn published<T>(&self, mut describe: impl FnMut(&str, Published<'_>) -> T) -> Vec<T> {
        let names = self.names.lock();
        let published = names.iter().map(|(name, entry)| {
            let (peer, since) = (entry.peer, entry.since);
            (name, Published { peer, owner: entry.owner.as_deref(), since, stream: entry.stream.as_ref() })
        });
        published.map(|(name, published)| describe(name, published)).collect()
    }
}

impl Claim {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Players that join wait for the next keyframe; without this they get the newest GOP.
    pub fn without_gop_cache(&mut self) {
        self.terms.gop_cache = false;
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The name is published for `owner`, whose place is kept as long as the claim is.
    pub(crate) fn belongs_to(&mut self, owner: &str, place: Permit) {
        self.terms.place = Some(place);
        if let Some(entry) =
            self.hub.names.lock().get_mut(&self.name).filter(|entry| entry.token == self.token)
        {
            entry.owner = Some(owner.to_owned());
        }
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
