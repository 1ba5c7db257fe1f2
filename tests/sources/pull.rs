//! Streams of other servers: pulled, passed on frame for frame, lost and found again, and what must not be reached.

use std::net::SocketAddr;
use std::time::Duration;

use flowcast::pull::{Pull, Reach};
use flowcast::{
    Engine, Error, EventKind, Events, Mode, Output, Profile, RtmpServer, RtmpServerExt, Source, StreamHandle,
};
use kit::acted::{Acted, Answer};
use kit::rig::{Known, LONGEST_WAIT, engine, push, quickly, read_flv, wait_event};
use kit::scripted::{Script, Scripted, Seen};
use kit::{FaultProxy, Need, Nginx, PATIENCE, decode, ffmpeg_publish, need, wait_until};

use crate::assert_one_stream;

/// A server, and the clip that is looped there while there is a stream of it.
pub(crate) struct Origin {
    engine: Engine,
    pub(crate) server: RtmpServer,
    pub(crate) clip: Known,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let engine = engine(|_| {});
        let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
        Self { engine, server, clip: Known::small() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Puts the clip on the air.
    pub(crate) fn show(&self) -> StreamHandle {
        let source = Source::file(&self.clip.file).looped();
        self.engine.stream(source).to(Output::publish("show")).start().expect("a free name")
    }
}

fn url(address: SocketAddr) -> String {
    format!("rtmp://{address}/live/show")
}

/// A pull that is dialled again soon.
fn pull(address: SocketAddr) -> Pull {
    Pull::url(&url(address)).reconnect(quickly())
}

fn wait_live(events: &Events) -> (u64, u32) {
    wait_event(events, PATIENCE, |event| match event.kind {
        EventKind::SourceLive { reconnects, failures } => Some((reconnects, failures)),
        _ => None,
    })
}

fn wait_retrying(events: &Events) -> Error {
    wait_event(events, PATIENCE, |event| match &event.kind {
        EventKind::SourceRetrying { error, .. } => Some(error.clone()),
        _ => None,
    })
}

fn wait_failed(events: &Events) -> Option<Error> {
    wait_event(events, PATIENCE, |event| match &event.kind {
        EventKind::Ended { error } => Some(error.clone()),
        _ => None,
    })
}

/// Times of a track never go back.
#[track_caller]
pub(crate) fn assert_increasing(tags: &[Seen]) {
    let pictures: Vec<_> = tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.time).collect();
    let falls = pictures.windows(2).find(|pair| pair[1] <= pair[0]);
    assert!(falls.is_none(), "{falls:?}");
}

#[test]
fn what_is_pulled_is_passed_on_frame_for_frame() {
    let (origin, receiver) = (Origin::start(), Scripted::start(Script::Record));
    let _show = origin.show();
    let edge = engine(|_| {});
    let events = edge.events();
    let recording = origin.clip.beside("pulled.flv");
    let live = edge.stream(Source::pull(pull(origin.address()))).to(push(&receiver)).record(&recording);
    let live = live.start().expect("it can be started");
    assert!(receiver.wait_pictures(0, 120, PATIENCE), "{}", live.stats());
    live.stop(PATIENCE).expect("it runs well");
    origin.clip.assert_fresh_start(&receiver.visits()[0].tags);
    origin.clip.assert_gapless(&read_flv(&recording));
    assert_eq!(wait_live(&events), (0, 0));
    // The server sees that nobody plays any more.
    assert!(wait_until(PATIENCE, || origin.server.stats().players == 0), "{:?}", origin.server.stats());
}

