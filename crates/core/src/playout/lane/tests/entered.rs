//! Files that are begun in the middle: from a reel and directly, in copy, as sound alone, and in a list.

use super::*;

/// Plays a loop that is begun `from` into its file.
fn entered(path: &Path, store: Option<Store>, tracks: Tracks, from: Duration, millis: i64) -> Vec<Tag> {
    let supply = supply(store, tracks);
    let ready = loop {
        let ready = supply.ready(path, Use::Loop, from).expect("it can be played");
        if supply.store.is_none() || ready.item.reel().is_some_and(|reel| reel.is_complete()) {
            break ready;
        }
        std::thread::yield_now();
    };
    let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
    Unpaced::begun(lane, supply, ready, from).play(millis)
}

#[test]
fn a_file_is_begun_at_the_keyframe_before_the_place_from_a_reel_and_directly() {
    let scratch = Scratch::new();
    let spec = SampleSpec { seconds: 6.0, b_frames: 2, ..SampleSpec::default() };
    for name in ["clip.mp4", "clip.mkv", "clip.flv"] {
        let clip = scratch.clip(name, &spec);
        let whole = bodies(&entered(&clip, None, Tracks::Both, Duration::ZERO, 6500), TagKind::Video);
        for (mode, store) in [("direct", None), ("reel", Some(scratch.store()))] {
            let what = format!("{name} {mode}");
            let tags = entered(&clip, store, Tracks::Both, Duration::from_millis(3400), 20_000);
            check_loop(&what, &tags, 40.0, 64.0 / 3.0);
            let played = bodies(&tags, TagKind::Video);
            // The keyframe at 3 s is picture 75; from there on it goes round.
            let expected = (75..).map(|number: usize| &whole[number % 150]);
            assert!(played.iter().zip(expected).all(|(played, expected)| played == expected), "{what}");
            let (video, audio) = (times(&tags, TagKind::Video), times(&tags, TagKind::Audio));
            assert_eq!(video[0], 0, "{what}");
            assert!((0..=22).contains(&audio[0]), "{what}: sound begins at {}", audio[0]);
            assert!(tags[0].is_metadata() || tags[0].is_sequence_header(), "{what}");
        }
    }
}

#[test]
fn a_place_behind_the_end_is_the_last_keyframe() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &SampleSpec::default());
    let whole = bodies(&entered(&clip, None, Tracks::Both, Duration::ZERO, 3000), TagKind::Video);
    for (mode, store) in [("direct", None), ("reel", Some(scratch.store()))] {
        let beyond = entered(&clip, store, Tracks::Both, Duration::from_secs(100), 4000);
        assert_eq!(bodies(&beyond, TagKind::Video)[0], whole[25], "{mode}");
        check_loop(mode, &beyond, 40.0, 64.0 / 3.0);
    }
}

#[test]
fn sound_alone_is_begun_where_it_was() {
    let scratch = Scratch::new();
    let spec = SampleSpec { video: false, audio_seconds: Some(6.0), ..SampleSpec::default() };
    let clip = scratch.clip("clip.m4a", &spec);
    let whole = bodies(&entered(&clip, None, Tracks::Audio, Duration::ZERO, 6000), TagKind::Audio);
    for (mode, store) in [("direct", None), ("reel", Some(scratch.store()))] {
        let tags = entered(&clip, store, Tracks::Audio, Duration::from_millis(3400), 9000);
        let played = bodies(&tags, TagKind::Audio);
        let at = whole.iter().position(|body| *body == played[0]).expect("a frame of the file");
        // 46.875 frames a second.
        assert!((150..=160).contains(&at), "{mode}: begins with frame {at}");
        let times = times(&tags, TagKind::Audio);
        assert!(times.windows(2).all(|pair| (20..=23).contains(&(pair[1] - pair[0]))), "{mode}");
    }
}

#[test]
fn a_list_is_begun_with_its_item_and_what_was_before_counts_as_played() {
    let scratch = Scratch::new();
    let of = |name: &str, width| scratch.clip(name, &SampleSpec { width, ..SampleSpec::default() });
    let paths = [of("a.mp4", 64), of("b.mp4", 96), of("c.mp4", 128)];
    for (once, wanted) in [(true, &["b.mp4", "c.mp4"][..]), (false, &["b.mp4", "c.mp4", "a.mp4"][..])] {
        let list = Playlist::files(&paths);
        let list = if once { list.once() } else { list };
        let mut notices = Vec::new();
        let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
        let from = Duration::from_millis(1200);
        let sequencer =
            Sequencer::list(lane, supply(None, Tracks::Both), (&list, Some(1)), from, &mut notices)
                .expect("it plays");
        let mut played = Unpaced { notices, ..Unpaced::of(sequencer) };
        // On a busy machine an item may go round until the next one is open.
        let items = |notices: &[EventKind]| -> Vec<String> {
            let started = notices.iter().filter_map(|notice| match notice {
                EventKind::ItemStarted { path } => path.file_name().and_then(|name| name.to_str()),
                _ => None,
            });
            started.map(str::to_owned).collect()
        };
        let kinds = |notices: &[EventKind]| {
            let mut items = items(notices);
            items.dedup();
            items
        };
        let mut ended = false;
        while played.due < 60_000 && !ended && kinds(&played.notices).len() < 3 {
            let now = Instant::now();
            match played.sequencer.pull(now, played.due, false, &mut played.turn, &mut played.notices) {
                SequencerState::Due => played.due += 100,
                SequencerState::Ended => ended = true,
                SequencerState::Failed(error) => panic!("{error}"),
                SequencerState::More | SequencerState::Dry => std::thread::yield_now(),
            }
        }
        assert_eq!(kinds(&played.notices), wanted);
        assert_eq!(ended, once);
        // From 1 s of the second on, 1 s of it and 2 s of the third are left.
        if items(&played.notices) == wanted {
            assert!((2900..=3200).contains(&played.due), "ended at {}", played.due);
        }
    }
}
