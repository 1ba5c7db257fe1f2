//! How an output's address is handed to libav, and what its errors mean to the output.
//!
//! In: an address, and errors of libav. Out: libav's URL and options, and errors of the output. On the worker's thread; nothing here blocks.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use flowcast_av as av;

use super::address::{Address, Protocol, bracketed};
use super::settings::Whose;
use crate::error::{ConnectStep, Error};

/// Bytes that the kernel may hold for an Icecast server: four seconds at 128 kbit/s, which it doubles.
const ICECAST_SEND_BUFFER: &str = "65536";

type Options = Vec<(String, String)>;

/// The URL and the options of a connection.
pub(super) fn connection(
    address: &Address,
    peer: Option<SocketAddr>,
    payload: usize,
    within: Duration,
    content_type: Option<&str>,
) -> (String, Options) {
    let mut options: Options = address
        .settings
        .iter()
        .filter(|(setting, _)| setting.whose == Whose::Protocol)
        .map(|(setting, value)| (setting.name.to_owned(), value.reveal().to_owned()))
        .collect();
    let mut set = |name: &str, value: String| {
        if address.setting(name).is_none() {
            options.push((name.to_owned(), value));
        }
    };
    let place = match peer {
        Some(peer) => peer.to_string(),
        None => format!("{}:{}", bracketed(&address.host), address.port),
    };
    match address.protocol {
        Protocol::Srt => {
            set("payload_size", payload.to_string());
            set("transtype", "live".to_owned());
            if address.mode() == super::address::Mode::Caller {
                // libsrt's own limit is 3 s; it is the interrupt that ends it.
                set("connect_timeout", (within.as_millis() + 1000).min(60_000).to_string());
            }
            (format!("srt://{place}"), options)
        }
        Protocol::Udp => {
            options.push(("pkt_size".to_owned(), payload.to_string()));
            (format!("udp://{place}"), options)
        }
        Protocol::Icecast | Protocol::Rtsp => icecast(address, &place, content_type.unwrap_or("audio/mpeg")),
    }
}

/// What libav's `icecast` protocol does, which hands its connection no interrupt.
fn icecast(address: &Address, place: &str, content_type: &str) -> (String, Options) {
    let is_on = |name| address.setting(name) == Some("1");
    let (is_legacy, is_tls) = (is_on("legacy_icecast"), is_on("tls"));
    let mut headers = String::new();
    for (name, header) in [
        ("ice_name", "Ice-Name"),
        ("ice_description", "Ice-Description"),
        ("ice_genre", "Ice-Genre"),
        ("ice_url", "Ice-URL"),
    ] {
        if let Some(value) = address.setting(name) {
            headers.push_str(&format!("{header}: {value}\r\n"));
        }
    }
    headers.push_str(&format!("Ice-Public: {}\r\n", u8::from(is_on("ice_public"))));
    // The name is looked up by us, and the server may have several.
    let named = format!("{}:{}", bracketed(&address.host), address.port);
    let (scheme, place) = if is_tls { ("https", named.as_str()) } else { ("http", place) };
    if !is_tls {
        headers.push_str(&format!("Host: {named}\r\n"));
    }
    let mut options = vec![
        ("method", if is_legacy { "SOURCE" } else { "PUT" }),
        ("auth_type", "basic"),
        ("chunked_post", "0"),
        ("send_expect_100", if is_legacy { "0" } else { "1" }),
        ("content_type", content_type),
        ("headers", headers.as_str()),
        ("send_buffer_size", ICECAST_SEND_BUFFER),
    ];
    if let Some(agent) = address.setting("user_agent") {
        options.push(("user_agent", agent));
    }
    let options = options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let login = address.login.as_ref().map_or(String::new(), |(user, password)| {
        let user = if user.reveal().is_empty() { "source" } else { user.reveal() };
        format!("{}:{}@", percent(user), percent(password.reveal()))
    });
    (format!("{scheme}://{login}{place}{}", address.path.reveal()), options)
}

/// The URL and the options of an RTSP session, always within its TCP connection.
pub(super) fn announcement(address: &Address) -> (String, Options) {
    let login = address.login.as_ref().map_or(String::new(), |(user, password)| {
        format!("{}:{}@", percent(user.reveal()), percent(password.reveal()))
    });
    let place = format!("{}:{}", bracketed(&address.host), address.port);
    let options = vec![("rtsp_transport".to_owned(), "tcp".to_owned())];
    (format!("rtsp://{login}{place}{}", address.path.reveal()), options)
}

/// What the URL sets of the muxer.
pub(super) fn muxer_options(address: &Address) -> Options {
    let settings = address.settings.iter().filter(|(setting, _)| setting.whose == Whose::Muxer);
    settings.map(|(setting, value)| (setting.name.to_owned(), value.reveal().to_owned())).collect()
}

/// All but letters and digits as `%XX`.
pub(super) fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// An error of libav at an address.
pub(super) struct Failed<'a> {
    pub(super) address: &'a Address,
    pub(super) peer: Option<SocketAddr>,
    pub(super) error: av::Error,
}

impl Failed<'_> {
    /// What it means while a connection is being made.
    pub(super) fn opening(self, within: Duration) -> Error {
        let host = self.address.peer();
        let connect = |peer: Option<SocketAddr>, host: String, source: io::Error| match peer {
            Some(peer) => Error::Connect { peer, source: source.into() },
            None => Error::ConnectionLost { host, source: source.into() },
        };
        match self.error {
            av::Error::Timeout { .. } => {
                Error::ConnectTimeout { host, step: ConnectStep::Protocol, after: within }
            }
            av::Error::Network { .. } if self.address.protocol == Protocol::Srt => {
                let reason = "the peer refused the connection or did not answer; SRT does not tell which";
                connect(self.peer, host, io::Error::new(io::ErrorKind::ConnectionRefused, reason))
            }
            av::Error::Network { message, .. } => connect(self.peer, host, io::Error::other(message)),
            // An Icecast server says so of a mount point that is in use, most of all by a connection of this output that it has not missed yet.
            av::Error::Refused { status: 403, .. } if self.address.protocol == Protocol::Icecast => {
                let reason = "the mount point is in use, or the server takes no more sources (status 403)";
                connect(self.peer, host, io::Error::new(io::ErrorKind::ConnectionRefused, reason))
            }
            av::Error::Refused { status, message, .. } => {
                Error::Media(av::Error::Refused { address: self.address.to_string(), status, message })
            }
            av::Error::Cancelled { .. } => Error::Cancelled { what: "connecting" },
            error => Error::Media(error),
        }
    }

    /// What it means once there is a connection.
    pub(super) fn sending(self, stall_after: Duration) -> Error {
        let host = self.address.peer();
        match self.error {
            av::Error::Timeout { .. } => Error::Stalled { host, after: stall_after },
            av::Error::Network { message, .. } | av::Error::Libav { message, .. } => {
                Error::ConnectionLost { host, source: io::Error::other(message).into() }
            }
            av::Error::Cancelled { .. } => Error::Cancelled { what: "sending" },
            error => Error::Media(error),
        }
    }
}
