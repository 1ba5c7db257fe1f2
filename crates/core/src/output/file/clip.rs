//! A clip: what was on the air lately, as a file.
//!
//! In: how much, from the caller's thread. Out: a file of the tags that the stream's ring still has, from a keyframe on. It is a recording that
//! begins in the past and ends now, so it is written as recordings are, by a thread of its own, and the stream waits for nothing. Where a recording
//! of the stream has more than the ring, the clip is read from its files, on the caller's thread.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Existing, FileOutput, Recording, open};
#[cfg(feature = "libav")]
use super::{from_past::FromPast, past};
use crate::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::StreamId;
use crate::ring::Cursor;
use crate::stats::OutputStats;
use crate::stream::{OpenOutput, OpenedOutput, OutputOpening, StreamRef};
use crate::sys::Latch;

/// Whether the stream has ended is looked at this often.
const LOOK: Duration = Duration::from_millis(50);

/// A part of a stream that was written to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clip {
    /// The file. Where the codec configuration changes in the middle and the format has no place for two, the first of several.
    pub path: PathBuf,
    /// The others, in order. Together they have every picture once.
    pub more: Vec<PathBuf>,
    /// Where it begins in the stream's own time, which counts from the beginning of the stream: at a keyframe.
    pub from: Duration,
    /// Where it ends: at the newest picture or sound there was.
    pub to: Duration,
    /// Bytes of all files.
    pub bytes: u64,
    /// The stream did not have as much any more, or not yet: it is shorter than was asked for.
    pub is_short: bool,
}

impl StreamRef {
    /// Writes what was on the air in the last so many seconds to a file, by copying: from the last keyframe that is at least that old up to now. The
    /// name says the format, as for [`Output::record`](crate::Output::record); a file of this name stays as it is, and the clip goes to `clip-1.mp4`
    /// beside `clip.mp4`.
    ///
    /// How much there is is up to [`BacklogConfig::keep`](crate::BacklogConfig::keep). Without it, it is the newest GOP if the stream has players, else
    /// next to nothing. If the stream is being [recorded](crate::Output::record) and a recording has more, the clip is read from that (not from one
    /// that goes on behind an earlier one, [`Existing::Append`]). It then ends where the recording does on the disk: for MP4 that is the newest
    /// keyframe, else up to [`write_within`](crate::RecordingConfig::write_within) ago. Where there is less than was asked for, the clip has what
    /// there is, and [`Clip::is_short`] says so.
    ///
    /// For the time of writing the clip is one more output, with events ([`Recorded`](EventKind::Recorded)) and figures.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use std::time::Duration;
    ///
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let mut config = Config::default();
    /// config.backlog.keep = Duration::from_secs(30);
    /// let engine = Engine::new(config)?;
    /// let live = engine.stream(Source::published("studio")).to(Output::record("show.flv")).start()?;
    /// // Later, when something happened:
    /// let clip = live.clip("goal.mp4", Duration::from_secs(30), Duration::from_secs(10))?;
    /// println!("{}: {:?} of media", clip.path.display(), clip.to - clip.from);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NothingKept`] if there is no keyframe to begin with; [`Error::Recording`] and [`Error::CodecNotRecorded`] as of a recording;
    /// [`Error::NotInTime`] if it was not written within `deadline`: it is completed all the same; [`Error::NotBuilt`], [`Error::Ended`].
    ///
    /// # Blocking
    ///
    /// Until the file is complete, up to `deadline`. Reading a recording in FLV or MPEG-TS begins at the beginning of its file.
    pub fn clip(&self, path: impl Into<PathBuf>, last: Duration, deadline: Duration) -> Result<Clip, Error> {
        let until = Instant::now() + deadline.min(crate::stream::FOREVER);
        let outcome = Arc::new(Latch::default());
        let wanted = Wanted { path: path.into(), last, outcome: outcome.clone() };
        #[cfg(feature = "libav")]
        if let Some(past) = past::find(self, last, until) {
            let wanted = Wanted { path: wanted.path.clone(), last, outcome: outcome.clone() };
            match self.add_output(FromPast { wanted, past, until, deadline }) {
                Ok(_) => {}
                // It was written, and the stream ended then.
                Err(_) if outcome.get().is_some() => {}
                Err(error @ (Error::NotInTime { .. } | Error::Ended | Error::Recording { .. })) => {
                    return Err(error);
                }
                Err(error) => log::warn!("{}: a recording cannot be read for a clip: {error}", self.id()),
            }
        }
        if outcome.get().is_none() {
            self.add_output(wanted)?;
        }
        loop {
            let now = Instant::now();
            if let Some(outcome) = outcome.wait_until(Some(until.min(now + LOOK))) {
                return outcome;
            }
            if self.has_ended() {
                return outcome.get().unwrap_or(Err(Error::Ended));
            }
            if now >= until {
                return Err(Error::NotInTime { what: "clip", after: deadline });
            }
        }
    }
}

