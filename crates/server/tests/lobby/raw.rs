//! A client that says exactly what it is told to, command by command.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use flowcast_rtmp::amf0::Value;
use flowcast_rtmp::chunk::ChunkReader;
use flowcast_rtmp::command::Command;
use flowcast_rtmp::limits::Limits;

use crate::support::PATIENCE;

/// Chunks that hold any message of the tests.
const CHUNK: usize = 1 << 20;

pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    reader: ChunkReader,
    /// Bytes that came and were not looked at.
    waiting: Vec<u8>,
    /// The last message stream.
    pub(crate) id: u32,
    transaction: f64,
}

/// A message in one chunk.
fn message(csid: u8, type_id: u8, body: &[u8], stream: u32) -> Vec<u8> {
    let mut out = vec![csid, 0, 0, 0];
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.push(type_id);
    out.extend_from_slice(&stream.to_le_bytes());
    out.extend_from_slice(body);
    out
}

impl Raw {
    /// Connects to `app`.
    pub(crate) fn connect(server: SocketAddr, app: &str) -> Self {
        let mut socket = TcpStream::connect(server).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut begin = vec![0; 3073];
        begin[0] = 3;
        begin.extend(message(2, 1, &(CHUNK as u32).to_be_bytes(), 0));
        let object = Value::object([("app", Value::from(app))]);
        begin.extend(message(3, 20, &Command::with_object("connect", 1.0, object, Vec::new()).encode(), 0));
        socket.write_all(&begin).unwrap();
        let reader = ChunkReader::new(&Limits::publisher());
        let mut raw = Self { socket, reader, waiting: Vec::new(), id: 0, transaction: 1.0 };
        raw.fill(3073);
        raw.waiting.drain(..3073);
        raw
    }

    /// Reads until this many bytes wait.
    fn fill(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 65_536];
        while self.waiting.len() < count {
            assert!(Instant::now() < deadline, "nothing comes");
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("closed"),
                Ok(read) => self.waiting.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn say(&mut self, name: &str, arguments: Vec<Value>, stream: u32) {
        self.transaction += 1.0;
        let body = Command::new(name, self.transaction, arguments).encode();
        self.socket.write_all(&message(3, 20, &body, stream)).unwrap();
    }

    /// The next command that is no answer to something unimportant: its name, and the code or number in it.
    pub(crate) fn hear(&mut self) -> (String, String) {
        loop {
            let mut input = self.waiting.as_slice();
            let pulled = self.reader.pull(&mut input).unwrap();
            let left = input.len();
            self.waiting.drain(..self.waiting.len() - left);
            let Some(came) = pulled else {
                self.fill(self.waiting.len() + 1);
                continue;
            };
            if let Ok(Some(command)) = Command::parse(came.type_id, &came.payload, &Limits::publisher()) {
                let word = match command.arguments.first() {
                    Some(Value::Number(number)) => number.to_string(),
                    Some(info) => info.get("code").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    None => String::new(),
                };
                return (command.name.clone(), word);
            }
        }
    }

    /// Hears until a status or error of `kind` (such as `NetStream.Publish`), and says which.
    pub(crate) fn status(&mut self, kind: &str) -> String {
        loop {
            let (name, code) = self.hear();
            if (name == "onStatus" || name == "_error") && code.starts_with(kind) {
                return code;
            }
        }
    }

    pub(crate) fn create(&mut self) {
        self.say("createStream", Vec::new(), 0);
        loop {
            let (name, number) = self.hear();
            if name == "_result" && !number.is_empty() && !number.contains("Net") {
                self.id = number.parse().unwrap();
                return;
            }
        }
    }

    /// Publishes or plays, and says what became of it.
    pub(crate) fn ask(&mut self, verb: &str, name: &str) -> String {
        self.say(verb, vec![Value::from(name)], self.id);
        let kind = if verb == "publish" { "NetStream.Publish" } else { "NetStream.Play" };
        loop {
            let code = self.status(kind);
            if code != "NetStream.Play.Reset" && code != "NetStream.Play.Stop" {
                return code;
            }
        }
    }

    /// A video tag's body.
    pub(crate) fn picture(&mut self, body: &[u8]) {
        self.socket.write_all(&message(6, 9, body, self.id)).unwrap();
    }

    /// Waits for the video of a player that `wanted` is the body of.
    pub(crate) fn wait_picture(&mut self, wanted: &[u8]) {
        loop {
            let mut input = self.waiting.as_slice();
            let pulled = self.reader.pull(&mut input).unwrap();
            let left = input.len();
            self.waiting.drain(..self.waiting.len() - left);
            match pulled {
                Some(came) if came.type_id == 1 => {}
                Some(came) if came.type_id == 9 && came.payload == wanted => return,
                Some(_) => {}
                None => self.fill(self.waiting.len() + 1),
            }
        }
    }

    /// Reads to the end; an error if the server reset the connection instead of closing it.
    pub(crate) fn end(&mut self) -> std::io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 65_536];
        loop {
            assert!(Instant::now() < deadline, "it stays open");
            match self.socket.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
