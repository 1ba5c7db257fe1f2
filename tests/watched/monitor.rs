//! The resource monitor: what it reports and when, whose threads it counts, and what it says of the process.

use std::path::Path;
use std::time::Duration;

use flowcast::av::{SampleSpec, sample_clip};
use flowcast::encode::{EncoderChoice, Threading};
use flowcast::keys::KeyRules;
use flowcast::rtmp::session::ClientRole;
use flowcast::{Encoding, EventKind, RtmpServerExt, Source};
use kit::rig::{Known, engine, wait_event};
use kit::{PATIENCE, Session, alone, run_alone, wait_until};

/// A limit of CPU use that nothing exceeds.
const PLENTY: f64 = 1e9;

#[test]
fn a_stream_that_uses_a_lot_is_reported_once_until_it_is_calm_and_goes_on() {
    let clip = Known::small();
    let engine = engine(|config| {
        config.monitor.interval = Duration::from_millis(50);
        config.monitor.cpu_percent = PLENTY;
    });
    let monitor = engine.monitor();
    let stream = engine.stream(Source::file(&clip.file).looped()).label("show").owner("alice");
    let live = stream.record(clip.beside("recording.flv")).start().expect("it starts");
    let events = live.events();
    assert!(!monitor.is_running() && monitor.loads().is_empty(), "it is off until it is started");
    monitor.start().expect("a thread");
    monitor.start().expect("it is on already");
    assert!(wait_until(PATIENCE, || monitor.history(live.id()).len() > 2));
    let calm = monitor.load(live.id()).expect("it runs");
    assert_eq!((calm.warnings, calm.is_high, calm.owner.as_deref()), (0, false, Some("alice")));
    assert!(wait_until(PATIENCE, || live.stats().bytes_held > 0));
    // What is high is changed while it runs. Memory: of CPU time a stream counts what it has used once a second.
    let quiet = monitor.settings();
    monitor.set(quiet.with(|settings| settings.memory = 1)).expect("it can work");
    let message = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::ResourceWarning { memory, .. } => {
            assert_eq!(event.kind.code(), Some("RESOURCE_WARNING"));
            Some((event.kind.to_string(), memory / 1_000_000))
        }
        _ => None,
    });
    let id = live.id();
    assert!(message.0.starts_with(&format!("Stream {id} using high resources: CPU ")), "{message:?}");
    assert!(message.0.ends_with(&format!("%, Memory {} MB", message.1)), "{message:?}");
    let before = monitor.history(id).len();
    assert!(wait_until(PATIENCE, || monitor.history(id).len() > before + 5));
    let high = monitor.load(id).expect("it runs");
    assert_eq!((high.warnings, high.is_high), (1, true), "it is not reported again: {high}");
    monitor.set(quiet).expect("it can work");
    wait_event(&events, PATIENCE, |event| matches!(event.kind, EventKind::ResourceCalm { .. }).then_some(()));
    monitor.stop();
    assert!(!monitor.is_running() && monitor.load(id).is_none());
    assert!(live.wait_timeout(Duration::ZERO).is_none(), "the stream runs");
    live.stop(PATIENCE).expect("it stops");
    let refused = monitor.set(monitor.settings().with(|settings| settings.interval = Duration::ZERO));
    assert_eq!(refused.expect_err("no interval").code(), "CONFIG_INVALID");
}

