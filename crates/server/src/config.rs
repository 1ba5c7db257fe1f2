//! Settings of an embedded server.

use std::time::Duration;

use flowcast_core::{BitRate, PublishOptions};
use flowcast_rtmp::session::ServerConfig;

use crate::error::Error;

/// The port RTMP servers listen on.
pub const DEFAULT_PORT: u16 = 1935;
/// The port of RTMPS.
pub(crate) const RTMPS_PORT: u16 = 443;
/// The longest a deadline may be.
const MAX_STEP: Duration = Duration::from_secs(3600);

/// Settings of an [`RtmpServer`](crate::RtmpServer). The port is part of the address a server is made with, see
/// [`DEFAULT_PORT`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The application clients connect to; others are refused. `None` accepts any. Default `live`.
    pub app: Option<String>,
    /// The most connections at once, those on the air included. When the server is full, a new connection takes the
    /// place of the one that has been there longest without publishing or playing, if that is a second or more.
    /// Default 1000.
    pub max_connections: usize,
    /// The most connections per address that have not yet published or played; the addresses of an IPv6 /64 count as
    /// one. Default 16.
    pub lobby_per_address: usize,
    /// Whether programs on the same machine are exempt from [`lobby_per_address`](Self::lobby_per_address): twenty of
    /// them may well start at once. Default true. Behind a proxy on the same machine, the proxy has to enforce the
    /// limit.
    pub crowd_spares_loopback: bool,
    /// What happens to addresses that send wrong keys and play tokens.
    pub failures: FailurePolicy,
    /// How long a hook may take to answer before the client that waits for it is refused. Default 5 s.
    pub admission: Duration,
    /// Threads that call hooks and the program's own key store, 1 to 64, started when they are needed. This many
    /// calls may block at once before others wait. Default 4.
    pub hook_threads: usize,
    /// The most bytes of unfinished messages, over all connections. Above it, the connections that hold more than an
    /// even share end. At least 1 MiB; a keyframe of each publisher should fit. Default 256 MiB.
    pub assembly: usize,
    /// The most one publisher may send, protocol included, at least 1 kbit/s; one second's worth may come at once. A publisher that sends more is slowed down, and disconnected after 10 s at the limit. Default `None`,
    /// no limit.
    pub publisher_bit_rate: Option<BitRate>,
    /// Chunk size of what is sent, in bytes, 128 to 16,777,215. With another size than the default, the chunks are
    /// made for each player separately, which costs CPU. Default 60,000.
    pub chunk_size: u32,
    /// Whether a player that joins gets the newest GOP at once. It then has a picture immediately, but is late by the
    /// length of that GOP; otherwise it waits for the next keyframe. Default true.
    pub gop_cache: bool,
    /// A publisher that has sent no media this long after it was accepted is disconnected. Default 20 s.
    pub first_media: Duration,
    /// A publisher that has sent no media for this long is disconnected. Default 30 s.
    pub no_progress: Duration,
    /// How long a stream waits for a publisher that hangs up or fails without ending it: players, pushes and
    /// recordings stay up, and when the publisher is back, their time goes on. Default 30 s; zero ends the stream at
    /// once.
    pub publisher_grace: Duration,
    /// A publisher that has sent no media for this long may be replaced by another one with the same key. Default 5
    /// s; zero allows it at any time.
    pub takeover_after: Duration,
    /// A connection that is silent this long is pinged. Default 30 s.
    pub ping: Duration,
    /// A connection that is silent this long is closed. Default 60 s.
    pub ping_timeout: Duration,
    /// From the connection to the end of the RTMP handshake, including that of TLS. Default 5 s.
    pub handshake: Duration,
    /// From the handshake to `publish` or `play`. Default 10 s.
    pub command: Duration,
    /// What a publisher sends in this time goes to each player in one write. 5 to 350 ms; values outside are moved
    /// into that range. It adds latency that most players do not notice, and saves most of the CPU that many players
    /// cost. [`Duration::ZERO`] sends each tag at once. Default 100 ms. Streams of the engine itself are merged over
    /// [`Config::tick`](flowcast_core::Config::tick) instead.
    pub merge: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            app: Some("live".to_owned()),
            max_connections: 1000,
            lobby_per_address: 16,
            crowd_spares_loopback: true,
            failures: FailurePolicy::default(),
            admission: Duration::from_secs(5),
            hook_threads: 4,
            assembly: 256 << 20,
            publisher_bit_rate: None,
            chunk_size: flowcast_core::CHUNK_SIZE,
            gop_cache: true,
            first_media: Duration::from_secs(20),
            no_progress: Duration::from_secs(30),
            publisher_grace: Duration::from_secs(30),
            takeover_after: Duration::from_secs(5),
            ping: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(60),
            handshake: Duration::from_secs(5),
            command: Duration::from_secs(10),
            merge: Duration::from_millis(100),
        }
    }
}

