//! What is planned, on clocks that are set by the test.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::super::planner::{Action, Now, Planner, RunNumber};
use super::super::*;
use super::{DAY, HOUR, berlin, date, shown, time, utc};
use crate::error::Error;
use crate::id::StreamId;
use crate::source::Source;
use crate::spec::StreamSpec;

const MINUTE: Duration = Duration::from_secs(60);

/// A planner and what it is planned for: starts succeed at once, unless they are to fail.
struct World {
    planner: Planner,
    now: Now,
    /// When each run was started and stopped.
    runs: BTreeMap<RunNumber, (SystemTime, Option<SystemTime>)>,
    ended: BTreeSet<RunNumber>,
    told: Vec<ScheduleEventKind>,
    fails: bool,
}

fn schedule(when: When) -> Schedule {
    Schedule::new(StreamSpec::new(Source::published("studio")).without_outputs(), when)
}

impl World {
    fn at(now: &str) -> Self {
        let now = Now { wall: utc(now), steady: Duration::ZERO };
        let (planner, runs, ended, told) = Default::default();
        Self { planner, now, runs, ended, told, fails: false }
    }

    fn add(&mut self, when: When) -> ScheduleId {
        let id = self.planner.add(schedule(when), self.now).expect("something lies ahead");
        self.look();
        id
    }

    /// Does what is to be done now.
    fn look(&mut self) {
        let ended = self.ended.clone();
        for action in self.planner.tick(self.now, &|run| ended.contains(&run)) {
            match action {
                Action::Start { schedule, run, .. } => {
                    let outcome = if self.fails { Err(Error::Ended) } else { Ok(StreamId(run)) };
                    if outcome.is_ok() {
                        self.runs.insert(run, (self.now.wall, None));
                    }
                    if let Some(Action::Tell { kind, .. }) =
                        self.planner.started(schedule, run, outcome, self.now)
                    {
                        self.told.push(kind);
                    }
                }
                Action::Stop { run } => {
                    let (_, stopped) = self.runs.get_mut(&run).expect("it was started");
                    assert_eq!(stopped.replace(self.now.wall), None, "stopped twice");
                }
                Action::Tell { kind, .. } => self.told.push(kind),
            }
        }
    }

    /// Lets time pass as the thread does: it sleeps until something is to be done, at most half a minute.
    fn pass(&mut self, mut length: Duration) {
        while length > Duration::ZERO {
            // Nothing is lost by longer sleeps where no clock is set, and a year is short then.
            let idle = self.planner.idle(self.now).unwrap_or(Duration::MAX);
            let step = idle.max(Duration::from_secs(1)).min(length);
            self.now.wall += step;
            self.now.steady += step;
            length -= step;
            self.look();
        }
    }

    /// Sets the clock.
    fn set(&mut self, wall: SystemTime) {
        self.now.wall = wall;
        self.look();
    }

    fn spans(&self) -> Vec<(String, Option<String>)> {
        self.runs.values().map(|(began, stopped)| (shown(*began), stopped.map(shown))).collect()
    }

    fn names(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.told).iter().map(ScheduleEventKind::name).collect()
    }
}

fn span(begins: &str, ends: &str) -> (String, Option<String>) {
    (begins.to_owned(), (!ends.is_empty()).then(|| ends.to_owned()))
}

/// Every evening and every night of a year, over both nights on which the clocks change: each once, for as long as clocks say.
#[test]
#[allow(clippy::print_stdout, reason = "a figure")]
fn a_year_of_schedules_takes_milliseconds_and_leaves_no_day_out() {
    let began = Instant::now();
    let mut world = World::at("2026-01-01T12:00:00Z");
    world.add(berlin(Window::daily(time("20:00")).until(time("23:30"))));
    world.add(berlin(Window::daily(time("02:30")).until(time("04:00"))));
    world.pass(365 * DAY);
    let lengths = world.runs.values().map(|(began, stopped)| {
        stopped.expect("none is on the air at noon").duration_since(*began).expect("it ends after it began")
    });
    let mut counts = HashMap::new();
    lengths.for_each(|length| *counts.entry(length.as_secs() / 60).or_insert(0) += 1);
    // On the night that lacks an hour, an hour is left; on the one that has it twice, it is two and a half.
    assert_eq!(counts, HashMap::from([(210, 365), (90, 363), (60, 1), (150, 1)]));
    assert!(world.told.iter().all(|kind| matches!(kind.name(), "schedule_started" | "schedule_stopped")));
    println!("a year of two schedules, {} starts: {:?}", world.runs.len(), began.elapsed());
}

