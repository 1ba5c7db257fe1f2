//! Fallbacks: what stands in for a publisher that is killed, and for a file that cannot be read.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use flowcast::encode::FrameRate;
use flowcast::server::ServerOptions;
use flowcast::source::{Fallback, Seam};
use flowcast::stats::OutputPhase;
use flowcast::{
    Encoding, Engine, Error, EventKind, Events, Mode, Output, Profile, ReelStore, RtmpServer, RtmpServerExt,
    Source, StreamHandle,
};
use kit::bystander::at_most;
use kit::rig::{Known, engine, push, read_flv, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{
    Clip, Need, Nginx, PATIENCE, Peer, alone, directory, ffmpeg_publish, make, need, run_alone, wait_until,
};
use tempfile::TempDir;

use crate::assert_one_stream;

const KEY: &str = "studio-key";
const NAME: &str = "studio";
const AFTER: Duration = Duration::from_secs(2);
/// A GOP of the publisher, and of the fallback, milliseconds.
const GOP: f64 = 1000.0;

/// A server that publishers come to, and a stream that is made of them.
struct Studio {
    engine: Engine,
    server: RtmpServer,
    directory: TempDir,
    clip: PathBuf,
    slate: PathBuf,
}

impl Studio {
    /// What is published has no B-frames: of a publisher that is killed, no frame comes that is shown after one that does not.
    fn start() -> Self {
        let directory = directory();
        let clip = Clip { seconds: 3, b_frames: 0, ..Clip::default() }.make(directory.path(), "clip.flv");
        // Another size, another rate, another sound.
        let slate = "-f lavfi -i mandelbrot=size=640x480:rate=30 -f lavfi -i sine=f=880:r=44100 -t 4 \
                     -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -c:a aac -ac 1";
        let slate = make(directory.path(), "slate.mp4", slate);
        let reels = ReelStore::new(directory.path().join("reels"));
        let engine = engine(|config| config.reels = Some(reels));
        engine.keys().add(NAME, KEY).expect("a usable key");
        let quick = |options: &mut ServerOptions| options.takeover_after = Duration::ZERO;
        let server = engine.rtmp_server("127.0.0.1:0").options(quick).start().expect("a free port");
        Self { engine, server, directory, clip, slate }
    }

    fn publish(&self) -> Peer {
        ffmpeg_publish(&self.clip, &format!("rtmp://{}/live/{KEY}", self.server.address()), 500)
    }

    fn source(&self) -> Source {
        Source::published(NAME).fallback(Fallback::file(&self.slate).after(AFTER))
    }
}

/// Waits until the stream is this many milliseconds further.
#[track_caller]
fn wait_more(live: &StreamHandle, millis: i64) {
    let begin = live.stats().media_time.as_millis();
    let done = wait_until(PATIENCE, || live.stats().media_time.as_millis() >= begin + millis);
    assert!(done, "{}", live.stats());
}

#[track_caller]
fn wait_fallback(live: &StreamHandle, on_air: bool) {
    let is_so = || live.stats().fallback.is_some_and(|fallback| fallback.on_air == on_air);
    assert!(wait_until(PATIENCE, is_so), "{on_air}: {}", live.stats());
}

fn seams(events: &Events) -> Vec<Seam> {
    let heard = std::iter::from_fn(|| events.next_timeout(Duration::ZERO));
    heard
        .filter_map(|event| match event.kind {
            EventKind::FallbackBegan { seam, .. } | EventKind::FallbackEnded { seam, .. } => Some(seam),
            _ => None,
        })
        .collect()
}

/// Kills a publisher this often, at random moments, and lets it come back at random moments.
fn killed(times: u64) {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let studio = Studio::start();
    let nginx = Nginx::start(&["live"]);
    let live = studio
        .engine
        .stream(studio.source())
        .to(Output::rtmp_url(&nginx.url("live", "key")))
        .start()
        .expect("a free place");
    let events = live.events();
    let since = Instant::now();
    at_most(Duration::ZERO, since);
    // Nobody publishes so far: the fallback is what the push begins with. A recording that began with the publisher's headers would
    // be read by a parser that knows only those, and complains of pictures that came after others.
    wait_fallback(&live, true);
    let has_begun =
        || live.stats().outputs.iter().all(|push| push.phase == OutputPhase::Live && push.bytes_sent > 0);
    assert!(wait_until(PATIENCE, has_begun), "{}", live.stats());
    let mut seed = u64::from(std::process::id());
    let mut random = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((seed >> 33) % most).expect("small")
    };
    for round in 0..times {
        let mut publisher = studio.publish();
        wait_more(&live, 100 + random(6000));
        // A machine that has others to serve takes its time to encode it to what is published.
        let is_ready = || live.stats().fallback.is_some_and(|fallback| fallback.ready || fallback.on_air);
        assert!(wait_until(PATIENCE, is_ready), "{}", live.stats());
        publisher.kill();
        // It comes back at once, or when the fallback has been there for a while.
        if round % 3 > 0 {
            wait_fallback(&live, true);
            wait_more(&live, 1 + random(2500));
        }
    }
    let mut publisher = studio.publish();
    wait_fallback(&live, false);
    wait_more(&live, 1000);
    let stats = live.stop(PATIENCE).expect("it runs well");
    publisher.kill();
    assert_eq!((stats.drops, stats.reconnects), (0, 0), "{stats}");
    let fallback = stats.fallback.expect("it has one");
    let (pictures, sound) = assert_one_stream(&nginx.recording("live", "key"));
    println!(
        "{times} kills: {} fallbacks of {:.1} s in all, {:.1} s of media, longest gaps {pictures:.0} and {sound:.0} ms",
        fallback.times,
        fallback.time.as_secs_f64(),
        stats.media_time.as_millis() as f64 / 1e3,
    );
    // A publisher that is killed before it has taken the stream back ends no fallback.
    assert!(fallback.times > times / 4, "{fallback:?}");
    let most = at_most(AFTER, since).as_millis() as f64 + GOP;
    assert!(pictures <= most && sound <= most, "gaps of {pictures} and {sound} ms");
    // All but the first time it was encoded to what the publisher sends.
    let seams = seams(&events);
    assert!(!seams.is_empty() && seams.iter().skip(2).all(|seam| *seam != Seam::NewHeaders), "{seams:?}");
}

