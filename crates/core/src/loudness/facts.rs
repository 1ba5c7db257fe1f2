//! What was measured.

/// The least loudness there is: the gate of BS.1770, below which nothing counts.
pub(super) const SILENT_LUFS: f64 = -70.0;
/// The least peak that is told.
pub(super) const SILENT_DB: f64 = -90.0;

/// How loud the sound of a file is, as ITU-R BS.1770-4 measures it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LoudnessFacts {
    /// Integrated loudness in LUFS, with both gates; -70 for silence, and for sound of less than 0.4 s.
    pub integrated_lufs: f64,
    /// The highest true peak of any channel, at four times the rate (twice from 96 kHz on), in decibels of full scale; at least -90. It may be above 0.
    pub true_peak_dbtp: f64,
}

impl LoudnessFacts {
    /// With what is below the least that is told, or no number, brought up to it.
    pub(crate) fn new(integrated_lufs: f64, true_peak_dbtp: f64) -> Self {
        let at_least = |value: f64, least: f64| if value.is_finite() { value.max(least) } else { least };
        Self {
            integrated_lufs: at_least(integrated_lufs, SILENT_LUFS),
            true_peak_dbtp: at_least(true_peak_dbtp, SILENT_DB),
        }
    }

    /// Whether there is no loudness to go by.
    pub(crate) fn is_silent(&self) -> bool {
        self.integrated_lufs <= SILENT_LUFS
    }
}
