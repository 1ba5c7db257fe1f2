//! What stands in for a source while it gives nothing, and what watches it.
//!
//! In: settings. Out: the driver of a source, put behind one that watches it and knows how it and its fallback are opened again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Media, Source};
use crate::content::{ContentWatch, Rules};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::fragment::Claim;
use crate::standby::{Guard, Guarding, Opened, Parameters, Reaction, Reopen, Times, Watchdog};
use crate::stream::{LaterOn, SourceOpening};
use crate::sys::Cancel;
use crate::transcode::{Encoding, Mode};

/// Bounds of the times of a fallback, and the least a watchdog waits.
const AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3600));
const LONGEST: Duration = Duration::from_secs(3600);
const LEAST_WATCHED: Duration = Duration::from_millis(100);
/// The longest.
const MOST_WATCHED: Duration = Duration::from_secs(24 * 3600);

/// How often content is looked at, and the levels of silence.
const LOOKS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const LEVELS: std::ops::RangeInclusive<i8> = -90..=-10;

/// A looped file that takes over while a source gives nothing; see [`Source::fallback`].
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod source { pub use flowcast_core::*; } }
/// use std::time::Duration;
///
/// use flowcast::Source;
/// use flowcast::source::Fallback;
///
/// let slate = Fallback::file("one-moment-please.mp4").after(Duration::from_secs(3));
/// let studio = Source::published("studio").fallback(slate);
/// let other = Source::published("studio").fallback("one-moment-please.mp4"); // after two seconds
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a fallback does nothing until a source has it"]
pub struct Fallback {
    path: PathBuf,
    mode: Mode,
    times: Times,
}

impl Fallback {
    /// A file, looped.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let times = Times {
            after: Duration::from_secs(2),
            steady: Duration::from_secs(1),
            at_least: Duration::from_secs(2),
        };
        Self { path: path.into(), mode: Mode::Encode, times }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It takes over when the source has given nothing for so long: 500 ms to an hour. Default 2 s.
    pub fn after(mut self, after: Duration) -> Self {
        self.times.after = after;
        self
    }

    /// The source is taken back at a keyframe, once it has given something for so long without a pause of more than half a second.
    /// At most an hour. Default 1 s.
    pub fn steady(mut self, steady: Duration) -> Self {
        self.times.steady = steady;
        self
    }

    /// It stays on the air for so long, so that a source that comes and goes does not make it flap. At most an hour. Default 2 s.
    pub fn at_least(mut self, at_least: Duration) -> Self {
        self.times.at_least = at_least;
        self
    }

    /// Whether it is encoded. Default [`Mode::Encode`]: to what is on the air (size, frame rate, profile, level, sound), once, into a
    /// reel, where there is a [store](crate::Config::reels); without one, as long as it is on the air. [`Mode::Copy`] sends the file as it
    /// is, with its own sequence headers.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// What cannot work.
    fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let Times { after, steady, at_least } = self.times;
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        if !(AFTER.0..=AFTER.1).contains(&after) {
            fail("fallback.after", "must be 500 ms to an hour");
        }
        for (name, time) in [("fallback.steady", steady), ("fallback.at_least", at_least)] {
            if time > LONGEST {
                fail(name, "must be at most an hour");
            }
        }
        found
    }

    /// What it plays beside `source`, in a stream of these parameters; without them, of its own.
    fn source(&self, of: &Source, beside: Option<&Parameters>) -> Source {
        let needs_no_sound = beside.is_some_and(|beside| beside.has_pictures && !beside.has_sound);
        let source =
            if needs_no_sound { Source::video(&self.path) } else { Source::file(&self.path).with_silence() };
        let mut source = source.looped().mode(self.mode);
        if self.mode == Mode::Copy {
            source.wish.enhanced = of.wish.enhanced;
        } else if !of.wish.is_copy() {
            // By the same encoder with the same settings: then even the headers are the same.
            source.wish.encoding = of.encoding_on_air();
            // It is encoded ahead, once.
            source.wish.encoding.adaptation = None;
            source.wish.encoding.under_load = Default::default();
        }
        source
    }
}

impl<P: Into<PathBuf>> From<P> for Fallback {
    fn from(path: P) -> Self {
        Self::file(path)
    }
}

