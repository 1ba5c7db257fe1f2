//! Samples that a program makes: what they are like, and how they lie in memory.
//!
//! In: samples as a program has them. Out: 32-bit float, one row for each channel. On the thread that gives them; nothing blocks.

use std::ops::Range;

use crate::error::Error;
use crate::words::words;

/// How a sample is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SampleFormat {
    /// 32-bit float; full scale is -1 to 1. What is not a number is silence in a mix, and refused by the sink of frames.
    #[default]
    F32,
    /// 16-bit integer; full scale is -32768 to 32767.
    I16,
}

words!(SampleFormat, "sample format", F32 = "f32", I16 = "i16");

/// How the channels lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SampleLayout {
    /// All channels of one sample behind each other: left, right, left, right.
    #[default]
    Interleaved,
    /// Each channel in a row of its own.
    Planar,
}

words!(SampleLayout, "sample layout", Interleaved = "interleaved", Planar = "planar");

/// What the samples of a program are like.
///
/// ```
/// # mod flowcast { pub mod frames { pub use flowcast_core::AudioFormat; } }
/// use flowcast::frames::AudioFormat;
///
/// let microphone = AudioFormat::i16(44_100, 1);
/// let synthesizer = AudioFormat::f32(48_000, 2).planar();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct AudioFormat {
    /// Samples per second and channel, 8,000 to 192,000.
    pub sample_rate: u32,
    /// Channels, 1 to 8, in the usual order for their number.
    pub channels: u32,
    /// How a sample is written. Default [`SampleFormat::F32`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub sample_format: SampleFormat,
    /// How the channels lie in memory. Default [`SampleLayout::Interleaved`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub layout: SampleLayout,
}

impl AudioFormat {
    /// 32-bit float, interleaved: `sample_rate` in hertz, number of channels.
    #[must_use]
    pub const fn f32(sample_rate: u32, channels: u32) -> Self {
        Self { sample_rate, channels, sample_format: SampleFormat::F32, layout: SampleLayout::Interleaved }
    }

    /// 16-bit integer, interleaved: `sample_rate` in hertz, number of channels.
    #[must_use]
    pub const fn i16(sample_rate: u32, channels: u32) -> Self {
        Self { sample_format: SampleFormat::I16, ..Self::f32(sample_rate, channels) }
    }

    /// The same with each channel in a row of its own.
    #[must_use]
    pub const fn planar(self) -> Self {
        Self { layout: SampleLayout::Planar, ..self }
    }

    /// Refuses what cannot be: `name` is the setting, for the message.
    pub(crate) fn check(&self, name: &'static str) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::Config { name, reason: reason.to_owned() });
        if !(8_000..=192_000).contains(&self.sample_rate) {
            return refuse("the sample rate must be 8000 to 192000 Hz");
        }
        if !(1..=8).contains(&self.channels) {
            return refuse("there must be 1 to 8 channels");
        }
        Ok(())
    }
}

/// Samples as a program has them: slices and rows of slices turn into it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Samples<'a> {
    /// 32-bit float, interleaved.
    F32(&'a [f32]),
    /// 16-bit integer, interleaved.
    I16(&'a [i16]),
    /// 32-bit float, a row for each channel.
    F32Planar(&'a [&'a [f32]]),
    /// 16-bit integer, a row for each channel.
    I16Planar(&'a [&'a [i16]]),
}

impl<'a> From<&'a [f32]> for Samples<'a> {
    fn from(samples: &'a [f32]) -> Self {
        Self::F32(samples)
    }
}

impl<'a> From<&'a [i16]> for Samples<'a> {
    fn from(samples: &'a [i16]) -> Self {
        Self::I16(samples)
    }
}

impl<'a> From<&'a [&'a [f32]]> for Samples<'a> {
    fn from(rows: &'a [&'a [f32]]) -> Self {
        Self::F32Planar(rows)
    }
}

impl<'a> From<&'a [&'a [i16]]> for Samples<'a> {
    fn from(rows: &'a [&'a [i16]]) -> Self {
        Self::I16Planar(rows)
    }
}

