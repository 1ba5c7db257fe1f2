//! The turns of a push, and how it rests, ends and is shown.
//!
//! In: the stream's turns, and messages of the dialer and of other threads. Out: what [`RtmpPush`] does next. On the stream's thread.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::time::Instant;

use flowcast_rtmp::url::Scheme;

use super::hope::Back;
use super::replace::{NextAnswer, Replace};
use super::takeover::Leaving;
use super::{ANSWER, Answer, DRAIN, RtmpPush, State};
use crate::driver::{LinkState, OutputContext, OutputDriver, OutputState, Readiness};
use crate::stats::{OutputPhase, OutputStats, OutputTransport};

impl RtmpPush {
    /// Its turn, without what is beside the connection on the air.
    fn take_turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if let Some((end, until)) = self.rest
            && !self.finishing
        {
            return self.leave(cx, end, until);
        }
        match &mut self.state {
            State::Idle if self.finishing => self.state = State::Ended,
            State::Idle => self.dial_unless_paused(cx.now),
            State::Waiting { until, .. } if *until <= cx.now => self.dial_unless_paused(cx.now),
            State::Live(live) => {
                let host = self.route.peer().host();
                let is_measured = cx.tick && (live.is_to_be_measured() || self.dial.adapts());
                let measured = if is_measured { live.measure(cx, self.id, host) } else { Ok(()) };
                let pumped = measured.and_then(|()| live.pump(cx, host, self.finishing));
                if self.first_media.is_none() && live.has_sent_media() {
                    self.first_media = Some(Instant::now());
                }
                let wanted = live.wanted_elsewhere.take().filter(|_| pumped.is_ok() && !self.finishing);
                if let Some(url) = wanted {
                    live.session.finish();
                    let _ = live.transport.write(live.session.wire(), usize::MAX);
                    return self.go_elsewhere(cx, url);
                }
                let state = match &pumped {
                    Ok(_) if is_measured => self.rotate_if_due(cx),
                    _ => OutputState::Running,
                };
                return match pumped {
                    Ok(true) => OutputState::More,
                    Ok(false) => state,
                    Err(error) => self.failed(cx, error),
                };
            }
            State::Dialing { .. } | State::Waiting { .. } | State::Resting | State::Ended => {}
        }
        OutputState::Running
    }
}

