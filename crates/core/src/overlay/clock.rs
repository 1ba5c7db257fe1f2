//! The time of day as text.
//!
//! In: a time, and how it is written. Out: the text. No time zones: a fixed distance from UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest form, in characters.
const MAX_FORM: usize = 100;
/// The farthest from UTC, in minutes.
const MOST_MINUTES: u32 = 24 * 60;

/// How a time of day is written: text with `%Y` (year), `%m` (month), `%d` (day), `%H`, `%M`, `%S` (hour, minute, second, two digits) and `%%`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clock {
    pub(super) form: String,
    pub(super) minutes: i32,
}

impl Clock {
    /// In UTC.
    #[must_use]
    pub fn new(form: impl Into<String>) -> Self {
        Self { form: form.into(), minutes: 0 }
    }

    /// At this many minutes before (east of) UTC, -1440 to 1440: 60 for Berlin in winter. Default 0.
    #[must_use]
    pub fn utc_offset_minutes(mut self, minutes: i32) -> Self {
        self.minutes = minutes;
        self
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.form.chars().count() > MAX_FORM || self.form.chars().any(|c| c.is_control() && c != '\n') {
            found.push(format!(
                "the form of a clock is at most {MAX_FORM} characters without control characters"
            ));
        }
        if self.minutes.unsigned_abs() > MOST_MINUTES {
            found.push(format!("a clock is at most {MOST_MINUTES} minutes from UTC"));
        }
        if let Err(unknown) = self.text(UNIX_EPOCH) {
            found.push(format!("the form of a clock has {unknown:?}; there are %Y %m %d %H %M %S %%"));
        }
        found
    }

    /// The text at this time.
    ///
    /// # Errors
    ///
    /// What is not known in the form.
    pub(super) fn text(&self, at: SystemTime) -> Result<String, String> {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let seconds = i64::try_from(since).unwrap_or(0) + 60 * i64::from(self.minutes);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date(days);
        let mut text = String::new();
        let mut rest = self.form.chars();
        while let Some(character) = rest.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            match rest.next() {
                Some('%') => text.push('%'),
                Some('Y') => text.push_str(&format!("{year:04}")),
                Some('m') => text.push_str(&format!("{month:02}")),
                Some('d') => text.push_str(&format!("{day:02}")),
                Some('H') => text.push_str(&format!("{:02}", second / 3600)),
                Some('M') => text.push_str(&format!("{:02}", second / 60 % 60)),
                Some('S') => text.push_str(&format!("{:02}", second % 60)),
                other => return Err(format!("%{}", other.map(String::from).unwrap_or_default())),
            }
        }
        Ok(text)
    }
}

impl From<&str> for Clock {
    fn from(form: &str) -> Self {
        Self::new(form)
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar: Howard Hinnant's `civil_from_days`.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let clock = Clock::new("%Y-%m-%d %H:%M:%S %%");
        assert_eq!(clock.text(at(0)).as_deref(), Ok("1970-01-01 00:00:00 %"));
        assert_eq!(clock.text(at(951_782_399)).as_deref(), Ok("2000-02-28 23:59:59 %"));
        assert_eq!(clock.text(at(951_782_400)).as_deref(), Ok("2000-02-29 00:00:00 %"));
        assert_eq!(clock.text(at(1_796_000_000)).as_deref(), Ok("2026-11-30 00:53:20 %"));
        let east = Clock::new("%d %H:%M").utc_offset_minutes(90);
        assert_eq!(east.text(at(951_782_399)).as_deref(), Ok("29 01:29"));
        let west = Clock::new("%Y %H").utc_offset_minutes(-60);
        assert_eq!(west.text(at(0)).as_deref(), Ok("1969 23"));
        assert_eq!(Clock::new("%").text(at(0)), Err("%".to_owned()));
    }
}
