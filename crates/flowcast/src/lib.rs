//! flowcast puts media on the air and keeps it there: in your process, on libav directly, with no `ffmpeg` subprocess.
//!
//! A [`Source`] (a looped file or a playlist, say) becomes a stream; its [`Output`]s are RTMP(S) platforms, recordings, and players of
//! the embedded RTMP server. An [`Engine`] runs any number of streams, each on a thread of its own.
//!
//! # Loop a file to a platform
//!
//! ```no_run
//! use std::time::Duration;
//! use flowcast::{Config, Engine, Output, Source};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(Config::from_env()?)?;
//! let live = engine
//!     .stream(Source::file("intro.mp4").looped())
//!     .owner("alice")
//!     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
//!     .record("archive.flv")
//!     .start()?;
//! println!("{}", live.stats());
//! let twitch = live.add_output(Output::rtmp("rtmp://live.twitch.tv/app", "another-key"))?;
//! live.remove_output(twitch)?;
//! live.stop(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! # A channel that never ends
//!
//! ```no_run
//! use flowcast::{Config, Engine, Output, Playlist, ReelStore, Source};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config.reels = Some(ReelStore::new("/var/cache/reels")); // cut once, played by any number of streams
//! let engine = Engine::new(config)?;
//! let music = Playlist::dir("music")?.shuffled();
//! let channel = engine
//!     .stream(Source::video("rain.mp4").looped().with_audio(music.clone()))
//!     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
//!     .start()?;
//! music.add("requested.mp3")?; // while on the air
//! music.skip();
//! # channel.stop(std::time::Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Embed a server
//!
//! ```no_run
//! use flowcast::{Config, Engine, RtmpServerExt};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(Config::default())?;
//! let server = engine.rtmp_server("0.0.0.0:1935").start()?;
//! let key = engine.keys().issue("studio")?;
//! println!("publish to rtmp://{}/live/{}, play rtmp://{0}/live/studio", server.address(), key.reveal());
//! # Ok(())
//! # }
//! ```
//!
//! # Restream what is published, and put a stream on the server
//!
//! ```no_run
//! use flowcast::{Config, Engine, Output, Source};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let engine = Engine::new(Config::default())?;
//! let restream = engine
//!     .stream(Source::published("studio")) // may be started before anybody publishes
//!     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
//!     .record("studio.flv")
//!     .start()?;
//! let rain = engine.stream(Source::file("rain.mp4").looped()).to(Output::publish("rain")).start()?;
//! # drop((restream, rain));
//! # Ok(())
//! # }
//! ```
//!
//! # Ask whether a file fits a platform
//!
#![cfg_attr(feature = "libav", doc = "```no_run")]
#![cfg_attr(not(feature = "libav"), doc = "```ignore")]
//! use flowcast::Platform;
//! use flowcast::verdict::{ScanOptions, Strictness, facts, verdict};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let facts = facts("intro.mp4".as_ref(), &ScanOptions::default(), &flowcast::av::Interrupt::new())?;
//! let verdict = verdict(&facts, &Platform::youtube(), Strictness::Lenient);
//! println!("{}", verdict.action); // "copy", "encode the video, copy the audio", ...
//! for reason in &verdict.reasons {
//!     println!("{} {}: {}", reason.severity, reason.code, reason.detail); // "error gopSizeOver: 10.00 s, at most 4.00 s"
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Make one that does
//!
#![cfg_attr(feature = "libav", doc = "```no_run")]
#![cfg_attr(not(feature = "libav"), doc = "```ignore")]
//! use flowcast::{Platform, Prepare};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cancel = flowcast::av::Interrupt::new(); // a clone of it ends this from another thread
//! let prepared = Prepare::new("old.avi", "loop.mp4")
//!     .platform(Platform::youtube())
//!     .run(|progress| eprintln!("{:.1} %, {:.1} fps", progress.percent(), progress.fps()), &cancel)?;
//! println!("video {}, audio {}", prepared.video.as_str(), prepared.audio.as_str()); // "copied", "encoded", ...
//! # Ok(())
//! # }
//! ```
//!
//! # Hear what happens
//!
//! ```no_run
//! use flowcast::{Config, Engine, EventKind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(Config::default())?;
//! engine.on_event(|event| {
//!     if let EventKind::OutputRetrying { output, error, wait } = &event.kind {
//!         eprintln!("{} {output}: {error}, again in {wait:?}", event.stream);
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `libav` (default): files, through the system's FFmpeg libraries (5.1 to 8). Without it, servers, pushes and
//! recordings as FLV and MP4 still build, and no FFmpeg is needed.
//!
//! `metrics` (default): figures of a server, of an engine and its owners, of streams with their outputs, and of encoders for Prometheus, see
//! `RtmpServer::metrics`, `EngineMetrics`, `StreamMetrics` and `EncoderMetrics`. `prometheus_client` is re-exported.
//!
//! `futures`: `Events::into_stream`, which gives a `futures_core::Stream`. Awaiting the end of a stream and the next event needs no
//! feature.
//!
//! `serde`: [`StreamSpec`](spec::StreamSpec) in files of any format; and `Serialize` of figures and events of streams and servers, errors, verdicts,
//! facts of files, capacities, media and encoders. Lengths of time are seconds, in fields that end in `_seconds`; rates are bits
//! per second; errors are `{code, message}`; numbers are as they print (`s1`). No key is in any of it.
//!
//! `schedule`: streams that start and stop by the calendar (`Engine::schedule`, the module `schedule`).
//!
//! `state`: `StateFile`, which keeps what runs in a file, and goes on with it after a crash; and `UsageFile`, which usage records are
//! added to. Needs `serde`.
//!
//! `signals`: `Engine::shutdown_on_signals`, for SIGTERM and SIGINT.
//!
//! `tracing`: threads that work for a stream are in a span of it, so that its log lines can be told from those of others;
//! `docs/embedding.md` says how. The lines still go to the crate `log`.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod driver;
#[cfg(all(doctest, feature = "libav"))]
mod pages;
pub mod versions;

