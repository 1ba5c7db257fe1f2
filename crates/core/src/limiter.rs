//! How many streams an owner, and the whole engine, may run at once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, LimitScope};

/// Counts running streams; asking and taking the place is one step, so two starts cannot both take the last one.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    inner: Arc<Mutex<Counts>>,
    per_owner: usize,
    global: usize,
}

#[derive(Debug, Default)]
struct Counts {
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

impl Limiter {
    /// At most `per_owner` streams of one owner and `global` in all; streams without an owner count globally only.
    pub(crate) fn new(per_owner: usize, global: usize) -> Self {
        Self { inner: Arc::default(), per_owner, global }
    }

    /// Takes a place for a stream of `owner`.
    pub(crate) fn admit(&self, owner: Option<&str>) -> Result<Permit, Error> {
        let mut counts = self.inner.lock();
        if counts.total >= self.global {
            return Err(Error::StreamLimitExceeded { scope: LimitScope::Global, limit: self.global });
        }
        if let Some(owner) = owner {
            self.count(&mut counts, owner)?;
        }
        counts.total += 1;
        Ok(Permit { limiter: self.clone(), owner: owner.map(str::to_owned), global: true })
    }

    /// Takes a place among the streams of `owner` only: for what they publish, which other limits hold for.
    pub(crate) fn admit_published(&self, owner: &str) -> Result<Permit, Error> {
        self.count(&mut self.inner.lock(), owner)?;
        Ok(Permit { limiter: self.clone(), owner: Some(owner.to_owned()), global: false })
    }

    fn count(&self, counts: &mut Counts, owner: &str) -> Result<(), Error> {
        let running = counts.owners.get(owner).copied().unwrap_or(0);
        if running >= self.per_owner {
            return Err(Error::StreamLimitExceeded { scope: LimitScope::Owner, limit: self.per_owner });
        }
        counts.owners.insert(owner.to_owned(), running + 1);
        Ok(())
    }

    /// Streams running now.
    pub(crate) fn running(&self) -> usize {
        self.inner.lock().total
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_and_the_engine_have_their_own_limit() {
        let limiter = Limiter::new(2, 3);
        let first = limiter.admit(Some("alice")).expect("a place is free");
        let _second = limiter.admit(Some("alice")).expect("a place is free");
        let refused = limiter.admit(Some("alice")).expect_err("alice has two");
        assert_eq!(refused.code(), "STREAM_LIMIT_EXCEEDED");
        assert_eq!(refused.to_string(), "Maximum 2 concurrent streams reached for this owner");
        let _third = limiter.admit(None).expect("a place is free");
        assert!(limiter.admit(Some("bob")).is_err(), "the engine is full");
        drop(first);
        assert!(limiter.admit(Some("alice")).is_ok());
    }

    #[test]
    fn what_an_owner_publishes_counts_with_what_they_started_and_not_for_the_engine() {
        let limiter = Limiter::new(2, 1);
        let _started = limiter.admit(Some("alice")).expect("a place is free");
        let published = limiter.admit_published("alice").expect("the engine's limit is for what is started");
        assert!(limiter.admit_published("alice").is_err() && limiter.admit_published("bob").is_ok());
        assert_eq!(limiter.running(), 1);
        drop(published);
        assert!(limiter.admit_published("alice").is_ok());
    }

    #[test]
    fn a_thousand_starts_at_once_never_exceed_the_limit() {
        let limiter = Limiter::new(1000, 20);
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let permits: Vec<_> =
                            (0..125).filter_map(|_| limiter.admit(Some("a")).ok()).collect();
                        std::mem::ManuallyDrop::new(permits).len()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("only counts")).sum()
        });
        assert_eq!((admitted, limiter.running()), (20, 20));
    }
}
