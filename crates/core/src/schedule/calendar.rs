//! Which windows there are around an instant. Pure: the same question has the same answer.
//!
//! In: windows, a time zone, an instant. Out: the next or the latest occurrence.

use std::time::{Duration, SystemTime};

use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, civil};

use super::civil::{TimeOfDay, Weekday};
use super::when::{Days, LONGEST, Overlap, When, Window, WindowEnd};

/// One time that a window takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occurrence {
    /// When it begins.
    pub begins: SystemTime,
    /// When it ends; `None` if it does not end by itself.
    pub ends: Option<SystemTime>,
    /// Its length, where that was given instead of an end.
    pub(super) length: Option<Duration>,
}

impl Occurrence {
    /// Whether it has not ended at this time.
    pub(super) fn lasts(&self, at: SystemTime) -> bool {
        self.ends.is_none_or(|ends| ends > at)
    }
}

/// The windows of a schedule in their zone.
#[derive(Debug)]
pub(super) struct Calendar<'a> {
    when: &'a When,
    zone: TimeZone,
}

impl<'a> Calendar<'a> {
    /// `None` if the zone is not known (any more).
    pub(super) fn of(when: &'a When) -> Option<Self> {
        Some(Self { when, zone: TimeZone::get(&when.zone).ok()? })
    }

    /// The first occurrence that begins after `after`; of several that begin together, the one that ends last.
    pub(super) fn next_after(&self, after: SystemTime) -> Option<Occurrence> {
        let today = self.date(after)?;
        let first = today.yesterday().unwrap_or(today);
        // Beyond the exceptions, a window takes place within a week; a night without it may come in between.
        let days = 7 * (self.when.except.len() + 3);
        let found = self.when.windows.iter().filter_map(|window| match window.days {
            Days::On(date) => self.occurrence(window, date.0).filter(|found| found.begins > after),
            _ => first
                .series(jiff::Span::new().days(1))
                .take(days)
                .filter(|date| window.begins_on(*date))
                .filter_map(|date| self.occurrence(window, date))
                .find(|found| found.begins > after),
        });
        found.min_by_key(|found| (found.begins, std::cmp::Reverse(End(found.ends))))
    }

    /// Of the occurrences that have begun at `at`, at most `within` before, and have not ended: the one that ends last if windows that overlap
    /// extend each other, else the one that began last. What is done, by when it began, is left out.
    pub(super) fn lasting_at(
        &self,
        at: SystemTime,
        within: Duration,
        is_done: &dyn Fn(SystemTime) -> bool,
    ) -> Option<Occurrence> {
        let today = self.date(at)?;
        let days = usize::try_from(within.min(LONGEST).as_secs() / 86_400).unwrap_or(0) + 3;
        let found = self.when.windows.iter().filter_map(|window| {
            let has_begun = |found: &Occurrence| {
                found.begins <= at && at.duration_since(found.begins).is_ok_and(|late| late <= within)
            };
            let found = match window.days {
                Days::On(date) => self.occurrence(window, date.0).filter(has_begun),
                _ => today
                    .tomorrow()
                    .unwrap_or(today)
                    .series(jiff::Span::new().days(-1))
                    .take(days)
                    .filter(|date| window.begins_on(*date))
                    .filter_map(|date| self.occurrence(window, date))
                    .find(has_begun),
            };
            found.filter(|found| found.lasts(at) && !is_done(found.begins))
        });
        found.reduce(|one, other| self.later(one, other))
    }

    /// Whether something lies ahead at `at`, or lasts that would be begun, late, if it was not known that it is done with.
    pub(super) fn matters(&self, at: SystemTime) -> bool {
        self.next_after(at).is_some() || self.lasting_at(at, self.when.missed.within(), &|_| false).is_some()
    }

    /// Which of two that last at the same time counts.
    pub(super) fn later(&self, one: Occurrence, other: Occurrence) -> Occurrence {
        let is_one = match self.when.overlap {
            Overlap::Extend => (End(one.ends), one.begins) >= (End(other.ends), other.begins),
            Overlap::Skip | Overlap::Replace => {
                (one.begins, End(one.ends)) >= (other.begins, End(other.ends))
            }
        };
        if is_one { one } else { other }
    }

    /// The date that clocks in the zone show.
    fn date(&self, at: SystemTime) -> Option<civil::Date> {
        Some(self.zone.to_datetime(Timestamp::try_from(at).ok()?).date())
    }

    /// The window as it takes place when it begins on this date; `None` if it does not.
    fn occurrence(&self, window: &Window, date: civil::Date) -> Option<Occurrence> {
        if self.when.except.iter().any(|except| except.0 == date) {
            return None;
        }
        let begins = self.instant(date, window.from)?;
        let (ends, length) = match window.end {
            WindowEnd::Never => (None, None),
            WindowEnd::After(length) => (Some(begins.checked_add(length)?), Some(length)),
            WindowEnd::At(time) => {
                let date = if time > window.from { date } else { date.tomorrow().ok()? };
                (Some(self.instant(date, time)?), None)
            }
            WindowEnd::On(date, time) => (Some(self.instant(date.0, time)?), None),
        };
        ends.is_none_or(|ends| ends > begins).then_some(Occurrence { begins, ends, length })
    }

    /// The instant at which clocks show this: the first one, or where there is none, the first one after.
    fn instant(&self, date: civil::Date, time: TimeOfDay) -> Option<SystemTime> {
        let shown = date.to_datetime(time.0);
        let at = match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(shown).ok()?
            }
            AmbiguousOffset::Gap { before, after } => {
                // By the offset after the change, the time lies before it; by the one before, after it.
                let (early, late) = (after.to_timestamp(shown).ok()?, before.to_timestamp(shown).ok()?);
                let mut changes = self.zone.following(early).take_while(|change| change.timestamp() <= late);
                changes.find(|change| change.offset() == after).map_or(late, |change| change.timestamp())
            }
        };
        Some(at.into())
    }
}

impl Window {
    fn begins_on(&self, date: civil::Date) -> bool {
        match &self.days {
            Days::Every => true,
            Days::Weekly(days) => days.contains(&Weekday::of(date.weekday())),
            Days::On(on) => on.0 == date,
        }
    }
}

/// An end in order: none is later than any.
#[derive(PartialEq, Eq)]
pub(super) struct End(pub(super) Option<SystemTime>);

impl Ord for End {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self.0, other.0) {
            (Some(one), Some(other)) => one.cmp(&other),
            (one, other) => other.is_some().cmp(&one.is_some()),
        }
    }
}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
