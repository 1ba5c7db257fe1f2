//! Where to publish to or play from: an RTMP URL, taken apart so that the key in it does not get out.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::key::StreamKey;

/// Longest host name, in bytes: that of DNS.
const MAX_HOST: usize = 253;
/// Longest app, in bytes.
const MAX_APP: usize = 1024;
/// Longest key, in bytes. Signed ones reach a few hundred.
const MAX_KEY: usize = 2048;
/// Longest userinfo, in bytes.
const MAX_USERINFO: usize = 512;

/// How the connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain TCP, port 1935 by default.
    Rtmp,
    /// TLS, port 443 by default.
    Rtmps,
}

impl Scheme {
    /// The port where a URL names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Rtmp => 1935,
            Self::Rtmps => 443,
        }
    }

    /// The scheme as it stands in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part of a URL, in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UrlPart {
    /// Host name or address.
    Host,
    /// The app.
    App,
    /// The stream key.
    Key,
    /// User and password before the host.
    UserInfo,
}

impl fmt::Display for UrlPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::App => "app",
            Self::Key => "key",
            Self::UserInfo => "user information",
        })
    }
}

/// What is wrong with a URL. It quotes nothing of the URL, because anything there may turn out to be the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with `rtmp://` or `rtmps://`.
    #[error("the URL does not begin with rtmp:// or rtmps://")]
    Scheme,
    /// A part is missing.
    #[error("the URL has no {0}")]
    Missing(UrlPart),
    /// The host is neither a name nor an address. Names in other scripts must be given in their `xn--` form.
    #[error("the host in the URL is not valid")]
    Host,
    /// What follows the host's colon is not a number from 1 to 65535.
    #[error("the port in the URL is not a number from 1 to 65535")]
    Port,
    /// A space or control character.
    #[error("the {part} has a space or control character at byte {offset}")]
    Character {
        /// Where.
        part: UrlPart,
        /// How many bytes of that part come before it.
        offset: usize,
    },
    /// A part is longer than it can sensibly be.
    #[error("the {part} has {length} bytes, over the limit of {limit}")]
    TooLong {
        /// Which.
        part: UrlPart,
        /// Its bytes.
        length: usize,
        /// How many it may have.
        limit: usize,
    },
}

/// Where to publish to or play from.
///
/// `Display` and `Debug` show neither the key, nor user information, nor the query of the app, nor what names the stream
/// where that is the app.
///
/// ```
/// use flowcast_rtmp::url::Destination;
/// let twitch = Destination::parse("rtmp://live.twitch.tv/app/live_123_abc")?;
/// assert_eq!(twitch.to_string(), "rtmp://live.twitch.tv/app/****");
/// assert_eq!((twitch.app(), twitch.port(), twitch.key().reveal()), ("app", 1935, "live_123_abc"));
/// # Ok::<(), flowcast_rtmp::url::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    scheme: Scheme,
    host: String,
    port: u16,
    app: String,
    key: StreamKey,
    userinfo: Option<StreamKey>,
}

impl Destination {
    /// Takes a whole URL, as ffmpeg does.
    ///
    /// | URL | app | key |
    /// |---|---|---|
    /// | `rtmp://host/live/sub/key?token=1` | `live/sub` | `key?token=1` |
    /// | `rtmp://host/live2?backup=1/key` (the query holds a slash) | `live2?backup=1` | `key` |
    /// | `rtmp://host/stream?user=a&pass=b` (MediaMTX, go2rtc) | `stream?user=a&pass=b` | empty |
    /// | `rtmp://host/live/` | `live` | empty |
    /// | `rtmp://host//key` | empty | `key` |
    ///
    /// User and password (`rtmp://user:password@host/…`) may be percent-encoded, and must be where they hold `/` or `?`;
    /// a `%` that two hexadecimal digits follow is taken for such a code.
    ///
    /// # Errors
    ///
    /// See [`UrlError`]. A URL without a path is [`UrlError::Missing`].
    pub fn parse(full_url: &str) -> Result<Self, UrlError> {
        let server = Server::parse(full_url)?;
        let path = server.path.trim_start_matches('/');
        if server.path.starts_with("//") && !path.contains('/') {
            return server.with("", StreamKey::from(path));
        }
        let before_query = path.split_once('?').map_or(path, |(before, _)| before);
        // Either slash separates app and key; one in a key's own query does not.
        let (app, key) = match before_query.rfind('/') {
            Some(slash) => (path.get(..slash), path.get(slash.saturating_add(1)..)),
            None => path.rsplit_once('/').map_or((Some(path), None), |(app, key)| (Some(app), Some(key))),
        };
        server.with(app.unwrap_or_default(), StreamKey::from(key.unwrap_or_default()))
    }

