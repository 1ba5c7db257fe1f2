//! Hours of stream time: nothing drifts.

use super::*;
use crate::playlist::{ParameterChange, Playlist};

/// Stream time of the tests, in milliseconds.
const SIX_HOURS: i64 = 6 * 3600 * 1000;

/// A lane of pictures under a lane of sound.
struct Pair {
    /// The clock of their waits, which stands still: a busy machine may take as long as it does.
    now: Instant,
    video: Sequencer,
    audio: Sequencer,
    turn: Turn,
    notices: Vec<EventKind>,
}

impl Pair {
    /// What both hand over up to `due`; waits for the store where it has to.
    fn play(&mut self, due: i64) -> Vec<Tag> {
        let Self { now, video, audio, turn, notices } = self;
        for sequencer in [video, audio] {
            loop {
                match sequencer.pull(*now, due, false, turn, notices) {
                    SequencerState::Due => break,
                    SequencerState::More => {}
                    SequencerState::Dry => std::thread::yield_now(),
                    other => panic!("{other:?}"),
                }
            }
        }
        turn.sort = true;
        turn.finish();
        std::mem::take(&mut turn.tags)
    }
}

/// Follows one track.
#[derive(Debug, Default)]
struct Track {
    first: Option<i64>,
    newest: i64,
    frames: i64,
    /// Shortest and longest step.
    steps: Option<(i64, i64)>,
}

impl Track {
    #[track_caller]
    fn note(&mut self, time: i64) {
        if self.first.is_some() {
            let step = time - self.newest;
            assert!(step > 0, "{time} ms after {}", self.newest);
            let (least, most) = self.steps.unwrap_or((step, step));
            self.steps = Some((least.min(step), most.max(step)));
        }
        self.first.get_or_insert(time);
        self.newest = time;
        self.frames += 1;
    }

    /// How far the newest frame is from where its number says it is, in milliseconds.
    fn drift(&self, frame: i64, rate: i64) -> i64 {
        self.newest - self.first.unwrap_or(0) - ((self.frames - 1) * frame * 1000 + rate / 2) / rate
    }
}

/// Cuts the files, so that nothing below waits for that.
fn cut_all(files: &[PathBuf], store: &Store, tracks: Tracks) {
    let supply = supply(Some(store.clone()), tracks);
    for file in files {
        let ready = supply.ready(file, Use::Item, Duration::ZERO).expect("it can be played");
        let reel = ready.item.reel().expect("there is a store");
        while !reel.is_complete() {
            std::thread::yield_now();
        }
    }
}

fn list_sequencer(list: &Playlist, store: &Store, tracks: Tracks, role: MetadataRole) -> Sequencer {
    let supply = supply(Some(store.clone()), tracks);
    Sequencer::new(Lane::new(role, None), Program::list(list.cursor()), supply)
}

fn started(notices: &[EventKind]) -> usize {
    notices
        .iter()
        .filter(|notice| match notice {
            EventKind::ItemStarted { .. } => true,
            // The items differ, and are allowed to.
            EventKind::Looped { .. } | EventKind::ParametersChanged { .. } => false,
            // The list has to be asked for its first item.
            other => panic!("{other:?}"),
        })
        .count()
}

#[test]
fn a_short_video_under_a_hundred_pieces_of_music_does_not_drift_in_six_hours() {
    let scratch = Scratch::new();
    let picture = SampleSpec {
        width: 64,
        height: 36,
        seconds: 3.0,
        gop_frames: 15,
        b_frames: 2,
        bitrate: 50_000,
        ..SampleSpec::default()
    };
    let clip = scratch.clip("loop.mp4", &picture);
    let music: Vec<_> = (0..100)
        .map(|number| {
            let spec = SampleSpec {
                video: false,
                audio: Some((44_100, 1)),
                audio_seconds: Some(2.0 + 0.0707 * f64::from(number)),
                ..SampleSpec::default()
            };
            scratch.clip(&format!("{number:03}.m4a"), &spec)
        })
        .collect();
    let store = scratch.store();
    cut_all(&music, &store, Tracks::Audio);
    let list = Playlist::files(music).shuffled().seed(1);
    let video_supply = supply(Some(store.clone()), Tracks::Video);
    let ready = video_supply.ready(&clip, Use::Loop, Duration::ZERO).expect("it can be played");
    let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
    let mut pair = Pair {
        now: Instant::now(),
        video: Unpaced::begun(lane, video_supply, ready, Duration::ZERO).sequencer,
        audio: list_sequencer(&list, &store, Tracks::Audio, MetadataRole::Silent),
        turn: Turn::default(),
        notices: Vec::new(),
    };
    let began = Instant::now();
    let (mut video, mut audio) = (Track::default(), Track::default());
    let mut apart = 0;
    for due in (0..=SIX_HOURS).step_by(100) {
        for tag in pair.play(due) {
            match tag.kind {
                _ if tag.is_sequence_header() => {}
                TagKind::Video => video.note(tag.timestamp.as_millis()),
                TagKind::Audio => audio.note(tag.timestamp.as_millis()),
                TagKind::Script => {}
            }
        }
        apart = apart.max((video.newest - audio.newest).abs());
        assert!(due < 1000 || apart <= 120, "{} and {} ms", video.newest, audio.newest);
    }
    let items = started(&pair.notices);
    eprintln!(
        "6 h of a 3 s video under 100 pieces of 2 to 9 s in {:.1?}: {items} pieces, {} video and {} audio frames, drift {} \
         and {} ms, steps {:?} and {:?} ms, never more than {apart} ms apart",
        began.elapsed(),
        video.frames,
        audio.frames,
        video.drift(1, 25),
        audio.drift(1024, 44_100),
        video.steps,
        audio.steps,
    );
    assert!(items > 3500, "{items}");
    assert!(video.drift(1, 25).abs() <= 1, "{video:?}");
    assert!(audio.drift(1024, 44_100).abs() <= 1, "{audio:?}");
}

