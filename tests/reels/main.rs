//! Reels and playlists when files, disks and processes fail under streams that are on the air: what the program is told, and
//! that the stream stays on the air.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what each fault leads to is shown with --nocapture")]

mod data;
mod edits;
mod killed;
mod lists;
mod many;
mod sound;
mod sources;
mod stores;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::rtmp::flv::TagKind;
use flowcast::stats::SourceMode;
use flowcast::{Engine, EventKind, Events, ReelStore, Source, StreamHandle};
use kit::rig::{engine, push};
use kit::scripted::{Script, Scripted, Seen};
use kit::{PATIENCE, wait_until};

/// An engine that keeps reels in `directory`.
fn with_reels(directory: &Path) -> Engine {
    with_store(directory, |_| {})
}

/// As [`with_reels`], in a store with other settings.
fn with_store(directory: &Path, change: impl FnOnce(&mut ReelStore)) -> Engine {
    let mut store = ReelStore::new(directory);
    change(&mut store);
    engine(|config| config.reels = Some(store))
}

/// A stream on the air, to a server that takes down what comes, and all that is told of it.
struct Air {
    server: Scripted,
    events: Events,
    live: StreamHandle,
    heard: RefCell<Vec<String>>,
}

impl Air {
    /// Starts a stream and waits until it is on the air.
    #[track_caller]
    fn start(engine: &Engine, source: Source) -> Self {
        let air = Self::begin(engine, source);
        assert!(air.server.wait_pictures(0, 5, PATIENCE), "it gets nowhere: {:?}", air.heard());
        air
    }

    /// Starts a stream.
    #[track_caller]
    fn begin(engine: &Engine, source: Source) -> Self {
        let server = Scripted::start(Script::Record);
        let events = engine.events();
        let live = engine.stream(source).to(push(&server)).start().expect("the stream starts");
        Self { server, events, live, heard: RefCell::default() }
    }

    /// Waits until `wanted` is told, and every time it was told before counts.
    #[track_caller]
    fn wait(&self, wanted: &str) {
        self.wait_times(wanted, 1);
    }

    /// Waits until something that begins with `wanted` has been told so often.
    #[track_caller]
    fn wait_times(&self, wanted: &str, times: usize) {
        let count = || self.heard().iter().filter(|told| told.starts_with(wanted)).count();
        let is_there = wait_until(2 * PATIENCE, || count() >= times);
        assert!(
            is_there,
            "{wanted:?} is not told {times} times, but {:#?}; {}",
            self.heard(),
            self.live.stats()
        );
    }

    /// All that was told so far, in a few words each; what is told of every stream is left out.
    fn heard(&self) -> Vec<String> {
        let mut heard = self.heard.borrow_mut();
        while let Some(event) = self.events.try_next() {
            if event.stream == self.live.id() {
                heard.extend(in_words(&event.kind));
            }
        }
        heard.clone()
    }

    /// What was told so far that is no beginning of a lap.
    fn told(&self) -> Vec<String> {
        self.heard().into_iter().filter(|told| told != "lap").collect()
    }

    /// The same of items alone: whether a busy store had room for a reel is up to the machine.
    fn told_of_items(&self) -> Vec<String> {
        let of_store = ["direct REEL_STORE_FAILED", "reel again"];
        self.told().into_iter().filter(|told| !of_store.contains(&told.as_str())).collect()
    }

    /// Pictures that have arrived.
    fn pictures(&self) -> usize {
        self.server
            .visits()
            .first()
            .map_or(0, |visit| visit.tags.iter().filter(|tag| tag.is_picture()).count())
    }

    /// Waits until this many more pictures have arrived.
    #[track_caller]
    fn wait_more(&self, pictures: usize) {
        let wanted = self.pictures() + pictures;
        let arrived = self.server.wait_pictures(0, wanted, 2 * PATIENCE);
        assert!(arrived, "off the air: {:#?}; {}", self.heard(), self.live.stats());
    }

    #[track_caller]
    fn wait_mode(&self, mode: SourceMode) {
        let is_so = wait_until(2 * PATIENCE, || self.live.stats().mode == mode);
        assert!(is_so, "not {mode}: {:#?}; {}", self.heard(), self.live.stats());
    }

    /// Stops it; what was sent.
    #[track_caller]
    fn stop(self) -> Vec<Seen> {
        self.live.stop(Duration::from_secs(3)).expect("it stops");
        sent(&self.server)
    }
}

/// What one connection sent, which must have been the only one.
#[track_caller]
fn sent(server: &Scripted) -> Vec<Seen> {
    let mut visits = server.visits();
    assert_eq!(visits.len(), 1, "it was connected to again");
    visits.swap_remove(0).tags
}

fn in_words(kind: &EventKind) -> Option<String> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Some(match kind {
        EventKind::Looped { .. } => "lap".to_owned(),
        EventKind::SourceFault { error } => format!("fault {}", error.code()),
        EventKind::SourceStalled { .. } => "stalled".to_owned(),
        EventKind::ModeChanged { mode, error } => {
            format!("{mode} {}", error.as_ref().map_or("again", |error| error.code()))
        }
        EventKind::ItemStarted { path } => format!("plays {}", name(path)),
        EventKind::ItemSkipped { path, error } => format!("skips {} {}", name(path), error.code()),
        EventKind::PlaylistStalled { .. } => "nothing plays".to_owned(),
        EventKind::PlaylistResumed { .. } => "plays again".to_owned(),
        EventKind::SourceReplaced { path } => format!("replaced {}", name(path)),
        EventKind::Ended { error } => {
            format!("ended {}", error.as_ref().map_or("well", |error| error.code()))
        }
        EventKind::OutputRetrying { error, .. } => format!("lost {}", error.code()),
        EventKind::OutputDropped { .. } => "dropped".to_owned(),
        EventKind::ClockJumped { .. } => "jumped".to_owned(),
        _ => return None,
    })
}

/// The times of a track's frames strictly increase, and none comes more than `longest` milliseconds after the one before; says
/// how many there are.
#[track_caller]
fn assert_steady(tags: &[Seen], kind: TagKind, longest: i64) -> usize {
    let times: Vec<_> =
        tags.iter().filter(|tag| tag.kind == kind && !tag.header).map(|tag| tag.time).collect();
    for (number, pair) in times.windows(2).enumerate() {
        let step = pair[1] - pair[0];
        assert!((1..=longest).contains(&step), "{kind:?} frame {number}: {} ms after {}", pair[1], pair[0]);
    }
    times.len()
}

/// No picture of new parameters comes before its header, and each header is followed by a keyframe; says how many headers there
/// are.
#[track_caller]
fn assert_headers(tags: &[Seen]) -> usize {
    let video: Vec<_> = tags.iter().filter(|tag| tag.kind == TagKind::Video).collect();
    for pair in video.windows(2).filter(|pair| pair[0].header) {
        assert!(pair[1].keyframe, "{} ms: a header is not followed by a keyframe", pair[0].time);
    }
    video.iter().filter(|tag| tag.header).count()
}

/// The files of a store, by their extensions.
fn stored(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|file| file.path());
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Waits until the only reel of a store is complete; its data.
#[track_caller]
fn only_reel(directory: &Path) -> PathBuf {
    let there = wait_until(PATIENCE, || stored(directory, "reel").len() == 1);
    assert!(there, "{:?}", fs::read_dir(directory).map(|files| files.flatten().collect::<Vec<_>>()));
    stored(directory, "flv").pop().expect("a reel has data")
}

/// Watches how long something takes, for the figures.
fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = run();
    println!("{what}: {:.1?}", began.elapsed());
    done
}
