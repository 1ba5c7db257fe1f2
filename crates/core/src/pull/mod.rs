//! A stream of another server, played from there: the source of a stream of ours.
//!
//! In: an address. Out: the tags it sends, on one clock that goes on from connection to connection. RTMP: what blocks (name lookup,
//! connecting) is done by the dialer on another thread; the connection is read on the stream's own. All else (`live`) is read by a worker
//! with libav, and taken from a queue.

mod address;
mod driver;
mod homes;
mod link;
#[cfg_attr(not(feature = "libav"), path = "without_libav.rs")]
mod live;
#[cfg(test)]
mod tests;
mod via;
mod whereabouts;
#[cfg(feature = "serde")]
pub(crate) mod wire;

use std::time::Duration;

use self::address::{Address, BadAddress};
pub(crate) use self::driver::{Puller, With};
#[doc(hidden)]
pub use self::via::Via;
pub use self::whereabouts::Whereabouts;
use crate::config::{QueueBounds, ReconnectPolicy};
use crate::error::Error;
pub use crate::net::reach::Reach;
use crate::net::tls::TlsRoots;
use crate::stream::SourceMailbox;
use crate::sys::CpuMeter;
use crate::tracks::Carriage;

/// What stands for a secret that was not written.
const HIDDEN: &str = "****";
/// The most addresses of one stream.
const MOST_ADDRESSES: usize = 16;
/// What a duration may be.
const SPANS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);

/// What a live input needs of its stream.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "libav"),
    allow(dead_code, reason = "without libav there are no live inputs but RTMP")
)]
pub(crate) struct Setting {
    /// The stream's, for the names of threads.
    pub(crate) name: String,
    /// Bounds of what is read ahead.
    pub(crate) bounds: QueueBounds,
    /// Whose CPU time it is.
    pub(crate) cpu: CpuMeter,
    /// What tracks are taken.
    pub(crate) carriage: Carriage,
    /// Other sound and timed data go along, too.
    pub(crate) all_tracks: bool,
    /// Woken when there is something for the stream's thread.
    pub(crate) mailbox: SourceMailbox,
}

/// A stream of another server, and how it is played from there; see [`Source::pull`](crate::Source::pull).
///
/// The source is dialled when the stream starts, and again with growing waits whenever it cannot be reached, says no, ends or falls
/// silent: a stream that is made from it can be started before it is there. Each failure is
/// [`EventKind::SourceRetrying`](crate::EventKind::SourceRetrying), and the first media after it
/// [`EventKind::SourceLive`](crate::EventKind::SourceLive). The stream's time goes on meanwhile.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it does nothing until a source is made of it"]
pub struct Pull {
    pub(crate) address: Result<Address, BadAddress>,
    /// Where else it may be, in this order.
    pub(crate) others: Vec<Result<Address, BadAddress>>,
    pub(crate) roots: TlsRoots,
    pub(crate) reconnect: Option<ReconnectPolicy>,
    pub(crate) reach: Reach,
    pub(crate) first_media: Option<Duration>,
    pub(crate) silence: Duration,
    pub(crate) hold: Duration,
    pub(crate) once: bool,
    /// The relays that it passes.
    pub(crate) via: Via,
    /// What says where the first address is now.
    pub(crate) whereabouts: Option<Whereabouts>,
}

impl Pull {
    /// `rtmp://host/app/name` or `rtmps://…`, split as [`Destination::parse`](flowcast_rtmp::url::Destination::parse) does; and with the feature
    /// `libav`:
    ///
    /// | | |
    /// |---|---|
    /// | `http://`, `https://` | an HLS playlist, or a body that goes on: MPEG-TS, FLV, fragmented MP4 |
    /// | `rtsp://`, `rtsps://` | over its own TCP connection |
    /// | `srt://host:port` | as caller; options of libav in the query, such as `?streamid=…&passphrase=…&latency=…` (microseconds) |
    ///
    /// With `user:password@` before the host where the server asks for a login. What cannot be an address is told by
    /// [`start`](crate::StreamBuilder::start).
    pub fn url(url: &str) -> Self {
        Self::from_address(Address::parse(url))
    }

    /// A stream that moves from server to server: before each dial, `whereabouts` is asked where it is. In files it is written as the address it had when
    /// the pull was made.
    pub fn following(whereabouts: &Whereabouts) -> Self {
        let pull = Self::from_address(Ok(whereabouts.now()));
        Self { whereabouts: Some(whereabouts.clone()), ..pull }
    }

    pub(crate) fn from_address(address: Result<Address, BadAddress>) -> Self {
        Self {
            address,
            others: Vec::new(),
            roots: TlsRoots::default(),
            reconnect: None,
            reach: Reach::default(),
            first_media: None,
            silence: Duration::from_secs(10),
            hold: Duration::from_secs(30),
            once: false,
            via: Via::default(),
            whereabouts: None,
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
        self.others.push(Address::parse(url));
        self
    }

    /// Whom to trust with TLS. Default [`TlsRoots::Platform`].
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

    /// Which addresses it may be read from. By default those it is given may be any, and a public server leads to public ones only
    /// ([`Reach::default`]); an address that somebody else has given wants [`Reach::public`].
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// A server that sends no media this long after it has accepted is given up, and the next address is dialled; from 100 ms to a day. Some
    /// servers accept before they have the stream. Default: as long as [`silence`](Self::silence), and 20 s at least where it is not
    /// RTMP.
    pub fn first_media(mut self, first_media: Duration) -> Self {
        self.first_media = Some(first_media);
        self
    }

    /// A server that sends no media for this long is given up, and dialled again; from 100 ms to a day. Default 10 s. HLS may be
    /// silent for three target durations, and 12 s, at least.
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

    /// The stream ends when the server says that this one has ended. Default: it is waited for. What has an end of its own (a file, an HLS
    /// playlist with `EXT-X-ENDLIST`) is played again from its beginning then.
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
                Err(bad) => found.push(bad.clone().into()),
                Ok(address) => {
                    if address.reveal().is_some_and(|url| url.contains(HIDDEN)) {
                        let reason =
                            "hidden (****): the source was written without what is secret in its address";
                        found.push(config("url", reason.to_owned()));
                    }
                    found.extend(address.problems());
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
