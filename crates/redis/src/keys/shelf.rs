//! The keys of a node: what it knows, and how that is kept equal to what Redis has.
//!
//! In: looks and changes, on the link's thread. Out: memory that others answer from. Publishers of keys that went are taken off the air.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

use flowcast_core::KeyRegistry;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::known::Known;
use super::record::Entry;
use crate::book::{Book, Digest, Look, PAGE, Place, Salt, Swap, Swapped};
use crate::error::Error;
use crate::life::no_random;
use crate::link::Worker;

/// Attempts to change something that others change at the same time.
const ATTEMPTS: usize = 20;
/// Keys that ended are forgotten after this, so that a publisher is told that its key has ended.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How often keys that have ended are looked for, and how many are forgotten each time.
const SWEEP: Duration = Duration::from_secs(60);
const SWEPT: usize = 100;

/// What a node knows, and where it is from.
#[derive(Debug)]
pub(super) struct Shelf {
    book: Book,
    known: Mutex<Known>,
    looked: Condvar,
    place: Mutex<Place>,
    /// Names that were changed here, and that no look has seen yet: a server that falls back before one does has lost them again.
    unseen: Mutex<HashSet<String>>,
    sweep_at: Mutex<Instant>,
    /// Takes publishers off the air.
    registry: KeyRegistry,
    most: usize,
}

/// What a program wants of a name, given what there is now, and what time it is for all nodes; `None` if there is nothing to do.
pub(super) type Change<'a> =
    dyn FnMut(&Salt, Option<&Entry>, SystemTime) -> Result<Option<Option<Entry>>, Error> + Send + 'a;

