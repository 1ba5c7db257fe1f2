//! A clip that is read from a recording.
//!
//! In: what the recording has. Out: the file of the clip. It is written while the output is opened, on the caller's thread; its driver has only to tell
//! of it, and ends with its first turn.

use std::path::Path;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::begin;
use super::clip::{Clip, Wanted};
use super::files::{Closed, Files};
use super::format::Format;
use super::past::Past;
use super::writer::leaves_free;
use crate::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::output::media::NotHeld;
use crate::stats::{OutputPhase, OutputStats, OutputTransport};
use crate::stream::{OpenOutput, OpenedOutput, OutputOpening};

/// Bytes that are written at once.
const BATCH: usize = 1 << 20;

/// A clip, and the recording that has it.
#[derive(Debug)]
pub(super) struct FromPast {
    pub(super) wanted: Wanted,
    pub(super) past: Past,
    pub(super) until: Instant,
    pub(super) deadline: Duration,
}

impl OpenOutput for FromPast {
    fn is_passing(&self) -> bool {
        true
    }

    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        let Self { wanted, past, until, deadline } = *self;
        let (files, closed) = begin(&wanted.recording(), cx)?;
        let last = i64::try_from(wanted.last.as_millis()).unwrap_or(i64::MAX);
        let from_ms = past.newest.saturating_sub(past.base).saturating_sub(last);
        let mut writing = Writing::new(files, cx.config().recording.keep_free);
        let read = past.read(from_ms, until, |tag| writing.take(tag));
        // What was written until then is completed either way.
        let finished = writing.finish();
        let Some(begins) = read.map_err(|error| in_time(error, deadline))? else {
            return Err(Error::NothingKept { stream: cx.stream() });
        };
        finished?;
        let files: Vec<Closed> = closed.try_iter().collect();
        let mut paths = files.iter().map(|file| file.path.clone());
        let Some(path) = paths.next() else { return Err(Error::NothingKept { stream: cx.stream() }) };
        let from = Duration::from_millis(u64::try_from(past.base + begins).unwrap_or(0));
        let clip = Clip {
            path: path.clone(),
            more: paths.collect(),
            from,
            to: from + files.iter().map(|file| file.to).max().unwrap_or_default(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            is_short: begins > from_ms,
        };
        let driver = Written { id: cx.output(), clip: clip.clone(), files };
        wanted.outcome.set(Ok(clip));
        Ok(OpenedOutput { name: path.display().to_string(), driver: Box::new(driver) })
    }
}

/// Time that is up is said as the caller put it.
fn in_time(error: Error, deadline: Duration) -> Error {
    match error {
        Error::Media(flowcast_av::Error::Timeout { .. } | flowcast_av::Error::Cancelled { .. }) => {
            Error::NotInTime { what: "clip", after: deadline }
        }
        error => error,
    }
}

/// The files of the clip, and what is to be written to them.
struct Writing {
    files: Files,
    keep_free: u64,
    /// The time of the first tag, which the clip counts from.
    zero: Option<i64>,
    batch: Vec<Tag>,
    bytes: usize,
}

impl Writing {
    fn new(files: Files, keep_free: u64) -> Self {
        Self { files, keep_free, zero: None, batch: Vec::new(), bytes: 0 }
    }

    fn take(&mut self, tag: Tag) -> Result<(), Error> {
        let at = tag.timestamp.as_millis();
        let zero = *self.zero.get_or_insert(at);
        self.bytes += tag.body.len();
        if tag.body.len() <= self.files.largest_body() {
            self.batch.push(Tag { timestamp: MediaTime::from_millis((at - zero).max(0)), ..tag });
        }
        if self.bytes >= BATCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let path = self.files.path().to_owned();
        if (self.keep_free > 0 && !leaves_free(&path, self.keep_free)) || self.files.is_over().is_some() {
            return Err(failed(&path, std::io::ErrorKind::StorageFull.into()));
        }
        self.bytes = 0;
        let written = self.files.write(&self.batch);
        self.batch.clear();
        written.map_err(|source| failed(&path, source))
    }

    fn finish(mut self) -> Result<(), Error> {
        let written = if self.batch.is_empty() { Ok(()) } else { self.write() };
        let path = self.files.path().to_owned();
        let finished = Box::new(self.files).finish().map_err(|source| failed(&path, source));
        written.and(finished)
    }
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    let path = path.to_owned();
    match source.downcast::<NotHeld>() {
        Ok(NotHeld { codec, container: format }) => Error::CodecNotRecorded { path, codec, format },
        Err(source) => Error::Recording { path, source: source.into() },
    }
}

/// The driver of a clip that is complete.
struct Written {
    id: OutputId,
    clip: Clip,
    files: Vec<Closed>,
}

impl OutputDriver for Written {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        for Closed { path, from, to, bytes } in self.files.drain(..) {
            cx.notices.push(EventKind::RecordingOpened { output: self.id, path: path.clone() });
            cx.notices.push(EventKind::Recorded { output: self.id, path, from, to, bytes });
        }
        OutputState::Ended(None)
    }

    fn cursor(&self) -> Option<u64> {
        None
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.turn(cx);
    }

    fn is_finished(&mut self) -> bool {
        true
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Ended;
        stats.transport = OutputTransport::File;
        stats.path = Some(self.clip.path.clone());
        stats.bytes_sent = self.clip.bytes;
    }
}
