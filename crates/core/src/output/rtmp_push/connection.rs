//! One connection of a push: what is due is written, what the peer says is heard, how far behind it is is measured.

use std::time::{Duration, Instant};

use flowcast_rtmp::session::{ClientEvent, ClientSession};
use mio::Interest;

use crate::config::LagPolicy;
use crate::driver::{LinkState, OutputContext};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::net::dialer::{Dialed, ServerUrl};
use crate::net::transport::{Transport, tune};
use crate::output::feed::{Feed, SessionClock, SharedZero};
use crate::output::gate::{Gate, Intake};
use crate::ring::{Join, Ring};

/// Bytes read from a peer in one turn; publishers are sent acknowledgements and pings, not media.
const READ_BUDGET: usize = 64 << 10;
/// Bytes written in one turn, so that one fast peer does not hold the others up.
const WRITE_BUDGET: usize = 1 << 20;
/// The kernel's send buffer is set to this much media time once the bitrate is known.
const SEND_BUFFER: Duration = Duration::from_secs(2);
/// How often the bitrate is measured for that.
const BITRATE_EVERY: Duration = Duration::from_secs(5);
/// The least and the most it is set to, in bytes.
const SEND_BUFFER_RANGE: (u64, u64) = (128 << 10, 4 << 20);
/// While nothing is late, the lag is measured only once in this many ticks.
const CALM: u32 = 5;
/// How long a peer that took everything is given to close first.
const LINGER: Duration = Duration::from_millis(250);

/// A connection to a peer that takes the stream.
pub(super) struct Live {
    pub(super) transport: Transport,
    pub(super) session: ClientSession,
    pub(super) intake: Intake,
    pub(super) feed: Feed,
    pub(super) since: Instant,
    /// Bytes of the handshake, and of what was asked for until it was let in.
    greeting: u64,
    /// Bytes sent since.
    sent: u64,
    /// When the bitrate was last measured, and the bytes sent until then.
    measured: (Instant, u64),
    /// What the kernel's send buffer was set to; 0 is its own choice.
    send_buffer: u64,
    ticks: u32,
    readable: bool,
    writable: bool,
    /// There is nothing to send, and the peer was informed.
    pub(super) said_goodbye: bool,
    /// Everything was said; the peer is given a moment to take it and to close.
    closing: Option<Instant>,
    /// The peer asked for another connection, there.
    pub(super) wanted_elsewhere: Option<Option<ServerUrl>>,
}

impl Live {
    /// Begins on a connection the dialer made: from the stream's next keyframe on, at time zero, or in the times of others.
    ///
    /// # Errors
    ///
    /// The socket cannot be set up.
    pub(super) fn new(
        dialed: Dialed,
        intake: Intake,
        cx: &OutputContext<'_>,
        policy: &LagPolicy,
        zero: Option<SharedZero>,
    ) -> Result<Self, Error> {
        let Dialed { mut transport, mut session } = dialed;
        let system =
            |source: std::io::Error| Error::System { what: "cannot set a socket up", source: source.into() };
        tune(transport.socket(), policy.stall_after).map_err(system)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        cx.registry.register(transport.socket(), cx.token, interest).map_err(system)?;
        let greeting = session.wire().total_in() - session.wire().len() as u64;
        Ok(Self {
            transport,
            session,
            intake,
            feed: Feed::new(cx.ring, Join::Next, SessionClock::FromZero, policy.clone()).with_zero(zero),
            since: cx.now,
            greeting,
            sent: 0,
            measured: (cx.now, 0),
            send_buffer: 0,
            ticks: 0,
            readable: true,
            writable: true,
            said_goodbye: false,
            closing: None,
            wanted_elsewhere: None,
        })
    }

    /// Bytes of this connection; none until there is something to send: so long nothing of the stream has left.
    pub(super) fn bytes(&self) -> u64 {
        if self.sent == 0 { 0 } else { self.greeting + self.sent }
    }

    /// Reads and writes what can be; `true` when a budget ended it.
    pub(super) fn pump(
        &mut self,
        cx: &mut OutputContext<'_>,
        host: &str,
        finishing: bool,
    ) -> Result<bool, Error> {
        // A server is late only if nothing of it waits in the socket.
        self.readable |= cx.readable || self.session.next_timeout().is_some_and(|at| at <= cx.now);
        self.writable |= cx.writable;
        self.hear(host)?;
        let more_to_read = self.read(cx, host)?;
        if self.session.next_timeout().is_some_and(|at| at <= cx.now) {
            self.session.handle_timeout(cx.now).map_err(|source| rtmp(host, source))?;
        }
        let written = self.write(cx, host, finishing);
        cx.notices.extend(self.intake.take_news(cx.output));
        let more_to_write = written?;
        Ok(more_to_read || more_to_write)
    }

    fn read(&mut self, cx: &mut OutputContext<'_>, host: &str) -> Result<bool, Error> {
        let mut budget = READ_BUDGET;
        while self.readable {
            match self.transport.read(cx.scratch) {
                Ok(count) => {
                    let bytes = cx.scratch.get(..count).unwrap_or_default();
                    self.session.handle_input(cx.now, bytes).map_err(|source| rtmp(host, source))?;
                    self.hear(host)?;
                    budget = budget.saturating_sub(count);
                    if budget == 0 {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::ConnectionLost { host: host.to_owned(), source: source.into() });
                }
            }
        }
        Ok(false)
    }

