//! The streams that players can ask for, by name.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::desk::{Answer, Delivery, Desk};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::id::StreamId;
use crate::limiter::Permit;
use crate::stream::handle::StreamRef;
use crate::stream::mailbox::Command;

/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// Names and the streams behind them. Clones share the same names.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    names: Arc<Mutex<HashMap<String, Entry>>>,
    /// Locked after the names, if both are.
    watchers: Arc<Mutex<Watchers>>,
}

/// Called with each stream that is opened under a name.
type Watcher = dyn Fn(&StreamRef) + Send + Sync;

/// The watchers of each name.
#[derive(Default)]
struct Watchers {
    names: HashMap<String, Vec<(u64, Arc<Watcher>)>>,
    next: u64,
    /// The streams that are made from what is found under each name.
    readers: HashMap<String, Vec<StreamId>>,
}

impl Watchers {
    /// Whether a stream that is found under `name` feeds `stream`, also through other streams.
    fn feeds(&self, name: &str, stream: StreamId, names: &HashMap<String, Entry>) -> bool {
        if !self.readers.values().any(|readers| readers.contains(&stream)) {
            return false;
        }
        let (mut reached, mut next) = (HashSet::from([name]), vec![name]);
        while let Some(name) = next.pop() {
            let readers = self.readers.get(name).map_or(&[][..], Vec::as_slice);
            if readers.contains(&stream) {
                return true;
            }
            let is_theirs = |entry: &Entry| entry.stream.as_ref().is_some_and(|s| readers.contains(&s.id()));
            let further = names.iter().filter(|(_, entry)| is_theirs(entry)).map(|(name, _)| name.as_str());
            next.extend(further.filter(|name| reached.insert(name)));
        }
        false
    }
}

impl std::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names.keys()).finish()
    }
}

/// A name that is watched, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    hub: Hub,
    name: String,
    number: u64,
}

/// A stream that is made from what is found under a name, until this is dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    hub: Hub,
    name: String,
    stream: StreamId,
}

/// Whether players can ask for this name. Names that URLs or servers give another meaning are not valid.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_reserved = name.bytes().all(|byte| byte == b'.') || name == "_definst_";
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_part) && !is_reserved
}

/// Refuses what cannot be a name.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if is_name(name) {
        return Ok(());
    }
    let reason = "a name is 1 to 128 letters, digits, '-', '_' or '.', not only dots, and not '_definst_'";
    Err(refused(name, reason))
}

/// The error of a name or its key.
pub(crate) fn refused(name: &str, reason: &'static str) -> Error {
    Error::Key { name: shown(name), reason }
}

/// A name for an error's text, however long what was sent is.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[derive(Debug)]
struct Entry {
    token: u64,
    since: Instant,
    peer: Option<SocketAddr>,
    owner: Option<String>,
    /// The owner's place among the limits; released with the name.
    place: Option<Permit>,
    /// `None` between the claim and the start of its stream.
    stream: Option<StreamRef>,
    /// The desk of the stream, where other publishers of the name ask; `None` between the claim and the start, and
    /// for what is not published.
    desk: Option<Arc<Desk>>,
    /// The name was taken away before its stream began.
    revoked: bool,
}

/// A name that is taken, as the list of [`active`](crate::KeyRegistry::active) streams shows it.
pub(crate) struct Published<'a> {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) owner: Option<&'a str>,
    pub(crate) since: Instant,
    pub(crate) stream: Option<&'a StreamRef>,
}

/// A name that is taken; dropping it releases the name. Only the owner of the claim can do that.
#[derive(Debug)]
pub struct Claim {
    hub: Hub,
    name: String,
    token: u64,
    desk: Option<Arc<Desk>>,
}

/// A name that was opened, and the watchers to inform.
#[must_use = "who watches the name is to hear of it"]
pub(crate) struct Opened {
    watchers: Vec<Arc<Watcher>>,
    stream: StreamRef,
}

