//! AMF0, the value format of RTMP commands and FLV script tags.
//!
//! Bytes come in through [`decode`], [`decode_all`] or a [`Decoder`]; [`Value`]s go out through [`encode`].
//! Specification: *Action Message Format – AMF 0*, Adobe, 2007. AMF3 values, which AMF0 can switch to, are decoded into
//! the AMF0 values nearest to them; none are written.
//!
//! Decoding does not recurse and allocates nothing for a count that was only announced, so that nesting or counts on
//! the wire cost no more than the bytes they are made of. Depth and number of values are bounded by
//! [`Limits`](crate::limits::Limits).

mod decode;
mod encode;
mod error;
mod marker;
mod value;

pub use decode::{Decoder, decode, decode_all};
pub use encode::{encode, encode_all};
pub use error::AmfError;
pub(crate) use marker::AVM_PLUS;
pub use value::Value;
