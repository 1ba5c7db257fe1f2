//! Starts on an engine whose uplink is full. Streams wait for who publishes and send nothing, so that they count with what is expected of them,
//! whatever is measured.

use std::time::{Duration, Instant};

use super::*;
use crate::admission::{MemoryBudget, NeedBasis, WhenFull};
use crate::bit_rate::BitRate;
use crate::config::Config;
use crate::output::Output;
use crate::source::Source;
use crate::stream::{Leave, StreamHandle};

const MINUTE: Duration = Duration::from_secs(60);

/// One push is expected to take 6.3 Mbit/s: there is room for two of 15.
fn engine(when_full: WhenFull) -> Engine {
    let admission = MeasuredAdmission::default().with(|admission| {
        (admission.cpu, admission.memory) = (None, None);
        admission.uplink = Some(BitRate::from_mbps(15.0));
        admission.when_full = when_full;
    });
    Engine::new(Config::default().with(|config| config.admission = Some(admission))).expect("usable settings")
}

fn spec(pushes: usize) -> StreamSpec {
    let spec = StreamSpec::new(Source::published("studio"));
    // Nobody is there; it is dialled when somebody publishes.
    (0..pushes)
        .fold(spec, |spec, number| spec.to(Output::rtmp("rtmp://127.0.0.1:1/live", format!("key-{number}"))))
}

fn until_waiting(engine: &Engine, count: usize) {
    let deadline = Instant::now() + MINUTE;
    while engine.registry().limiter().waiting() != count {
        assert!(Instant::now() < deadline, "{} wait", engine.registry().limiter().waiting());
        std::thread::yield_now();
    }
}

fn full(engine: &Engine) -> [StreamHandle; 2] {
    [(); 2].map(|()| engine.start(spec(1)).expect("there is room for two"))
}

#[test]
fn a_stream_that_does_not_fit_is_refused_and_who_asks_before_hears_the_same() {
    let engine = engine(WhenFull::Refuse);
    let forecast = engine.can_start_spec(&spec(1)).expect("it can work");
    assert!(forecast.allowed && forecast.reason.is_none() && forecast.lowered.is_none());
    let needs = forecast.needs.expect("it is on");
    assert_eq!((needs.uplink, needs.basis), (BitRate::from_kbps(6300), NeedBasis::Table));
    assert!(!engine.can_start_spec(&spec(3)).expect("it can work").allowed, "three pushes are too many");
    let [first, _second] = full(&engine);
    let refused = engine.start(spec(1)).expect_err("it is full");
    assert_eq!((refused.code(), refused.http_status()), ("CAPACITY_EXCEEDED", 503));
    let asked = engine.can_start_spec(&spec(1)).expect("it can work").reason.expect("it is full");
    assert_eq!(asked.to_string(), refused.to_string());
    let text = "not enough left for the stream: uplink: 12.60 of 15.00 Mbit/s in use, 6.30 needed";
    assert_eq!(refused.to_string(), text);
    // It is not the number that is too large, and nothing was kept of the refusal.
    assert!(engine.can_start(None).allowed && engine.running() == 2);
    assert_eq!(engine.resources()[0].used, 12.6e6);
    first.stop(MINUTE).expect("it stops");
    let _third = engine.start(spec(1)).expect("a place is free");
    assert_eq!(
        engine.can_start_spec(&StreamSpec::new(Source::published(""))).expect_err("no name").code(),
        "SPEC_INVALID"
    );
}

#[test]
fn settings_are_changed_on_a_running_engine_and_what_runs_counts() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    assert!(engine.admission().is_none() && engine.resources().is_empty());
    assert!(engine.can_start_spec(&spec(1)).expect("it can work").needs.is_none());
    let _running = full(&engine);
    let uplink = |mbps| {
        let admission = MeasuredAdmission::default().with(|admission| {
            (admission.cpu, admission.memory) = (None, None);
            admission.uplink = Some(BitRate::from_mbps(mbps));
        });
        engine.set_admission(Some(admission))
    };
    uplink(15.0).expect("usable settings");
    assert_eq!(engine.start(spec(1)).map(drop).map_err(|error| error.code()), Err("CAPACITY_EXCEEDED"));
    uplink(20.0).expect("usable settings");
    let _third = engine.start(spec(1)).expect("there is more room");
    let nonsense =
        MeasuredAdmission::default().with(|admission| admission.memory = Some(MemoryBudget::Bytes(0)));
    assert_eq!(engine.set_admission(Some(nonsense)).map_err(|error| error.code()), Err("CONFIG_INVALID"));
    assert_eq!(engine.admission().and_then(|admission| admission.uplink), Some(BitRate::from_mbps(20.0)));
    engine.set_admission(None).expect("it is off");
    let _fourth = engine.start(spec(5)).expect("nothing is asked");
    uplink(100.0).expect("on again, with the thread that is there or another one");
    assert_eq!(engine.resources()[0].used, 6.3e6 * 8.0);
}

#[test]
fn a_start_waits_for_room_and_a_shutdown_or_a_second_thought_ends_the_wait() {
    let engine = engine(WhenFull::Queue(MINUTE));
    let [first, second] = full(&engine);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| engine.start(spec(1)));
        until_waiting(&engine, 1);
        first.stop(MINUTE).expect("it stops");
        let third = waits.join().expect("no thread panics").expect("it has the place now");
        // Called off, as a schedule does that is cancelled.
        let leave = Leave::default();
        let waits = scope.spawn({
            let (leave, registry) = (leave.clone(), engine.registry().clone());
            move || StreamBuilder::of(registry, spec(1)).start_with(&leave)
        });
        until_waiting(&engine, 1);
        assert!(leave.revoke().is_none());
        assert_eq!(
            waits.join().expect("no thread panics").map(drop).map_err(|error| error.code()),
            Err("CANCELLED")
        );
        let waits = scope.spawn(|| engine.start(spec(1)));
        until_waiting(&engine, 1);
        engine.shutdown(MINUTE);
        assert_eq!(
            waits.join().expect("no thread panics").map(drop).map_err(|error| error.code()),
            Err("STREAM_ENDED")
        );
        drop((second, third));
    });
}

/// It takes the ten seconds that such a start waits.
#[cfg(feature = "schedule")]
#[test]
fn a_start_by_a_schedule_does_not_wait_as_long_as_one_by_a_program() {
    use crate::schedule::{ScheduleEventKind, When, Window};

    let engine = engine(WhenFull::Queue(Duration::from_secs(3600)));
    let _running = full(&engine);
    let told = engine.schedules().events();
    let all_day = Window::daily("00:00".parse().expect("a time")).lasting(Duration::from_secs(86_400));
    engine.schedule(spec(1), When::in_zone("UTC").window(all_day)).expect("it can work");
    until_waiting(&engine, 1);
    let refused = told.next_timeout(MINUTE).expect("it is told").kind.clone();
    let ScheduleEventKind::Refused { error, again } = refused else { panic!("{refused:?}") };
    assert_eq!((error.code(), again.is_some()), ("CAPACITY_EXCEEDED", true));
    assert_eq!(engine.registry().limiter().waiting(), 0);
}
