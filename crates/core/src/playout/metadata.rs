//! `onMetaData` for a stream whose tracks come from more than one place.

use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::{Tag, TagBody};
use flowcast_rtmp::flv::{opus, sound};

/// FLV's number of AAC.
const AAC: f64 = 10.0;

/// The number of a codec, the rate in hertz and whether there are two channels or more.
pub(super) type Sound = (f64, f64, bool);

/// What the metadata states about the sound, if anything.
pub(super) fn sound_of(tag: &Tag) -> Option<Sound> {
    let metadata = Metadata::parse(&tag.body.to_bytes()).ok()?;
    Some((
        metadata.audiocodecid?,
        metadata.audiosamplerate.unwrap_or_default(),
        metadata.stereo.unwrap_or_default(),
    ))
}

/// `tag` with what the sequence header `audio` of AAC or Opus says, or else `companion`, where it says nothing of audio itself.
pub(super) fn with_audio(tag: &Tag, audio: Option<&TagBody>, companion: Option<Sound>) -> Tag {
    let Some((codec, rate, stereo)) = audio.and_then(described).or(companion) else { return tag.clone() };
    let Ok(mut metadata) = Metadata::parse(&tag.body.to_bytes()) else { return tag.clone() };
    if metadata.audiocodecid.is_some() {
        return tag.clone();
    }
    metadata.audiocodecid = Some(codec);
    metadata.audiosamplerate = Some(rate);
    metadata.audiosamplesize = Some(16.0);
    metadata.stereo = Some(stereo);
    metadata.to_tag(tag.timestamp)
}

/// The number of the codec, the rate in hertz and whether there are two channels or more.
fn described(header: &TagBody) -> Option<Sound> {
    match AudioCodec::of(header)? {
        AudioCodec::Opus => {
            let channels = sound::opus_channels(header)?;
            Some((f64::from(u32::from_be_bytes(*b"Opus")), f64::from(opus::RATE_HZ), channels >= 2))
        }
        AudioCodec::Aac => {
            let config = sound::aac_config(header)?;
            Some((AAC, f64::from(config.sample_rate_hz), config.channels >= 2))
        }
        _ => None,
    }
}
