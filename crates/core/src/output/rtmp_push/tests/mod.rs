//! A push on a stage of its own: its clock and the media are the test's, and so are the servers.

mod ends;
mod lags;
mod replaces;
mod rotates;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

use self::server::Server;
use super::replace::{Change, Replace};
use crate::config::Config;
use crate::driver::{OutputContext, OutputDriver, OutputState};
use crate::event::EventKind;
use crate::output::{IfTaken, Output, OutputKind, Rotation};
use crate::pool::Scratch;
use crate::ring::Ring;
use crate::stats::{Cutover, OutputPhase, OutputStats};
use crate::stream::{DRIVER, OUTPUT, OpenOutput, Registry, Stage};

/// What is waited for comes at once, unless the machine is very busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pictures a second, and from one keyframe to the next.
const RATE: u32 = 25;
const GOP: u32 = 25;

/// What is behind is neither made to drop nor given up.
fn patient(config: &mut Config) {
    (config.lag.drop_after, config.lag.disconnect_after) = (Duration::from_secs(60), Duration::from_secs(90));
    (config.backlog.bytes, config.backlog.media) = (1 << 30, Duration::from_secs(600));
    config.backlog.tags = 1 << 20;
}

/// A push, and what it is given.
struct Rig {
    stage: Stage,
    driver: Box<dyn OutputDriver>,
    ring: Ring,
    now: Instant,
    /// The time of the next picture, milliseconds.
    media: i64,
    pictures: u32,
    /// Pictures from one keyframe to the next.
    gop: u32,
    /// Bytes of a picture.
    size: usize,
    scratch: Scratch,
    events: Vec<EventKind>,
    ended: bool,
    /// What it was given: kind and number, in order.
    given: Vec<(TagKind, u32)>,
    _registry: Arc<Registry>,
}

impl Rig {
    fn new(output: Output, change: impl FnOnce(&mut Config)) -> Self {
        output.check().expect("an output that can be");
        Self::of(Box::new(output), change)
    }

    fn of(output: Box<dyn OpenOutput>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.reconnect.first = Duration::from_millis(20);
        config.reconnect.cap = Duration::from_millis(20);
        change(&mut config);
        let registry = Registry::new(config).expect("there is no store");
        let stage = Stage::new(&registry, crate::files::Reads::default()).expect("a stage");
        let opened = stage.open_output(|cx| output.open(cx)).expect("it opens");
        let mut ring = Ring::new(registry.config.backlog.clone(), true);
        let headers =
            [(TagKind::Video, &[0x17, 0, 0, 0, 0, 1][..]), (TagKind::Audio, &[0xAF, 0, 0x11, 0x90])];
        for (kind, body) in headers {
            ring.push(Tag::from_wire(kind, MediaTime::ZERO, Bytes::copy_from_slice(body)));
        }
        let (driver, scratch) = (opened.driver, Scratch::default());
        let (now, events, given) = (Instant::now(), Vec::new(), Vec::new());
        let (media, pictures, gop, size, ended) = (1000, 0, GOP, 200, false);
        let _registry = registry;
        Self {
            stage,
            driver,
            ring,
            now,
            media,
            pictures,
            gop,
            size,
            scratch,
            events,
            ended,
            given,
            _registry,
        }
    }

