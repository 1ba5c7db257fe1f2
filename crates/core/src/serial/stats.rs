//! Figures.

use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Failed, as_displayed, seconds, text};
use crate::event::utc;
use crate::stats::{
    Codec, EncoderDrops, EncodingStats, FallbackStats, HeldBytes, Histogram, Origin, OutputFailure,
    OutputStats, Playing, StreamStats,
};

as_displayed!(Codec);

/// `{code, message, at}`.
impl Serialize for OutputFailure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { code, text, at } = self;
        Failed { code, message: text.into(), at: Some(utc(*at).to_string()) }.serialize(to)
    }
}

/// Its fields; `position_seconds`, `length_seconds`.
impl Serialize for Playing {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { item, path, position, length } = self;
        let mut to = to.serialize_struct("Playing", 4)?;
        to.serialize_field("item", item)?;
        to.serialize_field("path", &text(path))?;
        to.serialize_field("position_seconds", &seconds(*position))?;
        to.serialize_field("length_seconds", &length.map(seconds))?;
        to.end()
    }
}

/// Its fields.
impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { address, relayed } = self;
        let mut to = to.serialize_struct("Origin", 2)?;
        to.serialize_field("address", &**address)?;
        to.serialize_field("relayed", relayed)?;
        to.end()
    }
}

/// Its fields; `time_seconds`.
impl Serialize for FallbackStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { on_air, ready, times, time } = self;
        let mut to = to.serialize_struct("FallbackStats", 4)?;
        to.serialize_field("on_air", on_air)?;
        to.serialize_field("ready", ready)?;
        to.serialize_field("times", times)?;
        to.serialize_field("time_seconds", &seconds(*time))?;
        to.end()
    }
}

/// Its fields.
impl Serialize for HeldBytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { read_ahead, encoder, ring, outputs, kernel } = self;
        let mut to = to.serialize_struct("HeldBytes", 5)?;
        to.serialize_field("read_ahead", read_ahead)?;
        to.serialize_field("encoder", encoder)?;
        to.serialize_field("ring", ring)?;
        to.serialize_field("outputs", outputs)?;
        to.serialize_field("kernel", kernel)?;
        to.end()
    }
}

/// `count`, `sum_seconds`, and `buckets`: the bound of each in seconds, `null` for none, and how often something fell into it.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bound = |bound: Duration| (bound < Duration::MAX).then(|| seconds(bound));
        let buckets: Vec<_> = self.buckets().map(|(end, count)| (bound(end), count)).collect();
        let mut to = to.serialize_struct("Histogram", 3)?;
        to.serialize_field("count", &self.count())?;
        to.serialize_field("sum_seconds", &seconds(self.sum()))?;
        to.serialize_field("buckets", &buckets)?;
        to.end()
    }
}

/// Each reason with its count.
impl Serialize for EncoderDrops {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(reason, count)| (reason.as_str(), count)))
    }
}

/// Its fields.
impl Serialize for EncodingStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self {
            encoder,
            fps,
            bit_rate,
            frames,
            bytes,
            pixels,
            held_bytes,
            queued,
            queued_bytes,
            dropped,
            drops,
            damaged,
            target,
            lowered,
            raised,
            rung,
            encode_time,
            wait,
        } = self;
        let mut to = to.serialize_struct("EncodingStats", 18)?;
        to.serialize_field("encoder", encoder)?;
        to.serialize_field("fps", fps)?;
        to.serialize_field("bit_rate", bit_rate)?;
        to.serialize_field("frames", frames)?;
        to.serialize_field("bytes", bytes)?;
        to.serialize_field("pixels", pixels)?;
        to.serialize_field("held_bytes", held_bytes)?;
        to.serialize_field("queued", queued)?;
        to.serialize_field("queued_bytes", queued_bytes)?;
        to.serialize_field("dropped", dropped)?;
        to.serialize_field("drops", drops)?;
        to.serialize_field("damaged", damaged)?;
        to.serialize_field("target", target)?;
        to.serialize_field("lowered", lowered)?;
        to.serialize_field("raised", raised)?;
        to.serialize_field("rung", rung)?;
        to.serialize_field("encode_time", encode_time)?;
        to.serialize_field("wait", wait)?;
        to.end()
    }
}

