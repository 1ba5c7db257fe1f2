//! An RTMP server whose answers the test gives, command by command: what no session of ours would say. What it is not told to
//! answer, it answers as servers do.

use super::net::wait_until;
use bytes::Bytes;
use flowcast::rtmp::amf0::Value;
use flowcast::rtmp::chunk::ChunkReader;
use flowcast::rtmp::command::{Command, Status};
use flowcast::rtmp::limits::Limits;
use flowcast::rtmp::message::type_id;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a blocking call may keep a connection from seeing that the server goes down.
const GLANCE: Duration = Duration::from_millis(5);
/// C1 and S1, bytes.
const PACKET: usize = 1536;

/// Commands, and the message stream of each.
pub type Said = Vec<(u32, Command)>;

/// What a command is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// As servers do.
    Usual,
    /// These commands, on this message stream each, and the connection is closed.
    Last(Said),
}

/// `_error` to `connect`, as Adobe's servers say it.
pub fn connect_error(description: &str) -> Answer {
    let status = Status::error("NetConnection.Connect.Rejected", description);
    let close = Command::new("close", 0.0, Vec::new());
    Answer::Last(vec![(0, Command::new("_error", 1.0, vec![status.to_value()])), (0, close)])
}

/// `onStatus` to `publish`.
pub fn publish_status(level: &str, code: &str, description: &str) -> Said {
    let status = Status { level: level.to_owned(), ..Status::info(code, description) };
    vec![(1, status.to_command())]
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct Acts {
    /// What the client said.
    pub commands: Vec<Command>,
    /// Tags it sent.
    pub tags: usize,
    /// It is over.
    pub closed: bool,
}

impl Acts {
    /// A text of the `connect` command.
    pub fn connect(&self, name: &str) -> String {
        let connect = self.commands.iter().find(|command| command.name == "connect");
        let value = connect.and_then(|connect| connect.object.get(name));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The name in the command called so, such as `publish`.
    pub fn name(&self, command: &str) -> Option<String> {
        let found = self.commands.iter().find(|said| said.name == command)?;
        found.arguments.first().and_then(Value::as_str).map(str::to_owned)
    }
}

type Act = dyn Fn(usize, &Command) -> Answer + Send + Sync;

struct Shared {
    act: Box<Act>,
    /// Tags after which a connection is closed, and what is said before.
    enough: Mutex<Option<(usize, Said)>>,
    visits: Mutex<Vec<Acts>>,
    down: AtomicBool,
}

/// The server.
#[derive(Debug)]
pub struct Acted {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Acted {
    /// Starts it on a free port of 127.0.0.1; `act` is given the number of the connection, from 0, and what it said.
    pub fn start(act: impl Fn(usize, &Command) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let shared = Arc::new(Shared {
            act: Box::new(act),
            enough: Mutex::default(),
            visits: Mutex::default(),
            down: AtomicBool::new(false),
        });
        let state = shared.clone();
        let accepting = std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if state.down.load(Ordering::SeqCst) {
                    return;
                }
                let state = state.clone();
                let number = {
                    let mut visits = state.visits.lock().unwrap_or_else(PoisonError::into_inner);
                    visits.push(Acts::default());
                    visits.len() - 1
                };
                std::thread::spawn(move || {
                    serve(socket, number, &state);
                    state.with(number, |acts| acts.closed = true);
                });
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes connections that have sent this many tags.
    pub fn close_after(&self, tags: Option<usize>) {
        let enough = tags.map(|tags| (tags, Vec::new()));
        *self.shared.enough.lock().unwrap_or_else(PoisonError::into_inner) = enough;
    }

    /// The same, and says this before.
    pub fn throw_out_after(&self, tags: usize, said: Said) {
        *self.shared.enough.lock().unwrap_or_else(PoisonError::into_inner) = Some((tags, said));
    }

    /// Every connection so far.
    pub fn visits(&self) -> Vec<Acts> {
        self.shared.visits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until connection `number` has sent this many tags.
    pub fn wait_tags(&self, number: usize, tags: usize) -> bool {
        wait_until(super::PATIENCE, || self.visits().get(number).is_some_and(|acts| acts.tags >= tags))
    }
}

impl Drop for Acted {
    fn drop(&mut self) {
        self.shared.down.store(true, Ordering::SeqCst);
        // Wakes the accept call.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("visits", &self.visits).finish_non_exhaustive()
    }
}

impl Shared {
    fn with<T>(&self, number: usize, change: impl FnOnce(&mut Acts) -> T) -> T {
        change(&mut self.visits.lock().unwrap_or_else(PoisonError::into_inner)[number])
    }
}

fn serve(mut socket: TcpStream, number: usize, shared: &Shared) {
    let _ = socket.set_read_timeout(Some(GLANCE));
    let mut heard = Vec::new();
    if !fill(&mut socket, &mut heard, 1 + PACKET, shared) {
        return;
    }
    let hello = [&[3], &[0; PACKET][..], &heard[1..=PACKET]].concat();
    if socket.write_all(&hello).is_err() || !fill(&mut socket, &mut heard, 1 + 2 * PACKET, shared) {
        return;
    }
    let mut bytes = heard.split_off(1 + 2 * PACKET);
    let mut reader = ChunkReader::new(&Limits::publisher());
    while !shared.down.load(Ordering::SeqCst) {
        let mut input = bytes.as_slice();
        loop {
            let message = match reader.pull(&mut input) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(_) => return,
            };
            let goes_on = match Command::parse(message.type_id, &message.payload, &Limits::publisher()) {
                Ok(Some(command)) => obey(&mut socket, number, command, shared),
                _ if matches!(message.type_id, type_id::AUDIO | type_id::VIDEO) => {
                    let tags = shared.with(number, |acts| {
                        acts.tags += 1;
                        acts.tags
                    });
                    let enough = shared.enough.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    match enough {
                        Some((enough, said)) if tags >= enough => {
                            let _ = socket.write_all(&wire(&said));
                            false
                        }
                        _ => true,
                    }
                }
                _ => true,
            };
            if !goes_on {
                return;
            }
        }
        bytes.clear();
        if !fill(&mut socket, &mut bytes, 1, shared) {
            return;
        }
    }
}

/// Answers a command; `false` to close.
fn obey(socket: &mut TcpStream, number: usize, command: Command, shared: &Shared) -> bool {
    let answer = (shared.act)(number, &command);
    let (said, goes_on) = match answer {
        Answer::Usual => (usual(&command), command.name != "deleteStream"),
        Answer::Last(said) => (said, false),
    };
    shared.with(number, |acts| acts.commands.push(command));
    socket.write_all(&wire(&said)).is_ok() && goes_on
}

fn usual(command: &Command) -> Said {
    let success = |arguments| vec![(0, Command::new("_result", command.transaction, arguments))];
    match command.name.as_str() {
        "connect" => success(vec![Status::info("NetConnection.Connect.Success", "ok").to_value()]),
        "createStream" => success(vec![Value::from(1.0)]),
        "publish" => publish_status("status", "NetStream.Publish.Start", "go"),
        "play" => publish_status("status", "NetStream.Play.Start", "look"),
        _ => Vec::new(),
    }
}

fn wire(said: &Said) -> Vec<u8> {
    said.iter().flat_map(|(stream, command)| message(*stream, &command.encode())).collect()
}

/// A command message in chunks of 128 bytes.
fn message(stream: u32, body: &Bytes) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short message").to_be_bytes();
    let mut out = vec![3, 0, 0, 0, length[1], length[2], length[3], type_id::COMMAND];
    out.extend(stream.to_le_bytes());
    for (index, piece) in body.chunks(128).enumerate() {
        if index > 0 {
            out.push(0xC3);
        }
        out.extend_from_slice(piece);
    }
    out
}

/// Reads until there are this many bytes; `false` when the connection is over.
fn fill(socket: &mut TcpStream, heard: &mut Vec<u8>, count: usize, shared: &Shared) -> bool {
    let mut buffer = [0; 64 << 10];
    while heard.len() < count {
        if shared.down.load(Ordering::SeqCst) {
            return false;
        }
        match socket.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
    }
    true
}
