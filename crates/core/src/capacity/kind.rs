//! The question: kinds of streams, and how they are mixed.

use std::fmt;

use crate::stats::{OutputTransport, StreamStats};

/// How a stream's media gets from source to output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Processing {
    /// Packets are sent as they are in the file.
    #[default]
    Copy,
}

/// How an output is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TransportKind {
    /// RTMP over TCP.
    #[default]
    Plain,
    /// RTMPS: over TLS.
    Tls,
}

/// A kind of stream: a looped file of some bitrate and where it goes.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod capacity { pub use flowcast_core::*; } }
/// use flowcast::capacity::StreamKind;
/// let kind = StreamKind::copy(2650).tls().outputs(2);
/// assert_eq!(kind.to_string(), "copy 2.65 Mbit/s, 2 × rtmps");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StreamKind {
    /// Media bits per second, in thousands: video and audio together. At least 64.
    pub kbps: u32,
    /// What is done to the media.
    pub processing: Processing,
    /// How its outputs are connected.
    pub transport: TransportKind,
    /// RTMP outputs of one stream. At least 1.
    pub outputs: u32,
}

impl StreamKind {
    /// A looped file of `kbps` thousand bits per second, sent as it is to one RTMP server.
    #[must_use]
    pub fn copy(kbps: u32) -> Self {
        Self { kbps: kbps.max(64), processing: Processing::Copy, transport: TransportKind::Plain, outputs: 1 }
    }

    /// The same to RTMPS servers.
    #[must_use]
    pub fn tls(self) -> Self {
        Self { transport: TransportKind::Tls, ..self }
    }

    /// The same to `outputs` servers each (at least one).
    #[must_use]
    pub fn outputs(self, outputs: u32) -> Self {
        Self { outputs: outputs.max(1), ..self }
    }

    /// Whether a running stream is of this kind: bitrate within a quarter, as many RTMP outputs, connected the same way, and
    /// no other outputs.
    pub(crate) fn describes(&self, stats: &StreamStats) -> bool {
        let kbps = f64::from(self.kbps);
        let transport = match self.transport {
            TransportKind::Plain => OutputTransport::Rtmp,
            TransportKind::Tls => OutputTransport::Rtmps,
        };
        (stats.kbps - kbps).abs() <= kbps / 4.0
            && usize::try_from(self.outputs).is_ok_and(|outputs| outputs == stats.outputs.len())
            && stats.outputs.iter().all(|output| output.transport == transport)
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            TransportKind::Plain => "rtmp",
            TransportKind::Tls => "rtmps",
        };
        let Processing::Copy = self.processing;
        write!(f, "copy {} Mbit/s, {} × {scheme}", f64::from(self.kbps) / 1000.0, self.outputs)
    }
}

/// Kinds of streams and how often each occurs.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod capacity { pub use flowcast_core::*; } }
/// use flowcast::capacity::{Mix, StreamKind};
/// // Of ten streams, nine go to one plain RTMP server and one to two RTMPS servers.
/// let mix = Mix::of(StreamKind::copy(2650)).weight(9.0).and(StreamKind::copy(6000).tls().outputs(2), 1.0);
/// assert_eq!(mix.kinds().len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    kinds: Vec<(StreamKind, f64)>,
}

impl Mix {
    /// All streams are of one kind.
    #[must_use]
    pub fn of(kind: StreamKind) -> Self {
        Self { kinds: vec![(kind, 1.0)] }
    }

    /// The weight of the kind that was added last. Default 1.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        if let Some((_, last)) = self.kinds.last_mut() {
            *last = weight;
        }
        self
    }

    /// Adds another kind.
    #[must_use]
    pub fn and(mut self, kind: StreamKind, weight: f64) -> Self {
        self.kinds.push((kind, weight));
        self
    }

    /// The kinds with their weights.
    #[must_use]
    pub fn kinds(&self) -> &[(StreamKind, f64)] {
        &self.kinds
    }
}
