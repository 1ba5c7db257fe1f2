//! Loops of such files, copied and encoded, decoded over their seams.

use super::*;
use flowcast::encode::{AudioCodec, VideoCodec};
use flowcast::{BitRate, Encoding, Event, EventKind, Mode, Profile};
use kit::bystander::Others;
use kit::{alone, run_alone};

/// Stream time that is recorded: three seams.
const PLAYED: i64 = 7000;

/// Plays a source for a while and records it. Whether the machine was too slow for its reel, and it was read in two ways.
fn record(engine: &Engine, source: Source, to: &Path) -> bool {
    let events = engine.events();
    let live = engine.stream(source).to(Output::record(to)).start().expect("it can be played");
    let done = wait_until(PATIENCE * 2, || live.stats().media_time.as_millis() >= PLAYED);
    assert!(done, "{}: {}", to.display(), live.stats());
    let id = live.id();
    live.stop(PATIENCE).expect("a stream that ran well ends well");
    let changed = |event: Event| event.stream == id && matches!(event.kind, EventKind::ModeChanged { .. });
    std::iter::from_fn(|| events.try_next()).any(changed)
}

fn assert_rising(recording: &Path) {
    for kind in [true, false] {
        let times =
            whole_flv_tags(recording).into_iter().filter(|tag| tag.is_audio() == kind && !tag.is_script());
        let coded = times.filter(|tag| !tag.is_sequence_header()).map(|tag| tag.timestamp.as_millis());
        let times: Vec<_> = coded.collect();
        let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(steps.clone().all(|step| (1..=80).contains(&step)), "{}: {times:?}", recording.display());
    }
}

#[test]
fn copies_decode_over_their_seams() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let directory = directory.path();
    let engines = engines(directory);
    std::thread::scope(|scope| {
        for file in FILES {
            let engines = &engines;
            scope.spawn(move || {
                let path = make(directory, file);
                let frames = frame_hashes(&path);
                assert_eq!(frames.len(), FRAMES, "{}", file.0);
                for (mode, engine) in engines {
                    let recording = directory.join(format!("{}.{mode}.flv", file.0));
                    record(engine, Source::file(&path).looped().enhanced(), &recording);
                    assert_rising(&recording);
                    let decoded = frame_hashes(&to_matroska(&recording));
                    let found =
                        laps(&decoded, &frames).unwrap_or_else(|why| panic!("{} {mode}: {why}", file.0));
                    assert!(found.first == 0 && found.seams >= 2, "{} {mode}: {found}", file.0);
                    let headers = whole_flv_tags(&recording)
                        .into_iter()
                        .filter(|tag| tag.is_video() && tag.is_sequence_header());
                    assert_eq!(headers.count(), 1, "{} {mode}: one configuration", file.0);
                }
            });
        }
    });
}

#[test]
fn what_is_encoded_decodes_over_its_seams() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    // By itself: what other tests of this program do is not what others do.
    if !alone("encoding") {
        run_alone("encoding", "loops::what_is_encoded_decodes_over_its_seams", PATIENCE * 10);
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let directory = directory.path();
    let source = ("h264.mp4", "avc1", "-c:v libx264 -preset ultrafast -g 25 -c:a aac");
    let path = make(directory, source);
    let engines = engines(directory);
    for codec in [VideoCodec::Hevc, VideoCodec::Av1, VideoCodec::Vp9, VideoCodec::Vp8] {
        let mut encoding = Encoding::new(Profile::Ultra);
        encoding.video_codec = codec;
        encoding.video_bit_rate = Some(BitRate::from_kbps(400));
        encoding.audio.codec = AudioCodec::Opus;
        let wish = || Source::file(&path).looped().mode(Mode::Encode).encoding(encoding.clone());
        let (_, engine) = &engines[1];
        let refused = engine.stream(wish()).to(Output::record(directory.join("refused.flv"))).start();
        assert_eq!(refused.expect_err("it is not asked for").code(), "CONFIG_INVALID");
        let recording = directory.join(format!("{}.flv", codec.as_str()));
        let others = Others::watch();
        if record(engine, wish().enhanced(), &recording) {
            // A machine that is busy with others may encode more slowly than is played. Then it is encoded twice, by an encoder that goes by
            // the clock: no two laps need be the same. Once the reel is complete, there is one of it.
            let share = others.share();
            assert!(share > 0.2, "{}: slower than played, and others had {share:.2}", codec.as_str());
            let complete = || engine.reel_store_stats().is_some_and(|stats| stats.cutting == 0);
            assert!(wait_until(PATIENCE * 2, complete), "{:?}", engine.reel_store_stats());
            std::fs::remove_file(&recording).expect("it was made");
            assert!(!record(engine, wish().enhanced(), &recording), "{}: not from its reel", codec.as_str());
        }
        assert_rising(&recording);
        let decoded = frame_hashes(&to_matroska(&recording));
        let (first, rest) = decoded.split_at(FRAMES);
        let found = laps(rest, first).unwrap_or_else(|why| panic!("{}: {why}", codec.as_str()));
        assert!(found.seams >= 1, "{}: {found}", codec.as_str());
        let headers = whole_flv_tags(&recording).into_iter().filter(Tag::is_sequence_header).count();
        assert_eq!(headers, 2, "{}: one configuration for each track", codec.as_str());
    }
}
