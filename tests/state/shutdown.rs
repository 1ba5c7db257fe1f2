//! What a shutdown says of each stream, and what happens when threads do not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowcast::driver::{OpenSource, SourceContext, SourceDriver, SourceOpening, SourceState};
use flowcast::stats::StreamPhase;
use flowcast::{Engine, Error, EventKind, Source};
use kit::rig::{Known, engine};
use kit::{PATIENCE, wait_until};

/// How long a stop waits for a thread that does not answer.
const SHORT: Duration = Duration::from_millis(100);

/// A source whose `pull` does not return until it is told to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stuck {
    entered: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
}

impl OpenSource for Stuck {
    fn open(self: Box<Self>, _: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        Ok(self)
    }
}

impl SourceDriver for Stuck {
    fn pull(&mut self, _: &mut SourceContext<'_>) -> SourceState {
        self.entered.store(true, Ordering::SeqCst);
        while !self.released.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        SourceState::Ended
    }
}

impl Stuck {
    /// A stream that is stuck.
    pub(crate) fn on(engine: &Engine) -> Self {
        let stuck = Self::default();
        engine.stream(stuck.clone()).label("stuck").without_outputs().start().expect("it starts").detach();
        assert!(wait_until(PATIENCE, || stuck.entered.load(Ordering::SeqCst)));
        stuck
    }

    fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }
}

#[test]
fn each_stream_is_in_the_report_clean_or_forced_and_why() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let events = engine.events();
    let file = Source::file(&clip.file).looped();
    let live = engine.stream(file).label("loop").record(clip.beside("loop.flv")).start().expect("it starts");
    let live = live.detach();
    let stuck = Stuck::on(&engine);
    assert!(wait_until(PATIENCE, || live.stats().bytes_sent > 0));
    let report = engine.shutdown(Duration::from_millis(500));
    assert_eq!((report.stopped, report.abandoned, report.is_clean()), (1, 1, false));
    let [clean, forced] = &report.streams[..] else { panic!("{report:?}") };
    assert_eq!((clean.label.as_deref(), clean.is_clean(), clean.is_forced()), (Some("loop"), true, false));
    assert!(clean.took < Duration::from_millis(500));
    assert_eq!((forced.label.as_deref(), forced.is_forced()), (Some("stuck"), true));
    assert_eq!(forced.stuck_in, Some(StreamPhase::Running), "its thread never took the request");
    let error = forced.error.as_ref().expect("it was abandoned");
    assert_eq!(error.code(), "FORCE_KILL_REQUIRED");
    let message = format!("Stream {} did not respond to SIGTERM, force killing", forced.id);
    assert!(error.to_string().starts_with(&message), "{error}");
    assert!(report.to_string().contains(&message), "{report}");
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if event.stream == forced.id {
            told.push(event.kind);
        }
    }
    assert!(told.iter().any(|kind| matches!(kind, EventKind::Abandoned)), "{told:?}");
    let ended = told.iter().find_map(|kind| match kind {
        EventKind::Ended { error: Some(error) } => Some(error.code()),
        _ => None,
    });
    assert_eq!(ended, Some("FORCE_KILL_REQUIRED"));
    stuck.release();
}

#[test]
fn threads_that_do_not_end_are_counted_and_too_many_of_them_refuse_starts() {
    let engine = engine(|config| config.max_abandoned = 2);
    let start = || engine.stream(Stuck::default()).without_outputs().start();
    let stuck = [Stuck::on(&engine), Stuck::on(&engine)];
    let report = engine.stop_all(&engine.streams(), SHORT);
    assert_eq!((report.abandoned, engine.abandoned(), engine.abandoned_now()), (2, 2, 2));
    let refused = start().expect_err("two are the limit");
    assert_eq!((refused.code(), refused.http_status()), ("ABANDONED_LIMIT_EXCEEDED", 503));
    assert!(matches!(refused, Error::TooManyAbandoned { abandoned: 2, limit: 2 }));
    let admission = engine.can_start(None);
    assert_eq!(
        (admission.allowed, admission.reason.map(|error| error.code())),
        (false, Some(refused.code()))
    );
    assert_eq!(engine.running(), 0, "their places are free");
    // One of them comes back after all.
    stuck[0].release();
    assert!(wait_until(PATIENCE, || engine.abandoned_now() == 1));
    assert!(engine.can_start(None).allowed);
    let live = Stuck::on(&engine);
    live.release();
    stuck[1].release();
    assert!(wait_until(PATIENCE, || engine.abandoned_now() == 0));
    assert_eq!(engine.abandoned(), 2, "all since the engine was created");
}

/// A source whose own threads never end.
#[derive(Debug)]
struct Clings;

impl OpenSource for Clings {
    fn open(self: Box<Self>, _: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        Ok(self)
    }
}

impl SourceDriver for Clings {
    fn pull(&mut self, _: &mut SourceContext<'_>) -> SourceState {
        SourceState::Running
    }

    fn is_stopped(&mut self) -> bool {
        false
    }
}

#[test]
fn what_is_left_behind_is_an_event_and_no_failure() {
    let engine = engine(|_| {});
    let events = engine.events();
    let live = engine.stream(Clings).without_outputs().start().expect("it starts").detach();
    let report = engine.shutdown(PATIENCE);
    assert!(report.is_clean(), "{report}");
    let told = std::iter::from_fn(|| events.try_next());
    let error = told
        .into_iter()
        .find_map(|event| match event.kind {
            EventKind::CleanupFailed { error } => Some(error),
            _ => None,
        })
        .expect("it is told");
    assert_eq!((error.code(), engine.abandoned()), ("CLEANUP_FAILED", 0));
    let message = format!("Failed to cleanup resources for stream {}: its source does not stop", live.id());
    assert!(error.to_string().starts_with(&message), "{error}");
}
