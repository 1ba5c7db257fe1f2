//! A stream of another server, played from there: the source of a stream of ours.
//!
//! In: an address. Out: the tags it sends, on one clock that goes on from connection to connection. What blocks (name lookup, connecting)
//! is done by the dialer on another thread; the connection is read on the stream's own.

mod driver;
mod homes;
mod link;
#[cfg(test)]
mod tests;
mod via;
#[cfg(feature = "serde")]
pub(crate) mod wire;

use std::time::Duration;

use flowcast_rtmp::url::{Destination, UrlError};

pub(crate) use self::driver::{Puller, With};
#[doc(hidden)]
pub use self::via::Via;
use crate::config::ReconnectPolicy;
use crate::error::Error;
pub use crate::net::reach::Reach;
use crate::net::tls::TlsRoots;

/// What stands for a secret that was not written.
const HIDDEN: &str = "****";
/// The most addresses of one stream.
const MOST_ADDRESSES: usize = 16;
/// What a duration may be.
const SPANS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);

/// A stream of another server, and how it is played from there; see [`Source::pull`](crate::Source::pull).
///
/// The source is dialled when the stream starts, and again with growing waits whenever it cannot be reached, says no, ends or falls
/// silent: a stream that is made from it can be started before it is there. Each failure is
/// [`EventKind::SourceRetrying`](crate::EventKind::SourceRetrying), and the first media after it
/// [`EventKind::SourceLive`](crate::EventKind::SourceLive). The stream's time goes on meanwhile.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it does nothing until a source is made of it"]
pub struct Pull {
    pub(crate) address: Result<Destination, UrlError>,
    /// Where else it may be, in this order.
    pub(crate) others: Vec<Result<Destination, UrlError>>,
    pub(crate) roots: TlsRoots,
    pub(crate) reconnect: Option<ReconnectPolicy>,
    pub(crate) reach: Reach,
    pub(crate) first_media: Option<Duration>,
    pub(crate) silence: Duration,
    pub(crate) hold: Duration,
    pub(crate) once: bool,
    /// The relays that it passes.
    pub(crate) via: Via,
}

impl Pull {
    /// `rtmp://host/app/name` or `rtmps://…`, split as [`Destination::parse`] does; with `user:password@` before the host where the server
    /// asks for a login. What cannot be an address is told by [`start`](crate::StreamBuilder::start).
    pub fn url(url: &str) -> Self {
        Self::from_address(Destination::parse(url))
    }

    pub(crate) fn from_address(address: Result<Destination, UrlError>) -> Self {
        Self {
            address,
            others: Vec::new(),
            roots: TlsRoots::default(),
            reconnect: None,
            reach: Reach::any(),
            first_media: None,
            silence: Duration::from_secs(10),
            hold: Duration::from_secs(30),
            once: false,
            via: Via::default(),
        }
    }

    /// Another address of the same stream, dialled at once where the ones before it cannot be reached, do not have the stream or have lost it.
    /// Once all have failed, the first is dialled again after the wait of [`reconnect`](Self::reconnect). May be called again, for up to
    /// sixteen addresses in all; all other settings hold for each of them.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::pull::Pull;
    ///
    /// let pull = Pull::url("rtmp://origin-a/live/show").or("rtmp://origin-b/live/show");
    /// ```
    pub fn or(mut self, url: &str) -> Self {
        self.others.push(Destination::parse(url));
        self
    }

    /// Whom to trust with `rtmps://`. Default [`TlsRoots::Platform`].
    pub fn tls_roots(mut self, roots: TlsRoots) -> Self {
        self.roots = roots;
        self
    }

    /// When it is dialled again. Default [`Config::reconnect`](crate::Config::reconnect). A server that says it has no such stream counts as
    /// one that cannot be reached: the stream may come.
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        self.reconnect = Some(policy);
        self
    }

    /// Which addresses it may be read from. Default [`Reach::any`]; an address that somebody else has given wants
    /// [`Reach::public`].
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// A server that sends no media this long after it has accepted is given up, and the next address is dialled; from 100 ms to a day. Some
    /// servers accept before they have the stream. Default: as long as [`silence`](Self::silence).
    pub fn first_media(mut self, first_media: Duration) -> Self {
        self.first_media = Some(first_media);
        self
    }

    /// A server that sends no media for this long is given up, and dialled again; from 100 ms to a day. Default 10 s.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// How long outputs stay connected while there is no connection that sends: after that, pushes say goodbye, and are dialled when media
    /// comes again. From zero to a day. Default 30 s. With a [fallback](crate::Source::fallback), that is on the air meanwhile.
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// The stream ends when the server says that this one has ended. Default: it is waited for.
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// The relays that the stream passes, as a server of relayed streams says it.
    #[doc(hidden)]
    pub fn via(mut self, via: Via) -> Self {
        self.via = via;
        self
    }

    /// All that cannot work.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let config = |name, reason: String| Error::Config { name, reason };
        for address in std::iter::once(&self.address).chain(&self.others) {
            match address {
                Err(error) => found.push(Error::Url(error.clone())),
                Ok(address) => {
                    let is_hidden = |text: &str| text.contains(HIDDEN);
                    if is_hidden(address.key().reveal()) || is_hidden(&address.reveal_server()) {
                        let reason =
                            "hidden (****): the source was written without what is secret in its address";
                        found.push(config("url", reason.to_owned()));
                    }
                }
            }
        }
        if self.others.len() >= MOST_ADDRESSES {
            found.push(config("or", format!("a stream has {MOST_ADDRESSES} addresses at most")));
        }
        if self.first_media.is_some_and(|first_media| !SPANS.contains(&first_media)) {
            found.push(config("first_media", "must be from 100 ms to a day".to_owned()));
        }
        if !SPANS.contains(&self.silence) {
            found.push(config("silence", "must be from 100 ms to a day".to_owned()));
        }
        if self.hold > *SPANS.end() {
            found.push(config("hold", "must be a day at most".to_owned()));
        }
        found.extend(self.reconnect.iter().flat_map(ReconnectPolicy::problems));
        found
    }
}

impl From<&str> for Pull {
    fn from(url: &str) -> Self {
        Self::url(url)
    }
}
