//! A server as the edge of others: pulled for the first player of a name, given up after the last, and what strangers cannot have it do.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowcast::pull::Pull;
use flowcast::rtmp::session::{ClientEvent, ClientRole};
use flowcast::server::{RefusalReason, Relay, ServerEvent, ServerEventKind, ServerOptions};
use flowcast::{Config, Engine, Events, RtmpServer, RtmpServerExt};
use kit::acted::{Acted, Answer};
use kit::rig::{engine, quickly};
use kit::scripted::Seen;
use kit::{FaultProxy, Need, Nginx, PATIENCE, Session, ffmpeg_publish, need, wait_until};

use crate::pull::{Origin, assert_increasing};

/// A server that relays.
struct Edge {
    engine: Engine,
    server: RtmpServer,
    events: Events<ServerEvent>,
}

impl Edge {
    fn start(relay: Relay) -> Self {
        Self::start_with(relay, |_| {}, |_| {})
    }

    fn start_with(
        relay: Relay,
        config: impl FnOnce(&mut Config),
        options: impl FnOnce(&mut ServerOptions),
    ) -> Self {
        let engine = engine(config);
        let server = engine.rtmp_server("127.0.0.1:0").options(options).relay(relay).start();
        let server = server.expect("a free port");
        Self { events: server.events(), engine, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Waits for an event and gives what is wanted of it.
    #[track_caller]
    fn wait<T>(&self, mut wanted: impl FnMut(&ServerEventKind) -> Option<T>) -> T {
        let mut found = None;
        let seen = wait_until(PATIENCE, || {
            while found.is_none()
                && let Some(event) = self.events.try_next()
            {
                found = wanted(&event.kind);
            }
            found.is_some()
        });
        assert!(seen, "{:?}", self.server.stats());
        found.expect("it was found")
    }

    fn is_done(&self) -> bool {
        wait_until(PATIENCE, || self.server.stats().relays == 0 && self.engine.streams().is_empty())
    }
}

/// The streams of an origin, dialled again soon.
fn relay(origin: SocketAddr) -> Relay {
    Relay::origin(format!("rtmp://{origin}/live")).reconnect(quickly())
}

/// A player on a thread of its own, which stays as long as it is let.
struct Viewer {
    seen: Arc<Mutex<Sight>>,
    leaves: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Sight {
    tags: Vec<Seen>,
    /// Why it is over.
    over: Option<String>,
}

impl Viewer {
    fn of(server: SocketAddr, name: &str) -> Self {
        let (seen, leaves) = (Arc::<Mutex<Sight>>::default(), Arc::<AtomicBool>::default());
        let mut session = Session::plain(ClientRole::Play, server, &format!("live/{name}"));
        let thread = std::thread::spawn({
            let (seen, leaves) = (seen.clone(), leaves.clone());
            move || {
                while !leaves.load(Ordering::Relaxed) {
                    let result = session.send().map_err(|error| error.to_string());
                    let result = result.and_then(|()| session.read().map_err(|error| error.to_string()));
                    let mut over = match result {
                        Ok(true) => None,
                        Ok(false) => Some("closed".to_owned()),
                        Err(error) => Some(error),
                    };
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    for event in session.events.drain(..) {
                        match event {
                            ClientEvent::Tag(tag) => seen.tags.push(Seen::new(&tag, Instant::now())),
                            ClientEvent::Closed { code } => over = Some(code),
                            _ => {}
                        }
                    }
                    if over.is_some() {
                        seen.over = over;
                        return;
                    }
                }
            }
        });
        Self { seen, leaves, thread: Some(thread) }
    }

    fn look<T>(&self, look: impl FnOnce(&Sight) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn pictures(&self) -> usize {
        self.look(|seen| seen.tags.iter().filter(|tag| tag.is_picture()).count())
    }

    /// Sees this many more pictures.
    #[track_caller]
    fn sees_more(&self, pictures: usize) {
        let wanted = self.pictures() + pictures;
        let has_seen = wait_until(PATIENCE, || self.pictures() >= wanted || self.is_over());
        assert!(has_seen && self.pictures() >= wanted, "{} pictures, {:?}", self.pictures(), self.over());
    }

    fn is_over(&self) -> bool {
        self.look(|seen| seen.over.is_some())
    }

    fn over(&self) -> Option<String> {
        self.look(|seen| seen.over.clone())
    }

    /// Is told that it is over, and why.
    #[track_caller]
    fn ends(&self) -> String {
        assert!(wait_until(PATIENCE, || self.is_over()), "it goes on");
        self.over().expect("it is over")
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.leaves.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What somebody is answered who wants to play.
fn refusal(server: SocketAddr, name: &str) -> String {
    let mut player: Session<TcpStream> = Session::plain(ClientRole::Play, server, &format!("live/{name}"));
    match player.go_live() {
        Err(flowcast::rtmp::error::Error::Rejected { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

const NOT_FOUND: &str = "NetStream.Play.StreamNotFound";

#[test]
fn the_first_player_begins_the_pull_and_the_last_ends_it() {
    let origin = Origin::start();
    let _show = origin.show();
    let edge = Edge::start(relay(origin.address()).linger(Duration::from_millis(300)));
    for round in 1..=2 {
        let viewers = [(); 8].map(|()| Viewer::of(edge.address(), "show"));
        for viewer in &viewers {
            viewer.sees_more(40);
            viewer.look(|seen| origin.clip.assert_fresh_start(&seen.tags));
        }
        let stats = origin.server.stats();
        assert_eq!((stats.players, stats.accepted), (1, round), "one pull for all: {stats:?}");
        let stats = edge.server.stats();
        assert_eq!((stats.players, stats.relays, stats.relays_begun), (8, 1, round), "{stats:?}");
        let stream = edge.wait(|kind| match kind {
            ServerEventKind::RelayBegan { name, stream, .. } if **name == *"show" => Some(*stream),
            _ => None,
        });
        let stream = edge.engine.get(stream).expect("it runs");
        assert!(wait_until(PATIENCE, || stream.stats().origin.is_some()));
        let from = stream.stats().origin.expect("it says where it is from");
        assert!(from.relayed, "{from:?}");
        assert_eq!(*from.address, format!("rtmp://{}/live/****", origin.address()));
        drop(viewers);
        let error = edge.wait(|kind| match kind {
            ServerEventKind::RelayEnded { error, .. } => Some(error.clone()),
            _ => None,
        });
        assert!(error.is_none(), "{error:?}");
        assert!(edge.is_done(), "{:?}", edge.server.stats());
        assert!(wait_until(PATIENCE, || origin.server.stats().players == 0), "{:?}", origin.server.stats());
    }
}

#[test]
fn a_player_that_returns_in_time_finds_the_stream_as_it_was() {
    let origin = Origin::start();
    let _show = origin.show();
    let edge = Edge::start(relay(origin.address()).linger(Duration::from_secs(60)));
    for _ in 0..5 {
        Viewer::of(edge.address(), "show").sees_more(5);
        assert!(wait_until(PATIENCE, || edge.server.stats().players == 0), "{:?}", edge.server.stats());
    }
    assert_eq!((origin.server.stats().accepted, edge.server.stats().relays_begun), (1, 1));
}

#[test]
fn a_stream_that_is_just_given_up_is_pulled_anew_for_who_comes_then() {
    let origin = Origin::start();
    let _show = origin.show();
    let edge = Edge::start(relay(origin.address()).linger(Duration::ZERO));
    for round in 1..=10 {
        let viewer = Viewer::of(edge.address(), "show");
        viewer.sees_more(1);
        drop(viewer);
        edge.wait(|kind| matches!(kind, ServerEventKind::RelayEnded { .. }).then_some(()));
        // The stream before may not be over.
        assert_eq!(edge.server.stats().relays_begun, round);
    }
}

#[test]
fn a_name_that_no_origin_has_is_dialled_once_for_a_flood_of_players() {
    let origin = Origin::start();
    let edge = Edge::start(relay(origin.address()).retry(Duration::from_secs(3600)));
    let address = edge.address();
    let players: Vec<_> = (0..40).map(|_| std::thread::spawn(move || refusal(address, "nothing"))).collect();
    for player in players {
        assert_eq!(player.join().expect("it is answered"), NOT_FOUND);
    }
    // They are answered before it has gone.
    assert!(edge.is_done(), "{:?}", edge.server.stats());
    let stats = edge.server.stats();
    assert_eq!((origin.server.stats().accepted, stats.relays_failed), (1, 1), "{stats:?}");
    assert_eq!(stats.refused(RefusalReason::NoStream), 40, "{stats:?}");
    let told = std::iter::from_fn(|| edge.events.try_next()).map(|event| format!("{event:?} {event}"));
    let told: Vec<_> = told.collect();
    assert!(told.iter().any(|text| text.contains("RelayFailed")), "{told:?}");
    assert!(!told.iter().any(|text| text.contains("nothing\"")), "a name that is none is not told: {told:?}");
}

#[test]
fn a_name_that_was_missing_is_there_once_the_origin_has_it() {
    let origin = Origin::start();
    let edge = Edge::start(relay(origin.address()).retry(Duration::from_millis(50)));
    assert_eq!(refusal(edge.address(), "show"), NOT_FOUND);
    let _show = origin.show();
    assert!(wait_until(PATIENCE, || {
        let viewer = Viewer::of(edge.address(), "show");
        wait_until(PATIENCE, || viewer.pictures() > 0 || viewer.is_over()) && !viewer.is_over()
    }));
}

#[test]
fn an_origin_that_is_away_or_silent_is_passed_over_for_the_next_and_the_wait_has_an_end() {
    let origin = Origin::start();
    let _show = origin.show();
    let silent = Acted::start(|_, _| Answer::Usual);
    let away = Relay::origin("rtmp://127.0.0.1:1/live");
    let silent = away.or(format!("rtmp://{}/live", silent.address())).reconnect(quickly());
    let silent = silent.first_media(Duration::from_millis(200));
    let edge = Edge::start(silent.clone().or(format!("rtmp://{}/live", origin.address())));
    Viewer::of(edge.address(), "show").sees_more(5);
    // Without the third: once both were asked.
    let edge = Edge::start(silent.clone());
    assert_eq!(refusal(edge.address(), "show"), NOT_FOUND);
    assert_eq!(edge.server.stats().refused(RefusalReason::NoOrigin), 1, "{:?}", edge.server.stats());
    // Or when the player has waited for long enough.
    let edge = Edge::start(silent.first_media(Duration::from_secs(600)).wait(Duration::from_millis(300)));
    assert_eq!(refusal(edge.address(), "show"), NOT_FOUND);
    assert!(edge.is_done(), "{:?}", edge.server.stats());
}

#[test]
fn strangers_begin_no_more_pulls_than_they_may() {
    let origin = Origin::start();
    let silent = Acted::start(|_, _| Answer::Usual);
    let spares_nobody = |options: &mut ServerOptions| options.crowd_spares_loopback = false;
    // Names that do not fit are no business of the origin.
    let edge = Edge::start(relay(origin.address()).names("show-*"));
    for name in ["other", "show", "..", "show-%2f", "show-1/2"] {
        assert_eq!(refusal(edge.address(), name), NOT_FOUND, "{name}");
    }
    assert_eq!(origin.server.stats().accepted, 0);
    // So many at once.
    let edge = Edge::start(relay(silent.address()).max_pulls(3));
    let _waiting: Vec<_> = (0..3).map(|name| Viewer::of(edge.address(), &format!("show{name}"))).collect();
    assert!(wait_until(PATIENCE, || edge.server.stats().relays == 3), "{:?}", edge.server.stats());
    assert_eq!(refusal(edge.address(), "show3"), "NetStream.Play.Failed");
    assert_eq!(edge.server.stats().refused(RefusalReason::RelayLimit), 1);
    // So many for one address.
    let few = relay(origin.address()).max_per_address(2);
    let edge = Edge::start_with(few, |_| {}, spares_nobody);
    let answers = [0, 1, 2].map(|name| refusal(edge.address(), &format!("show{name}")));
    assert_eq!(answers, [NOT_FOUND, NOT_FOUND, "NetStream.Play.Failed"]);
    assert_eq!(origin.server.stats().accepted, 2);
}

#[test]
fn the_limits_of_the_engine_hold_for_what_is_relayed() {
    let origin = Origin::start();
    let _show = origin.show();
    let edge = Edge::start_with(relay(origin.address()), |config| config.max_streams = 1, |_| {});
    let viewer = Viewer::of(edge.address(), "show");
    viewer.sees_more(1);
    assert_eq!(edge.engine.running(), 1);
    assert_eq!(refusal(edge.address(), "second"), "NetStream.Play.Failed");
    assert_eq!(edge.server.stats().refused(RefusalReason::RelayLimit), 1, "{:?}", edge.server.stats());
    viewer.sees_more(10);
}

#[test]
fn who_may_not_play_begins_no_pull() {
    let origin = Origin::start();
    let _show = origin.show();
    let engine = engine(|_| {});
    let server = engine.rtmp_server("127.0.0.1:0").relay(relay(origin.address()));
    let server = server.on_play(|admission| match admission.query() {
        "token=friend" => admission.accept(),
        _ => admission.refuse(flowcast::rtmp::session::Reject::Denied),
    });
    let server = server.start().expect("a free port");
    assert_eq!(refusal(server.address(), "show"), "NetStream.Play.Failed");
    assert_eq!(origin.server.stats().accepted, 0);
    Viewer::of(server.address(), "show?token=friend").sees_more(5);
}

#[test]
fn a_publisher_takes_the_place_of_what_is_relayed_and_its_players_stay() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let origin = Origin::start();
    let _show = origin.show();
    let edge = Edge::start(relay(origin.address()).linger(Duration::ZERO));
    edge.engine.keys().add("show", "secret").expect("a usable key");
    let viewer = Viewer::of(edge.address(), "show");
    viewer.sees_more(10);
    let flv = kit::remux(&origin.clip.file, origin.clip.directory.path(), "clip.flv");
    let publisher = ffmpeg_publish(&flv, &format!("rtmp://{}/live/secret", edge.address()), 500);
    edge.wait(|kind| matches!(kind, ServerEventKind::PublisherTookOver { .. }).then_some(()));
    assert!(wait_until(PATIENCE, || origin.server.stats().players == 0), "{:?}", origin.server.stats());
    viewer.sees_more(60);
    viewer.look(|seen| assert_increasing(&seen.tags));
    let streams = edge.engine.streams();
    assert_eq!((streams.len(), edge.server.stats().relays), (1, 0));
    assert_eq!(edge.engine.running(), 0, "publications are not counted among what was started");
    assert!(wait_until(PATIENCE, || streams[0].stats().origin.is_none()), "{}", streams[0].stats());
    // Without players it goes on, as publications do, and who comes gets it from here.
    drop(viewer);
    assert!(wait_until(PATIENCE, || edge.server.stats().players == 0));
    Viewer::of(edge.address(), "show").sees_more(10);
    assert_eq!(origin.server.stats().accepted, 1);
    drop(publisher);
}

#[test]
fn relays_that_would_play_from_themselves_are_refused() {
    // One from itself, and two from each other.
    for others in [0, 1] {
        let next = [(); 2].map(|()| Arc::new(OnceLock::<SocketAddr>::new()));
        let edges: Vec<_> = (0..=others)
            .map(|number: usize| {
                let next = next[number].clone();
                Edge::start(Relay::by(move |name| {
                    let next = next.get().expect("it is known by then");
                    Some(Pull::url(&format!("rtmp://{next}/live/{name}")).reconnect(quickly()))
                }))
            })
            .collect();
        for (number, next) in next.iter().take(edges.len()).enumerate() {
            let address = edges[(number + 1) % edges.len()].address();
            next.set(address).expect("it is set once");
        }
        assert_eq!(refusal(edges[0].address(), "show"), NOT_FOUND);
        let refused: u64 = edges.iter().map(|edge| edge.server.stats().refused(RefusalReason::Loop)).sum();
        assert_eq!(refused, 1, "{others}");
        assert!(edges.iter().all(Edge::is_done));
    }
}

/// Loses the origin this often; the players of a chain of two edges stay.
fn lost(times: usize) {
    let origin = Origin::start();
    let mut show = Some(origin.show());
    let proxy = FaultProxy::start(origin.address());
    let middle = Edge::start(relay(proxy.address()).silence(Duration::from_secs(1)));
    let edge = Edge::start(relay(middle.address()).silence(Duration::from_secs(20)));
    let viewers = [(); 3].map(|()| Viewer::of(edge.address(), "show"));
    for round in 0..times {
        viewers.iter().for_each(|viewer| viewer.sees_more(20));
        match round % 4 {
            0 => proxy.reset(),
            1 => proxy.finish(),
            2 => proxy.stall(),
            _ => {
                // It ends in good order, and another one begins.
                show.take().expect("it runs").stop(PATIENCE).expect("it runs well");
                show = Some(origin.show());
            }
        }
        proxy.resume();
    }
    viewers.iter().for_each(|viewer| viewer.sees_more(20));
    for viewer in viewers {
        assert!(!viewer.is_over(), "{:?}", viewer.over());
        viewer.look(|seen| assert_increasing(&seen.tags));
    }
    for server in [&middle.server, &edge.server] {
        let stats = server.stats();
        assert_eq!((stats.relays_begun, stats.relays_failed), (1, 0), "{stats:?}");
    }
    assert_eq!(middle.server.stats().players, 1);
}

#[test]
fn players_stay_when_the_origin_is_lost_and_back() {
    lost(4);
}

#[test]
#[ignore = "two minutes"]
fn players_stay_when_the_origin_is_lost_and_back_fifty_times() {
    lost(50);
}

#[test]
fn players_are_told_when_the_origin_stays_away() {
    let origin = Origin::start();
    let show = origin.show();
    let edge = Edge::start(relay(origin.address()).hold(Duration::from_millis(500)));
    let viewer = Viewer::of(edge.address(), "show");
    viewer.sees_more(5);
    show.stop(PATIENCE).expect("it runs well");
    let why = viewer.ends();
    assert!(why.starts_with("NetStream."), "{why}");
    let error = edge.wait(|kind| match kind {
        ServerEventKind::RelayEnded { error, .. } => Some(error.clone()),
        _ => None,
    });
    assert!(error.is_some());
    assert!(edge.is_done(), "{:?}", edge.server.stats());
}

#[test]
fn a_player_that_hangs_up_while_it_waits_leaves_nothing_behind() {
    let silent = Acted::start(|_, _| Answer::Usual);
    let edge = Edge::start(relay(silent.address()).wait(Duration::from_millis(500)));
    drop(Viewer::of(edge.address(), "show"));
    assert!(wait_until(PATIENCE, || edge.server.stats().connections == 0), "{:?}", edge.server.stats());
    assert!(edge.is_done(), "{:?}", edge.server.stats());
}

#[test]
fn the_server_stops_with_its_relays() {
    let origin = Origin::start();
    let _show = origin.show();
    let edge = Edge::start(relay(origin.address()));
    let viewer = Viewer::of(edge.address(), "show");
    viewer.sees_more(5);
    let report = edge.server.stop(PATIENCE);
    assert_eq!((report.streams.len(), report.abandoned), (1, 0), "{report:?}");
    viewer.ends();
    assert!(edge.engine.streams().is_empty());
}

#[test]
fn nginx_is_an_origin() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let (nginx, clip) = (Nginx::start(&["live"]), kit::rig::Known::small());
    let flv = kit::remux(&clip.file, clip.directory.path(), "clip.flv");
    let relay = Relay::origin(nginx.url("live", "{name}")).first_media(Duration::from_millis(500));
    let edge = Edge::start(relay.reconnect(quickly()).linger(Duration::ZERO));
    // It accepts any name.
    assert_eq!(refusal(edge.address(), "show"), NOT_FOUND);
    let mut publisher = ffmpeg_publish(&flv, &nginx.url("live", "show"), 500);
    let mut viewer = None;
    assert!(wait_until(PATIENCE, || {
        let new = viewer.insert(Viewer::of(edge.address(), "show"));
        wait_until(PATIENCE, || new.pictures() > 0 || new.is_over()) && !new.is_over()
    }));
    let viewer = viewer.expect("it plays");
    viewer.sees_more(20);
    publisher.kill();
    let _publisher = ffmpeg_publish(&flv, &nginx.url("live", "show"), 500);
    viewer.sees_more(20);
    viewer.look(|seen| assert_increasing(&seen.tags));
}
