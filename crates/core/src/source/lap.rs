//! The clock of a loop: where each lap begins, exactly, for ever.
//!
//! Video sets the length of a lap. Audio is a row of frames of equal length that never quite fits a lap, so each lap
//! plays the whole number of audio frames that ends nearest to the next lap's beginning: one is left out or repeated
//! where that is nearer. All sums are integers in the track's own unit; only the finished time is rounded to
//! milliseconds, so nothing accumulates however many laps are played.

use flowcast_rtmp::time::MediaTime;

use crate::lap::{SHORTEST_LAP, Unit};

/// Where the laps of a loop lie, for the track that sets their length (video, or the only track).
#[derive(Debug, Clone)]
pub(crate) struct LapClock {
    unit: Unit,
    /// The first decoding time of the file.
    first: i64,
    /// By how much this lap is moved on: the length of all laps before it.
    begin: i64,
    /// End of what was seen of this lap: the latest decoding time plus its duration, relative to `first`.
    end: i64,
    last: Option<i64>,
    /// The distance of the last two packets: the duration of a packet that does not say its own.
    spacing: i64,
}

impl LapClock {
    /// A clock in `unit` for a file whose first packet decodes at `first`.
    pub(crate) fn new(unit: Unit, first: i64) -> Self {
        Self { unit, first, begin: 0, end: 0, last: None, spacing: 0 }
    }

    /// Takes note of a packet of this lap; `duration` 0 is unknown.
    pub(crate) fn observe(&mut self, dts: i64, duration: i64) {
        let at = dts - self.first;
        if let Some(last) = self.last
            && at > last
        {
            self.spacing = at - last;
        }
        self.last = Some(at);
        let duration = if duration > 0 { duration } else { self.spacing.max(1) };
        self.end = self.end.max(at + duration);
    }

    /// A time of the file, in this clock's unit, on the loop's clock: the file's own clock in the first lap, moved on by
    /// the laps before in later ones.
    pub(crate) fn place(&self, ticks: i64) -> i64 {
        self.begin + ticks
    }

    /// By how much the next lap is moved on, in this clock's unit, as far as this lap has been seen.
    pub(crate) fn next_begin(&self) -> i64 {
        self.begin + self.end
    }

    /// The unit of [`LapClock::place`].
    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    /// The lap is over; the next one begins where it ended. `false` if nothing was seen of it.
    pub(crate) fn wrap(&mut self) -> bool {
        if self.last.is_none() {
            return false;
        }
        self.end = self.end.max(Unit::MILLIS.to(SHORTEST_LAP, self.unit));
        self.begin += self.end;
        self.end = 0;
        self.last = None;
        true
    }

    /// Makes the lap at least as long as to move the next one on by `ticks` of `unit`: audio that was already sent beyond
    /// the end of the video pushes the next lap back.
    pub(crate) fn extend_to(&mut self, ticks: i64, unit: Unit) {
        let needed = unit.to(ticks, self.unit) - self.begin;
        self.end = self.end.max(needed);
    }
}

/// Places audio frames on the loop's clock, in samples.
#[derive(Debug, Clone)]
pub(crate) struct AudioLap {
    rate: u32,
    frame: i64,
    /// The file's time of its first frame after priming.
    start: Option<i64>,
    /// Where this lap's first frame goes.
    begin: i64,
    /// The file's time of the first frame of this lap.
    first: Option<i64>,
    /// Frames of this lap.
    sent: i64,
    /// Where the next frame goes if it follows the last one without a gap.
    next: i64,
    first_lap: bool,
}

impl AudioLap {
    /// Frames of `frame` samples (1024 for AAC) at `rate` Hz; zero counts as one.
    pub(crate) fn new(rate: u32, frame: u32) -> Self {
        Self {
            rate: rate.max(1),
            frame: i64::from(frame.max(1)),
            start: None,
            begin: 0,
            first: None,
            sent: 0,
            next: 0,
            first_lap: true,
        }
    }

    /// The unit of this track's times: one sample.
    pub(crate) fn unit(&self) -> Unit {
        Unit { num: 1, den: self.rate }
    }

    /// Samples in one frame.
    pub(crate) fn frame(&self) -> i64 {
        self.frame
    }

