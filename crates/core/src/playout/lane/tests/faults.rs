//! Reels that fail under a sequencer, and what it makes of it. The clock of its waits is the test's.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::*;
use crate::stats::SourceMode;

/// Longer than a sequencer waits before it asks the store again.
const AGAIN: Duration = Duration::from_secs(31);

impl Scratch {
    /// The data of the only reel of the store, once it has its name.
    pub(super) fn reel_data(&self) -> PathBuf {
        let directory = self.0.path().join("reels");
        loop {
            let files = fs::read_dir(&directory).expect("the store's directory");
            let mut data = files
                .flatten()
                .map(|file| file.path())
                .filter(|path| path.extension() == Some("flv".as_ref()));
            if let Some(only) = data.next() {
                assert_eq!(data.next(), None);
                return only;
            }
            std::thread::yield_now();
        }
    }
}

impl Unpaced {
    /// The changes of mode since it was last asked, with the codes of what made them.
    fn modes(&mut self) -> Vec<(SourceMode, Option<&'static str>)> {
        let notices = std::mem::take(&mut self.notices);
        notices
            .into_iter()
            .filter_map(|notice| match notice {
                EventKind::ModeChanged { mode, error } => Some((mode, error.map(|error| error.code()))),
                EventKind::Looped { .. } => None,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// Plays until the mode has changed, at most so long.
    fn play_until(&mut self, mode: SourceMode, millis: i64, tags: &mut Vec<Tag>) {
        let until = self.due + millis;
        while self.sequencer.mode() != mode {
            assert!(self.due < until, "still {} at {} ms", self.sequencer.mode(), self.due);
            tags.append(&mut self.play(100));
            // The store works on threads of its own.
            std::thread::yield_now();
        }
    }
}

/// Waits for the store to have a reel that is complete, however long a busy machine takes over it.
fn wait_for_reel(store: &Store) {
    let until = Instant::now() + Duration::from_secs(120);
    while store.stats().reels == 0 {
        assert!(Instant::now() < until, "{:?}", store.stats());
        std::thread::yield_now();
    }
}

/// Every frame of the clip once and in order, lap after lap.
fn check_frames(tags: &[Tag], per_lap: usize) {
    let frames = bodies(tags, TagKind::Video);
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(*frame, frames[number % per_lap], "frame {number} of {}", frames.len());
    }
}

#[test]
fn a_reel_that_is_damaged_is_left_without_a_jump_and_cut_anew() {
    let spec = SampleSpec { seconds: 3.0, gop_frames: 12, b_frames: 2, ..SampleSpec::default() };
    type Damage = fn(&Path, u64);
    let damages: [(&str, Damage); 4] = [
        ("emptied", |path, _| drop(File::create(path).expect("it is ours"))),
        ("cut in two", |path, size| {
            let file = File::options().write(true).open(path).expect("it is ours");
            file.set_len(size / 2).expect("it is ours");
        }),
        ("written over from the middle on", |path, size| {
            let file = File::options().write(true).open(path).expect("it is ours");
            file.write_all_at(&vec![0; size as usize / 2], size / 2).expect("it is ours");
        }),
        ("written over with noise", |path, size| {
            let noise: Vec<u8> =
                (0..size).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
            let file = File::options().write(true).open(path).expect("it is ours");
            file.write_all_at(&noise, 0).expect("it is ours");
        }),
    ];
    for (what, damage) in damages {
        for before in [1000, 2900, 3000, 7400] {
            let scratch = Scratch::new();
            let clip = scratch.clip("clip.mp4", &spec);
            let store = scratch.store();
            let mut played = Unpaced::looped(&clip, Some(store.clone()), false);
            let mut tags = played.play(before);
            assert_eq!(played.modes(), []);
            let data = scratch.reel_data();
            damage(&data, fs::metadata(&data).expect("it is there").len());
            played.play_until(SourceMode::Direct, 7000, &mut tags);
            assert_eq!(played.modes(), [(SourceMode::Direct, Some("REEL_DAMAGED"))], "{what}");
            tags.append(&mut played.play(7000));
            assert_eq!(played.modes(), [], "{what}: it asks again only after a while");
            played.ahead += AGAIN;
            // The lap at whose end the store is asked, and the one at whose end it has answered.
            tags.append(&mut played.play(3000));
            wait_for_reel(&store);
            played.play_until(SourceMode::Reel, 4000, &mut tags);
            assert_eq!(played.modes(), [(SourceMode::Reel, None)], "{what}");
            tags.append(&mut played.play(9000));
            check_loop(&format!("{what} after {before} ms"), &tags, 40.0, 1024.0 / 48.0);
            check_frames(&tags, 75);
        }
    }
}

#[test]
fn a_reel_whose_file_is_removed_plays_on() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &SampleSpec::default());
    let mut played = Unpaced::looped(&clip, Some(scratch.store()), false);
    let mut tags = played.play(1000);
    fs::remove_dir_all(scratch.0.path().join("reels")).expect("it is ours");
    fs::remove_file(&clip).expect("it is ours");
    tags.append(&mut played.play(20_000));
    assert_eq!(played.modes(), []);
    check_loop("removed", &tags, 40.0, 1024.0 / 48.0);
    check_frames(&tags, 50);
}

