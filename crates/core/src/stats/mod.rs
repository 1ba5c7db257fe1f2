//! Figures of a running stream.

mod codec;
mod content;
mod drops;
mod held;
mod histogram;
mod output;
mod rate;
mod totals;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flowcast_rtmp::time::MediaTime;

pub use self::codec::Codec;
pub use self::content::ContentFault;
#[cfg(feature = "libav")]
pub(crate) use self::drops::AtomicDrops;
pub use self::drops::{DropReason, EncoderDrops};
pub use self::held::HeldBytes;
#[cfg(feature = "libav")]
pub(crate) use self::histogram::AtomicHistogram;
pub use self::histogram::Histogram;
pub use self::output::{OutputFailure, OutputPhase, OutputStats, OutputTransport};
pub use self::rate::{LoadReason, RateReason};
pub use self::totals::Totals;
use crate::bit_rate::BitRate;
use crate::id::{ItemId, StreamId};
use crate::words::words;

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
    /// Bits per second of these pictures, over the last second.
    pub bit_rate: BitRate,
    /// Pictures encoded since it began.
    pub frames: u64,
    /// Bytes of these pictures.
    pub bytes: u64,
    /// Pixels of these pictures; 0 where only sound is encoded.
    pub pixels: u64,
    /// Bytes of pictures that the encoder was given and has not given back, as it was given them.
    pub held_bytes: u64,
    /// Tags of a live source that wait for the encoder. Files are read as they are encoded: always 0.
    pub queued: u64,
    /// Bytes of these tags.
    pub queued_bytes: u64,
    /// Tags of a live source that were left out because the encoder did not keep up.
    pub dropped: u64,
    /// The same by reason, and what the frame rate had no places for.
    pub drops: EncoderDrops,
    /// Packets of the source that could not be decoded, or that the container marks as damaged.
    pub damaged: u64,
    /// Bits per second that pictures are encoded to now: what was asked for, or less because of the network; zero where only sound is encoded.
    pub target: BitRate,
    /// How often that was lowered, by the program ([`set_bitrate`](crate::StreamRef::set_bitrate)) or because of the network
    /// ([`Adaptation`](crate::Adaptation)).
    pub lowered: u64,
    /// How often it was raised.
    pub raised: u64,
    /// How many rungs below the first of the [`QualityLadder`](crate::QualityLadder) it is on: 0 for what is asked for.
    pub rung: u32,
    /// How long the encoder took for each picture. With threads that share the work by pictures it is what the caller waited; of sound alone, nothing is
    /// counted.
    pub encode_time: Histogram,
    /// How long pictures of a live source waited for the encoder. Files are read as they are encoded: nothing is counted.
    pub wait: Histogram,
}

/// How the fallback of a source stands; see [`Source::fallback`](crate::Source::fallback).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackStats {
    /// It is on the air now.
    pub on_air: bool,
    /// It is open, and made to what is on the air: it takes over as soon as it is needed. Otherwise it is being made ready first.
    pub ready: bool,
    /// How often it took over.
    pub times: u64,
    /// For how long it was on the air in all, up to now.
    pub time: Duration,
}

/// The server that a stream is played from; see [`Source::url`](crate::Source::url).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// Its address; the key or name of the stream, user and password, and queries are `****`.
    pub address: Arc<str>,
    /// Players of a server asked for the stream; otherwise the program started it.
    pub relayed: bool,
}

/// What is being played of a file or a list.
///
/// It is at most a second old, but always of the item that [`EventKind::ItemStarted`](crate::EventKind::ItemStarted) named last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Playing {
    /// The item of the playlist; `None` for a file.
    pub item: Option<ItemId>,
    /// The file.
    pub path: PathBuf,
    /// How much of it was handed to the outputs, from its beginning in this lap; [`seek`](crate::StreamRef::seek) takes
    /// the same positions.
    pub position: Duration,
    /// How long it is: as it is played, once that is known, before that as the file says; `None` if it does not.
    pub length: Option<Duration>,
}

