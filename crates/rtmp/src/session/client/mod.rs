//! The client's side of a connection: a push to a platform, or a player.
//!
//! In: the server's bytes and, for a publisher, tags. Out: events, and bytes for the server.

mod commands;
mod config;
mod login;
mod media;

use std::fmt;
use std::time::{Duration, Instant};

pub use config::{ClientConfig, HandshakeForm};
pub use login::LoginAnswer;

use super::event::ClientEvent;
use super::link::{Incoming, Link};
use super::queue::EventQueue;
use crate::capability::Capabilities;
use crate::error::{Deadline, Error};
use crate::handshake::{Handshake, Role};
use crate::limits::Limits;
use crate::message::UserControl;
use crate::url::Destination;
use crate::wire::WireBuf;

/// What a client wants of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRole {
    /// Send a stream.
    Publish,
    /// Receive a stream.
    Play,
}

/// One connection to an RTMP server.
///
/// Works with servers that answer only what they must: the answers to `releaseStream` and `FCPublish` are not waited
/// for, and media counts as the start of playing. A refusal is [`Error::Rejected`] from
/// [`handle_input`](Self::handle_input). A server that asks for a login (`authmod=adobe`, `authmod=llnw`) is answered from
/// the user and password of the address, with another connection: see [`ClientEvent::Login`].
///
/// ```
/// use std::time::Instant;
/// use flowcast_rtmp::session::{ClientConfig, ClientRole, ClientSession};
/// use flowcast_rtmp::url::Destination;
///
/// let destination = Destination::parse("rtmp://localhost/live/key")?;
/// let config = ClientConfig::default();
/// let mut session = ClientSession::new(ClientRole::Publish, &destination, config, [7; 1528], Instant::now());
/// assert_eq!(session.wire().len(), 1537);
/// # Ok::<(), flowcast_rtmp::url::UrlError>(())
/// ```
pub struct ClientSession {
    role: ClientRole,
    config: ClientConfig,
    destination: Destination,
    /// For a question of the server.
    nonce: u32,
    link: Link,
    step: Step,
    /// The answer that is waited for, until when, and how long that is in all.
    waiting: Option<(Deadline, Instant, Duration)>,
    events: EventQueue<ClientEvent>,
    stream_id: u32,
    capabilities: Capabilities,
}

/// How far the session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Handshake,
    Connect,
    CreateStream,
    /// `publish` or `play` was sent.
    Start,
    Live,
    Ended,
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("role", &self.role)
            .field("step", &self.step)
            .field("waiting", &self.waiting)
            .field("stream_id", &self.stream_id)
            .finish_non_exhaustive()
    }
}

impl ClientSession {
    /// A session for a connection made at `now`; the first bytes are queued at once. `random` is for the handshake
    /// and need not be secret.
    #[must_use]
    pub fn new(
        role: ClientRole,
        destination: &Destination,
        config: ClientConfig,
        random: [u8; 1528],
        now: Instant,
    ) -> Self {
        let limits = config.limits.unwrap_or(match role {
            ClientRole::Publish => Limits::player(),
            ClientRole::Play => Limits::publisher(),
        });
        let shake: fn([u8; 1528], &mut WireBuf) -> Handshake = match config.handshake {
            HandshakeForm::Simple => |random, out| Handshake::new(Role::Client, random, out),
            HandshakeForm::Digest => Handshake::with_digest,
        };
        let mut session = Self {
            role,
            nonce: random.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte)),
            destination: destination.clone(),
            link: Link::new(|out| shake(random, out), &limits),
            step: Step::Handshake,
            waiting: None,
            events: EventQueue::new(ClientEvent::Tag),
            stream_id: 0,
            capabilities: Capabilities::default(),
            config,
        };
        session.wait_for(Deadline::Handshake, session.config.handshake_timeout, now);
        session
    }

    /// Takes bytes of the server.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the server refuses, before or after the start; else the server broke the protocol or a
    /// limit. The session is over.
    pub fn handle_input(&mut self, now: Instant, mut bytes: &[u8]) -> Result<(), Error> {
        let result = self.input(now, &mut bytes);
        if result.is_err() {
            self.end();
        }
        result
    }

    /// Does what is due at `now`. Calling it too early or for nothing does no harm.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if an answer is overdue. The session is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        match self.waiting {
            Some((waiting_for, deadline, after)) if deadline <= now => {
                self.end();
                Err(Error::Timeout { waiting_for, after, peer: None })
            }
            _ => Ok(()),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; may change with every other call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting.map(|(_, deadline, _)| deadline)
    }

    /// The next event, in order of arrival.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Bytes for the server; the caller takes off what the socket took.
    pub fn wire(&mut self) -> &mut WireBuf {
        &mut self.link.out
    }

    /// True while a publisher may send tags, or a player gets some.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.step == Step::Live
    }

    /// Whether the server was asked to publish or play and may have begun to: [`finish`](Self::finish) then tells it to end that.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        matches!(self.step, Step::Start | Step::Live)
    }

    /// True once nothing more will come of this session: send what [`wire`](Self::wire) holds, then close.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.step == Step::Ended
    }

    /// What the server said in its answer to `connect` that it can do beyond RTMP 1.0. Few say anything, and only to a
    /// client that is [`enhanced`](ClientConfig::enhanced).
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Bytes received since the connection began, the handshake included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.link.received()
    }

    /// Bytes the server acknowledged by RTMP Acknowledgement; some servers never do.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.link.acknowledged()
    }

    /// Memory of unfinished messages, bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.link.assembly_bytes()
    }

    fn input(&mut self, now: Instant, bytes: &mut &[u8]) -> Result<(), Error> {
        if self.step == Step::Handshake {
            if !self.link.shake_hands(bytes)? {
                return Ok(());
            }
            self.send_connect(now);
        }
        while self.step != Step::Ended {
            match self.link.pull(bytes)? {
                None => break,
                Some(Incoming::Command { command, .. }) => self.command(&command, now)?,
                Some(Incoming::Media { kind, timestamp, payload }) => self.media(kind, timestamp, payload),
                Some(Incoming::Aggregate { timestamp, payload }) => self.aggregate(timestamp, payload)?,
                Some(Incoming::Event(UserControl::StreamBegin(_))) => {
                    self.events.push_back(ClientEvent::StreamBegin);
                }
                Some(Incoming::Event(UserControl::StreamEof(_))) => {
                    self.events.push_back(ClientEvent::StreamEof);
                }
                Some(Incoming::Event(_)) => {}
            }
        }
        self.link.acknowledge()
    }

    /// Starts the wait for the next answer.
    fn wait_for(&mut self, what: Deadline, timeout: Duration, now: Instant) {
        self.waiting = now.checked_add(timeout).map(|deadline| (what, deadline, timeout));
    }

    fn end(&mut self) {
        self.step = Step::Ended;
        self.waiting = None;
    }
}
