//! The question a program is asked before a client publishes or plays.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use flowcast_core::{Entrance, Grant};
use flowcast_rtmp::capability::Capabilities;
use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::Reject;
use mio::Waker;
use parking_lot::Mutex;

use crate::connection::Connection;
use crate::hooks::Question;
use crate::lobby::{Letter, Refusal};
use crate::refusal::RefusalReason;

/// A client wants to publish or play, and the program decides: at once or later, on any thread. Dropping it refuses.
/// Until [`deadline`](Self::deadline), the client waits, and nothing more is read from it; then it is refused.
///
/// `Debug` shows neither key nor query.
pub struct Admission {
    request: AdmissionRequest,
    deadline: Instant,
    /// Where the answer goes; taken by the answer.
    question: Option<Question>,
    waiting: Weak<()>,
}

/// What is known of the client.
#[derive(Clone)]
pub(crate) struct AdmissionRequest {
    pub(crate) kind: AdmissionKind,
    pub(crate) peer: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) app: String,
    pub(crate) name: Option<String>,
    pub(crate) key: Option<StreamKey>,
    pub(crate) query: String,
    pub(crate) capabilities: Capabilities,
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdmissionKind {
    /// To put a stream on the air.
    Publish,
    /// To watch one.
    Play,
}

impl AdmissionKind {
    /// Its name: `publish` or `play`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

impl fmt::Display for AdmissionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the program answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// As the server's keys say.
    Accept,
    /// As this grant says, whatever the keys say.
    AcceptAs(Grant),
    Refuse(Reject),
    /// The admission was dropped.
    GaveUp,
    /// The answer of the program's key store for a publisher, and the name it was given.
    Entered(Result<Box<(Grant, Entrance)>, Refusal>),
    /// The answer of the program's key store for a player.
    MayPlay(Result<(), RefusalReason>),
}

/// Where answers from other threads, at most one per guest, and connections that come back wait for the lobby.
#[derive(Debug)]
pub(crate) struct Desk {
    answers: Mutex<Vec<(usize, Answer)>>,
    /// `None` once the lobby is closed.
    returned: Mutex<Option<Vec<Connection>>>,
    /// What was heard of streams that are relayed; `None` once the lobby is closed.
    letters: Mutex<Option<Vec<Letter>>>,
    waker: Waker,
}

impl Admission {
    pub(crate) fn new(
        request: AdmissionRequest,
        deadline: Instant,
        question: Question,
        waiting: Weak<()>,
    ) -> Self {
        Self { request, deadline, question: Some(question), waiting }
    }

    /// What the client wants.
    #[must_use]
    pub fn kind(&self) -> AdmissionKind {
        self.request.kind
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.request.peer
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.request.tls
    }

    /// The application, without its query.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.request.app
    }

    /// For a player, the name it wants to play; for a publisher, the name its key publishes under, or `None` if the
    /// server's keys would refuse it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.request.name.as_deref()
    }

    /// The key a publisher sent; players have none.
    #[must_use]
    pub fn key(&self) -> Option<&StreamKey> {
        self.request.key.as_ref()
    }

    /// The URL's query, as it was sent. It may hold secrets.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.request.query
    }

    /// What the client announced of Enhanced RTMP in `connect`; most announce nothing.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.request.capabilities
    }

    /// The latest time at which an answer counts.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the client still waits and an answer would count. Worth asking before something costly.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.strong_count() > 0 && Instant::now() < self.deadline
    }

    /// Lets the client in if the server's keys allow it: a wrong key or play token is refused all the same.
    pub fn accept(mut self) {
        self.answer(Answer::Accept);
    }

    /// Lets the client in whatever the server's keys say: a publisher publishes as `grant` says, a player plays what
    /// is on the air under its name. A name alone is a grant, too.
    pub fn accept_as(mut self, grant: impl Into<Grant>) {
        self.answer(Answer::AcceptAs(grant.into()));
    }

    /// Refuses the client. [`Reject::BadName`] and [`Reject::Denied`] count as failures of the address, like a wrong
    /// key ([`FailurePolicy`](crate::FailurePolicy)).
    pub fn refuse(mut self, reason: Reject) {
        self.answer(Answer::Refuse(reason));
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(question) = self.question.take() {
            question.answer(answer);
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdmissionRequest { kind, peer, tls, app, name, .. } = &self.request;
        let mut shown = f.debug_struct("Admission");
        shown.field("kind", kind).field("peer", peer).field("tls", tls).field("app", app).field("name", name);
        shown.finish_non_exhaustive()
    }
}

/// The lobby's hold on its desk: without a lobby, no connection is taken in any more.
pub(crate) struct ClosesDesk(Arc<Desk>);

impl Drop for ClosesDesk {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Desk {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            answers: Mutex::default(),
            returned: Mutex::new(Some(Vec::new())),
            letters: Mutex::new(Some(Vec::new())),
            waker,
        }
    }

    /// Takes an answer about a guest.
    pub(crate) fn answer(&self, guest: usize, answer: Answer) {
        self.answers.lock().push((guest, answer));
        self.wake();
    }

    /// The answers since the last call.
    pub(crate) fn take(&self) -> Vec<(usize, Answer)> {
        std::mem::take(&mut self.answers.lock())
    }

    /// Takes news of a stream that is relayed; one that was started for a lobby that is closed ends. Never blocks.
    pub(crate) fn hear(&self, letter: Letter) {
        let refused = match &mut *self.letters.lock() {
            Some(letters) => {
                letters.push(letter);
                None
            }
            None => Some(letter),
        };
        drop(refused);
        self.wake();
    }

    /// The news since the last call.
    pub(crate) fn take_letters(&self) -> Vec<Letter> {
        self.letters.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes a connection that ended its stream; it is closed if there is no lobby any more.
    pub(crate) fn bring_back(&self, connection: Connection) {
        let refused = match &mut *self.returned.lock() {
            Some(returned) => {
                returned.push(connection);
                None
            }
            None => Some(connection),
        };
        drop(refused);
        self.wake();
    }

    /// The connections that came back since the last call.
    pub(crate) fn take_returned(&self) -> Vec<Connection> {
        self.returned.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// From now on no connection comes back; those that just did are closed.
    pub(crate) fn close(&self) {
        drop(self.returned.lock().take());
        // Outside the lock: a stream that ends may have something to say.
        let letters = self.letters.lock().take();
        drop(letters);
    }

    /// Closes it when the guard is dropped, also on a panic.
    pub(crate) fn close_at_end(self: &Arc<Self>) -> ClosesDesk {
        ClosesDesk(self.clone())
    }

    /// Wakes the lobby.
    pub(crate) fn wake(&self) -> bool {
        self.waker.wake().is_ok()
    }
}