#[test]
fn a_stream_that_is_not_there_yet_is_waited_for_and_nothing_is_dialled_meanwhile() {
    let (origin, receiver) = (Origin::start(), Scripted::start(Script::Record));
    let edge = engine(|_| {});
    let events = edge.events();
    let live =
        edge.stream(Source::pull(pull(origin.address()))).to(push(&receiver)).start().expect("it starts");
    let error = wait_retrying(&events);
    assert!(matches!(&error, Error::Rtmp { .. }) && error.is_retryable(), "{error}");
    assert_eq!(receiver.count(), 0);
    let _show = origin.show();
    let (reconnects, failures) = wait_live(&events);
    assert!(reconnects == 0 && failures > 0, "{reconnects} {failures}");
    assert!(receiver.wait_pictures(0, 30, PATIENCE), "{}", live.stats());
    origin.clip.assert_fresh_start(&receiver.visits()[0].tags);
}

/// Loses the origin this often, at random moments and in several ways.
fn lost(times: u64) {
    let (origin, receiver) = (Origin::start(), Scripted::start(Script::Record));
    let _show = origin.show();
    let proxy = FaultProxy::start(origin.address());
    let edge = engine(|_| {});
    let events = edge.events();
    let source = Source::pull(pull(proxy.address()).silence(Duration::from_secs(1)));
    let live = edge.stream(source).to(push(&receiver)).start().expect("it starts");
    assert_eq!(wait_live(&events), (0, 0));
    assert!(receiver.wait_pictures(0, 5, PATIENCE), "{}", live.stats());
    let mut seed = u64::from(std::process::id());
    for round in 0..times {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let more = usize::try_from((seed >> 33) % 40).expect("small") + 5;
        let pictures = receiver.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
        assert!(receiver.wait_pictures(0, pictures + more, PATIENCE), "{round}: {}", live.stats());
        match round % 4 {
            0 | 1 => proxy.reset(),
            2 => proxy.finish(),
            // It sends nothing, and says nothing.
            _ => proxy.stall(),
        }
        let error = wait_retrying(&events);
        assert!(error.is_retryable(), "{round}: {error}");
        proxy.resume();
        let (reconnects, _) = wait_live(&events);
        assert_eq!(reconnects, round + 1);
    }
    live.stop(PATIENCE).expect("it runs well");
    let visits = receiver.visits();
    assert_eq!(visits.len(), 1, "the push stayed connected");
    assert_increasing(&visits[0].tags);
}

#[test]
fn an_origin_that_is_lost_and_back_costs_no_output_its_connection() {
    lost(8);
}

#[test]
#[ignore = "two minutes"]
fn an_origin_that_is_lost_and_back_fifty_times_costs_no_output_its_connection() {
    lost(50);
}

#[test]
fn the_first_address_that_has_the_stream_gives_it_and_another_goes_on_when_it_is_lost() {
    let (empty, second, third) = (Origin::start(), Origin::start(), Origin::start());
    let receiver = Scripted::start(Script::Record);
    let shows = [&second, &third].map(Origin::show);
    let edge = engine(|_| {});
    let events = edge.events();
    // Nobody listens at the first.
    let [empty, second, third] = [&empty, &second, &third].map(|origin| url(origin.address()));
    let addresses = pull("127.0.0.1:1".parse().expect("an address")).or(&empty).or(&second).or(&third);
    let live = edge.stream(Source::pull(addresses)).to(push(&receiver)).start().expect("it starts");
    let waits: Vec<_> = [(); 2]
        .map(|()| {
            wait_event(&events, PATIENCE, |event| match event.kind {
                EventKind::SourceRetrying { wait, .. } => Some(wait),
                _ => None,
            })
        })
        .into();
    assert_eq!(waits, [Duration::ZERO; 2], "the next is dialled at once");
    assert_eq!(wait_live(&events), (0, 2));
    assert!(receiver.wait_pictures(0, 60, PATIENCE), "{}", live.stats());
    let [show, _other] = shows;
    show.stop(PATIENCE).expect("it runs well");
    assert_eq!(wait_live(&events), (1, 1), "the third has it");
    let pictures = receiver.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    assert!(receiver.wait_pictures(0, pictures + 30, PATIENCE), "{}", live.stats());
    live.stop(PATIENCE).expect("it runs well");
    let visits = receiver.visits();
    assert_eq!(visits.len(), 1, "the push stayed connected");
    assert_increasing(&visits[0].tags);
}

