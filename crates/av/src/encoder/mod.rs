//! Encoders: raw pictures and samples in, packets out. One thread at a time; pushing a frame may take as long as encoding it.

mod audio;
mod level;
mod options;
pub(crate) mod sessions;
mod settings;
mod video;

pub use crate::options::ThreadMode;
pub use audio::{AudioCodecKind, AudioEncoder, AudioSettings};
pub(crate) use options::Family;
pub use sessions::hardware_sessions;
pub use settings::{RateControl, VideoCodecKind, VideoSettings};
pub(crate) use video::OpenFailure;
pub use video::{Picture, VideoEncoder};