impl ServerOptions {
    /// Refuses settings that cannot work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |name, reason| Err(Error::Options { name, reason });
        if self.max_connections == 0 || self.lobby_per_address == 0 {
            return fail("max_connections, lobby_per_address", "must be at least 1");
        }
        if !(128..=0xFF_FFFF).contains(&self.chunk_size) {
            return fail("chunk_size", "must be 128 to 16,777,215 bytes");
        }
        if !(1..=64).contains(&self.hook_threads) {
            return fail("hook_threads", "must be 1 to 64");
        }
        if self.assembly < 1 << 20 {
            return fail("assembly", "must be at least 1 MiB");
        }
        if self.publisher_bit_rate.is_some_and(|limit| limit < BitRate::from_kbps(1)) {
            return fail("publisher_bit_rate", "must be at least 1 kbit/s");
        }
        let steps = [self.handshake, self.command, self.admission, self.first_media, self.no_progress];
        if steps.iter().chain([&self.ping, &self.ping_timeout]).any(|step| step.is_zero() || *step > MAX_STEP)
        {
            return fail("deadlines", "each must be more than zero and at most an hour");
        }
        self.failures.check()
    }

    /// The window players' writes are merged over; `None` to send each tag at once.
    pub(crate) fn merge_window(&self) -> Option<Duration> {
        const LEAST: Duration = Duration::from_millis(5);
        const MOST: Duration = Duration::from_millis(350);
        (!self.merge.is_zero()).then(|| self.merge.clamp(LEAST, MOST))
    }

    /// How a publisher is put on the air.
    pub(crate) fn publish(&self) -> PublishOptions {
        let mut options = PublishOptions::default();
        (options.grace, options.tick) = (self.publisher_grace, self.merge_window());
        options.gop_cache = self.gop_cache;
        options
    }

    /// The settings of each session.
    pub(crate) fn session(&self) -> ServerConfig {
        ServerConfig {
            chunk_size: self.chunk_size,
            handshake_timeout: self.handshake,
            command_timeout: self.command,
            ping_interval: self.ping,
            ping_timeout: self.ping_timeout,
            ..ServerConfig::default()
        }
    }
}

/// What happens to an address that sends wrong keys or play tokens. Its connections wait for the answer, which costs
/// no thread; those that are already on the air are not touched. The addresses of an IPv6 /64 count as one; ten
/// thousand are remembered.
///
/// Behind a proxy, all clients have the proxy's address: set [`ban_after`](Self::ban_after) high.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailurePolicy {
    /// How long the answer to the first failure waits; it doubles with each failure within the window. Default 250
    /// ms; at most [`max_delay`](Self::max_delay).
    pub first_delay: Duration,
    /// The longest wait. Default 5 s.
    pub max_delay: Duration,
    /// How long a failure counts. Default 60 s.
    pub window: Duration,
    /// After this many failures within the window, the address is turned away for a while. 1 to 1000. Default 20.
    pub ban_after: usize,
    /// How long it is turned away. Default 60 s.
    pub ban_for: Duration,
    /// Whether failures of programs on the same machine do not count. Default false.
    pub spare_loopback: bool,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(5),
            window: Duration::from_secs(60),
            ban_after: 20,
            ban_for: Duration::from_secs(60),
            spare_loopback: false,
        }
    }
}

impl FailurePolicy {
    /// Refuses what cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::Options`].
    #[doc(hidden)]
    pub fn check(&self) -> Result<(), Error> {
        let fail = |name, reason| Err(Error::Options { name, reason });
        if !(1..=1000).contains(&self.ban_after) {
            return fail("failures.ban_after", "must be 1 to 1000");
        }
        if self.first_delay > self.max_delay {
            return fail("failures.first_delay", "must be at most max_delay");
        }
        if self.max_delay > Duration::from_secs(60) || self.window > MAX_STEP {
            return fail("failures", "max_delay must be at most a minute, window at most an hour");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        assert!(ServerOptions::default().check().is_ok());
        type Change = fn(&mut ServerOptions);
        let changes: [(&str, Change); 7] = [
            ("hook_threads", |options| options.hook_threads = 0),
            ("chunk_size", |options| options.chunk_size = 127),
            ("max_connections", |options| options.max_connections = 0),
            ("deadlines", |options| options.admission = Duration::ZERO),
            ("publisher_bit_rate", |options| options.publisher_bit_rate = Some(BitRate::from_bps(999))),
            ("failures.first_delay", |options| options.failures.first_delay = Duration::from_secs(6)),
            ("failures.ban_after", |options| options.failures.ban_after = 0),
        ];
        for (name, change) in changes {
            let mut options = ServerOptions::default();
            change(&mut options);
            let error = options.check().expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
