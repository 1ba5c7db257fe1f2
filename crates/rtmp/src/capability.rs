//! What a peer says in `connect` that it can do beyond RTMP 1.0: codecs by FourCC, multitrack, reconnecting.
//!
//! Specification: Veovera, [*Enhanced RTMP v2*](https://veovera.org/docs/enhanced/enhanced-rtmp-v2), "Enhancing
//! NetConnection connect Command". Nothing of it is a condition for anything: encoders publish HEVC without a word here.

use std::sync::Arc;

use crate::amf0::Value;
use crate::flv::TagKind;

/// Codecs that Enhanced RTMP has codes for.
const KNOWN: [&str; 12] =
    ["avc1", "hvc1", "av01", "vp09", "vp08", "vvc1", "mp4a", "Opus", ".mp3", "fLaC", "ac-3", "ec-3"];

/// Stands for every codec.
const ANY: &str = "*";

/// What a peer can do with a codec: a set of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CodecSupport(u8);

impl CodecSupport {
    /// It can decode it.
    pub const DECODE: Self = Self(1);
    /// It can encode it.
    pub const ENCODE: Self = Self(2);
    /// It can pass it on.
    pub const FORWARD: Self = Self(4);

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Extended capabilities (`capsEx`): a set of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Extended(u8);

impl Extended {
    /// It understands `NetConnection.Connect.ReconnectRequest`.
    pub const RECONNECT: Self = Self(1);
    /// It can do with several tracks of a kind.
    pub const MULTITRACK: Self = Self(2);
    /// It can read ModEx.
    pub const MOD_EX: Self = Self(4);
    /// It makes something of times in nanoseconds.
    pub const NANO_OFFSET: Self = Self(8);

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a peer announced; by default nothing. A clone shares it.
///
/// ```
/// use flowcast_rtmp::amf0::Value;
/// use flowcast_rtmp::capability::{Capabilities, CodecSupport, Extended};
/// use flowcast_rtmp::flv::TagKind;
/// let map = Value::object([("hvc1", Value::from(3.0))]);
/// let connect = Value::object([("videoFourCcInfoMap", map), ("capsEx", Value::from(1.0))]);
/// let capabilities = Capabilities::from_object(&connect);
/// assert!(capabilities.codec(TagKind::Video, *b"hvc1").contains(CodecSupport::DECODE));
/// assert!(capabilities.extended().contains(Extended::RECONNECT));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities(Option<Arc<Announced>>);

#[derive(Debug, PartialEq, Eq)]
struct Announced {
    list: Codes<()>,
    video: Codes<CodecSupport>,
    audio: Codes<CodecSupport>,
    extended: Extended,
}

/// Facts by FourCC, and those for all codes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Codes<T> {
    any: Option<T>,
    each: Vec<([u8; 4], T)>,
}

impl<T> Default for Codes<T> {
    fn default() -> Self {
        Self { any: None, each: Vec::new() }
    }
}

impl<T: Copy> Codes<T> {
    /// Notes a fact; names that are no FourCC are passed over. A peer's count is that of its AMF values.
    fn put(&mut self, name: &str, fact: T) {
        if name == ANY {
            self.any = Some(fact);
        } else if let Ok(code) = name.as_bytes().try_into() {
            self.each.push((code, fact));
        }
    }

    /// What holds for `code`: the wildcard overrides the rest, as the specification has it.
    fn get(&self, code: [u8; 4]) -> Option<T> {
        self.any.or_else(|| self.each.iter().find(|(known, _)| *known == code).map(|(_, fact)| *fact))
    }
}

impl Capabilities {
    /// Reads the command object of `connect`, or an object of its answer.
    #[must_use]
    pub fn from_object(object: &Value) -> Self {
        let list = object.get("fourCcList");
        let video = object.get("videoFourCcInfoMap");
        let audio = object.get("audioFourCcInfoMap");
        let extended = object.get("capsEx").and_then(Value::as_number);
        if list.is_none() && video.is_none() && audio.is_none() && extended.is_none() {
            return Self(None);
        }
        Self(Some(Arc::new(Announced {
            list: codec_list(list),
            video: codec_map(video),
            audio: codec_map(audio),
            extended: Extended(extended.unwrap_or_default() as u8),
        })))
    }

    /// Whether the peer announced anything at all, that is, speaks Enhanced RTMP and says so.
    #[must_use]
    pub const fn is_announced(&self) -> bool {
        self.0.is_some()
    }

    /// Extended capabilities.
    #[must_use]
    pub fn extended(&self) -> Extended {
        self.0.as_ref().map_or(Extended(0), |announced| announced.extended)
    }