impl Source {
    /// A looped file takes over while this source gives nothing: while nobody publishes, a publisher hangs, or a file cannot be read. It
    /// gives back at a keyframe of the source. The times of the stream go on, and outputs stay connected. A source that has failed
    /// is opened again, after one second, then two, up to a minute. Events tell when it begins and ends
    /// ([`FallbackBegan`](crate::EventKind::FallbackBegan), [`FallbackEnded`](crate::EventKind::FallbackEnded)), and
    /// [`StreamStats::fallback`](crate::StreamStats::fallback) for how long it was on the air.
    ///
    /// The file is encoded to the parameters of the source, ahead, so that receivers see one stream. Its sequence headers are sent
    /// where they differ; the sound's seldom do. What it cannot be encoded to, such as HEVC, has new sequence headers of the
    /// file's own kind. With [`Mode::Copy`](crate::Mode::Copy) for the fallback, that is always so.
    ///
    /// A source that is complete, such as a file that is played once, ends the stream all the same.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let live = engine
    ///     .stream(Source::published("studio").fallback("one-moment-please.mp4"))
    ///     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
    ///     .start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn fallback(mut self, fallback: impl Into<Fallback>) -> Self {
        self.fallback = Some(fallback.into());
        self
    }

    /// Watches whether the source gives packets and keyframes, and does something about it if not. Default: it is not watched.
    /// As long as nobody publishes, nothing is expected of a [published](Self::published) source.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod source { pub use flowcast_core::*; } }
    /// use std::time::Duration;
    ///
    /// use flowcast::Source;
    /// use flowcast::source::{Reaction, Watchdog};
    ///
    /// let watchdog = Watchdog::default().with(|watchdog| {
    ///     watchdog.no_packet = Some(Duration::from_secs(5));
    ///     watchdog.no_keyframe = Some(Duration::from_secs(15));
    ///     watchdog.then = Reaction::Restart;
    /// });
    /// let show = Source::file("/mnt/nas/show.mp4").looped().watchdog(watchdog);
    /// ```
    pub fn watchdog(mut self, watchdog: Watchdog) -> Self {
        self.watchdog = watchdog;
        self
    }

    /// What cannot work of its fallback and its watchdog.
    pub(super) fn guard_problems(&self) -> Vec<Error> {
        let mut found = self.fallback.as_ref().map(Fallback::problems).unwrap_or_default();
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        let Watchdog { no_packet, no_keyframe, then, look_every, silent_below_db, .. } = self.watchdog;
        let content = self.watchdog.content_rules();
        let mut limits = no_packet.into_iter().chain(no_keyframe);
        if limits.any(|limit| !(LEAST_WATCHED..=MOST_WATCHED).contains(&limit)) {
            fail("watchdog", "its times must be from 100 ms to a day");
        }
        if then != Reaction::Tell && no_packet.is_none() && no_keyframe.is_none() && content.is_none() {
            fail(
                "watchdog",
                "it reacts to nothing without `no_packet`, `no_keyframe`, `black`, `frozen` or `silent`",
            );
        }
        if !LOOKS.contains(&look_every) {
            fail("watchdog.look_every", "must be 1 s to a minute");
        }
        if !LEVELS.contains(&silent_below_db) {
            fail("watchdog.silent_below_db", "must be -90 to -10");
        }
        if let Some(Rules { black, frozen, silent, every, .. }) = content {
            let mut limits = [black, frozen, silent].into_iter().flatten();
            if limits.any(|limit| !(every..=MOST_WATCHED).contains(&limit)) {
                fail("watchdog", "content can be wrong for `look_every` at least, and for a day at most");
            }
            if cfg!(not(feature = "libav")) {
                fail("watchdog", "this build has no feature `libav` to look at content with");
            }
        }
        if then == Reaction::Fallback && self.fallback.is_none() {
            fail("watchdog", "it has no fallback to turn to");
        }
        found
    }

    /// How it is encoded, with what follows from being live.
    pub(super) fn encoding_on_air(&self) -> Encoding {
        let mut encoding = self.wish.encoding.clone();
        if self.media.is_live() {
            // Who publishes live wants to be seen soon.
            encoding.tune.get_or_insert_with(|| "zerolatency".to_owned());
            encoding.b_frames.get_or_insert(0);
        }
        encoding
    }

    /// Whether what it shows is watched.
    #[cfg(feature = "libav")]
    pub(super) fn watches_content(&self) -> bool {
        self.watchdog.content_rules().is_some()
    }

    /// Whether something stands in for it.
    #[cfg(feature = "libav")]
    pub(super) fn has_fallback(&self) -> bool {
        self.fallback.is_some()
    }

    /// Whether it is watched, or stood in for.
    fn is_guarded(&self) -> bool {
        self.fallback.is_some() || self.watchdog != Watchdog::default()
    }

    /// The driver of this source, watched and stood in for as it says.
    pub(super) fn guarded(
        &self,
        source: Box<dyn SourceDriver>,
        cx: &SourceOpening<'_>,
    ) -> Box<dyn SourceDriver> {
        if !self.is_guarded() {
            return source;
        }
        let claim = match &self.media {
            Media::Fragments(fragments) => fragments.claim(),
            _ => None,
        };
        let again = Again { source: self.clone(), later: cx.later_on(), _claim: claim };
        let fallback = self.fallback.clone().map(|fallback| {
            let times = fallback.times;
            let how: Arc<dyn Reopen> = Arc::new(Slate { fallback, of: self.clone(), later: cx.later_on() });
            (how, times)
        });
        Box::new(Guard::new(Guarding {
            name: cx.stream().to_string(),
            source,
            again: Arc::new(again),
            watchdog: self.watchdog,
            content: self.watchdog.content_rules().map(|rules| {
                ContentWatch::new(rules, cx.studio(), cx.cpu(), Instant::now(), cx.probe().clone())
            }),
            fallback,
        }))
    }
}

