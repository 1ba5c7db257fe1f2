//! The lobby: accepts connections and keeps them until they have asked for something and it is decided.
//!
//! In: sockets from the listener, decisions of the program. Out: publishers and players, handed to stream threads
//! with everything that has arrived. One thread; nothing in it blocks, and everything that waits in it has deadlines
//! and limits.

mod admission;
mod entry;
mod failures;
mod gate;
mod guest;
mod relays;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use flowcast_core::{Engine, KeyStore, StreamRef};
use mio::{Events, Poll, Token, Waker};
use parking_lot::Mutex;

pub(crate) use self::admission::Refusal;
pub use self::failures::{Failures, Origin};
use self::gate::Gate;
use self::guest::{Guest, Stage};
pub(crate) use self::relays::Letter;
use self::relays::Relays;
use crate::admission::Desk;
use crate::config::ServerOptions;
use crate::connection::Over;
use crate::doors::Doors;
use crate::hooks::{Hooks, Pool, SetDone};
use crate::relay::Ready;
use crate::stats::Counters;
use crate::tls::Identity;

pub(crate) const WAKE: Token = Token(0);
/// The token of the first door; the second has the next.
pub(crate) const DOORS: Token = Token(1);
const FIRST: usize = 3;
const SCRATCH: usize = 16 << 10;
/// How often deadlines are checked while a client is in the lobby or publishes.
const TICK: Duration = Duration::from_millis(250);

/// How long a refused connection is kept so that it can read the reason.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the lobby shares with the server's handle.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stop: AtomicBool,
    pub(crate) desk: Arc<Desk>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) identity: Identity,
    /// Streams this server put on the air.
    pub(crate) streams: Mutex<Vec<StreamRef>>,
}

impl Shared {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            stop: AtomicBool::new(false),
            desk: Arc::new(Desk::new(waker)),
            counters: Arc::default(),
            identity: Identity::default(),
            streams: Mutex::default(),
        }
    }
}

/// What the lobby lets clients into, and by which rules.
pub(crate) struct House {
    pub(crate) engine: Engine,
    pub(crate) options: ServerOptions,
    pub(crate) store: Arc<dyn KeyStore>,
    /// The store is the program's own code, which may take long.
    pub(crate) is_program_store: bool,
    pub(crate) hooks: Hooks,
}

/// The lobby's thread.
pub(crate) struct Lobby {
    poll: Poll,
    house: House,
    /// The threads that call the program's code.
    pool: Pool,
    shared: Arc<Shared>,
    gate: Gate,
    /// By their numbers, and so in the order of arrival.
    guests: BTreeMap<usize, Guest>,
    failures: Failures,
    /// When publications have to end, by their names.
    ends: HashMap<String, (SystemTime, StreamRef)>,
    /// What players have pulled, if the server relays.
    relays: Option<Relays>,
}

