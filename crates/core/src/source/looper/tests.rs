//! The looper against libavformat's own FLV muxer, and across its seams.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use flowcast_av::{Muxer, OpenOptions, SampleSpec, sample_clip};
use flowcast_rtmp::flv::{FlvReader, TagKind};
use flowcast_rtmp::limits::Limits;

use super::*;

/// A directory of this test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("flowcast-looper-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    fn clip(&self, name: &str, spec: &SampleSpec) -> PathBuf {
        let path = self.0.join(name);
        sample_clip(&path, spec).expect("libav has the encoders");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> Result<Demuxer, flowcast_av::Error> {
    Demuxer::open(path, &OpenOptions::default(), &flowcast_av::Interrupt::new())
}

fn looper(path: &Path, laps: Laps) -> Looper {
    Looper::new(path, open(path).expect("it opens"), laps).expect("it can be sent")
}

/// All tags of one lap.
fn one_lap(path: &Path) -> Vec<Tag> {
    let mut looper = looper(path, Laps::Once);
    let mut tags = Vec::new();
    loop {
        match looper.next().expect("it can be read") {
            Step::Tag(tag) => tags.push(tag),
            Step::End => return tags,
            Step::Notice(_) => {}
        }
    }
}

/// All tags of so many laps.
fn laps(path: &Path, count: u64) -> Vec<Tag> {
    let mut looper = looper(path, Laps::Endless);
    let mut tags = Vec::new();
    loop {
        match looper.next().expect("it can be read") {
            Step::Tag(tag) => tags.push(tag),
            Step::Notice(EventKind::Looped { laps }) if laps == count => return tags,
            _ => {}
        }
    }
}

/// Audio or video tags as libavformat writes them: time and body.
fn flv_by_libav(path: &Path, kind: TagKind, scratch: &Scratch) -> Vec<(i64, Vec<u8>)> {
    let selected = looper(path, Laps::Once).selection().clone();
    let mut demuxer = open(path).expect("it opens");
    demuxer.select(&selected.indices());
    let tracks: Vec<_> = selected.video.iter().chain(&selected.audio).cloned().collect();
    let out = scratch.0.join("libav.flv");
    let mut muxer = Muxer::create(&out, Some("flv"), &tracks).expect("flv takes these tracks");
    while let Some(packet) = demuxer.read().expect("it can be read") {
        if !packet.corrupt {
            muxer.write(&packet).expect("flv takes the packet");
        }
    }
    muxer.finish().expect("the disk has room");
    let mut reader = FlvReader::new(&Limits::file());
    reader.push(&std::fs::read(&out).expect("it was written"));
    let mut tags = Vec::new();
    while let Some(tag) = reader.pull().expect("libav writes proper FLV") {
        // The muxer ends H.264 with an end-of-sequence tag; a loop has no end.
        let ends = tag.kind == TagKind::Video && tag.body.byte(1) == Some(2);
        if tag.kind == kind && !ends {
            tags.push((tag.timestamp.as_millis(), tag.body.to_bytes().to_vec()));
        }
    }
    tags
}

fn compare(path: &Path, scratch: &Scratch) -> usize {
    let ours = one_lap(path);
    let mut compared = 0;
    let mut first_libav = Vec::new();
    let all: Vec<_> =
        [TagKind::Video, TagKind::Audio].map(|kind| (kind, flv_by_libav(path, kind, scratch))).into();
    for (_, tags) in &all {
        first_libav.extend(
            tags.iter().find(|(time, _)| *time > 0 || tags.len() < 3).map(|_| tags[1.min(tags.len() - 1)].0),
        );
    }
    // libavformat keeps a late start (MPEG-TS begins at 1.4 s); a session of ours begins at zero.
    let shift = first_libav.into_iter().min().unwrap_or(0);
    for (kind, libav) in all {
        let ours: Vec<_> = ours.iter().filter(|tag| tag.kind == kind).collect();
        assert_eq!(ours.len(), libav.len(), "{}: {kind:?} tags", path.display());
        for (number, (ours, (time, body))) in ours.iter().zip(&libav).enumerate() {
            let place = format!("{}: {kind:?} tag {number}", path.display());
            let time = if ours.is_sequence_header() { 0 } else { time - shift };
            assert_eq!(ours.timestamp.as_millis(), time, "{place}: time");
            assert_eq!(ours.body.to_bytes(), body.as_slice(), "{place}: body");
            compared += 1;
        }
    }
    compared
}

