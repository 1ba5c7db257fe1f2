//! Sources with one mistake each, found by name.

use std::time::{Duration, Instant};

use flowcast::Error;
use flowcast::driver::bytes::Bytes;
use flowcast::driver::check::{Check, MistakeKind};
use flowcast::driver::mio::net::{TcpListener, TcpStream};
use flowcast::driver::mio::{Interest, Registry, Token};
use flowcast::driver::{
    Refill, SourceContext, SourceDriver, SourceOpening, SourceState, Tag, TagFlags, TagKind,
};

use crate::right::{Made, Pictures, picture};

/// What is wrong with a source.
type Wrong = fn(&mut Pictures, &mut SourceContext<'_>) -> SourceState;

/// Pictures, with something done to each turn.
struct With {
    pictures: Pictures,
    wrong: Wrong,
}

impl SourceDriver for With {
    fn start(&mut self, now: Instant) {
        self.pictures.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        (self.wrong)(&mut self.pictures, cx)
    }
}

/// The mistake, and no other, is found in the driver.
fn is_found<D: SourceDriver + 'static>(kind: MistakeKind, make: impl Fn() -> D + Send + Clone + 'static) {
    let check = Check::new().patience(Duration::from_secs(1));
    let report = check.source(move || {
        let make = make.clone();
        Made(move |_: &SourceOpening<'_>| Box::new(make()) as Box<dyn SourceDriver>)
    });
    assert!(report.has(kind), "{kind} is not found: {report}");
    assert_eq!(report.mistakes.len(), 1, "something else is found, too: {report}");
}

fn is_found_with(kind: MistakeKind, wrong: Wrong) {
    is_found(kind, move || With { pictures: Pictures::default(), wrong });
}

#[test]
fn one_that_blocks() {
    is_found_with(MistakeKind::Blocks, |pictures, cx| {
        if (100..103).contains(&pictures.next) {
            std::thread::sleep(Duration::from_millis(500));
        }
        pictures.pull(cx)
    });
}

#[test]
fn one_that_panics() {
    is_found_with(MistakeKind::Panics, |pictures, cx| {
        assert!(pictures.next < 100, "planted");
        pictures.pull(cx)
    });
}

#[test]
fn one_whose_times_go_back() {
    is_found_with(MistakeKind::TimeGoesBack, |pictures, cx| {
        let state = pictures.pull(cx);
        if let Some(tag) = cx.tags.last_mut().filter(|_| pictures.next > 100) {
            tag.timestamp = tag.timestamp.saturating_add_millis(-500);
        }
        state
    });
}

#[test]
fn one_that_forgets_the_keyframe_flag() {
    is_found_with(MistakeKind::KeyframeNotMarked, |pictures, cx| {
        let state = pictures.pull(cx);
        for tag in cx.tags.iter_mut().filter(|tag| tag.is_keyframe() && tag.timestamp.as_millis() > 1500) {
            tag.flags = TagFlags::EMPTY;
        }
        state
    });
}

#[test]
fn one_that_begins_in_the_middle_of_a_gop() {
    is_found_with(MistakeKind::NoKeyframeFirst, |pictures, cx| {
        let state = pictures.pull(cx);
        cx.tags.retain(|tag| !tag.is_keyframe() || tag.timestamp.as_millis() > 0);
        state
    });
}

#[test]
fn one_that_sends_no_header() {
    is_found_with(MistakeKind::HeaderMissing, |pictures, cx| {
        let state = pictures.pull(cx);
        cx.tags.retain(|tag| !tag.is_header());
        state
    });
}

#[test]
fn one_that_does_not_pace_itself() {
    is_found_with(MistakeKind::RunsAhead, |pictures, cx| {
        if let Some(began) = &mut pictures.began {
            *began -= Duration::from_secs(1);
        }
        pictures.pull(cx)
    });
}

#[test]
fn one_that_gives_nothing() {
    is_found_with(MistakeKind::Silent, |_, _| SourceState::Running);
}

#[test]
fn one_that_always_has_more() {
    is_found_with(MistakeKind::Spins, |pictures, cx| {
        pictures.pull(cx);
        SourceState::More
    });
}

struct NeverStops(Pictures);

impl SourceDriver for NeverStops {
    fn start(&mut self, now: Instant) {
        self.0.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        self.0.pull(cx)
    }

    fn is_stopped(&mut self) -> bool {
        false
    }
}

#[test]
fn one_that_never_stops() {
    is_found(MistakeKind::NeverEnds, || NeverStops(Pictures::default()));
}

struct Hoards(Pictures, usize);

impl SourceDriver for Hoards {
    fn start(&mut self, now: Instant) {
        self.0.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        self.1 += 1 << 20;
        self.0.pull(cx)
    }

    fn bytes_held(&self) -> usize {
        self.1
    }
}

#[test]
fn one_that_holds_more_and_more() {
    is_found(MistakeKind::GrowsWithoutBound, || Hoards(Pictures::default(), 0));
}

struct SaysItRests(Pictures);

impl SourceDriver for SaysItRests {
    fn start(&mut self, now: Instant) {
        self.0.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        self.0.pull(cx)
    }

    fn is_resting(&self) -> bool {
        true
    }
}

#[test]
fn one_that_rests_and_gives() {
    is_found(MistakeKind::RestsAndGives, || SaysItRests(Pictures::default()));
}

#[derive(Debug)]
struct Wrongly;

impl Refill for Wrongly {
    fn refill(&self, tags: &mut Vec<Tag>) -> Result<(), Error> {
        let body = Bytes::from_static(&[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x01]);
        tags.push(Tag { body: body.into(), ..picture(1, 0) });
        Ok(())
    }
}

#[test]
fn one_that_makes_other_tags_the_second_time() {
    is_found_with(MistakeKind::RefillDiffers, |pictures, cx| {
        let state = pictures.pull(cx);
        if cx.tags.last().is_some_and(|tag| tag.kind == TagKind::Video) {
            cx.refill(1, Box::new(Wrongly));
        }
        state
    });
}

/// Registers its socket with a token it made up.
struct Strange {
    pictures: Pictures,
    listener: TcpListener,
    client: TcpStream,
}

impl SourceDriver for Strange {
    fn attach(&mut self, registry: &Registry, _token: Token) -> std::io::Result<()> {
        registry.register(&mut self.client, Token(77), Interest::WRITABLE)
    }

    fn start(&mut self, now: Instant) {
        self.pictures.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        // It is connected, which the driver is not told.
        let _ = self.listener.accept();
        self.pictures.pull(cx)
    }
}

#[test]
fn one_that_registers_a_token_that_is_not_its_own() {
    is_found(MistakeKind::WrongToken, || {
        let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let client = TcpStream::connect(listener.local_addr().expect("it listens")).expect("it listens");
        Strange { pictures: Pictures::default(), listener, client }
    });
}