/// Figures of one stream, at most a second old.
///
/// `Display` gives one line for a log or a terminal.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamStats {
    /// Its number.
    pub id: StreamId,
    /// Its label, if it has one.
    pub label: Option<Arc<str>>,
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
    /// Media bits per second over the last second, protocol not counted.
    pub bit_rate: BitRate,
    /// The picture's codec, once a picture has come.
    pub video: Option<Codec>,
    /// The sound's codec, once sound has come.
    pub audio: Option<Codec>,
    /// CPU time of all its threads since the start.
    pub cpu_time: Duration,
    /// CPU use over the last second, in percent of one core.
    pub cpu_percent: f64,
    /// Bytes of media it holds: read ahead, in an encoder, kept for outputs, in the kernel's send buffers.
    pub bytes_held: u64,
    /// The same by part.
    pub held: HeldBytes,
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
    /// How the fallback of its source stands, if it has one.
    pub fallback: Option<FallbackStats>,
    /// The server it is played from, or that is dialled for it, if that is its source.
    pub origin: Option<Origin>,
    /// Pictures encoded since the start, by all encoders it has had.
    pub frames_encoded: u64,
    /// Pixels of these pictures.
    pub pixels_encoded: u64,
    /// The file or item that is played; `None` for a publisher, and while a list has nothing to play.
    pub playing: Option<Playing>,
    /// The same of the sound of [`Source::with_audio`](crate::Source::with_audio).
    pub playing_sound: Option<Playing>,
    /// Each output, from the moment it is added.
    pub outputs: Vec<OutputStats>,
}

impl StreamStats {
    pub(crate) fn new(id: StreamId, label: Option<Arc<str>>) -> Self {
        Self {
            id,
            label,
            phase: StreamPhase::default(),
            mode: SourceMode::default(),
            uptime: Duration::ZERO,
            media_time: MediaTime::ZERO,
            fps: 0.0,
            bit_rate: BitRate::ZERO,
            video: None,
            audio: None,
            cpu_time: Duration::ZERO,
            cpu_percent: 0.0,
            bytes_held: 0,
            held: HeldBytes::default(),
            bytes_sent: 0,
            lag: Duration::ZERO,
            schedule_lag: Duration::ZERO,
            schedule_lag_max: Duration::ZERO,
            first_media: None,
            drops: 0,
            reconnects: 0,
            laps: 0,
            encoding: None,
            fallback: None,
            origin: None,
            frames_encoded: 0,
            pixels_encoded: 0,
            playing: None,
            playing_sound: None,
            outputs: Vec::new(),
        }
    }
}

impl fmt::Display for StreamStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(label) = &self.label {
            write!(f, " {label:?}")?;
        }
        write!(
            f,
            " {:?} ({}) {:.1} s: {:.0} fps, {:.0} kbit/s, CPU {:.2} %, {} KiB held, lag {} ms, {} ms late, {} drops, {} reconnects, {} laps",
            self.phase,
            self.mode,
            self.uptime.as_secs_f64(),
            self.fps,
            self.bit_rate.kbps(),
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
                encoding.encoder,
                encoding.fps,
                encoding.bit_rate.kbps(),
                encoding.dropped
            ),
            None => Ok(()),
        }
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

/// What receivers see where one source takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Seam {
    /// Nothing but the other picture: the sequence headers are the same.
    Seamless,
    /// New sequence headers precede its first keyframe. Decoders start again with them; some platforms show a short gap.
    NewHeaders,
    /// New sequence headers of the same size, profile and sound: what comes was encoded to what was on the air.
    Encoded,
}

/// What receivers see where an output goes on at another server or with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cutover {
    /// The new connection begins with the keyframe before which the old one ends: no tag is doubled, none is lost.
    AtKeyframe,
    /// The old connection was closed before the new one was let in, because the server takes one publisher of a name. What the stream
    /// sent meanwhile is missing.
    AfterBreak,
    /// The output was not on the air, or lost its connection meanwhile.
    WasOff,
}

words!(
    Cutover,
    "kind of cutover",
    AtKeyframe = "at_keyframe",
    AfterBreak = "after_break",
    WasOff = "was_off",
);
words!(Seam, "seam", Seamless = "seamless", NewHeaders = "new_headers", Encoded = "encoded");
words!(SourceMode, "mode of a source", Live = "live", Direct = "direct", Reel = "reel");
words!(
    StreamPhase,
    "phase of a stream",
    Starting = "starting",
    Running = "running",
    Stopping = "stopping",
    Ended = "ended",
);
