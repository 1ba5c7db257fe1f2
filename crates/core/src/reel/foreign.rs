//! An FLV file that is a reel already, but for its index.
//!
//! In: a source. Out: what its index would hold, found by reading it once from end to end, or why it does not fit; such a
//! file goes through the cutter. Fitting is meant strictly: H.264 and AAC or MP3, headers once and at the beginning, a
//! keyframe first, times that increase, tracks side by side, audio without gaps.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use flowcast_rtmp::flv::audio::{AacPacketType, AudioCodec, AudioHeader};
use flowcast_rtmp::flv::reader::{TAG_HEADER_LEN, TRAILER_LEN};
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::flv::video::{AvcPacketType, FrameType, VideoCodec, VideoHeader};
use flowcast_rtmp::flv::{AudioSpecificConfig, AvcConfig, TagHeader};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::time::MediaTime;

use super::slots::{Batch, Piece, SlotCutter};
use super::track::{AudioTrack, Mp3Frame, VideoTrack};
use crate::lap::LapFacts;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// How far a tag may lie before the newest one, and how far apart the tracks may begin, in milliseconds.
const APART: i64 = 1000;
/// A longer step of the times is a jump of the clock, in milliseconds.
const JUMP: i64 = 10_000;

/// Why a file does not fit, or what the file system said of it.
#[derive(Debug)]
pub(super) enum Misfit {
    /// It has to be cut.
    Unfit(&'static str),
    /// It cannot be read.
    Io(io::Error),
}

impl From<&'static str> for Misfit {
    fn from(reason: &'static str) -> Self {
        Self::Unfit(reason)
    }
}

/// What a step of the scan came to.
#[derive(Debug)]
pub(super) enum Progress {
    /// There is more to read.
    More,
    /// The file fits.
    End(LapFacts),
}

/// Reads through an FLV file.
#[derive(Debug)]
pub(super) struct Scan {
    buffer: Vec<u8>,
    /// What of the buffer was looked at.
    done: usize,
    /// Where in the file the buffer ends.
    at: u64,
    headers: Headers,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    /// The rate in hertz of sound in MP3, and whether it has two channels.
    mp3: Option<(u32, bool)>,
    /// From the first frame on.
    frames: Option<Frames>,
}

/// What comes before the first frame.
#[derive(Debug, Default)]
struct Headers {
    metadata: Option<Metadata>,
    tags: Vec<Tag>,
}

/// Where the frames begin.
#[derive(Debug)]
struct Frames {
    begin: u64,
    shift: i64,
    slots: SlotCutter,
    newest: i64,
    /// Something else came: frames must not follow.
    over: bool,
}

