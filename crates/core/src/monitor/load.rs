//! What the monitor knows of a stream and of the process.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::id::StreamId;
use crate::machine::ProcessUse;
use crate::stats::{HeldBytes, Origin};

/// What a stream used when the monitor last looked.
///
/// CPU time is that of the stream's own threads and of those that libav started for it. CPU use is measured from the start of the stream to the
/// first look, and then from look to look; windows shorter than five seconds are lengthened by those that follow, because threads add what they
/// used once a second.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamLoad {
    /// The stream.
    pub stream: StreamId,
    /// Its label, if it has one.
    pub label: Option<Arc<str>>,
    /// Whose it is, if it is somebody's: who started it, or whose key it is published with.
    pub owner: Option<Arc<str>>,
    /// The server it is played from, if that is its source.
    pub origin: Option<Origin>,
    /// When the monitor looked, by the system's clock.
    pub at: SystemTime,
    /// CPU use over the last window that was long enough, in percent of one core; 0 before that.
    pub cpu_percent: f64,
    /// CPU time since the start: of the stream's own threads.
    pub cpu_time: Duration,
    /// The same of threads that libav started for the stream, where that can be told; else it is in
    /// [`ProcessLoad::unattributed_percent`].
    pub codec_cpu_time: Duration,
    /// Bytes held, by part.
    pub held: HeldBytes,
    /// How often the stream was reported ([`ResourceWarning`](crate::EventKind::ResourceWarning)).
    pub warnings: u64,
    /// Whether it was reported and is not calm again.
    pub is_high: bool,
}

/// `s1 "studio": CPU 12.3 %, 5 MB held, 2 warnings`.
impl fmt::Display for StreamLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stream)?;
        if let Some(label) = &self.label {
            write!(f, " {label:?}")?;
        }
        let megabytes = self.held.total() / 1_000_000;
        write!(f, ": CPU {:.1} %, {megabytes} MB held, {} warnings", self.cpu_percent, self.warnings)
    }
}

/// What was used at one look, for a graph.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LoadPoint {
    /// When the monitor looked, by the system's clock.
    pub at: SystemTime,
    /// CPU use as it was measured last, in percent of one core.
    pub cpu_percent: f64,
    /// Bytes: held by a stream; resident of the process.
    pub memory: u64,
}

/// What the process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ProcessLoad {
    /// What the kernel counts, of the moment it was asked for.
    pub used: ProcessUse,
    /// CPU use over the monitor's last window of at least five seconds, in percent of one core; 0 before that.
    pub cpu_percent: f64,
    /// Those of it that belong to no stream of this engine: what the program does besides, servers and dialers, reels that are cut,
    /// and threads of libav of which it cannot be told whose they are.
    pub unattributed_percent: f64,
}
