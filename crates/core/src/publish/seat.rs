//! A driver that is served on a thread of its own, as a stream's thread would serve it.
//!
//! In: a driver. Out: its tags and what it tells, a turn at a time, to who has the thread.

use std::io;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;
use mio::{Events, Poll, Token, Waker};

use crate::driver::{Refillable, SourceContext, SourceDriver, SourceState, TurnClock};
use crate::error::Error;
use crate::event::EventKind;
use crate::pool::Scratch;
use crate::stream::{Command, Commands, Mailbox};

const WAKE: Token = Token(0);
const SOURCE: Token = Token(1);
/// How long a driver that is told to stop is waited for, and how often it is asked.
const FINISH: Duration = Duration::from_secs(2);
const ASK: Duration = Duration::from_millis(20);

/// A driver on a thread that is not a stream's.
pub(super) struct Seat {
    poll: Poll,
    commands: Commands,
    pub(super) driver: Box<dyn SourceDriver>,
    scratch: Scratch,
    pub(super) tags: Vec<Tag>,
    refills: Vec<Refillable>,
    pub(super) notices: Vec<EventKind>,
    /// It has more to give at once.
    more: bool,
    next_tick: Instant,
}

impl Seat {
    /// Opens a driver whose messages and wakes come here.
    ///
    /// # Errors
    ///
    /// What `open` says; the kernel does not wait.
    pub(super) fn take(
        open: impl FnOnce(&Mailbox) -> Result<Box<dyn SourceDriver>, Error>,
    ) -> Result<Self, Error> {
        let failed =
            |source: io::Error| Error::System { what: "cannot wait for this source", source: source.into() };
        let poll = Poll::new().map_err(failed)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(failed)?;
        let (mailbox, commands) = Mailbox::new(waker);
        let mut driver = open(&mailbox)?;
        driver.attach(poll.registry(), SOURCE).map_err(failed)?;
        Ok(Self {
            poll,
            commands,
            driver,
            scratch: Scratch::default(),
            tags: Vec::new(),
            refills: Vec::new(),
            notices: Vec::new(),
            more: false,
            next_tick: Instant::now(),
        })
    }

    /// Media time begins.
    pub(super) fn start(&mut self) {
        let now = Instant::now();
        self.driver.start(now);
        self.next_tick = now;
    }

    /// Waits until there is something to do, and lets the driver do it; `None` if there was nothing.
    ///
    /// # Errors
    ///
    /// The kernel does not wait.
    pub(super) fn turn(&mut self, tick_every: Duration) -> Result<Option<SourceState>, Error> {
        let mut events = Events::with_capacity(8);
        let timeout = self.next_tick.saturating_duration_since(Instant::now());
        let timeout = if self.more { Duration::ZERO } else { timeout };
        if let Err(source) = self.poll.poll(&mut events, Some(timeout))
            && source.kind() != io::ErrorKind::Interrupted
        {
            return Err(Error::System { what: "cannot wait for this source", source: source.into() });
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
            clock: TurnClock::Machine,
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
    pub(super) fn leave(mut self) {
        self.driver.stop();
        let until = Instant::now() + FINISH;
        while !self.driver.is_stopped() && Instant::now() < until {
            std::thread::park_timeout(ASK);
        }
    }
}
