//! Tags that their source makes again.

use flowcast_rtmp::flv::tag::Tag;

use crate::error::Error;

/// Makes tags again that a source has handed over: reads them once more, most likely.
pub trait Refill: Send + std::fmt::Debug {
    /// Puts exactly the same tags into `tags`, in the same order. `tags` is empty.
    ///
    /// # Errors
    ///
    /// They cannot be made again. Each output that still wanted them goes on at a keyframe after them.
    ///
    /// # Blocking
    ///
    /// This runs on the stream's thread: one read at most.
    fn refill(&self, tags: &mut Vec<Tag>) -> Result<(), Error>;
}
