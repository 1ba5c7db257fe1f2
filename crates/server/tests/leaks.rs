//! Publishers and players that come and go leave nothing behind: no thread, no descriptor, no heap. In a process of its own,
//! because all of it is counted per process.

#[allow(dead_code, reason = "another test uses the rest")]
#[path = "sessions/peer.rs"]
mod peer;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flowcast_core::{Config, Engine, Output, Source, StreamRef};
use flowcast_rtmp::session::ClientRole;
use flowcast_server::{RtmpServer, RtmpServerExt};
use peak_alloc::PeakAlloc;
use peer::{Client, media, wait_until};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Publishers and players at a time.
const THREADS: usize = 4;
const CYCLES: usize = 1000;
const JOINS: usize = 10_000;
/// Bytes that are no leak: what is kept for another turn comes and goes, and 64 bytes per cycle are more than this.
const ENOUGH: usize = 48 << 10;

/// What a process can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    threads: usize,
    descriptors: usize,
    heap: usize,
}

impl Held {
    fn now() -> Self {
        let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).expect("Linux").count();
        // The directory that is read is one, too.
        Self { threads: count("task"), descriptors: count("fd") - 1, heap: HEAP.current_usage() }
    }

    /// What is left when what ends has ended: the same a hundred times in a row.
    fn settled() -> Self {
        let (mut held, mut same) = (Self::now(), 0);
        wait_until(|| {
            let now = Self::now();
            same = if now == held { same + 1 } else { 0 };
            held = now;
            same >= 100
        });
        held
    }

    fn is_within(self, before: Self) -> bool {
        self.threads <= before.threads
            && self.descriptors <= before.descriptors
            && self.heap <= before.heap + ENOUGH
    }
}

struct Rig {
    engine: Engine,
    server: RtmpServer,
}

impl Rig {
    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn find(&self, name: &str) -> StreamRef {
        let mut found = None;
        assert!(wait_until(|| {
            found = self.engine.hub().find(name);
            found.is_some()
        }));
        found.expect("it was found")
    }

    /// Publishes and stops, in one of the ways there are.
    fn cycle(&self, thread: usize, cycle: usize) {
        let (name, key) = (format!("name-{thread}"), format!("key-{thread}"));
        let copies = cycle.is_multiple_of(5).then(|| {
            let copy = Output::publish(format!("copy-{thread}"));
            self.engine.stream(Source::published(&name)).to(copy).start().expect("a free place")
        });
        let mut publisher = Client::publisher(self.address(), &key);
        publisher.publish(&media(1, 0, 5));
        let stream = self.find(&name);
        let mut player = (cycle % 10 == 3).then(|| Client::player(self.address(), &name));
        player.iter_mut().for_each(|player| player.wait_pictures(5));
        match cycle % 4 {
            // Lost and back.
            0 | 1 => {
                drop(publisher);
                publisher = loop {
                    let mut next = Client::connect(ClientRole::Publish, self.address(), &key);
                    if matches!(next.run_until(|next| next.session.is_live()), Ok(true)) {
                        break next;
                    }
                };
                publisher.publish(&media(1, 0, 5));
                publisher.session.finish();
                publisher.send().expect("an open connection");
            }
            2 => {
                publisher.session.finish();
                publisher.send().expect("an open connection");
            }
            _ => {
                assert!(self.engine.keys().remove(&name));
                self.engine.keys().add(&name, key).expect("a usable key");
            }
        }
        drop((publisher, player));
        assert!(wait_until(|| stream.has_ended()), "{}", stream.stats());
        copies.into_iter().for_each(|copies| drop(copies.stop(peer::PATIENCE).expect("it runs well")));
    }

    fn join(&self, name: &str) {
        let mut player = Client::player(self.address(), name);
        player.wait_pictures(1);
    }

    fn in_threads(&self, count: usize, work: impl Fn(usize, usize) + Sync) {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let work = &work;
                scope.spawn(move || (0..count / THREADS).for_each(|number| work(thread, number)));
            }
        });
    }

    /// Waits until everybody has left.
    fn settle(&self, connections: u64, streams: usize) {
        let settled = wait_until(|| {
            self.server.stats().connections == connections && self.engine.streams().len() == streams
        });
        assert!(settled, "{:?}, {} streams", self.server.stats(), self.engine.streams().len());
    }
}

/// Does it for a while to get what is made once and kept, and then again.
fn leaves_nothing(what: &str, warm_up: impl Fn(), all: impl Fn(), settle: impl Fn()) {
    warm_up();
    settle();
    let (before, began) = (Held::settled(), Instant::now());
    all();
    settle();
    let took = began.elapsed();
    let mut after = Held::now();
    let is_back = wait_until(|| {
        after = Held::now();
        after.is_within(before)
    });
    eprintln!("{what} in {took:.1?}: {before:?}, then {after:?}");
    assert!(is_back, "{what}: {before:?} before, {after:?} after");
}

#[test]
fn publishers_and_players_leave_nothing_behind() {
    let engine = Engine::new(Config::default()).expect("the defaults work");
    for thread in 0..THREADS {
        engine.keys().add(&format!("name-{thread}"), format!("key-{thread}")).expect("a usable key");
    }
    engine.keys().add("live", "live-key").expect("a usable key");
    let server = engine
        .rtmp_server("127.0.0.1:0")
        .options(|options| {
            options.takeover_after = Duration::ZERO;
            // The publisher that is joined says nothing meanwhile, however long that takes here.
            options.no_progress = Duration::from_secs(3600);
            options.ping_timeout = Duration::from_secs(3600);
        })
        .start()
        .expect("a free port");
    let rig = Rig { engine, server };

    let cycles = |count| rig.in_threads(count, |thread, number| rig.cycle(thread, number));
    leaves_nothing("publishing", || cycles(200), || cycles(CYCLES), || rig.settle(0, 0));

    let mut publisher = Client::publisher(rig.address(), "live-key");
    publisher.publish(&media(1, 0, 25));
    rig.find("live");
    let joins = |count| rig.in_threads(count, |_, _| rig.join("live"));
    leaves_nothing("joining", || joins(500), || joins(JOINS), || rig.settle(1, 1));
}