fn media() -> Option<PathBuf> {
    let named = std::env::var_os("FLOWCAST_TEST_MEDIA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/media");
    named.or(Some(beside)).filter(|path| path.is_dir())
}

#[test]
fn tags_equal_those_of_libavs_muxer_for_our_clips() {
    let scratch = Scratch::new("equal");
    for (name, b_frames, audio) in [
        ("plain.mp4", 0, Some((48_000, 2))),
        ("b-frames.mp4", 2, Some((44_100, 2))),
        ("b-frames.mkv", 2, Some((48_000, 1))),
        ("b-frames.flv", 2, Some((44_100, 2))),
        ("plain.ts", 0, Some((48_000, 2))),
        ("b-frames.ts", 2, Some((44_100, 2))),
        ("silent.mov", 2, None),
    ] {
        let clip = scratch.clip(name, &SampleSpec { b_frames, audio, seconds: 3.0, ..SampleSpec::default() });
        assert!(compare(&clip, &scratch) > 75, "{name}");
    }
}

#[test]
fn tags_equal_those_of_libavs_muxer_for_real_footage() {
    let Some(media) = media() else {
        eprintln!("skipped: set FLOWCAST_TEST_MEDIA to the directory of the test media");
        return;
    };
    let scratch = Scratch::new("footage");
    let folders = std::fs::read_dir(&media).expect("it is readable").chain(
        ["matroska", "muxjs", "pymediainfo"]
            .iter()
            .flat_map(|name| std::fs::read_dir(media.join(name)).expect("readable")),
    );
    let mut compared = Vec::new();
    for entry in folders {
        let path = entry.expect("it is readable").path();
        let Ok(demuxer) = open(&path) else { continue };
        if Looper::new(&path, demuxer, Laps::Once).is_err() {
            continue;
        }
        // A fragment's header has tracks and no frame: there is nothing to compare.
        let frames = open(&path).expect("it opened before").read().ok().flatten();
        if frames.is_some() {
            compared.push((path.file_name().map(|name| name.to_owned()), compare(&path, &scratch)));
        }
    }
    assert!(compared.len() >= 8, "{compared:?}");
}

/// What is true of every loop: times strictly increase per track, and video runs through without a gap.
fn check_loop(name: &str, tags: &[Tag], frame_ms: f64, audio_gap_ms: Option<i64>) {
    for kind in [TagKind::Video, TagKind::Audio] {
        let of_kind = tags.iter().filter(|tag| tag.kind == kind && !tag.is_sequence_header());
        let times: Vec<_> = of_kind.map(|tag| tag.timestamp.as_millis()).collect();
        for pair in times.windows(2) {
            let step = pair[1] - pair[0];
            assert!(step > 0, "{name}: {kind:?} {pair:?}");
            if kind == TagKind::Video {
                assert!((step as f64 - frame_ms).abs() <= 1.0, "{name}: video {pair:?}");
            } else if let Some(most) = audio_gap_ms {
                assert!((20..=most).contains(&step), "{name}: audio {pair:?}");
            }
        }
    }
    // Side by side: no tag is far behind the ones before it.
    let mut newest = 0;
    for tag in tags.iter().filter(|tag| tag.kind != TagKind::Script && !tag.is_sequence_header()) {
        let time = tag.timestamp.as_millis();
        assert!(time >= newest - 100, "{name}: {time} after {newest}");
        newest = newest.max(time);
    }
}

