//! What a stream is, as far as it says what the stream costs.

use std::path::PathBuf;

/// A stream that is to be started.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    /// What it plays, if that is one file or publication: streams of the same are the best examples.
    pub(crate) media: Option<Media>,
    /// It ends together with its file.
    pub(crate) is_once: bool,
}

/// What a stream plays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Media {
    File(PathBuf),
    Published(String),
}

/// Streams of one kind cost about the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) work: Work,
    /// A fallback is kept ready for it.
    pub(crate) has_fallback: bool,
    pub(crate) ways: Ways,
}

/// What is done to get at the tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// A reel is played.
    Reel,
    /// A file is read through libav.
    Direct,
    /// What is published is taken over.
    Restream,
    /// Pictures and sound are encoded.
    Encode(EncodeKind),
    /// A source of the program's own.
    Other,
}

/// How pictures are encoded. What is `None` is as in the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EncodeKind {
    pub(crate) codec: &'static str,
    pub(crate) preset: String,
    pub(crate) size: Option<(u32, u32)>,
    /// Frames per second, rounded.
    pub(crate) frame_rate: Option<u32>,
    /// The most it may be of what is `None` above.
    pub(crate) most_size: Option<(u32, u32)>,
    pub(crate) most_frame_rate: Option<u32>,
    pub(crate) kbps: u32,
}

/// How many outputs of which sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ways {
    pub(crate) plain: u32,
    pub(crate) tls: u32,
    pub(crate) files: u32,
    /// Of the program's own, and names on the server.
    pub(crate) others: u32,
}

impl std::ops::AddAssign for Ways {
    fn add_assign(&mut self, other: Self) {
        self.plain += other.plain;
        self.tls += other.tls;
        self.files += other.files;
        self.others += other.others;
    }
}

impl Ways {
    /// Those that send to the network from the beginning.
    pub(crate) const fn pushes(self) -> u32 {
        self.plain + self.tls
    }
}

impl Kind {
    /// Whether streams of this kind cost about the same whatever they play. An encode to the size or rate of its source does not.
    pub(super) const fn says_it_all(&self) -> bool {
        match &self.work {
            Work::Encode(kind) => kind.size.is_some() && kind.frame_rate.is_some(),
            Work::Reel | Work::Direct | Work::Restream => true,
            Work::Other => false,
        }
    }
}
