//! Publishers whose tracks have clocks of their own, or times that do not go on.

use crate::air::{Air, frames, headers, recorded, send, sink, sound, tags, wait_pushed};
use flowcast::EventKind;
use flowcast::rtmp::flv::{Tag, TagKind};
use kit::PATIENCE;

/// The times of the frames of a kind.
fn times<'a>(tags: impl IntoIterator<Item = &'a Tag>, kind: TagKind) -> Vec<i64> {
    let frames = tags.into_iter().filter(|tag| tag.kind == kind && !tag.is_header());
    frames.map(|tag| tag.timestamp.as_millis()).collect()
}

#[track_caller]
fn assert_together(tags: &[&Tag], of: &str) {
    let (pictures, sounds) =
        (times(tags.iter().copied(), TagKind::Video), times(tags.iter().copied(), TagKind::Audio));
    assert!(
        pictures.len() >= 60 && sounds.len() >= 60,
        "{of}: {} pictures, {} sounds",
        pictures.len(),
        sounds.len()
    );
    for track in [&pictures, &sounds] {
        assert!(track.windows(2).all(|pair| pair[1] - pair[0] == 40), "{of}: {track:?}");
    }
    assert!(
        (pictures[0] - sounds[0]).abs() <= 500,
        "{of}: pictures from {}, sound from {}",
        pictures[0],
        sounds[0]
    );
}

#[test]
fn a_track_far_ahead_of_the_other_is_brought_to_it_whichever_comes_first() {
    const HALF: i64 = 1 << 31;
    for (video, audio) in [
        (0, 8_000),
        (8_000, 0),
        (0, 60_000),
        (60_000, 0),
        (0, 1_000_000_000),
        (0, HALF - 1_000),
        (2 * HALF - 1_000, HALF),
    ] {
        for sound_first in [true, false] {
            let of = format!("pictures at {video}, sound at {audio}, sound first: {sound_first}");
            let air = Air::start();
            let server = sink();
            let (restream, path) = air.restream(&server, |push| push, |file| file);
            let mut publisher = air.publisher();
            let mut first = frames(0..100, video, audio);
            if sound_first {
                first.chunks_mut(2).for_each(<[Tag]>::reverse);
            }
            // One is there a little before the other.
            let alone = first.remove(1);
            assert_ne!(alone.is_audio(), sound_first);
            send(&mut publisher, headers().into_iter().chain(first));
            let mut player = air.player();
            let jumped = air.told(|kind| match kind {
                EventKind::ClockJumped { millis } => Some(*millis),
                _ => None,
            });
            assert!(jumped.abs() >= 7_500, "{of}: {jumped}");
            // Who is many seconds behind is thrown out: what comes next is sent when the player has what came before. It began
            // with the last keyframe at the latest, and a few frames wait for those of the other track.
            let mut seen = 20;
            air.wait_frames(&mut player, TagKind::Video, seen);
            for second in 4..8 {
                send(&mut publisher, frames(second * 25..(second + 1) * 25, video, audio));
                seen += 25;
                air.wait_frames(&mut player, TagKind::Video, seen);
                air.wait_frames(&mut player, TagKind::Audio, seen - 20);
            }
            wait_pushed(&server, TagKind::Video, 1);
            wait_pushed(&server, TagKind::Audio, 1);
            let media = tags(&player);
            assert_together(&media, &of);
            drop(publisher);
            restream.stop(PATIENCE).expect("it ends well");
            let recording = recorded(&path);
            assert!(!times(&recording, TagKind::Audio).is_empty(), "{of}");
            assert_eq!(air.count(|kind| matches!(kind, EventKind::ClockJumped { .. })), 1, "{of}");
        }
    }
}

#[test]
fn times_that_stand_still_or_go_round_go_on_by_arrival() {
    for round in [1, 20] {
        let air = Air::start();
        let server = sink();
        let (restream, path) = air.restream(&server, |push| push, |file| file);
        let mut publisher = air.publisher();
        send(&mut publisher, headers());
        let mut n = 0;
        let mut player = None;
        // As long as it takes for a second to pass on the stream's clock; it ends because time passes.
        let passed = |player: &Option<_>| {
            let tags: Option<Vec<&Tag>> = player.as_ref().map(tags);
            tags.map_or(0, |tags| times(tags, TagKind::Video).last().copied().unwrap_or(0))
        };
        while passed(&player) < 1_500 {
            let all = frames(n..n + 1, 0, 0);
            let moved = all.into_iter().map(|mut tag| {
                tag.timestamp = sound(n % round * 40).timestamp;
                tag
            });
            send(&mut publisher, moved);
            let player = player.get_or_insert_with(|| air.player());
            let _ = player.send();
            assert!(matches!(player.read(), Ok(true)), "the player is thrown out");
            n += 1;
            std::thread::park_timeout(std::time::Duration::from_millis(5));
            assert!(n < 10_000, "time stands still: {:?}", tags(player));
        }
        air.told(|kind| matches!(kind, EventKind::ClockUnsteady).then_some(()));
        let player = player.expect("it joined");
        wait_pushed(&server, TagKind::Video, 1);
        drop(publisher);
        restream.stop(PATIENCE).expect("it ends well");
        let recording = recorded(&path);
        for (tags, of) in [(tags(&player), "player"), (recording.iter().collect(), "recording")] {
            for kind in [TagKind::Video, TagKind::Audio] {
                let times = times(tags.iter().copied(), kind);
                assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{of}, round of {round}: {times:?}");
            }
        }
        assert_eq!(air.count(|kind| matches!(kind, EventKind::ClockUnsteady)), 1, "told once");
    }
}
