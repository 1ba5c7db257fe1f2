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

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_owner: usize, total: usize) -> Limiter {
        Limiter::new(Limits { per_owner, total })
    }

    #[test]
    fn an_owner_and_the_engine_have_their_own_limit() {
        let limiter = limiter(2, 3);
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
        let limiter = limiter(2, 1);
        let _started = limiter.admit(Some("alice")).expect("a place is free");
        let published = limiter.admit_published("alice").expect("the engine's limit is for what is started");
        assert!(limiter.admit_published("alice").is_err() && limiter.admit_published("bob").is_ok());
        assert_eq!(limiter.running(), 1);
        drop(published);
        assert!(limiter.admit_published("alice").is_ok());
    }

    #[test]
    fn there_is_never_one_too_many_from_64_threads() {
        use std::sync::Barrier;
        use std::sync::atomic::{AtomicUsize, Ordering};

        const THREADS: usize = 64;
        const ROUNDS: usize = 200;
        const OWNERS: [&str; 4] = ["alice", "bob", "carol", "dan"];
        // With twelve places in all, no owner can have five of them and leave some free: each round fills the engine.
        let limiter = limiter(5, 12);
        let (together, admitted) = (Barrier::new(THREADS), AtomicUsize::new(0));
        let each = [const { AtomicUsize::new(0) }; OWNERS.len()];
        // A thread that panicked would keep the others waiting.
        let (most, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (limiter, together, admitted, each) = (&limiter, &together, &admitted, &each);
                let (most, wrong) = (&most, &wrong);
                scope.spawn(move || {
                    let whose = thread % OWNERS.len();
                    for _ in 0..ROUNDS {
                        together.wait();
                        let permit = limiter.admit(Some(OWNERS[whose]));
                        match &permit {
                            Ok(_) => {
                                admitted.fetch_add(1, Ordering::SeqCst);
                                let own = each[whose].fetch_add(1, Ordering::SeqCst) + 1;
                                most.fetch_max(own, Ordering::SeqCst);
                            }
                            Err(error) => {
                                let is_of_the_limit = error.code() == "STREAM_LIMIT_EXCEEDED";
                                wrong.fetch_add(usize::from(!is_of_the_limit), Ordering::SeqCst);
                            }
                        }
                        if together.wait().is_leader() {
                            let is_full = admitted.swap(0, Ordering::SeqCst) == 12;
                            wrong.fetch_add(usize::from(!is_full), Ordering::SeqCst);
                            each.iter().for_each(|own| own.store(0, Ordering::SeqCst));
                        }
                        drop(permit);
                        // Nobody asks before all places are given back.
                        together.wait();
                    }
                });
            }
        });
        assert_eq!(
            (wrong.into_inner(), most.into_inner()),
            (0, 5),
            "rounds that are not full, and places of one owner"
        );
        assert_eq!((limiter.running(), OWNERS.map(|owner| limiter.of(owner))), (0, [0; OWNERS.len()]));
    }

    #[test]
    fn who_asks_hears_what_a_start_would_say() {
        let limiter = limiter(2, 4);
        let ask = |owner| {
            let Admission { allowed, reason, running, limit } = limiter.ask(owner);
            assert_eq!(allowed, reason.is_none());
            // Nothing is taken by asking, and what is said is what happens.
            let taken = limiter.admit(owner).map(drop).err();
            assert_eq!(taken.as_ref().map(ToString::to_string), reason.as_ref().map(ToString::to_string));
            (allowed, running, limit)
        };
        assert_eq!(ask(Some("alice")), (true, 0, 2));
        assert_eq!(ask(None), (true, 0, 4));
        let _alice = [(); 2].map(|()| limiter.admit(Some("alice")).expect("a place is free"));
        assert_eq!(ask(Some("alice")), (false, 2, 2));
        // Bob may have two, and the engine has two: his own limit is named. With one left, it is the engine's.
        assert_eq!(ask(Some("bob")), (true, 0, 2));
        let third = limiter.admit(None).expect("a place is free");
        assert_eq!(ask(Some("bob")), (true, 3, 4));
        let _fourth = limiter.admit(None).expect("a place is free");
        assert_eq!(ask(Some("alice")), (false, 4, 4));
        assert_eq!((limiter.of("alice"), limiter.of("bob")), (2, 0));
        drop(third);
        assert_eq!(ask(None), (true, 3, 4));
    }

    #[test]
    fn limits_change_while_streams_run() {
        let limiter = limiter(1, 1);
        let first = limiter.admit(Some("alice")).expect("a place is free");
        assert!(limiter.admit(Some("alice")).is_err());
        limiter.set_limits(Limits { per_owner: 3, total: 3 });
        let more = [(); 2].map(|()| limiter.admit(Some("alice")).expect("there are two more"));
        limiter.set_limits(Limits { per_owner: 2, total: 5 });
        // Three run, and two may: nobody is stopped, and one has to go before the next is refused no more.
        assert!(!limiter.ask(Some("alice")).allowed && limiter.of("alice") == 3);
        drop(first);
        assert!(limiter.admit(Some("alice")).is_err());
        drop(more);
        assert!(limiter.admit(Some("alice")).is_ok());
        assert_eq!(limiter.limits(), Limits { per_owner: 2, total: 5 });
    }
}

