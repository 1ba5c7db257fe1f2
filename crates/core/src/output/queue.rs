//! What waits for a disk or a connection that blocks, from the stream's thread to the writer's.
//!
//! In: tags of one output, on its own clock. Out: batches, of half a second or so for a disk, through a bounded channel. What there is
//! no room for is not taken, and so waits in the ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use flowcast_rtmp::flv::tag::Tag;

/// Tags that wait for the disk before the rest is left in the ring; at 30 fps with audio about ten seconds.
const QUEUE_TAGS: usize = 1024;
/// Bytes that wait for the disk before the rest is left in the ring. The last tag may be as large as tags are.
const QUEUE_BYTES: usize = 8 << 20;
/// The same where the source can make the rest again: a tick takes that much, so it is what a disk must write in a tenth of a
/// second to catch up.
pub(super) const QUEUE_BYTES_AGAIN: usize = 1 << 20;
/// Batches that wait for the disk.
const QUEUE_BATCHES: usize = 64;
/// Bytes that are handed over before their time.
const BATCH_BYTES: usize = 256 << 10;

/// How much waits.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    tags: AtomicUsize,
}

impl Waiting {
    /// These tags wait no more.
    fn done(&self, tags: &[Tag]) {
        let bytes = tags.iter().map(|tag| tag.body.len()).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.tags.fetch_sub(tags.len(), Ordering::Relaxed);
    }
}

/// Tags as the writer gets them.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) tags: Vec<Tag>,
    /// From which of them on the source is back after it was lost.
    pub(super) returned: Option<usize>,
}

/// Tags that are handed over together.
#[derive(Debug, Default)]
struct Batch {
    handed: Handed,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

/// The stream's end.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Arc<Waiting>,
    /// `None` once it was closed.
    batches: Option<Sender<Handed>>,
    batch: Batch,
    write_within: Duration,
    /// Something was handed over.
    began: bool,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Batches {
    waiting: Arc<Waiting>,
    receiver: Receiver<Handed>,
}

/// A queue whose tags wait no longer than `write_within` to be handed over.
pub(super) fn queue(write_within: Duration) -> (Queue, Batches) {
    let (batches, receiver) = crossbeam_channel::bounded(QUEUE_BATCHES);
    let waiting = Arc::new(Waiting::default());
    let queue = Queue {
        waiting: waiting.clone(),
        batches: Some(batches),
        batch: Batch::default(),
        write_within,
        began: false,
    };
    (queue, Batches { waiting, receiver })
}

impl Queue {
    /// Whether it takes another tag now; fewer wait where they can be made `again`.
    pub(super) fn has_room(&self, again: bool) -> bool {
        let (most_bytes, most_tags) =
            if again { (QUEUE_BYTES_AGAIN, QUEUE_TAGS / 2) } else { (QUEUE_BYTES, QUEUE_TAGS) };
        // The last one may be larger than what is left: otherwise the largest would never be taken.
        self.batches.is_some()
            && self.bytes() < most_bytes
            && self.waiting.tags.load(Ordering::Relaxed) < most_tags
    }

    /// Bytes that wait for the disk.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn push(&mut self, tag: Tag) {
        let bytes = tag.body.len();
        self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.waiting.tags.fetch_add(1, Ordering::Relaxed);
        self.batch.bytes += bytes;
        self.batch.handed.tags.push(tag);
    }

    /// What comes from here on is sent by a source that was lost and is back.
    pub(super) fn note_return(&mut self) {
        let handed = &mut self.batch.handed;
        handed.returned.get_or_insert(handed.tags.len());
    }

    /// Gives the writer what was gathered, if it is time.
    pub(super) fn hand_over_due(&mut self, now: Instant) {
        if self.batch.handed.tags.is_empty() {
            return;
        }
        let waited = now.saturating_duration_since(*self.batch.since.get_or_insert(now));
        // The first tags are written at once, so that a reader that waits for the file to begin sees them.
        let is_due = !self.began || waited >= self.write_within || self.batch.bytes >= BATCH_BYTES;
        if is_due && self.hand_over() {
            self.began = true;
        }
    }

    /// Gives the writer what was gathered; `false` if it has too much to do already.
    fn hand_over(&mut self) -> bool {
        let Some(batches) = self.batches.as_ref().filter(|_| !self.batch.handed.tags.is_empty()) else {
            return true;
        };
        match batches.try_send(std::mem::take(&mut self.batch.handed)) {
            Ok(()) => {}
            Err(TrySendError::Full(handed)) => {
                self.batch.handed = handed;
                return false;
            }
            // It failed, which is seen with the next tick.
            Err(TrySendError::Disconnected(handed)) => self.waiting.done(&handed.tags),
        }
        (self.batch.bytes, self.batch.since) = (0, None);
        true
    }

    /// Gives the writer what was gathered as the last of it, once it can take it. It completes the file after what waits.
    pub(super) fn close(&mut self) {
        if self.hand_over() {
            self.batches = None;
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.batches.is_none()
    }
}

impl Drop for Queue {
    /// Not even a panic of the stream loses what was taken.
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Batches {
    /// Waits for the next tags; `None` after the last. They wait until they are [`done`](Self::done).
    pub(super) fn next(&self) -> Option<Handed> {
        self.receiver.recv().ok()
    }

    /// These tags are with the disk, or lost with it.
    pub(super) fn done(&self, tags: &[Tag]) {
        self.waiting.done(tags);
    }

    /// All batches that were handed over.
    #[cfg(test)]
    pub(super) fn try_all(&self) -> Vec<Vec<Tag>> {
        self.receiver.try_iter().map(|handed| handed.tags).collect()
    }

    /// How many wait.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what libav sends"))]
    pub(super) fn waiting(&self) -> usize {
        self.receiver.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}
