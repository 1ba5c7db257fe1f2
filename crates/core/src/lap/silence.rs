//! Frames of silence in the format of a track, for the sound that a file does not have.

use bytes::Bytes;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::silence::aac_silence;
use flowcast_rtmp::flv::tag::TagBody;
use flowcast_rtmp::flv::{opus, sound};

/// FLV's audio header of a raw AAC frame.
const AAC_RAW: [u8; 2] = [0xAF, 1];
/// Enhanced RTMP's audio header of an Opus packet.
pub(crate) const OPUS: [u8; 5] = *b"\x91Opus";

/// The body of a tag with a frame of silence of this many samples, in the format of this sequence header; `None` where the codec
/// has none.
pub(crate) fn silent_frame(header: &TagBody, samples: u32) -> Option<Bytes> {
    if is_opus(header) {
        return opus_silence(samples);
    }
    let config = sound::aac_config(header)?;
    // With spectral band replication, a plain frame would change the rate for a moment.
    let is_plain = config.object_type == 2 && config.sbr_rate_hz.is_none() && !config.parametric_stereo;
    let configuration = if config.channels == 8 { 7 } else { config.channels };
    let frame = aac_silence(configuration).filter(|_| is_plain)?;
    Some([&AAC_RAW, frame.as_ref()].concat().into())
}

/// Whether it is a header of Opus.
pub(crate) fn is_opus(header: &TagBody) -> bool {
    AudioCodec::of(header) == Some(AudioCodec::Opus)
}

/// A tag's body of one Opus packet of silence. `None` for a length that packets cannot have.
pub(crate) fn opus_silence(samples: u32) -> Option<Bytes> {
    Some([&OPUS, opus::silence(samples)?.as_ref()].concat().into())
}
