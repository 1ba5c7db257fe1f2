//! What the reader gives against libavformat's own FLV muxer.

use std::path::{Path, PathBuf};

use flowcast_av::{Demuxer, Muxer, OpenOptions, SampleSpec, sample_clip};
use flowcast_rtmp::flv::{FlvReader, TagKind};
use flowcast_rtmp::limits::Limits;

use super::*;
use crate::lap::InStep;

/// A directory of this test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("flowcast-reader-{name}-{}", std::process::id()));
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

fn reader(path: &Path) -> LapReader {
    LapReader::new(
        path,
        Box::new(open(path).expect("it opens")),
        (Tracks::Both, Carriage::Plain),
        Tail::Whole,
    )
    .expect("it can be sent")
}

/// All tags of one lap.
fn one_lap(path: &Path) -> Vec<Tag> {
    let mut reader = reader(path);
    let mut tags = reader.headers();
    loop {
        match reader.next().expect("it can be read") {
            Step::Tag(tag) => tags.push(tag),
            Step::End => return tags,
            Step::Opened(_) | Step::Notice(_) | Step::Ending(_) => {}
        }
    }
}

/// Audio or video tags as libavformat writes them: time and body.
fn flv_by_libav(path: &Path, kind: TagKind, scratch: &Scratch) -> Vec<(i64, Vec<u8>)> {
    let selected = reader(path).selection().clone();
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
        if LapReader::new(&path, Box::new(demuxer), (Tracks::Both, Carriage::Plain), Tail::Whole).is_err() {
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

#[test]
fn every_lap_is_read_alike_and_measured_to_the_sample() {
    let scratch = Scratch::new("laps");
    let spec = SampleSpec { b_frames: 2, seconds: 2.0, audio_seconds: Some(2.5), ..SampleSpec::default() };
    let clip = scratch.clip("clip.mp4", &spec);
    let mut reader = LapReader::new(
        &clip,
        Box::new(open(&clip).expect("it opens")),
        (Tracks::Both, Carriage::Plain),
        Tail::Looped,
    )
    .expect("it can be sent");
    let mut laps: Vec<(Vec<Tag>, Option<LapFacts>)> = vec![(Vec::new(), None)];
    while laps.len() < 4 {
        let (tags, facts) = laps.last_mut().expect("there is one");
        match reader.next().expect("it can be read") {
            Step::Tag(tag) => tags.push(tag),
            Step::Ending(lap) => *facts = Some(lap),
            Step::Opened(_) | Step::Notice(_) => {}
            Step::End => {
                reader.rewind().expect("it can be read again");
                laps.push((Vec::new(), None));
            }
        }
    }
    let facts = laps[0].1.expect("it was told before the end");
    let (video, audio) = (facts.video.expect("pictures"), facts.audio.expect("sound"));
    assert_eq!((video.unit.to_millis(video.length), video.frames), (2000, 50));
    // Half a second too much sound is left out, but for one frame at most.
    let kept = audio.end - audio.start;
    let lap = i64::from(audio.rate) * 2;
    assert!((0..=2048).contains(&(kept - lap)), "{kept} samples for a lap of {lap}");
    assert_eq!(kept, i64::try_from(audio.frames).expect("few") * i64::from(audio.frame));
    for (tags, again) in &laps[1..3] {
        assert_eq!((tags.len(), again), (laps[0].0.len(), &laps[0].1));
        assert!(tags.iter().zip(&laps[0].0).all(|(one, other)| one == other));
    }
}

#[test]
fn what_follows_a_seek_is_what_reading_through_gives() {
    let scratch = Scratch::new("seek");
    let spec = SampleSpec { b_frames: 2, seconds: 20.0, gop_frames: 50, ..SampleSpec::default() };
    for name in ["clip.mp4", "clip.mkv", "clip.flv"] {
        let clip = scratch.clip(name, &spec);
        let rest = |seeks: bool| {
            let mut reader = LapReader::new(
                &clip,
                Box::new(open(&clip).expect("it opens")),
                (Tracks::Both, Carriage::Plain),
                Tail::Looped,
            )
            .expect("it can be sent");
            if seeks {
                reader.skip_to(15_000).expect("it can be read");
            }
            let (mut tags, mut facts) = (Vec::new(), None);
            let mut read = 0;
            loop {
                match reader.next().expect("it can be read") {
                    Step::Tag(tag) => {
                        read += 1;
                        if tag.timestamp.as_millis() >= 15_000 && !tag.is_sequence_header() {
                            tags.push(tag);
                        }
                    }
                    Step::Ending(lap) => facts = Some(lap),
                    Step::Opened(_) | Step::Notice(_) => {}
                    Step::End => return (tags, facts.expect("the lap ended"), read),
                }
            }
        };
        let ((through, whole, all), (sought, facts, some)) = (rest(false), rest(true));
        assert_eq!(through, sought, "{name}");
        let length = |facts: &LapFacts| facts.video.map(|video| video.length);
        assert_eq!(length(&whole), length(&facts), "{name}");
        let end = |facts: &LapFacts| facts.audio.map_or(0, |audio| audio.end);
        assert!((end(&whole) - end(&facts)).abs() <= 48, "{name}");
        assert_eq!(some < all / 2, !name.ends_with("flv"), "{name}: read {some} of {all}");
    }
}

#[test]
fn a_file_without_a_track_that_fits_is_refused_with_what_it_has() {
    let scratch = Scratch::new("refused");
    let spec = SampleSpec { video: false, ..SampleSpec::default() };
    let clip = scratch.clip("sound.m4a", &spec);
    // The same sound in a container that turns it into something FLV has no place for cannot be made without an encoder;
    // a track list says as much.
    let mut media = open(&clip).expect("it opens").media().clone();
    media.tracks[0].codec = Codec::Vorbis;
    let selection = Selection::of(&media, Carriage::Plain);
    assert!(selection.is_empty());
    assert!(selection.skipped[0].1.contains("vorbis"), "{:?}", selection.skipped);
}

/// A file whose sound is stored behind its picture, or is missing between two times, all in milliseconds.
#[derive(Debug)]
struct Edited {
    file: Demuxer,
    late: i64,
    hole: std::ops::Range<i64>,
    held: VecDeque<(i64, Packet)>,
    newest: i64,
    ended: bool,
}

impl Edited {
    fn open(path: &Path, late: i64, hole: std::ops::Range<i64>) -> Self {
        let file = open(path).expect("it opens");
        Self { file, late, hole, held: VecDeque::new(), newest: i64::MIN, ended: false }
    }
}

impl PacketSource for Edited {
    fn media(&self) -> &flowcast_av::MediaInfo {
        self.file.media()
    }

    fn select(&mut self, tracks: &[usize]) {
        self.file.select(tracks);
    }

    fn read(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            let newest = self.newest;
            if let Some((_, packet)) =
                self.held.pop_front_if(|(time, _)| self.ended || *time + self.late <= newest)
            {
                return Ok(Some(packet));
            }
            let Some(packet) = self.file.read()? else {
                if self.ended || self.held.is_empty() {
                    return Ok(None);
                }
                self.ended = true;
                continue;
            };
            let track = self.file.media().track(packet.track).expect("a track of the file");
            let time = track.time_base.millis(packet.dts.or(packet.pts).expect("it has times"));
            if track.kind == TrackKind::Audio {
                if !self.hole.contains(&time) {
                    self.held.push_back((time, packet));
                }
                continue;
            }
            self.newest = time;
            return Ok(Some(packet));
        }
    }

    fn rewind(&mut self) -> Result<(), Error> {
        (self.newest, self.ended) = (i64::MIN, false);
        PacketSource::rewind(&mut self.file)
    }

    fn seek(&mut self, _: usize, _: i64) -> bool {
        false
    }
}

/// The steps of one lap of a source.
fn lap_of(path: &Path, source: Box<dyn PacketSource>) -> (Vec<Tag>, Vec<EventKind>, LapFacts) {
    let mut reader =
        LapReader::new(path, source, (Tracks::Both, Carriage::Plain), Tail::Looped).expect("it can be sent");
    let (mut tags, mut notices, mut facts) = (Vec::new(), Vec::new(), LapFacts::default());
    loop {
        match reader.next().expect("it can be read") {
            Step::Tag(tag) => tags.push(tag),
            Step::Notice(notice) => notices.push(notice),
            Step::Ending(lap) => facts = lap,
            Step::Opened(_) => {}
            Step::End => return (tags, notices, facts),
        }
    }
}

/// The longest time that sound is missing, or lies behind the picture that was handed over, in milliseconds; up to `end` of the
/// picture.
fn worst_sound(tags: &[Tag], end: i64) -> (i64, i64) {
    let (mut last, mut hole, mut behind) = (0, 0, 0);
    for tag in tags.iter().filter(|tag| !tag.is_sequence_header() && tag.timestamp.as_millis() < end) {
        let time = tag.timestamp.as_millis();
        if tag.is_audio() {
            hole = hole.max(time - last);
            last = time;
        } else {
            behind = behind.max(time - last);
        }
    }
    (hole, behind)
}

#[test]
fn silence_is_made_as_the_picture_goes_on() {
    let scratch = Scratch::new("holes");
    let spec = SampleSpec { b_frames: 2, seconds: 12.0, ..SampleSpec::default() };
    for name in ["clip.mp4", "clip.flv", "clip.ts"] {
        let clip = scratch.clip(name, &spec);
        // TS begins at 1.4 s.
        for hole in [2_000..99_000, 4_000..7_000, 4_000..99_000, 0..6_000, 0..99_000] {
            let source = InStep::new(Edited::open(&clip, 0, hole.clone()));
            let (tags, notices, facts) = lap_of(&clip, Box::new(source));
            assert!(notices.is_empty(), "{name} {hole:?}: {notices:?}");
            let (longest, behind) = worst_sound(&tags, 10_500);
            assert!(
                longest < 100 && behind < 100,
                "{name} {hole:?}: a hole of {longest} ms, {behind} ms behind"
            );
            let audio = facts.audio.expect("silence is sound");
            assert!((audio.end - audio.start) > i64::from(audio.rate) * 10, "{name} {hole:?}");
            let times: Vec<_> = tags.iter().filter(|tag| tag.is_audio()).map(|tag| tag.timestamp).collect();
            assert!(times.windows(2).skip(1).all(|pair| pair[0] < pair[1]), "{name} {hole:?}");
        }
    }
}

#[test]
fn a_short_hole_is_the_files_own() {
    let scratch = Scratch::new("short-hole");
    let clip = scratch.clip("clip.mp4", &SampleSpec { seconds: 4.0, ..SampleSpec::default() });
    let whole = lap_of(&clip, Box::new(Edited::open(&clip, 0, 0..0))).0.len();
    let (tags, ..) = lap_of(&clip, Box::new(Edited::open(&clip, 0, 2_000..2_500)));
    assert!(whole - tags.len() > 20, "nothing was put there");
}

#[test]
fn sound_that_is_stored_behind_its_picture_is_sent_in_step() {
    let scratch = Scratch::new("late");
    let spec = SampleSpec { b_frames: 2, seconds: 16.0, ..SampleSpec::default() };
    let clip = scratch.clip("clip.mp4", &spec);
    let in_step = lap_of(&clip, Box::new(InStep::new(Edited::open(&clip, 0, 0..0)))).0;
    for late in [500, 4_000, 9_000] {
        let (tags, notices, _) = lap_of(&clip, Box::new(InStep::new(Edited::open(&clip, late, 0..0))));
        assert!(notices.is_empty(), "{late} ms: {notices:?}");
        assert_eq!(tags, in_step, "{late} ms");
    }
    // What is stored further apart than a file is read ahead is told.
    let (tags, notices, _) = lap_of(&clip, Box::new(InStep::new(Edited::open(&clip, 12_000, 0..0))));
    assert!(worst_sound(&tags, 14_500).1 < 100, "silence is in its place");
    let told = notices.iter().filter(|notice| matches!(notice, EventKind::SourceFault { error } if error.to_string().contains("too far behind")));
    assert_eq!(told.count(), 1, "{notices:?}");
}
