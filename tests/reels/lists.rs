//! Lists with items that cannot be played, and items that do not go together.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::playlist::{NothingPlays, ParameterChange};
use flowcast::rtmp::flv::TagKind;
use flowcast::{Playlist, Source};
use tempfile::TempDir;

use crate::{Air, assert_headers, assert_steady};
use kit::rig::{Known, both_ways};
use kit::scripted::Seen;
use kit::{box_at, wait_until};

/// A sound file of a kind that no track of can be sent: WAV with plain samples.
fn wav() -> Vec<u8> {
    let samples: u32 = 8000;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + samples).to_le_bytes());
    file.extend(b"WAVEfmt ");
    // Plain samples, one channel, 8000 a second, one byte each.
    file.extend([16, 0, 0, 0, 1, 0, 1, 0, 64, 31, 0, 0, 64, 31, 0, 0, 1, 0, 8, 0]);
    file.extend(b"data");
    file.extend(samples.to_le_bytes());
    file.extend(vec![128; samples as usize]);
    file
}

/// A clip of one second, with the pictures of no other width.
fn clip(width: u32, change: impl FnOnce(&mut SampleSpec)) -> Known {
    let mut spec = SampleSpec { width, height: 90, seconds: 1.0, gop_frames: 25, ..SampleSpec::default() };
    change(&mut spec);
    Known::made(&spec)
}

/// From which of the clips the pictures come, one entry for each run of them.
fn played(tags: &[Seen], clips: &[&Known]) -> Vec<(usize, usize)> {
    let sets: Vec<HashSet<u64>> =
        clips.iter().map(|clip| clip.pictures().iter().copied().collect()).collect();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for tag in tags.iter().filter(|tag| tag.is_picture()) {
        let of = sets.iter().position(|set| set.contains(&tag.hash)).expect("a picture of one of the clips");
        match runs.last_mut() {
            Some((last, count)) if *last == of && *count < sets[of].len() => *count += 1,
            _ => runs.push((of, 1)),
        }
    }
    runs
}

#[test]
fn items_that_cannot_be_played_are_left_out_and_told_once() {
    let (first, last) = (clip(160, |_| {}), clip(192, |_| {}));
    let beside = |name: &str| first.beside(name);
    fs::create_dir(beside("directory.mp4")).expect("there is room");
    fs::write(beside("empty.mp4"), "").expect("there is room");
    fs::write(beside("text.mp4"), "no media at all\n".repeat(500)).expect("there is room");
    fs::write(beside("plain.wav"), wav()).expect("there is room");
    let broken = ["missing.mp4", "directory.mp4", "empty.mp4", "text.mp4", "plain.wav"];
    both_ways(|mode, engine, _| {
        let items: Vec<PathBuf> =
            [first.file.clone()].into_iter().chain(broken.map(beside)).chain([last.file.clone()]).collect();
        let air = Air::start(engine, Source::playlist(Playlist::files(items)));
        air.wait_times("plays", 5);
        let told = air.told_of_items();
        println!("{mode}: {told:#?}");
        let begin = [
            "plays clip.mp4",
            "skips missing.mp4 INPUT_NOT_FOUND",
            "skips directory.mp4 INPUT_NOT_A_FILE",
            "skips empty.mp4 INPUT_EMPTY",
            "skips text.mp4 INPUT_INVALID",
            "skips plain.wav NO_PLAYABLE_TRACK",
        ];
        assert_eq!(told[..begin.len()], begin, "{mode}");
        assert!(told[begin.len()..].iter().all(|told| told == "plays clip.mp4"), "{mode}: {told:#?}");
        let tags = air.stop();
        let runs = played(&tags, &[&first, &last]);
        assert!(runs.len() >= 4, "{mode}: {runs:?}");
        assert!(runs.iter().rev().skip(1).all(|(_, pictures)| *pictures == 25), "{mode}: {runs:?}");
        assert!(runs.windows(2).all(|pair| pair[0].0 != pair[1].0), "{mode}: {runs:?}");
        assert_headers(&tags);
        assert_steady(&tags, TagKind::Video, 60);
        assert_steady(&tags, TagKind::Audio, 60);
    });
}

