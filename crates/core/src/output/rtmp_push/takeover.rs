//! Connections beside the one on the air: the one that is to take over, and those that were taken over from.
//!
//! In: the stream's turns, and what the servers say. Out: a cutover at a keyframe, and goodbyes. On the stream's thread.

use std::mem;
use std::time::Instant;

use super::connection::Live;
use super::replace::{NextState, Note, Why, follow};
use super::{DRAIN, GOODBYE, KEYFRAME, MOST_LEAVING, RtmpPush, State};
use crate::driver::OutputContext;
use crate::error::Error;
use crate::event::EventKind;
use crate::net::dialer::ServerUrl;
use crate::output::Target;
use crate::stats::Cutover;

/// A connection that was taken over from: it sends what is left, and says goodbye.
pub(super) struct Leaving {
    pub(super) live: Box<Live>,
    host: String,
    /// The source rests: nothing that comes later is for this one.
    pub(super) end: Option<u64>,
    until: Instant,
}

impl Leaving {
    /// Whether it is gone, and whether it has more to do at once.
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> (bool, bool) {
        let mut more = false;
        loop {
            let finishing = self.live.said_goodbye;
            match self.live.pump(cx, &self.host, finishing) {
                Ok(left) => more |= left,
                // A peer that closes first is as good.
                Err(_) => return (true, false),
            }
            let feed = &self.live.feed;
            let is_over = feed.is_over() || self.end.is_some_and(|end| feed.cursor() >= end);
            if finishing || !(is_over || cx.now >= self.until) {
                break;
            }
            if !is_over {
                self.live.feed.give_up_rest();
            }
            self.leave();
        }
        let late = cx.now >= self.until + GOODBYE;
        (self.live.said_goodbye && (self.live.has_left() || late), more)
    }

    pub(super) fn leave(&mut self) {
        if !mem::replace(&mut self.live.said_goodbye, true) {
            self.live.session.finish();
        }
    }
}

impl RtmpPush {
    /// Serves the connections beside the one on the air; `true` if there is more to do at once.
    pub(super) fn turn_beside(&mut self, cx: &mut OutputContext<'_>) -> bool {
        self.turn_next(cx);
        let mut leaving = mem::take(&mut self.leaving);
        let (mut more, before) = (false, leaving.len());
        leaving.retain_mut(|leaving| {
            let (gone, left) = leaving.turn(cx);
            more |= left;
            if gone {
                let tags = leaving.live.feed.take_drops();
                if tags > 0 {
                    cx.notices.push(EventKind::OutputDropped { output: self.id, tags });
                }
                self.end_one(leaving);
            }
            !gone
        });
        self.leaving = leaving;
        let is_free = self.before.as_ref().is_some_and(|before| before.pause.is_zero());
        if before > 0 && self.leaving.is_empty() && is_free && matches!(self.state, State::Waiting { .. }) {
            // The server is free for the one it did not let in.
            self.dial();
        }
        more
    }

    /// The source rests: what is to take over is where the push goes on after that.
    pub(super) fn rest_beside(&mut self, cx: &mut OutputContext<'_>) {
        for leaving in &mut self.leaving {
            leaving.end.get_or_insert(cx.ring.end());
        }
        self.rotation_is_moot(cx);
        if let Some(mut next) = self.next.take() {
            self.dialer.drop_cancelled();
            self.goes_on_later(cx, next.to.clone(), next.why, next.note.take());
        }
    }

    /// The push goes on there once the source gives again. What is on the air does not: it sends what came before the rest.
    pub(super) fn goes_on_later(
        &mut self,
        cx: &mut OutputContext<'_>,
        to: Target,
        why: Why,
        note: Option<Note>,
    ) {
        if matches!(self.state, State::Live(_))
            && let State::Live(old) = mem::replace(&mut self.state, State::Resting)
        {
            let end = self.rest.map_or(cx.ring.end(), |(end, _)| end);
            self.lets_go(old, Some(end), cx.now + DRAIN);
        }
        if let Some(before) = self.before.take() {
            self.is_given_up(cx, before.why);
        }
        self.take_target(to, None);
        self.has_gone_on(cx, Cutover::WasOff, why, note);
    }

    /// The connection that was on the air leaves: it has until then to send what is left.
    pub(super) fn lets_go(&mut self, live: Box<Live>, end: Option<u64>, until: Instant) {
        if self.leaving.len() >= MOST_LEAVING {
            let mut oldest = self.leaving.remove(0);
            self.end_one(&mut oldest);
        }
        let host = self.route.peer().host().to_owned();
        self.leaving.push(Leaving { live, host, end, until });
    }

