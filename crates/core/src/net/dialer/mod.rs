//! Connects outputs, off the stream threads.
//!
//! In: requests to publish or play at a destination. Out: a connection whose peer accepted the stream, or why not. One
//! thread drives all attempts at once without blocking: name lookup (see [`super::resolver`]), TCP over all addresses of
//! the host, TLS, the RTMP handshake and its commands, each with its own deadline. A peer that asks for a login is connected
//! to again, up to twice. Attempts wait for their turn first (see [`super::spread`]), and who waits after a failed attempt is told when
//! another one reaches the same server. Dials that are made elsewhere (by libav) wait for their turn here, too, and then have a [`Place`].

mod steps;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io};

use crossbeam_channel::{Receiver, Sender};
use flowcast_rtmp::session::{ClientRole, ClientSession, LoginAnswer};
use flowcast_rtmp::url::Destination;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;

use self::steps::{State, Turn, advance, begin_session, connected, give_up};
use super::reach::Judge;
use super::resolver::Resolver;
use super::spread::{Server, Spread};
use super::tls::TlsRoots;
use super::transport::Transport;
use crate::config::{ConnectConfig, DialLimits};
use crate::error::{ConnectStep, Error};
use crate::sys::spawn;

const WAKE: Token = Token(usize::MAX);
const STACK: usize = 256 << 10;
const READ_BUFFER: usize = 16 << 10;
/// Room for the kernel to take from one address before the next is tried, where a host has several.
const ADDRESS_SHARE: u32 = 3;

/// A connection whose peer accepted the stream. What arrived after that is in the session and the transport.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// The connection; not registered with any poll.
    pub(crate) transport: Transport,
    /// The session, live.
    pub(crate) session: ClientSession,
}

/// Where an attempt led.
#[derive(Debug)]
pub(crate) enum Reached {
    /// To a peer that takes the stream.
    Peer(Box<Dialed>),
    /// To one that wants the client elsewhere: server and application.
    Elsewhere(ServerUrl),
}

/// An address that may hold a token: `Debug` does not show it.
pub(crate) struct ServerUrl(pub(crate) String);

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// The outcome of an attempt, reported on the dialer's thread. It is always reported: if it is dropped unanswered, it reports that.
pub(crate) struct Reply<T = Reached>(Option<Tell<T>>);

type Tell<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

impl<T> Reply<T> {
    pub(crate) fn new(tell: impl FnOnce(Result<T, Error>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    fn tell(mut self, result: Result<T, Error>) {
        if let Some(tell) = self.0.take() {
            tell(result);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            let source = io::Error::new(io::ErrorKind::Interrupted, "the attempt was given up");
            tell(Err(Error::System { what: "cannot connect", source: source.into() }));
        }
    }
}

/// What to connect to.
pub(crate) struct Request {
    pub(crate) destination: Destination,
    pub(crate) role: ClientRole,
    pub(crate) roots: TlsRoots,
    pub(crate) config: ConnectConfig,
    /// Where it may lead.
    pub(crate) reach: Arc<Judge>,
    /// Its output was dialled before.
    pub(crate) is_again: bool,
    /// Says and asks for what Enhanced RTMP has beyond the old protocol.
    pub(crate) enhanced: bool,
    /// The relays that what is played passes, for one that is relayed; else empty.
    pub(crate) via: String,
    /// What the peer is answered that asked for a login; `None` until one has.
    pub(crate) login: Option<LoginAnswer>,
    /// Set by the caller when the answer is no longer wanted.
    pub(crate) cancelled: Arc<AtomicBool>,
    /// Set once the peer was asked for the stream, and may have begun it.
    pub(crate) asked: Arc<AtomicBool>,
    pub(crate) reply: Reply,
}

impl Request {
    fn server(&self) -> Server {
        server(&self.destination)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// A dial that is made elsewhere, and waits for its turn.
pub(crate) struct Seek {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Its output was dialled before.
    pub(crate) is_again: bool,
    /// Set by the caller when the place is no longer wanted.
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) reply: Reply<Place>,
}

/// A place among the dials that are under way, for one that is made elsewhere. It is dropped when that is over.
pub(crate) struct Place {
    server: Server,
    commands: Sender<Command>,
    waker: Weak<Waker>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Over(std::mem::take(&mut self.server)));
        if let Some(waker) = self.waker.upgrade() {
            let _ = waker.wake();
        }
    }
}

/// What waits for its turn.
enum Wanted {
    Attempt(Box<Request>),
    Place(Seek),
}

impl Wanted {
    fn server(&self) -> Server {
        match self {
            Self::Attempt(request) => request.server(),
            Self::Place(seek) => (seek.host.clone(), seek.port),
        }
    }