#[test]
fn a_start_that_is_late_is_made_up_for_or_left_out_as_the_policy_says() {
    let evening = || berlin(Window::daily(time("20:00")).until(time("23:00")));
    // The program comes up in the middle of the window.
    let late = |when: When| {
        let mut world = World::at("2026-01-05T19:30:00Z");
        world.add(when);
        world.pass(HOUR);
        world.spans().first().cloned()
    };
    assert_eq!(late(evening()).expect("half an hour late").0, "2026-01-05T19:30:00Z");
    assert_eq!(late(evening().missed(Missed::StartLate(10 * MINUTE))), None);
    assert_eq!(late(evening().missed(Missed::Skip)), None);
    // The machine sleeps over the beginning, and over all of the next window.
    let mut world = World::at("2026-01-05T12:00:00Z");
    world.add(evening().missed(Missed::Skip));
    world.set(utc("2026-01-05T19:30:00Z"));
    assert_eq!(world.names(), ["schedule_missed"]);
    world.set(utc("2026-01-07T12:00:00Z"));
    assert_eq!((world.names(), world.runs.len()), (vec!["schedule_missed"], 0));
    world.pass(DAY);
    assert_eq!(world.spans(), [span("2026-01-07T19:00:00Z", "2026-01-07T22:00:00Z")]);
}

#[test]
fn a_window_that_is_done_hides_none_that_is_not_when_the_clock_is_set_right() {
    let mut world = World::at("2026-01-05T06:59:00Z");
    let day = Window::daily(time("08:00")).until(time("20:00"));
    world.add(berlin(day).window(Window::daily(time("10:00")).until(time("18:00"))));
    world.pass(2 * MINUTE);
    let first: Vec<_> = world.runs.keys().copied().collect();
    assert_eq!(first.len(), 1, "{:?}", world.spans());
    world.ended.extend(first);
    world.pass(HOUR);
    // Ahead by mistake, to after the second window, and set right to when that lasts.
    world.set(utc("2026-01-05T18:00:00Z"));
    assert_eq!(world.runs.len(), 1, "{:?}", world.spans());
    world.set(utc("2026-01-05T09:30:00Z"));
    assert_eq!(world.runs.len(), 2, "{:?}", world.spans());
}

#[test]
fn a_clock_that_is_set_starts_nothing_twice_and_leaves_nothing_out() {
    let mut world = World::at("2026-01-05T12:00:00Z");
    world.add(berlin(Window::daily(time("20:00")).until(time("23:00"))));
    world.add(berlin(Window::daily(time("20:00")).lasting(3 * HOUR)));
    world.pass(7 * HOUR + 5 * MINUTE);
    assert_eq!(world.runs.len(), 2, "19:05 UTC");
    // Back by an hour: the windows begin again on the clock, and have begun already.
    world.set(world.now.wall - HOUR);
    world.pass(2 * HOUR);
    assert_eq!(world.runs.len(), 2);
    // Forward by two hours: the one that ends at 23:00 ends, the one that lasts three hours lasts on.
    world.set(world.now.wall + 2 * HOUR);
    let stopped: Vec<_> = world.runs.values().map(|(_, stopped)| stopped.is_some()).collect();
    assert_eq!(stopped, [true, false]);
    world.pass(HOUR);
    assert!(world.runs.values().all(|(_, stopped)| stopped.is_some()));
    // A year forward by mistake, and back: what was missed there has not been done here.
    let here = world.now.wall;
    world.set(here + 365 * DAY);
    world.set(here);
    let before = world.runs.len();
    world.pass(DAY);
    assert!(world.runs.len() >= before + 2, "{:?}", world.spans());
    // A day forward, to a time between the windows, and back before the next one.
    let here = world.now.wall;
    world.set(here + DAY + 8 * HOUR);
    world.set(here);
    let before = world.runs.len();
    world.pass(DAY);
    assert_eq!(world.runs.len(), before + 2, "{:?}", world.spans());
}

