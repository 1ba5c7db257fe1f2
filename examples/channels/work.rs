//! The thread that changes channels. Opening, replacing and ending streams takes its time; signals are not to wait for that.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use flowcast::state::Snapshot;

use crate::TICK;
use crate::file::File;
use crate::fleet::{Changes, Fleet, Row};
use crate::support::Result;

/// What it has to say.
pub(crate) enum Said {
    /// A line for the log.
    Line(String),
    /// The channels are as a file says: what that was about, and what it came to.
    Changed(&'static str, Changes),
}

/// The thread, which ends with the program.
pub(crate) struct Work {
    fleet: Arc<Mutex<Fleet>>,
    files: Sender<File>,
    said: Receiver<Said>,
    thread: JoinHandle<()>,
}

impl Work {
    /// Has what was kept go on, and the channels brought to what the file says.
    pub(crate) fn begin(fleet: Fleet, file: File, kept: Option<Snapshot>) -> Result<Self> {
        let fleet = Arc::new(Mutex::new(fleet));
        let ((files, asked), (says, said)) = (channel(), channel());
        let shared = fleet.clone();
        let work = move || run(&shared, (file, kept), &asked, &says);
        let thread = thread::Builder::new().name("channels".to_owned()).spawn(work)?;
        Ok(Self { fleet, files, said, thread })
    }

    /// Has the channels brought to what another file says.
    pub(crate) fn change_to(&self, file: File) {
        // Without the thread the program ends anyway.
        let _ = self.files.send(file);
    }

    /// Whether the thread has ended, by a panic: nothing else ends it.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// What was said since the last time.
    pub(crate) fn said(&self) -> impl Iterator<Item = Said> + '_ {
        self.said.try_iter()
    }

    /// Each channel; `None` while they change.
    pub(crate) fn rows(&self) -> Option<Vec<Row>> {
        self.fleet.try_lock().ok().map(|fleet| fleet.rows())
    }
}

/// Until the program ends: nobody listens any more then.
fn run(
    fleet: &Mutex<Fleet>,
    (file, kept): (File, Option<Snapshot>),
    files: &Receiver<File>,
    says: &Sender<Said>,
) {
    let fleet = || fleet.lock().unwrap_or_else(PoisonError::into_inner);
    let mut said = {
        let mut fleet = fleet();
        let lines = kept.into_iter().flat_map(|kept| fleet.resume(kept, &file)).map(Said::Line);
        let mut said: Vec<_> = lines.collect();
        said.push(Said::Changed("started", fleet.apply(file)));
        said
    };
    while said.into_iter().all(|said| says.send(said).is_ok()) {
        said = match files.recv_timeout(TICK) {
            Ok(file) => vec![Said::Changed("reloaded", fleet().apply(file))],
            Err(RecvTimeoutError::Timeout) => fleet().mend().into_iter().map(Said::Line).collect(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
    }
}
