//! An RTMP server inside the program: publishers come in, players go out, on the engine's own streams.
//!
//! One thread, the *lobby*, owns the listening socket and every connection that has not yet published or played. A
//! publisher whose key is known becomes the source of a new stream and moves to that stream's thread. A player
//! becomes an output of the stream it asked for. Nothing in the lobby can delay a stream.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod config;
mod connection;
mod doors;
mod error;
mod event;
mod hooks;
mod lobby;
#[cfg(feature = "metrics")]
mod metrics;
mod on_air;
mod player;
mod publisher;
mod refusal;
mod relay;
#[cfg(feature = "serde")]
mod serial;
mod server;
mod stats;
mod throttle;
mod tls;
mod visit;

pub use admission::{Admission, AdmissionKind};
pub use config::{DEFAULT_PORT, FailurePolicy, ServerOptions};
pub use error::Error;
pub use event::{Departure, ServerEvent, ServerEventKind};
#[doc(hidden)]
pub use lobby::{Failures, Origin};
#[cfg(feature = "metrics")]
pub use metrics::{EncoderMetrics, EngineMetrics, Metrics, StreamMetrics};
/// The crate the figures are collected with: its `Registry` takes them.
#[cfg(feature = "metrics")]
pub use prometheus_client;
pub use refusal::RefusalReason;
pub use relay::Relay;
pub use server::{RtmpServer, RtmpServerBuilder, RtmpServerExt};
pub use stats::ServerStats;
pub use tls::TlsIdentity;
pub use visit::PlayerStats;

/// The program in README.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
