//! The server's side of a connection.
//!
//! In: the client's bytes and the caller's decisions. Out: events, and bytes for the client.

mod commands;
mod config;
mod media;
mod place;
mod timers;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

pub use config::ServerConfig;
pub use place::NAME_PREFIXES;

use super::event::ServerEvent;
use super::link::{Incoming, Link};
use super::queue::EventQueue;
use crate::capability::Capabilities;
use crate::error::Error;
use crate::handshake::{Handshake, Role};
use crate::limits::LimitKind;
use crate::message::UserControl;
use crate::wire::WireBuf;

/// One client of an RTMP server: a publisher or a player.
///
/// `connect` and the other preparations are answered by the session. A publish or play becomes an event, and the
/// client hears nothing until the caller has decided with [`accept_publish`](Self::accept_publish),
/// [`accept_play`](Self::accept_play) or [`reject`](Self::reject). Bytes that arrive before the decision are kept, not
/// parsed, so that the session can be handed to another thread in between: ask [`poll_event`](Self::poll_event) again
/// after the decision.
///
/// ```
/// use std::time::Instant;
/// use flowcast_rtmp::session::{ServerConfig, ServerSession};
///
/// let now = Instant::now();
/// let mut session = ServerSession::new(ServerConfig::default(), None, [7; 1528], now);
/// session.handle_input(now, &[3])?;
/// assert!(session.poll_event().is_none());
/// assert!(session.next_timeout().is_some());
/// # Ok::<(), flowcast_rtmp::error::Error>(())
/// ```
#[derive(Debug)]
pub struct ServerSession {
    config: ServerConfig,
    peer: Option<SocketAddr>,
    link: Link,
    phase: Phase,
    events: EventQueue<ServerEvent>,
    /// Bytes that came before the decision.
    held: BytesMut,
    /// What went wrong in held bytes, for the next call that can say so.
    failure: Option<Error>,
    app: Option<String>,
    capabilities: Capabilities,
    /// The relays behind a client that is one.
    via: String,
    /// What to say to `connect` instead of yes.
    refusal: Option<String>,
    /// The publisher has announced its end with FCUnpublish.
    parting: bool,
    /// Transactions of `connect` and of the last `createStream`.
    essential: [f64; 2],
    /// Message streams created; their ids are 1 to this.
    created: u32,
    /// How many of them when the last publish or play ended, zero before.
    created_before: u32,
    started: Instant,
    /// When it was shaken hands, or the client that had ended its stream prepared for another one.
    prepares_since: Instant,
    /// The client has ended a stream, and may begin another.
    again: bool,
    last_input: Instant,
    /// When it was asked for a sign of life that has not come yet.
    pinged: Option<Instant>,
}

/// How far the client has come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Handshake,
    Commands,
    /// A publish or play waits for the caller.
    Deciding(Asked),
    Publishing(Asked),
    Playing(Asked),
    /// The client ended its stream; it may still have to say or read something, or begin another one.
    Leaving {
        since: Instant,
    },
    /// Refused, finished, failed, or left long enough.
    Ended,
}

/// The publish or play of the connection.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Asked {
    publish: bool,
    stream_id: u32,
    transaction: f64,
    reset: bool,
}

impl ServerSession {
    /// A session for a connection accepted at `now`. `random` is for the handshake and need not be secret.
    #[must_use]
    pub fn new(config: ServerConfig, peer: Option<SocketAddr>, random: [u8; 1528], now: Instant) -> Self {
        let mut link = Link::new(|out| Handshake::new(Role::Server, random, out), &config.before_auth);
        link.set_total(config.before_auth.total_bytes_before_auth);
        Self {
            config,
            peer,
            link,
            phase: Phase::Handshake,
            events: EventQueue::new(ServerEvent::Tag),
            held: BytesMut::new(),
            failure: None,
            app: None,
            capabilities: Capabilities::default(),
            via: String::new(),
            refusal: None,
            parting: false,
            essential: [0.0; 2],
            created: 0,
            created_before: 0,
            started: now,
            prepares_since: now,
            again: false,
            last_input: now,
            pinged: None,
        }
    }

