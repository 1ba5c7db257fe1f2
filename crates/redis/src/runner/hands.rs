//! Who starts and stops streams for a runner, and the threads on which that happens.
//!
//! In: jobs of the runner. Out: what became of them. Threads `fc-start` and `fc-stop`: a start may read a file for minutes, and a stop waits for the network.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use flowcast_core::{Engine, Error, StreamRef};

use crate::desired::DesiredStream;
use crate::lease::Lease;
use crate::room::Demand;

/// In bytes.
const STACK: usize = 1 << 20;
const STOPS_AT_ONCE: usize = 4;

/// What starts the streams of a node. [`EngineStreams`] does it with an engine and the spec as it is; a program that has more to do implements it itself.
pub trait RunStreams: Send + Sync + 'static {
    /// What the stream would use here. An error is why it cannot run here; the node tries again a while later. Called on the runner's thread: it
    /// should not wait for anything.
    ///
    /// # Errors
    ///
    /// Why the stream cannot run here.
    fn demand(&self, stream: &DesiredStream) -> Result<Demand, Error> {
        let _ = stream;
        Ok(Demand::default())
    }

    /// Starts the stream, behind its lease: with [`Lease::start`], or [`Lease::guard`] right after it was started. May block, on a thread that is
    /// there for it.
    ///
    /// # Errors
    ///
    /// Why it could not be started. The lease is given up, and the node tries again a while later, if no other has it by then.
    fn start(&self, stream: &DesiredStream, lease: &Lease) -> Result<StreamRef, Error>;

    /// Ends a stream in order, within `deadline`. May block as long.
    fn stop(&self, stream: &StreamRef, deadline: Duration) {
        // Why it ended before is of no interest any more.
        let _ = stream.stop(deadline);
    }
}

/// Runs streams in an engine, each as its spec says. A spec without a label gets its name for one. It keeps the engine alive.
#[derive(Debug, Clone)]
pub struct EngineStreams {
    engine: Engine,
}

impl EngineStreams {
    /// Runs streams in `engine`.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone() }
    }
}

impl RunStreams for EngineStreams {
    fn demand(&self, stream: &DesiredStream) -> Result<Demand, Error> {
        Demand::of(&self.engine, &stream.spec)
    }

    fn start(&self, stream: &DesiredStream, lease: &Lease) -> Result<StreamRef, Error> {
        let mut spec = stream.spec.clone();
        spec.label.get_or_insert_with(|| stream.name.clone());
        Ok(lease.start(&self.engine, spec)?.detach())
    }
}

/// What became of a job.
pub(super) enum Done {
    Started(String, Result<StreamRef, String>),
    /// With whether it has ended, in the time it had.
    Stopped {
        name: String,
        has_ended: bool,
    },
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads.
pub(super) struct Hands {
    runs: Arc<dyn RunStreams>,
    starts: Sender<Job>,
    stops: Sender<Job>,
    done: Sender<Done>,
}

impl Hands {
    /// Begins, and where what is done is told. The threads end with it, each after its job.
    pub(super) fn begin(
        runs: Arc<dyn RunStreams>,
        starts_at_once: usize,
    ) -> std::io::Result<(Self, Receiver<Done>)> {
        let (done, told) = unbounded();
        let [(starts, to_start), (stops, to_stop)] = [unbounded(), unbounded()];
        for (name, jobs, threads) in
            [("fc-start", to_start, starts_at_once), ("fc-stop", to_stop, STOPS_AT_ONCE)]
        {
            for _ in 0..threads {
                let jobs: Receiver<Job> = jobs.clone();
                drop(flowcast_core::spawn(name, STACK, move || jobs.iter().for_each(|job| job()))?);
            }
        }
        Ok((Self { runs, starts, stops, done }, told))
    }

    pub(super) fn runs(&self) -> &dyn RunStreams {
        &*self.runs
    }

    pub(super) fn start(&self, stream: DesiredStream, lease: Arc<Lease>) {
        let (runs, done) = (self.runs.clone(), self.done.clone());
        let job = move || {
            let started = catch_unwind(AssertUnwindSafe(|| runs.start(&stream, &lease)));
            drop(lease);
            let started = match started {
                Ok(started) => started.map_err(|error| format!("it could not be started: {error}")),
                Err(_) => Err("it could not be started: the program panicked".to_owned()),
            };
            let _ = done.send(Done::Started(stream.name, started));
        };
        let _ = self.starts.send(Box::new(job));
    }

    pub(super) fn stop(&self, name: &str, stream: StreamRef, deadline: Duration) {
        let (runs, done, name) = (self.runs.clone(), self.done.clone(), name.to_owned());
        let job = move || {
            if catch_unwind(AssertUnwindSafe(|| runs.stop(&stream, deadline))).is_err() {
                log::error!("{name}: the program panicked when it was to stop it");
            }
            let _ = done.send(Done::Stopped { name, has_ended: stream.has_ended() });
        };
        let _ = self.stops.send(Box::new(job));
    }
}
