//! What is noticed when a reel is cut, and told to each stream that plays it.

use std::path::Path;

use crate::error::{Error, chain};
use crate::event::EventKind;
use crate::loudness::LoudnessFacts;

/// Most notes of a reel; what comes after them is counted.
pub(super) const MOST: usize = 32;
/// Most bytes of a note's text.
const LONGEST: usize = 1024;

/// Rounded; what has no place is the nearest that has.
fn hundredths(db: f64) -> i16 {
    (db * 100.0).round() as i16
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// A track of the source is not in the reel.
    Skipped {
        /// Its number in the file.
        track: usize,
        /// Why.
        reason: String,
    },
    /// A part of the source cannot be read.
    Damage(String),
    /// The source's clock jumped, and the jump was taken out.
    ClockJumped {
        /// By how much, in milliseconds.
        millis: i64,
    },
    /// Its sound was leveled. All are in hundredths of a decibel, so that notes are equal or not.
    Leveled {
        /// How loud the source is.
        lufs: i16,
        /// Its true peak.
        dbtp: i16,
        /// The gain it was given.
        gain: i16,
    },
}

impl Note {
    /// The note of a notice from cutting the source at `path`. Other notices concern the stream that had the reel cut, not those
    /// that play it later.
    pub(super) fn of(notice: EventKind, path: &Path) -> Option<Self> {
        match notice {
            EventKind::TrackSkipped { track, reason } => Some(Self::Skipped { track, reason }),
            EventKind::SourceFault { error } => Some(Self::damage(&error, path)),
            EventKind::ClockJumped { millis } => Some(Self::ClockJumped { millis }),
            EventKind::Leveled { loudness, gain_db, path: _ } => Some(Self::Leveled {
                lufs: hundredths(loudness.integrated_lufs),
                dbtp: hundredths(loudness.true_peak_dbtp),
                gain: hundredths(gain_db),
            }),
            _ => None,
        }
    }

    /// A fault of the source at `path`, in words.
    fn damage(error: &Error, path: &Path) -> Self {
        let text = chain(error);
        // It is reported with the path again.
        let beginning = format!("{}: ", path.display());
        Self::Damage(text.strip_prefix(&beginning).map(str::to_owned).unwrap_or(text))
    }

    /// The number of notes beyond those that are kept.
    pub(super) fn more(count: u64) -> Self {
        let notices = if count == 1 { "notice" } else { "notices" };
        Self::Damage(format!("{count} more {notices} when it was read"))
    }

    /// As an event of a stream that plays the file.
    pub(crate) fn event(&self, path: &Path) -> EventKind {
        match self {
            Self::Skipped { track, reason } => {
                EventKind::TrackSkipped { track: *track, reason: reason.clone() }
            }
            Self::Damage(reason) => {
                let error = Error::SourceDamaged { path: path.to_owned(), reason: reason.clone() };
                EventKind::SourceFault { error }
            }
            Self::ClockJumped { millis } => EventKind::ClockJumped { millis: *millis },
            Self::Leveled { lufs, dbtp, gain } => {
                let [lufs, dbtp, gain_db] = [lufs, dbtp, gain].map(|db| f64::from(*db) / 100.0);
                let loudness = LoudnessFacts::new(lufs, dbtp);
                EventKind::Leveled { path: path.to_owned(), loudness, gain_db }
            }
        }
    }

    /// With a text that an index holds.
    pub(super) fn bounded(mut self) -> Self {
        if let Self::Skipped { reason: text, .. } | Self::Damage(text) = &mut self
            && text.len() > LONGEST
        {
            let end = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(end);
        }
        self
    }
}