#[test]
fn of_several_windows_that_last_already_the_one_that_ends_last_is_begun() {
    let when = |overlap| {
        berlin(Window::daily(time("10:00")).until(time("20:00")))
            .window(Window::daily(time("12:00")).until(time("12:30")))
            .overlap(overlap)
    };
    let spans = |mut world: World| {
        world.look();
        world.pass(10 * HOUR);
        world.spans()
    };
    let mut world = World::at("2026-01-05T11:10:00Z");
    world.add(when(Overlap::Extend));
    assert_eq!(spans(world), [span("2026-01-05T11:10:00Z", "2026-01-05T19:00:00Z")]);
    let mut world = World::at("2026-01-05T11:10:00Z");
    world.add(when(Overlap::Replace));
    assert_eq!(spans(world), [span("2026-01-05T11:10:00Z", "2026-01-05T11:30:00Z")]);
    // What ran before a restart does not hide what began meanwhile and lasts longer.
    let both = berlin(Window::daily(time("10:00")).until(time("13:00")))
        .window(Window::daily(time("12:00")).until(time("18:00")));
    let mut world = World::at("2026-01-05T08:59:30Z");
    world.add(both);
    world.pass(MINUTE);
    let kept = kept(&world);
    let mut world = World::at("2026-01-05T11:30:00Z");
    world.planner.add(kept, world.now).expect("it goes on");
    assert_eq!(spans(world), [span("2026-01-05T11:30:00Z", "2026-01-05T17:00:00Z")]);
    // A start that is tried again is not given up for a window that ends before.
    let mut world = World::at("2026-01-05T08:59:30Z");
    world.fails = true;
    world.add(when(Overlap::Extend));
    world.pass(2 * HOUR);
    world.pass(MINUTE);
    world.fails = false;
    assert_eq!(
        spans(world).last().map(|(_, ends)| ends.clone()),
        Some(Some("2026-01-05T19:00:00Z".to_owned()))
    );
}

#[test]
fn windows_that_overlap_do_what_the_policy_says() {
    let both = |overlap| {
        berlin(Window::daily(time("20:00")).until(time("22:00")))
            .window(Window::daily(time("21:00")).until(time("23:00")))
            .overlap(overlap)
    };
    let day = |when| {
        let mut world = World::at("2026-01-05T12:00:00Z");
        world.add(when);
        world.pass(20 * HOUR);
        (world.spans(), world.names())
    };
    let (spans, names) = day(both(Overlap::Extend));
    assert_eq!(spans, [span("2026-01-05T19:00:00Z", "2026-01-05T22:00:00Z")]);
    assert_eq!(names, ["schedule_started", "schedule_extended", "schedule_stopped"]);
    let (spans, names) = day(both(Overlap::Skip));
    assert_eq!(spans, [span("2026-01-05T19:00:00Z", "2026-01-05T21:00:00Z")]);
    assert_eq!(names, ["schedule_started", "schedule_left_out", "schedule_stopped"]);
    let (spans, _) = day(both(Overlap::Replace));
    assert_eq!(
        spans,
        [
            span("2026-01-05T19:00:00Z", "2026-01-05T20:00:00Z"),
            span("2026-01-05T20:00:00Z", "2026-01-05T22:00:00Z")
        ]
    );
    // One that begins where the other ends does not overlap: the stream goes on, or a new one begins.
    let row = |overlap| {
        berlin(Window::daily(time("20:00")).until(time("21:00")))
            .window(Window::daily(time("21:00")).until(time("22:00")))
            .overlap(overlap)
    };
    assert_eq!(day(row(Overlap::Extend)).0, [span("2026-01-05T19:00:00Z", "2026-01-05T21:00:00Z")]);
    assert_eq!(day(row(Overlap::Skip)).0.len(), 2);
}

