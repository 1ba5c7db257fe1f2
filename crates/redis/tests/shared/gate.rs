//! What stands before a receiver and sees in which order connections send: a relay for each name, all on one thread.
//!
//! In: connections of nodes. Out: the same to the server, and how much came of each. Of two connections of a name, the older may send nothing once the younger is there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

/// How long it waits for something to come before it looks whether it is to end.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Read of one connection before others have their turn: one that sends for ever does not hold it up.
const MOST: u64 = 4 << 20;

/// What came of a name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Connections so far.
    pub(crate) connections: u64,
    /// Whether the youngest is open.
    pub(crate) is_open: bool,
    /// Bytes of the youngest.
    pub(crate) bytes: u64,
    /// Connections that are open.
    pub(crate) open: usize,
    /// The most bytes that an older one sent after a younger one was there.
    pub(crate) late: u64,
    /// When the last of those came.
    pub(crate) late_at: Option<Instant>,
}

/// Relays to a server, one for each name.
pub(crate) struct Gate {
    pub(crate) addresses: Vec<SocketAddr>,
    seen: Arc<Mutex<Vec<Seen>>>,
    most: Arc<AtomicUsize>,
    keeps: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Pair {
    client: TcpStream,
    /// `None` once it has closed.
    server: Option<TcpStream>,
    /// Bytes of the client.
    bytes: u64,
    /// There is a younger one: bytes since.
    late: Option<u64>,
    late_at: Option<Instant>,
    is_open: bool,
}

struct Door {
    listener: TcpListener,
    pairs: Vec<Pair>,
    seen: Seen,
}

impl Gate {
    pub(crate) fn start(server: SocketAddr, names: usize) -> Self {
        let listener = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let doors =
            (0..names).map(|_| Door { listener: listener(), pairs: Vec::new(), seen: Seen::default() });
        let mut doors: Vec<_> = doors.collect();
        let addresses = doors.iter().map(|door| door.listener.local_addr().unwrap()).collect();
        let seen = Arc::new(Mutex::new(vec![Seen::default(); names]));
        let is_over = Arc::new(AtomicBool::new(false));
        let keeps = Arc::new(AtomicBool::new(false));
        let most = Arc::new(AtomicUsize::new(0));
        let (shown, over, is_kept, greatest) = (seen.clone(), is_over.clone(), keeps.clone(), most.clone());
        let thread = std::thread::spawn(move || {
            let mut before = 0;
            while !over.load(Ordering::Relaxed) {
                wait(&doors);
                for door in &mut doors {
                    door.pass(server, is_kept.load(Ordering::Relaxed));
                }
                let open = doors.iter().filter(|door| door.seen.is_open).count();
                // One that closed while later doors were looked at is gone the next time.
                greatest.fetch_max(open.min(before), Ordering::Relaxed);
                before = open;
                *shown.lock().unwrap() = doors.iter().map(|door| door.seen.clone()).collect();
            }
        });
        Self { addresses, seen, most, keeps, is_over, thread: Some(thread) }
    }

    /// Whether connections that the server closes stay open to their clients from now on: what these send is counted, and goes nowhere.
    pub(crate) fn keep(&self, keeps: bool) {
        self.keeps.store(keeps, Ordering::Relaxed);
    }

