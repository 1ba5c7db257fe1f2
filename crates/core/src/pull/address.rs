//! What can be pulled: a stream of an RTMP server, or a live input of another kind.
//!
//! In: a URL. Out: where that is, or what is wrong with it.

use std::fmt;

use flowcast_rtmp::url::{Destination, UrlError};

use crate::error::Error;
use crate::net::location::{Location, Protocol, Refused};

/// Options of an SRT address that may be given, in libav's names. What else there is binds, listens, or makes no sense here.
const SRT_OPTIONS: [&str; 14] = [
    "connect_timeout",
    "latency",
    "maxbw",
    "mode",
    "mss",
    "passphrase",
    "pbkeylen",
    "peerlatency",
    "rcvbuf",
    "rcvlatency",
    "recv_buffer_size",
    "streamid",
    "tlpktdrop",
    "transtype",
];

/// Where a pull is from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Address {
    Rtmp(Destination),
    Live(Location),
}

/// Why an address cannot be one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BadAddress {
    Rtmp(UrlError),
    Live(Refused),
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, BadAddress> {
        let begins =
            |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if begins("rtmp://") || begins("rtmps://") {
            return Destination::parse(url).map(Self::Rtmp).map_err(BadAddress::Rtmp);
        }
        Location::parse(url).map(Self::Live).map_err(BadAddress::Live)
    }

    /// The host, for messages.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Rtmp(destination) => destination.host(),
            Self::Live(location) => location.host(),
        }
    }

    /// The URL with all that is secret in it.
    pub(crate) fn reveal(&self) -> Option<String> {
        let address = match self {
            Self::Rtmp(address) => address,
            Self::Live(location) => return Some(location.reveal()),
        };
        let (server, key) = (address.reveal_server(), address.key().reveal());
        // A slash at the end says that what is before it is the app, all of it.
        let urls =
            if key.is_empty() { [format!("{server}/"), server] } else { [format!("{server}/{key}"), server] };
        urls.into_iter().find(|url| Destination::parse(url).as_ref() == Ok(address))
    }

    /// What of it cannot work.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let wrong = |reason: String| Error::Address { reason };
        let Self::Live(location) = self else { return found };
        #[cfg(not(feature = "libav"))]
        found.push(Error::NotBuilt { feature: "libav" });
        // TLS and HTTP are our own.
        #[cfg(feature = "libav")]
        if let Some(scheme) = match location.protocol() {
            Protocol::Srt => Some("srt"),
            Protocol::Rtsp | Protocol::Rtsps => Some("rtsp"),
            Protocol::Http | Protocol::Https => None,
        } {
            let built = flowcast_av::require_protocol(scheme, flowcast_av::Direction::Read);
            found.extend(built.err().map(Error::from));
        }
        if location.protocol() != Protocol::Srt {
            return found;
        }
        for (name, value) in location.query() {
            if !SRT_OPTIONS.contains(&name) {
                found.push(wrong(format!("the option {} of an SRT address is not known here", shown(name))));
            }
            if name == "mode" && value != "caller" {
                found.push(wrong("an SRT address that is pulled can only have the mode caller".to_owned()));
            }
            if name == "transtype" && value != "live" {
                found
                    .push(wrong("an SRT address that is pulled can only have the transtype live".to_owned()));
            }
        }
        found
    }
}

/// What may be part of a secret by mistake is not shown.
fn shown(name: &str) -> &str {
    let is_name = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_name { name } else { "****" }
}

/// Without what is secret in it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtmp(destination) => destination.fmt(f),
            Self::Live(location) => location.fmt(f),
        }
    }
}

impl From<BadAddress> for Error {
    fn from(bad: BadAddress) -> Self {
        let reason = match bad {
            BadAddress::Rtmp(error) => return Self::Url(error),
            BadAddress::Live(Refused::Malformed(what)) => what.to_owned(),
            BadAddress::Live(Refused::Scheme(_)) => {
                "the URL must begin with rtmp://, rtmps://, srt://, rtsp://, rtsps://, http:// or https://"
                    .to_owned()
            }
        };
        Self::Address { reason }
    }
}
