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
    /// A connection that is silent this long is pinged. Default 30 s.
    pub ping: Duration,
    /// A connection that is silent this long is closed. Default 60 s.
    pub ping_timeout: Duration,
    /// From connection to the end of the RTMP handshake, that of TLS before it included. Default 5 s.
    pub handshake: Duration,
    /// From the handshake to publish or play. Default 10 s.
    pub command: Duration,
    /// Whether players get what was sent in the last tick at once per tag (`false`) or merged once a tick. Default
    /// `true`: it costs up to a tick (100 ms) of latency and saves most of the CPU of many players.
    pub merge: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            app: Some("live".to_owned()),
            max_connections: 1000,
            lobby_per_address: 16,
            first_media: Duration::from_secs(20),
            no_progress: Duration::from_secs(30),
            ping: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(60),
            handshake: Duration::from_secs(5),
            command: Duration::from_secs(10),
            merge: true,
        }
    }
}

impl ServerOptions {
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
