//! Laps and lists across their seams, played without a clock.

mod encoded;
mod encoded_day;
mod entered;
mod faults;
mod fragments;
mod headers;
mod long;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flowcast_av::{SampleSpec, sample_clip};
use flowcast_rtmp::flv::silence::aac_config;
use flowcast_rtmp::flv::tag::{Tag, TagKind};

use super::super::supply::{DirectOptions, Ready, Supply, Use};
use super::*;
use crate::config::{Config, ReelStore};
use crate::playlist::Playlist;
use crate::playout::recipes::Recipes;
use crate::playout::sequencer::{Program, Sequencer, SequencerState};
use crate::playout::turn::Turn;
use crate::reel::Store;
use crate::sys::CpuMeter;
use crate::tracks::{Carriage, Tracks};

mod seams;

/// A directory of this test, removed at its end.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("the temporary directory is writable"))
    }

    fn clip(&self, name: &str, spec: &SampleSpec) -> PathBuf {
        let path = self.0.path().join(name);
        sample_clip(&path, spec).expect("libav has the encoders");
        path
    }

    fn store(&self) -> Store {
        Store::open(&ReelStore::new(self.0.path().join("reels"))).expect("the directory is writable")
    }
}

fn supply(store: Option<Store>, tracks: Tracks) -> Supply {
    supply_of(store, Recipes::copy(tracks, Carriage::Plain))
}

fn supply_of(store: Option<Store>, recipes: Recipes) -> Supply {
    let direct = DirectOptions {
        name: "test".to_owned(),
        read_ahead: Config::default().read_ahead,
        cpu: CpuMeter::default(),
        wake: None,
    };
    Supply { store, recipes, direct }
}

/// A looped file, from a reel if there is a store: a machine that is busy takes longer over what is encoded than a stream waits
/// for.
fn ready_reel(supply: &Supply, path: &Path) -> Ready {
    loop {
        let ready = supply.ready(path, Use::Loop, Duration::ZERO).expect("it can be played");
        if !ready.awaits_reel() {
            break ready;
        }
    }
}

/// Plays a file without waiting for any clock.
struct Unpaced {
    sequencer: Sequencer,
    due: i64,
    turn: Turn,
    notices: Vec<EventKind>,
    /// How far the clock of its waits is ahead.
    ahead: Duration,
    /// That clock stands here: whatever has to be waited for is, however long a busy machine takes.
    still: Option<Instant>,
}

impl Unpaced {
    fn of(sequencer: Sequencer) -> Self {
        Self {
            sequencer,
            due: 0,
            turn: Turn::default(),
            notices: Vec::new(),
            ahead: Duration::ZERO,
            still: None,
        }
    }

    fn looped(path: &Path, store: Option<Store>, silence: bool) -> Self {
        Self::looped_as(path, supply(store, Tracks::Both), silence)
    }

    fn looped_as(path: &Path, supply: Supply, silence: bool) -> Self {
        let ready = ready_reel(&supply, path);
        assert!(ready.fallback.is_none(), "{:?}", ready.fallback);
        while ready.item.reel().is_some_and(|reel| !reel.is_complete()) {
            std::thread::yield_now();
        }
        let silence = silence.then(|| aac_config(44_100, 2).expect("a usual format"));
        let lane = Lane::new(MetadataRole::Sends { companion: None }, silence);
        Self::begun(lane, supply, ready, Duration::ZERO)
    }

    /// A loop that begins with `ready`, `from` into it.
    fn begun(lane: Lane, supply: Supply, ready: Ready, from: Duration) -> Self {
        let mut sequencer = Sequencer::new(lane, Program::Loop, supply);
        let mut notices = Vec::new();
        sequencer.begin_first(ready, from, &mut notices);
        Self { notices, ..Self::of(sequencer) }
    }

    /// The tags of the next `millis` milliseconds.
    fn play(&mut self, millis: i64) -> Vec<Tag> {
        let mut tags = Vec::new();
        let until = self.due + millis;
        while self.due < until {
            let now = self.still.unwrap_or_else(Instant::now) + self.ahead;
            let state = self.sequencer.pull(now, self.due, false, &mut self.turn, &mut self.notices);
            let again = self.turn.finish();
            if let Some(again) = again {
                let mut second = Vec::new();
                again.refill(&mut second).expect("the reel is there");
                assert_eq!(second, self.turn.tags, "a turn that is made again is the same");
            }
            tags.append(&mut self.turn.tags);
            match state {
                SequencerState::Due => self.due += 100,
                SequencerState::More => {}
                SequencerState::Dry => std::thread::yield_now(),
                other => panic!("{other:?}"),
            }
        }
        tags
    }
}

