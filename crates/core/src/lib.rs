//! Streams: from a source, on a clock, to any number of outputs.
//!
//! A *source* gives FLV tags; the stream's thread hands them over as their time comes; its *outputs* send them. All of a
//! stream's sockets are served by that one thread without blocking. The facade crate `flowcast` re-exports what programs
//! use; the traits here are for servers built on top ([`source::SourceDriver`], [`output::OutputDriver`]).

mod builder;
mod capacity;
mod config;
mod engine;
mod error;
mod event;
mod files;
mod hub;
mod keys;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "only files and reels are played in laps"))]
mod lap;
mod limiter;
pub mod live;
pub mod net;
pub mod output;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "only files are paced so far"))]
mod pace;
mod playlist;
mod pool;
#[cfg(feature = "libav")]
pub mod prepare;
#[cfg(feature = "libav")]
mod queue;
mod reel;
pub mod source;
mod stats;
mod stream;
mod sys;
#[cfg(feature = "libav")]
pub mod tagger;
mod tap;
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
mod transcode;
pub mod verdict;
mod watch;

pub use builder::{NoOutput, Ready, StreamBuilder};
pub use capacity::{
    Capacity, CapacityOptions, Cost, CostBasis, KindCapacity, Machine, Mix, Processing, Receivers, Resource,
    ResourceFit, StreamKind, TransportKind,
};
pub use config::{
    BacklogConfig, Config, ConnectConfig, LagPolicy, QueueBounds, ReconnectPolicy, RecordingConfig,
};
pub use engine::{Engine, PublishOptions, ShutdownReport};
pub use error::{ConnectStep, Error, LimitScope, chain};
pub use event::bus::{Bus, Events};
pub use event::callback::mark_callback_thread;
pub use event::{Event, EventKind, OutputId, StreamId};
pub use hub::{Claim, Entrance, Handover, Hub};
pub use ipnet::IpNet;
pub use keys::{ActiveStream, Asker, Denial, Grant, KeyRegistry, KeyRules, KeyStore, Play};
pub use net::tls::TlsRoots;
pub use output::{Existing, Output, OutputPhase, OutputStats};
pub use playlist::{ItemId, NothingPlays, ParameterChange, Playlist, PlaylistItem};
pub use pool::Scratch;
#[cfg(feature = "libav")]
pub use prepare::{Prepare, PrepareProgress, PrepareStage, Prepared, PreparedTrack};
pub use reel::{ReelStore, ReelStoreStats, WhenInUse};
pub use source::{Source, SourceMode, SplitSource};
pub use stats::{Codec, EncodingStats, StreamPhase, StreamStats};
pub use stream::handle::{Seat, StreamHandle, StreamRef};
#[doc(hidden)]
pub use sys::spawn;
pub use transcode::{
    AudioCodec, AudioEncoding, Carriage, EncoderChoice, Encoding, FrameRate, Mode, Profile, Threading,
    VideoCodec,
};
pub use verdict::{
    Action, AudioFacts, Facts, Fix, Platform, Reason, ReasonCode, Severity, Split, Strictness, Subject,
    TrackVerdict, Verdict, VideoFacts, plan_for, verdict, verdict_for_all, verdict_of_failure,
};
#[cfg(feature = "libav")]
pub use verdict::{ScanOptions, facts};
pub use watch::EngineWatch;
