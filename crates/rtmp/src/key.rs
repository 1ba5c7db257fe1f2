//! The stream key. A person who has it can go live in its owner's name.

use std::fmt;
use std::sync::Arc;

/// A stream key (the RTMP stream name that a platform gives out). The only type that holds one.
///
/// `Debug` and `Display` print `****`. Two keys are compared in a time that depends on their lengths only. There is
/// no `Hash`, so that a key is not looked up in a map by accident, where that would not hold. Clones share one text.
///
/// ```
/// use flowcast_rtmp::key::StreamKey;
/// let key = StreamKey::new("abcd-1234");
/// assert_eq!(format!("{key} {key:?}"), "**** StreamKey(****)");
/// assert_eq!(key.reveal(), "abcd-1234");
/// ```
#[derive(Clone)]
pub struct StreamKey(Arc<str>);

impl StreamKey {
    /// Takes a key as it is; [`Destination`](crate::url::Destination) checks it.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(Arc::from(key.into()))
    }

    /// The key in clear text, for the wire. It belongs in no log, no error and no metric.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl PartialEq for StreamKey {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        let difference = a.iter().zip(b).fold(0u8, |seen, (x, y)| std::hint::black_box(seen | (x ^ y)));
        a.len() == b.len() && difference == 0
    }
}

impl Eq for StreamKey {}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(****)")
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl From<&str> for StreamKey {
    fn from(key: &str) -> Self {
        Self(Arc::from(key))
    }
}

impl From<String> for StreamKey {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_printed() {
        let key = StreamKey::from("live_12345_secret");
        assert_eq!(format!("{key}"), "****");
        assert_eq!(format!("{key:?} {key:#?}"), "StreamKey(****) StreamKey(****)");
    }

    #[test]
    fn keys_compare_by_all_their_bytes() {
        let key = StreamKey::from("abcd");
        assert_eq!(key, StreamKey::new(String::from("abcd")));
        for other in ["", "abc", "abce", "bbcd", "abcde"] {
            assert_ne!(key, StreamKey::from(other), "{other}");
        }
    }
}
