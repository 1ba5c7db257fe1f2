//! Which names a server relays, and from where: the settings.
//!
//! In: templates of addresses, or a rule of the program, patterns of names, limits. Out: what is pulled for a name. When, and for how long, is
//! decided in the lobby (`lobby/relays`).

mod pattern;
mod template;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flowcast_core::pull::{Pull, Reach, Via};
use flowcast_core::{ReconnectPolicy, TlsRoots};

use self::pattern::Pattern;
use self::template::Template;
use crate::config::ServerOptions;
use crate::error::Error;

/// The longest a deadline may be.
const LONGEST: Duration = Duration::from_secs(3600);
/// The most origins.
const MOST_ORIGINS: usize = 16;

/// Makes a server the edge of others: a name that nobody publishes here is pulled from an origin when its first player comes, and given up
/// a while after its last has left. See [`RtmpServerBuilder::relay`](crate::RtmpServerBuilder::relay).
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub use flowcast_server::*; pub mod server { pub use flowcast_server::*; } }
/// use std::time::Duration;
/// use flowcast::{Config, Engine, RtmpServerExt};
/// use flowcast::server::Relay;
///
/// let engine = Engine::new(Config::default())?;
/// let relay = Relay::origin("rtmp://origin-a.example.com/live/{name}")
///     .or("rtmp://origin-b.example.com/live/{name}")
///     .names("show-*")
///     .linger(Duration::from_secs(60));
/// let server = engine.rtmp_server("127.0.0.1:0").relay(relay).start()?;
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until a server is given it"]
pub struct Relay {
    from: Whence,
    names: Vec<String>,
    roots: TlsRoots,
    reach: Reach,
    pub(crate) wait: Duration,
    first_media: Duration,
    silence: Duration,
    reconnect: ReconnectPolicy,
    pub(crate) linger: Duration,
    pub(crate) hold: Duration,
    pub(crate) retry: Duration,
    pub(crate) max_pulls: usize,
    /// An origin was named beside a rule, which is refused at the start.
    has_stray_origin: bool,
    pub(crate) max_per_address: usize,
}

/// Where streams come from.
#[derive(Clone)]
enum Whence {
    /// Templates of addresses, the first first.
    Origins(Vec<String>),
    Rule(Arc<Rule>),
}

type Rule = dyn Fn(&str) -> Option<Pull> + Send + Sync;

impl Relay {
    /// Streams of the server at `url`: `rtmp://origin/live/{name}`, where `{name}` stands for the name that a player asks for, and `{app}` for
    /// [`ServerOptions::app`]. A URL without `{name}` has the name appended: `rtmp://origin/live`. User, password and query may be in it
    /// (`rtmp://origin/live/{name}?token=abc`); they are shown nowhere.
    pub fn origin(url: impl Into<String>) -> Self {
        Self::with(Whence::Origins(vec![url.into()]))
    }

    /// Streams that `rule` names: it is called with the name that a player asks for, on a thread where it may block; that time counts as
    /// [`wait`](Self::wait). `None` if there is none. What else a [`Pull`] has is kept; what [`roots`](Self::tls_roots), [`reach`](Self::reach),
    /// [`first_media`](Self::first_media), [`silence`](Self::silence) and [`reconnect`](Self::reconnect) say here holds for templates only.
    pub fn by(rule: impl Fn(&str) -> Option<Pull> + Send + Sync + 'static) -> Self {
        Self::with(Whence::Rule(Arc::new(rule)))
    }

    fn with(from: Whence) -> Self {
        Self {
            from,
            names: Vec::new(),
            roots: TlsRoots::default(),
            reach: Reach::default(),
            wait: Duration::from_secs(10),
            first_media: Duration::from_secs(3),
            silence: Duration::from_secs(10),
            reconnect: soon(),
            linger: Duration::from_secs(30),
            hold: Duration::from_secs(30),
            retry: Duration::from_secs(1),
            max_pulls: 100,
            has_stray_origin: false,
            max_per_address: 60,
        }
    }

    /// A further origin, for names that the ones before it do not have, and for when they cannot be reached: the first that has the stream gives
    /// it. When it is lost, the others are asked before it. Up to 16 origins. Not together with [`by`](Self::by): there, see [`Pull::or`].
    pub fn or(mut self, url: impl Into<String>) -> Self {
        if let Whence::Origins(origins) = &mut self.from {
            origins.push(url.into());
        } else {
            self.has_stray_origin = true;
        }
        self
    }

