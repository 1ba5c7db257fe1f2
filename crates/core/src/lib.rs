//! Streams: from a source, on a clock, to any number of outputs.
//!
//! A *source* gives FLV tags; the stream's thread hands them over as their time comes; its *outputs* send them. All of a
//! stream's sockets are served by that one thread without blocking. The facade crate `flowcast` re-exports what programs
//! use; the traits in [`driver`] are for sources and outputs of a program's own, and for servers built on top.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapt;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
mod admission;
mod bit_rate;
mod capacity;
pub mod check;
mod clock;
mod config;
mod content;
pub mod driver;
#[cfg(feature = "libav")]
mod ears;
mod engine;
mod error;
mod event;
mod fence;
#[cfg(feature = "libav")]
mod fetch;
mod files;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav fragments cannot be opened"))]
mod fragment;
#[cfg(feature = "libav")]
pub mod frames;
pub mod health;
mod id;
mod keys;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "only files and reels are played in laps"))]
mod lap;
mod limiter;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is leveled"))]
mod loudness;
mod machine;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is mixed"))]
mod mix;
pub mod monitor;
pub mod net;
pub mod output;
mod overlay;
mod playlist;
mod playout;
mod pool;
#[cfg(feature = "libav")]
pub mod prepare;
mod publish;
pub mod pull;
mod recorded;
mod reel;
pub mod ring;
mod scan;
#[cfg(feature = "schedule")]
mod schedule;
#[cfg(feature = "serde")]
mod serial;
mod settings;
#[cfg(feature = "signals")]
mod signals;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav no samples are encoded"))]
mod sound_format;
mod source;
mod spec;
mod standby;
#[cfg_attr(
    not(feature = "libav"),
    allow(dead_code, reason = "without libav nobody knows how long a file is")
)]
mod state;
mod stats;
mod stream;
mod sys;
mod thumbnail;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav there are no tracks of files"))]
pub mod tracks;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
mod transcode;
pub mod usage;
pub mod verdict;
mod words;
#[cfg(feature = "serde")]
mod written;

