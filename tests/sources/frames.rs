//! Frames of a program on the air: to a server, a recording and a thumbnail at once, with a fallback while it gives nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowcast::encode::FrameRate;
use flowcast::frames::{AudioFormat, FrameSink, Frames, PixelFormat, VideoFormat, When};
use flowcast::source::Fallback;
use flowcast::stats::OutputPhase;
use flowcast::thumbnail::ThumbnailOptions;
use flowcast::{Encoding, Error, Output, Profile};
use kit::bystander::at_most;
use kit::rig::engine;
use kit::{FfmpegListen, Need, PATIENCE, directory, make, need, run, text, wait_closed, wait_until};

use crate::assert_one_stream;

const RATE: u32 = 30;
const SIZE: (u32, u32) = (320, 180);

fn drawn() -> VideoFormat {
    VideoFormat::new(PixelFormat::Rgba, SIZE.0, SIZE.1, FrameRate::whole(RATE))
}

/// A program that draws pictures of one colour and plays a tone, in real time, until it is told to stop; while `pause` is set, nothing.
struct Program {
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    level: Arc<AtomicU8>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Program {
    fn start(sink: FrameSink) -> Self {
        let (stop, pause, level) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default(), Arc::default());
        let flags = (stop.clone(), pause.clone(), Arc::<AtomicU8>::clone(&level));
        Self { stop, pause, level, thread: std::thread::spawn(move || play(&sink, &flags)) }
    }

    fn end(self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

fn play(
    sink: &FrameSink,
    (stop, pause, level): &(Arc<AtomicBool>, Arc<AtomicBool>, Arc<AtomicU8>),
) -> Result<(), Error> {
    let began = Instant::now();
    for number in 0_u32.. {
        let time = Duration::from_secs(1) * number / RATE;
        std::thread::park_timeout(time.saturating_sub(began.elapsed()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if pause.load(Ordering::Relaxed) {
            continue;
        }
        let mut frame = sink.frame()?;
        for pixel in frame.plane_mut(0).chunks_exact_mut(4) {
            pixel.copy_from_slice(&[0, level.load(Ordering::Relaxed), 0, 255]);
        }
        sink.send(frame, When::At(time))?;
        if sink.audio_format().is_some() {
            let tone = |sample: usize| (sample as f32 * 0.05).sin() * 0.2;
            let samples: Vec<f32> =
                (0..48_000 / RATE as usize).flat_map(|sample| [tone(sample); 2]).collect();
            sink.send_samples(&samples[..], When::At(time))?;
        }
    }
    Ok(())
}

/// What ffprobe says of the first track of a kind.
fn probed(file: &Path, kind: &str, entries: &str) -> String {
    let entries = format!("stream={entries}");
    let arguments =
        ["-v", "error", "-select_streams", kind, "-show_entries", &entries, "-of", "csv=p=0", text(file)];
    run("ffprobe", arguments, PATIENCE).trim().to_owned()
}

#[test]
fn one_program_feeds_a_server_a_recording_and_a_thumbnail() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let since = Instant::now();
    at_most(Duration::ZERO, since);
    let recording = directory.path().join("drawn.mp4");
    let mut listener = FfmpegListen::start("live", "drawn");
    let engine = engine(|_| {});
    let frames = Frames::new(drawn()).audio(AudioFormat::f32(48_000, 2));
    let (sink, source) = frames.open().expect("usable settings");
    let live = engine
        .stream(source.encoding(Profile::Ultra))
        .to(Output::rtmp_url(&listener.url))
        .record(&recording)
        .start()
        .expect("it starts");
    let program = Program::start(sink.clone());
    program.level.store(200, Ordering::Relaxed);
    let has_sent = || live.stats().media_time.as_millis() > 4000;
    assert!(wait_until(PATIENCE, has_sent), "{}", live.stats());
    let thumbnail = live.thumbnail(&ThumbnailOptions::default(), PATIENCE).expect("there is a picture");
    assert_eq!((thumbnail.width, thumbnail.height), SIZE);
    let stats = live.stats();
    assert!(stats.outputs.iter().all(|output| output.phase == OutputPhase::Live), "{stats}");
    assert!(stats.encoding.is_some_and(|encoding| encoding.frames > 100));
    program.end().expect("nothing is refused");
    drop(sink);
    live.wait_timeout(PATIENCE).expect("it is complete").expect("it ended well");
    let pushed = listener.finish(PATIENCE).to_owned();
    wait_closed(&pushed, PATIENCE);
    for file in [&recording, &pushed] {
        let (pictures, sound) = assert_one_stream(file);
        // An encoder that is kept from a processor leaves pictures out.
        let late = at_most(Duration::ZERO, since).as_millis() as f64;
        assert!(pictures <= 35.0 + late && sound <= 25.0 + late, "{}: {pictures} {sound}", file.display());
        let video = probed(
            file,
            "v:0",
            "width,height,pix_fmt,color_range,color_space,color_transfer,color_primaries",
        );
        assert_eq!(video, "320,180,yuv420p,tv,bt709,bt709,bt709", "{}", file.display());
    }
    assert_eq!(probed(&recording, "a:0", "codec_name,sample_rate,channels"), "aac,48000,2");
}

#[test]
fn while_a_program_gives_nothing_its_fallback_is_on_the_air() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let slate = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=f=880:r=48000 -t 2 \
                 -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 30 -bf 0 -c:a aac -ac 2";
    let slate = make(directory.path(), "slate.mp4", slate);
    let recording = directory.path().join("drawn.flv");
    let engine = engine(|_| {});
    // Its sound is silence.
    let frames = Frames::new(drawn()).hold(Duration::from_millis(500));
    let (sink, source) = frames.open().expect("usable settings");
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.gop = Duration::from_secs(1);
    let fallback = Fallback::file(&slate).after(Duration::from_millis(500));
    let live = engine
        .stream(source.encoding(encoding).fallback(fallback))
        .record(&recording)
        .start()
        .expect("it starts");
    let program = Program::start(sink);
    let wait_fallback = |on_air: bool| {
        let is_so = || live.stats().fallback.is_some_and(|fallback| fallback.on_air == on_air);
        assert!(wait_until(PATIENCE, is_so), "{on_air}: {}", live.stats());
        let more = live.stats().media_time.as_millis() + 1500;
        assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() >= more), "{}", live.stats());
    };
    wait_fallback(false);
    for _ in 0..2 {
        program.pause.store(true, Ordering::Relaxed);
        wait_fallback(true);
        program.pause.store(false, Ordering::Relaxed);
        wait_fallback(false);
    }
    program.end().expect("nothing is refused");
    live.wait_timeout(PATIENCE).expect("it is complete").expect("it ended well");
    assert!(live.stats().fallback.is_some_and(|fallback| fallback.times == 2), "{}", live.stats());
    assert_one_stream(&recording);
}

