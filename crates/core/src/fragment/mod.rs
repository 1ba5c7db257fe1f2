//! Fragments that a program pushes, to be played as one stream.
//!
//! In: files, bytes and readers, from any thread, and settings. Out: fragments in the order they were pushed, for the stream that plays
//! them, and figures. What is pushed is looked at on the thread that pushes; it is opened and read on a worker of the stream.

mod boxes;
mod clock;
mod directory;
mod figures;
mod media;
mod push;
mod queue;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use clock::Stamp;
pub use directory::FragmentDirectory;
pub(crate) use directory::Watched;
pub(crate) use figures::Outcome;
pub use figures::{FragmentHealth, FragmentStats, FragmentTrouble};
pub use media::Fragment;
#[cfg(feature = "libav")]
pub(crate) use media::Reader;
pub(crate) use media::{Held, Reading};
pub use push::PushFragment;
pub(crate) use queue::{Claim, Feed, Shared};

use crate::error::Error;
use crate::playlist::ParameterChange;
use crate::words::words;

/// Bounds of [`FragmentOptions::chunk_size`].
const CHUNK: (usize, usize) = (4 << 10, 64 << 20);
/// The most fragments that can be held ahead.
const MOST_AHEAD: usize = 1000;

/// When the media of a fragment goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FragmentPace {
    /// At the speed it is played at, from the first fragment on: what platforms expect.
    #[default]
    Realtime,
    /// A fragment goes out as fast as the slowest output takes it, as soon as it is its turn: when the ones before it would have been played. So no
    /// more than one fragment is ever ahead of real time. An output that takes it more slowly than it plays, or that is being dialled, does
    /// not hold the others back beyond real time. What is ahead of real time is no lag, wherever it waits, and nothing of it is dropped.
    Off,
}

words!(FragmentPace, "pace of fragments", Realtime = "realtime", Off = "off");

/// How fragments are held and handed on; see [`FragmentPublisher::with_options`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct FragmentOptions {
    /// Bytes of a fragment that are read at once, 4 KiB to 64 MiB. More means fewer reads, less means less memory. Default 256 KiB.
    pub chunk_size: usize,
    /// Fragments that are held ahead of the one on the air, 1 to 1000: one more, and [`FragmentPublisher::push`] waits. Default 3.
    pub fragment_buffer_size: usize,
    /// When their media goes out. Default [`FragmentPace::Realtime`].
    pub pace: FragmentPace,
    /// What happens to a fragment with other parameters than the one before. Default [`ParameterChange::Allow`].
    pub on_change: ParameterChange,
}

impl Default for FragmentOptions {
    fn default() -> Self {
        Self {
            chunk_size: 256 << 10,
            fragment_buffer_size: 3,
            pace: FragmentPace::Realtime,
            on_change: ParameterChange::Allow,
        }
    }
}

crate::settings::settings!(FragmentOptions);

impl FragmentOptions {
    /// All that cannot work, by the name of the field.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        if !(CHUNK.0..=CHUNK.1).contains(&self.chunk_size) {
            fail("chunk_size", "must be 4 KiB to 64 MiB");
        }
        if !(1..=MOST_AHEAD).contains(&self.fragment_buffer_size) {
            fail("fragment_buffer_size", "must be 1 to 1000");
        }
        found
    }
}

/// Publishes fragments as one stream: [`Source::fragments`](crate::Source::fragments) plays what is pushed here.
///
/// A fragment is a complete MP4, or a piece of a fragmented one: an init segment (`ftyp`, `moov`), and after it segments that begin with
/// `styp` or `moof`. Which it is is seen by its first boxes. Other files that libav reads are taken, too. Each fragment begins where the one
/// before it ends: its picture sets its length, and sound follows in whole frames, to within half a frame for ever.
///
/// A fragment that cannot be played is left out, with [`FragmentSkipped`](crate::EventKind::FragmentSkipped), and the stream goes on. While
/// there is none, the stream waits, and its [fallback](crate::Source::fallback), if it has one, takes over.
///
/// Every clone is the same publisher. When the last one is dropped, or with [`finish`](Self::finish), the stream ends behind what was pushed.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod fragment { pub use flowcast_core::*; } }
/// use flowcast::fragment::FragmentPublisher;
/// use flowcast::{Config, Engine, Output, Source};
///
/// let engine = Engine::new(Config::default())?;
/// let publisher = FragmentPublisher::new();
/// let live = engine
///     .stream(Source::fragments(&publisher))
///     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
///     .start()?;
/// for number in 0..120 {
///     publisher.push(format!("batch-{number}.mp4"))?; // waits while three are held
/// }
/// publisher.finish();
/// live.wait()?;
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FragmentPublisher {
    handle: Arc<Handle>,
}

/// The program's side of the queue; the stream's is a [`Feed`].
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.finish();
    }
}

