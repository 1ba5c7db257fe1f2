//! Addresses of outputs that libav sends to: taken apart, with what is secret in them kept out of every message.
//!
//! In: a URL as ffmpeg takes it. Out: the protocol, where it leads, and the settings in its query, each of them known by name. On the thread that
//! makes the output; nothing here blocks.

use std::fmt;

use flowcast_rtmp::key::StreamKey;
use flowcast_rtmp::url::percent_decoded;

use super::settings::{self, Setting};
use crate::net::location::split_port;
use crate::output::HIDDEN;
#[cfg(feature = "libav")]
use crate::stats::OutputTransport;

/// Longest URL, in bytes: a stream id alone may have 512, each of which may be written as three.
const MAX_URL: usize = 4096;

/// By what an output is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// MPEG-TS by SRT.
    Srt,
    /// MPEG-TS in datagrams.
    Udp,
    /// Sound to an Icecast server.
    Icecast,
    /// RTP, after an RTSP `ANNOUNCE`.
    Rtsp,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Srt, Self::Udp, Self::Icecast, Self::Rtsp];

    /// The scheme of its URLs.
    pub(super) const fn scheme(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Udp => "udp",
            Self::Icecast => "icecast",
            Self::Rtsp => "rtsp",
        }
    }

    /// As figures have it.
    #[cfg(feature = "libav")]
    pub(super) const fn transport(self) -> OutputTransport {
        match self {
            Self::Srt => OutputTransport::Srt,
            Self::Udp => OutputTransport::Udp,
            Self::Icecast => OutputTransport::Icecast,
            Self::Rtsp => OutputTransport::Rtsp,
        }
    }

    const fn default_port(self) -> Option<u16> {
        match self {
            Self::Rtsp => Some(554),
            _ => None,
        }
    }

    /// The protocol of a URL, if it is one of these.
    pub(super) fn of(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        Self::ALL.into_iter().find(|protocol| protocol.scheme().eq_ignore_ascii_case(scheme))
    }
}

/// Who begins an SRT connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The output does.
    Caller,
    /// The receiver does.
    Listener,
}

