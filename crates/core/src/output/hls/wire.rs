//! How an HLS output is written in a file: the path of its directory, or a table with `dir` and its settings.
//!
//! In: an [`Hls`]. Out: any serde format, and back. One in memory cannot be written.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Hls, Place, TARGET};
use crate::output::file::FileFormat;
use crate::written::is_default;

/// The output as it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "hls", deny_unknown_fields)]
struct Table {
    dir: PathBuf,
    #[serde(default, with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
    target_duration: Option<Duration>,
    #[serde(default, with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
    window: Option<Duration>,
    #[serde(default, skip_serializing_if = "is_default")]
    event: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<FileFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    master: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_default")]
    stays_open: bool,
}

impl Serialize for Hls {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Place::Directory(dir) = &self.place else {
            return Err(S::Error::custom("an HLS output in memory cannot be written"));
        };
        if *self == Self::directory(dir) {
            return dir.serialize(to);
        }
        let table = Table {
            dir: dir.clone(),
            target_duration: (self.target_duration != TARGET).then_some(self.target_duration),
            window: self.window,
            event: self.is_event,
            format: (self.format != FileFormat::Mp4).then_some(self.format),
            master: self.master.clone(),
            stays_open: self.stays_open,
        };
        table.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Hls {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Hls;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the path of a directory, or a table with `dir`")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Hls, E> {
                Ok(Hls::directory(path))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Hls, A::Error> {
                let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                let Table { dir, target_duration, window, event, format, master, stays_open } = table;
                if dir.as_os_str().is_empty() {
                    return Err(A::Error::missing_field("dir"));
                }
                let mut hls = Hls::directory(dir);
                hls.target_duration = target_duration.unwrap_or(TARGET);
                hls.format = format.unwrap_or(FileFormat::Mp4);
                (hls.window, hls.is_event, hls.master, hls.stays_open) = (window, event, master, stays_open);
                Ok(hls)
            }
        }

        from.deserialize_any(Either)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::super::HlsStore;
    use super::*;
    use crate::output::Output;

    #[test]
    fn a_path_or_a_table_says_where_and_how() {
        let second = Duration::from_secs(1);
        let all =
            Hls::directory("d").target_duration(2 * second).window(60 * second).format(FileFormat::MpegTs);
        for (written, hls) in [
            (r#"{"hls":"/var/www/rain"}"#, Hls::directory("/var/www/rain")),
            (
                r#"{"hls":{"dir":"d","event":true,"stays_open":true}}"#,
                Hls::directory("d").event().stays_open(),
            ),
            (
                r#"{"hls":{"dir":"d","target_duration":"2s","window":"1m","format":"mpegts","master":"m.m3u8"}}"#,
                all.master("m.m3u8"),
            ),
        ] {
            let output = Output::hls(hls);
            assert_eq!(serde_json::from_str::<Output>(written).unwrap(), output, "{written}");
            let again = serde_json::to_string(&output).unwrap();
            assert_eq!(serde_json::from_str::<Output>(&again).unwrap(), output, "{again}");
        }
        assert_eq!(serde_json::to_string(&Output::hls("d")).unwrap(), r#"{"hls":"d"}"#);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (written, reason) in [
            (r#"{"hls":{"window":"1m"}}"#, "missing field `dir`"),
            (r#"{"hls":{"dir":"d","windows":"1m"}}"#, "unknown field `windows`"),
            (r#"{"hls":{"dir":"d","format":"avi"}}"#, "no such format"),
            (r#"{"hls":7}"#, "the path of a directory"),
            (r#"{"hls":"d","record":"r.flv"}"#, "only one of"),
        ] {
            let error = serde_json::from_str::<Output>(written).unwrap_err().to_string();
            assert!(error.contains(reason), "{written}: {error}");
        }
        let memory = Output::hls_in_memory(&HlsStore::new());
        assert!(serde_json::to_string(&memory).unwrap_err().to_string().contains("in memory"));
    }
}