#[test]
fn it_is_known_when_what_is_on_the_air_will_be_stopped() {
    let mut world = World::at("2026-01-05T18:30:00Z");
    world.add(berlin(Window::daily(time("20:00")).until(time("22:00"))));
    world.add(berlin(Window::daily(time("19:45")).lasting(HOUR)));
    assert!(world.planner.ends(world.now).is_empty(), "nothing runs yet");
    world.pass(HOUR);
    let ends = |world: &World| world.planner.ends(world.now);
    assert_eq!(ends(&world), [(StreamId(2), 90 * MINUTE), (StreamId(1), 15 * MINUTE)]);
    world.ended.insert(1);
    world.look();
    assert_eq!(ends(&world), [(StreamId(2), 90 * MINUTE)]);
    world.pass(2 * HOUR);
    assert!(ends(&world).is_empty());
}

#[test]
fn a_start_that_is_refused_is_tried_again_as_long_as_it_may_be_late() {
    let mut world = World::at("2026-01-05T18:59:00Z");
    world.fails = true;
    world.add(
        berlin(Window::daily(time("20:00")).until(time("23:00"))).missed(Missed::StartLate(10 * MINUTE)),
    );
    world.pass(5 * MINUTE);
    assert_eq!(world.names(), ["schedule_refused"], "once for one cause");
    world.fails = false;
    world.pass(MINUTE);
    assert_eq!(world.names(), ["schedule_started"]);
    world.pass(DAY);
    world.names();
    world.fails = true;
    world.pass(DAY + HOUR);
    // The last refusal says that it is not tried again.
    assert_eq!(world.names(), ["schedule_stopped", "schedule_refused", "schedule_refused"]);
    // Without being allowed to be late there is one try.
    let mut world = World::at("2026-01-05T18:59:00Z");
    world.fails = true;
    world.add(berlin(Window::daily(time("20:00"))).missed(Missed::Skip));
    world.pass(10 * MINUTE);
    assert_eq!(world.names(), ["schedule_refused"]);
    // What was on the air before a restart three days into its window is late from the restart on.
    let mut kept = schedule(berlin(Window::on(date("2026-01-05"), time("20:00"))));
    kept.began = Some(utc("2026-01-05T19:00:00Z"));
    let mut world = World::at("2026-01-08T19:00:00Z");
    world.fails = true;
    world.planner.add(kept, world.now).expect("it goes on");
    world.look();
    world.pass(HOUR);
    world.fails = false;
    world.pass(2 * MINUTE);
    assert_eq!(world.names(), ["schedule_refused", "schedule_started"]);
}

#[test]
fn what_ends_by_itself_is_over_until_the_next_window_and_what_is_complete_is_not_listed() {
    let mut world = World::at("2026-01-05T12:00:00Z");
    let daily = world.add(berlin(Window::daily(time("20:00"))));
    world.add(berlin(Window::on(date("2026-01-05"), time("21:00")).until(time("22:00"))));
    world.pass(8 * HOUR + MINUTE);
    let first = *world.runs.keys().next().expect("it was started");
    world.ended.insert(first);
    world.pass(2 * HOUR);
    assert_eq!(world.names().last(), Some(&"schedule_finished"));
    let left = world.planner.list(world.now);
    assert_eq!(left.len(), 1);
    assert_eq!(
        (left[0].id, left[0].stream, left[0].next.map(|next| shown(next.begins))),
        (daily, None, Some("2026-01-06T19:00:00Z".to_owned()))
    );
    world.pass(DAY);
    assert_eq!(world.runs.len(), 3);
    // Nothing lies ahead of what is past.
    let past = schedule(berlin(Window::on(date("2026-01-01"), time("21:00")).until(time("22:00"))));
    assert!(matches!(world.planner.add(past, world.now), Err(Error::Config { name: "windows", .. })));
}

