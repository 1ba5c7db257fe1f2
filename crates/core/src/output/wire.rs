//! How an output is written in a file: a table with one of `url`, `server` (and `key`), `record`, `hls`, `thumbnails` and `publish`, and its settings.
//!
//! In: an [`Output`]. Out: any serde format, and back. Keys, and what else is secret in an address, are written as `****` unless they are
//! asked for; an output that is read so is refused when it is checked. Unknown fields are refused by name.

use std::path::PathBuf;
use std::time::Duration;

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::url::Destination;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::thumbnails::Thumbnails;
use super::{Enhanced, Existing, FileFormat, Hls, Output, OutputKind, Recording, Rotation, Segments};
use crate::config::ReconnectPolicy;
use crate::net::tls::TlsRoots;
use crate::thumbnail::ThumbnailOptions;
use crate::written::{Keys, is_default};

/// How often thumbnails are made where it is not said.
const THUMBNAILS_EVERY: Duration = Duration::from_secs(5);

/// An output as it is written.
#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(rename = "output", default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hls: Option<Hls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnails: Option<PathBuf>,
    #[serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
    every: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail_options: Option<ThumbnailOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<FileFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Segments>,
    #[serde(with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
    max_duration: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    existing: Option<Existing>,
    #[serde(skip_serializing_if = "is_default")]
    enhanced: Enhanced,
    #[serde(skip_serializing_if = "is_default")]
    all_tracks: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_roots: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconnect: Option<ReconnectPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate: Option<Rotation>,
}

/// `false`, `true`, `"always"`.
impl Serialize for Enhanced {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => to.serialize_bool(false),
            Self::Announced => to.serialize_bool(true),
            Self::Always => to.serialize_str("always"),
        }
    }
}

impl<'de> Deserialize<'de> for Enhanced {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl serde::de::Visitor<'_> for Either {
            type Value = Enhanced;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or \"always\"")
            }

            fn visit_bool<E: serde::de::Error>(self, is_on: bool) -> Result<Enhanced, E> {
                Ok(if is_on { Enhanced::Announced } else { Enhanced::Off })
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Enhanced, E> {
                let given = serde::de::Unexpected::Str(word);
                if word == "always" { Ok(Enhanced::Always) } else { Err(E::invalid_value(given, &self)) }
            }
        }

        from.deserialize_any(Either)
    }
}

/// Without its key.
impl Serialize for Output {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        written(self, Keys::Hidden).map_err(S::Error::custom)?.serialize(to)
    }
}

/// An output with its key in clear text.
#[derive(Debug)]
pub(crate) struct WithKey<'a>(pub(crate) &'a Output);

impl Serialize for WithKey<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        written(self.0, Keys::Shown).map_err(S::Error::custom)?.serialize(to)
    }
}

fn written(output: &Output, keys: Keys) -> Result<Written, String> {
    let mut written = Written { label: output.label.clone(), ..Written::default() };
    match output.kind.as_ref().map_err(ToString::to_string)? {
        OutputKind::Record(recording) => {
            let Recording { path, format, existing, all_tracks, segments, max_duration } = &**recording;
            written.record = Some(path.clone());
            written.format = *format;
            written.segments.clone_from(segments);
            written.max_duration = *max_duration;
            written.existing = (*existing != Existing::default()).then_some(*existing);
            written.all_tracks = *all_tracks;
        }
        OutputKind::Thumbnails(thumbnails) => {
            let Thumbnails { path, every, options } = &**thumbnails;
            (written.thumbnails, written.every) = (Some(path.clone()), Some(*every));
            written.thumbnail_options = (*options != ThumbnailOptions::default()).then_some(*options);
        }
        OutputKind::Url(target) => {
            written.url = Some(target.written(keys == Keys::Shown)?);
            written.reconnect = target.reconnect.clone();
            written.all_tracks = target.all_tracks;
        }
        OutputKind::Hls(hls) => {
            if hls.is_in_memory() {
                return Err("an HLS output in memory cannot be written".to_owned());
            }
            written.hls = Some((**hls).clone());
        }
        OutputKind::Hub { name } => written.publish = Some(name.clone()),
        OutputKind::Rtmp(target) => {
            address(&mut written, &target.destination, keys)?;
            written.backup = match &target.backup {
                None => None,
                Some(Ok(backup)) if keys == Keys::Shown => Some(backup.reveal_server()),
                Some(Ok(backup)) => Some(backup.to_string()),
                Some(Err(error)) => return Err(error.to_string()),
            };
            written.enhanced = target.enhanced;
            written.all_tracks = target.all_tracks;
            written.reconnect = target.reconnect.clone();
            written.rotate = target.rotation;
            written.tls_roots = match &target.roots {
                TlsRoots::Platform => None,
                TlsRoots::File(file) => Some(file.path().to_owned()),
                TlsRoots::Only(_) => {
                    return Err("certificates that come from no file cannot be written".to_owned());
                }
            };
        }
    }
    Ok(written)
}

