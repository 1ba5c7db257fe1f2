//! The source: dials, reads, waits, dials again.
//!
//! In: turns of the stream, and the dialer's word, or a worker's queue. Out: tags on one clock, or what an encoder makes of them. On the
//! stream's thread.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::session::ClientRole;
use flowcast_rtmp::url::{Destination, Scheme};
use mio::{Registry, Token};

use super::address::Address;
use super::homes::{Homes, Next};
use super::link::{Found, Link};
use super::live::LiveLink;
use super::{Pull, Setting};
use crate::clock::timeline::Timeline;
use crate::config::ConnectConfig;
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::net::dialer::{Dialer, Reached, Reply, Request, ServerUrl};
use crate::net::reach::Judge;
use crate::net::{Backoff, random};
use crate::publish::encoder::LiveEncoder;
use crate::stats::{EncodingStats, Origin};
use crate::stream::SourceMailbox;
use crate::sys;

/// Redirections in a row.
const MOST_HOPS: u32 = 5;
/// A connection that lasted this long begins a new row.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// What the source has of its stream.
pub(crate) struct With {
    pub(crate) dialer: Dialer,
    pub(crate) mailbox: SourceMailbox,
    pub(crate) connect: ConnectConfig,
    pub(crate) backoff: Backoff,
    /// Whether it asks for what Enhanced RTMP has beyond the old protocol.
    pub(crate) enhanced: bool,
    /// What encodes it, if anything does.
    pub(crate) encoder: Option<LiveEncoder>,
    /// For inputs that are not RTMP.
    pub(crate) setting: Setting,
}

/// A connection to where it is played from.
enum Line {
    Rtmp(Box<Link>),
    /// This one may still be made.
    Live(LiveLink),
}

impl Line {
    fn turn(&mut self, cx: &mut SourceContext<'_>, host: &str) -> Result<Found, Error> {
        match self {
            Self::Rtmp(link) => link.turn(cx, host),
            Self::Live(link) => link.turn(cx, host),
        }
    }

    fn has_media(&self) -> bool {
        match self {
            Self::Rtmp(link) => link.has_media(),
            Self::Live(link) => link.has_media(),
        }
    }
}

/// The source of a stream that is played from another server.
pub(crate) struct Puller {
    pull: Pull,
    with: With,
    /// By the program.
    homes: Homes,
    /// By the server, as long as that works.
    elsewhere: Option<Destination>,
    /// Of the address of the program and those it leads to.
    judge: Arc<Judge>,
    hops: u32,
    /// The one that is dialled or gives the stream, as it may be shown.
    shown: Arc<str>,
    attempt: u64,
    dialing: Option<Arc<AtomicBool>>,
    /// When it is dialled next; `None` for at once.
    next: Option<Instant>,
    link: Option<Line>,
    /// The thread of a live input that was ended, until it has noticed.
    old: Option<sys::Worker>,
    /// Came with a message and has not been looked at.
    news: Option<News>,
    /// Connections that gave media.
    connections: u64,
    /// In a row.
    failures: u32,
    /// Since when there is this connection, and whether its first media was told of.
    since: Option<Instant>,
    told: bool,
    timeline: Timeline,
    /// When media last came.
    heard: Option<Instant>,
    resting: bool,
    over: bool,
    stopping: bool,
}

/// What a message brought.
enum News {
    /// A connection, which is in place.
    Connected,
    Elsewhere(ServerUrl),
    Failed(Error),
}

/// The dialer's answer about an attempt.
struct Answer {
    attempt: u64,
    result: Result<Reached, Error>,
}

impl Puller {
    /// A source that dials with its first turn.
    ///
    /// # Errors
    ///
    /// The address cannot be one.
    pub(crate) fn new(pull: Pull, with: With) -> Result<Self, Error> {
        let others = pull.others.iter().cloned().collect::<Result<_, _>>().map_err(Error::from)?;
        let first = pull.address.clone().map_err(Error::from)?;
        Ok(Self {
            shown: first.to_string().into(),
            homes: Homes::new(first, others),
            judge: Arc::new(Judge::new(pull.reach.clone())),
            pull,
            with,
            elsewhere: None,
            hops: 0,
            attempt: 0,
            dialing: None,
            next: None,
            link: None,
            old: None,
            news: None,
            connections: 0,
            failures: 0,
            since: None,
            told: false,
            timeline: Timeline::default(),
            heard: None,
            resting: true,
            over: false,
            stopping: false,
        })
    }

