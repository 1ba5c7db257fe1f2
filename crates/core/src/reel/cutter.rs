//! The maker of a reel's tags: the store's jobs call it, and the code that knows the source's format implements it.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use flowcast_rtmp::flv::tag::Tag;

use crate::error::Error;
use crate::lap::Step;
use crate::tracks::{Carriage, Tracks};
use crate::transcode::Plan;

/// Which tracks of the source a reel holds, and what is done to them: a part of the reel's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    pub(crate) tracks: Tracks,
    pub(crate) plan: Plan,
}

impl Recipe {
    /// Video and audio, as they are.
    #[cfg(test)]
    pub(crate) const BOTH: Self = Self::copy(Tracks::Both, Carriage::Plain);
    /// The video track alone, as it is.
    #[cfg(test)]
    pub(crate) const VIDEO: Self = Self::copy(Tracks::Video, Carriage::Plain);
    /// The audio track alone, as it is.
    #[cfg(test)]
    pub(crate) const AUDIO: Self = Self::copy(Tracks::Audio, Carriage::Plain);

    /// These tracks, as they are.
    pub(crate) const fn copy(tracks: Tracks, carriage: Carriage) -> Self {
        Self { tracks, plan: Plan::copy(carriage) }
    }

    /// Whether a source that is fit to be played as it is may be its own reel. Such a file is plain FLV, of which all is taken
    /// either way.
    pub(super) fn takes_all_as_it_is(&self) -> bool {
        self.tracks.are_both() && self.plan.is_copy()
    }

    /// Whether any track is encoded.
    pub(in crate::reel) fn encodes(&self) -> bool {
        !self.plan.is_copy()
    }

    /// The recipe as the key has it. Never changed: a reel would not be found again, or a wrong one would be.
    pub(super) fn text(&self) -> String {
        let tracks = match self.tracks {
            Tracks::Both => "video+audio",
            Tracks::All => "video+all audio",
            Tracks::Video => "video",
            Tracks::Audio => "audio",
        };
        let carriage = match self.plan.carriage {
            Carriage::Plain => "",
            Carriage::Enhanced => "enhanced ",
        };
        if self.plan.is_copy() {
            format!("copy {carriage}{tracks}")
        } else {
            format!("encode 1 {carriage}{tracks}: {}", self.plan)
        }
    }

    /// About how many bytes the reel of a source of `size` bytes takes, if nothing is encoded: what is made room for before it is
    /// cut. It may become more, or not fit then.
    pub(super) fn estimate(&self, size: u64) -> u64 {
        match self.tracks {
            Tracks::Both | Tracks::All | Tracks::Video => size,
            Tracks::Audio => size / 10,
        }
    }
}

/// Opens a source on a job's thread.
pub(crate) trait Cutter: Send {
    /// Opens the source. Once `cancel` is set, whatever takes time ends with any error.
    fn open(self: Box<Self>, path: &Path, cancel: &AtomicBool) -> Result<Box<dyn Cut>, Error>;

    /// About how many bytes will come out, if that does not follow from the source's own.
    fn estimate(&self) -> Option<u64> {
        None
    }
}

/// A source that is being cut. It is made, used and dropped on one thread.
pub(crate) trait Cut {
    /// Metadata and sequence headers, at time 0.
    fn headers(&self) -> Vec<Tag>;

    /// What comes next, in the order it is to be written; the source is complete with the end of its first lap. After that and
    /// after errors it is not called again.
    fn next(&mut self) -> Result<Step, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_copies_stay_what_they_are() {
        assert_eq!(Recipe::BOTH.text(), "copy video+audio");
        assert_eq!(Recipe::copy(Tracks::All, Carriage::Plain).text(), "copy video+all audio");
        assert_eq!(Recipe::VIDEO.text(), "copy video");
        assert_eq!(Recipe::AUDIO.text(), "copy audio");
        assert_eq!(Recipe::copy(Tracks::Both, Carriage::Enhanced).text(), "copy enhanced video+audio");
    }
}
