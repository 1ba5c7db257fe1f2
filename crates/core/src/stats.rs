//! Figures of a running stream.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::enhanced;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::flv::video::VideoCodec;
use flowcast_rtmp::time::MediaTime;

use crate::id::{OutputId, StreamId};

/// The phase of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StreamPhase {
    /// Its outputs are being reached; media time has not begun.
    #[default]
    Starting,
    /// It is on the air.
    Running,
    /// It is ending.
    Stopping,
    /// It has ended.
    Ended,
}

/// A codec, by its FourCC as Enhanced RTMP names it: `avc1`, `hvc1`, `av01`, `mp4a`, `Opus`.
///
/// FLV's numbers for older codecs have FourCCs of their files: `vp6f`, `FLV1`, `.mp3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codec([u8; 4]);

impl Codec {
    /// The codec with this FourCC.
    #[must_use]
    pub const fn new(four_cc: [u8; 4]) -> Self {
        Self(four_cc)
    }

    /// The four bytes.
    #[must_use]
    pub const fn four_cc(self) -> [u8; 4] {
        self.0
    }

    /// The codec of a tag; `None` for script data and for what has no name.
    #[must_use]
    pub fn of(tag: &Tag) -> Option<Self> {
        if let Some(code) = enhanced::four_cc(tag.kind, &tag.body) {
            return Some(Self(code));
        }
        if enhanced::is_enhanced(tag.kind, &tag.body) {
            return None;
        }
        let first = tag.body.byte(0)?;
        let code = match tag.kind {
            TagKind::Video => match VideoCodec::from_wire(first) {
                VideoCodec::Avc => b"avc1",
                VideoCodec::Hevc => b"hvc1",
                VideoCodec::Av1 => b"av01",
                VideoCodec::Mpeg4 => b"mp4v",
                VideoCodec::SorensonH263 => b"FLV1",
                VideoCodec::Vp6 => b"vp6f",
                VideoCodec::Vp6Alpha => b"vp6a",
                VideoCodec::Screen => b"fsv1",
                VideoCodec::Screen2 => b"fsv2",
                _ => return None,
            },
            TagKind::Audio => match AudioCodec::from_wire(first >> 4) {
                AudioCodec::Aac => b"mp4a",
                AudioCodec::Mp3 | AudioCodec::Mp38k => b".mp3",
                AudioCodec::Speex => b"spex",
                AudioCodec::ALaw => b"alaw",
                AudioCodec::MuLaw => b"ulaw",
                AudioCodec::Pcm | AudioCodec::PcmLe => b"lpcm",
                _ => return None,
            },
            TagKind::Script => return None,
        };
        Some(Self(*code))
    }
}

/// Printable: what a publisher sends may not be.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codec({self})")
    }
}

/// What a stream encodes while it is on the air; what comes from a reel was encoded before.
///
/// It describes the pictures. Where only sound is encoded, it describes that: its frames, such as 1024 samples of
/// AAC, are counted in place of pictures.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct EncodingStats {
    /// libav's name of the encoder.
    pub encoder: String,
    /// Pictures encoded per second, over the last second. Files are encoded ahead, in bursts.
    pub fps: f64,
    /// Bits per second of these pictures, in thousands, over the last second.
    pub kbps: f64,
    /// Pictures encoded since it began.
    pub frames: u64,
    /// Bytes of these pictures.
    pub bytes: u64,
    /// Tags of a live source that wait for the encoder. Files are read as they are encoded: always 0.
    pub queued: u64,
    /// Tags of a live source that were left out because the encoder did not keep up.
    pub dropped: u64,
    /// Packets of the source that could not be decoded, or that the container marks as damaged.
    pub damaged: u64,
}

/// Figures of one stream, at most a second old.
///
/// `Display` gives one line for a log or a terminal.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamStats {
    /// Its number.
    pub id: StreamId,
    /// Its phase.
    pub phase: StreamPhase,
    /// How its media is read.
    pub mode: SourceMode,
    /// Time since it was started.
    pub uptime: Duration,
    /// Media time handed to its outputs.
    pub media_time: MediaTime,
    /// Video frames per second over the last second.
    pub fps: f64,
    /// Media bits per second over the last second, in thousands, protocol not counted.
    pub kbps: f64,
    /// The picture's codec, once a picture has come.
    pub video: Option<Codec>,
    /// The sound's codec, once sound has come.
    pub audio: Option<Codec>,
    /// CPU time of all its threads since the start.
    pub cpu_time: Duration,
    /// CPU use over the last second, in percent of one core.
    pub cpu_percent: f64,
    /// Bytes of media it holds: read ahead, kept for outputs, in the kernel's send buffers.
    pub bytes_held: u64,
    /// Bytes handed to the kernel and to files by all its outputs.
    pub bytes_sent: u64,
    /// Lag of the output that is furthest behind.
    pub lag: Duration,
    /// How late its thread came to a tick, at worst over the last second: the machine is overloaded.
    pub schedule_lag: Duration,
    /// The same since the start.
    pub schedule_lag_max: Duration,
    /// Time from the start until an output handed its first media byte to the kernel or a file; `None` before that.
    pub first_media: Option<Duration>,
    /// Tags dropped, over all outputs.
    pub drops: u64,
    /// Reconnects, over all outputs.
    pub reconnects: u64,
    /// Laps completed by a looped source.
    pub laps: u64,
    /// What it encodes, while it does.
    pub encoding: Option<EncodingStats>,
    /// Each output.
    pub outputs: Vec<OutputStats>,
}

