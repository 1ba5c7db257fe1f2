//! How schedules are written in files.

use std::time::{Duration, SystemTime};

use serde::de::Error as _;
use serde::ser::Serialize;
use serde::{Deserialize, Deserializer, Serializer};

use super::civil::{Date, TimeOfDay, Weekday};
use super::keeper::Schedule;
use super::when::{Days, Missed, Overlap, When, Window, WindowEnd};
use crate::spec::{StreamSpec, WithKeys};
use crate::written::{is_default, span};

/// Written as they print.
macro_rules! as_text {
    ($($name:ty),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }
    )+};
}

as_text!(Date, TimeOfDay);

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "when", deny_unknown_fields)]
struct WrittenWhen {
    #[serde(default = "utc")]
    zone: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except: Vec<Date>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missed: Option<Skip>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_late: Option<Span>,
    #[serde(default, skip_serializing_if = "is_default")]
    overlap: Overlap,
    #[serde(default)]
    windows: Vec<Window>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Skip {
    Skip,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Span(#[serde(with = "span")] Duration);

fn utc() -> String {
    "UTC".to_owned()
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "window", deny_unknown_fields)]
struct WrittenWindow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    days: Option<Vec<Weekday>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on: Option<Date>,
    from: TimeOfDay,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasts: Option<Span>,
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { zone, windows, except, missed, overlap } = self.clone();
        let (missed, start_late) = match missed {
            Missed::Skip => (Some(Skip::Skip), None),
            late if late == Missed::default() => (None, None),
            Missed::StartLate(within) => (None, Some(Span(within))),
        };
        WrittenWhen { zone, except, missed, start_late, overlap, windows }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let WrittenWhen { zone, except, missed, start_late, overlap, windows } =
            Deserialize::deserialize(from)?;
        let missed = match (missed, start_late) {
            (None, None) => Missed::default(),
            (Some(Skip::Skip), None) => Missed::Skip,
            (None, Some(Span(within))) => Missed::StartLate(within),
            (Some(_), Some(_)) => return Err(D::Error::custom("give either `missed` or `start_late`")),
        };
        Ok(Self { zone, windows, except, missed, overlap })
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (days, on) = match &self.days {
            Days::Every => (None, None),
            Days::Weekly(days) => (Some(days.clone()), None),
            Days::On(date) => (None, Some(*date)),
        };
        let (end, lasts) = match self.end {
            WindowEnd::Never => (None, None),
            WindowEnd::At(time) => (Some(time.to_string()), None),
            WindowEnd::On(date, time) => (Some(format!("{date} {time}")), None),
            WindowEnd::After(length) => (None, Some(Span(length))),
        };
        WrittenWindow { days, on, from: self.from, to: end, lasts }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let WrittenWindow { days, on, from: begins, to, lasts } = Deserialize::deserialize(from)?;
        let days = match (days, on) {
            (None, None) => Days::Every,
            (Some(days), None) => Days::Weekly(days),
            (None, Some(date)) => Days::On(date),
            (Some(_), Some(_)) => return Err(D::Error::custom("give either `days` or `on`")),
        };
        let end = match (to, lasts) {
            (None, None) => WindowEnd::Never,
            (None, Some(Span(length))) => WindowEnd::After(length),
            (Some(to), None) => match to.split_once(' ') {
                Some((date, time)) => {
                    let date = date.parse().map_err(D::Error::custom)?;
                    WindowEnd::On(date, time.parse().map_err(D::Error::custom)?)
                }
                None => WindowEnd::At(to.parse().map_err(D::Error::custom)?),
            },
            (Some(_), Some(_)) => return Err(D::Error::custom("give either `to` or `lasts`")),
        };
        Ok(Self { days, from: begins, end })
    }
}

/// A time as the number of its seconds since 1970: windows begin at whole ones.
mod instant {
    use super::{Deserialize, Deserializer, Duration, Serializer, SystemTime};

    #[allow(clippy::ref_option, reason = "serde gives it so")]
    pub(super) fn serialize<S: Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        match since {
            Some(since) => to.serialize_some(&since.as_secs()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        let seconds = Option::<u64>::deserialize(from)?;
        Ok(seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))))
    }
}

#[derive(serde::Serialize)]
#[serde(rename = "schedule")]
struct Written<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none", with = "instant")]
    began: Option<SystemTime>,
    #[serde(skip_serializing_if = "Option::is_none", with = "instant")]
    done: Option<SystemTime>,
    when: &'a When,
    stream: P,
}

#[derive(serde::Deserialize)]
#[serde(rename = "schedule", deny_unknown_fields)]
struct Read {
    #[serde(default, with = "instant")]
    began: Option<SystemTime>,
    #[serde(default, with = "instant")]
    done: Option<SystemTime>,
    when: When,
    stream: StreamSpec,
}

/// Without keys: they are written as `****`.
impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Written { began: self.began, done: self.done, when: &self.when, stream: &self.spec }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Read { began, done, when, stream } = Read::deserialize(from)?;
        Ok(Self { spec: stream, when, began, done })
    }
}

/// A schedule to be written with its keys; see [`Schedule::with_keys`].
#[derive(Debug, Clone, Copy)]
pub struct ScheduleWithKeys<'a>(&'a Schedule);

impl Serialize for ScheduleWithKeys<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Schedule { spec, when, began, done } = self.0;
        let stream: WithKeys<'_> = spec.with_keys();
        Written { began: *began, done: *done, when, stream }.serialize(to)
    }
}

impl Schedule {
    /// The schedule, to be written with the keys of its stream in clear text: for files that nobody else reads.
    #[must_use]
    pub const fn with_keys(&self) -> ScheduleWithKeys<'_> {
        ScheduleWithKeys(self)
    }
}
