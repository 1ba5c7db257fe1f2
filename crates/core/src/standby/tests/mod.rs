//! Drivers that do what a test says, on a clock of the test's.

mod air;
mod guard;
mod switch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;
use mio::{Poll, Token};
use parking_lot::Mutex;

use crate::driver::{SourceContext, SourceDriver, SourceState, TurnClock};
use crate::error::Error;
use crate::event::EventKind;
use crate::pool::Scratch;
use crate::stats::{FallbackStats, Playing, SourceMode};

/// Baseline and main, 320x240 at level 1.3; AAC-LC of 44.1 and 48 kHz in stereo, the first also in five bytes.
pub(super) const H1: &[u8] = &[
    0x17, 0, 0, 0, 0, 1, 66, 0xC0, 13, 0xFF, 0xE1, 0, 8, 0x67, 66, 0xC0, 13, 0xDA, 5, 0x06, 0xC4, 1, 0, 4,
    0x68, 0xCE, 0x3C, 0x80,
];
pub(super) const H2: &[u8] = &[
    0x17, 0, 0, 0, 0, 1, 77, 0x40, 13, 0xFF, 0xE1, 0, 8, 0x67, 77, 0x40, 13, 0xDA, 5, 0x06, 0xC4, 1, 0, 4,
    0x68, 0xCE, 0x3C, 0x80,
];
pub(super) const A1: &[u8] = &[0xAF, 0, 0x12, 0x10];
pub(super) const A1_LONG: &[u8] = &[0xAF, 0, 0x12, 0x10, 0x56, 0xE5, 0];
pub(super) const A2: &[u8] = &[0xAF, 0, 0x11, 0x90];

pub(super) fn tag(kind: TagKind, millis: i64, body: &'static [u8]) -> Tag {
    Tag::from_wire(kind, MediaTime::from_millis(millis), Bytes::from_static(body))
}

/// How long a fallback that is on the air has been there, where a script says that one is.
pub(super) const LASTED: Duration = Duration::from_secs(3);

/// What a scripted driver does in its turns.
#[derive(Default)]
pub(super) struct Script {
    pub(super) turns: VecDeque<Turn>,
    pub(super) started: Option<Instant>,
    pub(super) stopped: bool,
    pub(super) messages: usize,
    pub(super) resting: bool,
    pub(super) items: bool,
    pub(super) fallback: Option<FallbackStats>,
}

pub(super) enum Turn {
    Tags(Vec<Tag>),
    Notice(EventKind, Vec<Tag>),
    Ended,
    Failed,
}

/// The script of a driver, shared with the test.
#[derive(Clone, Default)]
pub(super) struct Shared(pub(super) Arc<Mutex<Script>>);

pub(super) struct Scripted(Shared);

impl Shared {
    pub(super) fn driver(&self) -> Box<dyn SourceDriver> {
        Box::new(Scripted(self.clone()))
    }

    pub(super) fn give(&self, tags: impl IntoIterator<Item = Tag>) {
        self.0.lock().turns.push_back(Turn::Tags(tags.into_iter().collect()));
    }

    pub(super) fn turn(&self, turn: Turn) {
        self.0.lock().turns.push_back(turn);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.lock().stopped
    }
}

pub(super) fn broken() -> Error {
    Error::Driver { what: "the test says so".to_owned(), source: None }
}

