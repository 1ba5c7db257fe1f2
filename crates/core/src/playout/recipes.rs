//! What is wanted of the files of a lane, and what that means for each of them.
//!
//! In: what the source asks for, and what is in a file. Out: the recipe of its reel. What is encoded is encoded to the same
//! figures for all files of a lane, which the first of them settles: so items follow each other as one stream.

use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "libav")]
use std::sync::Weak;

#[cfg(feature = "libav")]
use flowcast_av::{Demuxer, Interrupt, MediaInfo, OpenOptions};

use crate::error::Error;
#[cfg(feature = "libav")]
use crate::event::EventKind;
use crate::files::StreamFiles;
use crate::reel::Recipe;
use crate::tracks::Carriage;
use crate::tracks::Tracks;
#[cfg(feature = "libav")]
use crate::transcode::{Encoders, Plan, Settling};

/// The recipes of the files of one lane, one for each file. Clones share what was settled.
#[derive(Debug, Clone)]
pub(crate) struct Recipes {
    pub(crate) tracks: Tracks,
    carriage: Carriage,
    /// The files of the stream they are played by.
    files: Arc<StreamFiles>,
    #[cfg(feature = "libav")]
    encoding: Option<Encoding>,
}

#[cfg(feature = "libav")]
#[derive(Debug, Clone)]
struct Encoding {
    settling: Arc<Settling>,
    encoders: Arc<dyn Encoders>,
    /// Ends scans of files.
    scans: Interrupt,
}

/// What happens to a file.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) recipe: Recipe,
    /// About how many bytes what is encoded takes, if that is known.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) bytes: Option<u64>,
}

impl Recipes {
    /// These tracks, as they are.
    pub(crate) fn copy(tracks: Tracks, carriage: Carriage) -> Self {
        Self {
            tracks,
            carriage,
            files: Arc::default(),
            #[cfg(feature = "libav")]
            encoding: None,
        }
    }

    /// These tracks, encoded where `settling` says so.
    #[cfg(feature = "libav")]
    pub(crate) fn encoded(tracks: Tracks, settling: Settling, encoders: Arc<dyn Encoders>) -> Self {
        let carriage = settling.carriage();
        let (settling, scans) = (Arc::new(settling), Interrupt::new());
        Self {
            tracks,
            carriage,
            files: Arc::default(),
            encoding: Some(Encoding { settling, encoders, scans }),
        }
    }

    /// The same, of a stream with these files.
    pub(crate) fn of(mut self, files: &Arc<StreamFiles>) -> Self {
        self.files = files.clone();
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
    pub(crate) fn check(&self, path: &Path) -> Result<(), Error> {
        self.files.refuse_recording(path)
    }

    /// The file is being played from here on.
    pub(crate) fn playing(&self, path: &Path) {
        self.files.playing(usize::from(self.tracks == Tracks::Audio), path);
    }

    /// Ends all scans that are under way, and those begun later.
    pub(crate) fn end_scans(&self) {
        #[cfg(feature = "libav")]
        if let Some(encoding) = &self.encoding {
            encoding.scans.cancel();
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
    #[cfg(feature = "libav")]
    pub(crate) fn settle(&self, path: &Path) -> Result<Settled, Error> {
        self.check(path)?;
        let Some(encoding) = &self.encoding else {
            return Ok(Settled { recipe: Recipe::copy(self.tracks, self.carriage), bytes: None });
        };
        let file = Demuxer::open(path, &OpenOptions::default(), &encoding.scans)?;
        let plan = self.plan(path, file.media(), &encoding.scans)?;
        let seconds = file.media().duration.map(|duration| duration.as_secs());
        let copied = if plan.video.is_some() { 0 } else { file.media().bit_rate.unwrap_or(0) };
        let bytes = seconds.filter(|_| !plan.is_copy()).map(|seconds| {
            let bits = plan.encoded_bits().saturating_add(copied);
            // Tags have headers, and lengths are rounded.
            (seconds + 1).saturating_mul(bits / 8 + 2048)
        });
        Ok(Settled { recipe: Recipe { tracks: self.tracks, plan }, bytes })
    }

    /// What happens to the file.
    #[cfg(not(feature = "libav"))]
    pub(crate) fn settle(&self, path: &Path) -> Result<Settled, Error> {
        self.check(path)?;
        Ok(Settled { recipe: Recipe::copy(self.tracks, self.carriage), bytes: None })
    }

    /// What is done to the tracks of a file.
    ///
    /// # Errors
    ///
    /// `interrupt`.
    ///
    /// # Blocking
    ///
    /// On reading all of the file, if that decides it, until `interrupt`.
    #[cfg(feature = "libav")]
    pub(crate) fn plan(&self, path: &Path, media: &MediaInfo, interrupt: &Interrupt) -> Result<Plan, Error> {
        let Some(encoding) = &self.encoding else { return Ok(Plan::copy(self.carriage)) };
        let mut plan = encoding.settling.plan_file(path, media, self.tracks, interrupt);
        if interrupt.is_cancelled() {
            return Err(Error::Media(flowcast_av::Error::Cancelled { operation: "scan" }));
        }
        match self.tracks {
            Tracks::Both => {}
            Tracks::Video => plan.audio = None,
            Tracks::Audio => plan.video = None,
        }
        Ok(plan)
    }

    /// What ends its scans.
    #[cfg(feature = "libav")]
    pub(crate) fn scans(&self) -> Option<&Interrupt> {
        self.encoding.as_ref().map(|encoding| &encoding.scans)
    }

    /// Puts what was decided, and what has happened to encoders that work ahead, since the last time into `notices`.
    #[cfg(feature = "libav")]
    pub(crate) fn tell(&self, notices: &mut Vec<EventKind>) {
        if let Some(encoding) = &self.encoding {
            encoding.settling.tell(notices);
        }
    }

    /// The receiver of events about encoders that work ahead, as long as the files are played.
    #[cfg(feature = "libav")]
    pub(crate) fn listener(&self) -> Option<Weak<Settling>> {
        self.encoding.as_ref().map(|encoding| Arc::downgrade(&encoding.settling))
    }

    /// What opens encoders.
    #[cfg(feature = "libav")]
    pub(crate) fn encoders(&self) -> Option<&Arc<dyn Encoders>> {
        self.encoding.as_ref().map(|encoding| &encoding.encoders)
    }

    /// Whether anything is ever encoded.
    #[cfg(feature = "libav")]
    pub(crate) fn may_encode(&self) -> bool {
        self.encoding.is_some()
    }
}
