//! The header of audio tags, FLV annex E.4.2.1, and the tags that AAC and MP3 are carried in.

use bytes::Bytes;

use super::{FlvError, Tag, TagBody, TagFlags, TagKind, enhanced};
use crate::time::MediaTime;

/// The codec: the upper four bits of an audio tag, or the FourCC of an Enhanced RTMP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioCodec {
    /// 0: PCM in the byte order of the machine that wrote it.
    Pcm,
    /// 1: ADPCM.
    Adpcm,
    /// 2, or `.mp3`: MP3.
    Mp3,
    /// 3: PCM, little endian.
    PcmLe,
    /// 4: Nellymoser at 16 kHz, mono.
    Nellymoser16k,
    /// 5: Nellymoser at 8 kHz, mono.
    Nellymoser8k,
    /// 6: Nellymoser.
    Nellymoser,
    /// 7: G.711 A-law.
    ALaw,
    /// 8: G.711 µ-law.
    MuLaw,
    /// 10, or `mp4a`: AAC.
    Aac,
    /// 11: Speex.
    Speex,
    /// 14: MP3 at 8 kHz.
    Mp38k,
    /// 15: device specific.
    Device,
    /// `Opus`; no number.
    Opus,
    /// `fLaC`: FLAC; no number.
    Flac,
    /// `ac-3`: AC-3; no number.
    Ac3,
    /// `ec-3`: E-AC-3; no number.
    Eac3,
    /// A number with no codec known to it.
    Unknown(u8),
    /// A FourCC with no codec known to it.
    UnknownFourCc([u8; 4]),
}

impl AudioCodec {
    /// The codec with this number (the lower four bits count).
    #[must_use]
    pub const fn from_wire(id: u8) -> Self {
        match id & 0x0F {
            0 => Self::Pcm,
            1 => Self::Adpcm,
            2 => Self::Mp3,
            3 => Self::PcmLe,
            4 => Self::Nellymoser16k,
            5 => Self::Nellymoser8k,
            6 => Self::Nellymoser,
            7 => Self::ALaw,
            8 => Self::MuLaw,
            10 => Self::Aac,
            11 => Self::Speex,
            14 => Self::Mp38k,
            15 => Self::Device,
            other => Self::Unknown(other),
        }
    }

    /// The codec of this FourCC.
    #[must_use]
    pub const fn from_four_cc(code: [u8; 4]) -> Self {
        match &code {
            b"mp4a" => Self::Aac,
            b".mp3" => Self::Mp3,
            b"Opus" => Self::Opus,
            b"fLaC" => Self::Flac,
            b"ac-3" => Self::Ac3,
            b"ec-3" => Self::Eac3,
            _ => Self::UnknownFourCc(code),
        }
    }

    /// The codec of a tag's body, by its number or, with an Enhanced RTMP header, by its FourCC; of several tracks that
    /// of track 0, else of the first. `None` for a body that does not say.
    #[must_use]
    pub fn of(body: &TagBody) -> Option<Self> {
        if enhanced::is_enhanced(TagKind::Audio, body) {
            enhanced::main_four_cc(TagKind::Audio, body).map(Self::from_four_cc)
        } else {
            body.byte(0).map(|first| Self::from_wire(first >> 4))
        }
    }

    /// A short name in lower case, such as `aac` or `opus`; `unknown` for those that have none.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcm | Self::PcmLe => "pcm",
            Self::Adpcm => "adpcm",
            Self::Mp3 | Self::Mp38k => "mp3",
            Self::Nellymoser16k | Self::Nellymoser8k | Self::Nellymoser => "nellymoser",
            Self::ALaw => "alaw",
            Self::MuLaw => "mulaw",
            Self::Aac => "aac",
            Self::Speex => "speex",
            Self::Device => "device",
            Self::Opus => "opus",
            Self::Flac => "flac",
            Self::Ac3 => "ac3",
            Self::Eac3 => "eac3",
            Self::Unknown(_) | Self::UnknownFourCc(_) => "unknown",
        }
    }

    /// The number in the tag, and `audiocodecid` in the metadata; 9, which announces an Enhanced RTMP header, for those
    /// that have a FourCC only.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::Pcm => 0,
            Self::Adpcm => 1,
            Self::Mp3 => 2,
            Self::PcmLe => 3,
            Self::Nellymoser16k => 4,
            Self::Nellymoser8k => 5,
            Self::Nellymoser => 6,
            Self::ALaw => 7,
            Self::MuLaw => 8,
            Self::Aac => 10,
            Self::Speex => 11,
            Self::Mp38k => 14,
            Self::Device => 15,
            Self::Opus | Self::Flac | Self::Ac3 | Self::Eac3 | Self::UnknownFourCc(_) => 9,
            Self::Unknown(id) => id & 0x0F,
        }
    }
}

/// The sample rate that the header can say. AAC, Nellymoser 8/16 kHz and Speex have their own, whatever is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SoundRate {
    /// 0: 5512.5 Hz, or special to the codec.
    Hz5512,
    /// 1: 11025 Hz.
    Hz11025,
    /// 2: 22050 Hz.
    Hz22050,
    /// 3: 44100 Hz; by convention also MP3 of 48000 Hz.
    Hz44100,
}

/// Bits of an uncompressed sample; compressed audio always says 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleSize {
    /// 8 bits, unsigned.
    Bits8,
    /// 16 bits, signed.
    Bits16,
}

/// Channels as the header can say them; AAC says stereo whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SoundChannels {
    /// One.
    Mono,
    /// Two, or for AAC any number.
    Stereo,
}

