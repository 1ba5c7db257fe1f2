//! Exact points on the clock of a stream.

use super::Unit;

/// Flicks per second: the unit in which every usual frame and sample rate has a whole length.
const FLICKS: i128 = 705_600_000;

/// An exact point on the clock of a stream: where a lap begins.
///
/// Lengths are added up in their own unit; only where the unit changes (another item follows) is the sum rounded, to a
/// flick, which is 1.4 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    base: i128,
    unit: Unit,
    ticks: i64,
}

impl Position {
    /// The clock's beginning.
    pub(crate) const ZERO: Self = Self { base: 0, unit: Unit::MILLIS, ticks: 0 };

    /// `millis` milliseconds after the beginning.
    pub(crate) fn from_millis(millis: i64) -> Self {
        Self { ticks: millis, ..Self::ZERO }
    }

    /// `length` of `unit` later.
    pub(crate) fn plus(self, length: i64, unit: Unit) -> Self {
        if unit == self.unit {
            return Self { ticks: self.ticks.saturating_add(length), ..self };
        }
        let base = self.base + i128::from(self.unit.to(self.ticks, Unit { num: 1, den: FLICKS as u32 }));
        Self { base, unit, ticks: length }
    }

    /// In `unit`, rounded to nearest.
    pub(crate) fn to(self, unit: Unit) -> i64 {
        if self.base == 0 {
            return self.unit.to(self.ticks, unit);
        }
        let den = i128::from(self.unit.den);
        let flicks = self.base * den + i128::from(self.ticks) * i128::from(self.unit.num) * FLICKS;
        let (numerator, denominator) =
            (flicks * i128::from(unit.den), (FLICKS * den * i128::from(unit.num)).max(1));
        let half = denominator / 2;
        let rounded =
            if numerator >= 0 { (numerator + half) / denominator } else { (numerator - half) / denominator };
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// In milliseconds, rounded to nearest.
    pub(crate) fn millis(self) -> i64 {
        self.to(Unit::MILLIS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_laps_add_up_exactly() {
        let ntsc = Unit { num: 1001, den: 30_000 };
        let mut at = Position::ZERO;
        for _ in 0..1_000_000 {
            at = at.plus(150, ntsc);
        }
        assert_eq!(at.millis(), 5_005_000_000);
        assert_eq!(at.to(ntsc), 150_000_000);
    }

    #[test]
    fn items_of_many_units_add_up_without_a_sample_of_drift() {
        let (pal, cd, video) = (Unit { num: 1, den: 25 }, Unit::sample(44_100), Unit { num: 1, den: 90_000 });
        let mut at = Position::ZERO;
        for _ in 0..100_000 {
            at = at.plus(25, pal).plus(1024, cd).plus(3003, video);
        }
        // 1 s + 1024/44100 s + 3003/90000 s, a hundred thousand times.
        let seconds = 100_000.0 * (1.0 + 1024.0 / 44_100.0 + 3003.0 / 90_000.0);
        assert!((at.to(cd) as f64 - seconds * 44_100.0).abs() < 1.0);
    }

    #[test]
    fn years_do_not_overflow() {
        let unit = Unit { num: 1, den: 1_000_000_000 };
        let year = 365 * 24 * 3600 * 1_000_000_000i64;
        let at = Position::ZERO.plus(7, Unit::sample(48_000)).plus(year * 50, unit);
        assert_eq!(at.to(Unit { num: 1, den: 90_000 }), 50 * 365 * 24 * 3600 * 90_000 + 13);
    }
}
