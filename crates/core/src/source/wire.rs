//! How a source is written in a file: a table with one of `file`, `video`, `playlist`, `published`, `pull` and `fragments`, and its settings.
//!
//! In: a [`Source`]. Out: any serde format, and back. Nothing is opened; unknown fields are refused by name. What is secret in an address
//! is written as `****` unless it is asked for. Settings that have no effect are taken here, and refused by `start` as if the program had
//! given them.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Fallback, Media, Source, mix_wire};
use crate::fragment::{FragmentDirectory, Fragments};
use crate::loudness::Loudness;
use crate::playlist::Playlist;
use crate::pull::{self, Pull};
use crate::standby::Watchdog;
use crate::transcode::{Encoding, Mode};
use crate::verdict::{Platform, Strictness};
use crate::written::{Keys, is_default};

#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(rename = "source", default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    playlist: Option<Playlist>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull: Option<pull::wire::Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragments: Option<FragmentDirectory>,
    #[serde(skip_serializing_if = "is_default")]
    looped: bool,
    #[serde(skip_serializing_if = "is_default")]
    once: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<Playlist>,
    #[serde(skip_serializing_if = "is_default")]
    all_tracks: bool,
    #[serde(skip_serializing_if = "is_default")]
    silence: bool,
    #[serde(skip_serializing_if = "is_default", with = "crate::written::span")]
    starting_at: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    starting_item: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    strictness: Strictness,
    #[serde(skip_serializing_if = "is_default")]
    enhanced: bool,
    #[serde(skip_serializing_if = "is_default")]
    encoding: Encoding,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Loudness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mix: Option<mix_wire::Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
    #[serde(skip_serializing_if = "is_default")]
    watchdog: Watchdog,
}

/// Fails for a platform of the program's own: only those flowcast knows have a name that says what they take.
impl Serialize for Source {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        written(self, Keys::Hidden).map_err(S::Error::custom)?.serialize(to)
    }
}

/// A source with what is secret in its address in clear text.
#[derive(Debug)]
pub(crate) struct WithKey<'a>(pub(crate) &'a Source);

impl Serialize for WithKey<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        written(self.0, Keys::Shown).map_err(S::Error::custom)?.serialize(to)
    }
}

fn written(source: &Source, keys: Keys) -> Result<Written, String> {
    let mut written = Written {
        audio: source.sound.clone(),
        all_tracks: source.all_tracks,
        silence: source.silence,
        starting_at: source.start_at,
        starting_item: source.start_item,
        mode: source.wish.mode,
        strictness: source.wish.strictness,
        enhanced: source.wish.enhanced,
        encoding: source.wish.encoding.clone(),
        level: source.wish.loudness,
        mix: source.mixer.as_ref().map(|mixer| mix_wire::Written::of(mixer, keys)).transpose()?,
        fallback: source.fallback.clone(),
        watchdog: source.watchdog,
        ..Written::default()
    };
    for platform in &source.wish.platforms {
        if platform.name.parse::<Platform>().ok().as_ref() != Some(platform) {
            return Err(format!("the platform {:?} is not one that has a name here", platform.name));
        }
        written.platforms.push(platform.name.clone());
    }
    match source.media.clone() {
        // A file that is played with other sound is read for its pictures only, whichever way it was given.
        Media::File { path, looped, video_only } => {
            written.looped = looped;
            *(if video_only { &mut written.video } else { &mut written.file }) = Some(path);
        }
        Media::Playlist(list) => written.playlist = Some(list),
        Media::Published { name, once } => {
            written.once = once;
            written.published = Some(name);
        }
        Media::Pull(pull) => {
            written.once = pull.once;
            written.pull = Some(pull::wire::Written::of(&pull, keys)?);
        }
        Media::Fragments(Fragments::Directory(directory)) => {
            written.once = directory.once;
            written.fragments = Some(*directory);
        }
        Media::Fragments(Fragments::Pushed(_)) => {
            return Err("what a program pushes cannot be written".to_owned());
        }
        #[cfg(feature = "libav")]
        Media::Frames(_) => return Err("what a program makes cannot be written down".to_owned()),
    }
    Ok(written)
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(from)?;
        let Written { file, video, playlist, published, pull, fragments, .. } = written;
        let kinds = "one of `file`, `video`, `playlist`, `published`, `pull` and `fragments`";
        let mut given = [
            file.map(Self::file),
            video.map(Self::video),
            playlist.map(Self::playlist),
            published.map(Self::published),
            pull.map(|pull| Self::pull(Pull::from(pull))),
            fragments.map(Self::fragments_in),
        ]
        .into_iter()
        .flatten();
        let mut source = match (given.next(), given.next()) {
            (Some(source), None) => source,
            (None, _) => return Err(D::Error::custom(format_args!("a source has {kinds}"))),
            _ => return Err(D::Error::custom(format_args!("a source has only {kinds}"))),
        };
        drop(given);
        if written.looped {
            source = source.looped();
        }
        if written.once {
            source = source.once();
        }
        if let Some(list) = written.audio {
            source = source.with_audio(list);
        }
        if written.all_tracks {
            source = source.all_tracks();
        }
        if written.silence {
            source = source.with_silence();
        }
        if !written.starting_at.is_zero() {
            source = source.starting_at(written.starting_at);
        }
        if let Some(item) = written.starting_item {
            source = source.starting_item(item);
        }
        for name in written.platforms {
            source = source.platform(name.parse().map_err(D::Error::custom)?);
        }
        if let Some(loudness) = written.level {
            source = source.leveled(loudness);
        }
        source.wish.mode = written.mode;
        source.wish.strictness = written.strictness;
        source.wish.enhanced = written.enhanced;
        source.wish.encoding = written.encoding;
        source.mixer = written.mix.map(mix_wire::Written::read).transpose().map_err(D::Error::custom)?;
        source.fallback = written.fallback;
        source.watchdog = written.watchdog;
        Ok(source)
    }
}
