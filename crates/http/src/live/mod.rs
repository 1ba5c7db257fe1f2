//! `/live`: what is on the air, for players.
//!
//! In: names that players ask for, as on the RTMP server. Out: HTTP-FLV, HLS, a picture, and what is playing. [`access`] says who may; [`tape`]
//! is a stream as FLV, which [`driver`] writes on the stream's thread and [`flv`] reads for each player; [`shelves`] are streams as HLS, which
//! are made while somebody asks for them.

mod access;
mod driver;
pub(crate) mod flv;
pub(crate) mod hls;
pub(crate) mod now;
pub(crate) mod picture;
mod shelves;
mod tape;

pub(crate) use driver::Channels;
pub(crate) use shelves::Shelves;
