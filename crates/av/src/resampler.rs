//! Brings samples into the form an encoder takes: its rate, channels, sample format and frame size, without gap or overlap.
//! One thread at a time; nothing blocks.

use crate::frame::{AudioFormats, AudioFrame};
use crate::sys::{self, Failure, Feed, RawFrame, RawResampler, Sound};
use crate::{AudioFormat, Error, TimeBase};

/// Gaps and overlaps beyond this many seconds are taken as a new clock: nothing is filled in or dropped, the times jump.
const LONGEST_GAP: i64 = 60;
/// Samples of silence made at once.
const SILENCE: usize = 1024;

/// Converts samples, and cuts them to the encoder's frame size: [`push`](Self::push) a frame, [`pull`](Self::pull) until
/// there is none; [`finish`](Self::finish), pull the rest. The last frame may be shorter.
///
/// A gap in the times is filled with silence, and what overlaps is left out: at once from 50 ms on; a smaller one once it has
/// lasted for half a second, so that jittery times do no harm; one of up to 1 ms stays. The frames it makes follow each
/// other to the sample, and are as many samples as went in, at the other rate, rounded to the nearest.
///
/// A frame that has the wanted form and size already is passed on as it is.
#[derive(Debug)]
pub struct Resampler {
    raw: RawResampler,
    from: AudioFormat,
    to: AudioFormat,
    formats: AudioFormats,
    frame_samples: usize,
    /// The frame being filled, and how far it is.
    partial: Option<RawFrame>,
    filled: usize,
    /// The frame that was pushed last, until it is taken in, and how many of its samples are to be left out.
    input: Option<(AudioFrame, usize)>,
    /// Samples of silence to take in before `input`.
    silence: u64,
    silent: Option<RawFrame>,
    /// libswresample holds samples that had no room.
    holds: bool,
    /// A new clock for `input`, for which the partial frame has to be completed.
    jump: Option<i64>,
    line: Line,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Finishing,
    /// libswresample has given all.
    Flushed,
    Ended,
}

/// Where the samples are, on the input's line and on the output's.
#[derive(Debug)]
struct Line {
    from: TimeBase,
    to: TimeBase,
    /// First sample of the input's line, in its own count; set by the first frame.
    start: Option<i64>,
    /// Samples taken in since.
    taken: i64,
    /// Samples given out since.
    given: i64,
    lean: Lean,
}

impl Line {
    fn new(from: u32, to: u32) -> Self {
        let (from, to) = (TimeBase::new(1, from), TimeBase::new(1, to));
        Self { from, to, start: None, taken: 0, given: 0, lean: Lean::default() }
    }

    /// The number of the next sample that is given out.
    fn next(&self) -> i64 {
        self.from.rescale(self.start.unwrap_or(0), self.to).saturating_add(self.given)
    }

    /// Samples to give out for those taken in.
    fn owed(&self) -> i64 {
        self.from.rescale(self.taken, self.to)
    }
}

impl Resampler {
    /// A converter from one form to another. `frame_samples` is the size of the frames it makes
    /// ([`AudioEncoder::frame_samples`](crate::encoder::AudioEncoder::frame_samples)); 0 for an encoder that takes any is 1024.
    ///
    /// # Errors
    /// [`Error::Libav`] for a format libav does not know or cannot convert (more than 64 channels).
    pub fn new(from: &AudioFormat, to: &AudioFormat, frame_samples: usize) -> Result<Self, Error> {
        sys::check_versions()?;
        let raw = RawResampler::open(Sound::of(from)?, Sound::of(to)?)?;
        Ok(Self {
            raw,
            from: from.clone(),
            to: to.clone(),
            formats: AudioFormats::default(),
            frame_samples: if frame_samples == 0 { 1024 } else { frame_samples },
            partial: None,
            filled: 0,
            input: None,
            silence: 0,
            silent: None,
            holds: false,
            jump: None,
            line: Line::new(from.sample_rate, to.sample_rate),
            state: State::Open,
        })
    }

    /// Whether frames of this form can be pushed. For others make a new one, after this one has been finished and pulled empty.
    #[must_use]
    pub fn accepts(&self, format: &AudioFormat) -> bool {
        self.from == *format
    }

