//! The lobby: accepts connections and keeps them until they say what they want.
//!
//! In: sockets from the listener. Out: publishers and players, handed to stream threads with everything that has arrived.
//! One thread; nothing in it blocks, and what waits in it has deadlines and limits.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast_core::net::transport::tune;
use flowcast_core::{Engine, StreamRef};
use flowcast_rtmp::session::{PlayRequest, PublishRequest, Reject, ServerEvent, ServerSession};
use mio::{Events, Poll, Token};
use parking_lot::Mutex;

use crate::config::ServerOptions;
use crate::connection::{Connection, Over};
use crate::doors::{Arrival, Doors};
use crate::player::Player;
use crate::publisher::Publisher;
use crate::stats::Counters;
use crate::tls::Identity;

pub(crate) const WAKE: Token = Token(0);
/// Of the first door; the second has the next.
pub(crate) const DOORS: Token = Token(1);
const FIRST: usize = 3;
const SCRATCH: usize = 16 << 10;
/// Bytes read from one connection in one turn.
const READ_BUDGET: usize = 64 << 10;
/// Deadlines are looked at this often.
const TICK: Duration = Duration::from_millis(250);
/// How long a connection that was refused is kept to take the reason.
const GOODBYE: Duration = Duration::from_secs(2);
/// Connections taken in before those that are there have their turn again.
const ACCEPT_BUDGET: usize = 64;
/// How long accepting rests when the process has no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What the lobby shares with the server's handle.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) stop: AtomicBool,
    pub(crate) counters: Arc<Counters>,
    pub(crate) identity: Identity,
    /// Streams this server put on the air.
    pub(crate) streams: Mutex<Vec<StreamRef>>,
}

/// The lobby's thread.
pub(crate) struct Lobby {
    pub(crate) poll: Poll,
    pub(crate) doors: Doors,
    pub(crate) engine: Engine,
    pub(crate) options: ServerOptions,
    pub(crate) shared: Arc<Shared>,
    guests: HashMap<usize, Guest>,
    per_address: HashMap<IpAddr, usize>,
    next: usize,
    accept_again: Option<Instant>,
}

struct Guest {
    connection: Connection,
    /// Refused: until when it may take the reason.
    leaving: Option<Instant>,
    told: bool,
}

/// What a guest asked for.
enum Wish {
    Publish(PublishRequest),
    Play(PlayRequest),
}