#[test]
fn a_server_that_accepts_and_sends_nothing_is_left_for_another() {
    let origin = Origin::start();
    let _show = origin.show();
    let silent = Acted::start(|_, _| Answer::Usual);
    let edge = engine(|_| {});
    let events = edge.events();
    let addresses = pull(silent.address()).or(&url(origin.address()));
    let source = Source::pull(addresses.first_media(Duration::from_millis(300)));
    let recording = origin.clip.beside("other.flv");
    let _live = edge.stream(source).record(recording).start().expect("it starts");
    let error = wait_retrying(&events);
    assert!(flowcast::error::chain(&error).contains("no media for 300ms"), "{error}");
    assert_eq!(wait_live(&events), (0, 1));
}

#[test]
fn pushes_say_goodbye_when_nothing_comes_for_longer_than_they_are_held() {
    for hold in [Duration::ZERO, Duration::from_millis(500)] {
        let (origin, receiver) = (Origin::start(), Scripted::start(Script::Record));
        let show = origin.show();
        let edge = engine(|_| {});
        let source = Source::pull(pull(origin.address()).hold(hold));
        let live = edge.stream(source).to(push(&receiver)).start().expect("it starts");
        assert!(receiver.wait_pictures(0, 60, PATIENCE), "{hold:?}: {}", live.stats());
        assert_eq!(receiver.count(), 1, "{hold:?}: it stays connected between two tags");
        show.stop(PATIENCE).expect("it runs well");
        let is_closed = || receiver.visits()[0].closed.is_some();
        assert!(wait_until(PATIENCE, is_closed), "{hold:?}: {}", live.stats());
        let _again = origin.show();
        assert!(receiver.wait_pictures(1, 10, PATIENCE), "{hold:?}: {}", live.stats());
        origin.clip.assert_fresh_start(&receiver.visits()[1].tags);
    }
}

#[test]
fn a_pull_that_is_played_once_ends_with_what_is_played() {
    let origin = Origin::start();
    let show = origin.show();
    let edge = engine(|_| {});
    let events = edge.events();
    let recording = origin.clip.beside("once.flv");
    let live = edge
        .stream(Source::url(&url(origin.address())).once())
        .record(&recording)
        .start()
        .expect("it starts");
    wait_live(&events);
    assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() > 500), "{}", live.stats());
    show.stop(PATIENCE).expect("it runs well");
    assert!(wait_failed(&events).is_none());
    assert!(live.has_ended());
    origin.clip.assert_gapless(&read_flv(&recording));
}

#[test]
fn what_is_pulled_can_be_encoded() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let origin = Origin::start();
    let _show = origin.show();
    let proxy = FaultProxy::start(origin.address());
    let edge = engine(|_| {});
    let events = edge.events();
    let recording = origin.clip.beside("encoded.flv");
    let mut encoding = flowcast::Encoding::from(Profile::Default);
    encoding.size = Some((160, 90));
    let source = Source::pull(pull(proxy.address())).mode(Mode::Encode).encoding(encoding);
    let live = edge.stream(source).record(&recording).start().expect("it starts");
    wait_live(&events);
    let wait_more = || {
        let from = live.stats().media_time.as_millis();
        let is_further = || live.stats().media_time.as_millis() > from + 1500;
        assert!(wait_until(PATIENCE, is_further), "{}", live.stats());
    };
    wait_more();
    proxy.reset();
    wait_retrying(&events);
    wait_live(&events);
    wait_more();
    live.stop(PATIENCE).expect("it runs well");
    assert_one_stream(&recording);
    assert!(decode(&recording).frames.len() > 40, "{:?}", decode(&recording));
}