    /// The form of what comes out.
    #[must_use]
    pub fn format(&self) -> &AudioFormat {
        &self.to
    }

    /// Gives it samples. A frame without a time follows the one before.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a frame of another form, if frames have not been pulled, or after
    /// [`finish`](Self::finish); [`Error::Libav`] without memory.
    pub fn push(&mut self, frame: &AudioFrame) -> Result<(), Error> {
        let refuse = |message: &str| Err(Error::InvalidArgument { message: message.to_owned() });
        if !self.accepts(frame.format()) {
            return refuse("samples of another form");
        }
        if self.input.is_some() || self.state != State::Open {
            return refuse("samples were pushed before all frames were pulled, or after the end");
        }
        let samples = i64::try_from(frame.samples()).unwrap_or(0);
        let mut skip = 0;
        if let Some(pts) = frame.pts() {
            let start = *self.line.start.get_or_insert(pts);
            let off = pts.saturating_sub(start.saturating_add(self.line.taken));
            let rate = i64::from(self.from.sample_rate);
            if off.unsigned_abs() > (LONGEST_GAP * rate).unsigned_abs() {
                self.jump = Some(pts);
            } else {
                let shift = self.line.lean.correct(off, samples, rate);
                self.silence = u64::try_from(shift).unwrap_or(0);
                skip = usize::try_from(-shift).unwrap_or(0);
            }
        } else {
            self.line.start.get_or_insert(0);
        }
        if skip < frame.samples() {
            self.input = Some((frame.share()?, skip));
        }
        Ok(())
    }

    /// Says that no samples follow: what is held back comes out.
    ///
    /// # Errors
    /// None so far.
    pub fn finish(&mut self) -> Result<(), Error> {
        if self.state == State::Open {
            self.state = State::Finishing;
        }
        Ok(())
    }

    /// The next frame of the wanted size, or `None` if it needs more samples, or has given all after [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::Libav`] without memory.
    pub fn pull(&mut self) -> Result<Option<AudioFrame>, Error> {
        loop {
            if let Some(frame) = self.pass_on()? {
                return Ok(Some(frame));
            }
            if self.holds {
                self.convert(None)?;
            } else if self.jump.is_some() {
                if self.filled > 0 {
                    self.complete();
                } else {
                    self.line.start = self.jump.take();
                    (self.line.taken, self.line.given) = (0, 0);
                }
            } else if self.silence > 0 {
                self.take_silence()?;
            } else if let Some((frame, skip)) = self.input.take() {
                let samples = frame.samples() - skip;
                self.convert(Some((frame.raw(), skip)))?;
                self.line.taken += i64::try_from(samples).unwrap_or(0);
            } else {
                match self.state {
                    State::Finishing => self.flush()?,
                    State::Flushed => return self.last(),
                    State::Open | State::Ended => return Ok(None),
                }
            }
            if self.filled == self.frame_samples {
                return Ok(self.emit());
            }
        }
    }

    /// A frame that is as it has to be, where nothing is before it that it would have to be joined with.
    fn pass_on(&mut self) -> Result<Option<AudioFrame>, Error> {
        let is_free = self.filled == 0 && !self.holds && self.silence == 0 && self.jump.is_none();
        let fits = |(frame, skip): &(AudioFrame, usize)| *skip == 0 && frame.samples() == self.frame_samples;
        if !is_free || self.from != self.to || !self.input.as_ref().is_some_and(fits) {
            return Ok(None);
        }
        let Some((mut frame, _)) = self.input.take() else { return Ok(None) };
        frame.set_pts(Some(self.line.next()));
        let samples = i64::try_from(frame.samples()).unwrap_or(0);
        self.line.taken += samples;
        self.line.given += samples;
        Ok(Some(frame))
    }

    /// Converts samples, or those held, into the partial frame.
    fn convert(&mut self, input: Option<(&RawFrame, usize)>) -> Result<(), Error> {
        let feed = input.map_or(Feed::Held, |(frame, skip)| Feed::Frame(frame, skip));
        self.fill(|raw, partial, filled| raw.convert(feed, partial, filled))
    }

