//! What is written is what is read.

use crate::reel::note::Note;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowcast_rtmp::flv::FlvReader;
use flowcast_rtmp::limits::Limits;
use proptest::prelude::*;

use super::super::identity::Key;
use super::super::index::{self, Data, Index};
use super::super::slots::Keyframe;
use super::super::writer::{self, Writer};
use super::*;

/// A store with room for everything.
#[derive(Debug, Default)]
struct Plenty {
    spared: AtomicUsize,
}

impl writer::Room for Plenty {
    fn grow(&self, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn spare(&self) -> bool {
        self.spared.fetch_add(1, Ordering::SeqCst) < 2
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        Error::ReelStore { dir: PathBuf::from("dir"), what, source: source.into() }
    }
}

const KEY: Key = Key([7; 16]);

/// Writes a reel and gives it with its file.
fn write(tags: &[Tag]) -> (Arc<Reel>, File, u64) {
    let file = tempfile::tempfile().expect("the temporary directory is writable");
    let room = Plenty::default();
    let copy = file.try_clone().expect("there are descriptors");
    let mut writer = Writer::new(PathBuf::from("a.flv"), copy, headers(), &room).expect("headers fit");
    let reel = writer.reel().clone();
    for tag in tags {
        writer.push(tag).expect("there is room");
    }
    let bytes = writer.finish(facts(1)).expect("there is room");
    (reel, file, bytes)
}

fn index_of(reel: &Reel, bytes: u64) -> Index {
    reel.to_index(KEY, Data::Own(bytes)).expect("it is complete")
}

fn bodies(tags: &[Tag]) -> Vec<Tag> {
    tags.iter().map(|tag| Tag { body: tag.body.to_bytes().into(), ..tag.clone() }).collect()
}

#[test]
fn a_reel_is_an_flv_file_and_its_slots_are_the_same_tags() {
    let tags = frames(7);
    let (reel, file, bytes) = write(&tags);
    assert_eq!(reel.slots(), 70);
    assert_eq!(read_all(&reel).expect("it is whole"), tags);
    assert_eq!(reel.headers(), headers());

    let mut content = vec![0; usize::try_from(bytes).expect("it is small")];
    file.read_exact_at(&mut content, 0).expect("it is that long");
    let mut flv = FlvReader::new(&Limits::file());
    flv.push(&content);
    let mut read: Vec<_> = std::iter::from_fn(|| flv.pull().expect("it is proper FLV")).collect();
    flv.finish().expect("it ends with a whole tag");
    let metadata = Metadata::parse(&read[0].body.to_bytes()).expect("it is metadata");
    assert_eq!((metadata.duration_s, metadata.filesize), (Some(6.976), Some(bytes as f64)));
    assert_eq!(read.split_off(3), tags);

    // Seeking.
    let found = |ms| reel.keyframe_at_or_before(ms);
    assert_eq!(found(-1), None);
    assert_eq!(found(2999), Some(Keyframe { slot: 20, time_ms: 2000 }));
    assert_eq!(found(3000), Some(Keyframe { slot: 30, time_ms: 3000 }));
    assert_eq!(found(i64::MAX), Some(Keyframe { slot: 60, time_ms: 6000 }));
    assert_eq!(reel.keyframe_at_or_before(0), Some(Keyframe { slot: 0, time_ms: 0 }));
    assert!(!reel.changes_headers());
}

#[test]
fn slots_are_tenths_of_a_second_and_never_go_back() {
    let at = |ms| tag(TagKind::Audio, ms, vec![0xAF, 1, ms as u8]);
    let times = [-20, 0, 99, 100, 95, 450, 200, 501];
    let tags: Vec<_> = times.map(at).into();
    let (reel, _, _) = write(&tags);
    let slots: Vec<Vec<i64>> = (0..reel.slots())
        .map(|slot| {
            let mut read = Vec::new();
            reel.read(slot, &mut read).expect("it is whole");
            read.iter().map(|tag| tag.timestamp.as_millis()).collect()
        })
        .collect();
    assert_eq!(slots, [vec![-20, 0, 99], vec![100, 95], vec![], vec![], vec![450, 200], vec![501]]);
    // There is no slot beyond the last.
    assert!(matches!(reel.read(6, &mut Vec::new()), Err(Error::ReelDamaged { .. })));
}

#[test]
fn what_a_reel_cannot_hold_is_an_error_and_not_memory() {
    let room = Plenty::default();
    let file = tempfile::tempfile().expect("the temporary directory is writable");
    let mut writer = Writer::new(PathBuf::from("a.flv"), file, Vec::new(), &room).expect("nothing to fit");
    for ms in [i64::MAX, 3 * 24 * 3_600_000] {
        let error = writer.push(&tag(TagKind::Audio, ms, vec![0xAF, 1])).expect_err("it is too late");
        assert!(matches!(error, Error::ReelStore { .. }), "{error:?}");
    }
    // Everything at one time: the slot is full some day.
    let large = tag(TagKind::Video, 0, vec![0x27; 15 << 20]);
    let error = (0..10).find_map(|_| writer.push(&large).err()).expect("150 MB do not fit a slot");
    assert!(crate::error::chain(&error).contains("64 MiB"), "{error:?}");
    // It goes on with the next.
    writer.push(&tag(TagKind::Audio, 150, vec![0xAF, 1])).expect("another slot");
    writer.finish(LapFacts::default()).expect("there is room");
}

#[test]
fn a_full_disk_is_told_after_room_was_asked_for() {
    let full = File::options().read(true).write(true).open("/dev/full").expect("Linux has it");
    let room = Plenty::default();
    let mut writer = Writer::new(PathBuf::from("a.flv"), full, headers(), &room).expect("headers fit");
    let error = frames(10).iter().find_map(|tag| writer.push(tag).err()).expect("the disk is full");
    let Error::ReelStore { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert_eq!(room.spared.load(Ordering::SeqCst), 3, "as long as something could be removed");
}

#[test]
fn flipped_bytes_and_cuts_are_found_when_first_read() {
    let tags = frames(3);
    let (reel, file, bytes) = write(&tags);
    let index = index_of(&reel, bytes);
    let again = || {
        let copy = file.try_clone().expect("there are descriptors");
        Reel::from_index(PathBuf::from("a.flv"), copy, index.clone())
    };
    assert_eq!(read_all(&again()).expect("it is whole"), tags);

    let place = index.slots.get(12).expect("there are 30");
    let flip = |value: &mut [u8; 1]| {
        value[0] ^= 0x10;
        file.write_all_at(value, place.offset + 40).expect("it is ours");
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, place.offset + 40).expect("it is that long");
    flip(&mut byte);
    let damaged = again();
    let mut read = Vec::new();
    damaged.read(11, &mut read).expect("this slot is whole");
    let count = read.len();
    let error = damaged.read(12, &mut read).expect_err("a bit is wrong");
    assert!(matches!(error, Error::ReelDamaged { .. }), "{error:?}");
    assert_eq!(read.len(), count, "no tag of it is given");
    damaged.read(13, &mut read).expect("this slot is whole");
    // Who wrote it does not look; once the disk has failed it does.
    reel.read(12, &mut Vec::new()).expect("the tag's payload is not looked at");
    reel.check_from_now_on();
    reel.read(12, &mut Vec::new()).expect_err("a bit is wrong");
    flip(&mut byte);
    assert_eq!(read_all(&again()).expect("it is whole again"), tags);

    file.set_len(place.offset + 50).expect("it is ours");
    let cut = again();
    cut.read(11, &mut Vec::new()).expect("it is there");
    let error = cut.read(12, &mut Vec::new()).expect_err("half of it is gone");
    assert!(matches!(error, Error::ReelDamaged { .. }), "{error:?}");
}

#[test]
fn every_cut_and_every_flipped_bit_of_an_index_is_refused() {
    let (reel, _, bytes) = write(&frames(3));
    let whole = index::encode(&index_of(&reel, bytes)).expect("it fits");
    assert_eq!(index::decode(&Bytes::from(whole.clone())), Ok(index_of(&reel, bytes)));
    for len in 0..whole.len() {
        index::decode(&Bytes::copy_from_slice(&whole[..len])).expect_err("it is cut off");
    }
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut wrong = whole.clone();
            wrong[place] ^= 1 << bit;
            assert!(index::decode(&Bytes::from(wrong)).is_err(), "bit {bit} of byte {place}");
        }
    }
    let mut longer = whole;
    longer.push(0);
    index::decode(&Bytes::from(longer)).expect_err("there is something behind it");
}

