//! Test media: real files where they are, clips made with the `ffmpeg` program, and other containers of either.

use super::process::{run, text};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENCODING: Duration = Duration::from_secs(120);

/// A file of the shared test media: under `FLOWCAST_TEST_MEDIA`, else beside the checkout in `shared/media`.
pub fn media(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("FLOWCAST_TEST_MEDIA")
        .map_or_else(|| super::checkout().join("../shared/media"), PathBuf::from);
    Some(directory.join(name)).filter(|file| file.is_file())
}

/// A clip to be made: a moving test picture in H.264, each frame different, with a tone in AAC.
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    /// Whole seconds.
    pub seconds: u32,
    /// Frames per second.
    pub rate: u32,
    /// Frames from one keyframe to the next.
    pub gop: u32,
    /// B-frames in a row; 0 for none.
    pub b_frames: u32,
    /// With sound.
    pub audio: bool,
    /// Width and height.
    pub size: (u32, u32),
}

impl Default for Clip {
    /// Two seconds of 320x180 at 25 frames a second, a keyframe each second, B-frames, sound.
    fn default() -> Self {
        Self { seconds: 2, rate: 25, gop: 25, b_frames: 2, audio: true, size: (320, 180) }
    }
}

impl Clip {
    /// Makes the clip; the extension says in which container.
    pub fn make(self, directory: &Path, name: &str) -> PathBuf {
        let file = directory.join(name);
        let seconds = self.seconds.to_string();
        let picture = format!("testsrc2=size={}x{}:rate={}", self.size.0, self.size.1, self.rate);
        let (gop, b_frames) = (self.gop.to_string(), self.b_frames.to_string());
        let mut arguments =
            vec!["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-t", &seconds, "-i", &picture];
        if self.audio {
            arguments.extend(["-f", "lavfi", "-t", &seconds, "-i", "sine=frequency=440:sample_rate=48000"]);
            arguments.extend(["-c:a", "aac", "-b:a", "96k", "-ac", "2"]);
        }
        arguments.extend(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-threads", "1"]);
        arguments.extend([
            "-g",
            &gop,
            "-keyint_min",
            &gop,
            "-sc_threshold",
            "0",
            "-bf",
            &b_frames,
            text(&file),
        ]);
        run("ffmpeg", arguments, ENCODING);
        file
    }
}

/// Makes a file with the `ffmpeg` program; arguments are separated by spaces.
pub fn make(directory: &Path, name: &str, arguments: &str) -> PathBuf {
    let file = directory.join(name);
    let all = format!("-nostdin -v error -y {arguments}");
    run("ffmpeg", all.split_whitespace().chain([text(&file)]), ENCODING);
    file
}

/// Where the first box of this type begins in an MP4: its size comes first, then its type.
#[track_caller]
pub fn box_at(mp4: &[u8], kind: &[u8; 4]) -> usize {
    mp4.windows(4).position(|window| window == kind).expect("such a box") - 4
}

/// The same packets in another container, which the extension of the new name says.
pub fn remux(file: &Path, directory: &Path, name: &str) -> PathBuf {
    let remuxed = directory.join(name);
    let arguments =
        ["-nostdin", "-v", "error", "-y", "-i", text(file), "-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy"];
    run("ffmpeg", arguments.into_iter().chain([text(&remuxed)]), ENCODING);
    remuxed
}
