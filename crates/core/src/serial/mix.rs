//! How a mixer stands.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{seconds, text};
use crate::mix::{MixInputStats, MixerStats};

/// Its fields; `latency_seconds`.
impl Serialize for MixerStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { inputs, limited_db, latency } = self;
        let mut to = to.serialize_struct("MixerStats", 3)?;
        to.serialize_field("inputs", inputs)?;
        to.serialize_field("limited_db", limited_db)?;
        to.serialize_field("latency_seconds", &seconds(*latency))?;
        to.end()
    }
}

/// Its fields; `waiting_seconds`.
impl Serialize for MixInputStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Named one by one: what is added to the figures is missed here.
        let Self {
            name,
            gain_db,
            pan,
            muted,
            peak_dbfs,
            ducked_db,
            waiting,
            gaps,
            dropped_samples,
            playing,
            live,
            drift_ppm,
        } = self;
        let mut to = to.serialize_struct("MixInputStats", 12)?;
        to.serialize_field("name", name)?;
        to.serialize_field("gain_db", gain_db)?;
        to.serialize_field("pan", pan)?;
        to.serialize_field("muted", muted)?;
        to.serialize_field("peak_dbfs", peak_dbfs)?;
        to.serialize_field("ducked_db", ducked_db)?;
        to.serialize_field("waiting_seconds", &seconds(*waiting))?;
        to.serialize_field("gaps", gaps)?;
        to.serialize_field("dropped_samples", dropped_samples)?;
        to.serialize_field("playing", &playing.as_deref().map(text))?;
        to.serialize_field("live", live)?;
        to.serialize_field("drift_ppm", drift_ppm)?;
        to.end()
    }
}

#[cfg(test)]
mod tests {
    use crate::mix::{MixInput, Mixer, MixerRef};

    #[test]
    fn a_mixer_is_written_with_its_inputs() {
        let mixer = Mixer::new().input("voice", MixInput::source().gain_db(-3.0));
        let json = serde_json::to_value(MixerRef::unused(&mixer).stats()).expect("it can be written");
        assert_eq!(json["latency_seconds"], 0.0);
        let voice = &json["inputs"][0];
        assert_eq!((&voice["name"], &voice["gain_db"]), (&"voice".into(), &(-3.0).into()));
        assert_eq!((&voice["waiting_seconds"], &voice["playing"]), (&0.0.into(), &serde_json::Value::Null));
    }
}
