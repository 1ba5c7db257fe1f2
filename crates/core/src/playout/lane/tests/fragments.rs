//! Fragments one after another, held against the packets of the files they were cut from, and without a clock.

use std::fs;

use flowcast_av::{Demuxer, Interrupt, OpenOptions, TrackKind};

use super::seams::tools::{ffmpeg, need_ffmpeg};
use super::*;
use crate::fragment::{Feed, Fragment, FragmentOptions, FragmentPublisher, Pushed};

/// What playing fragments gave.
#[derive(Default)]
struct Played {
    tags: Vec<Tag>,
    notices: Vec<EventKind>,
}

fn feed(publisher: &FragmentPublisher) -> Feed {
    publisher.shared().attach().expect("nobody else has it")
}

/// Room for all of them: the same thread pushes and plays.
fn roomy() -> FragmentPublisher {
    FragmentPublisher::with_options(
        FragmentOptions::default().with(|options| options.fragment_buffer_size = 1000),
    )
}

/// Plays all that was pushed to its end.
fn play(publisher: &FragmentPublisher) -> Played {
    publisher.finish();
    let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
    let mut sequencer = Sequencer::fragments(lane, supply(None, Tracks::Both), feed(publisher));
    let (mut played, mut due) = (Played::default(), 0);
    loop {
        let mut turn = Turn::begin();
        let state = sequencer.pull(Instant::now(), due, false, &mut turn, &mut played.notices);
        played.tags.append(&mut turn.tags);
        match state {
            SequencerState::Due => due += 100,
            SequencerState::More => {}
            SequencerState::Dry => std::thread::yield_now(),
            SequencerState::Ended => return played,
            SequencerState::Failed(error) => panic!("{error}"),
        }
    }
}

impl Played {
    fn published(&self) -> Vec<(u64, u64)> {
        let of = |notice: &EventKind| match notice {
            EventKind::FragmentPublished { number, total, .. } => Some((*number, *total)),
            _ => None,
        };
        self.notices.iter().filter_map(of).collect()
    }

    fn skipped(&self) -> Vec<&'static str> {
        let of = |notice: &EventKind| match notice {
            EventKind::FragmentSkipped { error, .. } => Some(error.code()),
            _ => None,
        };
        self.notices.iter().filter_map(of).collect()
    }
}

/// The pieces of a directory, in order.
fn pieces(directory: &Path, begin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let is_one =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin));
    let mut found: Vec<_> = paths.filter(is_one).collect();
    found.sort();
    found
}

/// The frames of a file that RTMP carries, by their bytes.
fn frames_of(path: &Path, kind: TagKind) -> Vec<Bytes> {
    let publisher = roomy();
    publisher.push(path).expect("it is taken");
    bodies(&play(&publisher).tags, kind).iter().map(payload).collect()
}

/// The packets of sound of a file.
fn sound_of(path: &Path) -> Vec<Bytes> {
    let mut demuxer = Demuxer::open(path, &OpenOptions::default(), &Interrupt::new()).expect("it opens");
    let tracks = &demuxer.media().tracks;
    let sound = tracks.iter().find(|track| track.kind == TrackKind::Audio).map(|track| track.index);
    let packets = std::iter::from_fn(|| demuxer.read().expect("it reads"));
    packets.filter(|packet| Some(packet.track) == sound).map(|packet| packet.data).collect()
}

/// A frame without the header of its tag, which has the composition time.
fn payload(body: &Bytes) -> Bytes {
    let head = if body.first().is_some_and(|first| first & 0x0f == 7) { 5 } else { 2 };
    body.slice(head.min(body.len())..)
}

/// One beginning of a time step, in milliseconds, over what is expected.
fn check_times(what: &str, tags: &[Tag], frame_ms: f64, audio_ms: f64) {
    for (kind, step) in [(TagKind::Video, frame_ms), (TagKind::Audio, audio_ms)] {
        let times = times(tags, kind);
        for pair in times.windows(2) {
            let gap = (pair[1] - pair[0]) as f64;
            assert!(gap > 0.0 && (gap - step).abs() <= 1.5, "{what}: {kind:?} {pair:?}, not {step}");
        }
        if let [first, .., last] = times[..] {
            let expected = (times.len() - 1) as f64 * step;
            assert!(((last - first) as f64 - expected).abs() <= 2.0, "{what}: {kind:?} drifts");
        }
    }
}

