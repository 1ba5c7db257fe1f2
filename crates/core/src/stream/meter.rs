//! Rates over the last second.

use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::{Tag, TagKind};

use crate::bit_rate::BitRate;
use crate::stats::{Codec, EncodingStats, StreamStats};

/// The least time a rate is measured over.
const WINDOW: Duration = Duration::from_secs(1);

/// Counts what a stream hands out and turns it into rates.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Instant,
    frames: u64,
    bytes: u64,
    cpu: Duration,
    /// The largest lateness of a tick in this window, and ever.
    late: Duration,
    latest: Duration,
    video: Option<Codec>,
    audio: Option<Codec>,
    /// Frames and bytes that were encoded when the window began.
    encoded: (u64, u64),
    /// Bytes of sound in all.
    sound: u64,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            frames: 0,
            bytes: 0,
            cpu: Duration::ZERO,
            late: Duration::ZERO,
            latest: Duration::ZERO,
            video: None,
            audio: None,
            encoded: (0, 0),
            sound: 0,
        }
    }

    /// Counts a tag.
    pub(crate) fn count(&mut self, tag: &Tag) {
        self.frames += u64::from(tag.is_video() && !tag.is_sequence_header());
        self.bytes += tag.body.len() as u64;
        self.sound += if tag.is_audio() { tag.body.len() as u64 } else { 0 };
        let codec = match tag.kind {
            TagKind::Video => &mut self.video,
            TagKind::Audio => &mut self.audio,
            TagKind::Script => return,
        };
        // A sequence header may bring another one.
        if codec.is_none() || tag.is_sequence_header() {
            *codec = Codec::of(tag).or(*codec);
        }
    }

    /// Bytes of sound since the start.
    pub(crate) fn sound_bytes(&self) -> u64 {
        self.sound
    }

    /// Notes how late the thread came to a tick.
    pub(crate) fn ticked(&mut self, late: Duration) {
        self.late = self.late.max(late);
        self.latest = self.latest.max(late);
    }

    /// Whether a window is complete.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.window(now) >= WINDOW
    }

    /// How long the window is that ends now.
    pub(crate) fn window(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Writes the rates of the window that ends now and begins the next; `cpu` is the stream's CPU time in all.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        cpu: Duration,
        encoding: Option<EncodingStats>,
        stats: &mut StreamStats,
    ) {
        let seconds = self.window(now).as_secs_f64();
        if seconds > 0.0 {
            stats.fps = self.frames as f64 / seconds;
            stats.bit_rate = BitRate::of(self.bytes, seconds);
            stats.cpu_percent = cpu.saturating_sub(self.cpu).as_secs_f64() / seconds * 100.0;
        }
        Self::encoded(encoding, stats);
        let encoded = stats.encoding.as_mut().map_or((0, 0), |encoding| {
            if seconds > 0.0 {
                // One that has just taken over counts from zero.
                let (frames, bytes) = if self.encoded.0 <= encoding.frames { self.encoded } else { (0, 0) };
                encoding.fps = (encoding.frames - frames) as f64 / seconds;
                encoding.bit_rate = BitRate::of(encoding.bytes.saturating_sub(bytes), seconds);
            }
            (encoding.frames, encoding.bytes)
        });
        stats.schedule_lag = self.late;
        stats.schedule_lag_max = self.latest;
        (stats.video, stats.audio) = (self.video, self.audio);
        let Self { latest, video, audio, sound, .. } = *self;
        *self = Self { cpu, latest, video, audio, encoded, sound, ..Self::new(now) };
    }

    /// Writes what was encoded so far; the rates stay those of the last window.
    pub(crate) fn encoded(encoding: Option<EncodingStats>, stats: &mut StreamStats) {
        let rates = stats.encoding.as_ref().map(|before| (before.fps, before.bit_rate));
        stats.encoding = encoding.map(|encoding| match rates {
            Some((fps, bit_rate)) => EncodingStats { fps, bit_rate, ..encoding },
            None => encoding,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StreamId;

    #[test]
    fn what_was_encoded_at_the_end_is_counted_though_no_window_ends() {
        let start = Instant::now();
        let (mut meter, mut stats) = (Meter::new(start), StreamStats::new(StreamId(1), None));
        let encoded =
            |frames| Some(EncodingStats { frames, bytes: 125 * frames, ..EncodingStats::default() });
        let told = |stats: &StreamStats| {
            let encoding = stats.encoding.as_ref().expect("it encodes");
            (encoding.frames, encoding.fps, encoding.bit_rate.bps())
        };
        meter.report(start + WINDOW, Duration::ZERO, encoded(25), &mut stats);
        assert_eq!(told(&stats), (25, 25.0, 25_000));
        Meter::encoded(encoded(35), &mut stats);
        assert_eq!(told(&stats), (35, 25.0, 25_000), "rates are those of a whole window");
        meter.report(start + WINDOW * 2, Duration::ZERO, encoded(45), &mut stats);
        assert_eq!(told(&stats), (45, 20.0, 20_000));
        // Another encoder.
        meter.report(start + WINDOW * 3, Duration::ZERO, encoded(5), &mut stats);
        assert_eq!(told(&stats), (5, 5.0, 5_000));
    }

    #[test]
    fn lateness_is_the_largest_of_the_window_and_the_largest_ever() {
        let start = Instant::now();
        let (mut meter, mut stats) = (Meter::new(start), StreamStats::new(StreamId(1), None));
        let millis = Duration::from_millis;
        for late in [3, 40, 7] {
            meter.ticked(millis(late));
        }
        meter.report(start + WINDOW, Duration::ZERO, None, &mut stats);
        assert_eq!((stats.schedule_lag, stats.schedule_lag_max), (millis(40), millis(40)));
        meter.ticked(millis(5));
        meter.report(start + WINDOW * 2, Duration::ZERO, None, &mut stats);
        assert_eq!((stats.schedule_lag, stats.schedule_lag_max), (millis(5), millis(40)));
    }
}
