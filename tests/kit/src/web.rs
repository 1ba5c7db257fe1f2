//! A server of HTTP/1.1 for tests: the files of a directory, and what a test makes up.
//!
//! In: a directory, and answers for paths that are no files. Out: an address, and what was asked for. On threads of its own, which end with the
//! test program.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

type Made = HashMap<String, Vec<u8>>;

/// A running server.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// Whole answers, with their heads, by path.
    made: Mutex<Made>,
    asked: Mutex<Vec<String>>,
    /// Connections that are open; `None` while nobody is taken in.
    open: Mutex<Option<Vec<TcpStream>>>,
}

impl Web {
    /// Serves the files of `directory`.
    pub fn start(directory: impl Into<PathBuf>) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), directory)
    }

    /// The same at an address of its own.
    pub fn start_at(address: SocketAddr, directory: impl Into<PathBuf>) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            directory: directory.into(),
            made: Mutex::default(),
            asked: Mutex::default(),
            open: Mutex::new(Some(Vec::new())),
        });
        let server = shared.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let Some(open) = &mut *server.open.lock().expect("nobody panics") else { continue };
                open.push(socket.try_clone().expect("a descriptor"));
                let server = server.clone();
                std::thread::spawn(move || {
                    let _ = server.serve(&socket);
                    let _ = socket.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path that begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers with this text at `path`.
    pub fn text(&self, path: &str, text: &str) {
        self.answer(path, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
    }

    /// Redirects from `path`.
    pub fn redirect(&self, path: &str, to: &str) {
        self.answer(path, format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"));
    }

    /// Sends these bytes at `path`, and keeps the connection.
    pub fn answer(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.made.lock().expect("nobody panics").insert(path.to_owned(), bytes.into());
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("nobody panics").clone()
    }

    /// Resets every connection, and takes nobody in until it is [back](Self::resume).
    pub fn kill(&self) {
        let open = self.shared.open.lock().expect("nobody panics").take();
        for socket in open.into_iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections in again.
    pub fn resume(&self) {
        *self.shared.open.lock().expect("nobody panics") = Some(Vec::new());
    }
}

impl Shared {
    fn serve(&self, socket: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(socket).lines();
        loop {
            let head: Vec<String> =
                lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { return Ok(()) };
            self.asked.lock().expect("nobody panics").push(path.to_owned());
            let made = self.made.lock().expect("nobody panics").get(path).cloned();
            let bytes = made.unwrap_or_else(|| self.file(path, &head));
            (&*socket).write_all(&bytes)?;
        }
    }

    fn file(&self, path: &str, head: &[String]) -> Vec<u8> {
        let name = path.trim_start_matches('/').split('?').next().unwrap_or_default();
        let Some(mut bytes) = std::fs::read(self.directory.join(name)).ok().filter(|_| !name.contains(".."))
        else {
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
        };
        let range = head.iter().find_map(|line| line.strip_prefix("Range: bytes="));
        let range = range.and_then(|range| range.split_once('-'));
        let mut status = "200 OK";
        if let Some((from, to)) =
            range.and_then(|(from, to)| Some((from.parse().ok()?, to.parse::<usize>().ok()?)))
        {
            bytes = bytes.get(from..=to.min(bytes.len() - 1)).unwrap_or_default().to_vec();
            status = "206 Partial Content";
        }
        // Pages of other origins may play them.
        let head = format!(
            "HTTP/1.1 {status}\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        [head.into_bytes(), bytes].concat()
    }
}