    fn is_again(&self) -> bool {
        match self {
            Self::Attempt(request) => request.is_again,
            Self::Place(seek) => seek.is_again,
        }
    }

    fn is_cancelled(&self) -> bool {
        match self {
            Self::Attempt(request) => request.is_cancelled(),
            Self::Place(seek) => seek.cancelled.load(Ordering::Relaxed),
        }
    }

    fn fail(self, error: Error) {
        match self {
            Self::Attempt(request) => request.reply.tell(Err(error)),
            Self::Place(seek) => seek.reply.tell(Err(error)),
        }
    }
}

fn server(destination: &Destination) -> Server {
    (destination.host().to_owned(), destination.port())
}

/// Who waits after an attempt that failed, and dials earlier if its server is there again.
struct Hope {
    /// Set by the caller when it waits no longer.
    given_up: Arc<AtomicBool>,
    tell: Box<dyn FnOnce() + Send>,
}

enum Command {
    Want(Wanted),
    /// A dial that was made elsewhere is over.
    Over(Server),
    Hope(Server, Hope),
    Resolved(usize, Arc<io::Result<Vec<SocketAddr>>>),
    Close,
}

/// Where requests go. The thread starts with the first request and ends with the last clone.
#[derive(Clone)]
pub(crate) struct Dialer {
    limits: DialLimits,
    inner: Arc<Mutex<Option<Handle>>>,
}

struct Handle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Close);
        let _ = self.waker.wake();
    }
}

impl Dialer {
    /// A dialer that keeps to `limits`.
    pub(crate) fn new(limits: DialLimits) -> Self {
        Self { limits, inner: Arc::default() }
    }

    /// Starts an attempt, once it is its turn.
    pub(crate) fn dial(&self, request: Request) {
        self.want(Wanted::Attempt(Box::new(request)));
    }

    /// Has a dial that is made elsewhere wait for its turn.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what libav dials"))]
    pub(crate) fn seek(&self, seek: Seek) {
        self.want(Wanted::Place(seek));
    }

    fn want(&self, wanted: Wanted) {
        let mut inner = self.inner.lock();
        // A thread that is gone (it never should be) is replaced; what is wanted comes back from its closed channel.
        let mut command = Command::Want(wanted);
        for _ in 0..2 {
            if inner.is_none() {
                match start(self.limits.clone()) {
                    Ok(handle) => *inner = Some(handle),
                    Err(source) => {
                        if let Command::Want(wanted) = command {
                            let what = "no thread for outgoing connections";
                            wanted.fail(Error::System { what, source: source.into() });
                        }
                        return;
                    }
                }
            }
            let Some(handle) = &*inner else { return };
            match handle.commands.send(command) {
                Ok(()) => {
                    let _ = handle.waker.wake();
                    return;
                }
                Err(back) => command = back.0,
            }
            *inner = None;
        }
    }

    /// Calls `tell`, on the dialer's thread, when an attempt next reaches the server of `destination`, unless `given_up` is set by then.
    pub(crate) fn hope(
        &self,
        destination: &Destination,
        given_up: Arc<AtomicBool>,
        tell: impl FnOnce() + Send + 'static,
    ) {
        // Without a thread, nothing is dialled.
        if let Some(handle) = &*self.inner.lock() {
            let hope = Hope { given_up, tell: Box::new(tell) };
            let _ = handle.commands.send(Command::Hope(server(destination), hope));
            let _ = handle.waker.wake();
        }
    }

