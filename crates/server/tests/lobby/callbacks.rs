//! The program's code is slow, stuck, or stops what it is called by.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flowcast_core::{Asker, Config, Denial, Engine, Grant, KeyStore, Output};
use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{RefusalReason, RtmpServer, RtmpServerExt, ServerEventKind};

use crate::support::{Client, PATIENCE, Studio, connect, wait_until};

/// Well below what the stuck code would take, well above what anything else does.
const SOON: Duration = Duration::from_secs(1);

/// Something that blocks whoever comes until the sender is gone, and tells that somebody came.
fn stuck() -> (Sender<()>, Receiver<()>, impl Fn() + Send + Sync + 'static) {
    let (hold, held) = mpsc::channel::<()>();
    let (came, comes) = mpsc::channel();
    let held = Mutex::new(held);
    let block = move || {
        let _ = came.send(());
        let _ = held.lock().map(|held| held.recv());
    };
    (hold, comes, block)
}

fn dial(address: SocketAddr, role: ClientRole, name: &str) -> Client {
    let url = format!("rtmp://{address}/live/{name}");
    Client::new(connect(std::net::Ipv4Addr::LOCALHOST, address).unwrap(), role, &url)
}

#[test]
fn a_stuck_event_callback_holds_neither_connections_nor_a_stop() {
    let studio = Studio::start(|server| server);
    let (hold, comes, block) = stuck();
    let block = Arc::new(block);
    studio.server.on_event({
        let block = block.clone();
        move |_| block()
    });
    studio.engine.on_event(move |_| block());
    studio.engine.keys().add("studio", "good-key").unwrap();
    let publisher = studio.on_air("good-key");
    comes.recv_timeout(PATIENCE).expect("it was called");
    let mut player = studio.player("studio");
    player.go_live();
    // More than fit: the oldest are lost and counted.
    let Studio { engine, server } = studio;
    let before = Instant::now();
    assert_eq!(server.stop(SOON).abandoned, 0, "the stream ends in time");
    assert_eq!(engine.shutdown(SOON).abandoned, 0);
    assert!(before.elapsed() < SOON * 10, "{:?}", before.elapsed());
    drop((hold, publisher, player));
}

#[test]
fn a_stuck_hook_holds_only_those_who_ask_it() {
    let (hold, comes, block) = stuck();
    let studio = Studio::start(|server| {
        let server = server.options(|options| {
            options.hook_threads = 2;
            options.admission = Duration::from_secs(2);
        });
        server.on_publish(move |admission| {
            if admission.query() == "stuck" {
                block();
            }
            admission.accept();
        })
    });
    studio.engine.keys().add("studio", "good-key").unwrap();
    let mut waits = studio.publisher("good-key?stuck");
    let _ = waits.turn();
    let refused = std::thread::spawn(move || waits.refusal());
    comes.recv_timeout(PATIENCE).expect("it asks");
    // The other thread serves the others, and who asks nothing waits for no thread.
    let mut publisher = studio.on_air("good-key");
    studio.player("studio").go_live();
    assert_eq!(refused.join().unwrap(), "NetStream.Publish.Denied");
    assert_eq!(studio.stats().refused(RefusalReason::NoAnswer), 1);
    // Both are stuck now: who is left waits until its deadline, and no longer.
    let mut waits = studio.publisher("good-key?stuck");
    let _ = waits.turn();
    let refused = std::thread::spawn(move || waits.refusal());
    assert_eq!(refused.join().unwrap(), "NetStream.Publish.Denied");
    assert_eq!(studio.publisher("good-key").refusal(), "NetStream.Publish.Denied");
    studio.player("studio").go_live();
    assert!(publisher.turn().is_ok());
    let Studio { engine, server } = studio;
    assert_eq!(server.stop(PATIENCE).abandoned, 0, "it waits for no hook");
    drop((hold, engine));
}

/// The program's own keys, in a database that may be slow.
#[derive(Debug)]
struct Slow {
    block: BlockDebug,
}

struct BlockDebug(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for BlockDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Block")
    }
}

impl KeyStore for Slow {
    fn publisher(&self, key: &StreamKey, _: &Asker<'_>) -> Result<Grant, Denial> {
        match key.reveal() {
            "stuck" => {
                (self.block.0)();
                Err(Denial::UnknownKey)
            }
            // Without the hook of panics: the trace it prints may take a busy machine longer than an answer is waited for.
            "panics" => std::panic::resume_unwind(Box::new("as the test wants")),
            "no-name" => Ok(Grant::new("..")),
            name => Ok(Grant::new(name).owner("alice")),
        }
    }

    fn player(&self, name: &str, _: Option<&StreamKey>, _: &Asker<'_>) -> Result<(), Denial> {
        if name == "hidden" { Err(Denial::NotPlayable) } else { Ok(()) }
    }
}

