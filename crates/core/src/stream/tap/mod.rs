//! A tap: the tags of one stream as the source of another.
//!
//! In: tags from the ring of a stream, where the tap is an output ([`TapOutput`]). Out: the same tags on the thread of another
//! stream, where it is the source ([`TapSource`]). Between them is a bounded queue; what does not fit waits in the ring, as
//! it does for every other output, so a tap that is not emptied never delays the stream it is on. If it falls out of the
//! ring, it goes on at a keyframe and the drops are counted.
//!
//! Neither end outlives the other: when the output ends, for whatever reason, the source is complete once its queue is
//! empty; when the source is gone, the output ends with its next turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;
use parking_lot::Mutex;

use crate::config::QueueBounds;
use crate::driver::{
    OutputContext, OutputDriver, OutputState, Readiness, SourceContext, SourceDriver, SourceState,
};
use crate::event::EventKind;
use crate::ring::cursor::{Cursor, Offer, Skipping};
use crate::ring::{Entry, Headers, Join, Read, Ring};
use crate::stats::{OutputPhase, OutputStats, OutputTransport};
use crate::stream::mailbox::Mailbox;

/// Notices that wait for a reader; of more the oldest is forgotten.
const NOTICES: usize = 16;

/// When new tags go into the tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TapPace {
    /// At once, for a stream that is pushed elsewhere.
    Immediate,
    /// With the ticks of the stream the tap is on, which merges them; for a stream that only has players.
    Ticks,
}

/// A tap whose source wakes the thread of `reader`: `bounds` of what waits between the two, where in the ring it begins, and
/// when it takes what is new.
pub(crate) fn tap(bounds: QueueBounds, join: Join, pace: TapPace, reader: Mailbox) -> (TapOutput, TapSource) {
    let shared = Arc::new(Shared { bounds, reader, queue: Mutex::default(), drops: AtomicU64::new(0) });
    let output = TapOutput {
        shared: shared.clone(),
        join,
        pace,
        cursor: None,
        given: Headers::default(),
        batch: Vec::new(),
        bytes: 0,
        until: None,
    };
    (output, TapSource { shared, room: VecDeque::new() })
}

#[derive(Debug)]
struct Shared {
    bounds: QueueBounds,
    reader: Mailbox,
    queue: Mutex<Queue>,
    drops: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    tags: VecDeque<Tag>,
    bytes: usize,
    /// What happened to the source of the stream the tap is on, as far as its reader has not heard.
    notices: VecDeque<EventKind>,
    /// No more comes.
    over: bool,
    /// Nobody reads any more.
    closed: bool,
}

/// How full the queue is; it gets no fuller while the output's turn lasts but by the output itself.
#[derive(Debug, Clone, Copy)]
struct Level {
    items: usize,
    bytes: usize,
    oldest: Option<MediaTime>,
}

impl Level {
    /// Whether `tag` may be added. An empty queue takes any.
    fn has_room(&self, bounds: &QueueBounds, tag: &Tag) -> bool {
        let span = self.oldest.map_or(0, |oldest| tag.timestamp.millis_since(oldest));
        self.items == 0
            || (self.items < bounds.items
                && self.bytes.saturating_add(tag.body.len()) <= bounds.bytes
                && u128::try_from(span).unwrap_or(0) <= bounds.media.as_millis())
    }

    fn add(&mut self, tag: &Tag) {
        self.items += 1;
        self.bytes += tag.body.len();
        self.oldest.get_or_insert(tag.timestamp);
    }
}

/// The end of a tap that is an output of the stream whose tags are taken.
#[derive(Debug)]
pub(crate) struct TapOutput {
    shared: Arc<Shared>,
    join: Join,
    pace: TapPace,
    /// Since its first turn.
    cursor: Option<Cursor>,
    /// What the source was last given.
    given: Headers,
    /// What goes into the queue with this turn.
    batch: Vec<Tag>,
    bytes: u64,
    /// The tag the tap ends before, once it was asked to end.
    until: Option<u64>,
}

impl TapOutput {
    /// Takes what the ring has and the queue has room for; `false` if it is no longer read.
    fn feed(&mut self, ring: &Ring) -> bool {
        let mut cursor = self.cursor.take().unwrap_or_else(|| Cursor::new(ring, self.join));
        cursor.lose_until(ring.start(), Skipping::Pictures);
        let shared = self.shared.clone();
        let mut level = {
            let queue = shared.queue.lock();
            if queue.closed {
                self.cursor = Some(cursor);
                return false;
            }
            let oldest = queue.tags.front().map(|tag| tag.timestamp);
            Level { items: queue.tags.len(), bytes: queue.bytes, oldest }
        };
        // Not under the lock: the ring may have to read a file.
        ring.read(cursor.next(), &mut |read| {
            match read {
                Read::Tag(entry) if level.has_room(&shared.bounds, entry.message.tag()) => {
                    let from = self.batch.len();
                    self.take(&mut cursor, entry);
                    self.batch.iter().skip(from).for_each(|tag| level.add(tag));
                }
                Read::Tag(_) => return false,
                Read::Lost(count) => cursor.lose_until(cursor.next() + count, Skipping::Pictures),
            }
            true
        });
        self.shared.drops.store(cursor.drops(), Ordering::Relaxed);
        self.cursor = Some(cursor);
        self.hand_over();
        true
    }