#[test]
fn a_publisher_that_is_killed_again_and_again_leaves_one_stream() {
    killed(10);
}

#[test]
#[ignore = "takes ten minutes"]
fn a_publisher_that_is_killed_a_hundred_times_leaves_one_stream() {
    killed(100);
}

#[test]
fn a_fallback_that_is_copied_or_missing_is_told_and_the_stream_goes_on() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let file = studio.directory.path().join("day.flv");
    let slate = Fallback::file(&studio.slate).after(Duration::from_millis(500)).mode(Mode::Copy);
    let server = Scripted::start(Script::Record);
    let live = studio
        .engine
        .stream(Source::published(NAME).fallback(slate))
        .to(push(&server))
        .record(&file)
        .start()
        .expect("a free place");
    let events = live.events();
    let mut publisher = studio.publish();
    assert!(wait_until(PATIENCE, || studio.engine.hub().find(NAME).is_some()), "{}", live.stats());
    wait_fallback(&live, false);
    wait_more(&live, 2500);
    publisher.kill();
    wait_fallback(&live, true);
    let seam = wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::FallbackBegan { seam, after } => Some((seam, after >= Duration::from_millis(500))),
        _ => None,
    });
    assert_eq!(seam, (Seam::NewHeaders, true), "the file is sent as it is");
    wait_more(&live, 1000);
    let stats = live.stop(PATIENCE).expect("it runs well");
    let lasted = wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::FallbackEnded { after, .. } => Some(Some(after)),
        EventKind::Ended { .. } => Some(None),
        _ => None,
    });
    let fallback = stats.fallback.expect("it has one");
    assert!(lasted.is_some_and(|lasted| lasted >= Duration::from_millis(500)), "what began ends: {lasted:?}");
    assert!(!fallback.on_air && Some(fallback.time) >= lasted, "{fallback:?}");
    assert_eq!((stats.reconnects, server.count()), (0, 1), "{stats}");
    let tags = read_flv(&file);
    assert!(
        tags.windows(2)
            .all(|pair| !pair[0].header || pair[1].header || pair[1].keyframe || !pair[1].is_picture())
    );

    let missing = Source::published(NAME).fallback("missing.mp4");
    let events = studio.engine.events();
    let live =
        studio.engine.stream(missing).without_outputs().start().expect("it is looked for when it is needed");
    let fault = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::SourceFault { error } => Some(error.clone()),
        _ => None,
    });
    assert!(matches!(fault, Error::Media(_)), "{fault}");
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn with_an_encoder_in_the_stream_nothing_changes_for_the_receiver() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let file = studio.directory.path().join("day.flv");
    let mut encoding = Encoding::new(Profile::LadderLow);
    (encoding.size, encoding.frame_rate) = (Some((640, 360)), Some(FrameRate::whole(25)));
    let source = studio.source().mode(Mode::Encode).encoding(encoding);
    let live = studio.engine.stream(source).record(&file).start().expect("a free place");
    let events = live.events();
    let mut publisher = studio.publish();
    assert!(wait_until(PATIENCE, || studio.engine.hub().find(NAME).is_some()), "{}", live.stats());
    wait_fallback(&live, false);
    wait_more(&live, 3000);
    publisher.kill();
    wait_fallback(&live, true);
    wait_more(&live, 1000);
    let mut publisher = studio.publish();
    wait_fallback(&live, false);
    wait_more(&live, 1000);
    live.stop(PATIENCE).expect("it runs well");
    publisher.kill();
    let seams = seams(&events);
    assert!(seams.ends_with(&[Seam::Seamless, Seam::Seamless]), "{seams:?}");
    assert_one_stream(&file);
}

