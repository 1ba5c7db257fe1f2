//! A recording: an FLV file written by a thread of its own, because files block.
//!
//! In: tags from the stream's ring, gathered for half a second or so and handed over as one, through a bounded channel. Out: a
//! file that can be played while it is written, and whose duration and size are filled in at its end. What a slow disk has no
//! room for waits in the ring. A disk that is full or slow costs this recording only.

mod existing;
mod flv;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::gate::{Fit, Intake};
use crate::config::RecordingConfig;
use crate::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use crate::error::Error;
use crate::event::EventKind;
use crate::files::StreamFiles;
use crate::id::OutputId;
use crate::ring::cursor::{Cursor, Offer, Skipping};
use crate::ring::{Entry, Read, Ring};
use crate::stats::{OutputPhase, OutputStats, OutputTransport};
use crate::stream::opening::{OpenedOutput, OutputOpening};
use crate::sys::{CpuLap, CpuMeter, Span, spawn};
use existing::Opened;
use flv::FlvFile;

pub use existing::Existing;

/// Tags that wait for the disk before the rest is left in the ring; at 30 fps with audio about ten seconds.
const QUEUE_TAGS: usize = 1024;
/// Bytes that wait for the disk before the rest is left in the ring. The last tag may be as large as tags are.
const QUEUE_BYTES: usize = 8 << 20;
/// The same where the source can make the rest again: a tick takes that much, so it is what a disk must write in a tenth of a
/// second to catch up.
const QUEUE_BYTES_AGAIN: usize = 1 << 20;
/// Batches that wait for the disk.
const QUEUE_BATCHES: usize = 64;
/// Bytes that are handed over before their time.
const BATCH_BYTES: usize = 256 << 10;
/// The largest body FLV holds.
const MOST_BYTES: usize = (1 << 24) - 1;
/// While tags are being dropped all the time, that is reported this often.
const TELL_EVERY: Duration = Duration::from_secs(1);
const STACK: usize = 128 << 10;

/// What the stream thread and the writer both see.
#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    queued_tags: AtomicUsize,
    written: AtomicU64,
    /// When the first bytes were in the file.
    first: OnceLock<Instant>,
}

impl Shared {
    /// These tags wait no more.
    fn taken(&self, tags: &[Tag]) {
        let bytes = tags.iter().map(|tag| tag.body.len()).sum();
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.queued_tags.fetch_sub(tags.len(), Ordering::Relaxed);
    }
}

/// Tags that are handed over together.
#[derive(Debug, Default)]
struct Batch {
    tags: Vec<Tag>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

/// A recording output.
pub(crate) struct Recorder {
    id: OutputId,
    path: PathBuf,
    shared: Arc<Shared>,
    batches: Option<Sender<Vec<Tag>>>,
    batch: Batch,
    write_within: Duration,
    done: Receiver<io::Result<()>>,
    /// Something was handed over.
    began: bool,
    /// Its file was reported.
    opened: bool,
    intake: Intake,
    cursor: Cursor,
    /// The tag the recording ends before, once it was asked to end.
    until: Option<u64>,
    reported: u64,
    /// When drops were last told.
    told: Option<Instant>,
    failed: Option<Error>,
    finished: bool,
}

impl Recorder {
    /// Opens the file and starts its writer.
    ///
    /// # Errors
    ///
    /// [`Error::Recording`] with what is in the way, see [`existing::open`]; no thread left.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn open(
        path: &Path,
        existing: Existing,
        intake: Intake,
        cx: &OutputOpening<'_>,
    ) -> Result<OpenedOutput, Error> {
        let (id, cpu) = (cx.output(), cx.cpu());
        let mut recorder = Self::create(id, (path, existing), cx.files(), &cx.config().recording, cpu)?;
        recorder.intake = intake;
        Ok(OpenedOutput { name: recorder.path.display().to_string(), driver: Box::new(recorder) })
    }

    fn create(
        id: OutputId,
        (path, existing): (&Path, Existing),
        files: &Arc<StreamFiles>,
        config: &RecordingConfig,
        cpu: CpuMeter,
    ) -> Result<Self, Error> {
        let fail = |source: io::Error| Error::Recording { path: path.to_owned(), source: source.into() };
        let Opened { file, path, begin } = existing::open(path, existing, files).map_err(fail)?;
        let shared = Arc::new(Shared::default());
        let (batches, receiver) = crossbeam_channel::bounded(QUEUE_BATCHES);
        let (finished, done) = crossbeam_channel::bounded(1);
        let (writer, seen) = (FlvFile::new(file, begin), shared.clone());
        let span = Span::current();
        spawn(format!("fr-{id}"), STACK, move || {
            let mut lap = CpuLap::default();
            let result = span.run(|| write(writer, &receiver, &seen, &cpu, &mut lap));
            cpu.lap(&mut lap);
            let _ = finished.send(result);
        })
        .map_err(|source| Error::System { what: "no thread for a recording", source: source.into() })?;
        Ok(Self::new(id, path, shared, batches, done, config.write_within))
    }

