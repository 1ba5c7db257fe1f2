//! How a mixer is written in a file: its inputs, each with one of `source`, `playlist` and `samples`, and its settings.
//!
//! In: a [`Mixer`]. Out: any serde format, and back. Unknown fields are refused by name. What cannot work is taken here, and refused by
//! `start` as if the program had given it.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::settings::{Ducking, Feed, MixInput, Mixer};
use crate::loudness::Loudness;
use crate::playlist::Playlist;
use crate::sound_format::AudioFormat;
use crate::written::is_default;

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "mixer", deny_unknown_fields)]
struct Written {
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
        let inputs = self.inputs.iter().map(|(name, input)| WrittenInput::of(name, input)).collect();
        Written { inputs, ceiling_dbfs: self.ceiling_dbfs }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Mixer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(from)?;
        let mut mixer = Self { ceiling_dbfs: written.ceiling_dbfs, ..Self::default() };
        for input in written.inputs {
            let name = input.name.clone();
            mixer = mixer.input(name, input.read().map_err(D::Error::custom)?);
        }
        Ok(mixer)
    }
}

impl WrittenInput {
    fn of(name: &str, input: &MixInput) -> Self {
        let (mut source, mut playlist, mut samples) = (false, None, None);
        match &input.feed {
            Feed::Source => source = true,
            Feed::Playlist(list) => playlist = Some(list.clone()),
            Feed::Samples(format) => samples = Some(*format),
        }
        Self {
            name: name.to_owned(),
            source,
            playlist,
            samples,
            gain_db: input.gain_db,
            pan: input.pan,
            muted: input.muted,
            fade_in: input.fade_in,
            ducking: input.ducking.clone(),
            level: input.loudness,
        }
    }

    fn read(self) -> Result<MixInput, String> {
        let input = match (self.source, self.playlist, self.samples) {
            (true, None, None) => MixInput::source(),
            (false, Some(list), None) => MixInput::playlist(list),
            (false, None, Some(format)) => MixInput::samples(format),
            _ => {
                return Err(format!(
                    "the input {:?} has one of `source`, `playlist` and `samples`",
                    self.name
                ));
            }
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
            r#"{"inputs": [{"name": "m", "source": true, "gain": 3}]}"#,
            r#"{"input": []}"#,
        ] {
            assert!(serde_json::from_str::<Mixer>(wrong).is_err(), "{wrong}");
        }
    }
}
