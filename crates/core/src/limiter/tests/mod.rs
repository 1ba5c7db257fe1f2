//! Who gets a place, and who is refused.

mod model;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::*;
use crate::admission::{Ask, EncodeKind, Kind, Measured, MeasuredAdmission, Ways, WhenFull, Work};
use crate::bit_rate::BitRate;

fn limiter(per_owner: usize, total: usize) -> Limiter {
    Limiter::new(Limits { per_owner, total }, None)
}

#[test]
fn an_owner_and_the_engine_have_their_own_limit() {
    let limiter = limiter(2, 3);
    let first = limiter.admit_one(Some("alice")).expect("a place is free");
    let _second = limiter.admit_one(Some("alice")).expect("a place is free");
    let refused = limiter.admit_one(Some("alice")).expect_err("alice has two");
    assert_eq!(refused.code(), "STREAM_LIMIT_EXCEEDED");
    assert_eq!(refused.to_string(), "Maximum 2 concurrent streams reached for this owner");
    let _third = limiter.admit_one(None).expect("a place is free");
    assert!(limiter.admit_one(Some("bob")).is_err(), "the engine is full");
    drop(first);
    assert!(limiter.admit_one(Some("alice")).is_ok());
}

#[test]
fn what_an_owner_publishes_counts_with_what_they_started_and_not_for_the_engine() {
    let limiter = limiter(2, 1);
    let _started = limiter.admit_one(Some("alice")).expect("a place is free");
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
                    let permit = limiter.admit_one(Some(OWNERS[whose]));
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
        let taken = limiter.admit_one(owner).map(drop).err();
        assert_eq!(taken.as_ref().map(ToString::to_string), reason.as_ref().map(ToString::to_string));
        (allowed, running, limit)
    };
    assert_eq!(ask(Some("alice")), (true, 0, 2));
    assert_eq!(ask(None), (true, 0, 4));
    let _alice = [(); 2].map(|()| limiter.admit_one(Some("alice")).expect("a place is free"));
    assert_eq!(ask(Some("alice")), (false, 2, 2));
    // Bob may have two, and the engine has two: his own limit is named. With one left, it is the engine's.
    assert_eq!(ask(Some("bob")), (true, 0, 2));
    let third = limiter.admit_one(None).expect("a place is free");
    assert_eq!(ask(Some("bob")), (true, 3, 4));
    let _fourth = limiter.admit_one(None).expect("a place is free");
    assert_eq!(ask(Some("alice")), (false, 4, 4));
    assert_eq!((limiter.of("alice"), limiter.of("bob")), (2, 0));
    drop(third);
    assert_eq!(ask(None), (true, 3, 4));
}

#[test]
fn limits_change_while_streams_run() {
    let limiter = limiter(1, 1);
    let first = limiter.admit_one(Some("alice")).expect("a place is free");
    assert!(limiter.admit_one(Some("alice")).is_err());
    limiter.set_limits(Limits { per_owner: 3, total: 3 });
    let more = [(); 2].map(|()| limiter.admit_one(Some("alice")).expect("there are two more"));
    limiter.set_limits(Limits { per_owner: 2, total: 5 });
    // Three run, and two may: nobody is stopped, and one has to go before the next is refused no more.
    assert!(!limiter.ask(Some("alice")).allowed && limiter.of("alice") == 3);
    drop(first);
    assert!(limiter.admit_one(Some("alice")).is_err());
    drop(more);
    assert!(limiter.admit_one(Some("alice")).is_ok());
    assert_eq!(limiter.limits(), Limits { per_owner: 2, total: 5 });
}

/// An encode that is expected to send so much.
fn sends(kbps: u32) -> Ask {
    let encode = EncodeKind {
        codec: "h264",
        preset: "ultrafast".to_owned(),
        size: Some((640, 360)),
        frame_rate: Some(25),
        most_size: None,
        most_frame_rate: None,
        kbps,
    };
    let ways = Ways { plain: 1, ..Ways::default() };
    Ask { kind: Kind { work: Work::Encode(encode), has_fallback: false, ways }, media: None, is_once: false }
}

/// Only the uplink is measured.
fn uplink(rate: BitRate, when_full: WhenFull) -> MeasuredAdmission {
    MeasuredAdmission::default().with(|admission| {
        (admission.cpu, admission.memory) = (None, None);
        admission.uplink = Some(rate);
        admission.when_full = when_full;
    })
}

/// An uplink of 10 Mbit/s. A stream of [`ONE`] takes 2.1 of it: there is room for four.
fn measured(when_full: WhenFull) -> Limiter {
    let admission = uplink(BitRate::from_mbps(10.0), when_full);
    let limiter = Limiter::new(Limits { per_owner: 100, total: 100 }, Some(admission));
    limiter.measure(Measured::default(), &HashMap::new());
    limiter
}

const ONE: u32 = 1840;
const ROOM: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);

fn start(limiter: &Limiter, kbps: u32) -> Result<Permit, Error> {
    Ok(limiter.admit(None, &[sends(kbps)], MINUTE, &|| None)?.permit)
}

/// Waits until so many starts wait.
fn until_waiting(limiter: &Limiter, count: usize) {
    let deadline = Instant::now() + MINUTE;
    while limiter.waiting() != count {
        assert!(Instant::now() < deadline, "{} wait", limiter.waiting());
        std::thread::yield_now();
    }
}