impl Lobby {
    pub(crate) fn new(
        poll: Poll,
        doors: Doors,
        (house, relay): (House, Option<Ready>),
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            poll,
            shared,
            gate: Gate::new(doors),
            guests: BTreeMap::new(),
            pool: Pool::new(house.options.hook_threads),
            failures: Failures::new(house.options.failures.clone()),
            ends: HashMap::new(),
            relays: relay.map(Relays::new),
            house,
        }
    }

    /// Serves until it is stopped; `done` is set once everything is closed.
    pub(crate) fn run(mut self, done: SetDone) {
        let closes = self.shared.desk.close_at_end();
        self.serve();
        drop(closes);
        self.close_all();
        let Self { poll, gate, guests, house, pool, relays, .. } = self;
        // Who waits for the end may listen at the same address at once.
        drop((gate, guests, poll));
        drop(done);
        // They hold what the program put into its hooks: nothing waits for what its destructors do.
        drop((relays, pool, house));
    }

    fn serve(&mut self) {
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; SCRATCH];
        let mut next_tick = Instant::now() + TICK;
        while !self.shared.stop.load(Ordering::Acquire) {
            let timeout = self.rest(Instant::now(), next_tick);
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
                        let hung_up = event.is_read_closed() || event.is_error();
                        let readable = event.is_readable() || hung_up;
                        let writable = event.is_writable() || event.is_write_closed() || event.is_error();
                        if !(hung_up && self.forget_waiting(id)) {
                            self.turn(id, now, readable, writable, &mut scratch);
                        }
                    }
                }
            }
            self.read_answers(now);
            self.hear_relays(now);
            self.welcome_back(now, &mut scratch);
            if self.gate.again.is_some_and(|at| at <= now) {
                self.gate.again = None;
                self.accept(now, &mut scratch);
            }
            self.count_relays();
            if now >= next_tick {
                next_tick = now + TICK;
                self.check_deadlines(now, &mut scratch);
                self.end_expired();
                self.tend_relays(now);
                self.shared.streams.lock().retain(|stream| !stream.has_ended());
            }
        }
    }

    /// How long to sleep if no event arrives; `None`: until one does.
    fn rest(&self, now: Instant, next_tick: Instant) -> Option<Duration> {
        // A stream that has ended is released with its descriptor; one whose key has expired is ended.
        let relays = self.relays.as_ref().is_some_and(Relays::is_busy);
        let ticks = relays || !self.guests.is_empty() || !self.shared.streams.lock().is_empty();
        let tick = ticks.then_some(next_tick);
        [tick, self.gate.again].into_iter().flatten().min().map(|at| at.saturating_duration_since(now))
    }

    /// Takes a guest out of the lobby.
    fn take(&mut self, id: usize) -> Option<Guest> {
        let guest = self.guests.remove(&id)?;
        self.gate.left(guest.connection.peer);
        Some(guest)
    }

    fn turn(&mut self, id: usize, now: Instant, readable: bool, writable: bool, scratch: &mut [u8]) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.connection.note(readable, writable);
        match guest.stage {
            Stage::Arriving => match guest.pump(now, scratch) {
                Ok(Some(wish)) => self.hear(id, wish, now),
                Ok(None) if guest.connection.session.is_finished() => self.see_off(id, now),
                Ok(None) => {}
                Err(over) => self.close(id, over, now),
            },
            Stage::Waiting { .. } | Stage::Relayed { .. } | Stage::Delayed { .. } => {}
            Stage::Leaving { .. } => {
                if guest.say_goodbye(now, scratch).is_err() {
                    drop(self.take(id));
                }
            }
        }
    }

    /// Forgets a guest that hung up while it waited for an answer; `false` if it was not waiting.
    fn forget_waiting(&mut self, id: usize) -> bool {
        let stage = self.guests.get(&id).map(|guest| &guest.stage);
        let waits =
            matches!(stage, Some(Stage::Waiting { .. } | Stage::Relayed { .. } | Stage::Delayed { .. }));
        if waits {
            drop(self.take(id));
        }
        waits
    }

    fn close(&mut self, id: usize, over: Over, now: Instant) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let is_gone = matches!(over, Over::Io(_));
        drop(guest.connection.explain(over));
        // The session may have sent a message about its end.
        if is_gone || guest.connection.is_flushed() {
            drop(self.take(id));
        } else {
            self.see_off(id, now);
        }
    }

    /// Sends a guest the last message, and then closes.
    fn see_off(&mut self, id: usize, now: Instant) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.stage = Stage::Leaving { until: now + GOODBYE, told: false };
        // Readiness that came while nothing was read.
        guest.connection.note(true, true);
        // What it still sends is discarded; a close with unread bytes could overtake the message.
        let mut scratch = [0; 1024];
        if guest.say_goodbye(now, &mut scratch).is_err() {
            drop(self.take(id));
        }
    }

    fn check_deadlines(&mut self, now: Instant, scratch: &mut [u8]) {
        let ids: Vec<_> = self.guests.keys().copied().collect();
        for id in ids {
            if let Some(guest) = self.guests.get(&id)
                && matches!(guest.stage, Stage::Arriving)
                && guest.connection.is_due(now)
            {
                // What came in time counts, though it was not heard in time.
                self.turn(id, now, true, false, scratch);
            }
            let Some(guest) = self.guests.get_mut(&id) else { continue };
            match &guest.stage {
                Stage::Arriving => {
                    let checked = guest.connection.check_deadlines(now);
                    let is_finished = guest.connection.session.is_finished();
                    match checked {
                        Err(over) => self.close(id, over, now),
                        // It had its stream, and time to begin another one.
                        Ok(()) if is_finished => drop(self.take(id)),
                        Ok(()) => {}
                    }
                }
                Stage::Waiting { until, .. } if *until <= now => self.give_up_waiting(id, now),
                Stage::Delayed { reject, until } if *until <= now => {
                    let reject = reject.clone();
                    self.tell(id, reject, now);
                }
                Stage::Leaving { until, .. } if *until <= now => drop(self.take(id)),
                Stage::Waiting { .. }
                | Stage::Relayed { .. }
                | Stage::Delayed { .. }
                | Stage::Leaving { .. } => {}
            }
        }
    }

    /// The server stops: clients that wait for an answer are told so.
    fn close_all(&mut self) {
        for guest in self.guests.values_mut() {
            guest.connection.session.finish();
            let _ = guest.connection.write(usize::MAX);
            guest.connection.transport.close();
        }
    }
}
