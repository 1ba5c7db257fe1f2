//! An output that writes files: a recording, or what is played with HLS.
//!
//! In: tags from the stream's ring, gathered for half a second or so and handed over as one. Out: files that can be played while
//! they are written, by a thread of their own. [`FileOutput`] is the driver, [`Queue`] what waits for the disk, [`writer`] the
//! thread, and a [`Format`] what becomes of the tags: [`Files`], which are of one kind each. What a slow disk has no room for waits in the ring. A disk that is full or
//! slow costs this output only.

mod clip;
pub(in crate::output) mod existing;
pub(in crate::output) mod files;
mod flv;
pub(in crate::output) mod format;
#[cfg(feature = "libav")]
mod from_past;
mod keep;
#[cfg(feature = "libav")]
pub(in crate::output) mod libav;
pub(in crate::output) mod mp4;
mod names;
#[cfg(feature = "libav")]
mod past;
#[cfg(feature = "libav")]
mod reread;
mod segments;
pub(in crate::output) mod whole;
mod writer;

#[cfg(feature = "libav")]
use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::Recording;
use super::gate::{Fit, Intake};
use super::hls::Standing;
use super::media::NotHeld;
use super::queue::{self, Queue};
use crate::config::RecordingConfig;
use crate::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::ring::cursor::{Cursor, Offer, Skipping};
use crate::ring::{Entry, Read, Ring};
use crate::stats::{OutputFailure, OutputPhase, OutputStats, OutputTransport};
use crate::stream::{OpenedOutput, OutputOpening};
use crate::sys::CpuMeter;
use files::{Closed, Files, Parts, Plan, Row};
use format::Format;
pub(super) use names::Names;
pub(super) use segments::Zone;
use writer::{Report, Writer};

pub use clip::Clip;
pub use existing::Existing;
pub use format::FileFormat;
#[cfg(feature = "libav")]
pub(super) use format::in_mpeg_ts;
pub use segments::Segments;

/// While tags are being dropped all the time, that is reported this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Opens a recording, and starts its writer.
///
/// # Errors
///
/// [`Error::Recording`] with what is in the way, see [`existing::open`]; [`Error::NotBuilt`]; no thread left.
///
/// # Blocking
///
/// On the file system.
pub(super) fn record(recording: &Recording, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
    let driver = open(recording, cx)?;
    Ok(OpenedOutput { name: driver.path.display().to_string(), driver: Box::new(driver) })
}

fn open(recording: &Recording, cx: &OutputOpening<'_>) -> Result<FileOutput, Error> {
    let (files, closed) = begin(recording, cx)?;
    let intake = Intake::file(recording.all_tracks).with_data(recording.format() == FileFormat::MpegTs);
    let mut driver =
        FileOutput::start(cx.output(), Box::new(files), intake, &cx.config().recording, cx.cpu())?;
    (driver.closed, driver.most) = (closed, recording.max_duration);
    #[cfg(feature = "libav")]
    {
        driver.log = past::Log::new(recording.existing == Existing::Append);
    }
    Ok(driver)
}

/// Opens the first file of a recording, and the way on which complete ones are told.
fn begin(recording: &Recording, cx: &OutputOpening<'_>) -> Result<(Files, Receiver<Closed>), Error> {
    let (path, format, existing) = (recording.path.clone(), recording.format(), recording.existing);
    if !format.is_built() {
        return Err(Error::NotBuilt { feature: "libav" });
    }
    let parts = recording.segments.clone().map(|segments| {
        let names = names_of(&path, &segments, &cx.stream_name());
        names
            .map(|names| Parts::new(segments, names))
            .map_err(|reason| Error::Config { name: "record", reason })
    });
    let (files, parts) = (cx.files().clone(), parts.transpose()?);
    let (sender, closed) = crossbeam_channel::unbounded();
    let file = Files::open(Plan { format, path: path.clone(), existing, files, parts }, sender)
        .map_err(|source| Error::Recording { path, source: source.into() })?
        .counted(cx.recordings().begin());
    if existing == Existing::Append && format != FileFormat::Flv {
        // A file that is there was refused for what it is. One that was just made goes: the next start would be refused.
        let reason = format!("a recording as {format} cannot be continued");
        return Err(Error::Config { name: "existing", reason });
    }
    Ok((file, closed))
}

