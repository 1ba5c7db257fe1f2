//! Recipes of files that may be encoded.
//!
//! In: a file, and what is to be encoded to what. Out: what is done to its tracks.

use std::path::Path;
use std::sync::{Arc, Weak};

use flowcast_av::{Demuxer, Interrupt, MediaInfo, OpenOptions};

use super::recipes::{Recipes, Settled};
use crate::adapt::Dial;
use crate::error::Error;
use crate::event::EventKind;
use crate::reel::Recipe;
use crate::tracks::Tracks;
use crate::transcode::{Encoders, Patience, Plan, Settling};

/// What is encoded.
#[derive(Debug, Clone)]
pub(super) struct Encoding {
    settling: Arc<Settling>,
    encoders: Arc<dyn Encoders>,
    /// Ends scans of files.
    scans: Interrupt,
}

impl Encoding {
    /// As [`Recipes::end_scans`].
    pub(super) fn end_scans(&self) {
        self.scans.cancel();
    }

    /// As [`Recipes::settle`].
    pub(super) fn settle(&self, path: &Path, tracks: Tracks) -> Result<Settled, Error> {
        let file = Demuxer::open(path, &OpenOptions::default(), &self.scans)?;
        let plan = self.plan(path, file.media(), tracks, &self.scans)?;
        let seconds = file.media().duration.map(|duration| duration.as_secs());
        let copied = if plan.video.is_some() { 0 } else { file.media().bit_rate.unwrap_or(0) };
        let bytes = seconds.filter(|_| !plan.is_copy()).map(|seconds| {
            let bits = plan.encoded_bits().saturating_add(copied);
            // Tags have headers, and lengths are rounded.
            (seconds + 1).saturating_mul(bits / 8 + 2048)
        });
        Ok(Settled { recipe: Recipe { tracks, plan }, bytes })
    }

    fn plan(
        &self,
        path: &Path,
        media: &MediaInfo,
        tracks: Tracks,
        interrupt: &Interrupt,
    ) -> Result<Plan, Error> {
        let mut plan = self.settling.plan_file(path, media, tracks, interrupt);
        if interrupt.is_cancelled() {
            return Err(Error::Media(flowcast_av::Error::Cancelled { operation: "scan" }));
        }
        match tracks {
            Tracks::Both | Tracks::All => {}
            Tracks::Video => plan.audio = None,
            Tracks::Audio => plan.video = None,
        }
        Ok(plan)
    }

    /// As [`Recipes::plan_unscanned`].
    fn plan_unscanned(&self, media: &MediaInfo, tracks: Tracks) -> Plan {
        let mut plan = self.settling.plan(media);
        match tracks {
            Tracks::Both | Tracks::All => {}
            Tracks::Video => plan.audio = None,
            Tracks::Audio => plan.video = None,
        }
        plan
    }

    /// As [`Recipes::tell`].
    pub(super) fn tell(&self, notices: &mut Vec<EventKind>) {
        self.settling.tell(notices);
    }
}

impl Recipes {
    /// These tracks, encoded where `settling` says so.
    pub(crate) fn encoded(tracks: Tracks, settling: Settling, encoders: Arc<dyn Encoders>) -> Self {
        let mut recipes = Self::copy(tracks, settling.carriage());
        recipes.encoding = Some(Encoding { settling: Arc::new(settling), encoders, scans: Interrupt::new() });
        recipes
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
    pub(super) fn plan(&self, path: &Path, media: &MediaInfo, interrupt: &Interrupt) -> Result<Plan, Error> {
        match &self.encoding {
            Some(encoding) => encoding.plan(path, media, self.tracks, interrupt),
            None => Ok(Plan::copy(self.carriage)),
        }
    }

    /// What is done to the tracks of what is not read for that: by what its header says.
    pub(super) fn plan_unscanned(&self, media: &MediaInfo) -> Plan {
        match &self.encoding {
            Some(encoding) => encoding.plan_unscanned(media, self.tracks),
            None => Plan::copy(self.carriage),
        }
    }

    /// A file will be played later: what has to be known of it is found out meanwhile.
    pub(super) fn expect(&self, path: &Path, media: &MediaInfo) {
        if let Some(encoding) = &self.encoding {
            encoding.settling.expect(path, media, self.tracks);
        }
    }

    /// How the loudness of a file is waited for that is read while it plays.
    pub(super) fn patience(&self) -> Patience {
        self.encoding.as_ref().map(|encoding| encoding.settling.patience()).unwrap_or_default()
    }

    /// What ends its scans.
    pub(crate) fn scans(&self) -> Option<&Interrupt> {
        self.encoding.as_ref().map(|encoding| &encoding.scans)
    }

    /// The receiver of events about encoders that work ahead, as long as the files are played.
    pub(super) fn listener(&self) -> Option<Weak<Settling>> {
        self.encoding.as_ref().map(|encoding| Arc::downgrade(&encoding.settling))
    }

    /// What sets the bit rate of pictures that are encoded on the air.
    pub(super) fn dial(&self) -> Dial {
        self.encoding.as_ref().map(|encoding| encoding.settling.dial().clone()).unwrap_or_default()
    }

    /// What opens encoders.
    pub(super) fn encoders(&self) -> Option<&Arc<dyn Encoders>> {
        self.encoding.as_ref().map(|encoding| &encoding.encoders)
    }

    /// Whether anything is ever encoded.
    pub(super) fn may_encode(&self) -> bool {
        self.encoding.is_some()
    }
}