    fn fill(
        &mut self,
        convert: impl FnOnce(&mut RawResampler, &mut RawFrame, usize) -> Result<usize, Failure>,
    ) -> Result<(), Error> {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => RawFrame::silence(self.frame_samples, self.raw.to())?,
        };
        let result = convert(&mut self.raw, &mut partial, self.filled);
        self.partial = Some(partial);
        self.filled += result?;
        self.holds = self.filled == self.frame_samples;
        Ok(())
    }

    fn take_silence(&mut self) -> Result<(), Error> {
        let count = usize::try_from(self.silence).map_or(SILENCE, |left| left.min(SILENCE));
        let silent = match self.silent.take() {
            Some(silent) => silent,
            None => RawFrame::silence(SILENCE, self.raw.from())?,
        };
        // From the back, so that what is left of the frame is as long as it has to be.
        let result = self.convert(Some((&silent, SILENCE - count)));
        self.silent = Some(silent);
        result?;
        self.silence -= count as u64;
        self.line.taken += i64::try_from(count).unwrap_or(0);
        Ok(())
    }

    /// Fills the partial frame up with silence, which it holds from the start.
    fn complete(&mut self) {
        self.filled = self.frame_samples;
    }

    /// The samples libswresample holds back for its filter.
    fn flush(&mut self) -> Result<(), Error> {
        self.fill(|raw, partial, filled| raw.convert(Feed::End, partial, filled))?;
        if !self.holds {
            self.state = State::Flushed;
        }
        self.holds = false;
        Ok(())
    }

    /// What is still owed after the flush, to the sample.
    fn last(&mut self) -> Result<Option<AudioFrame>, Error> {
        let owed = usize::try_from(self.line.owed().saturating_sub(self.line.given)).unwrap_or(0);
        if owed == 0 {
            self.state = State::Ended;
            return Ok(None);
        }
        if self.partial.is_none() {
            self.partial = Some(RawFrame::silence(self.frame_samples, self.raw.to())?);
        }
        if owed >= self.frame_samples {
            self.complete();
        } else {
            if let Some(partial) = &mut self.partial {
                partial.cut_samples(owed);
            }
            self.filled = owed;
            self.state = State::Ended;
        }
        Ok(self.emit())
    }

    fn emit(&mut self) -> Option<AudioFrame> {
        let mut raw = self.partial.take()?;
        raw.set_pts(Some(self.line.next()));
        self.line.given += i64::try_from(self.filled).unwrap_or(0);
        self.filled = 0;
        Some(AudioFrame::new(raw, &mut self.formats))
    }
}

/// How long the times have leant to one side of where the samples are.
#[derive(Debug, Default)]
struct Lean {
    /// The least they were off since, in samples; negative for early.
    least: i64,
    /// Samples that came since.
    samples: i64,
}

impl Lean {
    /// How many samples of silence to put before a frame that is `off` samples late, or to leave out of it if negative.
    fn correct(&mut self, off: i64, samples: i64, rate: i64) -> i64 {
        if off.abs() >= rate / 20 {
            *self = Self::default();
            return off;
        }
        if off.abs() <= rate / 1000 {
            *self = Self::default();
            return 0;
        }
        if self.least.signum() != off.signum() {
            *self = Self { least: off, samples: 0 };
        }
        if off.abs() < self.least.abs() {
            self.least = off;
        }
        self.samples += samples;
        if self.samples < rate / 2 {
            return 0;
        }
        std::mem::take(self).least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_left_alone_and_drift_is_not() {
        let mut lean = Lean::default();
        for frame in 0..1000 {
            let off = if frame % 2 == 0 { 300 } else { -300 };
            assert_eq!(lean.correct(off, 1024, 48_000), 0);
        }
        let corrections: Vec<i64> = (0..24).map(|_| lean.correct(200, 1024, 48_000)).collect();
        assert_eq!(corrections.iter().sum::<i64>(), 200, "after half a second, once");
        assert_eq!(lean.correct(2400, 1024, 48_000), 2400, "50 ms at once");
        assert_eq!(lean.correct(48, 1024, 48_000), 0, "1 ms stays");
    }
}
