//! What a usage record says. In: nothing. Out: the words of this room: records, their figures and their ids.

use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::id::{OutputId, StreamId};
use crate::net::random;
use crate::stats::OutputTransport;
use crate::words::words;

/// The id of a usage record: the run of the engine, and the number of the record in that run.
///
/// No two records have the same one: each engine gives itself a run that no other has, in this process or any other, and counts its
/// records from 1 without leaving a number out. So a record that comes twice is recognised, and a number that never comes is a record that
/// was lost. `Display` gives `01989d2c9b7e5f0a…-17`, 32 hexadecimal digits and the number; later runs have larger digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageId {
    pub(super) run: RunId,
    pub(super) number: u64,
}

impl UsageId {
    /// The number of the record in its run, from 1.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.number
    }

    /// The run alone, as `Display` gives it.
    #[must_use]
    pub fn run(self) -> String {
        self.run.to_string()
    }
}

impl fmt::Display for UsageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

/// A text that is no id of a usage record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a usage record: 32 hexadecimal digits, '-' and a number are one")]
pub struct ParseUsageIdError;

impl FromStr for UsageId {
    type Err = ParseUsageIdError;

    fn from_str(text: &str) -> Result<Self, ParseUsageIdError> {
        let (run, number) = text.split_once('-').ok_or(ParseUsageIdError)?;
        let is_run = run.len() == 32 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_run || !is_number {
            return Err(ParseUsageIdError);
        }
        let run = u128::from_str_radix(run, 16).map_err(|_| ParseUsageIdError)?;
        Ok(Self { run: RunId(run), number: number.parse().map_err(|_| ParseUsageIdError)? })
    }
}

/// One run of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RunId(u128);

impl RunId {
    /// A new one: 48 bits of the time, so that runs sort, and 80 at random.
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let random = random::secret::<10>().unwrap_or_else(|| {
            // A kernel without a random device: nothing else has this process number at this nanosecond, and engines are counted.
            static ENGINES: AtomicU64 = AtomicU64::new(0);
            let engine = ENGINES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            let mut bytes = [0; 10];
            bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
            bytes[4..8].copy_from_slice(&since.subsec_nanos().to_be_bytes());
            bytes[8..].copy_from_slice(&engine[6..]);
            bytes
        });
        let mut bytes = [0; 16];
        bytes[6..].copy_from_slice(&random);
        Self(u128::from_be_bytes(bytes) | (since.as_millis() & 0xFFFF_FFFF_FFFF) << 80)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What was used between two cuts.
///
/// Each figure is in the records of one kind of subject only, but for [`wall_time`](Self::wall_time): times, pictures and CPU in those of
/// streams, bytes and connections in those of outputs and players. So sums over all records of an owner count nothing twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Used {
    /// Time it existed, by a clock that nobody sets: of a stream, or of an output. Players have none.
    pub wall_time: Duration,
    /// Media time that was handed to the outputs. Of streams.
    pub media_time: Duration,
    /// CPU time of the stream's threads ([`StreamStats::cpu_time`](crate::StreamStats)). Of streams.
    pub cpu_time: Duration,
    /// CPU time of threads that libav started for the stream; found while the [monitor](crate::Engine::monitor) runs. Of streams.
    pub codec_cpu_time: Duration,
    /// Pictures encoded. Of streams.
    pub frames_encoded: u64,
    /// Pixels of these pictures. Of streams.
    pub pixels_encoded: u64,
    /// Time the fallback of the source was on the air. Of streams.
    pub fallback_time: Duration,
    /// Bytes handed to the kernel or the file, all bytes of RTMP included; what TLS and TCP add is not known here. Of a push, from the
    /// first byte of each connection that had something to send; of players, from when they are let in. Of outputs and players.
    pub bytes: u64,
    /// Tags dropped because a receiver was behind. Of outputs and players.
    pub drops: u64,
    /// Times it was connected again. Of outputs.
    pub reconnects: u64,
}

