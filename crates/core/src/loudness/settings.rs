//! How loud files are to be.

use super::facts::LoudnessFacts;
use crate::error::Error;
use crate::settings::settings;

/// How loud the items of a source are to be: see [`Source::leveled`](crate::Source::leveled).
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod loudness { pub use flowcast_core::*; } }
/// use flowcast::loudness::Loudness;
/// use flowcast::{Playlist, Source};
///
/// let broadcast = Loudness::default().with(|loudness| loudness.target_lufs = -23.0); // EBU R 128
/// let channel = Source::playlist(Playlist::files(["a.mp4", "b.mp4"])).leveled(broadcast);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Loudness {
    /// The integrated loudness of each item, in LUFS, -40 to -5. Default -14, as the large video and music services have it.
    pub target_lufs: f64,
    /// The true peak that nothing passes, in decibels of full scale, -9 to 0. Default -1. What a codec makes of it may be up to about a
    /// decibel higher.
    pub ceiling_dbtp: f64,
    /// By how many decibels an item is raised at most, 0 to 40. Default 20: what is quieter than that is taken to be meant quiet, and its noise
    /// is not raised further. There is no limit to how far an item is turned down.
    pub most_gain_db: f64,
}

settings!(Loudness);

impl Default for Loudness {
    fn default() -> Self {
        Self { target_lufs: -14.0, ceiling_dbtp: -1.0, most_gain_db: 20.0 }
    }
}

impl Loudness {
    /// The gain in decibels of what was measured to be so loud; 0 for silence.
    pub(crate) fn gain_db(&self, facts: &LoudnessFacts) -> f64 {
        if facts.is_silent() {
            0.0
        } else {
            (self.target_lufs - facts.integrated_lufs).min(self.most_gain_db)
        }
    }

    /// All that cannot work.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        for (name, value, range, reason) in [
            ("loudness.target_lufs", self.target_lufs, -40.0..=-5.0, "must be -40 to -5"),
            ("loudness.ceiling_dbtp", self.ceiling_dbtp, -9.0..=0.0, "must be -9 to 0"),
            ("loudness.most_gain_db", self.most_gain_db, 0.0..=40.0, "must be 0 to 40"),
        ] {
            if !range.contains(&value) {
                found.push(Error::Config { name, reason: reason.to_owned() });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_brings_to_the_target_and_raises_only_so_far() {
        let loudness = Loudness::default();
        let gain = |lufs: f64| loudness.gain_db(&LoudnessFacts::new(lufs, -3.0));
        for (lufs, db) in [(-30.0, 16.0), (-14.0, 0.0), (-6.0, -8.0), (-50.0, 20.0), (-70.0, 0.0)] {
            assert!((gain(lufs) - db).abs() < 1e-9, "{lufs}: {}", gain(lufs));
        }
        assert_eq!(gain(f64::NEG_INFINITY), 0.0, "silence stays what it is");
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        assert!(Loudness::default().problems().is_empty());
        let wrong = Loudness { target_lufs: 3.0, ceiling_dbtp: f64::NAN, most_gain_db: 41.0 };
        let problems = wrong.problems();
        let names: Vec<_> = problems
            .iter()
            .map(|problem| match problem {
                Error::Config { name, .. } => *name,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(names, ["loudness.target_lufs", "loudness.ceiling_dbtp", "loudness.most_gain_db"]);
    }
}
