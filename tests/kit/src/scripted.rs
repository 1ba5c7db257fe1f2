//! An RTMP server that follows a script: it takes down what it is sent, tag by tag with the time of arrival, or misbehaves in a
//! way no real server would do on command.

use super::net::wait_until;
use bytes::{Buf, BytesMut};
use flowcast::rtmp::amf0::{Value, encode_all};
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::rtmp::session::{Reject, ServerConfig, ServerEvent, ServerSession};
use socket2::SockRef;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a blocking call may keep a connection from seeing a command.
const GLANCE: Duration = Duration::from_millis(5);

/// Of each connection, bytes; and of one that is read slowly, with what is read of it at once.
const RECEIVE_BUFFER: usize = 256 << 10;
const SLOW_BUFFER: usize = 64 << 10;
const SLOW_READ: usize = 4 << 10;

/// What the server does with a connection it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Lets the client publish and takes its tags down.
    Record,
    /// Takes what comes and never says a word.
    Mute,
    /// Says its handshake one byte at a time.
    Drip(Duration),
    /// Closes at once.
    Close,
    /// Lets the client publish, and closes.
    CloseWhenLive,
    /// Refuses to let the client publish.
    Refuse(&'static str, &'static str),
    /// Hears that the client wants to publish, and never answers.
    Undecided,
    /// Lets the client publish, and reads no more.
    Deaf,
    /// Answers `connect` with the address of another server.
    Redirect(String),
    /// Lets the client publish, and from then on says more than it is sent: acknowledgements and pings, without end.
    Talk,
    /// Lets the client publish, and after this many coded pictures asks it to go to another server.
    SendAway(usize, String),
}

/// An acknowledgement of a megabyte, and a ping, on the chunk stream of the protocol itself.
const TALK: &[u8] = &[
    2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0x10, 0, 0, 2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1,
];

/// What a client ends its stream with.
const GOODBYE: &[u8] = b"deleteStream";

/// One tag as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// Its kind.
    pub kind: TagKind,
    /// Its time, milliseconds.
    pub time: i64,
    /// A coded picture that needs no other.
    pub keyframe: bool,
    /// A header of a codec.
    pub header: bool,
    /// Of the coded picture or sound alone.
    pub hash: u64,
}

impl Seen {
    /// Describes a tag.
    pub fn new(tag: &Tag, at: Instant) -> Self {
        let header = tag.is_sequence_header();
        let head = if tag.is_video() { VIDEO_HEAD } else { AUDIO_HEAD };
        let body = tag.body.to_bytes();
        Self {
            at,
            kind: tag.kind,
            time: tag.timestamp.as_millis(),
            keyframe: tag.is_video() && tag.is_keyframe() && !header,
            header,
            hash: hash(body.get(head..).unwrap_or_default()),
        }
    }

    /// Whether it is a coded picture.
    pub fn is_picture(&self) -> bool {
        self.kind == TagKind::Video && !self.header
    }
}

/// Bytes of a tag before the picture: frame type and codec, packet type, composition time.
const VIDEO_HEAD: usize = 5;
/// Bytes of a tag before the sound: format, packet type.
const AUDIO_HEAD: usize = 2;

/// A hash of coded media.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// One connection the server took.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When it came.
    pub accepted: Instant,
    /// When it asked to publish.
    pub asked: Option<Instant>,
    /// When it was let in.
    pub live: Option<Instant>,
    /// When it took its wish to publish back, which was not answered.
    pub left: Option<Instant>,
    /// When it was over.
    pub closed: Option<Instant>,
    /// What it sent.
    pub tags: Vec<Seen>,
    /// Bytes that it was told beside what it asked for.
    pub talked: u64,
}

impl Visit {
    /// When the first coded picture arrived.
    pub fn first_picture(&self) -> Option<Instant> {
        self.tags.iter().find(|tag| tag.is_picture()).map(|tag| tag.at)
    }
}

#[derive(Debug)]
struct State {
    script: Mutex<Script>,
    visits: Mutex<Vec<Visit>>,
    /// By the number of the connection.
    sockets: Mutex<HashMap<usize, TcpStream>>,
    deaf: AtomicBool,
    down: AtomicBool,
    /// It reads as many bytes a second of each connection at most.
    most: Option<u32>,
}

