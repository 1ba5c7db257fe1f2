//! Pictures and sound that a program makes, as the source of a stream.
//!
//! In: frames and samples, from threads or tasks of the program ([`FrameSink`]). Out: an encoded stream of a constant rate: late pictures are
//! repeated, early ones replaced, sound that is missing is silent.
//!
//! `channel` holds what waits, `timeline` puts the program's times on the stream's clock, `showing` and `samples` say what is shown and heard
//! when, `worker` encodes, `driver` hands over to the stream's thread.

mod channel;
mod driver;
mod format;
mod samples;
mod showing;
mod sink;
#[cfg(test)]
mod tests;
mod timeline;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use flowcast_av::Scaling;

use self::channel::{Channel, Clock};
pub(crate) use self::driver::{FrameDriver, Made};
pub use self::format::{ColorMatrix, ColorRange, PixelFormat, VideoFormat};
pub use self::sink::{Frame, FrameSink, Room, TrySendError};
pub use self::timeline::When;
pub(crate) use self::worker::FrameOptions;
use crate::error::Error;
pub use crate::sound_format::{AudioFormat, SampleFormat, SampleLayout, Samples};
use crate::words::words;

/// What becomes of a picture, or of samples, where the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// The program waits until there is room: it is slowed down to the rate of the stream.
    #[default]
    Block,
    /// The oldest that waits is dropped. Where the program is ahead of the stream, what waits and what follows is that much earlier.
    DropOldest,
    /// What is sent is dropped. Where the program is ahead of the stream, what follows is that much earlier.
    DropNewest,
}

words!(
    WhenFull,
    "policy for a full queue",
    Block = "block",
    DropOldest = "drop_oldest",
    DropNewest = "drop_newest"
);

/// The settings of a source that a program makes itself.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod encode { pub use flowcast_core::FrameRate; } }
/// use std::time::Duration;
///
/// use flowcast::encode::FrameRate;
/// use flowcast::frames;
/// use flowcast::frames::{AudioFormat, Frames, PixelFormat, VideoFormat};
/// use flowcast::{Config, Engine, Output, Profile};
///
/// let engine = Engine::new(Config::default())?;
/// let drawn = VideoFormat::new(PixelFormat::Rgba, 1280, 720, FrameRate::whole(30));
/// let frames = Frames::new(drawn).audio(AudioFormat::f32(48_000, 2));
/// let (sink, source) = frames.open()?;
/// let live = engine
///     .stream(source.encoding(Profile::Ultra).fallback("one-moment-please.mp4"))
///     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
///     .start()?;
/// for number in 0_u32.. {
///     let mut frame = sink.frame()?; // waits if the program is too fast
///     frame.plane_mut(0).fill(number as u8);
///     sink.send(frame, frames::When::At(Duration::from_secs(1) * number / 30))?;
///     sink.send_samples(&[0.0_f32; 2 * 1600][..], frames::When::At(Duration::from_secs(1) * number / 30))?;
/// }
/// # drop(live);
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "frames are sent only once the source is opened"]
pub struct Frames {
    settings: Settings,
}

/// Settings, read by all parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    pub(crate) video: VideoFormat,
    pub(crate) audio: Option<AudioFormat>,
    pool_size: usize,
    max_queue_size: usize,
    when_full: WhenFull,
    delay: Duration,
    hold: Duration,
    quality: u32,
    threads: u32,
}

impl Frames {
    /// Pictures of this format, and silence.
    pub fn new(video: VideoFormat) -> Self {
        Self {
            settings: Settings {
                video,
                audio: None,
                pool_size: 3,
                max_queue_size: 30,
                when_full: WhenFull::Block,
                delay: Duration::from_millis(100),
                hold: Duration::from_secs(10),
                quality: 80,
                threads: 1,
            },
        }
    }

    /// Sound of this format. Default: none, and silence is sent, because many platforms take no stream without sound.
    pub fn audio(mut self, audio: AudioFormat) -> Self {
        self.settings.audio = Some(audio);
        self
    }

    /// Pictures that are lent ([`FrameSink::frame`]) at a time: those that are drawn, and those that wait to be taken, which is once for each
    /// picture of the stream. 1 to 64. Default 3.
    pub fn pool_size(mut self, pictures: usize) -> Self {
        self.settings.pool_size = pictures;
        self
    }

    /// Pictures that may wait, 1 to 1,000; also never more than 64 MiB of pixels, but always one. Of sound, two seconds may wait, and what
    /// one call of [`FrameSink::try_send_samples`] adds. Default 30.
    pub fn max_queue_size(mut self, pictures: usize) -> Self {
        self.settings.max_queue_size = pictures;
        self
    }

