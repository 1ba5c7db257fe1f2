//! Where a stream's tags go.

#[cfg(feature = "libav")]
mod cues;
pub mod feed;
mod file;
pub mod gate;
mod hls;
mod hub;
mod media;
#[cfg(feature = "libav")]
mod packets;
mod pair;
mod queue;
mod replacing;
mod rotation;
mod rtmp_push;
mod target;
mod thumbnails;
mod url;
#[cfg(feature = "serde")]
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::url::{Destination, Scheme, UrlError};
use rtmp_push::RtmpPush;
use thumbnails::Thumbnails;

use crate::admission::Ways;
use crate::config::ReconnectPolicy;
use crate::error::Error;
use crate::net::tls::TlsRoots;
use crate::stream::{Data, OpenOutput, OpenedOutput, OutputOpening, check_name};
use crate::thumbnail::ThumbnailOptions;
use file::record;
use gate::Enhanced;
use hub::HubOutput;
use target::{Recording, Target};
use url::UrlTarget;

pub use file::{Clip, Existing, FileFormat, Segments};
pub use hls::{Hls, HlsFile, HlsStore};
pub use replacing::IfTaken;
pub use rotation::Rotation;
#[cfg(feature = "serde")]
pub(crate) use wire::WithKey;

/// What is shown in place of a secret.
const HIDDEN: &str = "****";

/// One destination of a stream.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an output does nothing until it is given to a stream"]
pub struct Output {
    kind: Result<OutputKind, UrlError>,
    /// The settings that were given and have no effect on such an output: `start` and `add_output` refuse them.
    in_vain: Vec<&'static str>,
    label: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum OutputKind {
    Rtmp(Box<Target>),
    Record(Box<Recording>),
    Hls(Box<Hls>),
    Thumbnails(Box<Thumbnails>),
    Hub { name: String },
    Url(Box<UrlTarget>),
}

impl Output {
    /// Publishes to an RTMP or RTMPS server: the server's address with its app, and the stream key separately, as
    /// platforms show them (`rtmps://a.rtmps.youtube.com/live2`). For a server without apps, the address is the host
    /// alone (`rtmp://host`). A malformed address or an empty key is an error of `start` or `add_output`.
    ///
    /// A user and password before the host (`rtmp://user:password@host/app`, percent-encoded where they hold `/` or
    /// `?`) log in to servers that ask for it with `authmod=adobe` or `authmod=llnw`; they are not sent to other
    /// servers.
    pub fn rtmp(server: &str, key: impl Into<StreamKey>) -> Self {
        Self::to_destination(Destination::with_key(server, key.into()))
    }

    /// Publishes to a complete address whose last part is the stream key (`rtmp://host/app/key`), or whose only part
    /// names the stream (`rtmp://host/stream?user=name`). The address is split as ffmpeg does, see
    /// [`Destination::parse`].
    pub fn rtmp_url(url: &str) -> Self {
        Self::to_destination(Destination::parse(url))
    }

    /// Sends to an address of any kind, as its scheme says:
    ///
    /// | URL | what is sent |
    /// |---|---|
    /// | `srt://host:port` | MPEG-TS by SRT; `?mode=listener` waits to be called |
    /// | `udp://host:port` | MPEG-TS in datagrams, to one host or a multicast group |
    /// | `icecast://source:password@host:port/mount` | the sound, AAC or MP3, to an Icecast server |
    /// | `rtsp://host:port/path` | RTP to an RTSP server, within its TCP connection |
    /// | `rtmp://…`, `rtmps://…` | as [`rtmp_url`](Self::rtmp_url) |
    ///
    /// The query of an `srt`, `udp` or `icecast` URL has libav's options under their names there, with their units: `latency` of SRT is in microseconds.
    /// What can be set: docs/jobs/url.md. Values may be percent-encoded. Passwords, passphrases, stream ids and the last part of an RTSP path are
    /// shown nowhere. Needs the feature `libav`.
    ///
    /// Each has a thread of its own, is connected again as [`reconnect`](Self::reconnect) says, and leaves out up to a keyframe when it is behind, as pushes
    /// by RTMP do. A server that refuses the first time ends the output. SRT does not say why a connection is refused, so that is tried again.
    ///
    /// `start` and `add_output` refuse a URL that is malformed or has unknown settings ([`Error::Address`]), and one that the linked libav was built
    /// without ([`Error::Media`], `PROTOCOL_NOT_BUILT`, which names the library).
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let srt = Output::url("srt://ingest.example.com:9000?streamid=show&passphrase=ten-or-more&latency=200000");
    /// let live = engine.stream(Source::file("show.mp4").looped()).to(srt).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn url(url: &str) -> Self {
        if UrlTarget::is_meant(url) {
            Self::of(Ok(OutputKind::Url(Box::new(UrlTarget::new(url)))))
        } else {
            Self::rtmp_url(url)
        }
    }

