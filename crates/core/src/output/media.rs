//! What is in the tags of an output, for containers that keep tracks apart: MP4, Matroska, MPEG-TS, RTP.
//!
//! In: tags with times from zero, in the order of the stream. Out: tracks with their configuration, once they are all known, and what is coded in
//! them, sample by sample. On the thread that writes.

use std::fmt;
use std::io;

use bytes::Bytes;
use flowcast_rtmp::flv::asc::AudioSpecificConfig;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::coded::{Part, coded_track};
use flowcast_rtmp::flv::data::{self, Data, DataCodec};
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::{Codec, Tag, TagKind};
use flowcast_rtmp::flv::video::{FrameType, VideoCodec};
use flowcast_rtmp::flv::{enhanced, opus, picture, sound};

/// A container, by what it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container {
    /// What it is called.
    pub(super) name: &'static str,
    pub(super) takes: fn(Codec) -> bool,
}

/// A codec that a container does not hold, as the cause of an error of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotHeld {
    pub(super) codec: &'static str,
    /// The name of the container.
    pub(super) container: &'static str,
}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not held by {}", self.codec, self.container)
    }
}

impl std::error::Error for NotHeld {}

impl From<NotHeld> for io::Error {
    fn from(not_held: NotHeld) -> Self {
        Self::new(io::ErrorKind::Unsupported, not_held)
    }
}

/// How long a file waits for a track of the other kind, in milliseconds of media.
const WAIT_MS: i64 = 1000;
/// Bytes that are held while it waits.
const WAIT_BYTES: usize = 8 << 20;
/// Packets of data that are held.
const MOST_CUES: usize = 4096;
/// Where `OpusHead` has the channels, and its least length.
const OPUS_CHANNELS: usize = 9;
const OPUS_HEAD: usize = 19;

/// A picture or a frame of sound.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// The number of its track.
    pub(super) track: usize,
    /// When it is decoded, in milliseconds from the beginning of the file.
    pub(super) dts_ms: i64,
    /// When it is shown.
    pub(super) pts_ms: i64,
    /// Decoding can begin here.
    pub(super) is_key: bool,
    /// How long it is, in samples of its [`Sound`]; 0 for pictures.
    pub(super) samples: u32,
    pub(super) data: Bytes,
}

/// What a decoder has to know of a sound track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sound {
    /// The clock of its frames, in hertz.
    pub(super) clock_hz: u32,
    /// What comes out of the decoder, in hertz.
    pub(super) rate_hz: u32,
    pub(super) channels: u8,
    /// Samples per channel of a frame, on its clock, if all have the same number.
    pub(super) frame: u32,
}

/// A packet of timed data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "libav writes what carries it"))]
pub(super) struct Cue {
    /// The number of its track, among those of data.
    pub(super) track: usize,
    /// When it is, in milliseconds from the beginning of the file.
    pub(super) at_ms: i64,
    /// The same on the clock of its source, in ticks of 90 kHz.
    pub(super) source_time: Option<i64>,
    pub(super) data: Bytes,
}

/// One track of the file.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) kind: TagKind,
    /// Its number among those of its kind, as Enhanced RTMP counts.
    id: u8,
    pub(super) codec: Codec,
    /// avcC, hvcC, av1C, vpcC, `AudioSpecificConfig` or `OpusHead`; empty for MP3.
    pub(super) config: Bytes,
    /// Width and height in pixels, once they are known.
    pub(super) picture: Option<(u32, u32)>,
    pub(super) sound: Option<Sound>,
}

impl Track {
    pub(super) fn is_video(&self) -> bool {
        self.kind == TagKind::Video
    }

    /// Whether all is known that a file has to say of it.
    fn is_known(&self) -> bool {
        if self.is_video() { self.picture.is_some() } else { self.sound.is_some() }
    }
}

/// Tracks, and what waits to be written.
#[derive(Debug)]
pub(super) struct Media {
    container: Container,
    tracks: Vec<Track>,
    /// The tracks are written: there are no others in this file.
    is_settled: bool,
    samples: Vec<Sample>,
    bytes: usize,
    /// Tracks of data, and what waits to be written of them.
    data_tracks: Vec<DataCodec>,
    cues: Vec<Cue>,
    /// Width and height that the metadata says.
    announced: Option<(u32, u32)>,
}

impl Media {
    pub(super) fn new(container: Container) -> Self {
        Self {
            container,
            tracks: Vec::new(),
            is_settled: false,
            samples: Vec::new(),
            bytes: 0,
            data_tracks: Vec::new(),
            cues: Vec::new(),
            announced: None,
        }
    }