/// What the driver of an HLS output has besides that of a recording.
#[derive(Debug)]
pub(super) struct HlsParts {
    /// Its playlist.
    pub(super) path: PathBuf,
    /// Which is a file.
    pub(super) is_file: bool,
    /// It leaves room on the disk as recordings do, because it grows without end.
    pub(super) keeps_free: bool,
    /// What its writer tells.
    pub(super) news: Receiver<EventKind>,
    pub(super) standing: Arc<Standing>,
}

/// Opens an output that is played with HLS, and starts its writer.
///
/// # Errors
///
/// No thread left.
pub(super) fn start_hls(
    row: impl Row + 'static,
    hls: HlsParts,
    cx: &OutputOpening<'_>,
) -> Result<OpenedOutput, Error> {
    let failed = |source: io::Error| Error::Hls { path: hls.path.clone(), source: source.into() };
    // Its files are no recordings: nobody is told of each.
    let (nobody, _) = crossbeam_channel::bounded(0);
    let files = Files::open(row, nobody).map_err(failed)?;
    let mut config = cx.config().recording.clone();
    if !hls.keeps_free {
        config.keep_free = 0;
    }
    let name = hls.path.display().to_string();
    let mut driver = FileOutput::start(cx.output(), Box::new(files), Intake::file(false), &config, cx.cpu())?;
    driver.hls = Some(hls);
    Ok(OpenedOutput { name, driver: Box::new(driver) })
}

/// The names of a recording's files.
///
/// # Errors
///
/// What is wrong with the pattern.
fn names_of(pattern: &Path, segments: &Segments, stream: &str) -> Result<Names, String> {
    Names::new(pattern, stream, segments.zone().unwrap_or(Zone::Utc))
}

/// What is wrong with the pattern of a recording that is cut.
pub(super) fn problem_of(pattern: &Path, segments: &Segments) -> Option<String> {
    names_of(pattern, segments, "").err()
}

/// The driver of files.
struct FileOutput {
    id: OutputId,
    /// The file that is written, as last reported.
    path: PathBuf,
    /// Files that are still to be reported.
    opened: Vec<PathBuf>,
    /// Those that are complete.
    closed: Receiver<Closed>,
    /// The files it has, for clips.
    #[cfg(feature = "libav")]
    log: past::Log,
    /// It is no recording, but is played with HLS.
    hls: Option<HlsParts>,
    /// The largest body of a tag that the format can hold.
    largest_body: usize,
    queue: Queue,
    writer: Writer,
    intake: Intake,
    cursor: Cursor,
    /// The tag the recording ends before, once it was asked to end.
    until: Option<u64>,
    /// The most media it takes.
    most: Option<Duration>,
    /// It has that much, and ends by itself.
    is_full: bool,
    reported: u64,
    /// When drops were last told.
    told: Option<Instant>,
    failed: Option<Error>,
    /// What an HLS output waits for the end of.
    last_error: Option<OutputFailure>,
    finished: bool,
}

impl FileOutput {
    /// Starts the writer of a format.
    fn start(
        id: OutputId,
        format: Box<dyn Format>,
        intake: Intake,
        config: &RecordingConfig,
        cpu: CpuMeter,
    ) -> Result<Self, Error> {
        let (path, largest_body) = (format.path().to_owned(), format.largest_body());
        let (queue, batches) = queue::queue(config.write_within);
        let writer = Writer::start(format!("fr-{id}"), format, batches, config.keep_free, cpu)
            .map_err(|source| Error::System { what: "no thread for a recording", source: source.into() })?;
        Ok(Self::new(id, path, largest_body, queue, writer, intake))
    }

    fn new(
        id: OutputId,
        path: PathBuf,
        largest_body: usize,
        queue: Queue,
        writer: Writer,
        intake: Intake,
    ) -> Self {
        Self {
            id,
            path,
            opened: Vec::new(),
            closed: crossbeam_channel::never(),
            #[cfg(feature = "libav")]
            log: past::Log::default(),
            hls: None,
            largest_body,
            queue,
            writer,
            intake,
            cursor: Cursor::oldest(),
            until: None,
            most: None,
            is_full: false,
            reported: 0,
            told: None,
            failed: None,
            last_error: None,
            finished: false,
        }
    }

