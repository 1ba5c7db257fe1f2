//! Many players of one stream on one thread, as cheap as they can be: load for a server under test.
//!
//! In: what a server sends. Out: how much of it each player got, and how long each was left without anything. Most
//! players discard in the kernel (MSG_TRUNC) once they have seen a tag; some parse everything.

use std::io::{self, Read as _, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Buf;
use flowcast::rtmp::flv::Tag;
use flowcast::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
use flowcast::rtmp::url::Destination;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::net::RecvFlags;

use crate::Result;

/// Most bytes discarded with one call. The kernel does not write to the memory, so it never becomes resident.
const DISCARD: usize = 4 << 20;
/// Most bytes read with one call where they are looked at.
const READ: usize = 64 << 10;
/// Players that are being let in at a time.
const AT_THE_DOOR: usize = 16;
/// How long a server of HTTP may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Rest between two bytes of one that drips.
const DRIP: Duration = Duration::from_secs(1);

/// What a player does with what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Throws it away.
    Discard,
    /// Parses it and hands the tags out.
    Parse,
    /// Reads nothing more once it has seen the first tag.
    Stop,
    /// After the first tag, reads one byte a second.
    Drip,
}

/// One player.
#[derive(Debug)]
pub struct Player {
    socket: TcpStream,
    session: Option<Box<ClientSession>>,
    /// What it does.
    pub behaviour: Behaviour,
    /// Media has come.
    pub live: bool,
    /// Bytes since the last [`Crowd::mark`].
    pub bytes: u64,
    /// The longest time without a byte since then.
    pub silence: Duration,
    /// Tags parsed, ever.
    pub tags: u64,
    /// Tags of one kind whose time went back, ever.
    pub disorder: u64,
    newest: [i64; 3],
    last: Instant,
    dripped: Instant,
    /// Why it ended, if it did.
    pub ended: Option<String>,
}

/// What players say first.
enum Asks {
    /// Nothing: everything is media from the first byte.
    Nothing,
    Rtmp(Destination),
    /// A request of HTTP.
    Http(String),
}

/// All players.
pub struct Crowd {
    poll: Poll,
    events: Events,
    to: SocketAddr,
    asks: Asks,
    /// In the order they were connected in.
    pub players: Vec<Player>,
    scratch: Vec<u8>,
}

impl std::fmt::Debug for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crowd").field("players", &self.players.len()).finish_non_exhaustive()
    }
}

impl Crowd {
    /// Nobody yet, for the server at `to`. Without a stream there is no RTMP: everything is media from the first byte.
    pub fn new(to: SocketAddr, stream: Option<&str>) -> Result<Self> {
        let asks = match stream {
            Some(stream) => Asks::Rtmp(Destination::parse(&format!("rtmp://{to}/{stream}"))?),
            None => Asks::Nothing,
        };
        Self::who_ask(to, asks)
    }

    /// Nobody yet, for the server of HTTP at `to`, of which they get `path`. The answer is discarded, not parsed.
    pub fn of_http(to: SocketAddr, path: &str) -> Result<Self> {
        Self::who_ask(to, Asks::Http(format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n")))
    }

    fn who_ask(to: SocketAddr, asks: Asks) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(4096),
            to,
            asks,
            players: Vec::new(),
            scratch: vec![0; DISCARD],
        })
    }

    /// Lets one more player connect for each behaviour, some at a time, and waits until all have seen media.
    pub fn join(
        &mut self,
        behaviours: impl IntoIterator<Item = Behaviour>,
        patience: Duration,
        on_tag: &mut dyn FnMut(usize, &Tag, Instant),
    ) -> Result<()> {
        let end = Instant::now() + patience;
        let mut behaviours = behaviours.into_iter().peekable();
        loop {
            let mut waiting = self.players.iter().filter(|player| !player.live).count();
            while waiting < AT_THE_DOOR
                && let Some(behaviour) = behaviours.next()
            {
                self.connect(behaviour)?;
                waiting += 1;
            }
            if waiting == 0 && behaviours.peek().is_none() {
                return Ok(());
            }
            if let Some(why) = self.players.iter().find_map(|player| player.ended.as_ref()) {
                return Err(format!("a player was lost before all had joined: {why}").into());
            }
            if Instant::now() > end {
                return Err(format!("{waiting} players saw no media").into());
            }
            self.turn(Duration::from_millis(20), on_tag)?;
        }
    }

    fn connect(&mut self, behaviour: Behaviour) -> Result<()> {
        let mut socket = std::net::TcpStream::connect(self.to)?;
        if let Asks::Http(request) = &self.asks {
            get(&mut socket, request)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(&mut socket, Token(self.players.len()), Interest::READABLE)?;
        let now = Instant::now();
        let session = match &self.asks {
            Asks::Rtmp(destination) => {
                let config = ClientConfig::default();
                Some(Box::new(ClientSession::new(ClientRole::Play, destination, config, [0x5a; 1528], now)))
            }
            Asks::Nothing | Asks::Http(_) => None,
        };
        let mut player = Player {
            socket,
            session,
            behaviour,
            live: false,
            bytes: 0,
            silence: Duration::ZERO,
            tags: 0,
            disorder: 0,
            newest: [i64::MIN; 3],
            last: now,
            dripped: now,
            ended: None,
        };
        player.answer()?;
        self.players.push(player);
        Ok(())
    }

    /// Begins a new window: bytes and silences are counted from here on.
    pub fn mark(&mut self) {
        let now = Instant::now();
        for player in &mut self.players {
            (player.bytes, player.silence, player.last) = (0, Duration::ZERO, now);
        }
    }

    /// Takes what has arrived, waiting up to `patience` for it.
    pub fn turn(&mut self, patience: Duration, on_tag: &mut dyn FnMut(usize, &Tag, Instant)) -> Result<()> {
        if let Err(error) = self.poll.poll(&mut self.events, Some(patience))
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        let now = Instant::now();
        for event in &self.events {
            let Token(index) = event.token();
            if let Some(player) = self.players.get_mut(index) {
                let closed = event.is_read_closed() || event.is_error();
                player.guarded(&mut self.scratch, closed, now, &mut |tag| on_tag(index, tag, now));
            }
        }
        for player in self.players.iter_mut().filter(|player| player.behaviour == Behaviour::Drip) {
            if player.live && now.duration_since(player.dripped) >= DRIP {
                player.dripped = now;
                let _ = rustix::net::recv(&player.socket, &mut [0; 1][..], RecvFlags::empty());
            }
        }
        Ok(())
    }
}

