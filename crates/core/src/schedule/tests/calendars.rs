//! Windows in their zones, by themselves.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::calendar::Calendar;
use super::super::*;
use super::{DAY, HOUR, berlin, date, shown, time, utc};

/// Beginnings and ends after an instant.
fn after(when: &When, at: &str, many: usize) -> Vec<(String, Option<String>)> {
    let calendar = Calendar::of(when).expect("a known zone");
    let mut at = utc(at);
    let next = std::iter::from_fn(|| {
        let found = calendar.next_after(at)?;
        at = found.begins;
        Some((shown(found.begins), found.ends.map(shown)))
    });
    next.take(many).collect()
}

fn spans<const N: usize>(spans: [(&str, &str); N]) -> Vec<(String, Option<String>)> {
    spans
        .into_iter()
        .map(|(begins, ends)| (begins.to_owned(), (!ends.is_empty()).then(|| ends.to_owned())))
        .collect()
}

/// Clocks in Berlin go from 02:00 to 03:00 on 2026-03-29, at 01:00 UTC.
#[test]
fn on_the_night_that_lacks_an_hour_a_window_begins_at_the_first_instant_after() {
    let in_the_gap = berlin(Window::daily(time("02:30")).until(time("04:00")));
    assert_eq!(
        after(&in_the_gap, "2026-03-28T00:00:00Z", 3),
        spans([
            ("2026-03-28T01:30:00Z", "2026-03-28T03:00:00Z"),
            ("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"),
            ("2026-03-30T00:30:00Z", "2026-03-30T02:00:00Z"),
        ])
    );
    // An end that the clocks leave out is the same instant; a window of which nothing is left does not take place.
    let into_the_gap = berlin(Window::daily(time("22:00")).until(time("02:15")));
    assert_eq!(
        after(&into_the_gap, "2026-03-28T12:00:00Z", 1),
        spans([("2026-03-28T21:00:00Z", "2026-03-29T01:00:00Z")])
    );
    let all_in_it = berlin(Window::daily(time("02:10")).until(time("02:50")));
    assert_eq!(
        after(&all_in_it, "2026-03-28T12:00:00Z", 1),
        spans([("2026-03-30T00:10:00Z", "2026-03-30T00:50:00Z")])
    );
    // What has a length has it on every night.
    let four_hours = berlin(Window::daily(time("01:00")).lasting(4 * HOUR));
    assert_eq!(
        after(&four_hours, "2026-03-28T12:00:00Z", 1),
        spans([("2026-03-29T00:00:00Z", "2026-03-29T04:00:00Z")])
    );
}

/// Clocks in Berlin go from 03:00 to 02:00 on 2026-10-25, at 01:00 UTC.
#[test]
fn on_the_night_that_has_an_hour_twice_a_window_begins_once_at_the_first() {
    let doubled = berlin(Window::daily(time("02:30")).until(time("04:00")));
    assert_eq!(
        after(&doubled, "2026-10-24T12:00:00Z", 2),
        spans([
            ("2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z"),
            ("2026-10-26T01:30:00Z", "2026-10-26T03:00:00Z")
        ])
    );
    let ends_in_it = berlin(Window::daily(time("23:00")).until(time("02:30")));
    assert_eq!(
        after(&ends_in_it, "2026-10-24T12:00:00Z", 1),
        spans([("2026-10-24T21:00:00Z", "2026-10-25T00:30:00Z")])
    );
    let all_in_it = berlin(Window::daily(time("02:10")).until(time("02:50")));
    assert_eq!(
        after(&all_in_it, "2026-10-24T12:00:00Z", 2),
        spans([
            ("2026-10-25T00:10:00Z", "2026-10-25T00:50:00Z"),
            ("2026-10-26T01:10:00Z", "2026-10-26T01:50:00Z")
        ])
    );
}

