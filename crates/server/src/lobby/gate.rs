//! The gate of the lobby: which connections are let in.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast_core::net::transport::tune;
use flowcast_rtmp::session::ServerSession;
use mio::Token;
use rustix::io::Errno;

use super::failures::Origin;
use super::guest::Guest;
use super::{FIRST, Lobby};
use crate::connection::{Assembly, Connection};
use crate::doors::{Arrival, Doors};
use crate::event::ServerEventKind;
use crate::refusal::RefusalReason;

/// How long accepting pauses when the process has no descriptor left.
const REST: Duration = Duration::from_millis(100);
/// Connections that are closed for lack of a descriptor before such a pause.
const TURNED_AWAY: usize = 32;
/// Connections that are let in before the existing ones have their turn again.
const ACCEPT_BUDGET: usize = 64;

pub(super) struct Gate {
    doors: Doors,
    /// Released to accept, and close, a connection when the process has no descriptor left: its peer then knows,
    /// instead of waiting in the kernel's queue.
    spare: Option<File>,
    /// Connections in the lobby by their origin.
    crowd: HashMap<Origin, usize>,
    /// The number of the next guest.
    next: usize,
    pub(super) again: Option<Instant>,
}

impl Gate {
    pub(super) fn new(doors: Doors) -> Self {
        Self { doors, spare: spare(), crowd: HashMap::new(), next: FIRST, again: None }
    }

    /// A guest has left the lobby.
    pub(super) fn left(&mut self, peer: SocketAddr) {
        let origin = Origin::of(peer.ip());
        if let Some(count) = self.crowd.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.crowd.remove(&origin);
            }
        }
    }

    /// Without a descriptor, accepts the next connection and closes it; `false` if not even that works.
    fn turn_away(&mut self) -> bool {
        if self.spare.take().is_none() {
            self.spare = spare();
            return false;
        }
        let turned_away = self.doors.accept().is_ok();
        self.spare = spare();
        turned_away
    }
}

fn spare() -> Option<File> {
    File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok()
}

impl Lobby {
    pub(super) fn accept(&mut self, now: Instant, scratch: &mut [u8]) {
        let mut turned_away = 0;
        for _ in 0..ACCEPT_BUDGET {
            match self.gate.doors.accept() {
                Ok(arrival) => self.welcome(arrival, now, scratch),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    let no_descriptor = Errno::from_io_error(&error)
                        .is_some_and(|errno| [Errno::MFILE, Errno::NFILE].contains(&errno));
                    if no_descriptor && turned_away < TURNED_AWAY && self.gate.turn_away() {
                        turned_away += 1;
                        self.turned_away(None, RefusalReason::Resources);
                        continue;
                    }
                    // The ones on the air go on.
                    log::warn!("cannot accept: {error}");
                    let kind = ServerEventKind::AcceptFailed { error: Arc::new(error) };
                    self.shared.counters.roll.tell(None, kind);
                    self.gate.again = Some(now + REST);
                    return;
                }
            }
        }
        self.gate.again = Some(now);
    }

    fn welcome(&mut self, arrival: Arrival, now: Instant, scratch: &mut [u8]) {
        let Arrival { socket, peer, secure } = arrival;
        if let Some(reason) = self.refuses_entry(peer, now) {
            self.turned_away(Some(peer), reason);
            log::debug!("{peer}: not let in ({reason})");
            return;
        }
        let counters = &self.shared.counters;
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        // It may have left again before it was accepted.
        if let Err(error) = tune(&socket, self.house.options.no_progress) {
            log::debug!("{peer}: {error}");
            return;
        }
        let transport = match self.shared.identity.transport(socket, secure) {
            Ok(transport) => transport,
            Err(error) => return log::error!("{peer}: {error}"),
        };
        let random = flowcast_core::net::random_bytes();
        let session = ServerSession::new(self.house.options.session(), Some(peer), random, now);
        let assembly = Assembly::new(&self.house.options);
        let house = (counters.clone(), self.shared.desk.clone());
        let connection = Connection::new(transport, session, peer, house, assembly);
        if let Some(id) = self.seat(connection, now) {
            self.turn(id, now, true, true, scratch);
        }
    }

    /// Takes in a connection that has ended its stream: the client closes it or begins another one. If its address
    /// already has too many in the lobby, it gets its last message and leaves.
    pub(super) fn welcome_back(&mut self, now: Instant, scratch: &mut [u8]) {
        for connection in self.shared.desk.take_returned() {
            let peer = connection.peer;
            let is_crowded = self.is_crowded(peer);
            let Some(id) = self.seat(connection, now) else { continue };
            if is_crowded {
                self.turned_away(Some(peer), RefusalReason::Crowd);
                log::debug!("{peer}: not let in again ({})", RefusalReason::Crowd);
                self.see_off(id, now);
            } else {
                self.turn(id, now, true, true, scratch);
            }
        }
    }

    /// Gives a connection a place in the lobby.
    fn seat(&mut self, mut connection: Connection, now: Instant) -> Option<usize> {
        let peer = connection.peer;
        let id = self.gate.next;
        self.gate.next = self.gate.next.checked_add(1).unwrap_or(FIRST);
        if let Err(error) = connection.register(self.poll.registry(), Token(id)) {
            log::warn!("{peer}: {error}");
            return None;
        }
        *self.gate.crowd.entry(Origin::of(peer.ip())).or_default() += 1;
        self.guests.insert(id, Guest::new(connection, now));
        Some(id)
    }

    fn turned_away(&self, peer: Option<SocketAddr>, reason: RefusalReason) {
        self.shared.counters.turned_away(reason);
        self.shared.counters.roll.tell(peer, ServerEventKind::ConnectionRefused { reason });
    }

    /// Closes the connection that has been in the lobby longest without a request; `false` if none has been there for
    /// long. Otherwise a crowd of silent connections would keep everybody out until their deadlines.
    fn make_room(&mut self, now: Instant) -> bool {
        let Some((&id, _)) = self.guests.iter().find(|(_, guest)| guest.has_dawdled(now)) else {
            return false;
        };
        if let Some(guest) = self.take(id) {
            log::debug!("{}: makes room for somebody else", guest.connection.peer);
            self.turned_away(Some(guest.connection.peer), RefusalReason::Connections);
        }
        true
    }

    fn refuses_entry(&mut self, peer: SocketAddr, now: Instant) -> Option<RefusalReason> {
        if self.failures.is_banned(Origin::of(peer.ip()), now) {
            return Some(RefusalReason::Banned);
        }
        let connections = self.shared.counters.connections.load(Ordering::Relaxed);
        let is_full = connections >= self.house.options.max_connections as u64;
        if self.is_crowded(peer) {
            return Some(RefusalReason::Crowd);
        }
        (is_full && !self.make_room(now)).then_some(RefusalReason::Connections)
    }

    /// Whether the address has as many connections in the lobby as it may.
    fn is_crowded(&self, peer: SocketAddr) -> bool {
        let (options, origin) = (&self.house.options, Origin::of(peer.ip()));
        let here = self.gate.crowd.get(&origin).copied().unwrap_or(0);
        let spared = options.crowd_spares_loopback && origin.is_loopback();
        here >= options.lobby_per_address && !spared
    }
}

/// Whether the error is about the connection that was to be accepted: the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied)
}
