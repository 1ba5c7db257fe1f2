//! The queue between a live stream's thread, which never waits, and the worker that encodes.
//!
//! In: tags as they come. Out: the same tags but for script data that says nothing of the tracks, as long as the worker keeps up.
//! When the worker is more than half a second behind, pictures are left out: those that no other needs alone, and from the first other on all up
//! to a keyframe. Beyond a second, everything but headers is. What is left out is counted by why. What comes at once, as from a publisher whose network stood still, is no fault of the worker: it is behind when tags have
//! waited for it that long, too. Where sound is mixed with files under pictures that are copied, tags are gathered for some milliseconds. A worker that is about to encode (it looks for devices, opens codecs) is waited for, and then has to catch up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::tag::{Codec, Tag};
use flowcast_rtmp::flv::video::VideoCodec;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::writing::Reader;
use crate::stats::{AtomicDrops, AtomicHistogram, DropReason, EncoderDrops, Histogram};

/// How far behind the worker may be before pictures are left out, and before everything is: media time that waits, and for how long
/// the oldest of it has waited, whichever is less. In milliseconds.
const PATIENCE: i64 = 500;
const MOST: i64 = 1000;
/// Media time that may wait, however short; also while the worker opens its codecs, and until it has caught up with that.
const MOST_WAITING: i64 = 10_000;
/// Bytes that may wait, and bytes more of headers: without those that hold, what follows cannot be decoded.
const MOST_BYTES: usize = 16 << 20;
const MOST_HEADER_BYTES: usize = 4 << 20;
/// Tags that may wait, whatever their times say.
const MOST_TAGS: usize = 4096;
/// How long tags are gathered, at most: with every wake-up the worker finds its codecs' tables out of the processor's caches.
const GATHER: Duration = Duration::from_millis(80);
/// Tags, and bytes, that are not gathered any longer.
const GATHERED_TAGS: usize = 256;
const GATHERED_BYTES: usize = 1 << 20;

/// What waits.
#[derive(Debug)]
pub(crate) enum Entry {
    Tag(Tag),
    /// The publication is over; what follows is another one's.
    End,
}

/// The queue; both ends refer to it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
    drops: AtomicDrops,
    /// How long pictures waited.
    waits: AtomicHistogram,
    /// Tags are gathered; the stream's thread is woken for all that came of them at once.
    gathers: Option<Reader>,
}

#[derive(Debug, Default)]
struct State {
    /// With when they came.
    entries: VecDeque<(Instant, Entry)>,
    bytes: usize,
    /// Pictures are left out up to a keyframe.
    skipping: bool,
    /// Nothing more comes.
    finished: bool,
    /// The worker waits for another publication.
    idle: bool,
    /// The worker makes nothing of what comes.
    given_up: bool,
    /// Pictures are copied: leaving them out saves no work.
    copies: bool,
    pace: Pace,
    /// An entry was taken since tags were gathered.
    has_given: bool,
    /// The worker waits for some time, and needs not be woken before.
    gathering: bool,
}

/// What may be asked of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pace {
    /// It does not encode yet.
    Opening,
    /// It works on what has come meanwhile.
    CatchingUp,
    #[default]
    KeepingUp,
}

impl State {
    /// How far `tag`, which comes now, is from the oldest that waits, and how long that has waited, in milliseconds.
    fn behind(&self, now: Instant, tag: &Tag) -> (i64, i64) {
        let oldest = self.entries.iter().find_map(|(came, entry)| match entry {
            Entry::Tag(tag) => Some((*came, tag.timestamp)),
            Entry::End => None,
        });
        oldest.map_or((0, 0), |(came, oldest)| {
            let waited = now.saturating_duration_since(came).as_millis();
            (tag.timestamp.millis_since(oldest), i64::try_from(waited).unwrap_or(i64::MAX))
        })
    }

