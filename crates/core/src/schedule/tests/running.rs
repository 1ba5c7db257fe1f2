//! The thread, with streams that run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::keeper::Clock;
use super::super::planner::Now;
use super::super::*;
use super::{HOUR, berlin, time, utc};
use crate::config::Config;
use crate::engine::Engine;
use crate::source::Source;
use crate::spec::StreamSpec;
use crate::stream::{Leave, StreamRef};

const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that stands until it is set.
#[derive(Clone)]
struct Set(Arc<Mutex<Now>>);

impl Set {
    fn at(text: &str) -> Self {
        Self(Arc::new(Mutex::new(Now { wall: utc(text), steady: Duration::ZERO })))
    }

    fn pass(&self, length: Duration) {
        let mut now = self.0.lock();
        now.wall += length;
        now.steady += length;
    }
}

impl Clock for Set {
    fn now(&self) -> Now {
        *self.0.lock()
    }
}

/// A stream that needs nothing: it waits for somebody to publish.
fn spec() -> StreamSpec {
    StreamSpec::new(Source::published("studio")).label("evening").without_outputs()
}

fn evening() -> When {
    berlin(Window::daily(time("20:00")).until(time("23:00")))
}

/// Schedules on a clock of the test, whose starts go through `gate` first.
fn schedules(engine: &Engine, clock: &Set, gate: impl Fn() + Send + Sync + 'static) -> Schedules {
    let engine = engine.clone();
    let start = move |spec: &StreamSpec, leave: &Leave| -> Result<StreamRef, crate::Error> {
        gate();
        Ok(engine.stream(spec.source.clone()).label("evening").without_outputs().start_with(leave)?.detach())
    };
    Keeper::with_clock(PATIENCE, Box::new(start), Box::new(clock.clone())).schedules()
}

fn next(events: &crate::Events<ScheduleEvent>) -> ScheduleEvent {
    events.next_timeout(PATIENCE).expect("an event")
}

fn wait_until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "it never came");
        std::thread::yield_now();
    }
}

#[test]
fn a_stream_is_started_and_stopped_by_the_clock() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let clock = Set::at("2026-01-05T12:00:00Z");
    let schedules = schedules(&engine, &clock, || ());
    let events = schedules.events();
    let id = schedules.add(Schedule::new(spec(), evening())).expect("it lies ahead");
    assert!(schedules.list()[0].stream.is_none() && engine.running() == 0);
    clock.pass(7 * HOUR + Duration::from_secs(2));
    schedules.look();
    let event = next(&events);
    assert_eq!(event.to_string(), "2026-01-05T19:00:02.000Z t1 \"evening\": started as s1, 2 s late");
    assert_eq!((event.schedule, event.kind.name()), (id, "schedule_started"));
    assert_eq!(schedules.list()[0].stream, engine.streams().first().map(StreamRef::id));
    clock.pass(3 * HOUR);
    schedules.look();
    assert_eq!(next(&events).kind.to_string(), "stops s1");
    wait_until(|| engine.running() == 0);
    // A stream that takes the place of another one waits for its end.
    let both = evening().window(Window::daily(time("20:00")).lasting(HOUR)).overlap(Overlap::Replace);
    schedules.cancel(id).expect("it is there");
    schedules.add(Schedule::new(spec(), both.window(Window::daily(time("21:00"))))).expect("it lies ahead");
    clock.pass(21 * HOUR);
    schedules.look();
    assert_eq!(next(&events).kind.name(), "schedule_started");
    clock.pass(HOUR);
    schedules.look();
    assert_eq!(next(&events).kind.name(), "schedule_stopped");
    assert_eq!(next(&events).kind.name(), "schedule_started");
    // The window of nine o'clock had begun on the day before: what runs may just be taking its place a second time.
    wait_until(|| engine.running() == 1);
}

/// A clock that notes whether it was ever read while others could have taken a turn at another time.
struct Watched(Set, Arc<OnceLock<Schedules>>, Arc<AtomicBool>);

impl Clock for Watched {
    fn now(&self) -> Now {
        if self.1.get().is_some_and(|schedules| !schedules.is_busy()) {
            self.2.store(true, Ordering::Relaxed);
        }
        self.0.now()
    }
}

