//! What is wanted of the files of a lane, and what that means for each of them.
//!
//! In: what the source asks for, and what is in a file. Out: the recipe of its reel. What is encoded is encoded to the same
//! figures for all files of a lane, which the first of them settles: so items follow each other as one stream.

use std::path::Path;
use std::sync::Arc;

use super::encoding::Encoding;
use crate::error::Error;
use crate::event::EventKind;
use crate::files::{Played, StreamFiles};
use crate::reel::Recipe;
use crate::tracks::{Carriage, Tracks};

/// The recipes of the files of one lane, one for each file. Clones share what was settled.
#[derive(Debug, Clone)]
pub(crate) struct Recipes {
    pub(super) tracks: Tracks,
    pub(super) carriage: Carriage,
    /// The files of the stream they are played by.
    files: Arc<StreamFiles>,
    /// Which of them the lane plays.
    played: Arc<Played>,
    pub(super) encoding: Option<Encoding>,
}

/// What happens to a file.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    pub(super) recipe: Recipe,
    /// About how many bytes what is encoded takes, if that is known.
    pub(super) bytes: Option<u64>,
}

impl Recipes {
    /// These tracks, as they are.
    pub(crate) fn copy(tracks: Tracks, carriage: Carriage) -> Self {
        Self { tracks, carriage, files: Arc::default(), played: Arc::default(), encoding: None }
    }

    /// The same, of a stream with these files.
    pub(crate) fn of(mut self, files: &Arc<StreamFiles>) -> Self {
        (self.files, self.played) = (files.clone(), files.lane());
        self
    }

    /// Refuses a file that must not be played now.
    ///
    /// # Errors
    ///
    /// [`Error::FileInUse`]: it is being recorded.
    ///
    /// # Blocking
    ///
    /// On looking at the file, while anything is recorded.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        self.files.refuse_recording(path)
    }

    /// The file is being played from here on.
    pub(super) fn playing(&self, path: &Path) {
        self.played.set(path);
    }

    /// Nothing is played any more.
    pub(super) fn let_go(&self) {
        self.played.clear();
    }

    /// Ends all scans that are under way, and those begun later.
    pub(super) fn end_scans(&self) {
        if let Some(encoding) = &self.encoding {
            encoding.end_scans();
        }
    }

    /// What happens to the file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, where it has to be looked at; [`end_scans`](Self::end_scans).
    ///
    /// # Blocking
    ///
    /// On the file, where it has to be looked at: on reading all of it, if that decides it, until
    /// [`end_scans`](Self::end_scans).
    pub(super) fn settle(&self, path: &Path) -> Result<Settled, Error> {
        self.check(path)?;
        match &self.encoding {
            Some(encoding) => encoding.settle(path, self.tracks),
            None => Ok(Settled { recipe: Recipe::copy(self.tracks, self.carriage), bytes: None }),
        }
    }

    /// Puts what was decided, and what has happened to encoders that work ahead, since the last time into `notices`.
    pub(super) fn tell(&self, notices: &mut Vec<EventKind>) {
        if let Some(encoding) = &self.encoding {
            encoding.tell(notices);
        }
    }
}
