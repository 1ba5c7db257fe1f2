//! What is decided on traces of networks, on a virtual clock.

use std::time::{Duration, Instant};

use super::simulated::{Obs, Outcome, Steering, ours, run};
use super::{Adaptation, Change, Controller, Follow, Sample};
use crate::bit_rate::BitRate;
use crate::id::OutputId;
use crate::stats::RateReason;

const RATE: u64 = 2_500_000;
/// Where the network changes, in milliseconds, and what it takes from there.
const FALLS: [(u64, u64); 4] = [(0, 4_000_000), (30_000, 1_500_000), (60_000, 600_000), (90_000, 4_000_000)];
const LENGTH: u64 = 180_000;

fn falls(now: u64) -> u64 {
    FALLS.iter().rev().find(|(from, _)| now >= *from).map_or(0, |(_, takes)| *takes)
}

fn on_falls(steering: Steering) -> Outcome {
    run(steering, RATE, LENGTH, 400, falls)
}

#[test]
fn a_network_that_falls_and_recovers_is_followed() {
    let outcome = on_falls(ours());
    assert_eq!((outcome.dropped, outcome.disconnects), (0, 0));
    for (from, to) in [(30_000, 60_000), (60_000, 90_000)] {
        let lower = outcome.first_lower(from).expect("it is lowered");
        let under = outcome.under_a_second(from, to);
        assert!(lower <= Duration::from_millis(1500), "lowered after {lower:?}");
        assert!(under <= Duration::from_secs(5), "below a second after {under:?}");
    }
    let at = |seconds: usize| outcome.rate[seconds * 10];
    assert_eq!(at(29), RATE, "there is room enough at first");
    assert!((1_000_000..1_372_000).contains(&at(50)), "{}", at(50));
    assert!((300_000..472_000).contains(&at(85)), "{}", at(85));
    let restored = outcome.restored(90_000, RATE).expect("it is restored");
    assert!(restored <= Duration::from_secs(60), "{restored:?}");
    assert!(outcome.steps < 40, "{} steps", outcome.steps);
}

/// The figures of docs/performance.md: `cargo test -p flowcast-core --lib adapt::tests::the_three -- --nocapture`.
#[test]
fn the_three_algorithms_on_one_trace() {
    let all = [
        ("ours", on_falls(ours())),
        ("OBS Studio's", on_falls(Steering::Obs(Obs::new(RATE)))),
        ("none", on_falls(Steering::Fixed)),
    ];
    for (name, outcome) in &all {
        let under = |from, to| outcome.under_a_second(from, to).as_secs_f64();
        eprintln!(
            "{name}: lowered after {:?} and {:?}, under a second after {:.1} and {:.1} s, lag p99 {} ms, most {} ms, {} pictures lost, {} disconnects, restored after {:?}",
            outcome.first_lower(30_000),
            outcome.first_lower(60_000),
            under(30_000, 60_000),
            under(60_000, 90_000),
            outcome.p99(),
            outcome.lag.iter().max().expect("there are ticks"),
            outcome.dropped,
            outcome.disconnects,
            outcome.restored(90_000, RATE),
        );
    }
    let [(_, ours), (_, obs), (_, none)] = &all;
    assert!(ours.p99() < obs.p99() && ours.p99() < none.p99());
    assert!(ours.dropped < none.dropped);
    let restored = |outcome: &Outcome| outcome.restored(90_000, RATE);
    assert!(restored(ours) <= restored(obs).or(Some(Duration::MAX)));
}

#[test]
fn a_network_that_takes_everything_changes_nothing() {
    // Little more than the stream: each keyframe is a little late.
    for takes in [2_900_000, 3_500_000, 100_000_000] {
        let outcome = run(ours(), RATE, 60_000, 400, |_| takes);
        assert_eq!((outcome.steps, outcome.dropped), (0, 0), "{takes}");
    }
}