impl Scan {
    /// Looks at the beginning of the file; `None` if it is no FLV.
    ///
    /// # Errors
    ///
    /// What the file system said.
    pub(super) fn open(file: &File) -> io::Result<Option<Self>> {
        // Nine bytes of header and the size of no tag, as every writer has it.
        let mut start = [0; 13];
        match file.read_exact_at(&mut start, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let [b'F', b'L', b'V', 1, _, 0, 0, 0, 9, 0, 0, 0, 0] = start else { return Ok(None) };
        Ok(Some(Self {
            buffer: Vec::new(),
            done: 0,
            at: start.len() as u64,
            headers: Headers::default(),
            video: None,
            audio: None,
            mp3: None,
            frames: None,
        }))
    }

    /// Reads on.
    ///
    /// # Errors
    ///
    /// Why the file does not fit.
    pub(super) fn step(&mut self, file: &File) -> Result<Progress, Misfit> {
        let is_end = self.fill(file).map_err(Misfit::Io)?;
        while let Some((header, whole)) = self.next_tag()? {
            self.tag(header, whole)?;
            self.done += whole;
        }
        if !is_end {
            return Ok(Progress::More);
        }
        if self.done < self.buffer.len() {
            return Err("it ends within a tag".into());
        }
        let frames = self.frames.as_mut().ok_or("it has no frame")?;
        frames.slots.finish();
        let video = self.video.as_mut().map(VideoTrack::finish).transpose()?;
        let audio = self.audio.as_ref().map(AudioTrack::finish).transpose()?;
        Ok(Progress::End(LapFacts { video, audio }))
    }

    /// The headers, what is taken from every time and where the first slot begins: known from the first frame on.
    pub(super) fn begin(&self) -> Option<(Vec<Tag>, i64, u64)> {
        let frames = self.frames.as_ref()?;
        let metadata = self.headers.described(self.mp3).to_tag(MediaTime::ZERO);
        Some((
            std::iter::once(metadata).chain(self.headers.tags.iter().cloned()).collect(),
            frames.shift,
            frames.begin,
        ))
    }

    /// Slots since the last time.
    pub(super) fn take(&mut self) -> Batch {
        self.frames.as_mut().map(|frames| frames.slots.take()).unwrap_or_default()
    }

    /// Whether a player has something to begin with.
    pub(super) fn is_followable(&self) -> bool {
        self.frames.as_ref().is_some_and(|frames| frames.slots.is_followable())
    }

    /// Bytes read so far.
    pub(super) fn read(&self) -> u64 {
        self.at
    }

    /// Reads a chunk behind what has not been looked at; `true` at the end of the file.
    fn fill(&mut self, file: &File) -> io::Result<bool> {
        self.buffer.drain(..self.done);
        self.done = 0;
        let from = self.buffer.len();
        self.buffer.resize(from + CHUNK, 0);
        let mut len = from;
        while let Some(rest) = self.buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, self.at) {
                Ok(0) => break,
                Ok(count) => {
                    len += count;
                    self.at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(len);
        Ok(len < from + CHUNK)
    }

    /// The next tag that is all there, and its bytes with header and trailer.
    fn next_tag(&self) -> Result<Option<(TagHeader, usize)>, Misfit> {
        let rest = self.buffer.get(self.done..).unwrap_or_default();
        let Some(header) = rest.first_chunk() else { return Ok(None) };
        let header = TagHeader::parse(header).map_err(|_| "there is no tag where one should be")?;
        let size = TAG_HEADER_LEN + usize::try_from(header.body_len).map_err(|_| "a tag is too large")?;
        let Some(trailer) = rest.get(size..).and_then(|rest| rest.first_chunk::<TRAILER_LEN>()) else {
            return Ok(None);
        };
        if usize::try_from(u32::from_be_bytes(*trailer)) != Ok(size) {
            return Err("the size behind a tag is wrong".into());
        }
        Ok(Some((header, size + TRAILER_LEN)))
    }

    fn tag(&mut self, header: TagHeader, whole: usize) -> Result<(), Misfit> {
        let raw = self.buffer.get(self.done..self.done + whole).unwrap_or_default();
        let body = raw.get(TAG_HEADER_LEN..whole - TRAILER_LEN).unwrap_or_default();
        let offset = self.at - (self.buffer.len() - self.done) as u64;
        let time = i64::from(header.timestamp.get());
        if time > i64::from(i32::MAX) {
            return Err("its times do not begin near zero".into());
        }
        let (keyframe, composition) = match frame(header.kind, body)? {
            Content::Frame { keyframe, composition } => (keyframe, composition),
            Content::SequenceHeader => {
                let body = Bytes::copy_from_slice(body);
                let header = Tag::from_wire(header.kind, MediaTime::ZERO, body.clone());
                return self.sequence_header(header, &body).map_err(Misfit::from);
            }
            Content::Metadata if self.frames.is_none() && self.headers.metadata.is_none() => {
                self.headers.metadata = Some(plain(body));
                return Ok(());
            }
            Content::Metadata | Content::End if self.frames.is_none() => {
                return Err("something else comes before its frames".into());
            }
            Content::Metadata | Content::End => {
                self.frames.as_mut().into_iter().for_each(|frames| frames.over = true);
                return Ok(());
            }
        };
        let frames = self.frames.get_or_insert_with(|| Frames {
            begin: offset,
            shift: time,
            slots: SlotCutter::new(offset),
            newest: 0,
            over: false,
        });
        if frames.over {
            return Err("something else lies among its frames".into());
        }
        let at = time - frames.shift;
        if at < 0 || at + APART < frames.newest {
            return Err("its tracks do not lie side by side".into());
        }
        if at > frames.newest + JUMP {
            return Err("its clock jumps".into());
        }
        frames.newest = frames.newest.max(at);
        if header.kind == TagKind::Video {
            let rate = self.headers.metadata.as_ref().and_then(|metadata| metadata.framerate);
            let track = self.video.as_mut().ok_or("its video has no sequence header")?;
            track.frame(at, composition, keyframe, rate)?;
        } else if let Some(mp3) = Mp3Frame::of(body) {
            let is_stereo = body.first().is_some_and(|header| header & 1 != 0);
            self.mp3.get_or_insert((mp3.rate(), is_stereo));
            self.audio.get_or_insert_with(|| mp3.track()).mp3(at, mp3)?;
        } else {
            self.audio.as_mut().ok_or("its audio has no sequence header")?.aac(at)?;
        }
        let piece = Piece { time_ms: at, len: whole as u64, keyframe, header: None };
        frames.slots.tag(piece)?;
        frames.slots.bytes(raw);
        Ok(())
    }

    fn sequence_header(&mut self, tag: Tag, body: &Bytes) -> Result<(), &'static str> {
        if self.frames.is_some() {
            return Err("sequence headers lie among its frames");
        }
        if tag.is_video() {
            let config =
                AvcConfig::parse(&body.slice(5..)).map_err(|_| "its video configuration is wrong")?;
            if config.sps.is_empty() || self.video.replace(VideoTrack::default()).is_some() {
                return Err("its video configuration is not the only one");
            }
        } else {
            let config = body.get(2..).unwrap_or_default();
            let config =
                AudioSpecificConfig::parse(config).map_err(|_| "its audio configuration is wrong")?;
            let track = AudioTrack::new(config.sample_rate_hz, u32::from(config.frame_samples));
            if self.audio.replace(track).is_some() {
                return Err("its audio configuration is not the only one");
            }
        }
        self.headers.tags.push(tag);
        Ok(())
    }
}

/// What a tag is.
#[derive(Debug, Clone, Copy)]
enum Content {
    Frame { keyframe: bool, composition: i64 },
    SequenceHeader,
    Metadata,
    End,
}

fn frame(kind: TagKind, body: &[u8]) -> Result<Content, &'static str> {
    match kind {
        TagKind::Script => Ok(Content::Metadata),
        TagKind::Video => {
            let header = VideoHeader::parse(body).map_err(|_| "its video is in another form than H.264's")?;
            if header.codec != VideoCodec::Avc {
                return Err("its video is not H.264");
            }
            let composition = i64::from(header.composition_time);
            match (header.packet_type, header.frame_type) {
                (AvcPacketType::SequenceHeader, _) => Ok(Content::SequenceHeader),
                (AvcPacketType::EndOfSequence, _) => Ok(Content::End),
                (AvcPacketType::Nalu, FrameType::Key) => Ok(Content::Frame { keyframe: true, composition }),
                (AvcPacketType::Nalu, FrameType::Inter | FrameType::DisposableInter) => {
                    Ok(Content::Frame { keyframe: false, composition })
                }
                _ => Err("its video has tags that are no frames"),
            }
        }
        TagKind::Audio => {
            let header = AudioHeader::parse(body).map_err(|_| "its audio is in another form than AAC's")?;
            match (header.codec, header.packet_type) {
                (AudioCodec::Aac, AacPacketType::SequenceHeader) => Ok(Content::SequenceHeader),
                (AudioCodec::Aac, AacPacketType::Raw) | (AudioCodec::Mp3, _) => {
                    Ok(Content::Frame { keyframe: false, composition: 0 })
                }
                _ => Err("its audio is neither AAC nor MP3"),
            }
        }
    }
}

