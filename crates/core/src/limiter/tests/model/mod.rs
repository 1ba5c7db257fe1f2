//! The orders in which a few threads can ask, tried by loom: the places, compiled once more with its locks.

#[path = "../../places.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "the same source, of which not all is tried")]
mod places;
mod sync;

use std::collections::HashMap;
use std::time::Duration;

use self::places::Limiter;
use super::super::{Admission, Limits, line};
use super::{sends, uplink};
use crate::admission::{Measured, WhenFull};
use crate::bit_rate::BitRate;

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
        let limiter = Limiter::new(limits, None);
        let taken = loom::sync::Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let all: Vec<_> = (0..threads)
            .map(|thread| {
                let (limiter, taken) = (limiter.clone(), taken.clone());
                loom::thread::spawn(move || {
                    let order = loom::sync::atomic::Ordering::SeqCst;
                    if let Ok(permit) = limiter.admit_one(owner(thread)) {
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
        assert!(limiter.admit_one(owner(0)).is_ok());
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
        let limiter = Limiter::new(Limits { per_owner: 1, total: 1 }, None);
        let other = limiter.clone();
        let published = loom::thread::spawn(move || other.admit_published("alice").ok());
        let started = limiter.admit_one(Some("alice")).ok();
        let published = published.join().expect("no thread panics");
        assert!(published.is_some() != started.is_some(), "exactly one has the place");
        drop((published, started));
        assert_eq!((limiter.running(), limiter.of("alice")), (0, 0));
    });
}

/// Room for one such stream, and not for two.
fn room_for_one(when_full: WhenFull) -> Limiter {
    let admission = uplink(BitRate::from_kbps(1500), when_full);
    let limiter = Limiter::new(Limits { per_owner: 9, total: 9 }, Some(admission));
    limiter.measure(Measured::default(), &HashMap::new());
    limiter
}

#[test]
fn two_who_want_the_last_of_the_uplink_do_not_both_get_it() {
    explore(|| {
        let limiter = room_for_one(WhenFull::Refuse);
        let take = |limiter: &Limiter| limiter.admit(None, &[sends(800)], Duration::ZERO, &|| None).ok();
        let other = limiter.clone();
        let theirs = loom::thread::spawn(move || take(&other));
        let ours = take(&limiter);
        let theirs = theirs.join().expect("no thread panics");
        assert!(theirs.is_some() != ours.is_some(), "exactly one has it");
        drop((theirs, ours));
        assert!(take(&limiter).is_some());
    });
}

#[test]
fn who_waits_is_woken_by_a_place_that_is_given_back() {
    explore(|| {
        let limiter = room_for_one(WhenFull::Queue(Duration::from_secs(60)));
        let take = |limiter: &Limiter| {
            limiter
                .admit(None, &[sends(800)], Duration::from_secs(60), &|| None)
                .expect("it waits for its turn")
        };
        let other = limiter.clone();
        let waits = loom::thread::spawn(move || drop(take(&other)));
        drop(take(&limiter));
        waits.join().expect("no thread panics");
        assert_eq!(limiter.running(), 0);
    });
}
