//! Peers that die, stall, lie and refuse, under streams that are on the air. In each case: what the program is told and when,
//! how the output comes back, and that no other output of the stream notices anything.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "the figures of each fault are shown with --nocapture")]

mod adapt;
mod connect;
mod dead;
mod described;
mod elsewhere;
mod frozen;
mod handles;
mod kill;
mod leaks;
mod machine;
mod pair;
mod protocols;
mod replace;
mod rotate;
mod stall;
mod standstill;
mod together;
mod wire;

use std::time::{Duration, Instant};

use flowcast::{Engine, Existing, Output, Source, StreamHandle, StreamRef};
use kit::bystander::{Bystander, at_most};
use kit::rig::{Known, longest_silence, read_flv};
use kit::scripted::{Script, Scripted};
use kit::wait_until;

/// Nothing may arrive at an output that has no fault for this long at most: a tick, and some delay. More is allowed only where
/// a bystander lost time in the same moment.
const SILENCE: Duration = Duration::from_millis(450);

/// The outputs of a stream that have no fault of their own: a server and a recording.
struct Witness {
    server: Scripted,
    file: std::path::PathBuf,
    began: Instant,
    /// The largest lag, and when it was seen.
    worst_lag: (Duration, Instant),
    bystander: Option<Bystander>,
}

impl Witness {
    fn new(clip: &Known) -> Self {
        let server = Scripted::start(Script::Record);
        let began = Instant::now();
        let worst_lag = (Duration::ZERO, began);
        Self { server, file: clip.beside("witness.flv"), began, worst_lag, bystander: None }
    }

    fn outputs(&self) -> [Output; 2] {
        // A witness that starts again is a new one.
        [kit::rig::push(&self.server), Output::record(&self.file).existing(Existing::Replace)]
    }

    /// Starts the clip in a loop to the witnesses, and to `faulty` as the last one.
    fn start(&mut self, engine: &Engine, clip: &Known, faulty: impl Into<Option<Output>>) -> StreamHandle {
        let [server, file] = self.outputs();
        let mut builder = engine.stream(Source::file(&clip.file).looped()).to(server).to(file);
        if let Some(faulty) = faulty.into() {
            builder = builder.to(faulty);
        }
        let live = builder.start().expect("the stream starts");
        assert!(self.server.wait_pictures(0, 5, kit::PATIENCE), "the witness gets nothing");
        self.bystander.get_or_insert_with(|| Bystander::start(clip));
        self.began = Instant::now();
        live
    }

    /// Waits until `condition` holds, and watches the lag meanwhile.
    fn watch(&mut self, live: &StreamRef, deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
        wait_until(deadline, || {
            // The first two outputs of a stream are the witnesses.
            let mut outputs = live.stats().outputs;
            outputs.sort_unstable_by_key(|output| output.id);
            let lag = outputs.iter().take(2).map(|output| output.lag).max().unwrap_or_default();
            self.worst_lag = self.worst_lag.max((lag, Instant::now()));
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
        let bystander = self.bystander.as_ref().expect("it was started with the stream");
        let arrivals = visits[0].tags.iter().map(|tag| tag.at).filter(|at| (self.began..=until).contains(at));
        let arrivals: Vec<_> = std::iter::once(self.began).chain(arrivals).collect();
        for pair in arrivals.windows(2).filter(|pair| pair[1] - pair[0] > SILENCE) {
            let (silence, allowed) = (pair[1] - pair[0], SILENCE + bystander.allowance(pair[0], pair[1]));
            assert!(
                silence <= allowed,
                "nothing arrived at the witness for {silence:?}, {allowed:?} allowed"
            );
        }
        let (lag, seen) = self.worst_lag;
        let allowed = SILENCE + bystander.allowance(seen.checked_sub(lag).unwrap_or(seen), seen);
        assert!(lag <= allowed, "the witness was {lag:?} behind, {allowed:?} allowed");
        let silence = longest_silence(&visits[0].tags, self.began, until);
        let beside = bystander.longest_silence(self.began, until);
        println!(
            "  witnesses: {sent} pictures, none missing, longest silence {silence:?} (a bystander's {beside:?}), lag {lag:?}"
        );
    }
}

/// Stops a stream, which must take less than `deadline`; says how long it took.
#[track_caller]
fn stop_within(live: StreamHandle, deadline: Duration) -> Duration {
    let began = Instant::now();
    at_most(Duration::ZERO, began);
    let stopped = live.stop(deadline);
    let took = began.elapsed();
    assert!(stopped.is_ok(), "stop({deadline:?}): {stopped:?} after {took:?}");
    let allowed = at_most(deadline + Duration::from_millis(50), began);
    assert!(took <= allowed, "stop({deadline:?}) took {took:?}, {allowed:?} allowed");
    took
}