    /// Places a frame that begins at `at` samples of the file's time. `None` if it only warms the decoder up
    /// (`priming`) and that was done in the first lap.
    pub(crate) fn place(&mut self, at: i64, priming: bool) -> Option<i64> {
        if priming && !self.first_lap {
            return None;
        }
        if !priming && self.start.is_none() {
            self.start = Some(at);
        }
        let time = match self.first {
            Some(first) => self.begin + (at - first),
            None => {
                self.first = Some(at);
                if self.first_lap {
                    self.begin = at;
                }
                self.begin
            }
        };
        self.sent += 1;
        self.next = self.by_count(time + self.frame);
        Some(time)
    }

    /// Whether a frame placed at `time` belongs to a lap after which audio begins again at `lap_end`: not if leaving it
    /// out ends the lap nearer to it.
    pub(crate) fn fits(&self, time: i64, lap_end: i64) -> bool {
        (lap_end - time) * 2 >= self.frame
    }

    /// Takes the lap's last frame back, which was placed at `time`.
    pub(crate) fn take_back(&mut self, time: i64) {
        self.sent -= 1;
        self.next = self.by_count(time);
    }

    /// Container times are rounded, frames are not: the lap's frames say where it ends, unless the file has a gap, which
    /// is more than half a frame.
    fn by_count(&self, time: i64) -> i64 {
        let counted = self.begin + self.sent * self.frame;
        if (time - counted).abs() * 2 <= self.frame { counted } else { time }
    }

    /// Where audio begins in a lap that begins at `lap_begin`, by the file's own times.
    pub(crate) fn nominal_begin(&self, lap_begin: i64) -> i64 {
        lap_begin + self.start.unwrap_or(0)
    }

    /// Where the next frame goes that follows without a gap.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// The lap is over and the next one begins at `lap_begin`, all in samples. `Some(time)` asks to repeat the last
    /// frame at that time, because the lap's audio is about one frame short.
    pub(crate) fn wrap(&mut self, lap_begin: i64) -> Option<i64> {
        let nominal = self.nominal_begin(lap_begin);
        let short = nominal - self.next;
        let mut repeat = None;
        if self.sent > 0 && short * 2 > self.frame && short * 2 <= 3 * self.frame {
            repeat = Some(self.next);
            self.next += self.frame;
        }
        // Further apart than that is the file's own gap, and it stays one. What was sent beyond the seam is never gone
        // back on.
        self.begin = if (nominal - self.next) * 2 > self.frame { nominal } else { self.next };
        self.next = self.begin;
        self.first = None;
        self.first_lap = false;
        self.sent = 0;
        repeat
    }
}

/// Makes times of one track strictly increasing after they were rounded to milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Increasing {
    last: Option<i64>,
    fixed: u64,
}

impl Increasing {
    /// `millis`, or the least time after the last one.
    pub(crate) fn next(&mut self, millis: i64) -> MediaTime {
        let time = match self.last {
            Some(last) if millis <= last => {
                self.fixed += 1;
                last + 1
            }
            _ => millis,
        };
        self.last = Some(time);
        MediaTime::from_millis(time)
    }

