//! What a program is asked before somebody publishes or plays.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use flowcast_core::Grant;
use flowcast_rtmp::capability::Capabilities;
use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::Reject;
use mio::Waker;
use parking_lot::Mutex;

/// Somebody wants to publish or play, and the program decides: on the spot or later, on any thread. Dropping it
/// refuses. Until [`deadline`](Self::deadline), who asked waits and nothing more is read from them; then they are refused.
///
/// `Debug` shows neither key nor query.
pub struct Admission {
    request: AdmissionRequest,
    deadline: Instant,
    /// Where the answer goes; taken with the answer.
    desk: Option<Arc<Desk>>,
    guest: usize,
    waiting: Weak<()>,
}

/// What is known of who asks.
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

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdmissionKind {
    /// To put a stream on the air.
    Publish,
    /// To watch one.
    Play,
}

/// What the program answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// As the server's keys say.
    Accept,
    /// As this says, whatever the keys do.
    AcceptAs(Grant),
    Refuse(Reject),
    /// The admission was dropped.
    GaveUp,
}

/// Where answers of other threads wait for the lobby: at most one per guest.
#[derive(Debug)]
pub(crate) struct Desk {
    answers: Mutex<Vec<(usize, Answer)>>,
    waker: Waker,
}

impl Admission {
    pub(crate) fn new(
        request: AdmissionRequest,
        deadline: Instant,
        desk: Arc<Desk>,
        guest: usize,
        waiting: Weak<()>,
    ) -> Self {
        Self { request, deadline, desk: Some(desk), guest, waiting }
    }

    /// What is wanted.
    #[must_use]
    pub fn kind(&self) -> AdmissionKind {
        self.request.kind
    }

    /// Who asks.
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

    /// The name: of a player, what it wants to play; of a publisher, what its key publishes under, `None` if the server's keys
    /// would refuse it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.request.name.as_deref()
    }

    /// The key a publisher said; players have none.
    #[must_use]
    pub fn key(&self) -> Option<&StreamKey> {
        self.request.key.as_ref()
    }

    /// What stood behind the `?` of the URL, as it was sent. It may hold secrets.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.request.query
    }

    /// What they said in `connect` of Enhanced RTMP; most say nothing.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.request.capabilities
    }

    /// Until when an answer counts.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether whoever asked is still there and an answer would count. May be asked before something costly.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.strong_count() > 0 && Instant::now() < self.deadline
    }

    /// Lets them in as far as the server's keys do: a wrong key or play token is refused all the same.
    pub fn accept(mut self) {
        self.answer(Answer::Accept);
    }

    /// Lets them in whatever the server's keys say: a publisher publishes as `grant` says, a player plays what is on the air under
    /// its name. A name alone is a grant, too.
    pub fn accept_as(mut self, grant: impl Into<Grant>) {
        self.answer(Answer::AcceptAs(grant.into()));
    }

    /// Refuses them. [`Reject::BadName`] and [`Reject::Denied`] count as failures of the address, as a wrong key does
    /// ([`FailurePolicy`](crate::FailurePolicy)).
    pub fn refuse(mut self, reason: Reject) {
        self.answer(Answer::Refuse(reason));
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(desk) = self.desk.take() {
            desk.answers.lock().push((self.guest, answer));
            desk.wake();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.answer(Answer::GaveUp);
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

impl Desk {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { answers: Mutex::default(), waker }
    }

    /// What was answered since this was last asked.
    pub(crate) fn take(&self) -> Vec<(usize, Answer)> {
        std::mem::take(&mut self.answers.lock())
    }

    /// Has the lobby look around.
    pub(crate) fn wake(&self) -> bool {
        self.waker.wake().is_ok()
    }
}

/// What the program wants to decide itself.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) publish: Option<Hook>,
    pub(crate) play: Option<Hook>,
}

pub(crate) type Hook = Arc<dyn Fn(Admission) + Send + Sync>;

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (publish, play) = (self.publish.is_some(), self.play.is_some());
        f.debug_struct("Hooks").field("publish", &publish).field("play", &play).finish()
    }
}
