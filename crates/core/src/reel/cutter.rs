//! What makes the tags of a reel: the store's jobs call it, whoever knows the source's format implements it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flowcast_rtmp::flv::tag::Tag;

use crate::error::Error;
use crate::lap::LapFacts;

/// Which tracks of the source a reel holds, and what is done to them: a part of the reel's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Recipe {
    /// Video and audio, as they are.
    Both,
    /// The video track alone, as it is.
    Video,
    /// The audio track alone, as it is.
    Audio,
}

impl Recipe {
    /// The recipe as the key has it. Never changed: a reel would not be found again, or a wrong one would be.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Both => "copy video+audio",
            Self::Video => "copy video",
            Self::Audio => "copy audio",
        }
    }

    /// About how many bytes the reel of a source of `size` bytes takes: what is made room for before it is cut. It may
    /// become more, or not fit then.
    pub(super) fn estimate(self, size: u64) -> u64 {
        match self {
            Self::Both | Self::Video => size,
            Self::Audio => size / 10,
        }
    }
}

/// Opens a source on a job's thread.
pub(crate) trait Cutter: Send {
    /// Opens the source. Once `cancel` is set, whatever takes time ends with any error.
    fn open(self: Box<Self>, path: &Path, cancel: &AtomicBool) -> Result<Box<dyn Cut>, Error>;
}

/// A source that is being cut. It is made, used and dropped on one thread.
pub(crate) trait Cut {
    /// Metadata and sequence headers, at time 0.
    fn headers(&self) -> Vec<Tag>;

    /// What comes next, in the order it is to be written. After `End` and errors it is not called again.
    fn next(&mut self) -> Result<CutStep, Error>;
}

/// What a source gives.
#[derive(Debug)]
#[cfg_attr(not(any(test, feature = "libav")), allow(dead_code, reason = "without libav nothing cuts"))]
pub(crate) enum CutStep {
    /// The next tag, on the item's clock.
    Tag(Tag),
    /// A fault the source went on after.
    Fault(Arc<Error>),
    /// The source is complete.
    End(LapFacts),
}
