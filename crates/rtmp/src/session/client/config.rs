//! Settings of a client session.

use std::time::Duration;

use super::LoginAnswer;
use crate::limits::Limits;

/// How a client begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HandshakeForm {
    /// As the specification has it; every known server takes it.
    #[default]
    Simple,
    /// With the digest of Flash Player 9, for servers that want one; falls back to simple if the server has none.
    Digest,
}

/// Settings of a [`ClientSession`](super::ClientSession).
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Chunk size for what is sent, bytes, 1 to 16,777,215; announced right after `connect`. Default 60,000, what
    /// platforms are used to.
    pub chunk_size: u32,
    /// The server has to acknowledge at least once per this many bytes. Default 2,500,000.
    pub window: u32,
    /// What a player says it buffers, milliseconds. Default 3,000.
    pub buffer_millis: u32,
    /// Software name in `connect`. Some platforms refuse names that do not begin with `FMLE/3.0`, the default.
    pub flash_ver: String,
    /// Limits for what the server sends. Default `None`: [`Limits::player`] for a client that publishes,
    /// [`Limits::publisher`] for one that plays.
    pub limits: Option<Limits>,
    /// Whether `connect` announces Enhanced RTMP: codecs by FourCC, multitrack, ModEx, reconnect requests. Default false:
    /// there are plain servers that refuse a `connect` with values they do not know. Tags with Enhanced RTMP headers are
    /// sent either way.
    pub enhanced: bool,
    /// Form of the handshake. Default [`HandshakeForm::Simple`].
    pub handshake: HandshakeForm,
    /// The relays that the stream passes on its way from the server to who watches it, for
    /// [`Connect::via`](crate::command::Connect::via): said in `connect` by a client that relays what it plays. Default empty: nothing is said.
    pub via: String,
    /// What a server was answered that asked for a login, from [`ClientEvent::Login`](super::super::ClientEvent::Login) of
    /// the connection before. Default `None`.
    pub login: Option<LoginAnswer>,
    /// From the start to the end of the handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// For each answer the server owes: to `connect`, `createStream`, `publish` and `play`. Default 10 s.
    pub reply_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            chunk_size: 60_000,
            window: 2_500_000,
            buffer_millis: 3_000,
            flash_ver: "FMLE/3.0 (compatible; flowcast)".to_owned(),
            limits: None,
            enhanced: false,
            handshake: HandshakeForm::Simple,
            via: String::new(),
            login: None,
            handshake_timeout: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(10),
        }
    }
}
