//! How a mixer is written in a file: its inputs, each with one of `source`, `playlist`, `samples`, `device`, `published` and
//! `pull`, and its settings.
//!
//! In: a [`Mixer`]. Out: any serde format, and back. Unknown fields are refused by name. What is secret in an address is written as `****` unless it is
//! asked for. What cannot work is taken here, and refused by `start` as if the program had given it.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Media, Source};
use crate::loudness::Loudness;
use crate::mix::{Ducking, Feed, MixInput, Mixer};
use crate::playlist::Playlist;
use crate::pull;
use crate::sound_format::AudioFormat;
use crate::written::{Keys, is_default};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "mixer", deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<WrittenInput>,
    #[serde(default = "usual_ceiling")]
    ceiling_dbfs: f64,
}

fn usual_ceiling() -> f64 {
    Mixer::default().ceiling_dbfs
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "input", deny_unknown_fields)]
struct WrittenInput {
    name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    source: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    playlist: Option<Playlist>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    samples: Option<AudioFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<AudioFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pull: Option<pull::wire::Written>,
    #[serde(default, skip_serializing_if = "is_default")]
    gain_db: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    pan: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    muted: bool,
    #[serde(default, skip_serializing_if = "is_default", with = "crate::written::span")]
    fade_in: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ducking: Option<Ducking>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<Loudness>,
}

impl Serialize for Mixer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Written::of(self, Keys::Hidden).map_err(S::Error::custom)?.serialize(to)
    }
}

impl Written {
    /// How `mixer` is written.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub(super) fn of(mixer: &Mixer, keys: Keys) -> Result<Self, String> {
        let inputs = mixer.inputs.iter().map(|(name, input)| WrittenInput::of(name, input, keys));
        Ok(Self { inputs: inputs.collect::<Result<_, _>>()?, ceiling_dbfs: mixer.ceiling_dbfs })
    }

    /// The mixer.
    ///
    /// # Errors
    ///
    /// What is wrong with an input.
    pub(super) fn read(self) -> Result<Mixer, String> {
        let mut mixer = Mixer { ceiling_dbfs: self.ceiling_dbfs, ..Mixer::default() };
        for input in self.inputs {
            let name = input.name.clone();
            mixer = mixer.input(name, input.read()?);
        }
        Ok(mixer)
    }
}

impl<'de> Deserialize<'de> for Mixer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Written::deserialize(from)?.read().map_err(D::Error::custom)
    }
}

impl WrittenInput {
    fn of(name: &str, input: &MixInput, keys: Keys) -> Result<Self, String> {
        let (mut source, mut playlist, mut samples, mut device) = (false, None, None, None);
        let (mut published, mut pull) = (None, None);
        match &input.feed {
            Feed::Source => source = true,
            Feed::Playlist(list) => playlist = Some(list.clone()),
            Feed::Samples(format) => samples = Some(*format),
            Feed::Device(format) => device = Some(*format),
            Feed::Live(live) => match live.listened().downcast_ref::<Source>().map(|source| &source.media) {
                Some(Media::Published { name, .. }) => published = Some(name.clone()),
                Some(Media::Pull(of)) => pull = Some(pull::wire::Written::of(of, keys)?),
                _ => return Err(format!("what is live of the input {name:?} cannot be written")),
            },
        }
        Ok(Self {
            name: name.to_owned(),
            source,
            playlist,
            samples,
            device,
            published,
            pull,
            gain_db: input.gain_db,
            pan: input.pan,
            muted: input.muted,
            fade_in: input.fade_in,
            ducking: input.ducking.clone(),
            level: input.loudness,
        })
    }

    fn read(self) -> Result<MixInput, String> {
        let mut given = [
            self.source.then(MixInput::source),
            self.playlist.map(MixInput::playlist),
            self.samples.map(MixInput::samples),
            self.device.map(MixInput::device),
            self.published.map(MixInput::published),
            self.pull.map(|pull| MixInput::pull(pull::Pull::from(pull))),
        ]
        .into_iter()
        .flatten();
        let (Some(input), None) = (given.next(), given.next()) else {
            let kinds = "one of `source`, `playlist`, `samples`, `device`, `published` and `pull`";
            return Err(format!("the input {:?} has {kinds}", self.name));
        };
        let input = input.gain_db(self.gain_db);
        Ok(MixInput {
            pan: self.pan,
            muted: self.muted,
            fade_in: self.fade_in,
            ducking: self.ducking,
            loudness: self.level,
            ..input
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixer_is_read_as_it_is_written() {
        let music =
            MixInput::playlist(Playlist::files(["a.mp3"])).gain_db(-10.5).pan(0.25).duck_under("voice");
        let mixer = Mixer::new()
            .input("voice", MixInput::source().muted())
            .input("music", music.fade_in(Duration::from_secs(2)).leveled(Loudness::default()))
            .input("later", MixInput::source().gain_db(f64::NEG_INFINITY))
            .input("program", MixInput::samples(AudioFormat::i16(44_100, 1).planar()))
            .input("microphone", MixInput::device(AudioFormat::i16(44_100, 1)))
            .input("guest", MixInput::published("guest").pan(-0.5))
            .input(
                "studio",
                MixInput::pull(pull::Pull::url("srt://127.0.0.1:9000/").silence(Duration::from_secs(3))),
            )
            .ceiling_dbfs(-3.0);
        let text = serde_json::to_string(&mixer).expect("it can be written");
        assert_eq!(serde_json::from_str::<Mixer>(&text).expect("it can be read"), mixer, "{text}");
        let short = r#"{"inputs": [{"name": "m", "samples": {"sample_rate": 48000, "channels": 2}, "ducking": {"under": "source"}}]}"#;
        let read: Mixer = serde_json::from_str(short).expect("what is not said is as usual");
        assert_eq!(
            read,
            Mixer::new().input("m", MixInput::samples(AudioFormat::f32(48_000, 2)).duck_under("source"))
        );
        for wrong in [
            r#"{"inputs": [{"name": "m"}]}"#,
            r#"{"inputs": [{"name": "m", "source": true, "samples": {"sample_rate": 48000, "channels": 2}}]}"#,
            r#"{"inputs": [{"name": "m", "published": "a", "pull": "rtmp://a/b/c"}]}"#,
            r#"{"inputs": [{"name": "m", "source": true, "gain": 3}]}"#,
            r#"{"input": []}"#,
        ] {
            assert!(serde_json::from_str::<Mixer>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_secret_in_an_address_is_hidden() {
        let url = "rtmp://127.0.0.1/live/secret-key";
        let mixer = Mixer::new().input("studio", MixInput::url(url));
        let text = serde_json::to_string(&mixer).expect("it can be written");
        assert!(!text.contains("secret-key") && text.contains("****"), "{text}");
        let hidden: Mixer = serde_json::from_str(&text).expect("it can be read");
        assert!(!hidden.problems().is_empty(), "but not played");
        let source = Source::published("show").with_mix(mixer);
        assert!(!format!("{source:?}").contains("secret-key"));
        let shown = serde_json::to_string(&crate::source::WithKey(&source)).expect("it can be written");
        assert!(shown.contains(url), "{shown}");
        assert_eq!(serde_json::from_str::<Source>(&shown).expect("it can be read"), source);
    }
}
