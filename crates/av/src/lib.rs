//! libav for flowcast: probe, demux, decode, filter, resample, encode and mux, behind owned types.
//!
//! What comes in: media files and live inputs of any kind libav reads. What goes out: [`MediaInfo`], and [`Packet`]s in the
//! form FLV and MP4 want (H.264 with length prefixes and an avcC record, AAC without ADTS headers and an
//! `AudioSpecificConfig`), owning libav's buffer as [`bytes::Bytes`]. No libav or ffmpeg-next type is part of this
//! interface, and every `unsafe` block is in `sys`.
//!
//! Everything here blocks. Each handle is `Send` and works on the thread that calls it; an [`Interrupt`] ends a blocked
//! call from another thread or at a deadline.
//!
//! ```no_run
//! use flowcast_av::{Demuxer, Interrupt, OpenOptions};
//!
//! let interrupt = Interrupt::new();
//! let mut input = Demuxer::open("intro.mp4".as_ref(), &OpenOptions::default(), &interrupt)?;
//! for track in &input.media().tracks {
//!     println!("{}: {}", track.index, track.codec);
//! }
//! while let Some(packet) = input.read()? {
//!     println!("track {} dts {:?}: {} bytes", packet.track, packet.dts, packet.data.len());
//! }
//! # Ok::<(), flowcast_av::Error>(())
//! ```

mod adts;
mod av1;
mod bits;
mod blend;
mod codec;
mod connection;
mod convert;
mod decoder;
mod demuxer;
mod describe;
pub mod encoder;
mod error;
mod filter;
mod frame;
mod graph;
pub mod h264;
mod hardware;
mod hevc;
mod interrupt;
mod limits;
pub mod log;
mod media;
mod memory_muxer;
mod mp4_boxes;
mod mp4_tables;
mod muxer;
mod options;
mod opus;
mod origin;
mod outgoing;
mod packet;
mod probe;
mod protocol;
mod redact;
mod resampler;
mod sample;
mod screen;
#[cfg(feature = "serde")]
mod serial;
mod still;
mod sys;
mod tag_count;
mod time;
mod versions;
mod vpx;
mod watched;

pub use blend::{Rgba, Stamp};
pub use codec::{Codec, TrackKind};
pub use connection::{Connection, NetworkMuxer};
pub use convert::Conversion;
pub use decoder::{AudioDecoder, DecoderOptions, VideoDecoder};
pub use demuxer::Demuxer;
pub use error::Error;
pub use filter::{Scaling, VideoFilter, VideoTarget, is_rgb};
pub use frame::{AudioFormat, AudioFrame, Canvas, FramePool, VideoFormat, VideoFrame};
pub use graph::{FILTERS, check_filters};
pub use hardware::{EncoderReport, Hardware};
pub use interrupt::Interrupt;
pub use limits::InputLimits;
pub use media::{AudioInfo, ColorInfo, FieldOrder, MediaInfo, TrackInfo, VideoInfo};
pub use memory_muxer::{MemoryMuxer, Written};
pub use muxer::{Muxer, MuxerOptions};
pub use options::{OpenOptions, Probe, Protocols, ThreadMode};
pub use packet::Packet;
pub use protocol::{Direction, has_protocol, require_protocol};
pub use resampler::Resampler;
pub use sample::{SampleSpec, sample_clip};
pub use still::{Jpeg, JpegMaker, JpegOptions};
pub use time::{Ratio, TimeBase};
pub use versions::{Version, Versions, versions};

/// What is in a local file.
///
/// # Errors
/// As for [`Demuxer::open`].
///
/// # Blocking
/// As for [`Demuxer::open`].
pub fn probe(
    path: &std::path::Path,
    options: &OpenOptions,
    interrupt: &Interrupt,
) -> Result<MediaInfo, Error> {
    Demuxer::open(path, options, interrupt).map(|input| input.media().clone())
}

/// The program in README.md, compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