    fn host(&self) -> &str {
        self.elsewhere.as_ref().map_or_else(|| self.homes.now().host(), Destination::host)
    }

    /// Dials, if nothing of the last time is in the way.
    fn dial(&mut self, cx: &mut SourceContext<'_>) -> Result<(), Error> {
        if let Some(whereabouts) = &self.pull.whereabouts {
            self.homes.move_to(whereabouts.now());
        }
        let location = match self.homes.now() {
            Address::Rtmp(home) => {
                let destination = self.elsewhere.as_ref().unwrap_or(home).clone();
                if self.elsewhere.is_none() {
                    self.judge = Arc::new(Judge::new(self.pull.reach.clone()));
                }
                self.dial_rtmp(destination);
                return Ok(());
            }
            Address::Live(location) => location.clone(),
        };
        // A thread that libav does not let go is waited for: there is never more than one.
        if self.old.as_mut().is_some_and(|old| !old.is_stopped()) {
            return Ok(());
        }
        (self.old, self.next) = (None, None);
        self.shown = location.to_string().into();
        match LiveLink::start(location, &self.pull, &self.with.connect, &self.with.setting) {
            Ok(link) => {
                self.take_over(cx.now, Line::Live(link));
                Ok(())
            }
            Err(error) => self.failed(cx, error),
        }
    }

    fn dial_rtmp(&mut self, destination: Destination) {
        let cancelled: Arc<AtomicBool> = Arc::default();
        self.attempt += 1;
        self.shown = destination.to_string().into();
        let (mailbox, attempt) = (self.with.mailbox.clone(), self.attempt);
        (self.dialing, self.next) = (Some(cancelled.clone()), None);
        self.with.dialer.dial(Request {
            destination,
            role: ClientRole::Play,
            roots: self.pull.roots.clone(),
            config: self.with.connect.clone(),
            reach: self.judge.clone(),
            is_again: attempt > self.homes.count() as u64,
            enhanced: self.with.enhanced,
            via: self.pull.via.text(),
            login: None,
            cancelled,
            asked: Arc::default(),
            reply: Reply::new(move |result| {
                mailbox.send(Box::new(Answer { attempt, result }));
            }),
        });
    }

    fn call_off(&mut self) {
        if let Some(cancelled) = self.dialing.take() {
            cancelled.store(true, Ordering::Relaxed);
            self.with.dialer.drop_cancelled();
        }
    }

    /// What a message brought is acted on.
    fn take_news(&mut self, cx: &mut SourceContext<'_>) -> Result<(), Error> {
        match self.news.take() {
            Some(News::Connected) => {
                self.with.backoff.connected(cx.now);
                Ok(())
            }
            Some(News::Elsewhere(url)) => self.go_elsewhere(cx, Some(url)),
            Some(News::Failed(error)) => self.failed(cx, error),
            None => Ok(()),
        }
    }