    fn to_destination(destination: Result<Destination, UrlError>) -> Self {
        Self::of(destination.map(|destination| {
            let (roots, enhanced) = (TlsRoots::Platform, Enhanced::Off);
            let (reconnect, rotation, backup, all_tracks) = (None, None, None, false);
            let target = Target { destination, roots, reconnect, enhanced, all_tracks, rotation, backup };
            OutputKind::Rtmp(Box::new(target))
        }))
    }

    fn of(kind: Result<OutputKind, UrlError>) -> Self {
        Self { kind, in_vain: Vec::new(), label: None }
    }

    /// Changes a setting that only pushes have; `name` is its name.
    fn with_target(mut self, name: &'static str, change: impl FnOnce(&mut Target)) -> Self {
        match &mut self.kind {
            Ok(OutputKind::Rtmp(target)) => change(target),
            Ok(_) => {
                self.in_vain.push(name);
            }
            // Reported as the error it is.
            Err(_) => {}
        }
        self
    }

    /// Records to a file: MP4, Matroska or MPEG-TS if its extension says so (see [`FileFormat::of`]), else FLV; or as [`format`](Self::format)
    /// says. Each can be played while it grows, and after a crash. An existing file of this name stays as it is, and the recording goes to another one
    /// beside it; see [`existing`](Self::existing). A file the stream is made from is refused, by whatever name or
    /// link.
    ///
    /// [`EventKind::RecordingOpened`](crate::EventKind::RecordingOpened) and [`OutputStats::path`](crate::OutputStats::path) have the real name of the file,
    /// and [`EventKind::Recorded`](crate::EventKind::Recorded) says that it is complete. Where the codec configuration changes, FLV goes on in the same
    /// file; other formats go on in a new one, from a keyframe on, without losing anything: `show-1.mp4` after `show.mp4`. A codec that the format does
    /// not hold ends the recording with [`Error::CodecNotRecorded`], and not the stream.
    pub fn record(path: impl Into<PathBuf>) -> Self {
        Self::of(Ok(OutputKind::Record(Box::new(Recording {
            path: path.into(),
            format: None,
            existing: Existing::default(),
            all_tracks: false,
            segments: None,
            max_duration: None,
        }))))
    }

    /// Changes a setting that only recordings have; `name` is its name.
    fn with_recording(mut self, name: &'static str, change: impl FnOnce(&mut Recording)) -> Self {
        match &mut self.kind {
            Ok(OutputKind::Record(recording)) => change(recording),
            Ok(_) => {
                self.in_vain.push(name);
            }
            // Reported as the error it is.
            Err(_) => {}
        }
        self
    }