impl Shelf {
    pub(super) fn new(prefix: &str, registry: KeyRegistry, most: usize) -> Self {
        Self {
            book: Book::new(prefix, "keys"),
            known: Mutex::default(),
            looked: Condvar::new(),
            place: Mutex::default(),
            unseen: Mutex::default(),
            sweep_at: Mutex::new(Instant::now() + SWEEP),
            registry,
            most,
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// Waits until something is known; `false` if it is not in time.
    pub(super) fn wait_until_known(&self, until: Instant) -> bool {
        let mut known = self.known.lock();
        while known.as_of.is_none() {
            if self.looked.wait_until(&mut known, until).timed_out() {
                return known.as_of.is_some();
            }
        }
        true
    }

    /// Forgets everything: what Redis has is what there is.
    pub(super) fn forget(&self) {
        *self.place.lock() = Place::default();
        let before = std::mem::take(&mut *self.known.lock());
        drop(before);
    }

    /// Takes over what has changed.
    pub(super) fn look(&self, worker: &mut Worker, until: Instant) -> Result<(), Error> {
        loop {
            let asked = Instant::now();
            let place = self.place.lock().clone();
            let salt = self.known.lock().salt.clone();
            match self.book.look(worker, until, salt.as_ref(), &place)? {
                Look::Nothing => {
                    let mut known = self.known.lock();
                    // A node that knows keys, and a server that has none: it has lost them.
                    known.is_emptied = known.salt.is_some();
                    if known.is_emptied {
                        return Err(Error::Emptied { server: worker.shown() });
                    }
                    known.as_of = Some(asked);
                    drop(known);
                    self.looked.notify_all();
                    return Ok(());
                }
                Look::Anew { salt, floor } => self.read_all(worker, &salt, floor)?,
                Look::Changes { place, names } => {
                    let is_last = names.len() < PAGE;
                    let mut unseen = self.unseen.lock();
                    for (name, _) in &names {
                        unseen.remove(name);
                    }
                    let is_lost = is_last && !std::mem::take(&mut *unseen).is_empty();
                    drop(unseen);
                    if is_lost {
                        self.take_over(place, &names, None);
                        // No server has such a stamp: everything is read.
                        *self.place.lock() = Place { version: u64::MAX >> 12, stamp: String::new() };
                        continue;
                    }
                    self.take_over(place, &names, is_last.then_some(asked));
                    if is_last {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn take_over(&self, place: Place, names: &[(String, Option<String>)], as_of: Option<Instant>) {
        let mut known = self.known.lock();
        let mut gone = Vec::new();
        for (name, record) in names {
            if known.put(name, record.as_deref()) {
                gone.push(name.as_str());
            }
        }
        known.version = place.version;
        *self.place.lock() = place;
        if let Some(asked) = as_of {
            (known.as_of, known.is_emptied) = (Some(asked), false);
        }
        drop(known);
        self.take_off(gone);
        self.looked.notify_all();
    }

    fn take_off<'a>(&self, gone: impl IntoIterator<Item = &'a str>) {
        for name in gone {
            if self.registry.take_off(name) {
                log::info!("{name}: its key was revoked");
            }
        }
    }

    /// Reads all keys. Each page has its own deadline: there may be many.
    fn read_all(&self, worker: &mut Worker, salt: &Salt, floor: u64) -> Result<(), Error> {
        let deadline = || Instant::now() + Duration::from_secs(60);
        let Some((now, place)) = self.book.place(worker, deadline())? else { return Ok(()) };
        if now != *salt {
            return Ok(());
        }
        let mut read = Known::of(Some(now), place.version);
        let mut cursor = 0;
        loop {
            let (next, page) = self.book.page(worker, deadline(), cursor)?;
            for (name, record) in page {
                read.put(&name, Some(&record));
            }
            if read.len() > self.most {
                let reason = format!("it has more than {} stream keys", self.most);
                return Err(Error::Answer { server: worker.shown(), reason });
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let mut known = self.known.lock();
        // Not where the server lost its keys, or fell back to an earlier state: then nobody has revoked what is missing.
        let is_later = known.salt.as_ref() == Some(salt) && known.version < floor && !known.is_emptied;
        let gone: Vec<_> = match is_later {
            true => known.missing_in(&read).map(str::to_owned).collect(),
            false => Vec::new(),
        };
        // How old it is, is said by the look that follows.
        read.as_of = known.as_of;
        let before = std::mem::replace(&mut *known, read);
        *self.place.lock() = place;
        drop(known);
        drop(before);
        self.take_off(gone.iter().map(String::as_str));
        Ok(())
    }

    /// Changes what there is of a name. `true` if there was something.
    pub(super) fn change(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
        wanted: &mut Change<'_>,
    ) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let salt = self.salt(worker, until)?;
            let (before, now) = self.book.record_now(worker, until, name)?;
            let entry = before.as_deref().and_then(Entry::read);
            let Some(after) = wanted(&salt, entry.as_ref(), now)? else { return Ok(before.is_some()) };
            match (&before, &entry, &after) {
                (None, _, None) => return Ok(false),
                // A later version's, perhaps. It can be removed, no more.
                (Some(_), None, Some(_)) => {
                    let reason = format!("{name}: what it has of the key is not understood");
                    return Err(Error::Answer { server: worker.shown(), reason });
                }
                _ => {}
            }
            let coming: Vec<_> = after.iter().flat_map(Entry::digests).copied().collect();
            let going = entry.iter().flat_map(Entry::digests).filter(|digest| !coming.contains(digest));
            let going = going.copied().collect();
            let after = after.as_ref().map(Entry::write);
            let swap = Swap { name, before: before.as_deref(), after, coming, going };
            match self.book.swap(worker, until, &salt, &swap)? {
                Swapped::Done => {
                    self.unseen.lock().insert(name.to_owned());
                    // Known here at once: whoever asked will use it.
                    let is_gone = self.known.lock().put(name, swap.after.as_deref());
                    self.take_off(is_gone.then_some(name));
                    return Ok(before.is_some());
                }
                Swapped::Salt => self.look(worker, until)?,
                Swapped::Changed => {}
                Swapped::Held(holder) => self.let_go(worker, until, &holder, &swap, &salt)?,
            }
        }
        let reason = format!("{name}: others change it all the time");
        Err(Error::Answer { server: worker.shown(), reason })
    }

    /// The salt that holds. Where there were never keys, they begin now.
    fn salt(&self, worker: &mut Worker, until: Instant) -> Result<Salt, Error> {
        let known = self.known.lock();
        let (salt, is_emptied) = (known.salt.clone(), known.is_emptied);
        drop(known);
        if is_emptied {
            return Err(Error::Emptied { server: worker.shown() });
        }
        if let Some(salt) = salt {
            return Ok(salt);
        }
        // A node that has just started may not know what there is.
        self.look(worker, until)?;
        if let Some(salt) = self.known.lock().salt.clone() {
            return Ok(salt);
        }
        let new = Salt::random().ok_or_else(no_random)?;
        let salt = self.book.begin(worker, until, &new)?;
        self.known.lock().salt = Some(salt.clone());
        Ok(salt)
    }

    /// Another name has a key that is wanted. If it was replaced there, and is over, the name lets it go.
    fn let_go(
        &self,
        worker: &mut Worker,
        until: Instant,
        holder: &str,
        wanted: &Swap<'_>,
        salt: &Salt,
    ) -> Result<(), Error> {
        let (before, now) = self.book.record_now(worker, until, holder)?;
        let is_wanted = |digest: &Digest| wanted.coming.contains(digest);
        let entry = before.as_deref().map(Entry::read);
        let mut after = match &entry {
            Some(Some(entry)) if !entry.is_over(now) => Some(entry.clone()),
            // It ended, or is gone already.
            Some(Some(_)) | None => None,
            Some(None) => return Err(taken(wanted.name)),
        };
        let (mut going, mut coming) = (Vec::new(), Vec::new());
        if let Some(after) = &mut after {
            if is_wanted(&after.key) {
                return Err(taken(wanted.name));
            }
            for (digest, until) in std::mem::take(&mut after.old) {
                match is_wanted(&digest) {
                    true if until > now => return Err(taken(wanted.name)),
                    true => going.push(digest),
                    false => after.old.push((digest, until)),
                }
            }
            coming = after.digests().copied().collect();
        }
        if after.is_none() {
            going = entry
                .into_iter()
                .flatten()
                .flat_map(|entry| entry.digests().copied().collect::<Vec<_>>())
                .collect();
            going.extend(wanted.coming.iter().copied());
        }
        let after = after.as_ref().map(Entry::write);
        let swap = Swap { name: holder, before: before.as_deref(), after, coming, going };
        self.book.swap(worker, until, salt, &swap).map(drop)
    }

    /// Forgets some of the keys that ended a while ago, now and then.
    pub(super) fn sweep(&self, worker: &mut Worker, until: Instant) -> Result<(), Error> {
        let now = Instant::now();
        if *self.sweep_at.lock() > now {
            return Ok(());
        }
        *self.sweep_at.lock() = now + SWEEP;
        let now = self.book.now(worker, until)?;
        let over = self.known.lock().over(now, REMEMBERED, SWEPT);
        for name in over {
            self.change(worker, until, &name, &mut |_, entry, now| {
                Ok(entry.filter(|entry| entry.is_over(now - REMEMBERED)).map(|_| None))
            })?;
        }
        Ok(())
    }

    /// Puts everything that is known here back into a server that has lost it. The number of names.
    pub(super) fn restore(&self, worker: &mut Worker) -> Result<usize, Error> {
        let deadline = || Instant::now() + Duration::from_secs(60);
        match self.look(worker, deadline()) {
            Err(Error::Emptied { .. }) => {}
            // There are keys, or nothing is known here: nothing is to be put back.
            other => return other.map(|()| 0),
        }
        let known = self.known.lock();
        let Some(salt) = known.salt.clone() else { return Ok(0) };
        let version = known.version + 1;
        let entries = known.entries().filter_map(|(name, entry)| Some((name.to_owned(), entry?.clone())));
        let entries: Vec<_> = entries.collect();
        drop(known);
        for page in entries.chunks(PAGE) {
            let page = page.iter();
            let page =
                page.map(|(name, entry)| (name.as_str(), entry.write(), entry.digests().copied().collect()));
            self.book.put_back(worker, deadline(), page)?;
        }
        if !self.book.restored(worker, deadline(), &salt, version)? {
            let reason = "others began anew while keys were put back".to_owned();
            return Err(Error::Answer { server: worker.shown(), reason });
        }
        self.look(worker, deadline())?;
        Ok(entries.len())
    }
}

/// The key is another name's.
fn taken(name: &str) -> Error {
    let reason = "the key is another name's already";
    flowcast_core::Error::KeyInUse { name: name.to_owned(), reason }.into()
}