#[test]
fn a_file_that_vanishes_is_played_if_it_was_ready_and_left_out_from_then_on() {
    both_ways(|mode, engine, _| {
        let (first, second) = (clip(160, |spec| spec.seconds = 3.0), clip(192, |_| {}));
        let list = Playlist::files([&first.file, &second.file]);
        let air = Air::start(engine, Source::playlist(list));
        if mode == "reel" {
            let ready =
                || engine.reel_store_stats().is_some_and(|stats| stats.reels == 2 && stats.in_use == 2);
            assert!(wait_until(crate::PATIENCE, ready), "{:?}", engine.reel_store_stats());
        } else {
            // It is opened as soon as the first one was read to its end, which is long before it is over.
            air.wait_times("plays", 2);
        }
        fs::remove_file(&second.file).expect("it can be removed");
        air.wait("skips clip.mp4 INPUT_NOT_FOUND");
        air.wait_times("plays", 4);
        let told = air.told_of_items();
        assert_eq!(
            told[..4],
            ["plays clip.mp4", "plays clip.mp4", "plays clip.mp4", "skips clip.mp4 INPUT_NOT_FOUND"]
        );
        let runs = played(&air.stop(), &[&first, &second]);
        assert_eq!(runs[..3], [(0, 75), (1, 25), (0, 75)], "{mode}");
    });
}

#[test]
fn a_list_of_broken_items_is_tried_again_without_haste() {
    both_ways(|mode, engine, _| {
        let clip = clip(160, |_| {});
        let hidden = clip.beside("hidden.mp4");
        let broken = clip.beside("broken.mp4");
        fs::write(&broken, "no media at all").expect("there is room");
        let list = Playlist::files([&clip.file, &broken]).nothing_plays(NothingPlays::Wait);
        let air = Air::start(engine, Source::playlist(list));
        fs::rename(&clip.file, &hidden).expect("the same directory");
        air.wait("stalled");
        let told = air.told();
        println!("{mode}: {told:?}; {}", air.live.stats());
        assert!(air.live.stats().cpu_percent < 20.0, "{}", air.live.stats());
        // On the air again as soon as there is something.
        fs::rename(&hidden, &clip.file).expect("the same directory");
        air.wait("plays again");
        air.wait_more(50);
        let mut skips = air.told();
        skips.retain(|told| told.starts_with("skips"));
        skips.sort_unstable();
        assert_eq!(skips, ["skips broken.mp4 INPUT_INVALID", "skips clip.mp4 INPUT_NOT_FOUND"], "{mode}");
        let tags = air.stop();
        assert_steady(&tags, TagKind::Video, 60_000);
        let runs = played(&tags, &[&clip]);
        assert!(runs.len() >= 3, "{mode}: {runs:?}");
    });
}

#[test]
fn files_that_open_but_cannot_be_read_do_not_make_a_list_spin() {
    // The index is whole and at the front, and nothing of what it points to is there.
    let whole = clip(160, |spec| spec.muxer.options = vec![("movflags".to_owned(), "faststart".to_owned())]);
    let content = fs::read(&whole.file).expect("it is there");
    let mdat = box_at(&content, b"mdat");
    for name in ["a.mp4", "b.mp4"] {
        fs::write(whole.beside(name), &content[..mdat + 8]).expect("there is room");
    }
    both_ways(|mode, engine, _| {
        let list = Playlist::files([whole.file.clone(), whole.beside("a.mp4"), whole.beside("b.mp4")]);
        let id = list.items()[0].id;
        let air = Air::start(engine, Source::playlist(list.clone().nothing_plays(NothingPlays::Wait)));
        assert!(list.remove(id));
        air.wait("stalled");
        let told = air.told();
        println!("{mode}: {told:?}; {}", air.live.stats());
        assert!(air.live.stats().cpu_percent < 20.0, "{}", air.live.stats());
        assert_eq!(told.iter().filter(|told| told.starts_with("skips")).count(), 2, "{mode}: {told:?}");
        air.stop();
    });
}

#[test]
fn items_of_other_parameters_bring_their_headers() {
    let first = clip(160, |_| {});
    let second = clip(192, |spec| (spec.fps, spec.audio, spec.b_frames) = (30, Some((44_100, 1)), 2));
    both_ways(|mode, engine, _| {
        let list = Playlist::files([&first.file, &second.file]).on_change(ParameterChange::Allow);
        let air = Air::start(engine, Source::playlist(list));
        air.wait_times("plays", 5);
        air.wait_more(5);
        let tags = air.stop();
        let runs = played(&tags, &[&first, &second]);
        assert_eq!(runs[..4], [(0, 25), (1, 30), (0, 25), (1, 30)], "{mode}");
        assert_eq!(assert_headers(&tags), runs.len(), "{mode}: one header for each item");
        let sound = tags.iter().filter(|tag| tag.kind == TagKind::Audio && tag.header).count();
        assert_eq!(sound, runs.len(), "{mode}");
        let metadata = tags.iter().filter(|tag| tag.kind == TagKind::Script).count();
        assert_eq!(metadata, runs.len(), "{mode}");
        assert_steady(&tags, TagKind::Video, 60);
        assert_steady(&tags, TagKind::Audio, 50);
        assert!(tags.windows(2).all(|pair| pair[1].time > pair[0].time - 150), "{mode}: out of order");
    });
}

