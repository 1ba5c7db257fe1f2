//! What the worker of one connection is given of the stream.
//!
//! In: tags of the stream's ring. Out: the same in the worker's queue, on a clock of its own, less what a worker that is behind is skipped for. On the
//! stream's thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::address::Address;
use super::worker::Progress;
use crate::config::LagPolicy;
use crate::error::Error;
use crate::output::feed::{LagMeter, millis};
use crate::output::gate::{Fit, Intake};
use crate::output::queue::Queue;
use crate::ring::{Cursor, Entry, Offer, Read, Ring, Skipping};
use crate::sys::Worker;

/// Media that is handed over before there is a connection, where the connection needs to know the tracks.
const AHEAD: Duration = Duration::from_millis(1500);
/// So much media without any sound is no stream for an output of sound, milliseconds.
const SILENT: i64 = 10_000;

/// A worker, and what it is given.
pub(super) struct Sending {
    pub(super) interrupt: flowcast_av::Interrupt,
    pub(super) worker: Worker,
    pub(super) progress: Arc<Progress>,
    pub(super) queue: Queue,
    /// Where it is in the ring, once it is there.
    pub(super) cursor: Option<Cursor>,
    pub(super) lag: LagMeter,
    /// Tags handed over.
    pub(super) handed: u64,
    /// Media time of the newest of them.
    pub(super) newest: MediaTime,
    /// It is connected.
    pub(super) is_open: bool,
    /// The first tag that is not sent any more.
    pub(super) until: Option<u64>,
    pub(super) reported_drops: u64,
    /// Ticks since the worker ended without a word.
    pub(super) gone: u32,
    /// Where pictures began to come without any sound.
    pub(super) silent_since: Option<MediaTime>,
    pub(super) newest_seen: Option<MediaTime>,
    pub(super) is_heard: bool,
    /// The stream's tags can be made again, as last seen.
    pub(super) is_refillable: bool,
}

