//! What runs, as data: to be kept, and to be started again.
//!
//! In: streams as data, and where they are. Out: a snapshot, in memory and, with the feature `serde`, in any format; and, for each stream of a
//! snapshot, the source that goes on with it. Nothing here starts anything: [`Engine::restore`](crate::Engine::restore) does.

#[cfg(feature = "state")]
mod file;
mod guard;
mod resume;
#[cfg(test)]
mod tests;
#[cfg(feature = "serde")]
mod wire;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::error::Error;
use crate::id::StreamId;
use crate::output::Output;
#[cfg(feature = "schedule")]
use crate::schedule::{Schedule, Schedules};
use crate::source::Source;
use crate::spec::StreamSpec;
use crate::stream::{DescribedOutput, StreamRef, What};
use crate::words::words;

#[cfg(feature = "state")]
pub use file::StateFile;
pub use guard::{CrashGuard, Restarts};
pub(crate) use resume::{Resumed, length_of, place_of, resumed};
#[cfg(feature = "serde")]
pub use wire::SnapshotWithKeys;

/// What runs on an engine at one moment; from [`Engine::snapshot`](crate::Engine::snapshot), for
/// [`Engine::restore`](crate::Engine::restore).
///
/// With the feature `serde` it is written to and read from any format, without keys unless
#[cfg_attr(feature = "serde", doc = "[`with_keys`](Self::with_keys) is asked for.")]
#[cfg_attr(not(feature = "serde"), doc = "they are asked for.")]
/// What was written without keys cannot push: its streams are refused by name when they are restored.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken, by the system's clock.
    pub taken: SystemTime,
    /// The streams that programs have started, in the order they were, and those that were to be restored and have not been yet. What is
    /// published by clients of a server is not among them, nor what is behind a [fence](crate::StreamRef::set_fence): another program may have the
    /// permission by then.
    pub streams: Vec<SavedStream>,
    /// The schedules, with the windows in which they run. The streams that they have started are not among [`streams`](Self::streams): the
    /// schedules start them again, from their beginning.
    #[cfg(feature = "schedule")]
    pub schedules: Vec<Schedule>,
    /// What cannot be kept, because it is no data: sources and outputs of the program's own ([`driver`](crate::driver)), frames and fragments
    /// that it pushes, and, with the feature `serde`, what has something that cannot be written: pixels of an overlay, bytes of a font or
    /// of certificates, a platform of its own, HLS in memory. Not written to files.
    pub left_out: Vec<LeftOut>,
    /// How often the engine was restored in short order.
    pub restarts: Restarts,
}

/// A stream of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SavedStream {
    /// What it is. Its lists are copies, as they were at that moment.
    pub spec: StreamSpec,
    /// Where it was in its file or list; `None` for what is published, and while nothing was played.
    pub place: Option<Place>,
    /// The same of the sound of [`Source::with_audio`].
    pub sound_place: Option<Place>,
}

/// A place in a file or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The item's place in the list, counted from 0; `None` for a file, and for an item that was taken off the list.
    pub item: Option<usize>,
    /// The file.
    pub file: PathBuf,
    /// How far into it.
    pub offset: Duration,
    /// How long it is, if that is known.
    pub length: Option<Duration>,
}

/// Something that runs and is no data; see [`Snapshot::left_out`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The stream.
    pub stream: StreamId,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// What is left out of it: `the stream`, or an output by its number (`o1`).
    pub what: String,
}

/// Where streams go on that are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Resume {
    /// Where they were when the snapshot was taken: what was not seen is shown.
    #[default]
    WhereItWas,
    /// Where they would be by now, had they gone on: a channel keeps its programme. What would have ended by now is not started. In
    /// a shuffled list, that is within the item that played, and any other one after that. Where the length of a file is not known, and
    /// without the feature `libav`, as [`WhereItWas`](Self::WhereItWas).
    WhereItWouldBe,
    /// From the beginning, as the spec says.
    FromStart,
}

words!(
    Resume,
    "place to go on",
    WhereItWas = "where_it_was",
    WhereItWouldBe = "where_it_would_be",
    FromStart = "from_start"
);

/// How streams are restored; see [`Engine::restore`](crate::Engine::restore).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Where they go on. Default [`Resume::WhereItWas`].
    pub resume: Resume,
    /// Over how long the starts of each 50 streams are spread, so that a machine that comes up is not asked for everything at once. The
    /// first one starts at once. Default 10 s; zero starts them one right after the other.
    pub spread: Duration,
    /// What holds back an engine that is restored again and again because its process dies soon each time. Default as
    /// [`CrashGuard::default`]; `None` for a program that something else watches over.
    pub guard: Option<CrashGuard>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            resume: Resume::default(),
            spread: Duration::from_secs(10),
            guard: Some(CrashGuard::default()),
        }
    }
}

crate::settings::settings!(RestoreOptions);