    /// The latest time was not used after all.
    pub(crate) fn take_back(&mut self, time: MediaTime) {
        self.last = Some(time.as_millis() - 1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounding_is_to_nearest_and_away_from_zero() {
        let unit = Unit { num: 1, den: 90_000 };
        assert_eq!(unit.to_millis(45), 1);
        assert_eq!(unit.to_millis(44), 0);
        assert_eq!(unit.to_millis(-45), -1);
        assert_eq!(Unit { num: 1, den: 12_800 }.to_millis(-1024), -80);
        assert_eq!(Unit { num: 1001, den: 30_000 }.to_millis(1), 33);
    }

    #[test]
    fn a_lap_is_as_long_as_its_frames_and_the_last_one_keeps_its_length() {
        // 25 fps with a reordering delay of two frames.
        let mut clock = LapClock::new(Unit { num: 1, den: 12_800 }, -1024);
        for lap in 0..3i64 {
            for frame in 0..100i64 {
                let dts = -1024 + frame * 512;
                assert_eq!(clock.place(dts), (lap * 100 + frame) * 512 - 1024);
                clock.observe(dts, 0);
            }
            assert!(clock.wrap());
        }
        assert!(!clock.wrap(), "an empty lap is refused");
    }

    /// Plays `laps` laps of `video` ticks, with `audio` frames in the file, and checks the seams.
    fn play(unit: Unit, video: i64, rate: u32, audio: i64, laps: u64) {
        let mut clock = LapClock::new(unit, 0);
        let mut track = AudioLap::new(rate, 1024);
        let mut sent = 0u64;
        let mut last = None;
        for _ in 0..laps {
            clock.observe(0, video);
            let end = unit.to(clock.next_begin(), track.unit());
            let mut times: Vec<_> = (0..audio).filter_map(|frame| track.place(frame * 1024, false)).collect();
            while let Some(&time) = times.last()
                && !track.fits(time, track.nominal_begin(end))
            {
                track.take_back(time);
                times.pop();
            }
            for time in times {
                assert!(last.is_none_or(|last| time > last));
                last = Some(time);
                sent += 1;
            }
            assert!(clock.wrap());
            if let Some(time) = track.wrap(end) {
                assert!(last.is_none_or(|last| time > last));
                last = Some(time);
                sent += 1;
            }
            // Never more than half a frame from the picture, however many laps were played (and half a sample of
            // rounding).
            let drift = track.begin - end;
            assert!(drift.abs() * 2 <= 1024 + 1, "drift of {drift} samples");
        }
        // Without a gap: the audio's end is exactly the frames sent.
        assert_eq!(track.begin, i64::try_from(sent).expect("counted up") * 1024);
    }

    #[test]
    fn a_million_laps_do_not_drift() {
        // 5.28 s of 25 fps video with one AAC frame too many, and 29.97 fps with one too few.
        play(Unit { num: 1, den: 12_800 }, 67_584, 48_000, 248, 10_000);
        play(Unit { num: 1, den: 12_800 }, 1_024, 48_000, 4, 1_000_000);
        play(Unit { num: 1001, den: 30_000 }, 2, 44_100, 3, 1_000_000);
    }

    proptest! {
        #[test]
        fn no_lap_length_drifts(frames in 1i64..200, rate in prop::sample::select(vec![44_100u32, 48_000, 32_000, 22_050]),
                                fps in prop::sample::select(vec![(1u32, 25u32), (1001, 30_000), (1001, 24_000), (1, 60)]),
                                off in -1i64..=3) {
            let unit = Unit { num: fps.0, den: fps.1 };
            let samples = unit.to(frames, Unit { num: 1, den: rate });
            // The file has enough audio, one frame too little, or some too much.
            let audio = (samples / 1024 + off).max(1);
            prop_assume!(samples > 2048);
            // More than a frame short is a gap of the file's own, and not for the seam to fill.
            prop_assume!(samples - audio * 1024 <= 1024);
            play(unit, frames, rate, audio, 500);
        }
    }

    #[test]
    fn priming_is_sent_once_and_short_audio_leaves_its_own_gap() {
        let mut clock = LapClock::new(Unit { num: 1, den: 1000 }, 0);
        let mut track = AudioLap::new(48_000, 1024);
        let mut begins = Vec::new();
        for _ in 0..3 {
            clock.observe(0, 1000);
            let mut first = None;
            for frame in -1..20 {
                if let Some(time) = track.place(frame * 1024, frame < 0) {
                    first.get_or_insert(time);
                }
            }
            begins.push(first.expect("frames were sent"));
            let end = clock.next_begin() * 48;
            clock.wrap();
            assert_eq!(track.wrap(end), None);
        }
        assert_eq!(begins, [-1024, 48_000, 96_000]);
    }

    #[test]
    fn equal_millisecond_times_are_moved_apart() {
        let mut increasing = Increasing::default();
        let times: Vec<_> = [0, 0, 1, 5].iter().map(|&ms| increasing.next(ms).as_millis()).collect();
        assert_eq!(times, [0, 1, 2, 5]);
        assert_eq!(increasing.fixed, 2);
    }
}
