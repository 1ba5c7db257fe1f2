//! Fetches what is on the web: HTTP/1.1, plain or over TLS, from addresses that may be reached.
//!
//! In: a URL, and what may be reached. Out: the body, as it comes. Each address a name was looked up to is judged before it is connected
//! to, and the very address that was judged is connected to; so is each redirect. Blocks, with a deadline for each step and a flag that
//! ends all of them; on the thread of an input.

mod body;
mod connection;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::body::{Body, Kind};
pub(crate) use self::connection::{Connection, Dial, connect};
use crate::error::Error;
use crate::net::location::{Location, Refused};

/// Redirections in a row.
const MOST_HOPS: u32 = 5;
/// Bytes of a response before its body.
const LONGEST_HEAD: usize = 64 << 10;
/// Header lines of a response.
const MOST_HEADERS: usize = 100;
/// How long one wait lasts, at most, before it is looked whether it is still wanted.
const SLICE: Duration = Duration::from_millis(100);

/// Ends everything that waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn check(&self) -> io::Result<()> {
        if self.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "it is not wanted any more"));
        }
        Ok(())
    }

    /// Waits until `until`, or until it is cancelled.
    pub(crate) fn sleep_until(&self, until: Instant) -> io::Result<()> {
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}

/// Part of a file: the first byte, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: u64,
    pub(crate) length: u64,
}

/// Fetches from one server after the other. A connection that has given all of a body serves the next request to the same server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    dial: Dial,
    /// How long a server may send nothing.
    silence: Duration,
    idle: Arc<Mutex<Option<Connection>>>,
}

/// What a server answered.
pub(crate) struct Response {
    /// Where it is: not where it was asked for, if there was a redirect.
    pub(crate) location: Location,
    /// Bytes of the body, if they are known.
    pub(crate) length: Option<u64>,
    pub(crate) body: Box<dyn Read + Send>,
}

impl Client {
    /// A client whose servers may be silent for this long.
    pub(crate) fn new(dial: Dial, silence: Duration) -> Self {
        Self { dial, silence, idle: Arc::default() }
    }

    pub(crate) fn silence(&self) -> Duration {
        self.silence
    }

    pub(crate) fn cancel(&self) -> &Cancel {
        &self.dial.cancel
    }

    /// Asks for what is at `location`, and follows redirects.
    ///
    /// # Errors
    ///
    /// [`Error::AddressRefused`], [`Error::HttpStatus`], and those of connecting.
    ///
    /// # Blocking
    ///
    /// Until the answer begins.
    pub(crate) fn get(&self, location: &Location, range: Option<Range>) -> Result<Response, Error> {
        let mut location = location.clone();
        for _ in 0..=MOST_HOPS {
            let (head, connection, rest) = self.ask(&location, range)?;
            let host = || location.host().to_owned();
            if let (301 | 302 | 303 | 307 | 308, Some(to)) = (head.status, &head.location) {
                location = location.join(to).map_err(|refused| refused_by(&location, &refused))?;
                continue;
            }
            let skipped = match (head.status, range) {
                (200, Some(range)) => range.from,
                (200 | 206, None) | (206, Some(_)) => 0,
                (status, _) => return Err(Error::HttpStatus { host: host(), status }),
            };
            let body = Body::new(connection, rest, head.kind, self.silence, self.idle.clone());
            let lost = |source: io::Error| lost(&location, source);
            let mut body: Box<dyn Read + Send> = Box::new(body);
            if skipped > 0 {
                // A server that knows no ranges sends all of it.
                io::copy(&mut body.by_ref().take(skipped), &mut io::sink()).map_err(lost)?;
            }
            if let Some(range) = range {
                body = Box::new(body.take(range.length));
            }
            let length = match head.kind {
                Kind::Length(length) => Some(length),
                Kind::Chunked | Kind::UntilClosed => None,
            };
            return Ok(Response { location, length, body });
        }
        let source = io::Error::other("the server redirects again and again");
        Err(lost(&location, source))
    }