/// What became of the streams of a snapshot; from [`Engine::restore`](crate::Engine::restore).
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Restored {
    /// Those that run. The engine keeps them, as after [`detach`](crate::StreamHandle::detach).
    pub started: Vec<StreamRef>,
    /// Those that would have ended by now.
    pub over: Vec<SavedStream>,
    /// Those that could not be started, and why. Snapshots keep them, so that another restart tries again, until
    /// [`forget_unrestored`](crate::Engine::forget_unrestored).
    pub failed: Vec<(SavedStream, Error)>,
    /// Schedules that could not be added, and why: most likely nothing of them lies ahead. Snapshots do not keep them.
    #[cfg(feature = "schedule")]
    pub failed_schedules: Vec<(Schedule, Error)>,
    /// How long the [guard](RestoreOptions::guard) held the start back.
    pub held: Duration,
}

/// What an engine knows of earlier runs.
#[derive(Default)]
pub(crate) struct Earlier {
    /// Streams that are to be restored, by the number they have here.
    pub(crate) waiting: Mutex<Vec<(u64, SavedStream)>>,
    pub(crate) restarts: Mutex<Restarts>,
    /// Schedules that are to be added.
    #[cfg(feature = "schedule")]
    pub(crate) waiting_schedules: Mutex<Vec<Schedule>>,
    /// The engine's own.
    #[cfg(feature = "schedule")]
    pub(crate) schedules: std::sync::OnceLock<Schedules>,
    next: Mutex<u64>,
}

impl std::fmt::Debug for Earlier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Earlier").finish_non_exhaustive()
    }
}

impl Earlier {
    /// The schedules there are, and those that are to be added.
    #[cfg(feature = "schedule")]
    pub(crate) fn all_schedules(&self) -> Vec<Schedule> {
        // In this order: nothing that is added in between is missed.
        let waiting = self.waiting_schedules.lock();
        let there = self.schedules.get().map(Schedules::list).unwrap_or_default();
        there.into_iter().map(|scheduled| scheduled.schedule).chain(waiting.iter().cloned()).collect()
    }

    /// Adds the schedules that wait; those that could not be, and why.
    #[cfg(feature = "schedule")]
    pub(crate) fn add_schedules(&self) -> Vec<(Schedule, Error)> {
        // Whoever looks meanwhile waits, so that none is seen twice; adding one takes no longer than a look.
        let mut waiting = self.waiting_schedules.lock();
        let Some(schedules) = self.schedules.get() else { return Vec::new() };
        let add = |schedule: Schedule| schedules.add(schedule.clone()).err().map(|error| (schedule, error));
        waiting.drain(..).filter_map(add).collect()
    }

    /// These wait to be restored from now on; their numbers.
    pub(crate) fn wait(&self, streams: Vec<SavedStream>) -> Vec<u64> {
        let mut next = self.next.lock();
        let mut waiting = self.waiting.lock();
        let numbers = streams.into_iter().map(|stream| {
            *next += 1;
            waiting.push((*next, stream));
            *next
        });
        numbers.collect()
    }

    /// One that waits.
    pub(crate) fn find(&self, number: u64) -> Option<SavedStream> {
        let waiting = self.waiting.lock();
        waiting.iter().find(|(of, _)| *of == number).map(|(_, stream)| stream.clone())
    }

    /// It waits no more.
    pub(crate) fn settled(&self, number: u64) {
        self.waiting.lock().retain(|(of, _)| *of != number);
    }
}

/// A stream as it is kept, without its place; or what of it cannot be, by its name. An output that is no data is left out alone, unless
/// nothing remains.
pub(crate) fn saved(
    (label, owner): (Option<String>, Option<String>),
    what: &What,
    left_out: &mut Vec<String>,
) -> Option<SavedStream> {
    let Some(source) = what.source.as_ref().and_then(|data| data.downcast_ref::<Source>()) else {
        left_out.push("the stream".to_owned());
        return None;
    };
    let as_output = |output: &DescribedOutput| {
        let data = output.data.as_ref().and_then(|data| data.downcast_ref::<Output>());
        #[cfg(feature = "serde")]
        let data = data.filter(|data| crate::written::is_data(*data));
        data.cloned().ok_or(output.id)
    };
    let (outputs, others): (Vec<_>, Vec<_>) = what.outputs.iter().map(as_output).partition(Result::is_ok);
    let outputs: Vec<_> = outputs.into_iter().flatten().collect();
    if outputs.is_empty() && !what.without_outputs && !others.is_empty() {
        left_out.push("the stream".to_owned());
        return None;
    }
    left_out.extend(others.into_iter().filter_map(Result::err).map(|id| id.to_string()));
    // What was there and has ended for good does not come back; the stream runs on without it.
    let without_outputs = what.without_outputs || outputs.is_empty();
    let spec = StreamSpec { label, owner, source: source.frozen(), outputs, without_outputs };
    Some(SavedStream { spec, place: None, sound_place: None })
}