    /// Puts the tag into the batch, behind the headers it needs, or leaves it out.
    fn take(&mut self, cursor: &mut Cursor, entry: &Entry) {
        let tag = entry.message.tag();
        match cursor.offer(entry, || true) {
            Offer::Begin { headers, .. } => {
                for header in headers.at(tag.timestamp) {
                    if self.given.note(&header) {
                        self.batch.push(header);
                    }
                }
            }
            Offer::Send => {}
            Offer::Before | Offer::Dropped => return,
        }
        if !self.given.note(tag) {
            self.given.note_frame(tag);
        }
        self.batch.push(tag.clone());
    }

    fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let bytes: usize = self.batch.iter().map(|tag| tag.body.len()).sum();
        self.bytes += bytes as u64;
        let was_empty = {
            let mut queue = self.shared.queue.lock();
            let was_empty = queue.tags.is_empty();
            queue.bytes += bytes;
            queue.tags.extend(self.batch.drain(..));
            was_empty
        };
        // Who has not emptied the queue since the last time is still to wake up from that.
        if was_empty {
            self.shared.reader.wake();
        }
    }

    /// The reader gets what is in the queue, and then knows that it was all.
    fn end(&self) {
        let was_over = std::mem::replace(&mut self.shared.queue.lock().over, true);
        if !was_over {
            self.shared.reader.wake();
        }
    }
}

impl OutputDriver for TapOutput {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if !self.feed(cx.ring) {
            return OutputState::Ended(None);
        }
        if self.is_finished() {
            self.end();
        }
        OutputState::Running
    }

    fn hear(&mut self, notice: &EventKind) {
        // What plays is no news of the publication.
        if matches!(notice, EventKind::ItemStarted { .. }) {
            return;
        }
        let mut queue = self.shared.queue.lock();
        if queue.notices.len() == NOTICES {
            queue.notices.pop_front();
        }
        queue.notices.push_back(notice.clone());
        drop(queue);
        self.shared.reader.wake();
    }

    fn is_immediate(&self) -> bool {
        self.pace == TapPace::Immediate
    }

    fn cursor(&self) -> Option<u64> {
        self.cursor.as_ref().map(Cursor::next)
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.until = Some(cx.ring.end());
    }

    fn is_finished(&mut self) -> bool {
        self.until.is_some_and(|until| self.cursor.as_ref().is_none_or(|cursor| cursor.next() >= until))
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
        stats.transport = OutputTransport::Stream;
        stats.bytes_sent = self.bytes;
        stats.drops = self.shared.drops.load(Ordering::Relaxed);
        let queue = self.shared.queue.lock();
        stats.bytes_held = queue.bytes as u64;
        let waits = |tags: &VecDeque<Tag>| Some(tags.back()?.timestamp.millis_since(tags.front()?.timestamp));
        stats.lag = Duration::from_millis(waits(&queue.tags).and_then(|ms| ms.try_into().ok()).unwrap_or(0));
    }
}

impl Drop for TapOutput {
    fn drop(&mut self) {
        self.end();
    }
}

/// The end of a tap that is the source of the other stream. It gives tags with the times they had, and is complete when the
/// stream they come from has ended or let go of the tap.
#[derive(Debug)]
pub(crate) struct TapSource {
    shared: Arc<Shared>,
    /// Room for the tags of a turn, which changes places with the queue's.
    room: VecDeque<Tag>,
}

impl TapSource {
    /// Tags left out so far because this end was too slow.
    pub(crate) fn drops(&self) -> u64 {
        self.shared.drops.load(Ordering::Relaxed)
    }
}

impl SourceDriver for TapSource {
    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let over = {
            let mut queue = self.shared.queue.lock();
            std::mem::swap(&mut queue.tags, &mut self.room);
            queue.bytes = 0;
            cx.notices.extend(queue.notices.drain(..));
            queue.over
        };
        cx.tags.extend(self.room.drain(..));
        if over { SourceState::Ended } else { SourceState::Running }
    }

    fn is_due(&self) -> bool {
        let queue = self.shared.queue.lock();
        queue.over || !queue.tags.is_empty() || !queue.notices.is_empty()
    }

    fn bytes_held(&self) -> usize {
        self.shared.queue.lock().bytes
    }

    fn stop(&mut self) {
        self.shared.queue.lock().closed = true;
    }
}

impl Drop for TapSource {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.shared.queue.lock();
            queue.closed = true;
            queue.bytes = 0;
            std::mem::take(&mut queue.tags)
        };
        drop(left);
    }
}

#[cfg(test)]
mod tests;
