//! What the field reported: for each report the input or the peer that showed it, and what is right. A module a kind of fault.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what was seen is shown with --nocapture")]

mod adobe_auth;
mod counted_in_samples;
mod dead_air;
mod examine;
mod greedy_files;
mod header_not_restored;
mod in_vain;
mod left_out;
mod list_codec_changes;
mod made;
mod mediamtx_url;
mod mixed_programs;
mod outputs_in_vain;
mod parameter_sets;
mod recordings;
mod refused_after_live;
mod small_process;
mod sound_ends_early;
#[path = "../support/mod.rs"]
mod support;
mod what_is_told;
