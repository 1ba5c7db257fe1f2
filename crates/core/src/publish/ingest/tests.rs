use std::collections::VecDeque;

use bytes::Bytes;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;
use mio::Poll;
use parking_lot::Mutex;

use super::*;
use crate::driver::TurnClock;
use crate::pool::Scratch;
use crate::stream::Answer;

const GRACE: Duration = Duration::from_secs(30);
const AFTER: Duration = Duration::from_secs(5);

/// What a publisher does, turn by turn; then nothing.
#[derive(Default)]
struct Fake {
    turns: VecDeque<Turn>,
    stopped: Arc<Mutex<u32>>,
}

enum Turn {
    Media(Vec<Tag>),
    Unpublish,
    HangUp,
    Fail,
}

impl SourceDriver for Fake {
    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let lost = |kind: io::ErrorKind| {
            let host = "studio".to_owned();
            SourceState::Failed(Error::ConnectionLost { host, source: io::Error::from(kind).into() })
        };
        match self.turns.pop_front() {
            Some(Turn::Media(tags)) => cx.tags.extend(tags),
            Some(Turn::Unpublish) => return SourceState::Ended,
            Some(Turn::HangUp) => return lost(io::ErrorKind::UnexpectedEof),
            Some(Turn::Fail) => return lost(io::ErrorKind::TimedOut),
            None => {}
        }
        SourceState::Running
    }

    fn stop(&mut self) {
        *self.stopped.lock() += 1;
    }
}

fn publisher(turns: impl IntoIterator<Item = Turn>) -> Box<dyn SourceDriver> {
    Box::new(Fake { turns: turns.into_iter().collect(), ..Fake::default() })
}

/// A second of pictures and sound behind a header, from `time` of the publisher's clock.
fn media(time: i64) -> Turn {
    let header = Tag::from_wire(
        TagKind::Video,
        MediaTime::from_millis(time),
        Bytes::from_static(&[0x17, 0, 0, 0, 0, 1, 0x64, 0, 31, 0xFF, 0xE1, 0, 1, 0x67, 1, 0, 1, 0x68]),
    );
    let frames = (0..25).flat_map(|number| {
        let at = |offset| MediaTime::from_millis(time + number * 40 + offset);
        let head: &[u8] = if number == 0 { &[0x17, 1, 0, 0, 0] } else { &[0x27, 1, 0, 0, 0] };
        let picture = Tag::from_wire(TagKind::Video, at(0), Bytes::copy_from_slice(head));
        [picture, Tag::from_wire(TagKind::Audio, at(7), Bytes::from_static(&[0x2F, 1, 0]))]
    });
    Turn::Media(std::iter::once(header).chain(frames).collect())
}

/// A stream of publishers, and what came of it.
struct Rig {
    ingest: Ingest,
    desk: Arc<Desk>,
    poll: Poll,
    now: Instant,
    tags: Vec<Tag>,
    notices: Vec<EventKind>,
}

impl Rig {
    fn new(first: Box<dyn SourceDriver>, grace: Duration) -> Self {
        let desk = Desk::new();
        Self {
            ingest: Ingest::new(first, desk.clone(), grace),
            desk,
            poll: Poll::new().expect("a poll"),
            now: Instant::now(),
            tags: Vec::new(),
            notices: Vec::new(),
        }
    }

    fn turn(&mut self) -> SourceState {
        let (mut scratch, mut refills) = (Scratch::default(), Vec::new());
        self.ingest.pull(&mut SourceContext {
            now: self.now,
            clock: TurnClock::Still,
            readable: false,
            writable: false,
            tick: true,
            ticks_only: false,
            registry: self.poll.registry(),
            token: Token(1),
            scratch: &mut scratch,
            tags: &mut self.tags,
            refills: &mut refills,
            notices: &mut self.notices,
        })
    }

    #[track_caller]
    fn goes_on(&mut self) {
        let state = self.turn();
        assert!(matches!(state, SourceState::Running), "{state:?}");
    }

    fn deliver(&mut self, next: Box<dyn SourceDriver>) {
        self.ingest.deliver(Box::new(Delivery(next)), self.poll.registry(), Token(1));
        assert!(self.ingest.is_due(), "a publisher that comes has a turn at once");
    }

    /// Each track's times strictly increase, and the only header is the first tag.
    #[track_caller]
    fn assert_one_stream(&self, pictures: usize) {
        for kind in [TagKind::Video, TagKind::Audio] {
            let frames = self.tags.iter().filter(|tag| tag.kind == kind && !tag.is_sequence_header());
            let times: Vec<_> = frames.map(|tag| tag.timestamp).collect();
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{kind:?}: {times:?}");
            assert_eq!(times.len(), pictures);
        }
        let headers: Vec<_> = self.tags.iter().map(Tag::is_sequence_header).collect();
        assert!(headers[0] && headers[1..].iter().all(|is_header| !is_header));
    }
}