/// What an AAC tag holds, its second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AacPacketType {
    /// 0: an AudioSpecificConfig.
    SequenceHeader,
    /// 1: one frame without ADTS header.
    Raw,
}

/// The bytes before the coded data of an audio tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioHeader {
    /// The codec.
    pub codec: AudioCodec,
    /// The sample rate, as far as the header can say it.
    pub rate: SoundRate,
    /// Bits of a sample.
    pub size: SampleSize,
    /// Channels, as far as the header can say them.
    pub channels: SoundChannels,
    /// What the tag holds; [`AacPacketType::Raw`] for codecs that do not say.
    pub packet_type: AacPacketType,
}

impl AudioHeader {
    /// Reads the header at the beginning of a tag's body.
    ///
    /// # Errors
    ///
    /// [`FlvError::Truncated`], [`FlvError::Invalid`] for an unknown AAC packet type, and [`FlvError::Enhanced`] for an
    /// Enhanced RTMP header.
    pub fn parse(body: &[u8]) -> Result<Self, FlvError> {
        let truncated = |missing| FlvError::Truncated { what: "audio header", offset: 0, missing };
        let &first = body.first().ok_or(truncated(1))?;
        if first >> 4 == 9 {
            return Err(FlvError::Enhanced);
        }
        let codec = AudioCodec::from_wire(first >> 4);
        let packet_type = match (codec, body.get(1)) {
            (AudioCodec::Aac, None) => return Err(truncated(1)),
            (AudioCodec::Aac, Some(0)) => AacPacketType::SequenceHeader,
            (AudioCodec::Aac, Some(&value)) if value > 1 => {
                return Err(FlvError::Invalid {
                    what: "AAC packet type",
                    value: u64::from(value),
                    offset: 1,
                });
            }
            _ => AacPacketType::Raw,
        };
        let rate = match first >> 2 & 3 {
            0 => SoundRate::Hz5512,
            1 => SoundRate::Hz11025,
            2 => SoundRate::Hz22050,
            _ => SoundRate::Hz44100,
        };
        let size = if first & 2 == 0 { SampleSize::Bits8 } else { SampleSize::Bits16 };
        let channels = if first & 1 == 0 { SoundChannels::Mono } else { SoundChannels::Stereo };
        Ok(Self { codec, rate, size, channels, packet_type })
    }

    /// The header as bytes, of which the first [`len`](Self::len) belong to it.
    #[must_use]
    pub const fn encode(self) -> [u8; 2] {
        let rate = match self.rate {
            SoundRate::Hz5512 => 0,
            SoundRate::Hz11025 => 1,
            SoundRate::Hz22050 => 2,
            SoundRate::Hz44100 => 3,
        };
        let first = self.codec.wire() << 4 | rate << 2 | (self.size as u8) << 1 | self.channels as u8;
        [first, self.packet_type as u8]
    }

    /// Bytes of the header: 2 for AAC, 1 for others.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    #[must_use]
    pub const fn len(self) -> usize {
        if matches!(self.codec, AudioCodec::Aac) { 2 } else { 1 }
    }

    /// AAC's, which is always the same: annex E.4.2.1 says 44.1 kHz stereo whatever the configuration says.
    const fn aac(packet_type: AacPacketType) -> Self {
        Self {
            codec: AudioCodec::Aac,
            rate: SoundRate::Hz44100,
            size: SampleSize::Bits16,
            channels: SoundChannels::Stereo,
            packet_type,
        }
    }
}

/// The tag that configures an AAC decoder: `config` is an AudioSpecificConfig.
#[must_use]
pub fn aac_sequence_header(config: Bytes, timestamp: MediaTime) -> Tag {
    tag(
        &AudioHeader::aac(AacPacketType::SequenceHeader).encode(),
        TagFlags::SEQUENCE_HEADER,
        timestamp,
        config,
    )
}

/// A tag of one AAC frame, without ADTS header.
#[must_use]
pub fn aac_frame(timestamp: MediaTime, payload: Bytes) -> Tag {
    tag(&AudioHeader::aac(AacPacketType::Raw).encode(), TagFlags::EMPTY, timestamp, payload)
}

/// A tag of MP3 frames of `rate_hz` hertz.
///
/// # Errors
///
/// [`FlvError::Mp3Rate`] for a rate that FLV cannot say: it has 44100, 22050 and 11025 Hz. 48000 Hz is written as
/// 44100, as libavformat does it; decoders take the rate from the MP3 frame.
pub fn mp3_frame(timestamp: MediaTime, rate_hz: u32, channels: u16, payload: Bytes) -> Result<Tag, FlvError> {
    let rate = match rate_hz {
        48_000 | 44_100 => SoundRate::Hz44100,
        22_050 => SoundRate::Hz22050,
        11_025 => SoundRate::Hz11025,
        _ => return Err(FlvError::Mp3Rate { rate_hz }),
    };
    let channels = if channels > 1 { SoundChannels::Stereo } else { SoundChannels::Mono };
    let header = AudioHeader {
        codec: AudioCodec::Mp3,
        rate,
        size: SampleSize::Bits16,
        channels,
        packet_type: AacPacketType::Raw,
    };
    let [first, _] = header.encode();
    Ok(tag(&[first], TagFlags::EMPTY, timestamp, payload))
}

fn tag(head: &[u8], flags: TagFlags, timestamp: MediaTime, payload: Bytes) -> Tag {
    Tag { kind: TagKind::Audio, timestamp, flags, body: TagBody::with_head(head, payload) }
}
