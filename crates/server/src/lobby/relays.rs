//! Streams that are pulled because players asked for them: begun by the first player of a name, given up a while after the last.
//!
//! In: players of names that nobody publishes, news of the streams that are pulled for them. Out: streams, and players attached to them or told
//! that there is none. On the lobby's thread; what can block (the program's rule, the start of a stream) runs on threads of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast_core::pull::Via;
use flowcast_core::{
    Engine, Entrance, Error, RelayNews, RelayOptions, ServerEngine, Source, StreamHandle, StreamRef,
};

use super::Lobby;
use super::admission::Refusal;
use super::failures::Origin;
use super::guest::{Stage, Wish};
use crate::admission::Desk;
use crate::event::ServerEventKind;
use crate::hooks::Pool;
use crate::refusal::RefusalReason;
use crate::relay::Ready;

/// Threads that start streams.
const THREADS: usize = 4;
/// Over this time, the pulls begun by one address are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// Names that no origin has, and addresses that began pulls: no more are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// What the lobby hears of a stream that it wanted.
#[derive(Debug)]
pub(crate) enum News {
    /// It runs, and is not there yet.
    Started(StreamHandle),
    /// Nothing is to be pulled for the name.
    Unknown,
    /// Somebody else has the name now.
    Taken,
    /// It could not be started.
    Failed(Error),
    /// What its source says.
    OfSource(RelayNews),
}

/// A piece of news, and what it is about.
#[derive(Debug)]
pub(crate) struct Letter {
    name: Arc<str>,
    /// Which of the streams that had the name one after the other.
    number: u64,
    news: News,
}

/// The names that are relayed at the moment.
pub(super) struct Relays {
    relay: Arc<Ready>,
    /// What other relays know this one by.
    id: String,
    pool: Pool,
    entries: HashMap<Arc<str>, Entry>,
    missing: Missing,
    begun: HashMap<Origin, VecDeque<Instant>>,
    next: u64,
}

/// One name.
struct Entry {
    number: u64,
    via: Via,
    state: State,
    began: Instant,
    /// Players that wait for it.
    waiting: Vec<usize>,
    /// Since when it has had no player.
    idle_since: Option<Instant>,
}

enum State {
    /// A thread is starting it; whether it gives media already.
    Starting { is_live: bool },
    /// It runs, and gives no media yet.
    Pulling(StreamHandle),
    /// Players are let in.
    Live(StreamHandle),
    /// It was given up and is ending.
    Ending(StreamRef),
}

/// What a player who asks for a name is told.
enum Place {
    /// It may join this stream.
    In(StreamRef),
    /// It waits.
    Waits,
}

impl Relays {
    pub(super) fn new(relay: Ready) -> Self {
        let id = u64::from_le_bytes(flowcast_core::net::random_bytes());
        Self {
            relay: Arc::new(relay),
            id: format!("{id:016x}"),
            pool: Pool::new(THREADS),
            entries: HashMap::new(),
            missing: Missing::default(),
            begun: HashMap::new(),
            next: 0,
        }
    }

    /// Whether a client plays on behalf of this server.
    fn is_circle(&self, via: &str) -> bool {
        via.split(',').any(|relay| relay == self.id)
    }

    /// Where a player of `name` belongs, if the name is one of those that are relayed now.
    fn find(&mut self, name: &str, id: usize, via: &str) -> Option<Result<Place, RefusalReason>> {
        let is_circle = self.is_circle(via);
        let entry = self.entries.get_mut(name)?;
        if is_circle {
            return Some(Err(RefusalReason::Loop));
        }
        entry.via.add(via);
        entry.idle_since = None;
        if let State::Live(stream) = &entry.state
            && !stream.has_ended()
        {
            return Some(Ok(Place::In(stream.stream())));
        }
        entry.waiting.push(id);
        Some(Ok(Place::Waits))
    }

