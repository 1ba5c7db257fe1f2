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
use super::{DRAIN, GOODBYE, MOST_HOPS, Route, RtmpPush, State};
use crate::driver::{OutputContext, OutputDriver, OutputState};
use crate::error::Error;
use crate::event::EventKind;
use crate::net::Backoff;
use crate::net::dialer::{Reached, Reply, Request, ServerUrl};
use crate::output::gate::{Intake, Told};
use crate::output::{IfTaken, Target};
use crate::stats::Cutover;

/// A push that was refused for good is dialled again after this long, while another connection is to take its place.
const MEANWHILE: Duration = Duration::from_secs(10);

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
    state: NextState,
}

enum NextState {
    Dialing { cancelled: Arc<AtomicBool> },
    Ready(Box<Live>),
    Gone,
}

impl Next {
    fn peer(&self) -> &Destination {
        self.elsewhere.as_ref().unwrap_or(&self.to.destination)
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        match &mut self.state {
            NextState::Dialing { cancelled } => cancelled.store(true, Ordering::Relaxed),
            NextState::Ready(live) => {
                live.session.finish();
                let _ = live.transport.write(live.session.wire(), usize::MAX);
                live.transport.close();
            }
            NextState::Gone => {}
        }
    }
}

/// A connection that was taken over from: it sends what is left, and says goodbye.
pub(super) struct Leaving {
    pub(super) live: Box<Live>,
    host: String,
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
            if finishing || !(self.live.feed.is_over() || cx.now >= self.until) {
                break;
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
        if self.next.take().is_some() {
            self.dialer.drop_cancelled();
            self.not_replaced(cx, Error::Cancelled { what: "replacing an output" });
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
        if matches!(self.state, State::Resting) {
            self.take_target(to, None);
            self.replaced(cx, Cutover::WasOff, Some(asked.note));
            return OutputState::Running;
        }
        let Replace { if_taken, note, .. } = asked;
        let (note, state) = (Some(note), NextState::Gone);
        self.dial_next(Next { to, elsewhere: None, hops: 0, if_taken, attempt: 0, note, state });
        OutputState::Running
    }

    fn dial_next(&mut self, mut next: Next) {
        self.replacements += 1;
        let cancelled = Arc::<AtomicBool>::default();
        let (mailbox, attempt) = (self.mailbox.clone(), self.replacements);
        self.dialer.dial(Request {
            destination: next.peer().clone(),
            role: ClientRole::Publish,
            roots: next.to.roots.clone(),
            config: self.config.connect.clone(),
            is_again: false,
            enhanced: next.to.enhanced.is_said(),
            login: None,
            cancelled: cancelled.clone(),
            asked: Arc::default(),
            reply: Reply::new(move |result| {
                mailbox.send(Box::new(NextAnswer { attempt, result }));
            }),
        });
        next.attempt = attempt;
        next.state = NextState::Dialing { cancelled };
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
                let told = Told::default();
                let intake = Intake::server(next.to.enhanced, capabilities, next.to.all_tracks, told);
                match Live::new(*dialed, intake, cx, &self.config.lag) {
                    Ok(live) => {
                        next.state = NextState::Ready(Box::new(live));
                        self.next = Some(next);
                        return self.turn(cx);
                    }
                    Err(error) => error,
                }
            }
            Ok(Reached::Elsewhere(url)) => match follow(&next, url) {
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
            let (to, note) = (next.to.clone(), next.note.take());
            return self.break_for(cx, to, note);
        }
        self.not_replaced(cx, error)
    }

    /// Whether this push itself keeps the other one out.
    fn bars(&self, to: &Target, error: &Error) -> bool {
        let (here, there) = (&self.route.home, &to.destination);
        let is_same = (here.host(), here.app()) == (there.host(), there.app()) && here.key() == there.key();
        is_same && is_taken(error)
    }

    fn not_replaced(&self, cx: &mut OutputContext<'_>, error: Error) -> OutputState {
        cx.notices.push(EventKind::OutputNotReplaced { output: self.id, error });
        OutputState::Running
    }

    /// Serves the connections beside the one on the air; `true` if there is more to do at once.
    pub(super) fn turn_beside(&mut self, cx: &mut OutputContext<'_>) -> bool {
        self.turn_next(cx);
        let Some(leaving) = &mut self.leaving else { return false };
        let (gone, more) = leaving.turn(cx);
        if gone {
            self.end_leaving();
            if self.before.is_some() && matches!(self.state, State::Waiting { .. }) {
                // The server is free for the one it did not let in.
                self.dial();
            }
        }
        more
    }

    /// The source rests: what is to take over is where the push goes on after that.
    pub(super) fn rest_beside(&mut self, cx: &mut OutputContext<'_>) {
        if let Some(leaving) = &mut self.leaving {
            leaving.leave();
        }
        if let Some(mut next) = self.next.take() {
            self.dialer.drop_cancelled();
            self.take_target(next.to.clone(), None);
            self.replaced(cx, Cutover::WasOff, next.note.take());
        }
    }

    /// What was taken over from is gone.
    pub(super) fn end_leaving(&mut self) {
        if let Some(mut leaving) = self.leaving.take() {
            self.sent_before += leaving.live.sent;
            self.drops_before += leaving.live.feed.drops();
            leaving.live.transport.close();
        }
    }

