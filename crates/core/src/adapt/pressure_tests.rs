//! The ladder on a virtual clock: a machine of so many cores, streams that need what their rungs say, and somebody else who takes the rest.

use std::time::{Duration, Instant};

use super::ladder::{GiveWay, QualityLadder};
use super::pressure::{Pressure, Sight, Step, Use};
use crate::bit_rate::BitRate;
use crate::id::StreamId;
use crate::stats::LoadReason;

/// Pixels per second of 720p25.
const PIXELS: f64 = 1280.0 * 720.0 * 25.0;
const TICK: Duration = Duration::from_millis(500);

/// What x264 takes on the rungs of the default ladder, measured; not what the ladder takes it for.
const TAKES: [f64; 4] = [1.0, 0.93, 0.57, 0.36];

/// A machine of two cores that encodes.
struct Machine {
    pressure: Pressure,
    now: Instant,
    began: Instant,
    streams: Vec<Sight>,
    /// How far each is behind, in seconds.
    behind: Vec<f64>,
    /// Cores that one 720p25 needs, and that something else takes.
    each: f64,
    others: f64,
    /// Cores that the streams took in the tick before.
    before: f64,
    /// Rungs as they were, the newest last: a change shows a GOP later.
    rungs: Vec<Vec<usize>>,
    steps: Vec<(u64, Step)>,
}

