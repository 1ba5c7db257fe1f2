//! Outputs by other protocols than RTMP, to real receivers: what arrives is the stream, and goes on when the receiver was away.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

mod icecast;
mod rtsp;
mod srt;
mod udp;

use std::path::Path;

use flowcast::{Engine, Error, EventKind, Events, Output, Source, StreamHandle};
use kit::rig::{Known, wait_event};
use kit::{PATIENCE, frame_hashes, laps, wait_until};

/// Starts the clip in a loop to one output.
fn start(engine: &Engine, clip: &Known, output: Output) -> StreamHandle {
    engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts")
}

/// Waits until an output is on the air; how often it was connected again, and the failures since.
#[track_caller]
fn wait_live(events: &Events) -> (u64, u32) {
    wait_event(events, PATIENCE, |event| match event.kind {
        EventKind::OutputLive { reconnects, failures, .. } => Some((reconnects, failures)),
        _ => None,
    })
}

#[track_caller]
fn wait_retrying(events: &Events) -> Error {
    wait_event(events, PATIENCE, |event| match &event.kind {
        EventKind::OutputRetrying { error, .. } => Some(error.clone()),
        _ => None,
    })
}

#[track_caller]
fn wait_output_ended(events: &Events) -> Error {
    wait_event(events, PATIENCE, |event| match &event.kind {
        EventKind::OutputEnded { error, .. } => Some(error.clone().expect("it failed")),
        _ => None,
    })
}

/// Every picture of a recording is the clip's next one, over loop points too; how many there are.
#[track_caller]
fn assert_pictures(clip: &Known, recording: &Path) -> usize {
    let recorded = frame_hashes(recording);
    match laps(&recorded, &frame_hashes(&clip.file)) {
        Ok(laps) => println!("  {}: {} pictures, {laps}", recording.display(), recorded.len()),
        Err(reason) => panic!("{}: {reason}", recording.display()),
    }
    recorded.len()
}

/// Waits until the output has sent for so long that there was a loop point.
#[track_caller]
fn wait_laps(live: &StreamHandle, laps: u64) {
    assert!(wait_until(PATIENCE, || live.stats().laps >= laps), "{}", live.stats());
}
