//! Content alarms: black, frozen and silent, raised and ended on clips that are made so, and not by others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast::encode::FrameRate;
use flowcast::frames::{AudioFormat, Frames, PixelFormat, VideoFormat, When};
use flowcast::source::{Fallback, Reaction, Watchdog};
use flowcast::stats::ContentFault;
use flowcast::{Encoding, Engine, EventKind, Events, Mode, Profile, Source, StreamHandle};

use kit::rig::{engine, wait_event};
use kit::{PATIENCE, Peer, decode, directory, make, media, text};

/// The clips have sixteen seconds that are wrong, then eight that are not: a machine that is busy looks seldom.
const SOUND: &str = "-f lavfi -i sine=440:sample_rate=48000:d=24";
const ENCODED: &str = "-c:v libx264 -preset veryfast -g 25 -pix_fmt yuv420p -c:a aac -shortest";

fn black(directory: &Path) -> PathBuf {
    let pictures = "-f lavfi -i color=black:s=320x180:r=25:d=16 -f lavfi -i testsrc2=s=320x180:r=25:d=8";
    let joined = "-filter_complex [0][1]concat=n=2:v=1[v] -map [v] -map 2";
    make(directory, "black.mp4", &format!("{pictures} {SOUND} {joined} {ENCODED}"))
}

fn frozen(directory: &Path) -> PathBuf {
    let still = "testsrc2=s=320x180:r=25,trim=end_frame=1,loop=400:1:0,setpts=N/25/TB";
    let pictures = format!("-f lavfi -i {still} -f lavfi -i testsrc2=s=320x180:r=25:d=8");
    let joined = "-filter_complex [0]fps=25[a];[a][1]concat=n=2:v=1[v] -map [v] -map 2";
    make(directory, "frozen.mp4", &format!("{pictures} {SOUND} {joined} {ENCODED}"))
}

fn silent(directory: &Path) -> PathBuf {
    let pictures = "-f lavfi -i testsrc2=s=320x180:r=25:d=24";
    // 50 dB less is no sound, 10 dB less is quiet.
    let quiet = "-filter_complex [1]volume='if(lt(t,16),0.003,0.3)':eval=frame[a] -map 0 -map [a]";
    make(directory, "silent.mp4", &format!("{pictures} {SOUND} {quiet} {ENCODED}"))
}

/// Looks every second, and tells after three.
fn eager() -> Watchdog {
    let three = Some(Duration::from_secs(3));
    Watchdog::default().with(|rules| {
        (rules.black, rules.frozen, rules.silent) = (three, three, three);
        rules.look_every = Duration::from_secs(1);
    })
}

fn start(engine: &Engine, source: Source) -> (StreamHandle, Events) {
    let stream = engine.stream(source).without_outputs().start().expect("it plays");
    let events = stream.events();
    (stream, events)
}

/// Waits until the alarm of this fault was raised and is over; which were raised until then.
fn raised_and_ended(events: &Events, wanted: ContentFault) -> BTreeSet<&'static str> {
    let mut raised = BTreeSet::new();
    wait_event(events, 3 * PATIENCE, |event| match event.kind {
        EventKind::ContentAlarm { fault, after } => {
            assert!(after >= Duration::from_secs(3), "{fault} after {after:?}");
            raised.insert(fault.as_str());
            None
        }
        EventKind::ContentAlarmEnded { fault, after } => {
            assert!(raised.contains(fault.as_str()) && after >= Duration::from_secs(3), "{fault} {after:?}");
            (fault == wanted).then_some(())
        }
        _ => None,
    });
    raised
}

