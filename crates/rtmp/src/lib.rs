//! RTMP and FLV as plain data and state machines: no sockets, no threads, no clock.
//!
//! Bytes come in through `handle_input(now, bytes)`; events come out of `poll_event`, bytes to send out of
//! [`wire::WireBuf`]. Time is an argument everywhere, so that a test can run a session of hours in microseconds.
#![forbid(unsafe_code)]

pub mod amf0;
pub mod capability;
pub mod chunk;
pub mod command;
pub mod error;
pub mod flv;
pub mod handshake;
pub mod key;
pub mod limits;
pub mod message;
pub mod session;
pub mod time;
pub mod url;
pub mod wire;

/// The program in README.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
