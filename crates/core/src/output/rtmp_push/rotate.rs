//! A push goes on with a new connection, as planned.
//!
//! In: how long the connection on the air has been there, with the stream's turns. Out: a second connection to the same server with the same
//! key, which takes over at a keyframe. Nothing is done between two measurements of the lag. On the stream's thread; time is an argument.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::time::MediaTime;
use parking_lot::Mutex;

use super::replace::{Next, Why};
use super::{RtmpPush, State};
use crate::config::ReconnectPolicy;
use crate::driver::{OutputContext, OutputState};
use crate::error::Error;
use crate::event::EventKind;
use crate::net::{Backoff, random};
use crate::output::Rotation;

/// Many receivers keep times in 31 bits: no session goes on for longer.
const WRAP: Duration = Duration::from_millis(1 << 31);
/// What is planned by nobody is rotated this long before that, and from here on with a break if there is no other way.
const UNPLANNED: Duration = WRAP.saturating_sub(Duration::from_secs(24 * 3600));
const LAST: Duration = WRAP.saturating_sub(Duration::from_secs(3600));
/// The most by which a rotation is earlier than planned: a twentieth, and at most this.
const SPREAD_PART: u32 = 20;
const SPREAD_MOST: Duration = Duration::from_secs(3600);

/// Sessions of a pair begin earlier than this after the zero they share, milliseconds: who is rotated for its times gets another zero.
pub(in crate::output) const MOST_SESSION: i64 =
    UNPLANNED.saturating_sub(SPREAD_MOST).saturating_sub(SPREAD_MOST).as_millis() as i64;

/// When the connection on the air is to be rotated.
pub(super) struct Rotating {
    /// How long it is on the air then.
    at: Duration,
    /// How far the times in it are then.
    times: Duration,
    /// Not tried before, because that failed lately.
    not_before: Option<Instant>,
    waits: Backoff,
}

impl Rotating {
    /// Of a connection that begins; `random` is uniform in 0..1.
    pub(super) fn new(rotation: Option<&Rotation>, random: f64) -> Self {
        let after = rotation.map_or(UNPLANNED, |rotation| rotation.after.min(UNPLANNED));
        let spread = (after / SPREAD_PART).min(SPREAD_MOST);
        let waits = ReconnectPolicy::default().with(|waits| {
            (waits.first, waits.factor, waits.cap) = (Duration::from_secs(10), 2.0, Duration::from_secs(600));
        });
        Self {
            at: after.saturating_sub(spread.mul_f64(random)),
            times: UNPLANNED.saturating_sub(SPREAD_MOST.mul_f64(random)),
            not_before: None,
            waits: Backoff::new(waits),
        }
    }

    /// Whether it is time, `aired` after the connection began; `times` is how far the times in it are.
    pub(super) fn is_due(&self, now: Instant, aired: Duration, times: Duration) -> bool {
        (aired >= self.at || times >= self.times) && self.not_before.is_none_or(|at| at <= now)
    }

    /// It cannot be rotated: how long until it is tried again.
    fn failed(&mut self, now: Instant, random: f64) -> Duration {
        let wait = self.waits.failed(now, random).unwrap_or(SPREAD_MOST);
        self.not_before = Some(now + wait);
        wait
    }
}

/// What a platform takes for one broadcast, where that ends with a pause: connections with less than the pause between them, also those
/// of its two ingests.
#[derive(Debug, Clone, Default)]
pub(in crate::output) struct Broadcast(Arc<Mutex<OnAir>>);

#[derive(Debug, Default)]
struct OnAir {
    /// Since when, by the clock and in the stream's time.
    since: Option<(Instant, MediaTime)>,
    /// When a connection was last seen.
    seen: Option<Instant>,
    /// There is to be no connection until then.
    off_until: Option<Instant>,
}

impl Broadcast {
    /// Begins anew.
    pub(super) fn begin(&self, now: Instant, media: MediaTime) {
        *self.0.lock() = OnAir { since: Some((now, media)), seen: Some(now), off_until: None };
    }

    /// A connection is on the air: it begins anew if there was none for as long as `pause`.
    fn goes_on(&self, now: Instant, media: MediaTime, pause: Duration) {
        let seen = self.0.lock().seen;
        if seen.is_none_or(|seen| now.saturating_duration_since(seen) >= pause) {
            self.begin(now, media);
        }
    }

    /// How old it is while a connection is on the air; `None` if it has been ended.
    fn age(&self, now: Instant, media: MediaTime) -> Option<Duration> {
        let mut on_air = self.0.lock();
        on_air.seen = Some(now);
        let (since, first) = on_air.since?;
        let by_media = Duration::from_millis(u64::try_from(media.millis_since(first)).unwrap_or(0));
        Some(now.saturating_duration_since(since).max(by_media))
    }

    /// Ends, with a pause.
    fn end(&self, now: Instant, pause: Duration) {
        *self.0.lock() = OnAir { off_until: Some(now + pause), ..OnAir::default() };
    }

    /// How long there is to be no connection.
    fn off_until(&self, now: Instant) -> Option<Instant> {
        self.0.lock().off_until.filter(|until| *until > now)
    }
}

impl RtmpPush {
    /// The pause between two broadcasts; zero if a broadcast does not end with the connection.
    fn pause(&self) -> Duration {
        self.rotation.map_or(Duration::ZERO, |rotation| rotation.pause)
    }

