//! The API, asked as clients ask it: real requests to a server on a free port.
#![cfg(feature = "libav")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod access;
mod document;
mod events;
mod keys;
mod limits;
mod live;
#[cfg(feature = "page")]
mod page;
mod playlists;
mod streams;
mod support;
