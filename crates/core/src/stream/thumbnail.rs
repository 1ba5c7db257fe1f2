//! Thumbnails of a stream that runs.
//!
//! In: who wants one, on its own thread. Out: the newest keyframe, from the stream's thread, as a JPEG, from the threads that make them.
//! There is one under way for each stream, and one that was just made is given again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::handle::StreamRef;
use super::mailbox::Command;
use crate::error::Error;
use crate::ring::Keyframe;
use crate::sys::Latch;
use crate::thumbnail::{Order, Thumbnail, ThumbnailOptions};

/// One that was made is given again for this long.
const FRESH: Duration = Duration::from_secs(1);
/// Kinds of thumbnails of a stream that are remembered.
const KINDS: usize = 4;
/// Whether the stream has ended is looked at this often.
const LOOK: Duration = Duration::from_millis(50);

/// What the stream's thread answers.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    Keyframe(Box<Keyframe>),
    /// It has only sound.
    NoPicture,
}

/// Those that were made last. Locked while one is being made.
#[derive(Debug, Default)]
pub(crate) struct Thumbnails(Mutex<Vec<(ThumbnailOptions, Thumbnail)>>);

impl StreamRef {
    /// The newest keyframe as JPEG: what the stream shows, up to one GOP ago. It is decoded away from the stream's thread, on one of a few
    /// threads that all streams share ([`Config::thumbnail_threads`](crate::Config::thumbnail_threads)). One that was made in the last second is given
    /// again, and callers at the same time get the same one.
    ///
    /// A stream keeps its newest keyframe anyway if it is played from a reel or has players. Otherwise the first call waits for
    /// the next one, and for a minute after each call the stream keeps the newest one: some hundred kilobytes.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod thumbnail { pub use flowcast_core::*; } }
    /// use std::time::Duration;
    ///
    /// use flowcast::thumbnail::ThumbnailOptions;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let live = engine.stream(Source::file("rain.mp4").looped()).to(Output::record("rain.flv")).start()?;
    /// let wide = ThumbnailOptions::default().with(|options| options.max_width = 640);
    /// let picture = live.thumbnail(&wide, Duration::from_secs(5))?;
    /// std::fs::write("rain.jpg", &picture.jpeg)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoPicture`] for a stream of sound alone; [`Error::NotInTime`] if there was no keyframe, or no free thread, within
    /// `deadline`; [`Error::Media`] for a codec that the linked FFmpeg does not decode, or a damaged picture; [`Error::Config`] for options that cannot
    /// work; [`Error::NotBuilt`] without the feature `libav`; [`Error::Ended`].
    ///
    /// # Blocking
    ///
    /// Up to `deadline`; a few milliseconds where a keyframe is kept.
    pub fn thumbnail(&self, options: &ThumbnailOptions, deadline: Duration) -> Result<Thumbnail, Error> {
        options.problems().into_iter().next().map_or(Ok(()), Err)?;
        if cfg!(not(feature = "libav")) {
            return Err(Error::NotBuilt { feature: "libav" });
        }
        let until = Instant::now() + deadline.min(super::FOREVER);
        let late = || Error::NotInTime { what: "thumbnail", after: deadline };
        let mut made = self.shared.thumbnails.0.try_lock_until(until).ok_or_else(late)?;
        made.retain(|(_, thumbnail)| thumbnail.made.elapsed() < FRESH);
        if let Some((_, fresh)) = made.iter().find(|(kind, _)| kind == options) {
            return Ok(fresh.clone());
        }
        let answer = Arc::new(Latch::default());
        self.send(Command::Show(answer.clone()))?;
        let keyframe = match self.wait_for(&answer, until)?.ok_or_else(late)? {
            Shown::Keyframe(keyframe) => *keyframe,
            Shown::NoPicture => return Err(Error::NoPicture { stream: self.id() }),
        };
        let developed = Arc::new(Latch::default());
        let done = developed.clone();
        let done = Box::new(move |thumbnail| {
            done.set(thumbnail);
        });
        let cpu = self.shared.cpu.clone();
        self.registry.studio().order(Order { keyframe, options: *options, cpu, done })?;
        let thumbnail = developed.wait_until(Some(until)).ok_or_else(late)??;
        if made.len() == KINDS {
            made.remove(0);
        }
        made.push((*options, thumbnail.clone()));
        Ok(thumbnail)
    }

    /// Waits for an answer of the stream's thread; `None` if it is not there in time.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`].
    fn wait_for<T: Clone>(&self, answer: &Latch<T>, until: Instant) -> Result<Option<T>, Error> {
        loop {
            let now = Instant::now();
            if let Some(answer) = answer.wait_until(Some(until.min(now + LOOK))) {
                return Ok(Some(answer));
            }
            if self.has_ended() {
                return answer.get().map_or(Err(Error::Ended), |answer| Ok(Some(answer)));
            }
            if now >= until {
                return Ok(None);
            }
        }
    }
}
