//! Names of codecs and kinds of tracks.

use std::fmt;

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrackKind {
    /// Moving pictures; also cover art, see [`TrackInfo::attached_picture`](crate::TrackInfo::attached_picture).
    Video,
    /// Sound.
    Audio,
    /// Text or picture subtitles.
    Subtitle,
    /// Timed data, such as a timecode track.
    Data,
    /// A file attached to the container, such as a font.
    Attachment,
    /// Anything libav could not tell.
    Unknown,
}

/// A codec, by the names libav uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// H.264, AVC.
    H264,
    /// H.265, HEVC.
    Hevc,
    /// AV1.
    Av1,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// AAC, all its profiles (see [`TrackInfo::profile`](crate::TrackInfo::profile)).
    Aac,
    /// MPEG audio layer 3.
    Mp3,
    /// Opus.
    Opus,
    /// Vorbis.
    Vorbis,
    /// FLAC.
    Flac,
    /// AC-3.
    Ac3,
    /// E-AC-3.
    Eac3,
    /// Any other codec, by libav's name ("mpeg4", "pcm_s16le"); "none" if libav does not know it.
    Other(String),
}

/// Codecs with a variant of their own, and libav's name for each.
const NAMED: [(Codec, &str); 12] = [
    (Codec::H264, "h264"),
    (Codec::Hevc, "hevc"),
    (Codec::Av1, "av1"),
    (Codec::Vp8, "vp8"),
    (Codec::Vp9, "vp9"),
    (Codec::Aac, "aac"),
    (Codec::Mp3, "mp3"),
    (Codec::Opus, "opus"),
    (Codec::Vorbis, "vorbis"),
    (Codec::Flac, "flac"),
    (Codec::Ac3, "ac3"),
    (Codec::Eac3, "eac3"),
];

impl Codec {
    /// libav's name of the codec, lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        if let Self::Other(name) = self {
            return name;
        }
        NAMED.iter().find(|(codec, _)| codec == self).map_or("none", |(_, name)| name)
    }

    /// The codec of libav's name `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        NAMED
            .iter()
            .find(|(_, known)| *known == name)
            .map_or_else(|| Self::Other(name.to_owned()), |(codec, _)| codec.clone())
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (codec, name) in &NAMED {
            assert_eq!(codec.name(), *name);
            assert_eq!(&Codec::from_name(name), codec);
        }
        assert_eq!(Codec::from_name("mpeg4").name(), "mpeg4");
    }
}
