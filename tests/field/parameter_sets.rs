//! Configurations that are not where they should be: nothing goes out before a header that can be decoded with.

use std::fs;
use std::path::{Path, PathBuf};

use flowcast::av::{Demuxer, Interrupt, OpenOptions};
use flowcast::rtmp::flv::Tag;
use flowcast::verdict::{Fix, ScanOptions, Strictness, TrackVerdict, facts, verdict};
use flowcast::{Platform, Source};

use crate::made::{pitch, record};
use kit::rig::engines;
use kit::{Need, box_at, directory, flv_tags, frame_hashes, make, need};

/// The file with an empty configuration record: its first `keep` bytes, then zeros.
fn emptied(file: &Path, name: &str, kind: &[u8; 4], keep: usize, change: impl Fn(&mut [u8])) -> PathBuf {
    let mut bytes = fs::read(file).expect("a file that was made");
    let at = box_at(&bytes, kind) + 8;
    let size = u32::from_be_bytes(bytes[at - 8..at - 4].try_into().expect("four bytes")) as usize - 8;
    bytes[at + keep..at + size].fill(0);
    change(&mut bytes[at..at + size]);
    let path = file.with_file_name(name);
    fs::write(&path, bytes).expect("there is room");
    path
}

#[test]
fn parameter_sets_in_the_packets_fill_an_empty_avcc() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let whole = make(
        directory.path(),
        "whole.mp4",
        "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i sine=r=48000:d=2 -c:v libx264 -preset ultrafast -g 25 -bf 0 \
         -bsf:v dump_extra=freq=keyframe -c:a aac",
    );
    let file = emptied(&whole, "avc3.mp4", b"avcC", 5, |record| record[5] = 0xE0);
    let frames = frame_hashes(&whole);
    for (name, engine) in engines(directory.path()) {
        let recording = directory.path().join(name).with_extension("flv");
        record(&engine, Source::file(&file), &recording);
        let tags = flv_tags(&recording);
        let video: Vec<&Tag> = tags.iter().filter(|tag| tag.is_video()).collect();
        assert!(video[0].is_sequence_header(), "{name}");
        let header = video[0].body.to_bytes();
        assert!(header.len() > 20 && header[10] == 0xE1 && header[13] & 0x1F == 7, "{name}: {header:02x?}");
        assert_eq!(video.iter().filter(|tag| tag.is_sequence_header()).count(), 1, "{name}");
        assert_eq!(frame_hashes(&recording), frames, "{name}");
    }
    let facts = facts(&file, &ScanOptions::default(), &Interrupt::new()).expect("it is scanned");
    let verdict = verdict(&facts, &Platform::youtube(), Strictness::Lenient);
    assert_eq!(verdict.video, TrackVerdict::Copy);
    let fixes = verdict.fixes.iter().any(
        |fix| matches!(fix, Fix::BitstreamFilter { track: 0, filter } if *filter == "extract_extradata"),
    );
    assert!(fixes, "{verdict:?}");
}

#[test]
fn parameter_sets_in_the_packets_fill_an_empty_hvcc() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let whole = make(
        directory.path(),
        "whole.mp4",
        "-f lavfi -i testsrc2=s=160x90:r=25:d=1 -c:v libx265 -preset ultrafast -x265-params log-level=none:repeat-headers=1 \
         -bsf:v dump_extra=freq=keyframe -tag:v hev1",
    );
    // Byte 22 counts the arrays of parameter sets.
    let file = emptied(&whole, "hev1.mp4", b"hvcC", 22, |_| {});
    let config = |file: &Path| {
        let media = Demuxer::open(file, &OpenOptions::default(), &Interrupt::new()).expect("it opens");
        media.media().video().and_then(|track| track.config.clone()).expect("a configuration")
    };
    let (made, wanted) = (config(&file), config(&whole));
    assert!(made.len() > 60, "{made:02x?}");
    assert_eq!(made[..13], wanted[..13]);
}

#[test]
fn a_layout_in_the_sound_becomes_its_configuration() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let file = make(
        directory.path(),
        "quad.ts",
        "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i sine=f=440:r=48000:d=2,pan=quad|c0=c0|c1=c0|c2=c0|c3=c0 \
         -c:v libx264 -preset ultrafast -g 25 -bf 0 -c:a aac -b:a 128k",
    );
    // As libav's aac_adtstoasc makes it.
    let by_libav = make(directory.path(), "libav.mp4", &format!("-i {} -c copy", file.display()));
    let wanted = Demuxer::open(&by_libav, &OpenOptions::default(), &Interrupt::new()).expect("it opens");
    let wanted = wanted.media().audio().and_then(|track| track.config.clone()).expect("a configuration");
    let header = |file: &Path| {
        let tags = flv_tags(file);
        let header = tags.iter().find(|tag| tag.is_audio() && tag.is_sequence_header());
        header.map(|tag| tag.body.to_bytes().slice(2..))
    };
    for (name, engine) in engines(directory.path()) {
        let recording = directory.path().join(name).with_extension("flv");
        let told = record(&engine, Source::file(&file), &recording);
        assert_eq!(header(&recording).as_ref(), Some(&wanted), "{name}: {told:?}");
        let heard = pitch(&recording).expect("there is sound");
        assert!((430.0..450.0).contains(&heard), "{name}: {heard}");
    }
    let facts = facts(&file, &ScanOptions::default(), &Interrupt::new()).expect("it is scanned");
    let audio = facts.audio.as_ref().expect("sound");
    assert_eq!((audio.channels, audio.has_config), (4, true));
    assert_eq!(verdict(&facts, &Platform::any(), Strictness::Lenient).audio, TrackVerdict::Copy);
}