    pub(super) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Whether the tracks of the file hold what the tag brings.
    pub(super) fn fits(&self, tag: &Tag) -> bool {
        if tag.is_script() || !(self.is_settled || tag.is_sequence_header()) {
            return true;
        }
        let id = tag.track();
        let known = self.find(tag.kind, id);
        let Some(track) = known.and_then(|index| self.tracks.get(index)) else {
            // Until they are settled others may come. After that, only what cannot be decoded is passed over.
            return !self.is_settled
                || coded_track(tag, id).is_none_or(|coded| self.lacks_config(coded.codec, &coded.part));
        };
        if !tag.is_sequence_header() {
            return tag.codec().is_none_or(|codec| is_same(codec, track.codec));
        }
        let is_begun = self.is_settled || self.samples.iter().any(|sample| Some(sample.track) == known);
        let Some(coded) = coded_track(tag, id).filter(|_| is_begun) else { return true };
        !matches!(coded.part, Part::Config(config) if config != track.config || !is_same(coded.codec, track.codec))
    }

    fn lacks_config(&self, codec: Codec, part: &Part) -> bool {
        matches!(part, Part::Frames { .. }) && !is_mp3(codec)
    }

    fn find(&self, kind: TagKind, id: u8) -> Option<usize> {
        self.tracks.iter().position(|track| track.kind == kind && track.id == id)
    }

    /// Takes a tag.
    ///
    /// # Errors
    ///
    /// [`NotHeld`].
    pub(super) fn take(&mut self, tag: &Tag) -> io::Result<()> {
        if tag.is_metadata() {
            let metadata = Metadata::parse(&tag.body.to_bytes()).unwrap_or_default();
            let side =
                |said: Option<f64>| said.filter(|side| (1.0..65536.0).contains(side)).map(|side| side as u32);
            self.announced = side(metadata.width).zip(side(metadata.height));
        }
        if data::is_data(tag) {
            self.take_data(tag);
            return Ok(());
        }
        let id = tag.track();
        let Some(coded) = coded_track(tag, id) else { return Ok(()) };
        if !(self.container.takes)(coded.codec) {
            return Err(NotHeld { codec: coded.codec.name(), container: self.container.name }.into());
        }
        let (composition, data) = match coded.part {
            Part::Config(config) => {
                self.configure(tag.kind, id, coded.codec, config);
                return Ok(());
            }
            Part::Frames { composition_time, data } => (composition_time, data),
        };
        if self.find(tag.kind, id).is_none() && is_mp3(coded.codec) && !self.is_settled {
            self.configure(tag.kind, id, coded.codec, Bytes::new());
        }
        // Without its configuration nothing can be decoded.
        let Some(index) = self.find(tag.kind, id) else { return Ok(()) };
        let is_key = tag.is_audio() || is_keyframe(tag);
        let announced = self.announced;
        let Some(track) = self.tracks.get_mut(index) else { return Ok(()) };
        track.learn(&data, is_key, announced);
        if !track.is_known() {
            // Nor can it be written yet. What comes may say what it is.
            return Ok(());
        }
        let samples = track.sound.map_or(0, |sound| track.length(sound, &data));
        self.bytes += data.len();
        let dts_ms = tag.timestamp.as_millis();
        let pts_ms = dts_ms + i64::from(composition);
        self.samples.push(Sample { track: index, dts_ms, pts_ms, is_key, samples, data });
        Ok(())
    }

    /// Data is written beside what is settled, and settles nothing; what comes for a track that was not announced in time is left out.
    fn take_data(&mut self, tag: &Tag) {
        match data::parse(tag) {
            Some(Data::Tracks(tracks)) if !self.is_settled => self.data_tracks = tracks,
            Some(Data::Packet { track, source_time, data })
                if usize::from(track) < self.data_tracks.len() =>
            {
                let (track, at_ms) = (usize::from(track), tag.timestamp.as_millis());
                if self.cues.len() < MOST_CUES {
                    self.cues.push(Cue { track, at_ms, source_time, data });
                }
            }
            _ => {}
        }
    }

    /// Its tracks of data.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "libav writes what carries it"))]
    pub(super) fn data_tracks(&self) -> &[DataCodec] {
        &self.data_tracks
    }

    /// The data that waits to be written, in order.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "libav writes what carries it"))]
    pub(super) fn drain_cues(&mut self) -> Vec<Cue> {
        std::mem::take(&mut self.cues)
    }

    fn configure(&mut self, kind: TagKind, id: u8, codec: Codec, config: Bytes) {
        if self.is_settled {
            return;
        }
        let mut track = Track { kind, id, codec, config, picture: None, sound: None };
        track.sound = track.sound_of_config();
        if codec == Codec::Video(VideoCodec::Avc) || codec == Codec::Video(VideoCodec::Hevc) {
            track.learn(&Bytes::new(), true, None);
        }
        match self.find(kind, id).and_then(|index| self.tracks.get_mut(index)) {
            Some(known) => *known = track,
            None => self.tracks.push(track),
        }
    }