impl Lobby {
    pub(crate) fn new(
        poll: Poll,
        doors: Doors,
        engine: Engine,
        options: ServerOptions,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            poll,
            doors,
            engine,
            options,
            shared,
            guests: HashMap::new(),
            per_address: HashMap::new(),
            next: FIRST,
            accept_again: None,
        }
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; SCRATCH];
        let mut next_tick = Instant::now() + TICK;
        while !self.shared.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            let until = self.accept_again.map_or(next_tick, |at| at.min(next_tick));
            // Streams that have ended hold a descriptor until they are forgotten.
            let idle = self.guests.is_empty()
                && self.accept_again.is_none()
                && self.shared.streams.lock().is_empty();
            let timeout = (!idle).then(|| until.saturating_duration_since(now));
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("the server cannot wait for sockets: {error}");
                return;
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    WAKE => {}
                    Token(id) if id < FIRST => self.accept(now, &mut scratch),
                    Token(id) => {
                        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                        let writable = event.is_writable() || event.is_write_closed() || event.is_error();
                        self.turn(id, now, readable, writable, &mut scratch);
                    }
                }
            }
            if self.accept_again.is_some_and(|at| at <= now) {
                self.accept_again = None;
                self.accept(now, &mut scratch);
            }
            if now >= next_tick {
                next_tick = now + TICK;
                self.check_deadlines(now);
                self.shared.streams.lock().retain(|stream| !stream.has_ended());
            }
        }
    }

    fn accept(&mut self, now: Instant, scratch: &mut [u8]) {
        for _ in 0..ACCEPT_BUDGET {
            match self.doors.accept() {
                Ok(arrival) => self.welcome(arrival, now, scratch),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // No descriptor left, most likely: the ones in use go on, new ones wait in the kernel.
                    log::warn!("cannot accept: {error}");
                    self.accept_again = Some(now + ACCEPT_REST);
                    return;
                }
            }
        }
        self.accept_again = Some(now);
    }

    fn welcome(&mut self, arrival: Arrival, now: Instant, scratch: &mut [u8]) {
        let Arrival { socket, peer, secure } = arrival;
        let counters = &self.shared.counters;
        let here = self.per_address.get(&peer.ip()).copied().unwrap_or(0);
        let connections = usize::try_from(counters.connections.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let crowd = here >= self.options.lobby_per_address && !peer.ip().to_canonical().is_loopback();
        if connections >= self.options.max_connections || crowd {
            counters.refused_full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Err(error) = tune(&socket, self.options.no_progress) {
            log::debug!("{peer}: {error}");
            return;
        }
        let transport = match self.shared.identity.transport(socket, secure) {
            Ok(transport) => transport,
            Err(error) => return log::error!("{peer}: {error}"),
        };
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        let session = ServerSession::new(self.options.session(), Some(peer), random(), now);
        let mut connection = Connection::new(transport, session, peer, counters.clone());
        let id = self.next;
        self.next = self.next.checked_add(1).unwrap_or(FIRST);
        if let Err(error) = connection.register(self.poll.registry(), Token(id)) {
            log::warn!("{peer}: {error}");
            return;
        }
        *self.per_address.entry(peer.ip()).or_default() += 1;
        self.guests.insert(id, Guest { connection, leaving: None, told: false });
        self.turn(id, now, true, true, scratch);
    }

    /// Takes a guest out of the lobby.
    fn take(&mut self, id: usize) -> Option<Guest> {
        let guest = self.guests.remove(&id)?;
        let address = guest.connection.peer.ip();
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
        Some(guest)
    }

    fn turn(&mut self, id: usize, now: Instant, readable: bool, writable: bool, scratch: &mut [u8]) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.connection.note(readable, writable);
        if guest.leaving.is_some() {
            if guest.say_goodbye(now, scratch).is_err() {
                drop(self.take(id));
            }
            return;
        }
        match guest.pump(now, scratch) {
            Ok(Some(wish)) => self.grant(id, wish, now),
            Ok(None) => {}
            Err(over) => self.close(id, over),
        }
    }

    fn close(&mut self, id: usize, over: Over) {
        if let Some(mut guest) = self.take(id) {
            // The session may have words about its own end.
            let _ = guest.connection.write(usize::MAX);
            drop(guest.connection.explain(over));
        }
    }

    fn grant(&mut self, id: usize, wish: Wish, now: Instant) {
        let refused = match wish {
            Wish::Publish(request) => self.publish(id, &request),
            Wish::Play(request) => self.play(id, &request),
        };
        let (Err(reason), Some(guest)) = (refused, self.guests.get_mut(&id)) else { return };
        guest.connection.session.reject(reason, now);
        guest.leaving = Some(now + GOODBYE);
        // What it still sends is discarded; a close with unread bytes could overtake the reason.
        let mut scratch = [0; 1024];
        if guest.say_goodbye(now, &mut scratch).is_err() {
            drop(self.take(id));
        }
    }

    fn is_our_app(&self, app: &str) -> bool {
        self.options.app.as_ref().is_none_or(|ours| ours == app)
    }

    fn publish(&mut self, id: usize, request: &PublishRequest) -> Result<(), Reject> {
        let Some(guest) = self.guests.get(&id) else { return Ok(()) };
        let peer = guest.connection.peer;
        let name = self.engine.keys().name_of(&request.key).filter(|_| self.is_our_app(&request.app));
        let claim = match name {
            None => Err(Reject::BadName),
            Some(name) => self.engine.hub().claim(&name, Some(peer)).map_err(|_| Reject::Busy),
        };
        let claim = claim.inspect_err(|reason| {
            self.shared.counters.refused_publish.fetch_add(1, Ordering::Relaxed);
            log::warn!("{peer}: publish refused ({reason:?})");
        })?;
        let Some(connection) = self.leave(id) else { return Ok(()) };
        let name = claim.name().to_owned();
        let publisher = Publisher::new(connection, self.options.first_media, self.options.no_progress);
        match self.engine.publish(claim, Box::new(publisher)) {
            Ok(stream) => {
                log::info!("{peer}: publishes {name} as {}", stream.id());
                self.shared.streams.lock().push(stream);
            }
            Err(error) => log::error!("{peer}: cannot put {name} on the air: {error}"),
        }
        Ok(())
    }

    fn play(&mut self, id: usize, request: &PlayRequest) -> Result<(), Reject> {
        let Some(guest) = self.guests.get(&id) else { return Ok(()) };
        let peer = guest.connection.peer;
        let stream = self.engine.hub().find(&request.name).filter(|_| self.is_our_app(&request.app));
        let Some(stream) = stream.filter(|stream| !stream.has_ended()) else {
            self.shared.counters.refused_play.fetch_add(1, Ordering::Relaxed);
            log::info!("{peer}: play refused, no such stream");
            return Err(Reject::NotFound);
        };
        let Some(connection) = self.leave(id) else { return Ok(()) };
        let player = Player::new(connection, self.engine.config().lag.clone(), self.options.merge);
        let name = format!("player {peer}");
        if let Err(error) = self.engine.attach(&stream, name, Box::new(player)) {
            log::info!("{peer}: {error}");
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

    fn check_deadlines(&mut self, now: Instant) {
        let ids: Vec<_> = self.guests.keys().copied().collect();
        for id in ids {
            let Some(guest) = self.guests.get_mut(&id) else { continue };
            if guest.leaving.is_some_and(|until| until <= now) {
                drop(self.take(id));
            } else if let Err(over) = guest.connection.check_deadlines(now) {
                self.close(id, over);
            }
        }
    }
}

impl Guest {
    /// Reads until the guest says what it wants, and answers as far as the socket takes it.
    fn pump(&mut self, now: Instant, scratch: &mut [u8]) -> Result<Option<Wish>, Over> {
        let mut wish = None;
        loop {
            let more = self.connection.read(now, READ_BUDGET, scratch, |event| {
                match event {
                    ServerEvent::Publish(request) => wish = Some(Wish::Publish(request)),
                    ServerEvent::Play(request) => wish = Some(Wish::Play(request)),
                    _ => {}
                }
                wish.is_none()
            })?;
            self.connection.write(usize::MAX)?;
            if wish.is_some() || !more {
                return Ok(wish);
            }
        }
    }

    /// Tells a guest that was refused why, and reads on until it closes, so much in a turn that it cannot hold the lobby. What
    /// came before is read, too: its end would not be seen behind it, and a flood of the refused would fill the house.
    fn say_goodbye(&mut self, now: Instant, scratch: &mut [u8]) -> Result<(), Over> {
        self.connection.write(usize::MAX)?;
        if !self.told && self.connection.is_flushed() {
            self.told = true;
            self.connection.transport.close();
        }
        self.connection.read(now, READ_BUDGET, scratch, |_| true).map(drop)
    }
}

/// Bytes for the handshake; they need not be secret.
fn random() -> [u8; 1528] {
    flowcast_core::net::random_bytes()
}