/// How a publisher with the right key comes in; see [`Hub::enter`].
#[derive(Debug)]
pub enum Entrance {
    /// There is no publisher of the name: a stream begins.
    New(Claim),
    /// The stream exists; its publisher is lost or silent.
    Handover(Handover),
}

/// The place of a publisher in a stream that goes on. Dropping it leaves the stream as it was.
#[derive(Debug)]
pub struct Handover {
    hub: Hub,
    name: String,
    /// Of the claim that holds the name.
    token: u64,
    stream: StreamRef,
    /// `None` once it was used.
    desk: Option<Arc<Desk>>,
    takeover: bool,
    /// Who the stream will belong to instead, with their place among the limits; `None` if that does not change.
    heir: Option<Option<(String, Permit)>>,
}

impl Hub {
    /// Where a publisher that may use `name` belongs: to a new stream, or in the place of the publisher before, if
    /// that was lost or has sent no media for `takeover_after` (zero: at once).
    ///
    /// # Errors
    ///
    /// [`Error::NameInUse`].
    pub fn enter(
        &self,
        name: &str,
        peer: Option<SocketAddr>,
        takeover_after: Duration,
    ) -> Result<Entrance, Error> {
        let in_use = || Error::NameInUse { name: name.to_owned() };
        let over = {
            let mut names = self.names.lock();
            match names.get_mut(name) {
                None => None,
                Some(entry) => {
                    let (Some(stream), Some(desk), false) = (&entry.stream, &entry.desk, entry.revoked)
                    else {
                        return Err(in_use());
                    };
                    let answer = desk.ask(takeover_after);
                    match answer {
                        Answer::Taken => return Err(in_use()),
                        Answer::Vacant | Answer::Silent => {
                            entry.peer = peer;
                            return Ok(Entrance::Handover(Handover {
                                hub: self.clone(),
                                name: name.to_owned(),
                                token: entry.token,
                                stream: stream.clone(),
                                desk: Some(desk.clone()),
                                takeover: answer == Answer::Silent,
                                heir: None,
                            }));
                        }
                        // Its claim is about to be dropped, and does not affect the next one's.
                        Answer::Over => names.remove(name),
                    }
                }
            }
        };
        drop(over);
        self.claim(name, peer).map(Entrance::New)
    }

