//! What a look makes of CPU time, with the time given by the test.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::config::Config;
use crate::engine::Engine;
use crate::output::Output;
use crate::source::Source;
use crate::sys::{CpuLap, thread_cpu_time};

/// A thread of the stream uses so much, and reports it.
fn use_cpu(engine: &Engine, stream: StreamId, time: Duration) {
    let registry = engine.registry().clone();
    let work = move || {
        let until = thread_cpu_time() + time;
        while thread_cpu_time() < until {
            std::hint::spin_loop();
        }
        let shared = registry.running_streams().into_iter().find(|shared| shared.id == stream);
        shared.expect("it runs").cpu.lap(&mut CpuLap::default());
    };
    std::thread::spawn(work).join().expect("it only works");
}

#[test]
fn looks_that_follow_each_other_at_once_are_not_judged_by_what_came_in_between() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let stream = engine.stream(Source::published("studio")).to(Output::publish("made"));
    let live = stream.start().expect("it starts");
    let limits = MonitorConfig::default().with(|limits| limits.cpu_percent = 2.0);
    let (mut sampler, start) = (Sampler::default(), Instant::now());
    let mut look = |millis| {
        let now = start + Duration::from_millis(millis);
        sampler.look(engine.registry(), &limits, now, UNIX_EPOCH);
        let load = sampler.load(live.id()).expect("it runs");
        (load.cpu_percent, load.warnings, load.is_high, load.cpu_time)
    };
    look(0);
    let (percent, warnings, _, before) = look(10_000);
    assert!(percent < 1.0 && warnings == 0, "it only waits: {percent}");
    use_cpu(&engine, live.id(), Duration::from_millis(200));
    // Over this fifth of a second it would have used a whole core.
    let (percent, warnings, _, used) = look(10_200);
    assert!(percent < 1.0 && warnings == 0, "{percent}");
    assert!(used >= before + Duration::from_millis(200), "what it used is told at once");
    assert_eq!(look(14_999).1, 0);
    let (percent, warnings, is_high, _) = look(15_000);
    assert!((4.0..6.0).contains(&percent), "200 ms in five seconds: {percent}");
    assert_eq!((warnings, is_high), (1, true));
    // Nothing was used since; that is seen when a window is over, and not before.
    let (same, _, still, _) = look(15_001);
    assert!(same == percent && still);
    let (percent, warnings, is_high, _) = look(20_000);
    assert!(percent < 1.0 && (warnings, is_high) == (1, false), "{percent}");
    live.stop(Duration::from_secs(20)).expect("it stops");
}
