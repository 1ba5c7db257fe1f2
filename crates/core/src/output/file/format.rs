//! What a kind of file has to do to be an output.
//!
//! In: tags, on the writer's thread. Out: files. The driver, its queue and the thread know nothing of FLV; a format knows nothing
//! of the stream, of its ring, or of what waits.

use std::io;
use std::path::Path;

use flowcast_rtmp::flv::tag::Tag;

/// A kind of file, while it is written: [`FlvFile`](super::flv::FlvFile).
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

    /// Completes what is open, with the tags that are kept, and closes it.
    ///
    /// # Errors
    ///
    /// What the file system said.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