pub(super) type Outcome = Arc<Latch<Result<Clip, Error>>>;

/// A clip that is to be written.
#[derive(Debug)]
pub(super) struct Wanted {
    path: PathBuf,
    pub(super) last: Duration,
    pub(super) outcome: Outcome,
}

impl Wanted {
    /// The clip as the recording that it is.
    pub(super) fn recording(&self) -> Recording {
        Recording {
            path: self.path.clone(),
            format: None,
            existing: Existing::Number,
            all_tracks: false,
            segments: None,
            max_duration: None,
        }
    }
}

impl OpenOutput for Wanted {
    fn is_passing(&self) -> bool {
        true
    }

    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        let file = open(&self.recording(), cx)?;
        let Self { last, outcome, .. } = *self;
        let name = file.path.display().to_string();
        let clip = ClipOutput {
            stream: cx.stream(),
            file,
            last,
            outcome,
            from: None,
            short: false,
            files: Vec::new(),
        };
        Ok(OpenedOutput { name, driver: Box::new(clip) })
    }
}

/// The driver of a clip: that of a recording, which is told where to begin and where to end.
struct ClipOutput {
    stream: StreamId,
    file: FileOutput,
    last: Duration,
    outcome: Outcome,
    /// Where it begins, in milliseconds of the stream, once it has.
    from: Option<i64>,
    short: bool,
    /// Those that are complete: name, end in the clip, bytes.
    files: Vec<(PathBuf, Duration, u64)>,
}

impl ClipOutput {
    /// Finds the place to begin at; `false` if there is none.
    fn begin(&mut self, cx: &OutputContext<'_>) -> bool {
        if self.from.is_some() {
            return true;
        }
        let Some((number, time)) = cx.ring.join_before(self.last) else { return false };
        self.from = Some(time.as_millis());
        let kept = u128::try_from(cx.ring.newest().millis_since(time)).unwrap_or(0);
        self.short = kept < self.last.as_millis();
        self.file.cursor = Cursor::at(number);
        (self.file.until, self.file.is_full) = (Some(cx.ring.end()), true);
        true
    }

    /// Takes notes of the files that were completed in this turn.
    fn note_files(&mut self, notices: &[EventKind]) {
        for notice in notices {
            if let EventKind::Recorded { output, path, to, bytes, .. } = notice
                && *output == self.file.id
            {
                self.files.push((path.clone(), *to, *bytes));
            }
        }
    }

    fn tell(&self, error: Option<&Error>) {
        let from = Duration::from_millis(self.from.and_then(|ms| ms.try_into().ok()).unwrap_or(0));
        let mut paths = self.files.iter().map(|(path, ..)| path.clone());
        let outcome = match (error, paths.next()) {
            (Some(error), _) => Err(error.clone()),
            (None, None) => Err(Error::NothingKept { stream: self.stream }),
            (None, Some(path)) => Ok(Clip {
                path,
                more: paths.collect(),
                from,
                to: from + self.files.iter().map(|(_, to, _)| *to).max().unwrap_or_default(),
                bytes: self.files.iter().map(|(.., bytes)| bytes).sum(),
                is_short: self.short || self.file.cursor.drops() > 0,
            }),
        };
        self.outcome.set(outcome);
    }
}

impl OutputDriver for ClipOutput {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if !self.begin(cx) {
            let error = Error::NothingKept { stream: self.stream };
            self.tell(Some(&error));
            return OutputState::Ended(Some(error));
        }
        let before = cx.notices.len();
        let state = self.file.turn(cx);
        self.note_files(cx.notices.get(before..).unwrap_or_default());
        if let OutputState::Ended(error) = &state {
            self.tell(error.as_ref());
        }
        state
    }

    fn deliver(&mut self, cx: &mut OutputContext<'_>, message: Box<dyn Any + Send>) -> OutputState {
        self.file.deliver(cx, message)
    }

    fn cursor(&self) -> Option<u64> {
        self.file.cursor()
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        if self.begin(cx) {
            self.file.finish(cx);
        }
    }

    fn is_finished(&mut self) -> bool {
        self.from.is_none() || self.file.is_finished()
    }

    fn failure(&self) -> Option<Error> {
        self.file.failure()
    }

    fn patience(&self) -> Duration {
        self.file.patience()
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        self.file.stats(stats);
    }
}

impl Drop for ClipOutput {
    fn drop(&mut self) {
        // With the stream; what was said before counts.
        self.tell(Some(&Error::Ended));
    }
}
