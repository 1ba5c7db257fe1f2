//! Stands between libav and an RTSP server: connects in its place, and lets no redirect through.
//!
//! In: a connection that was made to an address that may be reached, with TLS if that is asked for. Out: a loopback address where libav finds
//! it. libav would follow redirects to wherever they lead; here they end the connection, and the input follows them itself. libav gets the
//! server's answers as [`Answers`] write them. On a thread of its own, which ends with either side.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::answers::{Answers, Heard};
use crate::fetch::{Cancel, Connection};
use crate::pull::Setting;
use crate::sys::{self, CpuLap, CpuMeter};

const STACK: usize = 256 << 10;
/// How long libav may take to come.
const COMES_WITHIN: Duration = Duration::from_secs(10);
/// Turns between two reports of the CPU time.
const REPORT_EVERY: u32 = 64;
/// Bytes read at once.
const PIECE: usize = 32 << 10;

/// What was seen of the server's answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// In its answers.
    pub(super) heard: Heard,
    /// What the connection ended with.
    pub(super) failure: Option<Arc<io::Error>>,
}

pub(super) struct Relay {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    over: Cancel,
    _thread: sys::Worker,
}

impl Relay {
    /// Offers this connection at an address.
    pub(super) fn start(server: Connection, setting: &Setting, cancel: &Cancel) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (seen, over) = (Arc::new(Mutex::new(Seen::default())), Cancel::default());
        let mut between = Between {
            server,
            seen: seen.clone(),
            over: over.clone(),
            cancel: cancel.clone(),
            answers: Answers::default(),
            cpu: setting.cpu.clone(),
        };
        let name = format!("fr-{}", setting.name);
        let thread = sys::Worker::start("a relay of RTSP", name, STACK, move || {
            if let Err(error) = between.accept(&listener).and_then(|client| between.run(client)) {
                between.seen.lock().failure.get_or_insert_with(|| Arc::new(error));
            }
        })?;
        Ok(Self { address, seen, over, _thread: thread })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

struct Between {
    server: Connection,
    seen: Arc<Mutex<Seen>>,
    over: Cancel,
    cancel: Cancel,
    answers: Answers,
    cpu: CpuMeter,
}

impl Between {
    fn is_over(&self) -> bool {
        self.over.is_cancelled() || self.cancel.is_cancelled()
    }

    /// Takes libav in, and nobody after it.
    fn accept(&self, listener: &TcpListener) -> io::Result<TcpStream> {
        let deadline = Instant::now() + COMES_WITHIN;
        loop {
            match listener.accept() {
                Ok((client, _)) => {
                    client.set_nonblocking(true)?;
                    client.set_nodelay(true)?;
                    return Ok(client);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_over() || Instant::now() >= deadline {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    wait(&mut [PollFd::new(listener, PollFlags::IN)])?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn run(&mut self, mut client: TcpStream) -> io::Result<()> {
        let (mut up, mut down) = (Pending::default(), Pending::default());
        let (mut lap, mut turns) = (CpuLap::default(), 0_u32);
        let mut piece = vec![0; PIECE];
        loop {
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(REPORT_EVERY) {
                self.cpu.lap(&mut lap);
            }
            if self.is_over() {
                return Ok(());
            }
            let mut idle = true;
            if down.is_empty() {
                match self.server.read_now(&mut piece) {
                    Ok(0) => return Ok(()),
                    Ok(count) => {
                        let fed =
                            down.renew(|out| self.answers.feed(piece.get(..count).unwrap_or_default(), out));
                        self.seen.lock().heard = self.answers.heard().clone();
                        fed?;
                        idle = false;
                    }
                    Err(error) if is_later(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            if up.is_empty() {
                match up.fill(|buffer| client.read(buffer))? {
                    Some(0) => return Ok(()),
                    Some(_) => idle = false,
                    None => {}
                }
            }
            idle &= !down.drain(|bytes| client.write(bytes))?;
            idle &= !up.drain(|bytes| self.server.write_now(bytes))?;
            if idle {
                let flags = |reads: &Pending, writes: &Pending| {
                    let mut flags = PollFlags::empty();
                    flags.set(PollFlags::IN, reads.is_empty());
                    flags.set(PollFlags::OUT, !writes.is_empty());
                    flags
                };
                wait(&mut [
                    PollFd::from_borrowed_fd(self.server.descriptor(), flags(&down, &up)),
                    PollFd::from_borrowed_fd(client.as_fd(), flags(&up, &down)),
                ])?;
            }
        }
    }
}

fn wait(sockets: &mut [PollFd<'_>]) -> io::Result<()> {
    let slice = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    match poll(sockets, Some(&slice)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Bytes on their way.
#[derive(Default)]
struct Pending {
    buffer: Vec<u8>,
    at: usize,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Puts other bytes into it; the ones before are through.
    fn renew<T>(&mut self, put: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.buffer.clear();
        self.at = 0;
        put(&mut self.buffer)
    }

    /// Reads; `None` if there is nothing yet.
    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Option<usize>> {
        self.renew(|buffer| {
            buffer.resize(PIECE, 0);
            let read = read(buffer);
            buffer.truncate(read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(count) => Ok(Some(count)),
                Err(error) if is_later(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Writes what is taken; whether anything was.
    fn drain(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        match write(self.bytes()) {
            Ok(count) => {
                self.at += count;
                Ok(count > 0)
            }
            Err(error) if is_later(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