    /// Whether a pull for `name` may begin now, for a player at `peer`; `None` for an address that is not counted.
    fn may_begin(
        &mut self,
        name: &str,
        via: &str,
        peer: Option<Origin>,
        now: Instant,
    ) -> Result<(), RefusalReason> {
        if !self.relay.covers(name) {
            return Err(RefusalReason::NoStream);
        }
        if self.is_circle(via) {
            return Err(RefusalReason::Loop);
        }
        if let Some(reason) = self.missing.find(name, now) {
            return Err(reason);
        }
        if self.entries.len() >= self.relay.settings.max_pulls {
            return Err(RefusalReason::RelayLimit);
        }
        let Some(origin) = peer else { return Ok(()) };
        if self.begun.len() >= MOST_REMEMBERED && !self.begun.contains_key(&origin) {
            return Err(RefusalReason::RelayLimit);
        }
        let begun = self.begun.entry(origin).or_default();
        while begun.front().is_some_and(|at| now.saturating_duration_since(*at) >= MINUTE) {
            begun.pop_front();
        }
        if begun.len() >= self.relay.settings.max_per_address {
            return Err(RefusalReason::RelayLimit);
        }
        begun.push_back(now);
        Ok(())
    }

    /// Addresses that began nothing lately are forgotten.
    fn forget(&mut self, now: Instant) {
        let is_late = |at: &Instant| now.saturating_duration_since(*at) < MINUTE;
        self.begun.retain(|_, begun| begun.back().is_some_and(is_late));
        self.missing.forget(now);
    }

    /// Whether there is something to tend.
    pub(super) fn is_busy(&self) -> bool {
        !self.entries.is_empty()
    }
}

impl Lobby {
    /// A player of a name that may be relayed: it joins what is on the air, or waits for it.
    pub(super) fn play(&mut self, id: usize, name: &str, wish: &Wish, now: Instant) -> Result<(), Refusal> {
        let via = if let Wish::Play(request) = wish { &*request.via } else { "" };
        let Some(guest) = self.guests.get(&id) else { return Ok(()) };
        let peer = guest.connection.peer;
        let found = self.house.engine.hub().find(name).filter(|stream| !stream.has_ended());
        let place = self.relays.as_mut().and_then(|relays| relays.find(name, id, via)).transpose()?;
        match (place, found) {
            (Some(Place::In(stream)), _) | (None, Some(stream)) => self.attach(id, name, &stream),
            (Some(Place::Waits), _) => self.let_wait(id, name, wish),
            (None, None) => {
                let relays = self.relays.as_mut().ok_or(RefusalReason::NoStream)?;
                let origin = Origin::of(peer.ip());
                let is_spared = self.house.options.crowd_spares_loopback && origin.is_loopback();
                relays.may_begin(name, via, (!is_spared).then_some(origin), now)?;
                self.begin_relay(name.into(), via, vec![id], now)?;
                self.let_wait(id, name, wish);
            }
        }
        Ok(())
    }