    /// What happens where the queue is full. Default [`WhenFull::Block`]. Before media time begins, the oldest is dropped; blocking
    /// begins with the start of the stream, whose outputs may take up to 5 s to be ready.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.settings.when_full = when_full;
        self
    }

    /// How far the stream is behind the program, so that what comes a little late is shown and heard on time: up to 2 s, at least one
    /// picture. Default 100 ms.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.settings.delay = delay;
        self
    }

    /// How long the last picture is shown, with silence, when no other one comes: 500 ms to an hour. Then the source gives nothing, and
    /// its [fallback](crate::Source::fallback) takes over. Without one, the picture stays. Default 10 s.
    pub fn hold(mut self, hold: Duration) -> Self {
        self.settings.hold = hold;
        self
    }

    /// How well pictures are converted where their size or pixel format changes, 1 to 100: the fastest way up to 40, bilinear up to 80,
    /// bicubic up to 95, then bicubic with exact rounding. Default 80.
    pub fn quality(mut self, quality: u32) -> Self {
        self.settings.quality = quality;
        self
    }

    /// Threads that convert one picture together, 1 to 16. Default 1: the thread that encodes. More of them shorten the time to a picture;
    /// together they use more CPU time than one.
    pub fn conversion_threads(mut self, threads: u32) -> Self {
        self.settings.threads = threads;
        self
    }

    /// What sinks and a source of these settings share.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings that cannot work; [`Error::Media`] without memory.
    pub(crate) fn made(self) -> Result<(FrameSink, Made), Error> {
        self.made_at(Clock::System)
    }

    fn made_at(self, clock: Clock) -> Result<(FrameSink, Made), Error> {
        self.settings.problems().into_iter().next().map_or(Ok(()), Err)?;
        let channel = Arc::new(Channel::new(self.settings, clock)?);
        Ok((FrameSink::first(channel.clone()), Made::new(channel)))
    }
}

impl From<VideoFormat> for Frames {
    fn from(video: VideoFormat) -> Self {
        Self::new(video)
    }
}

impl Settings {
    fn problems(&self) -> Vec<Error> {
        let mut found = self.video.problems();
        found.extend(self.audio.and_then(|audio| audio.check("frames.audio").err()));
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        if !(1..=64).contains(&self.pool_size) {
            fail("frames.pool_size", "must be 1 to 64");
        }
        if !(1..=1000).contains(&self.max_queue_size) {
            fail("frames.max_queue_size", "must be 1 to 1000");
        }
        if self.delay > Duration::from_secs(2) {
            fail("frames.delay", "must be at most 2 s");
        }
        if !(Duration::from_millis(500)..=Duration::from_secs(3600)).contains(&self.hold) {
            fail("frames.hold", "must be 500 ms to an hour");
        }
        if !(1..=100).contains(&self.quality) {
            fail("frames.quality", "must be 1 to 100");
        }
        if !(1..=16).contains(&self.threads) {
            fail("frames.conversion_threads", "must be 1 to 16");
        }
        found
    }

    fn scaling(&self) -> Scaling {
        match self.quality {
            ..=40 => Scaling::Fast,
            41..=80 => Scaling::Bilinear,
            81..=95 => Scaling::Bicubic,
            96.. => Scaling::Accurate,
        }
    }
}

/// What became of the frames of a program; see [`FrameSink::stats`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameStats {
    /// Pictures that were taken from the program.
    pub pictures: u64,
    /// Samples of each channel that were taken from it.
    pub samples: u64,
    /// Pictures, or calls with samples, that were refused as wrong.
    pub refused: u64,
    /// Pictures that were dropped because the queue was full.
    pub dropped: u64,
    /// Samples of each channel, likewise.
    pub dropped_samples: u64,
    /// Pictures of the stream that show the one before again: none had come in time.
    pub repeated: u64,
    /// Pictures that were never shown: a newer one took their place.
    pub replaced: u64,
    /// Pictures that were never shown, because the encoder was more than half a second behind.
    pub skipped: u64,
    /// Pictures of the stream that were not encoded, because the encoder was more than a second behind.
    pub lost: u64,
    /// Samples of the stream that are silent, because none had come in time.
    pub silent_samples: u64,
    /// Samples that were left out because they came too late.
    pub late_samples: u64,
    /// New timelines: times of the program that were two seconds off, or always late.
    pub timelines: u64,
    /// Pictures that wait now.
    pub queued: u64,
    /// Bytes of their pixels.
    pub queued_bytes: u64,
}
