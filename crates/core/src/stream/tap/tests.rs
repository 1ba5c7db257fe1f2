use std::time::Instant;

use bytes::Bytes;
use flowcast_rtmp::flv::tag::TagKind;
use mio::{Events, Poll, Token, Waker};

use super::*;
use crate::config::BacklogConfig;
use crate::driver::TurnClock;
use crate::id::OutputId;
use crate::pool::Scratch;
use crate::stream::mailbox::Commands;

const BOUNDS: QueueBounds = QueueBounds { items: 100, bytes: 1 << 20, media: Duration::from_secs(5) };
/// Milliseconds from a picture to the next.
const STEP: i64 = 40;

/// Both ends of a tap, and the ring it is on.
struct Rig {
    ring: Ring,
    output: Option<TapOutput>,
    source: Option<TapSource>,
    writer: Poll,
    reader: Poll,
    _commands: Commands,
    pictures: i64,
}

fn header(tail: u8) -> Tag {
    Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::copy_from_slice(&[0x17, 0, 0, 0, 0, tail]))
}

impl Rig {
    fn new(bounds: QueueBounds, join: Join, backlog: BacklogConfig) -> Self {
        let reader = Poll::new().expect("a poll");
        let waker = Waker::new(reader.registry(), Token(0)).expect("a waker");
        let (mailbox, commands) = Mailbox::new(waker);
        let (output, source) = tap(bounds, join, TapPace::Immediate, mailbox);
        let mut ring = Ring::new(backlog, true);
        ring.push(header(1));
        Self {
            ring,
            output: Some(output),
            source: Some(source),
            writer: Poll::new().expect("a poll"),
            reader,
            _commands: commands,
            pictures: 0,
        }
    }

    /// This many pictures, every tenth a keyframe, each with sound a little later, and a turn of the output after each.
    fn play(&mut self, pictures: i64) {
        for _ in 0..pictures {
            let time = self.pictures * STEP;
            let keyframe = self.pictures % 10 == 0;
            let head = if keyframe { [0x17, 1] } else { [0x27, 1] };
            self.push(TagKind::Video, time, head);
            self.push(TagKind::Audio, time + 1, [0xAF, 1]);
            self.pictures += 1;
            let state = self.turn(|output, cx| output.turn(cx));
            assert!(matches!(state, None | Some(OutputState::Running)), "{state:?}");
            self.ring.end_turn();
        }
    }

    fn push(&mut self, kind: TagKind, time: i64, head: [u8; 2]) {
        let mut body = vec![0; 100];
        body[..2].copy_from_slice(&head);
        self.ring.push(Tag::from_wire(kind, MediaTime::from_millis(time), Bytes::from(body)));
    }

