//! Client and server sessions: from the first byte of the handshake to the last tag.
//!
//! A session is plain data. The caller reads the socket and calls `handle_input(now, bytes)`, takes events with
//! `poll_event` until there are none, and writes what `wire()` holds, until it is empty. `next_timeout` says when
//! `handle_timeout` wants to be called. Nothing blocks, nothing is locked, and the whole session may be sent to
//! another thread between any two calls.

mod aggregate;
mod client;
mod event;
mod link;
mod queue;
mod server;

pub use client::{ClientConfig, ClientRole, ClientSession, HandshakeForm, LoginAnswer};
pub use event::{ClientEvent, PlayRequest, PublishRequest, Reject, ServerEvent};
pub use server::{NAME_PREFIXES, ServerConfig, ServerSession};
