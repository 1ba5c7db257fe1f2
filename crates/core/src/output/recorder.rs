//! A recording: an FLV file written by a thread of its own, because files block.
//!
//! In: tags from the stream's ring, through a bounded channel. Out: a file that can be played while it is written, and
//! whose duration and size are filled in at its end. A disk that is full or slow costs this recording only.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::flv_file::FlvFile;
use super::{OutputContext, OutputDriver, OutputPhase, OutputState, OutputStats, Readiness};
use crate::error::{Error, chain};
use crate::event::{EventKind, OutputId};
use crate::live::{Entry, Read, Ring};
use crate::sys::{CpuLap, CpuMeter, spawn};

/// Tags that wait for the disk at most; at 30 fps with audio about ten seconds.
const QUEUE_TAGS: usize = 1024;
/// Bytes that wait for the disk at most.
const QUEUE_BYTES: usize = 8 << 20;
/// Bytes that wait for the disk before the rest is left to the source, which can make it again: a tick takes that much, so it
/// is what a disk must write in a tenth of a second to catch up.
const QUEUE_BYTES_AGAIN: usize = 1 << 20;
const STACK: usize = 128 << 10;

/// What the stream thread and the writer both see.
#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    written: AtomicU64,
    /// When the first bytes were in the file.
    first: OnceLock<Instant>,
}

/// A recording output.
pub(crate) struct Recorder {
    id: OutputId,
    path: PathBuf,
    shared: Arc<Shared>,
    tags: Option<Sender<Tag>>,
    done: Receiver<Result<(), io::Error>>,
    cursor: u64,
    /// The tag the recording ends before, once it was asked to end.
    until: Option<u64>,
    base: Option<MediaTime>,
    skipping: bool,
    drops: u64,
    reported: u64,
    failed: Option<Arc<Error>>,
    finished: bool,
}

impl Recorder {
    /// Creates the file and its writer.
    ///
    /// # Blocking
    ///
    /// On creating the file.
    pub(crate) fn create(id: OutputId, path: &Path, cpu: CpuMeter) -> Result<Self, Error> {
        let fail = |source| Error::Recording { path: path.to_owned(), source };
        if blocks(path) {
            let reason = "is a FIFO or a socket, not a file";
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        let file = File::create(path).map_err(fail)?;
        let shared = Arc::new(Shared::default());
        let (tags, receiver) = crossbeam_channel::bounded(QUEUE_TAGS);
        let (finished, done) = crossbeam_channel::bounded(1);
        let (writer, seen) = (FlvFile::new(file), shared.clone());
        spawn(format!("fr-{id}"), STACK, move || {
            let mut lap = CpuLap::default();
            let result = write(writer, &receiver, &seen, &cpu, &mut lap);
            cpu.lap(&mut lap);
            let _ = finished.send(result);
        })
        .map_err(|source| Error::System { what: "no thread for a recording", source })?;
        Ok(Self {
            id,
            path: path.to_owned(),
            shared,
            tags: Some(tags),
            done,
            cursor: 0,
            until: None,
            base: None,
            skipping: false,
            drops: 0,
            reported: 0,
            failed: None,
            finished: false,
        })
    }

    /// Hands over what is there; once the source's tags can be made again, no more than the disk is to be behind by.
    fn feed(&mut self, ring: &Ring) {
        if self.cursor < ring.start() {
            self.lose(ring.start() - self.cursor);
        }
        let waits = ring.is_refillable();
        if self.wants_more(waits) {
            ring.read(self.cursor, &mut |read| {
                match read {
                    Read::Tag(entry) => self.take(entry),
                    Read::Lost(count) => self.lose(count),
                }
                self.wants_more(waits)
            });
        }
        if self.until.is_some_and(|until| self.cursor >= until) {
            // The writer completes the file once it has taken what waits for it.
            self.tags = None;
        }
    }

    /// Whether it takes the tag at the cursor now.
    fn wants_more(&self, waits: bool) -> bool {
        let Some(queue) = &self.tags else { return false };
        let bytes = self.shared.queued_bytes.load(Ordering::Relaxed);
        let is_behind = bytes >= QUEUE_BYTES_AGAIN || queue.len() >= QUEUE_TAGS / 2;
        !(waits && is_behind) && self.until.is_none_or(|until| self.cursor < until)
    }

    /// Tags at the cursor are gone.
    fn lose(&mut self, count: u64) {
        self.cursor += count;
        if self.base.is_some() {
            self.drops += count;
            self.skipping = true;
        }
    }

    fn take(&mut self, entry: &Entry) {
        self.cursor += 1;
        let tag = entry.message.tag();
        if let Some(headers) = &entry.join
            && (self.base.is_none() || self.skipping)
            && self.shared.queued_bytes.load(Ordering::Relaxed) < QUEUE_BYTES / 2
        {
            self.base.get_or_insert(tag.timestamp);
            self.skipping = false;
            for header in headers.at(tag.timestamp) {
                self.queue(&header);
            }
        }
        if self.base.is_none() {
            return;
        }
        if self.skipping || !self.queue(tag) {
            self.skipping = true;
            self.drops += 1;
        }
    }

    /// Gives a tag to the writer, on the recording's own clock; `false` if the disk is behind.
    fn queue(&self, tag: &Tag) -> bool {
        let (Some(tags), Some(base)) = (&self.tags, self.base) else { return false };
        // A tag of the other track may be a little older than the keyframe the recording begins with.
        if tag.timestamp < base {
            return true;
        }
        let bytes = tag.body.len();
        if self.shared.queued_bytes.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            return false;
        }
        let timestamp = MediaTime::from_millis(tag.timestamp.millis_since(base));
        self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        match tags.try_send(Tag { timestamp, ..tag.clone() }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                false
            }
        }
    }

    fn check(&mut self) {
        if let Ok(result) = self.done.try_recv() {
            self.finished = true;
            if let Err(source) = result {
                self.failed = Some(Arc::new(Error::Recording { path: self.path.clone(), source }));
            }
        }
    }
}

