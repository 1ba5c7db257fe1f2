//! What is compared: kinds of streams, how many of each, and what their floor is.

/// A kind of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Reel,
    Direct,
    Rtmps,
    Encoded,
    Restreamed,
    Played,
}

/// A number of streams of a kind, or of players of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) streams: usize,
}

/// All that is measured, in the order of the table.
pub(crate) const CASES: [Case; 8] = [
    Case { kind: Kind::Reel, streams: 20 },
    Case { kind: Kind::Reel, streams: 200 },
    Case { kind: Kind::Direct, streams: 20 },
    Case { kind: Kind::Direct, streams: 200 },
    Case { kind: Kind::Rtmps, streams: 20 },
    Case { kind: Kind::Restreamed, streams: 20 },
    Case { kind: Kind::Played, streams: 200 },
    Case { kind: Kind::Encoded, streams: 1 },
];

impl Kind {
    const ALL: [Self; 6] =
        [Self::Reel, Self::Direct, Self::Rtmps, Self::Encoded, Self::Restreamed, Self::Played];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reel => "reel",
            Self::Direct => "direct",
            Self::Rtmps => "rtmps",
            Self::Encoded => "encoded",
            Self::Restreamed => "restreamed",
            Self::Played => "played",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What the kind is, and what its floor is.
    pub(crate) const fn explained(self) -> (&'static str, &'static str) {
        match self {
            Self::Reel => ("a looped file from its reel, pushed", "bare writes"),
            Self::Direct => ("a looped file through libav, copied, pushed", "bare writes"),
            Self::Rtmps => ("a looped file from its reel, pushed over TLS", "bare writes into rustls"),
            Self::Encoded => {
                ("a looped file, picture and sound encoded, pushed", "libx264 alone, picture only")
            }
            Self::Restreamed => ("published to the server, pushed on", "bare reads, each written on"),
            Self::Played => ("published to the server, per player", "one loop of bare writes"),
        }
    }

    /// Whether both sides send the same bytes.
    pub(crate) const fn sends_the_same(self) -> bool {
        !matches!(self, Self::Encoded)
    }

    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Rtmps)
    }
}