    /// The guest waits for a stream under `name`, and is not read until then.
    fn let_wait(&mut self, id: usize, name: &str, wish: &Wish) {
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.stage = Stage::Relayed { name: name.into(), wish: wish.clone() };
        }
    }

    /// Has a stream started for these players.
    fn begin_relay(
        &mut self,
        name: Arc<str>,
        via: &str,
        waiting: Vec<usize>,
        now: Instant,
    ) -> Result<(), RefusalReason> {
        let Some(relays) = &mut self.relays else { return Ok(()) };
        let number = relays.next;
        relays.next += 1;
        let passed = Via::new(&relays.id);
        passed.add(via);
        let mut options = RelayOptions::default();
        options.publish = self.house.options.publish();
        (options.hold, options.patience) = (relays.relay.settings.hold, relays.relay.settings.wait);
        let start = Start {
            relay: relays.relay.clone(),
            engine: self.house.engine.clone(),
            report: Report { desk: self.shared.desk.clone(), name: name.clone(), number, told: false },
            via: passed.clone(),
            options,
        };
        relays.pool.submit(Box::new(move || start.run())).map_err(|_| RefusalReason::Overload)?;
        let state = State::Starting { is_live: false };
        relays
            .entries
            .insert(name, Entry { number, via: passed, state, began: now, waiting, idle_since: None });
        Ok(())
    }

    /// Takes what was heard of streams that are relayed.
    pub(super) fn hear_relays(&mut self, now: Instant) {
        for Letter { name, number, news } in self.shared.desk.take_letters() {
            let relays = self.relays.as_mut();
            let entry = relays.and_then(|relays| relays.entries.get_mut(&name));
            let Some(entry) = entry.filter(|entry| entry.number == number) else {
                // It was given up meanwhile; dropping it ends it.
                continue;
            };
            match news {
                News::Started(stream) => {
                    self.shared.streams.lock().push(stream.stream());
                    let State::Starting { is_live } = entry.state else { continue };
                    entry.state = State::Pulling(stream);
                    if is_live {
                        self.show_relay(&name, now);
                    }
                }
                News::Unknown => self.fail_relay(&name, RefusalReason::NoStream, None, now),
                News::Taken => self.leave_relay(&name, now),
                News::Failed(error) => {
                    self.fail_relay(&name, reason_of_start(&error), Some(error), now);
                }
                News::OfSource(RelayNews::Live) => match &mut entry.state {
                    State::Starting { is_live } => *is_live = true,
                    _ => self.show_relay(&name, now),
                },
                News::OfSource(RelayNews::Lost(error)) => {
                    self.fail_relay(&name, reason_of_loss(&error), Some(error), now);
                }
                News::OfSource(_) => self.leave_relay(&name, now),
            }
        }
    }

    /// A stream gives media: those who wait for it join.
    fn show_relay(&mut self, name: &Arc<str>, now: Instant) {
        let entry = self.relays.as_mut().and_then(|relays| relays.entries.get_mut(name));
        let Some(Entry { state, waiting, began, .. }) = entry else { return };
        let stream = match std::mem::replace(state, State::Starting { is_live: true }) {
            State::Pulling(handle) => {
                let stream = handle.stream();
                *state = State::Live(handle);
                stream
            }
            other => {
                *state = other;
                return;
            }
        };
        let (waiting, after) = (std::mem::take(waiting), now.saturating_duration_since(*began));
        self.shared.counters.relays_begun.fetch_add(1, Ordering::Relaxed);
        let kind = ServerEventKind::RelayBegan { name: name.clone(), stream: stream.id(), after };
        self.tell_of_relay(kind);
        self.let_in(name, waiting, &stream);
    }

    /// Players that still wait for `name` join `stream`.
    fn let_in(&mut self, name: &str, waiting: Vec<usize>, stream: &StreamRef) {
        for id in waiting {
            if self.waits_for(id, name) {
                self.attach(id, name, stream);
            }
        }
    }

    /// Whether a guest waits for a stream under `name`.
    fn waits_for(&self, id: usize, name: &str) -> bool {
        let stage = self.guests.get(&id).map(|guest| &guest.stage);
        matches!(stage, Some(Stage::Relayed { name: wanted, .. }) if **wanted == *name)
    }

    /// Players that still wait for `name` are refused.
    fn refuse_waiting(&mut self, name: &str, waiting: Vec<usize>, reason: RefusalReason, now: Instant) {
        for id in waiting {
            let Some(guest) = self.guests.get(&id) else { continue };
            if let Stage::Relayed { name: wanted, wish } = &guest.stage
                && **wanted == *name
            {
                let wish = wish.clone();
                self.refuse(id, &wish, reason.into(), now);
            }
        }
    }

    /// There is no such stream, or no longer: those who wait are refused, and it is not asked for again for a while.
    fn fail_relay(&mut self, name: &Arc<str>, reason: RefusalReason, error: Option<Error>, now: Instant) {
        let Some(relays) = &mut self.relays else { return };
        let Some(entry) = relays.entries.remove(name) else { return };
        relays.missing.note(name.clone(), reason, now + relays.relay.settings.retry, now);
        let after = now.saturating_duration_since(entry.began);
        match entry.state {
            // It ends by itself.
            State::Live(stream) => {
                let stream = stream.detach().id();
                self.tell_of_relay(ServerEventKind::RelayEnded { name: name.clone(), stream, error, after });
            }
            State::Ending(_) => {}
            State::Starting { .. } | State::Pulling(_) => {
                self.shared.counters.relays_failed.fetch_add(1, Ordering::Relaxed);
                self.tell_of_relay(ServerEventKind::RelayFailed { reason, error });
            }
        }
        self.refuse_waiting(name, entry.waiting, reason, now);
    }

    /// The name is in other hands, or its stream was stopped: players join what is found there now.
    fn leave_relay(&mut self, name: &Arc<str>, now: Instant) {
        let Some(entry) = self.relays.as_mut().and_then(|relays| relays.entries.remove(name)) else { return };
        let after = now.saturating_duration_since(entry.began);
        match entry.state {
            State::Ending(_) => {
                // Its end may be told before it is over: the next stream takes the name from it.
                let waiting: Vec<_> =
                    entry.waiting.into_iter().filter(|id| self.waits_for(*id, name)).collect();
                if !waiting.is_empty()
                    && let Err(reason) =
                        self.begin_relay(name.clone(), &entry.via.text(), waiting.clone(), now)
                {
                    self.refuse_waiting(name, waiting, reason, now);
                }
                return;
            }
            State::Live(stream) => {
                let stream = stream.detach().id();
                let kind = ServerEventKind::RelayEnded { name: name.clone(), stream, error: None, after };
                self.tell_of_relay(kind);
            }
            State::Pulling(stream) => drop(stream.detach()),
            State::Starting { .. } => {}
        }
        match self.house.engine.hub().find(name).filter(|stream| !stream.has_ended()) {
            Some(stream) => self.let_in(name, entry.waiting, &stream),
            None => self.refuse_waiting(name, entry.waiting, RefusalReason::NoStream, now),
        }
    }

    /// Gives up streams that nobody plays, and those that do not come up.
    pub(super) fn tend_relays(&mut self, now: Instant) {
        let Some(relays) = &mut self.relays else { return };
        relays.forget(now);
        let (wait, linger) = (relays.relay.settings.wait, relays.relay.settings.linger);
        let (mut late, mut idle, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (name, entry) in &mut relays.entries {
            match &entry.state {
                State::Live(stream) if stream.has_ended() => ended.push(name.clone()),
                State::Live(stream) if stream.players() > 0 => entry.idle_since = None,
                State::Live(_) => {
                    let since = *entry.idle_since.get_or_insert(now);
                    if now.saturating_duration_since(since) >= linger {
                        idle.push(name.clone());
                    }
                }
                State::Ending(stream) if stream.has_ended() => ended.push(name.clone()),
                State::Ending(_) => {}
                State::Starting { .. } | State::Pulling(_) => {
                    if now.saturating_duration_since(entry.began) >= wait {
                        late.push(name.clone());
                    }
                }
            }
        }
        for name in late {
            self.fail_relay(&name, RefusalReason::NoOrigin, None, now);
        }
        for name in idle {
            self.give_up_relay(&name, now);
        }
        for name in ended {
            self.leave_relay(&name, now);
        }
    }

    /// Nobody plays it any more.
    fn give_up_relay(&mut self, name: &Arc<str>, now: Instant) {
        let entry = self.relays.as_mut().and_then(|relays| relays.entries.get_mut(name));
        let Some(Entry { state, began, .. }) = entry else { return };
        let State::Live(handle) = &*state else { return };
        let (stream, after) = (handle.stream(), now.saturating_duration_since(*began));
        // Dropping the handle stops it.
        *state = State::Ending(stream.clone());
        let kind =
            ServerEventKind::RelayEnded { name: name.clone(), stream: stream.id(), error: None, after };
        self.tell_of_relay(kind);
    }

    /// Shows how many names are relayed.
    pub(super) fn count_relays(&self) {
        if let Some(relays) = &self.relays {
            self.shared.counters.relays.store(relays.entries.len() as u64, Ordering::Relaxed);
        }
    }

    fn tell_of_relay(&self, kind: ServerEventKind) {
        log::info!("{kind}");
        self.shared.counters.roll.tell(None, kind);
    }
}

