//! Rational time: the unit of a track's timestamps, and plain ratios (frame rates, aspect ratios). Pure arithmetic.

use std::fmt;
use std::time::Duration;

/// A ratio of two positive integers, such as a frame rate (frames per second) or a sample aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    /// Numerator, at least 1.
    pub num: u32,
    /// Denominator, at least 1.
    pub den: u32,
}

impl Ratio {
    /// `num / den`, or `None` if either is 0.
    #[must_use]
    pub const fn new(num: u32, den: u32) -> Option<Self> {
        if num == 0 || den == 0 { None } else { Some(Self { num, den }) }
    }

    /// `num / den` in lowest terms, or `None` if either is 0 or does not fit then.
    pub(crate) fn reduced(num: u64, den: u64) -> Option<Self> {
        let (mut divisor, mut rest) = (num, den);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        let num = u32::try_from(num.checked_div(divisor)?).ok()?;
        Self::new(num, u32::try_from(den.checked_div(divisor)?).ok()?)
    }

    /// The value as a float.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

/// The length of one tick of a track's clock: `num / den` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeBase {
    /// Numerator in seconds, at least 1.
    pub num: u32,
    /// Denominator, at least 1.
    pub den: u32,
}

impl TimeBase {
    /// One millisecond.
    pub const MILLIS: Self = Self { num: 1, den: 1000 };
    /// One microsecond: libav's own clock.
    pub const MICROS: Self = Self { num: 1, den: 1_000_000 };

    /// `num / den` seconds per tick; a 0 in either is taken as 1.
    #[must_use]
    pub const fn new(num: u32, den: u32) -> Self {
        Self { num: if num == 0 { 1 } else { num }, den: if den == 0 { 1 } else { den } }
    }

    /// `ticks` of this clock in ticks of `to`, rounded to the nearest (halves away from zero), saturating at `i64`.
    #[must_use]
    pub fn rescale(self, ticks: i64, to: Self) -> i64 {
        let num = i128::from(ticks) * i128::from(self.num) * i128::from(to.den);
        let den = i128::from(self.den) * i128::from(to.num);
        let half = den / 2;
        let rounded = if num >= 0 { (num + half) / den } else { (num - half) / den };
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// `ticks` of this clock in whole milliseconds, rounded to the nearest.
    #[must_use]
    pub fn millis(self, ticks: i64) -> i64 {
        self.rescale(ticks, Self::MILLIS)
    }

    /// `ticks` of this clock in seconds.
    #[must_use]
    pub fn seconds(self, ticks: i64) -> f64 {
        ticks as f64 * f64::from(self.num) / f64::from(self.den)
    }

    /// A length in ticks of this clock as a [`Duration`]; negative lengths are zero.
    #[must_use]
    pub fn duration(self, ticks: i64) -> Duration {
        let nanos = self.rescale(ticks, Self { num: 1, den: 1_000_000_000 });
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

impl fmt::Display for TimeBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescale_rounds_halves_away_from_zero() {
        let ninety = TimeBase::new(1, 90_000);
        assert_eq!(ninety.millis(45), 1);
        assert_eq!(ninety.millis(44), 0);
        assert_eq!(ninety.millis(-45), -1);
        assert_eq!(ninety.millis(90_000), 1000);
    }

    #[test]
    fn ratios_are_reduced() {
        assert_eq!(Ratio::reduced(180_000, 3600), Ratio::new(50, 1));
        assert_eq!(Ratio::reduced(0, 5), None);
        assert_eq!(Ratio::reduced(0, 0), None);
        assert_eq!(Ratio::reduced(u64::MAX, 1), None);
    }

    #[test]
    fn rescale_saturates() {
        assert_eq!(TimeBase::new(u32::MAX, 1).rescale(i64::MAX, TimeBase::MICROS), i64::MAX);
        assert_eq!(TimeBase::new(u32::MAX, 1).rescale(i64::MIN, TimeBase::MICROS), i64::MIN);
    }

    #[test]
    fn negative_lengths_are_zero() {
        assert_eq!(TimeBase::MILLIS.duration(-5), Duration::ZERO);
        assert_eq!(TimeBase::MILLIS.duration(1500), Duration::from_millis(1500));
    }
}
