//! A player: an output of the stream it asked for.
//!
//! What it still has to be sent stays in the stream's ring, which all players share. A player that does not read
//! holds up to 128 KiB of prepared bytes of its own, and at most the same again from the last merged write (bytes it
//! shares with others at the same place), until it is disconnected. In the kernel it holds 128 KiB that are not sent,
//! and what its peer's window keeps in flight.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast_core::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use flowcast_core::output::feed::{Feed, SessionClock};
use flowcast_core::output::gate::{Gate, Intake};
use flowcast_core::ring::Join;
use flowcast_core::{Error, EventKind, LagPolicy, OutputPhase, OutputStats, OutputTransport};
use flowcast_rtmp::session::ServerEvent;

use crate::connection::{Connection, Over};
use crate::on_air::OnAir;
use crate::stats::Counted;

/// Bytes read from one tick to the next: players only send commands and acknowledgements, and one that never stops
/// sending must not keep the thread busy.
const READ_BUDGET: usize = 16 << 10;
/// Bytes written in one turn, so that one fast player does not delay the others.
const WRITE_BUDGET: usize = 512 << 10;
/// How often the kernel is asked how much is not acknowledged, as long as the player keeps up.
const CALM: Duration = Duration::from_millis(500);
/// The same while the player is behind.
const BEHIND: Duration = Duration::from_millis(100);
/// How long a player gets to take the last bytes.
const LINGER: Duration = Duration::from_millis(100);

/// A player that was let in.
pub(crate) struct Player {
    connection: OnAir,
    policy: LagPolicy,
    merge: bool,
    feed: Option<Feed>,
    intake: Intake,
    paused: bool,
    /// The player ended its stream; it closes the connection itself, or plays something else.
    leaving: bool,
    sent: u64,
    /// When its lag is measured next, and what the kernel held when it was measured last.
    measure_at: Option<Instant>,
    unacknowledged: u64,
    /// Bytes that may be read until the next tick.
    ear: usize,
    finishing: Option<Instant>,
    ended: bool,
    _counted: Counted,
}

impl Player {
    pub(crate) fn new(connection: Connection, policy: LagPolicy, merge: bool) -> Self {
        let counted = Counted::new(&connection.counters, |counters| &counters.players);
        let intake = Intake::player(connection.session.capabilities().clone());
        Self {
            connection: OnAir::new(connection),
            policy,
            merge,
            feed: None,
            intake,
            paused: false,
            leaving: false,
            sent: 0,
            measure_at: None,
            unacknowledged: 0,
            ear: READ_BUDGET,
            finishing: None,
            ended: false,
            _counted: counted,
        }
    }

    /// The first turn on the stream's thread.
    fn join(&mut self, cx: &mut OutputContext<'_>) -> Result<(), Over> {
        self.connection.register(cx.registry, cx.token).map_err(Over::Io)?;
        self.connection.session.accept_play(cx.now);
        self.feed = Some(self.new_feed(cx));
        cx.notices.push(EventKind::OutputLive { output: cx.output, reconnects: 0, failures: 0 });
        Ok(())
    }

    fn new_feed(&self, cx: &OutputContext<'_>) -> Feed {
        Feed::new(cx.ring, Join::Newest, SessionClock::FromZero, self.policy.clone())
    }

    fn serve(&mut self, cx: &mut OutputContext<'_>) -> Result<OutputState, Over> {
        if self.feed.is_none() {
            self.join(cx)?;
        }
        let is_late = cx.tick && self.connection.is_due(cx.now);
        self.connection.note(cx.readable || is_late, cx.writable);
        if self.connection.is_readable() {
            self.read(cx)?;
        }
        if cx.tick {
            self.connection.check_deadlines(cx.now)?;
            if self.is_to_be_measured(cx.now)
                && let Err(error) = self.measure(cx)
            {
                // The kernel need not keep what this player does not take for half a minute.
                self.connection.transport.abort();
                return Ok(OutputState::Ended(Some(error)));
            }
        }
        let more_to_write = self.send(cx)?;
        cx.notices.extend(self.intake.take_news(cx.output));
        if self.leaving {
            self.connection.go_home(cx.registry).map_err(Over::Io)?;
            self.ended = true;
            return Ok(OutputState::Ended(None));
        }
        Ok(if more_to_write { OutputState::More } else { OutputState::Running })
    }

    /// Reads what the player sends; the rest of a player that never stops sending is read with the next tick.
    fn read(&mut self, cx: &mut OutputContext<'_>) -> Result<(), Over> {
        let mut pause = None;
        let leaving = &mut self.leaving;
        self.ear = if cx.tick { READ_BUDGET } else { self.ear };
        if self.ear > 0 {
            let before = self.connection.heard();
            self.connection.read(cx.now, self.ear, cx.scratch, |event| {
                match event {
                    ServerEvent::StopPlay => *leaving = true,
                    ServerEvent::Pause(paused) => pause = Some(paused),
                    _ => {}
                }
                // What it asks for after that is answered in the lobby.
                !*leaving
            })?;
            let heard = self.connection.heard().saturating_sub(before);
            self.ear = self.ear.saturating_sub(usize::try_from(heard).unwrap_or(usize::MAX));
        }
        if let Some(paused) = pause {
            self.pause(paused, cx);
        }
        Ok(())
    }