    /// What the server said.
    fn hear(&mut self, host: &str) -> Result<(), Error> {
        while let Some(event) = self.session.poll_event() {
            match event {
                ClientEvent::Closed { code } => {
                    let source = std::io::Error::new(std::io::ErrorKind::ConnectionReset, code);
                    return Err(Error::ConnectionLost { host: host.to_owned(), source: source.into() });
                }
                ClientEvent::ReconnectRequest { url, .. } => {
                    self.wanted_elsewhere = Some(url.map(ServerUrl));
                }
                ClientEvent::Redirect { url } => self.wanted_elsewhere = Some(Some(ServerUrl(url))),
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, cx: &OutputContext<'_>, host: &str, finishing: bool) -> Result<bool, Error> {
        let mut budget = WRITE_BUDGET;
        loop {
            // What a full socket does not take yet stays in the ring, where it costs less and can still be dropped.
            let mut more = !finishing && self.writable;
            if more {
                more = self.feed.fill(cx.ring, &mut Gate::new(&mut self.session, &mut self.intake));
                self.intake.check(host)?;
            }
            let idle = self.session.wire().is_empty() && !self.transport.has_pending();
            if idle || !self.writable {
                return Ok(false);
            }
            let taken = self
                .transport
                .write(self.session.wire(), budget)
                .map_err(|source| Error::ConnectionLost { host: host.to_owned(), source: source.into() })?;
            self.sent += taken as u64;
            budget = budget.saturating_sub(taken);
            if !self.session.wire().is_empty() || self.transport.has_pending() {
                if budget == 0 {
                    return Ok(true);
                }
                self.writable = false;
                if cx.ring.is_refillable() {
                    self.session.wire().detach();
                }
            } else if !more {
                return Ok(false);
            }
        }
    }

    /// Closes once everything is sent; whether the peer has had time to take it.
    pub(super) fn has_left(&mut self) -> bool {
        if !self.session.wire().is_empty() || self.transport.has_pending() {
            return false;
        }
        // Closing with unread bytes would reset the connection and lose what the peer has not read yet.
        let since = *self.closing.get_or_insert_with(|| {
            self.transport.close();
            Instant::now()
        });
        self.transport.unacknowledged() == 0 && since.elapsed() >= LINGER
    }

    /// Refuses a peer that does not take what the stream is made of now.
    pub(super) fn check_codecs(&mut self, ring: &Ring, host: &str) -> Result<(), Error> {
        for header in ring.headers().tags() {
            self.intake.fit(header);
        }
        self.intake.check(host)
    }

    /// Says goodbye as far as that goes at once, and closes.
    pub(super) fn dismiss(&mut self) {
        self.session.finish();
        let _ = self.transport.write(self.session.wire(), usize::MAX);
        self.transport.close();
    }

    /// How long it has been there.
    pub(super) fn on_air(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether the kernel was given media.
    pub(super) fn has_sent_media(&mut self) -> bool {
        let wire = self.session.wire();
        let gone = wire.total_in().saturating_sub(wire.len() as u64);
        self.feed.media_from().is_some_and(|from| gone > from)
    }

    /// Whether to ask the kernel with this tick: always while something is late, now and then while all is well.
    pub(super) fn is_to_be_measured(&mut self) -> bool {
        self.ticks = self.ticks.wrapping_add(1);
        !self.session.wire().is_empty()
            || !self.feed.lag().is_zero()
            || self.feed.is_waiting()
            || self.ticks.is_multiple_of(CALM)
    }

    /// How far behind it is, and what follows from that.
    pub(super) fn measure(
        &mut self,
        cx: &mut OutputContext<'_>,
        id: OutputId,
        host: &str,
    ) -> Result<(), Error> {
        let unsent = (self.session.wire().len() + self.transport.pending_bytes()) as u64;
        let total_in = self.session.wire().total_in();
        let unacknowledged = self.transport.unacknowledged();
        self.feed.measure(cx.now, cx.ring, total_in, unsent, unacknowledged);
        let tags = self.feed.take_drops();
        if tags > 0 {
            cx.notices.push(EventKind::OutputDropped { output: id, tags });
        }
        self.feed.check_pace(cx.now, || host.to_owned())?;
        self.size_send_buffer(cx.now);
        Ok(())
    }

    /// How its network is, as last measured.
    pub(super) fn link(&self) -> LinkState {
        LinkState { lag: self.feed.lag(), delivered: Some(self.feed.acknowledged()) }
    }

    fn size_send_buffer(&mut self, now: Instant) {
        let (since, sent) = self.measured;
        let up = now.saturating_duration_since(since);
        if up < BITRATE_EVERY {
            return;
        }
        self.measured = (now, self.sent);
        let per_second = (self.sent - sent) as f64 / up.as_secs_f64();
        let (least, most) = SEND_BUFFER_RANGE;
        let bytes = ((per_second * SEND_BUFFER.as_secs_f64()) as u64).clamp(least, most);
        // A quiet scene does not make it smaller: the next loud one needs it.
        if bytes <= self.send_buffer {
            return;
        }
        self.send_buffer = bytes;
        let socket = socket2::SockRef::from(&*self.transport.socket());
        if let Err(error) = socket.set_send_buffer_size(usize::try_from(bytes).unwrap_or(usize::MAX)) {
            log::debug!("the kernel keeps its own send buffer: {error}");
        }
    }
}

fn rtmp(host: &str, source: flowcast_rtmp::error::Error) -> Error {
    Error::Rtmp { host: host.to_owned(), source }
}
