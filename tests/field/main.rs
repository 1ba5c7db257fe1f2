//! What the field reported: for each report the input or the peer that showed it, and what is right. A module a kind of fault.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what was seen is shown with --nocapture")]

mod adobe_auth;
mod air;
mod counted_in_samples;
mod dead_air;
mod examine;
mod figures;
mod greedy_files;
mod header_not_restored;
mod hls;
mod in_vain;
mod left_out;
mod list_codec_changes;
mod made;
mod media_before_header;
mod mediamtx_url;
#[cfg(feature = "metrics")]
mod metrics;
mod mixed_programs;
mod mutated_files;
mod no_metadata;
mod outputs_in_vain;
mod own_clocks;
mod parameter_sets;
mod picture_gone;
mod rare_codecs;
mod recorded_formats;
mod recorded_parts;
mod recordings;
mod refused_after_live;
mod second_track;
mod sizes;
mod small_process;
mod sound_ends_early;
mod what_is_told;
