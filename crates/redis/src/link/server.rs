//! The server: its URL, read once, and how it is shown.
//!
//! In: a URL of the program. Out: what connects, and a text without the password.

use std::sync::Arc;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

use crate::error::Error;
use crate::options::RedisOptions;

/// Where Redis is.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) shown: Arc<str>,
}

impl Server {
    /// Reads the URL. Nothing is connected.
    pub(super) fn new(url: &str, options: &RedisOptions) -> Result<Self, Error> {
        // What the crate says of a malformed URL may repeat a part of it.
        let malformed = || {
            let forms = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS";
            Error::config("url", format!("cannot be read: it is {forms}"))
        };
        let info = url.into_connection_info().map_err(|_| malformed())?;
        let settings = info.redis_settings().clone().set_lib_name("flowcast", env!("CARGO_PKG_VERSION"));
        let info = info.set_redis_settings(settings);
        let shown = shown(&info).ok_or_else(malformed)?;
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if !is_tls {
            if options.roots.is_some() {
                return Err(Error::config("roots", "only rediss:// has certificates"));
            }
            let client = Client::open(info).map_err(|_| malformed())?;
            return Ok(Self { client, shown: shown.into() });
        }
        if url.contains('#') {
            return Err(Error::config(
                "url",
                "a server without a certificate to be checked is not spoken to",
            ));
        }
        // rustls asks the process for its provider where the program has named none.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let unreadable = |reason: String| Error::config("roots", reason);
        let root_cert = match &options.roots {
            Some(file) => {
                let read = std::fs::read(file);
                Some(read.map_err(|error| unreadable(format!("{}: {error}", file.display())))?)
            }
            None => None,
        };
        let certificates = TlsCertificates { client_tls: None, root_cert };
        let client = Client::build_with_tls(info, certificates);
        let client = client.map_err(|error| unreadable(format!("cannot be used: {error}")))?;
        Ok(Self { client, shown: shown.into() })
    }
}

/// The URL, without the password; `None` for what is not reached through a network.
fn shown(info: &ConnectionInfo) -> Option<String> {
    let (scheme, host, port) = match info.addr() {
        ConnectionAddr::Tcp(host, port) => ("redis", host, port),
        ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host, port),
        _ => return None,
    };
    let settings = info.redis_settings();
    let login = match (settings.username(), settings.password()) {
        (None, None) => String::new(),
        (user, None) => format!("{}@", user.unwrap_or_default()),
        (user, Some(_)) => format!("{}:****@", user.unwrap_or_default()),
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Some(format!("{scheme}://{login}{host}:{port}/{}", settings.db()))
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
        for url in [
            "",
            "canary",
            "http://canary@host",
            "redis://a:canary@host/x",
            "unix:///canary",
            "redis://canary:1:2",
        ] {
            let error = server(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with("url: ") && !error.contains("canary"), "{url}: {error}");
        }
        assert!(server("rediss://host/#insecure").is_err());
    }

    #[test]
    fn certificates_are_for_tls_and_must_be_there() {
        let with = |url, roots: &str| {
            let options = RedisOptions::default().with(|options| options.roots = Some(roots.into()));
            Server::new(url, &options).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(with("redis://host", "/dev/null").starts_with("roots: "));
        assert!(with("rediss://host", "/nowhere/ca.pem").starts_with("roots: /nowhere/ca.pem"));
    }
}
