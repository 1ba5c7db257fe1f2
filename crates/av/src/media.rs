//! What a probe finds out about an input. Plain data; units are on every field.

use std::time::Duration;

use bytes::Bytes;

use crate::{Codec, Ratio, TimeBase, TrackKind};

/// What is in an input.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaInfo {
    /// libav's names of the container format, separated by commas ("mov,mp4,m4a,3gp,3g2,mj2").
    pub format: String,
    /// Length of the longest track; `None` for live inputs.
    pub duration: Option<Duration>,
    /// Timestamp of the first packet in microseconds; may be negative.
    pub start_micros: Option<i64>,
    /// Bits per second of everything together, from the container or from size and length.
    pub bit_rate: Option<u64>,
    /// Every track, in the container's order.
    pub tracks: Vec<TrackInfo>,
    /// The container's tags ("title", "encoder", ...), in its order.
    pub metadata: Vec<(String, String)>,
    /// Whether the input can go back to its start ([`Demuxer::rewind`](crate::Demuxer::rewind)).
    pub seekable: bool,
}

impl MediaInfo {
    /// The track with this index.
    #[must_use]
    pub fn track(&self, index: usize) -> Option<&TrackInfo> {
        self.tracks.iter().find(|track| track.index == index)
    }

    /// The video track to play: the default one, else the first. Cover art is no video.
    #[must_use]
    pub fn video(&self) -> Option<&TrackInfo> {
        self.best(TrackKind::Video)
    }

    /// The audio track to play with [`video`](Self::video): see [`audio_with`](Self::audio_with).
    #[must_use]
    pub fn audio(&self) -> Option<&TrackInfo> {
        self.audio_with(self.video())
    }

    /// The audio track to play with this picture: of its programme the default one, else the first; if that has none, one that is in no
    /// programme. Never that of another programme. Without a picture, the default one of all, else the first.
    #[must_use]
    pub fn audio_with(&self, video: Option<&TrackInfo>) -> Option<&TrackInfo> {
        let audio =
            self.playable(TrackKind::Audio).filter(|audio| video.is_none_or(|video| audio.goes_with(video)));
        let shares = |audio: &TrackInfo| video.is_some_and(|video| audio.shares_program(video));
        audio.min_by_key(|audio| (!shares(audio), !audio.default))
    }

    fn best(&self, kind: TrackKind) -> Option<&TrackInfo> {
        self.playable(kind).min_by_key(|track| !track.default)
    }

    fn playable(&self, kind: TrackKind) -> impl Iterator<Item = &TrackInfo> {
        self.tracks.iter().filter(move |track| track.kind == kind && track.is_playable())
    }
}

/// One track of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackInfo {
    /// Its number in the input; [`Packet::track`](crate::Packet::track) refers to it.
    pub index: usize,
    /// What it carries.
    pub kind: TrackKind,
    /// Its codec.
    pub codec: Codec,
    /// The codec's profile by libav's name ("High", "LC", "HE-AAC").
    pub profile: Option<String>,
    /// The codec's level as the codec writes it (H.264: 31 is level 3.1).
    pub level: Option<u32>,
    /// Unit of all its timestamps.
    pub time_base: TimeBase,
    /// Timestamp to show of its first packet, in ticks; `None` if it has shown no packet while it was probed.
    pub start: Option<i64>,
    /// Its length in ticks.
    pub duration: Option<i64>,
    /// Its bits per second, as the container says.
    pub bit_rate: Option<u64>,
    /// Its number of packets, as the container says. `None` if it says none, or counts something else (the samples of raw PCM).
    pub frames: Option<u64>,
    /// Codec configuration in the form FLV and MP4 want (H.264: avcC; HEVC: hvcC; AV1: av1C; VP8 and VP9: vpcC with its version
    /// and flags in front; AAC: `AudioSpecificConfig`; Opus: `OpusHead`; other codecs: as libav has it). Made from in-band parameters if the container has none; `None` if there are none.
    pub config: Option<Bytes>,
    /// The codec's four letters as the container writes them, lowest byte first; 0 if it writes none. Some decoders go by it.
    pub codec_tag: u32,
    /// Bits of a coded sample or pixel, as the container says; 0 if it does not. Some decoders go by it (PCM, ADPCM).
    pub coded_bits: u32,
    /// Bytes of a block of samples, as the container says; 0 if it does not. Some decoders go by it (ADPCM, WMA).
    pub block_bytes: u32,
    /// Only for video.
    pub video: Option<VideoInfo>,
    /// Only for audio.
    pub audio: Option<AudioInfo>,
    /// Language tag, as the container writes it ("eng").
    pub language: Option<String>,
    /// Numbers of the programmes it belongs to (MPEG-TS); empty if the container has none, or it is in none.
    pub programs: Vec<i32>,
    /// The container marks it as the one to play.
    pub default: bool,
    /// It is cover art: one still picture.
    pub attached_picture: bool,
}

