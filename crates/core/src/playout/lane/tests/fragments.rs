//! Fragments one after another, held against the packets of the files they were cut from, and without a clock.

use std::collections::HashSet;
use std::fs;

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
            SequencerState::Dry => std::thread::sleep(Duration::from_millis(1)),
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

/// Fragments that were cut from a file without encoding anything give the file: every picture in its order, and every frame of sound but
/// for those at the cuts that would lie over each other.
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
        let sound = frames_of(&directory.join("whole.mp4"), TagKind::Audio);
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
            let known: HashSet<_> = sound.iter().collect();
            let foreign = heard.iter().filter(|frame| !known.contains(frame)).count();
            eprintln!(
                "{name}: {} pieces, {} frames of sound of {}, {foreign} not of it",
                pieces.len(),
                heard.len(),
                sound.len()
            );
            let mut rest = sound.iter();
            assert!(heard.iter().all(|frame| rest.any(|known| known == frame)), "{name}: sound out of order");
            // The cutter rounds the times of fragmented files: there a frame may lie over the one before.
            let most = if begin == "plain-" { 0 } else { pieces.len() / 10 };
            assert!(sound.len() - heard.len() <= most, "{name}: {} of {} frames", heard.len(), sound.len());
        }
    }
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

/// A thousand fragments of garbage among those that can be played: each is refused or left out by name, and the stream goes on.
#[test]
fn garbage_is_left_out_and_the_stream_goes_on() {
    let scratch = Scratch::new();
    let spec = SampleSpec { seconds: 0.4, ..SampleSpec::default() };
    let good = Bytes::from(fs::read(scratch.clip("good.mp4", &spec)).expect("it was made"));
    let publisher = FragmentPublisher::with_options(
        FragmentOptions::default().with(|options| options.fragment_buffer_size = 1000),
    );
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (mut refused, mut queued) = (0, 0);
    for number in 0..1000_u64 {
        if number % 100 == 0 {
            assert!(publisher.push(good.clone()).is_ok());
        }
        let mut garbage = good.to_vec();
        match number % 5 {
            0 => garbage = (0..1 + next() % 3000).map(|_| next() as u8).collect(),
            1 => garbage.truncate((next() % good.len() as u64) as usize),
            2 => (0..200).for_each(|_| {
                let at = (next() % garbage.len() as u64) as usize;
                garbage[at] = next() as u8;
            }),
            3 => garbage = garbage.split_off((next() % good.len() as u64) as usize),
            _ => garbage = b"<html><body>404 Not Found</body></html>".repeat(1 + (next() % 9) as usize),
        }
        match publisher.try_push(garbage) {
            Ok(pushed) => {
                assert!(matches!(pushed, Ok(Pushed::Queued { .. } | Pushed::Init)), "there is room");
                queued += 1;
            }
            Err(error) => {
                assert!(error.code().starts_with("FRAGMENT_UN"), "{error:?}");
                refused += 1;
            }
        }
        if publisher.held() > 900 {
            break;
        }
    }
    let played = play(&publisher);
    let (published, skipped) = (played.published().len(), played.skipped().len());
    eprintln!("{refused} refused, {queued} queued; {published} published, {skipped} left out");
    let good_ones = frames(&played.tags, TagKind::Video).len();
    assert!(refused > 5 && skipped > 500 && good_ones >= 9 * 10, "{refused} {skipped} {good_ones}");
    assert!(!played.skipped().contains(&"STREAM_PANICKED"));
    let times = times(&played.tags, TagKind::Video);
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]));
}

/// An init segment and the segments behind it, each pushed by itself; and segments of which it is missing.
#[test]
fn segments_need_their_init_segment() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let spec =
        SampleSpec { fps: 25, seconds: 6.0, b_frames: 2, audio: Some((44_100, 2)), ..SampleSpec::default() };
    let clip = scratch.clip("clip.mp4", &spec);
    ffmpeg(
        directory,
        "-i clip.mp4 -c copy -f hls -hls_time 1 -hls_playlist_type vod -hls_segment_type fmp4 -hls_segment_filename seg-%03d.m4s list.m3u8",
    );
    let segments = pieces(directory, "seg-");
    assert!(segments.len() > 2, "{}", segments.len());
    let publisher = roomy();
    let early = publisher.push(&segments[0]).expect_err("there is no init segment");
    assert_eq!(early.code(), "FRAGMENT_UNUSABLE");
    assert_eq!(publisher.push(directory.join("init.mp4")).expect("it is one"), Pushed::Init);
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
    assert!(sent == frames_of(&clip, TagKind::Video), "{} pictures", sent.len());
    check_times("segments", &played.tags, 40.0, 1024.0 / 44.1);
}
