//! Gains: decibels, and ways from one gain to another that nobody hears as a click.

use std::f64::consts::TAU;

/// Gains at or below this many decibels are silence.
pub(super) const SILENT_DB: f64 = -90.0;

/// The factor of a gain in decibels.
pub(super) fn amplitude(db: f64) -> f64 {
    if db <= SILENT_DB { 0.0 } else { 10_f64.powf(db / 20.0) }
}

/// The decibels of a factor, at least [`SILENT_DB`].
pub(super) fn decibels(amplitude: f64) -> f64 {
    if amplitude > 0.0 { (20.0 * amplitude.log10()).max(SILENT_DB) } else { SILENT_DB }
}

/// The samples of a length in seconds, at least one.
pub(super) fn samples(seconds: f64, rate: u32) -> u64 {
    (seconds * f64::from(rate)).round().max(1.0) as u64
}

/// How fast a smoothed value follows, for each sample: it has come 63 % of the way after `seconds`.
pub(super) fn following(seconds: f64, rate: u32) -> f64 {
    if seconds <= 0.0 { 1.0 } else { 1.0 - (-1.0 / (seconds * f64::from(rate))).exp() }
}

/// The higher of two numbers; without [`f32::max`]'s care for what is none, which takes as long again.
pub(super) fn higher(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

/// How far from zero the samples go. What is no number does not count.
pub(super) fn peak(samples: &[f32]) -> f32 {
    let (eights, rest) = samples.as_chunks::<8>();
    // Eight at a time, each with those eight places before it: that is done at once.
    let mut peaks = [0.0; 8];
    for eight in eights {
        peaks.iter_mut().zip(eight).for_each(|(peak, sample)| *peak = higher(sample.abs(), *peak));
    }
    rest.iter().map(|sample| sample.abs()).chain(peaks).fold(0.0, |peak, sample| higher(sample, peak))
}

/// Whether all of them are numbers, and none is farther from zero than `most`.
pub(super) fn is_below(samples: &[f32], most: f32) -> bool {
    // All are looked at, several at once.
    samples.iter().fold(true, |are_below, sample| are_below & (sample.abs() <= most))
}

/// A value that moves to another one along half a wave of a cosine: it neither jumps nor bends at either end.
#[derive(Debug, Clone)]
pub(super) struct Ramp {
    from: f64,
    to: f64,
    at: u64,
    length: u64,
}

impl Ramp {
    pub(super) const fn still(value: f64) -> Self {
        Self { from: value, to: value, at: 0, length: 0 }
    }

    /// Moves to `to` within this many samples, from wherever it is.
    pub(super) fn go(&mut self, to: f64, samples: u64) {
        *self = Self { from: self.value(), to, at: 0, length: samples };
    }

    /// Where it is going.
    pub(super) const fn target(&self) -> f64 {
        self.to
    }

    /// Where it is.
    pub(super) fn value(&self) -> f64 {
        if self.at >= self.length {
            return self.to;
        }
        let way = self.at as f64 / self.length as f64;
        self.from + (self.to - self.from) * 0.5 * (1.0 - (0.5 * TAU * way).cos())
    }

    /// The value of the next sample.
    pub(super) fn next(&mut self) -> f64 {
        let value = self.value();
        self.at = (self.at + 1).min(self.length);
        value
    }

    /// The value it stays at, if it does not move.
    pub(super) fn resting(&self) -> Option<f64> {
        (self.at >= self.length).then_some(self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibels_are_factors_and_back() {
        for (db, factor) in [(0.0, 1.0), (-20.0, 0.1), (20.0, 10.0), (-90.0, 0.0), (f64::NEG_INFINITY, 0.0)] {
            assert!((amplitude(db) - factor).abs() < 1e-12, "{db}");
        }
        assert!((decibels(0.5) + 6.0206).abs() < 1e-4);
        assert_eq!(decibels(0.0), SILENT_DB);
    }

    #[test]
    fn peaks_are_found_wherever_they_are() {
        for at in 0..19 {
            let mut row = vec![0.25_f32; 19];
            row[at] = -0.75;
            assert_eq!((peak(&row), is_below(&row, 0.75), is_below(&row, 0.74)), (0.75, true, false), "{at}");
            row[at] = f32::NAN;
            assert!(!is_below(&row, f32::MAX), "{at}");
        }
        assert_eq!((peak(&[]), is_below(&[], 0.0)), (0.0, true));
    }

    #[test]
    fn a_ramp_is_smooth_and_ends_where_it_is_to() {
        let mut ramp = Ramp::still(1.0);
        assert_eq!(ramp.resting(), Some(1.0));
        ramp.go(0.0, 480);
        let values: Vec<f64> = (0..481).map(|_| ramp.next()).collect();
        assert_eq!((values[0], values[480]), (1.0, 0.0));
        let steps: Vec<f64> = values.windows(2).map(|pair| pair[0] - pair[1]).collect();
        assert!(steps.iter().all(|step| (0.0..0.0033).contains(step)), "it falls, and never by much");
        let bends = steps.windows(2).map(|pair| (pair[0] - pair[1]).abs());
        assert!(bends.fold(0.0, f64::max) < 3e-5, "and it never bends sharply");
        ramp.go(1.0, 100);
        (0..50).for_each(|_| {
            ramp.next();
        });
        let halfway = ramp.value();
        ramp.go(0.0, 100);
        assert_eq!(ramp.next(), halfway, "a turn on the way begins where it was");
    }
}
