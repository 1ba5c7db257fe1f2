//! Connections that media is written to: by libav's protocols, or by formats that make their connection themselves.
//!
//! In: an address, options, and bytes or packets. Out: datagrams and streams of bytes on the network. On the thread that calls; every call may
//! block on the network, and the interrupt ends it.

use std::ffi::CString;
use std::fmt;
use std::sync::Arc;

use crate::interrupt::Reason;
use crate::outgoing::{Clocks, playable};
use crate::protocol::{Direction, require_protocol};
use crate::redact::{self, Secrets};
use crate::sys::{self, Dict, Failure, Guard, Io, Output};
use crate::{Error, Interrupt, Packet, Protocols, TrackInfo, origin};

/// Options whose values must not be in log lines.
const SECRETS: [&str; 4] = ["passphrase", "streamid", "srt_streamid", "headers"];

/// What errors and log lines say of an address, and what ends its calls.
struct Context {
    /// The address as it may be shown.
    shown: String,
    guard: Arc<Guard>,
    _secrets: Secrets,
}

impl Context {
    fn new(url: &str, options: &[(String, String)], interrupt: &Interrupt) -> Self {
        let secret = options.iter().filter(|(key, _)| SECRETS.contains(&key.as_str()));
        let values = secret.map(|(_, value)| value.as_str());
        Self {
            shown: redact::address(url),
            guard: Arc::new(Guard::new(interrupt)),
            _secrets: Secrets::of_address_and(url, values),
        }
    }

    fn error(&self, failure: Failure, operation: &'static str) -> Error {
        match self.guard.reason() {
            Some(Reason::Cancelled) => return Error::Cancelled { operation },
            Some(Reason::Deadline) => return Error::Timeout { operation },
            None => {}
        }
        let address = self.shown.clone();
        match failure.http_status() {
            Some(status) => Error::Refused { address, status, message: redact::line(&failure.message()) },
            None => Error::Network { address, operation, message: redact::line(&failure.message()) },
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// What libav may use for an address, and the address for it.
fn access(url: &str) -> Result<(origin::Access, CString), Error> {
    sys::check_versions()?;
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let Some(access) = origin::access(url, Protocols::Itself) else {
        let protocol = if scheme.is_empty() { "no scheme" } else { scheme };
        return Err(Error::ProtocolRefused { input: redact::address(url), protocol: protocol.to_owned() });
    };
    require_protocol(scheme, Direction::Write)?;
    let name = CString::new(url)
        .map_err(|_| Error::InvalidArgument { message: "the address holds a NUL byte".to_owned() })?;
    Ok((access, name))
}

/// A connection that bytes are written to, by one of libav's protocols: `srt`, `udp`, `tcp`, `http` and others, as far as this libav was built
/// with them. One thread at a time.
///
/// ```no_run
/// use flowcast_av::{Connection, Interrupt};
///
/// let mode = [("mode".to_owned(), "caller".to_owned())];
/// let mut connection = Connection::open("srt://ingest.example:9000", &mode, &Interrupt::new())?;
/// connection.write(&[0x47; 188])?;
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    io: Io,
    context: Context,
}

impl Connection {
    /// Connects. `options` are libav's of the protocol; one that the protocol does not know is an error. What is secret in
    /// them and in the address is kept out of log lines.
    ///
    /// # Errors
    /// [`Error::ProtocolRefused`] for schemes that are not opened, [`Error::ProtocolNotBuilt`], [`Error::InvalidArgument`], [`Error::Refused`]
    /// if a server answers so, [`Error::Network`], [`Error::Timeout`] and [`Error::Cancelled`] by the interrupt.
    ///
    /// # Blocking
    /// On the network, until the deadline of the interrupt. A DNS look-up cannot be ended: resolve the host first where that matters.
    pub fn open(url: &str, options: &[(String, String)], interrupt: &Interrupt) -> Result<Self, Error> {
        let (access, name) = access(url)?;
        let context = Context::new(url, options, interrupt);
        let mut dict = Dict::new();
        for (key, value) in options {
            dict.set(key, value)?;
        }
        dict.set("protocol_whitelist", access.protocols)?;
        if matches!(url.split_once("://"), Some((scheme, _)) if scheme.eq_ignore_ascii_case("https")) {
            dict.set("tls_verify", "1")?;
        }
        let opened = Io::open_to_write(&name, &mut dict, &context.guard);
        let io = opened.map_err(|failure| context.error(failure, "connect"))?;
        // What was not used stays in the dictionary.
        if let Some((unknown, _)) = dict.pairs().into_iter().next() {
            return Err(Error::InvalidArgument {
                message: format!("the protocol has no option `{unknown}`"),
            });
        }
        Ok(Self { io, context })
    }

    /// The largest piece that goes out as one, in bytes, where that is limited: the payload of a datagram.
    #[must_use]
    pub fn datagram(&self) -> Option<usize> {
        self.io.max_packet()
    }

    /// Writes all of it, now; where there are [datagrams](Self::datagram), in pieces of that size.
    ///
    /// # Errors
    /// [`Error::Network`] if the connection is lost; [`Error::Timeout`] and [`Error::Cancelled`] by the interrupt.
    ///
    /// # Blocking
    /// On the network, until the kernel or libsrt took the bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let piece = self.datagram().unwrap_or(bytes.len()).max(1);
        for piece in bytes.chunks(piece) {
            if self.context.guard.reason().is_some() {
                return Err(self.context.error(Failure::new(Failure::EXIT, "avio_write"), "send"));
            }
            self.io.write(piece).map_err(|failure| self.context.error(failure, "send"))?;
        }
        Ok(())
    }
}

/// A container that makes its connection itself and sends packets to it: `rtsp`, `rtsps`. One thread at a time.
///
/// Dropping it closes the connection, and tells the server as far as that can be done at once.
#[derive(Debug)]
pub struct NetworkMuxer {
    output: Output,
    /// For each track written: its index in the packets, their clock, and the muxer's clock.
    clocks: Clocks,
    context: Context,
}

impl NetworkMuxer {
    /// Connects, and announces the playable ones of `tracks`; packets refer to them by [`TrackInfo::index`]. `options` are libav's of the muxer;
    /// unknown ones are ignored.
    ///
    /// # Errors
    /// As for [`Connection::open`]; [`Error::InvalidArgument`] without any playable track, [`Error::Libav`] for a codec that the format does not
    /// carry.
    ///
    /// # Blocking
    /// As for [`Connection::open`].
    pub fn open(
        url: &str,
        tracks: &[TrackInfo],
        options: &[(String, String)],
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let (access, name) = access(url)?;
        if !access.is_format {
            let message = "the address is not of a format that connects itself".to_owned();
            return Err(Error::InvalidArgument { message });
        }
        let chosen = playable(tracks)?;
        let context = Context::new(url, options, interrupt);
        let mut output = Output::to_network(&name, c"rtsp", &context.guard)?;
        for track in &chosen {
            output.add_track(track)?;
        }
        let mut options = options.to_vec();
        options.push(("protocol_whitelist".to_owned(), access.protocols.to_owned()));
        output.write_header(&options).map_err(|failure| context.error(failure, "connect"))?;
        let clocks = Clocks::of(&output, &chosen);
        Ok(Self { output, clocks, context })
    }

