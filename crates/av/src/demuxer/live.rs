//! Live inputs: addresses that libav connects to, and streams that a Rust reader gives.
//!
//! In: an address, or a reader that cannot go back. Out: an open input. On the thread that opens.

use std::ffi::CString;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::Demuxer;
use super::context::{Context, guarded, open_connection};
use crate::mp4_boxes::CheckedBoxes;
use crate::probe::{self, Request};
use crate::redact::{self, Secrets};
use crate::sys::{self, Io, Opening};
use crate::{Error, Interrupt, OpenOptions, origin};

impl Demuxer {
    /// Opens a live input: `rtmp`, `rtmps`, `http`, `https`, `rtsp`, `srt`, `udp`, `rtp`, `tcp`, `tls` and `rist` addresses, as
    /// far as this libav was built with them. TLS certificates are verified. RTSP is read over its own connection (interleaved TCP).
    ///
    /// While it is open, the key and other secrets of the address are kept out of libav's log lines; in errors the address is
    /// redacted.
    ///
    /// # Errors
    /// [`Error::ProtocolRefused`] for other schemes; else as for [`open`](Self::open).
    ///
    /// # Blocking
    /// On the network, for [`OpenOptions::timeout`] at most; `interrupt` ends it earlier. A DNS look-up cannot be ended:
    /// resolve the host first where that matters.
    pub fn open_url(url: &str, options: &OpenOptions, interrupt: &Interrupt) -> Result<Self, Error> {
        Self::open_live(url, url, options, interrupt)
    }

    /// As [`open_url`](Self::open_url), but connects to `at` instead of the host and port of the address, which is not looked up: so
    /// that what was checked before is what is connected to. Messages show the address as it was given.
    ///
    /// # Errors
    /// As for [`open_url`](Self::open_url).
    ///
    /// # Blocking
    /// As for [`open_url`](Self::open_url).
    pub fn open_url_at(
        url: &str,
        at: SocketAddr,
        options: &OpenOptions,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        Self::open_live(url, &moved(url, at), options, interrupt)
    }

    fn open_live(
        url: &str,
        dialed: &str,
        options: &OpenOptions,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        sys::check_versions()?;
        let shown = redact::address(url);
        let Some(access) = origin::access(dialed, options.protocols) else {
            let protocol = url.split(':').next().unwrap_or_default();
            let protocol = if protocol.len() < url.len() { protocol } else { "no scheme" };
            return Err(Error::ProtocolRefused { input: shown, protocol: protocol.to_owned() });
        };
        let name = CString::new(dialed)
            .map_err(|_| Error::InvalidArgument { message: "the address holds a NUL byte".to_owned() })?;
        let guard = guarded(options, interrupt);
        let context = Context {
            shown,
            name: name.clone(),
            path: None,
            size: None,
            guard: Arc::clone(&guard),
            _secrets: Secrets::of_address(url),
        };
        let mut limits = probe::limits(options, Some(access));
        let opening = if access.is_format {
            limits.options.push(("rtsp_transport", "tcp".to_owned()));
            Opening::by_format(c"rtsp", name, &guard)
                .map_err(|failure| context.error(failure, "open", None))?
        } else {
            let io = open_connection(&name, access, &guard);
            let io = io.map_err(|failure| context.error(failure, "open", None))?;
            probe::recognise(io, name, &guard, &limits, access.playlists, &context)?
        };
        let opened = probe::open(Request { opening, limits, options, size: None }, &context)?;
        Ok(Self::assemble(opened, context, options, guard))
    }

