//! Samples of the program, on their way into a mix.
//!
//! In: samples in the program's format, on its thread. Out: the same at the rate and with the channels of the mix, in the input's queue.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use flowcast_av::{AudioFormat as Form, AudioFrame, Resampler};

use super::control::Shared;
use super::line::Line;
use super::queue::SampleQueue;
use super::settings::refuse;
use crate::error::Error;
use crate::sound_format::{AudioFormat, Samples};
use crate::sys::Waiting;

/// Samples that are converted at once: what is given is not held back for longer.
const PIECE: usize = 128;

/// Takes the samples of one input of a mixer: from [`MixerRef::sink`](crate::MixerRef::sink). May be used on any one thread.
///
/// The mix takes samples as fast as the stream plays them. A program that makes them as they are needed gives them with
/// [`send`](Self::send), which waits for room, and so keeps step. One that gets them from a device, which has a clock of its own, uses
/// [`try_send`](Self::try_send), and never waits; or better, an input that is a [`device`](crate::MixInput::device), whose clock is followed.
#[derive(Debug)]
pub struct SampleSink {
    shared: Arc<Shared>,
    index: usize,
    queue: Arc<SampleQueue>,
    format: AudioFormat,
    /// `None` where nothing is to be converted.
    resampler: Option<Resampler>,
    /// What follows the clock of a device, if it is one.
    line: Option<Line>,
}

impl SampleSink {
    /// Takes the place of the one that gives the samples of an input.
    pub(super) fn take(shared: &Arc<Shared>, index: usize) -> Result<Self, Error> {
        let input = &shared.inputs[index];
        let (Some(format), Some(queue)) = (input.samples, input.queue.clone()) else {
            return Err(refuse("mixer.sink", format!("{:?} takes no samples of the program", input.name)));
        };
        if shared.is_over() {
            return Err(Error::Ended);
        }
        if input.has_sink.swap(true, Ordering::AcqRel) {
            return Err(refuse("mixer.sink", format!("the sink of {:?} is taken", input.name)));
        }
        let line = input.is_line.then(|| Line::new(shared.clone(), index, queue.clone()));
        if line.is_none() {
            queue.begin();
        }
        let (rate, channels) = (shared.format.rate, shared.format.channels);
        let is_right = (format.sample_rate, format.channels) == (rate, channels);
        let mut sink = Self { shared: shared.clone(), index, queue, format, resampler: None, line };
        if !is_right {
            let (from, to) = (form(format.sample_rate, format.channels), form(rate, channels));
            sink.resampler = Some(Resampler::new(&from, &to, PIECE)?);
        }
        Ok(sink)
    }

    /// What it takes.
    #[must_use]
    pub const fn format(&self) -> AudioFormat {
        self.format
    }

