//! What nodes share, against a real Redis server that is killed, frozen, flushed, filled, made a replica, failed over and cut off.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
#![allow(clippy::print_stdout, reason = "figures of a test are shown with it")]

mod away;
#[cfg(feature = "libav")]
mod clock;
mod desired;
#[cfg(feature = "libav")]
mod edges;
#[cfg(feature = "libav")]
mod failover;
mod faults;
#[cfg(feature = "libav")]
mod gate;
mod keys;
#[cfg(feature = "libav")]
mod leases;
mod moves;
mod nodes;
#[cfg(feature = "libav")]
mod partition;
mod program;
mod roster;
mod secure;
#[cfg(feature = "libav")]
mod sentinel;
#[cfg(feature = "libav")]
mod stage;