impl StreamStats {
    pub(crate) fn new(id: StreamId) -> Self {
        Self {
            id,
            phase: StreamPhase::default(),
            mode: SourceMode::default(),
            uptime: Duration::ZERO,
            media_time: MediaTime::ZERO,
            fps: 0.0,
            kbps: 0.0,
            video: None,
            audio: None,
            cpu_time: Duration::ZERO,
            cpu_percent: 0.0,
            bytes_held: 0,
            bytes_sent: 0,
            lag: Duration::ZERO,
            schedule_lag: Duration::ZERO,
            schedule_lag_max: Duration::ZERO,
            first_media: None,
            drops: 0,
            reconnects: 0,
            laps: 0,
            encoding: None,
            outputs: Vec::new(),
        }
    }
}

impl fmt::Display for StreamStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} ({}) {:.1} s: {:.0} fps, {:.0} kbit/s, CPU {:.2} %, {} KiB held, lag {} ms, {} ms late, {} drops, {} reconnects, {} laps",
            self.id,
            self.phase,
            self.mode,
            self.uptime.as_secs_f64(),
            self.fps,
            self.kbps,
            self.cpu_percent,
            self.bytes_held / 1024,
            self.lag.as_millis(),
            self.schedule_lag.as_millis(),
            self.drops,
            self.reconnects,
            self.laps
        )?;
        match &self.encoding {
            Some(encoding) => write!(
                f,
                ", {} makes {:.0} fps, {:.0} kbit/s, {} left out",
                encoding.encoder, encoding.fps, encoding.kbps, encoding.dropped
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn codecs_are_named_whichever_header_says_them_and_print_nothing_odd() {
        let codec = |kind, body: &'static [u8]| {
            Codec::of(&Tag::from_wire(kind, MediaTime::ZERO, Bytes::from_static(body)))
                .map(|codec| codec.to_string())
        };
        assert_eq!(codec(TagKind::Video, &[0x17, 0, 0, 0, 0]).as_deref(), Some("avc1"));
        assert_eq!(codec(TagKind::Video, b"\x90hvc1....").as_deref(), Some("hvc1"));
        assert_eq!(codec(TagKind::Audio, &[0xAF, 0]).as_deref(), Some("mp4a"));
        assert_eq!(codec(TagKind::Audio, b"\x90Opus....").as_deref(), Some("Opus"));
        assert_eq!(codec(TagKind::Video, b"\x90\x1b[2J....").as_deref(), Some("\\x1b[2J"));
        assert_eq!(codec(TagKind::Audio, b"\x90Op"), None, "cut off");
        assert_eq!(codec(TagKind::Script, b"\x02\x00\x01a"), None);
    }
}

/// How a stream's media is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SourceMode {
    /// As it comes in: a publisher.
    #[default]
    Live,
    /// From a file, through libav, by a worker thread of its own.
    Direct,
    /// From a reel: a file that is already cut to fit and needs neither libav nor a thread.
    Reel,
}

impl fmt::Display for SourceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Direct => "direct",
            Self::Reel => "reel",
        })
    }
}

/// How an output stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputPhase {
    /// Its peer is being reached, for the first time or again.
    Connecting,
    /// It waits before it tries again.
    Waiting,
    /// Nothing is published that it could send; it is dialled when something is.
    Resting,
    /// It is on the air.
    Live,
    /// It has ended.
    Ended,
}

/// Figures of one output.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutputStats {
    /// Its number.
    pub id: OutputId,
    /// What it is, without any key.
    pub name: String,
    /// The file of a recording, by its real name; `None` for other outputs.
    pub path: Option<PathBuf>,
    /// How it stands.
    pub phase: OutputPhase,
    /// Bytes handed to the kernel or the file, all protocol bytes included.
    pub bytes_sent: u64,
    /// Media time that was due and is not acknowledged yet.
    pub lag: Duration,
    /// Tags dropped because it was behind.
    pub drops: u64,
    /// Times it was connected again.
    pub reconnects: u64,
    /// Bytes it holds that are not sent, kernel buffers included.
    pub bytes_held: u64,
    /// The last failure, with its causes.
    pub last_error: Option<String>,
}

impl OutputStats {
    /// Of an output that has done nothing yet.
    pub(crate) fn new(id: OutputId, name: String) -> Self {
        Self {
            id,
            name,
            path: None,
            phase: OutputPhase::Connecting,
            bytes_sent: 0,
            lag: Duration::ZERO,
            drops: 0,
            reconnects: 0,
            bytes_held: 0,
            last_error: None,
        }
    }
}
