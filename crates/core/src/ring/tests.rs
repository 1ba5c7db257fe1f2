use bytes::Bytes;
use flowcast_rtmp::flv::tag::TagKind;

use super::*;

fn frame(ms: i64, keyframe: bool, bytes: usize) -> Tag {
    let mut body = vec![0; bytes.max(5)];
    body[..2].copy_from_slice(&[if keyframe { 0x17 } else { 0x27 }, 1]);
    Tag::from_wire(TagKind::Video, MediaTime::from_millis(ms), Bytes::from(body))
}

fn header(tail: u8) -> Tag {
    Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::copy_from_slice(&[0x17, 0, 0, 0, 0, tail]))
}

fn ring(keep_gop: bool) -> Ring {
    let mut ring = Ring::new(BacklogConfig::default(), keep_gop);
    ring.push(header(1));
    ring
}

#[test]
fn the_gop_cache_begins_with_the_newest_keyframe_and_its_own_headers() {
    let mut ring = ring(true);
    for ms in 0..100 {
        if ms == 50 {
            ring.push(header(2));
        }
        ring.push(frame(ms * 40, ms % 25 == 0, 100));
        ring.trim(ring.end());
    }
    let join = ring.newest_join().expect("there were keyframes");
    assert_eq!(ring.start(), join);
    let mut found = None;
    ring.read(join, &mut |read| {
        let Read::Tag(entry) = read else { panic!("nothing is lost") };
        found = Some(entry.clone());
        false
    });
    let entry = found.expect("it is kept");
    assert_eq!((entry.number, entry.message.tag().timestamp.as_millis()), (join, 75 * 40));
    let headers = entry.join.expect("a keyframe is a place to join");
    assert_eq!(headers.at(MediaTime::ZERO).find(Tag::is_video).and_then(|tag| tag.body.byte(5)), Some(2));
    assert_eq!(ring.end() - join, 25);
}

#[test]
fn without_players_nothing_is_kept_that_all_outputs_have_sent() {
    let mut ring = ring(false);
    for ms in 0..100 {
        ring.push(frame(ms * 40, ms == 0, 100));
    }
    ring.trim(90);
    assert_eq!((ring.start(), ring.newest_join()), (90, None));
    ring.trim(ring.end());
    assert_eq!(ring.bytes(), 0);
}

#[test]
fn each_bound_holds_for_an_output_that_never_reads() {
    let bounds = BacklogConfig::default();
    let mut ring = ring(true);
    for ms in 0..4000 {
        ring.push(frame(ms, ms == 0, 10));
        ring.trim(0);
    }
    assert_eq!(ring.end() - ring.start(), bounds.tags as u64);
    for ms in 4000..4300 {
        ring.push(frame(ms, false, 100_000));
        ring.trim(0);
    }
    assert!(ring.bytes() <= bounds.bytes);
    ring.push(frame(60_000, false, 10));
    ring.trim(0);
    assert_eq!(ring.end() - ring.start(), 1);
}

#[test]
fn a_tag_larger_than_the_ring_is_there_for_all_who_keep_up() {
    let bounds = BacklogConfig { bytes: 1 << 20, ..BacklogConfig::default() };
    let mut ring = Ring::new(bounds, false);
    ring.push(header(1));
    ring.push(frame(0, true, 2 << 20));
    ring.push(frame(40, false, 2 << 20));
    ring.push(frame(80, false, 100));
    assert_eq!(read_all(&ring, 0), (vec![(0, 0), (1, 0), (2, 40), (3, 80)], 0), "in the turn they came in");
    ring.trim(1);
    assert_eq!((ring.start(), ring.end()), (3, 4), "who was behind has lost them");
    ring.push(frame(120, true, 2 << 20));
    ring.end_turn();
    ring.trim(4);
    assert_eq!(read_all(&ring, 4), (vec![(4, 120)], 0), "it is not forgotten for its size alone");
}

/// The numbers and times a reader gets from `from` on, and how many tags were lost.
fn read_all(ring: &Ring, from: u64) -> (Vec<(u64, i64)>, u64) {
    let (mut found, mut lost) = (Vec::new(), 0);
    ring.read(from, &mut |read| {
        match read {
            Read::Tag(entry) => found.push((entry.number, entry.message.tag().timestamp.as_millis())),
            Read::Lost(count) => lost += count,
        }
        true
    });
    (found, lost)
}

