//! Peers that die, stall, lie and refuse, under streams that are on the air. In each case: what the program is told and when,
//! how the output comes back, and that no other output of the stream notices anything.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "the figures of each fault are shown with --nocapture")]

mod connect;
mod elsewhere;
mod handles;
mod kill;
mod leaks;
mod stall;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use flowcast::{Engine, Output, Source, StreamHandle, StreamRef};
use support::rig::{Known, longest_pause, longest_silence, read_flv};
use support::scripted::{Script, Scripted};
use support::wait_until;

/// Nothing may arrive at an output that has no fault for this long at most: a tick, and a busy machine.
const SILENCE: Duration = Duration::from_millis(450);

/// The outputs of a stream that have no fault of their own: a server and a recording.
struct Witness {
    server: Scripted,
    file: std::path::PathBuf,
    began: Instant,
    worst_lag: Duration,
}

impl Witness {
    fn new(clip: &Known) -> Self {
        let server = Scripted::start(Script::Record);
        Self { server, file: clip.beside("witness.flv"), began: Instant::now(), worst_lag: Duration::ZERO }
    }

    fn outputs(&self) -> [Output; 2] {
        [support::rig::push(&self.server), Output::record(&self.file)]
    }

    /// Starts the clip in a loop to the witnesses, and to `faulty` as the last one.
    fn start(&mut self, engine: &Engine, clip: &Known, faulty: impl Into<Option<Output>>) -> StreamHandle {
        let [server, file] = self.outputs();
        let mut builder = engine.stream(Source::file(&clip.file).looped()).to(server).to(file);
        if let Some(faulty) = faulty.into() {
            builder = builder.to(faulty);
        }
        let live = builder.start().expect("the stream starts");
        assert!(self.server.wait_pictures(0, 5, support::PATIENCE), "the witness gets nothing");
        self.began = Instant::now();
        longest_pause(self.began);
        live
    }

    /// Waits until `condition` holds, and watches the lag meanwhile.
    fn watch(&mut self, live: &StreamRef, deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
        wait_until(deadline, || {
            // The first two outputs of a stream are the witnesses.
            let mut outputs = live.stats().outputs;
            outputs.sort_unstable_by_key(|output| output.id);
            let lag = outputs.iter().take(2).map(|output| output.lag).max().unwrap_or_default();
            self.worst_lag = self.worst_lag.max(lag);
            condition()
        })
    }

    /// Nothing was missed from beginning to end; call it when the stream has been stopped.
    #[track_caller]
    fn assert_unharmed(&self, clip: &Known) {
        let visits = self.server.visits();
        assert_eq!(visits.len(), 1, "the witness was connected to again");
        clip.assert_fresh_start(&visits[0].tags);
        let sent = clip.assert_gapless(&visits[0].tags);
        let recorded = clip.assert_gapless(&read_flv(&self.file));
        assert!(recorded >= sent && sent >= 5, "{sent} pictures sent, {recorded} recorded");
        let until = visits[0].tags.last().map_or(self.began, |tag| tag.at);
        let silence = longest_silence(&visits[0].tags, self.began, until);
        let allowed = SILENCE + longest_pause(self.began);
        assert!(silence <= allowed, "nothing arrived at the witness for {silence:?}, {allowed:?} allowed");
        assert!(self.worst_lag <= allowed, "the witness was {:?} behind", self.worst_lag);
        println!(
            "  witnesses: {sent} pictures, none missing, longest silence {silence:?}, lag {:?}",
            self.worst_lag
        );
    }
}

/// Stops a stream, which must take less than `deadline`; says how long it took.
#[track_caller]
fn stop_within(live: StreamHandle, deadline: Duration) -> Duration {
    let began = Instant::now();
    longest_pause(began);
    let stopped = live.stop(deadline);
    let took = began.elapsed();
    assert!(stopped.is_ok(), "stop({deadline:?}): {stopped:?} after {took:?}");
    let allowed = deadline + Duration::from_millis(50) + longest_pause(began);
    assert!(took <= allowed, "stop({deadline:?}) took {took:?}, {allowed:?} allowed");
    took
}