#[test]
fn held_bytes_have_their_parts_and_a_publication_its_owner() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let mut rules = KeyRules::default();
    rules.owner = Some("bob".to_owned());
    engine.keys().add_with("studio", "studio-key", rules).expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let mut publisher = Session::plain(ClientRole::Publish, server.address(), "live/studio-key");
    assert!(matches!(publisher.go_live(), Ok(true)));
    let made = engine.stream(Source::published("studio")).owner("bob");
    let made = made.record(clip.beside("copy.flv")).start().expect("it starts");
    assert!(wait_until(PATIENCE, || engine.streams().len() == 2));
    let monitor = engine.monitor();
    monitor.look();
    let loads = monitor.loads();
    let owners: Vec<_> = loads.iter().map(|load| load.owner.as_deref()).collect();
    assert_eq!(owners, [Some("bob"), Some("bob")], "what is published, and what is made of it");
    // The publication is one stream of its owner, and so is what is made of it; of all started streams only that one counts.
    assert_eq!((engine.owner_running("bob"), engine.running()), (2, 1));
    let looped = engine.stream(Source::file(&clip.file).looped());
    let looped = looped.record(clip.beside("loop.flv")).start().expect("it starts");
    let read_ahead = || looped.stats().held.read_ahead;
    assert!(wait_until(PATIENCE, || read_ahead() > 0), "{:?}", looped.stats().held);
    let stats = looped.stats();
    assert_eq!(stats.bytes_held, stats.held.total());
    looped.stop(PATIENCE).expect("it stops");
    made.stop(PATIENCE).expect("it stops");
}

/// Two seconds of pictures that take some work.
fn clip(directory: &Path) -> std::path::PathBuf {
    let file = directory.join("pictures.mp4");
    let spec = SampleSpec { seconds: 2.0, width: 640, height: 360, gop_frames: 24, ..SampleSpec::default() };
    sample_clip(&file, &spec).expect("libav makes the clip");
    file
}

#[test]
fn threads_that_an_encoder_starts_count_for_its_stream_and_what_nobody_owns_is_told() {
    // Threads are known by names, which streams of the other tests' engines have, too.
    let name = "monitor::threads_that_an_encoder_starts_count_for_its_stream_and_what_nobody_owns_is_told";
    if !alone("monitored") {
        print!("{}", run_alone("monitored", name, PATIENCE * 4));
        return;
    }
    let directory = kit::directory();
    let file = clip(directory.path());
    let engine = engine(|_| {});
    let encoding = Encoding::default().with(|encoding| {
        encoding.encoder = EncoderChoice::Software;
        encoding.threads = Some(3);
        encoding.threading = Some(Threading::Frame);
    });
    let start = |name: &str, source: Source| {
        let recording = directory.path().join(name);
        engine.stream(source.looped()).record(recording).start().expect("it starts")
    };
    let encoded = start("encoded.flv", Source::file(&file).mode(flowcast::Mode::Encode).encoding(encoding));
    let copied = start("copied.flv", Source::file(&file));
    let monitor = engine.monitor();
    monitor.look();
    let codecs = |live: &flowcast::StreamHandle| {
        monitor.look();
        monitor.load(live.id()).expect("it runs").codec_cpu_time
    };
    assert!(wait_until(PATIENCE, || codecs(&encoded) > Duration::from_millis(50)), "{:?}", monitor.loads());
    assert_eq!(codecs(&copied), Duration::ZERO, "it has no encoder");
    let stats = encoded.stats();
    assert!(
        stats.frames_encoded > 0 && stats.pixels_encoded == stats.frames_encoded * 640 * 360,
        "{stats:?}"
    );
    assert!(wait_until(PATIENCE, || encoded.stats().held.encoder > 0), "x264 keeps pictures");
    // A thread of the program's own works between two looks.
    let burnt = std::thread::spawn(|| {
        let until = std::time::Instant::now() + Duration::from_millis(200);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
    });
    burnt.join().expect("it only burns");
    let is_measured = || {
        monitor.look();
        monitor.process().cpu_percent > 0.0
    };
    assert!(wait_until(PATIENCE, is_measured), "{:?}", monitor.process());
    let process = monitor.process();
    assert!(process.unattributed_percent > 0.0 && process.cpu_percent >= process.unattributed_percent);
    assert!(process.used.threads > 3 && process.used.resident > 1 << 20, "{process:?}");
    println!("{:?}\n{process:?}", monitor.loads());
    encoded.stop(PATIENCE).expect("it stops");
    copied.stop(PATIENCE).expect("it stops");
}
