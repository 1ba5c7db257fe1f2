//! The names of codecs.

use std::fmt;

use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::enhanced;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::flv::video::VideoCodec;

/// A codec, by its FourCC as Enhanced RTMP names it: `avc1`, `hvc1`, `av01`, `mp4a`, `Opus`.
///
/// FLV's numbers for older codecs have FourCCs of their files: `vp6f`, `FLV1`, `.mp3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codec([u8; 4]);

impl Codec {
    /// The codec with this FourCC.
    #[must_use]
    pub const fn new(four_cc: [u8; 4]) -> Self {
        Self(four_cc)
    }

    /// The four bytes.
    #[must_use]
    pub const fn four_cc(self) -> [u8; 4] {
        self.0
    }

    /// The codec of a tag; `None` for script data and for what has no name.
    #[must_use]
    pub fn of(tag: &Tag) -> Option<Self> {
        if let Some(code) = enhanced::four_cc(tag.kind, &tag.body) {
            return Some(Self(code));
        }
        if enhanced::is_enhanced(tag.kind, &tag.body) {
            return None;
        }
        let first = tag.body.byte(0)?;
        let code = match tag.kind {
            TagKind::Video => match VideoCodec::from_wire(first) {
                VideoCodec::Avc => b"avc1",
                VideoCodec::Hevc => b"hvc1",
                VideoCodec::Av1 => b"av01",
                VideoCodec::Mpeg4 => b"mp4v",
                VideoCodec::SorensonH263 => b"FLV1",
                VideoCodec::Vp6 => b"vp6f",
                VideoCodec::Vp6Alpha => b"vp6a",
                VideoCodec::Screen => b"fsv1",
                VideoCodec::Screen2 => b"fsv2",
                _ => return None,
            },
            TagKind::Audio => match AudioCodec::from_wire(first >> 4) {
                AudioCodec::Aac => b"mp4a",
                AudioCodec::Mp3 | AudioCodec::Mp38k => b".mp3",
                AudioCodec::Speex => b"spex",
                AudioCodec::ALaw => b"alaw",
                AudioCodec::MuLaw => b"ulaw",
                AudioCodec::Pcm | AudioCodec::PcmLe => b"lpcm",
                _ => return None,
            },
            TagKind::Script => return None,
        };
        Some(Self(*code))
    }
}

/// Printable: what a publisher sends may not be.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codec({self})")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    #[test]
    fn codecs_are_named_whichever_header_says_them_and_print_nothing_odd() {
        let codec = |kind, body: &'static [u8]| {
            Codec::of(&Tag::from_wire(kind, MediaTime::ZERO, Bytes::from_static(body)))
                .map(|codec| codec.to_string())
        };
        assert_eq!(codec(TagKind::Video, &[0x17, 0, 0, 0, 0]).as_deref(), Some("avc1"));
        assert_eq!(codec(TagKind::Video, b"\x90hvc1....").as_deref(), Some("hvc1"));
        assert_eq!(codec(TagKind::Audio, &[0xAF, 0]).as_deref(), Some("mp4a"));
        assert_eq!(codec(TagKind::Audio, b"\x90Opus....").as_deref(), Some("Opus"));
        assert_eq!(codec(TagKind::Video, b"\x90\x1b[2J....").as_deref(), Some("\\x1b[2J"));
        assert_eq!(codec(TagKind::Audio, b"\x90Op"), None, "cut off");
        assert_eq!(codec(TagKind::Script, b"\x02\x00\x01a"), None);
    }
}
