//! When a recording goes on in another file, and how long its files are kept.
//!
//! In: what the caller chose; the wall clock. Out: what is wrong with it, and when the next cut is due. No time of a stream comes from here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;

/// The shortest file, and the fewest bytes of one.
const SHORTEST: Duration = Duration::from_secs(1);
const FEWEST: u64 = 64 << 10;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The zone that needs no feature.
const UTC: &str = "UTC";

/// A recording in parts: when it goes on in another file, and how long files are kept; see [`Output::segments`](crate::Output::segments).
///
/// Files are cut before a keyframe, so each can be played by itself, and one behind the other they have every picture and every frame of sound
/// once. Of several rules the first that is met counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename = "segments", default, deny_unknown_fields))]
pub struct Segments {
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")
    )]
    every: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    bytes: Option<u64>,
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")
    )]
    by_clock: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    zone: Option<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    at_returns: bool,
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")
    )]
    pub(super) keep_for: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) keep_files: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) keep_bytes: Option<u64>,
}

impl Segments {
    /// Another file with the first keyframe after this much media, at least a second.
    #[must_use]
    pub fn every(length: Duration) -> Self {
        Self { every: Some(length), ..Self::default() }
    }

    /// Another file with the first keyframe after this many bytes, at least 64 KiB. Files are larger by up to a GOP and what is written at once.
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..Self::default() }
    }

    /// Another file with the first keyframe after each full `step` of the day in a time zone: after `00:00` for 24 hours, after each full hour for
    /// one. `step` is a part of a day without a rest, at least a second. `zone` is an IANA name ("Europe/Berlin"), which needs the feature `schedule`,
    /// or "UTC".
    #[must_use]
    pub fn by_clock(step: Duration, zone: impl Into<String>) -> Self {
        Self { by_clock: Some(step), zone: Some(zone.into()), ..Self::default() }
    }

    /// Another file when the source is back after it was lost: a publisher that went away and came again or was replaced by another one, or a
    /// server that is played from; with a [fallback](crate::Source::fallback), when that ends. It begins with the first keyframe then. Without this,
    /// a recording goes on in the same file, and its time goes on over the gap.
    #[must_use]
    pub fn at_returns() -> Self {
        Self { at_returns: true, ..Self::default() }
    }

    /// The same, and another file when the source is back; see [`at_returns`](Self::at_returns).
    #[must_use]
    pub fn and_at_returns(mut self) -> Self {
        self.at_returns = true;
        self
    }

    /// The same, and another file after this much media.
    #[must_use]
    pub fn and_every(mut self, length: Duration) -> Self {
        self.every = Some(length);
        self
    }

    /// The same, and another file after this many bytes.
    #[must_use]
    pub fn and_of_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Removes files that were complete this long ago. Default: none.
    ///
    /// Only files are removed whose names this recording gives, also those of earlier runs; never the one that is written, nor one that a stream
    /// plays. It is looked at with each cut.
    #[must_use]
    pub fn keep_for(mut self, age: Duration) -> Self {
        self.keep_for = Some(age);
        self
    }

    /// Removes the oldest complete files beyond this many; see [`keep_for`](Self::keep_for). Default: none.
    #[must_use]
    pub fn keep_files(mut self, files: u32) -> Self {
        self.keep_files = Some(files);
        self
    }

    /// Removes the oldest complete files while all of them have more bytes than this; see [`keep_for`](Self::keep_for). Default: none.
    #[must_use]
    pub fn keep_bytes(mut self, bytes: u64) -> Self {
        self.keep_bytes = Some(bytes);
        self
    }

    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut wrong = |reason: String| found.push(Error::Config { name: "segments", reason });
        if self.every.is_none() && self.bytes.is_none() && self.by_clock.is_none() && !self.at_returns {
            wrong(
                "say neither a length nor a size nor a time of day, nor that a return of the source counts"
                    .to_owned(),
            );
        }
        if let Some(length) = self.every.filter(|length| *length < SHORTEST) {
            wrong(format!("{length:?} is too short: at least {SHORTEST:?}"));
        }
        if let Some(bytes) = self.bytes.filter(|bytes| *bytes < FEWEST) {
            wrong(format!("{bytes} bytes are too few: at least {FEWEST}"));
        }
        if let Some(step) = self.by_clock
            && (step < SHORTEST || step.subsec_nanos() > 0 || !DAY.as_secs().is_multiple_of(step.as_secs()))
        {
            wrong(format!("{step:?} is no part of a day"));
        }
        if self.by_clock.is_none() != self.zone.is_none() {
            wrong("`by_clock` and `zone` go together".to_owned());
        }
        if let Some(reason) = self.zone.as_deref().and_then(|zone| Zone::of(zone).err()) {
            wrong(reason);
        }
        if self.keep_files == Some(0) {
            wrong("keep no file: what for?".to_owned());
        }
        found
    }

    /// Whether a file has to end that has this much.
    pub(super) fn is_full(&self, media: Duration, bytes: u64) -> bool {
        self.every.is_some_and(|every| media >= every) || self.bytes.is_some_and(|most| bytes >= most)
    }

    pub(super) fn cuts_at_returns(&self) -> bool {
        self.at_returns
    }

    /// When the file that begins now has to end by the clock; `None` if the clock says nothing.
    pub(super) fn next_cut(&self, now: SystemTime) -> Option<SystemTime> {
        let zone = Zone::of(self.zone.as_deref()?).ok()?;
        zone.next(now, self.by_clock?)
    }

    /// The zone of names.
    pub(super) fn zone(&self) -> Option<Zone> {
        Zone::of(self.zone.as_deref()?).ok()
    }
}