    /// Opens what a reader gives from its beginning on, without going back: what a server sends. libav opens nothing besides, so formats that
    /// name other files or hosts are refused as in [`open`](Self::open). MP4 has to begin with its `moov` box. `name` is for messages: an
    /// address in it is redacted, and kept out of libav's log lines.
    ///
    /// # Errors
    /// As for [`open`](Self::open); [`Error::Io`] with what the reader said.
    ///
    /// # Blocking
    /// On the reader. Its `read` has to return in time: [`OpenOptions::timeout`] and `interrupt` are looked at between two reads.
    pub fn open_stream(
        mut reader: Box<dyn Read + Send>,
        name: &str,
        options: &OpenOptions,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        sys::check_versions()?;
        let guard = guarded(options, interrupt);
        let bare = name.split(['?', '#']).next().unwrap_or_default();
        let context = Context {
            shown: if name.contains("://") { redact::address(name) } else { name.to_owned() },
            name: origin::hint(Path::new(bare)),
            path: None,
            size: None,
            guard: Arc::clone(&guard),
            _secrets: Secrets::of_address(name),
        };
        let limits = probe::limits(options, None);
        let mut start = [0; 8];
        let length = read_start(&mut reader, &mut start).map_err(|source| Error::Io {
            path: context.shown.clone().into(),
            operation: "read",
            source: source.into(),
        })?;
        let start = start.get(..length).unwrap_or_default().to_vec();
        if start.is_empty() {
            return Err(Error::Empty { input: context.shown });
        }
        let is_mp4 = crate::mp4_tables::is_mp4(&start);
        let whole = Box::new(std::io::Cursor::new(start).chain(reader));
        let reader: Box<dyn Read + Send> = if is_mp4 {
            Box::new(CheckedBoxes::new(whole, options.limits, Arc::clone(&guard)))
        } else {
            whole
        };
        let io = Io::from_stream(reader, &guard).map_err(|failure| context.error(failure, "open", None))?;
        let opening = probe::recognise(io, context.name.clone(), &guard, &limits, false, &context)?;
        let opened = probe::open(Request { opening, limits, options, size: None }, &context)?;
        Ok(Self::assemble(opened, context, options, guard))
    }
}

/// Fills `start`, or as much of it as there is.
fn read_start(reader: &mut dyn Read, start: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = start.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The address with `at` in the place of its host and port.
fn moved(url: &str, at: SocketAddr) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{user}@{at}{path}"),
        None => format!("{scheme}://{at}{path}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn an_address_is_moved_with_all_that_is_not_its_host() {
        for (url, expected) in [
            ("srt://host:9000?streamid=a&latency=1", "srt://10.0.0.1:7?streamid=a&latency=1"),
            ("rtsp://u:p@host/cam/1", "rtsp://u:p@10.0.0.1:7/cam/1"),
            ("rtsp://[::1]:554", "rtsp://10.0.0.1:7"),
        ] {
            assert_eq!(moved(url, "10.0.0.1:7".parse().unwrap()), expected);
        }
        assert_eq!(moved("srt://h", "[::1]:7".parse().unwrap()), "srt://[::1]:7");
    }

    /// What comes from a reader is what comes from a file; it cannot go back, and its `moov` has to come first.
    #[test]
    fn a_stream_is_read_without_going_back() {
        use crate::{SampleSpec, sample_clip};
        let folder = std::env::temp_dir().join(format!("flowcast-stream-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["a.ts", "a.flv", "a.mp4"] {
            let path = folder.join(name);
            sample_clip(&path, &SampleSpec::default()).unwrap();
            let options = OpenOptions::default();
            let data = std::fs::read(&path).unwrap();
            let reader = Box::new(std::io::Cursor::new(data));
            let opened = Demuxer::open_stream(reader, "http://h/secret-key/x", &options, &Interrupt::new());
            if name == "a.mp4" {
                // As it is written first: the boxes it is read by come last.
                assert!(opened.is_err(), "{opened:?}");
                continue;
            }
            let mut stream = opened.unwrap();
            let mut file = Demuxer::open(&path, &options, &Interrupt::new()).unwrap();
            while let Some(packet) = file.read().unwrap() {
                let same = stream.read().unwrap().unwrap();
                assert_eq!((same.track, same.pts, same.data), (packet.track, packet.pts, packet.data));
            }
            assert!(stream.read().unwrap().is_none());
            assert!(matches!(stream.rewind(), Err(Error::NotSeekable { .. })), "{name}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
