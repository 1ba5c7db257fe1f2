//! The clients on the air, seen from outside the threads that serve them: who they are, their figures, and the events
//! when they come and go.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowcast_core::{Bus, Error};
use parking_lot::Mutex;

use crate::event::{Departure, ServerEvent, ServerEventKind};

/// Figures of one player, at most a tick old.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlayerStats {
    /// Its address.
    pub peer: SocketAddr,
    /// The name it plays.
    pub name: Arc<str>,
    /// How long it has been playing.
    pub since: Duration,
    /// Bytes sent to it, protocol included.
    pub bytes_sent: u64,
    /// Tags dropped because it was behind.
    pub drops: u64,
    /// Media time that was due and is not acknowledged yet.
    pub lag: Duration,
}

/// What a client does on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Player,
}

/// All clients on the air of one server, and the receivers of their events.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    pub(crate) bus: Bus<ServerEvent>,
    present: Mutex<HashMap<u64, Arc<Record>>>,
    next: AtomicU64,
    /// Tags dropped for all players so far.
    drops: AtomicU64,
}

/// What is known of one of them.
#[derive(Debug)]
pub(crate) struct Record {
    role: Role,
    peer: SocketAddr,
    name: Arc<str>,
    since: Instant,
    bytes: AtomicU64,
    drops: AtomicU64,
    lag_ms: AtomicU64,
    said: Mutex<Said>,
    bus: Bus<ServerEvent>,
}

/// What was reported of a client: its thread may be done with it before it is announced.
#[derive(Debug, Default)]
struct Said {
    joined: bool,
    left: Option<ServerEventKind>,
}

/// The presence of a client on the air; it lives with the connection. Dropping it reports that the client has left.
#[derive(Debug)]
pub(crate) struct Visit {
    roll: Arc<Roll>,
    id: u64,
    record: Arc<Record>,
    why: Mutex<Departure>,
}

impl Roll {
    /// A record of `peer`.
    pub(crate) fn tell(&self, peer: Option<SocketAddr>, kind: ServerEventKind) {
        self.bus.emit(&ServerEvent::now(peer, kind));
    }

    /// The players; only those of `name` if that is given.
    pub(crate) fn players(&self, name: Option<&str>) -> Vec<PlayerStats> {
        let present = self.present.lock();
        let players = present.values().filter(|record| record.role == Role::Player);
        players.filter(|record| name.is_none_or(|name| *record.name == *name)).map(|r| r.stats()).collect()
    }

    /// Tags dropped for players since the start.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Relaxed)
    }
}

impl Visit {
    /// A client goes on the air under `name`; no event is sent before [`announce`](Record::announce).
    pub(crate) fn new(roll: &Arc<Roll>, role: Role, peer: SocketAddr, name: &str) -> Self {
        let record = Arc::new(Record {
            role,
            peer,
            name: name.into(),
            since: Instant::now(),
            bytes: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            lag_ms: AtomicU64::new(0),
            said: Mutex::default(),
            bus: roll.bus.clone(),
        });
        let id = roll.next.fetch_add(1, Ordering::Relaxed);
        roll.present.lock().insert(id, record.clone());
        Self { roll: roll.clone(), id, record, why: Mutex::new(Departure::Dismissed) }
    }

    pub(crate) fn record(&self) -> Arc<Record> {
        self.record.clone()
    }

