//! What a stream keeps of itself for its outputs.
//!
//! In: tags from the source. Out: to each output, by its own cursor. All outputs read one ring, so a thousand slow
//! players cost no more memory than one; an output that falls out of it goes on at a keyframe. The ring is also the GOP
//! cache: a player that joins starts at the newest keyframe in it.
//!
//! Tags that their source can make again are kept for the turn they came in only. An output that is behind makes the ring
//! ask for them once more, a batch at a time.

mod alike;
mod batch;
pub(crate) mod cursor;
mod headers;
mod join;
mod joins;
mod keyframe;
mod refill;
mod together;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use flowcast_rtmp::chunk::{SharedChunker, SharedMessage};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

pub(crate) use self::alike::{is_alike, is_plain};
use self::batch::{Again, Batch};
pub use self::cursor::{Cursor, Offer, Skipping};
pub use self::headers::Headers;
pub use self::join::Join;
use self::joins::Joins;
pub(crate) use self::keyframe::Keyframe;
use self::keyframe::Left;
pub use self::refill::Refill;
use self::together::Places;
pub use self::together::Together;
use crate::config::BacklogConfig;
use crate::config::CHUNK_SIZE;
use crate::error::Error;
use crate::pool::Shelf;

/// Tags of one track may be this much older than those of the other, milliseconds. What is more is a clock that jumped; sources
/// mend theirs.
const MAX_BACK: i64 = 10_000;
/// A stream counts as one that can be made again until this much came that cannot, milliseconds: headers and silence
/// between two reels do not count, a file played directly does.
const REFILLABLE_FOR: i64 = 2000;
/// Tags of a second of media that is kept for clips, at most.
const KEPT_TAGS: usize = 500;
/// Room for tags that is kept for another turn, of this stream or another one.
const KEPT_ROOM: usize = 64;
/// Room for the tags of a turn.
static ROOM: Shelf<VecDeque<Entry>> = Shelf::new();

/// What a tag takes in memory: small ones cost more than their bytes.
fn held(message: &SharedMessage) -> usize {
    message.wire_len() + size_of::<Entry>()
}

/// One tag of the ring.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which tag of the stream it is, counted from 0.
    pub number: u64,
    /// The tag, prepared for the wire.
    pub message: SharedMessage,
    /// At a place where an output can begin: the headers that hold there.
    pub join: Option<Arc<Headers>>,
    /// An output that begins there has all tracks: it is a keyframe, or the stream has no pictures. Otherwise the picture has
    /// not come for a while, and the output begins with sound.
    pub is_whole: bool,
    /// The source was lost before this tag, and has come back with it.
    pub is_return: bool,
}

/// The newest time of a stream so far, and that of its next tag: a little back is the other track; far back is a clock that
/// jumped, and then that is what is newest.
pub(crate) fn newest_of(newest: Option<MediaTime>, next: MediaTime) -> MediaTime {
    newest.filter(|newest| (0..=MAX_BACK).contains(&newest.millis_since(next))).unwrap_or(next)
}

/// What [`Ring::read`] finds.
#[derive(Debug)]
pub enum Read<'a> {
    /// The next tag.
    Tag(&'a Entry),
    /// The number of tags that could not be made again.
    Lost(u64),
}

/// Turns tags into entries. What an entry looks like depends on the tags before it, so a copy taken before some tags
/// makes the same entries of them again.
#[derive(Debug, Clone)]
struct Preparer {
    chunker: SharedChunker,
    headers: Arc<Headers>,
    /// The newest time so far.
    newest: Option<MediaTime>,
    /// How far the stream was when the last picture came; until one has, when the first sound did.
    picture: Option<MediaTime>,
    /// Milliseconds after that outputs begin with sound.
    alone_after: i64,
    /// The next tag is the first one after a loss of the source.
    returned: bool,
}