pub use adapt::{Adaptation, Follow, GiveWay, QualityLadder, Rung, UnderLoad};
pub use admission::{
    CheaperEncoding, Costs, EncodeCost, MeasuredAdmission, MemoryBudget, NeedBasis, Needs, ResourceUse,
    StartForecast, StreamCost, WhenFull,
};
pub use bit_rate::{BitRate, ParseBitRateError};
pub use capacity::{
    Capacity, CapacityOptions, Cost, CostBasis, KindCapacity, Mix, Processing, Receivers, ResourceFit,
    StreamKind, TransportKind,
};
pub use clock::continuity;
pub use config::{
    BacklogConfig, CHUNK_SIZE, Config, ConnectConfig, DialLimits, HealthConfig, LagPolicy, Limit,
    MonitorConfig, QueueBounds, ReconnectPolicy, RecordingConfig, ReelStore, ReelStoreStats, UsageConfig,
    WhenInUse,
};
pub use engine::Engine;
pub use engine::builder::StreamBuilder;
pub use engine::figures::{EngineFigures, StreamFigures};
#[cfg(feature = "state")]
pub use engine::keeper::StateKeeper;
pub use engine::serving::{PublishOptions, RelayNews, RelayOptions, ServerEngine};
pub use engine::watch::EngineWatch;
pub use error::{ConnectStep, Error, LimitScope, Resource, Shortage, SpecProblem, chain};
pub use event::bus::{Bus, Events, Subscription};
pub use event::callback::mark_callback_thread;
#[cfg(feature = "futures")]
pub use event::recv::EventStream;
pub use event::recv::Recv;
#[doc(hidden)]
pub use event::utc;
pub use event::{Counts, Event, EventKind, StreamError};
pub use fence::Fence;
pub use files::Reads;
pub use fragment::{
    Fragment, FragmentDirectory, FragmentHealth, FragmentOptions, FragmentPace, FragmentPublisher,
    FragmentStats, FragmentTrouble, PushFragment, Pushed,
};
pub use id::{ItemId, OutputId, ParseIdError, StreamId};
pub use ipnet::IpNet;
#[cfg(feature = "serde")]
pub use keys::SavedKeys;
pub use keys::{
    ActiveStream, Asker, Denial, Grant, KeyEntry, KeyRegistry, KeyRules, KeyStore, Play, PlayAccess,
};
pub use limiter::{Admission, Limits};
pub use loudness::{Loudness, LoudnessFacts};
pub use machine::{GroupUse, Machine, ProcessUse};
pub use mix::{Ducking, MixInput, MixInputStats, Mixer, MixerRef, MixerStats, SampleRoom, SampleSink};
pub use net::tls::{RootsFile, TlsRoots};
pub use output::{Clip, Existing, FileFormat, Hls, HlsFile, HlsStore, IfTaken, Output, Rotation, Segments};
pub use overlay::{Anchor, Clock, Color, Font, Overlay, OverlayHandle, OverlayWidth, TextStyle};
pub use playlist::{NothingPlays, ParameterChange, Playlist, PlaylistItem};
pub use pool::Scratch;
#[cfg(feature = "libav")]
pub use prepare::{Prepare, PrepareProgress, PrepareStage, Prepared, PreparedTrack};
pub use scan::verdict_of_failure;
#[cfg(feature = "libav")]
pub use scan::{ScanOptions, facts};
#[cfg(all(feature = "schedule", feature = "serde"))]
pub use schedule::ScheduleWithKeys;
#[cfg(feature = "schedule")]
pub use schedule::{
    Date, Days, Missed, Occurrence, Overlap, Schedule, ScheduleEvent, ScheduleEventKind, ScheduleId,
    Scheduled, Schedules, TimeOfDay, Weekday, When, Window, WindowEnd,
};
#[cfg(feature = "serde")]
#[doc(hidden)]
pub use serial::seconds;
#[cfg(feature = "signals")]
pub use signals::SignalShutdown;
pub use sound_format::{AudioFormat, SampleFormat, SampleLayout, Samples};
pub use source::{Fallback, Rendition, Renditions, Source, SplitSource};
pub use spec::StreamSpec;
#[cfg(feature = "serde")]
pub use spec::WithKeys;
pub use standby::{At, Reaction, Replacing, Watchdog};
#[cfg(feature = "serde")]
pub use state::SnapshotWithKeys;
#[cfg(feature = "state")]
pub use state::StateFile;
pub use state::{
    CrashGuard, LeftOut, Place, Restarts, RestoreOptions, Restored, Resume, SavedStream, Snapshot,
};
pub use stats::{
    Codec, ContentFault, Cutover, DropReason, EncoderDrops, EncodingStats, FallbackStats, HeldBytes,
    Histogram, LoadReason, Origin, OutputFailure, OutputPhase, OutputStats, OutputTransport, Playing,
    RateReason, Seam, SourceMode, StreamPhase, StreamStats, Totals,
};
#[doc(hidden)]
pub use stream::Data;
pub use stream::{
    Claim, Ended, Entrance, Handover, Hub, OpenOutput, OpenSource, OpenedOutput, OutputMailbox,
    OutputOpening, Seat, ShutdownReport, SourceMailbox, SourceOpening, StreamEnd, StreamHandle, StreamRef,
};
pub use sys::ThreadMeter;
#[doc(hidden)]
pub use sys::{Latch, spawn};
pub use thumbnail::{Thumbnail, ThumbnailOptions};
pub use tracks::Carriage;
pub use transcode::{
    AudioCodec, AudioEncoding, EncoderChoice, Encoding, FrameRate, Mode, Profile, Threading, VideoCodec,
};
pub use verdict::{
    Action, AudioFacts, Facts, Fix, Platform, Reason, ReasonCode, Severity, Split, Strictness, Subject,
    TrackVerdict, Verdict, VideoFacts, plan_for, verdict, verdict_for_all,
};

pub use words::UnknownName;

/// The program in README.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
