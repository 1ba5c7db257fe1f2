//! Dates, times of day and days of the week, as people write them.
//!
//! In: numbers and text. Out: what a calendar has, and nothing else. Without a time zone they are no instants yet.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::words::words;

/// A day of the calendar. `Display` gives `2026-12-24`, which is also what is parsed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date(pub(super) jiff::civil::Date);

/// A time of the day, on the clocks of a time zone. `Display` gives `20:00`, or `20:00:30` where there are seconds; both are parsed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimeOfDay(pub(super) jiff::civil::Time);

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

words!(
    Weekday,
    "day of the week",
    Mon = "mon",
    Tue = "tue",
    Wed = "wed",
    Thu = "thu",
    Fri = "fri",
    Sat = "sat",
    Sun = "sun",
);

impl Weekday {
    pub(super) const fn of(day: jiff::civil::Weekday) -> Self {
        match day {
            jiff::civil::Weekday::Monday => Self::Mon,
            jiff::civil::Weekday::Tuesday => Self::Tue,
            jiff::civil::Weekday::Wednesday => Self::Wed,
            jiff::civil::Weekday::Thursday => Self::Thu,
            jiff::civil::Weekday::Friday => Self::Fri,
            jiff::civil::Weekday::Saturday => Self::Sat,
            jiff::civil::Weekday::Sunday => Self::Sun,
        }
    }
}

impl Date {
    /// This day of this month (1 to 12) of this year (1 to 9999).
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if no calendar has it.
    pub fn new(year: i16, month: i8, day: i8) -> Result<Self, Error> {
        let found = jiff::civil::Date::new(year, month, day).ok().filter(|date| date.year() >= 1);
        found.map(Self).ok_or_else(|| no_date(&format!("{year}-{month}-{day}")))
    }
}

impl TimeOfDay {
    /// This time on a clock of 24 hours: 0 to 23, 0 to 59, 0 to 59.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if no clock shows it.
    pub fn new(hour: i8, minute: i8, second: i8) -> Result<Self, Error> {
        let found = jiff::civil::Time::new(hour, minute, second, 0);
        found.map(Self).map_err(|_| no_time(&format!("{hour}:{minute}:{second}")))
    }
}

fn no_date(text: &str) -> Error {
    Error::Config { name: "date", reason: format!("{text:?} is no date such as 2026-12-24") }
}

fn no_time(text: &str) -> Error {
    Error::Config {
        name: "time",
        reason: format!("{text:?} is no time of the day such as 20:00 or 20:00:30"),
    }
}

/// A number of just so many digits.
fn digits(text: &str, many: usize) -> Option<i16> {
    let is_number = text.len() == many && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('-');
        let mut next = |many| parts.next().and_then(|part| digits(part, many));
        let found = (next(4), next(2), next(2));
        let (Some(year), Some(month), Some(day)) = found else { return Err(no_date(text)) };
        if parts.next().is_some() {
            return Err(no_date(text));
        }
        let small = |number| i8::try_from(number).unwrap_or(i8::MAX);
        Self::new(year, small(month), small(day)).map_err(|_| no_date(text))
    }
}

impl FromStr for TimeOfDay {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<_> = text.split(':').map(|part| digits(part, 2)).collect();
        let (hour, minute, second) = match parts[..] {
            [Some(hour), Some(minute)] => (hour, minute, 0),
            [Some(hour), Some(minute), Some(second)] => (hour, minute, second),
            _ => return Err(no_time(text)),
        };
        let small = |number| i8::try_from(number).unwrap_or(i8::MAX);
        Self::new(small(hour), small(minute), small(second)).map_err(|_| no_time(text))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())?;
        if self.0.second() == 0 { Ok(()) } else { write!(f, ":{:02}", self.0.second()) }
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        for text in ["2026-12-24", "2028-02-29", "0001-01-01"] {
            assert_eq!(text.parse::<Date>().expect("it is a date").to_string(), text);
        }
        for text in [
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "26-01-01",
            "2026-01-01-01",
            "0000-01-01",
            "-001-01-01",
            "",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text:?}");
        }
        for text in ["00:00", "23:59:59", "20:00:30"] {
            assert_eq!(text.parse::<TimeOfDay>().expect("it is a time").to_string(), text);
        }
        assert_eq!("20:00:00".parse::<TimeOfDay>().expect("it is a time").to_string(), "20:00");
        for text in ["24:00", "20:60", "20", "8:00", "20:00:00:00", "20:00:60", "+8:00", ""] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text:?}");
        }
    }
}
