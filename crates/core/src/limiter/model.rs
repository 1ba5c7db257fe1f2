//! The orders in which a few threads can ask, tried by loom: `scripts/loom.sh`.

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
