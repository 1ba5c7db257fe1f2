//! Admission by measured cost, with real media: what runs is measured, what does not fit is refused, waits, or is encoded cheaper.

use std::time::Duration;

use flowcast::admission::{CheaperEncoding, MeasuredAdmission, NeedBasis, Resource, WhenFull};
use flowcast::av::SampleSpec;
use flowcast::encode::EncoderChoice;
use flowcast::keys::KeyRules;
use flowcast::rtmp::session::ClientRole;
use flowcast::spec::StreamSpec;
use flowcast::{BitRate, Encoding, Engine, Error, EventKind, Mode, Output, Profile, RtmpServerExt, Source};
use kit::rig::{Known, engine, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, Session, wait_until};

/// What a copy to one server is expected to send before it was measured, in bits per second.
const EXPECTED: f64 = 6.3e6;

fn admission(change: impl FnOnce(&mut MeasuredAdmission)) -> MeasuredAdmission {
    MeasuredAdmission::default().with(|admission| {
        // What else runs on the machine of the tests is no part of them.
        (admission.cpu, admission.memory) = (None, None);
        admission.settling = Duration::from_secs(1);
        change(admission);
    })
}

fn with_uplink(mbps: f64, when_full: WhenFull) -> Engine {
    let admission = admission(|admission| {
        (admission.uplink, admission.when_full) = (Some(BitRate::from_mbps(mbps)), when_full);
    });
    engine(|config| config.admission = Some(admission))
}

fn looped(clip: &Known, server: &Scripted) -> StreamSpec {
    StreamSpec::new(Source::file(&clip.file).looped()).to(Output::rtmp_url(&server.url()))
}

fn refusal(error: &Error) -> (Resource, Option<Duration>) {
    match error {
        Error::CapacityExceeded { shortage } => (shortage.resource, shortage.free_in),
        other => panic!("{other}"),
    }
}

#[test]
fn a_burst_is_admitted_by_what_is_expected_and_what_comes_later_by_what_is_measured() {
    let (clip, server) = (Known::small(), Scripted::start(Script::Record));
    let engine = with_uplink(20.0, WhenFull::Refuse);
    let started: Vec<_> = (0..20).map_while(|_| engine.start(looped(&clip, &server)).ok()).collect();
    assert_eq!(started.len(), 3, "three are expected to take 18.9 of 20 Mbit/s");
    let refused = engine.start(looped(&clip, &server)).expect_err("it is full");
    assert_eq!((refused.code(), refused.http_status()), ("CAPACITY_EXCEEDED", 503));
    assert_eq!(refusal(&refused), (Resource::Uplink, None), "nobody knows when a loop ends");
    assert!(!engine.can_start_spec(&looped(&clip, &server)).expect("it can work").allowed);
    // They are on the air, and send far less than was expected of a file that nobody knew.
    let used = || engine.resources()[0].used;
    assert!(wait_until(PATIENCE, || used() < EXPECTED), "{:?}", engine.resources());
    let forecast = engine.can_start_spec(&looped(&clip, &server)).expect("it can work");
    let needs = forecast.needs.expect("it is on");
    assert_eq!((forecast.allowed, needs.basis), (true, NeedBasis::Running { streams: 3 }));
    assert!(needs.uplink > BitRate::ZERO && (needs.uplink.bps() as f64) < EXPECTED, "{needs:?}");
    let fourth = engine.start(looped(&clip, &server)).expect("there is room");
    let ended = started.into_iter().chain([fourth]).map(|live| live.stop(PATIENCE));
    assert!(ended.into_iter().all(|ended| ended.is_ok()));
    assert_eq!(used(), 0.0, "what has ended takes nothing");
}

#[test]
fn a_server_that_is_full_takes_who_publishes_and_refuses_what_is_made_of_it() {
    // No share of any machine is as small as this.
    let admission = MeasuredAdmission::default().with(|admission| admission.cpu = Some(1e-9));
    let engine = engine(|config| config.admission = Some(admission));
    engine.keys().add_with("studio", "studio-key", KeyRules::default()).expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let mut publisher = Session::plain(ClientRole::Publish, server.address(), "live/studio-key");
    assert!(matches!(publisher.go_live(), Ok(true)));
    assert!(wait_until(PATIENCE, || engine.streams().len() == 1));
    let directory = kit::directory();
    let made = engine.stream(Source::published("studio")).record(directory.path().join("copy.flv")).start();
    assert_eq!(refusal(&made.expect_err("no CPU is left")), (Resource::Cpu, None));
    let cpu =
        engine.resources().into_iter().find(|used| used.resource == Resource::Cpu).expect("it has a budget");
    assert!(cpu.used > 0.0 && cpu.budget > 0.0 && cpu.budget < 1e-6, "{cpu:?}");
}

