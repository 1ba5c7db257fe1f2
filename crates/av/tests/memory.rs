//! Containers that are written to memory: what is taken piece by piece is the file.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{Scratch, open, packets, small};
use flowcast_av::{Error, MemoryMuxer, TrackKind, Written};

/// Puts what was taken where it belongs.
fn put(file: &mut Vec<u8>, written: &Written) {
    file.extend_from_slice(&written.appended);
    for (at, bytes) in &written.amended {
        let at = usize::try_from(*at).unwrap();
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// What is coded in the tracks of a kind, packet by packet.
fn payloads(path: &Path, kind: TrackKind) -> Vec<Bytes> {
    let mut input = open(path).unwrap();
    let track = input.media().tracks.iter().find(|track| track.kind == kind).unwrap().index;
    packets(&mut input).into_iter().filter(|packet| packet.track == track).map(|packet| packet.data).collect()
}

#[test]
fn what_is_taken_piece_by_piece_is_the_file_and_each_piece_is_playable() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &small());
    for (format, seekable) in [("matroska", true), ("mpegts", false)] {
        let mut input = open(&clip).unwrap();
        let tracks = input.media().tracks.clone();
        let mut muxer = MemoryMuxer::create(format, seekable, &tracks, &[]).unwrap();
        let mut all = packets(&mut input);
        all.sort_by_key(|packet| {
            let track = tracks.iter().find(|track| track.index == packet.track).unwrap();
            track.time_base.millis(packet.dts.unwrap())
        });
        let (mut file, mut half) = (Vec::new(), Vec::new());
        for (number, packet) in all.iter().enumerate() {
            muxer.write(packet).unwrap();
            if number % 10 == 9 {
                muxer.flush().unwrap();
                put(&mut file, &muxer.take());
                if number < all.len() / 2 {
                    half.clone_from(&file);
                }
            }
        }
        put(&mut file, &muxer.finish().unwrap());
        let whole = scratch.write("whole", &file);
        let begun = scratch.write("begun", &half);
        for kind in [TrackKind::Video, TrackKind::Audio] {
            let (expected, got) = (payloads(&clip, kind), payloads(&whole, kind));
            let same = expected.len() == got.len() && is_same(kind, &expected, &got);
            assert!(same, "{format} {kind:?}: {} of {}", got.len(), expected.len());
            let part = payloads(&begun, kind);
            assert!(
                part.len() * 3 > expected.len() && is_same(kind, &expected, &part),
                "{format} {kind:?}: half of it"
            );
        }
        let duration = open(&whole).unwrap().media().duration.unwrap().as_secs_f64();
        assert!((1.9..2.2).contains(&duration), "{format}: {duration}");
    }
}

/// Whether these are the same packets, as far as there are any. MPEG-TS has start codes in place of lengths, and delimiters and parameter
/// sets in front of pictures, and versions of libav differ in what else stands there; so a picture is known by its last unit, the slice.
fn is_same(kind: TrackKind, expected: &[Bytes], got: &[Bytes]) -> bool {
    let coded = |packet: &'_ Bytes| if kind == TrackKind::Video { last_unit(packet) } else { packet.clone() };
    expected.iter().zip(got).all(|(expected, got)| got.ends_with(&coded(expected)))
}

/// The last of the units of a picture, each of which has its length before it.
fn last_unit(packet: &Bytes) -> Bytes {
    let mut rest = packet.clone();
    loop {
        let length = u32::from_be_bytes(rest.split_to(4)[..].try_into().unwrap());
        let unit = rest.split_to(usize::try_from(length).unwrap());
        if rest.is_empty() {
            return unit;
        }
    }
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let scratch = Scratch::new();
    let clip = scratch.clip("clip.mp4", &small());
    let tracks = open(&clip).unwrap().media().tracks.clone();
    assert!(MemoryMuxer::is_available("matroska") && !MemoryMuxer::is_available("no such format"));
    let refused = MemoryMuxer::create("no such format", false, &tracks, &[]).unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    assert!(matches!(MemoryMuxer::create("mpegts", false, &[], &[]), Err(Error::InvalidArgument { .. })));
    // WebM takes neither H.264 nor AAC.
    assert!(matches!(MemoryMuxer::create("webm", true, &tracks, &[]), Err(Error::Libav { .. })));
}
