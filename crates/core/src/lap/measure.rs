//! Measures one lap of a file while it is read: what [`LapFacts`](crate::lap::LapFacts) say at its end.
//!
//! All sums are integers in the track's own unit; only the finished time is rounded to milliseconds.

use crate::lap::{AudioLap, SHORTEST_LAP, Unit, VideoLap};

/// The video of the lap that is being read.
#[derive(Debug, Clone)]
pub(super) struct VideoMeasure {
    unit: Unit,
    first: Option<i64>,
    /// End of what was seen: the latest decoding time plus its duration, relative to `first`.
    end: i64,
    /// The same of what is shown: from the earliest to the end of the latest presentation time.
    shown: Option<(i64, i64)>,
    last: i64,
    /// The distance of the last two packets: the duration of a packet that does not say its own.
    spacing: i64,
    frames: u64,
}

impl VideoMeasure {
    /// Nothing seen yet, in `unit`.
    pub(super) fn new(unit: Unit) -> Self {
        Self { unit, first: None, end: 0, shown: None, last: 0, spacing: 0, frames: 0 }
    }

    /// Takes note of a packet; `duration` 0 is unknown.
    pub(super) fn observe(&mut self, dts: i64, pts: i64, duration: i64) {
        let at = dts - *self.first.get_or_insert(dts);
        if at > self.last {
            self.spacing = at - self.last;
        }
        self.last = at;
        self.frames += 1;
        let duration = if duration > 0 { duration } else { self.spacing.max(1) };
        self.end = self.end.max(at + duration);
        let (first, end) = self.shown.unwrap_or((pts, pts));
        self.shown = Some((first.min(pts), end.max(pts + duration)));
    }

    /// The first decoding time.
    pub(super) fn first(&self) -> Option<i64> {
        self.first
    }

    /// The end of the last frame that is shown, once there was one.
    pub(super) fn shown_until(&self) -> Option<i64> {
        self.shown.map(|(_, end)| end)
    }

    /// The lap, as far as it was seen; `None` without a frame.
    pub(super) fn lap(&self) -> Option<VideoLap> {
        self.first?;
        // Where frames are of unequal length, what is decoded and what is shown may last differently: neither the next lap's
        // pictures nor their decoding times may come before this one's end.
        let shown = self.shown.map_or(0, |(first, end)| end - first);
        let length = self.end.max(shown).max(Unit::MILLIS.to(SHORTEST_LAP, self.unit));
        Some(VideoLap { unit: self.unit, length, frames: self.frames })
    }
}

/// The audio of the lap that is being read, in samples on the file's clock.
#[derive(Debug, Clone)]
pub(super) struct AudioMeasure {
    rate: u32,
    frame: i64,
    /// Where the first frame after the priming begins.
    start: Option<i64>,
    priming: u32,
    frames: u64,
    next: i64,
}

impl AudioMeasure {
    /// Frames of `frame` samples (1024 for AAC) at `rate` Hz; zero counts as one.
    pub(super) fn new(rate: u32, frame: u32) -> Self {
        Self {
            rate: rate.max(1),
            frame: i64::from(frame.max(1)),
            start: None,
            priming: 0,
            frames: 0,
            next: 0,
        }
    }

    /// The unit of this track's times: one sample.
    pub(super) fn unit(&self) -> Unit {
        Unit::sample(self.rate)
    }

    /// Samples in one frame.
    pub(super) fn frame(&self) -> i64 {
        self.frame
    }

    /// Takes note of a frame that begins at `at`; `priming` only warms the decoder up.
    pub(super) fn observe(&mut self, at: i64, priming: bool) {
        if priming && self.start.is_none() {
            self.priming += 1;
            return;
        }
        let start = *self.start.get_or_insert(at);
        self.frames += 1;
        // Container times are rounded, frames are not: the frames say where the lap ends, unless the file has a gap, which
        // is more than half a frame.
        let counted = start + i64::try_from(self.frames).unwrap_or(i64::MAX).saturating_mul(self.frame);
        let time = at + self.frame;
        self.next = if (time - counted).abs() * 2 <= self.frame { counted } else { time };
    }

    /// Takes the last frame back, which began at `at`.
    pub(super) fn take_back(&mut self, at: i64) {
        self.frames = self.frames.saturating_sub(1);
        self.next = at;
    }

    /// Where the first frame after the priming begins, once there was one.
    pub(super) fn start(&self) -> Option<i64> {
        self.start
    }

    /// Where the next frame goes that follows without a gap.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// The lap, as far as it was seen, on a clock whose zero is at `zero` samples; `None` without a frame.
    pub(super) fn lap(&self, zero: i64) -> Option<AudioLap> {
        let start = self.start?;
        Some(AudioLap {
            rate: self.rate,
            frame: u32::try_from(self.frame).unwrap_or(u32::MAX),
            priming: self.priming,
            frames: self.frames,
            start: start - zero,
            end: self.next - zero,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lap_is_as_long_as_its_frames_and_the_last_one_keeps_its_length() {
        // 25 fps with a reordering delay of two frames; packets do not say how long they are.
        let mut video = VideoMeasure::new(Unit { num: 1, den: 12_800 });
        assert_eq!(video.lap(), None);
        for frame in 0..100i64 {
            video.observe(-1024 + frame * 512, frame * 512, 0);
        }
        assert_eq!(video.lap().map(|lap| (lap.length, lap.frames)), Some((51_200, 100)));
        let mut picture = VideoMeasure::new(Unit::MILLIS);
        picture.observe(0, 0, 0);
        assert_eq!(picture.lap().map(|lap| lap.length), Some(SHORTEST_LAP));
    }

    #[test]
    fn what_is_shown_longer_than_it_is_decoded_is_the_lap() {
        // Reordered by one frame: decoding times end before the last frame, which is long after the one before.
        let mut video = VideoMeasure::new(Unit::MILLIS);
        for (dts, pts) in [(-40, 0), (0, 80), (40, 40), (80, 1080), (120, 120)] {
            video.observe(dts, pts, 40);
        }
        assert_eq!(video.lap().map(|lap| lap.length), Some(1120));
    }

    #[test]
    fn frames_are_counted_where_times_are_rounded_and_gaps_are_kept() {
        let mut audio = AudioMeasure::new(48_000, 1024);
        audio.observe(-1024, true);
        for frame in 0..100i64 {
            // Rounded to milliseconds: up to 24 samples off.
            audio.observe((frame * 1024 + 24) / 48 * 48, false);
        }
        let lap = audio.lap(-1024).expect("there were frames");
        assert_eq!((lap.priming, lap.frames, lap.start, lap.end), (1, 100, 1024, 1024 + 100 * 1024));
        audio.observe(200_000, false);
        assert_eq!(audio.next(), 201_024);
    }
}
