//! One connection of a client: its socket and its session, wherever they are served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use flowcast_core::net::transport::Transport;
use flowcast_core::{BitRate, Seat};
use flowcast_rtmp::session::{ServerEvent, ServerSession};
use mio::{Interest, Registry, Token};

use crate::admission::Desk;
use crate::config::ServerOptions;
use crate::event::{Departure, ServerEventKind};
use crate::refusal::RefusalReason;
use crate::stats::{Counted, Counters, Share};
use crate::throttle::{TOO_FAST_AFTER, Throttle};
use crate::visit::{Record, Role, Visit};

/// The least a read counts against the budget, in bytes: a peer that sends TLS records of one byte each makes work,
/// too.
const READ_COST: usize = 256;

/// A client's connection. It moves from the lobby to a stream's thread with everything that has arrived.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    pub(crate) session: ServerSession,
    pub(crate) peer: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    /// Where it goes when the client has ended its stream.
    pub(crate) home: Arc<Desk>,
    /// Readiness that was seen and not yet used up.
    readable: bool,
    writable: bool,
    share: Share,
    assembly: Assembly,
    throttle: Option<Throttle>,
    /// What reading has cost so far, in bytes.
    heard: u64,
    /// A player's place among those of its stream.
    pub(crate) seat: Option<Seat>,
    /// What is known of it outside, once it is on the air.
    pub(crate) visit: Option<Visit>,
    /// What arrives wakes no thread: the reader comes back by itself.
    unwoken: bool,
    _counted: Counted,
}

/// Limits of unfinished messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assembly {
    /// For all connections together.
    total: u64,
    /// For one, also when the total is used up.
    even_share: u64,
}