impl Preparer {
    fn new(bounds: &BacklogConfig) -> Self {
        Self {
            chunker: SharedChunker::new(CHUNK_SIZE),
            headers: Arc::default(),
            newest: None,
            picture: None,
            alone_after: i64::try_from(bounds.sound_alone_after.as_millis()).unwrap_or(i64::MAX),
            returned: false,
        }
    }

    fn entry(&mut self, number: u64, tag: Tag) -> Entry {
        let newest = newest_of(self.newest, tag.timestamp);
        self.newest = Some(newest);
        let is_header = tag.is_header();
        let is_main = !tag.is_script() && tag.track() == 0;
        if is_header {
            Arc::make_mut(&mut self.headers).note(&tag);
        } else if self.headers.is_outdated_by(&tag) {
            Arc::make_mut(&mut self.headers).note_frame(&tag);
        }
        let is_sound = tag.is_audio() && !is_header && is_main;
        if tag.is_video() && !is_header && is_main {
            self.picture = Some(newest);
        } else if is_sound {
            self.picture.get_or_insert(newest);
        }
        let is_whole = tag.is_keyframe() || (is_sound && !self.headers.has_video());
        let can_join = is_whole
            || (is_sound && self.picture.is_some_and(|at| newest.millis_since(at) >= self.alone_after));
        let join = can_join.then(|| self.headers.clone());
        let is_return = std::mem::take(&mut self.returned);
        Entry { number, message: self.chunker.chunk_owned(tag), join, is_whole, is_return }
    }
}

/// The newest tags of a stream, numbered from its beginning: from `first` to `end` without a gap, each of them in memory
/// or in a batch that can be made again.
#[derive(Debug)]
pub struct Ring {
    /// Those in memory, oldest first.
    entries: VecDeque<Entry>,
    /// Those that can be made again, oldest first; the newest ones are in memory, too, until the turn is over.
    batches: VecDeque<Batch>,
    /// What was made again in this turn.
    again: RefCell<Again>,
    /// What was put together for many outputs in this turn.
    places: RefCell<Places>,
    /// Number of the first tag kept.
    first: u64,
    /// Number of the next tag.
    end: u64,
    /// Bytes of the entries.
    bytes: usize,
    preparer: Preparer,
    /// The newest places to begin at: of all tracks, and with sound alone.
    newest_join: Option<(u64, MediaTime)>,
    newest_alone: Option<(u64, MediaTime)>,
    /// What is left of the newest keyframe.
    left: Left,
    /// The places of all tracks that are kept.
    joins: Joins,
    /// The time of the newest tag that can be made again.
    refillable: Option<MediaTime>,
    bounds: BacklogConfig,
    /// Keep the newest GOP for players that join.
    keep_gop: bool,
    /// The number of the first tag that came in this turn: no output has had it yet, so it is not forgotten, however large.
    turn: u64,
    /// Milliseconds by which the newest tag is ahead of real time.
    ahead: i64,
}

impl Ring {
    /// An empty ring; with `keep_gop` it serves as GOP cache.
    pub(crate) fn new(bounds: BacklogConfig, keep_gop: bool) -> Self {
        Self {
            entries: VecDeque::new(),
            batches: VecDeque::new(),
            again: RefCell::default(),
            places: RefCell::default(),
            first: 0,
            end: 0,
            bytes: 0,
            preparer: Preparer::new(&bounds),
            newest_join: None,
            newest_alone: None,
            left: Left::default(),
            joins: Joins::default(),
            refillable: None,
            bounds,
            keep_gop,
            turn: 0,
            ahead: 0,
        }
    }

    /// Whether it serves as GOP cache from now on.
    pub(crate) fn set_keep_gop(&mut self, keep_gop: bool) {
        self.keep_gop = keep_gop;
    }

    /// The source was lost and is back: the next tag is the first one of what it sends now.
    pub(crate) fn note_return(&mut self) {
        self.preparer.returned = true;
    }