impl OutputDriver for RtmpPush {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        let more = (self.next.is_some() || !self.leaving.is_empty()) && self.turn_beside(cx);
        match self.take_turn(cx) {
            OutputState::Running if more => OutputState::More,
            state => state,
        }
    }

    fn deliver(&mut self, cx: &mut OutputContext<'_>, message: Box<dyn Any + Send>) -> OutputState {
        let message = match message.downcast::<Answer>() {
            Ok(answer) => return self.dialed(cx, answer.attempt, answer.result),
            Err(message) => message,
        };
        let message = match message.downcast::<NextAnswer>() {
            Ok(answer) => return self.next_dialed(cx, *answer),
            Err(message) => message,
        };
        let message = match message.downcast::<Replace>() {
            Ok(asked) => return self.replace(cx, *asked),
            Err(message) => message,
        };
        if message.downcast::<Back>().is_ok_and(|back| back.attempt == self.attempt)
            && matches!(self.state, State::Waiting { .. })
        {
            self.dial_unless_paused(cx.now);
        }
        OutputState::Running
    }

    fn rest(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        if self.finishing {
            return self.turn(cx);
        }
        // Nobody has to wait for it to begin.
        self.settled = true;
        self.rest_beside(cx);
        self.rest = Some((cx.ring.end(), cx.now + DRAIN));
        match self.state {
            State::Live(_) => return self.turn(cx),
            State::Ended => {}
            _ => {
                self.close_connection();
                self.state = State::Resting;
            }
        }
        OutputState::Running
    }

    fn resume(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.rest = None;
        match &self.state {
            // A peer that was not told goes on as if nothing had been.
            State::Live(live) if live.said_goodbye => {
                self.close_connection();
            }
            State::Resting => self.state = State::Idle,
            _ => {}
        }
        self.turn(cx)
    }

    fn cursor(&self) -> Option<u64> {
        let leaving = self.leaving.iter().filter(|leaving| !leaving.live.said_goodbye);
        let live = match &self.state {
            State::Live(live) => Some(live),
            _ => None,
        };
        let lives = live.into_iter().chain(leaving.map(|leaving| &leaving.live));
        lives.map(|live| live.feed.cursor()).min()
    }

    fn is_away(&self) -> bool {
        matches!(self.state, State::Idle | State::Dialing { .. } | State::Waiting { .. })
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.finishing = true;
        if self.next.take().is_some() {
            self.dialer.drop_cancelled();
        }
        self.leaving.iter_mut().for_each(Leaving::leave);
        match &mut self.state {
            State::Live(live) => live.session.finish(),
            // Its answer is waited for, to say goodbye: else the peer would wait for the stream, and its name not be free.
            State::Dialing { asked, .. } if asked.load(Ordering::Acquire) => {
                self.answer_by.get_or_insert(cx.now + ANSWER);
            }
            _ => {
                self.close_connection();
                self.state = State::Ended;
            }
        }
    }

    fn cut(&mut self) {
        self.finishing = true;
        if self.next.take().is_some() {
            self.dialer.drop_cancelled();
        }
        self.cut_leaving();
        match &mut self.state {
            State::Ended => return,
            State::Live(live) => live.transport.cut(),
            _ => {}
        }
        self.close_connection();
        self.state = State::Ended;
    }

    fn is_finished(&mut self) -> bool {
        // All of them begin to close.
        let left = self.leaving.iter_mut().map(|leaving| leaving.live.has_left());
        if !left.fold(true, |all, left| all & left) {
            return false;
        }
        self.end_leaving();
        match &mut self.state {
            State::Live(live) => {
                let done = live.has_left();
                if done {
                    self.close_connection();
                    self.state = State::Ended;
                }
                done
            }
            // There is no answer. The dialer says goodbye when the attempt is given up.
            State::Dialing { .. } if self.answer_by.is_some_and(|by| by <= Instant::now()) => {
                self.close_connection();
                self.state = State::Ended;
                true
            }
            State::Ended => true,
            _ => false,
        }
    }

    fn readiness(&self) -> Readiness {
        if self.settled { Readiness::Settled } else { Readiness::Pending }
    }

    fn first_media(&self) -> Option<Instant> {
        self.first_media
    }

    fn link(&self) -> Option<LinkState> {
        match &self.state {
            State::Live(live) if live.feed.has_joined() => Some(live.link()),
            _ => None,
        }
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = match &self.state {
            State::Idle | State::Dialing { .. } => OutputPhase::Connecting,
            State::Waiting { .. } => OutputPhase::Waiting,
            State::Resting => OutputPhase::Resting,
            State::Live(_) => OutputPhase::Live,
            State::Ended => OutputPhase::Ended,
        };
        if let Some(name) = &self.name {
            stats.name.clone_from(name);
        }
        // What is in the kernel is of the moment, and may be left from the last time.
        (stats.bytes_sent, stats.drops, stats.bytes_in_kernel) = (self.sent_before, self.drops_before, 0);
        for Leaving { live, .. } in &self.leaving {
            stats.bytes_sent += live.bytes();
            stats.drops += live.feed.drops();
            stats.bytes_in_kernel += live.transport.unacknowledged();
        }
        stats.reconnects = self.connections.saturating_sub(1);
        stats.rotations = self.rotations;
        stats.backup_of = self.backup_of;
        stats.transport = match self.route.peer().scheme() {
            Scheme::Rtmp => OutputTransport::Rtmp,
            Scheme::Rtmps => OutputTransport::Rtmps,
        };
        stats.failures = self.failed;
        stats.last_error.clone_from(&self.last_error);
        if let State::Live(live) = &self.state {
            stats.bytes_sent += live.bytes();
            stats.drops += live.feed.drops();
            (stats.lag, stats.lags) = (live.feed.lag(), live.feed.lags());
            stats.bytes_in_kernel += live.transport.unacknowledged();
        }
        stats.bytes_held = stats.bytes_in_kernel;
    }
}

impl Drop for RtmpPush {
    fn drop(&mut self) {
        self.end_leaving();
        self.close_connection();
    }
}