/// The server.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Starts it at an address of its own.
    pub fn start(script: Script) -> Self {
        Self::start_with(script, None)
    }

    /// The same, at the end of a link that carries as many bytes a second.
    pub fn start_slow(script: Script, bytes_per_second: u32) -> Self {
        Self::start_with(script, Some(bytes_per_second))
    }

    fn start_with(script: Script, most: Option<u32>) -> Self {
        let state = Arc::new(State {
            script: Mutex::new(script),
            visits: Mutex::default(),
            sockets: Mutex::default(),
            deaf: AtomicBool::new(false),
            down: AtomicBool::new(false),
            most,
        });
        let mut server = Self { address: super::own_address(), state, accepting: None };
        server.up();
        server
    }

    /// The URL of an app.
    pub fn url(&self) -> String {
        format!("rtmp://{}/live", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does with connections from now on.
    pub fn follow(&self, script: Script) {
        *lock(&self.state.script) = script;
    }

    /// From now on nothing is read, on any connection; `false` reads again.
    pub fn deafen(&self, deaf: bool) {
        self.state.deaf.store(deaf, Ordering::SeqCst);
    }

    /// As if its process had been killed: every connection is gone, and nobody listens.
    pub fn down(&mut self) {
        self.state.down.store(true, Ordering::SeqCst);
        for (_, socket) in lock(&self.state.sockets).drain() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the accept call.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }

    /// Listens again at the same address.
    pub fn up(&mut self) {
        self.state.down.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.address).expect("nobody else has the address");
        // What the kernel takes for a server that does not read is not seen as lag by anyone: little of it makes tests short.
        let buffer = if self.state.most.is_some() { SLOW_BUFFER } else { RECEIVE_BUFFER };
        let _ = SockRef::from(&listener).set_recv_buffer_size(buffer);
        let state = Arc::clone(&self.state);
        self.accepting = Some(std::thread::spawn(move || accept(&listener, &state)));
    }

    /// Resets every connection.
    pub fn reset(&self) {
        for (_, socket) in lock(&self.state.sockets).drain() {
            // With no time to linger, closing resets; the reading thread has the other handle, so it is shut down too.
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    /// Closes its side of every connection.
    pub fn finish(&self) {
        for socket in lock(&self.state.sockets).values() {
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    /// Every connection so far.
    pub fn visits(&self) -> Vec<Visit> {
        lock(&self.state.visits).clone()
    }

    /// Connections so far.
    pub fn count(&self) -> usize {
        lock(&self.state.visits).len()
    }

    /// Waits until connection `number` (from 0) has sent this many coded pictures.
    pub fn wait_pictures(&self, number: usize, pictures: usize, deadline: Duration) -> bool {
        wait_until(deadline, || {
            lock(&self.state.visits)
                .get(number)
                .is_some_and(|visit| visit.tags.iter().filter(|tag| tag.is_picture()).count() >= pictures)
        })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.down();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((socket, _)) = listener.accept() {
        if state.down.load(Ordering::SeqCst) {
            return;
        }
        let number = {
            let mut visits = lock(&state.visits);
            visits.push(Visit {
                accepted: Instant::now(),
                asked: None,
                live: None,
                left: None,
                closed: None,
                tags: Vec::new(),
                talked: 0,
            });
            visits.len() - 1
        };
        let script = lock(&state.script).clone();
        if script == Script::Close {
            drop(socket);
            lock(&state.visits)[number].closed = Some(Instant::now());
            continue;
        }
        if let Ok(handle) = socket.try_clone() {
            lock(&state.sockets).insert(number, handle);
        }
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            serve(socket, &script, &state, number);
            lock(&state.sockets).remove(&number);
            lock(&state.visits)[number].closed = Some(Instant::now());
        });
    }
}

/// Serves one connection until either side ends it.
fn serve(mut socket: TcpStream, script: &Script, state: &State, number: usize) {
    let _ = socket.set_read_timeout(Some(GLANCE));
    let began = Instant::now();
    if let Script::Redirect(url) = script {
        return redirect(&mut socket, url, state);
    }
    let mut session = ServerSession::new(ServerConfig::default(), None, [0x5a; 1528], began);
    let mut dripped = Instant::now();
    let mut deaf = false;
    let mut buffer = vec![0; if state.most.is_some() { SLOW_READ } else { 64 << 10 }];
    let mut heard = 0_u64;
    while !state.down.load(Ordering::SeqCst) {
        while session.wire().has_remaining() && *script != Script::Mute {
            let one = matches!(script, Script::Drip(_));
            if let Script::Drip(pause) = script
                && dripped.elapsed() < *pause
            {
                break;
            }
            dripped = Instant::now();
            let wire = session.wire();
            let length = if one { 1 } else { wire.chunk().len() };
            let Ok(written) = socket.write(&wire.chunk()[..length]) else { return };
            wire.advance(written);
        }
        if session.is_finished() || (*script == Script::CloseWhenLive && session.is_live()) {
            return;
        }
        if *script == Script::Talk && session.is_live() {
            let Ok(written) = socket.write(&TALK.repeat(256)) else { return };
            // A message that was written in part is written to its end.
            let rest = TALK.len() - 1 - (written + TALK.len() - 1) % TALK.len();
            if socket.write_all(&TALK[TALK.len() - rest..]).is_err() {
                return;
            }
            lock(&state.visits)[number].talked += (written + rest) as u64;
        }
        let is_over = |most: u32| heard as f64 > f64::from(most) * began.elapsed().as_secs_f64();
        if deaf || state.deaf.load(Ordering::SeqCst) || state.most.is_some_and(is_over) {
            std::thread::park_timeout(GLANCE);
            continue;
        }
        match socket.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) if *script == Script::Mute => {}
            Ok(count) => {
                heard += count as u64;
                let bytes = buffer.get(..count).unwrap_or_default();
                // The session says nothing of the end of what never began.
                if *script == Script::Undecided && bytes.windows(GOODBYE.len()).any(|part| part == GOODBYE) {
                    lock(&state.visits)[number].left = Some(Instant::now());
                }
                if session.handle_input(Instant::now(), bytes).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        let now = Instant::now();
        while let Some(event) = session.poll_event() {
            match event {
                ServerEvent::Publish(_) => match script {
                    Script::Undecided => lock(&state.visits)[number].asked = Some(now),
                    Script::Refuse(code, description) => {
                        let (code, description) = ((*code).to_owned(), (*description).to_owned());
                        session.reject(Reject::Custom { code, description }, now);
                    }
                    _ => {
                        session.accept_publish(now);
                        lock(&state.visits)[number].live = Some(now);
                        deaf = *script == Script::Deaf;
                    }
                },
                ServerEvent::Tag(tag) => {
                    let mut visits = lock(&state.visits);
                    visits[number].tags.push(Seen::new(&tag, now));
                    if let Script::SendAway(after, url) = script
                        && tag.is_video()
                        && visits[number].tags.iter().filter(|tag| tag.is_picture()).count() == *after
                    {
                        assert!(
                            session.request_reconnect(Some(url), "going down"),
                            "the client did not say so"
                        );
                    }
                }
                ServerEvent::Unpublish => return,
                _ => {}
            }
        }
    }
}

/// By hand, since no session of ours redirects.
fn redirect(socket: &mut TcpStream, url: &str, state: &State) {
    const C1: usize = 1536;
    let mut heard = Vec::new();
    let mut hear = |socket: &mut TcpStream, done: &dyn Fn(&[u8]) -> bool| {
        let mut buffer = [0; 4096];
        while !done(&heard) && !state.down.load(Ordering::SeqCst) {
            match socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => heard.extend(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        heard.clone()
    };
    let c1 = hear(socket, &|heard| heard.len() > C1);
    let echo = c1.get(1..=C1).unwrap_or_default();
    let _ = socket.write_all(&[&[3], &[0; C1][..], echo].concat());
    hear(socket, &|heard| heard.windows(7).any(|window| window == b"connect"));
    let elsewhere = Value::object([("code", Value::from(302.0)), ("redirect", Value::from(url))]);
    let info = Value::object([
        ("level", Value::from("error")),
        ("code", Value::from("NetConnection.Connect.Rejected")),
        ("description", Value::from("elsewhere")),
        ("ex", elsewhere),
    ]);
    let mut body = BytesMut::new();
    encode_all(&[Value::from("_error"), Value::from(1.0), Value::Null, info], &mut body);
    let length = u32::try_from(body.len()).expect("a short message").to_be_bytes();
    // Larger than the default chunk: said in one after Set Chunk Size.
    let _ = socket.write_all(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 16, 0]);
    let header = [3, 0, 0, 0, length[1], length[2], length[3], 20, 0, 0, 0, 0];
    let _ = socket.write_all(&[&header[..], &body].concat());
    hear(socket, &|_| false);
}
