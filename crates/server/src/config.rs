//! Settings of an embedded server.

use std::time::Duration;

use flowcast_rtmp::session::ServerConfig;

/// Settings of an [`RtmpServer`](crate::RtmpServer).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The application clients connect to; others are refused. `None` accepts any. Default `live`.
    pub app: Option<String>,
    /// Connections at once, those on the air included. Default 1000.
    pub max_connections: usize,
    /// Connections of one address that have not yet published or played. Default 16. Programs on the same machine are
    /// not counted: twenty of them may well start at once.
    pub lobby_per_address: usize,
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
    /// From connection to the end of the RTMP handshake. Default 5 s.
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
    /// The window players' writes are merged over; `None` to send each tag at once.
    pub(crate) fn merge_window(&self) -> Option<Duration> {
        const LEAST: Duration = Duration::from_millis(5);
        const MOST: Duration = Duration::from_millis(350);
        (!self.merge.is_zero()).then(|| self.merge.clamp(LEAST, MOST))
    }

    /// The settings of each session.
    pub(crate) fn session(&self) -> ServerConfig {
        ServerConfig {
            chunk_size: flowcast_core::live::CHUNK_SIZE,
            handshake_timeout: self.handshake,
            command_timeout: self.command,
            ping_interval: self.ping,
            ping_timeout: self.ping_timeout,
            ..ServerConfig::default()
        }
    }
}