    /// Takes the latest figures: all bytes and drops so far, and the lag now.
    pub(crate) fn measured(&self, bytes: u64, drops: u64, lag: Duration) {
        let record = &self.record;
        record.bytes.store(bytes, Ordering::Relaxed);
        record.lag_ms.store(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        // Only this thread writes them.
        let tags = drops.saturating_sub(record.drops.load(Ordering::Relaxed));
        if tags > 0 {
            record.drops.store(drops, Ordering::Relaxed);
            self.roll.drops.fetch_add(tags, Ordering::Relaxed);
            let name = record.name.clone();
            self.roll.tell(Some(record.peer), ServerEventKind::PlayerDropped { name, tags });
        }
    }

    /// Notes that it will leave, and why.
    pub(crate) fn leaves(&self, why: Departure) {
        *self.why.lock() = why;
    }

    /// Notes that it will leave: by itself, or because of a fault.
    pub(crate) fn ends(&self, error: Option<&Error>) {
        self.leaves(error.map_or(Departure::SaidGoodbye, |error| Departure::Failed(error.clone())));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.roll.present.lock().remove(&self.id);
        let why = std::mem::replace(self.why.get_mut(), Departure::Dismissed);
        self.record.leave(why);
    }
}

impl Record {
    /// The name it is on the air under.
    pub(crate) fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// Reports that it is there; if it has left meanwhile, that is reported afterwards.
    pub(crate) fn announce(&self, joined: ServerEventKind) {
        let mut said = self.said.lock();
        self.tell(joined);
        said.joined = true;
        if let Some(left) = said.left.take() {
            self.tell(left);
        }
    }

    fn leave(&self, why: Departure) {
        let (name, bytes) = (self.name.clone(), self.bytes.load(Ordering::Relaxed));
        let after = self.since.elapsed();
        let left = match self.role {
            Role::Publisher => ServerEventKind::PublisherLeft { name, why, bytes, after },
            Role::Player => {
                let drops = self.drops.load(Ordering::Relaxed);
                ServerEventKind::PlayerLeft { name, why, bytes, drops, after }
            }
        };
        let mut said = self.said.lock();
        if said.joined {
            self.tell(left);
        } else {
            said.left = Some(left);
        }
    }

    fn tell(&self, kind: ServerEventKind) {
        self.bus.emit(&ServerEvent::now(Some(self.peer), kind));
    }

    fn stats(&self) -> PlayerStats {
        PlayerStats {
            peer: self.peer,
            name: self.name.clone(),
            since: self.since.elapsed(),
            bytes_sent: self.bytes.load(Ordering::Relaxed),
            drops: self.drops.load(Ordering::Relaxed),
            lag: Duration::from_millis(self.lag_ms.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn dropped(name: &str) -> ServerEventKind {
        ServerEventKind::PlayerDropped { name: name.into(), tags: 0 }
    }

    #[test]
    fn who_left_before_it_was_announced_is_announced_first() {
        let roll = Arc::new(Roll::default());
        let events = roll.bus.subscribe();
        let visit = Visit::new(&roll, Role::Player, PEER, "studio");
        let record = visit.record();
        visit.measured(12, 0, Duration::ZERO);
        visit.leaves(Departure::HungUp);
        drop(visit);
        assert!(events.try_next().is_none(), "nobody was announced");
        record.announce(dropped("joined"));
        let kinds: Vec<_> = std::iter::from_fn(|| events.try_next()).map(|event| event.kind).collect();
        assert!(
            matches!(
                &kinds[..],
                [
                    ServerEventKind::PlayerDropped { .. },
                    ServerEventKind::PlayerLeft { why: Departure::HungUp, bytes: 12, drops: 0, .. }
                ]
            ),
            "{kinds:?}"
        );
        assert!(roll.players(None).is_empty());
    }

    #[test]
    fn drops_are_told_once_and_figures_are_of_the_name_that_was_asked_for() {
        let roll = Arc::new(Roll::default());
        let events = roll.bus.subscribe();
        let visits = ["studio", "other"].map(|name| Visit::new(&roll, Role::Player, PEER, name));
        let _publisher = Visit::new(&roll, Role::Publisher, PEER, "studio");
        visits[0].measured(1000, 5, Duration::from_millis(2500));
        visits[0].measured(1100, 5, Duration::ZERO);
        visits[0].measured(1200, 8, Duration::from_millis(20));
        let told = std::iter::from_fn(|| events.try_next()).map(|event| match event.kind {
            ServerEventKind::PlayerDropped { tags, .. } => tags,
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [5, 3]);
        let players = roll.players(Some("studio"));
        let [player] = &players[..] else { panic!("{players:?}") };
        assert_eq!((player.bytes_sent, player.drops, player.lag.as_millis()), (1200, 8, 20));
        assert_eq!((roll.players(None).len(), roll.players(Some("stud")).len(), roll.drops()), (2, 0, 8));
    }
}
