//! Who gets in, who decides it, and who is told no.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use flowcast_core::{Asker, Entrance, Error, Grant, StreamRef};
use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::{PlayRequest, PublishRequest, Reject};

use super::Lobby;
use super::failures::Origin;
use super::guest::{Stage, Wish};
use crate::admission::{Admission, AdmissionKind, AdmissionRequest, Answer};
use crate::connection::Connection;
use crate::event::ServerEventKind;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::refusal::RefusalReason;
use crate::visit::Role;

/// How long a connection that was refused is kept to take the reason.
const GOODBYE: Duration = Duration::from_secs(2);

/// A no, and its words.
struct Refusal {
    reason: RefusalReason,
    reject: Reject,
    is_guess: bool,
}

impl From<RefusalReason> for Refusal {
    fn from(reason: RefusalReason) -> Self {
        Self { reason, reject: reason.reject(), is_guess: reason.is_guess() }
    }
}

impl Refusal {
    /// A hook's no.
    fn by_hook(reject: Reject) -> Self {
        let is_guess = matches!(reject, Reject::BadName | Reject::Denied);
        Self { reason: RefusalReason::Denied, reject, is_guess }
    }
}

impl Lobby {
    /// A guest has said what it wants.
    pub(super) fn hear(&mut self, id: usize, wish: Wish, now: Instant) {
        let hook = match &wish {
            Wish::Publish(_) => self.house.hooks.publish.clone(),
            Wish::Play(_) => self.house.hooks.play.clone(),
        };
        let Some(hook) = hook.filter(|_| self.is_our_app(wish.app())) else {
            return self.decide(id, &wish, Answer::Accept, now);
        };
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let (until, waiting) = (now + self.house.options.admission, Arc::new(()));
        let asker = Asker::new(guest.connection.peer, wish.app());
        let (kind, name, key, query) = match &wish {
            Wish::Publish(request) => {
                let name = self.house.store.publisher(&request.key, &asker).ok().map(|grant| grant.name);
                (AdmissionKind::Publish, name, Some(request.key.clone()), request.query.clone())
            }
            Wish::Play(request) => {
                (AdmissionKind::Play, Some(request.name.clone()), None, request.query.clone())
            }
        };
        let (peer, tls, app) =
            (guest.connection.peer, guest.connection.transport.is_tls(), wish.app().to_owned());
        let request = AdmissionRequest { kind, peer, tls, app, name, key, query };
        let admission =
            Admission::new(request, until, self.shared.desk.clone(), id, Arc::downgrade(&waiting));
        guest.stage = Stage::Waiting { wish, until, _waiting: waiting };
        // A hook that panics has dropped its admission, which is a no.
        if std::panic::catch_unwind(AssertUnwindSafe(|| hook(admission))).is_err() {
            log::error!("{peer}: the program's hook panicked");
        }
    }

    /// Takes in what the program has decided; who has left meanwhile is not there any more.
    pub(super) fn read_answers(&mut self, now: Instant) {
        for (id, answer) in self.shared.desk.take() {
            let Some(guest) = self.guests.get(&id) else { continue };
            let Stage::Waiting { wish, .. } = &guest.stage else { continue };
            self.decide(id, &wish.clone(), answer, now);
        }
    }

    /// Lets a guest in or refuses it.
    fn decide(&mut self, id: usize, wish: &Wish, answer: Answer, now: Instant) {
        let granted = match answer {
            _ if !self.is_our_app(wish.app()) => Err(RefusalReason::App.into()),
            Answer::Accept => Ok(None),
            Answer::AcceptAs(grant) => Ok(Some(grant)),
            Answer::Refuse(reject) => Err(Refusal::by_hook(reject)),
            Answer::GaveUp => Err(RefusalReason::Denied.into()),
        };
        let done = granted.and_then(|grant| match wish {
            Wish::Publish(request) => self.publish(id, request, grant, now),
            Wish::Play(request) => self.play(id, request, grant),
        });
        if let Err(refusal) = done {
            self.refuse(id, wish, refusal, now);
        }
    }

    /// The program did not answer.
    pub(super) fn give_up_waiting(&mut self, id: usize, now: Instant) {
        let Some(guest) = self.guests.get(&id) else { return };
        let Stage::Waiting { wish, .. } = &guest.stage else { return };
        self.refuse(id, &wish.clone(), RefusalReason::NoAnswer.into(), now);
    }

