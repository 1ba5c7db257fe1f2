//! Every `unsafe` block of flowcast: owner types around libav's C pointers.
//!
//! Rules of this folder. One owner type per C pointer, with `Drop`; no raw pointer leaves a public (`pub(crate)`) function.
//! Every C result is looked at. C enums are read and passed as `c_int` (see `ffi`): a library newer than its headers may hold
//! values that the generated Rust enums do not have. Owners are `Send` where libav lets an object be used by any one thread
//! at a time, and not `Sync`.

#![allow(
    clippy::needless_pass_by_ref_mut,
    reason = "a call that changes what is behind a C pointer takes `&mut self`, which clippy cannot see"
)]

mod check;
mod decoder;
mod dict;
mod encoder;
mod ffi;
mod filter;
mod frame;
mod guard;
mod input;
mod io;
mod kind;
mod layout;
pub(crate) mod log;
mod memory;
mod output;
mod packet;
mod pool;
mod protocols;
mod resampler;
mod tracks;
mod upload;
mod version;

pub(crate) use check::Failure;
pub(crate) use decoder::{DecoderSetup, RawDecoder};
pub(crate) use dict::Dict;
#[cfg(test)]
pub(crate) use encoder::option_fits;
pub(crate) use encoder::{Rates, RawEncoder, VideoSetup, has_encoder};
#[cfg(test)]
pub(crate) use filter::filter_names;
pub(crate) use filter::{RawGraph, filter_options, has_filter, try_filter};
pub(crate) use frame::{PictureKey, PlaneMut, RawFrame, SoundKey};
pub(crate) use guard::Guard;
pub(crate) use input::{Input, Limits, Opening};
pub(crate) use io::{Io, Source};
pub(crate) use kind::{color_numbers, is_pixel_format, is_rgb};
pub(crate) use layout::Sound;
pub(crate) use output::Output;
pub(crate) use packet::RawPacket;
pub(crate) use pool::RawPool;
pub(crate) use protocols::{has_format, protocols};
pub(crate) use resampler::{Feed, RawResampler};
pub(crate) use version::{check_versions, configuration, licence, linked, major};
