//! Which tracks of a source are played, and as what they may be carried.

/// What tracks may be carried as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Carriage {
    /// As FLV always had them: H.264, AAC, MP3.
    #[default]
    Plain,
    /// Also as Enhanced RTMP has them: HEVC, AV1, VP9, VP8, Opus.
    Enhanced,
}

/// Which tracks of a source are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tracks {
    /// Video and audio.
    Both,
    /// The same, and the other sound tracks of the picture's programme, as far as they can be copied.
    All,
    /// The video track alone.
    Video,
    /// The audio track alone.
    Audio,
}

impl Tracks {
    /// Whether picture and sound are wanted.
    pub(crate) fn are_both(self) -> bool {
        matches!(self, Self::Both | Self::All)
    }
}