#[test]
fn what_ran_when_it_was_kept_goes_on_and_is_not_begun_anew() {
    let when = || berlin(Window::daily(time("20:00")).until(time("23:00"))).missed(Missed::Skip);
    let mut world = World::at("2026-01-05T18:59:30Z");
    world.add(when());
    world.pass(MINUTE);
    let kept = kept(&world);
    assert_eq!(kept.began.map(shown).as_deref(), Some("2026-01-05T19:00:00Z"));
    // An hour later, another process.
    let mut world = World::at("2026-01-05T20:00:00Z");
    world.planner.add(kept.clone(), world.now).expect("it goes on");
    world.look();
    world.pass(12 * HOUR);
    assert_eq!(world.spans(), [span("2026-01-05T20:00:00Z", "2026-01-05T22:00:00Z")]);
    // A day later, it is over, and a start of today is not made up for.
    let mut world = World::at("2026-01-06T20:00:00Z");
    world.planner.add(kept, world.now).expect("tomorrow lies ahead");
    world.look();
    world.pass(12 * HOUR);
    assert!(world.runs.is_empty());
}

/// What another process knows of the only schedule.
fn kept(world: &World) -> Schedule {
    world.planner.list(world.now)[0].schedule.clone()
}

#[test]
fn what_is_complete_is_not_begun_again_after_a_restart_in_its_window() {
    let evening = || berlin(Window::daily(time("20:00")).until(time("23:30")));
    let mut world = World::at("2026-01-05T18:59:30Z");
    world.add(evening());
    world.pass(2 * HOUR);
    assert_eq!((world.runs.len(), kept(&world).done), (1, None), "it runs");
    world.ended.extend(world.runs.keys().copied());
    world.look();
    let complete = kept(&world);
    assert_eq!((complete.began, complete.done.map(shown).as_deref()), (None, Some("2026-01-05T19:00:00Z")));
    let mut world = World::at("2026-01-05T21:00:00Z");
    world.planner.add(complete.clone(), world.now).expect("tomorrow lies ahead");
    world.look();
    // The next process knows it, too, also when a clock is set back.
    assert_eq!(kept(&world), complete);
    world.set(world.now.wall - HOUR);
    world.pass(23 * HOUR);
    assert_eq!(world.spans(), [span("2026-01-06T19:00:00Z", "")]);
    // A window that began after the one that is done with begins late, as any does.
    let mut world = World::at("2026-01-06T20:00:00Z");
    world.planner.add(complete.clone(), world.now).expect("it lasts");
    world.look();
    assert_eq!(world.spans(), [span("2026-01-06T20:00:00Z", "")]);
    // A time that lies ahead is of a clock that was wrong.
    let mut world = World::at("2026-01-05T21:00:00Z");
    let ahead = Schedule { done: Some(utc("2027-01-05T19:00:00Z")), ..complete };
    world.planner.add(ahead, world.now).expect("it lasts");
    world.look();
    assert_eq!(world.spans(), [span("2026-01-05T21:00:00Z", "")]);
}

#[test]
fn a_window_of_one_date_is_known_as_done_until_it_is_over() {
    let mut world = World::at("2026-01-05T18:59:30Z");
    world.add(berlin(Window::on(date("2026-01-05"), time("20:00")).until(time("23:30"))));
    world.pass(HOUR);
    world.ended.extend(world.runs.keys().copied());
    world.look();
    assert_eq!(world.names(), ["schedule_started"], "who forgot it now would begin it again");
    let complete = kept(&world);
    let mut world = World::at("2026-01-05T20:30:00Z");
    world.planner.add(complete, world.now).expect("it is not over");
    world.look();
    world.pass(HOUR);
    assert_eq!((world.planner.list(world.now).len(), world.runs.len()), (1, 0));
    world.pass(HOUR);
    assert_eq!((world.planner.list(world.now).len(), world.runs.len()), (0, 0));
    assert_eq!(world.names(), ["schedule_finished"]);
}