    fn call(
        &mut self,
        tick: bool,
        ready: (bool, bool),
        call: impl FnOnce(&mut dyn OutputDriver, &mut OutputContext<'_>) -> OutputState,
    ) {
        let mut cx = OutputContext {
            now: self.now,
            registry: self.stage.registry(),
            output: OUTPUT,
            token: DRIVER,
            ring: &self.ring,
            readable: ready.0,
            writable: ready.1,
            tick,
            scratch: &mut self.scratch,
            notices: &mut self.events,
        };
        if matches!(call(self.driver.as_mut(), &mut cx), OutputState::Ended(_)) {
            self.ended = true;
        }
    }

    /// A tick, and what came until it.
    fn turn(&mut self, servers: &mut [&mut Server]) {
        servers.iter_mut().for_each(|server| server.serve());
        let woken = self.stage.wait(Duration::from_millis(1)).expect("a poll that works");
        while let Some(letter) = self.stage.letter() {
            self.call(false, (false, false), |driver, cx| driver.deliver(cx, letter));
        }
        self.call(true, (woken.readable, woken.writable), |driver, cx| driver.turn(cx));
        self.ring.trim(self.driver.cursor().unwrap_or(u64::MAX).min(self.ring.end()));
    }

    /// Turns until `is_so`, while no time passes but the kernel's.
    #[track_caller]
    fn until(&mut self, servers: &mut [&mut Server], mut is_so: impl FnMut(&Self, &[&mut Server]) -> bool) {
        let began = Instant::now();
        loop {
            self.turn(servers);
            if is_so(self, servers) {
                return;
            }
            let since: Vec<_> = servers.iter().map(|server| server.summary()).collect();
            assert!(began.elapsed() < PATIENCE, "it does not come: {:?}\n{since:?}", self.events);
        }
    }

    /// Turns until it is live. Time passes only while it waits to dial again: a dialer that the machine keeps from running takes none.
    /// At most `most` of it.
    #[track_caller]
    fn until_after_waits(&mut self, servers: &mut [&mut Server], most: Duration) {
        let (began, latest) = (Instant::now(), self.now + most);
        while !self.is_live() {
            if self.stats().phase == OutputPhase::Waiting {
                self.now += Duration::from_millis(10);
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.turn(servers);
            assert!(self.now < latest && began.elapsed() < PATIENCE, "it is not dialled: {:?}", self.events);
        }
    }

    /// The next picture and the sound before it; the sound that belongs before a keyframe follows it.
    fn give_one(&mut self) {
        let keyframe = self.pictures.is_multiple_of(self.gop);
        let head = if keyframe { 0x17 } else { 0x27 };
        let number = self.pictures.to_be_bytes();
        let mut body = vec![head, 1, 0, 0, 0];
        body.extend(number);
        body.resize(self.size.max(body.len()), 0);
        let picture = Tag::from_wire(TagKind::Video, MediaTime::from_millis(self.media), body.into());
        let body: Vec<u8> = [0xAF, 1].into_iter().chain(number).collect();
        let sound = Tag::from_wire(TagKind::Audio, MediaTime::from_millis(self.media - 10), body.into());
        let kinds = [(TagKind::Video, self.pictures), (TagKind::Audio, self.pictures)];
        self.given.extend(kinds);
        [picture, sound].into_iter().for_each(|tag| self.ring.push(tag));
        self.media += i64::from(1000 / RATE);
        self.pictures += 1;
    }

    /// The source has nothing to send from here on, or has again.
    fn rest(&mut self, rests: bool) {
        self.call(
            false,
            (false, false),
            |driver, cx| if rests { driver.rest(cx) } else { driver.resume(cx) },
        );
    }

    fn finish(&mut self) {
        self.call(false, (false, false), |driver, cx| {
            driver.finish(cx);
            driver.turn(cx)
        });
    }

    /// The server reads no more, and gets seconds of media until it is behind for more than two keyframes; half a GOP follows.
    fn fall_behind(&mut self, slow: &mut Server) {
        slow.is_deaf = true;
        self.size = 100_000;
        loop {
            self.second(&mut [&mut *slow]);
            let behind = self.ring.end() - self.driver.cursor().expect("it is on the air");
            if behind > u64::from(4 * GOP + GOP) {
                break;
            }
            assert!(self.pictures < 60 * RATE, "the kernel takes it all");
        }
        assert_eq!(self.pictures % GOP, 0);
        (0..GOP / 2).for_each(|_| self.give_one());
    }

    /// A second of media, and of the clock, which is sent.
    fn second(&mut self, servers: &mut [&mut Server]) {
        for _ in 0..RATE {
            self.give_one();
            self.now += Duration::from_secs(1) / RATE;
            self.turn(servers);
        }
    }

    /// Everything was sent and taken.
    #[track_caller]
    fn drain(&mut self, servers: &mut [&mut Server]) {
        let last = self.given.last().copied();
        self.until(servers, |_, servers| {
            servers.iter().flat_map(|server| server.visits.iter()).any(|visit| visit.last() == last)
        });
        self.settle(servers);
    }

    /// It has measured that nothing is under way: else a jump of the clock would look like a peer that takes nothing.
    #[track_caller]
    fn settle(&mut self, servers: &mut [&mut Server]) {
        self.until(servers, |rig, _| rig.stats().bytes_in_kernel == 0);
        // While all is well that is not done with every tick.
        (0..10).for_each(|_| self.turn(servers));
    }

    /// The clock and the media go on by this long at once.
    fn jump(&mut self, by: Duration) {
        self.now += by;
        self.media += i64::try_from(by.as_millis()).expect("a time in milliseconds");
        self.pictures = self.pictures.next_multiple_of(GOP);
    }

    /// Another server is asked for.
    fn replace(&mut self, to: &Output) {
        let Ok(OutputKind::Rtmp(target)) = to.kind.clone() else { panic!("a push") };
        let (change, note) = (Change::Target(target), Box::new(|| {}));
        let asked = Replace { change, if_taken: IfTaken::Keep, note };
        self.call(false, (false, false), |driver, cx| driver.deliver(cx, Box::new(asked)));
    }

    fn stats(&self) -> OutputStats {
        let mut stats = OutputStats::new(OUTPUT, None, String::new());
        self.driver.stats(&mut stats);
        stats
    }

    fn is_live(&self) -> bool {
        self.stats().phase == OutputPhase::Live
    }

    /// The rotations so far.
    fn rotated(&self) -> Vec<Cutover> {
        let cutovers = self.events.iter().filter_map(|event| match event {
            EventKind::OutputRotated { cutover, .. } => Some(*cutover),
            _ => None,
        });
        cutovers.collect()
    }

    /// How often it was begun, and how often in vain.
    fn rotating(&self) -> [usize; 2] {
        ["output_rotating", "output_not_rotated"].map(|name| self.count(name))
    }

    fn names(&self) -> Vec<&'static str> {
        self.events.iter().map(EventKind::name).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.events.iter().filter(|event| event.name() == name).count()
    }

    /// What arrived in order is what was given, from the first keyframe that arrived on: nothing lost, nothing twice.
    #[track_caller]
    fn assert_whole<'a>(&self, visits: impl Iterator<Item = &'a server::Visit> + Clone) {
        for kind in [TagKind::Video, TagKind::Audio] {
            let of_kind = |tags: &[(TagKind, u32)]| -> Vec<u32> {
                tags.iter().filter(|(it, _)| *it == kind).map(|(_, number)| *number).collect()
            };
            let arrived: Vec<u32> = visits.clone().flat_map(|visit| of_kind(&visit.numbers())).collect();
            let given = of_kind(&self.given);
            let begin = given.iter().position(|number| Some(number) == arrived.first()).expect("it begins");
            assert_eq!(arrived, given[begin..], "{kind:?}");
        }
    }
}
