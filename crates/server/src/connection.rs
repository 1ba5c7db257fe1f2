//! One connection of a client: its socket and its session, wherever they are served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use flowcast_core::net::transport::Transport;
use flowcast_rtmp::session::{ServerEvent, ServerSession};
use mio::{Interest, Registry, Token};

use crate::stats::{Counted, Counters};

/// A client's connection. It moves from the lobby to a stream's thread with everything that has arrived.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    pub(crate) session: ServerSession,
    pub(crate) peer: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    /// Edges seen and not used up.
    readable: bool,
    writable: bool,
    /// Nobody is woken by what arrives: whoever reads comes again by itself.
    unwoken: bool,
    _counted: Counted,
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum Over {
    /// The peer closed it, or the network did.
    Io(io::Error),
    /// The session refused what came, or a deadline passed.
    Rtmp(flowcast_rtmp::error::Error),
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        session: ServerSession,
        peer: SocketAddr,
        counters: Arc<Counters>,
    ) -> Self {
        let counted = Counted::new(&counters, |counters| &counters.connections);
        Self {
            transport,
            session,
            peer,
            counters,
            readable: true,
            writable: true,
            unwoken: false,
            _counted: counted,
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // What arrived before is not announced again by every kernel; the first turn looks for itself.
        self.readable = true;
        self.writable = true;
        registry.register(self.transport.socket(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether to be woken when something arrives; without that the caller looks for itself.
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
        // What was held while a decision was taken comes first.
        while let Some(event) = self.session.poll_event() {
            if !sink(event) {
                return Ok(true);
            }
        }
        while self.readable {
            match self.transport.read(scratch) {
                Ok(count) => {
                    let bytes = scratch.get(..count).unwrap_or_default();
                    let result = self.session.handle_input(now, bytes);
                    while let Some(event) = self.session.poll_event() {
                        if !sink(event) {
                            return Ok(true);
                        }
                    }
                    result.map_err(Over::Rtmp)?;
                    // Asking again would mostly be told that there is nothing.
                    if self.unwoken && count < scratch.len() && self.transport.is_plain() {
                        self.readable = false;
                    }
                    left = left.saturating_sub(count);
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

    /// Writes what the session has to say, at most `budget` bytes; says how much was written.
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

    /// Keeps the session's own deadlines.
    pub(crate) fn check_deadlines(&mut self, now: Instant) -> Result<(), Over> {
        if self.session.next_timeout().is_some_and(|at| at <= now) {
            self.session.handle_timeout(now).map_err(Over::Rtmp)?;
        }
        Ok(())
    }

    /// Counts and logs why the connection is over, and turns it into an error of the stream.
    pub(crate) fn explain(&self, over: Over) -> flowcast_core::Error {
        let host = self.peer.to_string();
        match over {
            Over::Io(source) => flowcast_core::Error::ConnectionLost { host, source },
            Over::Rtmp(source) => {
                self.counters.failed(&source);
                log::warn!("{host}: {source}");
                flowcast_core::Error::Rtmp { host, source }
            }
        }
    }
}