#[test]
fn a_short_fall_is_over_soon_and_steps_up_wait_longer_each_time_they_prove_wrong() {
    let outcome =
        run(
            ours(),
            RATE,
            40_000,
            400,
            |now| if (10_000..12_000).contains(&now) { 500_000 } else { 4_000_000 },
        );
    assert_eq!((outcome.dropped, outcome.disconnects), (0, 0));
    assert!(outcome.restored(14_000, RATE).is_some_and(|after| after < Duration::from_secs(26)));
    // A network that never recovers is tried less and less often.
    let outcome = run(ours(), RATE, 300_000, 400, |now| if now < 5_000 { 4_000_000 } else { 1_200_000 });
    assert_eq!((outcome.dropped, outcome.disconnects), (0, 0));
    let raised = |ticks: std::ops::Range<usize>| {
        outcome.rate[ticks].windows(2).filter(|pair| pair[1] > pair[0]).count()
    };
    let (early, late) = (raised(100..800), raised(2200..2900));
    assert!(late < early && late <= 8, "{early} steps up, then {late}");
    let late = outcome.lag[2200..].iter().max().expect("there are ticks");
    assert!(*late < 1000, "{late} ms behind");
}

#[test]
fn a_receiver_that_is_far_away_is_not_congested() {
    // A quarter of a second there and back, as it looks from ticks of 100 ms; a quiet scene has an eighth of the rate.
    let mut bench = Bench::new(1, |_| {});
    for tick in 0..1200_usize {
        bench.lags[0] = [200, 300, 200, 200, 300, 300, 200, 300][tick % 8];
        bench.sample(&[300]);
    }
    assert!(bench.changes.is_empty(), "{:?}", bench.changes);
    // Congestion is noticed all the same.
    for tick in 0..20_u64 {
        bench.lags[0] = 300 + 40 * tick;
        bench.sample(&[200]);
    }
    assert!(!bench.changes.is_empty());
}

/// A controller with outputs whose lags and deliveries are given tick by tick.
struct Bench {
    controller: Controller,
    now: Instant,
    delivered: Vec<u64>,
    lags: Vec<u64>,
    changes: Vec<Change>,
}

impl Bench {
    fn new(outputs: usize, change: impl FnOnce(&mut Adaptation)) -> Self {
        Self {
            controller: Controller::new(Adaptation::default().with(change)),
            now: Instant::now(),
            delivered: vec![0; outputs],
            lags: vec![0; outputs],
            changes: Vec::new(),
        }
    }

    /// `seconds` in which each output gets `kbps[output]` of what is encoded at `rate()`: what it does not get, it falls behind.
    fn run(&mut self, seconds: u64, kbps: &[u64]) {
        for _ in 0..seconds * 10 {
            let rate = self.rate();
            let mut given = Vec::new();
            for (lag, takes) in self.lags.iter_mut().zip(kbps) {
                let behind = 100 * (rate as i64 - *takes as i64) / rate as i64;
                *lag = (*lag as i64 + behind).clamp(0, 2000) as u64;
                given.push(if *lag > 0 { *takes } else { rate.min(*takes) });
            }
            self.sample(&given);
        }
    }

    /// A tick in which the lags are as they are and each output was given this much.
    fn sample(&mut self, kbps: &[u64]) {
        self.now += Duration::from_millis(100);
        let mut samples = Vec::new();
        for (output, given) in kbps.iter().enumerate() {
            self.delivered[output] += given * 100 / 8;
            let (lag, delivered) = (Duration::from_millis(self.lags[output]), Some(self.delivered[output]));
            samples.push(Sample { output: OutputId(output as u64), lag, delivered });
        }
        self.controller.tick(self.now, BitRate::from_bps(RATE), 0, &samples, &mut self.changes);
    }

    /// In kbit/s.
    fn rate(&self) -> u64 {
        self.controller.rate().map_or(RATE, BitRate::bps) / 1000
    }

    fn left(&self) -> Vec<u64> {
        let left = self.changes.iter().filter_map(|change| match change {
            Change::Left { output, .. } => Some(output.0),
            _ => None,
        });
        left.collect()
    }
}

