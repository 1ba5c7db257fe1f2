//! The loudness of a file becomes a gain.
//!
//! In: what is known of how loud the file is, which may come while it plays. Out: its gain, and what there is to tell. Where the loudness is not
//! known when the file begins, its gain is that of the one before if that turns down, else none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use flowcast_av::Interrupt;
use parking_lot::Mutex;

use super::listen::Heard;
use crate::error::Error;
use crate::event::EventKind;
use crate::loudness::Loudness;

/// The gain of the file that was leveled last, in decibels. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastGain(Arc<Mutex<Option<f64>>>);

/// The gain of a file.
#[derive(Debug)]
pub(crate) struct Gain {
    path: PathBuf,
    wanted: Loudness,
    heard: Heard,
    last: LastGain,
    db: f64,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// That it is not known yet.
    Unknown,
    /// All there is.
    Everything,
}

impl Gain {
    /// The gain of the file at `path`, about which was asked.
    pub(crate) fn new(path: &Path, wanted: Loudness, heard: Heard, last: &LastGain) -> Self {
        let db = last.0.lock().map_or(0.0, |last| last.min(0.0));
        Self { path: path.to_owned(), wanted, heard, last: last.clone(), db, told: Told::Nothing }
    }

    /// Waits until the loudness is known; at most until `until`, or `interrupt`.
    ///
    /// # Errors
    ///
    /// It cannot be measured.
    ///
    /// # Blocking
    ///
    /// Up to `until`, or else as long as measuring takes.
    pub(crate) fn wait(&mut self, until: Option<Instant>, interrupt: &Interrupt) -> Result<(), Error> {
        let known = self.heard.wait(until, interrupt).transpose().map(drop);
        self.begin();
        known
    }

    /// The file begins: its gain in decibels.
    pub(crate) fn begin(&mut self) -> f64 {
        if let Some(Ok(facts)) = self.heard.get() {
            self.db = self.wanted.gain_db(&facts);
        }
        self.db
    }

    /// Takes up what is known by now, and tells it, or that it is not known; each once. The gain in decibels, if it is another one since.
    pub(crate) fn look(&mut self, mut tell: impl FnMut(EventKind)) -> Option<f64> {
        if self.told == Told::Everything {
            return None;
        }
        let (path, gain_db) = (self.path.clone(), self.db);
        match self.heard.get() {
            Some(Ok(loudness)) => {
                let before = std::mem::replace(&mut self.db, self.wanted.gain_db(&loudness));
                *self.last.0.lock() = Some(self.db);
                tell(EventKind::Leveled { path, loudness, gain_db: self.db });
                self.told = Told::Everything;
                (before != self.db).then_some(self.db)
            }
            Some(Err(error)) => {
                tell(EventKind::LoudnessUnknown { path, gain_db, error: Some(error) });
                self.told = Told::Everything;
                None
            }
            None => {
                if self.told == Told::Nothing {
                    tell(EventKind::LoudnessUnknown { path, gain_db, error: None });
                    self.told = Told::Unknown;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loudness::LoudnessFacts;

    fn told(gain: &mut Gain) -> (Option<f64>, Vec<&'static str>) {
        let mut names = Vec::new();
        let changed = gain.look(|event| names.push(event.name()));
        (changed, names)
    }

    #[test]
    fn what_is_not_known_is_told_and_is_never_raised() {
        let last = LastGain::default();
        let new = |heard: &Heard| Gain::new(Path::new("a.mp4"), Loudness::default(), heard.clone(), &last);
        let heard = Heard::default();
        let mut gain = new(&heard);
        assert_eq!((gain.begin(), told(&mut gain)), (0.0, (None, vec!["loudness_unknown"])));
        assert_eq!(told(&mut gain), (None, vec![]), "once");
        heard.answer(Ok(LoudnessFacts::new(-8.0, 0.5)));
        assert_eq!(told(&mut gain), (Some(-6.0), vec!["leveled"]), "it comes while the file plays");
        assert_eq!((told(&mut gain), gain.begin()), ((None, vec![]), -6.0), "the next lap");
        let unknown = Heard::default();
        assert_eq!(new(&unknown).begin(), -6.0, "as the one before, which was turned down");
        let quiet = Heard::default();
        quiet.answer(Ok(LoudnessFacts::new(-30.0, -12.0)));
        let mut gain = new(&quiet);
        assert_eq!((gain.begin(), told(&mut gain)), (16.0, (None, vec!["leveled"])));
        assert_eq!(new(&unknown).begin(), 0.0, "what may be loud is not raised like what was quiet");
        let failed = Heard::default();
        failed.answer(Err(Error::Ended));
        let mut gain = new(&failed);
        assert!(gain.wait(None, &Interrupt::new()).is_err());
        assert_eq!((told(&mut gain), told(&mut gain)), ((None, vec!["loudness_unknown"]), (None, vec![])));
    }
}
