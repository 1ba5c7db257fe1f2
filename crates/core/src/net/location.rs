//! Where a live input is: a URL, taken apart so that what is secret in it does not get out.
//!
//! In: a URL, or a reference in what another URL gave. Out: its parts. RTMP has its own, see `flowcast_rtmp::url`.

use std::fmt;

/// Longest URL, in bytes: a signed one has one or two thousand.
const LONGEST: usize = 8192;
/// Longest host name, in bytes: that of DNS.
const LONGEST_HOST: usize = 253;

/// How the connection is made, and what is said on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Http,
    Https,
    Rtsp,
    Rtsps,
    Srt,
}

impl Protocol {
    const ALL: [(Self, &'static str, Option<u16>); 5] = [
        (Self::Http, "http", Some(80)),
        (Self::Https, "https", Some(443)),
        (Self::Rtsp, "rtsp", Some(554)),
        (Self::Rtsps, "rtsps", Some(322)),
        // It has no port of its own.
        (Self::Srt, "srt", None),
    ];

    fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known, _)| name.eq_ignore_ascii_case(known))
            .map(|(protocol, ..)| *protocol)
    }

    fn row(self) -> (Self, &'static str, Option<u16>) {
        Self::ALL.into_iter().find(|(protocol, ..)| *protocol == self).unwrap_or(Self::ALL[0])
    }

    pub(crate) fn as_str(self) -> &'static str {
        self.row().1
    }

    fn default_port(self) -> Option<u16> {
        self.row().2
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Rtsps)
    }

    fn is_web(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// Why a URL is none of a live input. Nothing of it is quoted: anything there may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A scheme that is not opened, which may be shown.
    Scheme(String),
    /// What is wrong.
    Malformed(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(scheme) => write!(f, "the scheme {scheme} is not opened"),
            Self::Malformed(what) => f.write_str(what),
        }
    }
}

/// Where a live input is. `Display` and `Debug` show neither user information, nor the last part of the path, nor the query: `****` stands
/// for each.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Location {
    protocol: Protocol,
    userinfo: Option<String>,
    host: String,
    port: u16,
    /// Path and query, as they are asked for; begins with a slash, or with a question mark.
    target: String,
}