    /// The format of a recording, whatever its name is. Default: as the extension says, see [`FileFormat::of`]. Only for recordings.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod output { pub use flowcast_core::*; } }
    /// use flowcast::output::FileFormat;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let archive = Output::record("archive.partial").format(FileFormat::Mp4);
    /// let live = engine.stream(Source::file("show.mp4").looped()).to(archive).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn format(self, format: FileFormat) -> Self {
        self.with_recording("format", |recording| recording.format = Some(format))
    }

    /// What a recording does with an existing file of its name. Default [`Existing::Number`]: a stream that is
    /// started again loses nothing and is on the air all the same. A file that is being played or recorded, by any
    /// engine of this process, is never written to; nor are recordings of other processes, where the file system has
    /// locks. Only for recordings: `start` and `add_output` refuse it for other outputs.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Existing, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let archive = Output::record("archive.flv").existing(Existing::Append);
    /// let live = engine.stream(Source::file("show.mp4").looped()).to(archive).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn existing(self, what: Existing) -> Self {
        self.with_recording("existing", |recording| recording.existing = what)
    }

    /// Records to one file after another: cut by length, size or the clock before a keyframe, without losing or doubling anything; see [`Segments`].
    ///
    /// The last part of the path is a pattern: `{number}` counts files from 0 on, in six digits, and goes on behind those that are there; `{time}` is when
    /// the file began, in the zone of [`Segments::by_clock`] or in UTC; `{stream}` is the stream's label, else its number, with `_` for what is no letter, digit,
    /// space, `-`, `_` or `.`, so no file is outside of the directory. Without number and time, `-{number}` goes before the extension. The directory has to
    /// be there. A file that exists is never written to. [`EventKind::Recorded`](crate::EventKind::Recorded) tells of each file that is complete.
    /// Only for recordings.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod output { pub use flowcast_core::*; } }
    /// use std::time::Duration;
    ///
    /// use flowcast::output::Segments;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let hours = Segments::by_clock(Duration::from_secs(3600), "UTC").keep_for(Duration::from_secs(7 * 24 * 3600));
    /// let archive = Output::record("archive/{stream}_{time}.mp4").segments(hours);
    /// let live = engine.stream(Source::file("show.mp4").looped()).to(archive).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn segments(self, segments: Segments) -> Self {
        self.with_recording("segments", |recording| recording.segments = Some(segments))
    }

    /// Ends a recording after this much media. The stream goes on. Default: with the stream. Only for recordings.
    pub fn max_duration(self, most: Duration) -> Self {
        self.with_recording("max_duration", |recording| recording.max_duration = Some(most))
    }

    /// Writes a thumbnail to a file every so often: the first at once, then of the first keyframe after each `every`, at least 100 ms. The file is
    /// replaced as a whole. In the last part of the path, `{stream}` is the stream's label, else its number, as with [`segments`](Self::segments), and
    /// `{time}` is when it was written, in UTC, by the second: then each has a file of its own, `every` is at least 1 s, and nothing removes them. The directory has to be there.
    ///
    /// What it costs is one decoded picture each; see [`StreamRef::thumbnail`](crate::StreamRef::thumbnail). One that cannot be made or written is told
    /// ([`EventKind::ThumbnailFailed`](crate::EventKind::ThumbnailFailed), once until one succeeds), and the next one is tried. Needs the feature `libav`.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use std::time::Duration;
    ///
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let looks = Output::thumbnails("thumbs/{stream}.jpg", Duration::from_secs(5));
    /// let live = engine.stream(Source::file("rain.mp4").looped()).label("rain").to(looks).record("rain.flv").start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn thumbnails(path: impl Into<PathBuf>, every: Duration) -> Self {
        let options = ThumbnailOptions::default();
        Self::of(Ok(OutputKind::Thumbnails(Box::new(Thumbnails { path: path.into(), every, options }))))
    }

    /// Size and quality of [`thumbnails`](Self::thumbnails). Only for those.
    pub fn thumbnail_options(mut self, options: ThumbnailOptions) -> Self {
        match &mut self.kind {
            Ok(OutputKind::Thumbnails(thumbnails)) => thumbnails.options = options,
            Ok(_) => self.in_vain.push("thumbnail_options"),
            // Reported as the error it is.
            Err(_) => {}
        }
        self
    }

    /// Offers the stream to players that speak HLS: segments and playlists in a directory that any web server serves, or in memory; see [`Hls`]. A path alone is
    /// [`Hls::directory`] of it.
    ///
    /// [`EventKind::OutputLive`](crate::EventKind::OutputLive) says that the first segment is complete and can be played,
    /// [`OutputStats::path`](crate::OutputStats::path) is the playlist. While the disk is full or the directory is gone, segments are lost, one after another,
    /// each with an [`OutputRetrying`](crate::EventKind::OutputRetrying); then it goes on, and says so with `OutputLive`.
    /// H.264, HEVC, AV1, VP9; AAC, MP3, Opus. Another codec ends the output with [`Error::CodecNotRecorded`], and not the stream.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let live = engine.stream(Source::file("rain.mp4").looped()).to(Output::hls("/var/www/rain")).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn hls(hls: impl Into<Hls>) -> Self {
        Self::of(Ok(OutputKind::Hls(Box::new(hls.into()))))
    }

    /// Offers the stream to players that speak HLS, from memory: short for [`Hls::memory`].
    pub fn hls_in_memory(store: &HlsStore) -> Self {
        Self::hls(Hls::memory(store))
    }

    /// Offers the stream under `name` to players of the embedded server, without a socket in between. They join on
    /// the stream's own thread, at the newest keyframe, which the stream keeps from then on. When the last such
    /// output is removed, its players are told that the stream is over. `start` and `add_output` refuse a name that
    /// is in use; publishers of the name are refused as long as it is taken.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let rain = engine.stream(Source::file("rain.mp4").looped()).to(Output::publish("rain")).start()?;
    /// # drop(rain);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn publish(name: impl Into<String>) -> Self {
        Self::of(Ok(OutputKind::Hub { name: name.into() }))
    }

    /// The certificates an RTMPS output trusts, also if it is redirected to RTMPS. Default: the platform's root
    /// certificates. Only for pushes: `start` and `add_output` refuse it for recordings and the hub, like the
    /// settings below.
    pub fn tls_roots(self, trusted: TlsRoots) -> Self {
        self.with_target("tls_roots", |target| target.roots = trusted)
    }

    /// Announces Enhanced RTMP v2 in `connect`: its codecs, and requests to reconnect, which servers send before they
    /// shut down; the output then goes on at the new address, at a keyframe. Default off, because some servers refuse
    /// a `connect` with values they do not know.
    ///
    /// A stream with such codecs (see [`Source::enhanced`](crate::Source::enhanced)) is sent if the server announces
    /// that it takes them. If it does not, or if the output is not enhanced, the output ends with
    /// [`Error::CodecNotTaken`].
    pub fn enhanced(self) -> Self {
        self.with_target("enhanced", |target| target.enhanced = Enhanced::Announced)
    }

    /// Like [`enhanced`](Self::enhanced), but sends all codecs whatever the server announces. For servers that are
    /// known to take them: many do and do not announce it.
    pub fn enhanced_always(self) -> Self {
        self.with_target("enhanced_always", |target| target.enhanced = Enhanced::Always)
    }

    /// Sends or records all tracks that a publisher sends with Enhanced RTMP, or that are played of a
    /// [file](crate::Source::all_tracks), not only the first of each kind. By
    /// default, a server gets them if the output is [`enhanced`](Self::enhanced) and the server announces that it
    /// takes several; recordings have one track of each kind, since most programs that read FLV fail on the others.
    /// [`EventKind::OutputTrackSkipped`](crate::EventKind::OutputTrackSkipped) reports what is left out. A push has to be enhanced for it. With a
    /// [published](Self::publish) output, each player announces what it takes.
    pub fn all_tracks(mut self) -> Self {
        match &mut self.kind {
            Ok(OutputKind::Rtmp(target)) => target.all_tracks = true,
            Ok(OutputKind::Record(recording)) => recording.all_tracks = true,
            Ok(OutputKind::Url(target)) => target.all_tracks = true,
            Ok(OutputKind::Hub { .. } | OutputKind::Thumbnails(_) | OutputKind::Hls(_)) => {
                self.in_vain.push("all_tracks");
            }
            // Reported as the error it is.
            Err(_) => {}
        }
        self
    }

    /// What the program calls the output: figures, events and log lines show it, and
    /// [`StreamRef::output`](crate::StreamRef::output) finds it. 1 to 128 characters, no control characters. Two outputs of a
    /// stream cannot have one label ([`Error::LabelInUse`]). Default none.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let youtube = Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key").label("youtube");
    /// let live = engine.stream(Source::file("show.mp4").looped()).label("morning show").to(youtube).start()?;
    /// if let Some(youtube) = live.output("youtube") {
    ///     live.remove_output(youtube)?;
    /// }
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// How it counts among the outputs of a stream, its backup included.
    pub(crate) fn ways(&self) -> Ways {
        let mut ways = Ways::default();
        match &self.kind {
            Ok(OutputKind::Rtmp(target)) => {
                let backup = target.backup.as_ref().and_then(|backup| backup.as_ref().ok());
                for destination in std::iter::once(&target.destination).chain(backup) {
                    *(if destination.scheme() == Scheme::Rtmps { &mut ways.tls } else { &mut ways.plain }) +=
                        1;
                }
            }
            Ok(OutputKind::Record(_) | OutputKind::Hls(_)) => ways.files = 1,
            Ok(OutputKind::Url(_)) => ways.plain = 1,
            Ok(OutputKind::Hub { .. } | OutputKind::Thumbnails(_)) => ways.others = 1,
            Err(_) => {}
        }
        ways
    }

    /// Its label.
    pub(crate) fn own_label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// All that is wrong: a malformed address ([`Error::Url`]), and settings that cannot work or have no effect ([`Error::Config`]).
    pub(crate) fn problems(&self) -> Vec<Error> {
        let kind = match &self.kind {
            Ok(kind) => kind,
            Err(error) => return vec![Error::Url(error.clone())],
        };
        let mut found: Vec<_> = self.in_vain.iter().map(|name| in_vain(kind, name)).collect();
        match kind {
            OutputKind::Rtmp(target) => {
                let backup = target.backup.as_ref().and_then(|backup| backup.as_ref().ok());
                if is_hidden(&target.destination) || backup.is_some_and(is_hidden) {
                    let reason = "hidden (****): the output was written without its key".to_owned();
                    found.push(Error::Config { name: "key", reason });
                }
                if target.all_tracks && target.enhanced == Enhanced::Off {
                    let reason = "has no effect on a push that is not enhanced".to_owned();
                    found.push(Error::Config { name: "all_tracks", reason });
                }
                found.extend(target.reconnect.iter().flat_map(ReconnectPolicy::problems));
                if let Some(Err(error)) = &target.backup {
                    found.push(Error::Url(error.clone()));
                }
                let place = |to: &Destination| (to.host().to_owned(), to.port(), to.app().to_owned());
                if backup.is_some_and(|backup| place(backup) == place(&target.destination)) {
                    let reason = "is the address of the primary".to_owned();
                    found.push(Error::Config { name: "backup", reason });
                }
                found.extend(target.rotation.iter().flat_map(Rotation::problems));
            }
            OutputKind::Hub { name } => found.extend(check_name(name).err()),
            OutputKind::Record(recording) => found.extend(recording.problems()),
            OutputKind::Thumbnails(thumbnails) => found.extend(thumbnails.problems()),
            OutputKind::Url(target) => found.extend(target.problems()),
            OutputKind::Hls(hls) => found.extend(hls.problems()),
        }
        found
    }

    /// When this output is dialled again after it was lost. Default: the engine's policy.
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        if let Ok(OutputKind::Url(target)) = &mut self.kind {
            target.reconnect = Some(policy);
            return self;
        }
        self.with_target("reconnect", |target| target.reconnect = Some(policy))
    }

    /// Goes on with a new connection at the same server before the one on the air gets too old for the platform. The new one is dialled
    /// beside it and takes over at a keyframe, as with [`replace_output`](crate::StreamRef::replace_output); see [`Rotation`] for when, for pauses, and
    /// for servers that take one publisher of a name.
    ///
    /// [`OutputRotating`](crate::EventKind::OutputRotating) is followed by [`OutputRotated`](crate::EventKind::OutputRotated), or by
    /// [`OutputNotRotated`](crate::EventKind::OutputNotRotated): then the connection on the air stays there, and it is tried again after 10 s, and
    /// after growing waits of up to 15 minutes.
    ///
    /// Default: as late as it can be. Many receivers keep times in 31 bits, so no connection is on the air for 2^31 ms (24.8 days) of the
    /// stream's time; a day before that it is rotated, and in the last hour of that day with a break if there is no other way.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod output { pub use flowcast_core::*; } }
    /// use flowcast::output::Rotation;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let twitch = Output::rtmp("rtmp://live.twitch.tv/app", "your-stream-key").rotate(Rotation::TWITCH);
    /// let live = engine.stream(Source::file("rain.mp4").looped()).to(twitch).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn rotate(self, rotation: Rotation) -> Self {
        self.with_target("rotate", |target| target.rotation = Some(rotation))
    }

    /// Sends the same to a second server of the platform, its backup ingest, with the same key: YouTube takes both at once
    /// (`rtmps://b.rtmps.youtube.com/live2?backup=1`) and goes over to the backup if the primary fails. Both connections are sent the same tags with
    /// the same times, from keyframes on. The times count from where the first of the two began; a connection that is made anew goes on in
    /// them, as long as the other one is there.
    ///
    /// Each has a number, a state, figures and reconnects of its own, so that one has no part in the other's troubles. The backup's label is that
    /// of the output with ` (backup)` behind it, and its [`OutputStats::backup_of`](crate::OutputStats::backup_of) is the number of the output. By that number both
    /// are replaced and removed together.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let youtube = Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key")
    ///     .backup("rtmps://b.rtmps.youtube.com/live2?backup=1")
    ///     .label("youtube");
    /// let live = engine.stream(Source::file("rain.mp4").looped()).to(youtube).start()?;
    /// assert!(live.output("youtube (backup)").is_some());
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn backup(self, server: &str) -> Self {
        self.with_target("backup", |target| target.backup = Some(target.destination.on_server(server)))
    }

    /// The same after this long at the latest: [`Rotation::after`].
    pub fn rotate_after(self, after: Duration) -> Self {
        self.rotate(Rotation::after(after))
    }
}

