//! What a file decodes to, and whether that is another file's frames over and over.

use super::process::{Peer, run, text};
use std::fmt;
use std::path::Path;
use std::time::Duration;

const DECODING: Duration = Duration::from_secs(120);

/// What decoding a file's video gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// One hash per frame, in the order of presentation.
    pub frames: Vec<String>,
    /// What the decoder complained of; empty if all is well.
    pub complaints: String,
}

/// Decodes a file's first video track, every frame once, with the `ffmpeg` program.
pub fn decode(file: &Path) -> Decoded {
    let arguments = [
        "-nostdin",
        "-v",
        "error",
        "-i",
        text(file),
        "-map",
        "0:v:0",
        every_frame(),
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ];
    let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), arguments);
    ffmpeg.wait_success(DECODING);
    let frames = ffmpeg
        .output()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit(',').next())
        .map(|hash| hash.trim().to_owned())
        .collect();
    Decoded { frames, complaints: ffmpeg.errors() }
}

/// The hashes of a file's frames; it must decode without a complaint.
pub fn frame_hashes(file: &Path) -> Vec<String> {
    let Decoded { frames, complaints } = decode(file);
    assert!(complaints.is_empty(), "{} decodes with complaints:\n{complaints}", file.display());
    frames
}

/// A picture as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// When, in milliseconds.
    pub millis: i64,
    /// Width and height.
    pub size: (u32, u32),
    /// Of its pixels.
    pub checksum: String,
}

/// The pictures of a file, an address or a playlist, in whatever size each of them is; `ffmpeg` must decode it without a complaint.
///
/// `ffprobe` 5.1 breaks down where the size changes.
pub fn shown(file: &Path) -> Vec<Shown> {
    let decoded = ["-nostdin", "-v", "level+info", "-nostats", "-xerror", "-i", text(file)];
    let filtered = ["-map", "0:v:0", "-vf", "showinfo", every_frame(), "passthrough", "-f", "null", "-"];
    let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), [&decoded[..], &filtered[..]].concat());
    ffmpeg.wait_success(DECODING);
    let said = ffmpeg.errors();
    let complaints: Vec<_> =
        said.lines().filter(|line| line.contains("[error]") || line.contains("[fatal]")).collect();
    assert!(complaints.is_empty(), "{} decodes with complaints:\n{complaints:#?}", file.display());
    said.lines().filter_map(shown_line).collect()
}

fn shown_line(line: &str) -> Option<Shown> {
    let word = |name: &str| line.split_once(name)?.1.split_whitespace().next();
    let seconds: f64 = word(" pts_time:")?.parse().ok()?;
    let (width, height) = word(" s:")?.split_once('x')?;
    Some(Shown {
        millis: (seconds * 1000.0).round() as i64,
        size: (width.parse().ok()?, height.parse().ok()?),
        checksum: word(" checksum:")?.to_owned(),
    })
}

/// The packets in a file's first track of a kind (`v` or `a`).
pub fn packet_count(file: &Path, kind: &str) -> usize {
    let stream = format!("{kind}:0");
    let arguments = [
        "-v",
        "error",
        "-select_streams",
        &stream,
        "-show_entries",
        "packet=size",
        "-of",
        "csv=p=0",
        text(file),
    ];
    run("ffprobe", arguments, DECODING).lines().filter(|line| !line.trim().is_empty()).count()
}

/// The option that keeps ffmpeg from adding or leaving out frames: renamed in 5.1, the old name is gone later.
fn every_frame() -> &'static str {
    static NEW_NAME: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let is_new =
        NEW_NAME.get_or_init(|| run("ffmpeg", ["-v", "error", "-h", "full"], DECODING).contains("-fps_mode"));
    if *is_new { "-fps_mode" } else { "-vsync" }
}

/// How a recording follows a looped file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Laps {
    /// The file's frame the recording starts with.
    pub first: usize,
    /// How often it passed from the file's last frame to its first.
    pub seams: usize,
    /// Frames at the end that a cut in the middle of a group left without their neighbours.
    pub cut: usize,
}

impl fmt::Display for Laps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from frame {}, {} seams, {} frames cut", self.first, self.seams, self.cut)
    }
}

/// Checks that a recording is the file's frames in order, lap after lap, from any frame on.
///
/// # Errors
///
/// The first frame that is not the one that should come. The last few frames are let pass: where a stream ends between a
/// frame and the B-frames that are shown before it, those are missing.
pub fn laps(recorded: &[String], file: &[String]) -> Result<Laps, String> {
    const REORDERED: usize = 4;
    if file.is_empty() || recorded.is_empty() {
        return Err(format!("{} frames recorded of a file of {}", recorded.len(), file.len()));
    }
    let matching = |first: usize| {
        recorded
            .iter()
            .zip(file.iter().cycle().skip(first))
            .take_while(|(frame, expected)| frame == expected)
            .count()
    };
    let (matched, first) = (0..file.len())
        .map(|first| (matching(first), first))
        .max_by_key(|&(matched, first)| (matched, std::cmp::Reverse(first)))
        .unwrap_or_default();
    let cut = recorded.len().saturating_sub(matched);
    if cut > REORDERED {
        return Err(format!(
            "frame {matched} of {} is not frame {} of the file's {} (recorded from its frame {first})",
            recorded.len(),
            (first + matched) % file.len(),
            file.len(),
        ));
    }
    Ok(Laps { first, seams: (first + matched - 1) / file.len(), cut })
}
