//! What is encoded, while it is on the air: other bit rates and sizes, less under load, several sizes at once, one encode for many, and what is drawn over it.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what is measured is shown with --nocapture")]

mod browser;
mod drawn;
mod ladder;
mod rate;
mod renditions;
mod shared;