/// Both ways a file is played, and for each what `check` finds in the tags of `millis` milliseconds.
fn both_ways(path: &Path, scratch: &Scratch, silence: bool, millis: i64, check: impl Fn(&str, &[Tag])) {
    for (mode, store) in [("direct", None), ("reel", Some(scratch.store()))] {
        let mut played = Unpaced::looped(path, store, silence);
        assert_eq!(played.sequencer.mode().to_string(), mode);
        let tags = played.play(millis);
        check(&format!("{} {mode}", path.display()), &tags);
    }
}

fn frames(tags: &[Tag], kind: TagKind) -> Vec<&Tag> {
    tags.iter().filter(|tag| tag.kind == kind && !tag.is_sequence_header()).collect()
}

fn times(tags: &[Tag], kind: TagKind) -> Vec<i64> {
    frames(tags, kind).iter().map(|tag| tag.timestamp.as_millis()).collect()
}

fn bodies(tags: &[Tag], kind: TagKind) -> Vec<Bytes> {
    frames(tags, kind).iter().map(|tag| tag.body.to_bytes()).collect()
}

/// What is true of every loop: times strictly increase per track, and both run through without a gap.
fn check_loop(name: &str, tags: &[Tag], frame_ms: f64, audio_ms: f64) {
    for (kind, step_ms) in [(TagKind::Video, frame_ms), (TagKind::Audio, audio_ms)] {
        let times = times(tags, kind);
        for (number, pair) in times.windows(2).enumerate() {
            let step = pair[1] - pair[0];
            assert!(step > 0, "{name}: {kind:?} {pair:?}");
            assert!((step as f64 - step_ms).abs() <= 1.5, "{name}: {kind:?} frame {number}: {pair:?}");
        }
        if let [first, .., last] = times[..] {
            let expected = (times.len() - 1) as f64 * step_ms;
            // Both ends are rounded, and so is where a lap begins.
            assert!(((last - first) as f64 - expected).abs() <= 2.0, "{name}: {kind:?} drifts");
        }
    }
    // Side by side: no tag is far behind the ones before it.
    let mut newest = 0;
    for tag in tags.iter().filter(|tag| tag.kind != TagKind::Script && !tag.is_sequence_header()) {
        let time = tag.timestamp.as_millis();
        assert!(time >= newest - 100, "{name}: {:?} {time} after {newest}", tag.kind);
        newest = newest.max(time);
    }
}

#[test]
fn every_lap_shows_every_frame_once_and_in_order() {
    let scratch = Scratch::new();
    let cd = Some((44_100, 2));
    for (name, spec) in [
        ("b-frames.mp4", SampleSpec { b_frames: 2, ..SampleSpec::default() }),
        ("plain.flv", SampleSpec { audio: cd, ..SampleSpec::default() }),
        ("b-frames.ts", SampleSpec { b_frames: 3, fps: 30, ..SampleSpec::default() }),
        ("long-audio.mp4", SampleSpec { audio_seconds: Some(3.5), b_frames: 2, ..SampleSpec::default() }),
        ("short-audio.mkv", SampleSpec { audio_seconds: Some(1.2), ..SampleSpec::default() }),
        ("one-frame-short.mp4", SampleSpec { audio_seconds: Some(1.97), audio: cd, ..SampleSpec::default() }),
        ("silent.mp4", SampleSpec { audio: None, b_frames: 2, ..SampleSpec::default() }),
    ] {
        let spec = SampleSpec { seconds: 2.0, ..spec };
        let clip = scratch.clip(name, &spec);
        let fps = spec.fps as usize;
        both_ways(&clip, &scratch, false, 30_000, |name, tags| {
            let looped = bodies(tags, TagKind::Video);
            assert!(looped.len() >= 29 * fps, "{name}: {} frames", looped.len());
            for (number, frame) in looped.iter().enumerate() {
                assert_eq!(*frame, looped[number % (2 * fps)], "{name}: frame {number}");
            }
            let rate = spec.audio.map_or(1, |(rate, _)| rate);
            check_loop(name, tags, 1000.0 / fps as f64, 1_024_000.0 / f64::from(rate));
            if let (Some(video), Some(audio)) =
                (times(tags, TagKind::Video).last(), times(tags, TagKind::Audio).last())
            {
                assert!((video - audio).abs() <= 230, "{name}: ends at {video} and {audio} ms");
            }
        });
    }
}

