//! What audio tags say of their sound: rate, channels and the length of a frame.
//!
//! In: bodies of tags, of codecs the caller knows. Out: figures, or `None` where the body is too short or says nothing valid.

use super::asc::AudioSpecificConfig;
use super::{TagBody, opus};

/// Bytes of Enhanced RTMP's header before the data of the only track.
const ENHANCED_HEADER: usize = 5;
/// Bytes of AAC's header.
const AAC_HEADER: usize = 2;
/// Where `OpusHead` has the channels.
const OPUS_CHANNELS: usize = 9;
/// Samples of an MP3 frame, and below 32 kHz.
const MP3_FRAME: (u32, u32) = (1152, 576);

/// The configuration in a sequence header of AAC.
#[must_use]
pub fn aac_config(header: &TagBody) -> Option<AudioSpecificConfig> {
    AudioSpecificConfig::parse(header.to_bytes().get(AAC_HEADER..)?).ok()
}

/// Channels that a sequence header of Opus announces.
#[must_use]
pub fn opus_channels(header: &TagBody) -> Option<u8> {
    header.byte(ENHANCED_HEADER + OPUS_CHANNELS)
}

/// Samples per channel of a tag of Opus.
#[must_use]
pub fn opus_samples(frame: &TagBody) -> Option<u32> {
    let first = [frame.byte(ENHANCED_HEADER)?, frame.byte(ENHANCED_HEADER + 1).unwrap_or(0)];
    opus::packet_samples(&first)
}

/// Sample rate, in hertz, and samples per channel of a tag of MP3, by FLV's own header: 48 kHz is written as 44.1 kHz.
#[must_use]
pub fn mp3_format(frame: &TagBody) -> (u32, u32) {
    match frame.byte(0).unwrap_or(0) >> 2 & 3 {
        0 => (5512, MP3_FRAME.1),
        1 => (11_025, MP3_FRAME.1),
        2 => (22_050, MP3_FRAME.1),
        _ => (44_100, MP3_FRAME.0),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::flv::audio::{aac_sequence_header, mp3_frame};
    use crate::flv::enhanced::{audio_frame, audio_sequence_start};
    use crate::time::MediaTime;

    #[test]
    fn each_codec_says_what_it_is() {
        let aac = aac_sequence_header(Bytes::from_static(&[0x12, 0x10]), MediaTime::ZERO);
        let config = aac_config(&aac.body).expect("a configuration");
        assert_eq!((config.sample_rate_hz, config.channels, config.frame_samples), (44_100, 2, 1024));
        let head = Bytes::from_static(b"OpusHead\x01\x06\x00\x00\x80\xbb\x00\x00\x00\x00\x00");
        assert_eq!(opus_channels(&audio_sequence_start(*b"Opus", head, MediaTime::ZERO).body), Some(6));
        let packet = opus::silence(1920).expect("a length that packets have");
        assert_eq!(opus_samples(&audio_frame(*b"Opus", MediaTime::ZERO, packet).body), Some(1920));
        for (rate, format) in [(48_000, (44_100, 1152)), (22_050, (22_050, 576)), (11_025, (11_025, 576))] {
            let tag = mp3_frame(MediaTime::ZERO, rate, 2, Bytes::from_static(&[0xFF])).expect("FLV has it");
            assert_eq!(mp3_format(&tag.body), format, "{rate}");
        }
    }

    #[test]
    fn what_is_too_short_says_nothing() {
        let empty = TagBody::new(Bytes::new());
        assert_eq!((aac_config(&empty), opus_channels(&empty), opus_samples(&empty)), (None, None, None));
        assert_eq!(mp3_format(&empty), (5512, 576));
    }
}
