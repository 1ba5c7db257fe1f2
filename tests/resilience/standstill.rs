//! A stream's thread that stands still between its look at the clock and its reading, as all do when the machine is paused: what had arrived by then was
//! not late.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use flowcast::driver::{
    OpenOutput, OpenedOutput, OutputContext, OutputDriver, OutputOpening, OutputState, Readiness,
};
use flowcast::pull::Pull;
use flowcast::stats::{OutputPhase, OutputStats};
use flowcast::{Engine, Error, EventKind, Output, OutputId, RtmpServerExt, Source, StreamHandle, StreamRef};

use kit::rig::{Known, engine};
use kit::{PATIENCE, wait_until};

/// How long a peer may send no media.
const SILENT: Duration = Duration::from_secs(2);
/// Longer than that.
const STILL: Duration = Duration::from_secs(3);
/// Long enough for something to be asked of the thread meanwhile.
const MEANWHILE: Duration = Duration::from_millis(300);

/// An output that sends nothing, and holds up its thread in the turn of this number.
#[derive(Debug)]
struct Stops {
    turn: u32,
    pause: Duration,
    told: Sender<()>,
}

impl OpenOutput for Stops {
    fn open(self: Box<Self>, _: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        Ok(OpenedOutput { name: "stops".to_owned(), driver: self })
    }
}

impl OutputDriver for Stops {
    fn turn(&mut self, _: &mut OutputContext<'_>) -> OutputState {
        if self.turn == 0 {
            let _ = self.told.send(());
            std::thread::sleep(self.pause);
        }
        self.turn = self.turn.wrapping_sub(1);
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        None
    }

    fn finish(&mut self, _: &mut OutputContext<'_>) {}

    fn is_finished(&mut self) -> bool {
        true
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
    }
}

fn stops(stream: &StreamRef, turn: u32, pause: Duration) -> (OutputId, Receiver<()>) {
    let (told, is_told) = channel();
    let output = stream.add_output(Stops { turn, pause, told }).expect("it runs");
    (output, is_told)
}

/// Has the thread stand still in a turn in which there is something to be read, after its look at the clock and before its reading.
fn stand_still(stream: &StreamRef) {
    // Held up after the reading of one turn, it has a tick, media and another output to look at in the next; outputs are taken first, with their first turn.
    let (first, is_held_up) = stops(stream, 1, MEANWHILE);
    is_held_up.recv_timeout(PATIENCE).expect("it has turns");
    let (second, stands_still) = stops(stream, 0, STILL);
    stands_still.recv_timeout(PATIENCE).expect("it has turns");
    for output in [first, second] {
        stream.remove_output(output).expect("it runs");
    }
    let from = stream.stats().media_time.as_millis();
    assert!(
        wait_until(PATIENCE, || stream.stats().media_time.as_millis() > from + 500),
        "{}",
        stream.stats()
    );
}

/// Three times; whatever `engine` had to say of sources meanwhile.
fn stands_still(engine: &Engine, stream: &StreamRef) -> Vec<EventKind> {
    let events = engine.events();
    assert!(wait_until(PATIENCE, || stream.stats().media_time.as_millis() > 500), "{}", stream.stats());
    (0..3).for_each(|_| stand_still(stream));
    let is_wrong = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::SourceStalled { .. }
                | EventKind::SourceRetrying { .. }
                | EventKind::SourceFault { .. }
                | EventKind::PublisherLost { .. }
        )
    };
    events.try_iter().map(|event| event.kind).filter(is_wrong).collect()
}

/// The clip in a loop, to `output`.
fn show(engine: &Engine, clip: &Known, output: Output) -> StreamHandle {
    engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts")
}

#[test]
fn a_publisher_was_not_silent_while_its_stream_stood_still() {
    let (clip, [here, there]) = (Known::small(), [(); 2].map(|()| engine(|_| {})));
    here.keys().add("studio", "good-key").expect("a usable key");
    let server = here.rtmp_server("127.0.0.1:0").options(|options| options.no_progress = SILENT);
    let server = server.start().expect("a free port");
    let live = show(&there, &clip, Output::rtmp(&format!("rtmp://{}/live", server.address()), "good-key"));
    assert!(wait_until(PATIENCE, || here.streams().len() == 1));
    let wrong = stands_still(&here, &here.streams()[0]);
    assert!(wrong.is_empty() && live.stats().reconnects == 0, "{wrong:?} {}", live.stats());
    assert_eq!(server.stats().timeouts, 0);
}

#[test]
fn a_server_that_is_played_from_was_not_silent_while_its_player_stood_still() {
    let (clip, [here, there]) = (Known::small(), [(); 2].map(|()| engine(|_| {})));
    let server = there.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let _show = show(&there, &clip, Output::publish("studio"));
    let pull = Pull::url(&format!("rtmp://{}/live/studio", server.address())).silence(SILENT);
    let live = here.stream(Source::pull(pull)).to(Output::publish("copy")).start().expect("it starts");
    let wrong = stands_still(&here, &live);
    assert!(wrong.is_empty(), "{wrong:?}");
}
