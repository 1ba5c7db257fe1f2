//! A source that a program makes itself.

use super::open::Opening;
use super::{Media, Source};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::frames::{FrameDriver, FrameOptions, FrameSink, Frames, Made};
use crate::transcode::{Mode, Wish};

/// Frames a second that an encoder is given at most where none are asked for, as for files.
const MOST_RATE: f64 = 60.0;

impl Frames {
    /// The sink, and the source for [`Engine::stream`](crate::Engine::stream). The source is for one stream; it may be
    /// [encoded](Source::encoding) in any way and have a [fallback](Source::fallback). It cannot be written down, and a stream of it is
    /// not kept for a restart.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings that cannot work; [`Error::Media`] without memory.
    pub fn open(self) -> Result<(FrameSink, Source), Error> {
        let (sink, made) = self.made()?;
        Ok((sink, Source::of(Media::Frames(made)).mode(Mode::Encode)))
    }
}

impl Source {
    /// What cannot work of frames.
    pub(super) fn frame_problems(&self) -> Option<Error> {
        (self.wish.mode() != Mode::Encode).then(|| {
            let reason = "what a program makes is always encoded".to_owned();
            Error::Config { name: "mode", reason }
        })
    }
}

impl Opening<'_> {
    pub(super) fn framed(&self, source: &Source, made: &Made) -> Result<Box<dyn SourceDriver>, Error> {
        source.wish.check()?;
        let mut wish = Wish { encoding: source.encoding_on_air(), ..source.wish.clone() };
        let rate = made.video().rate();
        if wish.platforms.is_empty() && rate.as_f64() <= MOST_RATE {
            wish.encoding.frame_rate.get_or_insert(rate);
        }
        let encoding = self.live_options(source, "frames", wish)?;
        let options = FrameOptions { encoding, has_fallback: source.has_fallback() };
        Ok(Box::new(FrameDriver::start(made.clone(), options)?))
    }
}