#[test]
fn one_that_is_alone_too_slow_is_not_followed_and_followed_again_when_it_is_calm() {
    let mut bench = Bench::new(3, |_| {});
    bench.run(20, &[5000, 5000, 400]);
    assert_eq!((bench.rate(), bench.left()), (2500, vec![2]));
    bench.run(20, &[5000, 5000, 5000]);
    assert!(bench.changes.contains(&Change::Follows { output: OutputId(2) }), "{:?}", bench.changes);
    // One that takes more than half is followed, and so are all when all are slow.
    let mut bench = Bench::new(2, |_| {});
    bench.run(4, &[5000, 1800]);
    assert!((1200..=1800).contains(&bench.rate()) && bench.left().is_empty(), "{}", bench.rate());
    let mut bench = Bench::new(2, |_| {});
    bench.run(4, &[700, 800]);
    assert!((400..=700).contains(&bench.rate()) && bench.left().is_empty(), "{}", bench.rate());
    // A single one always is, and with 0 every one.
    let mut bench = Bench::new(1, |_| {});
    bench.run(4, &[400]);
    assert!(bench.rate() <= 400 && bench.left().is_empty());
    let mut bench = Bench::new(2, |adaptation| adaptation.alone_percent = 0);
    bench.run(4, &[5000, 400]);
    assert!(bench.rate() <= 400 && bench.left().is_empty());
}

#[test]
fn the_first_or_the_majority_is_followed_where_that_is_asked_for() {
    let follow = |follow| move |adaptation: &mut Adaptation| adaptation.follow = follow;
    let mut bench = Bench::new(2, follow(Follow::Primary));
    bench.run(20, &[5000, 400]);
    assert_eq!(bench.rate(), 2500, "only the first counts");
    bench.run(4, &[1000, 5000]);
    assert!(bench.rate() <= 1000, "{}", bench.rate());
    let mut bench = Bench::new(3, follow(Follow::Majority));
    bench.run(20, &[5000, 400, 5000]);
    assert_eq!(bench.rate(), 2500, "one of three");
    let mut bench = Bench::new(3, follow(Follow::Majority));
    bench.run(4, &[5000, 400, 1500]);
    assert!((1000..=1500).contains(&bench.rate()), "two of three: {}", bench.rate());
    let mut bench = Bench::new(2, follow(Follow::Majority));
    bench.run(20, &[5000, 400]);
    assert_eq!(bench.rate(), 2500, "one of two is no majority");
}

#[test]
fn the_floor_holds_and_so_does_what_is_asked_for() {
    let mut bench = Bench::new(1, |adaptation| adaptation.floor = Some(BitRate::from_kbps(600)));
    bench.run(30, &[100]);
    assert_eq!(bench.rate(), 600);
    let mut bench = Bench::new(1, |_| {});
    bench.run(30, &[10]);
    assert_eq!(bench.rate(), 250, "a tenth");
    bench.run(120, &[9000]);
    assert_eq!((bench.rate(), bench.controller.rate()), (2500, None));
    let reasons: Vec<_> = bench
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Rate { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.first(), Some(&RateReason::Congestion));
    assert_eq!(reasons.last(), Some(&RateReason::Calm));
}

#[test]
fn what_cannot_work_is_named() {
    let refused = |change: fn(&mut Adaptation)| {
        let problems = Adaptation::default().with(change).problems(Some(BitRate::from_kbps(1500)));
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(refused(|_| {}).is_empty());
    for (change, name) in [
        ((|adaptation| adaptation.floor = Some(BitRate::from_kbps(10))) as fn(&mut Adaptation), "floor"),
        (|adaptation| adaptation.floor = Some(BitRate::from_kbps(1500)), "floor"),
        (|adaptation| adaptation.trigger = Duration::ZERO, "trigger"),
        (|adaptation| adaptation.calm = Duration::from_millis(200), "calm"),
        (|adaptation| adaptation.raise_after = Duration::from_millis(999), "raise_after"),
        (|adaptation| adaptation.raise_percent = 0, "raise_percent"),
        (|adaptation| adaptation.alone_percent = 101, "alone_percent"),
        (|adaptation| adaptation.ahead = Duration::from_secs(6), "ahead"),
    ] {
        let problem = refused(change);
        assert!(problem.starts_with(&format!("encoding.adaptation.{name}")), "{problem}");
    }
}
