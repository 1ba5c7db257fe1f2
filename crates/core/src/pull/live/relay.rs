//! Stands between libav and an RTSP server: connects in its place, and lets no redirect through.
//!
//! In: a connection that was made to an address that may be reached, with TLS if that is asked for. Out: a loopback address where libav finds
//! it. libav would follow redirects to wherever they lead; here they end the connection, and the input follows them itself. On a thread
//! of its own, which ends with either side.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fetch::{Cancel, Connection};
use crate::pull::Setting;
use crate::sys::{self, CpuLap, CpuMeter};

const STACK: usize = 256 << 10;
/// How long libav may take to come.
const COMES_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer's head at most.
const LONGEST_HEAD: usize = 64 << 10;
/// Turns between two reports of the CPU time.
const REPORT_EVERY: u32 = 64;
/// Bytes read at once.
const PIECE: usize = 32 << 10;

/// What was seen of the server's answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Where the server wants the client to go.
    pub(super) moved_to: Option<String>,
    /// The status of its last answer.
    pub(super) status: Option<u16>,
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
            watch: Watch::default(),
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
    watch: Watch,
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
                match down.fill(|buffer| self.server.read_now(buffer))? {
                    Some(0) => return Ok(()),
                    Some(_) => {
                        self.watch.feed(down.bytes(), &self.seen)?;
                        idle = false;
                    }
                    None => {}
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
    end: usize,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.at == self.end
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.at..self.end).unwrap_or_default()
    }

    /// Reads; `None` if there is nothing yet.
    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Option<usize>> {
        self.buffer.resize(PIECE, 0);
        match read(&mut self.buffer) {
            Ok(count) => {
                (self.at, self.end) = (0, count.min(PIECE));
                Ok(Some(count))
            }
            Err(error) if is_later(&error) => Ok(None),
            Err(error) => Err(error),
        }
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

/// Follows what the server says (RFC 2326): answers, and between them packets of media.
#[derive(Default)]
struct Watch {
    /// The beginning of what comes next, as far as it is there.
    head: Vec<u8>,
    /// Bytes that have no meaning here: media, or the body of an answer.
    pass: u64,
}

impl Watch {
    /// # Errors
    ///
    /// The server redirects, or makes no sense.
    fn feed(&mut self, mut bytes: &[u8], seen: &Mutex<Seen>) -> io::Result<()> {
        while !bytes.is_empty() {
            let passed = usize::try_from(self.pass).unwrap_or(usize::MAX).min(bytes.len());
            let (_, rest) = bytes.split_at(passed);
            self.pass -= passed as u64;
            let Some((first, behind)) = rest.split_first() else { return Ok(()) };
            bytes = behind;
            self.head.push(*first);
            match &self.head[..] {
                [b'$', _, high, low] => {
                    self.pass = u64::from(u16::from_be_bytes([*high, *low]));
                    self.head.clear();
                }
                [b'$', ..] => {}
                // What stands between two answers.
                [b'\r' | b'\n'] => self.head.clear(),
                head if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") => {
                    let head = String::from_utf8_lossy(&std::mem::take(&mut self.head)).into_owned();
                    self.pass = answer(&head, seen)?;
                }
                head if head.len() >= LONGEST_HEAD => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer's head is too long"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Looks at the head of an answer, or of a request of the server; how many bytes its body has.
fn answer(head: &str, seen: &Mutex<Seen>) -> io::Result<u64> {
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let value = |name: &str| {
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| field.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    if let Some(status) = first.strip_prefix("RTSP/").and_then(|rest| rest.split(' ').nth(1)) {
        let status: u16 = status.parse().unwrap_or_default();
        let mut seen = seen.lock();
        seen.status = Some(status);
        if (300..400).contains(&status) {
            seen.moved_to = Some(value("location").unwrap_or_default());
            return Err(io::Error::other("the server redirects"));
        }
    } else if value("location").is_some() && first.starts_with("REDIRECT") {
        seen.lock().moved_to = value("location");
        return Err(io::Error::other("the server redirects"));
    }
    Ok(value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of these bytes, cut at every place.
    fn watched(bytes: &[u8]) -> (bool, Seen) {
        let mut all = Vec::new();
        for cut in 0..=bytes.len() {
            let (mut watch, seen) = (Watch::default(), Mutex::new(Seen::default()));
            let (first, rest) = bytes.split_at(cut);
            let passed = watch.feed(first, &seen).and_then(|()| watch.feed(rest, &seen)).is_ok();
            all.push((passed, seen.into_inner()));
        }
        let first = all.swap_remove(0);
        for (passed, seen) in all {
            assert_eq!(
                (passed, seen.status, seen.moved_to),
                (first.0, first.1.status, first.1.moved_to.clone())
            );
        }
        first
    }

    #[test]
    fn answers_and_media_pass_and_redirects_do_not() {
        let body = b"RTSP/1.0 302 Moved\r\nLocation: rtsp://evil/\r\n\r\n";
        let describe = format!("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-length: {}\r\n\r\n", body.len());
        // What looks like a redirect in a body, or in media, is none.
        let media = [b"$\x00", &u16::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat();
        let fine =
            [describe.as_bytes(), body, &media, b"\r\nRTSP/1.0 404 Not Found\r\n\r\n", &media].concat();
        let (passed, seen) = watched(&fine);
        assert!(passed && seen.moved_to.is_none());
        assert_eq!(seen.status, Some(404));
        let (passed, seen) = watched(&[&fine, &body[..], b"more"].concat());
        assert!(!passed);
        assert_eq!(seen.moved_to.as_deref(), Some("rtsp://evil/"));
        let (passed, seen) = watched(b"REDIRECT * RTSP/1.0\nlocation: rtsp://evil/\n\n");
        assert!(!passed && seen.moved_to.is_some());
        assert!(!watched(b"RTSP/1.0 301 Moved\r\n\r\n").0);
    }
}
