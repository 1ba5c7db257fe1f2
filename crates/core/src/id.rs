//! Numbers of streams, outputs and items of playlists.

use std::fmt;
use std::str::FromStr;

/// The number of a stream within its engine. An engine gives each number once, so it means the same stream for as long as the
/// engine lives; another engine, or the next run of the program, gives it to another stream.
///
/// `Display` gives `s1`; `s1` and `1` are parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u64);

/// The number of an output within its stream. A stream gives each number once, also to outputs that are added after others
/// have gone.
///
/// `Display` gives `o2`; `o2` and `2` are parsed.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod error { pub use flowcast_core::*; } }
/// use flowcast::OutputId;
///
/// let output: OutputId = "o2".parse()?;
/// assert_eq!((output.get(), output.to_string()), (2, "o2".to_owned()));
/// assert_eq!("2".parse(), Ok(output));
/// # Ok::<(), flowcast::error::ParseIdError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId(pub(crate) u64);

/// A text that is not the number of a stream, an output or an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the number of {what}: {prefix}1 and 1 are such")]
pub struct ParseIdError {
    what: &'static str,
    prefix: char,
}

impl StreamId {
    /// The number alone.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl OutputId {
    /// The number alone.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A number, with or without its letter; no sign, no space.
fn number(text: &str, prefix: char) -> Option<u64> {
    let digits = text.strip_prefix(prefix).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

impl FromStr for StreamId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        number(text, 's').map(Self).ok_or(ParseIdError { what: "a stream", prefix: 's' })
    }
}

impl FromStr for OutputId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        number(text, 'o').map(Self).ok_or(ParseIdError { what: "an output", prefix: 'o' })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.0)
    }
}

/// The number of an item within its playlist; never given twice.
///
/// `Display` gives `i3`; `i3` and `3` are parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId(pub(crate) u64);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

impl FromStr for ItemId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        number(text, 'i').map(Self).ok_or(ParseIdError { what: "an item", prefix: 'i' })
    }
}

impl ItemId {
    /// The number alone.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_parse_as_they_are_shown_and_nothing_else_does() {
        for number in [0, 1, 17, u64::MAX] {
            assert_eq!(StreamId(number).to_string().parse(), Ok(StreamId(number)));
            assert_eq!(OutputId(number).to_string().parse(), Ok(OutputId(number)));
            assert_eq!(ItemId(number).to_string().parse(), Ok(ItemId(number)));
            assert_eq!(number.to_string().parse(), Ok(StreamId(number)));
            assert_eq!(StreamId(number).get(), number);
        }
        for text in ["", "s", "o1", "S1", "s-1", "+1", " 1", "s1 ", "ss1", "18446744073709551616"] {
            assert!(text.parse::<StreamId>().is_err(), "{text:?}");
        }
        let refused = "s1".parse::<OutputId>().expect_err("a stream's");
        assert_eq!(refused.to_string(), "not the number of an output: o1 and 1 are such");
    }
}
