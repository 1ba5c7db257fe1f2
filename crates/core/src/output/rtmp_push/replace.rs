//! Another server or key for a push that is on the air.
//!
//! In: where the push is to go on, from another thread. Out: a second connection beside the first, which goes on at a keyframe where the
//! first one ends. On the stream's thread; the dialer connects.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::session::ClientRole;
use flowcast_rtmp::url::{Destination, Scheme};

use super::connection::Live;
use super::{DRAIN, GOODBYE, KEYFRAME, MEANWHILE, MOST_HOPS, MOST_LEAVING, Route, RtmpPush, State};
use crate::driver::{OutputContext, OutputDriver, OutputState};
use crate::error::Error;
use crate::event::EventKind;
use crate::net::Backoff;
use crate::net::dialer::{Reached, Reply, Request, ServerUrl};
use crate::output::gate::{Intake, Told};
use crate::output::{IfTaken, Target};
use crate::stats::Cutover;

/// What a push is asked to change.
pub(in crate::output) struct Replace {
    pub(in crate::output) change: Change,
    pub(in crate::output) if_taken: IfTaken,
    /// Called once it has changed.
    pub(in crate::output) note: Note,
}

pub(in crate::output) type Note = Box<dyn FnOnce() + Send>;

/// What goes on if the server does not take what it was given up for, and who hears if it does.
pub(super) struct Before {
    to: Target,
    note: Option<Note>,
    why: Why,
    /// How long there is to be no connection.
    pause: Duration,
}

/// Why a connection takes the place of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The program asked for another server or key.
    Replace,
    /// The one on the air has been there for long enough.
    Rotation,
}

pub(in crate::output) enum Change {
    Target(Box<Target>),
    Key(StreamKey),
}

/// The dialer's answer about a connection that is to take over.
pub(super) struct NextAnswer {
    attempt: u64,
    result: Result<Reached, Error>,
}

/// A connection that is to take over.
pub(super) struct Next {
    to: Target,
    /// Where the server sent it.
    elsewhere: Option<Destination>,
    hops: u32,
    if_taken: IfTaken,
    attempt: u64,
    note: Option<Note>,
    why: Why,
    state: NextState,
}

enum NextState {
    Dialing {
        cancelled: Arc<AtomicBool>,
        /// The server was asked to let it in, and may have done so.
        asked: Arc<AtomicBool>,
    },
    Ready(Box<Live>),
    Gone,
}

impl Next {
    pub(super) fn new(to: Target, if_taken: IfTaken, why: Why) -> Self {
        let state = NextState::Gone;
        Self { to, elsewhere: None, hops: 0, if_taken, attempt: 0, note: None, why, state }
    }

    pub(super) fn why(&self) -> Why {
        self.why
    }

    /// Whether the server has let it in, or has only to say so.
    pub(super) fn is_at_the_door(&self) -> bool {
        match &self.state {
            NextState::Dialing { asked, .. } => self.why == Why::Rotation && asked.load(Ordering::Acquire),
            NextState::Ready(_) => true,
            NextState::Gone => false,
        }
    }

