//! An RTMP(S) destination: dials, sends, dials again.
//!
//! In: tags from the stream's ring. Out: bytes on a socket that the stream thread polls. What blocks (name lookup,
//! connecting) is done by the dialer on another thread.

mod connection;
mod driver;
mod hope;
mod replace;
mod rotate;
mod takeover;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast_rtmp::session::ClientRole;
use flowcast_rtmp::url::{Destination, Scheme};

use self::connection::Live;
use self::hope::Hope;
use self::replace::{Before, Next};
pub(super) use self::replace::{Change, Note, Replace};
pub(super) use self::rotate::Broadcast;
pub(super) use self::rotate::MOST_SESSION;
use self::rotate::Rotating;
use self::takeover::Leaving;
use super::feed::SharedZero;
use super::gate::{Enhanced, Intake, Told};
use super::pair::{Pair, Role};
use super::{Rotation, Target};
use crate::adapt::Dial;
use crate::config::{Config, ReconnectPolicy};
use crate::driver::{OutputContext, OutputDriver, OutputState};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::net::dialer::{Dialed, Dialer, Reached, Reply, Request, ServerUrl};
use crate::net::reach::{Judge, Reach};
use crate::net::tls::TlsRoots;
use crate::net::{Backoff, random};
use crate::stats::OutputFailure;
use crate::stream::{OpenedOutput, OutputMailbox, OutputOpening};

/// When the source rests, how long what came before may take to be sent, and then the goodbye.
const DRAIN: Duration = Duration::from_secs(5);
const GOODBYE: Duration = Duration::from_secs(2);
/// Connections that are sending what is left at once; of more, the oldest is closed.
const MOST_LEAVING: usize = 4;
/// A connection that was let in to take over waits this long for a keyframe to begin with.
const KEYFRAME: Duration = Duration::from_secs(60);
/// While another connection is about to take the place of one that is lost or refused, that one is not dialled for this long.
const MEANWHILE: Duration = Duration::from_secs(10);
/// When the push ends, how long the answer of a server that was asked for the stream is waited for.
const ANSWER: Duration = Duration::from_secs(1);
/// Redirections in a row.
const MOST_HOPS: u32 = 5;
/// A connection that lasted this long begins a new row.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// A push output.
pub(crate) struct RtmpPush {
    id: OutputId,
    route: Route,
    enhanced: Enhanced,
    all_tracks: bool,
    /// Of which other push it is the backup, and where the times of both begin.
    backup_of: Option<OutputId>,
    zero: Option<SharedZero>,
    /// What the platform takes for one broadcast, of both.
    broadcast: Broadcast,
    /// Of earlier connections.
    told: Told,
    roots: TlsRoots,
    config: Arc<Config>,
    /// What sets the bit rate of the stream: whether that follows this output.
    dial: Dial,
    dialer: Dialer,
    mailbox: OutputMailbox,
    backoff: Backoff,
    /// What the backoff was made from.
    reconnect: Option<ReconnectPolicy>,
    rotation: Option<Rotation>,
    /// Of the connection on the air.
    rotating: Rotating,
    /// How often a connection took the place of another one as planned.
    rotations: u64,
    state: State,
    /// What is to take the place of what is on the air.
    next: Option<Next>,
    /// How often something was to.
    replacements: u64,
    /// What was taken over from.
    leaving: Vec<Leaving>,
    /// What goes on if the server does not take what it was given up for.
    before: Option<Before>,
    /// Where it goes, if that was replaced.
    name: Option<String>,
    /// Bytes sent by connections that are gone.
    sent_before: u64,
    drops_before: u64,
    connections: u64,
    /// Since it was last on the air.
    failures: u32,
    attempt: u64,
    settled: bool,
    finishing: bool,
    /// Until when an answer is waited for before the push ends.
    answer_by: Option<Instant>,
    /// The source rests: from which tag on there is nothing, and until when what is before that may take.
    rest: Option<(u64, Instant)>,
    /// When the first media byte of the first connection was sent.
    first_media: Option<Instant>,
    /// In all, whether it goes on or not.
    failed: u64,
    last_error: Option<OutputFailure>,
}