#[test]
fn addresses_that_must_not_be_reached_are_not() {
    let origin = Origin::start();
    let _show = origin.show();
    let port = origin.address().port();
    let edge = engine(|_| {});
    let events = edge.events();
    for host in
        ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "127.1.2.3", "[::ffff:7f00:1]"]
    {
        let pull = Pull::url(&format!("rtmp://{host}:{port}/live/show")).reach(Reach::public());
        let _live = edge
            .stream(Source::pull(pull))
            .record(origin.clip.beside("never.flv"))
            .start()
            .expect("it starts");
        let error = wait_failed(&events).unwrap_or_else(|| panic!("{host}: it was reached"));
        assert_eq!(error.code(), "ADDRESS_REFUSED", "{host}: {error}");
    }
    assert_eq!(origin.server.stats().accepted, 0, "{:?}", origin.server.stats());
    // One that is allowed by name is.
    let allowed = Reach::public().and("127.0.0.1/32".parse().expect("a network"));
    let source = Source::pull(pull(origin.address()).reach(allowed));
    let _live = edge.stream(source).record(origin.clip.beside("allowed.flv")).start().expect("it starts");
    wait_live(&events);
}

#[test]
fn a_redirect_leads_no_further_than_the_address_itself() {
    let origin = Origin::start();
    let _show = origin.show();
    let door = Scripted::start(Script::Redirect(format!("rtmp://{}/live", origin.address())));
    let edge = engine(|_| {});
    let events = edge.events();
    let start = |network: &str, name: &str| {
        let reach = Reach::public().and(network.parse().expect("a network"));
        let source = Source::pull(pull(door.address()).reach(reach));
        edge.stream(source).record(origin.clip.beside(name)).start().expect("it starts")
    };
    let _refused = start(&format!("{}/32", door.address().ip()), "refused.flv");
    let error = wait_failed(&events).expect("it is not reached");
    assert_eq!(error.code(), "ADDRESS_REFUSED", "{error}");
    assert_eq!(origin.server.stats().accepted, 0);
    let _followed = start("127.0.0.0/8", "followed.flv");
    wait_live(&events);
}

#[test]
fn a_server_that_says_no_the_first_time_ends_it() {
    let door = Acted::start(|_, command| match command.name.as_str() {
        "connect" => kit::acted::connect_error("no such application"),
        _ => Answer::Usual,
    });
    let edge = engine(|_| {});
    let events = edge.events();
    let directory = kit::directory();
    let live = edge.stream(Source::pull(pull(door.address()))).record(directory.path().join("never.flv"));
    let _live = live.start().expect("it starts");
    let error = wait_failed(&events).expect("it was refused");
    assert_eq!(error.code(), "RTMP_REJECTED", "{error}");
    assert_eq!(door.visits().len(), 1);
}

#[test]
fn nginx_is_pulled_from_and_its_publisher_may_come_and_go() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let (nginx, clip) = (Nginx::start(&["live"]), Known::small());
    let flv = kit::remux(&clip.file, clip.directory.path(), "clip.flv");
    let edge = engine(|_| {});
    let events = edge.events();
    let recording = clip.beside("nginx.flv");
    let source = Pull::url(&nginx.url("live", "show")).reconnect(quickly()).silence(Duration::from_secs(2));
    let live = edge.stream(Source::pull(source)).record(&recording).start().expect("it starts");
    for round in 0..3 {
        let mut publisher = ffmpeg_publish(&flv, &nginx.url("live", "show"), 500);
        assert_eq!(wait_live(&events).0, round);
        let from = live.stats().media_time.as_millis();
        assert!(
            wait_until(PATIENCE, || live.stats().media_time.as_millis() > from + 1000),
            "{}",
            live.stats()
        );
        publisher.kill();
        wait_retrying(&events);
    }
    live.stop(PATIENCE + LONGEST_WAIT).expect("it runs well");
    let tags = read_flv(&recording);
    assert_increasing(&tags);
    assert_one_stream(&recording);
}