impl SourceDriver for Scripted {
    fn start(&mut self, now: Instant) {
        self.0.0.lock().started = Some(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let turn = self.0.0.lock().turns.pop_front();
        match turn {
            Some(Turn::Tags(tags)) => cx.tags.extend(tags),
            Some(Turn::Notice(notice, tags)) => {
                cx.notices.push(notice);
                cx.tags.extend(tags);
            }
            Some(Turn::Ended) => return SourceState::Ended,
            Some(Turn::Failed) => return SourceState::Failed(broken()),
            None => {}
        }
        SourceState::Running
    }

    fn is_resting(&self) -> bool {
        self.0.0.lock().resting
    }

    fn deliver(&mut self, _: Box<dyn std::any::Any + Send>, _: &mio::Registry, _: Token) {
        self.0.0.lock().messages += 1;
    }

    fn mode(&self) -> SourceMode {
        if self.0.0.lock().items { SourceMode::Reel } else { SourceMode::Live }
    }

    fn playing(&self) -> Option<Playing> {
        let path = "next.mp4".into();
        self.0.0.lock().items.then_some(Playing { item: None, path, position: Duration::ZERO, length: None })
    }

    fn fallback(&self) -> Option<FallbackStats> {
        self.0.0.lock().fallback
    }

    fn end_fallback(&mut self, _: Instant) -> Option<Duration> {
        let mut script = self.0.0.lock();
        let fallback = script.fallback.as_mut().filter(|fallback| fallback.on_air)?;
        fallback.on_air = false;
        fallback.time += LASTED;
        Some(LASTED)
    }

    fn stop(&mut self) {
        self.0.0.lock().stopped = true;
    }
}

/// A stream's thread, of which time is the test's.
pub(super) struct Rig {
    pub(super) driver: Box<dyn SourceDriver>,
    poll: Poll,
    scratch: Scratch,
    pub(super) now: Instant,
    /// All that came.
    pub(super) tags: Vec<Tag>,
    pub(super) notices: Vec<EventKind>,
}

impl Rig {
    pub(super) fn new(driver: Box<dyn SourceDriver>) -> Self {
        let poll = Poll::new().expect("a poll");
        let mut rig = Self {
            driver,
            poll,
            scratch: Scratch::default(),
            now: Instant::now(),
            tags: Vec::new(),
            notices: Vec::new(),
        };
        rig.driver.attach(rig.poll.registry(), Token(1)).expect("it has no socket");
        rig.driver.start(rig.now);
        rig
    }

    /// One turn, this many milliseconds after the one before; what came in it.
    pub(super) fn turn(&mut self, millis: u64) -> (Vec<Tag>, SourceState) {
        self.now += Duration::from_millis(millis);
        let (mut tags, mut refills) = (Vec::new(), Vec::new());
        let state = self.driver.pull(&mut SourceContext {
            now: self.now,
            clock: TurnClock::Still,
            readable: false,
            writable: false,
            tick: true,
            ticks_only: false,
            registry: self.poll.registry(),
            token: Token(1),
            scratch: &mut self.scratch,
            tags: &mut tags,
            refills: &mut refills,
            notices: &mut self.notices,
        });
        self.tags.extend(tags.iter().cloned());
        (tags, state)
    }

    pub(super) fn deliver(&mut self, message: Box<dyn std::any::Any + Send>) {
        self.driver.deliver(message, self.poll.registry(), Token(1));
    }

    /// Times of all frames so far increase, track by track; headers are not counted.
    pub(super) fn assert_increasing(&self) {
        for audio in [false, true] {
            let frames = self.tags.iter().filter(|tag| tag.is_audio() == audio && !tag.is_header());
            let times: Vec<_> = frames.map(|tag| tag.timestamp.as_millis()).collect();
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "audio {audio}: {times:?}");
        }
    }
}

/// What a test says of a tag: `V` and `A` headers, `K` a keyframe, `p` a picture, `a` sound, `m` metadata; and its time.
pub(super) fn seen(tags: &[Tag]) -> Vec<(char, i64)> {
    let what = |tag: &Tag| match (tag.is_video(), tag.is_header()) {
        (true, true) => 'V',
        (true, false) => {
            if tag.is_keyframe() {
                'K'
            } else {
                'p'
            }
        }
        (false, _) if tag.is_script() => 'm',
        (false, true) => 'A',
        (false, false) => 'a',
    };
    tags.iter().map(|tag| (what(tag), tag.timestamp.as_millis())).collect()
}

pub(super) fn key(millis: i64) -> Tag {
    tag(TagKind::Video, millis, &[0x17, 1, 0, 0, 0, 9])
}

pub(super) fn picture(millis: i64) -> Tag {
    tag(TagKind::Video, millis, &[0x27, 1, 0, 0, 0, 9])
}

pub(super) fn sound(millis: i64) -> Tag {
    tag(TagKind::Audio, millis, &[0xAF, 1, 9])
}

pub(super) fn headers(video: &'static [u8], audio: &'static [u8]) -> [Tag; 2] {
    [tag(TagKind::Video, 0, video), tag(TagKind::Audio, 0, audio)]
}
