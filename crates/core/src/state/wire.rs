//! How a snapshot is written: `taken`, `restarts`, and a table for each stream. Keys are `****` unless they are asked for.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::{Place, Restarts, SavedStream, Snapshot};
use crate::spec::StreamSpec;
use crate::written::is_default;

/// A point in time: `2026-03-01T12:00:00.25Z`.
mod moment {
    use super::*;

    pub(super) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        humantime::parse_rfc3339_weak(&text).map_err(serde::de::Error::custom)
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Moment(#[serde(with = "moment")] SystemTime);

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Span(#[serde(with = "crate::written::span")] Duration);

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "snapshot", deny_unknown_fields)]
struct Written<S, C> {
    taken: Moment,
    #[serde(default, skip_serializing_if = "is_default")]
    restarts: WrittenRestarts,
    #[serde(default = "Vec::new")]
    streams: Vec<WrittenStream<S>>,
    /// Of builds with the feature `schedule`; others have none, and refuse them by name.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    schedules: Option<Vec<C>>,
}

/// A build without schedules neither writes nor reads one.
#[cfg(not(feature = "schedule"))]
#[derive(serde::Serialize)]
enum NoSchedule {}

#[cfg(not(feature = "schedule"))]
impl<'de> Deserialize<'de> for NoSchedule {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("this build has no feature `schedule`"))
    }
}

#[cfg(not(feature = "schedule"))]
type ReadSchedule = NoSchedule;
#[cfg(feature = "schedule")]
type ReadSchedule = crate::schedule::Schedule;

#[derive(serde::Serialize, serde::Deserialize, Default, PartialEq)]
#[serde(rename = "restarts", default, deny_unknown_fields)]
struct WrittenRestarts {
    #[serde(skip_serializing_if = "Option::is_none", with = "maybe")]
    last: Option<SystemTime>,
    short: u32,
    held: u32,
}

mod maybe {
    use super::*;

    pub(super) fn serialize<S: Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        at.map(Moment).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<Moment>::deserialize(from)?.map(|Moment(at)| at))
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "stream", deny_unknown_fields)]
struct WrittenStream<S> {
    spec: S,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<WrittenPlace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sound_place: Option<WrittenPlace>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "place", deny_unknown_fields)]
struct WrittenPlace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    item: Option<usize>,
    file: PathBuf,
    offset: Span,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<Span>,
}

impl From<&Place> for WrittenPlace {
    fn from(place: &Place) -> Self {
        let Place { item, file, offset, length } = place;
        Self { item: *item, file: file.clone(), offset: Span(*offset), length: length.map(Span) }
    }
}

impl From<WrittenPlace> for Place {
    fn from(place: WrittenPlace) -> Self {
        let WrittenPlace { item, file, offset: Span(offset), length } = place;
        Self { item, file, offset, length: length.map(|Span(length)| length) }
    }
}

fn write<'a, W: Serialize, C: Serialize, S: Serializer>(
    snapshot: &'a Snapshot,
    spec: impl Fn(&'a StreamSpec) -> W,
    schedules: Vec<C>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let Snapshot { taken, streams, restarts, .. } = snapshot;
    let Restarts { last, short, held } = *restarts;
    let of = |stream: &'a SavedStream| WrittenStream {
        spec: spec(&stream.spec),
        place: stream.place.as_ref().map(Into::into),
        sound_place: stream.sound_place.as_ref().map(Into::into),
    };
    Written {
        taken: Moment(*taken),
        restarts: WrittenRestarts { last, short, held },
        streams: streams.iter().map(of).collect(),
        schedules: Some(schedules).filter(|schedules| !schedules.is_empty()),
    }
    .serialize(to)
}

/// Without keys: they are written as `****`.
impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[cfg(feature = "schedule")]
        let schedules = self.schedules.iter().collect();
        #[cfg(not(feature = "schedule"))]
        let schedules = Vec::<NoSchedule>::new();
        write(self, |spec| spec, schedules, to)
    }
}

impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = Written::<StreamSpec, ReadSchedule>::deserialize(from)?;
        let Written { taken: Moment(taken), restarts, streams, .. } = written;
        let of = |stream: WrittenStream<StreamSpec>| SavedStream {
            spec: stream.spec,
            place: stream.place.map(Into::into),
            sound_place: stream.sound_place.map(Into::into),
        };
        let WrittenRestarts { last, short, held } = restarts;
        Ok(Self {
            taken,
            streams: streams.into_iter().map(of).collect(),
            #[cfg(feature = "schedule")]
            schedules: written.schedules.unwrap_or_default(),
            left_out: Vec::new(),
            restarts: Restarts { last, short, held },
        })
    }
}

/// A snapshot to be written with its keys; see [`Snapshot::with_keys`].
#[derive(Debug, Clone, Copy)]
pub struct SnapshotWithKeys<'a>(&'a Snapshot);

impl Serialize for SnapshotWithKeys<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[cfg(feature = "schedule")]
        let schedules = self.0.schedules.iter().map(crate::schedule::Schedule::with_keys).collect();
        #[cfg(not(feature = "schedule"))]
        let schedules = Vec::<NoSchedule>::new();
        write(self.0, StreamSpec::with_keys, schedules, to)
    }
}

impl Snapshot {
    /// The snapshot, to be written with its keys, and with users and passwords of addresses, in clear text: for files that nobody else
    /// reads.
    #[must_use]
    pub const fn with_keys(&self) -> SnapshotWithKeys<'_> {
        SnapshotWithKeys(self)
    }
}