/// The setting of this name was given in vain.
fn in_vain(kind: &OutputKind, name: &'static str) -> Error {
    let what = match kind {
        OutputKind::Hub { .. } => "an output to the hub",
        OutputKind::Hls(_) => "an HLS output",
        OutputKind::Record(_) => "a recording",
        OutputKind::Rtmp(_) => "a push",
        OutputKind::Url(_) => "an output by another protocol than RTMP",
        OutputKind::Thumbnails(_) => "thumbnails",
    };
    let only = match name {
        "existing" | "format" | "segments" | "max_duration" => "a recording",
        "all_tracks" => "a push or a recording",
        "thumbnail_options" => "thumbnails",
        _ if matches!(kind, OutputKind::Url(_)) => "an RTMP push",
        _ => "a push",
    };
    Error::Config { name, reason: format!("has no effect on {what}, only on {only}") }
}

/// Whether a part of it is what hides a secret.
fn is_hidden(to: &Destination) -> bool {
    let parts = [to.app(), to.key().reveal(), to.userinfo().map_or("", |userinfo| userinfo.reveal())];
    parts.iter().any(|part| part.contains(HIDDEN))
}

impl OpenOutput for Output {
    fn check(&self) -> Result<(), Error> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    fn as_data(&self) -> Option<Data> {
        Some(Arc::new(self.clone()))
    }

    fn as_pair(&self) -> Option<[Box<dyn OpenOutput>; 2]> {
        pair::of(self)
    }

    fn open(self: Box<Self>, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        match self.kind? {
            OutputKind::Hub { name } => HubOutput::open(name, cx),
            OutputKind::Rtmp(target) => {
                let roots = target.roots.clone().loaded()?;
                Ok(RtmpPush::open(Target { roots, ..*target }, cx, None))
            }
            OutputKind::Record(recording) => record(&recording, cx),
            OutputKind::Thumbnails(thumbnails) => thumbnails.open(cx),
            OutputKind::Url(target) => target.open(cx),
            OutputKind::Hls(hls) => hls::open(&hls, cx),
        }
    }
}
