//! The settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flowcast_server::prometheus_client::collector::Collector;
use flowcast_server::{FailurePolicy, RtmpServer};
use ipnet::IpNet;

use crate::cluster::{Cluster, Shared};
use crate::error::Error;
use crate::events::Ears;
use crate::keys::{Book, KeyBook};
use crate::saving::Save;
use crate::tokens::{Token, Tokens};

/// How HTTP is served. By default nobody may do anything: give it [`tokens`](Self::tokens), or let everybody on this machine in
/// ([`open_to_this_machine`](Self::open_to_this_machine)).
///
/// ```
/// use flowcast_core::{Config, Engine};
/// use flowcast_http::{Options, Scope, Token};
///
/// let engine = Engine::new(Config::default())?;
/// let secret = Token::random()?;
/// let options = Options::default().with(|options| {
///     options.tokens.push(Token::new("dashboard", &secret, [Scope::Operate, Scope::Keys]));
/// });
/// let router = flowcast_http::router(&engine, options)?;
/// # drop(router);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Who may do what. Default none.
    pub tokens: Vec<Token>,
    /// Everybody on this machine may do everything without a token: for development. Requests have to come from a loopback address, to a
    /// loopback name, or they are refused; and [`serve`](crate::serve) refuses to listen elsewhere. Not behind a proxy. Default `false`.
    pub open_to_this_machine: bool,
    /// Whether `/metrics` can be read without a token. Default `false`: it takes one with [`Scope::Watch`](crate::Scope::Watch).
    pub open_metrics: bool,
    /// What is played under `/live` by whom: by the rules of the keys, as on the RTMP server, or only with a token that may
    /// [watch](crate::Scope::Watch). Default `false`: by the rules of the keys.
    pub players_need_tokens: bool,
    /// Whether `/` is the page for people. It asks for a token, and does what that may. Default `true`.
    #[cfg(feature = "page")]
    pub page: bool,
    /// Other sites whose pages may use the API from a browser: `https://example.com`. Default none.
    pub origins: Vec<String>,
    /// Proxies in front of it: the address of a client is taken from their `X-Forwarded-For`. Default none.
    pub proxies: Vec<IpNet>,
    /// What happens to addresses that send wrong tokens; as on the RTMP server.
    pub failures: FailurePolicy,
    /// Requests of one address in a second, over some time; ten times as many at once. 1 to 100,000. Default 50. What is under `/live` is not
    /// counted.
    pub requests_per_second: u32,
    /// Bytes of a request's body. 1 KiB to 64 MiB. Default 1 MiB.
    pub body_limit: usize,
    /// Events that are kept for clients that come back. 1 to 100,000. Default 1000, about 300 kB.
    pub event_history: usize,
    /// Clients that listen to events or figures at a time. Default 500.
    pub listeners: usize,
    /// Clients that play at a time. Default 5000.
    pub players: usize,
    /// How long the segments of HLS are, in whole seconds. Default 2 s.
    pub hls_segment: Duration,
    /// How long HLS, which is made when somebody asks for it, goes on when nobody does. Default 60 s.
    pub hls_idle: Duration,
    /// Connections at a time of a server that [`serve`](crate::serve) starts. Default 10,000.
    pub connections: usize,
    /// Connections at a time from one address, or one /64 of IPv6, to such a server. Default 1000.
    pub connections_per_address: usize,
    pub(crate) collectors: Vec<Arc<dyn Collector>>,
    pub(crate) save: Option<Save>,
    pub(crate) cluster: Option<Shared>,
    pub(crate) keys: Option<Book>,
    pub(crate) ears: Arc<Ears>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            open_to_this_machine: false,
            open_metrics: false,
            players_need_tokens: false,
            #[cfg(feature = "page")]
            page: true,
            origins: Vec::new(),
            proxies: Vec::new(),
            failures: FailurePolicy::default(),
            requests_per_second: 50,
            body_limit: 1 << 20,
            event_history: 1000,
            listeners: 500,
            players: 5000,
            hls_segment: Duration::from_secs(2),
            hls_idle: Duration::from_secs(60),
            connections: 10_000,
            connections_per_address: 1000,
            collectors: Vec::new(),
            save: None,
            cluster: None,
            keys: None,
            ears: Arc::default(),
        }
    }
}