    /// Gives samples, any number of them, and waits until there is room for all. What is no finite number is silence.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for samples that are not of its [format](Self::format), of which none is taken; [`Error::Ended`] once the stream
    /// has ended, or plays another source.
    ///
    /// # Blocking
    ///
    /// Until there is room: half a second of sound waits at most. While the source has nothing to play, nothing is taken. Of a
    /// [device](crate::MixInput::device), it never waits.
    pub fn send<'a>(&mut self, samples: impl Into<Samples<'a>>) -> Result<(), Error> {
        for rows in self.convert(samples.into())? {
            if let Some(line) = &mut self.line {
                line.give(&rows);
            } else if !self.queue.push(&rows) {
                return Err(Error::Ended);
            }
        }
        Ok(())
    }

    /// Gives samples, any number of them, and never waits: those there is no room for are dropped, which is
    /// [counted](crate::MixInputStats::dropped_samples). Says whether all were taken. Of a [device](crate::MixInput::device), all are, and the
    /// oldest that wait are dropped for them.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send).
    pub fn try_send<'a>(&mut self, samples: impl Into<Samples<'a>>) -> Result<bool, Error> {
        let mut all = true;
        for rows in self.convert(samples.into())? {
            if let Some(line) = &mut self.line {
                line.give(&rows);
                continue;
            }
            let taken = self.queue.try_push(&rows).ok_or(Error::Ended)?;
            all &= taken == rows.first().map_or(0, Vec::len);
        }
        Ok(all)
    }

    /// Samples of each channel that are taken now without a wait, and without one being dropped. Of a [device](crate::MixInput::device), any
    /// number is taken: `usize::MAX`.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.line.is_some() {
            return usize::MAX;
        }
        let room = self.queue.room() as u64 * u64::from(self.format.sample_rate);
        let room = room / u64::from(self.shared.format.rate.max(1));
        // What the resampler still has comes before them.
        let spare = if self.resampler.is_some() { PIECE as u64 } else { 0 };
        usize::try_from(room.saturating_sub(spare)).unwrap_or(usize::MAX)
    }

    /// For async programs: becomes ready once there is room for a quarter of a second of samples, or fails once the stream has ended or plays another
    /// source. It needs no runtime and no thread, and dropping it costs nothing.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::Error; pub mod mix { pub use flowcast_core::SampleSink; } }
    /// use flowcast::Error;
    /// use flowcast::mix::SampleSink;
    ///
    /// async fn tone(mut sink: SampleSink) -> Result<(), Error> {
    ///     let mut at = 0_u32;
    ///     loop {
    ///         sink.ready().await?;
    ///         // Half of what there is room for at least: mono, at the rate of the sink.
    ///         let count = sink.room() as u32;
    ///         let rate = sink.format().sample_rate as f32;
    ///         let tone = |at| (at as f32 / rate * 440.0 * std::f32::consts::TAU).sin() * 0.2;
    ///         let samples: Vec<f32> = (at..at + count).map(tone).collect();
    ///         sink.try_send(&samples[..])?;
    ///         at += count;
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn ready(&self) -> SampleRoom {
        let queue = self.line.is_none().then(|| self.queue.clone());
        SampleRoom { waiting: Waiting::new(self.queue.wakers()), queue }
    }

    /// The samples as they are mixed.
    fn convert(&mut self, samples: Samples<'_>) -> Result<Vec<Vec<Vec<f32>>>, Error> {
        let rows = samples.rows(&self.format, "samples")?;
        if self.queue.is_closed() {
            return Err(Error::Ended);
        }
        if rows.first().is_none_or(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let Some(resampler) = &mut self.resampler else { return Ok(vec![rows]) };
        let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        resampler.push(&AudioFrame::from_channels(self.format.sample_rate, &slices)?)?;
        let mut pieces = Vec::new();
        while let Some(frame) = resampler.pull()? {
            pieces.push(frame.to_channels()?);
        }
        Ok(pieces)
    }
}

/// Becomes ready when there is room; see [`SampleSink::ready`].
#[derive(Debug)]
pub struct SampleRoom {
    waiting: Waiting,
    /// `None` where there always is.
    queue: Option<Arc<SampleQueue>>,
}

impl SampleRoom {
    fn look(&self) -> Option<Result<(), Error>> {
        match self.queue.as_ref().map_or(Some(true), |queue| queue.has_room()) {
            Some(true) => Some(Ok(())),
            Some(false) => None,
            None => Some(Err(Error::Ended)),
        }
    }
}

impl Future for SampleRoom {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(seen) = self.look() {
            return Poll::Ready(seen);
        }
        self.waiting.note(cx.waker());
        self.look().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for SampleSink {
    fn drop(&mut self) {
        if let Some(input) = self.shared.inputs.get(self.index) {
            self.queue.finish();
            input.has_sink.store(false, Ordering::Release);
        }
    }
}

/// 32-bit float, a row for each channel, in the usual layout for their number.
pub(super) fn form(sample_rate: u32, channels: u32) -> Form {
    Form { sample_rate, channels, layout: layout(channels), sample_format: "fltp".to_owned() }
}

/// libav's name of it.
fn layout(channels: u32) -> String {
    let silence = AudioFrame::silence(
        &Form { sample_rate: 48_000, channels, layout: String::new(), sample_format: "fltp".to_owned() },
        1,
    );
    silence.map(|frame| frame.format().layout.clone()).unwrap_or_default()
}
