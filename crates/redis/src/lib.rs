//! More than one machine with flowcast: what all nodes share, kept in Redis or Valkey.
//!
//! [`Redis`] is the connection, kept up by a thread of its own. [`RedisKeys`] are stream keys for the servers of all nodes, answered from memory.
//! [`Leases`] say which node has a name; [`Nodes`] who is there, and what room each has; [`place`] where a stream fits best.
//! [`DesiredStreams`] should run, and a [`StreamRunner`] on each node runs them; [`Origins`] finds them by name.
//! With the feature `http`, `HttpCluster` shows all of them on the page of `flowcast-http`.
//!
//! Nothing that is on the air waits for Redis, or ends because it is away.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod book;
mod desired;
mod error;
#[cfg(feature = "http")]
mod http;
mod keys;
mod lease;
mod life;
mod link;
mod node;
mod nodes;
mod options;
mod origins;
mod placement;
mod room;
mod runner;

pub use desired::{DesiredOptions, DesiredStatus, DesiredStream, DesiredStreams};
pub use error::Error;
#[cfg(feature = "http")]
pub use http::HttpCluster;
pub use keys::{IfAway, RedisKeys, RedisKeysOptions};
pub use lease::{Lease, LeaseIfAway, LeaseOptions, LeasedKeys, Leases};
pub use link::{Redis, RedisState, RedisStats};
pub use node::{Node, NodeState};
pub use nodes::{NodeOptions, Nodes};
pub use options::RedisOptions;
pub use origins::{Origin, Origins};
pub use placement::{Choice, Placement, Verdict, place};
pub use room::{Budget, Demand, Room};
pub use runner::{EngineStreams, MoveReport, RunStreams, RunnerOptions, StreamRunner};

/// The program in README.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The program in docs/jobs/cluster.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/jobs/cluster.md")]
mod page {}
