//! How many streams an owner, and the whole engine, may run at once.
//!
//! In: an owner who asks. Out: a place, given back when it is dropped, or a refusal. All on the caller's thread, under one lock.

use std::collections::HashMap;
use std::sync::Arc;

#[cfg(not(all(test, loom)))]
use parking_lot::Mutex;

#[cfg(all(test, loom))]
use self::model::Mutex;
use crate::error::{Error, LimitScope};

/// How many streams may run at once.
///
/// [`Config`](crate::Config) has those an engine begins with; [`Engine::set_limits`](crate::Engine::set_limits) changes them.
///
/// A publication is one stream of the owner of its key, and none of [`total`](Self::total). Each stream that is made from it
/// ([`Source::published`](crate::Source::published)) is one more of the owner it was started for, and one of `total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// Streams of one owner, including those published with the owner's keys. At least 1.
    pub per_owner: usize,
    /// Streams in all. At least 1. Those that are published do not count.
    pub total: usize,
}

crate::settings::settings!(Limits);

impl Limits {
    /// Refuses what cannot work, by the names of [`Config`](crate::Config)'s settings.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub(crate) fn check(self) -> Result<(), Error> {
        let reason = "must be at least 1".to_owned();
        match self {
            Self { total: 0, .. } => Err(Error::Config { name: "max_streams", reason }),
            Self { per_owner: 0, .. } => Err(Error::Config { name: "max_streams_per_owner", reason }),
            _ => Ok(()),
        }
    }
}

/// Whether another stream could be started; see [`Engine::can_start`](crate::Engine::can_start).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Admission {
    /// Whether there is room at this moment.
    pub allowed: bool,
    /// The error that [`start`](crate::StreamBuilder::start) would give; `None` if there is room.
    pub reason: Option<Error>,
    /// Streams that run now and count against [`limit`](Self::limit).
    pub running: usize,
    /// The limit that refuses; if none does, the one with the fewest free places: the owner's, unless the engine has fewer.
    pub limit: usize,
}

/// Counts running streams; asking and taking the place is one step, so two starts cannot both take the last one.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    inner: Arc<Mutex<Counts>>,
}

#[derive(Debug)]
struct Counts {
    limits: Limits,
    total: usize,
    owners: HashMap<String, usize>,
}

/// A place taken; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Limiter,
    owner: Option<String>,
    /// It counts among all streams, too.
    global: bool,
}

impl Counts {
    fn of(&self, owner: &str) -> usize {
        self.owners.get(owner).copied().unwrap_or(0)
    }

    fn check_total(&self) -> Result<(), Error> {
        let limit = self.limits.total;
        match self.total >= limit {
            true => Err(Error::StreamLimitExceeded { scope: LimitScope::Global, limit }),
            false => Ok(()),
        }
    }

    fn check_owner(&self, owner: &str) -> Result<(), Error> {
        let limit = self.limits.per_owner;
        match self.of(owner) >= limit {
            true => Err(Error::StreamLimitExceeded { scope: LimitScope::Owner, limit }),
            false => Ok(()),
        }
    }

    fn count(&mut self, owner: &str) {
        let running = self.of(owner);
        self.owners.insert(owner.to_owned(), running + 1);
    }
}

impl Limiter {
    /// Streams without an owner count only among all.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { inner: Arc::new(Mutex::new(Counts { limits, total: 0, owners: HashMap::new() })) }
    }

    /// Takes a place for a stream of `owner`.
    pub(crate) fn admit(&self, owner: Option<&str>) -> Result<Permit, Error> {
        let mut counts = self.inner.lock();
        counts.check_total()?;
        if let Some(owner) = owner {
            counts.check_owner(owner)?;
            counts.count(owner);
        }
        counts.total += 1;
        Ok(Permit { limiter: self.clone(), owner: owner.map(str::to_owned), global: true })
    }

    /// Takes a place among the streams of `owner` only: for what they publish, which other limits hold for.
    pub(crate) fn admit_published(&self, owner: &str) -> Result<Permit, Error> {
        let mut counts = self.inner.lock();
        counts.check_owner(owner)?;
        counts.count(owner);
        Ok(Permit { limiter: self.clone(), owner: Some(owner.to_owned()), global: false })
    }

    /// Whether [`admit`](Self::admit) would give a place.
    pub(crate) fn ask(&self, owner: Option<&str>) -> Admission {
        let counts = self.inner.lock();
        let total = (counts.total, counts.limits.total);
        let own = owner.map(|owner| (counts.of(owner), counts.limits.per_owner));
        let global = counts.check_total();
        let refused = global.clone().and_then(|()| owner.map_or(Ok(()), |owner| counts.check_owner(owner)));
        let free = |(running, limit): (usize, usize)| limit.saturating_sub(running);
        // An owner who has too many has no place free, and the engine has one: the owner's limit comes first then, too.
        let (running, limit) = match own {
            Some(own) if global.is_ok() && free(own) <= free(total) => own,
            _ => total,
        };
        Admission { allowed: refused.is_ok(), reason: refused.err(), running, limit }
    }

    /// Streams running now.
    pub(crate) fn running(&self) -> usize {
        self.inner.lock().total
    }

    /// Streams of `owner` now, with those that are published.
    pub(crate) fn of(&self, owner: &str) -> usize {
        self.inner.lock().of(owner)
    }

    /// The limits that hold now.
    pub(crate) fn limits(&self) -> Limits {
        self.inner.lock().limits
    }

    /// Other limits from now on. What runs goes on, even if it is more.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.inner.lock().limits = limits;
    }
}

impl Permit {
    /// Whose place it is.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limiter.inner.lock();
        counts.total = counts.total.saturating_sub(usize::from(self.global));
        if let Some(owner) = &self.owner
            && let Some(running) = counts.owners.get_mut(owner)
        {
            *running -= 1;
            if *running == 0 {
                counts.owners.remove(owner);
            }
        }
    }
}

#[cfg(all(test, loom))]
mod model;
#[cfg(test)]
mod tests;