#[test]
fn turns_are_taken_in_the_order_of_their_times() {
    let clock = Set::at("2026-01-05T18:59:59Z");
    let (schedules, aside) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
    let watched = Watched(clock.clone(), schedules.clone(), aside.clone());
    let refuse = |_: &StreamSpec, _: &Leave| Err(crate::Error::Ended);
    let keeper = Keeper::with_clock(PATIENCE, Box::new(refuse), Box::new(watched));
    let schedules = schedules.get_or_init(|| keeper.schedules());
    let events = schedules.events();
    schedules.add(Schedule::new(spec(), evening())).expect("it lies ahead");
    clock.pass(Duration::from_secs(1));
    schedules.look();
    assert_eq!(next(&events).kind.name(), "schedule_refused");
    assert_eq!((schedules.list().len(), schedules.clear_all().len()), (1, 1));
    assert!(!aside.load(Ordering::Relaxed));
}

#[test]
fn a_stream_that_takes_the_place_of_one_that_is_being_started_waits_for_that_start() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let clock = Set::at("2026-01-05T18:59:59Z");
    let (arrived, at_the_gate) = mpsc::channel();
    let (let_through, through) = mpsc::channel();
    let gate = (Mutex::new(arrived), Mutex::new(through));
    let schedules = schedules(&engine, &clock, move || {
        gate.0.lock().send(()).expect("the test waits");
        gate.1.lock().recv().expect("the test lets it through");
    });
    let events = schedules.events();
    let twice = evening().window(Window::daily(time("21:00")).lasting(HOUR)).overlap(Overlap::Replace);
    let other = berlin(Window::daily(time("21:00")).lasting(HOUR));
    schedules.add(Schedule::new(spec(), twice)).expect("it lies ahead");
    schedules.add(Schedule::new(spec(), other)).expect("it lies ahead");
    clock.pass(Duration::from_secs(1));
    schedules.look();
    at_the_gate.recv_timeout(PATIENCE).expect("a start is under way");
    // The first is replaced while it is being started; another schedule is not held up by that, and shows that this one was.
    clock.pass(HOUR);
    schedules.look();
    at_the_gate.recv_timeout(PATIENCE).expect("the other start is under way");
    wait_until(|| schedules.giving_way() == 1);
    assert!(at_the_gate.try_recv().is_err(), "none is at the gate beside those two");
    let_through.send(()).expect("one waits");
    let_through.send(()).expect("the other waits");
    at_the_gate.recv_timeout(PATIENCE).expect("the replacement");
    let_through.send(()).expect("it waits");
    assert_eq!([next(&events), next(&events)].map(|event| event.kind.name()), ["schedule_started"; 2]);
    assert_eq!(engine.running(), 2);
}

#[test]
fn no_stream_starts_after_all_are_cleared_also_none_that_is_being_started() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let clock = Set::at("2026-01-05T18:59:59Z");
    // A start stands at the gate until it is let through.
    let (arrived, at_the_gate) = mpsc::channel();
    let (let_through, through) = mpsc::channel();
    let gate = Mutex::new((arrived, through));
    let schedules = schedules(&engine, &clock, move || {
        let gate = gate.lock();
        gate.0.send(()).expect("the test waits");
        gate.1.recv().expect("the test lets it through");
    });
    let events = schedules.events();
    for _ in 0..3 {
        schedules.add(Schedule::new(spec(), evening())).expect("it lies ahead");
    }
    clock.pass(Duration::from_secs(1));
    schedules.look();
    // One is let on the air; the second stands at the gate; the third waits behind it or stands there, too.
    at_the_gate.recv_timeout(PATIENCE).expect("a start is under way");
    let_through.send(()).expect("it waits");
    assert_eq!(next(&events).kind.name(), "schedule_started");
    at_the_gate.recv_timeout(PATIENCE).expect("another start is under way");
    let cleared = schedules.clear_all();
    assert_eq!(cleared.len(), 3);
    let running: Vec<_> = cleared.iter().filter_map(|cleared| cleared.stream).collect();
    assert_eq!(running, engine.streams().iter().map(StreamRef::id).collect::<Vec<_>>());
    assert_eq!(running.len(), 1, "what is on the air goes on");
    // Whoever stands at the gate goes through, and comes back from the start.
    (0..2).for_each(|_| let_through.send(()).expect("the gate is there"));
    wait_until(|| schedules.under_way() == 0);
    // Long after: no start, no stop, no event, and no schedule.
    for _ in 0..100 {
        clock.pass(HOUR);
        schedules.look();
    }
    assert_eq!((engine.running(), schedules.under_way()), (1, 0));
    assert!(schedules.list().is_empty() && events.try_next().is_none());
    assert_eq!(engine.streams().iter().map(StreamRef::id).collect::<Vec<_>>(), running);
}

