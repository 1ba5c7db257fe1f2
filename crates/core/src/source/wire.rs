//! How a source is written in a file: a table with one of `file`, `video`, `playlist`, `published`, `pull` and `fragments`, and its settings.
//!
//! In: a [`Source`]. Out: any serde format, and back. Nothing is opened; unknown fields are refused by name. What is secret in an address
//! is written as `****` unless it is asked for. Settings that have no effect are taken here, and refused by `start` as if the program had
//! given them.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::renditions::Picture;
use super::{Fallback, Media, Rendition, Source, mix_wire};
use crate::bit_rate::BitRate;
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
    #[serde(skip_serializing_if = "Option::is_none")]
    rendition: Option<WrittenRung>,
}

/// Which rendition it is; all else is said of what they are made of.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "rendition", deny_unknown_fields)]
struct WrittenRung {
    name: String,
    of: Vec<WrittenRendition>,
}

#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(rename = "rendition", default, deny_unknown_fields)]
struct WrittenRendition {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    source: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::written::size::option")]
    size: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bit_rate: Option<BitRate>,
    #[serde(skip_serializing_if = "is_default")]
    enlarged: bool,
}

impl WrittenRendition {
    fn of(rendition: &Rendition) -> Self {
        let (picture, bit_rate, enlarged) = rendition.parts();
        let mut written = Self { bit_rate, enlarged, ..Self::default() };
        let usual = match picture {
            Picture::Source => {
                written.source = true;
                Rendition::source()
            }
            Picture::Lines(lines) => {
                written.lines = Some(lines);
                Rendition::lines(lines)
            }
            Picture::Size((width, height)) => {
                written.size = Some((width, height));
                Rendition::size(width, height)
            }
        };
        written.name = Some(rendition.name()).filter(|name| *name != usual.name()).map(str::to_owned);
        written
    }

    fn read(self) -> Result<Rendition, &'static str> {
        let mut rendition = match (self.source, self.lines, self.size) {
            (true, None, None) => Rendition::source(),
            (false, Some(lines), None) => Rendition::lines(lines),
            (false, None, Some((width, height))) => Rendition::size(width, height),
            _ => return Err("a rendition has one of `source`, `lines` and `size`"),
        };
        if let Some(name) = self.name {
            rendition = rendition.named(name);
        }
        if let Some(rate) = self.bit_rate {
            rendition = rendition.bit_rate(rate);
        }
        Ok(if self.enlarged { rendition.enlarged() } else { rendition })
    }
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
    if let Some(rung) = &source.rung {
        let name = rung.rendition().map_or_else(String::new, |rendition| rendition.name().to_owned());
        let of = rung.all.iter().map(WrittenRendition::of).collect();
        return Ok(Written {
            fallback: source.fallback.clone(),
            watchdog: source.watchdog,
            rendition: Some(WrittenRung { name, of }),
            ..written(&rung.of, keys)?
        });
    }
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
        if let Some(rung) = written.rendition {
            let all: Result<Vec<_>, _> = rung.of.into_iter().map(WrittenRendition::read).collect();
            let ladder = source.renditions(all.map_err(D::Error::custom)?).map_err(D::Error::custom)?;
            let missing = || D::Error::custom(format_args!("there is no rendition {:?}", rung.name));
            source = ladder.get(&rung.name).cloned().ok_or_else(missing)?;
        }
        source.fallback = written.fallback;
        source.watchdog = written.watchdog;
        Ok(source)
    }
}