/// Fragments that were cut from a file without encoding anything give the file: every picture and every frame of sound, in order.
#[test]
fn what_was_cut_from_a_file_is_the_file_again() {
    if !need_ffmpeg() {
        return;
    }
    for (what, make, frame_ms, audio_ms) in [
        ("25 fps, B-frames, 44.1 kHz", "-r 25 -bf 2 -g 25 -ar 44100", 40.0, 1024.0 / 44.1),
        ("30 fps, odd GOPs, 48 kHz", "-r 30 -bf 3 -g 37 -ar 48000", 1000.0 / 30.0, 1024.0 / 48.0),
    ] {
        let scratch = Scratch::new();
        let directory = scratch.0.path();
        let source = "-f lavfi -i testsrc2=size=160x90:rate=50 -f lavfi -i sine=frequency=440";
        let coded = "-c:v libx264 -preset veryfast -sc_threshold 0 -pix_fmt yuv420p -c:a aac -b:a 64k -t 40";
        ffmpeg(directory, &format!("{source} {make} {coded} whole.mp4"));
        ffmpeg(
            directory,
            "-i whole.mp4 -c copy -f segment -segment_time 0.9 -reset_timestamps 1 plain-%04d.mp4",
        );
        ffmpeg(
            directory,
            "-i whole.mp4 -c copy -f segment -segment_time 0.9 -reset_timestamps 0 -segment_format_options \
             movflags=frag_keyframe+delay_moov+default_base_moof whole-%04d.mp4",
        );
        let whole = frames_of(&directory.join("whole.mp4"), TagKind::Video);
        let sound = sound_of(&directory.join("whole.mp4"));
        for begin in ["plain-", "whole-"] {
            let name = format!("{what}, {begin}");
            let publisher = roomy();
            let pieces = pieces(directory, begin);
            assert!(pieces.len() > 20, "{name}: {} pieces", pieces.len());
            for piece in &pieces {
                assert!(matches!(publisher.push(piece), Ok(Pushed::Queued { .. })));
            }
            let played = play(&publisher);
            assert_eq!(played.skipped(), [] as [&str; 0], "{name}");
            let published: Vec<_> = (1..=pieces.len() as u64).map(|number| (number, number)).collect();
            assert_eq!(played.published(), published, "{name}");
            let sent: Vec<_> = bodies(&played.tags, TagKind::Video).iter().map(payload).collect();
            assert!(sent == whole, "{name}: {} pictures of {}", sent.len(), whole.len());
            check_times(&name, &played.tags, frame_ms, audio_ms);
            let heard: Vec<_> = bodies(&played.tags, TagKind::Audio).iter().map(payload).collect();
            eprintln!("{name}: {} pieces, {} frames of sound of {}", pieces.len(), heard.len(), sound.len());
            assert!(heard == sound, "{name}: {} frames of sound of {}", heard.len(), sound.len());
        }
    }
}

/// Six seconds, cut into an init segment and a segment for each: both in order.
fn segmented(scratch: &Scratch) -> (PathBuf, Vec<PathBuf>) {
    let directory = scratch.0.path();
    let spec =
        SampleSpec { fps: 25, seconds: 6.0, b_frames: 2, audio: Some((44_100, 2)), ..SampleSpec::default() };
    scratch.clip("clip.mp4", &spec);
    let cut = "-c copy -f hls -hls_time 1 -hls_playlist_type vod -hls_segment_type fmp4";
    ffmpeg(directory, &format!("-i clip.mp4 {cut} -hls_segment_filename seg-%03d.m4s list.m3u8"));
    (directory.join("init.mp4"), pieces(directory, "seg-"))
}

/// A segment that begins this many milliseconds later by its own clock, picture and sound.
fn later(segment: &Path, millis: u64) -> Vec<u8> {
    let mut bytes = fs::read(segment).expect("it was made");
    let index = bytes.windows(4).position(|kind| kind == b"mdat").expect("it has media");
    let times: Vec<_> = (0..index).filter(|at| bytes[*at..].starts_with(b"tfdt")).collect();
    assert_eq!(times.len() % 2, 0, "a picture and a sound");
    for (at, scale) in times.into_iter().zip([12_800, 44_100].into_iter().cycle()) {
        assert_eq!(bytes[at + 4], 1, "64 bits");
        let time = bytes[at + 8..].first_chunk_mut().expect("it is whole");
        *time = (u64::from_be_bytes(*time) + millis * scale / 1000).to_be_bytes();
    }
    bytes
}