#[test]
fn a_slow_key_store_of_the_program_holds_only_those_who_ask_it_about_the_same() {
    let (hold, comes, block) = stuck();
    let store = Slow { block: BlockDebug(Box::new(block)) };
    let studio = Studio::start(|server| {
        server.key_store(store).options(|options| options.admission = Duration::from_secs(2))
    });
    let mut waits = studio.publisher("stuck");
    let _ = waits.turn();
    let refused = std::thread::spawn(move || waits.refusal());
    comes.recv_timeout(PATIENCE).expect("it asks");
    let publisher = studio.on_air("studio");
    assert_eq!(studio.engine.keys().active()[0].owner.as_deref(), Some("alice"));
    studio.player("studio").go_live();
    assert_eq!(studio.player("hidden").refusal(), "NetStream.Play.Failed");
    assert_eq!(studio.publisher("studio").refusal(), "NetStream.Publish.BadName");
    assert_eq!(studio.publisher("no-name").refusal(), "NetStream.Publish.Denied");
    assert_eq!(studio.publisher("panics").refusal(), "NetStream.Publish.Denied");
    assert_eq!(refused.join().unwrap(), "NetStream.Publish.Denied");
    let stats = studio.stats();
    let refused = |reason| stats.refused(reason);
    assert_eq!((refused(RefusalReason::NameInUse), refused(RefusalReason::NotPlayable)), (1, 1), "{stats:?}");
    assert_eq!((refused(RefusalReason::NoAnswer), refused(RefusalReason::Denied)), (1, 1), "{stats:?}");
    assert_eq!(refused(RefusalReason::BadName), 1, "a granted name that is none: {stats:?}");
    drop((hold, publisher));
}

/// A server in a place where its callbacks find it.
type Place = Arc<Mutex<Option<(RtmpServer, Engine)>>>;

fn take(place: &Place) -> Option<(RtmpServer, Engine)> {
    place.lock().unwrap().take()
}

#[test]
fn a_server_an_engine_and_a_stream_may_be_stopped_in_any_callback() {
    type Stop = fn((RtmpServer, Engine)) -> usize;
    let stops: [Stop; 4] = [
        |(server, _engine)| server.stop(PATIENCE).abandoned,
        |(_server, engine)| engine.shutdown(PATIENCE).abandoned,
        |(_server, engine)| {
            engine.streams().iter().filter(|s| engine.stop(s.id(), PATIENCE).is_none()).count()
        },
        // Dropped, the server first or the engine.
        |both| {
            drop(both);
            0
        },
    ];
    for stop in stops {
        for from in ["server event", "engine event", "publish hook", "play hook"] {
            let place = Place::default();
            let (done, is_done) = mpsc::channel();
            let engine = Engine::new(Config::default()).unwrap();
            engine.keys().add("studio", "good-key").unwrap();
            let act = {
                let place = place.clone();
                move |here: &str| {
                    if here == from
                        && let Some(both) = take(&place)
                    {
                        done.send(stop(both)).unwrap();
                    }
                }
            };
            let act = Arc::new(Mutex::new(act));
            let acts = || {
                let act = act.clone();
                move |here: &str| (act.lock().unwrap())(here)
            };
            let (publish, play, server_event, engine_event) = (acts(), acts(), acts(), acts());
            let server = engine.rtmp_server("127.0.0.1:0").on_publish(move |admission| {
                if admission.query() == "stop" {
                    publish("publish hook");
                }
                admission.accept();
            });
            let server = server.on_play(move |admission| {
                play("play hook");
                admission.accept();
            });
            let server = server.start().unwrap();
            server.on_event(move |event| {
                if matches!(event.kind, ServerEventKind::PlayerJoined { .. }) {
                    server_event("server event");
                }
            });
            engine.on_event(move |_| engine_event("engine event"));
            let address = server.address();
            // On the air before anything is stopped.
            let mut publisher = dial(address, ClientRole::Publish, "good-key");
            publisher.go_live();
            *place.lock().unwrap() = Some((server, engine.clone()));
            publisher.send(&[crate::support::header(), crate::support::picture(0, true, 7, 100)]);
            // An event that was on its way may have stopped everything by now.
            let may_be_stopped = from == "engine event";
            let mut others = Vec::new();
            for (role, name) in [(ClientRole::Play, "studio"), (ClientRole::Publish, "good-key?stop")] {
                match connect(std::net::Ipv4Addr::LOCALHOST, address) {
                    Ok(socket) => {
                        let url = format!("rtmp://{address}/live/{name}");
                        others.push(Client::new(socket, role, &url));
                    }
                    Err(error) => assert!(may_be_stopped, "{from}: {error}"),
                }
            }
            if may_be_stopped {
                // That it ends is told.
                let stream = engine.hub().find("studio");
                let added = stream.and_then(|stream| {
                    let output = stream.add_output(Output::publish("another")).ok()?;
                    Some((stream, output))
                });
                if let Some((stream, output)) = added {
                    let _ = stream.remove_output(output);
                }
            }
            let mut abandoned = None;
            let stopped = wait_until(|| {
                for client in others.iter_mut().chain([&mut publisher]) {
                    let _ = client.turn();
                }
                abandoned = is_done.try_recv().ok();
                abandoned.is_some()
            });
            assert!(stopped, "{from}: it hangs");
            assert_eq!(abandoned, Some(0), "{from}");
        }
    }
}
