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

/// What the header of an MPEG audio frame says, ISO/IEC 11172-3 section 2.4.1.3 and 13818-3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mp3Frame {
    /// Sample rate, in hertz: 8,000 to 48,000.
    pub rate_hz: u32,
    /// Channels, 1 or 2.
    pub channels: u8,
    /// Samples per channel: 1152, or 576 below 32 kHz.
    pub samples: u32,
}

/// What an MP3 frame says itself; `None` for what does not begin like one of layer 3.
#[must_use]
pub fn mp3_frame_header(frame: &[u8]) -> Option<Mp3Frame> {
    let &[first, second, third, fourth] = frame.first_chunk()?;
    let is_layer_3 = first == 0xFF && second & 0xE0 == 0xE0 && second >> 1 & 3 == 1;
    let full: u32 = match third >> 2 & 3 {
        0 => 44_100,
        1 => 48_000,
        2 => 32_000,
        _ => return None,
    };
    let (shift, samples) = match second >> 3 & 3 {
        // MPEG 2.5, 2 and 1.
        0 => (2, MP3_FRAME.1),
        2 => (1, MP3_FRAME.1),
        3 => (0, MP3_FRAME.0),
        _ => return None,
    };
    let channels = if fourth >> 6 == 3 { 1 } else { 2 };
    is_layer_3.then_some(Mp3Frame { rate_hz: full >> shift, channels, samples })
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
    fn mp3_says_its_rate_itself() {
        let said = |bytes: &[u8]| mp3_frame_header(bytes).map(|mp3| (mp3.rate_hz, mp3.channels, mp3.samples));
        assert_eq!(said(&[0xFF, 0xFB, 0x94, 0x64]), Some((48_000, 2, 1152)));
        assert_eq!(said(&[0xFF, 0xF3, 0x80, 0xC4]), Some((22_050, 1, 576)));
        assert_eq!(said(&[0xFF, 0xE3, 0x18, 0xC4]), Some((8_000, 1, 576)));
        for other in
            [&[0xFF, 0xFB, 0x94][..], &[0xFF, 0xFD, 0x94, 0x64], &[0xFF, 0xFB, 0x9C, 0x64], b"ID3\x04"]
        {
            assert_eq!(said(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_too_short_says_nothing() {
        let empty = TagBody::new(Bytes::new());
        assert_eq!((aac_config(&empty), opus_channels(&empty), opus_samples(&empty)), (None, None, None));
        assert_eq!(mp3_format(&empty), (5512, 576));
    }
}