    /// Takes `name` for a publisher at `peer`, if it is free.
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
            Entry {
                token,
                since: Instant::now(),
                peer,
                owner: None,
                place: None,
                stream: None,
                desk: None,
                revoked: false,
            },
        );
        Ok(Claim { hub: self.clone(), name: name.to_owned(), token, desk: None })
    }

    /// The stream of `name`, unless it was just taken off the air.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StreamRef> {
        self.names.lock().get(name).filter(|entry| !entry.revoked)?.stream.clone()
    }

    /// Notes that `stream` is made from what is found under `name`, so that it is not published there.
    pub(crate) fn read(&self, name: &str, stream: StreamId) -> Reading {
        self.watchers.lock().readers.entry(name.to_owned()).or_default().push(stream);
        Reading { hub: self.clone(), name: name.to_owned(), stream }
    }

    /// Refuses `name` as what `stream` is made from: it is fed by that stream, directly or through others.
    ///
    /// # Errors
    ///
    /// [`Error::FeedsItself`].
    pub(crate) fn refuse_circle(&self, name: &str, stream: StreamId) -> Result<(), Error> {
        let names = self.names.lock();
        let watchers = self.watchers.lock();
        let found_under = |of: StreamId| {
            let is_its = move |entry: &Entry| entry.stream.as_ref().is_some_and(|stream| stream.id() == of);
            names.iter().filter(move |(_, entry)| is_its(entry)).map(|(name, _)| name.as_str())
        };
        let mut next: Vec<_> = found_under(stream).collect();
        let mut reached: HashSet<_> = next.iter().copied().collect();
        while let Some(of) = next.pop() {
            if of == name {
                return Err(Error::FeedsItself { name: name.to_owned() });
            }
            let readers = watchers.readers.get(of).map_or(&[][..], Vec::as_slice);
            for reader in readers {
                next.extend(found_under(*reader).filter(|name| reached.insert(*name)));
            }
        }
        Ok(())
    }

    /// Calls `watcher` for the stream that is open under `name`, if one is, and for each that is opened later: before its
    /// thread has begun, on the thread that opens it.
    pub(crate) fn watch(&self, name: &str, watcher: Arc<Watcher>) -> Watch {
        let names = self.names.lock();
        let open = names.get(name).and_then(|entry| entry.stream.clone());
        let number = {
            let mut watchers = self.watchers.lock();
            let number = watchers.next;
            watchers.next += 1;
            watchers.names.entry(name.to_owned()).or_default().push((number, watcher.clone()));
            number
        };
        drop(names);
        if let Some(stream) = open {
            watcher(&stream);
        }
        Watch { hub: self.clone(), name: name.to_owned(), number }
    }

    /// Ends the publication of `name`, without waiting; `false` if there is none. What the program itself put there
    /// has no publisher and goes on.
    pub(crate) fn take_off(&self, name: &str) -> bool {
        let taken = self.names.lock().get_mut(name).and_then(|entry| {
            let is_ours = entry.stream.is_some() && entry.desk.is_none();
            entry.revoked |= !is_ours;
            (!is_ours).then(|| entry.stream.clone())
        });
        let Some(stream) = taken else { return false };
        // Outside the lock: the stream gives its name back when it ends.
        if let Some(stream) = stream {
            let by = Instant::now() + stream.registry.config.force_stop_after;
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

/// Where a claim can be found, without the right to it.
#[derive(Debug)]
pub(crate) struct Place {
    hub: Hub,
    name: String,
    token: u64,
}

impl Place {
    /// The owner of the stream found there.
    pub(crate) fn owner(&self) -> Option<String> {
        let names = self.hub.names.lock();
        names.get(&self.name).filter(|entry| entry.token == self.token)?.owner.clone()
    }
}

impl Claim {
    /// Where it can be found.
    pub(crate) fn place(&self) -> Place {
        Place { hub: self.hub.clone(), name: self.name.clone(), token: self.token }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name is published for `owner`, whose place is taken as long as the name is.
    pub(crate) fn belongs_to(&self, owner: String, place: Permit) {
        let mut names = self.hub.names.lock();
        if let Some(entry) = names.get_mut(&self.name).filter(|entry| entry.token == self.token) {
            (entry.owner, entry.place) = (Some(owner), Some(place));
        }
    }

    /// The owner of the stream found under the name.
    pub(crate) fn shows_owner(&self, owner: &str) {
        if let Some(entry) =
            self.hub.names.lock().get_mut(&self.name).filter(|entry| entry.token == self.token)
        {
            entry.owner = Some(owner.to_owned());
        }
    }

    /// Whether publishers come by it.
    pub(super) fn is_published(&self) -> bool {
        self.desk.is_some()
    }

    /// Lets other publishers of the name ask at `desk`, once the stream is open.
    pub(crate) fn set_desk(&mut self, desk: Arc<Desk>) {
        self.desk = Some(desk);
    }

    /// Lets players find `stream` under the name. Refused if the name was taken away meanwhile, or if the stream is
    /// made from what would be found there. The returned value tells the watchers of the name, once the stream holds
    /// the claim.
    pub(crate) fn open(&self, stream: &StreamRef) -> Result<Opened, Error> {
        let watchers: Vec<_> = {
            let mut names = self.hub.names.lock();
            let watchers = self.hub.watchers.lock();
            if watchers.feeds(&self.name, stream.id(), &names) {
                return Err(Error::FeedsItself { name: self.name.clone() });
            }
            match names.get_mut(&self.name) {
                Some(entry) if entry.token == self.token && !entry.revoked => {
                    entry.stream = Some(stream.clone());
                    entry.desk.clone_from(&self.desk);
                }
                _ => return Err(Error::Ended),
            }
            watchers.names.get(&self.name).into_iter().flatten().map(|(_, watcher)| watcher.clone()).collect()
        };
        Ok(Opened { watchers, stream: stream.clone() })
    }
}

impl Opened {
    /// Tells those who watch the name.
    pub(crate) fn announce(self) {
        self.watchers.iter().for_each(|watcher| watcher(&self.stream));
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut watchers = self.hub.watchers.lock();
        let Some(readers) = watchers.readers.get_mut(&self.name) else { return };
        if let Some(index) = readers.iter().position(|reader| *reader == self.stream) {
            readers.swap_remove(index);
        }
        if readers.is_empty() {
            watchers.readers.remove(&self.name);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let gone = {
            let mut watchers = self.hub.watchers.lock();
            let Some(of_name) = watchers.names.get_mut(&self.name) else { return };
            let index = of_name.iter().position(|(number, _)| *number == self.number);
            let gone = index.map(|index| of_name.swap_remove(index));
            if of_name.is_empty() {
                watchers.names.remove(&self.name);
            }
            gone
        };
        drop(gone);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut names = self.hub.names.lock();
        let mut released = match names.get(&self.name) {
            Some(entry) if entry.token == self.token => names.remove(&self.name),
            _ => None,
        };
        // Who finds the name free finds the owner's place free, too.
        drop(released.as_mut().and_then(|entry| entry.place.take()));
        drop(names);
        // The stream's last reference may be in it; it must not be dropped under the lock.
        drop(released);
    }
}

impl Handover {
    /// The stream that goes on.
    #[must_use]
    pub fn stream(&self) -> &StreamRef {
        &self.stream
    }

    /// Whether a publisher that is still connected is replaced; otherwise it was lost before.
    #[must_use]
    pub fn is_takeover(&self) -> bool {
        self.takeover
    }

    /// Whether the stream belongs to `owner` already.
    pub(crate) fn is_of(&self, owner: Option<&str>) -> bool {
        let names = self.hub.names.lock();
        let entry = names.get(&self.name).filter(|entry| entry.token == self.token);
        entry.is_some_and(|entry| entry.owner.as_deref() == owner)
    }

    /// The stream will belong to `heir`, whose place is then taken in place of the owner's before.
    pub(crate) fn passes_to(&mut self, heir: Option<(String, Permit)>) {
        self.heir = Some(heir);
    }

    /// Hands the publisher over to the stream's thread.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`]: the stream was stopped meanwhile.
    pub fn deliver(mut self, publisher: Box<dyn SourceDriver>) -> Result<StreamRef, Error> {
        // Before the publisher is told that it is on the air: who hears of that finds the stream to be its owner's.
        if let Some(heir) = self.heir.take() {
            let owner = heir.as_ref().map(|(owner, _)| owner.clone());
            let mut names = self.hub.names.lock();
            if let Some(entry) = names.get_mut(&self.name).filter(|entry| entry.token == self.token) {
                (entry.owner, entry.place) = heir.unzip();
            }
            drop(names);
            self.stream.shared.passes_to(owner);
        }
        if self.desk.as_ref().is_some_and(|desk| desk.is_yielding()) {
            // It is a publication from now on, and those are not counted among what was started.
            self.stream.shared.gives_its_place_back();
        }
        if !self.stream.shared.mailbox.send(Command::Deliver(Box::new(Delivery(publisher)))) {
            return Err(Error::Ended);
        }
        self.desk = None;
        Ok(self.stream.clone())
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if let Some(desk) = &self.desk {
            desk.withdraw();
        }
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

    #[test]
    fn only_the_token_of_its_owner_releases_a_name() {
        let hub = Hub::default();
        let old = hub.claim("studio", None).expect("the name is free");
        // As for the publisher that comes when the stream before has not quite ended.
        hub.names.lock().remove("studio");
        let new = hub.claim("studio", None).expect("the name is free");
        drop(old);
        assert!(matches!(hub.claim("studio", None), Err(Error::NameInUse { .. })));
        drop(new);
        assert!(hub.claim("studio", None).is_ok());
    }
}