    /// Asks one server, on the connection that is there or on a new one.
    fn ask(&self, location: &Location, range: Option<Range>) -> Result<(Head, Connection, Vec<u8>), Error> {
        let request = request(location, range);
        let kept = self.idle.lock().take().filter(|kept| kept.leads_to(location));
        if let Some(connection) = kept
            // The server may have closed it meanwhile.
            && let Ok(answer) = self.exchange(connection, &request)
        {
            return Ok(answer);
        }
        let connection = connect(&self.dial, location)?;
        self.exchange(connection, &request).map_err(|source| lost(location, source))
    }

    fn exchange(
        &self,
        mut connection: Connection,
        request: &[u8],
    ) -> io::Result<(Head, Connection, Vec<u8>)> {
        connection.set_patience(self.dial.connect.reply);
        connection.write_all(request)?;
        let mut received = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match connection.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => received.extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
            // What only says that there is more to come.
            while let Some((head, length)) = Head::parse(&received)? {
                received.drain(..length);
                if !(100..200).contains(&head.status) {
                    return Ok((head, connection, received));
                }
            }
            if received.len() > LONGEST_HEAD {
                return Err(invalid("the head of the answer is too long"));
            }
        }
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    location: Option<String>,
    kind: Kind,
}

impl Head {
    /// The head that `bytes` begin with, and its length; `None` as long as it is not all there.
    fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(invalid(&format!("the answer is not HTTP: {error}"))),
        };
        let status = parsed.code.unwrap_or_default();
        let value = |name: &str| {
            let header = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()
        };
        let is_chunked = value("transfer-encoding").is_some_and(|value| {
            value.split(',').next_back().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"))
        });
        if value("content-encoding").is_some_and(|value| !value.trim().eq_ignore_ascii_case("identity")) {
            return Err(invalid("the answer is compressed, which was not asked for"));
        }
        let kind = if is_chunked {
            Kind::Chunked
        } else if let Some(length) = value("content-length") {
            let length =
                length.trim().parse().map_err(|_| invalid("the length of the answer is no number"))?;
            Kind::Length(length)
        } else if status == 204 {
            Kind::Length(0)
        } else {
            Kind::UntilClosed
        };
        Ok(Some((Self { status, location: value("location").map(str::to_owned), kind }, length)))
    }
}

fn request(location: &Location, range: Option<Range>) -> Vec<u8> {
    let mut text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: flowcast/{}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n",
        location.target(),
        location.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(Range { from, length }) = range {
        let last = from.saturating_add(length).saturating_sub(1);
        text.push_str(&format!("Range: bytes={from}-{last}\r\n"));
    }
    if let Some(userinfo) = location.userinfo() {
        text.push_str(&format!("Authorization: Basic {}\r\n", base64(&percent_decoded(userinfo))));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Each `%` that two hexadecimal digits follow is the byte they stand for.
fn percent_decoded(text: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let decoded =
            code.filter(|code| !code.starts_with('+')).and_then(|code| u8::from_str_radix(code, 16).ok());
        out.push(decoded.unwrap_or(byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    out
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place)) as usize & 63).copied().unwrap_or(b'=');
            out.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The connection to this place is lost, or makes no sense.
pub(crate) fn lost(location: &Location, source: io::Error) -> Error {
    Error::ConnectionLost { host: location.host().to_owned(), source: source.into() }
}

/// The error of a reference, in what is at `from`, that leads nowhere.
pub(crate) fn refused_by(from: &Location, refused: &Refused) -> Error {
    match refused {
        Refused::Scheme(protocol) => {
            flowcast_av::Error::ProtocolRefused { input: from.to_string(), protocol: protocol.clone() }.into()
        }
        Refused::Malformed(what) => lost(from, invalid(what)),
    }
}
