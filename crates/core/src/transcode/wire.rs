//! How the parts of an encoding are written in a file that have a form of their own.
//!
//! In: sizes, rates, choices. Out: any serde format, and back. Fields that have their default are not written.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::encoding::{EncoderChoice, Encoding, FrameRate};

/// A number where it is a whole one, else text: `25`, `"30000/1001"`.
impl Serialize for FrameRate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.den() == 1 { to.serialize_u32(self.num()) } else { to.collect_str(self) }
    }
}

impl<'de> Deserialize<'de> for FrameRate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = FrameRate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a frame rate from 1 to 240, such as 25 or \"30000/1001\"")
            }

            fn visit_u64<E: de::Error>(self, rate: u64) -> Result<FrameRate, E> {
                let given = de::Unexpected::Unsigned(rate);
                let rate = u32::try_from(rate).ok().and_then(|rate| FrameRate::new(rate, 1));
                rate.ok_or_else(|| E::invalid_value(given, &self))
            }

            fn visit_i64<E: de::Error>(self, rate: i64) -> Result<FrameRate, E> {
                self.visit_u64(u64::try_from(rate).unwrap_or(0))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FrameRate, E> {
                let (num, den) = text.split_once('/').unwrap_or((text, "1"));
                let rate = num.trim().parse().ok().zip(den.trim().parse().ok());
                rate.and_then(|(num, den)| FrameRate::new(num, den))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        from.deserialize_any(Written)
    }
}

/// `auto`, `hardware`, `software`, or the name of an encoder in libav.
impl Serialize for EncoderChoice {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match self {
            Self::Auto => "auto",
            Self::Hardware => "hardware",
            Self::Software => "software",
            Self::Named(name) => name,
        })
    }
}

impl<'de> Deserialize<'de> for EncoderChoice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(from)? {
            word if word == "auto" => Self::Auto,
            word if word == "hardware" => Self::Hardware,
            word if word == "software" => Self::Software,
            name => Self::Named(name),
        })
    }
}

/// The default of [`Encoding::gop`](super::Encoding::gop).
pub(super) fn is_usual_gop(gop: &Duration) -> bool {
    *gop == Encoding::default().gop
}