#[test]
fn items_of_many_frame_and_sample_rates_do_not_drift_in_six_hours() {
    const FPS: [i64; 5] = [24, 25, 30, 50, 60];
    const RATES: [u32; 4] = [48_000, 44_100, 32_000, 22_050];
    /// Divides into a frame of each of the rates: 1/600 s.
    const TICKS: i64 = 600;
    let scratch = Scratch::new();
    let mut lengths = Vec::new();
    let files: Vec<_> = (0..20)
        .map(|number| {
            let fps = FPS[number % FPS.len()];
            let frames = fps + 7 * number as i64;
            lengths.push((fps, frames));
            let spec = SampleSpec {
                width: 64,
                height: 36,
                fps: fps as u32,
                seconds: frames as f64 / fps as f64,
                gop_frames: 20,
                bitrate: 50_000,
                audio: Some((RATES[number % RATES.len()], 1 + number as u32 % 2)),
                ..SampleSpec::default()
            };
            scratch.clip(&format!("{number:02}.mp4"), &spec)
        })
        .collect();
    let store = scratch.store();
    cut_all(&files, &store, Tracks::Both);
    let list = Playlist::files(files).on_change(ParameterChange::Allow);
    let role = MetadataRole::Sends { companion: None };
    let began = Instant::now();
    let mut played = Unpaced::of(list_sequencer(&list, &store, Tracks::Both, role));
    played.still = Some(began);
    let (mut video, mut audio) = (Track::default(), Track::default());
    // The item that plays, its frames so far, and where the item's first frame would be by the lengths of all before it.
    let (mut item, mut frame, mut at) = (0, 0, 0);
    // Priming before the first picture moves all of them.
    let mut offset = None;
    let (mut jitter, mut apart) = (0, 0);
    while played.due < SIX_HOURS {
        for tag in played.play(1000) {
            let time = tag.timestamp.as_millis();
            match tag.kind {
                _ if tag.is_sequence_header() => {}
                TagKind::Audio => audio.note(time),
                TagKind::Video => {
                    video.note(time);
                    let (fps, frames) = lengths[item];
                    let exact = ((at + frame * TICKS / fps) * 1000 + TICKS / 2) / TICKS;
                    jitter = jitter.max((time - exact - *offset.get_or_insert(time - exact)).abs());
                    assert!(jitter <= 1, "item {item}: {time} for {exact} and {offset:?} ms");
                    frame += 1;
                    if frame == frames {
                        at += frames * TICKS / fps;
                        (item, frame) = ((item + 1) % lengths.len(), 0);
                    }
                }
                TagKind::Script => {}
            }
        }
        apart = apart.max((video.newest - audio.newest).abs());
    }
    let items = started(&played.notices);
    eprintln!(
        "6 h of 20 items of 24 to 60 frames/s and 22.05 to 48 kHz in {:.1?}: {items} items, {} video and {} audio frames, \
         video within {jitter} ms of the sum of all lengths, steps {:?} and {:?} ms, never more than {apart} ms apart",
        began.elapsed(),
        video.frames,
        audio.frames,
        video.steps,
        audio.steps,
    );
    assert!(apart <= 250, "{apart}");
    let (least, most) = video.steps.expect("there were pictures");
    assert!(least >= 16 && most <= 42, "{least} to {most} ms");
    let (least, most) = audio.steps.expect("there was sound");
    assert!(least >= 20 && most <= 48, "{least} to {most} ms");
}