    /// Until when this push is not to be on the air, as planned for it or for the other ingest.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        if self.pause().is_zero() { None } else { self.broadcast.off_until(now) }
    }

    /// Dials, or waits for the end of a pause.
    pub(super) fn dial_unless_paused(&mut self, now: Instant) {
        match self.paused_until(now) {
            Some(until) => self.state = State::Waiting { until, _hope: None },
            None => self.dial(),
        }
    }

    /// A connection that was dialled is on the air.
    pub(super) fn goes_on_as_broadcast(&self, cx: &OutputContext<'_>) {
        if !self.pause().is_zero() {
            self.broadcast.goes_on(cx.now, cx.ring.newest(), self.pause());
        }
    }

    /// A connection is on the air, from here on.
    pub(super) fn begin_to_age(&mut self) {
        self.rotating = Rotating::new(self.rotation.as_ref(), random::unit());
    }

    /// Begins to rotate the connection on the air, if it is time.
    pub(super) fn rotate_if_due(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        let State::Live(live) = &self.state else { return OutputState::Running };
        let (in_session, on_air) = (live.feed.session_time(cx.ring), live.on_air(cx.now));
        let mut aired = in_session.max(on_air);
        let is_busy =
            self.next.is_some() || !self.leaving.is_empty() || self.before.is_some() || self.finishing;
        let times = live.feed.wire_time(cx.ring);
        let rotation = self.rotation.unwrap_or_default();
        let mut paused = None;
        if !rotation.pause.is_zero() {
            paused = self.broadcast.off_until(cx.now);
            aired = self.broadcast.age(cx.now, cx.ring.newest()).unwrap_or(aired);
        }
        let is_due = paused.is_some() || self.rotating.is_due(cx.now, aired, times);
        if !is_due || is_busy || live.said_goodbye {
            return OutputState::Running;
        }
        cx.notices.push(EventKind::OutputRotating { output: self.id, after: aired });
        if let Some(until) = paused {
            // The other ingest has begun it.
            return self.break_to_rotate(cx, until.saturating_duration_since(cx.now));
        }
        if !rotation.pause.is_zero() {
            self.broadcast.end(cx.now, rotation.pause);
            return self.break_to_rotate(cx, rotation.pause);
        }
        self.dial_next(Next::new(self.target(), rotation.if_taken, Why::Rotation));
        OutputState::Running
    }

    /// The connection that was to take over as planned cannot: the one on the air goes on, if it may.
    pub(super) fn not_rotated(&mut self, cx: &mut OutputContext<'_>, error: Error) -> OutputState {
        if matches!(&self.state, State::Live(live) if live.feed.wire_time(cx.ring) >= LAST) {
            return self.break_to_rotate(cx, Duration::ZERO);
        }
        if !matches!(self.state, State::Live(_)) {
            // The one on the air was lost, and this one would have been as good.
            self.is_given_up(cx, Why::Rotation);
            self.dial();
            return OutputState::Running;
        }
        let wait = self.rotating.failed(cx.now, random::unit());
        cx.notices.push(EventKind::OutputNotRotated { output: self.id, error, wait });
        OutputState::Running
    }

    /// What is on the air ends, or is lost, while another connection is dialled in its place: that one is not needed, since there will be
    /// a new one anyway.
    pub(super) fn rotation_is_moot(&mut self, cx: &mut OutputContext<'_>) {
        if self.next.take_if(|next| next.why() == Why::Rotation).is_some() {
            self.dialer.drop_cancelled();
            self.is_given_up(cx, Why::Rotation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_begin_together_are_rotated_at_different_times_and_never_late() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (rotation, after, most) in [
            (Some(Rotation::YOUTUBE), Rotation::YOUTUBE.after, Rotation::YOUTUBE.after / 20),
            (Some(Rotation::TWITCH), Rotation::TWITCH.after, hours(1)),
            (Some(Rotation::after(hours(24 * 23))), hours(24 * 23), hours(1)),
            (None, UNPLANNED, hours(1)),
        ] {
            let at = |random| Rotating::new(rotation.as_ref(), random).at;
            assert_eq!((at(0.0), at(1.0)), (after, after - most));
            let minutes: std::collections::HashMap<_, u32> =
                (0..1000).fold(Default::default(), |mut all, _| {
                    *all.entry(at(random::unit()).as_secs() / 60).or_default() += 1;
                    all
                });
            let busiest = minutes.values().max().copied().unwrap_or_default();
            assert!(busiest <= 80, "{busiest} of 1000 within a minute: {rotation:?}");
        }
    }

    #[test]
    fn what_fails_is_tried_again_less_and_less_and_at_least_every_fifteen_minutes() {
        let mut rotating = Rotating::new(Some(&Rotation::TWITCH), 0.5);
        let (mut now, due) = (Instant::now(), rotating.at);
        assert!(!rotating.is_due(now, due.saturating_sub(Duration::from_millis(1)), due));
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert!(rotating.is_due(now, due, due));
            let wait = rotating.failed(now, 0.5);
            now += wait;
            assert!(!rotating.is_due(now.checked_sub(Duration::from_millis(1)).unwrap_or(now), due, due));
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600, 600, 600]);
        assert!(rotating.failed(now, 1.0) <= Duration::from_secs(900));
    }

    #[test]
    fn no_session_reaches_31_bits() {
        // From when a break may help, a failed attempt and its wait fit before the end.
        let longest_wait = Duration::from_secs(900);
        assert!(LAST + longest_wait * 2 < WRAP && UNPLANNED < LAST);
        assert!(WRAP.as_millis() == 1 << 31);
        assert!(Rotating::new(None, 0.0).at <= UNPLANNED);
        let again = Rotating::new(Some(&Rotation::TWITCH), 0.0);
        assert!(again.is_due(Instant::now(), Duration::ZERO, UNPLANNED), "young, in times that are old");
        // Who is rotated for its times begins with another zero.
        assert!(Rotating::new(None, 1.0).times.as_millis() as i64 > MOST_SESSION);
        assert!(Rotating::new(Some(&Rotation::after(WRAP)), 0.0).at <= UNPLANNED);
    }
}