/// The settings of an engine, room by room.
pub mod config {
    pub use flowcast_core::{
        Admission, BacklogConfig, Config, ConnectConfig, DialLimits, IpNet, LagPolicy, Limits, QueueBounds,
        ReconnectPolicy, RecordingConfig, ReelStore, ReelStoreStats, RootsFile, TlsRoots, WhenInUse,
    };
}

/// Whether the machine has room for a stream: by measured cost, with a budget for CPU, memory and uplink.
pub mod admission {
    pub use flowcast_core::{
        CheaperEncoding, Costs, EncodeCost, MeasuredAdmission, MemoryBudget, NeedBasis, Needs, Resource,
        ResourceUse, Shortage, StartForecast, StreamCost, WhenFull,
    };
}

/// Whether streams are good, fair or bad, and why; whether the engine is alive and ready for more; errors, counted and kept.
pub mod health {
    pub use flowcast_core::health::{EngineHealth, EngineTrouble, Health, HealthKind, HealthReason};
    pub use flowcast_core::{Counts, HealthConfig, Limit, StreamError};
}

/// What each stream and the process use, and a warning when it is a lot.
pub mod monitor {
    pub use flowcast_core::monitor::{LoadPoint, Monitor, ProcessLoad, StreamLoad};
    pub use flowcast_core::{GroupUse, MonitorConfig, ProcessUse};
}

/// What each stream and output used, for bills and audits: records with ids, cut every minute and at each end.
pub mod usage {
    pub use flowcast_core::UsageConfig;
    #[cfg(feature = "state")]
    #[cfg_attr(docsrs, doc(cfg(feature = "state")))]
    pub use flowcast_core::usage::UsageFile;
    pub use flowcast_core::usage::{
        ParseUsageIdError, Usage, UsageCut, UsageId, UsageRecord, UsageSink, UsageSinkStatus, UsageSubject,
        Used,
    };
}