    /// Whether there is room for `tag`.
    ///
    /// # Errors
    ///
    /// There is none, and why.
    fn admit(&mut self, now: Instant, tag: &Tag) -> Result<(), DropReason> {
        let is_full = self.entries.len() >= MOST_TAGS;
        if tag.is_header() && !is_full && self.bytes + tag.body.len() <= MOST_BYTES + MOST_HEADER_BYTES {
            return Ok(());
        }
        let (span, waited) = self.behind(now, tag);
        if self.pace == Pace::CatchingUp && span > MOST_WAITING {
            self.pace = Pace::KeepingUp;
        }
        let behind = span.min(waited);
        let (patience, most) = match self.pace {
            Pace::Opening | Pace::CatchingUp => (MOST_WAITING, MOST_WAITING),
            Pace::KeepingUp if self.copies => (MOST_WAITING, MOST_WAITING),
            Pace::KeepingUp => (PATIENCE, MOST),
        };
        let is_late = behind > most || span > MOST_WAITING;
        if is_full || tag.is_header() || is_late || self.bytes > MOST_BYTES {
            self.skipping |= tag.is_video();
            return Err(if is_late { DropReason::FarBehind } else { DropReason::Full });
        }
        if !tag.is_video() {
            return Ok(());
        }
        if behind > patience {
            // Of what is left out alone, nothing else is missed.
            self.skipping |= !is_needed_by_none(tag);
            return Err(DropReason::Behind);
        }
        self.skipping &= !tag.is_keyframe();
        if self.skipping { Err(DropReason::Undecodable) } else { Ok(()) }
    }
}

/// Whether no other picture is decoded with the help of this one: as the tag says, or the H.264 in it.
fn is_needed_by_none(tag: &Tag) -> bool {
    if tag.is_disposable() {
        return true;
    }
    let Some(Part::Frames { data, .. }) =
        coded(tag).filter(|coded| coded.codec == Codec::Video(VideoCodec::Avc)).map(|coded| coded.part)
    else {
        return false;
    };
    // Units of a length in four bytes each; in the first byte of a slice is how much it is referred to.
    let (mut rest, mut has_slice) = (&data[..], false);
    while let Some((length, unit)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((header, _)) = unit.split_first().filter(|_| (1..=unit.len()).contains(&length)) else {
            return false;
        };
        match header & 0x1F {
            1..=4 if header & 0x60 == 0 => has_slice = true,
            1..=5 => return false,
            _ => {}
        }
        rest = &unit[length..];
    }
    has_slice && rest.is_empty()
}

impl Inbox {
    /// For a worker that copies pictures, and encodes sound alone: what is late is waited for up to ten seconds.
    pub(crate) fn of_copies(self) -> Self {
        self.state.lock().copies = true;
        self
    }

    /// For a worker whose work is little, and need not be done at once. It wakes `reader` before it waits.
    pub(super) fn gathering(mut self, reader: Reader) -> Self {
        self.gathers = Some(reader);
        self
    }

    /// Takes tags that come now, or leaves them out; never waits. How many it left out.
    pub(crate) fn send(&self, now: Instant, tags: impl Iterator<Item = Tag>) -> u64 {
        let mut left_out = 0;
        let mut state = self.state.lock();
        for tag in tags.filter(|tag| !tag.is_script() || tag.is_metadata()) {
            if let Err(reason) = state.admit(now, &tag) {
                self.drops.add(reason, 1);
                left_out += 1;
                continue;
            }
            state.bytes += tag.body.len();
            state.entries.push_back((now, Entry::Tag(tag)));
        }
        let is_much = state.entries.len() >= GATHERED_TAGS || state.bytes >= GATHERED_BYTES;
        if !state.gathering || is_much {
            self.filled.notify_one();
        }
        left_out
    }

    /// The publication is over.
    pub(crate) fn end(&self, now: Instant) {
        let mut state = self.state.lock();
        state.entries.push_back((now, Entry::End));
        state.skipping = false;
        self.filled.notify_one();
    }

