//! A mix that is under way: the desk, and the threads that bring its files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_av::Interrupt;
use parking_lot::{Mutex, MutexGuard};

use super::control::{MixFormat, Shared};
use super::desk::Desk;
use super::files::FileFeed;
use super::handle::MixerRef;
use super::line::Line;
use super::settings::{Feed, Live, MixInput, Mixer};
use crate::error::Error;
use crate::event::EventKind;
use crate::sys::{CpuMeter, Worker};

/// How long files are waited for when the stream begins: then they are heard from its first sample on.
const BEGIN: Duration = Duration::from_millis(500);

/// What a mix needs.
#[derive(Debug)]
pub(crate) struct MixOptions<'a> {
    /// Whose it is, for the names of threads.
    pub(crate) stream: String,
    pub(crate) mixer: &'a Mixer,
    pub(crate) format: MixFormat,
    /// Whose CPU time it is.
    pub(crate) cpu: CpuMeter,
}

/// The mix of one source. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Mixing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desk: Mutex<Desk>,
    shared: Arc<Shared>,
    interrupt: Interrupt,
    readers: Mutex<Vec<Worker>>,
}

impl Mixing {
    /// Starts what reads its files.
    ///
    /// # Errors
    ///
    /// There is no thread.
    pub(crate) fn start(options: &MixOptions<'_>) -> Result<Self, Error> {
        let desk = Desk::new(options.mixer, options.format);
        let (shared, interrupt) = (desk.shared().clone(), Interrupt::new());
        let inner = Inner { desk: Mutex::new(desk), shared, interrupt, readers: Mutex::default() };
        let mixing = Self(Arc::new(inner));
        for (index, (_, input)) in options.mixer.strips().into_iter().enumerate() {
            let (Feed::Playlist(list), Some(queue)) =
                (input.feed, mixing.0.shared.inputs[index].queue.clone())
            else {
                continue;
            };
            let feed = FileFeed {
                shared: mixing.0.shared.clone(),
                index,
                queue,
                list,
                loudness: input.loudness,
                interrupt: mixing.0.interrupt.clone(),
                cpu: options.cpu.clone(),
            };
            let reader = feed.start(&options.stream).inspect_err(|_| mixing.stop())?;
            mixing.0.readers.lock().push(reader);
        }
        Ok(mixing)
    }

    /// The inputs of `mixer`, which it was started with, that are live, and where their sound goes. To be asked once.
    pub(crate) fn lines(&self, mixer: &Mixer) -> Vec<(Live, Line)> {
        let strips = mixer.strips().into_iter().enumerate();
        let line = |(index, (_, input)): (usize, (String, MixInput))| {
            let queue = self.0.shared.inputs.get(index)?.queue.clone()?;
            let Feed::Live(live) = input.feed else { return None };
            Some((live, Line::new(self.0.shared.clone(), index, queue)))
        };
        strips.filter_map(line).collect()
    }

    /// This thread gives sound to one of them, until it [is over](Line::is_over).
    pub(crate) fn is_read_by(&self, reader: Worker) {
        self.0.readers.lock().push(reader);
    }

    /// Whether all that is mixed with the source's own sound comes from files.
    pub(crate) fn is_of_files(&self) -> bool {
        self.0.shared.inputs.iter().all(|input| input.is_list || input.queue.is_none())
    }

    /// What the program reaches it by.
    pub(crate) fn handle(&self) -> MixerRef {
        MixerRef::new(self.0.shared.clone())
    }

    /// The desk, for the thread that encodes.
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock()
    }

    /// Waits for the files it begins with, but not for long.
    ///
    /// # Blocking
    ///
    /// Half a second at most.
    pub(crate) fn begin(&self) {
        let until = Instant::now() + BEGIN;
        for input in self.0.shared.inputs.iter().filter(|input| input.is_list) {
            if let Some(queue) = &input.queue {
                queue.wait_filled(until);
            }
        }
    }

    /// What there is to tell since the last time.
    pub(crate) fn take_events(&self, notices: &mut Vec<EventKind>) {
        self.0.shared.take_events(notices);
    }

    /// Bytes of samples that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.0.shared.bytes()
    }

    /// Ends it; its threads end soon.
    pub(crate) fn stop(&self) {
        self.0.interrupt.cancel();
        self.0.shared.end();
    }

    /// Whether its threads have ended.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.readers.lock().iter_mut().all(Worker::is_stopped)
    }
}
