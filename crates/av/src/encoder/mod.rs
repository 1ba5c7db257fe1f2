//! Encoders: raw pictures and samples in, packets out. One thread at a time; pushing a frame may take as long as encoding it.

mod audio;
mod level;
mod options;
mod settings;
mod video;

pub use crate::options::ThreadMode;
pub use audio::{AudioCodecKind, AudioEncoder, AudioSettings};
pub use settings::{RateControl, VideoCodecKind, VideoSettings};
pub use video::{Picture, VideoEncoder};
