//! A live source that is only listened to.
//!
//! In: a driver, as a stream would have it. Out: its sound, decoded, in the input of a mix. On a thread with a poll of its own: whatever becomes of it,
//! neither the stream nor the mix waits.

mod decoding;

use std::time::{Duration, Instant};

use self::decoding::Decoding;
use super::seat::Seat;
use crate::driver::{SourceDriver, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::mix::Line;
use crate::stream::Mailbox;
use crate::sys::{self, CodecHost, CpuLap, CpuMeter};

/// Stack of the thread, for what libav's decoders need.
const STACK: usize = 1 << 20;
/// What cannot be opened, or has ended for good, is opened again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// Makes a driver whose messages and wakes go to this mailbox.
pub(crate) type OpenHeard = Box<dyn Fn(&Mailbox) -> Result<Box<dyn SourceDriver>, Error> + Send>;

/// What is listened to, and where its sound goes.
pub(crate) struct Heard {
    pub(crate) line: Line,
    pub(crate) open: OpenHeard,
    /// How often the driver has its turn, whatever comes.
    pub(crate) tick: Duration,
    /// Whose CPU time it is.
    pub(crate) cpu: CpuMeter,
}

impl Heard {
    /// Starts the thread, which ends soon after nobody mixes any more.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn start(self, stream: &str) -> Result<sys::Worker, Error> {
        sys::Worker::start("what a mix listens to", format!("fh-{stream}"), STACK, move || self.run())
            .map_err(|source| Error::System { what: "no thread to listen", source: source.into() })
    }

    fn run(mut self) {
        let _host = CodecHost::enter(&self.cpu);
        let mut lap = CpuLap::default();
        while !self.line.is_over() {
            let done = self.listen(&mut lap);
            self.cpu.lap(&mut lap);
            self.line.lost(done.err());
            let until = Instant::now() + AGAIN;
            while !self.line.is_over() && Instant::now() < until {
                self.line.wait_over(until.saturating_duration_since(Instant::now()));
            }
        }
    }

    /// Listens until it is over.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened, or has ended.
    fn listen(&mut self, lap: &mut CpuLap) -> Result<(), Error> {
        let mut seat = Seat::take(&self.open)?;
        seat.start();
        let mut decoding = Decoding::new(self.line.format());
        let done = loop {
            if self.line.is_over() {
                break Ok(());
            }
            let state = match seat.turn(self.tick) {
                Ok(Some(state)) => state,
                Ok(None) => continue,
                Err(error) => break Err(error),
            };
            for tag in seat.tags.drain(..) {
                // What cannot be decoded is told once; what is damaged is left out.
                if let Err(error) = decoding.take(&tag, &mut self.line) {
                    self.line.lost(Some(error));
                }
            }
            // Behind the tags: what came before the end is heard.
            for notice in seat.notices.drain(..) {
                note(notice, &mut self.line, &mut decoding);
            }
            self.cpu.lap(lap);
            match state {
                SourceState::Running | SourceState::More => {}
                SourceState::Ended => break Ok(()),
                SourceState::Failed(error) => break Err(error),
            }
        };
        seat.leave();
        done
    }
}

/// What the driver tells: whether sound is still to be expected.
fn note(notice: EventKind, line: &mut Line, decoding: &mut Decoding) {
    let error = match notice {
        EventKind::SourceRetrying { error, .. } | EventKind::PublisherLost { error, .. } => Some(error),
        EventKind::PublicationEnded { .. } => None,
        other => return log::debug!("{}: {other}", line.name()),
    };
    line.lost(error);
    decoding.rest();
}
