//! Publishers that hang up, return, fall silent and are replaced, on real sockets.

mod made_from;
mod peer;
mod restream;

use std::time::{Duration, Instant};

use flowcast_core::{Config, Engine, Event, EventKind, Events, StreamRef};
use flowcast_rtmp::flv::TagKind;
use flowcast_rtmp::session::{ClientEvent, ClientRole};
use flowcast_server::{RtmpServer, RtmpServerExt, ServerOptions};
use peer::{Client, PATIENCE, media, wait_until};

const KEY: &str = "studio-key";
const NAME: &str = "studio";
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

struct Studio {
    engine: Engine,
    server: RtmpServer,
    events: Events,
}

impl Studio {
    fn start(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let engine = Engine::new(Config::default()).expect("the defaults work");
        engine.keys().add(NAME, KEY).expect("a usable key");
        let server = engine
            .rtmp_server("127.0.0.1:0")
            .options(|options| {
                (options.publisher_grace, options.takeover_after) = (LONG, LONG);
                change(options);
            })
            .start()
            .expect("a free port");
        Self { events: engine.events(), engine, server }
    }

    fn publisher(&self) -> Client {
        Client::publisher(self.server.address(), KEY)
    }

    fn player(&self) -> Client {
        Client::player(self.server.address(), NAME)
    }

    #[track_caller]
    fn stream(&self) -> StreamRef {
        assert!(wait_until(|| self.engine.hub().find(NAME).is_some()), "{:?}", self.server.stats());
        self.engine.hub().find(NAME).expect("it was found")
    }

    /// A publisher with ten pictures on the air, and a player that has them.
    fn on_air(&self, time: i64) -> (Client, Client) {
        let mut publisher = self.publisher();
        publisher.publish(&media(1, time, 10));
        self.stream();
        let mut player = self.player();
        player.wait_pictures(10);
        (publisher, player)
    }

    #[track_caller]
    fn told<T>(&self, mut matches: impl FnMut(&Event) -> Option<T>) -> T {
        let mut heard = Vec::new();
        loop {
            let Some(event) = self.events.next_timeout(PATIENCE) else { panic!("not told, but {heard:?}") };
            if let Some(found) = matches(&event) {
                return found;
            }
            heard.push(event);
        }
    }

    /// The stream that is published lost its publisher: streams that are made from it say so as well.
    #[track_caller]
    fn told_lost(&self) -> flowcast_core::Error {
        let published = self.engine.hub().find(NAME).map(|stream| stream.id());
        self.told(|event| match &event.kind {
            EventKind::PublisherLost { error, .. } if published.is_none_or(|id| id == event.stream) => {
                Some(error.clone())
            }
            _ => None,
        })
    }
}

/// The player was told that the stream is over before it was closed.
#[track_caller]
fn assert_told_the_end(mut player: Client) {
    /// The user control message behind its chunk header: event 1, message stream 1 (RTMP 1.0, 7.1.7).
    const STREAM_EOF: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1];
    player.wait_closed();
    let last = player.events.last();
    let notified = |event: &ClientEvent| matches!(event, ClientEvent::Closed { code } if code == "NetStream.Play.UnpublishNotify");
    assert!(last.is_some_and(notified), "{last:?}");
    assert!(player.tail.ends_with(STREAM_EOF), "{:x?}", player.tail);
}

#[test]
fn a_publisher_that_drops_and_returns_continues_the_timeline() {
    let studio = Studio::start(|_| {});
    let (publisher, mut player) = studio.on_air(500_000);
    let stream = studio.stream();
    drop(publisher);
    let error = studio.told_lost();
    assert_eq!(error.code(), "CONNECTION_LOST");
    // Who comes meanwhile is let in.
    let mut late = studio.player();
    late.wait_pictures(10);
    let mut publisher = studio.publisher();
    publisher.publish(&media(1, 0, 10));
    let after = studio.told(|event| match event.kind {
        EventKind::PublisherReturned { after } => Some(after),
        _ => None,
    });
    for player in [&mut player, &mut late] {
        player.wait_pictures(20);
        player.assert_one_stream();
        assert_eq!(player.headers(), 1, "the same header is not sent again");
        let times = player.times(TagKind::Video);
        let gap = Duration::from_millis((times[10] - times[9]) as u64);
        assert!(gap + Duration::from_millis(50) >= after, "{gap:?} of {after:?}");
    }
    assert_eq!(studio.engine.hub().find(NAME).map(|stream| stream.id()), Some(stream.id()));
    assert_eq!(studio.engine.streams().len(), 1);
}

