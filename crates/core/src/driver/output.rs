//! The contract of an output with the thread of its stream.

use std::any::Any;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::pool::Scratch;
use crate::ring::Ring;
use crate::stats::OutputStats;

/// What a driver is given on each turn of the stream thread.
pub struct OutputContext<'a> {
    /// The instant of this turn.
    pub now: Instant,
    /// The poll of the thread, to register sockets with.
    pub registry: &'a mio::Registry,
    /// The driver's number among the stream's outputs.
    pub output: OutputId,
    /// The driver's token.
    pub token: mio::Token,
    /// The stream's newest tags.
    pub ring: &'a Ring,
    /// The socket may be readable. Said in each call up to the next turn, which is to read until nothing is left.
    pub readable: bool,
    /// The socket may be writable; likewise.
    pub writable: bool,
    /// This turn is a tick: do what is done once a tick (deadlines, lag, merged writes).
    pub tick: bool,
    /// A buffer of 16 KiB for reading in this turn; its contents mean nothing.
    pub scratch: &'a mut Scratch,
    /// Where events go.
    pub notices: &'a mut Vec<EventKind>,
}

impl std::fmt::Debug for OutputContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputContext")
            .field("token", &self.token)
            .field("tick", &self.tick)
            .finish_non_exhaustive()
    }
}

/// How an output stands after a turn.
#[derive(Debug)]
pub enum OutputState {
    /// It goes on.
    Running,
    /// It goes on and has more to read or write at once; other sockets are served first.
    More,
    /// It has ended: by itself (`None`) or with an error.
    Ended(Option<Error>),
}

/// How an output's network is, for what sets the bit rate by it ([`Adaptation`](crate::Adaptation)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkState {
    /// Media time that was due and is not delivered, as measured with the last tick.
    pub lag: Duration,
    /// Bytes that the network has taken in all on the connection it has now; `None` if that is not known.
    pub delivered: Option<u64>,
}

/// Whether an output has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is being connected for the first time.
    Pending,
    /// Its first attempt succeeded or failed.
    Settled,
    /// It needs no connection.
    Always,
}

/// An output on a stream thread. Nothing in it may block.
pub trait OutputDriver: Send {
    /// Does what can be done now; called once when the output is added, then on readiness, on new tags and on ticks.
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState;

    /// Takes what another thread sent to this driver ([`OutputMailbox`](crate::OutputMailbox)). Default: drops it.
    fn deliver(&mut self, cx: &mut OutputContext<'_>, message: Box<dyn Any + Send>) -> OutputState {
        let _ = (cx, message);
        OutputState::Running
    }

    /// The source has nothing to send for an indefinite time; called instead of a turn when that begins, and when the output
    /// is added meanwhile.
    fn rest(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.turn(cx)
    }

    /// The source gives again; called instead of a turn.
    fn resume(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.turn(cx)
    }

    /// The name players join by because of this output, if they do.
    fn hub_name(&self) -> Option<&str> {
        None
    }

    /// Something happened to the source: its publisher was lost, came back or was replaced, or another item of its list begins.
    fn hear(&mut self, _notice: &EventKind) {}

    /// Whether new tags are sent at once; otherwise with the next tick.
    fn is_immediate(&self) -> bool {
        true
    }

    /// The oldest tag of the ring that is still to be sent, if any is.
    fn cursor(&self) -> Option<u64>;

    /// Whether it has lost its connection, or has none yet, and dials: what goes out meanwhile is lost to it, so that nothing is sent faster than
    /// real time.
    #[doc(hidden)]
    fn is_away(&self) -> bool {
        false
    }

    /// Begins an orderly end; further turns bring it about.
    fn finish(&mut self, cx: &mut OutputContext<'_>);

    /// The stream may send no longer ([`Fence`](crate::Fence)): closes what leads to others at once, and sends nothing more, not even a goodbye. The orderly
    /// end follows, or has begun. May be called more than once. Default: nothing, for what does not leave the machine.
    fn cut(&mut self) {}

    /// Whether the orderly end is complete.
    fn is_finished(&mut self) -> bool;

    /// What the output failed with at its very end, if it did.
    fn failure(&self) -> Option<Error> {
        None
    }

    /// How long an orderly end may take, within the deadline of the stop.
    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Whether media time has to wait for this output.
    fn readiness(&self) -> Readiness;

    /// When its first media byte was handed to the kernel or a file, once one was.
    fn first_media(&self) -> Option<Instant> {
        None
    }

    /// How its network is, if the bit rate of the stream may follow it; asked once a tick where it does. Default: `None`, it does not count.
    fn link(&self) -> Option<LinkState> {
        None
    }

    /// Fills in its figures. The number, the name and the rate are filled in already, the lag and the bytes held are zero, and
    /// everything else is as it was left the last time. The error an output ends with is filled in for it.
    fn stats(&self, stats: &mut OutputStats);
}
