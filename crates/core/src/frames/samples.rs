//! Samples of a program: checked, put one after the other, and handed out to the sample.
//!
//! In: slices of any length, with times. Out: as many samples as a stretch of the stream's clock has: where the program gave none, silence.
//! Arithmetic only; samples are 32-bit floats, each channel by itself.

use std::collections::VecDeque;
use std::ops::Range;

use crate::error::Error;
use crate::sound_format::{AudioFormat, Samples};

/// Samples that came without a time follow those before if they are at most so many microseconds later: nobody sends to the millisecond.
const NEAR_ARRIVED: i64 = 70_000;
/// Samples with a time of the program's, likewise: what rounding makes of it.
const NEAR_SAID: i64 = 5_000;

/// Samples of all channels, each by itself.
pub(super) type Channels = Vec<Vec<f32>>;

/// How many samples there are of each channel.
///
/// # Errors
///
/// [`Error::Frame`]: another type or number of slices than the format says, slices of different lengths, and values that are no
/// numbers.
pub(super) fn checked(samples: Samples<'_>, format: &AudioFormat) -> Result<usize, Error> {
    let is_finite = match samples {
        Samples::F32(samples) => samples.iter().all(|sample| sample.is_finite()),
        Samples::F32Planar(rows) => rows.iter().copied().flatten().all(|sample| sample.is_finite()),
        Samples::I16(_) | Samples::I16Planar(_) => true,
    };
    if !is_finite {
        return Err(Error::Frame { reason: "a sample is no number".to_owned() });
    }
    samples.count(format, "frames.audio").map_err(|error| match error {
        Error::Config { reason, .. } => Error::Frame { reason },
        error => error,
    })
}

/// Some of the samples, which are checked, of each channel; what is too loud is cut off.
pub(super) fn part(samples: Samples<'_>, format: &AudioFormat, range: Range<usize>) -> Channels {
    let mut channels = samples.part(format, range);
    channels.iter_mut().flatten().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
    channels
}

/// A run of samples, and the number of the first one on the stream's clock.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) start: i64,
    pub(super) channels: Channels,
}

impl Run {
    pub(super) fn len(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    pub(super) fn end(&self) -> i64 {
        self.start.saturating_add(i64::try_from(self.len()).unwrap_or(i64::MAX))
    }

    /// Leaves out what is before this sample.
    fn skip_to(&mut self, first: i64) {
        let skip = usize::try_from(first - self.start).unwrap_or(0).min(self.len());
        self.channels.iter_mut().for_each(|channel| drop(channel.drain(..skip)));
        self.start += i64::try_from(skip).unwrap_or(0);
    }
}

/// Puts runs one after the other.
#[derive(Debug)]
pub(super) struct Joining {
    rate: u32,
    /// Behind the last sample.
    end: Option<i64>,
}

impl Joining {
    pub(super) const fn new(rate: u32) -> Self {
        Self { rate, end: None }
    }

    /// The number of the sample at this time, in microseconds.
    pub(super) fn sample_at(&self, micros: i64) -> i64 {
        sample_at(self.rate, micros)
    }

    /// Samples whose first one is at `micros`, as a time that was `said` by the program or is that of their coming; `None` if all of it is
    /// there already. What is to follow it, [`follow`](Self::follow) says.
    pub(super) fn join(&self, micros: i64, said: bool, channels: Channels) -> Option<Run> {
        let mut run = Run { start: self.sample_at(micros), channels };
        let near = self.sample_at(if said { NEAR_SAID } else { NEAR_ARRIVED });
        if let Some(end) = self.end {
            let is_near = (run.start - end).abs() <= near;
            // What comes faster than it is heard is for later.
            let is_ahead = !said && run.start < end;
            if is_near || is_ahead {
                run.start = end;
            } else if run.start < end {
                run.skip_to(end);
            }
        }
        (run.len() > 0).then_some(run)
    }

    /// What comes next follows this run, which was taken.
    pub(super) fn follow(&mut self, run: &Run) {
        self.end = Some(run.end());
    }

    /// How long so many samples are, in microseconds.
    pub(super) fn micros_of(&self, samples: i64) -> i64 {
        let micros = i128::from(samples) * 2_000_000;
        let rate = i128::from(self.rate.max(1));
        i64::try_from((micros + rate).div_euclid(2 * rate)).unwrap_or(i64::MAX)
    }

    /// All numbers of samples are less by so many from here on.
    pub(super) fn rebase(&mut self, by: i64) {
        self.end = self.end.map(|end| end - by);
    }

    /// What comes next need not follow.
    pub(super) fn forget(&mut self) {
        self.end = None;
    }
}

/// The number of the sample at this time.
pub(super) fn sample_at(rate: u32, micros: i64) -> i64 {
    let sample = i128::from(micros) * i128::from(rate);
    i64::try_from((2 * sample + 1_000_000).div_euclid(2_000_000)).unwrap_or(i64::MAX)
}

/// Runs that wait to be heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    runs: VecDeque<Run>,
    /// Behind the last sample that was taken.
    end: i64,
    /// Samples that were made up, and that came too late.
    pub(super) silent: u64,
    pub(super) late: u64,
}

impl Heard {
    /// Takes a run. What begins before the end of the one before is that much too late.
    pub(super) fn push(&mut self, mut run: Run) {
        let before = run.len();
        run.skip_to(self.end);
        self.late += (before - run.len()) as u64;
        self.end = self.end.max(run.end());
        if run.len() > 0 {
            self.runs.push_back(run);
        }
    }