impl TrackInfo {
    /// Audio, or video that is no cover art, of a codec libav knows and with a size or rate. A track that is declared but has
    /// no data (some MPEG-TS) is not playable.
    #[must_use]
    pub fn is_playable(&self) -> bool {
        let has_size = self.video.as_ref().is_some_and(|video| video.width > 0 && video.height > 0);
        let has_rate = self.audio.as_ref().is_some_and(|audio| audio.sample_rate > 0);
        (has_size || has_rate) && self.is_audible_or_visible()
    }

    /// Whether a programme has both tracks.
    #[must_use]
    pub fn shares_program(&self, other: &Self) -> bool {
        self.programs.iter().any(|program| other.programs.contains(program))
    }

    /// Whether it may be played together with `other`: a programme has both, or one of them is in none.
    #[must_use]
    pub fn goes_with(&self, other: &Self) -> bool {
        self.programs.is_empty() || other.programs.is_empty() || self.shares_program(other)
    }

    /// As [`is_playable`](Self::is_playable), but its parameters may still be unknown.
    pub(crate) fn is_audible_or_visible(&self) -> bool {
        matches!(self.kind, TrackKind::Video | TrackKind::Audio)
            && !self.attached_picture
            && self.codec.name() != "none"
    }

    /// A track of `kind` with nothing known but its codec and clock.
    #[must_use]
    pub fn new(index: usize, kind: TrackKind, codec: Codec, time_base: TimeBase) -> Self {
        Self {
            index,
            kind,
            codec,
            profile: None,
            level: None,
            time_base,
            start: None,
            duration: None,
            bit_rate: None,
            frames: None,
            config: None,
            codec_tag: 0,
            coded_bits: 0,
            block_bytes: 0,
            video: None,
            audio: None,
            language: None,
            programs: Vec::new(),
            default: false,
            attached_picture: false,
        }
    }
}

/// Order of the fields of interlaced video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldOrder {
    /// Not known; nearly always progressive.
    Unknown,
    /// Whole pictures.
    Progressive,
    /// Interlaced, top field first.
    TopFirst,
    /// Interlaced, bottom field first.
    BottomFirst,
    /// Interlaced, order not said.
    Interlaced,
}

/// Colour description of a video track, by libav's names; `None` where not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColorInfo {
    /// Full ("pc") or limited ("tv") range.
    pub range: Option<String>,
    /// Matrix ("bt709").
    pub space: Option<String>,
    /// Primaries ("bt709").
    pub primaries: Option<String>,
    /// Transfer characteristic ("bt709", "smpte2084").
    pub transfer: Option<String>,
}

/// What is particular to a video track.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoInfo {
    /// Width in pixels, before rotation.
    pub width: u32,
    /// Height in pixels, before rotation.
    pub height: u32,
    /// Average frames per second.
    pub frame_rate: Option<Ratio>,
    /// The lowest frame rate that holds all timestamps exactly; differs from `frame_rate` with variable rates.
    pub real_frame_rate: Option<Ratio>,
    /// libav's name of the pixel format ("yuv420p"); empty if unknown.
    pub pixel_format: String,
    /// Interlacing.
    pub field_order: FieldOrder,
    /// Shape of a pixel, `None` if not said (take it as 1:1).
    pub sample_aspect: Option<Ratio>,
    /// How far to turn the picture clockwise to show it: 0, 90, 180 or 270 degrees (other angles are rounded).
    pub rotation_degrees: u16,
    /// The picture is mirrored by the container's display matrix (before the rotation).
    pub mirrored: bool,
    /// Frames a decoder must hold back to put them in order: 0 without B-frames.
    pub b_frames: u32,
    /// Colour description.
    pub color: ColorInfo,
}

impl VideoInfo {
    /// Pictures of this size, of which nothing else is known.
    #[must_use]
    pub fn of_size(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            frame_rate: None,
            real_frame_rate: None,
            pixel_format: String::new(),
            field_order: FieldOrder::Unknown,
            sample_aspect: None,
            rotation_degrees: 0,
            mirrored: false,
            b_frames: 0,
            color: ColorInfo::default(),
        }
    }
}

/// What is particular to an audio track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioInfo {
    /// Samples per second of what comes out of the decoder.
    pub sample_rate: u32,
    /// Number of channels; 0 if unknown.
    pub channels: u32,
    /// libav's name of the channel layout ("stereo", "5.1").
    pub layout: String,
    /// Samples per channel in one packet; 0 if it varies or is unknown.
    pub frame_samples: u32,
    /// Samples per channel the encoder put before the sound; 0 if unknown.
    pub priming_samples: u32,
}
