//! Events.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{seconds, text};
use crate::event::{Event, EventKind, utc};

/// `at`, `stream`, `label`, `output_label`, `event` (its [`name`](EventKind::name)), `text` (its sentence), and what belongs to it: `output`,
/// `error`, `path`, and so on, named like the fields of its kind.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { at, stream, label, output_label, kind } = self;
        let mut to = to.serialize_map(None)?;
        to.serialize_entry("at", &utc(*at).to_string())?;
        to.serialize_entry("stream", stream)?;
        to.serialize_entry("label", &label.as_deref())?;
        to.serialize_entry("output_label", &output_label.as_deref())?;
        fields(kind, &mut to)?;
        to.end()
    }
}

/// `event` (its [`name`](EventKind::name)), `text` (its sentence), and its fields; lengths of time end in `_seconds`.
impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut to = to.serialize_map(None)?;
        fields(self, &mut to)?;
        to.end()
    }
}

fn fields<M: SerializeMap>(kind: &EventKind, to: &mut M) -> Result<(), M::Error> {
    to.serialize_entry("event", kind.name())?;
    to.serialize_entry("text", &kind.to_string())?;
    if let Some(output) = kind.output() {
        to.serialize_entry("output", &output)?;
    }
    match kind {
        EventKind::Started | EventKind::ClockUnsteady | EventKind::Abandoned => Ok(()),
        EventKind::OutputLive { reconnects, failures, output: _ } => {
            to.serialize_entry("reconnects", reconnects)?;
            to.serialize_entry("failures", failures)
        }
        EventKind::SourceLive { reconnects, failures } => {
            to.serialize_entry("reconnects", reconnects)?;
            to.serialize_entry("failures", failures)
        }
        EventKind::OutputRetrying { error, wait, output: _ } | EventKind::SourceRetrying { error, wait } => {
            to.serialize_entry("error", error)?;
            to.serialize_entry("wait_seconds", &seconds(*wait))
        }
        EventKind::OutputMoved { host, output: _ } | EventKind::OutputReplacing { host, output: _ } => {
            to.serialize_entry("host", host)
        }
        EventKind::OutputReplaced { cutover, output: _ }
        | EventKind::OutputRotated { cutover, output: _ } => to.serialize_entry("cutover", cutover),
        EventKind::OutputRotating { after, output: _ } => {
            to.serialize_entry("after_seconds", &seconds(*after))
        }
        EventKind::OutputNotRotated { error, wait, output: _ } => {
            to.serialize_entry("error", error)?;
            to.serialize_entry("wait_seconds", &seconds(*wait))
        }
        EventKind::OutputNotReplaced { error, output: _ }
        | EventKind::ThumbnailFailed { error, output: _ } => to.serialize_entry("error", error),
        EventKind::OutputEnded { error, output: _ } | EventKind::Ended { error } => {
            to.serialize_entry("error", error)
        }
        EventKind::SegmentWithoutKeyframe { target, output: _ } => {
            to.serialize_entry("target_seconds", &seconds(*target))
        }
        EventKind::OutputDropped { tags, output: _ } => to.serialize_entry("tags", tags),
        EventKind::OutputTrackSkipped { track, reason, output: _ } => {
            to.serialize_entry("track", track)?;
            to.serialize_entry("reason", reason)
        }
        EventKind::TrackSkipped { track, reason } => {
            to.serialize_entry("track", track)?;
            to.serialize_entry("reason", reason)
        }
        EventKind::OutputCodecRare { codec, output: _ } | EventKind::HeaderMissing { codec } => {
            to.serialize_entry("codec", codec)
        }
        EventKind::HeaderCame { codec, left_out } => {
            to.serialize_entry("codec", codec)?;
            to.serialize_entry("left_out", left_out)
        }
        EventKind::ResourceWarning { stream: _, cpu_percent, memory } => {
            to.serialize_entry("code", &kind.code())?;
            to.serialize_entry("cpu_percent", cpu_percent)?;
            to.serialize_entry("memory", memory)
        }
        EventKind::Looped { laps } => to.serialize_entry("laps", laps),
        EventKind::SourceFault { error } | EventKind::CleanupFailed { error } => {
            to.serialize_entry("error", error)
        }
        EventKind::SourceStalled { after }
        | EventKind::SourceResumed { after }
        | EventKind::KeyframeMissing { after }
        | EventKind::PublisherReturned { after }
        | EventKind::PlaylistResumed { after }
        | EventKind::ResourceCalm { after } => to.serialize_entry("after_seconds", &seconds(*after)),
        EventKind::ContentAlarm { fault, after } | EventKind::ContentAlarmEnded { fault, after } => {
            to.serialize_entry("fault", fault)?;
            to.serialize_entry("after_seconds", &seconds(*after))
        }
        EventKind::FallbackBegan { after, seam } | EventKind::FallbackEnded { after, seam } => {
            to.serialize_entry("after_seconds", &seconds(*after))?;
            to.serialize_entry("seam", seam)
        }
        EventKind::SourceSwitched { seam } => to.serialize_entry("seam", seam),
        EventKind::ClockJumped { millis } => to.serialize_entry("by_seconds", &(*millis as f64 / 1e3)),
        EventKind::ClockStalled { step } => to.serialize_entry("step_seconds", &seconds(*step)),
        EventKind::PublicationBegan { name } | EventKind::PublicationEnded { name } => {
            to.serialize_entry("name", name)
        }
        EventKind::MixInputLive { input } => to.serialize_entry("input", input),
        EventKind::MixInputLost { input, error } => {
            to.serialize_entry("input", input)?;
            to.serialize_entry("error", error)
        }
        EventKind::PublisherLost { error, grace } => {
            to.serialize_entry("error", error)?;
            to.serialize_entry("grace_seconds", &seconds(*grace))
        }
        EventKind::PublisherReplaced { silent } => to.serialize_entry("silent_seconds", &seconds(*silent)),
        EventKind::ModeChanged { mode, error } => {
            to.serialize_entry("mode", mode)?;
            to.serialize_entry("error", error)
        }
        EventKind::Judged { path, verdict } => {
            to.serialize_entry("path", &text(path))?;
            to.serialize_entry("verdict", &**verdict)
        }
        EventKind::EncodingLowered { to: lowered, shortage } => {
            to.serialize_entry("to", &**lowered)?;
            to.serialize_entry("resource", &shortage.resource)?;
            to.serialize_entry("used", &shortage.used)?;
            to.serialize_entry("needed", &shortage.needed)?;
            to.serialize_entry("budget", &shortage.budget)
        }
        EventKind::EncoderChanged { from, to: other, error } => {
            to.serialize_entry("from", from)?;
            to.serialize_entry("to", other)?;
            to.serialize_entry("error", error)
        }
        // Beside `output`, which all events have that are about one.
        EventKind::BitRateChanged { from, to: other, reason, output: _, lag } => {
            to.serialize_entry("from", from)?;
            to.serialize_entry("to", other)?;
            to.serialize_entry("reason", reason)?;
            to.serialize_entry("lag_seconds", &seconds(*lag))
        }
        EventKind::RungChanged { from, to: other, reason } => {
            to.serialize_entry("from", &**from)?;
            to.serialize_entry("to", &**other)?;
            to.serialize_entry("reason", reason)
        }
        EventKind::OutputNotFollowed { takes, output: _ } => to.serialize_entry("takes", takes),
        EventKind::OutputFollowed { output: _ } => Ok(()),
        EventKind::Recorded { path, from, to: until, bytes, output: _ } => {
            to.serialize_entry("path", &text(path))?;
            to.serialize_entry("from_seconds", &seconds(*from))?;
            to.serialize_entry("to_seconds", &seconds(*until))?;
            to.serialize_entry("bytes", bytes)
        }
        EventKind::RecordingOpened { path, output: _ }
        | EventKind::ItemStarted { path }
        | EventKind::SourceReplaced { path } => to.serialize_entry("path", &text(path)),
        EventKind::Leveled { path, loudness, gain_db } => {
            to.serialize_entry("path", &text(path))?;
            to.serialize_entry("loudness", loudness)?;
            to.serialize_entry("gain_db", gain_db)
        }
        EventKind::LoudnessUnknown { path, gain_db, error } => {
            to.serialize_entry("path", &text(path))?;
            to.serialize_entry("gain_db", gain_db)?;
            to.serialize_entry("error", error)
        }
        EventKind::ParametersChanged { path, what } => {
            to.serialize_entry("path", &text(path))?;
            to.serialize_entry("what", what)
        }
        EventKind::ItemSkipped { path, error } => {
            to.serialize_entry("path", &text(path))?;
            to.serialize_entry("error", error)
        }
        EventKind::FragmentPublished { number, bytes, elapsed, total } => {
            to.serialize_entry("number", number)?;
            to.serialize_entry("bytes", bytes)?;
            to.serialize_entry("elapsed_seconds", &seconds(*elapsed))?;
            to.serialize_entry("total", total)
        }
        EventKind::FragmentProgress { number, bytes, of } => {
            to.serialize_entry("number", number)?;
            to.serialize_entry("bytes", bytes)?;
            to.serialize_entry("of", of)
        }
        EventKind::FragmentSkipped { number, name, error } => {
            to.serialize_entry("number", number)?;
            to.serialize_entry("name", name)?;
            to.serialize_entry("error", error)
        }
        EventKind::FragmentLate { number, by } => {
            to.serialize_entry("number", number)?;
            to.serialize_entry("by_seconds", &seconds(*by))
        }
        EventKind::PlaylistStalled { items, error } => {
            to.serialize_entry("items", items)?;
            to.serialize_entry("error", error)
        }
    }
}
