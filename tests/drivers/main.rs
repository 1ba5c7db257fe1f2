//! Sources and outputs of a program's own: the kit that checks drivers finds each planted mistake and nothing in flowcast's own drivers,
//! and a crate outside the workspace streams with a source and an output of its own.

#[path = "../../examples/own_source/card.rs"]
mod card;
mod outside;
#[cfg(feature = "libav")]
mod own;
mod readiness;
mod right;
mod wrong_outputs;
mod wrong_sources;