    /// Samples that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.runs.iter().map(Run::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Leaves out what is before this sample.
    pub(super) fn skip_to(&mut self, first: i64) {
        while self.runs.front().is_some_and(|run| run.end() <= first) {
            self.runs.pop_front();
        }
    }

    /// The samples from number `from` up to `to`, of this many channels; what comes before is too late.
    pub(super) fn take(&mut self, from: i64, to: i64, channels: usize) -> Channels {
        let length = usize::try_from(to - from).unwrap_or(0);
        let mut taken = vec![vec![0.0; length]; channels];
        let mut given = 0;
        while let Some(run) = self.runs.front_mut() {
            if run.start < from {
                let before = run.len();
                run.skip_to(from);
                self.late += (before - run.len()) as u64;
            }
            if run.start >= to {
                break;
            }
            let until = run.end().min(to);
            let count = usize::try_from(until - run.start).unwrap_or(0);
            let at = usize::try_from(run.start - from).unwrap_or(0);
            for (taken, channel) in taken.iter_mut().zip(&run.channels) {
                taken[at..at + count].copy_from_slice(&channel[..count]);
            }
            given += count;
            run.skip_to(until);
            if run.len() > 0 {
                break;
            }
            self.runs.pop_front();
        }
        self.silent += (length - given) as u64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(from: i64, count: i64) -> Channels {
        vec![(from..from + count).map(|n| n as f32).collect()]
    }

    #[test]
    fn samples_are_of_their_format_or_refused() {
        let stereo = AudioFormat::f32(48_000, 2);
        let given = [0.5, -0.5, 2.0, -2.0];
        assert_eq!(checked(Samples::from(&given[..]), &stereo).expect("two samples each"), 2);
        let channels = part(Samples::from(&given[..]), &stereo, 0..2);
        assert_eq!(channels, [[0.5, 1.0], [-0.5, -1.0]], "what is too loud is cut off");
        assert_eq!(part(Samples::from(&given[..]), &stereo, 1..2), [[1.0], [-1.0]]);
        let refused = |samples: Samples<'_>, format: AudioFormat| {
            let error = checked(samples, &format).expect_err("it is refused");
            assert_eq!(error.code(), "FRAME_REFUSED");
            error.to_string()
        };
        assert!(refused(Samples::F32(&given[..3]), stereo).contains("2 channels"));
        assert!(refused(Samples::F32(&[0.0, f32::NAN]), stereo).contains("no number"));
        assert!(refused(Samples::F32(&[f32::INFINITY, 0.0]), stereo).contains("no number"));
        assert!(refused(Samples::I16(&[1, 2]), stereo).contains("i16 interleaved"));
        let planar = AudioFormat::i16(48_000, 2).planar();
        assert!(refused(Samples::I16Planar(&[&[1]]), planar).contains("1 rows for 2"));
        assert!(refused(Samples::I16Planar(&[&[1], &[1, 2]]), planar).contains("different lengths"));
        let rows: [&[i16]; 2] = [&[0, -32_768], &[0, 16_384]];
        assert_eq!(checked(Samples::I16Planar(&rows), &planar).expect("as it says"), 2);
        assert_eq!(part(Samples::I16Planar(&rows), &planar, 1..2), [[-1.0], [0.5]]);
    }

    #[test]
    fn runs_follow_each_other_to_the_sample_unless_they_are_far_apart() {
        let mut joining = Joining::new(1000);
        let mut join = |millis: i64, said| {
            let run = joining.join(millis * 1000, said, counted(0, 20))?;
            joining.follow(&run);
            Some((run.start, run.end()))
        };
        assert_eq!(join(0, true), Some((0, 20)));
        assert_eq!(join(24, true), Some((20, 40)), "rounding");
        assert_eq!(join(37, true), Some((40, 60)));
        assert_eq!(join(100, true), Some((100, 120)), "a gap");
        assert_eq!(join(110, true), Some((120, 130)), "half of it was there");
        assert_eq!(join(110, true), None);
        assert_eq!(join(150, false), Some((130, 150)), "sent a little late");
        assert_eq!(join(120, false), Some((150, 170)), "sent ahead");
        assert_eq!(join(300, false), Some((300, 320)));
    }

    #[test]
    fn what_is_missing_is_silent_and_what_is_late_is_left_out() {
        let mut heard = Heard::default();
        heard.push(Run { start: 5, channels: counted(5, 5) });
        heard.push(Run { start: 12, channels: counted(12, 8) });
        assert_eq!(heard.take(0, 8, 1), [[0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 6.0, 7.0]]);
        assert_eq!(heard.take(8, 14, 1), [[8.0, 9.0, 0.0, 0.0, 12.0, 13.0]]);
        assert_eq!(heard.take(17, 22, 1), [[17.0, 18.0, 19.0, 0.0, 0.0]]);
        assert_eq!((heard.silent, heard.late, heard.is_empty()), (9, 3, true));
        heard.push(Run { start: 25, channels: counted(25, 5) });
        heard.push(Run { start: 22, channels: counted(22, 10) });
        assert_eq!(heard.take(22, 32, 1)[0][7..], [29.0, 30.0, 31.0], "none of it twice");
        assert_eq!((heard.silent, heard.late), (12, 11));
    }
}
