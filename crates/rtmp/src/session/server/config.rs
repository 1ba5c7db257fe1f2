//! Settings of a server session.

use std::time::Duration;

use crate::limits::Limits;

/// Settings of a [`ServerSession`](super::ServerSession).
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Chunk size for what is sent, bytes, 1 to 16,777,215. Large chunks cost fewer headers; what is sent in one chunk
    /// cannot be interrupted by other chunk streams. Default 60,000.
    pub chunk_size: u32,
    /// The client has to acknowledge at least once per this many bytes. Small windows stop clients that wait for the
    /// server's acknowledgement. Default 2,500,000.
    pub window: u32,
    /// Bandwidth told to the client as Set Peer Bandwidth, bytes, dynamic. Default 2,500,000.
    pub peer_bandwidth: u32,
    /// Limits until a publish or play is accepted. Default [`Limits::before_auth`].
    pub before_auth: Limits,
    /// Limits of an accepted publisher. Default [`Limits::publisher`].
    pub publisher: Limits,
    /// Limits of an accepted player. Default [`Limits::player`].
    pub player: Limits,
    /// Bytes kept while a publish or play waits for its decision; the caller should stop reading meanwhile.
    /// At least one read buffer. Default 256 KiB.
    pub held_bytes: usize,
    /// Message streams a connection may create. Default 8.
    pub message_streams: u32,
    /// Longest application name, bytes. Default 1024.
    pub app_bytes: usize,
    /// From the first byte to the end of the handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// From the end of the handshake to a publish or play. Default 10 s.
    pub command_timeout: Duration,
    /// A peer that was silent this long is pinged. Default 30 s.
    pub ping_interval: Duration,
    /// A peer that was silent this long, pings or not, is gone. Default 60 s.
    pub ping_timeout: Duration,
    /// How long a client that ended its stream may take to close the connection. Default 5 s.
    pub linger: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            chunk_size: 60_000,
            window: 2_500_000,
            peer_bandwidth: 2_500_000,
            before_auth: Limits::before_auth(),
            publisher: Limits::publisher(),
            player: Limits::player(),
            held_bytes: 256 << 10,
            message_streams: 8,
            app_bytes: 1024,
            handshake_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(60),
            linger: Duration::from_secs(5),
        }
    }
}
