//! `onMetaData` for a stream whose tracks come from more than one place.

use flowcast_rtmp::flv::asc::AudioSpecificConfig;
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::{Tag, TagBody};

/// FLV's number of AAC.
const AAC: f64 = 10.0;

/// `tag` with what the AAC sequence header `audio` says, where it says nothing of audio itself.
pub(crate) fn with_audio(tag: &Tag, audio: Option<&TagBody>) -> Tag {
    let config = audio.and_then(|body| AudioSpecificConfig::parse(body.to_bytes().get(2..)?).ok());
    let (Some(config), Ok(mut metadata)) = (config, Metadata::parse(&tag.body.to_bytes())) else {
        return tag.clone();
    };
    if metadata.audiocodecid.is_some() {
        return tag.clone();
    }
    metadata.audiocodecid = Some(AAC);
    metadata.audiosamplerate = Some(f64::from(config.sample_rate_hz));
    metadata.audiosamplesize = Some(16.0);
    metadata.stereo = Some(config.channels >= 2);
    metadata.to_tag(tag.timestamp)
}
