//! A publisher: the source of a stream.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast_core::continuity::{Continuity, Forward};
use flowcast_core::driver::{SourceContext, SourceDriver, SourceState};
use flowcast_core::net::ReadPace;
use flowcast_rtmp::flv::enhanced;
use flowcast_rtmp::session::ServerEvent;
use mio::{Registry, Token};

use crate::connection::{Connection, Over};
use crate::on_air::OnAir;
use crate::stats::Counted;

/// Bytes read in one turn, so that a fast publisher does not delay its players.
const READ_BUDGET: usize = 1 << 20;

/// Tags taken in one turn: a tag of one byte takes a hundred in memory.
const TAG_BUDGET: usize = 2048;

/// A publisher whose key was accepted.
pub(crate) struct Publisher {
    connection: OnAir,
    first_media: Duration,
    no_progress: Duration,
    since: Instant,
    last_media: Option<Instant>,
    accepted: bool,
    pace: ReadPace,
    continuity: Continuity,
    /// The publisher ended its stream.
    unpublished: bool,
    over: bool,
    _counted: Counted,
}

impl Publisher {
    pub(crate) fn new(connection: Connection, first_media: Duration, no_progress: Duration) -> Self {
        let counted = Counted::new(&connection.counters, |counters| &counters.publishers);
        let since = Instant::now();
        Self {
            connection: OnAir::new(connection),
            first_media,
            no_progress,
            since,
            last_media: None,
            accepted: false,
            pace: ReadPace::new(since),
            continuity: Continuity::new(Forward::Live),
            unpublished: false,
            over: false,
            _counted: counted,
        }
    }

    fn turn(&mut self, cx: &mut SourceContext<'_>) -> Result<SourceState, Over> {
        if !self.accepted {
            self.accepted = true;
            self.connection.session.accept_publish(cx.now);
        }
        let is_late = || self.connection.is_due(cx.now) || self.stalled_for(cx.now).is_some();
        let is_to_be_read = cx.readable || (cx.tick && (self.pace.is_resting() || is_late()));
        self.connection.note(is_to_be_read, cx.writable);
        let before = self.connection.session.received();
        let tags_before = cx.tags.len();
        let enough = tags_before + TAG_BUDGET;
        let unpublished = &mut self.unpublished;
        let now = cx.now;
        let (tags, notices, continuity) = (&mut *cx.tags, &mut *cx.notices, &mut self.continuity);
        let more = self.connection.read(cx.now, READ_BUDGET, cx.scratch, |event| {
            match event {
                ServerEvent::Tag(mut tag) => {
                    notices.extend(continuity.mend(&mut tag, now));
                    // From here on a tag has one track: each is kept, left out and sent by itself. A codec that has a
                    // number in FLV is in that form, which every player gets as it is.
                    tags.extend(enhanced::single_tracks(tag).map(enhanced::in_flv_form));
                }
                ServerEvent::Unpublish => *unpublished = true,
                _ => {}
            }
            !*unpublished && tags.len() < enough
        });
        let received = self.connection.session.received().saturating_sub(before);
        self.connection.counters.bytes_received.fetch_add(received, Ordering::Relaxed);
        if let Some(visit) = &self.connection.visit {
            visit.measured(self.connection.session.received(), 0, Duration::ZERO);
        }
        if cx.tags.len() > tags_before {
            self.last_media = Some(cx.arrived());
        }
        let more = more?;
        if self.unpublished {
            // The answer is sent from the lobby: once the client has it, the name is free.
            self.connection.visit.iter().for_each(|visit| visit.ends(None));
            self.connection.go_home(cx.registry).map_err(Over::Io)?;
            return Ok(SourceState::Ended);
        }
        self.rest(cx, received).map_err(Over::Io)?;
        self.connection.write(usize::MAX)?;
        if cx.tick {
            self.connection.check_deadlines(cx.now)?;
            self.check_progress(cx.now)?;
        }
        Ok(if more { SourceState::More } else { SourceState::Running })
    }

    /// Decides whether the publisher's packets wake this thread, now that `received` bytes of it were read in this turn.
    fn rest(&mut self, cx: &SourceContext<'_>, received: u64) -> io::Result<()> {
        let may_rest = cx.ticks_only && self.last_media.is_some();
        let transport = &self.connection.transport;
        if let Some(wake) = self.pace.after_turn(cx.now, received, may_rest, || transport.receive_buffer()) {
            self.connection.wake_for_input(wake, cx.registry, cx.token)?;
        }
        Ok(())
    }

    /// How long it was allowed to send no media, if it has sent none for so long.
    fn stalled_for(&self, now: Instant) -> Option<Duration> {
        let (since, limit) = match self.last_media {
            Some(last) => (last, self.no_progress),
            None => (self.since, self.first_media),
        };
        (now.saturating_duration_since(since) >= limit).then_some(limit)
    }

    fn check_progress(&self, now: Instant) -> Result<(), Over> {
        let Some(limit) = self.stalled_for(now) else { return Ok(()) };
        self.connection.counters.timeouts.fetch_add(1, Ordering::Relaxed);
        let reason = format!("the publisher sent no media for {limit:?}");
        Err(Over::Io(io::Error::new(io::ErrorKind::TimedOut, reason)))
    }
}

impl SourceDriver for Publisher {
    fn attach(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.connection.register(registry, token)
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        match self.turn(cx) {
            Ok(state) => state,
            Err(over) if over.is_hang_up() && self.connection.session.is_parting() => {
                self.over = true;
                self.connection.visit.iter().for_each(|visit| visit.ends(None));
                SourceState::Ended
            }
            Err(over) => {
                self.over = true;
                SourceState::Failed(self.connection.explain(over))
            }
        }
    }

    fn stop(&mut self) {
        if self.over || self.unpublished {
            return;
        }
        self.over = true;
        self.connection.session.finish();
        let _ = self.connection.write(usize::MAX);
        self.connection.transport.close();
    }

    /// A publisher that was told of the end closes the connection itself; some (GStreamer) report an error if we do.
    fn is_stopped(&mut self) -> bool {
        if self.unpublished {
            return true;
        }
        let mut scratch = [0; 1024];
        self.connection.note(true, true);
        let heard = self.connection.read(Instant::now(), READ_BUDGET, &mut scratch, |_| true);
        self.over |= heard.and_then(|_| self.connection.write(usize::MAX)).is_err();
        self.over || self.connection.session.is_finished()
    }
}