    /// Looks at once for attempts that were cancelled, and for who waits no longer, so that their descriptors do not stay open until a deadline.
    pub(crate) fn drop_cancelled(&self) {
        if let Some(handle) = &*self.inner.lock() {
            let _ = handle.waker.wake();
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

fn start(limits: DialLimits) -> io::Result<Handle> {
    let (thread, answers) = Thread::new(limits)?;
    let (commands, waker) = (answers.commands.clone(), answers.waker.clone());
    spawn("fc-dial", STACK, move || thread.run(&answers))?;
    Ok(Handle { commands, waker })
}

/// How the answer of a lookup reaches the thread.
struct Answers {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

struct Attempt {
    request: Request,
    state: State,
    deadline: Instant,
}

struct Thread {
    poll: Poll,
    receiver: Receiver<Command>,
    /// Those that wait for their turn.
    spread: Spread<Wanted>,
    attempts: HashMap<usize, Attempt>,
    hopes: HashMap<Server, Vec<Hope>>,
    next: usize,
    resolver: Resolver,
}

impl Thread {
    fn new(limits: DialLimits) -> io::Result<(Self, Answers)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        // Bounded by the number of outputs: each has at most one attempt.
        let (commands, receiver) = crossbeam_channel::unbounded();
        let thread = Self {
            poll,
            receiver,
            spread: Spread::new(limits),
            attempts: HashMap::new(),
            hopes: HashMap::new(),
            next: 0,
            resolver: Resolver::default(),
        };
        Ok((thread, Answers { commands, waker }))
    }

    fn run(mut self, answers: &Answers) {
        let mut events = Events::with_capacity(64);
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            let now = Instant::now();
            let deadlines = self.attempts.values().map(|attempt| attempt.deadline);
            let next = deadlines.chain(self.spread.due()).min();
            let timeout = next.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("the dialer cannot wait: {error}");
                return;
            }
            let now = Instant::now();
            for event in &events {
                if event.token() != WAKE {
                    self.turn(event.token().0, now, &mut buffer);
                }
            }
            while let Ok(command) = self.receiver.try_recv() {
                match command {
                    Command::Want(wanted) => {
                        self.spread.add(now, wanted.server(), wanted.is_again(), wanted);
                    }
                    Command::Over(server) => self.spread.over(&server),
                    Command::Hope(server, hope) => self.hopes.entry(server).or_default().push(hope),
                    Command::Resolved(id, answer) => self.resolved(id, &answer, now),
                    Command::Close => return,
                }
            }
            self.expire(now, &mut buffer);
            while let Some(wanted) = self.spread.next(now) {
                match wanted {
                    Wanted::Attempt(request) => self.begin(*request, answers, now),
                    Wanted::Place(seek) => {
                        let (commands, waker) = (answers.commands.clone(), Arc::downgrade(&answers.waker));
                        let place = Place { server: (seek.host, seek.port), commands, waker };
                        seek.reply.tell(Ok(place));
                    }
                }
            }
        }
    }

    fn begin(&mut self, request: Request, answers: &Answers, now: Instant) {
        let id = self.next;
        self.next = self.next.wrapping_add(1) % WAKE.0;
        let (host, port) = (request.destination.host().to_owned(), request.destination.port());
        let deadline = now + request.config.dns;
        self.attempts.insert(id, Attempt { request, state: State::Resolving, deadline });
        let commands = answers.commands.clone();
        let waker = Arc::downgrade(&answers.waker);
        let reply = move |answer| {
            let _ = commands.send(Command::Resolved(id, answer));
            if let Some(waker) = waker.upgrade() {
                let _ = waker.wake();
            }
        };
        self.resolver.resolve(&host, port, Box::new(reply));
    }

    fn resolved(&mut self, id: usize, answer: &io::Result<Vec<SocketAddr>>, now: Instant) {
        let Some(attempt) = self.attempts.remove(&id) else { return };
        let host = attempt.request.destination.host().to_owned();
        match answer {
            Ok(addresses) => {
                let mut rest = match attempt.request.reach.allowed(addresses) {
                    Ok(allowed) => allowed,
                    Err(address) => {
                        return self.end(attempt.request, Err(Error::AddressRefused { host, address }));
                    }
                };
                rest.reverse();
                let give_up = now + attempt.request.config.tcp;
                let result = self.connect(id, rest, give_up, now, None);
                self.settle(id, attempt.request, result);
            }
            Err(error) => {
                let source = io::Error::new(error.kind(), error.to_string());
                self.end(attempt.request, Err(Error::Dns { host, source: source.into() }));
            }
        }
    }

    /// Connects to the next address; the last of `rest` comes first.
    fn connect(
        &self,
        id: usize,
        mut rest: Vec<SocketAddr>,
        give_up: Instant,
        now: Instant,
        mut failure: Option<Error>,
    ) -> Result<Turn, Error> {
        while let Some(peer) = rest.pop() {
            let attempt = TcpStream::connect(peer).and_then(|mut socket| {
                socket.set_nodelay(true)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut socket, Token(id), interest)?;
                Ok(socket)
            });
            match attempt {
                Ok(socket) => {
                    // One address that drops our packets must not use up the time of the others.
                    let left = give_up.saturating_duration_since(now);
                    let share = if rest.is_empty() { left } else { left / ADDRESS_SHARE };
                    return Ok(Turn::Wait(State::Connecting { socket, peer, rest, give_up }, now + share));
                }
                Err(source) => failure = Some(Error::Connect { peer, source: source.into() }),
            }
        }
        Err(failure.unwrap_or_else(|| Error::System {
            what: "no address to connect to",
            source: io::Error::from(io::ErrorKind::NotFound).into(),
        }))
    }