#[test]
fn a_publisher_that_hangs_up_and_returns_continues_the_stream() {
    for lost in [Turn::HangUp, Turn::Fail] {
        let mut rig = Rig::new(publisher([media(500_000), lost]), GRACE);
        rig.goes_on();
        assert_eq!(rig.desk.ask(AFTER), Answer::Taken);
        rig.goes_on();
        rig.now += Duration::from_secs(20);
        rig.goes_on();
        assert_eq!(rig.desk.ask(AFTER), Answer::Vacant);
        assert_eq!(rig.desk.ask(AFTER), Answer::Taken, "somebody is on the way");
        rig.deliver(publisher([media(0)]));
        rig.goes_on();
        rig.assert_one_stream(50);
        let step = rig.tags[51].timestamp.millis_since(rig.tags[50].timestamp);
        assert!((20_000..20_050).contains(&step), "{step}");
        assert_eq!(rig.desk.ask(AFTER), Answer::Taken);
        let told = |matches: fn(&EventKind) -> bool| rig.notices.iter().filter(|kind| matches(kind)).count();
        assert_eq!(told(|kind| matches!(kind, EventKind::PublisherLost { .. })), 1);
        assert_eq!(told(|kind| matches!(kind, EventKind::PublisherReturned { .. })), 1);
    }
}

#[test]
fn a_silent_publisher_is_replaced_and_says_goodbye_once() {
    let silent = Fake { turns: [media(9000)].into(), ..Fake::default() };
    let stopped = silent.stopped.clone();
    let mut rig = Rig::new(Box::new(silent), GRACE);
    rig.goes_on();
    assert_eq!(rig.desk.ask(Duration::from_secs(5)), Answer::Taken);
    assert_eq!(rig.desk.ask(Duration::ZERO), Answer::Silent);
    rig.deliver(publisher([media(0)]));
    rig.goes_on();
    rig.goes_on();
    rig.assert_one_stream(50);
    assert_eq!((*stopped.lock(), rig.ingest.leaving.len()), (1, 0));
    assert!(rig.notices.iter().any(|kind| matches!(kind, EventKind::PublisherReplaced { .. })));
}

#[test]
fn what_is_relayed_gives_way_to_the_first_publisher_which_then_holds_the_place() {
    let relayed = Fake { turns: [media(9000)].into(), ..Fake::default() };
    let stopped = relayed.stopped.clone();
    let mut rig = Rig::new(publisher([]), GRACE);
    rig.ingest = Ingest::relayed(Box::new(relayed), rig.desk.clone(), GRACE);
    rig.goes_on();
    assert_eq!(rig.desk.ask(AFTER), Answer::Silent, "it sends, and gives way all the same");
    rig.deliver(publisher([media(0), Turn::Fail]));
    rig.goes_on();
    rig.assert_one_stream(50);
    assert_eq!(*stopped.lock(), 1);
    assert_eq!(rig.desk.ask(AFTER), Answer::Taken);
    // A publisher that is lost is waited for.
    rig.goes_on();
    assert_eq!(rig.desk.ask(AFTER), Answer::Vacant);
}

#[test]
fn what_is_relayed_and_lost_is_not_waited_for_a_second_time() {
    let mut rig = Rig::new(publisher([]), GRACE);
    rig.ingest = Ingest::relayed(publisher([media(0), Turn::Fail]), rig.desk.clone(), GRACE);
    rig.goes_on();
    assert!(matches!(rig.turn(), SourceState::Failed(_)));
    assert_eq!(rig.desk.ask(AFTER), Answer::Over);
}

#[test]
fn an_orderly_end_is_the_end() {
    let mut rig = Rig::new(publisher([media(0), Turn::Unpublish]), GRACE);
    rig.goes_on();
    assert!(matches!(rig.turn(), SourceState::Ended));
    assert_eq!(rig.desk.ask(Duration::ZERO), Answer::Over);
}

#[test]
fn after_the_grace_the_stream_ends_as_its_publisher_did() {
    for (lost, fails) in [(Turn::HangUp, false), (Turn::Fail, true)] {
        let mut rig = Rig::new(publisher([media(0), lost]), GRACE);
        rig.goes_on();
        rig.goes_on();
        rig.now += GRACE - Duration::from_millis(1);
        rig.goes_on();
        rig.now += Duration::from_millis(1);
        let state = rig.turn();
        assert_eq!(matches!(state, SourceState::Failed(_)), fails, "{state:?}");
        assert_eq!(matches!(state, SourceState::Ended), !fails, "{state:?}");
        assert_eq!(rig.desk.ask(Duration::ZERO), Answer::Over);
    }
}

#[test]
fn without_a_grace_or_without_media_nobody_is_waited_for() {
    let mut rig = Rig::new(publisher([media(0), Turn::HangUp]), Duration::ZERO);
    rig.goes_on();
    assert!(matches!(rig.turn(), SourceState::Ended));
    let mut rig = Rig::new(publisher([Turn::Fail]), GRACE);
    assert!(matches!(rig.turn(), SourceState::Failed(_)));
}

#[test]
fn who_was_told_to_come_in_is_waited_for_and_who_does_not_come_is_not() {
    for end in [Turn::Unpublish, Turn::HangUp] {
        let mut rig = Rig::new(publisher([media(0), end]), Duration::ZERO);
        rig.goes_on();
        assert_eq!(rig.desk.ask(Duration::ZERO), Answer::Silent);
        rig.goes_on();
        rig.now += Duration::from_secs(3600);
        rig.goes_on();
        rig.desk.withdraw();
        assert!(matches!(rig.turn(), SourceState::Ended));
    }
    let mut rig = Rig::new(publisher([media(0), Turn::Unpublish]), GRACE);
    rig.goes_on();
    assert_eq!(rig.desk.ask(Duration::ZERO), Answer::Silent);
    rig.goes_on();
    rig.deliver(publisher([media(0)]));
    rig.goes_on();
    rig.assert_one_stream(50);
}