    /// Takes what is there, as far as the disk is not behind; the rest stays in the ring.
    fn feed(&mut self, ring: &Ring, now: Instant) {
        self.cursor.lose_until(ring.start(), Skipping::Everything);
        let again = ring.is_refillable();
        if self.wants_more(again) {
            ring.read(self.cursor.next(), &mut |read| {
                match read {
                    Read::Tag(entry) => self.take(entry),
                    Read::Lost(count) => {
                        self.cursor.lose_until(self.cursor.next() + count, Skipping::Everything);
                    }
                }
                self.wants_more(again)
            });
        }
        self.queue.hand_over_due(now);
        if self.has_all() {
            self.queue.close();
        }
    }

    /// Whether it takes the tag at the cursor now; less waits where it can be made `again`.
    fn wants_more(&self, again: bool) -> bool {
        !self.has_all() && self.queue.has_room(again)
    }

    /// Whether it took what belongs to it, up to its end.
    fn has_all(&self) -> bool {
        self.until.is_some_and(|until| self.cursor.next() >= until)
    }

    fn take(&mut self, entry: &Entry) {
        let tag = entry.message.tag();
        if let (Some(most), Some(base)) = (self.most, self.cursor.base())
            && u64::try_from(tag.timestamp.millis_since(base))
                .is_ok_and(|ms| u128::from(ms) >= most.as_millis())
        {
            (self.until, self.is_full) = (Some(self.cursor.next()), true);
            return;
        }
        if entry.is_return {
            self.queue.note_return();
        }
        match self.cursor.offer(entry, || true) {
            Offer::Begin { headers, .. } => {
                for header in headers.at(tag.timestamp) {
                    self.queue(&header);
                }
            }
            Offer::Send => {}
            Offer::Before | Offer::Dropped => return,
        }
        if !self.queue(tag) {
            self.cursor.skip(Skipping::Everything);
            self.cursor.drop_one();
        }
    }

    /// Queues a tag in the form that recordings have; `false` if the format cannot hold it.
    fn queue(&mut self, tag: &Tag) -> bool {
        match self.intake.fit(tag) {
            Fit::AsItIs => self.push(tag),
            Fit::As(tag) => self.push(&tag),
            Fit::Not => true,
        }
    }

    /// Queues a tag, on the recording's own clock.
    fn push(&mut self, tag: &Tag) -> bool {
        let Some(base) = self.cursor.base() else { return false };
        if tag.body.len() > self.largest_body {
            return false;
        }
        let timestamp = MediaTime::from_millis(tag.timestamp.millis_since(base));
        self.queue.push(Tag { timestamp, ..tag.clone() });
        true
    }

    /// Tells what was dropped, at once when it goes on, and now and then as long as it does not.
    fn tell_drops(&mut self, now: Instant, goes_on: bool, notices: &mut Vec<EventKind>) {
        let is_late = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        let drops = self.cursor.drops();
        if drops > self.reported && (goes_on || is_late) {
            let tags = drops - self.reported;
            (self.reported, self.told) = (drops, Some(now));
            notices.push(EventKind::OutputDropped { output: self.id, tags });
        }
    }

    /// Takes what the writer reports.
    fn take_reports(&mut self) {
        while !self.finished
            && let Some(report) = self.writer.report()
        {
            match report {
                Report::Opened(path) => {
                    self.path.clone_from(&path);
                    self.opened.push(path);
                }
                Report::Ended(result) => {
                    self.finished = true;
                    self.failed = result.err().map(|source| self.failure_of(source));
                }
            }
        }
    }

    fn failure_of(&self, source: io::Error) -> Error {
        let path = self.path.clone();
        match source.downcast::<NotHeld>() {
            Ok(NotHeld { codec, container: format }) => Error::CodecNotRecorded { path, codec, format },
            Err(source) if self.hls.is_some() => Error::Hls { path, source: source.into() },
            Err(source) => Error::Recording { path, source: source.into() },
        }
    }