    /// What was taken over from is gone.
    pub(super) fn end_leaving(&mut self) {
        for mut leaving in mem::take(&mut self.leaving) {
            self.end_one(&mut leaving);
        }
    }

    /// The same, and nothing more is sent.
    pub(super) fn cut_leaving(&mut self) {
        self.leaving.iter_mut().for_each(|leaving| leaving.live.transport.cut());
        self.end_leaving();
    }

    fn end_one(&mut self, leaving: &mut Leaving) {
        self.sent_before += leaving.live.bytes();
        self.drops_before += leaving.live.feed.drops();
        leaving.live.transport.close();
    }

    fn turn_next(&mut self, cx: &mut OutputContext<'_>) {
        let Some(next) = &mut self.next else { return };
        let host = next.peer().host().to_owned();
        let NextState::Ready(live) = &mut next.state else { return };
        let place = match &mut self.state {
            // The newest keyframe the old connection has not sent: there it ends, and the other one begins.
            State::Live(old) => cx.ring.join_from(old.feed.cursor()),
            _ => None,
        };
        let is_on_air = matches!(self.state, State::Live(_));
        if place.is_some() || !is_on_air {
            // What the stream is made of may have changed since it was let in.
            if let Err(error) = live.check_codecs(cx.ring, &host) {
                return self.lost_next(cx, error);
            }
            let (Some((place, time)), State::Live(old)) = (place, &mut self.state) else {
                return self.take_over(cx, Cutover::WasOff);
            };
            old.feed.end_at(place, time);
            live.feed.begin_at(place);
            return self.take_over(cx, Cutover::AtKeyframe);
        }
        // Nothing to send yet: it is only listened to.
        let pumped = live.pump(cx, &host, true);
        let (waited, elsewhere) = (live.on_air(cx.now), live.wanted_elsewhere.take());
        match (pumped, elsewhere) {
            (Err(error), _) => self.lost_next(cx, error),
            (Ok(_), Some(url)) => self.next_elsewhere(cx, url),
            (Ok(_), None) if waited >= KEYFRAME => {
                self.lost_next(cx, Error::SourceNotReady { after: KEYFRAME });
            }
            (Ok(_), None) => {}
        }
    }

    /// The connection that was let in to take over does not.
    fn lost_next(&mut self, cx: &mut OutputContext<'_>, error: Error) {
        if let Some(next) = self.next.take() {
            self.does_not_go_on(cx, next.why, error);
        }
    }

    /// The server wants the connection that is to take over elsewhere, before that has sent anything.
    fn next_elsewhere(&mut self, cx: &mut OutputContext<'_>, url: Option<ServerUrl>) {
        let Some(mut next) = self.next.take() else { return };
        match follow(&next, url) {
            Ok(to) => {
                if let NextState::Ready(live) = &mut next.state {
                    live.dismiss();
                }
                next.elsewhere = Some(to);
                next.hops += 1;
                self.dial_next(next);
            }
            Err(error) => {
                self.does_not_go_on(cx, next.why, error);
            }
        }
    }

    /// The connection that is ready is the one on the air from here on.
    fn take_over(&mut self, cx: &mut OutputContext<'_>, cutover: Cutover) {
        let Some(mut next) = self.next.take() else { return };
        let NextState::Ready(live) = mem::replace(&mut next.state, NextState::Gone) else { return };
        match mem::replace(&mut self.state, State::Idle) {
            State::Live(old) => self.lets_go(old, None, cx.now + DRAIN),
            state => {
                self.state = state;
                self.close_connection();
            }
        }
        self.state = State::Live(live);
        self.take_target(next.to.clone(), next.elsewhere.clone());
        self.backoff.connected(cx.now);
        self.begin_to_age();
        if next.why == Why::Replace {
            self.broadcast.begin(cx.now, cx.ring.newest());
        }
        if cutover == Cutover::WasOff {
            let (reconnects, failures) = (self.connections, self.failures);
            cx.notices.push(EventKind::OutputLive { output: self.id, reconnects, failures });
            self.connections += 1;
        }
        (self.failures, self.last_error, self.settled) = (0, None, true);
        if let Some(before) = self.before.take() {
            // What the one before was given up for never came to be.
            self.is_given_up(cx, before.why);
        }
        self.has_gone_on(cx, cutover, next.why, next.note.take());
    }
}