/// What starts a stream, on a thread of its own.
struct Start {
    relay: Arc<Ready>,
    engine: Engine,
    report: Report,
    via: Via,
    options: RelayOptions,
}

impl Start {
    fn run(self) {
        let Self { relay, engine, mut report, via, options } = self;
        let news = report.start(&relay, &engine, via, &options);
        report.tell(news);
    }
}

/// Where news of one stream goes; if it is dropped without any, that is told.
struct Report {
    desk: Arc<Desk>,
    name: Arc<str>,
    number: u64,
    told: bool,
}

impl Report {
    fn start(&self, relay: &Ready, engine: &Engine, via: Via, options: &RelayOptions) -> News {
        let Some(pull) = relay.pull(&self.name, via) else { return News::Unknown };
        let claim = match engine.hub().enter(&self.name, None, Duration::MAX) {
            Ok(Entrance::New(claim)) => claim,
            Ok(Entrance::Handover(_)) | Err(_) => return News::Taken,
        };
        let (desk, name, number) = (self.desk.clone(), self.name.clone(), self.number);
        let tell = Box::new(move |news| {
            desk.hear(Letter { name: name.clone(), number, news: News::OfSource(news) });
        });
        engine.relay(claim, Source::pull(pull), options, tell).map_or_else(News::Failed, News::Started)
    }

