//! What the field reported: for each report the input or the peer that showed it, and what is right. A module a kind of fault.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what was seen is shown with --nocapture")]

mod in_vain;
mod refused_after_live;
mod small_process;
#[path = "../support/mod.rs"]
mod support;