#[test]
fn tags_that_can_be_made_again_are_not_kept_and_are_the_same_again() {
    let tape = tape::Tape::new(20);
    let (mut all, mut straight) = (Vec::new(), Vec::new());
    let mut ring = ring(false);
    for slot in 0..40 {
        // What cannot be made again may come between batches.
        if slot % 7 == 3 {
            ring.push(header(slot as u8));
        }
        tape.play(slot, &mut ring);
        let before = all.last().map_or(0, |&(number, _)| number + 1);
        all.extend(read_all(&ring, before).0);
        ring.read(before, &mut |read| {
            straight.push(format!("{read:?}"));
            true
        });
        ring.trim(0);
        assert_eq!(tape.in_memory(), 0);
    }
    assert!(all.iter().map(|&(number, _)| number).eq(0..ring.end()), "no number is missing");
    assert_eq!(tape.reads(), 0);
    for from in [0, 1, 5, 11, 100, ring.end() - 1, ring.end()] {
        assert_eq!(read_all(&ring, from).0, all[from as usize..]);
    }
    let mut again = Vec::new();
    ring.read(0, &mut |read| {
        again.push(format!("{read:?}"));
        true
    });
    assert!(again == straight, "headers, joins and chunks are what they were");
    ring.end_turn();
    assert_eq!(tape.in_memory(), 0);
    ring.trim(ring.end());
    assert_eq!(ring.bytes(), 0);
}

#[test]
fn outputs_that_are_equally_far_behind_share_one_read() {
    let tape = tape::Tape::new(20);
    let mut ring = ring(false);
    (0..3).for_each(|slot| tape.play(slot, &mut ring));
    ring.end_turn();
    for _ in 0..5 {
        let mut left = 6;
        ring.read(4, &mut |_| {
            left -= 1;
            left > 0
        });
    }
    assert_eq!(tape.reads(), 1);
}

#[test]
fn a_batch_that_cannot_be_made_again_is_lost_and_told_of_once() {
    let tape = tape::Tape::new(20);
    let mut ring = ring(false);
    (0..3).for_each(|slot| tape.play(slot, &mut ring));
    ring.end_turn();
    tape.tear(1);
    let (found, lost) = read_all(&ring, 0);
    assert_eq!((found.len() as u64, lost), (1 + 2 * tape::SLOT_TAGS, tape::SLOT_TAGS));
    assert!(found.windows(2).any(|pair| pair[1].0 - pair[0].0 == tape::SLOT_TAGS + 1));
    assert!(ring.take_fault().is_some());
    // The second output does not try it again.
    let reads = tape.reads();
    assert_eq!(read_all(&ring, 15).1, 6);
    assert_eq!((tape.reads(), ring.take_fault().is_none()), (reads, true));
}

#[test]
fn the_bounds_hold_for_what_can_be_made_again() {
    let tape = tape::Tape::new(20);
    let mut ring = ring(false);
    for slot in 0..400 {
        tape.play(slot, &mut ring);
        ring.trim(0);
    }
    let seconds = BacklogConfig::default().media.as_secs();
    assert_eq!(ring.end() - ring.start(), seconds * 10 * tape::SLOT_TAGS);
    assert!(ring.bytes() < 40 << 10, "{} bytes", ring.bytes());
    assert_eq!(read_all(&ring, 0).0.len() as u64, ring.end() - ring.start());
}

#[test]
fn players_of_a_reel_join_at_a_keyframe_that_is_made_again() {
    let tape = tape::Tape::new(20);
    let mut ring = ring(true);
    for slot in 0..47 {
        tape.play(slot, &mut ring);
        ring.trim(ring.end());
    }
    let join = ring.newest_join().expect("there were keyframes");
    assert!(ring.start() == join && tape.in_memory() == 0);
    assert_eq!(read_all(&ring, join).0.first(), Some(&(join, 4005)));
}

#[test]
fn between_turns_a_reel_has_no_room_of_its_own() {
    let tape = tape::Tape::new(20);
    let mut ring = ring(false);
    for slot in 0..30 {
        tape.play(slot, &mut ring);
        assert!(ring.entries.capacity() > 0);
        ring.trim(ring.end());
        assert_eq!((ring.entries.capacity(), ring.batches.len(), ring.bytes()), (0, 0, 0));
    }
}