enum State {
    Idle,
    Dialing {
        cancelled: Arc<AtomicBool>,
        /// The peer was asked for the stream, and may have begun it.
        asked: Arc<AtomicBool>,
    },
    Waiting {
        until: Instant,
        /// Its server was not reached: it is dialled earlier if another output reaches it.
        _hope: Option<Hope>,
    },
    /// There is nothing to send.
    Resting,
    Live(Box<Live>),
    Ended,
}

/// The dialer's answer about an attempt.
struct Answer {
    attempt: u64,
    result: Result<Reached, Error>,
}

/// Where it is sent.
struct Route {
    /// By the program.
    home: Destination,
    /// By the server, as long as that works.
    elsewhere: Option<Destination>,
    /// How often in a row.
    hops: u32,
}

impl Route {
    /// Who is pushed to at the moment.
    fn peer(&self) -> &Destination {
        self.elsewhere.as_ref().unwrap_or(&self.home)
    }
}

impl RtmpPush {
    /// An output that dials with its first turn.
    pub(super) fn open(target: Target, cx: &OutputOpening<'_>, pair: Option<(Pair, Role)>) -> OpenedOutput {
        let name = target.destination.to_string();
        OpenedOutput { name, driver: Box::new(Self::new(target, cx, pair)) }
    }

    /// `pair` is what it shares with another push, and which of the two it is.
    fn new(target: Target, cx: &OutputOpening<'_>, pair: Option<(Pair, Role)>) -> Self {
        let Target { destination, roots, reconnect, enhanced, all_tracks, rotation, backup: _ } = target;
        let backup_of = pair.as_ref().filter(|(_, role)| *role == Role::Backup);
        let backup_of = backup_of.and_then(|(pair, _)| pair.primary.get().copied());
        let config = cx.shared_config();
        Self {
            id: cx.output(),
            route: Route { home: destination, elsewhere: None, hops: 0 },
            enhanced,
            all_tracks,
            backup_of,
            broadcast: pair.as_ref().map(|(pair, _)| pair.broadcast.clone()).unwrap_or_default(),
            zero: pair.map(|(pair, _)| pair.zero),
            told: Told::default(),
            roots,
            backoff: Backoff::new(reconnect.clone().unwrap_or_else(|| config.reconnect.clone())),
            reconnect,
            rotating: Rotating::new(rotation.as_ref(), 0.0),
            rotation,
            rotations: 0,
            config,
            dial: cx.dial(),
            dialer: cx.dialer(),
            mailbox: cx.mailbox(),
            state: State::Idle,
            next: None,
            replacements: 0,
            leaving: Vec::new(),
            before: None,
            name: None,
            sent_before: 0,
            drops_before: 0,
            connections: 0,
            failures: 0,
            attempt: 0,
            settled: false,
            finishing: false,
            answer_by: None,
            rest: None,
            first_media: None,
            failed: 0,
            last_error: None,
        }
    }