#[test]
fn items_of_other_parameters_are_refused_where_that_is_asked() {
    let (first, other) = (clip(160, |_| {}), clip(192, |_| {}));
    let third = first.beside("third.mp4");
    fs::copy(&first.file, &third).expect("there is room");
    both_ways(|mode, engine, _| {
        let list = Playlist::files([&first.file, &other.file, &third]).on_change(ParameterChange::Refuse);
        let air = Air::start(engine, Source::playlist(list));
        air.wait_times("plays clip.mp4", 2);
        air.wait_times("plays third.mp4", 2);
        let told = air.told_of_items();
        let begin = ["plays clip.mp4", "skips clip.mp4 PARAMETERS_DIFFER", "plays third.mp4"];
        let then = ["plays clip.mp4", "plays third.mp4"];
        let expected: Vec<_> = begin.iter().chain(then.iter().cycle()).take(told.len()).collect();
        assert_eq!(told.iter().collect::<Vec<_>>(), expected, "{mode}");
        let tags = air.stop();
        assert_eq!(assert_headers(&tags), 1, "{mode}");
        let runs = played(&tags, &[&first]);
        assert_eq!(runs[..3], [(0, 25), (0, 25), (0, 25)], "{mode}");
        assert_steady(&tags, TagKind::Video, 60);
        assert_steady(&tags, TagKind::Audio, 50);
    });
}

#[test]
fn an_item_without_sound_is_silent() {
    let first = clip(160, |_| {});
    let silent = clip(192, |spec| (spec.audio, spec.seconds) = (None, 1.5));
    both_ways(|mode, engine, _| {
        let list = Playlist::files([&first.file, &silent.file]);
        let air = Air::start(engine, Source::playlist(list));
        air.wait_times("plays", 4);
        let tags = air.stop();
        assert_eq!(air_runs(&tags, &first, &silent), [(0, 25), (1, 38), (0, 25)], "{mode}");
        // Read directly, an item behind one without sound may begin with its priming.
        assert_steady(&tags, TagKind::Video, if mode == "reel" { 60 } else { 65 });
        let sound = assert_steady(&tags, TagKind::Audio, 50);
        let mut counts = std::collections::HashMap::new();
        for tag in tags.iter().filter(|tag| tag.kind == TagKind::Audio && !tag.header) {
            *counts.entry(tag.hash).or_insert(0) += 1;
        }
        // One frame of silence, over and over.
        let silence = counts.values().max().copied().unwrap_or(0);
        println!("{mode}: {sound} frames of sound, {silence} of them silent");
        assert!((68..=90).contains(&silence), "{mode}: {silence} of {sound}");
    });
}

fn air_runs(tags: &[Seen], first: &Known, second: &Known) -> Vec<(usize, usize)> {
    let mut runs = played(tags, &[first, second]);
    runs.truncate(3);
    runs
}

#[test]
fn a_list_that_is_played_once_ends_well() {
    both_ways(|mode, engine, _| {
        let directory = TempDir::new().expect("a temporary directory");
        let (first, last) = (clip(160, |_| {}), clip(192, |_| {}));
        let missing = directory.path().join("missing.mp4");
        let list = Playlist::files([&first.file, &missing, &last.file]).once();
        let air = Air::start(engine, Source::playlist(list));
        let ended = air.live.wait_timeout(Duration::from_secs(20)).expect("it ends");
        assert!(ended.is_ok(), "{mode}: {ended:?}");
        air.wait("ended well");
        let told = air.told_of_items();
        assert_eq!(
            told,
            ["plays clip.mp4", "skips missing.mp4 INPUT_NOT_FOUND", "plays clip.mp4", "ended well"],
            "{mode}"
        );
        assert!(wait_until(crate::PATIENCE, || air.server.visits()[0].closed.is_some()));
        let tags = crate::sent(&air.server);
        assert_eq!(played(&tags, &[&first, &last]), [(0, 25), (1, 25)], "{mode}");
        // Nothing of the sound is missing at the end.
        let end = |kind| tags.iter().rfind(|tag| tag.kind == kind).map_or(0, |tag| tag.time);
        assert!((end(TagKind::Video) - end(TagKind::Audio)).abs() < 100, "{mode}");
    });
}

#[test]
fn a_list_without_any_item_that_can_be_played_is_refused() {
    let clip = Known::small();
    both_ways(|mode, engine, _| {
        let list = Playlist::files([clip.beside("missing.mp4"), clip.directory.path().to_owned()]);
        let started = engine.stream(Source::playlist(list)).record(clip.beside(mode)).start();
        let error = started.expect_err("there is nothing to play");
        println!("{mode}: {}", flowcast::error::chain(&error));
        assert_eq!(error.code(), "PLAYLIST_INVALID");
        assert!(!clip.beside(mode).exists());
    });
}
