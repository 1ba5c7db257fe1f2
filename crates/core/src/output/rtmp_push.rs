//! An RTMP(S) destination: dials, sends, dials again.
//!
//! In: tags from the stream's ring. Out: bytes on a socket that the stream thread polls. What blocks (name lookup,
//! connecting) is done by the dialer on another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast_rtmp::session::{ClientEvent, ClientRole, ClientSession};
use flowcast_rtmp::url::{Destination, Scheme};
use mio::Interest;

use super::feed::{Feed, Join, SessionClock};
use super::gate::{Enhanced, Gate};
use super::{OutputContext, OutputDriver, OutputPhase, OutputState, OutputStats, Readiness, Target};
use crate::config::{Config, LagPolicy};
use crate::error::{Error, chain};
use crate::event::{EventKind, OutputId};
use crate::net::dialer::{Dialed, Dialer, Reached, Reply, Request, ServerUrl};
use crate::net::tls::TlsRoots;
use crate::net::transport::{Transport, tune};
use crate::net::{Backoff, random};
use crate::stream::mailbox::{Command, Mailbox};

/// Bytes read from a peer in one turn; publishers are sent acknowledgements and pings, not media.
const READ_BUDGET: usize = 64 << 10;
/// Bytes written in one turn, so that one fast peer does not hold the others up.
const WRITE_BUDGET: usize = 1 << 20;
/// The kernel's send buffer is set to this much media time once the bitrate is known.
const SEND_BUFFER: Duration = Duration::from_secs(2);
/// The least and the most it is set to, in bytes.
const SEND_BUFFER_RANGE: (u64, u64) = (128 << 10, 4 << 20);
/// While nothing is late, the lag is measured with every so manieth tick.
const CALM: u32 = 5;
/// How long a peer that took everything is given to close first.
const LINGER: Duration = Duration::from_millis(250);
/// When the source rests, how long what came before may take to be sent, and then the goodbye.
const DRAIN: Duration = Duration::from_secs(5);
const GOODBYE: Duration = Duration::from_secs(2);
/// Redirections in a row.
const MOST_HOPS: u32 = 5;
/// A connection that lasted this long begins a new row.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// How often the bitrate is measured for that.
const BITRATE_EVERY: Duration = Duration::from_secs(5);

/// A push output.
pub(crate) struct RtmpPush {
    id: OutputId,
    destination: Destination,
    /// Where the server sent it instead, as long as that works, and how often in a row.
    elsewhere: Option<Destination>,
    hops: u32,
    enhanced: Enhanced,
    roots: TlsRoots,
    config: Config,
    dialer: Dialer,
    mailbox: Mailbox,
    backoff: Backoff,
    state: State,
    /// Bytes sent by connections that are gone.
    sent_before: u64,
    drops_before: u64,
    connections: u64,
    attempt: u64,
    settled: bool,
    finishing: bool,
    /// The source rests: from which tag on there is nothing, and until when what is before that may take.
    rest: Option<(u64, Instant)>,
    /// When the first media byte of the first connection was sent.
    first_media: Option<Instant>,
    last_error: Option<String>,
}

enum State {
    Idle,
    Dialing {
        cancelled: Arc<AtomicBool>,
    },
    Waiting {
        until: Instant,
    },
    /// There is nothing to send.
    Resting,
    Live(Box<Live>),
    Ended,
}

struct Live {
    transport: Transport,
    session: ClientSession,
    enhanced: Enhanced,
    feed: Feed,
    since: Instant,
    sent: u64,
    /// When the bitrate was last measured, and the bytes sent until then.
    measured: (Instant, u64),
    /// What the kernel's send buffer was set to; 0 is its own choice.
    send_buffer: u64,
    ticks: u32,
    readable: bool,
    writable: bool,
    /// There is nothing to send, and the peer was told.
    said_goodbye: bool,
    /// Everything was said; the peer is given a moment to take it and to close.
    closing: Option<Instant>,
    /// The peer asked for another connection, there.
    wanted_elsewhere: Option<Option<ServerUrl>>,
}

impl RtmpPush {
    /// An output that dials with its first turn.
    pub(crate) fn new(
        id: OutputId,
        target: Target,
        config: &Config,
        dialer: Dialer,
        mailbox: Mailbox,
    ) -> Self {
        let Target { destination, roots, reconnect, enhanced } = target;
        Self {
            id,
            destination,
            elsewhere: None,
            hops: 0,
            enhanced,
            roots,
            backoff: Backoff::new(reconnect.unwrap_or_else(|| config.reconnect.clone())),
            config: config.clone(),
            dialer,
            mailbox,
            state: State::Idle,
            sent_before: 0,
            drops_before: 0,
            connections: 0,
            attempt: 0,
            settled: false,
            finishing: false,
            rest: None,
            first_media: None,
            last_error: None,
        }
    }

