//! Files whose sequence headers change within: every frame is sent under the header it was made with, wherever playing begins.

use std::collections::HashMap;
use std::fs;

use flowcast_rtmp::flv::FlvReader;
use flowcast_rtmp::limits::Limits;

use super::*;
use crate::playlist::Playlist;
use crate::stats::SourceMode;

/// A frame, by its kind and bytes, and the header it needs.
type Needs = HashMap<(bool, Bytes), Bytes>;

fn tags_of(flv: &[u8]) -> Vec<Tag> {
    let mut reader = FlvReader::new(&Limits::file());
    reader.push_bytes(Bytes::copy_from_slice(flv));
    std::iter::from_fn(|| reader.pull().expect("a whole file")).collect()
}

/// Two FLV files of other parameters as one, of a second and a half each, and what its frames need.
fn changing(scratch: &Scratch, name: &str) -> (PathBuf, Needs) {
    const FILE_HEADER: usize = 13;
    let of = |part: &str, width, audio| {
        let spec = SampleSpec { width, seconds: 1.5, gop_frames: 12, audio, ..SampleSpec::default() };
        fs::read(scratch.clip(part, &spec)).expect("it was made")
    };
    let first = of("part1.flv", 160, Some((48_000, 2)));
    let second = of("part2.flv", 192, Some((48_000, 1)));
    let mut needs = Needs::new();
    for part in [&first, &second] {
        let tags = tags_of(part);
        for tag in tags.iter().filter(|tag| !tag.is_script() && !tag.is_sequence_header()) {
            let header = tags.iter().find(|header| header.kind == tag.kind && header.is_sequence_header());
            let header = header.expect("the track has one").body.to_bytes();
            needs.insert((tag.is_video(), tag.body.to_bytes()), header);
        }
    }
    let path = scratch.0.path().join(name);
    fs::write(&path, [&first, &second[FILE_HEADER..]].concat()).expect("there is room");
    (path, needs)
}

/// Every known frame comes under its header; says how many did.
#[track_caller]
fn assert_in_force(what: &str, tags: &[Tag], needs: &Needs) -> usize {
    let mut sent: [Option<Bytes>; 2] = [None, None];
    let mut known = 0;
    for tag in tags.iter().filter(|tag| !tag.is_script()) {
        let sent = &mut sent[usize::from(tag.is_video())];
        let body = tag.body.to_bytes();
        if tag.is_sequence_header() {
            *sent = Some(body);
        } else if let Some(header) = needs.get(&(tag.is_video(), body)) {
            known += 1;
            assert_eq!(sent.as_ref(), Some(header), "{what}: {:?} at {:?}", tag.kind, tag.timestamp);
        }
    }
    assert!(known > 40, "{what}: {known} frames of the file");
    known
}

fn headers(tags: &[Tag], kind: TagKind) -> usize {
    tags.iter().filter(|tag| tag.kind == kind && tag.is_sequence_header()).count()
}

#[test]
fn every_lap_begins_with_the_header_it_needs() {
    let scratch = Scratch::new();
    let (path, needs) = changing(&scratch, "changing.flv");
    both_ways(&path, &scratch, false, 11_000, |what, tags| {
        assert_in_force(what, tags, &needs);
        // Two in each lap of three seconds, and never the same twice.
        assert_eq!((headers(tags, TagKind::Video), headers(tags, TagKind::Audio)), (8, 8), "{what}");
        let mut video = tags.iter().filter(|tag| tag.is_video() && tag.is_sequence_header());
        let first = video.next().map(|tag| &tag.body);
        assert!(video.step_by(2).all(|tag| Some(&tag.body) != first), "{what}");
    });
}

#[test]
fn files_that_do_not_change_say_their_headers_once() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.flv", &SampleSpec::default());
    both_ways(&clip, &scratch, false, 9000, |what, tags| {
        assert_eq!((headers(tags, TagKind::Video), headers(tags, TagKind::Audio)), (1, 1), "{what}");
    });
}

