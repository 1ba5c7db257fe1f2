//! The contract of a source with the thread of its stream.

use std::any::Any;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;

use crate::error::Error;
use crate::event::EventKind;
use crate::pool::Scratch;
use crate::ring::Refill;
use crate::stats::{EncodingStats, FallbackStats, Origin, Playing, SourceMode};

/// What a driver is given on each turn of the stream thread.
#[derive(Debug)]
pub struct SourceContext<'a> {
    /// The instant at which this turn began. Deadlines are judged by it.
    pub now: Instant,
    /// Where [`arrived`](Self::arrived) has the time from.
    pub clock: TurnClock,
    /// The driver's socket may be readable.
    pub readable: bool,
    /// The driver's socket may be writable.
    pub writable: bool,
    /// This turn is a tick: do what is done once a tick (deadlines).
    pub tick: bool,
    /// All outputs take what is new with ticks only: what arrives between two of them can be left where it is.
    pub ticks_only: bool,
    /// The poll of the thread.
    pub registry: &'a mio::Registry,
    /// The driver's token.
    pub token: mio::Token,
    /// A buffer of 16 KiB for reading in this turn; its contents mean nothing.
    pub scratch: &'a mut Scratch,
    /// Where due tags go.
    pub tags: &'a mut Vec<Tag>,
    /// Which of them can be made again.
    pub(crate) refills: &'a mut Vec<Refillable>,
    /// Where events go.
    pub notices: &'a mut Vec<EventKind>,
}

/// Where the time of what a turn has read comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnClock {
    /// The clock of the machine.
    Machine,
    /// It stands still during a turn: for tests that move it themselves.
    Still,
}

impl SourceContext<'_> {
    /// The instant by which what was read in this turn has arrived, now that it is read. To be remembered as the last time that a peer was heard of: the
    /// process may have stood still between the begin of the turn and its reading, and by [`now`](Self::now) the peer would then have been silent
    /// all the while, although nothing is left in the socket that could prove otherwise.
    #[must_use]
    pub fn arrived(&self) -> Instant {
        match self.clock {
            TurnClock::Machine => self.now.max(Instant::now()),
            TurnClock::Still => self.now,
        }
    }

    /// The newest `count` tags of [`tags`](Self::tags) can be made again: the stream keeps none of them beyond this turn,
    /// and asks `refill` for them if an output is behind. To be called right after they were put there;
    /// what reaches into tags that were told of before is ignored.
    pub fn refill(&mut self, count: usize, refill: Box<dyn Refill>) {
        let to = self.tags.len();
        let told = self.refills.last().map_or(0, |last| last.tags.end);
        if let Some(from) = to.checked_sub(count)
            && (told..to).contains(&from)
        {
            self.refills.push(Refillable { tags: from..to, refill });
        }
    }
}

/// Tags of one turn that can be made again.
#[derive(Debug)]
pub(crate) struct Refillable {
    /// Their places in [`SourceContext::tags`].
    pub(crate) tags: std::ops::Range<usize>,
    pub(crate) refill: Box<dyn Refill>,
}

/// How a source stands after a turn.
#[derive(Debug)]
pub enum SourceState {
    /// It goes on.
    Running,
    /// It goes on and has more to read at once; other sockets are served first.
    More,
    /// It is complete.
    Ended,
    /// It failed.
    Failed(Error),
}

/// A source on a stream thread. Nothing in it may block.
pub trait SourceDriver: Send {
    /// Registers a socket, if the driver has one.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn attach(&mut self, registry: &mio::Registry, token: mio::Token) -> std::io::Result<()> {
        let _ = (registry, token);
        Ok(())
    }

    /// Media time begins; called once.
    fn start(&mut self, now: Instant) {
        let _ = now;
    }

    /// Hands over what is due.
    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState;

    /// Whether [`pull`](Self::pull) has something to do now, outside of ticks and of readiness of the driver's socket; asked
    /// each time the stream's thread was woken by another one.
    fn is_due(&self) -> bool {
        false
    }

    /// Whether there is nothing to send for an indefinite time: pushes say goodbye and are dialled when that is over.
    fn is_resting(&self) -> bool {
        false
    }

    /// Takes what another thread sent to this driver; a driver that has no use for it drops it. `registry` and `token` are those of
    /// [`attach`](Self::attach).
    fn deliver(&mut self, message: Box<dyn Any + Send>, registry: &mio::Registry, token: mio::Token) {
        let _ = (message, registry, token);
    }

    /// Whether it gives what it has as fast as the outputs take it: it is asked again as soon as all of them have taken what there is, and not
    /// only with the next tick.
    #[doc(hidden)]
    fn is_burst(&self) -> bool {
        false
    }

    /// Whether all outputs have taken what there is; said before each turn of a source that is a [burst](Self::is_burst).
    #[doc(hidden)]
    fn note_taken(&mut self, taken: bool) {
        let _ = taken;
    }

    /// How far what was handed over is ahead of real time: outputs that have not sent that yet are not behind.
    #[doc(hidden)]
    fn ahead(&self, now: Instant) -> Duration {
        let _ = now;
        Duration::ZERO
    }

    /// Goes to another place of what is played, if the source can.
    fn seek(&mut self, to: Duration) {
        let _ = to;
    }

    /// How the media is read at the moment.
    fn mode(&self) -> SourceMode {
        SourceMode::Live
    }

    /// What it encodes at the moment; rates are worked out from the sums.
    fn encoding(&self) -> Option<EncodingStats> {
        None
    }

    /// Which file or item is being played, if that is what the source does; asked once a second and when one begins.
    fn playing(&self) -> Option<Playing> {
        None
    }

    /// The same of sound that is played from other files than the picture.
    fn playing_sound(&self) -> Option<Playing> {
        None
    }

    /// The server it is played from, if it is.
    fn origin(&self) -> Option<Origin> {
        None
    }

    /// How its fallback stands, if it has one.
    fn fallback(&self) -> Option<FallbackStats> {
        None
    }

    /// The source is taken off the air: says for how long its fallback was on the air, if that is there now, which is over.
    #[doc(hidden)]
    fn end_fallback(&mut self, now: Instant) -> Option<Duration> {
        let _ = now;
        None
    }

    /// Bytes of media held.
    fn bytes_held(&self) -> usize {
        0
    }

    /// Stops reading; the driver is dropped once [`SourceDriver::is_stopped`], or the stop's deadline passes.
    fn stop(&mut self) {}

    /// Whether everything the driver started has ended.
    fn is_stopped(&mut self) -> bool {
        true
    }
}