    /// Takes the URL of a server and the key apart, as platforms give them out. All of the URL's path is the app,
    /// without slashes at its ends; its query stays with it. Without a path the app is empty, which servers without apps
    /// take.
    ///
    /// # Errors
    ///
    /// See [`UrlError`]. An empty key is [`UrlError::Missing`]: more often than not it was forgotten.
    /// [`parse`](Self::parse) takes the URLs of streams that have none.
    pub fn with_key(server_url: &str, key: StreamKey) -> Result<Self, UrlError> {
        let server = Server::parse(server_url)?;
        if key.reveal().is_empty() {
            return Err(UrlError::Missing(UrlPart::Key));
        }
        let app = server.path;
        server.with(app, key)
    }

    /// The same stream where this server redirects to: with this key and, where the URL has none and names the same server, this user and
    /// password. Another server is not told them.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn moved_to(&self, server_url: &str) -> Result<Self, UrlError> {
        let mut moved = self.at(server_url)?;
        if (moved.scheme, &moved.host, moved.port) == (self.scheme, &self.host, self.port) {
            moved.userinfo = moved.userinfo.or_else(|| self.userinfo.clone());
        }
        Ok(moved)
    }

    /// The same stream on another server that the same account has: with this key and, where the URL has none, this user and password.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn on_server(&self, server_url: &str) -> Result<Self, UrlError> {
        let mut moved = self.at(server_url)?;
        moved.userinfo = moved.userinfo.or_else(|| self.userinfo.clone());
        Ok(moved)
    }

    fn at(&self, server_url: &str) -> Result<Self, UrlError> {
        let server = Server::parse(server_url)?;
        server.with(server.path, self.key.clone())
    }

    /// The same server and app with another key.
    ///
    /// # Errors
    ///
    /// See [`UrlError`]. An empty key is [`UrlError::Missing`].
    pub fn with_other_key(&self, key: StreamKey) -> Result<Self, UrlError> {
        let mut other = Self::with_key(&self.reveal_server(), key)?;
        other.userinfo.clone_from(&self.userinfo);
        Ok(other)
    }

    /// How the connection is made.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 1 to 65535.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The app, with its query if it has one: `live2?backup=1`; empty for servers without apps. The query may hold a
    /// secret, and so may the app where the [`key`](Self::key) is empty.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The stream key, with its query if it has one; empty where the app names the stream.
    #[must_use]
    pub const fn key(&self) -> &StreamKey {
        &self.key
    }

    /// `user:password` from before the host as it stands there, for servers that ask for a login; not part of
    /// [`tc_url`](Self::tc_url).
    #[must_use]
    pub const fn userinfo(&self) -> Option<&StreamKey> {
        self.userinfo.as_ref()
    }

    /// User and password from before the host, decoded. Without a colon the password is empty.
    #[must_use]
    pub fn login(&self) -> Option<(String, StreamKey)> {
        let userinfo = self.userinfo.as_ref()?.reveal();
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Some((percent_text(user), StreamKey::new(percent_text(password))))
    }

    /// What must not be shown of it, should a server repeat it; the longest first, so that no part is left of any.
    pub(crate) fn secrets(&self) -> Vec<String> {
        /// Shorter values of a query are no tokens, and would be found in all sorts of words.
        const TOKEN: usize = 6;
        let mut secrets = Vec::new();
        let key = self.key.reveal();
        for (place, is_secret) in [(key, true), (self.app.as_str(), key.is_empty())] {
            let (name, query) = place.split_once('?').unwrap_or((place, ""));
            if is_secret {
                secrets.extend([name, name.rsplit('/').next().unwrap_or_default()]);
            }
            let values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
            secrets.extend(values.chain([query]).filter(|value| value.len() >= TOKEN));
        }
        let login = self.login();
        secrets.extend(login.as_ref().map(|(_, password)| password.reveal()));
        if let Some(userinfo) = &self.userinfo {
            let (_, password) = userinfo.reveal().split_once(':').unwrap_or_default();
            secrets.extend([userinfo.reveal(), password]);
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().map(str::to_owned).collect()
    }

    /// `tcUrl` of the connect command: the URL without the key, and without the port where it is the default.
    #[must_use]
    pub fn tc_url(&self) -> String {
        format!("{}/{}", self.origin(""), self.app)
    }

    /// The URL without the key, with user and password and the app's query in clear text: what
    /// [`with_key`](Self::with_key) takes to make the same destination, unless the key is empty. Like a key, it belongs in no log.
    #[must_use]
    pub fn reveal_server(&self) -> String {
        let userinfo = self.userinfo.as_ref().map(|userinfo| format!("{}@", userinfo.reveal()));
        let (origin, app) = (self.origin(userinfo.as_deref().unwrap_or_default()), &self.app);
        if app.is_empty() { origin } else { format!("{origin}/{app}") }
    }

    /// Scheme, user information as given here, host and port.
    fn origin(&self, userinfo: &str) -> String {
        let (scheme, host) = (self.scheme, &self.host);
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        let port = if self.port == scheme.default_port() { String::new() } else { format!(":{}", self.port) };
        format!("{scheme}://{userinfo}{open}{host}{close}{port}")
    }
}

