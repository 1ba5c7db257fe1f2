//! A bit rate with its unit.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

/// Bits per second.
///
/// `Display` rounds to three figures: `2.65 Mbit/s`, `128 kbit/s`, `900 bit/s`. [`FromStr`] reads plain bits per second
/// (`2500000`), and numbers with `k`, `M` or `G` (thousand, million, thousand million) and with or without a unit: `2500k`,
/// `2.5M`, `128 kbit/s`, `6 Mbps`. Bytes are refused.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod error { pub use flowcast_core::*; } }
/// use flowcast::BitRate;
///
/// let rate: BitRate = "2.65M".parse()?;
/// assert_eq!(rate, BitRate::from_kbps(2650));
/// assert_eq!((rate.bps(), rate.to_string()), (2_650_000, "2.65 Mbit/s".to_owned()));
/// # Ok::<(), flowcast::error::ParseBitRateError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BitRate(u64);

/// A text that is not a bit rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a bit rate: 2500k, 2.5M, 128 kbit/s and 2500000 (bits per second) are such")]
#[non_exhaustive]
pub struct ParseBitRateError;

impl BitRate {
    /// No bits at all.
    pub const ZERO: Self = Self(0);

    /// This many bits per second.
    #[must_use]
    pub const fn from_bps(bits: u64) -> Self {
        Self(bits)
    }

    /// This many thousand bits per second.
    #[must_use]
    pub const fn from_kbps(kilobits: u64) -> Self {
        Self(kilobits.saturating_mul(1000))
    }

    /// This many million bits per second, rounded to a bit. What is negative or not a number is zero.
    #[must_use]
    pub fn from_mbps(megabits: f64) -> Self {
        Self((megabits * 1e6).round() as u64)
    }

    /// What `bytes` in `seconds` are, rounded to a bit; zero in no time.
    pub(crate) fn of(bytes: u64, seconds: f64) -> Self {
        if seconds > 0.0 { Self((bytes as f64 * 8.0 / seconds).round() as u64) } else { Self::ZERO }
    }

    /// Bits per second.
    #[must_use]
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// Thousand bits per second.
    #[must_use]
    pub fn kbps(self) -> f64 {
        self.0 as f64 / 1e3
    }

    /// Million bits per second.
    #[must_use]
    pub fn mbps(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Whole thousands of bits per second: what encoders are given.
    #[cfg(feature = "libav")]
    pub(crate) fn whole_kbps(self) -> u32 {
        u32::try_from(self.0 / 1000).unwrap_or(u32::MAX)
    }

    /// The rate `factor` times as high.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor).round() as u64)
    }
}

/// Rates of several streams together.
impl Sum for BitRate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::ZERO, |sum, rate| Self(sum.0.saturating_add(rate.0)))
    }
}

/// Three figures, without zeros at the end; a precision that is given (`{:.1}`) counts instead.
impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = match self.0 {
            // From where three figures would be a thousand.
            999_500_000.. => ("Gbit/s", 1e9),
            999_500.. => ("Mbit/s", 1e6),
            1000.. => ("kbit/s", 1e3),
            bits => return f.pad(&format!("{bits} bit/s")),
        };
        let value = self.0 as f64 / size;
        let decimals = f.precision().unwrap_or(match value {
            99.95.. => 0,
            9.995.. => 1,
            _ => 2,
        });
        let mut text = format!("{value:.decimals$}");
        if f.precision().is_none() && text.contains('.') {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        text.push(' ');
        text.push_str(unit);
        // `pad` would cut the text to the precision.
        match f.width() {
            Some(width) => write!(f, "{text:>width$}"),
            None => f.write_str(&text),
        }
    }
}

impl FromStr for BitRate {
    type Err = ParseBitRateError;

    fn from_str(text: &str) -> Result<Self, ParseBitRateError> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim_start_matches(' ');
        let (factor, unit) = match unit.chars().next() {
            Some('k' | 'K') => (1000, &unit[1..]),
            Some('M') => (1_000_000, &unit[1..]),
            Some('G') => (1_000_000_000, &unit[1..]),
            _ => (1, unit),
        };
        if !["", "bit/s", "bps", "b/s"].contains(&unit) {
            return Err(ParseBitRateError);
        }
        bits(number, factor).map(Self).ok_or(ParseBitRateError)
    }
}

