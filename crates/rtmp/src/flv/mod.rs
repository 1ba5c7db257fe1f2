//! FLV: the tags that every part of flowcast passes on, and the file format they come from.
//!
//! An RTMP audio, video or data message *is* the body of an FLV tag, so [`Tag`] is the unit on both sides.
//! Specification: *Adobe Flash Video File Format 10.1*, annex E; for [`enhanced`] headers, Veovera's *Enhanced RTMP v2*.

pub mod enhanced;
mod error;
pub mod tag;
pub mod video;

pub use error::FlvError;
pub use tag::{Tag, TagBody, TagFlags, TagKind};
