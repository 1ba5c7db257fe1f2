//! How one session is fed from the stream's ring: where it begins, what it drops, how far it is behind.

mod lag;
mod zero;

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::chunk::SharedMessage;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::session::{ClientSession, ServerSession};
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::wire::WireBuf;

pub(super) use self::lag::{LagMeter, millis};
pub(crate) use self::zero::SharedZero;
use crate::config::LagPolicy;
use crate::error::Error;
use crate::ring::cursor::{Cursor, Offer, Skipping};
use crate::ring::{Entry, Join, Read, Ring, Together};
use crate::stats::Histogram;

/// Bytes prepared for the socket at a time; the rest stays in the ring, where it can still be dropped.
const PREPARED: usize = 128 << 10;
/// The same where the rest takes no memory, because it can be made again; and for a session that is behind, since a thousand of
/// them may be so at once.
const PREPARED_AGAIN: usize = 64 << 10;
const PREPARED_BEHIND: usize = 16 << 10;

/// A session tags can be sent to.
pub trait MediaSession {
    /// Bytes for the socket.
    fn wire(&mut self) -> &mut WireBuf;
    /// The stream time that is zero for this session.
    fn set_base(&mut self, base: MediaTime);
    /// Sends one tag of its own: a header.
    fn send_tag(&mut self, tag: &Tag);
    /// Sends a tag that was prepared for all sessions.
    fn send_shared(&mut self, message: &SharedMessage);
    /// Whether it is sent tracks beside the first of their kind, too.
    fn takes_all_tracks(&self) -> bool {
        false
    }
    /// Sends tags that were put together for all sessions; `false`, with nothing sent, if this one must have them one by
    /// one.
    fn send_batch(&mut self, tags: &Together) -> bool {
        let _ = tags;
        false
    }
}

impl MediaSession for ClientSession {
    fn wire(&mut self) -> &mut WireBuf {
        self.wire()
    }
    fn set_base(&mut self, base: MediaTime) {
        self.set_base(base);
    }
    fn send_tag(&mut self, tag: &Tag) {
        if tag.is_metadata() {
            self.send_metadata(&tag.body.to_bytes(), tag.timestamp);
        } else {
            self.send_tag(tag);
        }
    }
    fn send_shared(&mut self, message: &SharedMessage) {
        self.send_shared(message);
    }
}

impl MediaSession for ServerSession {
    fn wire(&mut self) -> &mut WireBuf {
        self.wire()
    }
    fn set_base(&mut self, base: MediaTime) {
        self.set_base(base);
    }
    fn send_tag(&mut self, tag: &Tag) {
        self.send_tag(tag);
    }
    fn send_shared(&mut self, message: &SharedMessage) {
        self.send_shared(message);
    }
    fn send_batch(&mut self, tags: &Together) -> bool {
        self.send_batch(&tags.batch)
    }
}

/// What a session makes of the clock of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionClock {
    /// Its own zero at the first tag.
    FromZero,
    /// The stream's times.
    Stream,
}

/// One session's place in the ring.
#[derive(Debug)]
pub struct Feed {
    cursor: Cursor,
    clock: SessionClock,
    reported: u64,
    lag: LagMeter,
    /// The stream makes its tags again, as of the last measurement.
    refillable: bool,
    /// Bytes queued before the first of the media.
    media_from: Option<u64>,
    /// Where another session goes on instead of this one.
    ends: Option<Ends>,
    /// Where its times begin, if others are to have the same; and where they have begun.
    shared: Option<SharedZero>,
    zero: Option<Arc<MediaTime>>,
    policy: LagPolicy,
}

/// The keyframe another session begins with.
#[derive(Debug)]
struct Ends {
    number: u64,
    time: MediaTime,
    /// Everything before it was sent.
    is_over: bool,
}

/// What becomes of a tag near the end of a session.
enum Near {
    Before,
    /// It is the other session's.
    Theirs,
    Over,
}

impl Ends {
    fn near(&mut self, entry: &Entry) -> Near {
        // What belongs before the keyframe may follow it, of another track; the other session leaves it out.
        let is_older = entry.message.tag().timestamp < self.time;
        if self.is_over {
            Near::Over
        } else if entry.number < self.number || is_older {
            Near::Before
        } else if entry.number == self.number {
            Near::Theirs
        } else {
            self.is_over = true;
            Near::Over
        }
    }
}

impl Feed {
    /// A session that begins in `ring` as `join` says.
    #[must_use]
    pub fn new(ring: &Ring, join: Join, clock: SessionClock, policy: LagPolicy) -> Self {
        Self {
            cursor: Cursor::new(ring, join),
            clock,
            reported: 0,
            lag: LagMeter::default(),
            refillable: false,
            media_from: None,
            ends: None,
            shared: None,
            zero: None,
            policy,
        }
    }