#[test]
fn what_has_ended_is_listed_as_done_at_once() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let clock = Set::at("2026-01-05T18:59:59Z");
    let schedules = schedules(&engine, &clock, || ());
    let events = schedules.events();
    let id = schedules.add(Schedule::new(spec(), evening())).expect("it lies ahead");
    clock.pass(Duration::from_secs(1));
    schedules.look();
    assert_eq!(next(&events).kind.name(), "schedule_started");
    let times = |schedules: &Schedules| {
        let schedule = schedules.list().remove(0).schedule;
        (schedule.began, schedule.done)
    };
    let begins = Some(utc("2026-01-05T19:00:00Z"));
    assert_eq!(times(&schedules), (begins, None));
    // Stopped by hand: what is kept of it is not started again in this window, although no turn has been taken since.
    engine.streams()[0].stop(PATIENCE).expect("it stops");
    assert_eq!(times(&schedules), (None, begins));
    let taken = schedules.cancel(id).expect("it is there");
    assert_eq!((taken.stream, taken.schedule.done), (None, begins));
    schedules.add(taken.schedule).expect("tomorrow lies ahead");
    clock.pass(HOUR);
    schedules.look();
    assert_eq!((schedules.under_way(), engine.running(), events.try_next().is_none()), (0, 0, true));
}

#[test]
fn the_engine_keeps_its_schedules_and_ends_them_with_itself() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let events = engine.schedules().events();
    // Since yesterday, for two days: it is on the air now.
    let yesterday =
        jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().yesterday().expect("a date");
    let now = When::in_zone("UTC")
        .window(Window::on(Date(yesterday), time("00:00")).lasting(48 * HOUR + 23 * HOUR));
    let id = engine.schedule(spec(), now.clone().missed(Missed::StartLate(72 * HOUR))).expect("it lasts");
    assert_eq!(next(&events).kind.name(), "schedule_started");
    assert_eq!(engine.running(), 1);
    // What cannot work is refused, and so is what is hidden.
    let problem = engine.schedule(StreamSpec::new(Source::published("studio")), now.clone());
    assert_eq!(
        problem.expect_err("it has no outputs").code(),
        engine.start(StreamSpec::new(Source::published("studio"))).expect_err("no outputs").code()
    );
    engine.shutdown(PATIENCE);
    assert_eq!(engine.running(), 0);
    assert!(matches!(engine.schedule(spec(), now), Err(crate::Error::Ended)));
    assert_eq!(engine.schedules().list()[0].id, id, "the list can be read for the next run");
}

#[test]
fn a_start_that_panics_is_told_and_those_after_it_are_started() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let clock = Set::at("2026-01-05T12:00:00Z");
    let panics = Arc::new(AtomicBool::new(true));
    let gate = panics.clone();
    let schedules =
        schedules(&engine, &clock, move || assert!(!gate.load(Ordering::SeqCst), "the test says so"));
    let events = schedules.events();
    // More than there are threads.
    for _ in 0..6 {
        schedules.add(Schedule::new(spec(), evening())).expect("it lies ahead");
    }
    clock.pass(7 * HOUR + Duration::from_secs(2));
    schedules.look();
    for _ in 0..6 {
        let text = next(&events).to_string();
        assert!(text.contains("the test says so"), "{text}");
    }
    schedules.clear_all();
    panics.store(false, Ordering::SeqCst);
    schedules.add(Schedule::new(spec(), evening())).expect("it lies ahead");
    schedules.look();
    assert_eq!(next(&events).kind.name(), "schedule_started");
}