/// Its fields; `lag_seconds`.
impl Serialize for OutputStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Named one by one: what is added to the figures is missed here.
        let Self {
            id,
            label,
            backup_of,
            name,
            transport,
            path,
            phase,
            removed,
            bytes_sent,
            bit_rate,
            lag,
            lags,
            drops,
            reconnects,
            rotations,
            bytes_held,
            bytes_in_kernel,
            failures,
            last_error,
        } = self;
        let mut to = to.serialize_struct("OutputStats", 19)?;
        to.serialize_field("id", id)?;
        to.serialize_field("label", &label.as_deref())?;
        to.serialize_field("backup_of", backup_of)?;
        to.serialize_field("name", name)?;
        to.serialize_field("transport", transport)?;
        to.serialize_field("path", &path.as_deref().map(text))?;
        to.serialize_field("phase", phase)?;
        to.serialize_field("removed", removed)?;
        to.serialize_field("bytes_sent", bytes_sent)?;
        to.serialize_field("bit_rate", bit_rate)?;
        to.serialize_field("lag_seconds", &seconds(*lag))?;
        to.serialize_field("lags", lags)?;
        to.serialize_field("drops", drops)?;
        to.serialize_field("reconnects", reconnects)?;
        to.serialize_field("rotations", rotations)?;
        to.serialize_field("bytes_held", bytes_held)?;
        to.serialize_field("bytes_in_kernel", bytes_in_kernel)?;
        to.serialize_field("failures", failures)?;
        to.serialize_field("last_error", last_error)?;
        to.end()
    }
}

/// Its fields; `uptime_seconds`, `media_time_seconds`, `cpu_time_seconds`, `lag_seconds`, `schedule_lag_seconds`,
/// `schedule_lag_max_seconds`, `first_media_seconds`.
impl Serialize for StreamStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Named one by one: what is added to the figures is missed here.
        let Self {
            id,
            label,
            phase,
            mode,
            uptime,
            media_time,
            fps,
            bit_rate,
            video,
            audio,
            cpu_time,
            cpu_percent,
            bytes_held,
            held,
            bytes_sent,
            lag,
            schedule_lag,
            schedule_lag_max,
            first_media,
            drops,
            reconnects,
            laps,
            encoding,
            fallback,
            origin,
            frames_encoded,
            pixels_encoded,
            playing,
            playing_sound,
            outputs,
        } = self;
        let mut to = to.serialize_struct("StreamStats", 30)?;
        to.serialize_field("id", id)?;
        to.serialize_field("label", &label.as_deref())?;
        to.serialize_field("phase", phase)?;
        to.serialize_field("mode", mode)?;
        to.serialize_field("uptime_seconds", &seconds(*uptime))?;
        to.serialize_field("media_time_seconds", &(media_time.as_millis() as f64 / 1e3))?;
        to.serialize_field("fps", fps)?;
        to.serialize_field("bit_rate", bit_rate)?;
        to.serialize_field("video", video)?;
        to.serialize_field("audio", audio)?;
        to.serialize_field("cpu_time_seconds", &seconds(*cpu_time))?;
        to.serialize_field("cpu_percent", cpu_percent)?;
        to.serialize_field("bytes_held", bytes_held)?;
        to.serialize_field("held", held)?;
        to.serialize_field("bytes_sent", bytes_sent)?;
        to.serialize_field("lag_seconds", &seconds(*lag))?;
        to.serialize_field("schedule_lag_seconds", &seconds(*schedule_lag))?;
        to.serialize_field("schedule_lag_max_seconds", &seconds(*schedule_lag_max))?;
        to.serialize_field("first_media_seconds", &first_media.map(seconds))?;
        to.serialize_field("drops", drops)?;
        to.serialize_field("reconnects", reconnects)?;
        to.serialize_field("laps", laps)?;
        to.serialize_field("encoding", encoding)?;
        to.serialize_field("fallback", fallback)?;
        to.serialize_field("origin", origin)?;
        to.serialize_field("frames_encoded", frames_encoded)?;
        to.serialize_field("pixels_encoded", pixels_encoded)?;
        to.serialize_field("playing", playing)?;
        to.serialize_field("playing_sound", playing_sound)?;
        to.serialize_field("outputs", outputs)?;
        to.end()
    }
}