#[test]
fn each_alarm_is_raised_and_ended_by_what_is_so_and_by_nothing_else() {
    let directory = directory();
    let clips = [
        (black(directory.path()), ContentFault::Black, &["black", "frozen"][..]),
        (frozen(directory.path()), ContentFault::Frozen, &["frozen"]),
        (silent(directory.path()), ContentFault::Silent, &["silent"]),
    ];
    let mut quick = Encoding::new(Profile::Ultra);
    quick.size = Some((320, 180));
    let engine = engine(|config| config.thumbnail_threads = clips.len() + 1);
    let copied = clips.iter().map(|(clip, fault, may_be)| (Source::file(clip), *fault, *may_be));
    let (clip, fault, may_be) = &clips[0];
    let encoded = (Source::file(clip).mode(Mode::Encode).encoding(quick), *fault, *may_be);
    std::thread::scope(|scope| {
        for (source, fault, may_be) in copied.chain([encoded]) {
            let engine = &engine;
            scope.spawn(move || {
                let (stream, events) = start(engine, source.looped().watchdog(eager()));
                let raised = raised_and_ended(&events, fault);
                assert!(raised.contains(fault.as_str()), "{fault}: {raised:?}");
                assert!(raised.iter().all(|raised| may_be.contains(raised)), "{fault}: {raised:?}");
                drop(stream);
            });
        }
    });
}

#[test]
fn the_fallback_stands_in_for_what_is_black_until_it_is_not() {
    let directory = directory();
    let slate = make(
        directory.path(),
        "slate.mp4",
        &format!("-f lavfi -i testsrc=s=320x180:r=25:d=4 {SOUND} {ENCODED}"),
    );
    let engine = engine(|_| {});
    let rules = eager().with(|rules| (rules.frozen, rules.then) = (None, Reaction::Fallback));
    let source = Source::file(black(directory.path())).looped().watchdog(rules);
    let fallback = Fallback::file(slate).mode(Mode::Copy).at_least(Duration::from_secs(1));
    let (stream, events) = start(&engine, source.fallback(fallback));
    let mut told = Vec::new();
    wait_event(&events, 3 * PATIENCE, |event| {
        let is_over = matches!(event.kind, EventKind::FallbackEnded { .. });
        match event.kind {
            EventKind::ContentAlarm { .. }
            | EventKind::ContentAlarmEnded { .. }
            | EventKind::FallbackBegan { .. }
            | EventKind::FallbackEnded { .. } => told.push(event.kind.name()),
            _ => {}
        }
        is_over.then_some(())
    });
    assert_eq!(told, ["content_alarm", "fallback_began", "content_alarm_ended", "fallback_ended"]);
    assert!(stream.stats().fallback.is_some_and(|fallback| fallback.times == 1));
}

#[test]
fn what_is_still_black_after_it_was_opened_again_is_told_again() {
    let directory = directory();
    let pictures = "-f lavfi -i color=black:s=320x180:r=25:d=4";
    let black = make(directory.path(), "black.mp4", &format!("{pictures} {SOUND} {ENCODED}"));
    let engine = engine(|_| {});
    let rules =
        eager().with(|rules| (rules.frozen, rules.silent, rules.then) = (None, None, Reaction::Restart));
    let (_stream, events) = start(&engine, Source::file(black).looped().watchdog(rules));
    let mut told = Vec::new();
    wait_event(&events, 3 * PATIENCE, |event| {
        match event.kind {
            EventKind::ContentAlarm { .. } | EventKind::SourceSwitched { .. } => told.push(event.kind.name()),
            _ => {}
        }
        (told.len() == 3).then_some(())
    });
    assert_eq!(told, ["content_alarm", "source_switched", "content_alarm"]);
}

/// Whether a file is so by FFmpeg's measure: some of the footage is silent, and one is black.
fn is_so(file: &Path, fault: ContentFault) -> bool {
    let values = |map: &str, filter: [&str; 2], word: &str| -> Vec<f64> {
        let arguments = ["-nostdin", "-hide_banner", "-i", text(file), "-map", map];
        let rest = filter.into_iter().chain(["-f", "null", "-"]);
        let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), arguments.into_iter().chain(rest));
        ffmpeg.wait_success(PATIENCE);
        let told = ffmpeg.errors();
        let numbers =
            told.split(word).skip(1).filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
        numbers.collect()
    };
    match fault {
        ContentFault::Silent => {
            let levels = values("0:a:0", ["-af", "volumedetect"], "mean_volume: ");
            levels.iter().all(|level| *level < -40.0) && !levels.is_empty()
        }
        ContentFault::Black => {
            let print = "signalstats,metadata=print:key=lavfi.signalstats.YHIGH";
            let brightest = values("0:v:0", ["-vf", print], "YHIGH=");
            brightest.iter().all(|value| *value < 38.0) && !brightest.is_empty()
        }
        _ => {
            let frames: BTreeSet<_> = decode(file).frames.into_iter().collect();
            frames.len() == 1
        }
    }
}