    fn new(
        id: OutputId,
        path: PathBuf,
        shared: Arc<Shared>,
        batches: Sender<Vec<Tag>>,
        done: Receiver<io::Result<()>>,
        write_within: Duration,
    ) -> Self {
        Self {
            id,
            path,
            shared,
            batches: Some(batches),
            batch: Batch::default(),
            write_within,
            done,
            began: false,
            opened: false,
            intake: Intake::file(false),
            cursor: Cursor::oldest(),
            until: None,
            reported: 0,
            told: None,
            failed: None,
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
        if !self.batch.tags.is_empty() {
            let waited = now.saturating_duration_since(*self.batch.since.get_or_insert(now));
            // The first tags are written at once, so that a reader that waits for the file to begin sees them.
            let is_due = !self.began || waited >= self.write_within || self.batch.bytes >= BATCH_BYTES;
            if is_due && self.hand_over() {
                self.began = true;
            }
        }
        if self.until.is_some_and(|until| self.cursor.next() >= until) && self.hand_over() {
            // The writer completes the file once it has taken what waits for it.
            self.batches = None;
        }
    }

    /// Gives the writer what was gathered; `false` if it has too much to do already.
    fn hand_over(&mut self) -> bool {
        let Some(batches) = self.batches.as_ref().filter(|_| !self.batch.tags.is_empty()) else {
            return true;
        };
        match batches.try_send(std::mem::take(&mut self.batch.tags)) {
            Ok(()) => {}
            Err(TrySendError::Full(tags)) => {
                self.batch.tags = tags;
                return false;
            }
            // It failed, which is seen with the next tick.
            Err(TrySendError::Disconnected(tags)) => self.shared.taken(&tags),
        }
        (self.batch.bytes, self.batch.since) = (0, None);
        true
    }

    /// Whether it takes the tag at the cursor now; less waits where it can be made `again`.
    fn wants_more(&self, again: bool) -> bool {
        if self.batches.is_none() || self.until.is_some_and(|until| self.cursor.next() >= until) {
            return false;
        }
        let (most_bytes, most_tags) =
            if again { (QUEUE_BYTES_AGAIN, QUEUE_TAGS / 2) } else { (QUEUE_BYTES, QUEUE_TAGS) };
        // The last one may be larger than what is left: otherwise the largest would never be taken.
        self.shared.queued_bytes.load(Ordering::Relaxed) < most_bytes
            && self.shared.queued_tags.load(Ordering::Relaxed) < most_tags
    }

    fn take(&mut self, entry: &Entry) {
        let tag = entry.message.tag();
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

    /// Gathers a tag in the form that recordings have; `false` if FLV cannot hold it.
    fn queue(&mut self, tag: &Tag) -> bool {
        match self.intake.fit(tag) {
            Fit::AsItIs => self.gather(tag),
            Fit::As(tag) => self.gather(&tag),
            Fit::Not => true,
        }
    }

    /// Gathers a tag, on the recording's own clock.
    fn gather(&mut self, tag: &Tag) -> bool {
        let Some(base) = self.cursor.base() else { return false };
        let bytes = tag.body.len();
        if bytes > MOST_BYTES {
            return false;
        }
        let timestamp = MediaTime::from_millis(tag.timestamp.millis_since(base));
        self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.queued_tags.fetch_add(1, Ordering::Relaxed);
        self.batch.bytes += bytes;
        self.batch.tags.push(Tag { timestamp, ..tag.clone() });
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

    fn check(&mut self) {
        if let Ok(result) = self.done.try_recv() {
            self.finished = true;
            if let Err(source) = result {
                self.failed = Some(Error::Recording { path: self.path.clone(), source: source.into() });
            }
        }
    }
}

impl OutputDriver for Recorder {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if cx.tick {
            self.check();
        }
        if let Some(error) = &self.failed {
            return OutputState::Ended(Some(error.clone()));
        }
        if !std::mem::replace(&mut self.opened, true) {
            cx.notices.push(EventKind::RecordingOpened { output: self.id, path: self.path.clone() });
        }
        self.feed(cx.ring, cx.now);
        if cx.tick {
            self.tell_drops(cx.now, self.cursor.skipping() != Skipping::Everything, cx.notices);
        }
        cx.notices.extend(self.intake.take_news(self.id));
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        self.batches.is_some().then_some(self.cursor.next())
    }

    /// What is due belongs to the recording, however far the disk is behind.
    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.until = Some(cx.ring.end());
        self.feed(cx.ring, cx.now);
        self.tell_drops(cx.now, true, cx.notices);
    }

    fn is_finished(&mut self) -> bool {
        self.check();
        self.finished
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
        self.shared.first.get().copied()
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = if self.finished { OutputPhase::Ended } else { OutputPhase::Live };
        stats.transport = OutputTransport::File;
        stats.bytes_sent = self.shared.written.load(Ordering::Relaxed);
        stats.drops = self.cursor.drops();
        stats.path = Some(self.path.clone());
        stats.bytes_held = self.shared.queued_bytes.load(Ordering::Relaxed) as u64;
    }
}

impl Drop for Recorder {
    /// Not even a panic of the stream loses what was taken.
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// The writing thread: one write for each batch, until the recorder is done or the disk is full.
fn write(
    mut file: FlvFile,
    batches: &Receiver<Vec<Tag>>,
    shared: &Shared,
    cpu: &CpuMeter,
    lap: &mut CpuLap,
) -> io::Result<()> {
    while let Ok(tags) = batches.recv() {
        let written = tags.iter().try_for_each(|tag| file.write(tag)).and_then(|()| file.flush());
        shared.taken(&tags);
        written?;
        if tags.iter().any(|tag| !(tag.is_metadata() || tag.is_sequence_header())) {
            shared.first.get_or_init(Instant::now);
        }
        shared.written.store(file.written(), Ordering::Relaxed);
        if batches.is_empty() {
            cpu.lap(lap);
        }
    }
    file.finish()
}

#[cfg(test)]
mod tests;
