//! Calendars at their edges, a year of schedules on clocks of its own, and the thread with streams that run.

mod calendars;
mod planned;
mod running;
#[cfg(feature = "serde")]
mod written;

use std::time::{Duration, SystemTime};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn time(text: &str) -> TimeOfDay {
    text.parse().expect("it is a time")
}

fn date(text: &str) -> Date {
    text.parse().expect("it is a date")
}

/// An instant, in UTC.
fn utc(text: &str) -> SystemTime {
    humantime::parse_rfc3339(text).expect("it is an instant")
}

/// An instant as it is read best.
fn shown(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn berlin(window: Window) -> When {
    When::in_zone("Europe/Berlin").window(window)
}