    /// Sends a packet, with timestamps in its track's time base, at once. Packets of tracks that are not sent are ignored.
    ///
    /// # Errors
    /// As for [`Connection::write`].
    ///
    /// # Blocking
    /// As for [`Connection::write`].
    pub fn write(&mut self, packet: &Packet) -> Result<(), Error> {
        let Some((position, packet)) = self.clocks.place(packet) else { return Ok(()) };
        self.output.write_ordered(position, &packet).map_err(|failure| self.context.error(failure, "send"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, UdpSocket};
    use std::time::{Duration, Instant};

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn bytes_go_out_in_datagrams_of_the_size_that_was_asked_for() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let url = format!("udp://{}", receiver.local_addr().expect("it is bound"));
        let size = options(&[("pkt_size", "1316")]);
        let mut connection = Connection::open(&url, &size, &Interrupt::new()).expect("UDP asks nobody");
        assert_eq!(connection.datagram(), Some(1316));
        connection.write(&[7; 1316 * 2 + 188]).expect("it is taken");
        let mut buffer = [0; 2000];
        let sizes = [(); 3].map(|()| receiver.recv(&mut buffer).expect("a datagram"));
        assert_eq!(sizes, [1316, 1316, 188]);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_left_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("tcp://{}", listener.local_addr().expect("it is bound"));
        let interrupt = Interrupt::new();
        let mut connection = Connection::open(&url, &[], &interrupt).expect("it listens");
        interrupt.set_deadline(Some(Instant::now() + Duration::from_millis(300)));
        let bytes = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = connection.write(&bytes) {
                break error;
            }
        };
        assert!(matches!(error, Error::Timeout { operation: "send" }), "{error}");
    }

    #[test]
    fn what_is_refused_lost_or_unknown_is_told_apart_and_no_secret_is_in_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let url = format!("http://source:hush-hush@{address}/live.mp3");
        let answering = std::thread::spawn(move || {
            for answer in ["401 Unauthorized", "403 Forbidden", "503 Busy"] {
                let (mut peer, _) = listener.accept().expect("it comes");
                let _ = peer.read(&mut [0; 4096]).expect("a request");
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                peer.write_all(answer.as_bytes()).expect("it is taken");
            }
        });
        let put = options(&[("method", "PUT"), ("send_expect_100", "1"), ("auth_type", "basic")]);
        for (status, is_retryable) in [(401, false), (403, false), (500, true)] {
            let error = Connection::open(&url, &put, &Interrupt::new()).expect_err("it is refused");
            assert!(matches!(error, Error::Refused { status: said, .. } if said == status), "{error}");
            assert_eq!(error.is_retryable(), is_retryable);
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        answering.join().expect("all came");
        let error = Connection::open(&url, &put, &Interrupt::new()).expect_err("nobody listens");
        assert!(matches!(error, Error::Network { operation: "connect", .. }), "{error}");
        assert!(error.is_retryable() && !error.to_string().contains("hush"), "{error}");
        let unknown = options(&[("no_such", "1")]);
        let error = Connection::open("udp://127.0.0.1:9", &unknown, &Interrupt::new()).expect_err("unknown");
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        let error = Connection::open("file:///tmp/x", &[], &Interrupt::new()).expect_err("no network");
        assert!(matches!(error, Error::ProtocolRefused { .. }), "{error}");
    }
}
