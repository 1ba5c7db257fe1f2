//! Where a program puts what it makes.
//!
//! In: pictures that were drawn in memory that was lent, copies, samples. Out: the same, with times, to the stream they are for. On the
//! program's threads; nothing is encoded here.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use flowcast_av::Canvas;

use super::channel::{Channel, MOST_SOUND};
use super::format::VideoFormat;
use super::samples::{checked, part};
use super::timeline::When;
use super::{FrameStats, WhenFull};
use crate::error::Error;
use crate::sound_format::{AudioFormat, Samples};
use crate::sys::Waiting;

/// Takes the pictures and the sound of a program. Clones are the same sink: one thread may draw while another one plays. When the last
/// clone is dropped, the source is complete; frames that are still being drawn then are left out.
///
/// What is refused ([`Error::Frame`]) is counted and left out; the stream goes on.
#[derive(Debug)]
pub struct FrameSink {
    channel: Arc<Channel>,
}

impl Clone for FrameSink {
    fn clone(&self) -> Self {
        self.channel.count_sink(true);
        Self { channel: self.channel.clone() }
    }
}

impl Drop for FrameSink {
    fn drop(&mut self) {
        self.channel.count_sink(false);
    }
}

impl FrameSink {
    /// The first sink of a channel, which counts it already.
    pub(super) const fn first(channel: Arc<Channel>) -> Self {
        Self { channel }
    }

    /// What pictures are like.
    #[must_use]
    pub fn video_format(&self) -> VideoFormat {
        self.channel.settings.video
    }

    /// What samples are like; `None` if there are none.
    #[must_use]
    pub fn audio_format(&self) -> Option<AudioFormat> {
        self.channel.settings.audio
    }

    /// The figures so far.
    #[must_use]
    pub fn stats(&self) -> FrameStats {
        self.channel.stats()
    }

    /// A picture to draw on, of the pool. It has the pixels of an earlier one, or zeros.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] if the stream has ended; [`Error::Media`] without memory.
    ///
    /// # Blocking
    ///
    /// While all pictures of the [pool](super::Frames::pool_size) are drawn or wait; until the stream ends. With
    /// [`WhenFull::DropOldest`](super::WhenFull), and before the stream starts, the oldest that waits is taken instead.
    pub fn frame(&self) -> Result<Frame, Error> {
        Ok(self.lent(self.channel.lend()?))
    }

    /// As [`frame`](Self::frame), without waiting: `None` if there is no picture now.
    ///
    /// # Errors
    ///
    /// As of [`frame`](Self::frame).
    pub fn try_frame(&self) -> Result<Option<Frame>, Error> {
        Ok(self.channel.try_lend()?.map(|canvas| self.lent(canvas)))
    }

    fn lent(&self, canvas: Canvas) -> Frame {
        Frame { canvas: Some(canvas), channel: self.channel.clone() }
    }

    /// Sends a picture that was drawn. Nothing is copied.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`]; [`Error::Frame`] for a time that goes back, and for a frame of another sink. The frame is back in the pool then.
    ///
    /// # Blocking
    ///
    /// While the queue is full, with [`WhenFull::Block`](super::WhenFull), until the stream ends.
    pub fn send(&self, frame: Frame, when: When) -> Result<(), Error> {
        let mut frame = frame;
        self.hand_over(&mut frame, when, true).map(drop)
    }

