//! The wire layer from outside: chunk streams and sessions, in memory, on a virtual clock.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic is how a test fails"
)]

mod abuse;
mod aggregates;
mod amf3;
mod chunk_limits;
mod chunk_times;
mod chunks;
mod client;
mod enhanced;
mod mutations;
mod round_trip;
mod server;
mod sessions;
mod shared;
mod timers;
mod util;
