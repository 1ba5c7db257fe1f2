//! Reels end to end: a made-up source, a real directory.

mod crash;
mod flv;
mod reading;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::flv::{audio, video};
use flowcast_rtmp::time::MediaTime;
use tempfile::TempDir;

use super::cutter::{Cut, Cutter, Recipe};
use super::reader::Reel;
use super::store::{Store, What};
use crate::config::ReelStore;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{AudioLap, LapFacts, Step, Unit, VideoLap};

/// Waits for a condition, up to a deadline.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn tag(kind: TagKind, ms: i64, body: Vec<u8>) -> Tag {
    Tag::from_wire(kind, MediaTime::from_millis(ms), Bytes::from(body))
}

/// A baseline configuration with one SPS and one PPS.
const AVCC: [u8; 21] =
    [1, 66, 0, 30, 0xFF, 0xE1, 0, 7, 0x67, 66, 0, 30, 0xDA, 0x02, 0x80, 1, 0, 3, 0x68, 0xCE, 0x38];
/// AAC-LC, 48 kHz, stereo.
const ASC: [u8; 2] = [0x11, 0x90];

/// Metadata and sequence headers.
fn headers() -> Vec<Tag> {
    let metadata = Metadata { framerate: Some(25.0), width: Some(640.0), ..Metadata::default() };
    vec![
        metadata.to_tag(MediaTime::ZERO),
        video::avc_sequence_header(Bytes::from_static(&AVCC), MediaTime::ZERO),
        audio::aac_sequence_header(Bytes::from_static(&ASC), MediaTime::ZERO),
    ]
}

/// Frames of `seconds` seconds: 25 fps with a keyframe each second, AAC of 48 kHz beside it, in order of time.
fn frames(seconds: i64) -> Vec<Tag> {
    let payload = |seed: i64, len: i64| {
        Bytes::from(
            (0..len).map(|n| (seed.wrapping_mul(31).wrapping_add(n * 7) >> 2) as u8).collect::<Vec<_>>(),
        )
    };
    let picture = |n: i64| {
        let len = if n % 25 == 0 { 9000 } else { 700 + n * 37 % 900 };
        video::avc_frame(MediaTime::from_millis(n * 40), 80, n % 25 == 0, payload(n, len))
            .expect("it is in range")
    };
    let sound = |n: i64| {
        let at = Unit::sample(48_000).to_millis(n * 1024);
        audio::aac_frame(MediaTime::from_millis(at), payload(n, 180 + n * 11 % 90))
    };
    let mut tags: Vec<_> = (0..seconds * 25).map(picture).collect();
    tags.extend((0..seconds * 48_000 / 1024).map(sound));
    tags.sort_by_key(|tag| tag.timestamp);
    tags
}

fn facts(seconds: i64) -> LapFacts {
    let frames = seconds * 48_000 / 1024;
    LapFacts {
        video: Some(VideoLap {
            unit: Unit { num: 1, den: 25 },
            length: seconds * 25,
            frames: (seconds * 25).unsigned_abs(),
        }),
        audio: Some(AudioLap {
            rate: 48_000,
            frame: 1024,
            priming: 0,
            frames: frames.unsigned_abs(),
            start: 0,
            end: frames * 1024,
        }),
    }
}

/// What a made-up source does after its tags.
#[derive(Debug, Clone, Default)]
enum Ending {
    #[default]
    End,
    Fail,
    Panic,
    /// It goes on for ever.
    Never,
}

/// A made-up source.
#[derive(Debug, Clone, Default)]
struct Script {
    seconds: i64,
    ending: Ending,
    fails_to_open: bool,
    fault: bool,
    /// After this many tags it waits for its gate, and says so before.
    gate: Option<(usize, Sender<()>, Receiver<()>)>,
    /// What it waits for when it is dropped, and says so before.
    door: Option<(Sender<()>, Receiver<()>)>,
    opened: Arc<AtomicUsize>,
}

