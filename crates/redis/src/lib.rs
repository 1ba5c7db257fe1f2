//! More than one machine with flowcast: what all nodes share, kept in Redis or Valkey.
//!
//! [`Redis`] is the connection, kept up by a thread of its own. [`RedisKeys`] are stream keys for the servers of all nodes, answered from memory.
//!
//! Nothing that is on the air waits for Redis, or ends because it is away.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod keys;
mod lease;
mod link;
mod options;

pub use error::Error;
pub use keys::{IfAway, RedisKeys, RedisKeysOptions};
pub use lease::{Lease, LeaseIfAway, LeaseOptions, LeasedKeys, Leases};
pub use link::{Redis, RedisState, RedisStats};
pub use options::RedisOptions;

/// The program in README.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The program in docs/jobs/cluster.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/jobs/cluster.md")]
mod page {}