    fn turn_next(&mut self, cx: &mut OutputContext<'_>) {
        let Some(next) = &mut self.next else { return };
        let host = next.peer().host().to_owned();
        let NextState::Ready(live) = &mut next.state else { return };
        let State::Live(old) = &mut self.state else {
            return self.take_over(cx, Cutover::WasOff);
        };
        // The newest keyframe the old connection has not sent: there it ends, and the other one begins.
        let place = cx.ring.newest_join().filter(|&place| place >= old.feed.cursor());
        if let Some((place, time)) = place.and_then(|place| Some((place, cx.ring.time_of(place)?))) {
            old.feed.end_at(place, time);
            live.feed.begin_at(place);
            return self.take_over(cx, Cutover::AtKeyframe);
        }
        // Nothing to send yet: it is only listened to.
        let pumped = live.pump(cx, &host, true);
        if let Err(error) = pumped {
            self.next = None;
            self.not_replaced(cx, error);
        }
    }

    /// The connection that is ready is the one on the air from here on.
    fn take_over(&mut self, cx: &mut OutputContext<'_>, cutover: Cutover) {
        let Some(mut next) = self.next.take() else { return };
        let NextState::Ready(live) = mem::replace(&mut next.state, NextState::Gone) else { return };
        let host = self.route.peer().host().to_owned();
        match mem::replace(&mut self.state, State::Idle) {
            State::Live(old) => {
                self.end_leaving();
                self.leaving = Some(Leaving { live: old, host, until: cx.now + DRAIN });
            }
            state => {
                self.state = state;
                self.close_connection();
            }
        }
        self.state = State::Live(live);
        self.take_target(next.to.clone(), next.elsewhere.clone());
        self.backoff.connected(cx.now);
        (self.failures, self.last_error, self.settled) = (0, None, true);
        self.connections = self.connections.max(1);
        self.replaced(cx, cutover, next.note.take());
    }

    fn replaced(&self, cx: &mut OutputContext<'_>, cutover: Cutover, note: Option<Note>) {
        if let Some(note) = note {
            note();
        }
        cx.notices.push(EventKind::OutputReplaced { output: self.id, cutover });
    }

    /// The server takes what the one before was given up for, if one was.
    pub(super) fn is_taken_after_break(&mut self, cx: &mut OutputContext<'_>) {
        if let Some(before) = self.before.take() {
            self.replaced(cx, Cutover::AfterBreak, before.note);
        }
    }

    /// The server takes one publisher at a time: the one on the air says goodbye first.
    fn break_for(&mut self, cx: &mut OutputContext<'_>, to: Target, note: Option<Note>) -> OutputState {
        let host = self.route.peer().host().to_owned();
        // Dialled as soon as the old connection has left.
        let waiting = State::Waiting { until: cx.now + 2 * GOODBYE, _hope: None };
        if let State::Live(old) = mem::replace(&mut self.state, waiting) {
            self.end_leaving();
            let mut leaving = Leaving { live: old, host, until: cx.now };
            leaving.leave();
            self.leaving = Some(leaving);
        }
        self.before = Some(Before { to: self.target(), note });
        self.take_target(to, None);
        self.turn(cx)
    }

    /// What goes on instead of ending with `error`, if anything does: what there was before, or what is to take over.
    pub(super) fn goes_on(&mut self, cx: &mut OutputContext<'_>, error: &Error) -> bool {
        if let Some(before) = self.before.take_if(|_| !is_taken(error)) {
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

    fn target(&self) -> Target {
        Target {
            destination: self.route.home.clone(),
            roots: self.roots.clone(),
            reconnect: self.reconnect.clone(),
            enhanced: self.enhanced,
            all_tracks: self.all_tracks,
        }
    }

    fn take_target(&mut self, to: Target, elsewhere: Option<Destination>) {
        let Target { destination, roots, reconnect, enhanced, all_tracks } = to;
        self.name = Some(destination.to_string());
        self.route = Route { home: destination, elsewhere, hops: 0 };
        let policy = reconnect.clone().unwrap_or_else(|| self.config.reconnect.clone());
        self.backoff = Backoff::new(policy);
        (self.roots, self.reconnect, self.enhanced, self.all_tracks) =
            (roots, reconnect, enhanced, all_tracks);
        self.told = Told::default();
    }
}

/// Whether the server says that the name has a publisher.
fn is_taken(error: &Error) -> bool {
    use flowcast_rtmp::error::Error::Rejected;
    let Error::Rtmp { source: Rejected { code, .. }, .. } = error else { return false };
    code == "NetStream.Publish.BadName" && error.is_retryable()
}

/// The address a server sends the connection to.
fn follow(next: &Next, ServerUrl(url): ServerUrl) -> Result<Destination, Error> {
    let lost = |reason: &str| {
        let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, reason);
        Error::ConnectionLost { host: next.peer().host().to_owned(), source: source.into() }
    };
    if next.hops == MOST_HOPS {
        return Err(lost("the server redirects again and again"));
    }
    let to = next.to.destination.moved_to(&url);
    let to = to.map_err(|_| lost("the server redirects to a malformed address"))?;
    if to.scheme() == Scheme::Rtmp && next.to.destination.scheme() == Scheme::Rtmps {
        return Err(lost("the server redirects to an address without TLS"));
    }
    Ok(to)
}