    /// Takes the next tag of the stream.
    pub(crate) fn push(&mut self, tag: Tag) {
        let time = tag.timestamp;
        let entry = self.preparer.entry(self.end, tag);
        if entry.join.is_some() {
            let place = if entry.is_whole { &mut self.newest_join } else { &mut self.newest_alone };
            *place = Some((self.end, time));
            if entry.is_whole {
                self.joins.note(self.end, time);
                self.left.replace(&entry, time);
            }
        }
        self.bytes += held(&entry.message);
        if self.entries.capacity() == 0 {
            self.entries = ROOM.take();
        }
        self.entries.push_back(entry);
        self.end += 1;
        while self.first < self.turn && self.is_over() {
            self.forget_oldest();
        }
    }

    /// Takes the next tags of the stream, which `refill` makes again when they are asked for after this turn.
    pub(crate) fn push_refillable(&mut self, tags: impl Iterator<Item = Tag>, refill: Box<dyn Refill>) {
        let (first, preparer) = (self.end, self.preparer.clone());
        let mut oldest = None;
        for tag in tags {
            oldest.get_or_insert(tag.timestamp);
            self.push(tag);
        }
        if let Some(oldest) = oldest {
            self.refillable = Some(self.newest());
            self.batches.push_back(Batch::new(first, self.end, oldest, preparer, refill));
        }
    }

