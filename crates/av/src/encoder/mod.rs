//! Encoders: raw pictures and samples in, packets out. One thread at a time; pushing a frame may take as long as encoding it.

mod audio;
mod video;

pub use audio::{AudioEncoder, AudioSettings};
pub use video::{Picture, VideoEncoder, VideoSettings};