    /// Which names are relayed: `*` stands for any letters, also none, `?` for one. May be called again: a name is relayed if one of the
    /// patterns fits. Default: all names. Others are answered as unknown, and no origin is asked.
    pub fn names(mut self, pattern: impl Into<String>) -> Self {
        self.names.push(pattern.into());
        self
    }

    /// How long a stream goes on without a player. A player that returns meanwhile finds it as it was. Default 30 s; up to an hour. Zero ends it
    /// with its last player.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long players stay when the origin is lost, or ends the stream: it is dialled again and again meanwhile. Then the stream ends, and
    /// players are told so. Default 30 s; up to an hour. Zero ends the stream at once.
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// How long the first players of a name wait for the stream: then they are told that there is none. Default 10 s; from 100 ms to an
    /// hour.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// An origin that has accepted and sends no media for this long is taken not to have the stream; some accept any name. Default 3 s; from
    /// 100 ms to an hour.
    pub fn first_media(mut self, first_media: Duration) -> Self {
        self.first_media = first_media;
        self
    }

    /// An origin that falls silent for this long is given up, and dialled again. Default 10 s; from 100 ms to an hour.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// When an origin that was lost is dialled again. Default: after half a second, then after waits that grow by half to 5 s.
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        self.reconnect = policy;
        self
    }

    /// How long a name that no origin has is not asked for again, however many players come: they are told at once. Default 1 s; up to an
    /// hour.
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// The most streams that are pulled at once, those included that are being dialled. Players of further names are refused
    /// ([`RefusalReason::RelayLimit`](crate::RefusalReason::RelayLimit)). Default 100; at least 1. The limits of the engine hold besides.
    pub fn max_pulls(mut self, pulls: usize) -> Self {
        self.max_pulls = pulls;
        self
    }

    /// The most pulls that players at one address may begin within a minute; the addresses of an IPv6 /64 count as one. Players that find a
    /// stream there already do not count. Default 60; at least 1. Programs on the same machine are spared if
    /// [`ServerOptions::crowd_spares_loopback`] is set.
    pub fn max_per_address(mut self, pulls: usize) -> Self {
        self.max_per_address = pulls;
        self
    }

    /// Whom to trust with `rtmps://`. Default [`TlsRoots::Platform`].
    pub fn tls_roots(mut self, roots: TlsRoots) -> Self {
        self.roots = roots;
        self
    }

    /// Which addresses an origin may have. Default as of a [`Pull`].
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// What it is, with what cannot work refused.
    pub(crate) fn ready(self, options: &ServerOptions) -> Result<Ready, Error> {
        let fail = |name, reason| Err(Error::Options { name, reason });
        if self.max_pulls == 0 || self.max_per_address == 0 {
            return fail("relay", "max_pulls and max_per_address must be at least 1");
        }
        if self.has_stray_origin {
            return fail("relay", "`or` goes with `origin` only: with `by`, the rule says the origins");
        }
        if [self.linger, self.hold, self.retry].iter().any(|span| *span > LONGEST) {
            return fail("relay", "linger, hold and retry must be at most an hour");
        }
        let steps = [self.wait, self.first_media, self.silence];
        if steps.iter().any(|span| *span > LONGEST || *span < Duration::from_millis(100)) {
            return fail("relay", "wait, first_media and silence must be from 100 ms to an hour");
        }
        let names: Option<Vec<_>> = self.names.iter().map(|pattern| Pattern::new(pattern)).collect();
        let Some(names) = names else {
            return fail("relay.names", "a pattern has letters, digits, '-', '_', '.', '*' and '?'");
        };
        let origins = match &self.from {
            Whence::Rule(_) => Vec::new(),
            Whence::Origins(origins) if origins.len() > MOST_ORIGINS => {
                return fail("relay.or", "there may be 16 origins");
            }
            Whence::Origins(origins) => {
                let made = origins.iter().map(|url| Template::new(url, options.app.as_deref()));
                made.collect::<Result<_, _>>()
                    .map_err(|reason| Error::Options { name: "relay.origin", reason })?
            }
        };
        // The file of the certificates is read when a stream is pulled.
        Ok(Ready { settings: self, names, origins })
    }
}

