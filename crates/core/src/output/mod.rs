//! Where a stream's tags go.

mod append;
pub(crate) mod cursor;
mod existing;
pub mod feed;
mod flv_file;
pub mod gate;
mod hub;
mod recorder;
mod rtmp_push;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::url::{Destination, UrlError};

use crate::config::ReconnectPolicy;
use crate::error::Error;
use crate::event::{EventKind, OutputId};
use crate::live::Ring;
use crate::net::dialer::Reached;
use crate::net::tls::TlsRoots;
use crate::pool::Scratch;
use gate::Enhanced;

pub use existing::Existing;
pub(crate) use hub::HubOutput;
pub(crate) use recorder::Recorder;
pub(crate) use rtmp_push::RtmpPush;

/// One place a stream is sent to.
#[derive(Debug, Clone)]
#[must_use = "an output does nothing until it is given to a stream"]
pub struct Output {
    pub(crate) kind: Result<OutputKind, UrlError>,
    /// The first setting that was given and has no effect on such an output: `start` and `add_output` refuse it.
    in_vain: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) enum OutputKind {
    Rtmp(Box<Target>),
    Record { path: PathBuf, existing: Existing, all_tracks: bool },
    Hub { name: String },
}

/// A server a stream is pushed to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) destination: Destination,
    pub(crate) roots: TlsRoots,
    pub(crate) reconnect: Option<ReconnectPolicy>,
    pub(crate) enhanced: Enhanced,
    pub(crate) all_tracks: bool,
}

impl Output {
    /// Publishes to an RTMP or RTMPS server: the server's address with its app, and the stream key apart from it, as
    /// platforms show them (`rtmps://a.rtmps.youtube.com/live2`). A server without apps is given by its host alone
    /// (`rtmp://host`). A malformed address, or an empty key, is reported by `start` or `add_output`.
    ///
    /// User and password before the host (`rtmp://user:password@host/app`, percent-encoded where they hold `/` or `?`) log in
    /// to servers that ask for it with `authmod=adobe` or `authmod=llnw`; others are not told.
    pub fn rtmp(server: &str, key: impl Into<StreamKey>) -> Self {
        Self::to_destination(Destination::with_key(server, key.into()))
    }

    /// Publishes to a complete address whose last part is the stream key (`rtmp://host/app/key`), or that names the stream by
    /// its only part (`rtmp://host/stream?user=name`): it is taken apart as ffmpeg does, see [`Destination::parse`].
    pub fn rtmp_url(url: &str) -> Self {
        Self::to_destination(Destination::parse(url))
    }

    fn to_destination(destination: Result<Destination, UrlError>) -> Self {
        Self::of(destination.map(|destination| {
            let (roots, enhanced) = (TlsRoots::Platform, Enhanced::Off);
            let target = Target { destination, roots, reconnect: None, enhanced, all_tracks: false };
            OutputKind::Rtmp(Box::new(target))
        }))
    }

    fn of(kind: Result<OutputKind, UrlError>) -> Self {
        Self { kind, in_vain: None }
    }

    /// Changes what only a push has; `name` is that of the setting.
    fn with_target(mut self, name: &'static str, change: impl FnOnce(&mut Target)) -> Self {
        match &mut self.kind {
            Ok(OutputKind::Rtmp(target)) => change(target),
            Ok(_) => {
                self.in_vain.get_or_insert(name);
            }
            // Told as what it is.
            Err(_) => {}
        }
        self
    }

    /// Records to an FLV file. If there is one of this name, it stays as it is, and the recording goes to another one beside it;
    /// see [`existing`](Self::existing). A file the stream is made from is refused, by whatever name or link.
    ///
    /// The recording's real file is told by [`EventKind::RecordingOpened`] and [`OutputStats::path`].
    pub fn record(path: impl Into<PathBuf>) -> Self {
        let existing = Existing::default();
        Self::of(Ok(OutputKind::Record { path: path.into(), existing, all_tracks: false }))
    }

    /// What a recording does with a file of its name. Default [`Existing::Number`]: a stream that is started again loses nothing
    /// and is on the air all the same. What is being played or recorded, by any engine of this process, is never written to;
    /// recordings of other processes neither, where the file system has locks. Only for recordings: refused
    /// for other outputs by `start` and `add_output`.
    ///
    /// ```no_run
    /// use flowcast_core::{Config, Engine, Existing, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let archive = Output::record("archive.flv").existing(Existing::Append);
    /// let live = engine.stream(Source::file("show.mp4").looped()).to(archive).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast_core::Error>(())
    /// ```
    pub fn existing(mut self, what: Existing) -> Self {
        match &mut self.kind {
            Ok(OutputKind::Record { existing, .. }) => *existing = what,
            Ok(_) => {
                self.in_vain.get_or_insert("existing");
            }
            // Told as what it is.
            Err(_) => {}
        }
        self
    }

