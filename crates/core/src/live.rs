//! What a stream keeps of itself for its outputs.
//!
//! In: tags from the source. Out: to each output, by its own cursor. All outputs read one ring, so a thousand slow
//! players cost no more memory than one; an output that falls out of it goes on at a keyframe. The ring is also the GOP
//! cache: a player that joins starts at the newest keyframe in it.

use std::collections::VecDeque;
use std::sync::Arc;

use flowcast_rtmp::chunk::{SharedChunker, SharedMessage};
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

use crate::config::BacklogConfig;

/// The chunk size tags are prepared for; every session announces it.
pub const CHUNK_SIZE: u32 = 60_000;

/// Tags of one track may be this much older than those of the other, milliseconds.
const MAX_BACK: i64 = 1000;

/// What a tag takes in memory: small ones cost more than their bytes.
fn held(message: &SharedMessage) -> usize {
    message.wire_len() + size_of::<Entry>()
}

/// What a decoder must be given before a keyframe.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// `onMetaData`.
    pub metadata: Option<Tag>,
    /// The video sequence header.
    pub video: Option<Tag>,
    /// The audio sequence header.
    pub audio: Option<Tag>,
}

impl Headers {
    /// All of them, in the order they are sent, with the time of the keyframe they precede.
    pub fn at(&self, time: MediaTime) -> impl Iterator<Item = Tag> + '_ {
        [&self.metadata, &self.video, &self.audio]
            .into_iter()
            .flatten()
            .map(move |tag| Tag { timestamp: time, ..tag.clone() })
    }
}

/// One tag of the ring.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The tag, prepared for the wire.
    pub message: SharedMessage,
    /// At a place where an output can begin: the headers that hold there.
    pub join: Option<Arc<Headers>>,
}

/// The newest tags of a stream, numbered from its beginning.
#[derive(Debug)]
pub struct Ring {
    entries: VecDeque<Entry>,
    /// Number of the first entry kept.
    first: u64,
    bytes: usize,
    chunker: SharedChunker,
    headers: Arc<Headers>,
    newest_join: Option<u64>,
    newest: MediaTime,
    bounds: BacklogConfig,
    /// Keep the newest GOP for players that join.
    keep_gop: bool,
}

