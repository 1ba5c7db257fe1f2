//! How a usage record is written: one flat object, `id` first. What is zero or not there is left out. Times are seconds to the
//! microsecond, in fields that end in `_seconds`; they are read as they were written.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::record::{UsageCut, UsageId, UsageRecord, UsageSubject, Used};
use crate::event::utc;
use crate::stats::OutputTransport;
use crate::written::is_default;

impl Serialize for UsageId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UsageId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "usage record")]
struct Written {
    id: UsageId,
    cut: UsageCut,
    from: String,
    to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    stream: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transport: Option<OutputTransport>,
    #[serde(default, skip_serializing_if = "is_default")]
    wall_seconds: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    media_seconds: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    cpu_seconds: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    codec_cpu_seconds: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    frames_encoded: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pixels_encoded: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    fallback_seconds: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    bytes: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    drops: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    reconnects: u64,
}

fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// The microseconds that were written, exactly.
fn duration<E: Error>(seconds: f64) -> Result<Duration, E> {
    let time = Duration::try_from_secs_f64(seconds).map_err(E::custom)?;
    Ok(Duration::from_micros((time.as_secs_f64() * 1e6).round() as u64))
}

impl Serialize for UsageRecord {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let (output, output_label, name, transport) = match &self.subject {
            UsageSubject::Output { id, label, name, transport } => {
                (Some(id.to_string()), text(label), Some((**name).to_owned()), Some(*transport))
            }
            UsageSubject::Stream | UsageSubject::Players => (None, None, None, None),
        };
        let Used {
            wall_time,
            media_time,
            cpu_time,
            codec_cpu_time,
            frames_encoded,
            pixels_encoded,
            fallback_time,
            bytes,
            drops,
            reconnects,
        } = self.used;
        Written {
            id: self.id,
            cut: self.cut,
            from: utc(self.from).to_string(),
            to: utc(self.to).to_string(),
            owner: text(&self.owner),
            stream: self.stream.to_string(),
            label: text(&self.label),
            subject: self.subject.as_str().to_owned(),
            output,
            output_label,
            name,
            transport,
            wall_seconds: seconds(wall_time),
            media_seconds: seconds(media_time),
            cpu_seconds: seconds(cpu_time),
            codec_cpu_seconds: seconds(codec_cpu_time),
            frames_encoded,
            pixels_encoded,
            fallback_seconds: seconds(fallback_time),
            bytes,
            drops,
            reconnects,
        }
        .serialize(to)
    }
}

impl<'de> Deserialize<'de> for UsageRecord {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let is = Written::deserialize(from)?;
        let time = |text: &str| -> Result<SystemTime, D::Error> {
            humantime::parse_rfc3339(text).map_err(D::Error::custom)
        };
        let subject = match is.subject.as_str() {
            "stream" => UsageSubject::Stream,
            "players" => UsageSubject::Players,
            "output" => {
                let id = is.output.ok_or_else(|| D::Error::missing_field("output"))?;
                UsageSubject::Output {
                    id: id.parse().map_err(D::Error::custom)?,
                    label: is.output_label.map(Arc::from),
                    name: is.name.map(Arc::from).ok_or_else(|| D::Error::missing_field("name"))?,
                    transport: is.transport.unwrap_or_default(),
                }
            }
            other => return Err(D::Error::unknown_variant(other, &["stream", "output", "players"])),
        };
        Ok(Self {
            id: is.id,
            cut: is.cut,
            owner: is.owner.map(Arc::from),
            stream: is.stream.parse().map_err(D::Error::custom)?,
            label: is.label.map(Arc::from),
            subject,
            from: time(&is.from)?,
            to: time(&is.to)?,
            used: Used {
                wall_time: duration(is.wall_seconds)?,
                media_time: duration(is.media_seconds)?,
                cpu_time: duration(is.cpu_seconds)?,
                codec_cpu_time: duration(is.codec_cpu_seconds)?,
                frames_encoded: is.frames_encoded,
                pixels_encoded: is.pixels_encoded,
                fallback_time: duration(is.fallback_seconds)?,
                bytes: is.bytes,
                drops: is.drops,
                reconnects: is.reconnects,
            },
        })
    }
}