#[test]
fn a_seek_brings_the_header_that_holds_there() {
    let scratch = Scratch::new();
    let (path, needs) = changing(&scratch, "changing.flv");
    let mut played = Unpaced::looped(&path, Some(scratch.store()), false);
    let mut tags = played.play(500);
    for to in [2.2, 0.0, 1.5, 1.4, 2.9, 2.5, 0.6, 2.0] {
        played.sequencer.seek(Duration::from_secs_f64(to));
        tags.append(&mut played.play(700));
    }
    // On over the seam, where the beginning's holds again.
    tags.append(&mut played.play(4000));
    assert_in_force("sought", &tags, &needs);
}

#[test]
fn a_stream_that_starts_in_the_middle_has_the_header_that_holds_there() {
    let scratch = Scratch::new();
    let (path, needs) = changing(&scratch, "changing.flv");
    let store = scratch.store();
    // The reel as it was cut, and as it is found on the disk.
    for store in [store.clone(), store] {
        let supply = supply(Some(store), Tracks::Both);
        let ready = supply.ready(&path, Use::Loop, Duration::ZERO).expect("it can be played");
        while ready.item.reel().is_some_and(|reel| !reel.is_complete()) {
            std::thread::yield_now();
        }
        let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
        let from = Duration::from_millis(2300);
        let mut played = Unpaced::begun(lane, supply, ready, from);
        let tags = played.play(4000);
        assert_in_force("from the middle", &tags, &needs);
        assert_eq!(headers(&tags, TagKind::Video), 3, "one to begin with, one for each half after the seam");
    }
}

#[test]
fn items_behind_it_are_sent_under_their_own_headers() {
    let scratch = Scratch::new();
    let (path, mut needs) = changing(&scratch, "changing.flv");
    // Of the parameters of the first half.
    let spec = SampleSpec { width: 160, gop_frames: 10, seconds: 1.0, ..SampleSpec::default() };
    let plain = scratch.clip("plain.flv", &spec);
    let tags = tags_of(&fs::read(&plain).expect("it was made"));
    for kind in [TagKind::Video, TagKind::Audio] {
        let header = tags.iter().find(|tag| tag.kind == kind && tag.is_sequence_header());
        let header = header.expect("each track has one").body.to_bytes();
        let is_video = kind == TagKind::Video;
        needs.extend(frames(&tags, kind).iter().map(|tag| ((is_video, tag.body.to_bytes()), header.clone())));
    }
    for store in [None, Some(scratch.store())] {
        let list = Playlist::files([&path, &plain, &plain]);
        let supply = supply(store, Tracks::Both);
        let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
        let sequencer = Sequencer::new(lane, Program::list(list.cursor()), supply);
        let mut played = Unpaced::of(sequencer);
        played.still = Some(Instant::now());
        let mut tags = played.play(12_000);
        // The changing item is left before and after it changes.
        for _ in 0..6 {
            list.skip();
            tags.append(&mut played.play(2200));
        }
        assert_in_force("list", &tags, &needs);
    }
}

#[test]
fn a_reel_that_is_left_in_the_middle_goes_on_under_the_header_that_holds() {
    for before in [500, 1700, 2600, 4700] {
        let scratch = Scratch::new();
        let (path, needs) = changing(&scratch, "changing.flv");
        let mut played = Unpaced::looped(&path, Some(scratch.store()), false);
        let mut tags = played.play(before);
        drop(fs::File::create(scratch.reel_data()).expect("it is ours"));
        tags.append(&mut played.play(7000));
        assert_eq!(played.sequencer.mode(), SourceMode::Direct, "{before}");
        assert_in_force("left", &tags, &needs);
        for pair in times(&tags, TagKind::Video).windows(2) {
            assert!((1..=80).contains(&(pair[1] - pair[0])), "{before}: pictures at {pair:?}");
        }
    }
}