impl Options {
    /// The same settings with what `change` does to them.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Shows an RTMP server, too: its figures in `/metrics`, and its events. Of several servers, the figures of the first are shown: their names
    /// are the same.
    #[must_use]
    pub fn rtmp_server(mut self, server: &RtmpServer) -> Self {
        if self.ears.hear_server(server) {
            self.collectors.push(Arc::new(server.metrics()));
        }
        self
    }

    /// Shows further figures in `/metrics`.
    #[must_use]
    pub fn collector(mut self, collector: impl Collector) -> Self {
        self.collectors.push(Arc::new(collector));
        self
    }

    /// Saves what was changed before it is answered: `save` is called after each request that did something, where it may block, and the answer
    /// waits for it; requests at the same time are saved for together. So what a client was told is done is there after a crash. If it fails, the
    /// answer has the header `Flowcast-Unsaved` with the reason; what was done stays done. By default nothing is saved: the program does that
    /// by itself, such as with a `StateKeeper`, whose `sync` is what is to be called here.
    #[must_use]
    pub fn saved_by(
        mut self,
        save: impl Fn() -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        self.save = Some(Arc::new(save));
        self
    }

    /// Shows other machines, too, and the streams that should run on any of them. By default this is no node of a cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Cluster + 'static) -> Self {
        self.cluster = Some(Arc::new(cluster));
        self
    }

    /// Shows and changes the keys of `keys`, and asks them who may play. Default: those of the engine ([`Engine::keys`](flowcast_core::Engine::keys)).
    #[must_use]
    pub fn keys(mut self, keys: impl KeyBook + 'static) -> Self {
        self.keys = Some(Arc::new(keys));
        self
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<Tokens, Error> {
        let fail = |name, reason: &str| Err(Error::options(name, reason));
        let tokens = Tokens::new(self.tokens.clone())?;
        if self.open_to_this_machine && !self.proxies.is_empty() {
            return fail("open_to_this_machine", "behind a proxy nobody can tell who is on this machine");
        }
        if !(1..=100_000).contains(&self.requests_per_second) {
            return fail("requests_per_second", "must be 1 to 100,000");
        }
        if !(1 << 10..=64 << 20).contains(&self.body_limit) {
            return fail("body_limit", "must be 1 KiB to 64 MiB");
        }
        if !(1..=100_000).contains(&self.event_history) {
            return fail("event_history", "must be 1 to 100,000");
        }
        let whole = self.hls_segment.subsec_nanos() == 0 && (1..=60).contains(&self.hls_segment.as_secs());
        if !whole {
            return fail("hls_segment", "must be 1 to 60 whole seconds");
        }
        if self.hls_idle < Duration::from_secs(5) {
            return fail("hls_idle", "must be at least 5 s");
        }
        for (name, most) in [
            ("listeners", self.listeners),
            ("players", self.players),
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
        ] {
            if !(1..=1_000_000).contains(&most) {
                return fail(name, "must be 1 to 1,000,000");
            }
        }
        if let Err(error) = self.failures.check() {
            return Err(Error::options("failures", error.to_string()));
        }
        for origin in &self.origins {
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if rest.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' '])) {
                let reason = format!("{origin:?} is none: https://example.com, without a path, is one");
                return Err(Error::options("origins", reason));
            }
        }
        Ok(tokens)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("tokens", &self.tokens)
            .field("open_to_this_machine", &self.open_to_this_machine)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        type Case = (&'static str, fn(&mut Options));
        let cases: [Case; 9] = [
            ("requests_per_second", |options| options.requests_per_second = 0),
            ("body_limit", |options| options.body_limit = 10),
            ("event_history", |options| options.event_history = 0),
            ("listeners", |options| options.listeners = 0),
            ("players", |options| options.players = 0),
            ("hls_segment", |options| options.hls_segment = Duration::from_millis(1500)),
            ("failures", |options| options.failures.ban_after = 0),
            ("origins", |options| options.origins.push("example.com".to_owned())),
            ("open_to_this_machine", |options| {
                options.open_to_this_machine = true;
                options.proxies.extend("10.0.0.0/8".parse::<IpNet>());
            }),
        ];
        for (name, change) in cases {
            let refused = Options::default().with(change).check().map(drop);
            assert!(
                matches!(&refused, Err(Error::Options { name: of, .. }) if *of == name),
                "{name}: {refused:?}"
            );
        }
        assert!(Options::default().check().is_ok());
    }
}