    /// Who is pushed to at the moment.
    fn peer(&self) -> &Destination {
        self.elsewhere.as_ref().unwrap_or(&self.destination)
    }

    /// The server wants the output elsewhere (or, without an address, wants another connection): goes there at once. When
    /// that fails, or is lost later, the output begins anew where it was sent by the program.
    fn go_elsewhere(&mut self, cx: &mut OutputContext<'_>, url: Option<ServerUrl>) -> OutputState {
        let host = self.peer().host().to_owned();
        let lost = |reason: &str| {
            let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, reason);
            Error::ConnectionLost { host: host.clone(), source }
        };
        let to = match url.map(|ServerUrl(url)| Destination::with_key(&url, self.destination.key().clone())) {
            None => self.peer().clone(),
            Some(Ok(to)) if to.scheme() == Scheme::Rtmp && self.destination.scheme() == Scheme::Rtmps => {
                return self.failed(cx, lost("the server redirects to an address without TLS"));
            }
            Some(Ok(to)) => to,
            Some(Err(_)) => return self.failed(cx, lost("the server redirects to an address that is none")),
        };
        if matches!(&self.state, State::Live(live) if cx.now.saturating_duration_since(live.since) >= SETTLED_AFTER)
        {
            self.hops = 0;
        }
        if self.hops == MOST_HOPS {
            return self.failed(cx, lost("the server redirects again and again"));
        }
        self.close_connection();
        let host = to.host().to_owned();
        cx.notices.push(EventKind::OutputMoved { output: self.id, host });
        self.hops += 1;
        self.elsewhere = Some(to);
        self.dial();
        OutputState::Running
    }

    fn dial(&mut self) {
        let cancelled = Arc::new(AtomicBool::new(false));
        self.attempt += 1;
        let (mailbox, output, attempt) = (self.mailbox.clone(), self.id, self.attempt);
        self.state = State::Dialing { cancelled: cancelled.clone() };
        self.dialer.dial(Request {
            destination: self.peer().clone(),
            role: ClientRole::Publish,
            roots: self.roots.clone(),
            config: self.config.connect.clone(),
            enhanced: self.enhanced.is_said(),
            cancelled,
            reply: Reply::new(move |result| {
                mailbox.send(Command::Dialed { output, attempt, result });
            }),
        });
    }

    fn adopt(&mut self, cx: &mut OutputContext<'_>, dialed: Dialed) -> Result<(), Error> {
        let Dialed { mut transport, session } = dialed;
        let system = |source| Error::System { what: "cannot set a socket up", source };
        tune(transport.socket(), self.config.lag.stall_after).map_err(system)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        cx.registry.register(transport.socket(), cx.token, interest).map_err(system)?;
        let feed = Feed::new(cx.ring, Join::Next, SessionClock::FromZero, self.config.lag.clone());
        self.backoff.connected(cx.now);
        cx.notices.push(EventKind::OutputLive { output: self.id, reconnects: self.connections });
        self.connections += 1;
        self.state = State::Live(Box::new(Live {
            transport,
            session,
            enhanced: self.enhanced,
            feed,
            since: cx.now,
            sent: 0,
            measured: (cx.now, 0),
            send_buffer: 0,
            ticks: 0,
            readable: true,
            writable: true,
            said_goodbye: false,
            closing: None,
            wanted_elsewhere: None,
        }));
        Ok(())
    }

    /// Says goodbye once everything is sent that came before the rest, and closes.
    fn leave(&mut self, cx: &mut OutputContext<'_>, end: u64, until: Instant) -> OutputState {
        let State::Live(live) = &mut self.state else { return OutputState::Running };
        let late = cx.now >= until;
        if !live.said_goodbye && (live.feed.cursor() >= end || late) {
            live.said_goodbye = true;
            live.session.finish();
        }
        let pumped =
            live.pump(cx, self.elsewhere.as_ref().unwrap_or(&self.destination).host(), live.said_goodbye);
        let left = live.said_goodbye && (live.has_left() || cx.now >= until + GOODBYE);
        match pumped {
            Ok(more) if !left => {
                if more {
                    OutputState::More
                } else {
                    OutputState::Running
                }
            }
            // A peer that closes first is as good.
            _ => {
                self.close_connection();
                self.state = State::Resting;
                OutputState::Running
            }
        }
    }

    /// The connection is lost, or there never was one: dial again later, or end.
    fn failed(&mut self, cx: &mut OutputContext<'_>, error: Error) -> OutputState {
        self.settled = true;
        (self.elsewhere, self.hops) = (None, 0);
        if let (State::Live(live), Error::TooSlow { .. } | Error::Stalled { .. }) = (&mut self.state, &error)
        {
            // What the kernel still holds would keep the peer busy with a connection that is given up.
            live.transport.abort();
        }
        self.close_connection();
        let error = Arc::new(error);
        self.last_error = Some(chain(&error));
        if self.finishing {
            self.state = State::Ended;
            return OutputState::Ended(None);
        }
        if !error.is_retryable() {
            self.state = State::Ended;
            return OutputState::Ended(Some(error));
        }
        let Some(wait) = self.backoff.failed(cx.now, random::unit()) else {
            self.state = State::Ended;
            return OutputState::Ended(Some(Arc::new(Error::GaveUp {
                tries: self.backoff.failures(),
                source: error,
            })));
        };
        self.state = State::Waiting { until: cx.now + wait };
        cx.notices.push(EventKind::OutputRetrying { output: self.id, error, wait });
        OutputState::Running
    }

    fn close_connection(&mut self) {
        if let State::Dialing { cancelled } = &self.state {
            cancelled.store(true, Ordering::Relaxed);
            self.dialer.drop_cancelled();
        }
        if let State::Live(live) = &mut self.state {
            self.sent_before += live.sent;
            self.drops_before += live.feed.drops();
            live.transport.close();
        }
        self.state = State::Idle;
    }
}

