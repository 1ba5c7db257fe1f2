//! Against the `ffmpeg` program: the same packets, byte for byte. Skipped where there is none.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{Scratch, of_track, open, packets, real_media, remux, small};
use flowcast_av::{SampleSpec, TimeBase, TrackInfo};

/// Runs `ffmpeg`; false if there is none.
fn ffmpeg(arguments: &[&str]) -> bool {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments)
        .stdin(Stdio::null())
        .status();
    let Ok(status) = status else { return false };
    assert!(status.success(), "{arguments:?}");
    true
}

/// An `avcC` record without the zeros between a parameter set and the next start code, which are not part of it: libav's
/// muxer takes the first one along (`muxjs/test-segment.ts`), ours does not.
fn avcc_trimmed(record: &[u8]) -> Vec<Vec<u8>> {
    let (head, mut rest) = record.split_at(5);
    let mut parts = vec![head.to_vec()];
    for _ in 0..2 {
        let (count, mut sets) = rest.split_first().unwrap();
        for _ in 0..count & 0x1F {
            let (length, set) = sets.split_at(2);
            let (set, behind) = set.split_at(usize::from(u16::from_be_bytes([length[0], length[1]])));
            let end = set.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            parts.push(set[..end].to_vec());
            sets = behind;
        }
        rest = sets;
    }
    parts.push(rest.to_vec());
    parts
}

/// What `ffmpeg -c copy` writes as FLV, read back, equals what our demuxer makes of the input.
#[track_caller]
fn assert_same_tags(scratch: &Scratch, path: &Path) {
    let tags = scratch.file("copy.flv");
    if !ffmpeg(&[
        "-i",
        path.to_str().unwrap(),
        "-map",
        "0:v",
        "-map",
        "0:a?",
        "-c",
        "copy",
        tags.to_str().unwrap(),
    ]) {
        return;
    }
    let (mut ours, mut theirs) = (open(path).unwrap(), open(&tags).unwrap());
    let (our_media, their_media) = (ours.media(), theirs.media());
    let record =
        |track: Option<&TrackInfo>| track.and_then(|track| track.config.as_deref().map(avcc_trimmed));
    assert_eq!(record(our_media.video()), record(their_media.video()), "{}", path.display());
    let config = |track: Option<&TrackInfo>| track.map(|track| track.config.clone());
    assert_eq!(config(our_media.audio()), config(their_media.audio()), "{}", path.display());
    let tracks = |media: &flowcast_av::MediaInfo| {
        [media.video(), media.audio()].map(|track| track.map(|track| track.index))
    };
    let (our_tracks, their_tracks) = (tracks(ours.media()), tracks(theirs.media()));
    let (ours, theirs) = (packets(&mut ours), packets(&mut theirs));
    for (our_track, their_track) in our_tracks.into_iter().zip(their_tracks) {
        let (Some(our_track), Some(their_track)) = (our_track, their_track) else { continue };
        let (ours, theirs) = (of_track(&ours, our_track), of_track(&theirs, their_track));
        assert_eq!(ours.len(), theirs.len(), "{} track {our_track}", path.display());
        for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours.data, theirs.data, "{} track {our_track} packet {number}", path.display());
            assert_eq!(ours.keyframe, theirs.keyframe);
        }
    }
}

#[test]
fn copies_to_flv_hold_the_same_bytes() {
    let scratch = Scratch::new();
    for b_frames in [0, 2] {
        let source = scratch.clip("source.mp4", &SampleSpec { b_frames, ..small() });
        assert_same_tags(&scratch, &source);
        let stream = scratch.file("source.ts");
        remux(&source, &stream);
        assert_same_tags(&scratch, &stream);
    }
    if let Some(media) = real_media() {
        for name in ["bigbuckbunny.mp4", "carphone_pristine.mp4", "muxjs/test-segment.ts"] {
            assert_same_tags(&scratch, &media.join(name));
        }
    }
}

#[test]
fn cover_art_is_no_video() {
    let scratch = Scratch::new();
    let sound = scratch.clip("sound.m4a", &SampleSpec { video: false, ..small() });
    let covered = scratch.file("covered.m4a");
    let made = ffmpeg(&[
        "-i",
        sound.to_str().unwrap(),
        "-f",
        "lavfi",
        "-i",
        "color=red:s=64x64:d=0.04",
        "-map",
        "0",
        "-map",
        "1",
        "-c:a",
        "copy",
        "-c:v",
        "mjpeg",
        "-frames:v",
        "1",
        "-disposition:v",
        "attached_pic",
        covered.to_str().unwrap(),
    ]);
    if !made {
        return;
    }
    let mut input = open(&covered).unwrap();
    assert_eq!(input.media().tracks.len(), 2);
    assert!(input.media().tracks.iter().any(|track| track.attached_picture));
    assert!(input.media().video().is_none());
    let sound = input.media().audio().unwrap().index;
    for _ in 0..2 {
        assert!(packets(&mut input).iter().all(|packet| packet.track == sound));
        input.rewind().unwrap();
    }
}

#[test]
fn loops_of_ffmpeg_read_the_same_times() {
    // The times of a copy are those of the source, moved by a constant: what our remux writes, ffmpeg reads the same way.
    let scratch = Scratch::new();
    let source = scratch.clip("source.mp4", &SampleSpec { b_frames: 2, ..small() });
    let copy = scratch.file("copy.ts");
    if !ffmpeg(&["-i", source.to_str().unwrap(), "-c", "copy", copy.to_str().unwrap()]) {
        return;
    }
    let ours = scratch.file("ours.ts");
    remux(&source, &ours);
    let times = |path: &Path| {
        let mut input = open(path).unwrap();
        let bases: Vec<TimeBase> = input.media().tracks.iter().map(|track| track.time_base).collect();
        let all = of_track(&packets(&mut input), 0);
        let first = all[0].dts.unwrap();
        all.iter().map(|packet| bases[0].millis(packet.dts.unwrap() - first)).collect::<Vec<_>>()
    };
    assert_eq!(times(&copy), times(&ours));
}