impl Location {
    /// Takes a URL apart. What cannot stand in one is percent-encoded where that is unambiguous.
    pub(crate) fn parse(url: &str) -> Result<Self, Refused> {
        let malformed = |what| Err(Refused::Malformed(what));
        if url.len() > LONGEST {
            return malformed("the URL is longer than 8192 bytes");
        }
        let Some(scheme) = scheme_of(url) else { return malformed("the URL has no scheme") };
        let Some(protocol) = Protocol::by_name(scheme) else {
            return Err(Refused::Scheme(scheme.to_ascii_lowercase()));
        };
        let Some(rest) = url.get(scheme.len()..).and_then(|rest| rest.strip_prefix("://")) else {
            return malformed("the URL has no host");
        };
        // In the names of SRT's streams it stands for itself.
        let rest = if protocol == Protocol::Srt { rest } else { rest.split('#').next().unwrap_or_default() };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '\\']).unwrap_or(rest.len()));
        if path.starts_with('\\') {
            return malformed("the host in the URL is not valid");
        }
        let (userinfo, server) = match authority.rsplit_once('@') {
            Some((userinfo, server)) => (Some(userinfo), server),
            None => (None, authority),
        };
        if userinfo.is_some_and(|userinfo| userinfo.bytes().any(|byte| !byte.is_ascii_graphic())) {
            return malformed("the user information in the URL has a character that must be percent-encoded");
        }
        let (host, port) =
            split_port(server).ok_or(Refused::Malformed("the host in the URL is not valid"))?;
        let port = match port {
            "" => protocol.default_port(),
            text => text.parse::<u16>().ok().filter(|port| *port > 0 && port.to_string() == text),
        };
        let Some(port) = port else {
            return malformed("the URL has no port from 1 to 65535");
        };
        let target = match path {
            "" if protocol.is_web() => "/".to_owned(),
            path if path.starts_with('?') && protocol.is_web() => format!("/{}", encoded(path)),
            path => encoded(path),
        };
        Ok(Self {
            protocol,
            userinfo: userinfo.filter(|userinfo| !userinfo.is_empty()).map(str::to_owned),
            host: host.to_ascii_lowercase(),
            port,
            target,
        })
    }

    /// Where a reference leads that stands in what this URL of the web gave (RFC 3986, section 5): to the web, and from TLS only to TLS.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, Refused> {
        let reference = reference.trim();
        if let Some(scheme) = scheme_of(reference) {
            let other = Self::parse(reference)?;
            return other.after(self).ok_or_else(|| Refused::Scheme(scheme.to_ascii_lowercase()));
        }
        let reference = reference.split('#').next().unwrap_or_default();
        if let Some(rest) = reference.strip_prefix("//") {
            let other = Self::parse(&format!("{}://{rest}", self.protocol.as_str()))?;
            return other.after(self).ok_or_else(|| Refused::Scheme(self.protocol.as_str().to_owned()));
        }
        let base = self.target.split('?').next().unwrap_or_default();
        let target = if reference.is_empty() {
            self.target.clone()
        } else if reference.starts_with('?') {
            format!("{base}{}", encoded(reference))
        } else {
            let (path, query) = reference.split_at(reference.find('?').unwrap_or(reference.len()));
            let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
            let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
            format!("{}{}", without_dots(&encoded(&whole)), encoded(query))
        };
        if target.len() > LONGEST {
            return Err(Refused::Malformed("the URL is longer than 8192 bytes"));
        }
        Ok(Self { target, ..self.clone() })
    }

    /// This place, if what is at `from` may lead there; with its user information where it is the same server.
    fn after(self, from: &Self) -> Option<Self> {
        if !self.protocol.is_web() || from.protocol.is_tls() && !self.protocol.is_tls() {
            return None;
        }
        Some(self.with_userinfo_of(from))
    }

    /// With the user information of `from`, if that is the same server and there is none: it is told to nobody else.
    pub(crate) fn with_userinfo_of(mut self, from: &Self) -> Self {
        if self.userinfo.is_none() && self.server() == from.server() {
            self.userinfo.clone_from(&from.userinfo);
        }
        self
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Host name or address; an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What tells servers apart.
    pub(crate) fn server(&self) -> (Protocol, &str, u16) {
        (self.protocol, self.host(), self.port)
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    pub(crate) fn userinfo(&self) -> Option<&str> {
        self.userinfo.as_deref()
    }

    /// The values of the query, as they are written.
    pub(crate) fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Host and port as they stand in a header; without the port where it is the usual one.
    pub(crate) fn authority(&self) -> String {
        if Some(self.port) == self.protocol.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URL with all that is secret in it.
    pub(crate) fn reveal(&self) -> String {
        let user = self.userinfo.as_ref().map(|userinfo| format!("{userinfo}@")).unwrap_or_default();
        format!("{}://{user}{}{}", self.protocol.as_str(), self.authority(), self.target)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let hidden = if self.target.len() > 1 { "/****" } else { "/" };
        // So that who reads it back sees that something is missing.
        let user = if self.userinfo.is_some() { "****@" } else { "" };
        write!(f, "{}://{user}{}{folder}{hidden}", self.protocol.as_str(), self.authority())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands before the first colon, if that is a scheme.
fn scheme_of(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.,".contains(&byte));
    is_scheme.then_some(scheme)
}

/// Host and port, which may be empty, of `host:port`; `None` if the host is neither a name nor an address. An IPv6 address keeps its brackets.
pub(crate) fn split_port(server: &str) -> Option<(&str, &str)> {
    let (host, port) = match server.rfind(']') {
        Some(end) => {
            let (host, port) = server.split_at(end + 1);
            let address = host.strip_prefix('[')?.strip_suffix(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None if server.starts_with('[') => return None,
        None => server.split_at(server.find(':').unwrap_or(server.len())),
    };
    let is_name = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            && (1..=LONGEST_HOST).contains(&host.len())
    };
    if !host.starts_with('[') && !is_name(host) {
        return None;
    }
    match port {
        "" => Some((host, "")),
        port => Some((host, port.strip_prefix(':').filter(|port| !port.is_empty())?)),
    }
}

/// With what cannot stand in a request line percent-encoded.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A path without `.` and `..` (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(part) = rest.next() {
        let is_last = rest.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    parts.pop();
                }
                if is_last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, reference: &str) -> Result<String, Refused> {
        Location::parse(base).expect("a URL").join(reference).map(|location| location.reveal())
    }

    #[test]
    fn urls_are_taken_apart_and_shown_without_what_is_secret() {
        for (url, whole, shown) in [
            ("http://Host/a/b.m3u8?token=1", "http://host/a/b.m3u8?token=1", "http://host/a/****"),
            ("https://u:p@host:8443", "https://u:p@host:8443/", "https://****@host:8443/"),
            ("https://host?x=1", "https://host/?x=1", "https://host/****"),
            ("rtsp://u:p@[::1]:8554/cam", "rtsp://u:p@[::1]:8554/cam", "rtsp://****@[::1]:8554/****"),
            ("srt://host:9000?streamid=#!::r=a", "srt://host:9000?streamid=#!::r=a", "srt://host:9000/****"),
            ("HTTP://host:80/a b\r\nc", "http://host/a%20b%0D%0Ac", "http://host/****"),
            ("rtsp://host", "rtsp://host", "rtsp://host/"),
        ] {
            let location = Location::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((location.reveal().as_str(), location.to_string().as_str()), (whole, shown), "{url}");
            assert_eq!(Location::parse(&location.reveal()), Ok(location));
        }
    }

    #[test]
    fn what_is_no_url_of_a_live_input_is_refused() {
        for url in [
            "",
            "/a",
            "host/a",
            "http:",
            "http:/",
            "http:host",
            "http://",
            "http:///a",
            "http://:80/",
            "srt://host",
            "http://h:0/",
            "http://h:65536/",
            "http://h:/",
            "http://h:+1/",
            "http://h:080/",
            "http://a b/",
            "http://a%2fb/",
            "http://[::1/",
            "http://[nonsense]/",
            "http://::1/",
            "http://h\\@evil/",
            "http://u\n@h/",
        ] {
            assert!(Location::parse(url).is_err(), "{url}");
        }
        for (url, scheme) in [
            ("file:///etc/passwd", "file"),
            ("concat:a|b", "concat"),
            ("subfile,,start,0,end,0,,:/etc/passwd", "subfile,,start,0,end,0,,"),
            ("data:text/plain,a", "data"),
            ("CRYPTO+http://h/", "crypto+http"),
        ] {
            assert_eq!(Location::parse(url), Err(Refused::Scheme(scheme.to_owned())), "{url}");
        }
    }

    #[test]
    fn references_lead_where_they_say() {
        let base = "http://u:p@h/a/b/c.m3u8?t=1";
        for (reference, expected) in [
            ("d.ts", "http://u:p@h/a/b/d.ts"),
            ("../d.ts?x=1", "http://u:p@h/a/d.ts?x=1"),
            ("../../../../d/./e/..", "http://u:p@h/d/"),
            ("/d.ts", "http://u:p@h/d.ts"),
            ("?t=2", "http://u:p@h/a/b/c.m3u8?t=2"),
            ("", "http://u:p@h/a/b/c.m3u8?t=1"),
            ("//other/d", "http://other/d"),
            ("https://other:1/d", "https://other:1/d"),
            ("http://h/d", "http://u:p@h/d"),
            ("d:e.ts/f", "refused"),
            ("./d:e.ts", "http://u:p@h/a/b/d:e.ts"),
            ("a b.ts", "http://u:p@h/a/b/a%20b.ts"),
        ] {
            let joined = joined(base, reference).unwrap_or_else(|_| "refused".to_owned());
            assert_eq!(joined, expected, "{reference}");
        }
    }

    #[test]
    fn user_and_password_are_told_to_the_same_server_only() {
        let from = Location::parse("rtsp://u:p@camera:8554/a").expect("a URL");
        for (to, has) in [
            ("rtsp://camera:8554/b", true),
            ("rtsp://camera/b", false),
            ("rtsp://camera:8555/b", false),
            ("rtsps://camera:8554/b", false),
            ("rtsp://other:8554/b", false),
        ] {
            let to = Location::parse(to).expect("a URL").with_userinfo_of(&from);
            assert_eq!(to.userinfo().is_some(), has, "{to}");
        }
    }

    #[test]
    fn what_the_web_gives_leads_to_the_web_and_from_tls_to_tls() {
        for reference in
            ["file:///etc/passwd", "rtsp://h/a", "srt://h:1", "data:,a", "crypto:http://h/", "gopher://h/"]
        {
            assert!(matches!(joined("http://h/", reference), Err(Refused::Scheme(_))), "{reference}");
        }
        assert!(joined("https://h/", "http://h/").is_err());
        assert!(joined("https://h/", "https://other/").is_ok());
    }
}