impl FromStr for Destination {
    type Err = UrlError;

    fn from_str(full_url: &str) -> Result<Self, UrlError> {
        Self::parse(full_url)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin(if self.userinfo.is_some() { "****@" } else { "" });
        let (app, query) =
            self.app.split_once('?').map_or((self.app.as_str(), ""), |(app, _)| (app, "?****"));
        if self.key.reveal().is_empty() {
            // What names the stream may be all there is to guess.
            let app = app.rsplit_once('/').map_or("", |(before, _)| before);
            let slash = if app.is_empty() { "" } else { "/" };
            return write!(f, "{origin}/{app}{slash}****{query}");
        }
        let slash = if self.app.is_empty() { "" } else { "/" };
        write!(f, "{origin}/{app}{query}{slash}****")
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({self})")
    }
}

/// Everything up to the path.
struct Server<'a> {
    scheme: Scheme,
    host: &'a str,
    port: u16,
    userinfo: Option<&'a str>,
    /// From the first slash or question mark behind the host.
    path: &'a str,
}

impl<'a> Server<'a> {
    fn parse(url: &'a str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = [Scheme::Rtmp, Scheme::Rtmps]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))
            .ok_or(UrlError::Scheme)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (userinfo, address) = match authority.rsplit_once('@') {
            Some((userinfo, address)) => (Some(userinfo), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address)?;
        let port = match port {
            None => scheme.default_port(),
            Some(digits) => port_number(digits).ok_or(UrlError::Port)?,
        };
        Ok(Self { scheme, host, port, userinfo, path })
    }

    fn with(&self, app: &str, key: StreamKey) -> Result<Destination, UrlError> {
        let app = app.trim_matches('/');
        if app.starts_with('?') || (app.is_empty() && key.reveal().is_empty()) {
            return Err(UrlError::Missing(UrlPart::App));
        }
        check(UrlPart::App, app, MAX_APP)?;
        check(UrlPart::Key, key.reveal(), MAX_KEY)?;
        if let Some(userinfo) = self.userinfo {
            check(UrlPart::UserInfo, userinfo, MAX_USERINFO)?;
        }
        Ok(Destination {
            scheme: self.scheme,
            host: self.host.to_owned(),
            port: self.port,
            app: app.to_owned(),
            key,
            userinfo: self.userinfo.map(StreamKey::from),
        })
    }
}

/// Host, without brackets, and what follows its colon.
fn split_port(address: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(bracketed) = address.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(UrlError::Host)?;
        Ipv6Addr::from_str(host).map_err(|_| UrlError::Host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(UrlError::Host),
        };
    }
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    if host.is_empty() {
        return Err(UrlError::Missing(UrlPart::Host));
    }
    check(UrlPart::Host, host, MAX_HOST)?;
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if host.bytes().all(valid) && !host.starts_with('.') { Ok((host, port)) } else { Err(UrlError::Host) }
}

/// Digits only: `u16::from_str` would take a plus sign.
fn port_number(digits: &str) -> Option<u16> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&port| port != 0)
}

fn check(part: UrlPart, text: &str, limit: usize) -> Result<(), UrlError> {
    if text.len() > limit {
        return Err(UrlError::TooLong { part, length: text.len(), limit });
    }
    match text.find(|c: char| c.is_control() || c.is_whitespace()) {
        Some(offset) => Err(UrlError::Character { part, offset }),
        None => Ok(()),
    }
}

/// The text with its percent codes replaced; what gives no UTF-8 stays as it is.
fn percent_text(text: &str) -> String {
    String::from_utf8(percent_decoded(text)).unwrap_or_else(|_| text.to_owned())
}

/// The bytes of a part of a URL, with its percent codes replaced (RFC 3986, section 2.1). What is no code stays as it is.
#[must_use]
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}