/// Segments follow by the clock of who made them where that is good, and without a gap where it is not.
#[test]
fn segments_keep_to_their_own_clock_within_a_frame() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let (init, segments) = segmented(&scratch);
    let [first, second, third, fourth, fifth, sixth] = &segments[..] else { panic!("{segments:?}") };
    let publisher = roomy();
    publisher.push(init).expect("it is one");
    publisher.push(first).expect("it is taken");
    // A frame late, and then on time again; two frames late in all, which is closed; two seconds missing; and on time again.
    for segment in [
        later(second, 40),
        later(third, 40),
        later(fourth, 40 + 80),
        later(fifth, 120 + 2000),
        later(sixth, 2120),
    ] {
        publisher.push(segment).expect("it is taken");
    }
    let played = play(&publisher);
    let times = times(&played.tags, TagKind::Video);
    assert_eq!(times.len(), 150);
    let odd: Vec<_> =
        (1..times.len()).map(|at| (at, times[at] - times[at - 1])).filter(|(_, step)| *step != 40).collect();
    assert_eq!(odd, [(25, 80)], "one picture is late by a frame");
    let jumps: Vec<_> = played
        .notices
        .iter()
        .filter_map(
            |notice| if let EventKind::ClockJumped { millis } = notice { Some(*millis) } else { None },
        )
        .collect();
    assert_eq!(jumps, [2000]);
    assert_eq!(publisher.stats().timestamp_fixups, 2);
}

/// A segment that came behind a later one is put before it while both are held; a clock that is set back is another one.
#[test]
fn segments_are_put_in_order_and_a_clock_that_is_set_back_goes_on() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let (init, segments) = segmented(&scratch);
    let publisher = roomy();
    publisher.push(init).expect("it is one");
    for number in [0, 2, 1, 4, 5, 3].into_iter().chain(0..6) {
        publisher.push(&segments[number]).expect("it is taken");
    }
    assert_eq!(publisher.stats().reordered, 2);
    let played = play(&publisher);
    let sent: Vec<_> = bodies(&played.tags, TagKind::Video).iter().map(payload).collect();
    let whole = frames_of(&scratch.0.path().join("clip.mp4"), TagKind::Video);
    assert!(sent == [&whole[..], &whole].concat(), "{} pictures", sent.len());
    check_times("twice", &played.tags, 40.0, 1024.0 / 44.1);
    let jumps = played.notices.iter().filter(|notice| matches!(notice, EventKind::ClockJumped { .. }));
    assert_eq!(jumps.count(), 1);
}

/// Fragments that were each encoded by themselves: priming at the beginning of each, lengths that are no whole frames of sound.
#[test]
fn what_was_encoded_apart_follows_without_a_gap() {
    let scratch = Scratch::new();
    for (what, fps, rate, b_frames, seconds) in [
        ("25 fps, 44.1 kHz, B-frames", 25, 44_100, 2, 1.0),
        ("30 fps, 48 kHz", 30, 48_000, 0, 0.9),
        ("25 fps, 48 kHz, odd", 25, 48_000, 3, 0.52),
    ] {
        let publisher = roomy();
        let (mut pictures, count) = (0, 24);
        for number in 0..count {
            // Sound that ends before its picture, with it, and behind it.
            let audio_seconds = Some(seconds + f64::from(number % 3 - 1) * 0.03);
            let spec = SampleSpec {
                fps,
                seconds,
                b_frames,
                audio: Some((rate, 2)),
                audio_seconds,
                ..SampleSpec::default()
            };
            let path = scratch.clip(&format!("{fps}-{rate}-{number}.mp4"), &spec);
            let pushed = publisher.push(Fragment::bytes(fs::read(&path).expect("it was made")));
            assert!(matches!(pushed, Ok(Pushed::Queued { .. })), "{pushed:?}");
            pictures += (seconds * f64::from(fps)).round() as usize;
        }
        let played = play(&publisher);
        assert_eq!(played.published().len(), count as usize, "{what}: {:?}", played.notices);
        assert_eq!(frames(&played.tags, TagKind::Video).len(), pictures, "{what}");
        check_times(what, &played.tags, 1000.0 / f64::from(fps), 1_024_000.0 / f64::from(rate));
        let ends = [TagKind::Video, TagKind::Audio]
            .map(|kind| times(&played.tags, kind).last().copied().unwrap_or(0));
        assert!((ends[0] - ends[1]).abs() < 150, "{what}: sound and picture drift apart: {ends:?}");
    }
}

