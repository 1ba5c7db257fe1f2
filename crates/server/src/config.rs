//! Settings of an embedded server.

use std::time::Duration;

use flowcast_core::PublishOptions;
use flowcast_rtmp::session::ServerConfig;

use crate::error::Error;

/// The port RTMP servers listen on.
pub const DEFAULT_PORT: u16 = 1935;
/// The port of RTMPS.
pub(crate) const RTMPS_PORT: u16 = 443;
/// Longest a deadline may be.
const MAX_STEP: Duration = Duration::from_secs(3600);

/// Settings of an [`RtmpServer`](crate::RtmpServer). The port is part of the address a server is made with, see
/// [`DEFAULT_PORT`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The application clients connect to; others are refused. `None` accepts any. Default `live`.
    pub app: Option<String>,
    /// Connections at once, those on the air included. When there are so many, whoever comes takes the place of the one that has
    /// been there longest without publishing or playing, if that is a second or more. Default 1000.
    pub max_connections: usize,
    /// Connections of one address that have not yet published or played; the addresses of an IPv6 /64 count as one. Default
    /// 16.
    pub lobby_per_address: usize,
    /// Whether [`lobby_per_address`](Self::lobby_per_address) does not hold for programs on the same machine: twenty of them
    /// may well start at once. Default true; behind a proxy on the same machine the limit has to be the proxy's.
    pub crowd_spares_loopback: bool,
    /// What becomes of addresses that say wrong keys and play tokens.
    pub failures: FailurePolicy,
    /// How long a hook may take to answer before whoever waits for it is refused. Default 5 s.
    pub admission: Duration,
    /// Threads that call hooks and the program's own key store, 1 to 64, made when they are needed. So many may block at once
    /// before others wait for them. Default 4.
    pub hook_threads: usize,
    /// Bytes of unfinished messages of all connections together; what is over it ends the connections that hold more than
    /// their even share. At least 1 MiB; a keyframe of each publisher should fit. Default 256 MiB.
    pub assembly: usize,
    /// What one publisher may send, in thousand bits a second, protocol included; a second's worth may come at once. Who sends
    /// more is slowed down, and disconnected after using all of it for 10 s. Default `None`, as much as comes.
    pub publisher_kbps: Option<u32>,
    /// Chunk size of what is sent, bytes, 128 to 16,777,215. With another size than the default, every player's chunks are made
    /// anew, which costs CPU. Default 60,000.
    pub chunk_size: u32,
    /// Whether a player that joins gets the newest GOP at once and so a picture, late by that much; otherwise it waits for the next
    /// keyframe. Default true.
    pub gop_cache: bool,
    /// A publisher that sent no media this long after it was accepted is disconnected. Default 20 s.
    pub first_media: Duration,
    /// A publisher that sent no media for this long is disconnected. Default 30 s.
    pub no_progress: Duration,
    /// A publisher that hangs up or fails without ending its stream is waited for this long: its players, pushes and
    /// recordings stay up, and when it is back, their time goes on. Default 30 s; zero ends the stream at once.
    pub publisher_grace: Duration,
    /// A publisher that has sent no media for this long may be replaced by another one with the same key. Default 5 s; zero
    /// replaces any at once.
    pub takeover_after: Duration,
    /// A connection that is silent this long is pinged. Default 30 s.
    pub ping: Duration,
    /// A connection that is silent this long is closed. Default 60 s.
    pub ping_timeout: Duration,
    /// From connection to the end of the RTMP handshake, that of TLS before it included. Default 5 s.
    pub handshake: Duration,
    /// From the handshake to publish or play. Default 10 s.
    pub command: Duration,
    /// What a publisher sends in this time goes to each player in one write, up to 350 ms; more is taken for that, and less
    /// than 5 ms for 5 ms. It is latency that most players do not notice, and saves most of the CPU of many of them.
    /// [`Duration::ZERO`] sends each tag at once. Default 100 ms. Streams of the engine itself are merged over
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
            publisher_kbps: None,
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
        if self.publisher_kbps == Some(0) {
            return fail("publisher_kbps", "must be at least 1");
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

/// What becomes of an address that says wrong keys or play tokens. Its connections wait for the answer, which costs no thread; those
/// that are on the air already are not touched. The addresses of an IPv6 /64 count as one; ten thousand are remembered.
///
/// Behind a proxy all come from the proxy's address: then set [`ban_after`](Self::ban_after) high.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailurePolicy {
    /// How long the first failure waits for its answer, at least; it doubles with each within the window. Default 250 ms.
    pub first_delay: Duration,
    /// The longest wait. Default 5 s.
    pub max_delay: Duration,
    /// For how long a failure counts. Default 60 s.
    pub window: Duration,
    /// So many failures within the window, and the address is not let in at all for a while. 1 to 1000. Default 20.
    pub ban_after: usize,
    /// For how long. Default 60 s.
    pub ban_for: Duration,
    /// Whether programs on the same machine may fail as often as they like. Default false.
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
    fn check(&self) -> Result<(), Error> {
        let fail = |name, reason| Err(Error::Options { name, reason });
        if !(1..=1000).contains(&self.ban_after) {
            return fail("failures.ban_after", "must be 1 to 1000");
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
        let changes: [(&str, Change); 6] = [
            ("hook_threads", |options| options.hook_threads = 0),
            ("chunk_size", |options| options.chunk_size = 127),
            ("max_connections", |options| options.max_connections = 0),
            ("deadlines", |options| options.admission = Duration::ZERO),
            ("publisher_kbps", |options| options.publisher_kbps = Some(0)),
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