#[test]
fn a_fallback_whose_file_disappears_grows_or_shrinks_goes_on_as_a_list_does() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let (recording, kept) =
        (studio.directory.path().join("day.flv"), studio.directory.path().join("kept.mp4"));
    let slate = Fallback::file(&studio.slate).after(Duration::from_millis(500));
    let source = Source::published(NAME).fallback(slate);
    let live = studio.engine.stream(source).record(&recording).start().expect("a free place");
    let events = live.events();
    wait_fallback(&live, true);
    let fault = |events: &Events| {
        wait_event(events, PATIENCE, |event| match &event.kind {
            EventKind::SourceFault { error } => Some(error.clone()),
            _ => None,
        })
    };
    let publish = |millis| {
        let publisher = studio.publish();
        wait_fallback(&live, false);
        wait_more(&live, millis);
        publisher
    };
    // Gone while it is on the air: what is on the air stays, and that the next one cannot be opened is told.
    std::fs::rename(&studio.slate, &kept).expect("it is there");
    wait_more(&live, 1000);
    let mut publisher = publish(2500);
    assert!(matches!(fault(&events), Error::Media(_)));
    publisher.kill();
    // Cut in two, and then whole again: it takes over as soon as it can be played.
    let whole = std::fs::read(&kept).expect("it is there");
    std::fs::write(&studio.slate, &whole[..whole.len() / 2]).expect("a file in the directory");
    std::fs::rename(&kept, &studio.slate).expect("a file in the directory");
    wait_fallback(&live, true);
    wait_more(&live, 500);
    // Another one, longer and larger.
    let other =
        "-f lavfi -i testsrc=size=800x600:rate=15 -t 9 -c:v libx264 -preset veryfast -pix_fmt yuv420p";
    let other = make(studio.directory.path(), "other.mp4", other);
    std::fs::rename(&other, &studio.slate).expect("a file in the directory");
    let mut publisher = publish(2500);
    publisher.kill();
    wait_fallback(&live, true);
    wait_more(&live, 500);
    let stats = live.stop(PATIENCE).expect("it runs well");
    assert_eq!(stats.fallback.expect("it has one").times, 3, "{stats}");
    assert_one_stream(&recording);
}

#[test]
fn a_stream_that_was_stood_in_for_leaves_nothing_behind() {
    if alone("standby") {
        return nothing_is_left();
    }
    let test = "fallback::a_stream_that_was_stood_in_for_leaves_nothing_behind";
    run_alone("standby", test, Duration::from_secs(60));
}

fn nothing_is_left() {
    let (clip, slate) = (Known::small(), Known::small());
    let engine = engine(|_| {});
    let source = || {
        Source::published("nobody").fallback(Fallback::file(&slate.file).after(Duration::from_millis(500)))
    };
    let threads = || kit::rig::threads_and_descriptors();
    let once = || {
        let live = engine.stream(source()).without_outputs().start().expect("a free place");
        wait_fallback(&live, true);
        // And what stands in for another one takes its place.
        let file = Source::file(&clip.file).looped().fallback(&slate.file);
        let taken = live.replace_source(file, flowcast::source::At::NextKeyframe).expect("it opens");
        taken.wait().expect("it takes over");
        live.stop(PATIENCE).expect("it runs well");
    };
    once();
    let before = threads();
    (0..5).for_each(|_| once());
    assert!(wait_until(PATIENCE, || threads() <= before), "{before:?}, then {:?}", threads());
}