#[test]
fn the_newest_keyframe_of_a_live_stream_is_kept_while_it_is_asked_for() {
    let mut ring = ring(false);
    let play = |ring: &mut Ring, from: i64, to: i64| {
        for ms in (from..to).step_by(40) {
            ring.push(frame(ms, ms % 2000 == 0, 100));
            ring.trim(ring.end());
        }
    };
    play(&mut ring, 0, 3000);
    assert!(ring.kept_keyframe().is_none() && ring.bytes() == 0, "nobody asked");
    assert!(ring.keyframe().is_none(), "it is to come");
    play(&mut ring, 3000, 5000);
    let keyframe = ring.keyframe().expect("it came after it was asked for");
    assert_eq!((keyframe.tag.timestamp.as_millis(), keyframe.behind), (4000, 960));
    assert!(keyframe.headers.has_video() && ring.bytes() == 0);
    play(&mut ring, 5000, 64_000);
    assert_eq!(ring.kept_keyframe().map(|keyframe| keyframe.tag.timestamp.as_millis()), Some(62_000));
    play(&mut ring, 64_000, 68_000);
    assert!(ring.kept_keyframe().is_none(), "nobody has asked for a minute");
}

#[test]
fn the_newest_keyframe_of_a_reel_is_made_again_and_takes_no_memory() {
    let tape = tape::Tape::new(20);
    let mut ring = ring(false);
    for slot in 0..47 {
        tape.play(slot, &mut ring);
        ring.trim(ring.end());
    }
    assert_eq!(tape.in_memory(), 0);
    let keyframe = ring.keyframe().expect("it can be made again");
    assert_eq!((keyframe.tag.timestamp.as_millis(), tape.reads()), (4005, 1));
    assert_eq!(keyframe.tag.body.len(), 8 * tape::FRAME);
    drop(keyframe);
    ring.end_turn();
    assert_eq!(tape.in_memory(), 0);
}

#[test]
fn sound_alone_is_told_from_a_picture_that_is_still_to_come() {
    let mut ring = Ring::new(BacklogConfig::default(), false);
    let sound =
        |ms| Tag::from_wire(TagKind::Audio, MediaTime::from_millis(ms), Bytes::from_static(&[0x2F, 1, 2]));
    for ms in (0..2000).step_by(20) {
        ring.push(sound(ms));
        assert!(!ring.is_sound_alone(), "{ms}");
    }
    ring.push(sound(2000));
    assert!(ring.is_sound_alone() && ring.keyframe().is_none() && ring.keyframe_number().is_none());
    ring.push(header(1));
    assert!(!ring.is_sound_alone());
}

#[test]
fn what_is_to_be_kept_for_clips_is_kept_from_a_keyframe_on() {
    let bounds = BacklogConfig { keep: Duration::from_secs(30), ..BacklogConfig::default() };
    let mut ring = Ring::new(bounds, false);
    for ms in (0..100_000).step_by(20) {
        ring.push(frame(ms, ms % 2000 == 0, 1000));
        ring.trim(ring.end());
    }
    let oldest = ring.time_of(ring.start()).map(MediaTime::as_millis);
    assert_eq!(oldest, Some(68_000), "the newest keyframe that is 30 s old");
    let found = |seconds| ring.join_before(Duration::from_secs(seconds)).map(|(_, at)| at.as_millis());
    assert_eq!([0, 5, 30, 300].map(found), [98_000, 94_000, 68_000, 68_000].map(Some));
    let tape = tape::Tape::new(20);
    let bounds = BacklogConfig { keep: Duration::from_secs(30), ..BacklogConfig::default() };
    let mut ring = Ring::new(bounds, false);
    ring.push(tape::Tape::header());
    for slot in 0..1000 {
        tape.play(slot, &mut ring);
        ring.trim(ring.end());
    }
    assert!(ring.bytes() < 120 << 10 && tape.in_memory() == 0, "{} bytes", ring.bytes());
    assert_eq!(read_all(&ring, ring.start()).0.first().map(|tag| tag.1), Some(68_005));
}

#[test]
fn the_bytes_that_are_kept_for_clips_are_bounded() {
    let keep = Duration::from_secs(30);
    let bounds = BacklogConfig { keep, keep_bytes: 1 << 20, bytes: 1 << 20, ..BacklogConfig::default() };
    let mut ring = Ring::new(bounds, false);
    for ms in (0..100_000).step_by(20) {
        ring.push(frame(ms, ms % 2000 == 0, 10_000));
        ring.trim(ring.end());
    }
    assert!((1 << 20..=2 << 20).contains(&ring.bytes()), "{}", ring.bytes());
    assert!(ring.join_before(keep).is_some_and(|(number, _)| number >= ring.start()));
}
