//! The list of a node: what it knows of the streams that should run, and how that is kept equal to what Redis has.
//!
//! In: looks and changes, on the link's thread. Out: memory that runners look at. What is changed here is known here once a look has seen it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::record::Record;
use crate::book::{Book, Look, PAGE, Place, Salt, Swap, Swapped};
use crate::error::Error;
use crate::life::no_random;
use crate::link::Worker;

/// Attempts to change something that others change at the same time.
const ATTEMPTS: usize = 20;
/// How long each page of a whole reading may take.
const PAGE_TIME: Duration = Duration::from_secs(60);

/// What a node knows.
#[derive(Debug)]
pub(super) struct Shelf {
    book: Book,
    known: Mutex<Known>,
    looked: Condvar,
    most: usize,
}

/// All streams, as they were when Redis was last looked at.
#[derive(Debug, Default)]
pub(super) struct Known {
    salt: Option<Salt>,
    place: Place,
    /// With the text it was read from. `None` for what is not understood.
    records: HashMap<String, Arc<Kept>>,
    /// When it was last asked for, successfully.
    pub(super) as_of: Option<Instant>,
    /// Redis has lost the list; this is what is left of it.
    is_emptied: bool,
    /// Names that have come or changed since they were taken last.
    news: Vec<String>,
}

/// What there is of a name.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(super) text: String,
    pub(super) record: Option<Record>,
}

impl Known {
    fn put(&mut self, name: &str, text: Option<String>) {
        let Some(text) = text else {
            self.records.remove(name);
            return;
        };
        if self.records.get(name).is_some_and(|kept| kept.text == text) {
            return;
        }
        let record = Record::read(&text);
        if record.is_none() {
            log::error!("{name}: what Redis has of the stream is not understood; it is not run");
        }
        self.records.insert(name.to_owned(), Arc::new(Kept { text, record }));
        self.news.push(name.to_owned());
    }
}

impl Shelf {
    pub(super) fn new(prefix: &str, most: usize) -> Self {
        let book = Book::new(prefix, "desired");
        Self { book, known: Mutex::default(), looked: Condvar::new(), most }
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Kept>> {
        self.known.lock().records.get(name).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.known.lock().records.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(super) fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.known.lock().news)
    }

    pub(super) fn age(&self) -> Option<Duration> {
        self.known.lock().as_of.map(|at| at.elapsed())
    }

    /// Whether the list is what Redis has.
    pub(super) fn is_known(&self) -> bool {
        let known = self.known.lock();
        known.as_of.is_some() && !known.is_emptied
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
        let before = std::mem::take(&mut *self.known.lock());
        drop(before);
    }

    /// Takes over what has changed.
    pub(super) fn look(&self, worker: &mut Worker, until: Instant) -> Result<(), Error> {
        loop {
            let asked = Instant::now();
            let (salt, place) = {
                let known = self.known.lock();
                (known.salt.clone(), known.place.clone())
            };
            match self.book.look(worker, until, salt.as_ref(), &place)? {
                Look::Nothing => {
                    let mut known = self.known.lock();
                    // A node that knows streams, and a server that has none: it has lost them.
                    known.is_emptied = known.salt.is_some();
                    if known.is_emptied {
                        return Err(Error::DesiredEmptied { server: worker.shown() });
                    }
                    known.as_of = Some(asked);
                    drop(known);
                    self.looked.notify_all();
                    return Ok(());
                }
                Look::Anew { salt, .. } => self.read_all(worker, &salt)?,
                Look::Changes { place, names } => {
                    let is_last = names.len() < PAGE;
                    let mut known = self.known.lock();
                    for (name, text) in names {
                        known.put(&name, text);
                    }
                    known.place = place;
                    if is_last {
                        (known.as_of, known.is_emptied) = (Some(asked), false);
                        drop(known);
                        self.looked.notify_all();
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Reads everything. A server that fell back to an earlier state has the list of then, and that is what should run.
    fn read_all(&self, worker: &mut Worker, salt: &Salt) -> Result<(), Error> {
        let deadline = || Instant::now() + PAGE_TIME;
        let Some((now, place)) = self.book.place(worker, deadline())? else { return Ok(()) };
        if now != *salt {
            return Ok(());
        }
        let mut read = HashMap::new();
        let mut cursor = 0;
        loop {
            let (next, page) = self.book.page(worker, deadline(), cursor)?;
            read.extend(page);
            if read.len() > self.most {
                let reason = format!("it has more than {} streams that should run", self.most);
                return Err(Error::Answer { server: worker.shown(), reason });
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let mut known = self.known.lock();
        known.records.retain(|name, _| read.contains_key(name));
        for (name, text) in read {
            known.put(&name, Some(text));
        }
        (known.salt, known.place) = (Some(now), place);
        Ok(())
    }

    /// Changes what there is of a name; `None` if there is nothing to do. `true` if there was something.
    pub(super) fn change(
        &self,
        worker: &mut Worker,
        until: Instant,
        name: &str,
        mut wanted: impl FnMut(Option<&str>) -> Result<Option<Option<String>>, Error>,
    ) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let salt = self.salt(worker, until)?;
            let before = self.book.record(worker, until, name)?;
            let Some(after) = wanted(before.as_deref())? else { return Ok(before.is_some()) };
            if before.is_none() && after.is_none() {
                return Ok(false);
            }
            let swap = Swap { name, before: before.as_deref(), after, ..Swap::default() };
            match self.book.swap(worker, until, &salt, &swap)? {
                Swapped::Done => return Ok(before.is_some()),
                Swapped::Salt => self.look(worker, until)?,
                Swapped::Changed | Swapped::Held(_) => {}
            }
        }
        let reason = format!("{name}: others change it all the time");
        Err(Error::Answer { server: worker.shown(), reason })
    }

    /// The salt that holds. Where there was never a list, it begins now.
    fn salt(&self, worker: &mut Worker, until: Instant) -> Result<Salt, Error> {
        // A node that has just started, or has not looked for a while, may not know what there is.
        self.look(worker, until)?;
        if let Some(salt) = self.known.lock().salt.clone() {
            return Ok(salt);
        }
        let new = Salt::random().ok_or_else(no_random)?;
        let salt = self.book.begin(worker, until, &new)?;
        self.known.lock().salt = Some(salt.clone());
        Ok(salt)
    }

    /// Puts everything that is known here back into a server that has lost it. The number of names.
    pub(super) fn restore(&self, worker: &mut Worker) -> Result<usize, Error> {
        let deadline = || Instant::now() + PAGE_TIME;
        match self.look(worker, deadline()) {
            Err(Error::DesiredEmptied { .. }) => {}
            // There is a list, or nothing is known here: nothing is to be put back.
            other => return other.map(|()| 0),
        }
        let (salt, version, all) = {
            let known = self.known.lock();
            let Some(salt) = known.salt.clone() else { return Ok(0) };
            let all: Vec<_> = known.records.iter().map(|(name, kept)| (name.clone(), kept.clone())).collect();
            (salt, known.place.version + 1, all)
        };
        for page in all.chunks(PAGE) {
            let page = page.iter().map(|(name, kept)| (name.as_str(), kept.text.clone(), Vec::new()));
            self.book.put_back(worker, deadline(), page)?;
        }
        if !self.book.restored(worker, deadline(), &salt, version)? {
            let reason = "others began anew while streams were put back".to_owned();
            return Err(Error::Answer { server: worker.shown(), reason });
        }
        self.look(worker, deadline())?;
        Ok(all.len())
    }
}