    /// Tells of files that are complete, and of those that were begun.
    fn tell_files(&mut self, notices: &mut Vec<EventKind>) {
        let output = self.id;
        if let Some(hls) = &mut self.hls {
            for news in hls.news.try_iter() {
                match &news {
                    EventKind::OutputRetrying { error, .. } => {
                        self.last_error = Some(OutputFailure::now(error))
                    }
                    EventKind::OutputLive { .. } => self.last_error = None,
                    _ => {}
                }
                notices.push(news);
            }
            return;
        }
        notices.extend(self.closed.try_iter().map(|closed| {
            let Closed { path, from, to, bytes } = closed;
            #[cfg(feature = "libav")]
            self.log.note(&path, from, to);
            EventKind::Recorded { output, path, from, to, bytes }
        }));
        notices.extend(self.opened.drain(..).map(|path| EventKind::RecordingOpened { output, path }));
    }
}

impl FileOutput {
    /// What it has of the `last` so many seconds, and how much of that the ring has; `None` of what is no recording, or ends.
    #[cfg(feature = "libav")]
    fn past(&self, ring: &Ring, last: Duration) -> Option<past::Past> {
        let base = self.cursor.base().filter(|_| self.hls.is_none() && self.until.is_none())?;
        let newest = ring.newest();
        let kept = ring.join_before(last).map(|(_, time)| newest.millis_since(time));
        self.log.answer(&self.path, base.as_millis(), newest.as_millis(), kept)
    }

    fn hls_stats(&self, hls: &HlsParts, stats: &mut OutputStats) {
        stats.transport = OutputTransport::Hls;
        stats.path = hls.is_file.then(|| hls.path.clone());
        stats.failures = hls.standing.failures.load(Ordering::Relaxed);
        stats.last_error.clone_from(&self.last_error);
        if !self.finished && !hls.standing.is_live.load(Ordering::Relaxed) {
            // Until its first segment is complete there is nothing to play.
            stats.phase = if stats.failures > 0 { OutputPhase::Waiting } else { OutputPhase::Connecting };
        }
    }
}

impl OutputDriver for FileOutput {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.take_reports();
        self.tell_files(cx.notices);
        if let Some(error) = &self.failed {
            return OutputState::Ended(Some(error.clone()));
        }
        if self.is_full && self.finished {
            return OutputState::Ended(None);
        }
        self.feed(cx.ring, cx.now);
        if cx.tick {
            self.tell_drops(cx.now, self.cursor.skipping() != Skipping::Everything, cx.notices);
        }
        cx.notices.extend(self.intake.take_news(self.id));
        OutputState::Running
    }

    #[cfg(feature = "libav")]
    fn deliver(&mut self, cx: &mut OutputContext<'_>, message: Box<dyn Any + Send>) -> OutputState {
        if let Ok(ask) = message.downcast::<past::Ask>() {
            ask.answer.set(self.past(cx.ring, ask.last));
        }
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        (!self.queue.is_closed()).then_some(self.cursor.next())
    }

    /// What is due belongs to the recording, however far the disk is behind.
    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.until.get_or_insert(cx.ring.end());
        self.feed(cx.ring, cx.now);
        self.tell_drops(cx.now, true, cx.notices);
    }

    fn is_finished(&mut self) -> bool {
        self.take_reports();
        // The next turn tells of the last file.
        self.finished && self.closed.is_empty() && self.hls.as_ref().is_none_or(|hls| hls.news.is_empty())
    }

    fn failure(&self) -> Option<Error> {
        self.failed.clone()
    }

    /// A recording is completed as long as a stop waits for it.
    fn patience(&self) -> Duration {
        Duration::MAX
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn first_media(&self) -> Option<Instant> {
        self.writer.first_media()
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = if self.finished { OutputPhase::Ended } else { OutputPhase::Live };
        stats.transport = OutputTransport::File;
        stats.bytes_sent = self.writer.bytes();
        stats.drops = self.cursor.drops();
        stats.path = Some(self.path.clone());
        if let Some(hls) = &self.hls {
            self.hls_stats(hls, stats);
        }
        stats.bytes_held = self.queue.bytes() as u64;
    }
}

#[cfg(test)]
pub(in crate::output) mod tests;