/// Streams as data, to be kept in files.
pub mod spec {
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub use flowcast_core::WithKeys;
    pub use flowcast_core::{SpecProblem, StreamSpec};
}

/// Streams by the calendar: windows in a time zone, and what sees to them.
#[cfg(feature = "schedule")]
#[cfg_attr(docsrs, doc(cfg(feature = "schedule")))]
pub mod schedule {
    #[cfg(feature = "serde")]
    pub use flowcast_core::ScheduleWithKeys;
    pub use flowcast_core::{
        Date, Days, Missed, Occurrence, Overlap, Schedule, ScheduleEvent, ScheduleEventKind, ScheduleId,
        Scheduled, Schedules, TimeOfDay, Weekday, When, Window, WindowEnd,
    };
}

/// What runs, as data: to be kept, and to be started again.
pub mod state {
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub use flowcast_core::SnapshotWithKeys;
    pub use flowcast_core::{
        CrashGuard, LeftOut, Place, Restarts, RestoreOptions, Restored, Resume, SavedStream, Snapshot,
    };
    #[cfg(feature = "state")]
    #[cfg_attr(docsrs, doc(cfg(feature = "state")))]
    pub use flowcast_core::{StateFile, StateKeeper};
}

/// What fails, with stable codes.
pub mod error {
    pub use flowcast_core::{
        ConnectStep, Error, LimitScope, ParseBitRateError, ParseIdError, Resource, Shortage, SpecProblem,
        UnknownName, chain,
    };
}

/// What happens to streams.
pub mod event {
    pub use flowcast_core::{Event, EventKind, Events, Subscription};
}

/// Futures of what a program waits for. They work on any runtime.
///
/// `docs/jobs/async.md` says which calls block.
pub mod task {
    #[cfg(feature = "futures")]
    pub use flowcast_core::EventStream;
    pub use flowcast_core::{Ended, Recv};
}

/// SIGTERM and SIGINT as a request to shut an engine down; see [`Engine::shutdown_on_signals`].
#[cfg(feature = "signals")]
#[cfg_attr(docsrs, doc(cfg(feature = "signals")))]
pub mod signals {
    pub use flowcast_core::SignalShutdown;
}

/// Figures of streams and outputs.
pub mod stats {
    pub use flowcast_core::{
        Codec, ContentFault, Cutover, DropReason, EncoderDrops, EncodingStats, EngineFigures, EngineWatch,
        FallbackStats, HeldBytes, Histogram, LoadReason, Origin, OutputFailure, OutputPhase, OutputStats,
        OutputTransport, Playing, RateReason, Seam, ShutdownReport, SourceMode, StreamEnd, StreamFigures,
        StreamPhase, StreamStats, Totals,
    };
}

/// Until when a stream may send, for programs on several machines that agree who does.
pub mod fence {
    pub use flowcast_core::Fence;
}

/// What becomes of outputs on the air.
pub mod output {
    pub use flowcast_core::{
        Clip, Cutover, FileFormat, Hls, HlsFile, HlsStore, IfTaken, Output, Rotation, Segments,
    };
}

/// Pictures of what is on the air.
pub mod thumbnail {
    pub use flowcast_core::{Thumbnail, ThumbnailOptions};
}

/// Streams of other servers, played from there.
pub mod pull {
    pub use flowcast_core::IpNet;
    pub use flowcast_core::pull::{Pull, Reach, Whereabouts};
}

/// Fragments that a program pushes, or that are put into a directory, as one stream.
pub mod fragment {
    pub use flowcast_core::{
        Fragment, FragmentDirectory, FragmentHealth, FragmentOptions, FragmentPace, FragmentPublisher,
        FragmentStats, FragmentTrouble, ParameterChange, PushFragment, Pushed,
    };
}

/// Lists of files, edited on the air.
pub mod playlist {
    pub use flowcast_core::{ItemId, NothingPlays, ParameterChange, Playlist, PlaylistItem};
}