impl Sending {
    pub(super) fn bytes(&self) -> u64 {
        self.progress.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn drops(&self) -> u64 {
        self.cursor.as_ref().map_or(0, Cursor::drops)
    }

    /// Takes what is there, as far as the worker is not behind; the rest stays in the ring.
    pub(super) fn feed(
        &mut self,
        ring: &Ring,
        now: Instant,
        policy: &LagPolicy,
        intake: &mut Intake,
        takes_pictures: bool,
    ) {
        let Some(mut cursor) = self.cursor.take() else { return };
        cursor.lose_until(ring.start(), Skipping::Pictures);
        if self.wants_more(&cursor) {
            let may_resume = self.lag.lag < self.limit(policy);
            ring.read(cursor.next(), &mut |read| {
                match read {
                    Read::Tag(entry) => {
                        self.take(&mut cursor, entry, ring, may_resume, intake, takes_pictures)
                    }
                    Read::Lost(count) => cursor.lose_until(cursor.next() + count, Skipping::Pictures),
                }
                self.wants_more(&cursor)
            });
        }
        let has_all = self.until.is_some_and(|until| cursor.next() >= until);
        self.cursor = Some(cursor);
        self.queue.hand_over_due(now);
        if has_all {
            self.queue.close();
        }
    }

    /// Whether it takes the tag at the cursor now.
    fn wants_more(&self, cursor: &Cursor) -> bool {
        let is_ahead = !self.is_open && Duration::from_millis(self.span_ms()) >= AHEAD;
        self.until.is_none_or(|until| cursor.next() < until) && !is_ahead && self.queue.has_room(true)
    }

    /// Media time that was handed over.
    fn span_ms(&self) -> u64 {
        u64::try_from(self.newest.as_millis()).unwrap_or(0)
    }

    fn take(
        &mut self,
        cursor: &mut Cursor,
        entry: &Entry,
        ring: &Ring,
        may_resume: bool,
        intake: &mut Intake,
        takes_pictures: bool,
    ) {
        let tag = entry.message.tag();
        if !takes_pictures {
            if tag.is_audio() {
                self.is_heard = true;
            } else if tag.is_video() {
                self.silent_since.get_or_insert(tag.timestamp);
                self.newest_seen = Some(tag.timestamp);
            }
        }
        let (has_begun, is_sent) = (cursor.has_begun(), |tag: &Tag| takes_pictures || !tag.is_video());
        match cursor.offer(entry, || may_resume || !has_begun) {
            Offer::Begin { headers, first } => {
                if first {
                    // What it begins with is not what it is behind.
                    self.lag.allowance = millis(ring.due().millis_since(tag.timestamp));
                }
                for header in headers.at(tag.timestamp) {
                    if is_sent(&header) {
                        self.queue(cursor, &header, intake);
                    }
                }
            }
            Offer::Send => {}
            Offer::Before | Offer::Dropped => return,
        }
        if is_sent(tag) {
            self.queue(cursor, tag, intake);
        }
    }

    /// Queues a tag on the output's own clock, in the form that containers are made of.
    fn queue(&mut self, cursor: &Cursor, tag: &Tag, intake: &mut Intake) {
        let Some(base) = cursor.base() else { return };
        let fit = intake.fit(tag);
        let tag = match &fit {
            Fit::AsItIs => tag,
            Fit::As(tag) => tag,
            Fit::Not => return,
        };
        self.newest = MediaTime::from_millis(tag.timestamp.millis_since(base));
        self.handed += 1;
        self.lag.queued(self.handed, tag.timestamp);
        self.queue.push(Tag { timestamp: self.newest, ..tag.clone() });
    }

    /// How far it may be behind before something is left out.
    fn limit(&self, policy: &LagPolicy) -> Duration {
        if self.is_refillable { policy.skip_after } else { policy.drop_after }
    }

    /// Measures the lag, and begins to leave out where it is too large.
    pub(super) fn measure(&mut self, ring: &Ring, now: Instant, policy: &LagPolicy) {
        let Some(cursor) = &mut self.cursor else { return };
        let waiting = if cursor.has_begun() { ring.time_of(cursor.next().max(ring.start())) } else { None };
        let done = self.progress.tags.load(Ordering::Relaxed);
        self.lag.measure(now, ring.due(), done, waiting);
        self.is_refillable = ring.is_refillable();
        if !cursor.has_begun() || !self.is_open {
            return;
        }
        if self.is_refillable {
            if self.lag.lag >= policy.skip_after {
                let reach = i64::try_from(policy.skip_after.as_millis()).unwrap_or(i64::MAX);
                let join = ring.join_within(reach).filter(|&join| join >= cursor.next());
                cursor.lose_until(join.unwrap_or_else(|| ring.end()), Skipping::Everything);
                cursor.skip(Skipping::Everything);
                self.lag.allowance = Duration::ZERO;
            }
        } else if self.lag.lag >= policy.drop_after {
            cursor.skip(Skipping::Pictures);
        }
    }

    /// Why the connection is to be given up, as last measured.
    pub(super) fn check_pace(
        &self,
        now: Instant,
        policy: &LagPolicy,
        address: &Address,
    ) -> Result<(), Error> {
        if !self.is_open {
            return Ok(());
        }
        let (lag, limit) = (self.lag.lag, policy.disconnect_after);
        if !self.is_refillable && lag > limit {
            return Err(Error::TooSlow { host: address.peer(), lag, limit });
        }
        let waiting = self.lag.waiting_since;
        let after = waiting.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if after > policy.stall_after {
            return Err(Error::Stalled { host: address.peer(), after });
        }
        Ok(())
    }

    /// Pictures came for long, and no sound for an output of sound.
    pub(super) fn is_silent(&self) -> bool {
        let span = self.silent_since.zip(self.newest_seen).map(|(since, newest)| newest.millis_since(since));
        !self.is_heard && span.is_some_and(|span| span >= SILENT)
    }
}
