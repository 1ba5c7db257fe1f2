//! Streams as FLV, each while somebody plays it.
//!
//! In: a stream's ring, on its thread, once a tick. Out: its tape. It is a guest of the stream, like a player of the RTMP server: snapshots do
//! not know it, and it ends with the last player, after a while.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_core::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use flowcast_core::ring::{Cursor, Join, Offer, Read, Ring, Skipping};
use flowcast_core::{
    Engine, Error, OutputPhase, OutputStats, OutputTransport, Seat, ServerEngine, StreamId, StreamRef,
};
use parking_lot::Mutex;

use super::tape::{Cutter, Tape};

/// How long it goes on without a player.
const IDLE: Duration = Duration::from_secs(10);

/// The streams that are played.
#[derive(Debug, Default)]
pub(crate) struct Channels(Mutex<HashMap<StreamId, Arc<Tape>>>);

/// A player of a stream: it is counted as one.
#[derive(Debug)]
pub(crate) struct Audience {
    pub(crate) tape: Arc<Tape>,
    _seat: Seat,
}

impl Channels {
    /// Joins the players of `stream`; the first one has its tape made.
    pub(crate) fn join(&self, engine: &Engine, stream: &StreamRef) -> Result<Audience, Error> {
        let mut channels = self.0.lock();
        channels.retain(|_, tape| !tape.is_over());
        let tape = match channels.get(&stream.id()) {
            Some(tape) => tape.clone(),
            None => {
                let tape = Arc::<Tape>::default();
                let driver = Driver::new(tape.clone());
                engine.attach(stream, "http-flv".to_owned(), Box::new(driver))?;
                channels.insert(stream.id(), tape.clone());
                tape
            }
        };
        Ok(Audience { tape, _seat: stream.seat() })
    }
}

/// It on the stream's thread.
struct Driver {
    tape: Arc<Tape>,
    cutter: Cutter,
    cursor: Option<Cursor>,
    /// Since when nobody plays.
    alone: Option<Instant>,
    /// Where it ends, once it was asked to.
    until: Option<u64>,
    is_over: bool,
}

impl Driver {
    fn new(tape: Arc<Tape>) -> Self {
        Self { tape, cutter: Cutter::default(), cursor: None, alone: None, until: None, is_over: false }
    }

    /// Puts what is new on the tape.
    fn feed(&mut self, ring: &Ring) {
        let (cutter, until) = (&mut self.cutter, self.until.unwrap_or(u64::MAX));
        let cursor = self.cursor.get_or_insert_with(|| Cursor::new(ring, Join::Newest));
        cursor.lose_until(ring.start(), Skipping::Pictures);
        ring.read(cursor.next(), &mut |read| {
            let entry = match read {
                Read::Tag(entry) => entry,
                Read::Lost(count) => {
                    cursor.lose_until(cursor.next() + count, Skipping::Pictures);
                    return true;
                }
            };
            if cursor.next() >= until {
                return false;
            }
            let tag = entry.message.tag();
            match cursor.offer(entry, || true) {
                Offer::Begin { headers, .. } => {
                    cutter.begin(headers.at(tag.timestamp), tag);
                    cutter.tag(tag);
                }
                Offer::Send => {
                    // Players begin at every keyframe, not only where this output does.
                    if let Some(headers) = entry.join.as_ref().filter(|_| entry.is_whole && tag.is_video()) {
                        cutter.begin(headers.at(tag.timestamp), tag);
                    }
                    cutter.tag(tag);
                }
                Offer::Before | Offer::Dropped => {}
            }
            true
        });
        self.cutter.flush(&self.tape);
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.tape.end();
        }
    }

    /// Whether it has been without players for too long: the channels and this have the tape, nobody else.
    fn is_idle(&mut self, now: Instant) -> bool {
        if Arc::strong_count(&self.tape) > 2 {
            self.alone = None;
            return false;
        }
        now.saturating_duration_since(*self.alone.get_or_insert(now)) >= IDLE
    }
}

impl OutputDriver for Driver {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if self.is_over {
            return OutputState::Ended(None);
        }
        self.feed(cx.ring);
        if cx.tick && self.is_idle(cx.now) {
            self.end();
            return OutputState::Ended(None);
        }
        OutputState::Running
    }

    fn deliver(&mut self, _: &mut OutputContext<'_>, _: Box<dyn Any + Send>) -> OutputState {
        OutputState::Running
    }

    fn is_immediate(&self) -> bool {
        // All players of a tick are sent the same bytes.
        false
    }

    fn cursor(&self) -> Option<u64> {
        self.cursor.as_ref().filter(|_| !self.is_over).map(Cursor::next)
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.until = Some(cx.ring.end());
        self.feed(cx.ring);
        self.end();
    }

    fn is_finished(&mut self) -> bool {
        self.is_over
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.transport = OutputTransport::Player;
        stats.phase = if self.is_over { OutputPhase::Ended } else { OutputPhase::Live };
        stats.bytes_sent = self.cutter.written();
        stats.drops = self.cursor.as_ref().map_or(0, Cursor::drops);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Also when the stream's thread is done with it in another way.
        self.end();
    }
}