/// The orders in which a few threads can ask, tried by loom: `scripts/loom.sh`.
#[cfg(all(test, loom))]
mod model {
    use super::*;

    /// Like that of `parking_lot`, which loom does not know.
    #[derive(Debug)]
    pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("nobody panics while it is held")
        }
    }

    /// Every order in which threads are interrupted at most three times: faults of this kind show with fewer, and the rest takes hours.
    fn explore(run: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(run);
    }

    fn at_once(
        threads: usize,
        limits: Limits,
        owner: impl Fn(usize) -> Option<&'static str> + Copy + Send + Sync + 'static,
    ) {
        explore(move || {
            let limiter = Limiter::new(limits);
            let taken = loom::sync::Arc::new(loom::sync::atomic::AtomicUsize::new(0));
            let all: Vec<_> = (0..threads)
                .map(|thread| {
                    let (limiter, taken) = (limiter.clone(), taken.clone());
                    loom::thread::spawn(move || {
                        let order = loom::sync::atomic::Ordering::SeqCst;
                        if let Ok(permit) = limiter.admit(owner(thread)) {
                            let most = match owner(thread) {
                                Some(_) => limits.total.min(limits.per_owner),
                                None => limits.total,
                            };
                            assert!(taken.fetch_add(1, order) < most, "one too many");
                            taken.fetch_sub(1, order);
                            drop(permit);
                        }
                    })
                })
                .collect();
            all.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
            assert_eq!((limiter.running(), limiter.of("alice")), (0, 0), "a place is not given back");
            assert!(limiter.admit(owner(0)).is_ok());
        });
    }

    #[test]
    fn two_who_want_the_last_place_do_not_both_get_it() {
        at_once(2, Limits { per_owner: 5, total: 1 }, |_| None);
    }

    #[test]
    fn three_of_one_owner_do_not_share_two_places() {
        at_once(3, Limits { per_owner: 2, total: 20 }, |_| Some("alice"));
    }

    #[test]
    fn what_is_published_and_what_is_started_share_the_places_of_an_owner() {
        explore(|| {
            let limiter = Limiter::new(Limits { per_owner: 1, total: 1 });
            let other = limiter.clone();
            let published = loom::thread::spawn(move || other.admit_published("alice").ok());
            let started = limiter.admit(Some("alice")).ok();
            let published = published.join().expect("no thread panics");
            assert!(published.is_some() != started.is_some(), "exactly one has the place");
            drop((published, started));
            assert_eq!((limiter.running(), limiter.of("alice")), (0, 0));
        });
    }
}