    fn tell(&mut self, news: News) {
        self.told = true;
        self.desk.hear(Letter { name: self.name.clone(), number: self.number, news });
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.told {
            self.tell(News::Unknown);
        }
    }
}

/// Why players of a stream are refused that could not be started.
fn reason_of_start(error: &Error) -> RefusalReason {
    match error {
        Error::StreamLimitExceeded { .. }
        | Error::CapacityExceeded { .. }
        | Error::TooManyAbandoned { .. } => RefusalReason::RelayLimit,
        _ => RefusalReason::Resources,
    }
}

/// Why players of a stream are refused that no origin gives.
fn reason_of_loss(error: &Error) -> RefusalReason {
    if matches!(error, Error::Rtmp { .. }) { RefusalReason::NoStream } else { RefusalReason::NoOrigin }
}

/// Names that were asked for in vain a moment ago.
#[derive(Default)]
struct Missing {
    names: HashMap<Arc<str>, (RefusalReason, Instant)>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Instant, Arc<str>)>,
}

impl Missing {
    /// Why players of `name` are refused at once.
    fn find(&self, name: &str, now: Instant) -> Option<RefusalReason> {
        self.names.get(name).filter(|(_, until)| now < *until).map(|(reason, _)| *reason)
    }

    fn note(&mut self, name: Arc<str>, reason: RefusalReason, until: Instant, now: Instant) {
        self.forget(now);
        if until <= now || self.order.len() >= MOST_REMEMBERED {
            return;
        }
        self.names.insert(name.clone(), (reason, until));
        self.order.push_back((until, name));
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            let Some((_, name)) = self.order.pop_front() else { return };
            if self.names.get(&name).is_some_and(|(_, until)| *until <= now) {
                self.names.remove(&name);
            }
        }
    }
}
