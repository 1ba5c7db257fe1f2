//! How far an output is behind: what was due, and is not acknowledged.
//!
//! In: what was queued and what is acknowledged, counted in bytes or in tags. Out: media time. On the stream's thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use flowcast_rtmp::time::MediaTime;

use crate::ring::newest_of;
use crate::stats::Histogram;

/// Tags this close together share a mark, milliseconds.
const MARK_EVERY: i64 = 100;
/// Marks kept for measuring lag; beyond that they get coarser.
pub(super) const MAX_MARKS: usize = 256;

/// Maps acknowledged bytes, or tags, back to media time.
#[derive(Debug, Default)]
pub(in crate::output) struct LagMeter {
    /// Byte counts at the end of some tags, and the time of the first of them; oldest first.
    pub(super) marks: VecDeque<(u64, MediaTime)>,
    /// The newest time queued. What belongs to a track that runs behind the other one is no older than what was sent before it.
    pub(super) queued: Option<MediaTime>,
    pub(super) acknowledged: u64,
    pub(in crate::output) waiting_since: Option<Instant>,
    /// How far the stream was due when this was last measured, if it was: what came since is not late yet.
    pub(super) due: Option<MediaTime>,
    /// How far behind the session began; shrinks as it catches up and never grows.
    pub(in crate::output) allowance: Duration,
    pub(in crate::output) lag: Duration,
    /// How that was over time.
    pub(in crate::output) lags: Histogram,
    pub(in crate::output) measured: Option<Instant>,
}

/// A lag counts once for each of these.
const COUNTED_EVERY: Duration = Duration::from_millis(100);
/// One that was not measured for long counts as often as this at most.
const MOST_COUNTED: u32 = 100;

/// A length of media time; a negative one is none.
pub(in crate::output) fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

impl LagMeter {
    /// This much was queued in all, up to the end of a tag of this time.
    pub(in crate::output) fn queued(&mut self, bytes: u64, time: MediaTime) {
        let time = newest_of(self.queued, time);
        self.queued = Some(time);
        if let Some((end, begin)) = self.marks.back_mut()
            && (0..MARK_EVERY).contains(&time.millis_since(*begin))
        {
            *end = bytes;
            return;
        }
        if self.marks.len() >= MAX_MARKS {
            // Every second one: coarser, and never more than a power of two of them.
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.marks.push_back((bytes, time));
    }

    /// This much of it was acknowledged in all, and the stream is due up to `due`; `waiting` is the time of what is not queued yet.
    pub(in crate::output) fn measure(
        &mut self,
        now: Instant,
        due: MediaTime,
        acknowledged: u64,
        waiting: Option<MediaTime>,
    ) {
        let progressed = acknowledged > self.acknowledged;
        self.acknowledged = self.acknowledged.max(acknowledged);
        while self.marks.front().is_some_and(|&(bytes, _)| bytes <= self.acknowledged) {
            self.marks.pop_front();
        }
        let due = self.due.replace(due);
        let waiting = waiting.map(|time| newest_of(self.queued, time));
        let oldest = self.marks.front().map(|&(_, time)| time).or(waiting);
        let late = oldest.zip(due).filter(|(oldest, due)| oldest <= due);
        let behind = late.map_or(Duration::ZERO, |(oldest, due)| millis(due.millis_since(oldest)));
        self.allowance = self.allowance.min(behind);
        self.lag = behind - self.allowance;
        let since = self.measured.replace(now).map_or(COUNTED_EVERY, |at| now.saturating_duration_since(at));
        let times = (since.as_secs_f64() / COUNTED_EVERY.as_secs_f64()).round() as u32;
        self.lags.add(self.lag, times.min(MOST_COUNTED));
        if late.is_none() {
            self.waiting_since = None;
        } else if progressed || self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }
}