/// The windows of the property below, from 25 March 2026 on: an evening and a night each day. On the 29th clocks go from 02:00 to 03:00.
fn windows() -> Vec<(SystemTime, SystemTime)> {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").expect("it is known");
    let first = jiff::civil::date(2026, 3, 25);
    let dates = first.series(jiff::Span::new().days(1)).take(45);
    let at = |date: jiff::civil::Date, hour, minute| -> SystemTime {
        let at = date.at(hour, minute, 0, 0).to_zoned(zone.clone()).expect("it is a time");
        at.timestamp().into()
    };
    let of = |day: jiff::civil::Date| {
        let night = match day == jiff::civil::date(2026, 3, 29) {
            true => (utc("2026-03-29T01:00:00Z"), utc("2026-03-29T01:30:00Z")),
            false => (at(day, 2, 30), at(day, 3, 30)),
        };
        [night, (at(day, 20, 0), at(day, 23, 0))]
    };
    dates.flat_map(of).collect()
}

proptest! {
    /// However the clock is set, no window is begun twice, none is begun outside of its time or goes on after it, and none is left out.
    #[test]
    fn clocks_that_are_set_at_random_begin_no_window_twice(
        steps in proptest::collection::vec((0u64..8 * 3600, -7200i64..7200), 1..60),
        overlap in proptest::sample::select(Overlap::ALL),
        is_late in any::<bool>(),
    ) {
        let when = berlin(Window::daily(time("20:00")).until(time("23:00")))
            .window(Window::daily(time("02:30")).until(time("03:30")))
            .overlap(overlap)
            .missed(if is_late { Missed::default() } else { Missed::Skip });
        let mut world = World::at("2026-03-27T12:00:00Z");
        world.add(when);
        let windows = windows();
        for (passes, set) in steps {
            let from = world.now.wall;
            world.pass(Duration::from_secs(passes));
            let to = world.now.wall;
            let begun = begun(&world);
            for (begins, _) in windows.iter().filter(|(begins, _)| (from..=to).contains(begins) && from < *begins) {
                prop_assert!(begun.contains(begins), "left out: {}", shown(*begins));
            }
            check(&world, &windows, is_late)?;
            world.set(if set < 0 { to - Duration::from_secs(set.unsigned_abs()) } else { to + Duration::from_secs(set.unsigned_abs()) });
            check(&world, &windows, is_late)?;
        }
        let begun = begun(&world);
        let twice = begun.iter().find(|begins| begun.iter().filter(|other| other == begins).count() > 1);
        prop_assert!(twice.is_none(), "twice: {:?}", world.spans());
    }
}

/// The beginnings of the windows that were begun, in the order of the runs.
fn begun(world: &World) -> Vec<SystemTime> {
    let late = world.told.iter().filter_map(|kind| match kind {
        ScheduleEventKind::Started { late, .. } => Some(*late),
        _ => None,
    });
    late.zip(world.runs.values()).map(|(late, (at, _))| *at - late).collect()
}

/// Each run was begun within its window, and is over when the clock shows its end; the window at this time has been begun, if it may be late.
fn check(world: &World, windows: &[(SystemTime, SystemTime)], is_late: bool) -> Result<(), TestCaseError> {
    let (begun, now) = (begun(world), world.now.wall);
    for (begins, (at, stopped)) in begun.iter().zip(world.runs.values()) {
        let window = windows.iter().find(|window| window.0 == *begins);
        let Some((_, ends)) = window else {
            return Err(TestCaseError::fail(format!("no window begins at {}", shown(*begins))));
        };
        prop_assert!((begins..ends).contains(&at), "begun at {}, outside of its window", shown(*at));
        prop_assert!(stopped.is_some() || now < *ends, "goes on after {}", shown(*ends));
    }
    let lasting = windows.iter().find(|(begins, ends)| (begins..ends).contains(&&now));
    let is_missing = lasting.is_some_and(|(begins, _)| is_late && !begun.contains(begins));
    prop_assert!(!is_missing, "at {} none runs", shown(now));
    Ok(())
}