#[test]
fn a_reel_that_grows_too_slowly_is_taken_up_once_it_is_complete() {
    let scratch = Scratch::new();
    let spec = SampleSpec {
        seconds: 4.0,
        gop_frames: 25,
        bitrate: 2_000_000,
        width: 640,
        height: 360,
        ..SampleSpec::default()
    };
    let clip = scratch.clip("clip.mp4", &spec);
    let mut settings = ReelStore::new(scratch.0.path().join("reels"));
    // A clip of about a megabyte in some seconds.
    settings.bytes_per_second = Some(200_000);
    let store = Store::open(&settings).expect("the directory is writable");
    let supply = supply(Some(store.clone()), Tracks::Both);
    let ready = supply.ready(&clip, Use::Loop, Duration::ZERO).expect("it can be played");
    let reel = ready.item.reel().cloned().expect("a reel");
    let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
    let mut played = Unpaced::begun(lane, supply, ready, Duration::ZERO);
    assert!(!reel.is_complete(), "the limit is too high for this test");
    let mut tags = Vec::new();
    played.play_until(SourceMode::Direct, 4000, &mut tags);
    assert_eq!(played.modes(), [(SourceMode::Direct, Some("REEL_TOO_SLOW"))]);
    // It is left alone as long as it grows, however much later that is.
    played.ahead += 2 * AGAIN;
    while !reel.is_complete() {
        assert_eq!(played.sequencer.mode(), SourceMode::Direct);
        if played.due < 100_000 {
            tags.append(&mut played.play(1000));
        }
        std::thread::yield_now();
    }
    assert!(store.stats().reels + store.stats().cutting == 1, "{:?}", store.stats());
    played.play_until(SourceMode::Reel, 5000, &mut tags);
    assert_eq!(played.modes(), [(SourceMode::Reel, None)]);
    tags.append(&mut played.play(9000));
    check_loop("slow", &tags, 40.0, 1024.0 / 48.0);
    check_frames(&tags, 100);
}