    /// Nothing more comes; what waits is still handed out, unless it is to be thrown away.
    pub(crate) fn finish(&self, throw_away: bool) {
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
    pub(crate) fn recv(&self, idle: bool) -> Option<Entry> {
        let mut state = self.state.lock();
        state.idle = idle;
        loop {
            if let Some((came, entry)) = state.entries.pop_front() {
                (state.idle, state.has_given) = (false, true);
                if let Entry::Tag(tag) = &entry {
                    state.bytes = state.bytes.saturating_sub(tag.body.len());
                    if tag.is_video() && !tag.is_header() {
                        self.waits.add(came.elapsed());
                    }
                }
                return Some(entry);
            }
            if state.finished {
                return None;
            }
            if state.pace == Pace::CatchingUp {
                state.pace = Pace::KeepingUp;
            }
            if let Some(reader) = self.gathers.as_ref().filter(|reader| reader.is_owed()) {
                MutexGuard::unlocked(&mut state, || reader.has_done());
                continue;
            }
            if self.gathers.is_some() && std::mem::take(&mut state.has_given) {
                state.gathering = true;
                self.filled.wait_for(&mut state, GATHER);
                state.gathering = false;
                continue;
            }
            self.filled.wait(&mut state);
        }
    }

    /// How long pictures waited.
    pub(crate) fn waits(&self) -> Histogram {
        self.waits.read()
    }

    /// The worker is about to open its codecs: what comes meanwhile is kept for it.
    pub(crate) fn opening(&self) {
        self.state.lock().pace = Pace::Opening;
    }

    /// The worker encodes.
    pub(crate) fn opened(&self) {
        let mut state = self.state.lock();
        (state.pace, state.given_up) = (Pace::CatchingUp, false);
    }

    /// The worker makes nothing of what comes, until it has [`opened`](Self::opened) its codecs again.
    pub(crate) fn give_up(&self) {
        self.state.lock().given_up = true;
    }

    /// Whether nothing comes of what is sent.
    pub(crate) fn has_given_up(&self) -> bool {
        self.state.lock().given_up
    }

    /// Whether nothing is waiting or under way.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.entries.is_empty() && (state.idle || state.finished)
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Tags that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// Tags left out, by why.
    pub(crate) fn drops(&self) -> EncoderDrops {
        self.drops.read(EncoderDrops::default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::TagKind;
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    fn tag(kind: TagKind, ms: i64, body: &'static [u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(ms), Bytes::from_static(body))
    }

    fn at(began: Instant, ms: i64) -> Instant {
        began + Duration::from_millis(ms.unsigned_abs())
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

    fn drops(inbox: &Inbox) -> u64 {
        inbox.drops().iter().map(|(_, count)| count).sum()
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
        // As they come from a worker that does nothing.
        let began = Instant::now();
        for tag in tags {
            inbox.send(at(began, tag.timestamp.as_millis()), [tag].into_iter());
        }
        let waiting = waiting(&inbox);
        let last = |kind| waiting.iter().rfind(|(of, _)| *of == kind).map(|(_, ms)| *ms);
        assert_eq!((last(TagKind::Video), last(TagKind::Audio)), (Some(500), Some(1000)));
        assert_eq!(drops(&inbox) as usize + waiting.len(), 120);
        // Pictures from 550 ms on, keyframes among them; and from 1050 ms on all, with the sound.
        let by_reason = DropReason::ALL.iter().map(|reason| (*reason, inbox.drops().of(*reason)));
        let wanted = [(DropReason::Behind, 10), (DropReason::FarBehind, 78)];
        assert_eq!(by_reason.filter(|(_, count)| *count > 0).collect::<Vec<_>>(), wanted);
        assert_eq!(inbox.bytes(), 0);
    }

    #[test]
    fn what_comes_at_once_is_not_left_out() {
        let inbox = Inbox::default();
        let began = Instant::now();
        let tags = |from: i64, to: i64| (from..to).flat_map(|n| [picture(n * 50), sound(n * 50)]);
        // Two seconds that the network held back, and what comes behind them while the worker is at it.
        inbox.send(began, tags(0, 40));
        inbox.send(at(began, 450), tags(40, 49));
        assert_eq!((inbox.waiting(), drops(&inbox)), (98, 0));
        inbox.send(at(began, 550), [picture(2450)].into_iter());
        assert_eq!(drops(&inbox), 1, "the oldest has waited for half a second");
    }

    #[test]
    fn pictures_come_again_with_a_keyframe() {
        let inbox = Inbox::default();
        let began = Instant::now();
        inbox.send(began, [key(0)].into_iter());
        inbox.send(at(began, 640), [picture(600), picture(640)].into_iter());
        assert!(matches!(inbox.recv(false), Some(Entry::Tag(tag)) if tag.timestamp.as_millis() == 0));
        inbox.send(at(began, 760), [picture(680), key(720), picture(760)].into_iter());
        assert_eq!(waiting(&inbox), [(TagKind::Video, 720), (TagKind::Video, 760)]);
        let drops = inbox.drops();
        assert_eq!((drops.of(DropReason::Behind), drops.of(DropReason::Undecodable)), (2, 1));
    }

    /// A picture of one slice, which others refer to so much.
    fn slice(ms: i64, referred: u8) -> Tag {
        let header = referred << 5 | 1;
        let body = vec![0x27, 1, 0, 0, 0, 0, 0, 0, 2, 6, 9, 0, 0, 0, 3, header, 9, 9];
        Tag::from_wire(TagKind::Video, MediaTime::from_millis(ms), body.into())
    }

    #[test]
    fn a_picture_that_none_refers_to_is_left_out_alone() {
        let disposable = tag(TagKind::Video, 0, &[0x37, 1, 0, 0, 0, 9]);
        assert!(is_needed_by_none(&slice(0, 0)) && is_needed_by_none(&disposable));
        assert!(
            !is_needed_by_none(&slice(0, 1))
                && !is_needed_by_none(&picture(0))
                && !is_needed_by_none(&key(0))
        );
        let inbox = Inbox::default();
        let began = Instant::now();
        inbox.send(began, [key(0)].into_iter());
        inbox.send(at(began, 540), [slice(520, 0), slice(540, 0)].into_iter());
        assert!(matches!(inbox.recv(false), Some(Entry::Tag(tag)) if tag.timestamp.as_millis() == 0));
        inbox.send(at(began, 560), [slice(560, 1)].into_iter());
        assert_eq!(waiting(&inbox), [(TagKind::Video, 560)], "what follows can be decoded");
        assert_eq!(inbox.drops().of(DropReason::Behind), 2);
    }

    #[test]
    fn a_worker_that_opens_its_codecs_is_waited_for_until_it_has_caught_up() {
        let inbox = Inbox::default();
        let tags = |from: i64, to: i64| (from..to).flat_map(|n| [key(n * 50), sound(n * 50)]);
        inbox.opening();
        let began = Instant::now();
        inbox.send(began, tags(0, 60));
        inbox.opened();
        inbox.send(at(began, 6000), tags(60, 120));
        assert_eq!((inbox.waiting(), drops(&inbox)), (240, 0), "six seconds");
        for _ in 0..240 {
            assert!(inbox.recv(false).is_some());
        }
        std::thread::scope(|scope| {
            // It has nothing left to do.
            scope.spawn(|| inbox.recv(false));
            while inbox.state.lock().pace != Pace::KeepingUp {
                std::thread::yield_now();
            }
            inbox.send(at(began, 6000), [sound(6000)].into_iter());
        });
        inbox.send(at(began, 7000), tags(121, 141));
        inbox.send(at(began, 8000), tags(141, 161));
        assert!(drops(&inbox) > 0, "from now on it has to keep up");
    }

    #[test]
    fn who_cannot_catch_up_is_not_waited_for_any_longer() {
        let inbox = Inbox::default();
        inbox.opening();
        let began = Instant::now();
        inbox.send(began, (0..1000).map(|n| key(n * 50)));
        assert_eq!((inbox.waiting(), drops(&inbox)), (201, 799), "ten seconds");
        inbox.opened();
        inbox.send(at(began, 50_000), [key(50_000)].into_iter());
        while inbox.waiting() > 20 {
            assert!(inbox.recv(false).is_some());
        }
        inbox.send(at(began, 50_000), [key(10_000)].into_iter());
        assert_eq!(drops(&inbox), 801, "it is a second behind");
    }

    /// Waits until somebody gathers, or would have.
    fn gathers(inbox: &Inbox) {
        let began = Instant::now();
        while !inbox.state.lock().gathering && began.elapsed() < GATHER {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_gathered_is_waited_for_and_the_reader_is_woken_before() {
        let mut poll = mio::Poll::new().expect("the kernel has one");
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("the kernel has one");
        let (mailbox, _commands) = crate::stream::Mailbox::new(waker);
        let reader = Reader::in_strides(mailbox);
        let inbox = Inbox::default().of_copies().gathering(reader.clone());
        let began = Instant::now();
        inbox.send(began, [sound(0), sound(20)].into_iter());
        let times = |entry| match entry {
            Some(Entry::Tag(tag)) => tag.timestamp.as_millis(),
            _ => panic!("there is a tag"),
        };
        assert_eq!((times(inbox.recv(false)), times(inbox.recv(false))), (0, 20));
        reader.has_got(2);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| (times(inbox.recv(false)), Instant::now()));
            while reader.is_owed() {
                std::thread::yield_now();
            }
            gathers(&inbox);
            inbox.send(Instant::now(), [sound(40)].into_iter());
            let (ms, when) = taken.join().expect("it was given one");
            assert_eq!(ms, 40);
            assert!(when.duration_since(began) >= GATHER, "more may come");
        });
        let mut events = mio::Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::ZERO)).expect("the kernel waits");
        assert!(!events.is_empty());
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| times(inbox.recv(false)));
            gathers(&inbox);
            inbox.send(Instant::now(), (0..GATHERED_TAGS).map(|_| sound(60)));
            assert_eq!(taken.join().expect("much is not waited for"), 60);
            assert!(inbox.waiting() > 0);
            inbox.finish(true);
            assert!(inbox.recv(false).is_none());
        });
    }

    #[test]
    fn headers_always_fit() {
        let inbox = Inbox::default();
        let began = Instant::now();
        inbox.send(began, [key(0)].into_iter());
        let late = [sound(5000), tag(TagKind::Video, 5000, &[0x17, 0, 0, 0, 0, 1])];
        inbox.send(at(began, 5000), late.into_iter());
        assert_eq!(waiting(&inbox), [(TagKind::Video, 0), (TagKind::Video, 5000)]);
    }

    #[test]
    fn headers_are_bounded_like_everything_else() {
        let inbox = Inbox::default();
        let header = tag(TagKind::Video, 0, &[0x17, 0, 0, 0, 0, 1]);
        inbox.send(Instant::now(), std::iter::repeat_n(header, 3 * MOST_TAGS));
        assert_eq!((inbox.waiting(), drops(&inbox)), (MOST_TAGS, 2 * MOST_TAGS as u64));
        // Large ones, too.
        let inbox = Inbox::default();
        let mut body = vec![0u8; 1 << 20];
        body[0] = 0x17;
        let header = Tag::from_wire(TagKind::Video, MediaTime::ZERO, body.into());
        assert!(header.is_sequence_header());
        inbox.send(Instant::now(), std::iter::repeat_n(header, 100));
        assert_eq!(inbox.waiting(), 20);
    }

    #[test]
    fn script_data_is_taken_only_if_it_describes_the_tracks() {
        let inbox = Inbox::default();
        let cue = tag(TagKind::Script, 0, b"\x02\x00\x0AonCuePoint\x05");
        let metadata = tag(TagKind::Script, 0, b"\x02\x00\x0AonMetaData\x05");
        inbox.send(Instant::now(), [key(0), cue, metadata].into_iter());
        assert_eq!(waiting(&inbox), [(TagKind::Video, 0), (TagKind::Script, 0)]);
        assert_eq!(drops(&inbox), 0);
    }
}