    fn refuse(&mut self, id: usize, wish: &Wish, refusal: Refusal, now: Instant) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let (peer, counters) = (guest.connection.peer, &self.shared.counters);
        let Refusal { reason, reject, is_guess } = refusal;
        counters.refused(reason);
        match wish {
            Wish::Publish(_) => {
                counters.refused_publish.fetch_add(1, Ordering::Relaxed);
                log::warn!("{peer}: publish refused ({reason})");
                counters.roll.tell(Some(peer), ServerEventKind::PublishRefused { reason });
            }
            Wish::Play(_) => {
                counters.refused_play.fetch_add(1, Ordering::Relaxed);
                log::info!("{peer}: play refused ({reason})");
                counters.roll.tell(Some(peer), ServerEventKind::PlayRefused { reason });
            }
        }
        let wait = if is_guess { self.failures.failed(Origin::of(peer.ip()), now) } else { Duration::ZERO };
        if wait.is_zero() {
            self.tell(id, reject, now);
        } else {
            guest.stage = Stage::Delayed { reject, until: now + wait };
        }
    }

    /// Tells a guest that it is refused, and lets it leave.
    pub(super) fn tell(&mut self, id: usize, reject: Reject, now: Instant) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.connection.session.reject(reject, now);
        guest.stage = Stage::Leaving { until: now + GOODBYE, told: false };
        // Readiness that came while nothing was read.
        guest.connection.note(true, true);
        // What it still sends is discarded; a close with unread bytes could overtake the reason.
        let mut scratch = [0; 1024];
        if guest.say_goodbye(now, &mut scratch).is_err() {
            drop(self.take(id));
        }
    }

    fn is_our_app(&self, app: &str) -> bool {
        self.house.options.app.as_ref().is_none_or(|ours| ours == app)
    }

    /// Puts a publisher on the air: as `granted`, else as its key says.
    fn publish(
        &mut self,
        id: usize,
        request: &PublishRequest,
        granted: Option<Grant>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(guest) = self.guests.get(&id) else { return Ok(()) };
        let peer = guest.connection.peer;
        let by_key = || {
            let asker = Asker::new(peer, &request.app);
            self.house.store.publisher(&request.key, &asker).map_err(RefusalReason::from)
        };
        let is_by_key = granted.is_none();
        let grant = match granted {
            Some(grant) if grant.has_usable_name() => grant,
            Some(_) => {
                log::error!("{peer}: the program's hook named the stream something that is no name");
                return Err(RefusalReason::Denied.into());
            }
            None => by_key()?,
        };
        let entrance = self.enter(&grant, peer)?;
        // A key that was removed before the name was taken did not take it off the air.
        if is_by_key && by_key()? != grant {
            return Err(RefusalReason::Key.into());
        }
        let Some(mut connection) = self.leave(id) else { return Ok(()) };
        if let Some(kbps) = self.house.options.publisher_kbps {
            connection.throttle(kbps, now);
        }
        self.put_on_air(connection, entrance, grant);
        Ok(())
    }

    /// Takes the name for a publisher, or its place in the stream that goes on under it.
    fn enter(&self, grant: &Grant, peer: SocketAddr) -> Result<Entrance, Refusal> {
        let (engine, options) = (&self.house.engine, &self.house.options);
        let entrance = engine.hub().enter(&grant.name, Some(peer), options.takeover_after);
        let mut entrance = entrance.map_err(|_| RefusalReason::NameInUse)?;
        if let (Entrance::New(claim), Some(owner)) = (&mut entrance, &grant.owner) {
            engine.publish_for(claim, owner).map_err(|error| owner_limit(&error))?;
        }
        Ok(entrance)
    }

    /// Makes a publisher the source of a stream.
    fn put_on_air(&mut self, mut connection: Connection, entrance: Entrance, grant: Grant) {
        let (peer, name, options) = (connection.peer, grant.name, &self.house.options);
        let visit = connection.goes_on_air(Role::Publisher, &name);
        let publisher = Box::new(Publisher::new(connection, options.first_media, options.no_progress));
        let takeover = match &entrance {
            Entrance::New(_) => None,
            Entrance::Handover(handover) => Some(handover.is_takeover()),
        };
        let on_air = match entrance {
            Entrance::New(claim) => {
                let stream = self.house.engine.publish(claim, publisher, &options.publish());
                stream.inspect(|stream| self.shared.streams.lock().push(stream.clone()))
            }
            Entrance::Handover(handover) => handover.deliver(publisher),
        };
        match on_air {
            Ok(stream) => {
                log::info!("{peer}: publishes {name} as {}", stream.id());
                visit.announce(ServerEventKind::publisher(visit.name(), stream.id(), takeover));
                self.watch_end(name, grant.until, &stream);
            }
            Err(error) => {
                self.shared.counters.refused(RefusalReason::Resources);
                log::error!("{peer}: cannot put {name} on the air: {error}");
                let kind = ServerEventKind::PublishRefused { reason: RefusalReason::Resources };
                self.shared.counters.roll.tell(Some(peer), kind);
            }
        }
    }

    fn play(&mut self, id: usize, request: &PlayRequest, granted: Option<Grant>) -> Result<(), Refusal> {
        let Some(guest) = self.guests.get(&id) else { return Ok(()) };
        let peer = guest.connection.peer;
        let name = match granted {
            Some(grant) => grant.name,
            None => {
                let (asker, token) = (Asker::new(peer, &request.app), token(&request.query));
                let allowed = self.house.store.player(&request.name, token.as_ref(), &asker);
                allowed.map_err(RefusalReason::from)?;
                request.name.clone()
            }
        };
        let stream = self.house.engine.hub().find(&name).filter(|stream| !stream.has_ended());
        let stream = stream.ok_or(RefusalReason::NoStream)?;
        let Some(mut connection) = self.leave(id) else { return Ok(()) };
        connection.seat = Some(stream.seat());
        let visit = connection.goes_on_air(Role::Player, &name);
        let player = Player::new(
            connection,
            self.house.engine.config().lag.clone(),
            self.house.options.merge_window().is_some(),
        );
        let name = format!("player {peer}");
        match self.house.engine.attach(&stream, name, Box::new(player)) {
            Ok(_) => {
                visit.announce(ServerEventKind::PlayerJoined { name: visit.name(), stream: stream.id() })
            }
            Err(error) => log::info!("{peer}: {error}"),
        }
        Ok(())
    }

    /// A guest leaves for a stream's thread.
    fn leave(&mut self, id: usize) -> Option<Connection> {
        let mut connection = self.take(id)?.connection;
        if let Err(error) = connection.deregister(self.poll.registry()) {
            log::error!("{}: cannot hand the connection over: {error}", connection.peer);
            return None;
        }
        Some(connection)
    }

    /// Remembers when what is published under `name` has to end; a later publisher's grant replaces an earlier one's.
    fn watch_end(&mut self, name: String, until: Option<SystemTime>, stream: &StreamRef) {
        match until {
            Some(until) => drop(self.ends.insert(name, (until, stream.clone()))),
            None => drop(self.ends.remove(&name)),
        }
    }

    /// Takes what has to end off the air.
    pub(super) fn end_expired(&mut self) {
        let now = SystemTime::now();
        let engine = &self.house.engine;
        self.ends.retain(|name, (until, stream)| {
            let is_due = *until <= now && !stream.has_ended();
            if is_due {
                log::info!("{name}: its key has ended");
                engine.keys().take_off(name);
            }
            !is_due && !stream.has_ended()
        });
    }
}

impl Wish {
    fn app(&self) -> &str {
        match self {
            Self::Publish(request) => &request.app,
            Self::Play(request) => &request.app,
        }
    }
}

/// The owner may read why, not only whoever looks at the logs.
fn owner_limit(error: &Error) -> Refusal {
    let (code, description) = ("NetStream.Publish.Denied".to_owned(), error.to_string());
    let reject = Reject::Custom { code, description };
    Refusal { reason: RefusalReason::OwnerLimit, reject, is_guess: false }
}

/// The play token in a URL's query.
fn token(query: &str) -> Option<StreamKey> {
    let token = query.split('&').find_map(|part| part.strip_prefix("token="))?;
    (!token.is_empty()).then(|| token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_among_other_words_and_only_under_its_name() {
        let found = |query| token(query).map(|token| token.reveal().to_owned());
        assert_eq!(found("token=ticket").as_deref(), Some("ticket"));
        assert_eq!(found("a=b&token=ticket&c").as_deref(), Some("ticket"));
        for query in ["", "token=", "mytoken=ticket", "token", "ticket", "a=token=ticket"] {
            assert_eq!(found(query), None, "{query}");
        }
    }
}