/// Opens a source again.
struct Again {
    source: Source,
    later: LaterOn,
    /// Who pushes fragments waits meanwhile.
    _claim: Option<Claim>,
}

impl Reopen for Again {
    fn open(&self, beside: Option<Parameters>, cancel: &Arc<Cancel>) -> Result<Opened, Error> {
        self.later.open(beside, cancel, |opening| super::open::open_bare(&self.source, opening))
    }
}

/// Opens its fallback.
struct Slate {
    fallback: Fallback,
    of: Source,
    later: LaterOn,
}

impl Reopen for Slate {
    fn open(&self, beside: Option<Parameters>, cancel: &Arc<Cancel>) -> Result<Opened, Error> {
        let source = self.fallback.source(&self.of, beside.as_ref());
        self.later.open(beside, cancel, |opening| super::open::open_bare(&source, opening))
    }
}

#[cfg(feature = "serde")]
mod wire {
    //! A fallback in a file: the name of its file, or a table.

    use std::path::PathBuf;
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer};
    use serde::ser::{Serialize, Serializer};

    use super::Fallback;
    use crate::transcode::Mode;

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename = "fallback", deny_unknown_fields)]
    struct Table {
        file: PathBuf,
        #[serde(default, with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
        after: Option<Duration>,
        #[serde(default, with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
        steady: Option<Duration>,
        #[serde(default, with = "crate::written::span::option", skip_serializing_if = "Option::is_none")]
        at_least: Option<Duration>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<Mode>,
    }

    #[derive(serde::Deserialize)]
    #[serde(
        untagged,
        expecting = "a fallback is the name of a file, or a table with `file`, `after`, `steady`, `at_least` and `mode`"
    )]
    enum Either {
        File(PathBuf),
        Table(Table),
    }

    impl Serialize for Fallback {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let usual = Self::file(&self.path);
            if *self == usual {
                return self.path.serialize(to);
            }
            let other = |own: Duration, usual: Duration| (own != usual).then_some(own);
            let table = Table {
                file: self.path.clone(),
                after: other(self.times.after, usual.times.after),
                steady: other(self.times.steady, usual.times.steady),
                at_least: other(self.times.at_least, usual.times.at_least),
                mode: (self.mode != usual.mode).then_some(self.mode),
            };
            table.serialize(to)
        }
    }

    impl<'de> Deserialize<'de> for Fallback {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let table = match Either::deserialize(from)? {
                Either::File(file) => return Ok(Self::file(file)),
                Either::Table(table) => table,
            };
            let mut fallback = Self::file(table.file);
            let times = &mut fallback.times;
            times.after = table.after.unwrap_or(times.after);
            times.steady = table.steady.unwrap_or(times.steady);
            times.at_least = table.at_least.unwrap_or(times.at_least);
            fallback.mode = table.mode.unwrap_or(fallback.mode);
            Ok(fallback)
        }
    }
}