    /// What it can do with a codec of a kind, such as `hvc1`; nothing for codecs it did not mention.
    #[must_use]
    pub fn codec(&self, kind: TagKind, code: [u8; 4]) -> CodecSupport {
        let support = self.0.as_ref().and_then(|announced| match kind {
            TagKind::Video => announced.video.get(code),
            TagKind::Audio => announced.audio.get(code),
            TagKind::Script => None,
        });
        support.unwrap_or_default()
    }

    /// Whether a codec is in `fourCcList`, the older list which does not say what for.
    #[must_use]
    pub fn lists(&self, code: [u8; 4]) -> bool {
        self.0.as_ref().is_some_and(|announced| announced.list.get(code).is_some())
    }

    /// What this crate announces on either side: it passes on everything.
    pub(crate) fn own() -> [(&'static str, Value); 4] {
        let forward = || Value::object([(ANY, Value::from(f64::from(CodecSupport::FORWARD.0)))]);
        let all =
            Extended::RECONNECT.0 | Extended::MULTITRACK.0 | Extended::MOD_EX.0 | Extended::NANO_OFFSET.0;
        [
            ("fourCcList", Value::StrictArray(KNOWN.map(Value::from).to_vec())),
            ("videoFourCcInfoMap", forward()),
            ("audioFourCcInfoMap", forward()),
            ("capsEx", Value::from(f64::from(all))),
        ]
    }
}

fn codec_list(list: Option<&Value>) -> Codes<()> {
    let mut codes = Codes::default();
    match list {
        Some(Value::StrictArray(items)) => {
            items.iter().filter_map(Value::as_str).for_each(|code| codes.put(code, ()));
        }
        // Some write an array with indexes as names.
        Some(other) => {
            let items = other.properties().unwrap_or_default().iter();
            items.filter_map(|(_, code)| code.as_str()).for_each(|code| codes.put(code, ()));
        }
        None => {}
    }
    codes
}

fn codec_map(map: Option<&Value>) -> Codes<CodecSupport> {
    let mut codes = Codes::default();
    for (name, value) in map.and_then(Value::properties).unwrap_or_default() {
        if let Some(flags) = value.as_number() {
            codes.put(name, CodecSupport(flags as u8));
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wildcard_overrides_and_odd_values_are_passed_over() {
        let number = |value: f64| Value::from(value);
        let map = Value::EcmaArray(vec![
            ("hvc1".into(), number(3.0)),
            ("toolong".into(), number(7.0)),
            ("av01".into(), Value::from("text")),
        ]);
        let list = Value::StrictArray(vec![Value::from("Opus"), Value::Null, Value::from("x")]);
        let object = Value::object([("videoFourCcInfoMap", map), ("fourCcList", list)]);
        let seen = Capabilities::from_object(&object);
        assert!(seen.is_announced());
        let hevc = seen.codec(TagKind::Video, *b"hvc1");
        assert!(hevc.contains(CodecSupport::ENCODE) && !hevc.contains(CodecSupport::FORWARD));
        for other in [*b"av01", *b"tool", *b"vp09"] {
            assert_eq!(seen.codec(TagKind::Video, other), CodecSupport::default());
        }
        assert_eq!(seen.codec(TagKind::Audio, *b"hvc1"), CodecSupport::default());
        assert!(seen.lists(*b"Opus") && !seen.lists(*b"hvc1"));
        let map = Value::object([("hvc1", number(3.0)), ("*", number(4.0))]);
        let seen = Capabilities::from_object(&Value::object([("videoFourCcInfoMap", map)]));
        assert_eq!(seen.codec(TagKind::Video, *b"hvc1"), CodecSupport::FORWARD);
        assert_eq!(seen.codec(TagKind::Video, *b"abcd"), CodecSupport::FORWARD);
    }

    #[test]
    fn numbers_out_of_range_are_no_flags_beyond_eight_bits() {
        for (value, expected) in [(f64::NAN, 0), (-1.0, 0), (2.5, 2), (1e300, 255)] {
            let seen = Capabilities::from_object(&Value::object([("capsEx", Value::from(value))]));
            assert_eq!(seen.extended(), Extended(expected));
        }
    }

    #[test]
    fn plain_rtmp_announces_nothing_and_we_announce_all() {
        let plain = Value::object([("app", Value::from("live")), ("videoCodecs", Value::from(252.0))]);
        assert_eq!(Capabilities::from_object(&plain), Capabilities::default());
        assert!(!Capabilities::from_object(&Value::Null).is_announced());
        let own = Capabilities::from_object(&Value::object(Capabilities::own()));
        assert!(own.is_announced() && own.lists(*b"hvc1"));
        assert!(own.extended().contains(Extended::RECONNECT) && own.extended().contains(Extended::MOD_EX));
        assert_eq!(own.codec(TagKind::Audio, *b"Opus"), CodecSupport::FORWARD);
    }
}