    /// As [`send`](Self::send), without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], which gives the frame back.
    pub fn try_send(&self, frame: Frame, when: When) -> Result<(), TrySendError> {
        let mut frame = frame;
        match self.hand_over(&mut frame, when, false) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TrySendError::Full(frame)),
            Err(error) => Err(TrySendError::Refused { frame, error }),
        }
    }

    fn hand_over(&self, frame: &mut Frame, when: When, wait: bool) -> Result<bool, Error> {
        if !Arc::ptr_eq(&frame.channel, &self.channel) {
            return Err(self.refuse("it is of another sink".to_owned()));
        }
        // What is not sent stays there, lent as before.
        self.channel.send_picture(&mut frame.canvas, true, when, wait)
    }

    /// Sends a copy of a picture: for each plane of the [format](super::PixelFormat) its rows, and the bytes from the begin of one row to
    /// that of the next.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send); [`Error::Frame`] for another number of planes, a row that is longer than its distance to the next, and
    /// a plane that ends before its last row.
    ///
    /// # Blocking
    ///
    /// As of [`send`](Self::send).
    pub fn send_copy(&self, planes: &[&[u8]], strides: &[usize], when: When) -> Result<(), Error> {
        let VideoFormat { pixels, size, .. } = self.channel.settings.video;
        let count = pixels.planes();
        if planes.len() != count || strides.len() != count {
            let reason =
                format!("{} planes and {} strides for {count} of {pixels}", planes.len(), strides.len());
            return Err(self.refuse(reason));
        }
        for (plane, (bytes, &stride)) in planes.iter().zip(strides).enumerate() {
            let (row, rows) = pixels.plane_size(plane, size);
            let least = stride.checked_mul(rows.saturating_sub(1)).and_then(|rows| rows.checked_add(row));
            if stride < row || least.is_none_or(|least| bytes.len() < least) {
                let reason = format!(
                    "plane {plane} has {} bytes with {stride} a row, for {rows} rows of {row}",
                    bytes.len()
                );
                return Err(self.refuse(reason));
            }
        }
        let mut canvas = self.channel.lend_copy()?;
        for (plane, (bytes, &stride)) in planes.iter().zip(strides).enumerate() {
            let (row, rows) = pixels.plane_size(plane, size);
            let to = canvas.stride(plane).max(1);
            for (to, from) in canvas.plane_mut(plane).chunks_mut(to).zip(bytes.chunks(stride)).take(rows) {
                to[..row].copy_from_slice(&from[..row]);
            }
        }
        self.channel.send_picture(&mut Some(canvas), false, when, true).map(drop)
    }

    /// Sends samples, as many as there are: slices of the type and number that the [format](AudioFormat) says. A long slice is handed over in
    /// pieces of 100 ms, as there is room; what has no room is dropped by the piece.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`]; [`Error::Frame`] for a time that goes back, another type or number of slices, slices of different lengths, a
    /// value that is no number, and for a source without sound. Nothing of it is heard then.
    ///
    /// # Blocking
    ///
    /// While two seconds of sound wait, with [`WhenFull::Block`](super::WhenFull), until the stream ends.
    pub fn send_samples<'a>(&self, samples: impl Into<Samples<'a>>, when: When) -> Result<(), Error> {
        let (samples, format, count) = self.samples(samples.into())?;
        for from in (0..count).step_by(piece(&format)) {
            let to = (from + piece(&format)).min(count);
            let behind = micros_of(from, &format);
            self.channel.send_samples(part(samples, &format, from..to), when, behind, true)?;
        }
        Ok(())
    }

    /// As [`send_samples`](Self::send_samples), without waiting: `false` if there is no room, and nothing was sent.
    ///
    /// # Errors
    ///
    /// As of [`send_samples`](Self::send_samples); [`Error::Frame`], too, for more than two seconds at once with
    /// [`WhenFull::Block`](super::WhenFull), for which there is never room.
    pub fn try_send_samples<'a>(&self, samples: impl Into<Samples<'a>>, when: When) -> Result<bool, Error> {
        let (samples, format, count) = self.samples(samples.into())?;
        let waits = self.channel.settings.when_full == WhenFull::Block;
        if waits && micros_of(count, &format) > MOST_SOUND {
            return Err(self.refuse("more than two seconds of samples are sent only by waiting".to_owned()));
        }
        // All or nothing, where there may be no room.
        let piece = if waits { count.max(1) } else { piece(&format) };
        for from in (0..count).step_by(piece) {
            let to = (from + piece).min(count);
            let behind = micros_of(from, &format);
            if !self.channel.send_samples(part(samples, &format, from..to), when, behind, false)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn samples<'a>(&self, samples: Samples<'a>) -> Result<(Samples<'a>, AudioFormat, usize), Error> {
        let Some(format) = self.channel.settings.audio else {
            return Err(self.refuse("the source was set up without sound".to_owned()));
        };
        let count = checked(samples, &format).inspect_err(|_| self.channel.count_refused())?;
        Ok((samples, format, count))
    }

    /// Waits, as a future on any runtime, until a picture is free and there is room to send it and samples.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; }
    /// # use flowcast::frames::{FrameSink, When};
    /// # async fn next(sink: FrameSink) -> Result<(), Box<dyn std::error::Error>> {
    /// sink.ready().await?;
    /// if let Some(mut frame) = sink.try_frame()? {
    ///     frame.plane_mut(0).fill(0);
    ///     sink.try_send(frame, When::Now)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn ready(&self) -> Room {
        Room { waiting: Waiting::new(self.channel.wakers.clone()), channel: self.channel.clone() }
    }

    fn refuse(&self, reason: String) -> Error {
        self.channel.count_refused();
        Error::Frame { reason }
    }
}

