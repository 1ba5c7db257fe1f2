//! A live source that is only listened to.
//!
//! In: a driver, as a stream would have it. Out: its sound, decoded, in the input of a mix. On a thread with a poll of its own: whatever becomes of it,
//! neither the stream nor the mix waits.

mod decoding;

use std::io;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;
use mio::{Events, Poll, Token, Waker};

use self::decoding::Decoding;
use crate::driver::{Refillable, SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::mix::Line;
use crate::pool::Scratch;
use crate::stream::{Command, Commands, Mailbox};
use crate::sys::{self, CodecHost, CpuLap, CpuMeter};

/// Stack of the thread, for what libav's decoders need.
const STACK: usize = 1 << 20;
const WAKE: Token = Token(0);
const SOURCE: Token = Token(1);
/// What cannot be opened, or has ended for good, is opened again after this.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a driver that is told to stop is waited for, and how often it is asked.
const FINISH: Duration = Duration::from_secs(2);
const ASK: Duration = Duration::from_millis(20);

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

/// A driver on this thread.
struct Seat {
    poll: Poll,
    commands: Commands,
    driver: Box<dyn SourceDriver>,
    scratch: Scratch,
    tags: Vec<Tag>,
    refills: Vec<Refillable>,
    notices: Vec<EventKind>,
    /// It has more to give at once.
    more: bool,
    next_tick: Instant,
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

impl Seat {
    fn take(open: &OpenHeard) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::System {
            what: "cannot wait for what is heard",
            source: source.into(),
        };
        let poll = Poll::new().map_err(failed)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(failed)?;
        let (mailbox, commands) = Mailbox::new(waker);
        let mut driver = open(&mailbox)?;
        driver.attach(poll.registry(), SOURCE).map_err(failed)?;
        let now = Instant::now();
        driver.start(now);
        Ok(Self {
            poll,
            commands,
            driver,
            scratch: Scratch::default(),
            tags: Vec::new(),
            refills: Vec::new(),
            notices: Vec::new(),
            more: false,
            next_tick: now,
        })
    }

    /// Waits until there is something to do, and lets the driver do it; `None` if there was nothing.
    ///
    /// # Errors
    ///
    /// The kernel does not wait.
    fn turn(&mut self, tick_every: Duration) -> Result<Option<SourceState>, Error> {
        let mut events = Events::with_capacity(8);
        let timeout = self.next_tick.saturating_duration_since(Instant::now());
        let timeout = if self.more { Duration::ZERO } else { timeout };
        if let Err(source) = self.poll.poll(&mut events, Some(timeout))
            && source.kind() != io::ErrorKind::Interrupted
        {
            return Err(Error::System { what: "cannot wait for what is heard", source: source.into() });
        }
        let (mut asked, mut readable, mut writable) = (false, false, false);
        for event in &events {
            if event.token() == WAKE {
                asked = true;
            } else {
                readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                writable |= event.is_writable() || event.is_write_closed() || event.is_error();
            }
        }
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Deliver(message) = *command {
                self.driver.deliver(message, self.poll.registry(), SOURCE);
            }
        }
        let now = Instant::now();
        let tick = now >= self.next_tick;
        if tick {
            self.next_tick = now + tick_every;
        }
        if !(tick || self.more || readable || writable || (asked && self.driver.is_due())) {
            return Ok(None);
        }
        let state = self.driver.pull(&mut SourceContext {
            now,
            readable,
            writable,
            tick,
            ticks_only: false,
            registry: self.poll.registry(),
            token: SOURCE,
            scratch: &mut self.scratch,
            tags: &mut self.tags,
            refills: &mut self.refills,
            notices: &mut self.notices,
        });
        self.refills.clear();
        self.more = matches!(state, SourceState::More);
        Ok(Some(state))
    }

    /// Ends the driver, which may take a moment.
    ///
    /// # Blocking
    ///
    /// Two seconds at most.
    fn leave(mut self) {
        self.driver.stop();
        let until = Instant::now() + FINISH;
        while !self.driver.is_stopped() && Instant::now() < until {
            std::thread::park_timeout(ASK);
        }
    }
}