fn bodies(tags: &[Tag], kind: TagKind) -> Vec<Bytes> {
    tags.iter()
        .filter(|tag| tag.kind == kind && !tag.is_sequence_header())
        .map(|tag| tag.body.to_bytes())
        .collect()
}

#[test]
fn every_lap_shows_every_frame_once_and_in_order() {
    let scratch = Scratch::new("frames");
    for (name, spec) in [
        ("b-frames.mp4", SampleSpec { b_frames: 2, ..SampleSpec::default() }),
        ("plain.flv", SampleSpec { audio: Some((44_100, 2)), ..SampleSpec::default() }),
        ("b-frames.ts", SampleSpec { b_frames: 3, fps: 30, ..SampleSpec::default() }),
        ("long-audio.mp4", SampleSpec { audio_seconds: Some(3.5), b_frames: 2, ..SampleSpec::default() }),
        ("short-audio.mkv", SampleSpec { audio_seconds: Some(1.2), ..SampleSpec::default() }),
        ("silent.mp4", SampleSpec { audio: None, b_frames: 2, ..SampleSpec::default() }),
    ] {
        let clip = scratch.clip(name, &spec);
        let once = bodies(&one_lap(&clip), TagKind::Video);
        let tags = laps(&clip, 20);
        let looped = bodies(&tags, TagKind::Video);
        assert_eq!(looped.len(), once.len() * 20, "{name}");
        for (number, frame) in looped.iter().enumerate() {
            assert_eq!(*frame, once[number % once.len()], "{name}: frame {number}");
        }
        // One AAC frame is 21 to 23 ms; at a seam of short audio the file's own gap stays.
        let gap = if name.starts_with("short") { None } else { Some(24) };
        check_loop(name, &tags, 1000.0 / f64::from(spec.fps), gap);
        let ends: Vec<_> = [TagKind::Video, TagKind::Audio]
            .iter()
            .filter_map(|&kind| {
                tags.iter().rfind(|tag| tag.kind == kind).map(|tag| tag.timestamp.as_millis())
            })
            .collect();
        if let [video, audio] = ends[..]
            && gap.is_some()
        {
            // Video counts in decoding time, up to three frames before it is shown.
            assert!((video - audio).abs() <= 130, "{name}: ends at {video} and {audio} ms");
        }
    }
}

#[test]
fn sound_alone_loops_without_a_gap() {
    let scratch = Scratch::new("sound");
    let spec = SampleSpec { video: false, audio_seconds: Some(1.0), ..SampleSpec::default() };
    let clip = scratch.clip("sound.m4a", &spec);
    let tags = laps(&clip, 50);
    let times: Vec<_> =
        tags.iter().filter(|tag| tag.kind == TagKind::Audio && !tag.is_sequence_header()).collect();
    let (first, last) = (times[0].timestamp.as_millis(), times[times.len() - 1].timestamp.as_millis());
    let expected = (times.len() as f64 - 1.0) * 1024.0 / 48.0;
    assert!(((last - first) as f64 - expected).abs() <= 1.0, "{} ms for {expected}", last - first);
    check_loop("sound.m4a", &tags, 40.0, Some(22));
}

#[test]
fn a_file_without_a_track_that_fits_is_refused_with_what_it_has() {
    let scratch = Scratch::new("refused");
    let spec = SampleSpec { video: false, ..SampleSpec::default() };
    let clip = scratch.clip("sound.m4a", &spec);
    // The same sound in a container that turns it into something FLV has no place for cannot be made without an encoder;
    // a track list says as much.
    let mut media = open(&clip).expect("it opens").media().clone();
    media.tracks[0].codec = flowcast_av::Codec::Vorbis;
    let selection = Selection::of(&media);
    assert!(selection.is_empty());
    assert!(selection.skipped[0].1.contains("vorbis"), "{:?}", selection.skipped);
}
