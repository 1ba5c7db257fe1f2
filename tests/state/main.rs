//! What runs is kept, restored, and ended in order: snapshots, state files, signals, and processes that are killed.
#![cfg(all(feature = "libav", feature = "schedule", feature = "signals", feature = "state"))]
#![allow(
    clippy::print_stdout,
    reason = "a program that is started for a test says how far it is, and figures are shown with --nocapture"
)]

mod killed;
mod restored;
mod shutdown;
mod signalled;