#[test]
fn a_budget_is_never_exceeded_from_64_threads() {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const THREADS: usize = 64;
    const ROUNDS: usize = 50;
    let limiter = measured(WhenFull::Refuse);
    let (together, admitted, wrong) = (Barrier::new(THREADS), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    together.wait();
                    let permit = start(&limiter, ONE);
                    match &permit {
                        Ok(_) => _ = admitted.fetch_add(1, Ordering::SeqCst),
                        Err(error) if error.code() == "CAPACITY_EXCEEDED" => {}
                        Err(_) => _ = wrong.fetch_add(1, Ordering::SeqCst),
                    }
                    if together.wait().is_leader() {
                        let is_full = admitted.swap(0, Ordering::SeqCst) == ROOM;
                        wrong.fetch_add(usize::from(!is_full), Ordering::SeqCst);
                    }
                    drop(permit);
                    together.wait();
                }
            });
        }
    });
    assert_eq!((wrong.into_inner(), limiter.running()), (0, 0));
    assert_eq!(limiter.uses()[0].used, 0.0);
}

#[test]
fn starts_that_wait_are_served_in_the_order_in_which_they_came() {
    use std::sync::mpsc::channel;

    let limiter = measured(WhenFull::Queue(MINUTE));
    let mut running: Vec<_> = (0..ROOM).map(|_| start(&limiter, ONE).expect("it fits")).collect();
    let (told, order) = channel();
    std::thread::scope(|scope| {
        // The first one needs as much as two: those behind it would fit before, and do not pass.
        for (number, kbps) in [(0, 2 * ONE + 160), (1, ONE), (2, ONE)] {
            let (limiter, told) = (&limiter, told.clone());
            scope.spawn(move || told.send((number, start(limiter, kbps))).expect("somebody listens"));
            until_waiting(limiter, number + 1);
        }
        let forecast = limiter.forecast(None, &[sends(1)]).0;
        assert_eq!(forecast.expect_err("others wait").code(), "CAPACITY_EXCEEDED");
        running.pop();
        // It has asked again by the time its shortage is what is left.
        let deadline = Instant::now() + MINUTE;
        while limiter.shortage().is_none_or(|short| short.used > 6.4e6) {
            assert!(Instant::now() < deadline, "nobody asks again");
        }
        assert_eq!(limiter.waiting(), 3, "there is room for the second, who waits behind the first");
        running.pop();
        let (number, permit) = order.recv().expect("one is admitted");
        assert_eq!(number, 0);
        until_waiting(&limiter, 2);
        drop(permit);
        let mut rest = [order.recv().expect("admitted"), order.recv().expect("admitted")];
        rest.sort_by_key(|(number, _)| *number);
        assert!(rest.iter().all(|(_, permit)| permit.is_ok()));
    });
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn a_measurement_that_falls_and_other_settings_wake_who_waits() {
    let limiter = measured(WhenFull::Queue(MINUTE));
    let busy = Measured { uplink: 9e6, ..Measured::default() };
    limiter.measure(busy, &HashMap::new());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| start(&limiter, ONE));
        until_waiting(&limiter, 1);
        limiter.measure(Measured::default(), &HashMap::new());
        let permit = waits.join().expect("no thread panics").expect("there is room now");
        limiter.measure(busy, &HashMap::new());
        let waits = scope.spawn(|| start(&limiter, ONE));
        until_waiting(&limiter, 1);
        limiter.set_admission(None);
        drop((permit, waits.join().expect("no thread panics").expect("nothing is asked any more")));
    });
    assert_eq!((limiter.waiting(), limiter.running()), (0, 0));
}

#[test]
fn a_wait_has_an_end_and_can_be_called_off_and_numbers_are_not_waited_for() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let limiter = measured(WhenFull::Queue(Duration::from_millis(20)));
    let running: Vec<_> = (0..ROOM).map(|_| start(&limiter, ONE).expect("it fits")).collect();
    let refused = start(&limiter, ONE).expect_err("nobody gives a place back");
    assert!(matches!(refused, Error::CapacityExceeded { shortage } if shortage.used > 8e6), "{refused}");
    // At once, if it may not wait.
    let now = limiter.admit(None, &[sends(ONE)], Duration::ZERO, &|| None);
    assert_eq!(now.expect_err("it is full").code(), "CAPACITY_EXCEEDED");
    let mut settings = limiter.admission().expect("it is on");
    settings.when_full = WhenFull::Queue(MINUTE);
    limiter.set_admission(Some(settings));
    limiter.measure(Measured::default(), &HashMap::new());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let over = || is_over.load(Ordering::SeqCst).then_some(Error::Ended);
            limiter.admit(None, &[sends(3 * ONE)], MINUTE, &over)
        });
        until_waiting(&limiter, 1);
        let behind = scope.spawn(|| start(&limiter, ONE));
        until_waiting(&limiter, 2);
        is_over.store(true, Ordering::SeqCst);
        limiter.wake();
        assert!(matches!(first.join().expect("no thread panics"), Err(Error::Ended)));
        // Who was behind it is the first now.
        until_waiting(&limiter, 1);
        drop(running);
        behind.join().expect("no thread panics").expect("there is room");
    });
    limiter.set_limits(Limits { per_owner: 1, total: 1 });
    let _one = start(&limiter, ONE).expect("it fits");
    assert_eq!(start(&limiter, ONE).expect_err("one is the limit").code(), "STREAM_LIMIT_EXCEEDED");
    assert_eq!(limiter.waiting(), 0);
}
