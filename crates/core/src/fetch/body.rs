//! The body of an answer: counted, in chunks, or until the server closes.
//!
//! In: a connection, and what of the body came with the head. Out: the bytes of the body. Once all of it was read, the connection is there
//! for the next request.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::connection::Connection;
use super::invalid;

/// Bytes read at once.
const PIECE: usize = 16 << 10;
/// Bytes of the line before a chunk, with what servers may add to it.
const LONGEST_LINE: usize = 4096;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Length(u64),
    Chunked,
    UntilClosed,
}

/// Where in it reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// So many bytes come before the end, or before what follows a chunk.
    Data(u64),
    /// Before the line that says how long a chunk is; the end of the one before it comes first.
    Size {
        first: bool,
    },
    /// In the lines behind the last chunk.
    Trailer,
    End,
}

pub(super) struct Body {
    /// `None` once it was given back, or lost.
    connection: Option<Connection>,
    /// What was received and not read yet.
    received: Vec<u8>,
    at: usize,
    kind: Kind,
    place: Place,
    idle: Arc<Mutex<Option<Connection>>>,
}

impl Body {
    pub(super) fn new(
        mut connection: Connection,
        received: Vec<u8>,
        kind: Kind,
        silence: Duration,
        idle: Arc<Mutex<Option<Connection>>>,
    ) -> Self {
        connection.set_patience(silence);
        let place = match kind {
            Kind::Length(length) => Place::Data(length),
            Kind::Chunked => Place::Size { first: true },
            Kind::UntilClosed => Place::Data(u64::MAX),
        };
        let mut body = Self { connection: Some(connection), received, at: 0, kind, place, idle };
        if kind == Kind::Length(0) {
            body.end();
        }
        body
    }

    fn end(&mut self) {
        self.place = Place::End;
        // Bytes that nobody asked for make no sense of what comes next.
        if self.at == self.received.len() && self.kind != Kind::UntilClosed {
            *self.idle.lock() = self.connection.take();
        }
        self.connection = None;
    }

    /// Receives more; `false` at the end of the connection.
    fn receive(&mut self) -> io::Result<bool> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        if self.at == self.received.len() {
            (self.at, self.received) = (0, std::mem::take(&mut self.received));
            self.received.clear();
        }
        let before = self.received.len();
        self.received.resize(before + PIECE, 0);
        let result = connection.read(self.received.get_mut(before..).unwrap_or_default());
        self.received.truncate(before + result.as_ref().copied().unwrap_or(0));
        result.map(|count| count > 0)
    }

    /// The next line of what frames chunks, without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let rest = self.received.get(self.at..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.get(..end).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.at += end + 1;
                return Ok(line);
            }
            if rest.len() > LONGEST_LINE {
                return Err(invalid("the body has no proper chunks"));
            }
            if !self.receive()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn step(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.place {
            Place::End => Ok(Some(0)),
            Place::Data(left) => {
                if self.at == self.received.len() && !self.receive()? {
                    if self.kind != Kind::UntilClosed {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.end();
                    return Ok(Some(0));
                }
                let rest = self.received.get(self.at..).unwrap_or_default();
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let count = (&rest[..most]).read(buffer)?;
                self.at += count;
                let left = if self.kind == Kind::UntilClosed { left } else { left - count as u64 };
                self.place = Place::Data(left);
                match (left, self.kind) {
                    (0, Kind::Chunked) => self.place = Place::Size { first: false },
                    (0, _) => self.end(),
                    _ => {}
                }
                Ok(Some(count))
            }
            Place::Size { first } => {
                if !first && !self.line()?.is_empty() {
                    return Err(invalid("a chunk of the body is longer than it says"));
                }
                let line = self.line()?;
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let digits = std::str::from_utf8(digits).map(str::trim).unwrap_or_default();
                let is_size =
                    (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let size = u64::from_str_radix(digits, 16).ok().filter(|_| is_size);
                match size.ok_or_else(|| invalid("the body has no proper chunks"))? {
                    0 => self.place = Place::Trailer,
                    size => self.place = Place::Data(size),
                }
                Ok(None)
            }
            Place::Trailer => {
                if self.line()?.is_empty() {
                    self.end();
                }
                Ok(None)
            }
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.step(buffer) {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {}
                Err(error) => {
                    self.connection = None;
                    return Err(error);
                }
            }
        }
    }
}
