//! Who gets a place, and who is refused.

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