/// Where an output is sent. `Debug` and `Display` show no secret.
#[derive(Clone, PartialEq)]
pub(super) struct Address {
    /// As it was given.
    pub(super) url: StreamKey,
    pub(super) protocol: Protocol,
    /// A name or an address, without brackets; empty for a listener at all addresses.
    pub(super) host: String,
    pub(super) port: u16,
    /// User and password, decoded.
    pub(super) login: Option<(StreamKey, StreamKey)>,
    /// With its query, where that belongs to the server.
    pub(super) path: StreamKey,
    /// What the query sets, decoded.
    pub(super) settings: Vec<(&'static Setting, StreamKey)>,
}

impl Address {
    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without any part of it that may be secret.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let protocol = Protocol::of(url).ok_or("the URL's scheme is none of srt, udp, icecast and rtsp")?;
        if url.len() > MAX_URL {
            return Err(format!("the URL has {} bytes, over the limit of {MAX_URL}", url.len()));
        }
        if url.chars().any(|c| c.is_control() || c == ' ') {
            return Err("the URL has a space or a control character".to_owned());
        }
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let (before, query) = match (protocol, rest.split_once('?')) {
            // The query belongs to the server.
            (Protocol::Rtsp, _) | (_, None) => (rest, ""),
            (_, Some((before, query))) => (before, query),
        };
        let (authority, path) = match before.find(['/', '?']) {
            Some(at) => before.split_at(at),
            None => (before, ""),
        };
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place, protocol)?;
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            Ok::<_, String>((StreamKey::new(decoded(user)?), StreamKey::new(decoded(password)?)))
        });
        let address = Self {
            url: StreamKey::new(url),
            protocol,
            host,
            port,
            login: login.transpose()?,
            path: StreamKey::new(path),
            settings: settings::parse(protocol, query)?,
        };
        address.check()?;
        Ok(address)
    }

    fn check(&self) -> Result<(), String> {
        if self.host.is_empty() && self.mode() == Mode::Caller {
            return Err("the URL has no host".to_owned());
        }
        let path = self.path.reveal();
        match self.protocol {
            Protocol::Srt | Protocol::Udp if !matches!(path, "" | "/") => {
                Err(format!("{} URLs have no path", self.protocol.scheme()))
            }
            Protocol::Srt | Protocol::Udp if self.login.is_some() => {
                Err(format!("{} URLs have no user information", self.protocol.scheme()))
            }
            Protocol::Icecast if path.len() < 2 => {
                Err("the URL names no mount point (icecast://source:password@host:8000/mount)".to_owned())
            }
            Protocol::Srt => settings::check_srt(self),
            _ => Ok(()),
        }
    }

    /// A part of it was replaced by what hides a secret.
    pub(super) fn is_hidden(&self) -> bool {
        self.url.reveal().contains(HIDDEN)
    }

    /// The value of a setting, if the URL gives it.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(setting, _)| setting.name == name).map(|(_, value)| value.reveal())
    }

    pub(super) fn mode(&self) -> Mode {
        if self.protocol == Protocol::Srt && self.setting("mode") == Some("listener") {
            Mode::Listener
        } else {
            Mode::Caller
        }
    }

    /// The host, or where it listens, for errors.
    #[cfg(feature = "libav")]
    pub(super) fn peer(&self) -> String {
        match self.mode() {
            Mode::Caller => self.host.clone(),
            Mode::Listener => format!("{}:{}", bracketed(&self.host), self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = if self.login.is_some() { "****@" } else { "" };
        write!(f, "{}://{login}{}:{}", self.protocol.scheme(), bracketed(&self.host), self.port)?;
        let path = self.path.reveal();
        match self.protocol {
            // Listeners know it.
            Protocol::Icecast => f.write_str(path)?,
            // It may be what names the stream, or a key.
            Protocol::Rtsp if path.len() > 1 => {
                let bare = path.split('?').next().unwrap_or_default();
                let parent = bare.rsplit_once('/').map_or("", |(parent, _)| parent);
                write!(f, "{parent}/{HIDDEN}")?;
            }
            _ => {}
        }
        let shown = self.settings.iter().filter(|(setting, _)| !setting.is_secret);
        let hidden = self.settings.iter().filter(|(setting, _)| setting.is_secret);
        let pairs = shown.map(|(setting, value)| (setting.name, value.reveal()));
        for (place, (name, value)) in
            pairs.chain(hidden.map(|(setting, _)| (setting.name, HIDDEN))).enumerate()
        {
            write!(f, "{}{name}={}", if place == 0 { '?' } else { '&' }, encoded(value))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv6 address stands in brackets.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn host_and_port(place: &str, protocol: Protocol) -> Result<(String, u16), String> {
    let (host, port) = match place.strip_prefix(':') {
        // A listener at all addresses.
        Some(port) => ("", port),
        None if place.is_empty() => ("", ""),
        None => split_port(place).ok_or("the host in the URL is not valid")?,
    };
    let port = match port {
        "" => protocol.default_port(),
        port => port.parse().ok().filter(|port| *port > 0),
    };
    let port = port.ok_or("the URL has no port, or none from 1 to 65535")?;
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

/// What `%XX` stands for in a part of a URL.
pub(super) fn decoded(part: &str) -> Result<String, String> {
    let text =
        String::from_utf8(percent_decoded(part)).map_err(|_| "what the URL encodes with % is no UTF-8")?;
    if text.contains('\0') {
        return Err("the URL holds a NUL".to_owned());
    }
    Ok(text)
}

/// The other way: what would end a value, or not be one.
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if c == '%' || c == '&' || c == ' ' || c.is_control() {
            let mut buffer = [0; 4];
            c.encode_utf8(&mut buffer).bytes().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|reason| panic!("{url}: {reason}"))
    }

    #[test]
    fn urls_as_ffmpeg_takes_them() {
        let srt = parse(
            "srt://ingest.example:9000?latency=200000&passphrase=hush%26hush-hush&streamid=#!::r=a/b,m=publish",
        );
        assert_eq!((srt.host.as_str(), srt.port, srt.mode()), ("ingest.example", 9000, Mode::Caller));
        assert_eq!(srt.setting("latency"), Some("200000"));
        assert_eq!(srt.setting("passphrase"), Some("hush&hush-hush"));
        assert_eq!(srt.setting("streamid"), Some("#!::r=a/b,m=publish"));
        assert_eq!(parse("SRT://:9000?mode=listener").mode(), Mode::Listener);
        let icecast = parse("icecast://source:p%40ss@radio.example:8000/live.mp3?ice_name=Night%20radio");
        let (user, password) = icecast.login.as_ref().expect("it has one");
        assert_eq!((user.reveal(), password.reveal()), ("source", "p@ss"));
        assert_eq!((icecast.path.reveal(), icecast.setting("ice_name")), ("/live.mp3", Some("Night radio")));
        let rtsp = parse("rtsp://cam.example/app/key?token=1");
        assert_eq!((rtsp.port, rtsp.path.reveal()), (554, "/app/key?token=1"));
        assert_eq!(parse("udp://[ff15::1]:5000?ttl=3").host, "ff15::1");
        // No codes, though they would be numbers.
        assert_eq!(parse("icecast://h:1/a?ice_name=100%+5").setting("ice_name"), Some("100%+5"));
    }

    #[test]
    fn nothing_that_is_secret_is_shown() {
        for (url, shown) in [
            ("srt://h:1?streamid=hush&mode=caller", "srt://h:1?mode=caller&streamid=****"),
            ("srt://h:1?passphrase=hush-hush-hush", "srt://h:1?passphrase=****"),
            ("udp://239.0.0.1:5000?ttl=3", "udp://239.0.0.1:5000?ttl=3"),
            ("icecast://u:hush@h:8000/m.mp3", "icecast://****@h:8000/m.mp3"),
            ("rtsp://u:hush@h/app/hush?hush", "rtsp://****@h:554/app/****"),
            ("rtsp://h/hush", "rtsp://h:554/****"),
        ] {
            let address = parse(url);
            assert_eq!(address.to_string(), shown, "{url}");
            assert!(!format!("{address:?}").contains("hush"), "{url}");
            // What is written so and read again is seen to lack a secret.
            assert_eq!(parse(shown).is_hidden(), shown.contains("****"), "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name_and_without_its_secrets() {
        for (url, part) in [
            ("srt://h", "port"),
            ("srt://h:0", "port"),
            ("srt://h:70000", "port"),
            ("srt://:9000", "no host"),
            ("srt://[::1:9000", "host"),
            ("srt://h h:9000", "space"),
            ("srt://h:1/path", "no path"),
            ("srt://u:p@h:1", "no user information"),
            ("srt://h:1?mode=sideways", "mode"),
            ("srt://h:1?latency=120", "microseconds"),
            ("srt://h:1?latency=soon", "latency"),
            ("srt://h:1?passphrase=hush", "passphrase"),
            ("srt://h:1?pkt_size=1000", "pkt_size"),
            ("srt://h:1?colour=red", "colour"),
            ("srt://h:1?mode=caller&mode=caller", "twice"),
            ("srt://h:1?mode", "mode"),
            ("udp://h:1?streamid=x", "streamid"),
            ("udp://h:1?ttl=300", "ttl"),
            ("icecast://h:8000", "mount point"),
            ("icecast://h:8000/", "mount point"),
            ("http://h:1/", "scheme"),
        ] {
            let reason = Address::parse(url).expect_err(url);
            assert!(reason.contains(part), "{url}: {reason}");
            assert!(!reason.contains("hush"), "{url}: {reason}");
        }
    }
}
