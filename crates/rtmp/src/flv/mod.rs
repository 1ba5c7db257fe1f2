//! FLV: the tags that every part of flowcast passes on, and the file format they come from.
//!
//! An RTMP audio, video or data message *is* the body of an FLV tag, so [`Tag`] is the unit on both sides.
//! Specification: *Adobe Flash Video File Format 10.1*, annex E; for [`enhanced`] headers, Veovera's *Enhanced RTMP v2*.
//!
//! Files: bytes into a [`FlvReader`], tags out; tags into the [`FlvWriter`], bytes out.

pub mod asc;
pub mod audio;
pub mod avcc;
mod bits;
pub mod coded;
pub mod data;
pub mod enhanced;
mod error;
mod in_band;
pub mod opus;
pub mod picture;
pub mod reader;
pub mod script;
pub mod silence;
pub mod sound;
pub mod sps;
pub mod tag;
pub mod video;
pub mod writer;

pub use asc::AudioSpecificConfig;
pub use avcc::AvcConfig;
pub use error::FlvError;
pub use in_band::InBandSets;
pub use reader::{FileHeader, FlvReader, TagHeader};
pub use script::Metadata;
pub use tag::{Codec, Tag, TagBody, TagFlags, TagKind};
pub use writer::FlvWriter;
