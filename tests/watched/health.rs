//! Health of streams and of the engine, from real faults; errors that are kept and counted.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use flowcast::driver::{OpenSource, SourceContext, SourceDriver, SourceOpening, SourceState};
use flowcast::health::{EngineTrouble, Health, HealthKind};
use flowcast::{Error, Source};
use kit::rig::{Known, engine, push, wait_retry};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, wait_until};

#[test]
fn an_output_that_is_down_is_told_and_its_errors_are_kept_and_counted() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let mut server = Scripted::start(Script::Record);
    let stream = engine.stream(Source::file(&clip.file).looped()).record(clip.beside("recording.flv"));
    let live = stream.start().expect("it starts");
    let kinds = || live.health().reasons().iter().map(|reason| reason.kind).collect::<Vec<_>>();
    let is_down = || kinds().contains(&HealthKind::OutputsDown);
    assert!(!is_down(), "{}", live.health());
    let events = live.events();
    server.down();
    let output = live.add_output(push(&server)).expect("it is added");
    let error = wait_retry(&events, output, PATIENCE);
    assert!(wait_until(PATIENCE, is_down), "{}", live.health());
    let reason =
        live.health().reasons().iter().find(|reason| reason.kind == HealthKind::OutputsDown).copied();
    let reason = reason.expect("it is down");
    assert_eq!((reason.value, reason.is_bad), (50.0, false), "one of two");
    let kept = live.errors();
    let first = kept.first().expect("it failed");
    assert_eq!((first.code, first.output, first.event), (error.code(), Some(output), "output_retrying"));
    assert!(live.error_counts()[error.code()] >= 1 && engine.counts().errors[error.code()] >= 1);
    server.up();
    assert!(wait_until(PATIENCE, || !is_down()), "{}", live.health());
    assert_eq!(live.errors().first(), Some(first), "what it recovered from stays");
    live.stop(PATIENCE).expect("it stops");
    assert_eq!(live_end(&engine), (1, 1, 0));
    let refused =
        engine.stream(Source::file(clip.beside("missing.mp4"))).record(clip.beside("none.flv")).start();
    let code = refused.expect_err("there is no such file").code();
    assert_eq!((engine.counts().not_started, engine.counts().errors[code]), (1, 1));
}

/// Streams that were started, ended well, and failed.
fn live_end(engine: &flowcast::Engine) -> (u64, u64, u64) {
    let counts = engine.counts();
    (counts.started, counts.ended, counts.failed)
}

#[test]
fn an_engine_is_ready_while_it_has_a_place_and_room_and_is_not_closed() {
    let clip = Known::small();
    let with = |disk_left| {
        engine(|config| {
            config.max_streams = 1;
            config.health.disk_left = disk_left;
            config.health.directories = vec![clip.beside("")];
        })
    };
    let health = with(u64::MAX).health();
    assert!(health.is_live && !health.is_ready);
    assert!(matches!(health.troubles[..], [EngineTrouble::DiskFull { .. }]), "{health}");
    let engine = with(1);
    assert!(engine.health().is_ready, "{}", engine.health());
    let stream = engine.stream(Source::file(&clip.file).looped()).record(clip.beside("recording.flv"));
    let live = stream.start().expect("it starts");
    let health = engine.health();
    assert!(health.is_live && !health.is_ready);
    let full =
        matches!(&health.troubles[..], [EngineTrouble::Full { error: Error::StreamLimitExceeded { .. } }]);
    assert!(full, "{health}");
    live.stop(PATIENCE).expect("it stops");
    assert!(engine.health().is_ready);
    engine.shutdown(PATIENCE);
    let health = engine.health();
    assert!(health.is_live && !health.is_ready);
    assert!(matches!(health.troubles[..], [EngineTrouble::Closed]), "{health}");
}

/// A source that breaks the contract: it waits.
struct Waits(Receiver<()>);

impl OpenSource for Waits {
    fn open(self: Box<Self>, _: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        Ok(self)
    }
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waits")
    }
}

impl SourceDriver for Waits {
    fn pull(&mut self, _: &mut SourceContext<'_>) -> SourceState {
        let _ = self.0.recv();
        SourceState::Ended
    }
}

#[test]
fn a_thread_that_does_not_answer_is_a_dead_engine_until_it_answers() {
    let engine = engine(|config| config.health.stuck_after = Duration::from_secs(3));
    let (go, gone) = channel();
    let live = engine.stream(Waits(gone)).without_outputs().start().expect("it starts");
    assert!(wait_until(PATIENCE, || !engine.health().is_live));
    let health = engine.health();
    let id = live.id();
    assert!(matches!(health.troubles[..], [EngineTrouble::Stuck { stream }] if stream == id), "{health}");
    assert_eq!(live.health(), Health::Good, "nothing was said of it before it began");
    drop(go);
    live.wait().expect("it is complete");
    assert!(engine.health().is_live);
}
