//! Streams of every kind are started and stopped, again and again: every start comes on the air, every stop is clean, and nothing is
//! left behind. In a process of its own, because threads, descriptors and the heap are counted per process.
//!
//! A few hundred turns as a rule. Ten thousand, in some minutes:
//!
//! ```text
//! cargo test -p flowcast --test churn ten_thousand -- --ignored --nocapture
//! ```
#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flowcast::source::Fallback;
use flowcast::stats::OutputPhase;
use flowcast::{
    Encoding, Engine, Mode, Output, Profile, ReelStore, RtmpServer, RtmpServerExt, Source, StreamHandle,
};
use kit::rig::{Known, engine, threads_and_descriptors};
use kit::{PATIENCE, wait_until};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Streams at a time.
const THREADS: usize = 4;
/// Bytes that are no leak: what is kept for another turn comes and goes.
const ENOUGH: usize = 256 << 10;
/// How long a stream may take to stop.
const DEADLINE: Duration = Duration::from_secs(5);
/// What is published in the studio, for those who send it on.
const STUDIO: &str = "studio";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file, read through libav, copied.
    Direct,
    /// A file, from its reel.
    Reel,
    /// A file that is encoded while it plays.
    Encoded,
    /// What others publish.
    Restream,
    /// A file into a recording.
    Recording,
    /// A file that stands in for a publisher who never comes.
    Fallback,
}

const KINDS: [Kind; 6] =
    [Kind::Direct, Kind::Reel, Kind::Encoded, Kind::Restream, Kind::Recording, Kind::Fallback];

/// What a process can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    threads: usize,
    descriptors: usize,
    heap: usize,
}

impl Held {
    fn now() -> Self {
        let (threads, descriptors) = threads_and_descriptors();
        Self { threads, descriptors, heap: HEAP.current_usage() }
    }

    fn is_within(self, before: Self) -> bool {
        self.threads <= before.threads
            && self.descriptors <= before.descriptors
            && self.heap <= before.heap + ENOUGH
    }
}

/// Who sends and who receives.
struct Rig {
    clip: Known,
    /// Without a store, and with one.
    direct: Engine,
    reels: Engine,
    receiving: Engine,
    server: RtmpServer,
    _studio: StreamHandle,
    forced: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Rig {
    fn new() -> Self {
        let clip = Known::small();
        let direct = engine(|_| {});
        let store = ReelStore::new(clip.beside("reels"));
        let reels = engine(|config| config.reels = Some(store));
        let receiving = engine(|_| {});
        for thread in 0..THREADS {
            receiving.keys().add(&name(thread), format!("key-{thread}")).expect("a usable key");
        }
        let server = receiving.rtmp_server("127.0.0.1:0");
        let server =
            server.options(|options| options.takeover_after = Duration::ZERO).start().expect("a free port");
        let studio = direct.stream(Source::file(&clip.file).looped()).to(Output::publish(STUDIO)).start();
        let studio = studio.expect("the studio is on the air");
        let (forced, failed) = (AtomicUsize::new(0), Mutex::default());
        Self { clip, direct, reels, receiving, server, _studio: studio, forced, failed }
    }

    fn turn(&self, thread: usize, turn: usize) {
        let kind = KINDS[turn % KINDS.len()];
        if let Err(why) = self.one(kind, thread) {
            self.failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("{kind:?} {turn}: {why}"));
        }
    }

    /// Brings a stream on the air and stops it.
    fn one(&self, kind: Kind, thread: usize) -> Result<(), String> {
        let file = || Source::file(&self.clip.file).looped();
        let push =
            || Output::rtmp(&format!("rtmp://{}/live", self.server.address()), format!("key-{thread}"));
        let recording = self.clip.beside(&format!("turn-{thread}.flv"));
        let stream = match kind {
            Kind::Direct => self.direct.stream(file()).to(push()),
            Kind::Reel => self.reels.stream(file()).to(push()),
            Kind::Encoded => {
                let mut encoding = Encoding::new(Profile::Ultra);
                encoding.size = Some((64, 36));
                self.direct.stream(file().mode(Mode::Encode).encoding(encoding)).to(push())
            }
            Kind::Restream => self.direct.stream(Source::published(STUDIO)).to(push()),
            Kind::Recording => self.direct.stream(file()).record(&recording),
            Kind::Fallback => {
                let slate = Fallback::file(&self.clip.file).after(Duration::from_millis(500));
                self.reels.stream(Source::published("nobody").fallback(slate)).to(push())
            }
        };
        let live = stream.start().map_err(|error| format!("does not start: {error}"))?;
        let sent = || {
            let stats = live.stats();
            stats.outputs.iter().all(|output| output.phase == OutputPhase::Live && output.bytes_sent > 0)
        };
        let on_air = wait_until(PATIENCE, || live.has_ended() || sent()) && !live.has_ended();
        let stats = live.stats();
        let stopped = live.stop(DEADLINE);
        if !on_air {
            return Err(format!("is not on the air: {stats}; {stopped:?}"));
        }
        if let Err(error) = stopped {
            self.forced.fetch_add(1, Ordering::Relaxed);
            return Err(format!("does not stop: {error}"));
        }
        Ok(())
    }

    fn turns(&self, count: usize) {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope
                    .spawn(move || (thread..count).step_by(THREADS).for_each(|turn| self.turn(thread, turn)));
            }
        });
        let gone = wait_until(PATIENCE, || {
            self.receiving.streams().is_empty()
                && self.server.stats().connections == 0
                && self.reels.running() == 0
        });
        assert!(gone, "{:?}, {} streams", self.server.stats(), self.receiving.streams().len());
    }

    /// Stops of the engines that had to be forced.
    fn forced(&self) -> u64 {
        self.forced.load(Ordering::Relaxed) as u64
            + [&self.direct, &self.reels, &self.receiving]
                .iter()
                .map(|engine| engine.abandoned())
                .sum::<u64>()
    }
}

fn name(thread: usize) -> String {
    format!("name-{thread}")
}

fn churn(warm_up: usize, count: usize) {
    let rig = Rig::new();
    // What is made once and kept is no leak: the dialer, libav's tables, the allocator's arenas.
    rig.turns(warm_up);
    let (before, began) = (Held::now(), Instant::now());
    rig.turns(count);
    let took = began.elapsed();
    let mut after = Held::now();
    let is_back = wait_until(PATIENCE, || {
        after = Held::now();
        after.is_within(before)
    });
    let failed = rig.failed.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{count} starts and stops in {took:.1?}: {} failed, {} forced; {before:?}, then {after:?}",
        failed.len(),
        rig.forced()
    );
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), warm_up + count, failed.join("\n"));
    assert_eq!(rig.forced(), 0);
    assert!(is_back, "{before:?} before, {after:?} after");
}

#[test]
fn two_hundred_starts_and_stops_of_every_kind_leave_nothing_behind() {
    churn(100, 200);
}

#[test]
#[ignore = "takes minutes"]
fn ten_thousand_starts_and_stops_of_every_kind_leave_nothing_behind() {
    churn(500, 10_000);
}
