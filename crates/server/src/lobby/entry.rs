//! The way out of the lobby: onto the air, as a publisher or a player.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use flowcast_core::{Asker, Engine, Entrance, Error, Grant, KeyStore, ServerEngine, StreamRef};
use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::{PlayRequest, PublishRequest, Reject};

use super::Lobby;
use super::admission::Refusal;
use crate::connection::Connection;
use crate::event::ServerEventKind;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::refusal::RefusalReason;
use crate::visit::Role;

/// What its key grants a publisher, and the name it is given.
pub(super) fn enter_by_key(
    store: &dyn KeyStore,
    engine: &Engine,
    takeover_after: Duration,
    request: &PublishRequest,
    peer: SocketAddr,
) -> Result<(Grant, Entrance), Refusal> {
    let asker = Asker::new(peer, &request.app);
    let by_key = || store.publisher(&request.key, &asker).map_err(RefusalReason::from);
    let grant = by_key()?;
    let entrance = enter(engine, takeover_after, &grant, peer)?;
    // A key that was removed before the name was taken did not end the stream.
    if by_key()? != grant {
        return Err(RefusalReason::Key.into());
    }
    Ok((grant, entrance))
}

/// Takes the name for a publisher, or its place in the existing stream of that name.
fn enter(
    engine: &Engine,
    takeover_after: Duration,
    grant: &Grant,
    peer: SocketAddr,
) -> Result<Entrance, Refusal> {
    if !grant.has_usable_name() {
        // Not shown: a store that mixes things up may have put the key there.
        log::error!("{peer}: the program granted a name that is none");
        return Err(RefusalReason::BadName.into());
    }
    let entrance = engine.hub().enter(&grant.name, Some(peer), takeover_after);
    let mut entrance = entrance.map_err(|_| RefusalReason::NameInUse)?;
    engine.publish_for(&mut entrance, grant.owner.as_deref()).map_err(|error| owner_limit(&error))?;
    Ok(entrance)
}

/// Whether a client may play what it asks for.
pub(super) fn ask_to_play(
    store: &dyn KeyStore,
    request: &PlayRequest,
    peer: SocketAddr,
) -> Result<(), RefusalReason> {
    let (asker, token) = (Asker::new(peer, &request.app), token(&request.query));
    store.player(&request.name, token.as_ref(), &asker).map_err(RefusalReason::from)
}

impl Lobby {
    /// Puts a publisher on the air as its key says.
    pub(super) fn publish(
        &mut self,
        id: usize,
        request: &PublishRequest,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(guest) = self.guests.get(&id) else { return Ok(()) };
        let (house, peer) = (&self.house, guest.connection.peer);
        let (grant, entrance) =
            enter_by_key(&*house.store, &house.engine, house.options.takeover_after, request, peer)?;
        let app = self.told_app(&request.app, request.key.reveal());
        self.go_on_air(id, &app, (grant, entrance), now);
        Ok(())
    }

    /// Puts a publisher on the air as the program says.
    pub(super) fn publish_as(
        &mut self,
        id: usize,
        app: &str,
        grant: Grant,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(guest) = self.guests.get(&id) else { return Ok(()) };
        let house = &self.house;
        let entrance = enter(&house.engine, house.options.takeover_after, &grant, guest.connection.peer)?;
        self.go_on_air(id, app, (grant, entrance), now);
        Ok(())
    }

    /// A publisher that was let in leaves the lobby; `app` is the application in a form that may be shown.
    pub(super) fn go_on_air(&mut self, id: usize, app: &str, as_what: (Grant, Entrance), now: Instant) {
        let Some(mut connection) = self.leave(id) else { return };
        if let Some(limit) = self.house.options.publisher_bit_rate {
            connection.throttle(limit, now);
        }
        self.put_on_air(connection, app, as_what);
    }

    /// Makes a publisher the source of a stream.
    fn put_on_air(&mut self, mut connection: Connection, app: &str, (grant, entrance): (Grant, Entrance)) {
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
                let (reason, app) = (RefusalReason::Resources, app.into());
                let kind = ServerEventKind::PublishRefused { reason, app };
                self.shared.counters.roll.tell(Some(peer), kind);
            }
        }
    }

    /// Whether the keys allow it.
    pub(super) fn may_play(&self, id: usize, request: &PlayRequest) -> Result<(), Refusal> {
        let Some(guest) = self.guests.get(&id) else { return Ok(()) };
        Ok(ask_to_play(&*self.house.store, request, guest.connection.peer)?)
    }

    /// Makes a player an output of `stream`, which is on the air under `name`.
    pub(super) fn attach(&mut self, id: usize, name: &str, stream: &StreamRef) {
        let Some(mut connection) = self.leave(id) else { return };
        let peer = connection.peer;
        connection.seat = Some(stream.seat());
        let visit = connection.goes_on_air(Role::Player, name);
        let player = Player::new(
            connection,
            self.house.engine.config().lag.clone(),
            self.house.options.merge_window().is_some(),
        );
        match self.house.engine.attach(stream, peer.to_string(), Box::new(player)) {
            Ok(_) => {
                visit.announce(ServerEventKind::PlayerJoined { name: visit.name(), stream: stream.id() })
            }
            Err(error) => log::info!("{peer}: {error}"),
        }
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

    /// Remembers when what is published under `name` has to end; the grant of a later publisher replaces an earlier
    /// one's.
    fn watch_end(&mut self, name: String, until: Option<SystemTime>, stream: &StreamRef) {
        match until {
            Some(until) => drop(self.ends.insert(name, (until, stream.clone()))),
            None => drop(self.ends.remove(&name)),
        }
    }

    /// Ends the streams whose time is up.
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

/// The owner of the key gets the reason too, not only the log.
fn owner_limit(error: &Error) -> Refusal {
    let (code, description) = ("NetStream.Publish.Denied".to_owned(), error.to_string());
    let reject = Some(Reject::Custom { code, description });
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