/// Sources, and what becomes of them on the air.
pub mod source {
    pub use flowcast_core::{At, Fallback, Reaction, Replacing, Seam, Source, Watchdog};
}

/// Pictures and sound that the program makes itself.
#[cfg(feature = "libav")]
pub mod frames {
    pub use flowcast_core::frames::{
        AudioFormat, ColorMatrix, ColorRange, Frame, FrameSink, FrameStats, Frames, PixelFormat, Room,
        SampleFormat, SampleLayout, Samples, TrySendError, VideoFormat, When, WhenFull,
    };
}

/// What is encoded, and how.
pub mod encode {
    pub use flowcast_core::{
        Adaptation, AudioCodec, AudioEncoding, EncoderChoice, Encoding, Follow, FrameRate, GiveWay, Mode,
        Profile, QualityLadder, Rendition, Renditions, Rung, Threading, UnderLoad, VideoCodec,
    };
}

/// What is drawn over pictures that are encoded: logos, lines of text, clocks.
pub mod overlay {
    pub use flowcast_core::{Anchor, Clock, Color, Font, Overlay, OverlayHandle, OverlayWidth, TextStyle};
}

/// How loud files are, and how loud they are to be.
pub mod loudness {
    pub use flowcast_core::{Loudness, LoudnessFacts};
}

/// Several sounds as one: music under a voice, samples of the program.
pub mod mix {
    pub use flowcast_core::{
        AudioFormat, Ducking, MixInput, MixInputStats, Mixer, MixerRef, MixerStats, SampleFormat,
        SampleLayout, SampleRoom, SampleSink, Samples,
    };
}

/// Whether a file can be sent to a platform as it is, and if not, why, and what has to be encoded.
pub mod verdict {
    pub use flowcast_core::verdict::*;
    #[cfg(feature = "libav")]
    pub use flowcast_core::{ScanOptions, facts};
    pub use flowcast_core::{SplitSource, verdict_of_failure};
}

/// Files made to loop by copying.
#[cfg(feature = "libav")]
pub mod prepare {
    pub use flowcast_core::{Prepare, PrepareProgress, PrepareStage, Prepared, PreparedTrack};
}

/// How many more streams a machine can take.
pub mod capacity {
    pub use flowcast_core::{
        Capacity, CapacityOptions, Cost, CostBasis, KindCapacity, Machine, Mix, Processing, Receivers,
        Resource, ResourceFit, StreamKind, TransportKind,
    };
}

/// Who may publish and play.
pub mod keys {
    #[cfg(feature = "serde")]
    pub use flowcast_core::SavedKeys;
    pub use flowcast_core::{
        ActiveStream, Asker, Denial, Grant, KeyEntry, KeyRegistry, KeyRules, KeyStore, Play, PlayAccess,
    };
    pub use flowcast_rtmp::key::StreamKey;
}

/// The embedded RTMP server.
pub mod server {
    pub use flowcast_core::Hub;
    pub use flowcast_server::{
        Admission, AdmissionKind, DEFAULT_PORT, Departure, Error, FailurePolicy, PlayerStats, RefusalReason,
        Relay, RtmpServer, RtmpServerBuilder, RtmpServerExt, ServerEvent, ServerEventKind, ServerOptions,
        ServerStats, TlsIdentity,
    };
    #[cfg(feature = "metrics")]
    pub use flowcast_server::{EncoderMetrics, EngineMetrics, Metrics, StreamMetrics, prometheus_client};
}

#[cfg(feature = "libav")]
pub use flowcast_av as av;
#[cfg(feature = "libav")]
pub use flowcast_core::Prepare;
pub use flowcast_core::{
    BitRate, Config, Encoding, Engine, Error, Event, EventKind, Events, Existing, Mode, Output, OutputId,
    Platform, Playlist, Profile, ReelStore, Source, StreamBuilder, StreamHandle, StreamId, StreamRef,
};
pub use flowcast_rtmp as rtmp;
pub use flowcast_server::{RtmpServer, RtmpServerExt};
pub use versions::versions;
