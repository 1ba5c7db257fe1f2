//! Where a stream's tags go.

mod append;
mod existing;
pub mod feed;
mod flv_file;
pub mod gate;
mod hub;
mod recorder;
mod rtmp_push;

use std::path::PathBuf;

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::url::{Destination, UrlError};

use crate::config::ReconnectPolicy;
use crate::error::Error;
use crate::net::tls::TlsRoots;
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