fn address(written: &mut Written, to: &Destination, keys: Keys) -> Result<(), String> {
    let key = to.key().reveal();
    if keys == Keys::Hidden {
        written.url = Some(to.to_string());
    } else if key.is_empty() {
        // A slash at the end says that what is before it is the app, all of it.
        let server = to.reveal_server();
        let urls = [format!("{server}/"), server];
        let url = urls.into_iter().find(|url| Destination::parse(url).as_ref() == Ok(to));
        written.url = Some(url.ok_or("an address that no URL gives cannot be written")?);
    } else {
        written.server = Some(to.reveal_server());
        written.key = Some(key.to_owned());
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(from)?;
        let Written { url, server, key, record, hls, publish, thumbnails, every, .. } = written;
        if every.is_some() && thumbnails.is_none() {
            return Err(D::Error::custom("`every` belongs to `thumbnails`"));
        }
        let files = match (record, hls, thumbnails) {
            (Some(path), None, None) => Some(Self::record(path)),
            (None, Some(hls), None) => Some(Self::hls(hls)),
            (None, None, Some(path)) => Some(Self::thumbnails(path, every.unwrap_or(THUMBNAILS_EVERY))),
            (None, None, None) => None,
            _ => return Err(D::Error::custom("an output has only one of `record`, `hls` and `thumbnails`")),
        };
        let mut output = match (url, server, key, files, publish) {
            (Some(url), None, None, None, None) => Self::url(&url),
            (None, Some(server), Some(key), None, None) => Self::rtmp(&server, StreamKey::new(key)),
            (None, None, None, Some(output), None) => output,
            (None, None, None, None, Some(name)) => Self::publish(name),
            (None, Some(_), None, None, None) => return Err(D::Error::missing_field("key")),
            (None, None, Some(_), None, None) => return Err(D::Error::missing_field("server")),
            (None, None, None, None, None) => {
                return Err(D::Error::custom(
                    "an output has one of `url`, `server`, `record`, `hls`, `thumbnails` and `publish`",
                ));
            }
            _ => {
                let reason = "an output has only one of `url`, `server` with `key`, `record`, `hls`, `thumbnails` and `publish`";
                return Err(D::Error::custom(reason));
            }
        };
        if let Some(backup) = written.backup {
            output = output.backup(&backup);
        }
        if let Some(options) = written.thumbnail_options {
            output = output.thumbnail_options(options);
        }
        if let Some(format) = written.format {
            output = output.format(format);
        }
        if let Some(segments) = written.segments {
            output = output.segments(segments);
        }
        if let Some(most) = written.max_duration {
            output = output.max_duration(most);
        }
        if let Some(existing) = written.existing {
            output = output.existing(existing);
        }
        output = match written.enhanced {
            Enhanced::Off => output,
            Enhanced::Announced => output.enhanced(),
            Enhanced::Always => output.enhanced_always(),
        };
        if written.all_tracks {
            output = output.all_tracks();
        }
        if let Some(path) = written.tls_roots {
            output = output.tls_roots(TlsRoots::in_pem_file(path));
        }
        if let Some(policy) = written.reconnect {
            output = output.reconnect(policy);
        }
        if let Some(rotation) = written.rotate {
            output = output.rotate(rotation);
        }
        output.label = written.label;
        Ok(output)
    }
}