#[test]
fn another_look_comes_with_its_header() {
    let studio = Studio::start(|_| {});
    let (publisher, mut player) = studio.on_air(0);
    drop(publisher);
    studio.told_lost();
    studio.publisher().publish(&media(2, 0, 10));
    player.wait_pictures(20);
    player.assert_one_stream();
    let video: Vec<_> = player.tags().filter(|tag| tag.is_video()).collect();
    assert!(video[11].is_sequence_header() && video[12].is_keyframe(), "{:?}", &video[10..13]);
    assert_eq!(player.headers(), 2);
}

#[test]
fn an_orderly_end_does_not_wait() {
    let studio = Studio::start(|_| {});
    let (mut publisher, player) = studio.on_air(0);
    let stream = studio.stream();
    publisher.session.finish();
    publisher.send().expect("an open connection");
    assert_told_the_end(player);
    assert!(wait_until(|| stream.has_ended()), "{}", stream.stats());
    assert!(studio.engine.hub().find(NAME).is_none());
}

#[test]
fn when_the_grace_is_over_players_are_told() {
    let studio = Studio::start(|options| options.publisher_grace = Duration::from_millis(300));
    let (publisher, player) = studio.on_air(0);
    let stream = studio.stream();
    drop(publisher);
    studio.told_lost();
    assert_told_the_end(player);
    assert!(wait_until(|| stream.has_ended()), "{}", stream.stats());
    // The name is free for a new stream, whose time is the publisher's own.
    let (_publisher, player) = studio.on_air(7000);
    assert_eq!(player.times(TagKind::Video)[0], 0);
    assert_ne!(studio.stream().id(), stream.id());
}

#[test]
fn a_live_publisher_is_left_alone_and_a_silent_one_replaced() {
    let studio = Studio::start(|_| {});
    let (mut first, mut player) = studio.on_air(100_000);
    let refused = Client::connect(ClientRole::Publish, studio.server.address(), KEY);
    assert_eq!(refused.refusal(), "NetStream.Publish.BadName");
    first.publish(&media(1, 100_400, 10));
    player.wait_pictures(20);
    player.assert_one_stream();

    let silence = Duration::from_millis(400);
    let studio = Studio::start(|options| options.takeover_after = silence);
    let (mut first, mut player) = studio.on_air(100_000);
    // As an encoder that tries again and again.
    let mut second = None;
    assert!(wait_until(|| {
        let mut client = Client::connect(ClientRole::Publish, studio.server.address(), KEY);
        if matches!(client.run_until(|client| client.session.is_live()), Ok(true)) {
            second = Some(client);
        }
        second.is_some()
    }));
    let silent = studio.told(|event| match event.kind {
        EventKind::PublisherReplaced { silent } => Some(silent),
        _ => None,
    });
    assert!(silent >= silence, "{silent:?}");
    second.expect("it was let in").publish(&media(1, 0, 10));
    player.wait_pictures(20);
    player.assert_one_stream();
    first.wait_closed();
    let told = |event: &ClientEvent| matches!(event, ClientEvent::Closed { code } if code == "NetStream.Unpublish.Success");
    assert!(first.events.iter().any(told), "{:?}", first.events);
}

#[test]
fn by_option_a_publisher_that_sends_is_replaced_at_once() {
    let studio = Studio::start(|options| options.takeover_after = Duration::ZERO);
    let (mut last, mut player) = studio.on_air(0);
    for round in 1..=5 {
        let mut next = studio.publisher();
        next.publish(&media(1, round * 1_000_000, 10));
        player.wait_pictures(10 + 10 * round as usize);
        last = std::mem::replace(&mut next, last);
        next.wait_closed();
    }
    player.assert_one_stream();
    assert_eq!((player.headers(), studio.engine.streams().len()), (1, 1));
    last.publish(&media(1, 5_000_400, 10));
    player.wait_pictures(70);
    assert!(wait_until(|| studio.server.stats().publishers == 1), "{:?}", studio.server.stats());
}