#[test]
fn other_changes_of_clocks_are_met_too() {
    // Half an hour in Lord Howe; a whole day left out in Samoa; midnight itself in Beirut.
    let howe = When::in_zone("Australia/Lord_Howe").window(Window::daily(time("02:15")));
    assert_eq!(after(&howe, "2026-10-03T12:00:00Z", 1), spans([("2026-10-03T15:30:00Z", "")]));
    let samoa =
        When::in_zone("Pacific/Apia").window(Window::on(date("2011-12-30"), time("12:00")).lasting(HOUR));
    assert_eq!(
        after(&samoa, "2011-12-29T00:00:00Z", 2),
        spans([("2011-12-30T10:00:00Z", "2011-12-30T11:00:00Z")])
    );
    let beirut = When::in_zone("Asia/Beirut").window(Window::daily(time("00:00")));
    assert_eq!(after(&beirut, "2026-03-28T12:00:00Z", 1), spans([("2026-03-28T22:00:00Z", "")]));
}

#[test]
fn days_dates_and_exceptions_are_those_of_the_zone() {
    let weekend = [Weekday::Sat, Weekday::Sun];
    let when = When::in_zone("America/New_York")
        .window(Window::weekly(weekend, time("22:00")).until(time("01:00")))
        .window(Window::on(date("2026-12-24"), time("18:00")).until_on(date("2026-12-26"), time("03:00")))
        .except(date("2026-12-20"));
    // Saturday 22:00 in New York is Sunday in UTC. The excepted Sunday is left out, the once-only window comes between.
    assert_eq!(
        after(&when, "2026-12-19T00:00:00Z", 4),
        spans([
            ("2026-12-20T03:00:00Z", "2026-12-20T06:00:00Z"),
            ("2026-12-24T23:00:00Z", "2026-12-26T08:00:00Z"),
            ("2026-12-27T03:00:00Z", "2026-12-27T06:00:00Z"),
            ("2026-12-28T03:00:00Z", "2026-12-28T06:00:00Z"),
        ])
    );
    // A window that ends when it begins lasts a day.
    let whole = When::in_zone("UTC").window(Window::daily(time("08:00")).until(time("08:00")));
    assert_eq!(
        after(&whole, "2026-01-01T00:00:00Z", 1),
        spans([("2026-01-01T08:00:00Z", "2026-01-02T08:00:00Z")])
    );
    // However many days are excepted, the next one is found; and nothing lies behind the last.
    let mut many = When::in_zone("UTC").window(Window::weekly([Weekday::Mon], time("08:00")));
    let mut day = date("2026-01-05").0;
    for _ in 0..300 {
        many = many.except(Date(day));
        day = day.checked_add(jiff::Span::new().days(7)).expect("a date");
    }
    assert_eq!(after(&many, "2026-01-01T00:00:00Z", 1)[0].0, format!("{day}T08:00:00Z"));
    let once = When::in_zone("UTC").window(Window::on(date("2026-01-01"), time("08:00")));
    assert!(after(&once, "2026-01-01T08:00:00Z", 1).is_empty());
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let name = |when: When| match when.check() {
        Err(crate::Error::Config { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let from = time("20:00");
    assert_eq!(name(When::in_zone("Europe/Nowhere").window(Window::daily(from))), "zone");
    assert_eq!(name(When::in_zone("UTC")), "windows");
    assert_eq!(name(berlin(Window::weekly([], from))), "windows");
    assert_eq!(name(berlin(Window::daily(from).lasting(Duration::ZERO))), "windows");
    assert_eq!(name(berlin(Window::daily(from).lasting(400 * DAY))), "windows");
    assert_eq!(name(berlin(Window::daily(from).until_on(date("2026-01-01"), from))), "windows");
    assert_eq!(
        name(berlin(Window::on(date("2026-01-02"), from).until_on(date("2026-01-02"), from))),
        "windows"
    );
    assert_eq!(name(berlin(Window::daily(from)).missed(Missed::StartLate(400 * DAY))), "start_late");
    assert!(berlin(Window::daily(from)).check().is_ok());
}

fn any_window() -> impl Strategy<Value = Window> {
    let clock =
        || (0i8..24, 0i8..60).prop_map(|(hour, minute)| TimeOfDay::new(hour, minute, 0).expect("a time"));
    let days = prop_oneof![
        Just(Days::Every),
        proptest::sample::subsequence(Weekday::ALL, 1..=7).prop_map(Days::Weekly),
    ];
    let end = prop_oneof![
        Just(WindowEnd::Never),
        clock().prop_map(WindowEnd::At),
        (1u64..200_000).prop_map(|seconds| WindowEnd::After(Duration::from_secs(seconds))),
    ];
    (days, clock(), end).prop_map(|(days, from, end)| Window { days, from, end })
}

/// Any times around 2026, in zones of all kinds.
fn any_calendar() -> impl Strategy<Value = (When, SystemTime)> {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Kathmandu",
    ];
    let windows = proptest::collection::vec(any_window(), 1..4);
    let except = proptest::collection::vec((1i8..=12, 1i8..=28), 0..20);
    (proptest::sample::select(zones.to_vec()), windows, except, 0u64..2 * 366 * 86_400).prop_map(
        |(zone, windows, except, seconds)| {
            let except =
                except.into_iter().map(|(month, day)| Date::new(2026, month, day).expect("a date")).collect();
            let when = When { windows, except, ..When::in_zone(zone) };
            (when, utc("2025-06-01T00:00:00Z") + Duration::from_secs(seconds))
        },
    )
}

proptest! {
    /// What comes next begins later than asked, on a day and at a time of one of the windows, and nothing lies between.
    #[test]
    fn the_next_window_is_one_of_them_and_none_lies_between((when, at) in any_calendar()) {
        let calendar = Calendar::of(&when).expect("a known zone");
        let zone = TimeZone::get(&when.zone).expect("a known zone");
        let next = calendar.next_after(at).expect("windows without an end");
        prop_assert!(next.begins > at && next.ends.is_none_or(|ends| ends > next.begins));
        let clocks = |at: SystemTime| zone.to_datetime(Timestamp::try_from(at).expect("in range"));
        let shown = clocks(next.begins);
        prop_assert!(!when.except.contains(&Date(shown.date())));
        let is_shown = |window: &Window| shown.time() == window.from.0;
        // Where it is none of their times, clocks have just left that out.
        let before = clocks(next.begins - Duration::from_secs(1));
        let is_left_out = |window: &Window| before.time() < window.from.0 && window.from.0 < shown.time();
        prop_assert!(when.windows.iter().any(|window| is_shown(window) || is_left_out(window)));
        // Asked from anywhere in between, the answer is the same.
        let half = at + next.begins.duration_since(at).expect("later") / 2;
        prop_assert_eq!(calendar.next_after(half).map(|found| found.begins), Some(next.begins));
        let all_the_way = next.begins - Duration::from_secs(1);
        prop_assert_eq!(calendar.next_after(all_the_way.max(at)).map(|found| found.begins), Some(next.begins));
    }

    /// What lasts now is what has begun and not ended, counted one by one.
    #[test]
    fn what_lasts_is_what_ends_last_or_has_begun_last(
        (when, at) in any_calendar(),
        overlap in proptest::sample::select(Overlap::ALL),
    ) {
        let when = when.overlap(overlap);
        let calendar = Calendar::of(&when).expect("a known zone");
        let within = 4 * DAY;
        let mut lasting = Vec::new();
        for window in &when.windows {
            let alone = When { windows: vec![window.clone()], ..when.clone() };
            let calendar = Calendar::of(&alone).expect("a known zone");
            let mut from = at - within - Duration::from_nanos(1);
            let begun = std::iter::from_fn(|| {
                let found = calendar.next_after(from).filter(|found| found.begins <= at)?;
                from = found.begins;
                Some(found)
            });
            lasting.extend(begun.last().filter(|found| found.lasts(at)).map(|found| (found.begins, found.ends)));
        }
        // What never ends comes after all that does.
        let ends = |ends: Option<SystemTime>| (ends.is_none(), ends);
        let wanted = match overlap {
            Overlap::Extend => lasting.into_iter().max_by_key(|found| (ends(found.1), found.0)),
            Overlap::Skip | Overlap::Replace => lasting.into_iter().max_by_key(|found| (found.0, ends(found.1))),
        };
        prop_assert_eq!(calendar.lasting_at(at, within, &|_| false).map(|found| (found.begins, found.ends)), wanted);
    }
}