    /// A live stream cannot wait: after a pause, the player goes on with the newest media.
    fn pause(&mut self, paused: bool, cx: &OutputContext<'_>) {
        if let Some(feed) = &mut self.feed
            && self.paused
            && !paused
        {
            feed.rejoin(cx.ring);
        }
        self.paused = paused;
    }

    /// Whether it wants media.
    fn is_fed(&self) -> bool {
        !self.paused && !self.leaving
    }

    fn send(&mut self, cx: &OutputContext<'_>) -> Result<bool, Over> {
        let mut budget = WRITE_BUDGET;
        loop {
            let feeding = self.is_fed() && self.finishing.is_none() && self.connection.is_writable();
            let more = match &mut self.feed {
                Some(feed) if feeding => {
                    feed.fill(cx.ring, &mut Gate::new(&mut self.connection.session, &mut self.intake))
                }
                _ => false,
            };
            let taken = self.connection.write(budget)?;
            self.sent += taken as u64;
            self.connection.counters.bytes_sent.fetch_add(taken as u64, Ordering::Relaxed);
            budget = budget.saturating_sub(taken);
            if budget == 0 {
                return Ok(true);
            }
            if !more || !self.connection.is_writable() {
                return Ok(false);
            }
        }
    }

    /// Not with every tick: it is a system call, and there are a thousand players that keep up.
    fn is_to_be_measured(&mut self, now: Instant) -> bool {
        // The first time soon, and not for all players that joined together at once.
        let first = || now + CALM.mul_f64(f64::from(self.connection.peer.port() % 8) / 8.0);
        if now < *self.measure_at.get_or_insert_with(first) {
            return false;
        }
        let behind = self.feed.as_ref().is_some_and(|feed| !feed.lag().is_zero() || feed.is_waiting());
        self.measure_at = Some(now + if behind { BEHIND } else { CALM });
        true
    }

    fn measure(&mut self, cx: &OutputContext<'_>) -> Result<(), Error> {
        let is_fed = self.is_fed();
        let Some(feed) = self.feed.as_mut().filter(|_| is_fed) else { return Ok(()) };
        let pending = self.connection.transport.pending_bytes();
        let wire = self.connection.session.wire();
        let (total_in, unsent) = (wire.total_in(), (wire.len() + pending) as u64);
        self.unacknowledged = self.connection.transport.unacknowledged();
        feed.measure(cx.now, cx.ring, total_in, unsent, self.unacknowledged);
        feed.check_pace(cx.now, || self.connection.peer.to_string())
    }
}

impl OutputDriver for Player {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        let state = match self.serve(cx) {
            Ok(state) => {
                if let (OutputState::Ended(error), Some(visit)) = (&state, &self.connection.visit) {
                    visit.ends(error.as_ref());
                }
                state
            }
            Err(over) => {
                self.ended = true;
                // A player that leaves is not a fault.
                let left = over.is_hang_up();
                let error = self.connection.explain(over);
                OutputState::Ended((!left).then_some(error))
            }
        };
        if let Some(visit) = &self.connection.visit {
            let (drops, lag) = self.feed.as_ref().map_or((0, Duration::ZERO), |f| (f.drops(), f.lag()));
            visit.measured(self.sent, drops, lag);
        }
        state
    }

    fn is_immediate(&self) -> bool {
        !self.merge
    }

    fn cursor(&self) -> Option<u64> {
        self.feed.as_ref().filter(|_| self.is_fed()).map(Feed::cursor)
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        // What is due is sent first; then the player is told that the stream is over.
        let _ = self.send(cx);
        self.finishing = Some(cx.now);
        self.connection.session.finish();
    }

    fn is_finished(&mut self) -> bool {
        let Some(since) = self.finishing else { return self.ended };
        if self.ended {
            return true;
        }
        if !self.connection.is_flushed() {
            return false;
        }
        if since.elapsed() < LINGER {
            return false;
        }
        self.connection.transport.close();
        self.ended = true;
        true
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.transport = OutputTransport::Player;
        stats.phase = if self.ended { OutputPhase::Ended } else { OutputPhase::Live };
        stats.bytes_sent = self.sent;
        stats.bytes_in_kernel = self.unacknowledged;
        stats.bytes_held = self.unacknowledged;
        if let Some(feed) = &self.feed {
            stats.drops = feed.drops();
            stats.lag = feed.lag();
        }
    }
}
