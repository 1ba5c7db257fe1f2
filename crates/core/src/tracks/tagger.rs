//! Packets of libav become FLV tags.
//!
//! In: packets of one video and one audio track, and of other sound, with times already on the stream's clock. Out: tags whose bytes are
//! those libavformat's own FLV muxer would write, but AV1's temporal delimiters, which are left out as in MP4. The payload is not
//! copied: a tag is a few bytes of header in front of libav's buffer.

use bytes::Bytes;
use flowcast_av::{Codec, Packet};
use flowcast_rtmp::flv::data::{self, DataCodec};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::{FlvError, audio, enhanced, video};
use flowcast_rtmp::time::MediaTime;

use super::selection::{Selection, four_cc, other_code, rate_and_channels};

/// The tags of a packet.
#[derive(Debug)]
pub struct Tagged {
    /// The sequence header, if the packet brings a configuration.
    pub header: Option<Tag>,
    /// The packet itself.
    pub frame: Option<Tag>,
}

/// Makes tags of packets.
#[derive(Debug)]
pub struct Tagger {
    selection: Selection,
}

impl Tagger {
    /// A tagger for these tracks.
    #[must_use]
    pub fn new(selection: Selection) -> Self {
        Self { selection }
    }

    /// What a session begins with: metadata, then the sequence headers known so far.
    #[must_use]
    pub fn headers(&self) -> Vec<Tag> {
        let mut tags = vec![self.selection.metadata().to_tag(MediaTime::ZERO)];
        for track in self.selection.video.iter().chain(&self.selection.audio) {
            tags.extend(
                track
                    .config
                    .clone()
                    .and_then(|config| self.sequence_header(track.index, config, MediaTime::ZERO)),
            );
        }
        tags.extend((1..).zip(&self.selection.others).filter_map(|(id, track)| {
            let (code, config) = (other_code(&track.codec)?, track.config.clone()?);
            enhanced::on_track(&enhanced::audio_sequence_start(code, config, MediaTime::ZERO), id)
        }));
        let data = self.selection.data.iter().filter_map(|track| DataCodec::from_name(track.codec.name()));
        let data: Vec<_> = data.collect();
        if !data.is_empty() {
            tags.push(data::announcement(&data));
        }
        tags
    }

    /// A packet of data, number `number` of those in the [selection](Selection::data), which its source had at `source_time` of 90 kHz.
    #[must_use]
    pub fn data(
        &self,
        number: usize,
        at: MediaTime,
        source_time: Option<i64>,
        payload: &[u8],
    ) -> Option<Tag> {
        self.selection.data.get(number)?;
        Some(data::packet(u8::try_from(number).ok()?, at, source_time, payload))
    }

    /// A packet of other sound, number `other` of those in the [selection](Selection::others). `None` if there is no such track.
    #[must_use]
    pub fn other(&self, other: usize, at: MediaTime, payload: Bytes) -> Option<Tag> {
        let code = other_code(&self.selection.others.get(other)?.codec)?;
        let id = u8::try_from(other).ok()?.checked_add(1)?;
        enhanced::on_track(&enhanced::audio_frame(code, at, payload), id)
    }

    /// The sequence header of a track; `None` for codecs that have none.
    #[must_use]
    pub fn sequence_header(&self, track: usize, config: Bytes, at: MediaTime) -> Option<Tag> {
        if self.is_video(track) {
            return Some(match self.video_code() {
                Some(code) => enhanced::video_sequence_start(code, config, at),
                None => video::avc_sequence_header(config, at),
            });
        }
        if let Some(code) = self.audio_code() {
            return Some(enhanced::audio_sequence_start(code, config, at));
        }
        let is_aac = self.selection.audio.as_ref().is_some_and(|track| track.codec == Codec::Aac);
        is_aac.then(|| audio::aac_sequence_header(config, at))
    }

    /// When a packet is decoded and shown, in ticks of its track; `None` if it says neither. What is shown in the order it
    /// comes is decoded when it is shown: its tags have no other time.
    #[must_use]
    pub fn times(&self, packet: &Packet) -> Option<(i64, i64)> {
        let (dts, pts) = (packet.dts.or(packet.pts)?, packet.pts.or(packet.dts)?);
        let is_shown_in_order = self.is_video(packet.track) && !self.has_composition();
        Some((if is_shown_in_order { pts } else { dts }, pts))
    }

    /// The tags of a packet that decodes at `at` and is shown `composition_ms` milliseconds later. What FLV has no form for is
    /// left out.
    #[must_use]
    pub fn tags(&self, packet: Packet, at: MediaTime, composition_ms: i64) -> Tagged {
        let header = packet.config.and_then(|config| self.sequence_header(packet.track, config, at));
        let frame = if self.is_video(packet.track) {
            self.video(at, composition_ms, packet.keyframe, packet.data)
        } else {
            self.audio(at, packet.data)
        };
        Tagged { header, frame: frame.ok() }
    }

    /// A video packet that decodes at `at` and is shown `composition_ms` milliseconds later.
    ///
    /// # Errors
    ///
    /// A composition time that 24 bits cannot hold.
    pub fn video(
        &self,
        at: MediaTime,
        composition_ms: i64,
        keyframe: bool,
        payload: Bytes,
    ) -> Result<Tag, FlvError> {
        let composition = i32::try_from(composition_ms).unwrap_or(i32::MAX);
        match self.video_code() {
            Some(code) => enhanced::video_frame(code, at, composition, keyframe, payload),
            None => video::avc_frame(at, composition, keyframe, payload),
        }
    }

    /// Whether tags of the video track can say that a picture is shown later than it is decoded. Else their time is that of
    /// showing.
    #[must_use]
    pub fn has_composition(&self) -> bool {
        self.video_code().is_none_or(|code| code == *b"hvc1")
    }

    fn video_code(&self) -> Option<[u8; 4]> {
        self.selection.video.as_ref().and_then(|track| four_cc(&track.codec))
    }

    fn audio_code(&self) -> Option<[u8; 4]> {
        self.selection.audio.as_ref().and_then(|track| four_cc(&track.codec))
    }

    /// An audio packet.
    ///
    /// # Errors
    ///
    /// MP3 at a rate FLV has no code for.
    pub fn audio(&self, at: MediaTime, payload: Bytes) -> Result<Tag, FlvError> {
        match &self.selection.audio {
            Some(track) if track.codec == Codec::Mp3 => {
                let (rate, channels) = rate_and_channels(track);
                audio::mp3_frame(at, rate, channels, payload)
            }
            _ => Ok(match self.audio_code() {
                Some(code) => enhanced::audio_frame(code, at, payload),
                None => audio::aac_frame(at, payload),
            }),
        }
    }

    /// Whether `track` is the video track.
    #[must_use]
    pub fn is_video(&self, track: usize) -> bool {
        self.selection.video.as_ref().is_some_and(|video| video.index == track)
    }

    /// The tracks.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }
}
