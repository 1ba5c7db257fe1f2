//! Figures of a running stream.

use std::fmt;
use std::time::Duration;

use flowcast_rtmp::time::MediaTime;

use crate::event::StreamId;
use crate::output::OutputStats;
use crate::source::SourceMode;

/// How a stream stands.
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

/// Figures of one stream, at most a second old.
///
/// `Display` gives one line for a log or a terminal.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamStats {
    /// Its number.
    pub id: StreamId,
    /// How it stands.
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
    /// How late its thread came to a tick, at worst over the last second: the machine has more to do than it can.
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
        )
    }
}