    /// With times that begin where those of others do.
    pub(crate) fn with_zero(mut self, shared: Option<SharedZero>) -> Self {
        self.shared = shared;
        self
    }

    /// Begins with tag number `number` instead, if nothing was sent yet.
    pub(crate) fn begin_at(&mut self, number: u64) {
        if !self.has_joined() {
            self.cursor = Cursor::at(number);
        }
    }

    /// Ends before tag number `number`, a keyframe at `time`: another session goes on with it.
    pub(crate) fn end_at(&mut self, number: u64, time: MediaTime) {
        self.ends = Some(Ends { number, time, is_over: false });
    }

    /// Sends no more, although something is left before the tag the session ends with: that is lost.
    pub(crate) fn give_up_rest(&mut self) {
        if let Some(ends) = &mut self.ends
            && !mem::replace(&mut ends.is_over, true)
        {
            self.cursor.lose_until(ends.number, Skipping::Pictures);
        }
    }

    /// Whether everything was sent up to where the session ends.
    pub(crate) fn is_over(&self) -> bool {
        self.ends.as_ref().is_some_and(|ends| ends.is_over)
    }

    /// Goes on at what is newest, at the same session's clock: after a pause.
    pub fn rejoin(&mut self, ring: &Ring) {
        self.cursor.rejoin(ring);
        let LagMeter { lags, measured, acknowledged, due, .. } = mem::take(&mut self.lag);
        self.lag = LagMeter { lags, measured, acknowledged, due, ..LagMeter::default() };
    }