    /// Lets players of the embedded server have the stream under `name`, without a socket in between. They join on the
    /// stream's own thread, at the newest keyframe, which the stream keeps from then on. When the last such output is
    /// removed, its players are told that the stream is over. A name that is in use is refused by `start` or `add_output`,
    /// and publishers of the name are refused as long as it is held.
    ///
    /// ```no_run
    /// use flowcast_core::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let rain = engine.stream(Source::file("rain.mp4").looped()).to(Output::hub("rain")).start()?;
    /// # drop(rain);
    /// # Ok::<(), flowcast_core::Error>(())
    /// ```
    pub fn hub(name: impl Into<String>) -> Self {
        Self::of(Ok(OutputKind::Hub { name: name.into() }))
    }

    /// Whom an RTMPS output trusts, or one that is redirected to RTMPS. Default: the platform's root certificates. Only for
    /// pushes: refused for recordings and the hub by `start` and `add_output`, like the settings below.
    pub fn tls_roots(self, trusted: TlsRoots) -> Self {
        self.with_target("tls_roots", |target| target.roots = trusted)
    }

    /// Says in `connect` that it knows Enhanced RTMP v2: its codecs, and requests to connect anew, which servers make before
    /// they go away; the output then goes on there at a keyframe. Default off: there are servers that refuse a `connect`
    /// with words they do not know.
    ///
    /// A stream with such codecs (see [`Source::enhanced`](crate::Source::enhanced)) is sent if the server says that it takes
    /// them. If it does not, or if the output is not enhanced, the output ends with [`Error::CodecNotTaken`].
    pub fn enhanced(self) -> Self {
        self.with_target("enhanced", |target| target.enhanced = Enhanced::Announced)
    }

    /// As [`enhanced`](Self::enhanced), and sends all codecs whatever the server says. For servers that are known to take them:
    /// many do and say nothing.
    pub fn enhanced_unasked(self) -> Self {
        self.with_target("enhanced_unasked", |target| target.enhanced = Enhanced::Always)
    }

    /// Sends or records all tracks that a publisher sends with Enhanced RTMP, not only the first of each kind. Default: a server
    /// gets them if the output is [`enhanced`](Self::enhanced) and the server announces that it takes several; recordings
    /// have one track of each kind, since most programs that read FLV fail on the others. What is left out is told with
    /// [`EventKind::OutputTrackSkipped`]. A push has to be enhanced for it. Of a [`hub`](Self::hub) each player says itself what
    /// it takes.
    pub fn all_tracks(mut self) -> Self {
        match &mut self.kind {
            Ok(OutputKind::Rtmp(target)) => target.all_tracks = true,
            Ok(OutputKind::Record { all_tracks, .. }) => *all_tracks = true,
            Ok(OutputKind::Hub { .. }) => {
                self.in_vain.get_or_insert("all_tracks");
            }
            // Told as what it is.
            Err(_) => {}
        }
        self
    }

    /// Refuses a malformed address, and settings that cannot work or have no effect.
    ///
    /// # Errors
    ///
    /// [`Error::Url`], [`Error::Config`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let kind = self.kind.as_ref().map_err(|error| Error::Url(error.clone()))?;
        if let Some(name) = self.in_vain {
            let (what, only) = match kind {
                OutputKind::Hub { .. } if name == "existing" => ("an output to the hub", "a recording"),
                OutputKind::Hub { .. } if name == "all_tracks" => {
                    ("an output to the hub", "a push or a recording")
                }
                OutputKind::Hub { .. } => ("an output to the hub", "a push"),
                OutputKind::Record { .. } => ("a recording", "a push"),
                OutputKind::Rtmp(_) => ("a push", "a recording"),
            };
            return Err(Error::Config { name, reason: format!("has no effect on {what}, only on {only}") });
        }
        match kind {
            OutputKind::Rtmp(target) if target.all_tracks && target.enhanced == Enhanced::Off => {
                let reason = "has no effect on a push that is not enhanced".to_owned();
                Err(Error::Config { name: "all_tracks", reason })
            }
            OutputKind::Rtmp(target) => target.reconnect.as_ref().map_or(Ok(()), ReconnectPolicy::check),
            _ => Ok(()),
        }
    }

    /// When this output is dialled again after it was lost. Default: the engine's policy.
    pub fn reconnect(self, policy: ReconnectPolicy) -> Self {
        self.with_target("reconnect", |target| target.reconnect = Some(policy))
    }
}

/// How an output stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputPhase {
    /// Its peer is being reached, for the first time or again.
    Connecting,
    /// It waits before it tries again.
    Waiting,
    /// Nothing is published that it could send; it is dialled when something is.
    Resting,
    /// It is on the air.
    Live,
    /// It has ended.
    Ended,
}