    fn peer(&self) -> &Destination {
        self.elsewhere.as_ref().unwrap_or(&self.to.destination)
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        match &mut self.state {
            NextState::Dialing { cancelled, .. } => cancelled.store(true, Ordering::Relaxed),
            NextState::Ready(live) => live.dismiss(),
            NextState::Gone => {}
        }
    }
}

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
    /// Begins to go elsewhere.
    pub(super) fn replace(&mut self, cx: &mut OutputContext<'_>, asked: Replace) -> OutputState {
        if self.finishing || matches!(self.state, State::Ended) {
            return OutputState::Running;
        }
        self.rotation_is_moot(cx);
        if self.next.take().is_some() {
            self.dialer.drop_cancelled();
            self.is_given_up(cx, Why::Replace);
        }
        let to = match asked.change {
            Change::Target(to) => *to,
            Change::Key(key) => match self.route.home.with_other_key(key) {
                Ok(destination) => Target { destination, ..self.target() },
                Err(error) => return self.not_replaced(cx, Error::Url(error)),
            },
        };
        let host = to.destination.host().to_owned();
        cx.notices.push(EventKind::OutputReplacing { output: self.id, host });
        if matches!(self.state, State::Resting) || self.rest.is_some() {
            self.goes_on_later(cx, to, Why::Replace, Some(asked.note));
            return self.turn(cx);
        }
        let mut next = Next::new(to, asked.if_taken, Why::Replace);
        next.note = Some(asked.note);
        self.dial_next(next);
        OutputState::Running
    }

    pub(super) fn dial_next(&mut self, mut next: Next) {
        self.replacements += 1;
        let (cancelled, asked): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let (mailbox, attempt) = (self.mailbox.clone(), self.replacements);
        self.dialer.dial(Request {
            destination: next.peer().clone(),
            role: ClientRole::Publish,
            roots: next.to.roots.clone(),
            config: self.config.connect.clone(),
            // Many may be rotated; somebody waits for a replacement.
            is_again: next.why == Why::Rotation,
            enhanced: next.to.enhanced.is_said(),
            login: None,
            cancelled: cancelled.clone(),
            asked: asked.clone(),
            reply: Reply::new(move |result| {
                mailbox.send(Box::new(NextAnswer { attempt, result }));
            }),
        });
        next.attempt = attempt;
        next.state = NextState::Dialing { cancelled, asked };
        self.next = Some(next);
    }

    /// Learns where the connection that is to take over led, or why nowhere.
    pub(super) fn next_dialed(&mut self, cx: &mut OutputContext<'_>, answer: NextAnswer) -> OutputState {
        let Some(mut next) = self.next.take_if(|next| next.attempt == answer.attempt) else {
            return OutputState::Running;
        };
        let error = match answer.result {
            Ok(Reached::Peer(dialed)) => {
                let capabilities = dialed.session.capabilities().clone();
                let told = self.told_about(next.why);
                let intake = Intake::server(next.to.enhanced, capabilities, next.to.all_tracks, told);
                match Live::new(*dialed, intake, cx, &self.config.lag, self.zero.clone()) {
                    Ok(mut live) => {
                        let is_taken = live.check_codecs(cx.ring, next.peer().host());
                        next.state = NextState::Ready(Box::new(live));
                        match is_taken {
                            Ok(()) => {
                                self.next = Some(next);
                                return self.turn(cx);
                            }
                            Err(error) => error,
                        }
                    }
                    Err(error) => error,
                }
            }
            Ok(Reached::Elsewhere(url)) => match follow(&next, Some(url)) {
                Ok(to) => {
                    next.elsewhere = Some(to);
                    next.hops += 1;
                    self.dial_next(next);
                    return OutputState::Running;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        let may_break = next.if_taken == IfTaken::Break && self.bars(&next.to, &error);
        if may_break && matches!(self.state, State::Live(_)) {
            let (to, note, why) = (next.to.clone(), next.note.take(), next.why);
            return self.break_for(cx, to, Before { to: self.target(), note, why, pause: Duration::ZERO });
        }
        self.does_not_go_on(cx, next.why, error)
    }

    /// What was reported about the output and need not be said again of a connection that takes over.
    fn told_about(&self, why: Why) -> Told {
        match (why, &self.state) {
            (Why::Replace, _) => Told::default(),
            (Why::Rotation, State::Live(live)) => live.intake.clone().into_told(),
            (Why::Rotation, _) => self.told.clone(),
        }
    }

    /// Whether this push itself keeps the other one out.
    fn bars(&self, to: &Target, error: &Error) -> bool {
        let (here, there) = (&self.route.home, &to.destination);
        let is_same = (here.host(), here.app()) == (there.host(), there.app()) && here.key() == there.key();
        is_same && is_taken(error)
    }

    /// The connection that was to take over does not.
    fn does_not_go_on(&mut self, cx: &mut OutputContext<'_>, why: Why, error: Error) -> OutputState {
        match why {
            Why::Replace => self.not_replaced(cx, error),
            Why::Rotation => self.not_rotated(cx, error),
        }
    }

    /// Something else has made it needless.
    pub(super) fn is_given_up(&self, cx: &mut OutputContext<'_>, why: Why) {
        let (output, wait) = (self.id, Duration::ZERO);
        cx.notices.push(match why {
            Why::Replace => {
                let error = Error::Cancelled { what: "replacing an output" };
                EventKind::OutputNotReplaced { output, error }
            }
            Why::Rotation => {
                let error = Error::Cancelled { what: "rotating an output" };
                EventKind::OutputNotRotated { output, error, wait }
            }
        });
    }

    fn not_replaced(&self, cx: &mut OutputContext<'_>, error: Error) -> OutputState {
        cx.notices.push(EventKind::OutputNotReplaced { output: self.id, error });
        OutputState::Running
    }

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
    fn goes_on_later(&mut self, cx: &mut OutputContext<'_>, to: Target, why: Why, note: Option<Note>) {
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
    fn lets_go(&mut self, live: Box<Live>, end: Option<u64>, until: Instant) {
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

    fn has_gone_on(&mut self, cx: &mut OutputContext<'_>, cutover: Cutover, why: Why, note: Option<Note>) {
        if let Some(note) = note {
            note();
        }
        cx.notices.push(match why {
            Why::Replace => EventKind::OutputReplaced { output: self.id, cutover },
            Why::Rotation => {
                self.rotations += 1;
                EventKind::OutputRotated { output: self.id, cutover }
            }
        });
    }

    /// The server takes what the one before was given up for, if one was.
    pub(super) fn is_taken_after_break(&mut self, cx: &mut OutputContext<'_>) {
        if let Some(before) = self.before.take() {
            self.has_gone_on(cx, Cutover::AfterBreak, before.why, before.note);
        }
    }

    /// The connection on the air says goodbye, and another one is dialled after that.
    pub(super) fn break_to_rotate(&mut self, cx: &mut OutputContext<'_>, pause: Duration) -> OutputState {
        let before = Before { to: self.target(), note: None, why: Why::Rotation, pause };
        self.break_for(cx, self.target(), before)
    }

    /// The server takes one publisher at a time: the one on the air says goodbye first.
    fn break_for(&mut self, cx: &mut OutputContext<'_>, to: Target, before: Before) -> OutputState {
        let told = self.told_about(before.why);
        // Dialled as soon as the old connection has left, or after the pause.
        let wait = if before.pause.is_zero() { 2 * GOODBYE } else { before.pause };
        let waiting = State::Waiting { until: cx.now + wait, _hope: None };
        if let State::Live(old) = mem::replace(&mut self.state, waiting) {
            self.lets_go(old, None, cx.now);
            self.leaving.last_mut().map(Leaving::leave);
        }
        self.before = Some(before);
        self.take_target(to, None);
        self.told = told;
        self.turn(cx)
    }

    /// What goes on instead of ending with `error`, if anything does: what there was before, or what is to take over.
    pub(super) fn goes_on(&mut self, cx: &mut OutputContext<'_>, error: &Error) -> bool {
        let is_over = |before: &mut Before| before.why == Why::Replace && !is_taken(error);
        if let Some(before) = self.before.take_if(is_over) {
            self.take_target(before.to, None);
            self.not_replaced(cx, error.clone());
            self.state = State::Idle;
            self.dial();
            return true;
        }
        false
    }

    /// Waits for what is to take over, although the server on the air refuses the push for good.
    pub(super) fn waits_for_next(&mut self, now: Instant) -> bool {
        let waits = self.next.is_some();
        if waits {
            self.state = State::Waiting { until: now + MEANWHILE, _hope: None };
        }
        waits
    }

    pub(super) fn target(&self) -> Target {
        Target {
            destination: self.route.home.clone(),
            roots: self.roots.clone(),
            reconnect: self.reconnect.clone(),
            enhanced: self.enhanced,
            all_tracks: self.all_tracks,
            rotation: self.rotation,
            backup: None,
        }
    }

    fn take_target(&mut self, to: Target, elsewhere: Option<Destination>) {
        let Target { destination, roots, reconnect, enhanced, all_tracks, rotation, backup: _ } = to;
        self.name = Some(destination.to_string());
        self.route = Route { home: destination, elsewhere, hops: 0 };
        let policy = reconnect.clone().unwrap_or_else(|| self.config.reconnect.clone());
        self.backoff = Backoff::new(policy);
        (self.roots, self.reconnect, self.enhanced, self.all_tracks) =
            (roots, reconnect, enhanced, all_tracks);
        self.rotation = rotation;
        self.told = Told::default();
    }
}

/// Whether the server says that the name has a publisher.
fn is_taken(error: &Error) -> bool {
    use flowcast_rtmp::error::Error::Rejected;
    let Error::Rtmp { source: Rejected { code, .. }, .. } = error else { return false };
    code == "NetStream.Publish.BadName" && error.is_retryable()
}

/// The address a server sends the connection to: that, or the same once more.
fn follow(next: &Next, url: Option<ServerUrl>) -> Result<Destination, Error> {
    let lost = |reason: &str| {
        let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, reason);
        Error::ConnectionLost { host: next.peer().host().to_owned(), source: source.into() }
    };
    if next.hops == MOST_HOPS {
        return Err(lost("the server redirects again and again"));
    }
    let Some(ServerUrl(url)) = url else { return Ok(next.peer().clone()) };
    let to = next.to.destination.moved_to(&url);
    let to = to.map_err(|_| lost("the server redirects to a malformed address"))?;
    if to.scheme() == Scheme::Rtmp && next.to.destination.scheme() == Scheme::Rtmps {
        return Err(lost("the server redirects to an address without TLS"));
    }
    Ok(to)
}