impl Samples<'_> {
    /// A row of 32-bit float for each channel. What is not finite becomes silence.
    ///
    /// # Errors
    ///
    /// They are not of `format`, or rows differ in length; `name` is what they were given to.
    pub(crate) fn rows(self, format: &AudioFormat, name: &'static str) -> Result<Vec<Vec<f32>>, Error> {
        let count = self.count(format, name)?;
        Ok(self.part(format, 0..count))
    }

    /// How many there are of each channel.
    ///
    /// # Errors
    ///
    /// As of [`rows`](Self::rows).
    pub(crate) fn count(self, format: &AudioFormat, name: &'static str) -> Result<usize, Error> {
        let refuse = |reason: String| Err(Error::Config { name, reason });
        let kind = match self {
            Self::F32(_) => (SampleFormat::F32, SampleLayout::Interleaved),
            Self::I16(_) => (SampleFormat::I16, SampleLayout::Interleaved),
            Self::F32Planar(_) => (SampleFormat::F32, SampleLayout::Planar),
            Self::I16Planar(_) => (SampleFormat::I16, SampleLayout::Planar),
        };
        if kind != (format.sample_format, format.layout) {
            let (wanted, layout) = (format.sample_format, format.layout);
            return refuse(format!(
                "{} {} samples, but {wanted} {layout} ones were agreed on",
                kind.0, kind.1
            ));
        }
        let channels = format.channels.max(1) as usize;
        match self {
            Self::F32(samples) => shared_among(samples.len(), channels),
            Self::I16(samples) => shared_among(samples.len(), channels),
            Self::F32Planar(rows) => of_each(rows, channels),
            Self::I16Planar(rows) => of_each(rows, channels),
        }
        .or_else(refuse)
    }

    /// Some of them as [`rows`](Self::rows); they are of `format`, and there are that many.
    pub(crate) fn part(self, format: &AudioFormat, range: Range<usize>) -> Vec<Vec<f32>> {
        let channels = format.channels.max(1) as usize;
        match self {
            Self::F32(samples) => split(samples, channels, range, finite),
            Self::I16(samples) => split(samples, channels, range, from_i16),
            Self::F32Planar(rows) => copy(rows, range, finite),
            Self::I16Planar(rows) => copy(rows, range, from_i16),
        }
    }
}

fn finite(sample: f32) -> f32 {
    if sample.is_finite() { sample } else { 0.0 }
}

fn from_i16(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}

fn shared_among(samples: usize, channels: usize) -> Result<usize, String> {
    if !samples.is_multiple_of(channels) {
        return Err(format!("{samples} samples cannot be shared among {channels} channels"));
    }
    Ok(samples / channels)
}

fn of_each<T>(rows: &[&[T]], channels: usize) -> Result<usize, String> {
    if rows.len() != channels {
        return Err(format!("{} rows for {channels} channels", rows.len()));
    }
    let count = rows.first().map_or(0, |row| row.len());
    if rows.iter().any(|row| row.len() != count) {
        return Err("rows of different lengths".to_owned());
    }
    Ok(count)
}

fn split<T: Copy>(samples: &[T], channels: usize, range: Range<usize>, float: fn(T) -> f32) -> Vec<Vec<f32>> {
    let samples = samples.get(range.start * channels..range.end * channels).unwrap_or_default();
    let row = |channel| samples.iter().skip(channel).step_by(channels).map(|sample| float(*sample)).collect();
    (0..channels).map(row).collect()
}

fn copy<T: Copy>(rows: &[&[T]], range: Range<usize>, float: fn(T) -> f32) -> Vec<Vec<f32>> {
    let row =
        |row: &[T]| row.get(range.clone()).unwrap_or_default().iter().map(|sample| float(*sample)).collect();
    rows.iter().map(|samples| row(samples)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_every_kind_become_rows_of_float() {
        let rows = |samples: Samples<'_>, format: AudioFormat| samples.rows(&format, "samples");
        let is = |found: Result<Vec<Vec<f32>>, Error>| found.expect("usable samples");
        let stereo = AudioFormat::f32(48_000, 2);
        let both = vec![vec![0.5, 0.25], vec![-0.5, -1.0]];
        assert_eq!(is(rows([0.5f32, -0.5, 0.25, -1.0][..].into(), stereo)), both);
        let planar: [&[f32]; 2] = [&[0.5, 0.25], &[-0.5, -1.0]];
        assert_eq!(is(rows(planar[..].into(), stereo.planar())), both);
        let words = [16_384i16, -16_384, 8_192, -32_768];
        assert_eq!(is(rows(words[..].into(), AudioFormat::i16(44_100, 2))), both);
        let words: [&[i16]; 2] = [&[16_384, 8_192], &[-16_384, -32_768]];
        assert_eq!(is(rows(words[..].into(), AudioFormat::i16(44_100, 2).planar())), both);
        let broken = [f32::NAN, 0.5, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(is(rows(broken[..].into(), AudioFormat::f32(48_000, 1))), [[0.0, 0.5, 0.0, 0.0]]);
    }

    #[test]
    fn samples_that_are_not_what_was_agreed_on_are_refused() {
        let stereo = AudioFormat::f32(48_000, 2);
        let uneven: [&[f32]; 2] = [&[0.5, 0.25], &[-0.5]];
        let mono: [&[f32]; 1] = [&[0.5]];
        for (samples, format) in [
            (Samples::F32(&[0.5; 3]), stereo),
            (Samples::I16(&[5; 4]), stereo),
            (Samples::F32(&[0.5; 4]), stereo.planar()),
            (Samples::F32Planar(&uneven), stereo.planar()),
            (Samples::F32Planar(&mono), stereo.planar()),
        ] {
            let refused = samples.rows(&format, "samples");
            assert!(matches!(refused, Err(Error::Config { .. })), "{samples:?}: {refused:?}");
        }
        for format in [AudioFormat::f32(0, 2), AudioFormat::f32(48_000, 0), AudioFormat::f32(48_000, 9)] {
            assert!(format.check("samples").is_err(), "{format:?}");
        }
    }
}