/// Figures of one output.
#[derive(Debug, Clone)]
pub struct OutputStats {
    /// Its number.
    pub id: OutputId,
    /// What it is, without any key.
    pub name: String,
    /// The file of a recording, by its real name; `None` for other outputs.
    pub path: Option<PathBuf>,
    /// How it stands.
    pub phase: OutputPhase,
    /// Bytes handed to the kernel or the file, all protocol bytes included.
    pub bytes_sent: u64,
    /// Media time that was due and is not acknowledged yet.
    pub lag: Duration,
    /// Tags dropped because it was behind.
    pub drops: u64,
    /// Times it was connected again.
    pub reconnects: u64,
    /// Bytes it holds that are not sent, kernel buffers included.
    pub bytes_held: u64,
    /// The last failure, with its causes.
    pub last_error: Option<String>,
}

impl OutputStats {
    /// Of an output that has done nothing yet.
    pub(crate) fn new(id: OutputId, name: String) -> Self {
        Self {
            id,
            name,
            path: None,
            phase: OutputPhase::Connecting,
            bytes_sent: 0,
            lag: Duration::ZERO,
            drops: 0,
            reconnects: 0,
            bytes_held: 0,
            last_error: None,
        }
    }
}

/// What a driver is given on each turn of the stream thread.
pub struct OutputContext<'a> {
    /// The instant of this turn.
    pub now: Instant,
    /// The poll of the thread, to register sockets with.
    pub registry: &'a mio::Registry,
    /// The driver's number among the stream's outputs.
    pub output: OutputId,
    /// The driver's token.
    pub token: mio::Token,
    /// The stream's newest tags.
    pub ring: &'a Ring,
    /// The socket may be readable.
    pub readable: bool,
    /// The socket may be writable.
    pub writable: bool,
    /// This turn is a tick: do what is done once a tick (deadlines, lag, merged writes).
    pub tick: bool,
    /// A buffer of 16 KiB for reading in this turn; its contents mean nothing.
    pub scratch: &'a mut Scratch,
    /// Where events go.
    pub notices: &'a mut Vec<EventKind>,
}

impl std::fmt::Debug for OutputContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputContext")
            .field("token", &self.token)
            .field("tick", &self.tick)
            .finish_non_exhaustive()
    }
}

/// How an output stands after a turn.
#[derive(Debug)]
pub enum OutputState {
    /// It goes on.
    Running,
    /// It goes on and has more to read or write at once; other sockets are served first.
    More,
    /// It has ended: by itself (`None`) or with an error.
    Ended(Option<Arc<Error>>),
}

/// Whether an output has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is being connected for the first time.
    Pending,
    /// Its first attempt succeeded or failed.
    Settled,
    /// It needs no connection.
    Always,
}

/// An output on a stream thread. Nothing in it may block.
pub trait OutputDriver: Send {
    /// Does what can be done now; called once when the output is added, then on readiness, on new tags and on ticks.
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState;

    /// Learns where the dialer's attempt number `attempt` led, or why nowhere.
    fn dialed(
        &mut self,
        cx: &mut OutputContext<'_>,
        attempt: u64,
        result: Result<Reached, Error>,
    ) -> OutputState {
        let _ = (cx, attempt, result);
        OutputState::Running
    }

    /// The source has nothing to send for an indefinite time; called instead of a turn when that begins, and when the output
    /// is added meanwhile.
    fn rest(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.turn(cx)
    }

    /// The source gives again; called instead of a turn.
    fn resume(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.turn(cx)
    }

    /// The name players join by because of this output, if they do.
    fn hub_name(&self) -> Option<&str> {
        None
    }

    /// Something happened to the source that streams made from this one are to know.
    fn hear(&mut self, _notice: &EventKind) {}

    /// Whether new tags are sent at once; otherwise with the next tick.
    fn is_immediate(&self) -> bool {
        true
    }

    /// The oldest tag of the ring that is still to be sent, if any is.
    fn cursor(&self) -> Option<u64>;

    /// Begins an orderly end; further turns bring it about.
    fn finish(&mut self, cx: &mut OutputContext<'_>);

    /// Whether the orderly end is complete.
    fn is_finished(&mut self) -> bool;

    /// What the output failed with at its very end, if it did.
    fn failure(&self) -> Option<Arc<Error>> {
        None
    }

    /// How long an orderly end may take, within the deadline of the stop.
    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Whether media time has to wait for this output.
    fn readiness(&self) -> Readiness;

    /// When its first media byte was handed to the kernel or a file, once one was.
    fn first_media(&self) -> Option<Instant> {
        None
    }

    /// Fills in its figures.
    fn stats(&self, stats: &mut OutputStats);
}