impl Live {
    /// Reads and writes what can be; `true` when a budget ended it.
    fn pump(&mut self, cx: &mut OutputContext<'_>, host: &str, finishing: bool) -> Result<bool, Error> {
        self.readable |= cx.readable;
        self.writable |= cx.writable;
        self.hear(host)?;
        let more_to_read = self.read(cx, host)?;
        if self.session.next_timeout().is_some_and(|at| at <= cx.now) {
            self.session.handle_timeout(cx.now).map_err(|source| rtmp(host, source))?;
        }
        let more_to_write = self.write(cx, host, finishing)?;
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
                Err(source) => return Err(Error::ConnectionLost { host: host.to_owned(), source }),
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
                    return Err(Error::ConnectionLost { host: host.to_owned(), source });
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
                let mut gate = Gate::new(&mut self.session, self.enhanced);
                more = self.feed.fill(cx.ring, &mut gate);
                gate.check(host)?;
            }
            let idle = self.session.wire().is_empty() && !self.transport.has_pending();
            if idle || !self.writable {
                return Ok(false);
            }
            let taken = self
                .transport
                .write(self.session.wire(), budget)
                .map_err(|source| Error::ConnectionLost { host: host.to_owned(), source })?;
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
    fn has_left(&mut self) -> bool {
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

    /// Whether the kernel was given media.
    fn has_sent_media(&mut self) -> bool {
        let wire = self.session.wire();
        let gone = wire.total_in().saturating_sub(wire.len() as u64);
        self.feed.media_from().is_some_and(|from| gone > from)
    }

    /// Whether to ask the kernel with this tick: always while something is late, now and then while all is well.
    fn is_to_be_measured(&mut self) -> bool {
        self.ticks = self.ticks.wrapping_add(1);
        !self.session.wire().is_empty()
            || !self.feed.lag().is_zero()
            || self.feed.is_waiting()
            || self.ticks.is_multiple_of(CALM)
    }

    /// How far behind it is, and what follows from that.
    fn measure(
        &mut self,
        cx: &mut OutputContext<'_>,
        id: OutputId,
        host: &str,
        policy: &LagPolicy,
    ) -> Result<(), Error> {
        let unsent = (self.session.wire().len() + self.transport.pending_bytes()) as u64;
        let total_in = self.session.wire().total_in();
        let unacknowledged = self.transport.unacknowledged();
        self.feed.measure(cx.now, cx.ring, total_in, unsent, unacknowledged);
        let tags = self.feed.take_drops();
        if tags > 0 {
            cx.notices.push(EventKind::OutputDropped { output: id, tags });
        }
        if self.feed.is_too_slow() {
            let lag = self.feed.lag();
            return Err(Error::TooSlow { host: host.to_owned(), lag, limit: policy.disconnect_after });
        }
        let stalled = self.feed.stalled(cx.now);
        if stalled > policy.stall_after {
            return Err(Error::Stalled { host: host.to_owned(), after: stalled });
        }
        self.size_send_buffer(cx.now);
        Ok(())
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

impl OutputDriver for RtmpPush {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if let Some((end, until)) = self.rest
            && !self.finishing
        {
            return self.leave(cx, end, until);
        }
        match &mut self.state {
            State::Idle if self.finishing => self.state = State::Ended,
            State::Idle => self.dial(),
            State::Waiting { until } if *until <= cx.now => self.dial(),
            State::Live(live) => {
                let host = self.elsewhere.as_ref().unwrap_or(&self.destination).host();
                let measured = if cx.tick && live.is_to_be_measured() {
                    live.measure(cx, self.id, host, &self.config.lag)
                } else {
                    Ok(())
                };
                let pumped = measured.and_then(|()| live.pump(cx, host, self.finishing));
                if self.first_media.is_none() && live.has_sent_media() {
                    self.first_media = Some(Instant::now());
                }
                let wanted = live.wanted_elsewhere.take().filter(|_| pumped.is_ok() && !self.finishing);
                if let Some(url) = wanted {
                    live.session.finish();
                    let _ = live.transport.write(live.session.wire(), usize::MAX);
                    return self.go_elsewhere(cx, url);
                }
                return match pumped {
                    Ok(true) => OutputState::More,
                    Ok(false) => OutputState::Running,
                    Err(error) => self.failed(cx, error),
                };
            }
            State::Dialing { .. } | State::Waiting { .. } | State::Resting | State::Ended => {}
        }
        OutputState::Running
    }

    fn dialed(
        &mut self,
        cx: &mut OutputContext<'_>,
        attempt: u64,
        result: Result<Reached, Error>,
    ) -> OutputState {
        if attempt != self.attempt || !matches!(self.state, State::Dialing { .. }) {
            return OutputState::Running;
        }
        self.settled = true;
        match result {
            Ok(Reached::Elsewhere(url)) => self.go_elsewhere(cx, Some(url)),
            Ok(Reached::Peer(dialed)) => match self.adopt(cx, *dialed) {
                // What arrived with the acceptance is in the session: the first turn takes it before any poll.
                Ok(()) => self.turn(cx),
                Err(error) => self.failed(cx, error),
            },
            Err(error) => self.failed(cx, error),
        }
    }

    fn rest(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        // Nobody has to wait for it to begin.
        self.settled = true;
        self.rest = Some((cx.ring.end(), cx.now + DRAIN));
        match self.state {
            State::Live(_) => return self.turn(cx),
            State::Ended => {}
            _ => {
                self.close_connection();
                self.state = State::Resting;
            }
        }
        OutputState::Running
    }

    fn resume(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.rest = None;
        match &self.state {
            // A peer that was not told goes on as if nothing had been.
            State::Live(live) if live.said_goodbye => {
                self.close_connection();
            }
            State::Resting => self.state = State::Idle,
            _ => {}
        }
        self.turn(cx)
    }

    fn cursor(&self) -> Option<u64> {
        match &self.state {
            State::Live(live) => Some(live.feed.cursor()),
            _ => None,
        }
    }

    fn finish(&mut self, _cx: &mut OutputContext<'_>) {
        self.finishing = true;
        match &mut self.state {
            State::Live(live) => live.session.finish(),
            _ => {
                self.close_connection();
                self.state = State::Ended;
            }
        }
    }

    fn is_finished(&mut self) -> bool {
        match &mut self.state {
            State::Live(live) => {
                let done = live.has_left();
                if done {
                    self.close_connection();
                    self.state = State::Ended;
                }
                done
            }
            State::Ended => true,
            _ => false,
        }
    }

    fn readiness(&self) -> Readiness {
        if self.settled { Readiness::Settled } else { Readiness::Pending }
    }

    fn first_media(&self) -> Option<Instant> {
        self.first_media
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = match &self.state {
            State::Idle | State::Dialing { .. } => OutputPhase::Connecting,
            State::Waiting { .. } => OutputPhase::Waiting,
            State::Resting => OutputPhase::Resting,
            State::Live(_) => OutputPhase::Live,
            State::Ended => OutputPhase::Ended,
        };
        stats.bytes_sent = self.sent_before;
        stats.drops = self.drops_before;
        stats.reconnects = self.connections.saturating_sub(1);
        stats.last_error.clone_from(&self.last_error);
        if let State::Live(live) = &self.state {
            stats.bytes_sent += live.sent;
            stats.drops += live.feed.drops();
            stats.lag = live.feed.lag();
            stats.bytes_held = live.transport.unacknowledged();
        }
    }
}

impl Drop for RtmpPush {
    fn drop(&mut self) {
        self.close_connection();
    }
}