#[test]
fn a_source_that_is_replaced_is_played_from_a_later_lap_on() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &SampleSpec { gop_frames: 10, ..SampleSpec::default() });
    let other = scratch
        .clip("other.mp4", &SampleSpec { width: 160, height: 90, seconds: 3.0, ..SampleSpec::default() });
    let store = scratch.store();
    let mut played = Unpaced::looped(&clip, Some(store.clone()), false);
    let mut tags = played.play(1000);
    // What is no media is told once; the old reel goes on.
    fs::write(&clip, "no media at all").expect("it is ours");
    let fault = loop {
        tags.append(&mut played.play(100));
        match played.notices.pop() {
            Some(EventKind::SourceFault { error }) => break error,
            Some(EventKind::Looped { .. }) | None => {}
            Some(other) => panic!("{other:?}"),
        }
        std::thread::yield_now();
    };
    assert!(matches!(fault.code(), "INPUT_INVALID" | "FORMAT_UNSUPPORTED"), "{fault:?}");
    for _ in 0..3 {
        played.ahead += Duration::from_secs(600);
        tags.append(&mut played.play(20_000));
    }
    assert_eq!(played.modes(), [], "it is told once");
    check_loop("the old one", &tags, 40.0, 1024.0 / 48.0);
    check_frames(&tags, 50);
    // What can be played is.
    fs::rename(&other, &clip).expect("the same directory");
    let until = Instant::now() + Duration::from_secs(20);
    let headers = loop {
        let tags = played.play(100);
        let headers: Vec<_> = tags.iter().filter(|tag| tag.is_sequence_header()).cloned().collect();
        if !headers.is_empty() {
            break tags;
        }
        played.ahead += Duration::from_secs(600);
        assert!(Instant::now() < until, "it is never played");
    };
    let replaced = played.notices.iter().filter(|notice| matches!(notice, EventKind::SourceReplaced { .. }));
    assert_eq!(replaced.count(), 1);
    let header =
        headers.iter().position(|tag| tag.is_video() && tag.is_sequence_header()).expect("a new one");
    let next = headers[header + 1..].iter().find(|tag| tag.is_video()).expect("a frame follows");
    assert!(next.is_keyframe() && next.timestamp >= headers[header].timestamp, "{next:?}");
    played.notices.clear();
    let later = played.play(12_000);
    assert_eq!(played.modes(), []);
    check_loop("the new one", &later, 40.0, 1024.0 / 48.0);
    let frames = bodies(&later, TagKind::Video);
    assert_eq!(frames[0], frames[75]);
}

#[test]
fn a_source_that_is_its_own_reel_and_cut_off_goes_on_with_what_is_left() {
    for (kept, before) in [(2, 1000), (4, 2500), (8, 400)] {
        let scratch = Scratch::new();
        let clip =
            scratch.clip("clip.flv", &SampleSpec { seconds: 3.0, gop_frames: 10, ..SampleSpec::default() });
        let mut played = Unpaced::looped(&clip, Some(scratch.store()), false);
        let mut tags = played.play(before);
        let file = File::options().write(true).open(&clip).expect("it is ours");
        file.set_len(fs::metadata(&clip).expect("it is there").len() / kept).expect("it is ours");
        played.play_until(SourceMode::Direct, 4000, &mut tags);
        tags.append(&mut played.play(10_000));
        for kind in [TagKind::Video, TagKind::Audio] {
            let times = times(&tags, kind);
            let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
            // The frame that was cut in two, and the part of a slot before it.
            assert!(
                steps.clone().all(|step| (1..=250).contains(&step)),
                "{kind:?} 1/{kept}: {:?}",
                steps.max()
            );
            assert!(times.len() > 200, "{kind:?} 1/{kept}: {}", times.len());
        }
    }
}

#[test]
fn a_source_that_was_replaced_before_its_reel_was_damaged_brings_its_headers() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &SampleSpec::default());
    let other = scratch.clip("other.mp4", &SampleSpec { width: 160, height: 90, ..SampleSpec::default() });
    let mut played = Unpaced::looped(&clip, Some(scratch.store()), false);
    played.play(1000);
    let pictures = |path: &Path| {
        let tags = Unpaced::looped(path, None, false).play(2000);
        bodies(&tags, TagKind::Video)
    };
    let of_other = pictures(&other);
    // A reel is not kept if its source is replaced before that.
    let data = scratch.reel_data();
    fs::rename(&other, &clip).expect("the same directory");
    File::create(data).expect("it is ours");
    let mut tags = Vec::new();
    played.play_until(SourceMode::Direct, 3000, &mut tags);
    tags.append(&mut played.play(1500));
    let video: Vec<_> = tags.iter().filter(|tag| tag.is_video()).collect();
    let header = video.iter().position(|tag| tag.is_sequence_header()).expect("a new header");
    let is_other = |tag: &&&Tag| of_other.contains(&tag.body.to_bytes());
    assert!(!video[..header].iter().any(|tag| is_other(&tag)), "a picture before its header");
    assert!(video[header + 1..].iter().filter(is_other).count() > 10);
}
