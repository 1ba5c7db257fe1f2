//! `/api/v1`: what programs and pages ask of the engine, and have it do.
//!
//! In: requests that are allowed. Out: answers. Each file has one subject; what blocks in the engine runs where it may.

pub(crate) mod cluster;
pub(crate) mod judge;
pub(crate) mod keys;
pub(crate) mod outputs;
pub(crate) mod playlists;
pub(crate) mod room;
pub(crate) mod schedules;
pub(crate) mod source;
pub(crate) mod storage;
pub(crate) mod streams;
