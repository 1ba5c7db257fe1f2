//! The kinds of files that recordings are, and what a kind has to do to be an output.
//!
//! In: tags, on the writer's thread. Out: files. The driver, its queue and the thread know nothing of FLV; a format knows nothing
//! of the stream, of its ring, or of what waits.

use std::fmt;
use std::io;
use std::path::Path;

use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::tag::{Codec, Tag};
use flowcast_rtmp::flv::video::VideoCodec;

use crate::words::words;

/// The kind of file that a recording is; see [`Output::format`](crate::Output::format). All can be played while they grow, and after the process
/// was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FileFormat {
    /// Flash Video, which holds every codec that a stream can have. Changes of the codec configuration stay in the file.
    #[default]
    Flv,
    /// MPEG-4, ISO/IEC 14496-12: H.264, HEVC, AV1, VP9; AAC, MP3, Opus. In fragments while it grows; at its end made a plain file with one
    /// index (`moov`) behind the media, in place. Until then about five bytes are kept in memory for each picture and frame of sound: 2 MB an
    /// hour at 60 fps.
    Mp4,
    /// Matroska: H.264, HEVC, AV1, VP8, VP9; AAC, MP3, Opus. Needs the feature `libav`.
    Mkv,
    /// An MPEG-2 transport stream: H.264, HEVC; AAC, MP3, Opus. It can be cut anywhere. Needs the feature `libav`.
    MpegTs,
}

words!(FileFormat, "format of recordings", Flv = "flv", Mp4 = "mp4", Mkv = "mkv", MpegTs = "mpegts",);

impl FileFormat {
    /// The format that the extension of a file's name says: `mp4`, `m4v` and `m4a`; `mkv` and `mka`; `ts` and `mts`. FLV for all others.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match extension.as_str() {
            "mp4" | "m4v" | "m4a" => Self::Mp4,
            "mkv" | "mka" => Self::Mkv,
            "ts" | "mts" => Self::MpegTs,
            _ => Self::Flv,
        }
    }

    /// Whether this build can write it.
    pub(crate) const fn is_built(self) -> bool {
        cfg!(feature = "libav") || matches!(self, Self::Flv | Self::Mp4)
    }

    /// Whether it holds what is coded so.
    pub(super) const fn takes(self, codec: Codec) -> bool {
        use AudioCodec::{Aac, Mp3, Mp38k, Opus};
        match (self, codec) {
            (Self::Flv, _) => true,
            (_, Codec::Audio(codec)) => matches!(codec, Aac | Mp3 | Mp38k | Opus),
            (_, Codec::Video(VideoCodec::Avc | VideoCodec::Hevc)) => true,
            (Self::Mp4, Codec::Video(codec)) => matches!(codec, VideoCodec::Av1 | VideoCodec::Vp9),
            (Self::Mkv, Codec::Video(codec)) => {
                matches!(codec, VideoCodec::Av1 | VideoCodec::Vp8 | VideoCodec::Vp9)
            }
            (Self::MpegTs, Codec::Video(_)) => false,
        }
    }
}

/// A codec that a format does not hold, as the cause of an error of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotHeld {
    pub(super) codec: &'static str,
    pub(super) format: FileFormat,
}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be recorded as {}", self.codec, self.format)
    }
}

impl std::error::Error for NotHeld {}

impl From<NotHeld> for io::Error {
    fn from(not_held: NotHeld) -> Self {
        Self::new(io::ErrorKind::Unsupported, not_held)
    }
}

/// A kind of file, while it is written: [`FlvFile`](super::flv::FlvFile), [`Mp4File`](super::mp4::Mp4File) and others; and several of them, one after
/// another, [`Files`](super::files::Files).
///
/// It is made with its file already open, so that whatever prevents that is an error of the output's start. From then on it
/// is the writer's own, and may block. Whether one file is written or several, one after another, is up to the format, and so is
/// what the disk is asked to make durable. Most files are best written through [`WholeFile`](super::whole::WholeFile).
pub(super) trait Format: Send {
    /// The largest body of a tag that fits, in bytes. A larger tag is dropped and counted.
    fn largest_body(&self) -> usize;

    /// The file that is being written. A change is reported as the opening of a file.
    fn path(&self) -> &Path;

    /// Takes tags in the order of the stream. Their times count from zero; headers come before the media they describe, and
    /// again after a gap, which ends at a keyframe.
    ///
    /// What is whole is with the kernel when this returns. Tags that make no whole part yet (a fragment lasts up to the next
    /// keyframe) are kept until they do.
    ///
    /// # Errors
    ///
    /// What the file system said. What was written until then can be played, and the format is not called again.
    fn write(&mut self, tags: &[Tag]) -> io::Result<()>;

    /// Bytes written so far, those of files that are complete included.
    fn written(&self) -> u64;

    /// Whether media, and not only headers, is in a file.
    fn has_media(&self) -> bool;

    /// Whether the file can take the tag: not if its configuration or its tracks would have to change and the format has no place for that, nor
    /// if the file has become too long. What does not fit goes to another file.
    fn fits(&self, _tag: &Tag) -> bool {
        true
    }

    /// Completes what is open, with the tags that are kept, and closes it.
    ///
    /// # Errors
    ///
    /// What the file system said.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
