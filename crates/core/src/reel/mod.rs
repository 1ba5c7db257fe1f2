//! Reels: sources cut to fit once, then played by any number of streams without libav.
//!
//! A reel is a plain, playable `.flv` and beside it an index, `.reel`. Its data is divided into *slots* of 100 ms of the
//! item's time in file order, so that a tick of a stream is one positioned read. The index holds what FLV cannot say: the
//! slots with their checksums, the keyframes, the headers, the exact length of a lap.
//!
//! In: a source file and a [`Cutter`] that makes tags of it. Out: a [`Reel`], which can be followed while it grows. The
//! [`Store`] owns the directory, one per engine; its jobs run on threads of their own. Nothing here needs libav: a source
//! that is a fitting FLV already ([`foreign`]) only gets an index.

mod cutter;
mod foreign;
mod identity;
mod index;
mod note;
mod reader;
mod slots;
mod store;
mod track;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use cutter::{Cut, Cutter, Recipe};
pub(crate) use reader::Reel;
pub(crate) use slots::SLOT_MS;
pub(crate) use store::{Store, is_stored, make_room};