    /// The server wants the client elsewhere, or once more. What it still sends is taken meanwhile.
    fn go_elsewhere(&mut self, cx: &mut SourceContext<'_>, url: Option<ServerUrl>) -> Result<(), Error> {
        let host = self.host().to_owned();
        // Only servers of RTMP say so in this way.
        let Address::Rtmp(home) = self.homes.now() else { return Ok(()) };
        let refused = |reason: &str| {
            let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, reason);
            Error::ConnectionLost { host: host.clone(), source: source.into() }
        };
        let to = match url.map(|ServerUrl(url)| home.moved_to(&url)) {
            None => self.elsewhere.as_ref().unwrap_or(home).clone(),
            Some(Ok(to)) if to.scheme() == Scheme::Rtmp && home.scheme() == Scheme::Rtmps => {
                return self.failed(cx, refused("the server redirects to an address without TLS"));
            }
            Some(Ok(to)) => to,
            Some(Err(_)) => return self.failed(cx, refused("the server redirects to a malformed address")),
        };
        if self.since.is_some_and(|since| cx.now.saturating_duration_since(since) >= SETTLED_AFTER) {
            self.hops = 0;
        }
        if self.hops == MOST_HOPS {
            return self.failed(cx, refused("the server redirects again and again"));
        }
        self.hops += 1;
        self.elsewhere = Some(to);
        self.call_off();
        self.dial(cx)
    }

    /// The connection is lost, or there never was one: dial again later, or end.
    fn failed(&mut self, cx: &mut SourceContext<'_>, error: Error) -> Result<(), Error> {
        (self.elsewhere, self.hops) = (None, 0);
        if self.link.is_some() {
            // A server that wanted the client elsewhere still sends.
            log::debug!("there is no other connection: {error}");
            return Ok(());
        }
        let is_retryable = match self.homes.failed(error.is_retryable()) {
            Next::Dial => {
                self.failures = self.failures.saturating_add(1);
                self.next = None;
                cx.notices.push(EventKind::SourceRetrying { error, wait: Duration::ZERO });
                return Ok(());
            }
            Next::RoundOver { has_hope } => has_hope,
        };
        let wait = if is_retryable {
            self.with.backoff.failed(cx.now, random::unit())
        } else if self.connections > 0 {
            self.with.backoff.refused(cx.now, random::unit())
        } else {
            return Err(error);
        };
        let Some(wait) = wait else {
            return Err(Error::GaveUp { tries: self.with.backoff.failures(), source: error.into() });
        };
        self.failures = self.failures.saturating_add(1);
        self.next = Some(cx.now + wait);
        cx.notices.push(EventKind::SourceRetrying { error, wait });
        Ok(())
    }

    /// Lets the connection go.
    fn let_go(&mut self, now: Instant) {
        match self.link.take() {
            None => return,
            Some(Line::Live(link)) => self.old = link.end(),
            Some(Line::Rtmp(_)) => {}
        }
        if let Some(encoder) = &self.with.encoder {
            encoder.end(now);
        }
    }

    /// Another connection takes the place of the one there was.
    fn take_over(&mut self, now: Instant, line: Line) {
        self.let_go(now);
        (self.link, self.since, self.told) = (Some(line), Some(now), false);
        self.timeline.change();
        // What each connection brings is decoded by itself.
        if self.with.encoder.is_some() {
            self.timeline.forget_headers();
        }
    }

    /// The connection is over. If another one is being made, that is waited for.
    fn lost(&mut self, cx: &mut SourceContext<'_>, error: Error) -> Result<(), Error> {
        self.let_go(cx.now);
        if self.dialing.is_none() { self.failed(cx, error) } else { Ok(()) }
    }

    /// Reads what has come; whether there is more.
    fn read(&mut self, cx: &mut SourceContext<'_>) -> Result<bool, Error> {
        let Some(link) = &mut self.link else { return Ok(false) };
        let from = cx.tags.len();
        let host = self.elsewhere.as_ref().map_or_else(|| self.homes.now().host(), Destination::host);
        let found = link.turn(cx, host);
        let has_media = link.has_media();
        self.timeline.place_all(cx.now, cx.tags, from, cx.notices);
        // What comes from a network cannot be made again.
        cx.refills.clear();
        if cx.tags.len() > from {
            (self.heard, self.resting) = (Some(cx.arrived()), false);
        }
        if has_media && !self.told {
            self.told = true;
            self.homes.works();
            if matches!(self.link, Some(Line::Live(_))) {
                self.with.backoff.connected(cx.now);
            }
            let (reconnects, failures) = (self.connections, std::mem::take(&mut self.failures));
            self.connections += 1;
            cx.notices.push(EventKind::SourceLive { reconnects, failures });
        }
        self.encode(cx.now, cx.tags, from);
        match found {
            Ok(Found::Media(more)) => return Ok(more),
            Ok(Found::Over(_)) if self.pull.once => {
                self.let_go(cx.now);
                self.over = true;
            }
            Ok(Found::Over(code)) => {
                let source = std::io::Error::new(std::io::ErrorKind::ConnectionReset, code);
                let host = self.host().to_owned();
                self.lost(cx, Error::ConnectionLost { host, source: source.into() })?;
            }
            Ok(Found::Elsewhere(url)) => self.go_elsewhere(cx, url)?,
            Ok(Found::Redirect(url)) => {
                self.let_go(cx.now);
                self.go_elsewhere(cx, Some(url))?;
            }
            Err(error) => self.lost(cx, error)?,
        }
        Ok(false)
    }

    /// Gives the tags from number `from` on to the encoder, if there is one.
    fn encode(&self, now: Instant, tags: &mut Vec<Tag>, from: usize) {
        if let Some(encoder) = self.with.encoder.as_ref().filter(|_| tags.len() > from) {
            encoder.push(now, tags.drain(from..));
        }
    }

    fn pull_tags(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        if self.over {
            return SourceState::Ended;
        }
        let turn = self.take_news(cx).and_then(|()| self.read(cx));
        let more = match turn {
            Ok(more) => more,
            Err(error) => return SourceState::Failed(error),
        };
        if self.over {
            return SourceState::Ended;
        }
        let is_due = self.next.is_none_or(|at| at <= cx.now);
        if self.link.is_none()
            && self.dialing.is_none()
            && is_due
            && !self.stopping
            && let Err(error) = self.dial(cx)
        {
            return SourceState::Failed(error);
        }
        // Between two tags of a server that sends nothing is amiss, however short outputs are held.
        if cx.tick
            && !self.link.as_ref().is_some_and(Line::has_media)
            && let Some(heard) = self.heard
        {
            self.resting = cx.now.saturating_duration_since(heard) >= self.pull.hold;
        }
        if more { SourceState::More } else { SourceState::Running }
    }

    /// The connection that was dialled takes the place of the one there was.
    fn adopt(&mut self, reached: Reached, registry: &Registry, token: Token) -> News {
        let dialed = match reached {
            Reached::Elsewhere(url) => return News::Elsewhere(url),
            Reached::Peer(dialed) => dialed,
        };
        let now = Instant::now();
        let first = self.pull.first_media.unwrap_or(self.pull.silence);
        match Link::new(*dialed, (first, self.pull.silence), now, registry, token) {
            Ok(link) => {
                self.take_over(now, Line::Rtmp(Box::new(link)));
                News::Connected
            }
            Err(error) => News::Failed(error),
        }
    }
}

