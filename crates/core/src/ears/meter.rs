//! Measures samples.

use ebur128::{Channel, EbuR128, Mode};

use crate::error::Error;
use crate::loudness::LoudnessFacts;

/// Samples of one format, measured as they come.
pub(super) struct Meter {
    inner: EbuR128,
    channels: u32,
}

impl Meter {
    /// For this many channels in libav's usual order, at this rate.
    ///
    /// # Errors
    ///
    /// There are too many channels, or the rate is none.
    pub(super) fn new(rate: u32, channels: u32) -> Result<Self, Error> {
        // Both gates need every block of 400 ms at the end: 80 bytes a second.
        let mut inner = EbuR128::new(channels, rate, Mode::I | Mode::TRUE_PEAK).map_err(refused)?;
        if let Some(places) = places(channels) {
            inner.set_channel_map(places).map_err(refused)?;
        }
        Ok(Self { inner, channels })
    }

    /// Takes samples, one row for each channel. What is no number is silence.
    ///
    /// # Errors
    ///
    /// There are other channels.
    pub(super) fn push(&mut self, rows: &mut [Vec<f32>]) -> Result<(), Error> {
        for sample in rows.iter_mut().flatten() {
            if !sample.is_finite() {
                *sample = 0.0;
            }
        }
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        self.inner.add_frames_planar_f32(&rows).map_err(refused)
    }

    /// What they come to.
    pub(super) fn facts(&self) -> LoudnessFacts {
        let peak =
            (0..self.channels).filter_map(|channel| self.inner.true_peak(channel).ok()).fold(0.0, f64::max);
        LoudnessFacts::new(self.inner.loudness_global().unwrap_or(f64::NEG_INFINITY), 20.0 * peak.log10())
    }
}

/// Where channels are, in libav's order, as far as the crate does not take them to be there by itself.
fn places(channels: u32) -> Option<&'static [Channel]> {
    use Channel::{Center, Left, LeftSurround, Right, RightSurround, Unused};
    // BS.1770 weighs a single channel behind like one at a side.
    Some(match channels {
        4 => &[Left, Right, Center, LeftSurround],
        5 => &[Left, Right, Center, LeftSurround, RightSurround],
        7 => &[Left, Right, Center, Unused, LeftSurround, LeftSurround, RightSurround],
        8 => &[Left, Right, Center, Unused, LeftSurround, RightSurround, LeftSurround, RightSurround],
        _ => return None,
    })
}

fn refused(error: ebur128::Error) -> Error {
    Error::System { what: "no meter of loudness", source: std::io::Error::other(error).into() }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn tone(rate: u32, seconds: u32, level_db: f64, hertz: f64) -> Vec<f32> {
        let level = 10_f64.powf(level_db / 20.0);
        let of = |at: u32| (level * (TAU * hertz * f64::from(at) / f64::from(rate)).sin()) as f32;
        (0..rate * seconds).map(of).collect()
    }

    fn measure(rate: u32, mut rows: Vec<Vec<f32>>) -> LoudnessFacts {
        let mut meter = Meter::new(rate, rows.len() as u32).expect("a usual format");
        meter.push(&mut rows).expect("as many channels");
        meter.facts()
    }

    /// EBU Tech 3341, test 1 and 2: a tone of 1 kHz in both channels is as loud as its level.
    #[test]
    fn a_tone_of_1_khz_is_as_loud_as_its_level() {
        for rate in [44_100, 48_000] {
            for level in [-23.0, -33.0] {
                let tone = tone(rate, 3, level, 1000.0);
                let facts = measure(rate, vec![tone.clone(), tone]);
                assert!((facts.integrated_lufs - level).abs() < 0.1, "{rate}, {level}: {facts:?}");
                assert!((facts.true_peak_dbtp - level).abs() < 0.2, "{rate}, {level}: {facts:?}");
            }
        }
    }

    #[test]
    fn silence_and_what_is_no_number_have_no_loudness() {
        let facts = measure(48_000, vec![vec![0.0; 96_000]; 2]);
        assert_eq!((facts.integrated_lufs, facts.true_peak_dbtp, facts.is_silent()), (-70.0, -90.0, true));
        let facts = measure(48_000, vec![vec![f32::NAN; 96_000], vec![f32::INFINITY; 96_000]]);
        assert!(facts.is_silent(), "{facts:?}");
        let short = measure(48_000, vec![vec![0.5; 4800]; 2]);
        assert!(short.is_silent(), "less than a block: {short:?}");
    }

    #[test]
    fn gaps_do_not_count() {
        let mut row = tone(48_000, 3, -20.0, 1000.0);
        row.extend(vec![0.0; 48_000 * 6]);
        let facts = measure(48_000, vec![row.clone(), row]);
        assert!((facts.integrated_lufs + 20.0).abs() < 0.4, "{facts:?}");
    }

    #[test]
    fn all_numbers_of_channels_can_be_measured() {
        for channels in 1..=8 {
            let facts = measure(48_000, vec![tone(48_000, 1, -20.0, 1000.0); channels]);
            assert!((-30.0..-8.0).contains(&facts.integrated_lufs), "{channels}: {facts:?}");
        }
    }
}