    /// The most names that were open at a time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn wait(doors: &[Door]) {
    let mut fds = Vec::new();
    for door in doors {
        fds.push(PollFd::new(&door.listener, PollFlags::IN));
        for pair in &door.pairs {
            fds.push(PollFd::new(&pair.client, PollFlags::IN));
            fds.extend(pair.server.as_ref().map(|server| PollFd::new(server, PollFlags::IN)));
        }
    }
    // An interrupted wait is a short one.
    let _ = poll(&mut fds, Some(&TURN));
}

impl Door {
    /// What has come is passed on. Older connections first: what they had sent before a younger one came is read before that one is let in.
    fn pass(&mut self, server: SocketAddr, keeps: bool) {
        self.pairs.iter_mut().for_each(|pair| pair.pass(keeps));
        while let Ok((client, _)) = self.listener.accept() {
            // It may have come between the two: what is read now was sent before or after, nobody knows.
            self.pairs.iter_mut().for_each(|pair| pair.pass(keeps));
            self.pairs.iter_mut().for_each(|pair| {
                pair.late.get_or_insert(0);
            });
            let Ok(server) = TcpStream::connect(server) else { continue };
            client.set_nonblocking(false).unwrap();
            for stream in [&client, &server] {
                stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
            }
            self.pairs.push(Pair {
                client,
                server: Some(server),
                bytes: 0,
                late: None,
                late_at: None,
                is_open: true,
            });
            self.seen.connections += 1;
        }
        for pair in &self.pairs {
            self.seen.late = self.seen.late.max(pair.late.unwrap_or(0));
            self.seen.late_at = self.seen.late_at.max(pair.late_at);
        }
        let youngest = self.pairs.last();
        self.seen.is_open = youngest.is_some_and(|pair| pair.is_open);
        self.seen.bytes = youngest.map_or(0, |pair| pair.bytes);
        self.pairs.retain(|pair| pair.is_open);
        self.seen.open = self.pairs.len();
    }
}

impl Pair {
    fn pass(&mut self, keeps: bool) {
        let before = self.bytes;
        if let Some(server) = &mut self.server {
            let has_server = copy(server, &mut self.client, &mut 0);
            let to = &mut Server { stream: server, keeps };
            self.is_open = copy(&self.client, to, &mut self.bytes) && (has_server || keeps);
            self.server.take_if(|_| !has_server);
        } else {
            self.is_open = copy(&self.client, &mut std::io::sink(), &mut self.bytes);
        }
        if let Some(late) = &mut self.late
            && self.bytes > before
        {
            *late += self.bytes - before;
            self.late_at = Some(Instant::now());
        }
    }
}

/// A server that may have closed.
struct Server<'a> {
    stream: &'a mut TcpStream,
    keeps: bool,
}

impl Write for Server<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.stream.write(bytes) {
            Err(_) if self.keeps => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Passes on what is there; `false` at the end.
fn copy(from: &TcpStream, to: &mut impl Write, bytes: &mut u64) -> bool {
    let mut buffer = [0; 64 << 10];
    let end = *bytes + MOST;
    while *bytes < end {
        match recv(from, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return false,
            Ok((length, _)) => {
                *bytes += length as u64;
                if to.write_all(&buffer[..length]).is_err() {
                    return false;
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
            Err(_) => return false,
        }
    }
    true
}

#[test]
fn an_older_connection_that_goes_on_is_seen() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = Gate::start(server.local_addr().unwrap(), 2);
    let connect = || TcpStream::connect(gate.addresses[1]).unwrap();
    let until = |is_so: &dyn Fn(&Seen) -> bool| kit::wait_until(kit::PATIENCE, || is_so(&gate.seen()[1]));
    let mut older = connect();
    older.write_all(b"before").unwrap();
    let (mut received, mut text) = (server.accept().unwrap().0, [0; 6]);
    received.read_exact(&mut text).unwrap();
    assert!(until(&|seen| seen.bytes == 6 && seen.is_open && seen.connections == 1));
    let mut younger = connect();
    younger.write_all(b"now").unwrap();
    assert!(until(&|seen| seen.bytes == 3 && seen.connections == 2 && seen.late == 0));
    assert!(until(&|seen| seen.open == 2 && seen.late_at.is_none()));
    let now = Instant::now();
    older.write_all(b"late").unwrap();
    assert!(until(&|seen| seen.late == 4 && seen.late_at > Some(now)));
    let mut other = TcpStream::connect(gate.addresses[0]).unwrap();
    assert!(kit::wait_until(kit::PATIENCE, || gate.most_at_once() == 2));
    other.write_all(b"other").unwrap();
    // One that is kept is counted, though nobody is there any more.
    gate.keep(true);
    drop((server, received));
    assert!(until(&|seen| seen.open == 2));
    older.write_all(b"later").unwrap();
    assert!(until(&|seen| seen.late == 9 && seen.open == 2));
    drop((older, younger, other));
    assert!(until(&|seen| !seen.is_open && seen.open == 0 && seen.connections == 2));
    assert_eq!((gate.seen()[0].connections, gate.most_at_once()), (1, 2));
}