impl SourceDriver for Puller {
    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let state = self.pull_tags(cx);
        if let Some(encoder) = &self.with.encoder {
            if matches!(state, SourceState::Ended) {
                encoder.finish();
            }
            if !matches!(state, SourceState::Failed(_)) {
                // What came last comes out after the end.
                return match (encoder.pull(cx), state) {
                    (SourceState::Running, SourceState::More) => SourceState::More,
                    (state, _) => state,
                };
            }
        }
        state
    }

    fn is_due(&self) -> bool {
        self.news.is_some()
            || self.with.encoder.as_ref().is_some_and(LiveEncoder::is_due)
            || matches!(&self.link, Some(Line::Live(link)) if link.is_due())
    }

    fn is_resting(&self) -> bool {
        if let Some(encoder) = &self.with.encoder
            && (encoder.has_given_up() || !encoder.is_idle())
        {
            return encoder.has_given_up();
        }
        self.resting
    }

    fn deliver(&mut self, message: Box<dyn Any + Send>, registry: &Registry, token: Token) {
        let Ok(answer) = message.downcast::<Answer>() else { return };
        let Answer { attempt, result } = *answer;
        if attempt != self.attempt || self.dialing.take().is_none() || self.stopping {
            return;
        }
        self.news = Some(match result {
            Ok(reached) => self.adopt(reached, registry, token),
            Err(error) => News::Failed(error),
        });
    }

    fn encoding(&self) -> Option<EncodingStats> {
        self.with.encoder.as_ref().and_then(LiveEncoder::encoding)
    }

    fn origin(&self) -> Option<Origin> {
        Some(Origin { address: self.shown.clone(), relayed: false })
    }

    fn bytes_held(&self) -> usize {
        let read_ahead = match &self.link {
            Some(Line::Live(link)) => link.bytes_held(),
            _ => 0,
        };
        read_ahead + self.with.encoder.as_ref().map_or(0, LiveEncoder::bytes_held)
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.call_off();
        if let Some(Line::Live(link)) = self.link.take() {
            self.old = link.end();
        }
        if let Some(encoder) = &mut self.with.encoder {
            encoder.stop();
        }
    }

    fn is_stopped(&mut self) -> bool {
        self.old.as_mut().is_none_or(sys::Worker::is_stopped)
            && self.with.encoder.as_mut().is_none_or(|encoder| encoder.is_stopped())
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        self.call_off();
    }
}