#[test]
fn of_many_that_want_the_place_of_one_that_is_lost_one_gets_it() {
    let studio = Studio::start(|_| {});
    for _ in 0..5 {
        let (publisher, _player) = match studio.engine.hub().find(NAME) {
            None => studio.on_air(0),
            Some(_) => (studio.publisher(), studio.player()),
        };
        drop(publisher);
        studio.told_lost();
        let server = studio.server.address();
        let clients: Vec<_> = std::thread::scope(|scope| {
            let enter = || {
                scope.spawn(move || {
                    let mut client = Client::connect(ClientRole::Publish, server, KEY);
                    let live = client.run_until(|client| client.session.is_live());
                    matches!(live, Ok(true)).then_some(client)
                })
            };
            let threads: Vec<_> = (0..8).map(|_| enter()).collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(clients.len(), 1, "let in");
        drop(clients);
        studio.told_lost();
    }
}

#[test]
fn a_half_open_publisher_is_found_and_its_stream_waits() {
    let studio = Studio::start(|options| {
        options.ping = Duration::from_millis(100);
        options.ping_timeout = Duration::from_secs(1);
    });
    // Its socket is open, but nobody answers.
    let (publisher, player) = studio.on_air(0);
    drop(player);
    let error = studio.told_lost();
    assert_eq!(error.code(), "RTMP_TIMEOUT", "{error:?}");
    assert!(studio.server.stats().timeouts >= 1, "{:?}", studio.server.stats());
    drop(publisher);
}

#[test]
fn a_publisher_that_answers_is_left_in_peace_however_silent_it_is_otherwise() {
    const SILENT: Duration = Duration::from_secs(5);
    let studio = Studio::start(|options| {
        options.ping = Duration::from_millis(100);
        options.ping_timeout = SILENT;
    });
    let mut publisher = studio.publisher();
    let (began, beats) = (Instant::now(), std::cell::Cell::new(0));
    // Pings come and are answered all the time, for longer than it may be silent.
    let up = publisher.run_until(|_| {
        beats.set(beats.get() + 1);
        beats.get() > 200 && began.elapsed() > SILENT + SILENT / 5
    });
    assert!(matches!(up, Ok(true)), "{up:?}");
}

#[test]
fn a_publisher_without_progress_is_let_go_and_waited_for() {
    let studio = Studio::start(|options| options.no_progress = Duration::from_millis(300));
    let (mut publisher, mut player) = studio.on_air(0);
    assert_eq!(studio.told_lost().code(), "CONNECTION_LOST");
    publisher.wait_closed();
    studio.publisher().publish(&media(1, 0, 10));
    player.wait_pictures(20);
    player.assert_one_stream();
}

#[test]
fn removing_the_key_ends_the_stream_while_it_waits() {
    let studio = Studio::start(|_| {});
    let (publisher, player) = studio.on_air(0);
    let stream = studio.stream();
    drop(publisher);
    studio.told_lost();
    assert!(studio.engine.keys().remove(NAME));
    assert_told_the_end(player);
    assert!(wait_until(|| stream.has_ended()), "{}", stream.stats());
    assert!(studio.engine.hub().find(NAME).is_none());
    let again = Client::connect(ClientRole::Publish, studio.server.address(), KEY);
    assert_eq!(again.refusal(), "NetStream.Publish.BadName");
}

#[test]
fn stopping_the_server_does_not_wait_for_a_publisher() {
    let studio = Studio::start(|_| {});
    let (publisher, player) = studio.on_air(0);
    drop(publisher);
    studio.told_lost();
    let stopping = std::thread::spawn(move || studio.server.stop(PATIENCE));
    assert_told_the_end(player);
    assert_eq!(stopping.join().expect("no panic").abandoned, 0);
}