impl fmt::Debug for Relay {
    /// Without the addresses, which may hold a secret anywhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Relay");
        match &self.from {
            Whence::Origins(origins) => shown.field("origins", &origins.len()),
            Whence::Rule(_) => shown.field("rule", &"of the program"),
        };
        shown.field("names", &self.names).field("linger", &self.linger).field("hold", &self.hold);
        shown.field("max_pulls", &self.max_pulls).finish_non_exhaustive()
    }
}

/// Players wait for what was lost.
fn soon() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::default();
    (policy.first, policy.cap) = (Duration::from_millis(500), Duration::from_secs(5));
    policy
}

/// A relay whose settings were looked at.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) settings: Relay,
    names: Vec<Pattern>,
    origins: Vec<Template>,
}

impl Ready {
    /// Whether a name is relayed.
    pub(crate) fn covers(&self, name: &str) -> bool {
        let is_usable = flowcast_core::Grant::from(name).has_usable_name();
        is_usable && (self.names.is_empty() || self.names.iter().any(|pattern| pattern.fits(name)))
    }

    /// What is pulled for `name`; `None` if the program names nothing. May run the program's code.
    pub(crate) fn pull(&self, name: &str, via: Via) -> Option<Pull> {
        let settings = &self.settings;
        let pull = match &settings.from {
            Whence::Rule(rule) => rule(name)?,
            Whence::Origins(_) => {
                let mut urls = self.origins.iter().map(|origin| origin.of(name));
                let first = Pull::url(&urls.next()?)
                    .tls_roots(settings.roots.clone())
                    .reach(settings.reach.clone())
                    .first_media(settings.first_media)
                    .silence(settings.silence)
                    .reconnect(settings.reconnect.clone());
                urls.fold(first, |pull, url| pull.or(&url))
            }
        };
        Some(pull.via(via))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(relay: Relay) -> Result<Ready, Error> {
        relay.ready(&ServerOptions::default())
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let origin = || Relay::origin("rtmp://origin/live");
        assert!(ready(origin()).is_ok());
        let wrong = [
            (origin().max_pulls(0), "max_pulls"),
            (origin().max_per_address(0), "max_per_address"),
            (Relay::by(|_| None).or("rtmp://origin/live"), "`or`"),
            (Relay::by(|_| None).or("rtmp://origin/live").max_pulls(50), "`or`"),
            (origin().linger(Duration::from_secs(3601)), "linger"),
            (origin().wait(Duration::ZERO), "wait"),
            (origin().first_media(Duration::from_millis(99)), "first_media"),
            (origin().names("a/b"), "pattern"),
            (origin().names(""), "pattern"),
            (origin().or("http://origin/live"), "rtmp://"),
            (origin().or("rtmp://origin/live?a=b"), "{name}"),
            (origin().or("rtmp://origin/{nane}"), "{app}"),
            ((0..16).fold(origin(), |relay, _| relay.or("rtmp://origin/live")), "16"),
        ];
        for (relay, word) in wrong {
            let error = ready(relay).expect_err(word);
            assert!(error.to_string().contains(word), "{error} has no {word}");
        }
        let any = ServerOptions { app: None, ..ServerOptions::default() };
        let error = Relay::origin("rtmp://origin/{app}/{name}").ready(&any).expect_err("any application");
        assert!(error.to_string().contains("application"), "{error}");
    }

    #[test]
    fn only_names_that_fit_are_relayed() {
        let relay = ready(Relay::origin("rtmp://origin/live").names("show-*").names("cam?")).expect("usable");
        for name in ["show-", "show-1", "cam1"] {
            assert!(relay.covers(name), "{name}");
        }
        for name in ["show", "cam", "cam12", "a show-1", "show-/../x", "show-1?token=2", ""] {
            assert!(!relay.covers(name), "{name}");
        }
        let all = ready(Relay::origin("rtmp://origin/live")).expect("usable");
        assert!(all.covers("anything") && !all.covers("..") && !all.covers("a b") && !all.covers("{name}"));
    }

    #[test]
    fn an_address_is_shown_nowhere() {
        let relay = Relay::origin("rtmp://user:secret@origin/live/{name}?token=secret");
        let shown = format!("{relay:?} {:?}", ready(relay.clone()).expect("usable"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
