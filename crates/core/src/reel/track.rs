//! What the frames of an FLV file say of its tracks: how long a lap is, and whether the times can be taken as they are.

use crate::lap::{AudioLap, Unit, VideoLap};

/// Steps between frames that are counted apart, in milliseconds; longer ones count as this.
const LONGEST_STEP: usize = 1000;

/// The tracks begin within this many milliseconds of the item's zero.
const LATEST_START: i64 = 1000;
const LATE: &str = "its tracks do not begin together";

/// The video of the file so far.
#[derive(Debug, Default)]
pub(super) struct VideoTrack {
    first: i64,
    last: i64,
    /// The earliest and the latest time a frame is shown at.
    shown: (i64, i64),
    frames: u64,
    /// How often frames lie this many milliseconds apart.
    steps: Vec<u64>,
    /// The frame rate, as long as every frame lies where it says.
    rate: Option<Unit>,
}

impl VideoTrack {
    /// A frame at `at` ms, shown `composition` ms later; `rate` is the frame rate the file claims.
    pub(super) fn frame(
        &mut self,
        at: i64,
        composition: i64,
        keyframe: bool,
        rate: Option<f64>,
    ) -> Result<(), &'static str> {
        let shown = at + composition;
        if self.frames == 0 {
            if !keyframe {
                return Err("its video does not begin with a keyframe");
            }
            if at > LATEST_START {
                return Err(LATE);
            }
            self.first = at;
            self.shown = (shown, shown);
            self.steps = vec![0; LONGEST_STEP + 1];
            self.rate = rate.and_then(exact);
        } else {
            let step = usize::try_from(at - self.last).unwrap_or(0);
            if step == 0 {
                return Err("its video's times do not increase");
            }
            if let Some(count) = self.steps.get_mut(step.min(LONGEST_STEP)) {
                *count += 1;
            }
        }
        let number = i64::try_from(self.frames).unwrap_or(i64::MAX);
        self.rate = self.rate.filter(|unit| (unit.to_millis(number) - (at - self.first)).abs() <= 1);
        self.last = at;
        self.shown = (self.shown.0.min(shown), self.shown.1.max(shown));
        self.frames += 1;
        Ok(())
    }

    /// The lap. Frames that lie where the frame rate says are counted in its unit, so that no rounding is left; others
    /// end one usual step after the last one.
    pub(super) fn finish(&mut self) -> Result<VideoLap, &'static str> {
        if self.frames < 2 {
            return Err("its video has fewer than two frames");
        }
        if let Some(unit) = self.rate {
            let length = i64::try_from(self.frames).unwrap_or(i64::MAX);
            return Ok(VideoLap { unit, length, frames: self.frames });
        }
        let mut half = (self.frames - 1).div_ceil(2);
        let median = self.steps.iter().position(|&count| {
            half = half.saturating_sub(count);
            half == 0
        });
        let step = i64::try_from(median.unwrap_or(1)).unwrap_or(1);
        let span = (self.last - self.first).max(self.shown.1 - self.shown.0);
        Ok(VideoLap { unit: Unit::MILLIS, length: span + step, frames: self.frames })
    }
}

/// The duration of a frame at a rate that is meant to be one in use: a whole number, or one divided by 1.001.
fn exact(rate: f64) -> Option<Unit> {
    if !(1.0..=240.0).contains(&rate) {
        return None;
    }
    [Unit { num: 1, den: 1 }, Unit { num: 1001, den: 1000 }].into_iter().find_map(|unit| {
        let per_second = f64::from(unit.den) / f64::from(unit.num);
        let whole = (rate / per_second).round();
        let is_meant = (whole * per_second - rate).abs() < 0.005;
        // The range was looked at: nothing is lost.
        is_meant.then_some(Unit { num: unit.num, den: whole as u32 * unit.den })
    })
}

/// The audio of the file so far.
#[derive(Debug)]
pub(super) struct AudioTrack {
    rate: u32,
    frame: u32,
    mp3: Option<Mp3Frame>,
    first: Option<i64>,
    last: i64,
    frames: i64,
}

impl AudioTrack {
    /// Frames of `frame` samples at `rate` Hz.
    pub(super) fn new(rate: u32, frame: u32) -> Self {
        Self { rate: rate.max(1), frame: frame.max(1), mp3: None, first: None, last: 0, frames: 0 }
    }

    /// A frame of AAC at `at` ms. It must follow the one before without a gap: what was lost is for the cutter to find.
    pub(super) fn aac(&mut self, at: i64) -> Result<(), &'static str> {
        if self.mp3.is_some() {
            return Err("its audio changes");
        }
        self.place(at)
    }

    /// A frame of MP3.
    pub(super) fn mp3(&mut self, at: i64, frame: Mp3Frame) -> Result<(), &'static str> {
        if self.mp3 != Some(frame) {
            return Err("its audio changes");
        }
        self.place(at)
    }

    fn place(&mut self, at: i64) -> Result<(), &'static str> {
        let first = *self.first.get_or_insert(at);
        if first > LATEST_START {
            return Err(LATE);
        }
        if self.frames > 0 && at <= self.last {
            return Err("its audio's times do not increase");
        }
        let samples = Unit::sample(self.rate);
        let counted = first + samples.to_millis(self.frames * i64::from(self.frame));
        let half = samples.to_millis(i64::from(self.frame)) / 2;
        if (at - counted).abs() > half {
            return Err("its audio has gaps");
        }
        self.last = at;
        self.frames += 1;
        Ok(())
    }

    /// The lap, in samples.
    pub(super) fn finish(&self) -> Result<AudioLap, &'static str> {
        let first = self.first.ok_or("its audio has no frame")?;
        let start = Unit::MILLIS.to(first, Unit::sample(self.rate));
        Ok(AudioLap {
            rate: self.rate,
            frame: self.frame,
            priming: 0,
            frames: self.frames.unsigned_abs(),
            start,
            end: start + self.frames * i64::from(self.frame),
        })
    }
}

/// What the header of an MP3 frame states about the track: ISO/IEC 11172-3 section 2.4.1.3 and 13818-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mp3Frame {
    rate: u32,
    samples: u32,
}

const MPEG1_KBPS: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2_KBPS: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

impl Mp3Frame {
    /// Samples a second.
    pub(super) fn rate(self) -> u32 {
        self.rate
    }

    /// The frame in the body of an audio tag, if it is one of MP3 and exactly one.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let (&[first, sync, version, rates, _], frame) = (body.first_chunk()?, body.get(1..)?);
        if sync != 0xFF || first >> 4 != 2 || version & 0xE6 != 0xE2 {
            return None;
        }
        // MPEG-1, MPEG-2 and 2.5 have 44.1 kHz, a half and a quarter of it.
        let (shift, kbps, samples) = match version >> 3 & 3 {
            3 => (0, MPEG1_KBPS, 1152),
            2 => (1, MPEG2_KBPS, 576),
            0 => (2, MPEG2_KBPS, 576),
            _ => return None,
        };
        let rate = [44_100u32, 48_000, 32_000].get(usize::from(rates >> 2 & 3))? >> shift;
        let kbps = *kbps.get(usize::from(rates >> 4))?;
        let len = samples / 8 * kbps * 1000 / rate + u32::from(rates >> 1 & 1);
        (usize::try_from(len) == Ok(frame.len())).then_some(Self { rate, samples })
    }

    /// A track of such frames.
    pub(super) fn track(self) -> AudioTrack {
        AudioTrack { mp3: Some(self), ..AudioTrack::new(self.rate, self.samples) }
    }
}