    /// The oldest tag that is still to be sent.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor.next()
    }

    /// Whether the first media was sent.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.cursor.has_begun()
    }

    /// Tags dropped so far.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.cursor.drops()
    }

    /// Tags dropped since this was last asked.
    pub fn take_drops(&mut self) -> u64 {
        let since = self.drops() - self.reported;
        self.reported = self.drops();
        since
    }

    /// How far the session is behind, as last measured.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.lag.lag
    }

    /// How far behind the session was over time.
    #[must_use]
    pub fn lags(&self) -> Histogram {
        self.lag.lags
    }

    /// Bytes of the session that were acknowledged in all, as last measured.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.lag.acknowledged
    }

    /// How long data has waited without any of it being acknowledged, as last measured.
    fn stalled(&self, now: Instant) -> Duration {
        self.lag.waiting_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether something was not acknowledged when that was last measured.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.lag.waiting_since.is_some()
    }

    /// How far the stream is since the session began; zero before that.
    pub(crate) fn session_time(&self, ring: &Ring) -> Duration {
        self.cursor.base().map_or(Duration::ZERO, |base| millis(ring.newest().millis_since(base)))
    }

    /// How far the times in the session are; zero before it began.
    pub(crate) fn wire_time(&self, ring: &Ring) -> Duration {
        let zero = self.zero.as_deref().copied().or(self.cursor.base());
        zero.map_or(Duration::ZERO, |zero| millis(ring.newest().millis_since(zero)))
    }

    /// Bytes of the session that were queued before the first of its media, once there is any.
    #[must_use]
    pub fn media_from(&self) -> Option<u64> {
        self.media_from
    }

    /// Why the connection to `host` is to be given up, as last measured: it is too far behind, or took nothing for too long.
    ///
    /// # Errors
    ///
    /// [`Error::TooSlow`], [`Error::Stalled`].
    pub fn check_pace(&self, now: Instant, host: impl Fn() -> String) -> Result<(), Error> {
        if self.is_too_slow() {
            let limit = self.policy.disconnect_after;
            return Err(Error::TooSlow { host: host(), lag: self.lag(), limit });
        }
        let after = self.stalled(now);
        if after > self.policy.stall_after {
            return Err(Error::Stalled { host: host(), after });
        }
        Ok(())
    }

    /// Whether the session is so far behind that the connection is to be given up, as last measured. Never while the
    /// stream's tags can be made again: then it skips.
    fn is_too_slow(&self) -> bool {
        !self.refillable && self.lag.lag > self.policy.disconnect_after
    }

    /// Prepares tags for the socket, as many as fit; `false` when there is no more to prepare.
    pub fn fill(&mut self, ring: &Ring, session: &mut impl MediaSession) -> bool {
        if self.cursor() < ring.start() {
            // What it had not sent is gone: it goes on with what is left, from a keyframe.
            self.cursor.lose_until(ring.start(), Skipping::Pictures);
            self.lag.allowance = Duration::ZERO;
        }
        let prepared = match (ring.is_refillable(), self.lag.lag.is_zero()) {
            (false, _) => PREPARED,
            (true, true) => PREPARED_AGAIN,
            (true, false) => PREPARED_BEHIND,
        };
        if session.wire().len() >= prepared {
            return true;
        }
        // At its keyframe it waits until the peer has taken enough of what was before.
        if self.cursor.skipping() == Skipping::Everything && !self.may_resume() {
            return false;
        }
        // One that keeps up is where most others are.
        let has_all = self.cursor.has_begun() && self.cursor.skipping() == Skipping::Nothing;
        if has_all
            && self.ends.is_none()
            && self.lag.lag.is_zero()
            && ring.read_together(self.cursor(), session.takes_all_tracks(), |tags| {
                self.take_together(tags, session)
            }) == Some(true)
        {
            let done = self.cursor() >= ring.end();
            if done || session.wire().len() >= prepared {
                return !done;
            }
        }
        ring.read(self.cursor(), &mut |read| {
            match read {
                Read::Tag(entry) => match self.ends.as_mut().map_or(Near::Before, |ends| ends.near(entry)) {
                    Near::Before => self.take(ring, entry, session),
                    Near::Theirs => self.cursor.sent_until(entry.number + 1),
                    Near::Over => return false,
                },
                Read::Lost(count) => self.cursor.lose_until(self.cursor() + count, Skipping::Pictures),
            }
            session.wire().len() < prepared
        })
    }

    /// Prepares tags at the cursor that are the same for many sessions. None of them is older than what this one was sent
    /// before, since they follow it.
    fn take_together(&mut self, tags: &Together, session: &mut impl MediaSession) -> bool {
        let sent = session.send_batch(tags);
        if sent {
            self.cursor.sent_until(tags.end);
            self.lag.queued(session.wire().total_in(), tags.oldest);
        }
        sent
    }

    /// Prepares the tag at the cursor, or leaves it out.
    fn take(&mut self, ring: &Ring, entry: &Entry, session: &mut impl MediaSession) {
        let tag = entry.message.tag();
        let may_resume = self.may_resume();
        match self.cursor.offer(entry, || may_resume) {
            Offer::Begin { headers, first } => {
                if first {
                    // What a player is given at once to begin with is not what it is behind.
                    self.lag.allowance = millis(ring.due().millis_since(tag.timestamp));
                    if self.clock == SessionClock::FromZero {
                        self.zero = self.shared.as_ref().map(|shared| shared.join(tag.timestamp));
                        session.set_base(self.zero.as_deref().copied().unwrap_or(tag.timestamp));
                    }
                    self.media_from = Some(session.wire().total_in());
                }
                for header in headers.at(tag.timestamp) {
                    session.send_tag(&header);
                }
            }
            Offer::Send => {}
            Offer::Before | Offer::Dropped => return,
        }
        if tag.kind == TagKind::Script {
            session.send_tag(tag);
        } else {
            session.send_shared(&entry.message);
        }
        self.lag.queued(session.wire().total_in(), tag.timestamp);
    }

    fn may_resume(&self) -> bool {
        let limit = if self.refillable { self.policy.skip_after } else { self.policy.drop_after };
        !self.has_joined() || self.lag.lag < limit
    }

    /// Measures the lag and begins to drop where it is too large. `unsent` are bytes on our side of the kernel,
    /// `unacknowledged` those on its side. To be called once a tick.
    pub fn measure(&mut self, now: Instant, ring: &Ring, total_in: u64, unsent: u64, unacknowledged: u64) {
        let acknowledged = total_in.saturating_sub(unsent + unacknowledged);
        let oldest_waiting =
            if self.has_joined() { ring.time_of(self.cursor().max(ring.start())) } else { None };
        self.lag.measure(now, ring.due(), acknowledged, oldest_waiting);
        self.refillable = ring.is_refillable();
        if !self.has_joined() {
            return;
        }
        if self.refillable {
            if self.lag.lag >= self.policy.skip_after {
                self.skip_ahead(ring);
            }
        } else if self.lag.lag >= self.policy.drop_after {
            self.cursor.skip(Skipping::Pictures);
        }
    }

    /// Goes on at the newest keyframe, or at the next one if that is as far behind.
    fn skip_ahead(&mut self, ring: &Ring) {
        let reach = i64::try_from(self.policy.skip_after.as_millis()).unwrap_or(i64::MAX);
        let join = ring.join_within(reach).filter(|&join| join >= self.cursor());
        self.cursor.lose_until(join.unwrap_or_else(|| ring.end()), Skipping::Everything);
        self.cursor.skip(Skipping::Everything);
        self.lag.allowance = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests;
