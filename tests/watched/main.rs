//! What an engine tells of itself while it runs for months: what streams use, how they are, what is to be billed.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what was measured is shown with --nocapture")]

mod admission;
mod health;
mod monitor;
mod usage;
#[cfg(feature = "state")]
mod usage_file;