/// Asks for a body without an end, and waits until it begins.
fn get(socket: &mut std::net::TcpStream, request: &str) -> Result<()> {
    socket.set_read_timeout(Some(ANSWER))?;
    socket.write_all(request.as_bytes())?;
    let mut head = [0; 4096];
    let count = socket.read(&mut head)?;
    let head = String::from_utf8_lossy(head.get(..count).unwrap_or_default()).into_owned();
    match head.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(format!("not played: {}", head.lines().next().unwrap_or("no answer")).into()),
    }
}

impl Player {
    fn guarded(&mut self, scratch: &mut [u8], closed: bool, now: Instant, on_tag: &mut dyn FnMut(&Tag)) {
        if self.ended.is_none()
            && let Err(error) = self.turn(scratch, closed, now, on_tag)
        {
            self.ended = Some(error.to_string());
        }
    }

    /// A read that was not filled has emptied the socket, so the next one can wait for its event, unless the event said
    /// that the end is near.
    fn turn(
        &mut self,
        scratch: &mut [u8],
        closed: bool,
        now: Instant,
        on_tag: &mut dyn FnMut(&Tag),
    ) -> Result<()> {
        loop {
            if self.live && matches!(self.behaviour, Behaviour::Stop | Behaviour::Drip) {
                return if closed { Err("closed by the server".into()) } else { Ok(()) };
            }
            let discards = self.session.is_none();
            let room = if discards { scratch.len() } else { READ };
            let buffer = scratch.get_mut(..room).unwrap_or_default();
            let flags =
                if discards && cfg!(target_os = "linux") { RecvFlags::TRUNC } else { RecvFlags::empty() };
            let count = match rustix::net::recv(&self.socket, &mut *buffer, flags) {
                Ok((_, count)) => count,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if count == 0 {
                return Err("closed by the server".into());
            }
            self.bytes += count as u64;
            self.silence = self.silence.max(now.duration_since(self.last));
            self.last = now;
            if discards {
                self.live = true;
            } else {
                self.parse(buffer.get(..count).unwrap_or_default(), now, on_tag)?;
            }
            if count < room && !closed {
                return Ok(());
            }
        }
    }

    fn parse(&mut self, bytes: &[u8], now: Instant, on_tag: &mut dyn FnMut(&Tag)) -> Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        session.handle_input(now, bytes)?;
        while let Some(event) = session.poll_event() {
            match event {
                ClientEvent::Tag(tag) => {
                    self.live = true;
                    self.tags += 1;
                    if let Some(newest) = self.newest.get_mut(tag.kind as usize) {
                        let time = tag.timestamp.as_millis();
                        self.disorder += u64::from(time < *newest);
                        *newest = time;
                    }
                    on_tag(&tag);
                }
                ClientEvent::Closed { code } => return Err(code.into()),
                _ => {}
            }
        }
        self.answer()?;
        if self.live && self.behaviour == Behaviour::Discard {
            self.session = None;
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        if let Some(session) = &mut self.session {
            while session.wire().has_remaining() {
                let count = (&self.socket).write(session.wire().chunk())?;
                session.wire().advance(count);
            }
        }
        Ok(())
    }
}
