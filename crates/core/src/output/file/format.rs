//! The kinds of files that recordings are, and what a kind has to do to be an output.
//!
//! In: tags, on the writer's thread. Out: files. The driver, its queue and the thread know nothing of FLV; a format knows nothing
//! of the stream, of its ring, or of what waits.

use std::io;
use std::path::Path;

use flowcast_rtmp::flv::audio::AudioCodec::{Aac, Mp3, Mp38k, Opus};
use flowcast_rtmp::flv::tag::{Codec, Tag};
use flowcast_rtmp::flv::video::VideoCodec::{self, Av1, Avc, Hevc, Vp8, Vp9};

use crate::output::media::Container;
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

    /// What it holds.
    pub(in crate::output) fn container(self) -> Container {
        let takes: fn(Codec) -> bool = match self {
            Self::Flv => |_| true,
            Self::Mp4 => |codec| is_audio(codec) || is_video(codec, &[Av1, Vp9]),
            Self::Mkv => |codec| is_audio(codec) || is_video(codec, &[Av1, Vp8, Vp9]),
            Self::MpegTs => in_mpeg_ts,
        };
        Container { name: self.as_str(), takes }
    }
}

/// Whether MPEG-TS carries what is coded so.
pub(in crate::output) fn in_mpeg_ts(codec: Codec) -> bool {
    is_audio(codec) || is_video(codec, &[])
}

/// Sound that all containers hold.
fn is_audio(codec: Codec) -> bool {
    matches!(codec, Codec::Audio(Aac | Mp3 | Mp38k | Opus))
}

/// A picture that all containers hold, or one of these.
fn is_video(codec: Codec, others: &[VideoCodec]) -> bool {
    matches!(codec, Codec::Video(codec) if matches!(codec, Avc | Hevc) || others.contains(&codec))
}

/// A kind of file, while it is written: [`FlvFile`](super::flv::FlvFile), [`Mp4File`](super::mp4::Mp4File) and others; and several of them, one after
/// another, [`Files`](super::files::Files).
///
/// It is made with its file already open, so that whatever prevents that is an error of the output's start. From then on it
/// is the writer's own, and may block. Whether one file is written or several, one after another, is up to the format, and so is
/// what the disk is asked to make durable. Most files are best written through [`WholeFile`](super::whole::WholeFile).
pub(in crate::output) trait Format: Send {
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

    /// Whether another file is to begin with the next keyframe: this one has become long.
    fn is_full(&self) -> bool {
        false
    }

    /// What is written from here on is sent by a source that was lost and is back.
    fn note_return(&mut self) {}

    /// Why no more is to be written, although the disk has room: the bytes that all recordings may take.
    fn is_over(&mut self) -> Option<String> {
        None
    }

    /// Completes what is open, with the tags that are kept, and closes it.
    ///
    /// # Errors
    ///
    /// What the file system said.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