/// An index whose checksum is right whatever is in it.
fn forged(mut index: Vec<u8>) -> Bytes {
    let end = index.len() - 4;
    let crc = crc32fast::hash(&index[..end]);
    index[end..].copy_from_slice(&crc.to_le_bytes());
    index.into()
}

#[test]
fn counts_that_are_not_there_take_no_memory() {
    let (reel, _, bytes) = write(&frames(3));
    let whole = index::encode(&index_of(&reel, bytes)).expect("it fits");
    for place in index::PEEK..whole.len() - 8 {
        let mut wrong = whole.clone();
        wrong[place..place + 4].fill(0xFF);
        // Most are refused; none panics or asks for gigabytes.
        let _ = index::decode(&forged(wrong));
    }
}

fn any_tag() -> impl Strategy<Value = (TagKind, i64, Vec<u8>)> {
    let kind = prop::sample::select(vec![TagKind::Audio, TagKind::Video, TagKind::Video]);
    let first = prop::sample::select(vec![0x17u8, 0x27, 0x37, 0xAF, 0x2F, 0x90, 0x57]);
    (kind, -30i64..300, first, prop::collection::vec(any::<u8>(), 0..2000)).prop_map(
        |(kind, step, first, mut body)| {
            if let Some(byte) = body.first_mut() {
                *byte = first;
            }
            (kind, step, body)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tags_come_back(steps in prop::collection::vec(any_tag(), 1..300), shift in 0i64..1000) {
        let mut ms = 0;
        let tags: Vec<_> = steps.into_iter().map(|(kind, step, body)| { ms += step; tag(kind, ms, body) }).collect();
        let (reel, file, bytes) = write(&tags);
        prop_assert_eq!(bodies(&read_all(&reel).expect("it is whole")), bodies(&tags));
        let mut index = index_of(&reel, bytes);
        let notes = vec![
            Note::Skipped { track: 3, reason: "no place".to_owned() },
            Note::Damage("a fault".to_owned()),
            Note::ClockJumped { millis: -7 },
            Note::Leveled { lufs: -3012, dbtp: 45, gain: 1612 },
        ];
        index.notes.clone_from(&notes);
        index.source = PathBuf::from("/a/b");
        index.shift = shift;
        let encoded = Bytes::from(index::encode(&index).expect("it fits"));
        let decoded = index::decode(&encoded).expect("it is whole");
        prop_assert_eq!(&decoded, &index);
        let again = Reel::from_index(PathBuf::from("a.flv"), file, decoded);
        let shifted: Vec<_> = tags
            .iter()
            .map(|tag| Tag { timestamp: tag.timestamp.saturating_add_millis(-shift), ..tag.clone() })
            .collect();
        prop_assert_eq!(read_all(&again).expect("it is whole"), shifted);
        prop_assert_eq!((again.facts(), again.notes(0)), (Some(facts(1)), notes.clone()));
        prop_assert_eq!((again.notes(2), again.notes(4)), (notes[2..].to_vec(), Vec::new()));
        prop_assert_eq!(again.changes_headers(), tags.iter().any(Tag::is_sequence_header));
        // The first keyframe of each slot, and no other.
        let mut slot = 0;
        let mut expected: Vec<Keyframe> = Vec::new();
        for tag in &tags {
            let ms = tag.timestamp.as_millis();
            slot = slot.max(usize::try_from(ms.max(0) / 100).expect("it is small"));
            if tag.is_keyframe() && expected.last().is_none_or(|last| last.slot < slot) {
                expected.push(Keyframe { slot, time_ms: ms });
            }
        }
        prop_assert_eq!(&index.keyframes, &expected);
    }

    #[test]
    fn no_forged_index_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (reel, _, bytes) = write(&frames(1));
        let mut index = index::encode(&index_of(&reel, bytes)).expect("it fits");
        for (place, value) in flips {
            let place = place.index(index.len());
            index[place] = value;
        }
        let _ = index::decode(&forged(index));
    }
}
