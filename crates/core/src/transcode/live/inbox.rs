//! The queue between a live stream's thread, which never waits, and the worker that encodes.
//!
//! In: tags as they come. Out: the same tags, as long as the worker keeps up. When what waits is more than half a second,
//! pictures are left out up to a keyframe; beyond a second, everything is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use flowcast_rtmp::flv::tag::Tag;
use parking_lot::{Condvar, Mutex};

/// Media time that may wait before pictures are left out, and before everything is, in milliseconds.
const PATIENCE: i64 = 500;
const MOST: i64 = 1000;
/// Bytes that may wait, and with headers, which are left out last.
const MOST_BYTES: usize = 16 << 20;
const MOST_WITH_HEADERS: usize = 20 << 20;

/// What waits.
#[derive(Debug)]
pub(super) enum Entry {
    Tag(Tag),
    /// The publication is over; what follows is another one's.
    End,
}

/// The queue; both ends refer to it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
    drops: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Pictures are left out up to a keyframe.
    skipping: bool,
    /// Nothing more comes.
    finished: bool,
    /// The worker waits for another publication.
    idle: bool,
}

/// Bytes a waiting tag is taken for.
fn weight(tag: &Tag) -> usize {
    tag.body.len() + size_of::<Entry>()
}

impl State {
    /// How far `tag` is from the oldest that waits, in milliseconds.
    fn span(&self, tag: &Tag) -> i64 {
        let oldest = self.entries.iter().find_map(|entry| match entry {
            Entry::Tag(tag) => Some(tag.timestamp),
            Entry::End => None,
        });
        oldest.map_or(0, |oldest| tag.timestamp.millis_since(oldest))
    }

    /// Whether there is room for `tag`, which is no header.
    fn admits(&mut self, tag: &Tag) -> bool {
        let span = self.span(tag);
        if span > MOST || self.bytes > MOST_BYTES {
            self.skipping |= tag.is_video();
            return false;
        }
        if !tag.is_video() {
            return true;
        }
        self.skipping = if span > PATIENCE { true } else { self.skipping && !tag.is_keyframe() };
        !self.skipping
    }
}

impl Inbox {
    /// Takes tags, or leaves them out; never waits.
    pub(super) fn send(&self, tags: impl Iterator<Item = Tag>) {
        let mut state = self.state.lock();
        for tag in tags {
            let is_header = tag.is_sequence_header() || tag.is_script() || tag.is_side_config();
            let has_room = state.bytes + weight(&tag) <= MOST_WITH_HEADERS;
            if !(has_room && (is_header || state.admits(&tag))) {
                self.drops.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            state.bytes += weight(&tag);
            state.entries.push_back(Entry::Tag(tag));
        }
        self.filled.notify_one();
    }

    /// The publication is over.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.entries.push_back(Entry::End);
        state.skipping = false;
        self.filled.notify_one();
    }

    /// Nothing more comes; what waits is still handed out, unless it is to be thrown away.
    pub(super) fn finish(&self, throw_away: bool) {
        let mut state = self.state.lock();
        state.finished = true;
        if throw_away {
            state.entries.clear();
            state.bytes = 0;
        }
        self.filled.notify_one();
    }

    /// The next entry; `None` once nothing more comes. Who has nothing under way is `idle`.
    ///
    /// # Blocking
    ///
    /// Until there is one.
    pub(super) fn recv(&self, idle: bool) -> Option<Entry> {
        let mut state = self.state.lock();
        state.idle = idle;
        loop {
            if let Some(entry) = state.entries.pop_front() {
                state.idle = false;
                if let Entry::Tag(tag) = &entry {
                    state.bytes = state.bytes.saturating_sub(weight(tag));
                }
                return Some(entry);
            }
            if state.finished {
                return None;
            }
            self.filled.wait(&mut state);
        }
    }

    /// Whether nothing is waiting or under way.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.entries.is_empty() && (state.idle || state.finished)
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Tags left out.
    pub(super) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::TagKind;
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    fn tag(kind: TagKind, ms: i64, body: &'static [u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(ms), Bytes::from_static(body))
    }

    fn key(ms: i64) -> Tag {
        tag(TagKind::Video, ms, &[0x17, 1, 0, 0, 0, 9])
    }

    fn picture(ms: i64) -> Tag {
        tag(TagKind::Video, ms, &[0x27, 1, 0, 0, 0, 9])
    }

    fn sound(ms: i64) -> Tag {
        tag(TagKind::Audio, ms, &[0xAF, 1, 9])
    }

    fn waiting(inbox: &Inbox) -> Vec<(TagKind, i64)> {
        inbox.finish(false);
        std::iter::from_fn(|| inbox.recv(false))
            .map(|entry| match entry {
                Entry::Tag(tag) => (tag.kind, tag.timestamp.as_millis()),
                Entry::End => panic!("nothing ended"),
            })
            .collect()
    }

    #[test]
    fn who_is_half_a_second_behind_misses_pictures_and_beyond_a_second_everything() {
        let inbox = Inbox::default();
        let tags =
            (0..60).flat_map(|n| [if n % 10 == 0 { key(n * 50) } else { picture(n * 50) }, sound(n * 50)]);
        inbox.send(tags);
        let waiting = waiting(&inbox);
        let last = |kind| waiting.iter().rfind(|(of, _)| *of == kind).map(|(_, ms)| *ms);
        assert_eq!((last(TagKind::Video), last(TagKind::Audio)), (Some(500), Some(1000)));
        assert_eq!(inbox.drops() as usize + waiting.len(), 120);
        assert_eq!(inbox.bytes(), 0);
    }

    #[test]
    fn pictures_come_again_with_a_keyframe() {
        let inbox = Inbox::default();
        inbox.send([key(0), picture(600), picture(640)].into_iter());
        assert!(matches!(inbox.recv(false), Some(Entry::Tag(tag)) if tag.timestamp.as_millis() == 0));
        inbox.send([picture(680), key(720), picture(760)].into_iter());
        assert_eq!(waiting(&inbox), [(TagKind::Video, 720), (TagKind::Video, 760)]);
        assert_eq!(inbox.drops(), 3);
    }

    #[test]
    fn endless_headers_do_not() {
        let inbox = Inbox::default();
        for _ in 0..1_000_000 {
            inbox.send([tag(TagKind::Video, 0, &[0x17, 0, 0, 0, 0, 1])].into_iter());
        }
        assert!(inbox.bytes() <= MOST_WITH_HEADERS && inbox.drops() > 0);
        assert_eq!(inbox.drops() as usize + waiting(&inbox).len(), 1_000_000);
    }

    #[test]
    fn headers_fit_where_nothing_else_does() {
        let inbox = Inbox::default();
        inbox.send([key(0), sound(5000), tag(TagKind::Video, 5000, &[0x17, 0, 0, 0, 0, 1])].into_iter());
        assert_eq!(waiting(&inbox), [(TagKind::Video, 0), (TagKind::Video, 5000)]);
    }
}
