//! One encode for many: streams and outputs that ask for the same encoding of the same source share it, without being told.

use std::fs;
use std::path::{Path, PathBuf};

use flowcast::stats::SourceMode;
use flowcast::{BitRate, Encoding, Mode, Output, Profile, ReelStore, RtmpServerExt, Source, StreamHandle};
use kit::rig::engine;
use kit::{Clip, PATIENCE, Peer, directory, ffmpeg_publish, text, turn, wait_until};

const CLIP: Clip = Clip { seconds: 6, rate: 25, gop: 25, b_frames: 0, audio: true, size: (320, 180) };

/// Threads that encode what is published under a name.
fn encoders_of(name: &str) -> usize {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|thread| thread.trim_end() == format!("fw-{name}")).count()
}

/// Size and checksum of each picture of a file.
fn pictures(file: &Path) -> Vec<String> {
    let arguments =
        ["-nostdin", "-v", "error", "-i", text(file), "-map", "0:v", "-c", "copy", "-f", "framemd5", "-"];
    let mut reader = Peer::spawn(Path::new("ffmpeg"), arguments);
    reader.wait_success(PATIENCE);
    let sums = reader.output();
    let of_picture = |line: &str| Some(line.rsplit(',').next()?.trim().to_owned());
    sums.lines().filter(|line| !line.starts_with('#')).filter_map(of_picture).collect()
}

fn encoded(stream: &StreamHandle) -> u64 {
    stream.stats().encoding.map_or(0, |encoding| encoding.frames)
}

#[test]
fn streams_that_ask_for_the_same_encoding_of_what_is_published_have_one_encoder() {
    let _turn = turn();
    let directory = directory();
    let clip = CLIP.make(directory.path(), "clip.flv");
    let engine = engine(|_| {});
    engine.keys().add("twins", "twins-key").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let file = |name: &str| -> PathBuf { directory.path().join(format!("{name}.flv")) };
    let source = |kbps: u64| {
        let encoding = Encoding::new(Profile::Ultra)
            .with(|encoding| encoding.video_bit_rate = Some(BitRate::from_kbps(kbps)));
        Source::published("twins").mode(Mode::Encode).encoding(encoding)
    };
    let start = |source: Source, names: &[&str]| {
        let outputs = names.iter().map(|name| Output::record(file(name)));
        engine.stream(source).outputs(outputs).start().expect("a free place")
    };
    let one = start(source(600), &["one", "again"]);
    // What stands in for it is its own.
    let other = start(source(600).fallback(&clip), &["other"]);
    let cheaper = start(source(300), &["cheaper"]);

    let url = format!("rtmp://{}/live/twins-key", server.address());
    // Until enough of it was encoded: on a busy machine pictures are left out.
    let mut publisher = ffmpeg_publish(&clip, &url, 1000);
    let passes = |stream: &StreamHandle, pictures| wait_until(PATIENCE, || encoded(stream) >= pictures);
    for stream in [&one, &other, &cheaper] {
        assert!(passes(stream, 30), "{}", stream.stats());
    }
    // Threads say what they are called once they run.
    assert_eq!(encoders_of("twins"), 2, "one for two streams with three outputs, and one for what differs");
    // The least of what they ask for holds for both; a stream that leaves asks for nothing.
    let target = |stream: &StreamHandle| stream.stats().encoding.map(|encoding| encoding.target);
    let has_target = |stream: &StreamHandle, kbps| {
        wait_until(PATIENCE, || target(stream) == Some(BitRate::from_kbps(kbps)))
    };
    other.set_bitrate(BitRate::from_kbps(400)).expect("it is encoded");
    assert!(has_target(&one, 400), "{}", one.stats());
    assert!(has_target(&cheaper, 300), "{}", cheaper.stats());
    assert!(passes(&one, 140) && passes(&cheaper, 140), "{} {}", one.stats(), cheaper.stats());
    publisher.interrupt(PATIENCE);
    other.stop(PATIENCE).expect("it runs well");
    assert_eq!(encoders_of("twins"), 2, "one of the two streams is still there");
    for stream in [one, cheaper] {
        stream.stop(PATIENCE).expect("it runs well");
    }
    assert!(wait_until(PATIENCE, || encoders_of("twins") == 0), "nobody shows what they encode");

    let [one, again, cheaper] = ["one", "again", "cheaper"].map(|name| pictures(&file(name)));
    assert!(one.len() >= 140, "{}", one.len());
    assert_eq!(one, again, "two outputs");
    // The fallback comes before and behind what was published, and wherever the publisher is late.
    let other = pictures(&file("other"));
    let shown = one.iter().filter(|picture| other.contains(picture)).count();
    assert!(shown > one.len() / 2, "{shown} of {}", one.len());
    assert!(cheaper.iter().all(|picture| !one.contains(picture)), "another encoding");
}

#[test]
fn streams_that_ask_for_the_same_encoding_of_a_file_play_one_reel() {
    let _turn = turn();
    let directory = directory();
    let clip = CLIP.make(directory.path(), "clip.mp4");
    let engine = engine(|config| config.reels = Some(ReelStore::new(directory.path().join("reels"))));
    let source = || Source::file(&clip).looped().mode(Mode::Encode).encoding(Profile::Ultra);
    let start = |name: &str| {
        let output = Output::record(directory.path().join(name));
        engine.stream(source()).to(output).start().expect("a free place")
    };
    let first = [start("one.flv"), start("other.flv")];
    let plays_reel =
        |stream: &StreamHandle| wait_until(2 * PATIENCE, || stream.stats().mode == SourceMode::Reel);
    for stream in &first {
        assert!(plays_reel(stream), "{}", stream.stats());
    }
    let reels = || engine.reel_store_stats().map_or((0, 0), |stats| (stats.reels, stats.cutting));
    assert_eq!(reels().0 + reels().1, 1, "{:?}", engine.reel_store_stats());
    assert!(wait_until(2 * PATIENCE, || reels() == (1, 0)), "{:?}", engine.reel_store_stats());
    // It is encoded for nobody any more.
    let late = start("late.flv");
    assert!(wait_until(PATIENCE, || late.stats().media_time.as_millis() > 2000), "{}", late.stats());
    assert_eq!((late.stats().mode, encoded(&late)), (SourceMode::Reel, 0), "{}", late.stats());
    for stream in first.into_iter().chain([late]) {
        stream.stop(PATIENCE).expect("it runs well");
    }
}