    /// Takes bytes of the client.
    ///
    /// # Errors
    ///
    /// The client broke the protocol or a limit. The session is over; [`wire`](Self::wire) may still hold an answer.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        self.last_input = now;
        self.pinged = None;
        let result = self.take_failure().and_then(|()| self.input(now, bytes));
        result.map_err(|error| self.fail(error))
    }

    /// Does what is due at `now`. Calling it too early or for nothing does no harm.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`]; or the error in bytes that waited for a decision. The session is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let result = self.take_failure().and_then(|()| self.run_timers(now));
        result.map_err(|error| self.fail(error))
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; may change with every other call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.failure.is_some() { Some(self.last_input) } else { self.deadline() }
    }

    /// The next event, in order of arrival.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// Bytes for the client; the caller takes off what the socket took.
    pub fn wire(&mut self) -> &mut WireBuf {
        &mut self.link.out
    }

    /// The client's address as given at the start.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// True from the acceptance of a publish or play to its end.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Publishing(_) | Phase::Playing(_))
    }

    /// Whether a publisher has announced that it will end its stream (FCUnpublish). The end itself
    /// ([`Unpublish`](ServerEvent::Unpublish)) may get lost: a program that closes its socket at once, with answers unread, takes back
    /// what its kernel has not sent. A connection that is lost after this was ended by the publisher.
    #[must_use]
    pub fn is_parting(&self) -> bool {
        self.parting
    }

    /// True once nothing more will come of this session: send what [`wire`](Self::wire) holds, then close.
    ///
    /// A client that ended its stream by itself ([`Unpublish`](ServerEvent::Unpublish),
    /// [`StopPlay`](ServerEvent::StopPlay)) gets some time to close the connection first, since some clients take it
    /// for an error if they do not; ask again after [`handle_timeout`](Self::handle_timeout). In that time it may also publish
    /// or play again, which is another [`Publish`](ServerEvent::Publish) or [`Play`](ServerEvent::Play) event to decide.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// What the client said in `connect` that it can do beyond RTMP 1.0; nothing before that.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Bytes received and parsed since the connection began, the handshake included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.link.received()
    }

    /// Bytes the client acknowledged by RTMP Acknowledgement; many clients never do.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.link.acknowledged()
    }

    /// Memory of unfinished messages and of bytes held for a decision.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.link.assembly_bytes().saturating_add(self.held.len())
    }

    fn input(&mut self, now: Instant, mut bytes: &[u8]) -> Result<(), Error> {
        if self.phase == Phase::Handshake {
            if !self.link.shake_hands(&mut bytes)? {
                return Ok(());
            }
            self.prepares_since = now;
            self.phase = Phase::Commands;
        }
        self.parse(&mut bytes)?;
        if matches!(self.phase, Phase::Deciding(_)) {
            return self.hold(bytes);
        }
        self.link.acknowledge()
    }

    /// Parses until the input is used up, a decision is due or the session is over.
    fn parse(&mut self, input: &mut &[u8]) -> Result<(), Error> {
        while !matches!(self.phase, Phase::Deciding(_) | Phase::Ended) {
            match self.link.pull(input)? {
                None => return Ok(()),
                Some(Incoming::Command { stream_id, command }) => self.command(stream_id, &command)?,
                Some(Incoming::Media { kind, timestamp, payload }) => self.media(kind, timestamp, payload)?,
                Some(Incoming::Aggregate { timestamp, payload }) => self.aggregate(timestamp, payload)?,
                Some(Incoming::Event(UserControl::SetBufferLength { millis, .. })) => {
                    self.events.push_back(ServerEvent::BufferLength { millis });
                }
                Some(Incoming::Event(_)) => {}
            }
        }
        Ok(())
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.held.len().saturating_add(bytes.len()) > self.config.held_bytes {
            let allowed = self.config.held_bytes as u64;
            return Err(Error::limit(LimitKind::HeldBytes, allowed, self.link.received()));
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Parses what came before the decision.
    fn resume(&mut self) {
        let held = std::mem::take(&mut self.held);
        let mut input: &[u8] = &held;
        let result = self.parse(&mut input).and_then(|()| self.link.acknowledge());
        if let Err(error) = result {
            self.failure = Some(error);
        }
    }

    fn take_failure(&mut self) -> Result<(), Error> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: Error) -> Error {
        self.phase = Phase::Ended;
        self.held = BytesMut::new();
        error.with_peer(self.peer)
    }

    fn protocol(&self, reason: &'static str) -> Error {
        Error::protocol(reason, self.link.received())
    }
}