    /// Settles which tracks the file has, if that is known, or cannot be waited for: there is a picture and sound, it waited long enough, or
    /// this is the end. Whether it is settled, and anything is in it.
    pub(super) fn settle(&mut self, is_end: bool) -> bool {
        if self.is_settled {
            return true;
        }
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else { return false };
        let waited = last.dts_ms - first.dts_ms >= WAIT_MS || self.bytes >= WAIT_BYTES;
        let has = |kind| self.tracks.iter().any(|track| track.kind == kind);
        let has_picture = has(TagKind::Video) || !(self.container.takes)(Codec::Video(VideoCodec::Avc));
        let is_all = has_picture && has(TagKind::Audio) && self.tracks.iter().all(Track::is_known);
        if !(is_all || waited || is_end) {
            return false;
        }
        let known: Vec<_> = self.tracks.iter().map(Track::is_known).collect();
        let mut place = 0;
        let places: Vec<_> = known
            .iter()
            .map(|&is_known| {
                let own = is_known.then_some(place);
                place += usize::from(is_known);
                own
            })
            .collect();
        self.samples.retain_mut(|sample| {
            let own = places.get(sample.track).copied().flatten();
            own.inspect(|own| sample.track = *own).is_some()
        });
        self.tracks.retain(Track::is_known);
        self.is_settled = !self.tracks.is_empty();
        self.is_settled
    }

    /// What waits to be written, in order.
    pub(super) fn drain(&mut self) -> Vec<Sample> {
        self.bytes = 0;
        std::mem::take(&mut self.samples)
    }
}

impl Track {
    /// Takes from a frame what the configuration did not say.
    fn learn(&mut self, data: &Bytes, is_key: bool, announced: Option<(u32, u32)>) {
        match self.codec {
            Codec::Video(codec) if self.picture.is_none() && is_key => {
                self.picture = picture::size(codec, &self.config, data).or(announced);
            }
            Codec::Audio(AudioCodec::Mp3 | AudioCodec::Mp38k) if self.sound.is_none() => {
                self.sound = sound::mp3_frame_header(data).map(|mp3| Sound {
                    clock_hz: mp3.rate_hz,
                    rate_hz: mp3.rate_hz,
                    channels: mp3.channels,
                    frame: mp3.samples,
                });
            }
            _ => {}
        }
    }

    fn sound_of_config(&self) -> Option<Sound> {
        match self.codec {
            Codec::Audio(AudioCodec::Aac) => {
                let config = AudioSpecificConfig::parse(&self.config).ok()?;
                let channels = if config.parametric_stereo { 2 } else { config.channels };
                Some(Sound {
                    clock_hz: config.sample_rate_hz,
                    rate_hz: config.sbr_rate_hz.unwrap_or(config.sample_rate_hz),
                    channels,
                    frame: u32::from(config.frame_samples),
                })
            }
            Codec::Audio(AudioCodec::Opus) if self.config.len() >= OPUS_HEAD => Some(Sound {
                clock_hz: opus::RATE_HZ,
                rate_hz: opus::RATE_HZ,
                channels: *self.config.get(OPUS_CHANNELS)?,
                frame: 0,
            }),
            _ => None,
        }
    }

    /// Samples of a frame.
    fn length(&self, sound: Sound, data: &[u8]) -> u32 {
        match self.codec {
            Codec::Audio(AudioCodec::Opus) => opus::packet_samples(data).unwrap_or(opus::USUAL_SAMPLES),
            _ => sound.frame,
        }
    }
}

/// Of a track that is not the first one, only the header says it.
fn is_keyframe(tag: &Tag) -> bool {
    let header = || enhanced::Header::read(tag.kind, &tag.body);
    tag.is_keyframe() || header().is_some_and(|header| header.frame_type == Some(FrameType::Key))
}

fn is_mp3(codec: Codec) -> bool {
    matches!(codec, Codec::Audio(AudioCodec::Mp3 | AudioCodec::Mp38k))
}

fn is_same(one: Codec, other: Codec) -> bool {
    one == other || (is_mp3(one) && is_mp3(other))
}

#[cfg(test)]
mod tests {
    use flowcast_rtmp::time::MediaTime;

    use super::*;
    use crate::output::file::format::FileFormat;

    /// A track whose size nothing says yet is waited for, and is in the file once it is said.
    #[test]
    fn what_says_late_how_large_it_is_is_taken_from_there_on() {
        let mut media = Media::new(FileFormat::Mkv.container());
        let mut take = |tag: Tag| {
            media.take(&tag).unwrap_or_else(|error| panic!("{error}"));
            media.settle(false)
        };
        let header = enhanced::video_sequence_start(
            *b"vp08",
            Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0]),
            MediaTime::ZERO,
        );
        assert!(!take(header));
        let mut frame = |millis: i64, data: &'static [u8]| {
            let is_key = data[0] & 1 == 0;
            let at = MediaTime::from_millis(millis);
            let tag = enhanced::video_frame(*b"vp08", at, 0, is_key, Bytes::from_static(data));
            take(tag.unwrap_or_else(|error| panic!("{error}")))
        };
        for number in 0..75 {
            assert!(!frame(number * 40, &[1, 0, 0, 0]), "nothing can be written yet");
        }
        assert!(
            !frame(3000, &[0, 0, 0, 0x9D, 0x01, 0x2A, 64, 0, 36, 0]),
            "sound may still come, for a second"
        );
        assert!(frame(4040, &[1, 0, 0, 0]));
        assert_eq!(media.tracks().first().and_then(|track| track.picture), Some((64, 36)));
        assert_eq!(media.drain().len(), 2, "what came before cannot be decoded");
    }
}