#[test]
fn ten_thousand_laps_do_not_drift() {
    let scratch = Scratch::new();
    // Frames per second, of picture and the rate of its sound; lengths that are no whole number of sound frames.
    for (number, (fps, rate, frames)) in [
        (30, 44_100, 15),
        (25, 48_000, 7),
        (24, 96_000, 5),
        (60, 22_050, 31),
        (50, 32_000, 9),
        (1, 44_100, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let spec = SampleSpec {
            width: 64,
            height: 36,
            fps,
            seconds: f64::from(frames) / f64::from(fps),
            gop_frames: frames,
            audio: Some((rate, 1)),
            ..SampleSpec::default()
        };
        let clip = scratch.clip(&format!("short-{number}.mp4"), &spec);
        let millis = i64::from(frames) * 10_010_000 / i64::from(fps);
        let name = format!("{frames} at {fps}/s, {rate} Hz");
        drift(&name, &clip, scratch.store(), millis, (i64::from(fps), i64::from(rate)));
    }
}

/// Plays for `millis` and looks at every time.
fn drift(name: &str, clip: &Path, store: Store, millis: i64, (fps, rate): (i64, i64)) {
    let mut played = Unpaced::looped(clip, Some(store), false);
    let (mut first, mut newest, mut counts) = ([0; 2], [0; 2], [0i64; 2]);
    while played.due < millis {
        let tags = played.play(1000);
        for (slot, kind) in [TagKind::Video, TagKind::Audio].into_iter().enumerate() {
            for time in times(&tags, kind) {
                let last = newest[slot];
                assert!(counts[slot] == 0 || time > last, "{name}: {kind:?} at {time} after {last}");
                if counts[slot] == 0 {
                    first[slot] = time;
                }
                newest[slot] = time;
                counts[slot] += 1;
            }
        }
        let [video, audio] = newest;
        assert!((video - audio).abs() <= 150 + 1000 / fps, "{name}: {video} and {audio} ms");
    }
    // Each track is exactly as far as its frames are long.
    let [video, audio] = counts.map(|count| count - 1);
    assert!((newest[0] - first[0] - video * 1000 / fps).abs() <= 2, "{name}: {counts:?} {newest:?}");
    assert!((newest[1] - first[1] - audio * 1_024_000 / rate).abs() <= 2, "{name}: {counts:?} {newest:?}");
    let laps = played.notices.iter().filter(|notice| matches!(notice, EventKind::Looped { .. })).count();
    assert!(laps >= 10_000, "{name}: {laps}");
}

#[test]
fn sound_alone_loops_without_a_gap() {
    let scratch = Scratch::new();
    let spec = SampleSpec { video: false, audio_seconds: Some(1.0), ..SampleSpec::default() };
    let clip = scratch.clip("sound.m4a", &spec);
    both_ways(&clip, &scratch, false, 60_000, |name, tags| {
        check_loop(name, tags, 40.0, 1024.0 / 48.0);
        assert!(times(tags, TagKind::Audio).len() > 2700, "{name}");
    });
}

#[test]
fn silence_is_sent_where_there_is_no_sound() {
    let scratch = Scratch::new();
    let clip = scratch.clip("silent.mp4", &SampleSpec { audio: None, b_frames: 2, ..SampleSpec::default() });
    both_ways(&clip, &scratch, true, 20_000, |name, tags| {
        check_loop(name, tags, 40.0, 1_024_000.0 / 44_100.0);
        let header = tags.iter().find(|tag| tag.is_audio() && tag.is_sequence_header());
        assert!(header.is_some(), "{name}");
        assert!(times(tags, TagKind::Audio).len() > 840, "{name}");
        let silent = bodies(tags, TagKind::Audio);
        assert!(silent.iter().all(|body| *body == silent[0] && body.len() < 20), "{name}");
    });
}

#[test]
fn an_item_begins_with_its_picture_also_where_only_the_sound_before_it_is_due() {
    let scratch = Scratch::new();
    // Sound begins 21 ms before the picture. The first item is over at 981 ms, and the next is due there at 1000.
    let spec = SampleSpec { width: 160, seconds: 0.96, gop_frames: 24, ..SampleSpec::default() };
    let clips = ["one.mp4", "two.mp4"].map(|name| scratch.clip(name, &spec));
    for (mode, store) in [("direct", None), ("reel", Some(scratch.store()))] {
        let list = Playlist::files(&clips);
        let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
        let sequencer = Sequencer::new(lane, Program::list(list.cursor()), supply(store, Tracks::Both));
        let mut played = Unpaced::of(sequencer);
        played.still = Some(Instant::now());
        let tags = played.play(12_000);
        check_loop(mode, &tags, 40.0, 1024.0 / 48.0);
        assert!(times(&tags, TagKind::Video).len() > 280, "{mode}");
    }
}
