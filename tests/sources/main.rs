//! Sources on the air: replaced, watched, and stood in for. What receivers see is one stream.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what was seen is shown with --nocapture")]

mod fallback;
mod fragments;
mod fragments_killed;
mod frames;
mod leveled;
mod mix;
mod pull;
mod pull_live;
mod relay;
mod replace;

use std::path::Path;

use kit::{decode, packet_times};

/// A recording decodes without a complaint, and its times strictly increase; says the longest distances of two pictures and of two
/// frames of sound, in milliseconds.
#[track_caller]
fn assert_one_stream(file: &Path) -> (f64, f64) {
    let complaints = decode(file).complaints;
    assert!(complaints.is_empty(), "{}: {complaints}", file.display());
    let longest = |kind: &str| {
        let times = packet_times(file, kind);
        let steps = times.windows(2).map(|pair| pair[1].dts - pair[0].dts);
        let falls = times.windows(2).find(|pair| pair[1].dts <= pair[0].dts);
        assert!(falls.is_none(), "{}: {kind} times {falls:?}", file.display());
        steps.fold(0.0, f64::max)
    };
    (longest("v"), longest("a"))
}