/// `number`, which may have decimals, times `factor`, without going through floating point; `None` if it is no number, too
/// large, or not a whole number of bits.
fn bits(number: &str, factor: u64) -> Option<u64> {
    let (whole, decimals) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (number, ""),
    };
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let (mut sum, mut place) = (whole, factor);
    for digit in decimals.chars() {
        let digit = u64::from(digit.to_digit(10)?);
        place = match (place % 10, digit) {
            (0, _) => place / 10,
            (_, 0) => 0,
            _ => return None,
        };
        sum = sum.checked_add(place.checked_mul(digit)?)?;
    }
    Some(sum)
}

/// From the number of bits per second, or a text such as `2500k`.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for BitRate {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::{Error, Unexpected, Visitor};

        struct Written;

        impl Visitor<'_> for Written {
            type Value = BitRate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bit rate, such as \"2500k\", \"2.5 Mbit/s\" or a number of bits per second")
            }

            fn visit_u64<E: Error>(self, bits: u64) -> Result<BitRate, E> {
                Ok(BitRate::from_bps(bits))
            }

            fn visit_i64<E: Error>(self, bits: i64) -> Result<BitRate, E> {
                let given = Unexpected::Signed(bits);
                u64::try_from(bits).map(BitRate::from_bps).map_err(|_| E::invalid_value(given, &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<BitRate, E> {
                text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        from.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_to_the_bit() {
        let bits = |text: &str| text.parse::<BitRate>().ok().map(BitRate::bps);
        for (text, expected) in [
            ("0", 0),
            ("2500000", 2_500_000),
            ("2500k", 2_500_000),
            ("2500K", 2_500_000),
            ("2.5M", 2_500_000),
            ("2.65M", 2_650_000),
            ("128 kbit/s", 128_000),
            ("128kbps", 128_000),
            ("6 Mb/s", 6_000_000),
            ("1.5G", 1_500_000_000),
            ("0.001k", 1),
            ("0.0010k", 1),
            ("900 bit/s", 900),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(bits(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_rate_is_refused() {
        for text in [
            "",
            "k",
            ".5M",
            "5.M",
            "1.2.3M",
            "-1",
            "+1",
            "1e6",
            "2.5",
            "0.0005k",
            "2500 kB/s",
            "2500kB",
            "2.5m",
            "2.5MiB",
            "2 M bit/s",
            "2500k ",
            " 2500k",
            "fast",
            "18446744073709551616",
            "18446744073709551615k",
            "2,5M",
            "٢k",
        ] {
            assert_eq!(text.parse::<BitRate>(), Err(ParseBitRateError), "{text:?}");
        }
    }

    #[test]
    fn three_figures_are_shown() {
        for (bits, shown) in [
            (0, "0 bit/s"),
            (999, "999 bit/s"),
            (1000, "1 kbit/s"),
            (1234, "1.23 kbit/s"),
            (64_500, "64.5 kbit/s"),
            (128_000, "128 kbit/s"),
            (999_499, "999 kbit/s"),
            (999_500, "1 Mbit/s"),
            (2_650_000, "2.65 Mbit/s"),
            (9_996_000, "10 Mbit/s"),
            (12_500_000, "12.5 Mbit/s"),
            (51_000_000, "51 Mbit/s"),
            (850_000_000, "850 Mbit/s"),
            (100_000_000_000, "100 Gbit/s"),
        ] {
            assert_eq!(BitRate::from_bps(bits).to_string(), shown);
        }
        let rate = BitRate::from_kbps(2650);
        assert_eq!(format!("{rate:.1}|{rate:14}|{rate:.0}"), "2.6 Mbit/s|   2.65 Mbit/s|3 Mbit/s");
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for bits in [0, 7, 1000, 64_500, 2_650_000, 51_000_000, 100_000_000_000] {
            let rate = BitRate::from_bps(bits);
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
    }

    #[test]
    fn units_agree() {
        assert_eq!(BitRate::from_mbps(2.65), BitRate::from_kbps(2650));
        assert_eq!([f64::NAN, -1.0].map(BitRate::from_mbps), [BitRate::ZERO; 2]);
        let rate = BitRate::from_kbps(2650);
        assert!((rate.kbps() - 2650.0).abs() < 1e-9 && (rate.mbps() - 2.65).abs() < 1e-9);
        assert_eq!((BitRate::of(1000, 2.0), BitRate::of(1000, 0.0)), (BitRate::from_kbps(4), BitRate::ZERO));
        assert_eq!([rate, rate].into_iter().sum::<BitRate>(), BitRate::from_kbps(5300));
    }
}