/// A time zone.
#[derive(Debug, Clone)]
pub(in crate::output) enum Zone {
    Utc,
    #[cfg(feature = "schedule")]
    Named(jiff::tz::TimeZone),
}

impl Zone {
    fn of(name: &str) -> Result<Self, String> {
        if name == UTC {
            return Ok(Self::Utc);
        }
        #[cfg(feature = "schedule")]
        return jiff::tz::TimeZone::get(name).map(Self::Named).map_err(|error| error.to_string());
        #[cfg(not(feature = "schedule"))]
        Err(format!("the time zone {name} needs the feature `schedule`; without it there is only {UTC}"))
    }

    /// The first full step of the day after `now`.
    fn next(&self, now: SystemTime, step: Duration) -> Option<SystemTime> {
        match self {
            Self::Utc => {
                let since = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
                let steps = since / step.as_secs() + 1;
                UNIX_EPOCH.checked_add(Duration::from_secs(steps * step.as_secs()))
            }
            #[cfg(feature = "schedule")]
            Self::Named(zone) => {
                let now = jiff::Timestamp::try_from(now).ok()?;
                let today = now.to_zoned(zone.clone()).date();
                // Days have 23 to 25 hours: each step is put on the clock of the wall.
                let steps = DAY.as_secs() / step.as_secs();
                let of = |date: jiff::civil::Date, number: u64| {
                    let seconds = i64::try_from(number * step.as_secs()).ok()?;
                    let civil =
                        date.at(0, 0, 0, 0).checked_add(jiff::SignedDuration::from_secs(seconds)).ok()?;
                    zone.to_ambiguous_timestamp(civil).compatible().ok()
                };
                let first = (0..=steps).filter_map(|number| of(today, number)).find(|at| *at > now)?;
                Some(first.into())
            }
        }
    }

    /// A time for a name: `2026-11-29_10-43-25`, and behind it `Z` in UTC.
    pub(super) fn text(&self, at: SystemTime) -> String {
        match self {
            Self::Utc => {
                let text = humantime::format_rfc3339_seconds(at).to_string();
                text.replace('T', "_").replace(':', "-")
            }
            #[cfg(feature = "schedule")]
            Self::Named(zone) => {
                let at = jiff::Timestamp::try_from(at).unwrap_or_default().to_zoned(zone.clone());
                at.strftime("%Y-%m-%d_%H-%M-%S").to_string()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let hour = Duration::from_secs(3600);
        for (segments, wrong) in [
            (Segments::default(), 1),
            (Segments::at_returns(), 0),
            (Segments::every(hour), 0),
            (Segments::every(Duration::from_millis(10)), 1),
            (Segments::of_bytes(1000), 1),
            (Segments::of_bytes(1 << 30).keep_files(0), 1),
            (Segments::by_clock(hour, "UTC").and_every(hour * 2).and_of_bytes(1 << 30), 0),
            (Segments::by_clock(hour * 7, "UTC"), 1),
            (Segments::by_clock(Duration::ZERO, "UTC"), 1),
            (Segments::by_clock(hour, "Nowhere/At-All"), 1),
            (Segments { by_clock: None, ..Segments::by_clock(hour, "UTC") }, 2),
        ] {
            assert_eq!(segments.problems().len(), wrong, "{segments:?}: {:?}", segments.problems());
        }
    }

    #[test]
    fn days_and_hours_end_where_the_clock_says() {
        let day = Segments::by_clock(DAY, "UTC");
        assert_eq!(day.next_cut(at("2026-11-29T10:43:25Z")), Some(at("2026-11-30T00:00:00Z")));
        assert_eq!(day.next_cut(at("2026-11-30T00:00:00Z")), Some(at("2026-12-01T00:00:00Z")));
        let quarter = Segments::by_clock(Duration::from_secs(900), "UTC");
        assert_eq!(quarter.next_cut(at("2026-11-29T10:43:25Z")), Some(at("2026-11-29T10:45:00Z")));
        assert_eq!(Zone::Utc.text(at("2026-11-29T10:43:25Z")), "2026-11-29_10-43-25Z");
    }

    #[cfg(feature = "schedule")]
    #[test]
    fn a_day_of_23_or_25_hours_ends_at_midnight_all_the_same() {
        let day = Segments::by_clock(DAY, "Europe/Berlin");
        for (now, midnight) in [
            ("2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z"),
            ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ] {
            assert_eq!(day.next_cut(at(now)), Some(at(midnight)), "{now}");
        }
        let hour = Segments::by_clock(Duration::from_secs(3600), "Europe/Berlin");
        // 02:00 does not come on that day, and 03:00 is an hour after 01:00.
        assert_eq!(hour.next_cut(at("2026-03-29T00:30:00Z")), Some(at("2026-03-29T01:00:00Z")));
        assert_eq!(hour.zone().unwrap().text(at("2026-03-29T01:00:00Z")), "2026-03-29_03-00-00");
    }
}