/// The same numbers each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Gives bytes, and then an error.
struct Broken(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::ErrorKind::ConnectionReset.into()),
            count => Ok(count),
        }
    }
}

const KINDS: usize = 20;

/// What is no fragment, or one that is damaged.
fn garbage(kind: usize, good: &Bytes, directory: &Path, random: &mut Random) -> Fragment {
    let boxed = |kind: &[u8; 4], size: u32, body: &[u8]| [&size.to_be_bytes()[..], kind, body].concat();
    let ftyp = boxed(b"ftyp", 16, b"isom\0\0\0\0");
    let mut damaged = good.to_vec();
    let bytes = match kind {
        0 => {
            let count = 1 + random.below(3000);
            random.bytes(count)
        }
        // Cut off at either end, or in its first boxes.
        1 => damaged[..random.below(good.len())].to_vec(),
        2 => damaged.split_off(random.below(good.len())),
        3 => damaged[..8 + random.below(40)].to_vec(),
        // Damaged all over, in its index, and where sizes of boxes are.
        4 => {
            (0..200).for_each(|_| damaged[random.below(good.len())] = random.next() as u8);
            damaged
        }
        5 => {
            let index = good.windows(4).position(|kind| kind == b"moov").expect("it has an index");
            (0..20).for_each(|_| damaged[index + random.below(good.len() - index)] = random.next() as u8);
            damaged
        }
        6 => {
            let kinds: [&[u8; 4]; 5] = [b"moov", b"trak", b"stbl", b"stsz", b"mdat"];
            let wanted = kinds[random.below(kinds.len())];
            let at = good.windows(4).position(|kind| kind == wanted).expect("it has one");
            damaged[at - 4..at].copy_from_slice(&(random.next() as u32).to_be_bytes());
            damaged
        }
        7 => Vec::new(),
        8 => vec![0; 1 + random.below(100_000)],
        9 => b"<html><body>404 Not Found</body></html>".repeat(1 + random.below(9)),
        // Nothing but a name, an index without media, media that goes on for ever, boxes within themselves.
        10 => ftyp,
        11 => [ftyp, boxed(b"moov", 16, &boxed(b"mvhd", 8, b""))].concat(),
        12 => [ftyp, boxed(b"mdat", 1, &u64::MAX.to_be_bytes())].concat(),
        13 => [ftyp, boxed(b"moov", 8, b"").repeat(70)].concat(),
        // Segments of nobody.
        14 => {
            let body = random.bytes(40);
            [boxed(b"styp", 12, b"msdh"), boxed(b"moof", 48, &body), boxed(b"mdat", 8, b"")].concat()
        }
        15 => {
            let init = [ftyp, boxed(b"moov", 16, &boxed(b"mvex", 8, b""))].concat();
            let body = random.bytes(200);
            [init, boxed(b"moof", 208, &body)].concat()
        }
        // Formats that name other files, and pictures.
        16 => format!("ffconcat version 1.0\nfile '{}'\n", directory.join("good.mp4").display()).into(),
        17 => format!("#EXTM3U\n#EXTINF:1,\n{}\n", directory.join("good.mp4").display()).into(),
        18 => [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &random.bytes(60)].concat(),
        // What is no file, and a reader that fails.
        _ => {
            return match random.below(4) {
                0 => Fragment::path(directory),
                1 => Fragment::path(directory.join("none.mp4")),
                2 => Fragment::path("/dev/zero"),
                _ => Fragment::reader(Broken(std::io::Cursor::new(damaged))),
            };
        }
    };
    Fragment::bytes(bytes)
}

