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
use super::takeover::Leaving;
use super::{GOODBYE, MEANWHILE, MOST_HOPS, Route, RtmpPush, State};
use crate::driver::{OutputContext, OutputDriver, OutputState};
use crate::error::Error;
use crate::event::EventKind;
use crate::net::Backoff;
use crate::net::dialer::{Reached, Reply, Request, ServerUrl};
use crate::net::reach::{Judge, Reach};
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
    pub(super) why: Why,
    /// How long there is to be no connection.
    pub(super) pause: Duration,
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
    pub(super) to: Target,
    /// Where the server sent it.
    pub(super) elsewhere: Option<Destination>,
    pub(super) hops: u32,
    if_taken: IfTaken,
    attempt: u64,
    pub(super) note: Option<Note>,
    pub(super) why: Why,
    pub(super) state: NextState,
}

pub(super) enum NextState {
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

    pub(super) fn peer(&self) -> &Destination {
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
            reach: Arc::new(Judge::new(Reach::any())),
            // Many may be rotated; somebody waits for a replacement.
            is_again: next.why == Why::Rotation,
            via: String::new(),
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
    pub(super) fn does_not_go_on(
        &mut self,
        cx: &mut OutputContext<'_>,
        why: Why,
        error: Error,
    ) -> OutputState {
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

    pub(super) fn has_gone_on(
        &mut self,
        cx: &mut OutputContext<'_>,
        cutover: Cutover,
        why: Why,
        note: Option<Note>,
    ) {
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

    pub(super) fn take_target(&mut self, to: Target, elsewhere: Option<Destination>) {
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
pub(super) fn follow(next: &Next, url: Option<ServerUrl>) -> Result<Destination, Error> {
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