impl Script {
    fn of(seconds: i64) -> Self {
        Self { seconds, ..Self::default() }
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn cutter(&self) -> Box<dyn Cutter> {
        Box::new(self.clone())
    }

    /// A source that waits after `tags` tags: when the receiver has something it does, when the sender is dropped it goes
    /// on.
    fn gated(mut self, tags: usize) -> (Self, Receiver<()>, Sender<()>) {
        let (reached, at_gate) = crossbeam_channel::unbounded();
        let (open, gate) = crossbeam_channel::unbounded();
        self.gate = Some((tags, reached, gate));
        (self, at_gate, open)
    }
}

impl Cutter for Script {
    fn open(self: Box<Self>, path: &Path, _: &AtomicBool) -> Result<Box<dyn Cut>, Error> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if self.fails_to_open {
            return Err(Error::NoPlayableTrack { path: path.to_owned(), found: "nothing".to_owned() });
        }
        let tags = frames(self.seconds).into_iter();
        Ok(Box::new(Playing { tags, script: *self, given: 0, path: path.to_owned(), ended: false }))
    }
}

struct Playing {
    script: Script,
    tags: std::vec::IntoIter<Tag>,
    given: usize,
    path: PathBuf,
    /// The facts of the lap were given.
    ended: bool,
}

impl Cut for Playing {
    fn headers(&self) -> Vec<Tag> {
        headers()
    }

    fn next(&mut self) -> Result<Step, Error> {
        if let Some((at, reached, gate)) = &self.script.gate
            && *at == self.given
        {
            let _ = reached.send(());
            // It is opened by being dropped.
            let _ = gate.recv();
        }
        self.given += 1;
        if std::mem::take(&mut self.script.fault) {
            let (path, reason) = (self.path.clone(), "a fault".to_owned());
            let error = Error::SourceDamaged { path, reason };
            return Ok(Step::Notice(EventKind::SourceFault { error }));
        }
        match (self.tags.next(), &self.script.ending) {
            (Some(tag), _) => Ok(Step::Tag(tag)),
            (None, Ending::End) if std::mem::replace(&mut self.ended, true) => Ok(Step::End),
            (None, Ending::End) => Ok(Step::Ending(facts(self.script.seconds))),
            (None, Ending::Fail) => Err(Error::SourceDried { path: PathBuf::from("made-up") }),
            (None, Ending::Panic) => panic!("a bug in the cutter"),
            (None, Ending::Never) => {
                let ms = i64::try_from(self.given).expect("it is small") * 40;
                Ok(Step::Tag(tag(TagKind::Audio, ms, vec![0xAF, 1, 0])))
            }
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        if let Some((reached, door)) = &self.script.door {
            let _ = reached.send(());
            let _ = door.recv();
        }
    }
}

/// A directory for a store, and one for sources.
struct Room {
    dir: TempDir,
}

impl Room {
    fn new() -> Self {
        let room = Self { dir: TempDir::new().expect("the temporary directory is writable") };
        std::fs::create_dir(room.dir.path().join("sources")).expect("it is ours");
        room
    }

    fn settings(&self) -> ReelStore {
        ReelStore::new(self.dir.path().join("reels"))
    }

    fn open(&self) -> Store {
        Store::open(&self.settings()).expect("it is ours")
    }

    /// A source of this many bytes.
    fn source(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.dir.path().join("sources").join(name);
        let content: Vec<_> = name.bytes().cycle().take(bytes).collect();
        std::fs::write(&path, content).expect("there is room");
        path
    }

    /// The names in the store's directory, without its lock.
    fn names(&self) -> Vec<String> {
        names(&self.settings().dir)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("it is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it is readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| name != "reels.lock");
    names.sort();
    names
}

/// Waits until a reel is complete and kept.
fn settled(store: &Store, reel: &Reel) {
    until("the reel is complete", || reel.is_complete() && store.stats().cutting == 0);
    assert!(reel.failure().is_none(), "{:?}", reel.failure());
}

/// All tags of a reel.
fn read_all(reel: &Reel) -> Result<Vec<Tag>, Error> {
    let mut tags = Vec::new();
    for slot in 0..reel.slots() {
        reel.read(slot, &mut tags)?;
    }
    Ok(tags)
}

/// What the store is asked for.
fn what(script: &Script) -> What {
    let cutter = script.cutter();
    Box::new(move || Ok((Recipe::BOTH, cutter)))
}

fn prepare(store: &Store, source: &Path, script: &Script) -> Result<Arc<Reel>, Error> {
    store.prepare(source, Recipe::BOTH, script.cutter())
}