    /// The number the next tag will have.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The number of the oldest tag kept.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.first
    }

    /// Gives the tags from number `from` on to `sink`, in order, until it answers `false`; says whether it did. A `from`
    /// that is kept no more is taken for [`start`](Self::start).
    ///
    /// # Blocking
    ///
    /// On the source of tags that are made again, for one of its reads per batch.
    pub fn read(&self, from: u64, sink: &mut dyn FnMut(Read<'_>) -> bool) -> bool {
        let mut next = from.max(self.first);
        let mut index = self.entries.partition_point(|entry| entry.number < next);
        while next < self.end {
            let in_memory = self.entries.get(index);
            if let Some(entry) = in_memory.filter(|entry| entry.number == next) {
                index += 1;
                next += 1;
                if !sink(Read::Tag(entry)) {
                    return true;
                }
                continue;
            }
            let until = in_memory.map_or(self.end, |entry| entry.number);
            match self.read_again(next, until, sink) {
                Some(reached) => next = reached,
                None => return true,
            }
        }
        false
    }

    /// Gives `sink` the tags from number `from` on put together, once more than one output has asked for them in this turn, and
    /// says what it answered. `None`, and then they are to be read one by one, where they cannot be shared. Without
    /// `all_tracks` those beside the first of their kind are left out.
    pub fn read_together<R>(
        &self,
        from: u64,
        all_tracks: bool,
        sink: impl FnOnce(&Together) -> R,
    ) -> Option<R> {
        if from >= self.end {
            return None;
        }
        // Out of its cell while the sink runs, which is not ours.
        let mut places = self.places.take();
        let entries = || {
            let index = self.entries.partition_point(|entry| entry.number < from);
            let (front, back) = self.entries.as_slices();
            match index.checked_sub(front.len()) {
                Some(index) => (back.get(index..).unwrap_or_default(), &[][..]),
                None => (front.get(index..).unwrap_or_default(), back),
            }
        };
        let answer = places.at(from, all_tracks, entries).map(sink);
        self.places.replace(places);
        answer
    }

    /// Gives the tags from number `next` to the end of their batch, at most to `until`; `None` if the sink had enough.
    fn read_again(&self, next: u64, until: u64, sink: &mut dyn FnMut(Read<'_>) -> bool) -> Option<u64> {
        let index = self.batches.partition_point(|batch| batch.end() <= next);
        let batch = self.batches.get(index).filter(|batch| batch.first() <= next);
        let until = batch.map_or(until, |batch| until.min(batch.end()));
        // Out of its cell while the sink runs, which is not ours.
        let mut again = self.again.take();
        let entries = batch.and_then(|batch| again.make(batch));
        let goes_on = match entries {
            Some(entries) => {
                let skip = entries.partition_point(|entry| entry.number < next);
                entries.iter().skip(skip).take_while(|entry| entry.number < until).all(|e| sink(Read::Tag(e)))
            }
            None => sink(Read::Lost(until - next)),
        };
        self.again.replace(again);
        goes_on.then_some(until)
    }

    /// The time of a tag that is kept, or a time shortly before it: that of the batch it is in.
    #[must_use]
    pub fn time_of(&self, number: u64) -> Option<MediaTime> {
        let entry = self.entries.get(self.entries.partition_point(|entry| entry.number < number));
        if let Some(entry) = entry.filter(|entry| entry.number == number) {
            return Some(entry.message.tag().timestamp);
        }
        let batch = self.batches.get(self.batches.partition_point(|batch| batch.end() <= number));
        batch.filter(|batch| batch.first() <= number).map(Batch::oldest)
    }

    /// The newest place an output can begin at.
    #[must_use]
    pub fn newest_join(&self) -> Option<u64> {
        self.kept_join().map(|(number, _)| number)
    }

    /// The newest place an output can begin at, and its time: one with all tracks, if there is any.
    fn kept_join(&self) -> Option<(u64, MediaTime)> {
        self.kept_joins().next()
    }

    fn kept_joins(&self) -> impl Iterator<Item = (u64, MediaTime)> {
        let joins = self.newest_join.into_iter().chain(self.newest_alone);
        joins.filter(|&(number, _)| number >= self.first)
    }

    /// The newest place an output can begin at that is not before tag number `from`, and its time.
    pub(crate) fn join_from(&self, from: u64) -> Option<(u64, MediaTime)> {
        self.kept_joins().find(|&(number, _)| number >= from)
    }

    /// The newest place an output can begin at, if nothing that is newer came yet.
    #[must_use]
    pub fn join_now(&self) -> Option<u64> {
        self.kept_joins().find(|&(_, time)| time == self.newest()).map(|(number, _)| number)
    }

    /// The newest place an output can begin at that is less than `millis` older than the newest tag.
    #[must_use]
    pub fn join_within(&self, millis: i64) -> Option<u64> {
        let near = |&(_, time): &(u64, MediaTime)| self.newest().millis_since(time) < millis;
        self.kept_joins().find(near).map(|(number, _)| number)
    }

    /// The time of the newest tag.
    #[must_use]
    pub fn newest(&self) -> MediaTime {
        self.preparer.newest.unwrap_or(MediaTime::ZERO)
    }

    /// How far the newest tag is ahead of real time: a source may give more than is due.
    pub(crate) fn set_ahead(&mut self, ahead: Duration) {
        self.ahead = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
    }

    /// Up to here the stream is due. An output that has not sent what is newer is not behind.
    #[must_use]
    pub(crate) fn due(&self) -> MediaTime {
        self.newest().saturating_add_millis(-self.ahead)
    }

    /// The headers that hold for the next tag.
    pub(crate) fn headers(&self) -> &Headers {
        &self.preparer.headers
    }

    /// Whether the source makes its tags again for outputs that are behind.
    #[must_use]
    pub fn is_refillable(&self) -> bool {
        self.refillable.is_some_and(|newest| self.newest().millis_since(newest) <= REFILLABLE_FOR)
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.batches.len() * Batch::SIZE
    }

    /// Why tags could not be made again, if that happened since this was last asked.
    pub(crate) fn take_fault(&mut self) -> Option<Error> {
        self.again.get_mut().take_fault()
    }

    /// Whether a bound is exceeded.
    fn is_over(&self) -> bool {
        let tags = usize::try_from(self.end - self.first).unwrap_or(usize::MAX);
        let entry = self.entries.front().filter(|entry| entry.number == self.first);
        let oldest = entry.map(|entry| entry.message.tag().timestamp);
        let oldest = oldest.or_else(|| self.batches.front().map(Batch::oldest));
        let span = oldest.map_or(0, |oldest| self.newest().millis_since(oldest));
        let BacklogConfig { tags: most_tags, bytes, media, keep, keep_bytes, .. } = &self.bounds;
        let (kept_bytes, kept_tags) = match keep.is_zero() {
            true => (0, 0),
            false => (
                *keep_bytes,
                usize::try_from(keep.as_secs() + 1).unwrap_or(usize::MAX).saturating_mul(KEPT_TAGS),
            ),
        };
        tags > most_tags.saturating_add(kept_tags)
            || self.bytes() > bytes.saturating_add(kept_bytes)
            || u128::try_from(span).unwrap_or(0) > media.saturating_add(*keep).as_millis()
    }

    /// The newest place an output can begin at, of all tracks, that is at least this much older than the newest tag; the oldest that is kept, if
    /// there is none.
    pub(crate) fn join_before(&self, age: Duration) -> Option<(u64, MediaTime)> {
        self.joins.before(self.newest(), i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }

    /// Forgets the oldest tag, or the rest of the batch it is in.
    fn forget_oldest(&mut self) {
        let batch = self.batches.front().filter(|batch| batch.first() <= self.first);
        self.forget_until(batch.map_or(self.first + 1, Batch::end));
    }

    fn forget_until(&mut self, number: u64) {
        self.first = number.clamp(self.first, self.end);
        while self.batches.front().is_some_and(|batch| batch.end() <= self.first)
            && let Some(batch) = self.batches.pop_front()
        {
            self.left.note_forgotten(batch, self.newest_join.map(|(number, _)| number));
        }
        self.joins.forget_until(self.first);
        while let Some(entry) = self.entries.front().filter(|entry| entry.number < self.first) {
            self.bytes = self.bytes.saturating_sub(held(&entry.message));
            self.entries.pop_front();
        }
    }

    /// Forgets what is no longer needed: all before `needed` (the oldest cursor of an output), except the newest GOP where it is
    /// kept, whatever is over the bounds, and the memory of what can be made again.
    pub(crate) fn trim(&mut self, needed: u64) {
        let mut keep_from = needed;
        if !self.bounds.keep.is_zero()
            && let Some((join, _)) = self.join_before(self.bounds.keep)
        {
            keep_from = keep_from.min(join);
        }
        if self.keep_gop
            && let Some((join, _)) = self.kept_join()
        {
            keep_from = keep_from.min(join);
        }
        self.forget_until(keep_from);
        // One tag may be larger than all the room there is.
        while self.first + 1 < self.end && self.is_over() {
            self.forget_oldest();
        }
        self.end_turn();
        let room = self.entries.len().max(KEPT_ROOM / 2) * 2;
        if self.entries.capacity() > room * 2 {
            self.entries.shrink_to(room);
        }
    }

    /// Lets go of the memory of everything that can be made again, and of room that nothing is in.
    pub(crate) fn end_turn(&mut self) {
        self.turn = self.end;
        self.again.get_mut().let_go(self.batches.is_empty());
        self.places.get_mut().clear();
        if !self.batches.is_empty() {
            self.forget_refillable();
        }
        if self.entries.is_empty() && self.entries.capacity() > 0 {
            let mut room = std::mem::take(&mut self.entries);
            if room.capacity() <= KEPT_ROOM {
                // From its beginning, where the next turn begins, too.
                room.clear();
                ROOM.put_back(room);
            }
        }
    }

    fn forget_refillable(&mut self) {
        let (mut batches, bytes) = (self.batches.iter().peekable(), &mut self.bytes);
        self.entries.retain(|entry| {
            while batches.next_if(|batch| batch.end() <= entry.number).is_some() {}
            let again = batches.peek().is_some_and(|batch| batch.first() <= entry.number);
            if again {
                *bytes = bytes.saturating_sub(held(&entry.message));
            }
            !again
        });
    }
}

#[cfg(test)]
pub(crate) mod tape;
#[cfg(test)]
mod tests;