/// Samples of each channel that are handed over together, of however many in one call: 100 milliseconds.
fn piece(format: &AudioFormat) -> usize {
    (format.sample_rate as usize / 10).max(1)
}

/// How long so many samples are, in microseconds.
fn micros_of(samples: usize, format: &AudioFormat) -> i64 {
    let micros = samples as u128 * 1_000_000 / u128::from(format.sample_rate.max(1));
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// A picture that a program draws on; see [`FrameSink::frame`]. It goes back to the pool when it is dropped.
pub struct Frame {
    canvas: Option<Canvas>,
    channel: Arc<Channel>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("format", &self.channel.settings.video).finish_non_exhaustive()
    }
}

impl Frame {
    /// Bytes from the begin of one row of a plane to that of the next, at least those of its pixels; 0 for a plane it does not have.
    #[must_use]
    pub fn stride(&self, plane: usize) -> usize {
        self.canvas.as_ref().map_or(0, |canvas| canvas.stride(plane))
    }

    /// Rows of a plane; 0 for one it does not have.
    #[must_use]
    pub fn rows(&self, plane: usize) -> usize {
        self.canvas.as_ref().map_or(0, |canvas| canvas.rows(plane))
    }

    /// The bytes of a plane: [`rows`](Self::rows) of [`stride`](Self::stride) bytes each. Empty for one it does not have.
    pub fn plane_mut(&mut self, plane: usize) -> &mut [u8] {
        self.canvas.as_mut().map_or(&mut [], |canvas| canvas.plane_mut(plane))
    }

    /// What it is like.
    #[must_use]
    pub fn format(&self) -> VideoFormat {
        self.channel.settings.video
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.canvas.take().is_some() {
            self.channel.give_back();
        }
    }
}

/// A frame that was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room for it now; see [`FrameSink::ready`].
    #[error("the queue of frames is full")]
    Full(Frame),
    /// It is refused, or the stream has ended.
    #[error("{error}")]
    Refused {
        /// The frame.
        frame: Frame,
        /// Why.
        error: Error,
    },
}

/// Becomes ready when there is room; see [`FrameSink::ready`].
#[derive(Debug)]
pub struct Room {
    waiting: Waiting,
    channel: Arc<Channel>,
}

impl Future for Room {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.channel.has_room() {
            Ok(false) => {}
            Ok(true) => return Poll::Ready(Ok(())),
            Err(error) => return Poll::Ready(Err(error)),
        }
        self.waiting.note(cx.waker());
        match self.channel.has_room() {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}