    /// Takes an attempt as far as it goes now.
    fn turn(&mut self, id: usize, now: Instant, buffer: &mut [u8]) {
        let Some(Attempt { request, state, deadline }) = self.attempts.remove(&id) else { return };
        if request.is_cancelled() {
            self.spread.over(&request.server());
            return give_up(state);
        }
        let result = match state {
            State::Resolving => Ok(Turn::Wait(State::Resolving, deadline)),
            State::Connecting { socket, peer, rest, give_up } => match connected(&socket) {
                Ok(false) => Ok(Turn::Wait(State::Connecting { socket, peer, rest, give_up }, deadline)),
                Ok(true) => {
                    begin_session(&request, socket, now).and_then(|turn| advance(&request, turn, now, buffer))
                }
                Err(source) => {
                    drop(socket);
                    self.connect(id, rest, give_up, now, Some(Error::Connect { peer, source: source.into() }))
                }
            },
            state => advance(&request, Turn::Wait(state, deadline), now, buffer),
        };
        self.settle(id, request, result);
    }

    fn settle(&mut self, id: usize, mut request: Request, result: Result<Turn, Error>) {
        match result {
            Ok(Turn::Login(peer, answer)) => {
                request.login = Some(answer);
                let now = Instant::now();
                let again = self.connect(id, vec![peer], now + request.config.tcp, now, None);
                self.settle(id, request, again);
            }
            Ok(Turn::Wait(state, deadline)) => {
                self.attempts.insert(id, Attempt { request, state, deadline });
            }
            Ok(Turn::Done(mut dialed)) => {
                let handed = self.poll.registry().deregister(dialed.transport.socket());
                let what = "cannot hand a socket over";
                let result = handed.map_err(|source| Error::System { what, source: source.into() });
                self.end(request, result.map(|()| Reached::Peer(dialed)));
            }
            Ok(Turn::Elsewhere(url)) => self.end(request, Ok(Reached::Elsewhere(url))),
            Err(error) => self.end(request, Err(error)),
        }
    }

    /// The attempt is over: who waits for it is told, and who waits for its server, if that let it in.
    fn end(&mut self, request: Request, result: Result<Reached, Error>) {
        let server = request.server();
        self.spread.over(&server);
        let hopes = match &result {
            Ok(Reached::Peer(_)) => self.hopes.remove(&server),
            _ => None,
        };
        request.reply.tell(result);
        for hope in hopes.into_iter().flatten() {
            if !hope.given_up.load(Ordering::Relaxed) {
                (hope.tell)();
            }
        }
    }

    /// Ends attempts whose deadline has passed.
    fn expire(&mut self, now: Instant, buffer: &mut [u8]) {
        let is_cancelled = |attempt: &Attempt| attempt.request.is_cancelled();
        let cancelled: Vec<_> =
            self.attempts.iter().filter(|(_, attempt)| is_cancelled(attempt)).map(|(&id, _)| id).collect();
        for id in cancelled {
            if let Some(attempt) = self.attempts.remove(&id) {
                self.spread.over(&attempt.request.server());
                give_up(attempt.state);
            }
        }
        self.spread.forget(now, Wanted::is_cancelled);
        self.hopes.retain(|_, hopes| {
            hopes.retain(|hope| !hope.given_up.load(Ordering::Relaxed));
            !hopes.is_empty()
        });
        let due: Vec<_> =
            self.attempts.iter().filter(|(_, attempt)| attempt.deadline <= now).map(|(&id, _)| id).collect();
        for id in due {
            // The process may have stood still: what came meanwhile waits in the socket, and is looked at before the deadline is judged.
            self.turn(id, now, buffer);
            let is_late = |attempt: &Attempt| attempt.deadline <= now;
            if !self.attempts.get(&id).is_some_and(is_late) {
                continue;
            }
            let Some(Attempt { request, state, .. }) = self.attempts.remove(&id) else { continue };
            let host = request.destination.host().to_owned();
            let timeout = |step, after| Err(Error::ConnectTimeout { host, step, after });
            let result = match state {
                State::Resolving => timeout(ConnectStep::Dns, request.config.dns),
                State::Connecting { socket, rest, give_up, .. } => {
                    drop(socket);
                    let late = timeout(ConnectStep::Tcp, request.config.tcp);
                    match late {
                        Err(late) if !rest.is_empty() => self.connect(id, rest, give_up, now, Some(late)),
                        late => late,
                    }
                }
                State::Tls { .. } => timeout(ConnectStep::Tls, request.config.tls),
                // The session knows which of its own deadlines this is.
                state @ State::Rtmp { .. } => advance(&request, Turn::Wait(state, now), now, buffer),
            };
            self.settle(id, request, result);
        }
    }
}