impl Used {
    /// What came since `earlier`; a figure that went back gives nothing.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            wall_time: self.wall_time.saturating_sub(earlier.wall_time),
            media_time: self.media_time.saturating_sub(earlier.media_time),
            cpu_time: self.cpu_time.saturating_sub(earlier.cpu_time),
            codec_cpu_time: self.codec_cpu_time.saturating_sub(earlier.codec_cpu_time),
            frames_encoded: self.frames_encoded.saturating_sub(earlier.frames_encoded),
            pixels_encoded: self.pixels_encoded.saturating_sub(earlier.pixels_encoded),
            fallback_time: self.fallback_time.saturating_sub(earlier.fallback_time),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            drops: self.drops.saturating_sub(earlier.drops),
            reconnects: self.reconnects.saturating_sub(earlier.reconnects),
        }
    }

    /// The same in whole microseconds, as records are written: what was cut off is in the next difference.
    pub(super) fn in_micros(self) -> Self {
        let whole = |time: Duration| Duration::new(time.as_secs(), time.subsec_micros() * 1000);
        Self {
            wall_time: whole(self.wall_time),
            media_time: whole(self.media_time),
            cpu_time: whole(self.cpu_time),
            codec_cpu_time: whole(self.codec_cpu_time),
            fallback_time: whole(self.fallback_time),
            ..self
        }
    }
}

impl AddAssign for Used {
    fn add_assign(&mut self, more: Self) {
        self.wall_time += more.wall_time;
        self.media_time += more.media_time;
        self.cpu_time += more.cpu_time;
        self.codec_cpu_time += more.codec_cpu_time;
        self.frames_encoded += more.frames_encoded;
        self.pixels_encoded += more.pixels_encoded;
        self.fallback_time += more.fallback_time;
        self.bytes += more.bytes;
        self.drops += more.drops;
        self.reconnects += more.reconnects;
    }
}

impl Sum for Used {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, more| {
            sum += more;
            sum
        })
    }
}

/// Whose usage a record has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageSubject {
    /// The stream itself, without its outputs.
    Stream,
    /// One of its outputs.
    #[non_exhaustive]
    Output {
        /// Its number.
        id: OutputId,
        /// Its label, if it has one.
        label: Option<Arc<str>>,
        /// Where it goes, without any key, as in [`OutputStats::name`](crate::OutputStats).
        name: Arc<str>,
        /// How its media travels. What goes to another stream of this engine ([`Stream`](OutputTransport::Stream)) does not leave the
        /// process.
        transport: OutputTransport,
    },
    /// All its players on the embedded servers together: one record for as many as there are.
    Players,
}

impl UsageSubject {
    /// Its kind: `stream`, `output` or `players`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Output { .. } => "output",
            Self::Players => "players",
        }
    }
}

/// Why a record was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UsageCut {
    /// Its time had come, or [`Usage::cut`](crate::usage::Usage::cut) was called.
    Interval,
    /// The stream goes on for another owner.
    Owner,
    /// The output goes on at another server or with another key.
    Replaced,
    /// It has ended: there are no more records of this subject.
    End,
}

words!(
    UsageCut,
    "reason of a cut",
    Interval = "interval",
    Owner = "owner",
    Replaced = "replaced",
    End = "end",
);

/// What a stream, an output, or the players of a stream used since the record before of the same subject, or since their start.
///
/// With the feature `serde` it is written and read, one JSON object; `docs/jobs/bill.md` has the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageRecord {
    /// Its id, which no other record has.
    pub id: UsageId,
    /// Why it was cut here.
    pub cut: UsageCut,
    /// Whose stream it was in this time: who started it, or whose key it was published with; `None` if it was nobody's.
    pub owner: Option<Arc<str>>,
    /// The stream. Its number means the same stream in all records of one [run](UsageId::run).
    pub stream: StreamId,
    /// The stream's label, if it has one.
    pub label: Option<Arc<str>>,
    /// What of it.
    pub subject: UsageSubject,
    /// When the record before was cut, or when the subject began, by the system's clock, in milliseconds.
    pub from: SystemTime,
    /// When this one was cut.
    pub to: SystemTime,
    /// What was used in between.
    pub used: Used,
}

/// The system's time, in whole milliseconds.
pub(super) fn in_millis(at: SystemTime) -> SystemTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::new(since.as_secs(), since.subsec_millis() * 1_000_000)
}

/// `01989d2c…-17 s1 output o2 (alice): 60 s, 18000000 bytes`.
impl fmt::Display for UsageRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.id, self.stream, self.subject.as_str())?;
        if let UsageSubject::Output { id, .. } = &self.subject {
            write!(f, " {id}")?;
        }
        if let Some(owner) = &self.owner {
            write!(f, " ({owner})")?;
        }
        write!(f, ": {:.0} s", self.used.wall_time.as_secs_f64())?;
        match &self.subject {
            UsageSubject::Stream => write!(f, ", CPU {:.1} s", self.used.cpu_time.as_secs_f64()),
            _ => write!(f, ", {} bytes", self.used.bytes),
        }
    }
}