#[test]
fn when_there_is_room_again_follows_from_a_file_that_is_played_once() {
    let clip = Known::made(&SampleSpec { seconds: 60.0, ..SampleSpec::default() });
    let server = Scripted::start(Script::Record);
    let engine = with_uplink(10.0, WhenFull::Refuse);
    let once = StreamSpec::new(Source::file(&clip.file)).to(Output::rtmp_url(&server.url()));
    let live = engine.start(once).expect("it fits");
    let free_in = || {
        let forecast = engine.can_start_spec(&looped(&clip, &server)).expect("it can work");
        forecast.reason.as_ref().and_then(|reason| refusal(reason).1)
    };
    assert!(wait_until(PATIENCE, || free_in().is_some()), "{}", live.stats());
    let free_in = free_in().expect("it was known");
    assert!(free_in > Duration::ZERO && free_in <= Duration::from_secs(61), "{free_in:?}");
    // Another source has taken over, of which nobody knows.
    let other = Source::file(&clip.file).looped();
    live.replace_source(other, flowcast::source::At::NextKeyframe)
        .and_then(|replacing| replacing.wait())
        .expect("it takes over");
    let refused = engine.can_start_spec(&looped(&clip, &server)).expect("it can work");
    assert_eq!(refused.reason.map(|reason| refusal(&reason).1), Some(None));
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn an_encode_that_does_not_fit_is_brought_down_to_one_that_does_and_a_copy_is_refused() {
    let clip = Known::made(&SampleSpec { width: 640, height: 360, ..SampleSpec::default() });
    let server = Scripted::start(Script::Record);
    let too_much =
        CheaperEncoding::default().with(|lower| lower.video_bit_rate = Some(BitRate::from_mbps(3.0)));
    let fits = CheaperEncoding::default().with(|lower| {
        (lower.size, lower.frame_rate) = (Some((320, 180)), Some(12.5));
        lower.video_bit_rate = Some(BitRate::from_kbps(400));
    });
    let engine = with_uplink(2.0, WhenFull::Lower(vec![too_much, fits.clone()]));
    let copy = engine.start(looped(&clip, &server)).expect_err("a copy cannot be lowered");
    assert_eq!(refusal(&copy).0, Resource::Uplink);
    let encoding = Encoding::new(Profile::Ultra).with(|encoding| {
        (encoding.encoder, encoding.video_bit_rate) =
            (EncoderChoice::Software, Some(BitRate::from_mbps(4.0)));
    });
    let source = Source::file(&clip.file).looped().mode(Mode::Encode).encoding(encoding);
    let spec = StreamSpec::new(source).to(Output::rtmp_url(&server.url()));
    let forecast = engine.can_start_spec(&spec).expect("it can work");
    assert_eq!((forecast.allowed, forecast.lowered.as_ref()), (true, Some(&fits)));
    let events = engine.events();
    let live = engine.start(spec.clone()).expect("it fits when it is lowered");
    let (to, shortage) = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::EncodingLowered { to, shortage } => Some((to.clone(), *shortage)),
        _ => None,
    });
    assert_eq!((&*to, shortage.resource), (&fits, Resource::Uplink));
    // What was short for the encode that was asked for.
    assert!((shortage.needed - 4.16e6 * 1.05).abs() < 1.0 && shortage.budget == 2e6, "{shortage:?}");
    assert!(wait_until(PATIENCE, || live.stats().frames_encoded > 10), "{}", live.stats());
    let stats = live.stats();
    assert_eq!(stats.pixels_encoded, stats.frames_encoded * 320 * 180, "{stats:?}");
    assert!(server.wait_pictures(0, 10, PATIENCE), "it is on the air");
    // What is kept is what was asked for.
    let kept = &engine.snapshot().streams[0].spec;
    assert_eq!(kept.source, spec.source);
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn a_start_that_waits_goes_on_the_air_when_another_one_ends() {
    let (clip, server) = (Known::small(), Scripted::start(Script::Record));
    // Long enough that what is expected of them counts all the time.
    let admission = admission(|admission| {
        (admission.uplink, admission.settling) = (Some(BitRate::from_mbps(7.0)), Duration::from_secs(3600));
        admission.when_full = WhenFull::Queue(PATIENCE);
    });
    let engine = engine(|config| config.admission = Some(admission));
    let first = engine.start(looped(&clip, &server)).expect("it fits");
    assert!(server.wait_pictures(0, 5, PATIENCE));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| engine.start(looped(&clip, &server)));
        // It is refused to who asks, since one is on the air, whether the other one waits already or not.
        assert!(!engine.can_start_spec(&looped(&clip, &server)).expect("it can work").allowed);
        first.stop(PATIENCE).expect("it stops");
        let second = waits.join().expect("no thread panics").expect("it has the place");
        assert!(server.wait_pictures(1, 5, PATIENCE), "it is on the air");
        second.stop(PATIENCE).expect("it stops");
    });
    assert_eq!(engine.running(), 0);
}