/// What became of a fragment that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed {
    /// It is held, and will be played; events name it by this number. Numbers begin with 1.
    Queued {
        /// The number.
        number: u64,
    },
    /// It is an init segment, for the segments that follow.
    Init,
    /// A fragment with this [id](Fragment::id) was pushed before: it is dropped, and counted.
    Duplicate,
}

impl Default for FragmentPublisher {
    fn default() -> Self {
        Self::new()
    }
}

impl FragmentPublisher {
    /// A publisher with the default [options](FragmentOptions).
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(FragmentOptions::default())
    }

    /// A publisher with these options; those that cannot work are refused when a stream is started with it.
    #[must_use]
    pub fn with_options(options: FragmentOptions) -> Self {
        Self { handle: Arc::new(Handle { shared: Arc::new(Shared::new(options)) }) }
    }

    /// Hands over a fragment: a path, bytes (`Bytes`, `Vec<u8>`), or a [`Fragment`].
    ///
    /// A file is opened here, so that it can be removed or renamed as soon as this returns.
    ///
    /// # Errors
    ///
    /// [`Error::FragmentUnreadable`] and [`Error::FragmentUnusable`]: it is not taken, and the stream goes on. [`Error::Ended`]: the stream
    /// has ended and no other one has begun with this publisher, or it was [finished](Self::finish). A stream whose source is opened again,
    /// because it has a [fallback](crate::Source::fallback) or a [watchdog](crate::Source::watchdog), has not ended.
    ///
    /// # Blocking
    ///
    /// While as many are held as [`FragmentOptions::fragment_buffer_size`] says, until one of them begins or the stream ends. On
    /// opening a file and reading its first boxes, or on a [reader](Fragment::reader) until its end.
    pub fn push(&self, fragment: impl Into<Fragment>) -> Result<Pushed, Error> {
        self.handle.shared.push(fragment.into())
    }

    /// As [`push`](Self::push), but never waits for room: a fragment there is no room for is given back.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Blocking
    ///
    /// As [`push`](Self::push), but not for room.
    pub fn try_push(&self, fragment: impl Into<Fragment>) -> Result<Result<Pushed, Fragment>, Error> {
        self.handle.shared.try_push(fragment.into())
    }

    /// As [`push`](Self::push), for async programs: waits for room without a thread and without a runtime of its own.
    ///
    /// Dropped before it is ready, the fragment is not taken.
    ///
    /// # Blocking
    ///
    /// When it is polled: on opening a file and reading its first boxes, or on a [reader](Fragment::reader) until its end.
    pub fn push_async(&self, fragment: impl Into<Fragment>) -> PushFragment {
        PushFragment::new(self.handle.shared.clone(), fragment.into())
    }

    /// Nothing more is pushed: the stream ends behind what is held. Those who wait in [`push`](Self::push) get [`Error::Ended`].
    pub fn finish(&self) {
        self.handle.shared.finish();
    }

    /// Fragments that are held ahead of the one on the air.
    #[must_use]
    pub fn held(&self) -> usize {
        self.handle.shared.held()
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> &FragmentOptions {
        self.handle.shared.options()
    }

    /// Its figures.
    #[must_use]
    pub fn stats(&self) -> FragmentStats {
        self.handle.shared.stats()
    }

    /// How publishing goes, by the last ten fragments: see [`FragmentTrouble`] for the limits.
    pub fn health(&self) -> FragmentHealth {
        self.handle.shared.health()
    }

    /// The queue, for a source.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

/// What the fragments of a source are.
#[derive(Debug, Clone)]
pub(crate) enum Fragments {
    /// Those a program pushes.
    Pushed(Arc<Shared>),
    /// The files of a directory.
    Directory(Box<FragmentDirectory>),
}

impl PartialEq for Fragments {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pushed(one), Self::Pushed(other)) => Arc::ptr_eq(one, other),
            (Self::Directory(one), Self::Directory(other)) => one == other,
            _ => false,
        }
    }
}

impl Fragments {
    /// Their options.
    pub(crate) fn options(&self) -> &FragmentOptions {
        match self {
            Self::Pushed(shared) => shared.options(),
            Self::Directory(directory) => &directory.options,
        }
    }

    /// Keeps those who push waiting while a stream opens them again.
    pub(crate) fn claim(&self) -> Option<Claim> {
        match self {
            Self::Pushed(shared) => Some(shared.claim()),
            Self::Directory(directory) => directory.claim(),
        }
    }

    /// A stream begins with them.
    pub(crate) fn begin(&mut self) {
        if let Self::Directory(directory) = self {
            directory.begin();
        }
    }

    /// All that cannot work.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = self.options().problems();
        if let Self::Directory(directory) = self {
            found.extend(directory.problems());
        }
        found
    }
}

/// How late a fragment has to be for an event.
pub(crate) const LATE: Duration = Duration::from_millis(200);