#[test]
fn real_footage_raises_no_alarm() {
    let Some(folder) = media("README.md").and_then(|file| file.parent().map(Path::to_owned)) else {
        eprintln!("skipped: there is no footage");
        return;
    };
    let engine = engine(|config| config.max_streams = 100);
    let mut folders = vec![folder];
    let mut running = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = |mode: Mode| Source::file(&path).looped().mode(mode).watchdog(eager());
            let start = |mode| engine.stream(source(mode)).without_outputs().start();
            // What cannot be copied is encoded; what is no media is not played.
            if let Ok(stream) = start(Mode::Copy).or_else(|_| start(Mode::Encode)) {
                running.push((path, stream.events(), stream));
            }
        }
    }
    assert!(running.len() >= 10, "{}", running.len());
    let until = Instant::now() + Duration::from_secs(12);
    let mut raised = Vec::new();
    for (path, events, _) in &running {
        while let Some(event) = events.next_timeout(until.saturating_duration_since(Instant::now())) {
            if let EventKind::ContentAlarm { fault, .. } = event.kind
                && !is_so(path, fault)
            {
                raised.push(format!("{}: {fault}", path.display()));
            }
        }
    }
    assert!(raised.is_empty(), "{raised:#?}");
}

#[test]
fn what_is_encoded_live_is_judged_by_what_its_encoder_sees_and_hears() {
    const SIZE: (u32, u32) = (320, 180);
    let engine = engine(|config| config.thumbnail_threads = 1);
    let format = VideoFormat::new(PixelFormat::Yuv420p, SIZE.0, SIZE.1, FrameRate::whole(25));
    let (sink, source) =
        Frames::new(format).audio(AudioFormat::f32(48_000, 1)).open().expect("usable settings");
    // So seldom does anybody look at samples of the stream: what is told comes from the encoder.
    let rules = eager().with(|rules| rules.look_every = Duration::from_secs(3));
    let (stream, events) = start(&engine, source.encoding(Profile::Ultra).watchdog(rules));
    let (is_wrong, stop) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicBool>::default());
    let flags = (is_wrong.clone(), stop.clone());
    let program = std::thread::spawn(move || {
        let (is_wrong, stop) = flags;
        for number in 0_u32.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let wrong = is_wrong.load(Ordering::Relaxed);
            let mut frame = sink.frame().expect("a frame");
            for plane in 0..3 {
                let shade = if plane == 0 { 16 } else { 128 };
                frame.plane_mut(plane).fill(shade);
            }
            let level = if wrong { 0.0 } else { 0.3 };
            if !wrong {
                let stride = frame.stride(0);
                let left = (number as usize * 3) % 200;
                frame.plane_mut(0).chunks_mut(stride).for_each(|row| row[left..left + 100].fill(200));
            }
            let samples: Vec<f32> =
                (0..1920).map(|at| level * ((number * 1920 + at) as f32 * 0.05).sin()).collect();
            // It waits where the program is faster than the stream.
            let sent = sink.send(frame, When::Now).and_then(|()| sink.send_samples(&samples[..], When::Now));
            if sent.is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(40));
        }
    });
    let mut raised = BTreeSet::new();
    wait_event(&events, 3 * PATIENCE, |event| {
        if let EventKind::ContentAlarm { fault, after } = event.kind {
            assert!(after >= Duration::from_secs(3), "{fault} after {after:?}");
            raised.insert(fault.as_str());
        }
        (raised.len() == 3).then_some(())
    });
    is_wrong.store(false, Ordering::Relaxed);
    wait_event(&events, 3 * PATIENCE, |event| {
        if let EventKind::ContentAlarmEnded { fault, .. } = event.kind {
            raised.remove(fault.as_str());
        }
        raised.is_empty().then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    program.join().expect("it does not panic");
    drop(stream);
}
