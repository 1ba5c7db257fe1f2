//! The sound of a file at the gain that brings it to its loudness.
//!
//! In: frames of the encoder's format. Out: the same samples, leveled. Where the loudness is not known when the file begins, the gain moves there
//! once it is. Runs on the thread that reads.

use std::path::Path;
use std::time::{Duration, Instant};

use flowcast_av::{Error as Media, Interrupt, MediaInfo, TrackInfo};

use super::plan::AudioPlan;
use crate::ears::{Gain, LastGain, Turn, listen};
use crate::error::Error;
use crate::event::EventKind;
use crate::mix::{Leveler, MixFormat};

/// How long a gain takes to move that was found while the file plays.
const FADE: Duration = Duration::from_secs(3);
/// How long a file that is read as it plays waits to be measured.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the loudness of a file is waited for. Default: as long as it takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience {
    /// What plays it, and plays it anyway: the gain of what came before.
    playing: Option<LastGain>,
}

impl Patience {
    /// For what is played while it is read: some seconds.
    pub(crate) fn of_playing(last: &LastGain) -> Self {
        Self { playing: Some(last.clone()) }
    }
}

/// What brings the sound of a file to its loudness.
#[derive(Debug)]
pub(super) struct Leveling {
    gain: Gain,
    leveler: Leveler,
}

impl Leveling {
    /// Asks how loud a track of a file is; `None` if it is not to be leveled.
    ///
    /// # Errors
    ///
    /// It cannot be measured, or `interrupt` came, where it is waited for as long as it takes.
    ///
    /// # Blocking
    ///
    /// As `patience` says.
    pub(super) fn open(
        path: &Path,
        (media, track): (&MediaInfo, &TrackInfo),
        plan: &AudioPlan,
        (patience, interrupt): (&Patience, &Interrupt),
    ) -> Result<Option<Self>, Error> {
        let Some(loudness) = plan.level.map(|level| level.loudness()) else { return Ok(None) };
        let heard = listen(path, media, track, plan.channels, Turn::Now);
        let last = patience.playing.clone().unwrap_or_default();
        let mut gain = Gain::new(path, loudness, heard, &last);
        let until = patience.playing.as_ref().map(|_| Instant::now() + PATIENCE);
        let known = gain.wait(until, interrupt);
        if patience.playing.is_none() {
            known?;
            if interrupt.is_cancelled() {
                return Err(Media::Cancelled { operation: "measure loudness" }.into());
            }
        }
        let format = MixFormat { rate: plan.sample_rate, channels: plan.channels };
        let leveler = Leveler::new(loudness.ceiling_dbtp, gain.begin(), format);
        Ok(Some(Self { gain, leveler }))
    }

    /// A lap begins.
    pub(super) fn begin(&mut self) {
        self.leveler.begin(self.gain.begin());
    }

    /// Takes up what is known by now; says it, or that it is not known, once.
    pub(super) fn look(&mut self, notices: &mut Vec<EventKind>) {
        if let Some(gain) = self.gain.look(|notice| notices.push(notice)) {
            self.leveler.fade(gain, FADE);
        }
    }

    /// What works on the samples.
    pub(super) fn leveler(&mut self) -> &mut Leveler {
        &mut self.leveler
    }
}