impl Assembly {
    pub(crate) fn new(options: &ServerOptions) -> Self {
        let (total, connections) = (options.assembly as u64, options.max_connections as u64);
        Self { total, even_share: total / connections.max(1) }
    }
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum Over {
    /// The peer closed it, or the network did.
    Io(io::Error),
    /// The session refused what came, or a deadline passed.
    Rtmp(flowcast_rtmp::error::Error),
    /// The memory for unfinished messages is used up, and this connection holds most of it.
    NoMemory,
    /// A publisher sent more than it may for too long.
    TooFast {
        /// The most it may send, in thousand bits per second.
        limit: BitRate,
    },
}

impl Over {
    /// Whether the peer just left; that is not a fault.
    pub(crate) fn is_hang_up(&self) -> bool {
        let Self::Io(error) = self else { return false };
        matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionAborted
        )
    }
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        session: ServerSession,
        peer: SocketAddr,
        (counters, home): (Arc<Counters>, Arc<Desk>),
        assembly: Assembly,
    ) -> Self {
        let counted = Counted::new(&counters, |counters| &counters.connections);
        Self {
            transport,
            session,
            peer,
            share: Share::new(&counters),
            counters,
            home,
            readable: true,
            writable: true,
            assembly,
            throttle: None,
            heard: 0,
            seat: None,
            visit: None,
            unwoken: false,
            _counted: counted,
        }
    }

    /// It goes on the air under `name`; the caller announces that.
    pub(crate) fn goes_on_air(&mut self, role: Role, name: &str) -> Arc<Record> {
        let visit = Visit::new(&self.counters.roll, role, self.peer, name);
        self.visit.insert(visit).record()
    }

    /// It belongs to no stream any more; that it has left is reported now.
    pub(crate) fn comes_off_air(&mut self) {
        (self.visit, self.seat, self.throttle, self.unwoken) = (None, None, None, false);
    }

    /// From now on it is read at no more than `limit`.
    pub(crate) fn throttle(&mut self, limit: BitRate, now: Instant) {
        self.throttle = Some(Throttle::new(limit, now));
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // Not every kernel announces again what arrived before; the first turn checks for itself.
        self.readable = true;
        self.writable = true;
        registry.register(self.transport.socket(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether the thread wakes when something arrives; without that, the caller checks for itself.
    pub(crate) fn wake_for_input(&mut self, wake: bool, registry: &Registry, token: Token) -> io::Result<()> {
        self.unwoken = !wake;
        let interest = if wake { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
        registry.reregister(self.transport.socket(), token, interest)
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(self.transport.socket())
    }

    /// Takes note of readiness.
    pub(crate) fn note(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Reads at most `budget` bytes and gives each event to `sink`, which says whether to go on; `true` when there may be
    /// more to read.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        budget: usize,
        scratch: &mut [u8],
        mut sink: impl FnMut(ServerEvent) -> bool,
    ) -> Result<bool, Over> {
        let mut left = budget;
        // What was held during a decision comes first.
        while let Some(event) = self.session.poll_event() {
            if !sink(event) {
                return Ok(true);
            }
        }
        while self.readable {
            let allowed = self.allowed(now, scratch.len())?;
            // What stays in the socket slows the publisher down; it is read with the next tick.
            if allowed == 0 {
                return Ok(false);
            }
            match self.transport.read(scratch.get_mut(..allowed).unwrap_or_default()) {
                Ok(count) => {
                    let bytes = scratch.get(..count).unwrap_or_default();
                    // The process may have stood still since the turn began.
                    let result = self.session.handle_input(now.max(Instant::now()), bytes);
                    self.took(count)?;
                    while let Some(event) = self.session.poll_event() {
                        if !sink(event) {
                            return result.map(|()| true).map_err(Over::Rtmp);
                        }
                    }
                    result.map_err(Over::Rtmp)?;
                    // Another read would mostly find nothing.
                    if self.unwoken && count < allowed && self.transport.is_plain() {
                        self.readable = false;
                    }
                    let cost = count.max(READ_COST);
                    self.heard = self.heard.saturating_add(cost as u64);
                    left = left.saturating_sub(cost);
                    if left == 0 {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Over::Io(error)),
            }
        }
        Ok(false)
    }

    /// How many of `wanted` bytes may be read now.
    fn allowed(&mut self, now: Instant, wanted: usize) -> Result<usize, Over> {
        let Some(throttle) = &mut self.throttle else { return Ok(wanted) };
        let allowed = throttle.allowed(now);
        if allowed == 0 && throttle.is_too_fast(now) {
            return Err(Over::TooFast { limit: throttle.limit() });
        }
        Ok(allowed.min(wanted))
    }

    /// Accounts for bytes that were read.
    fn took(&mut self, count: usize) -> Result<(), Over> {
        if let Some(throttle) = &mut self.throttle {
            throttle.took(count);
        }
        let held = self.session.buffered_bytes();
        let total = self.share.set(held);
        let is_over = total.is_some_and(|total| total > self.assembly.total);
        if is_over && held as u64 > self.assembly.even_share { Err(Over::NoMemory) } else { Ok(()) }
    }

    /// What reading has cost since the connection began, in bytes; a small read counts for more than it brought.
    pub(crate) fn heard(&self) -> u64 {
        self.heard
    }

    /// Writes what the session has to send, at most `budget` bytes; returns how much was written.
    pub(crate) fn write(&mut self, budget: usize) -> Result<usize, Over> {
        if !self.writable || (self.session.wire().is_empty() && !self.transport.has_pending()) {
            return Ok(0);
        }
        let taken = self.transport.write(self.session.wire(), budget).map_err(Over::Io)?;
        if taken < budget && (!self.session.wire().is_empty() || self.transport.has_pending()) {
            self.writable = false;
        }
        Ok(taken)
    }

    /// Whether something may have arrived.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether the socket takes more.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_flushed(&mut self) -> bool {
        self.session.wire().is_empty() && !self.transport.has_pending()
    }

    /// Whether a deadline of the session has passed. A peer is late only if nothing of it waits in the socket: a process that was frozen, or a
    /// thread that got no processor, has not heard yet what came in time. So this is a reason to read, before
    /// [`check_deadlines`](Self::check_deadlines).
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.session.next_timeout().is_some_and(|at| at <= now)
    }

    /// Keeps the session's own deadlines.
    pub(crate) fn check_deadlines(&mut self, now: Instant) -> Result<(), Over> {
        if self.is_due(now) {
            self.session.handle_timeout(now).map_err(Over::Rtmp)?;
        }
        Ok(())
    }

    /// Counts, logs and reports why the connection is over, and turns it into an error of the stream.
    pub(crate) fn explain(&self, over: Over) -> flowcast_core::Error {
        let (hung_up, broken) = (over.is_hang_up(), !matches!(over, Over::Io(_)));
        let error = self.failure(over);
        match &self.visit {
            Some(visit) if hung_up => visit.leaves(Departure::HungUp),
            Some(visit) => visit.ends(Some(&error)),
            None if broken => {
                let kind = ServerEventKind::ConnectionFailed { error: error.clone() };
                self.counters.roll.tell(Some(self.peer), kind);
            }
            // A peer that connects and leaves without a request is not worth a log line.
            None => {}
        }
        error
    }

    fn failure(&self, over: Over) -> flowcast_core::Error {
        let host = self.peer.to_string();
        match over {
            Over::Io(source) if source.get_ref().is_some_and(|error| error.is::<rustls::Error>()) => {
                self.counters.tls_errors.fetch_add(1, Ordering::Relaxed);
                log::warn!("{host}: {source}");
                flowcast_core::Error::ConnectionLost { host, source: source.into() }
            }
            Over::Io(source) => flowcast_core::Error::ConnectionLost { host, source: source.into() },
            Over::Rtmp(source) => {
                self.counters.failed(&source);
                log::warn!("{host}: {source}");
                flowcast_core::Error::Rtmp { host, source }
            }
            Over::NoMemory => {
                self.counters.refused(RefusalReason::Memory);
                log::warn!("{host}: no memory left for unfinished messages");
                let what = "no memory left for unfinished messages of the server's connections";
                flowcast_core::Error::System {
                    what,
                    source: io::Error::from(io::ErrorKind::OutOfMemory).into(),
                }
            }
            Over::TooFast { limit } => {
                self.counters.too_fast.fetch_add(1, Ordering::Relaxed);
                log::warn!("{host}: sends more than {limit}");
                flowcast_core::Error::TooFast { host, limit, after: TOO_FAST_AFTER }
            }
        }
    }
}
