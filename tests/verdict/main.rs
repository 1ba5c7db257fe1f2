//! The verdict on crafted files at the limits of every rule, and on damaged real ones.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what is found in each file is shown with --nocapture")]

mod clips;
mod crafted;
mod damaged;
mod rows;
mod table;