impl Machine {
    fn new(ladder: QualityLadder, count: u64, each: f64) -> Self {
        ladder.check().expect("it can work");
        let now = Instant::now();
        let streams: Vec<_> = (1..=count).map(|number| sight(number, 0, usize::MAX)).collect();
        Self {
            pressure: Pressure::new(ladder),
            now,
            began: now,
            behind: vec![0.0; streams.len()],
            streams,
            each,
            others: 0.0,
            before: 0.0,
            rungs: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Cores that each stream needs.
    fn needs(&self, rungs: &[usize]) -> Vec<f64> {
        let takes = |(sight, rung): (&Sight, &usize)| TAKES[*rung] * sight.pixels / PIXELS * self.each;
        self.streams.iter().zip(rungs).map(takes).collect()
    }

    /// Lets time pass; how far the one that was furthest behind was behind.
    fn run(&mut self, seconds: u64) -> f64 {
        let mut most: f64 = 0.0;
        let tick = TICK.as_secs_f64();
        for _ in 0..2 * seconds {
            self.rungs.push(self.rungs());
            let late = self.rungs.len().saturating_sub(3);
            let needs = self.needs(&self.rungs[late]);
            // Who is behind encodes as fast as it can.
            let work: f64 =
                needs.iter().zip(&self.behind).map(|(needs, behind)| needs * (tick + behind)).sum();
            let there_is = (2.0 - self.others).max(1.0);
            let own = there_is.min(work / tick);
            let done = if work > 0.0 { own * tick / work } else { 1.0 };
            for (sight, behind) in self.streams.iter_mut().zip(&mut self.behind) {
                let encoded = done * (tick + *behind);
                *behind += tick - encoded;
                sight.encoded = Duration::from_secs_f64(encoded);
                most = most.max(*behind);
            }
            // Measured over two ticks.
            let seen = f64::midpoint(own, self.before);
            self.before = own;
            let used = Use { all: ((seen + self.others) / 2.0).min(1.0), own: seen / 2.0 };
            let at = self.now.saturating_duration_since(self.began).as_millis() as u64;
            self.steps
                .extend(self.pressure.tick(self.now, used, &self.streams).into_iter().map(|step| (at, step)));
            self.now += TICK;
        }
        most
    }

    /// Lets time pass in which all but the first streams have nothing to encode.
    fn rest(&mut self, seconds: u64, all_but: usize, used: Use) {
        for _ in 0..2 * seconds {
            for (place, sight) in self.streams.iter_mut().enumerate() {
                sight.encoded = if place < all_but { TICK } else { Duration::ZERO };
            }
            self.pressure.tick(self.now, used, &self.streams);
            self.now += TICK;
        }
    }

    fn keep(&mut self, count: usize) {
        self.streams.truncate(count);
        self.behind.truncate(count);
        self.rungs.clear();
    }

    fn rungs(&self) -> Vec<usize> {
        self.streams.iter().map(|sight| self.pressure.rung(sight.stream).unwrap_or(0)).collect()
    }
}

fn sight(number: u64, priority: u8, floor: usize) -> Sight {
    let (stream, encoded) = (StreamId(number), Duration::ZERO);
    Sight { stream, rung: 0, priority, floor, pixels: PIXELS, encoded, encode: 0.3, waited: Duration::ZERO }
}

#[test]
fn twenty_on_two_cores_step_down_as_far_as_needed_and_ten_come_back_within_half_a_minute() {
    for each in [0.092, 0.1, 0.115, 0.13, 0.148] {
        let mut machine = Machine::new(QualityLadder::default(), 20, each);
        let behind = machine.run(60);
        assert!(behind < 1.0, "{each}: {behind}");
        assert!(
            machine.behind.iter().all(|behind| *behind < 0.01),
            "{each}: they catch up: {:?}",
            machine.behind
        );
        let down = machine.steps.len();
        let is_of_one = |(_, step): &(u64, Step)| match step.reason {
            LoadReason::Cpu => step.to == step.from + 1,
            LoadReason::Room => step.from == step.to + 1,
            _ => false,
        };
        assert!(machine.steps.iter().all(is_of_one), "{each}: {:?}", machine.steps);
        // No further than needed.
        let needs: f64 = machine.needs(&machine.rungs()).iter().sum();
        assert!((1.2..=1.82).contains(&needs), "{each}: {needs}: {:?}", machine.rungs());
        machine.run(60);
        assert!(machine.steps.len() <= down + 4, "{each}: it settles: {:?}", &machine.steps[down..]);
        machine.keep(10);
        machine.run(30);
        assert_eq!(machine.rungs(), [0; 10], "{each}: {:?}", machine.steps);
        let before = machine.steps.len();
        machine.run(120);
        assert_eq!(machine.steps.len(), before, "{each}: and stay");
    }
}

#[test]
fn streams_that_catch_up_do_not_step_down_unless_it_takes_long() {
    let mut machine = Machine::new(QualityLadder::default(), 10, 0.12);
    machine.run(10);
    machine.behind.fill(8.0);
    machine.run(25);
    assert!(machine.steps.is_empty(), "{:?}", machine.steps);
    machine.behind.fill(60.0);
    machine.run(60);
    assert!(!machine.steps.is_empty(), "what is behind that far is helped");
}

#[test]
fn streams_whose_sources_rest_need_nothing() {
    let mut machine = Machine::new(QualityLadder::default(), 10, 0.16);
    machine.streams[0].rung = 2;
    machine.run(30);
    assert_eq!(machine.rungs()[0], 2, "there is no room: {:?}", machine.steps);
    // Their encoders are open, and have nothing to do.
    machine.rest(20, 1, Use { all: 0.1, own: 0.1 });
    assert_eq!(machine.rungs(), [0; 10]);
}

#[test]
fn streams_come_back_while_all_sources_rest_whatever_else_the_process_does() {
    let mut machine = Machine::new(QualityLadder::default(), 10, 0.16);
    machine.streams.iter_mut().for_each(|sight| sight.rung = 2);
    machine.others = 0.6;
    machine.run(10);
    assert!(machine.rungs().contains(&2), "there is no room for all: {:?}", machine.steps);
    machine.rest(60, 0, Use { all: 0.35, own: 0.05 });
    assert_eq!(machine.rungs(), [0; 10]);
}

#[test]
fn a_load_of_somebody_else_is_given_way_to_and_taken_back() {
    let mut machine = Machine::new(QualityLadder::default(), 3, 0.3);
    machine.run(30);
    assert!(machine.steps.is_empty(), "there is room: {:?}", machine.steps);
    machine.others = 1.2;
    machine.run(60);
    assert!(machine.rungs().iter().any(|rung| *rung > 0), "{:?}", machine.steps);
    machine.others = 0.0;
    machine.run(30);
    assert_eq!(machine.rungs(), [0; 3], "{:?}", machine.steps);
}

#[test]
fn who_matters_less_gives_way_first_and_nobody_below_a_floor() {
    let mut machine = Machine::new(QualityLadder::default(), 3, 0.1);
    machine.streams = vec![sight(1, 0, 2), sight(2, 5, usize::MAX), sight(3, 0, 0)];
    machine.others = 2.0;
    machine.run(60);
    assert_eq!(machine.rungs(), [2, 3, 0]);
    let order: Vec<_> = machine.steps.iter().map(|(_, step)| step.stream.0).collect();
    assert_eq!(order, [1, 1, 2, 2, 2], "the one of the higher priority once the others are at their floors");
    machine.others = 0.0;
    machine.steps.clear();
    machine.run(60);
    assert_eq!(machine.rungs(), [0; 3]);
    assert_eq!(machine.steps[0].1.stream.0, 2, "and comes back first: {:?}", machine.steps);
}

#[test]
fn the_dearest_goes_first_until_another_one_is_dearer_or_the_newest_if_that_is_asked_for() {
    for (order, wanted) in [(GiveWay::Dearest, [1, 1, 1, 2, 2]), (GiveWay::Newest, [2, 2, 2, 1, 1])] {
        let ladder = QualityLadder::default().with(|ladder| ladder.order = order);
        let mut machine = Machine::new(ladder, 2, 0.01);
        machine.streams[0].pixels *= 4.0;
        machine.others = 2.0;
        machine.run(10);
        let order: Vec<_> = machine.steps.iter().map(|(_, step)| step.stream.0).take(5).collect();
        assert_eq!(order, wanted);
    }
}

#[test]
fn an_encoder_that_is_too_slow_steps_down_by_itself_and_waits_longer_each_time_it_was_wrong_to_come_back() {
    let mut machine = Machine::new(QualityLadder::default(), 2, 0.1);
    let mut raised = Vec::new();
    for _ in 0..3 {
        machine.streams[1].waited = Duration::from_millis(400);
        machine.run(3);
        machine.streams[1].waited = Duration::ZERO;
        let (_, last) = *machine.steps.last().expect("it steps down");
        assert_eq!((last.stream.0, last.reason, last.to), (2, LoadReason::Queue, 1));
        let from = machine.now;
        while machine.pressure.rung(StreamId(2)).unwrap_or(0) > 0 {
            machine.run(1);
            assert!(machine.now - from < Duration::from_secs(60), "{:?}", machine.steps);
        }
        raised.push(machine.now - from);
    }
    assert!(raised[0] < raised[1] && raised[1] < raised[2], "{raised:?}");
    machine.streams[0].encode = 1.2;
    machine.run(3);
    let (_, last) = *machine.steps.last().expect("it steps down");
    assert_eq!((last.stream.0, last.reason), (1, LoadReason::EncodeTime));
    // What the step did has to show before the next.
    assert_eq!(machine.pressure.rung(StreamId(1)).unwrap_or(0), 1);
    machine.run(10);
    assert!(machine.pressure.rung(StreamId(1)).unwrap_or(0) >= 2);
}

#[test]
fn a_ladder_that_cannot_work_is_refused() {
    let refused = |change: &dyn Fn(&mut QualityLadder)| {
        let mut ladder = QualityLadder::default();
        change(&mut ladder);
        matches!(ladder.check(), Err(crate::error::Error::Config { .. }))
    };
    assert!(!refused(&|_| {}));
    assert!(refused(&|ladder| ladder.rungs.truncate(1)));
    assert!(refused(&|ladder| ladder.rungs[0].every = 2));
    assert!(refused(&|ladder| ladder.rungs[2].name = "high".to_owned()));
    assert!(
        refused(&|ladder| ladder.rungs[3].bit_rate = BitRate::from_kbps(1300)),
        "better than the one before"
    );
    assert!(refused(&|ladder| ladder.rungs[3].size_percent = 5));
    assert!(refused(&|ladder| ladder.raise_percent = 90));
    assert!(refused(&|ladder| ladder.behind = Duration::ZERO));
}

#[test]
fn what_has_no_effect_is_refused() {
    use super::ladder::UnderLoad;
    let ladder = QualityLadder::default();
    let said = UnderLoad::default().with(|how| how.floor = Some("low".to_owned()));
    assert!(UnderLoad::default().check(None).is_ok() && said.check(Some(&ladder)).is_ok());
    assert!(said.check(None).is_err(), "there is no ladder");
    let unknown = said.with(|how| how.floor = Some("lower".to_owned()));
    let error = unknown.check(Some(&ladder)).expect_err("there is no such rung");
    assert!(error.to_string().contains("high, medium, low, potato"), "{error}");
}

#[test]
fn a_stream_that_was_not_seen_before_begins_on_the_rung_it_is_on() {
    let mut pressure = Pressure::new(QualityLadder::default());
    let on = |rung| [Sight { rung, ..sight(1, 0, 9) }];
    let nothing = Use { all: 0.0, own: 0.0 };
    let now = Instant::now();
    assert_eq!(pressure.tick(now, nothing, &on(2)), []);
    let later = now + QualityLadder::default().raise_after;
    let steps = pressure.tick(later, nothing, &on(2));
    assert_eq!(steps.iter().map(|step| (step.from, step.to)).collect::<Vec<_>>(), [(2, 1)]);
    assert_eq!(pressure.rung(StreamId(1)), Some(1));
}