/// A thousand fragments of garbage of every kind among those that can be played: each is refused or left out by name, or what can be played of it
/// is; and the others are played, whole and in order.
#[test]
fn garbage_is_left_out_and_the_stream_goes_on() {
    let scratch = Scratch::new();
    let spec = SampleSpec { seconds: 0.4, ..SampleSpec::default() };
    let path = scratch.clip("good.mp4", &spec);
    let (directory, good) = (scratch.0.path(), Bytes::from(fs::read(&path).expect("it was made")));
    let publisher = roomy();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut refused, mut queued, mut numbers) = ([0; KINDS], [0; KINDS], Vec::new());
    for number in 0..1000 {
        if number % 100 == 0 {
            match publisher.push(good.clone()) {
                Ok(Pushed::Queued { number }) => numbers.push(number),
                other => panic!("{other:?}"),
            }
        }
        let kind = number % KINDS;
        match publisher.try_push(garbage(kind, &good, directory, &mut random)) {
            Ok(pushed) => {
                assert!(matches!(pushed, Ok(Pushed::Queued { .. } | Pushed::Init)), "there is room");
                queued[kind] += 1;
            }
            Err(error) => {
                assert!(error.code().starts_with("FRAGMENT_UN"), "{error:?}");
                refused[kind] += 1;
            }
        }
    }
    let played = play(&publisher);
    let (published, skipped) = (played.published(), played.skipped());
    eprintln!(
        "refused {refused:?}, queued {queued:?}; {} published, {} left out",
        published.len(),
        skipped.len()
    );
    assert_eq!(refused.iter().chain(&queued).sum::<usize>(), 1000);
    assert_eq!((refused[7], refused[19]), (50, 50), "empty, and no file");
    assert!(refused[14] > 0, "without an init segment");
    assert_eq!(published.len() + skipped.len(), queued.iter().sum::<usize>() + numbers.len());
    assert!(numbers.iter().all(|good| published.iter().any(|(number, _)| number == good)));
    let whole = frames_of(&path, TagKind::Video);
    let sent: Vec<_> = bodies(&played.tags, TagKind::Video).iter().map(payload).collect();
    let times_whole = sent.windows(whole.len()).filter(|window| **window == whole[..]).count();
    assert!(times_whole >= numbers.len(), "{times_whole} of {} are whole", numbers.len());
    assert!(!skipped.contains(&"STREAM_PANICKED"));
    let times = times(&played.tags, TagKind::Video);
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]));
}

/// A reader that panics takes no place from others.
#[test]
fn a_reader_that_panics_leaves_its_place() {
    struct Panics;
    impl std::io::Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("as the test wants")
        }
    }
    let scratch = Scratch::new();
    let spec = SampleSpec { seconds: 0.4, ..SampleSpec::default() };
    let path = scratch.clip("good.mp4", &spec);
    let publisher = FragmentPublisher::with_options(
        FragmentOptions::default().with(|options| options.fragment_buffer_size = 1),
    );
    let pushing = publisher.clone();
    let pushed = std::thread::spawn(move || pushing.push(Fragment::reader(Panics)).map(drop)).join();
    assert!(pushed.is_err(), "it is the program's own panic");
    assert!(matches!(publisher.try_push(&path), Ok(Ok(Pushed::Queued { number: 1 }))));
    assert_eq!(play(&publisher).published(), [(1, 1)]);
}

/// An init segment and the segments behind it, each pushed by itself; and segments of which it is missing.
#[test]
fn segments_need_their_init_segment() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let (init, segments) = segmented(&scratch);
    assert!(segments.len() > 2, "{}", segments.len());
    let publisher = roomy();
    let early = publisher.push(&segments[0]).expect_err("there is no init segment");
    assert_eq!(early.code(), "FRAGMENT_UNUSABLE");
    assert_eq!(publisher.push(init).expect("it is one"), Pushed::Init);
    for segment in &segments {
        let reader = fs::File::open(segment).expect("it was made");
        let pushed = publisher.push(Fragment::reader(reader).id(segment.display().to_string()));
        assert!(matches!(pushed, Ok(Pushed::Queued { .. })));
        let again = publisher.push(Fragment::path(segment).id(segment.display().to_string()));
        assert!(matches!(again, Ok(Pushed::Duplicate)));
    }
    assert_eq!(publisher.stats().duplicates, segments.len() as u64);
    let played = play(&publisher);
    let sent: Vec<_> = bodies(&played.tags, TagKind::Video).iter().map(payload).collect();
    let whole = frames_of(&scratch.0.path().join("clip.mp4"), TagKind::Video);
    assert!(sent == whole, "{} pictures", sent.len());
    check_times("segments", &played.tags, 40.0, 1024.0 / 44.1);
}