/// Whether opening the path to write waits for a reader, without end; and a reader that goes raises SIGPIPE.
fn blocks(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        std::fs::metadata(path)
            .is_ok_and(|facts| facts.file_type().is_fifo() || facts.file_type().is_socket())
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
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
        self.feed(cx.ring);
        if cx.tick && self.drops > self.reported && !self.skipping {
            let tags = self.drops - self.reported;
            self.reported = self.drops;
            cx.notices.push(EventKind::OutputDropped { output: self.id, tags });
        }
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        self.tags.is_some().then_some(self.cursor)
    }

    /// What is due belongs to the recording, however far the disk is behind.
    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.until = Some(cx.ring.end());
        self.feed(cx.ring);
    }

    fn is_finished(&mut self) -> bool {
        self.check();
        self.finished
    }

    fn failure(&self) -> Option<Arc<Error>> {
        self.failed.clone()
    }

    /// A recording is completed as long as anybody waits for it.
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
        stats.bytes_sent = self.shared.written.load(Ordering::Relaxed);
        stats.drops = self.drops;
        stats.bytes_held = self.shared.queued_bytes.load(Ordering::Relaxed) as u64;
        stats.last_error = self.failed.as_ref().map(|error| chain(error));
    }
}

/// The writing thread: takes tags until the recorder is done or the disk is full.
fn write(
    mut file: FlvFile,
    tags: &Receiver<Tag>,
    shared: &Shared,
    cpu: &CpuMeter,
    lap: &mut CpuLap,
) -> io::Result<()> {
    while let Ok(tag) = tags.recv() {
        shared.queued_bytes.fetch_sub(tag.body.len(), Ordering::Relaxed);
        // Whoever reads the file while it grows should see whole seconds, not what happens to fill a buffer.
        let flushed = tags.is_empty();
        file.write(&tag, flushed)?;
        if flushed && !(tag.is_metadata() || tag.is_sequence_header()) {
            shared.first.get_or_init(Instant::now);
        }
        shared.written.store(file.written(), Ordering::Relaxed);
        if tags.is_empty() {
            cpu.lap(lap);
        }
    }
    file.finish()
}

#[cfg(test)]
mod tests;
