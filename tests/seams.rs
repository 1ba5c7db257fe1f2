//! Looped files across the seam in real time: what an `ffmpeg` player of the embedded server gets is the file over and over.
//! More files, played without a clock, are in `crates/core/src/source/lane/tests/seams`.

#![cfg(feature = "libav")]

use flowcast::{Config, Engine, Output, RtmpServerExt, Source};
use kit::rig::engines;
use kit::{Need, PATIENCE, decode, ffmpeg_play, frame_hashes, laps, make, need, packet_times, wait_until};
use std::path::Path;
use tempfile::TempDir;

/// Stream time of each loop of two seconds, in milliseconds.
const PLAYED: i64 = 9000;
/// Loop points in it that everybody sees.
const SEAMS: usize = 2;

const PICTURE: &str = "testsrc2=size=160x96:rate=25:duration=2";
const X264: &str = "-c:v libx264 -preset veryfast -threads 1 -pix_fmt yuv420p -bf 3 -g 25";

/// Files, what is special about them, and the steps of their sound in milliseconds.
const FILES: [(&str, &str, f64); 4] = [
    ("longer.mp4", "-f lavfi -i sine=sample_rate=44100:duration=3 -c:a aac", 1_024_000.0 / 44_100.0),
    (
        "open-gop.ts",
        "-f lavfi -i sine=sample_rate=48000:duration=1.7 -c:a aac -x264-params open-gop=1:b-adapt=0",
        1024.0 / 48.0,
    ),
    (
        "vfr.mkv",
        "-f lavfi -i sine=sample_rate=48000:duration=2 -c:a aac -vf select='not(mod(n,3)*gt(n,20))' -vsync vfr",
        1024.0 / 48.0,
    ),
    ("mp3.flv", "-f lavfi -i sine=sample_rate=44100:duration=2 -c:a libmp3lame", 1_152_000.0 / 44_100.0),
];

#[test]
fn an_ffmpeg_player_sees_every_frame_over_the_seam() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let directory = directory.path();
    for (name, special, _) in FILES {
        make(directory, name, &format!("-f lavfi -i {PICTURE} {special} {X264}"));
    }
    let serving = Engine::new(Config::default()).expect("the defaults work");
    let server = serving.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let engines = engines(directory);
    std::thread::scope(|scope| {
        for (mode, engine) in &engines {
            for (name, _, step) in FILES {
                let (serving, address) = (&serving, server.address().to_string());
                scope.spawn(move || {
                    let stream = format!("{mode}-{}", name.replace('.', "-"));
                    serving.keys().add(&stream, format!("{stream}-key")).expect("a usable key");
                    let live = engine
                        .stream(Source::file(directory.join(name)).looped())
                        .to(Output::rtmp_url(&format!("rtmp://{address}/live/{stream}-key")))
                        .start()
                        .expect("it can be played");
                    assert!(wait_until(PATIENCE, || serving.hub().find(&stream).is_some()), "{stream}");
                    let played = directory.join(format!("{stream}.flv"));
                    let mut player = ffmpeg_play(&format!("rtmp://{address}/live/{stream}"), &played, None);
                    let done = wait_until(PATIENCE, || live.stats().media_time.as_millis() >= PLAYED);
                    assert!(done, "{stream}: {}", live.stats());
                    assert_eq!(live.stats().mode.to_string(), *mode, "{stream}");
                    live.stop(PATIENCE).expect("a stream that ran well ends well");
                    player.wait_success(PATIENCE);
                    check(&stream, &directory.join(name), &played, step);
                });
            }
        }
    });
}

/// The player's file is the looped one, over its loop points, without a hole in its sound.
fn check(who: &str, file: &Path, played: &Path, step: f64) {
    let seen = decode(played);
    let found = laps(&seen.frames, &frame_hashes(file)).unwrap_or_else(|why| panic!("{who}: {why}"));
    // One that joins at the open GOP in the middle of a lap is told to let go of pictures that it never had, and of nothing else.
    let is_open_gop = who.ends_with("open-gop-ts") && found.first > 0;
    let is_excused = |line: &str| is_open_gop && line.ends_with("mmco: unref short failure");
    let mut complaints = seen.complaints.lines().filter(|line| !line.trim().is_empty());
    assert!(complaints.all(is_excused), "{who}: {}", seen.complaints);
    assert!(found.seams >= SEAMS, "{who}: {found}");
    let shown = packet_times(played, "v");
    for pair in shown.windows(2) {
        assert!(pair[1].dts > pair[0].dts, "{who}: {pair:?}");
    }
    for pair in packet_times(played, "a").windows(2) {
        let off = pair[1].dts - pair[0].dts - step;
        assert!(off.abs() < step, "{who}: the sound is off by {off} ms at {pair:?}");
    }
}
