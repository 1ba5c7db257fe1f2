//! Outputs that are added and removed at the same time, and that take their time over it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use crate::engine::Engine;
use crate::output::Output;
use crate::source::Source;
use crate::stats::OutputPhase;

/// A primary and its backup; the primary is removed while the backup is being opened.
#[derive(Debug)]
struct Pair {
    is_backup: bool,
}

impl OpenOutput for Pair {
    fn as_pair(&self) -> Option<[Box<dyn OpenOutput>; 2]> {
        Some([false, true].map(|is_backup| Box::new(Self { is_backup }) as Box<dyn OpenOutput>))
    }

    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        if self.is_backup {
            let primary = OutputId(cx.output().0 - 1);
            cx.stream.remove_output(primary)?;
        }
        Ok(OpenedOutput { name: "one of two".to_owned(), driver: Box::new(Idle::default()) })
    }
}

#[derive(Default)]
struct Idle {
    is_over: bool,
}

impl OutputDriver for Idle {
    fn turn(&mut self, _: &mut OutputContext<'_>) -> OutputState {
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        None
    }

    fn finish(&mut self, _: &mut OutputContext<'_>) {
        self.is_over = true;
    }

    fn is_finished(&mut self) -> bool {
        self.is_over
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
    }
}

#[test]
fn an_output_that_is_removed_before_its_backup_is_there_leaves_nothing_on_the_air() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let live = engine.stream(Source::published("studio")).to(Output::publish("made"));
    let live = live.start().expect("it starts");
    let id = Registry::add_output(&live, Box::new(Pair { is_backup: false })).expect("both can be opened");
    let until = Instant::now() + Duration::from_secs(30);
    let runs = |number: u64| {
        let stats = live.stats();
        stats.outputs.iter().any(|it| it.id.0 == number && it.phase != OutputPhase::Ended)
    };
    while runs(id.0) || runs(id.0 + 1) {
        assert!(Instant::now() < until, "{}", live.stats());
        std::thread::yield_now();
    }
    assert_eq!(live.shared.backup_of(id), None);
    live.stop(Duration::from_secs(30)).expect("it runs well");
}

/// An output that nobody would want back.
#[derive(Debug)]
struct Passing;

impl OpenOutput for Passing {
    fn is_passing(&self) -> bool {
        true
    }

    fn open(self: Box<Self>, _: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        Ok(OpenedOutput { name: "passing".to_owned(), driver: Box::new(Idle::default()) })
    }
}

#[test]
fn an_output_that_is_only_passing_is_on_the_air_and_no_part_of_what_the_stream_is_made_of() {
    let engine = Engine::new(Config::default()).expect("usable settings");
    let live = engine.stream(Source::published("studio")).to(Output::publish("made"));
    let live = live.start().expect("it starts");
    let made_of = || live.shared.described.what().outputs.len();
    live.add_output(Passing).expect("it can be opened");
    live.add_output(Box::new(Passing) as Box<dyn OpenOutput>).expect("so can one in a box");
    assert_eq!((live.stats().outputs.len(), made_of()), (3, 1));
    live.stop(Duration::from_secs(30)).expect("it runs well");
}

/// Takes as long over its end as a disk that stands still, or a server that does not answer.
#[derive(Debug)]
struct Slow {
    patience: Duration,
    may_end: Arc<AtomicBool>,
}

impl OpenOutput for Slow {
    fn open(self: Box<Self>, _: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        Ok(OpenedOutput { name: "slow".to_owned(), driver: self })
    }
}

impl OutputDriver for Slow {
    fn turn(&mut self, _: &mut OutputContext<'_>) -> OutputState {
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        None
    }

    fn finish(&mut self, _: &mut OutputContext<'_>) {}

    fn is_finished(&mut self) -> bool {
        self.may_end.load(Ordering::Relaxed)
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
    }
}

#[test]
fn a_removed_file_is_written_to_its_end_and_a_server_is_not_waited_for() {
    let config = Config { force_stop_after: Duration::from_millis(50), ..Config::default() };
    let engine = Engine::new(config).expect("usable settings");
    let live = engine.stream(Source::published("studio")).to(Output::publish("made"));
    let live = live.start().expect("it starts");
    let may_end = Arc::new(AtomicBool::new(false));
    let [file, server] = [Duration::MAX, Duration::from_secs(2)].map(|patience| {
        let may_end = may_end.clone();
        live.add_output(Slow { patience, may_end }).expect("it can be opened")
    });
    let has_ended = |id: OutputId| {
        let stats = live.stats();
        stats.outputs.iter().all(|it| it.id != id || it.phase == OutputPhase::Ended)
    };
    let until = |is_so: &dyn Fn() -> bool| {
        let until = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < until, "{}", live.stats());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // The file's was removed first: it would be gone first.
    for id in [file, server] {
        live.remove_output(id).expect("it is there");
    }
    until(&|| has_ended(server));
    assert!(!has_ended(file), "{}", live.stats());
    may_end.store(true, Ordering::Relaxed);
    until(&|| has_ended(file));
    live.stop(Duration::from_secs(30)).expect("it runs well");
}