    /// The server wants the output elsewhere (or, without an address, wants another connection): goes there at once. When
    /// that fails, or is lost later, the output starts again with the address the program gave.
    fn go_elsewhere(&mut self, cx: &mut OutputContext<'_>, url: Option<ServerUrl>) -> OutputState {
        let host = self.route.peer().host().to_owned();
        let lost = |reason: &str| {
            let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, reason);
            Error::ConnectionLost { host: host.clone(), source: source.into() }
        };
        let to = match url.map(|ServerUrl(url)| self.route.home.moved_to(&url)) {
            None => self.route.peer().clone(),
            Some(Ok(to)) if to.scheme() == Scheme::Rtmp && self.route.home.scheme() == Scheme::Rtmps => {
                return self.failed(cx, lost("the server redirects to an address without TLS"));
            }
            Some(Ok(to)) => to,
            Some(Err(_)) => return self.failed(cx, lost("the server redirects to a malformed address")),
        };
        if matches!(&self.state, State::Live(live) if cx.now.saturating_duration_since(live.since) >= SETTLED_AFTER)
        {
            self.route.hops = 0;
        }
        if self.route.hops == MOST_HOPS {
            return self.failed(cx, lost("the server redirects again and again"));
        }
        self.rotation_is_moot(cx);
        self.close_connection();
        let host = to.host().to_owned();
        cx.notices.push(EventKind::OutputMoved { output: self.id, host });
        self.route.hops += 1;
        self.route.elsewhere = Some(to);
        self.dial();
        OutputState::Running
    }

    fn dial(&mut self) {
        let (cancelled, asked): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        self.attempt += 1;
        let (mailbox, attempt) = (self.mailbox.clone(), self.attempt);
        self.state = State::Dialing { cancelled: cancelled.clone(), asked: asked.clone() };
        self.dialer.dial(Request {
            destination: self.route.peer().clone(),
            role: ClientRole::Publish,
            roots: self.roots.clone(),
            config: self.config.connect.clone(),
            reach: Arc::new(Judge::new(Reach::any())),
            is_again: attempt > 1,
            via: String::new(),
            enhanced: self.enhanced.is_said(),
            login: None,
            cancelled,
            asked,
            reply: Reply::new(move |result| {
                mailbox.send(Box::new(Answer { attempt, result }));
            }),
        });
    }

    fn adopt(&mut self, cx: &mut OutputContext<'_>, dialed: Dialed) -> Result<(), Error> {
        let (capabilities, told) = (dialed.session.capabilities().clone(), self.told.clone());
        let intake = Intake::server(self.enhanced, capabilities, self.all_tracks, told);
        let live = Live::new(dialed, intake, cx, &self.config.lag, self.zero.clone())?;
        self.backoff.connected(cx.now);
        let failures = std::mem::take(&mut self.failures);
        cx.notices.push(EventKind::OutputLive { output: self.id, reconnects: self.connections, failures });
        self.is_taken_after_break(cx);
        self.connections += 1;
        self.last_error = None;
        self.state = State::Live(Box::new(live));
        self.begin_to_age();
        self.goes_on_as_broadcast(cx);
        Ok(())
    }

    /// Says goodbye once everything is sent that came before the rest, and closes.
    fn leave(&mut self, cx: &mut OutputContext<'_>, end: u64, until: Instant) -> OutputState {
        let State::Live(live) = &mut self.state else { return OutputState::Running };
        let late = cx.now >= until;
        if !live.said_goodbye && (live.feed.cursor() >= end || late) {
            live.said_goodbye = true;
            live.session.finish();
        }
        let pumped = live.pump(cx, self.route.peer().host(), live.said_goodbye);
        let left = live.said_goodbye && (live.has_left() || cx.now >= until + GOODBYE);
        match pumped {
            Ok(more) if !left => {
                if more {
                    OutputState::More
                } else {
                    OutputState::Running
                }
            }
            // A peer that closes first is as good.
            _ => {
                self.close_connection();
                self.state = State::Resting;
                OutputState::Running
            }
        }
    }

    /// Whether what is refused now was taken before: the address and the key have been good once.
    fn was_taken_before(&self, now: Instant, error: &Error) -> bool {
        match (error, &self.state) {
            // The peer has not looked at what it is sent before it lets the output in.
            (Error::CodecNotTaken { .. }, State::Live(live)) => {
                self.connections > 1
                    || self.rotations > 0
                    || now.saturating_duration_since(live.since) >= SETTLED_AFTER
            }
            _ => self.connections > 0,
        }
    }

    /// The connection is lost, or there never was one: dial again later, or end.
    fn failed(&mut self, cx: &mut OutputContext<'_>, error: Error) -> OutputState {
        self.settled = true;
        let was_taken = self.was_taken_before(cx.now, &error);
        (self.route.elsewhere, self.route.hops) = (None, 0);
        if let (State::Live(live), Error::TooSlow { .. } | Error::Stalled { .. }) = (&mut self.state, &error)
        {
            // What the kernel still holds would keep the peer busy with a connection that is given up.
            live.transport.abort();
        }
        // A peer that was told goodbye may close first.
        let is_goodbye = self.finishing && matches!(self.state, State::Live(_));
        // Only where the server was not reached. One that lets outputs in and loses them, or refuses them, is no reason to hurry.
        let may_hope = matches!(self.state, State::Dialing { .. })
            && matches!(
                error,
                Error::Dns { .. }
                    | Error::Connect { .. }
                    | Error::ConnectTimeout { .. }
                    | Error::ConnectionLost { .. }
            );
        self.close_connection();
        if !is_goodbye {
            self.last_error = Some(OutputFailure::now(&error));
            self.failed += 1;
        }
        if self.finishing {
            self.state = State::Ended;
            // Others may still have something to say.
            return if self.leaving.is_empty() { OutputState::Ended(None) } else { OutputState::Running };
        }
        if self.next.as_ref().is_some_and(Next::is_at_the_door) {
            // A server that takes the last one who comes ends the one before. The new connection takes over as soon as it is known.
            let wait = Duration::ZERO;
            self.state = State::Waiting { until: cx.now + MEANWHILE, _hope: None };
            self.failures = self.failures.saturating_add(1);
            cx.notices.push(EventKind::OutputRetrying { output: self.id, error, wait });
            return OutputState::More;
        }
        self.rotation_is_moot(cx);
        if self.goes_on(cx, &error) {
            return OutputState::Running;
        }
        let wait = if error.is_retryable() {
            self.backoff.failed(cx.now, random::unit())
        } else if was_taken {
            self.backoff.refused(cx.now, random::unit())
        } else if self.waits_for_next(cx.now) {
            return OutputState::Running;
        } else {
            self.state = State::Ended;
            return OutputState::Ended(Some(error));
        };
        let Some(wait) = wait else {
            if self.waits_for_next(cx.now) {
                return OutputState::Running;
            }
            self.state = State::Ended;
            return OutputState::Ended(Some(self.backoff.given_up(error)));
        };
        let hope = may_hope.then(|| self.hope());
        self.state = State::Waiting { until: cx.now + wait, _hope: hope };
        self.failures = self.failures.saturating_add(1);
        cx.notices.push(EventKind::OutputRetrying { output: self.id, error, wait });
        OutputState::Running
    }

    fn close_connection(&mut self) {
        if let State::Dialing { cancelled, .. } = &self.state {
            cancelled.store(true, Ordering::Relaxed);
            self.dialer.drop_cancelled();
        }
        if let State::Live(live) = &mut self.state {
            self.sent_before += live.bytes();
            self.drops_before += live.feed.drops();
            self.told = live.intake.clone().into_told();
            live.transport.close();
        }
        self.state = State::Idle;
    }

    /// Learns where a dialled attempt led, or why nowhere.
    fn dialed(
        &mut self,
        cx: &mut OutputContext<'_>,
        attempt: u64,
        result: Result<Reached, Error>,
    ) -> OutputState {
        if attempt != self.attempt || !matches!(self.state, State::Dialing { .. }) {
            return OutputState::Running;
        }
        self.settled = true;
        match result {
            Ok(Reached::Elsewhere(_)) if self.finishing => {
                self.state = State::Ended;
                OutputState::Ended(None)
            }
            Ok(Reached::Elsewhere(url)) => self.go_elsewhere(cx, Some(url)),
            Ok(Reached::Peer(mut dialed)) if !self.finishing && self.paused_until(cx.now).is_some() => {
                // The other ingest has begun to pause meanwhile.
                dialed.session.finish();
                let _ = dialed.transport.write(dialed.session.wire(), usize::MAX);
                dialed.transport.close();
                self.dial_unless_paused(cx.now);
                OutputState::Running
            }
            Ok(Reached::Peer(dialed)) => match self.adopt(cx, *dialed) {
                // What arrived with the acceptance is in the session: the first turn takes it before any poll.
                Ok(()) => {
                    if let State::Live(live) = &mut self.state
                        && self.finishing
                    {
                        live.session.finish();
                    }
                    self.turn(cx)
                }
                Err(error) => self.failed(cx, error),
            },
            Err(error) => self.failed(cx, error),
        }
    }
}

#[cfg(test)]
mod tests;