    fn turn<T>(&mut self, turn: impl FnOnce(&mut TapOutput, &mut OutputContext<'_>) -> T) -> Option<T> {
        let (mut scratch, mut notices) = (Scratch::default(), Vec::new());
        let mut cx = OutputContext {
            output: OutputId(0),
            now: Instant::now(),
            registry: self.writer.registry(),
            token: Token(1),
            ring: &self.ring,
            readable: false,
            writable: false,
            tick: false,
            scratch: &mut scratch,
            notices: &mut notices,
        };
        self.output.as_mut().map(|output| turn(output, &mut cx))
    }

    /// What a turn of the source gives, and whether it is complete.
    fn pull(&mut self) -> (Vec<Tag>, bool) {
        let (mut scratch, mut notices, mut refills, mut tags) =
            (Scratch::default(), Vec::new(), Vec::new(), Vec::new());
        let source = self.source.as_mut().expect("there is one");
        let state = source.pull(&mut SourceContext {
            now: Instant::now(),
            clock: TurnClock::Still,
            readable: false,
            writable: false,
            tick: false,
            ticks_only: false,
            registry: self.reader.registry(),
            token: Token(1),
            scratch: &mut scratch,
            tags: &mut tags,
            refills: &mut refills,
            notices: &mut notices,
        });
        (tags, matches!(state, SourceState::Ended))
    }

    /// Whether the reader was woken since this was last asked.
    fn woken(&mut self) -> bool {
        let mut events = Events::with_capacity(4);
        self.reader.poll(&mut events, Some(Duration::ZERO)).expect("a poll");
        !events.is_empty()
    }
}

fn pictures(tags: &[Tag]) -> Vec<i64> {
    let pictures = tags.iter().filter(|tag| tag.is_video() && !tag.is_sequence_header());
    pictures.map(|tag| tag.timestamp.as_millis() / STEP).collect()
}

#[test]
fn the_other_stream_gets_every_tag_once_behind_its_headers_and_is_woken_for_it() {
    let mut rig = Rig::new(BOUNDS, Join::Newest, BacklogConfig::default());
    assert!(!rig.woken());
    rig.play(5);
    assert!(rig.woken());
    let (tags, over) = rig.pull();
    assert!(tags[0].is_sequence_header() && tags[1].is_keyframe() && !over, "{tags:?}");
    assert_eq!((tags.len(), pictures(&tags)), (1 + 10, (0..5).collect()));
    assert!(!rig.woken(), "nothing is new");
    rig.play(20);
    assert!(rig.woken());
    let (tags, _) = rig.pull();
    // The header of the keyframes in between is the one it has.
    assert_eq!((tags.len(), pictures(&tags)), (40, (5..25).collect()));
}

#[test]
fn a_tap_begins_at_the_newest_keyframe_or_at_the_next() {
    for (join, first) in [(Join::Newest, 10), (Join::Next, 20)] {
        let mut rig = Rig::new(BOUNDS, join, BacklogConfig::default());
        let output = rig.output.take();
        rig.play(15);
        rig.output = output;
        rig.play(10);
        assert_eq!(pictures(&rig.pull().0), (first..25).collect::<Vec<_>>(), "{join:?}");
    }
}

#[test]
fn what_does_not_fit_waits_in_the_ring_and_nothing_is_lost() {
    let bounds = QueueBounds { items: 10, ..BOUNDS };
    let mut rig = Rig::new(bounds, Join::Newest, BacklogConfig::default());
    rig.play(30);
    let mut got = Vec::new();
    for _ in 0..20 {
        let (tags, _) = rig.pull();
        // Headers come with their keyframe, whatever the bound is.
        assert!(tags.len() <= 11, "{}", tags.len());
        got.extend(tags);
        rig.turn(|output, cx| output.turn(cx));
    }
    assert_eq!(pictures(&got), (0..30).collect::<Vec<_>>());
    assert_eq!(rig.source.as_ref().map(TapSource::drops), Some(0));
}

#[test]
fn bytes_and_media_time_are_bounded_and_one_tag_always_fits() {
    for bounds in
        [QueueBounds { bytes: 1000, ..BOUNDS }, QueueBounds { media: Duration::from_millis(160), ..BOUNDS }]
    {
        let mut rig = Rig::new(bounds, Join::Newest, BacklogConfig::default());
        rig.play(30);
        let (tags, _) = rig.pull();
        assert!((8..=11).contains(&tags.len()), "{bounds:?}: {} tags", tags.len());
    }
    let mut rig = Rig::new(QueueBounds { bytes: 1, ..BOUNDS }, Join::Newest, BacklogConfig::default());
    rig.play(3);
    assert_eq!(pictures(&rig.pull().0), [0]);
}

#[test]
fn beyond_the_ring_it_goes_on_at_a_keyframe_and_counts_what_is_gone() {
    let backlog = BacklogConfig { media: Duration::from_secs(1), ..BacklogConfig::default() };
    let mut rig = Rig::new(QueueBounds { items: 10, ..BOUNDS }, Join::Newest, backlog);
    rig.play(5);
    let (before, _) = rig.pull();
    rig.play(100);
    rig.ring.push(header(2));
    let mut after = rig.pull().0;
    for _ in 0..20 {
        rig.play(1);
        after.extend(rig.pull().0);
    }
    let (before, after) = (pictures(&before), pictures(&after));
    let gap = after.windows(2).position(|pair| pair[1] != pair[0] + 1).expect("a gap");
    assert_eq!(after[gap + 1] % 10, 0, "no keyframe: {after:?}");
    assert!(after[gap + 2..].windows(2).all(|pair| pair[1] == pair[0] + 1), "{after:?}");
    assert_eq!(before.first(), Some(&0));
    let drops = rig.source.as_ref().map_or(0, TapSource::drops);
    let missing = (after[gap + 1] - after[gap] - 1) as u64;
    assert!((missing..=2 * missing).contains(&drops), "{drops} counted, {missing} pictures are missing");
}

#[test]
fn headers_are_given_again_after_a_gap_only_if_they_changed() {
    for (tail, times) in [(1, 1), (2, 2)] {
        let backlog = BacklogConfig { media: Duration::from_secs(1), ..BacklogConfig::default() };
        let mut rig = Rig::new(QueueBounds { items: 4, ..BOUNDS }, Join::Newest, backlog);
        rig.play(3);
        // Out of sight of the tap, which is full.
        rig.ring.push(header(tail));
        rig.play(60);
        let mut got = Vec::new();
        for _ in 0..80 {
            got.extend(rig.pull().0);
            rig.play(1);
        }
        assert!(pictures(&got).windows(2).any(|pair| pair[1] != pair[0] + 1), "no gap");
        let headers = got.iter().filter(|tag| tag.is_sequence_header()).count();
        assert_eq!(headers, times);
    }
}

#[test]
fn a_header_is_not_known_any_more_after_sound_that_has_none() {
    let aac = || Tag::from_wire(TagKind::Audio, MediaTime::ZERO, Bytes::from_static(&[0xAF, 0, 0x12, 0x10]));
    let mut rig = Rig::new(BOUNDS, Join::Newest, BacklogConfig::default());
    rig.ring.push(aac());
    rig.play(1);
    rig.push(TagKind::Audio, 2, [0x2F, 1]);
    rig.turn(|output, cx| output.turn(cx));
    let is_sound = |tag: &Tag| tag.body.byte(0) == Some(0x2F);
    assert!(rig.pull().0.iter().any(is_sound), "the tap has seen it");
    let given = &mut rig.output.as_mut().expect("there").given;
    assert!(given.note(&aac()) && !given.note(&header(1)), "only the sound's header is new");
}

#[test]
fn the_source_is_complete_after_everything_that_was_before_the_end() {
    let mut rig = Rig::new(QueueBounds { items: 10, ..BOUNDS }, Join::Newest, BacklogConfig::default());
    rig.play(10);
    rig.turn(|output, cx| output.finish(cx));
    assert!(!rig.output.as_mut().expect("there").is_finished(), "most of it waits in the ring");
    let mut got = Vec::new();
    for _ in 0..10 {
        let (tags, over) = rig.pull();
        got.extend(tags);
        if over {
            assert_eq!(pictures(&got), (0..10).collect::<Vec<_>>());
            return;
        }
        rig.turn(|output, cx| output.turn(cx));
    }
    panic!("not complete");
}

#[test]
fn a_stream_that_dies_ends_the_source_and_a_source_that_is_gone_ends_the_output() {
    let mut rig = Rig::new(BOUNDS, Join::Newest, BacklogConfig::default());
    rig.play(2);
    assert!(rig.woken());
    rig.output = None;
    assert!(rig.woken());
    let (tags, over) = rig.pull();
    assert!(over && pictures(&tags) == [0, 1]);

    let mut rig = Rig::new(BOUNDS, Join::Newest, BacklogConfig::default());
    rig.play(2);
    rig.source = None;
    let state = rig.turn(|output, cx| output.turn(cx));
    assert!(matches!(state, Some(OutputState::Ended(None))), "{state:?}");
}
