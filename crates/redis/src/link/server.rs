//! The server: its URL, read once, and how it is shown.
//!
//! In: a URL of the program. Out: what connects, and a text without the password.

use std::sync::Arc;
use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult};

use super::security::Security;
use super::sentinels::{self, Sentinels};
use crate::error::Error;
use crate::options::RedisOptions;

/// Where Redis is.
pub(super) struct Server {
    way: Way,
    pub(super) shown: Arc<str>,
}

/// How the server is found.
enum Way {
    Named(Box<Client>),
    Asked(Box<Sentinels>),
}

impl Server {
    /// Reads the URL. Nothing is connected.
    pub(super) fn new(url: &str, options: &RedisOptions) -> Result<Self, Error> {
        if let Some((scheme, rest)) = sentinels::scheme(url) {
            let (all, shown) = Sentinels::new(scheme, rest, options)?;
            return Ok(Self { way: Way::Asked(Box::new(all)), shown: shown.into() });
        }
        if options.sentinel_user.is_some() || options.sentinel_password.is_some() {
            return Err(Error::config("sentinel_password", "only redis+sentinel:// has sentinels"));
        }
        // What the crate says of a malformed URL may repeat a part of it.
        let malformed = || {
            let forms = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS";
            Error::config("url", format!("cannot be read: it is {forms}"))
        };
        let info = url.into_connection_info().map_err(|_| malformed())?;
        let shown = shown(&info).ok_or_else(malformed)?;
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let security = Security::new(is_tls, options)?;
        if is_tls && url.contains('#') {
            return Err(Error::config(
                "url",
                "a server without a certificate to be checked is not spoken to",
            ));
        }
        let client = security.client(introduced(info));
        let client = client.map_err(|error| match security {
            Security::Plain => malformed(),
            Security::Tls(_) => Error::config("roots", format!("cannot be used: {error}")),
        })?;
        Ok(Self { way: Way::Named(Box::new(client)), shown: shown.into() })
    }

    /// Connects to the server that takes changes now, with TLS and login.
    pub(super) fn connect(&mut self, patience: Duration) -> RedisResult<Connection> {
        match &mut self.way {
            Way::Named(client) => client.get_connection_with_timeout(patience),
            Way::Asked(sentinels) => sentinels.connect(patience),
        }
    }
}

/// With the name of this crate, for `CLIENT LIST`.
pub(super) fn introduced(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_lib_name("flowcast", env!("CARGO_PKG_VERSION"));
    info.set_redis_settings(settings)
}

/// The URL, without the password; `None` for what is not reached through a network.
fn shown(info: &ConnectionInfo) -> Option<String> {
    let (scheme, host, port) = match info.addr() {
        ConnectionAddr::Tcp(host, port) => ("redis", host, port),
        ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host, port),
        _ => return None,
    };
    let login = login_shown(info);
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Some(format!("{scheme}://{login}{host}:{port}/{}", info.redis_settings().db()))
}

/// What stands before the host, without the password.
pub(super) fn login_shown(info: &ConnectionInfo) -> String {
    let settings = info.redis_settings();
    match (settings.username(), settings.password()) {
        (None, None) => String::new(),
        (user, None) => format!("{}@", user.unwrap_or_default()),
        (user, Some(_)) => format!("{}:****@", user.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, Error> {
        Server::new(url, &RedisOptions::default())
    }

    #[test]
    fn a_server_is_shown_without_its_password() {
        let shown =
            |url| server(url).map(|server| server.shown.to_string()).unwrap_or_else(|e| e.to_string());
        assert_eq!(shown("redis://host"), "redis://host:6379/0");
        assert_eq!(shown("redis://alice:canary@host:1/3"), "redis://alice:****@host:1/3");
        assert_eq!(shown("redis://:canary@[::1]:1"), "redis://:****@[::1]:1/0");
        assert_eq!(shown("rediss://a:canary@host"), "rediss://a:****@host:6379/0");
        let both = "redis+sentinel://alice:canary@one,[::1]:2/main";
        assert_eq!(shown(both), "redis+sentinel://alice:****@one:26379,[::1]:2/main/0");
        assert_eq!(shown("rediss+sentinel://one/main/3"), "rediss+sentinel://one:26379/main/3");
        for url in [
            "",
            "canary",
            "http://canary@host",
            "redis://a:canary@host/x",
            "unix:///canary",
            "redis://canary:1:2",
            "redis+sentinel://a:canary@host",
            "redis+sentinel://a:canary@host/",
            "redis+sentinel://a:canary@/main",
            "redis+sentinel://a:canary@host,/main",
            "redis+sentinel://a:canary@host/main/x",
            "redis+sentinel://a:canary@host/main/1/2",
            "redis+sentinel://a:canary@host/ma in",
            "redis+sentinel://a:canary@host:x/main",
            "rediss+sentinel://a:canary@host/main#insecure",
        ] {
            let error = server(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with("url: ") && !error.contains("canary"), "{url}: {error}");
        }
        assert!(server("rediss://host/#insecure").is_err());
    }

    #[test]
    fn certificates_and_logins_are_for_those_who_ask_for_them() {
        let with = |url, change: &dyn Fn(&mut RedisOptions)| {
            let options = RedisOptions::default().with(change);
            Server::new(url, &options).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let roots = |file: &'static str| move |options: &mut RedisOptions| options.roots = Some(file.into());
        for (plain, tls) in
            [("redis://host", "rediss://host"), ("redis+sentinel://host/main", "rediss+sentinel://host/main")]
        {
            assert!(with(plain, &roots("/dev/null")).starts_with("roots: "));
            assert!(with(tls, &roots("/nowhere/ca.pem")).starts_with("roots: /nowhere/ca.pem"));
        }
        let login = |options: &mut RedisOptions| options.sentinel_password = Some("canary".into());
        assert!(with("redis://host", &login).starts_with("sentinel_password: "));
        assert_eq!(with("redis+sentinel://host/main", &login), "");
        let user = |options: &mut RedisOptions| options.sentinel_user = Some("alice".into());
        assert!(with("redis+sentinel://host/main", &user).starts_with("sentinel_password: "));
    }
}