#[test]
fn a_sink_outlives_its_stream_and_is_told() {
    let engine = engine(|_| {});
    let (sink, stream) = engine.frames(drawn()).expect("usable settings");
    // Before the start the oldest goes, whatever is sent.
    for _ in 0..40 {
        sink.send(sink.frame().expect("one is free"), When::Now).expect("it is taken");
    }
    let live = stream.without_outputs().start().expect("it starts");
    let program = Program::start(sink.clone());
    assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() > 500), "{}", live.stats());
    // It waits for room, and the stream ends.
    let waiting = sink.clone();
    let waiting = std::thread::spawn(move || {
        while waiting.frame().and_then(|frame| waiting.send(frame, When::Now)).is_ok() {}
        waiting.frame().map(drop)
    });
    live.stop(PATIENCE).expect("it stops");
    assert!(matches!(waiting.join().expect("it does not panic"), Err(Error::Ended)));
    assert!(matches!(program.end(), Err(Error::Ended) | Ok(())));
    assert!(matches!(sink.try_frame(), Err(Error::Ended)));
}

#[test]
fn what_has_no_effect_on_frames_is_refused() {
    let engine = engine(|_| {});
    let refused = |change: fn(flowcast::Source) -> flowcast::Source| {
        let (_sink, source) = Frames::new(drawn()).open().expect("usable settings");
        let start = engine.stream(change(source)).without_outputs().start();
        start.map(drop).expect_err("it is refused").to_string()
    };
    assert!(refused(flowcast::Source::looped).contains("looped"));
    assert!(refused(flowcast::Source::once).contains("once"));
    assert!(refused(|source| source.starting_at(Duration::from_secs(1))).contains("starting_at"));
    assert!(refused(|source| source.mode(flowcast::Mode::Copy)).contains("mode"));
    assert!(refused(|source| source.encoding(Profile::Copy)).contains("mode"));
    // One program, one stream.
    let (_sink, source) = Frames::new(drawn()).open().expect("usable settings");
    let first = engine.stream(source.clone()).without_outputs().start().expect("it starts");
    let second = engine.stream(source).without_outputs().start().map(drop);
    assert!(second.is_err_and(|error| error.code() == "CONFIG_INVALID"));
    first.stop(PATIENCE).expect("it stops");
}
