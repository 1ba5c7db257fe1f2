//! The clip that every stream plays: made here, once, as MP4 and as FLV with the same packets.

use std::path::Path;

use flowcast::av::{SampleSpec, sample_clip};

use crate::Result;

pub(crate) const WIDTH: u32 = 1280;
pub(crate) const HEIGHT: u32 = 720;
pub(crate) const FPS: u32 = 30;
/// Two seconds.
pub(crate) const GOP_FRAMES: u32 = 2 * FPS;

/// Makes `clip.mp4` and `clip.flv` in `directory`.
pub(crate) fn make(directory: &Path) -> Result<()> {
    let spec = SampleSpec {
        width: WIDTH,
        height: HEIGHT,
        fps: FPS,
        seconds: 20.0,
        gop_frames: GOP_FRAMES,
        b_frames: 2,
        bitrate: 2_520_000,
        ..SampleSpec::default()
    };
    for name in ["clip.mp4", "clip.flv"] {
        sample_clip(&directory.join(name), &spec)?;
    }
    Ok(())
}
