//! One stream: its thread, what others see of it, and how it ends.

pub(crate) mod branch;
pub(crate) mod desk;
pub(crate) mod ended;
pub(crate) mod handle;
pub(crate) mod hub;
pub(crate) mod labels;
pub(crate) mod mailbox;
mod meter;
pub(crate) mod opening;
pub(crate) mod registry;
pub(crate) mod seat;
pub(crate) mod shared;
pub(crate) mod stage;
pub(crate) mod starting;
pub(crate) mod tap;
pub(crate) mod thread;

use std::time::Duration;

/// Longer deadlines are no deadlines.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Stack of a stream thread. Only what is touched counts as memory.
pub(crate) const STREAM_STACK: usize = 256 << 10;
