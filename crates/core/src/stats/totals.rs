//! What streams have done since they were started.

use std::ops::AddAssign;
use std::time::Duration;

/// Sums that only grow: of one stream since its start, or of all streams of an engine since it was created, with those that have ended.
///
/// They are at most a second old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// CPU time of the streams' own threads.
    pub cpu_time: Duration,
    /// CPU time of threads that libav started for them, as far as the [monitor](crate::monitor::Monitor) could tell; 0 while that is off.
    pub codec_cpu_time: Duration,
    /// Bytes handed to the kernel and to files.
    pub bytes_sent: u64,
    /// Times an output was connected again.
    pub reconnects: u64,
    /// Tags dropped for outputs that were behind.
    pub drops: u64,
    /// Tags of live sources that were left out because an encoder did not keep up.
    pub encoder_drops: u64,
    /// Pictures encoded, or frames of sound where only that is encoded. Reels that are cut are not among them.
    pub frames_encoded: u64,
    /// Pixels of these pictures.
    pub pixels_encoded: u64,
    /// For how long fallbacks were on the air.
    pub fallback_time: Duration,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.cpu_time += other.cpu_time;
        self.codec_cpu_time += other.codec_cpu_time;
        self.bytes_sent += other.bytes_sent;
        self.reconnects += other.reconnects;
        self.drops += other.drops;
        self.encoder_drops += other.encoder_drops;
        self.frames_encoded += other.frames_encoded;
        self.pixels_encoded += other.pixels_encoded;
        self.fallback_time += other.fallback_time;
    }
}