impl Headers {
    /// The file's metadata; what it does not say is filled in from the tracks, since players go by it.
    fn described(&self, mp3: Option<(u32, bool)>) -> Metadata {
        let mut metadata = self.metadata.clone().unwrap_or_default();
        let body = |kind| {
            let tag = self.tags.iter().find(|tag| tag.kind == kind)?;
            Some(tag.body.to_bytes())
        };
        if let Some(config) = body(TagKind::Video) {
            metadata.videocodecid.get_or_insert(AVC_CODEC);
            let size = AvcConfig::parse(&config.slice(5.min(config.len())..)).ok();
            if let Some((width, height)) = size.and_then(|config| config.dimensions()) {
                metadata.width.get_or_insert(f64::from(width));
                metadata.height.get_or_insert(f64::from(height));
            }
        }
        let aac = body(TagKind::Audio);
        let aac = aac.and_then(|body| AudioSpecificConfig::parse(body.get(2..)?).ok());
        let audio = match (aac, mp3) {
            (Some(config), _) => Some((AAC_CODEC, config.sample_rate_hz, config.channels >= 2)),
            (None, Some((rate, stereo))) => Some((MP3_CODEC, rate, stereo)),
            (None, None) => None,
        };
        if let Some((codec, rate, stereo)) = audio {
            metadata.audiocodecid.get_or_insert(codec);
            metadata.audiosamplerate.get_or_insert(f64::from(rate));
            metadata.audiosamplesize.get_or_insert(16.0);
            metadata.stereo.get_or_insert(stereo);
        }
        metadata
    }
}

/// FLV's numbers of codecs.
const AVC_CODEC: f64 = 7.0;
const AAC_CODEC: f64 = 10.0;
const MP3_CODEC: f64 = 2.0;

/// Metadata without what is true of a file only: its length, its size, its index of keyframes.
fn plain(body: &[u8]) -> Metadata {
    let known = Metadata::parse_within(body, &Limits::file()).unwrap_or_default();
    Metadata { duration_s: None, filesize: None, other: Vec::new(), ..known }
}