impl Ring {
    /// An empty ring; with `keep_gop` it serves as GOP cache.
    pub(crate) fn new(bounds: BacklogConfig, keep_gop: bool) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            chunker: SharedChunker::new(CHUNK_SIZE),
            headers: Arc::default(),
            newest_join: None,
            newest: MediaTime::ZERO,
            bounds,
            keep_gop,
        }
    }

    /// Takes the next tag of the stream.
    pub(crate) fn push(&mut self, tag: Tag) {
        self.note_header(&tag);
        let can_join = match tag.kind {
            TagKind::Video => tag.is_keyframe() && !tag.is_sequence_header(),
            TagKind::Audio => self.headers.video.is_none() && !tag.is_sequence_header(),
            TagKind::Script => false,
        };
        if can_join {
            self.newest_join = Some(self.end());
        }
        // A little back is the other track; far back is a clock that jumped, and then that is what is newest.
        let back = self.newest.millis_since(tag.timestamp);
        if !(0..=MAX_BACK).contains(&back) {
            self.newest = tag.timestamp;
        }
        let message = self.chunker.chunk_owned(tag);
        self.bytes += held(&message);
        self.entries.push_back(Entry { message, join: can_join.then(|| self.headers.clone()) });
        while self.is_over() && self.entries.len() > 1 {
            self.forget_front();
        }
    }

    fn note_header(&mut self, tag: &Tag) {
        let is_header = tag.is_sequence_header() || tag.is_metadata();
        if is_header {
            let headers = Arc::make_mut(&mut self.headers);
            let place = match tag.kind {
                TagKind::Video => &mut headers.video,
                TagKind::Audio => &mut headers.audio,
                TagKind::Script => &mut headers.metadata,
            };
            *place = Some(tag.clone());
        }
    }

    /// The number the next tag will have.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The number of the oldest tag kept.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.first
    }

    /// A tag by its number, if it is still kept.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Entry> {
        let index = number.checked_sub(self.first)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// The newest place an output can begin at.
    #[must_use]
    pub fn newest_join(&self) -> Option<u64> {
        self.newest_join.filter(|&number| number >= self.first)
    }

    /// The time of the newest tag.
    #[must_use]
    pub fn newest(&self) -> MediaTime {
        self.newest
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a bound is exceeded.
    fn is_over(&self) -> bool {
        let Some(front) = self.entries.front() else { return false };
        let span = self.newest.millis_since(front.message.tag().timestamp);
        self.entries.len() > self.bounds.tags
            || self.bytes > self.bounds.bytes
            || u128::try_from(span).unwrap_or(0) > self.bounds.media.as_millis()
    }

    fn forget_front(&mut self) {
        if let Some(front) = self.entries.pop_front() {
            self.bytes = self.bytes.saturating_sub(held(&front.message));
            self.first += 1;
        }
    }

    /// Forgets what nobody needs: all before `needed` (the oldest cursor of an output), except the newest GOP where it is
    /// kept, and whatever is over the bounds.
    pub(crate) fn trim(&mut self, needed: u64) {
        let mut keep_from = needed;
        if self.keep_gop
            && let Some(join) = self.newest_join()
        {
            keep_from = keep_from.min(join);
        }
        while !self.entries.is_empty() && (self.first < keep_from || self.is_over()) {
            self.forget_front();
        }
        if self.entries.capacity() > 64 && self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(ms: i64, keyframe: bool, bytes: usize) -> Tag {
        let mut body = vec![0; bytes.max(5)];
        body[..2].copy_from_slice(&[if keyframe { 0x17 } else { 0x27 }, 1]);
        Tag::from_wire(TagKind::Video, MediaTime::from_millis(ms), Bytes::from(body))
    }

    fn header(tail: u8) -> Tag {
        Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::copy_from_slice(&[0x17, 0, 0, 0, 0, tail]))
    }

    fn ring(keep_gop: bool) -> Ring {
        let mut ring = Ring::new(BacklogConfig::default(), keep_gop);
        ring.push(header(1));
        ring
    }

    #[test]
    fn the_gop_cache_begins_with_the_newest_keyframe_and_its_own_headers() {
        let mut ring = ring(true);
        for ms in 0..100 {
            if ms == 50 {
                ring.push(header(2));
            }
            ring.push(frame(ms * 40, ms % 25 == 0, 100));
            ring.trim(ring.end());
        }
        let join = ring.newest_join().expect("there were keyframes");
        assert_eq!(ring.start(), join);
        let entry = ring.get(join).expect("it is kept");
        assert_eq!(entry.message.tag().timestamp.as_millis(), 75 * 40);
        let headers = entry.join.clone().expect("a keyframe is a place to join");
        assert_eq!(headers.video.as_ref().and_then(|tag| tag.body.byte(5)), Some(2));
        assert_eq!(ring.end() - join, 25);
    }

    #[test]
    fn without_players_nothing_is_kept_that_all_outputs_have_sent() {
        let mut ring = ring(false);
        for ms in 0..100 {
            ring.push(frame(ms * 40, ms == 0, 100));
        }
        ring.trim(90);
        assert_eq!((ring.start(), ring.newest_join()), (90, None));
        ring.trim(ring.end());
        assert_eq!(ring.bytes(), 0);
    }

    #[test]
    fn each_bound_holds_for_an_output_that_never_reads() {
        let bounds = BacklogConfig::default();
        let mut ring = ring(true);
        for ms in 0..4000 {
            ring.push(frame(ms, ms == 0, 10));
            ring.trim(0);
        }
        assert_eq!(ring.end() - ring.start(), bounds.tags as u64);
        for ms in 4000..4300 {
            ring.push(frame(ms, false, 100_000));
            ring.trim(0);
        }
        assert!(ring.bytes() <= bounds.bytes);
        ring.push(frame(60_000, false, 10));
        ring.trim(0);
        assert_eq!(ring.end() - ring.start(), 1);
    }
}
